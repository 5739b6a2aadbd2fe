//! Jobs: what goes into a queue, what comes out, and what is reported back.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::Hint;
use crate::task::{Task, TaskId};

/// A wish for attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// Which task.
    pub task: TaskId,
    /// Whose it is.
    pub user_id: String,
    /// The conversation it belongs to.
    pub thread_id: String,
    /// The step that comes next, from 0.
    pub step: u32,
    /// From 1, the most urgent, to 5.
    pub priority: u8,
    /// Not before this while has passed.
    pub delay: Duration,
    /// The epoch of the task if it was woken before; `None` for its first wake-up.
    pub again: Option<i64>,
}

impl Wake {
    /// The first wake-up of a task.
    pub fn first(task: &Task) -> Self {
        Self {
            task: task.id,
            user_id: task.spec().user_id.clone(),
            thread_id: task.spec().thread_id.clone(),
            step: task.frontier().first().copied().unwrap_or(0),
            priority: task.state().priority.number(),
            delay: Duration::ZERO,
            again: None,
        }
    }

    /// A later one.
    pub fn again(task: &Task, delay: Duration) -> Self {
        Self { delay, again: Some(task.state().epoch), ..Self::first(task) }
    }

    /// The id of its job. A kept job makes the adding of the same id a silent nothing, so a
    /// later wake-up of a step must differ from its first: it names the epoch that it follows.
    pub fn job_id(&self) -> String {
        match self.again {
            None => format!("{}-step-{}", self.task, self.step),
            Some(epoch) => format!("{}-step-{}-r{epoch}", self.task, self.step),
        }
    }

    /// The name of its job.
    pub fn job_name(&self) -> JobName {
        if self.delay.is_zero() { JobName::ExecuteStep } else { JobName::ContinueTask }
    }
}

/// The two kinds of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobName {
    /// A step is due.
    ExecuteStep,
    /// A task goes on after a delay: a retry, a timer.
    ContinueTask,
}

impl JobName {
    /// As it is written in the queue.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExecuteStep => "execute-step",
            Self::ContinueTask => "continue-task",
        }
    }
}

/// A job as it stands in the queue.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// `execute-step`, `continue-task`, or whatever another program added.
    pub name: String,
    /// Where it stands.
    pub state: JobState,
    /// What it carries: `taskId`, `userId`, `threadId`, `stepIndex`.
    pub data: Value,
    /// How far its task was when it was last told.
    pub progress: Value,
    /// Attempts of the step, as far as the job was told.
    pub attempts_made: u32,
    /// From 1, the most urgent.
    pub priority: u32,
    /// How long it has to wait, in milliseconds since `timestamp`.
    pub delay: u64,
    /// When it was added, in milliseconds since 1970.
    pub timestamp: u64,
    /// When a worker took it, in the same unit.
    pub processed_on: Option<u64>,
    /// When it ended.
    pub finished_on: Option<u64>,
    /// Why it failed, if it did.
    pub failed_reason: Option<String>,
    /// What it ended with, if it completed.
    pub return_value: Option<Value>,
}

/// Where a job stands, in BullMQ's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits for a worker.
    Waiting,
    /// It waits for a worker, among others by priority.
    Prioritized,
    /// It waits for its time.
    Delayed,
    /// A worker has it.
    Active,
    /// Its wake-up was served.
    Completed,
    /// Its task failed.
    Failed,
    /// Something else.
    Unknown,
}

impl JobState {
    /// Whether it waits for a worker or for its time.
    pub fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Prioritized | Self::Delayed)
    }

    /// Whether it is in the queue and no worker has it.
    pub fn is_kept(self) -> bool {
        self.waits() || matches!(self, Self::Completed | Self::Failed)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A hint in the hands of a worker.
#[derive(Debug)]
pub struct Delivery {
    /// What to look for.
    pub hint: Hint,
    /// Who wants to hear how it went, if anybody does.
    pub receipt: Option<Receipt>,
}

impl Delivery {
    /// Something is due. Nobody wants to hear of it.
    pub fn due() -> Self {
        Self { hint: Hint::Due, receipt: None }
    }

    /// It is time to look for what has been due for so long. Nobody wants to hear of it.
    pub fn look(overdue: Duration) -> Self {
        Self { hint: Hint::Look { overdue }, receipt: None }
    }
}

/// How far the task of a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    /// Steps that are completed.
    pub completed_steps: u32,
    /// Steps of the plan.
    pub total_steps: u32,
    /// The status of the task.
    pub status: &'static str,
    /// Attempts of the step that ended before this one.
    pub attempts_made: u32,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEnd {
    /// Its wake-up was served, whatever became of the task; the value says what.
    Completed(Value),
    /// Its wake-up could not be served yet: it waits for this while, and comes again.
    Later(Duration),
    /// Its task failed.
    Failed {
        /// Why, in one sentence.
        reason: String,
        /// Where, line by line.
        trace: String,
    },
}

/// What a worker that has a job tells of it. Dropping it says that the worker let it go.
#[derive(Debug)]
pub struct Receipt {
    progress: watch::Sender<Option<JobProgress>>,
    end: oneshot::Sender<JobEnd>,
}

/// The other end of a [`Receipt`].
#[derive(Debug)]
pub struct Reports {
    /// The newest progress; `None` before there was any.
    pub progress: watch::Receiver<Option<JobProgress>>,
    /// How it ended. An error if the worker let it go.
    pub end: oneshot::Receiver<JobEnd>,
}

impl Receipt {
    /// A receipt and where its reports arrive.
    pub fn new() -> (Self, Reports) {
        let (progress, progress_out) = watch::channel(None);
        let (end, end_out) = oneshot::channel();
        (Self { progress, end }, Reports { progress: progress_out, end: end_out })
    }

    /// Tells how far the task is. Only the newest report counts.
    pub fn progress(&self, progress: JobProgress) {
        self.progress.send_if_modified(|last| {
            let is_news = last.as_ref() != Some(&progress);
            *last = Some(progress);
            is_news
        });
    }

    /// Tells how it ended.
    pub fn done(self, end: JobEnd) {
        // Whoever does not listen any more does not need to know.
        let _ = self.end.send(end);
    }
}
