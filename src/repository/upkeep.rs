//! What whoever runs a database wants of it: that it is there, is sound, and does not grow for ever.

use async_trait::async_trait;

use super::{Pruned, RepositoryError, Retention, Stats, Violation};

/// What whoever runs a database wants of it.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Removes what is older than asked, and nothing else: ended tasks with all that belongs
    /// to them, and journal entries of ended tasks. Contents that nothing refers to any more,
    /// answers that are older than a day and workers that have been gone for one go with them.
    /// It works in batches, so that commits are not held up; what an error leaves undone is left
    /// to the next call.
    async fn prune(&self, retention: &Retention) -> Result<Pruned, RepositoryError>;

    /// Tasks by status and what is due.
    async fn stats(&self) -> Result<Stats, RepositoryError>;

    /// Checks every invariant of the promises; an empty answer is a healthy database.
    async fn violations(&self) -> Result<Vec<Violation>, RepositoryError>;

    /// Answers if the database answers, and takes what is written: where the last write was refused for want of
    /// room or of the database, or nothing was tried yet, it tries one.
    async fn ping(&self) -> Result<(), RepositoryError>;

    /// Which engine it is, with its version, for people.
    async fn engine(&self) -> Result<String, RepositoryError>;

    /// Whether this process is the only one that may work on the database.
    fn is_embedded(&self) -> bool;
}
