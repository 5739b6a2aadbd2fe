//! The door to job queues. A job is a hint that a task wants attention, never a fact: it may
//! be lost, late or doubled, for whoever receives it claims the task in the repository first.

mod database;

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::task::TaskId;

pub use database::{DatabaseQueue, Doorbell};

/// What a worker should look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Whatever is due.
    Due,
    /// This task.
    Task(TaskId),
}

/// A queue that cannot be reached. Work goes on: the repository is polled.
#[derive(Debug, Error)]
#[error("the queue is unavailable: {detail}")]
pub struct QueueError {
    /// What was seen.
    pub detail: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Where hints wait for a worker.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Tells the workers that a task wants attention after a while. The task's wake-up is
    /// durable already; this only makes it prompt.
    async fn push(&self, task: TaskId, step: u32, delay: Duration) -> Result<(), QueueError>;

    /// Waits for the next hint. Comes back by itself after the polling interval with
    /// [`Hint::Due`], so that no lost hint costs more than that.
    async fn next(&self) -> Hint;
}
