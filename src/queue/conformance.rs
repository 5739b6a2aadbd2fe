//! What every queue promises, as checks that any of them can run.
//!
//! The suite is part of the library, so that a new queue can certify itself. It needs a queue
//! of its own: it takes whatever hints arrive.
//!
//! ```no_run
//! # async fn example(queue: std::sync::Arc<dyn longhaul::queue::Queue>) {
//! for outcome in longhaul::queue::conformance::exercise(queue).await {
//!     println!("{}: {:?}", outcome.check, outcome.failure);
//! }
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use uuid::Uuid;

use super::{Delivery, Hint, Job, JobEnd, JobProgress, JobState, Queue, QueueError, Receipt, Wake};
use crate::task::TaskId;

/// How long the suite waits for what must happen. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was checked, as a sentence.
    pub check: &'static str,
    /// What was found instead, if it does not hold.
    pub failure: Option<String>,
}

/// Why a check failed.
struct Broken(String);

type Verdict = Result<(), Broken>;
type Check = fn(Arc<dyn Queue>) -> BoxFuture<'static, Verdict>;

impl From<QueueError> for Broken {
    fn from(error: QueueError) -> Self {
        Self(format!("{error}: {error:?}"))
    }
}

const CHECKS: &[(&str, Check)] = &[
    ("it answers and says what it is", |queue| answers(queue).boxed()),
    ("without any hint it comes back by itself", |queue| comes_back(queue).boxed()),
    ("a push leads a worker to the task", |queue| leads(queue, Duration::ZERO).boxed()),
    ("a push with a delay leads a worker to the task", |queue| {
        leads(queue, Duration::from_millis(50)).boxed()
    }),
    ("a push that comes twice does no harm", |queue| twice(queue).boxed()),
    ("whoever stops waiting loses no hint", |queue| stops_waiting(queue).boxed()),
    ("a job ends as its receipt says", |queue| ends_as_told(queue).boxed()),
    ("a job that nobody took is removed with its task", |queue| is_removed(queue).boxed()),
    ("a job that is cancelled does not come", |queue| is_cancelled(queue).boxed()),
    ("a job that does not exist is none", |queue| is_none(queue).boxed()),
];

/// Runs all checks, one after another.
pub async fn exercise(queue: Arc<dyn Queue>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(CHECKS.len());
    for (check, run) in CHECKS {
        let failure = match tokio::time::timeout(PATIENCE, run(queue.clone())).await {
            Ok(verdict) => verdict.err().map(|broken| broken.0),
            Err(_) => Some(format!("it did not happen within {PATIENCE:?}")),
        };
        outcomes.push(Outcome { check, failure });
    }
    outcomes
}

fn ensure(holds: bool, found: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken(found())) }
}

fn wake(delay: Duration) -> Wake {
    Wake {
        task: TaskId(Uuid::now_v7()),
        user_id: "user".to_owned(),
        thread_id: "thread".to_owned(),
        step: 0,
        priority: 3,
        delay,
        again: None,
    }
}

/// Waits for the job of this task and for no other one's; `None` if the queue says only that
/// something is due and keeps no job of the task.
async fn receipt_for(queue: &dyn Queue, task: TaskId) -> Result<Option<Receipt>, Broken> {
    loop {
        let Delivery { hint, receipt } = queue.next().await;
        match hint {
            Hint::Task(id) if id == task => return Ok(receipt),
            Hint::Task(_) => {}
            Hint::Due | Hint::Look { .. } if queue.get_task_jobs(task).await?.is_empty() => return Ok(None),
            Hint::Due | Hint::Look { .. } => {}
        }
    }
}

/// Looks at the only job of a task until it is as wanted.
async fn job_of(queue: &dyn Queue, task: TaskId, wanted: fn(&Job) -> bool) -> Result<Job, Broken> {
    loop {
        let jobs = queue.get_task_jobs(task).await?;
        ensure(jobs.len() <= 1, || format!("one wake-up has several jobs: {jobs:?}"))?;
        match jobs.into_iter().next() {
            Some(job) if wanted(&job) => return Ok(job),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Whether the queue keeps jobs that can be looked at; those that do write them soon.
async fn keeps_jobs(queue: &dyn Queue) -> Result<bool, Broken> {
    let probe = wake(Duration::from_secs(3600));
    queue.push(probe.clone()).await?;
    let seen = tokio::time::timeout(Duration::from_secs(2), job_of(queue, probe.task, |_| true)).await;
    queue.remove_task_jobs(probe.task).await?;
    seen.map_or(Ok(false), |seen| seen.map(|_| true))
}

async fn answers(queue: Arc<dyn Queue>) -> Verdict {
    queue.ping().await?;
    ensure(!queue.describe().is_empty(), || "it has no description".to_owned())
}

async fn comes_back(queue: Arc<dyn Queue>) -> Verdict {
    while !matches!(queue.next().await.hint, Hint::Look { .. }) {}
    Ok(())
}

async fn leads(queue: Arc<dyn Queue>, delay: Duration) -> Verdict {
    let wake = wake(delay);
    queue.push(wake.clone()).await?;
    if let Some(receipt) = receipt_for(queue.as_ref(), wake.task).await? {
        receipt.done(JobEnd::Completed(json!(null)));
    }
    Ok(())
}

async fn twice(queue: Arc<dyn Queue>) -> Verdict {
    let wake = wake(Duration::ZERO);
    queue.push(wake.clone()).await?;
    queue.push(wake.clone()).await?;
    if let Some(receipt) = receipt_for(queue.as_ref(), wake.task).await? {
        receipt.done(JobEnd::Completed(json!(null)));
        job_of(queue.as_ref(), wake.task, |job| job.state == JobState::Completed).await?;
    }
    queue.push(wake).await?;
    comes_back(queue).await
}

async fn stops_waiting(queue: Arc<dyn Queue>) -> Verdict {
    let wake = wake(Duration::ZERO);
    queue.push(wake.clone()).await?;
    for _ in 0..50 {
        let waiting = tokio::time::timeout(Duration::from_millis(1), queue.next());
        if let Ok(Delivery { hint: Hint::Task(_), receipt }) = waiting.await {
            // It came while somebody still waited, which is as good.
            drop(receipt);
            return Ok(());
        }
    }
    receipt_for(queue.as_ref(), wake.task).await.map(drop)
}

async fn ends_as_told(queue: Arc<dyn Queue>) -> Verdict {
    for (end, state) in [
        (JobEnd::Completed(json!({"status": "completed"})), JobState::Completed),
        (JobEnd::Failed { reason: "it broke".to_owned(), trace: "at step 1".to_owned() }, JobState::Failed),
    ] {
        let wake = wake(Duration::ZERO);
        queue.push(wake.clone()).await?;
        let Some(receipt) = receipt_for(queue.as_ref(), wake.task).await? else { return Ok(()) };
        let active = job_of(queue.as_ref(), wake.task, |job| job.state == JobState::Active).await?;
        ensure(active.data["taskId"] == json!(wake.task.to_string()), || format!("{active:?}"))?;
        receipt.progress(JobProgress {
            completed_steps: 1,
            total_steps: 2,
            status: "running",
            attempts_made: 2,
        });
        let shown = job_of(queue.as_ref(), wake.task, |job| job.progress["completedSteps"] == 1).await?;
        ensure(shown.progress["progress"] == 50, || format!("{shown:?}"))?;
        receipt.done(end);
        let ended = job_of(queue.as_ref(), wake.task, |job| job.finished_on.is_some()).await?;
        ensure(ended.state == state && ended.attempts_made == 3, || format!("{ended:?}"))?;
        let (reason, value) = (ended.failed_reason.as_deref(), ended.return_value.as_ref());
        let is_told = match state {
            JobState::Failed => reason == Some("it broke"),
            _ => value == Some(&json!({"status": "completed"})),
        };
        ensure(is_told, || format!("{ended:?}"))?;
    }
    Ok(())
}

async fn is_removed(queue: Arc<dyn Queue>) -> Verdict {
    if !keeps_jobs(queue.as_ref()).await? {
        return Ok(());
    }
    let wake = wake(Duration::from_secs(3600));
    queue.push(wake.clone()).await?;
    let job = job_of(queue.as_ref(), wake.task, |job| job.state == JobState::Delayed).await?;
    ensure(job.id == wake.job_id() && job.name == "continue-task", || format!("{job:?}"))?;
    queue.forget(wake.task).await;
    while !queue.get_task_jobs(wake.task).await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn is_cancelled(queue: Arc<dyn Queue>) -> Verdict {
    if !keeps_jobs(queue.as_ref()).await? {
        return Ok(());
    }
    let wake = wake(Duration::from_secs(3600));
    queue.push(wake.clone()).await?;
    let job = job_of(queue.as_ref(), wake.task, |job| job.state == JobState::Delayed).await?;
    ensure(queue.cancel_job(&job.id).await?, || "it was there and was not removed".to_owned())?;
    ensure(queue.get_job_status(&job.id).await?.is_none(), || "it is still there".to_owned())?;
    ensure(!queue.cancel_job(&job.id).await?, || "it was removed twice".to_owned())
}

async fn is_none(queue: Arc<dyn Queue>) -> Verdict {
    let nobody = TaskId(Uuid::now_v7());
    ensure(queue.get_task_jobs(nobody).await?.is_empty(), || "it has jobs".to_owned())?;
    ensure(queue.get_job_status("nobody-step-0").await?.is_none(), || "it has a status".to_owned())?;
    ensure(queue.remove_task_jobs(nobody).await? == 0, || "something was removed".to_owned())
}
