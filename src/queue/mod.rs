//! The door to job queues. A job is a hint that a task wants attention, never a fact: it may
//! be lost, late or doubled, for whoever receives it claims the task in the repository first.
//!
//! ```text
//! push ─▶ (database: a doorbell │ BullMQ: a job) ─▶ next ─▶ claim ─▶ … ─▶ the receipt is told
//! ```

mod bullmq;
pub mod conformance;
mod database;
mod job;

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::task::{Task, TaskId};

pub use bullmq::{BullQueue, QueueConfig, QueueLimiter};
pub use database::{DatabaseQueue, Doorbell};
pub use job::{Delivery, Job, JobEnd, JobName, JobProgress, JobState, Receipt, Reports, Wake};

/// What a worker should look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Whatever is due: something is.
    Due,
    /// Nobody told of anything for a while: whoever looks finds out whether anything is due.
    Look {
        /// What became due more recently is left to its own hint, which may be on its way.
        overdue: Duration,
    },
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

impl QueueError {
    /// A queue that is not reached, and why as far as that is known.
    pub(crate) fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), source: None }
    }

    /// The same with its cause.
    pub(crate) fn caused(
        detail: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { detail: detail.into(), source: Some(cause.into()) }
    }
}

/// Where hints wait for a worker.
///
/// The last methods are about jobs that can be looked at. A queue that keeps none has none to
/// show and none to remove, which is what they do by default.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Tells the workers that a task wants attention after a while. The task's wake-up is
    /// durable already; this only makes it prompt. It waits for nobody: what cannot be passed
    /// on at once is lost, and polling finds the task.
    async fn push(&self, wake: Wake) -> Result<(), QueueError>;

    /// Waits for the next hint. Comes back by itself after the polling interval with
    /// [`Hint::Look`], so that no lost hint costs more than that. May be dropped at any moment
    /// without losing a hint.
    async fn next(&self) -> Delivery;

    /// A look for whoever has heard of nothing yet.
    fn look(&self) -> Delivery {
        Delivery::look(Duration::ZERO)
    }

    /// Whether a worker that has room again looks by itself for whatever is due, without
    /// waiting for the next hint. `was_full` says that its last such look filled all its room,
    /// so that there may be more.
    fn looks_again(&self, was_full: bool) -> bool {
        let _ = was_full;
        true
    }

    /// How many of so many tasks a worker may take that no job leads it to, because of such a hint. A queue
    /// whose jobs are counted counts these: tell [`Queue::not_taken`] of those that were not there.
    async fn admits(&self, hint: &Hint, tasks: usize) -> usize {
        let _ = hint;
        tasks
    }

    /// Says that so many of the tasks that were admitted last were not taken.
    async fn not_taken(&self, tasks: usize) {
        let _ = tasks;
    }

    /// Says that a task wants no attention any more: its waiting jobs go, in the background.
    async fn forget(&self, task: TaskId) {
        let _ = task;
    }

    /// Says that a task is as urgent as this from now on (1 to 5): so are its waiting jobs, in the
    /// background.
    async fn prioritize(&self, task: TaskId, priority: u8) {
        let _ = (task, priority);
    }

    /// Passes on what is still on its way and takes no more jobs. For the end of a process.
    async fn close(&self) {}

    /// Waits until it is known whether the queue answers, for as long as one answer may take.
    async fn settled(&self) {}

    /// Which queue it is, for people.
    fn describe(&self) -> String;

    /// Answers if the queue answers, with what it says of itself.
    async fn ping(&self) -> Result<String, QueueError>;

    /// The job with this id, if it is still kept.
    async fn get_job_status(&self, job_id: &str) -> Result<Option<Job>, QueueError> {
        let _ = job_id;
        Ok(None)
    }

    /// The jobs of a task that are still kept, oldest first.
    async fn get_task_jobs(&self, task: TaskId) -> Result<Vec<Job>, QueueError> {
        let _ = task;
        Ok(Vec::new())
    }

    /// Removes a job. `false` if there is none, or a worker has it: then only the task itself
    /// can be cancelled.
    async fn cancel_job(&self, job_id: &str) -> Result<bool, QueueError> {
        let _ = job_id;
        Ok(false)
    }

    /// Removes the jobs of a task that no worker has, and returns how many those were.
    async fn remove_task_jobs(&self, task: TaskId) -> Result<usize, QueueError> {
        let _ = task;
        Ok(0)
    }

    /// Tells the workers of a task that was just created.
    async fn queue_task_step(&self, task: &Task) -> Result<(), QueueError> {
        self.push(Wake::first(task)).await
    }

    /// Tells the workers of a task that goes on after a while.
    async fn queue_task_continuation(&self, task: &Task, delay: Duration) -> Result<(), QueueError> {
        self.push(Wake::again(task, delay)).await
    }
}
