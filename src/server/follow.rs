//! Follows a task's journal: every entry after a number, in order, without gaps, until the
//! task has ended. Whatever streams about a task is built on this.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::repository::{Change, Repository};
use crate::task::{Entry, Event, Task, TaskId};

/// Entries read at once: bounds the memory of a reader that starts at the beginning of a long
/// journal.
const PAGE: u32 = 200;

/// How long a lost hint may delay an entry. Commits of other processes are never hinted here.
const POLL: Duration = Duration::from_secs(1);

/// A reader of one journal.
pub(super) struct Follower {
    repository: Arc<dyn Repository>,
    id: TaskId,
    after: i64,
    page: VecDeque<Entry>,
    changes: Receiver<Change>,
    has_ended: bool,
    shutdown: CancellationToken,
}

impl Follower {
    /// A reader of the entries of `task` with a number above `after`.
    pub(super) fn new(
        repository: Arc<dyn Repository>,
        task: &Task,
        after: i64,
        shutdown: CancellationToken,
    ) -> Self {
        // Registered before the journal is read, so that a commit in between is not missed.
        let changes = repository.changes();
        let has_ended = task.status().is_terminal();
        Self { repository, id: task.id, after, page: VecDeque::new(), changes, has_ended, shutdown }
    }

    /// The next entry, as soon as there is one. `None` once the task has ended and all of it
    /// was read, when the server shuts down, or when the journal cannot be read.
    pub(super) async fn next(&mut self) -> Option<Entry> {
        loop {
            if self.shutdown.is_cancelled() {
                return None;
            }
            if let Some(entry) = self.page.pop_front() {
                self.after = entry.seq;
                self.has_ended |= is_end(&entry.event);
                return Some(entry);
            }
            match self.repository.journal(self.id, self.after, PAGE).await {
                Ok(page) if !page.is_empty() => self.page = page.into(),
                Ok(_) if self.has_ended => return None,
                Ok(_) => self.wait().await,
                Err(error) if error.is_passing() => {
                    tracing::warn!(task = %self.id, %error, "the journal cannot be read, trying again");
                    self.rest().await;
                }
                Err(error) => {
                    tracing::error!(task = %self.id, %error, "the journal cannot be followed");
                    return None;
                }
            }
        }
    }

    /// Whether the end of the task was read: otherwise `None` means that the stream was cut.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Until there may be a new entry.
    async fn wait(&mut self) {
        tokio::select! {
            () = hint(&mut self.changes, self.id, self.after) => {}
            () = tokio::time::sleep(POLL) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    async fn rest(&self) {
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

/// Until something is said about a newer entry of the task, or so much was said that it may
/// have been missed.
async fn hint(changes: &mut Receiver<Change>, id: TaskId, after: i64) {
    loop {
        match changes.recv().await {
            Ok(change) if change.id == id && change.seq > after => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Whether a task has ended with this.
pub(super) fn is_end(event: &Event) -> bool {
    matches!(event, Event::Completed { .. } | Event::Failed { .. } | Event::Cancelled { .. })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, USER};
    use super::*;

    async fn numbers(follower: &mut Follower, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(follower.next().await.unwrap().seq);
        }
        numbers
    }

    #[tokio::test]
    async fn past_and_future_entries_come_in_one_row_until_the_end() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let mut follower = fixture.follow(&task, 1);
        assert_eq!(numbers(&mut follower, 2).await, [2, 3]);
        fixture.orchestrator.pause(task.id, USER).await.unwrap();
        assert_eq!(numbers(&mut follower, 1).await, [4]);
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        assert_eq!(numbers(&mut follower, 1).await, [5]);
        assert!(follower.next().await.is_none());
        assert!(follower.has_ended());
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_wait_and_says_so() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let mut follower = fixture.follow(&task, 3);
        fixture.shutdown.cancel();
        assert!(follower.next().await.is_none());
        assert!(!follower.has_ended());
    }

    #[tokio::test]
    async fn the_end_of_a_task_that_ended_long_ago_is_its_last_entry() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let task = fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        let mut follower = fixture.follow(&task, 4);
        assert!(follower.next().await.is_none());
        assert!(follower.has_ended());
    }
}
