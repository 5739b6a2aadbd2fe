//! What happens to one job: it is offered to a worker, mirrors what that tells, and ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bullmq::{Error, Job};
use futures::FutureExt;
use serde_json::{Value, json};

use super::intake::Hatch;
use super::link::{ANSWER, Link};
use crate::queue::{Delivery, Hint, JobEnd, JobProgress, Receipt, Reports};
use crate::task::TaskId;

/// Carries a job to its end. Never panics: the library would keep such a job active for ever.
pub(super) async fn process(link: Arc<Link>, hatch: Arc<Hatch>, job: Job) -> Result<Value, Error> {
    let id = job.id().to_owned();
    let carried = AssertUnwindSafe(carry(&link, &hatch, job)).catch_unwind().await;
    carried.unwrap_or_else(|_| {
        tracing::error!(job = id, "a job hit a defect of the program; its task is found by polling");
        Err(Error::Unrecoverable("the job hit a defect of the program: see the log".to_owned()))
    })
}

async fn carry(link: &Link, hatch: &Hatch, mut job: Job) -> Result<Value, Error> {
    let Some(task) = task_of(&job) else {
        return Err(Error::Unrecoverable("the job names no task: data.taskId must be its id".to_owned()));
    };
    let (receipt, reports) = Receipt::new();
    if !hatch.offer(Delivery { hint: Hint::Task(task), receipt: Some(receipt) }).await {
        // In the library's words: the job goes back to where it waited, and counts no attempt.
        return Err(Error::RateLimited { delay_ms: 0 });
    }
    match listen(link, &mut job, reports).await {
        Some(JobEnd::Completed(value)) => Ok(value),
        Some(JobEnd::Failed { reason, trace }) => {
            note(link, &job, "stacktrace", json!([trace]).to_string()).await;
            Err(Error::Unrecoverable(reason))
        }
        Some(JobEnd::Later(wait)) => put_off(&job, wait).await,
        None => Ok(json!({"status": "let-go"})),
    }
}

/// Lets a job wait again.
async fn put_off(job: &Job, wait: Duration) -> Result<Value, Error> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + wait;
    let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    match tokio::time::timeout(ANSWER, job.move_to_delayed(at)).await {
        // In the library's words: the job is where it belongs.
        Ok(Ok(())) => Err(Error::Delayed),
        // The sweep finds the task.
        _ => Ok(json!({"status": "let-go"})),
    }
}

fn task_of(job: &Job) -> Option<TaskId> {
    job.data().get("taskId")?.as_str()?.parse().ok()
}

/// Mirrors progress until the end is told.
async fn listen(link: &Link, job: &mut Job, mut reports: Reports) -> Option<JobEnd> {
    let mut attempts_made = job.attempts_made();
    loop {
        let ended = tokio::select! {
            biased;
            Ok(()) = reports.progress.changed() => None,
            ended = &mut reports.end => Some(ended.ok()),
        };
        let newest = reports.progress.borrow_and_update().clone();
        if let Some(progress) = newest {
            if ended.is_none() {
                mirror(job, &progress).await;
            }
            if progress.attempts_made != attempts_made {
                attempts_made = progress.attempts_made;
                // The library counts one more when the job ends.
                note(link, job, "atm", attempts_made.to_string()).await;
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// What Bull Board draws as a ring is the number `progress`; the rest it shows as it is.
async fn mirror(job: &mut Job, progress: &JobProgress) {
    let percentage = u64::from(progress.completed_steps) * 100 / u64::from(progress.total_steps.max(1));
    let shown = json!({
        "progress": percentage,
        "completedSteps": progress.completed_steps,
        "totalSteps": progress.total_steps,
        "status": progress.status,
    });
    let update = job.update_progress(bullmq::JobProgress::Object(shown));
    // Whoever looks sees the next one.
    let _ = tokio::time::timeout(ANSWER, update).await;
}

/// Writes a field of the job that the library does not write itself.
async fn note(link: &Link, job: &Job, field: &str, value: String) {
    let written = link.ask(async |queue| {
        let mut set = redis::cmd("HSET");
        let key = queue.keys().job_key(job.id());
        set.arg(&key).arg(field).arg(value);
        // A job that was removed meanwhile must not come back as this field alone.
        let mut exists = redis::cmd("EXISTS");
        if queue.connection().cmd::<bool>(exists.arg(&key)).await? {
            queue.connection().cmd::<()>(&mut set).await?;
        }
        Ok(())
    });
    if let Err(error) = written.await {
        tracing::debug!(job = job.id(), field, %error, "not written");
    }
}
