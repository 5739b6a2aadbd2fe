//! Reads the journal of a task while it grows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::repository::{Change, Repository, RepositoryError};
use crate::task::{Entry, TaskId};

/// How often to look although nobody rang: other processes cannot be heard.
const POLL: Duration = Duration::from_millis(300);

/// Entries read at once at most.
const PAGE: u32 = 500;

/// A reader that stands behind one entry of a journal.
pub(super) struct Follower {
    repository: Arc<dyn Repository>,
    changes: Receiver<Change>,
    id: TaskId,
    after: i64,
}

impl Follower {
    /// Reads what comes behind entry number `after`.
    pub(super) fn new(repository: Arc<dyn Repository>, id: TaskId, after: i64) -> Self {
        // Heard before the first look, so that nothing falls between the two.
        let changes = repository.changes();
        Self { repository, changes, id, after }
    }

    /// The entries that are there already, some at a time; empty at the end of the journal.
    pub(super) async fn read(&mut self) -> Result<Vec<Entry>, RepositoryError> {
        let entries = self.repository.journal(self.id, self.after, PAGE).await?;
        if let Some(last) = entries.last() {
            self.after = last.seq;
        }
        Ok(entries)
    }

    /// The next entries; waits until there are some.
    pub(super) async fn next(&mut self) -> Result<Vec<Entry>, RepositoryError> {
        loop {
            let entries = self.read().await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            // Running out of patience is an answer too.
            let _ = tokio::time::timeout(POLL, self.rung()).await;
        }
    }

    async fn rung(&mut self) {
        loop {
            match self.changes.recv().await {
                Ok(change) if change.id == self.id && change.seq > self.after => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
