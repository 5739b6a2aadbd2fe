//! Tasks and their journals: the one way to make more known of them, and the ways to read them.

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::broadcast;

use super::{Answer, Change, Commit, ListFilter, RepositoryError, Stray, TaskSummary};
use crate::task::{Entry, Payload, Task, TaskId, TraceType};

/// Tasks and their journals.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Makes a task known: its row, steps, entries and wake-up in one transaction. From here
    /// on the task is not lost. Fails with [`RepositoryError::Exists`] if it is known already.
    ///
    /// An answer is kept in the same transaction, for a day. Fails with
    /// [`RepositoryError::KeyTaken`] if there is one under its key: read that one.
    async fn create(
        &self,
        task: &Task,
        entries: Vec<Entry>,
        answer: Option<&Answer>,
    ) -> Result<(), RepositoryError>;

    /// What a request with this key was answered, if that was less than a day ago.
    async fn answer(&self, user_id: &str, key: &str) -> Result<Option<Answer>, RepositoryError>;

    /// A task as its newest entry left it.
    async fn load(&self, id: TaskId) -> Result<Option<Task>, RepositoryError>;

    /// The only write to a live task: state, steps, entries and wake-up in one transaction.
    ///
    /// Fails with [`RepositoryError::Stale`] if somebody else wrote since the task was
    /// loaded, and with [`RepositoryError::Fenced`] if a newer lease was granted: load again.
    /// Both mean that nothing of it was written. A store that does not know whether it was says
    /// [`RepositoryError::Unavailable`], and does not try again by itself.
    async fn commit(&self, commit: Commit) -> Result<(), RepositoryError>;

    /// Entries of a task with a number above `after`, in order, at most `limit`.
    async fn journal(&self, id: TaskId, after: i64, limit: u32) -> Result<Vec<Entry>, RepositoryError>;

    /// The newest entries of a task, oldest of them first, at most `limit`.
    async fn latest(&self, id: TaskId, limit: u32) -> Result<Vec<Entry>, RepositoryError>;

    /// The same, of one type only.
    async fn latest_of(&self, id: TaskId, kind: TraceType, limit: u32)
    -> Result<Vec<Entry>, RepositoryError>;

    /// Tasks, newest first.
    async fn list(&self, filter: &ListFilter) -> Result<Vec<TaskSummary>, RepositoryError>;

    /// Children that have not ended and do not stand as their parents do, some of them if there are many.
    /// It costs by how many children have not ended.
    async fn strays(&self) -> Result<Vec<Stray>, RepositoryError>;

    /// The content that a payload stands for.
    async fn content(&self, payload: &Payload) -> Result<Value, RepositoryError>;

    /// Tells of every commit made through this repository, in any order, as a hint: a slow
    /// receiver misses some and must look for itself.
    fn changes(&self) -> broadcast::Receiver<Change>;
}
