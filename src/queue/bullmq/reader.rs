//! Looks at jobs, and removes them.
//!
//! BullMQ knows no jobs of a task, only jobs. Which ids a task had is kept in a set of its own
//! beside the queue, written before the job and gone together with Redis.

use std::sync::Arc;

use serde_json::Value;

use crate::queue::{Job, JobState};
use crate::task::TaskId;

type Result<T> = std::result::Result<T, bullmq::Error>;

/// The set of the job ids of a task.
pub(super) fn index_key(queue: &bullmq::Queue, task: TaskId) -> String {
    format!("{}longhaul-jobs-of-{task}", queue.keys().key_prefix())
}

async fn ids_of(queue: &bullmq::Queue, task: TaskId) -> Result<Vec<String>> {
    let mut members = redis::cmd("SMEMBERS");
    members.arg(index_key(queue, task));
    queue.connection().cmd(&mut members).await
}

/// The jobs of a task that are still kept, oldest first.
pub(super) async fn jobs_of(queue: Arc<bullmq::Queue>, task: TaskId) -> Result<Vec<Job>> {
    let ids = ids_of(&queue, task).await?;
    let found = futures::future::try_join_all(ids.iter().map(|id| job(queue.clone(), id))).await?;
    let mut jobs: Vec<Job> = found.into_iter().flatten().collect();
    jobs.sort_by(|one, other| (one.timestamp, &one.id).cmp(&(other.timestamp, &other.id)));
    Ok(jobs)
}

/// The job with this id. Its state is asked for first, so that one that is shown as completed has
/// what it returned; one that ended in between says so itself.
pub(super) async fn job(queue: Arc<bullmq::Queue>, id: &str) -> Result<Option<Job>> {
    let mut state = queue.get_job_state(id).await?;
    let Some(job) = queue.get_job(id).await? else { return Ok(None) };
    // It was written in between: its id is known before it is there.
    if word(state) == JobState::Unknown {
        state = queue.get_job_state(id).await?;
    }
    let mut job = Job { priority: priority_of(&queue, &job).await?, ..view(&job, state) };
    if job.state == JobState::Active && job.finished_on.is_some() {
        job.state = if job.failed_reason.is_some() { JobState::Failed } else { JobState::Completed };
    }
    Ok(Some(job))
}

/// Removes those jobs of a task whose state is such, unless a worker has them, and returns how
/// many those were.
pub(super) async fn remove_jobs_of(
    queue: Arc<bullmq::Queue>,
    task: TaskId,
    is_such: fn(JobState) -> bool,
) -> Result<usize> {
    let ids = ids_of(&queue, task).await?;
    let removed = futures::future::try_join_all(ids.iter().map(async |id| {
        let state = word(queue.get_job_state(id).await?);
        Ok::<_, bullmq::Error>(is_such(state) && queue.remove(id).await?)
    }))
    .await?;
    Ok(removed.into_iter().filter(|removed| *removed).count())
}

/// Gives those jobs of a task that wait another priority, and a place behind those that have it.
pub(super) async fn prioritize_jobs_of(queue: Arc<bullmq::Queue>, task: TaskId, priority: u8) -> Result<()> {
    for id in ids_of(&queue, task).await? {
        if !word(queue.get_job_state(&id).await?).waits() {
            continue;
        }
        if let Some(job) = queue.get_job(&id).await? {
            job.change_priority(u32::from(priority), false).await?;
        }
    }
    Ok(())
}

/// How urgent a job is now. The library tells what it was added with: a change is in a field of its own,
/// which is the one that BullMQ in Node shows.
async fn priority_of(queue: &bullmq::Queue, job: &bullmq::Job) -> Result<u32> {
    let mut field = redis::cmd("HGET");
    field.arg(queue.keys().job_key(job.id())).arg("priority");
    let current: Option<u32> = queue.connection().cmd(&mut field).await?;
    Ok(current.unwrap_or_else(|| job.priority()))
}

fn view(job: &bullmq::Job, state: bullmq::JobState) -> Job {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Job {
        id: job.id().to_owned(),
        name: job.name().to_owned(),
        state: word(state),
        data: job.data().clone(),
        progress: serde_json::to_value(job.progress()).unwrap_or(Value::Null),
        attempts_made: job.attempts_made(),
        priority: job.priority(),
        delay: job.delay(),
        timestamp: job.timestamp(),
        processed_on: job.processed_on(),
        finished_on: job.finished_on(),
        failed_reason: text(job.failed_reason()),
        return_value: serde_json::from_str(job.returnvalue()).ok(),
    }
}

fn word(state: bullmq::JobState) -> JobState {
    match state {
        bullmq::JobState::Waiting => JobState::Waiting,
        bullmq::JobState::Prioritized => JobState::Prioritized,
        bullmq::JobState::Delayed => JobState::Delayed,
        bullmq::JobState::Active => JobState::Active,
        bullmq::JobState::Completed => JobState::Completed,
        bullmq::JobState::Failed => JobState::Failed,
        bullmq::JobState::WaitingChildren | bullmq::JobState::Unknown => JobState::Unknown,
    }
}
