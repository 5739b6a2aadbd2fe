//! What a task may still call, and what its calls may still consume.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Stop;
use crate::orchestrator::Clock;
use crate::task::{
    Budget, Call, Exceeded, Fault, FaultClass, Ledger, Reserve, Resource, Task, Timestamp, Usage,
};

/// What is left of a task's tool calls (`limits.maxToolCalls`) and of its budget. Clones share one
/// account, so that steps that run side by side cannot exceed a limit together.
#[derive(Debug, Clone)]
pub struct CallAllowance {
    left: Arc<AtomicU32>,
    most: u32,
    /// The newest entry that the account was made from.
    as_of: i64,
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    books: Mutex<Books>,
    /// Told whenever a model call of this process has ended.
    ended: Notify,
}

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    /// Model calls that hold a [`Reservation`].
    in_flight: u32,
    /// Children that were granted a part of the budget and have not ended.
    children: u32,
    /// The children that have ended since, by step and call.
    ended: HashSet<(u32, u32)>,
}

/// A model call's share of the budget, from before the call until its end is known. Dropped
/// without a word about the end, it stays charged.
#[derive(Debug)]
pub(super) struct Reservation {
    account: Arc<Account>,
    reserve: Reserve,
}

/// Why a tool call is not made.
#[derive(Debug)]
pub(super) enum Denied {
    /// The task is at a hard limit: the step fails.
    Limit(Fault),
    /// The budget is used up: the task waits for more.
    Budget(Exceeded),
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Limit(fault) => Self::Failed(fault),
            Denied::Budget(exceeded) => Self::Budget(exceeded),
        }
    }
}

impl CallAllowance {
    /// What the limits leave after what is recorded.
    pub fn of(task: &Task) -> Self {
        let most = task.spec().limits.max_tool_calls;
        let left = most.saturating_sub(task.state().usage.tool_calls);
        let children = u32::try_from(task.children_at_work().count()).unwrap_or(u32::MAX);
        let books = Books { ledger: Ledger::of(task), in_flight: 0, children, ended: HashSet::new() };
        let books = Mutex::new(books);
        let account = Arc::new(Account { books, ended: Notify::new() });
        Self { left: Arc::new(AtomicU32::new(left)), most, as_of: task.state().seq, account }
    }

    /// Takes over limits that were raised.
    pub fn follow(&self, task: &Task) {
        self.account.books().ledger.follow(task);
    }

    /// Charges a model call that belongs to no step.
    pub fn charge(&self, usage: &Usage) {
        self.account.books().ledger.charge(usage);
    }

    /// What is used of the budget by now, calls in flight included.
    pub fn ledger(&self) -> Ledger {
        self.account.books().ledger
    }

    /// The limit that is nearly used up, with the share that is used in percent.
    pub(super) fn nearly_used_up(&self, now: Timestamp) -> Option<(Resource, u64)> {
        self.account.books().ledger.nearly_used_up(now)
    }

    /// Takes one tool call, or says why there is none left.
    pub(super) fn take(&self, now: Timestamp) -> Result<(), Denied> {
        self.take_one()?;
        self.account.books().ledger.take_tool_call(now).map_err(Denied::Budget)
    }

    /// Sets aside what a child may consume, or says why there is nothing left for it. Of `side_by_side` children
    /// each gets the same, and as much stays for the task: half of what is left goes to one that is alone.
    pub(super) fn grant(
        &self,
        asked: &Budget,
        steps: Option<u32>,
        side_by_side: u32,
        now: Timestamp,
    ) -> Result<Budget, Denied> {
        self.take_one()?;
        let mut books = self.account.books();
        let to_come = side_by_side.saturating_sub(books.children).max(1);
        let grant = books.ledger.grant(asked, steps, to_come.saturating_add(1), now);
        let grant = grant.map_err(Denied::Budget)?;
        books.ledger.charge_child(&grant);
        books.children += 1;
        Ok(grant)
    }

    /// Settles what was set aside for the child that carried out a call, once, if it has ended since this
    /// account was made.
    pub(super) fn child_ended(&self, step: u32, call: &Call) {
        let Some((child, used)) = call.child.as_ref().and_then(|child| Some((child, child.used?))) else {
            return;
        };
        let is_news = call.result_seq.is_some_and(|seq| seq > self.as_of);
        if is_news && self.account.books().ended.insert((step, call.number)) {
            self.close(child.grant.reserve(), used);
        }
    }

    /// Exchanges what was set aside for what was used.
    pub(super) fn close(&self, reserve: Reserve, used: Reserve) {
        let fewer = |left: u32| Some(left.saturating_sub(used.tool_calls));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        let mut books = self.account.books();
        books.ledger.settle(reserve, used);
        books.children = books.children.saturating_sub(1);
        drop(books);
        self.account.ended.notify_waiters();
    }

    fn take_one(&self) -> Result<(), Denied> {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if !taken {
            let message = format!("the task has made {} tool calls (limits.maxToolCalls)", self.most);
            return Err(Denied::Limit(Fault::new(FaultClass::Limit, "too_many_tool_calls", message)));
        }
        Ok(())
    }

    /// Sets aside what a call took that was made before: it had room.
    pub(super) fn set_aside(&self, reserve: Reserve) -> Reservation {
        let mut books = self.account.books();
        books.ledger.set_aside(reserve);
        books.in_flight += 1;
        drop(books);
        Reservation { account: self.account.clone(), reserve }
    }

    /// Reserves what a model call may consume. If it does not fit while other calls are in flight,
    /// waits for their end: they may turn out smaller than what was reserved for them.
    pub(super) async fn reserve(&self, reserve: Reserve, clock: &Clock) -> Result<Reservation, Exceeded> {
        loop {
            let mut ended = std::pin::pin!(self.account.ended.notified());
            // Before the look at the books: an end in between must not be missed.
            ended.as_mut().enable();
            if let Some(reservation) = self.reserve_now(reserve, clock())? {
                return Ok(reservation);
            }
            ended.await;
        }
    }

    /// The same without waiting: `None` if other calls are in flight whose end may bring room.
    pub(super) fn reserve_now(
        &self,
        reserve: Reserve,
        now: Timestamp,
    ) -> Result<Option<Reservation>, Exceeded> {
        let mut books = self.account.books();
        match books.ledger.reserve(reserve, now) {
            Ok(()) => {
                books.in_flight += 1;
                Ok(Some(Reservation { account: self.account.clone(), reserve }))
            }
            Err(exceeded) if books.in_flight == 0 => Err(exceeded),
            Err(_) => Ok(None),
        }
    }
}

impl Reservation {
    /// What was reserved.
    pub(super) fn amount(&self) -> Reserve {
        self.reserve
    }

    /// The call has ended and consumed this.
    pub(super) fn settle(self, used: Reserve) {
        self.account.books().ledger.settle(self.reserve, used);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut books = self.account.books();
        books.in_flight = books.in_flight.saturating_sub(1);
        drop(books);
        self.account.ended.notify_waiters();
    }
}

impl Account {
    /// Nothing panics while it holds the books; if something did, they are as good as before.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::task::{Entry, Event, TaskId};

    fn allowance(budget: serde_json::Value) -> CallAllowance {
        let spec = json!({"goal": "g", "userId": "u", "threadId": "t", "budget": budget});
        let spec = serde_json::from_value(spec).unwrap();
        let at = Timestamp::from_millis(0);
        let first = Entry { seq: 1, epoch: 0, at, event: Event::Created { spec: Box::new(spec) } };
        CallAllowance::of(&Task::begin(TaskId(Uuid::nil()), &first).unwrap())
    }

    fn clock() -> Clock {
        Arc::new(|| Timestamp::from_millis(1))
    }

    fn tokens(tokens: u64) -> Reserve {
        Reserve { tokens, model_calls: 1, ..Reserve::default() }
    }

    #[tokio::test]
    async fn a_call_waits_for_those_in_flight_and_fits_if_they_were_small() {
        let (allowance, clock) = (allowance(json!({"tokens": 100})), clock());
        let first = allowance.reserve(tokens(80), &clock).await.unwrap();
        let mut second = std::pin::pin!(allowance.reserve(tokens(50), &clock));
        assert!(poll!(second.as_mut()).is_pending());
        first.settle(tokens(10));
        let Poll::Ready(Ok(second)) = poll!(second.as_mut()) else { panic!("there is room") };
        drop(second);
        let refused = allowance.reserve(tokens(50), &clock).await.unwrap_err();
        assert_eq!((refused.used, refused.limit), (60, 100), "what has no known end stays charged");
    }

    #[tokio::test]
    async fn a_call_that_never_fits_is_refused_at_once() {
        let allowance = allowance(json!({"tokens": 100, "toolCalls": 1}));
        assert!(allowance.reserve(tokens(101), &clock()).await.is_err());
        assert!(allowance.take(Timestamp::from_millis(1)).is_ok());
        assert!(matches!(allowance.take(Timestamp::from_millis(1)), Err(Denied::Budget(_))));
    }
}
