//! The default queue: the wake-ups in the database, rung by a doorbell within the process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

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
}

impl DatabaseQueue {
    /// A queue that looks at least once per `poll`: 1 s keeps the promise about recovery time.
    pub fn new(doorbell: Doorbell, poll: Duration) -> Self {
        Self { doorbell, poll }
    }
}

#[async_trait]
impl Queue for DatabaseQueue {
    async fn push(&self, wake: Wake) -> Result<(), QueueError> {
        // A delayed task is found by polling when its wake-up is due.
        if wake.delay.is_zero() {
            self.doorbell.ring();
        }
        Ok(())
    }

    async fn next(&self) -> Delivery {
        match tokio::time::timeout(self.poll, self.doorbell.rung()).await {
            Ok(()) => Delivery::due(),
            // The fallback that makes rings mere hints.
            Err(_) => Delivery::look(),
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
    async fn without_a_ring_somebody_is_told_to_look() {
        let queue = DatabaseQueue::new(Doorbell::default(), Duration::from_secs(1));
        let before = tokio::time::Instant::now();
        assert_eq!(queue.next().await.hint, Hint::Look);
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }
}
