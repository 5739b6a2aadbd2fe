//! The default queue: the wake-ups in the database, rung by a doorbell within the process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Delivery, Queue, QueueError, Wake};

/// Rings the workers of this process. Many rings before anybody looks are one ring.
#[derive(Debug, Clone, Default)]
pub struct Doorbell(Arc<Notify>);

impl Doorbell {
    /// Wakes one worker, or the next one that waits.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody rings, or rang since the last wait.
    pub(super) async fn rung(&self) {
        self.0.notified().await;
    }
}

/// Hints from the doorbell, and from polling where the doorbell cannot be heard: other
/// processes ring their own.
#[derive(Debug)]
pub struct DatabaseQueue {
    doorbell: Doorbell,
    poll: Duration,
    /// Wake-ups that are due before the next look would find them, the soonest first.
    soon: Mutex<BinaryHeap<Reverse<Instant>>>,
    /// There is one that was not there before.
    sooner: Notify,
}

impl DatabaseQueue {
    /// A queue that looks at least once per `poll`: 1 s keeps the promise about recovery time.
    pub fn new(doorbell: Doorbell, poll: Duration) -> Self {
        Self { doorbell, poll, soon: Mutex::default(), sooner: Notify::new() }
    }

    /// Until when nobody has to look, unless somebody rings.
    fn soonest(&self) -> Option<Instant> {
        let soon = self.soon.lock().unwrap_or_else(PoisonError::into_inner);
        soon.peek().map(|Reverse(moment)| *moment)
    }

    fn forget_until(&self, now: Instant) {
        let mut soon = self.soon.lock().unwrap_or_else(PoisonError::into_inner);
        while soon.peek().is_some_and(|Reverse(moment)| *moment <= now) {
            soon.pop();
        }
    }
}

#[async_trait]
impl Queue for DatabaseQueue {
    async fn push(&self, wake: Wake) -> Result<(), QueueError> {
        if wake.delay.is_zero() {
            self.doorbell.ring();
        } else if wake.delay < self.poll {
            // What is due later is found by polling.
            let due = Instant::now() + wake.delay;
            self.soon.lock().unwrap_or_else(PoisonError::into_inner).push(Reverse(due));
            self.sooner.notify_one();
        }
        Ok(())
    }

    async fn next(&self) -> Delivery {
        // The fallback that makes rings mere hints.
        let look = Instant::now() + self.poll;
        loop {
            let until = self.soonest().map_or(look, |soonest| soonest.min(look));
            tokio::select! {
                () = self.doorbell.rung() => return Delivery::due(),
                () = self.sooner.notified() => {}
                () = tokio::time::sleep_until(until) => {
                    let now = Instant::now();
                    self.forget_until(now);
                    return if now < look { Delivery::due() } else { self.look() };
                }
            }
        }
    }

    fn describe(&self) -> String {
        format!("the database, looked at every {} ms", self.poll.as_millis())
    }

    async fn ping(&self) -> Result<String, QueueError> {
        Ok("needs nothing but the database".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Hint;

    /// Nothing but the ring of this process is on its way: all that is due is looked for.
    const LOOK: Hint = Hint::Look { overdue: Duration::ZERO };

    #[tokio::test(start_paused = true)]
    async fn a_ring_before_anybody_listens_is_not_lost() {
        let doorbell = Doorbell::default();
        let queue = DatabaseQueue::new(doorbell.clone(), Duration::from_secs(3600));
        doorbell.ring();
        doorbell.ring();
        let before = tokio::time::Instant::now();
        assert_eq!(queue.next().await.hint, Hint::Due);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_before_the_next_look_is_not_left_to_it() {
        let queue = DatabaseQueue::new(Doorbell::default(), Duration::from_secs(1));
        let before = tokio::time::Instant::now();
        let again = |ms| {
            queue.push(Wake {
                task: crate::task::TaskId(uuid::Uuid::nil()),
                user_id: String::new(),
                thread_id: String::new(),
                step: 0,
                priority: 3,
                delay: Duration::from_millis(ms),
                again: Some(1),
            })
        };
        let (first, _) = tokio::join!(queue.next(), async {
            again(40).await.unwrap();
            again(30).await.unwrap();
            again(5_000).await.unwrap();
        });
        assert_eq!((first.hint, before.elapsed()), (Hint::Due, Duration::from_millis(30)));
        assert_eq!((queue.next().await.hint, before.elapsed()), (Hint::Due, Duration::from_millis(40)));
        assert_eq!(queue.next().await.hint, LOOK);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ring_somebody_is_told_to_look() {
        let queue = DatabaseQueue::new(Doorbell::default(), Duration::from_secs(1));
        let before = tokio::time::Instant::now();
        assert_eq!(queue.next().await.hint, LOOK);
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }
}
