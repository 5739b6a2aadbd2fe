//! What the queue is told of the tasks that its hints led to.
//!
//! A job that led to a task stays active for as long as this worker holds the task, shows how
//! far it is, and ends when it is given back: completed whatever became of it, unless the task
//! failed. Whoever goes on is told by a job of its own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::leases::Taken;
use super::{Shared, drive};
use crate::queue::{JobEnd, JobProgress, Queue, Receipt, Wake};
use crate::repository::{Change, RepositoryError};
use crate::task::{Next, Status, StepStatus, Task, TaskId};

/// How long a job waits whose user has enough at work. Whoever gives back a task of such a user looks for
/// the next one by itself: this is only for a worker that dies instead.
const TURN: Duration = Duration::from_secs(30);

/// How long a job waits whose task somebody else was just looking at and then did not take.
const MOMENT: Duration = Duration::from_millis(100);

/// Drives a task, and tells the queue.
pub(super) async fn serve(
    shared: Arc<Shared>,
    queue: Arc<dyn Queue>,
    taken: Taken,
    receipt: Option<Receipt>,
) {
    let Some(receipt) = receipt else {
        if let Some(task) = drive::drive(shared.clone(), taken).await {
            pass_on(&shared, queue.as_ref(), &task).await;
            // The job of a task that was found without it may wait for its turn: it is over.
            if shared.config.per_user > 0 && task.status().is_terminal() {
                queue.forget(task.id).await;
            }
        }
        return;
    };
    // If the lease is lost, the receipt is dropped: the job says that this worker let it go.
    if let Some(task) = mirrored(&shared, taken, &receipt).await {
        let wait = pass_on(&shared, queue.as_ref(), &task).await;
        receipt.done(end_of(&task, wait));
    }
}

/// Drives a task while its job shows how far it is.
async fn mirrored(shared: &Arc<Shared>, taken: Taken, receipt: &Receipt) -> Option<Arc<Task>> {
    let task = &taken.claimed.task;
    let id = task.id;
    let step = task.frontier().first().copied().unwrap_or(0);
    let attempts_made = attempts_of(task, step);
    let mut changes = shared.orchestrator.repository().changes();
    receipt.progress(JobProgress { attempts_made, ..progress_of(task) });
    let driving = drive::drive(shared.clone(), taken);
    tokio::pin!(driving);
    loop {
        let change: Result<Change, RecvError> = tokio::select! {
            biased;
            task = &mut driving => {
                if let Some(task) = &task {
                    let attempts_made = attempts_of(task, step).saturating_sub(1);
                    receipt.progress(JobProgress { attempts_made, ..progress_of(task) });
                }
                return task;
            }
            change = changes.recv() => change,
        };
        match change {
            Ok(change) if change.id == id => receipt.progress(JobProgress {
                completed_steps: change.completed_steps,
                total_steps: change.total_steps,
                status: change.status.as_str(),
                attempts_made,
            }),
            // The next one tells enough.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return driving.await,
        }
    }
}

/// Tells the queue when a task that was given back wants attention again, and returns when
/// that is, if it does.
pub(super) async fn pass_on(shared: &Shared, queue: &dyn Queue, task: &Task) -> Option<Duration> {
    if !task.status().is_live() {
        return None;
    }
    let wait = due_in(shared, task);
    if let Err(error) = queue.push(Wake::again(task, wait)).await {
        tracing::debug!(task = %task.id, %error, "the queue was not told, polling will find the task");
    }
    Some(wait)
}

/// In what time a task wants attention.
fn due_in(shared: &Shared, task: &Task) -> Duration {
    let now = (shared.clock)();
    match task.next(now) {
        Next::WaitUntil(at) => at.since(now),
        Next::Children(until) => {
            let look = Duration::from_millis(shared.config.children_ms);
            until.map_or(look, |at| at.since(now).min(look))
        }
        Next::Run(_) | Next::Ask | Next::Revise(_) | Next::Conclude | Next::Rest => Duration::ZERO,
    }
}

/// Ends a job whose task could not be claimed, and says why; or lets it wait if the task is due and nobody
/// has it: its user may have as many at work as are allowed, or another claim looked at it in that moment.
pub(super) async fn nothing_to_do(shared: Arc<Shared>, id: TaskId, receipt: Receipt) {
    if is_left(&shared, id).await.unwrap_or(false) {
        let wait = if shared.config.per_user > 0 { TURN } else { MOMENT };
        return receipt.done(JobEnd::Later(wait));
    }
    let status = match shared.orchestrator.repository().load(id).await {
        // A live one is held elsewhere, or not due yet.
        Ok(Some(task)) => task.status().as_str(),
        Ok(None) => "unknown",
        Err(_) => "unreadable",
    };
    receipt.done(JobEnd::Completed(json!({"status": status, "skipped": true})));
}

/// Whether a task is due, and no worker has it.
async fn is_left(shared: &Shared, id: TaskId) -> Result<bool, RepositoryError> {
    let repository = shared.orchestrator.repository();
    let Some(task) = repository.load(id).await? else { return Ok(false) };
    if !task.status().is_live() || !due_in(shared, &task).is_zero() {
        return Ok(false);
    }
    let workers = repository.workers().await?;
    Ok(!workers.iter().any(|worker| worker.tasks.contains(&id)))
}

fn progress_of(task: &Task) -> JobProgress {
    JobProgress {
        completed_steps: task.state().completed,
        total_steps: task.total_steps(),
        status: task.status().as_str(),
        attempts_made: 0,
    }
}

/// How often a step has been tried.
fn attempts_of(task: &Task, step: u32) -> u32 {
    task.step(step).map_or(0, |step| step.attempts)
}

fn end_of(task: &Task, wait: Option<Duration>) -> JobEnd {
    if let (Status::Failed, Some(fault)) = (task.status(), &task.state().fault) {
        return JobEnd::Failed { reason: fault.message.clone(), trace: trace_of(task) };
    }
    let mut value = json!({
        "status": task.status().as_str(),
        "completedSteps": task.state().completed,
        "totalSteps": task.total_steps(),
    });
    if let Some(pause) = &task.state().pause {
        value["pauseReason"] = json!(pause.reason);
    }
    if let Some(wait) = wait {
        value["continuesInMs"] = Value::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    }
    JobEnd::Completed(value)
}

/// The fault of the task, and the steps it comes from.
fn trace_of(task: &Task) -> String {
    let mut lines: Vec<String> = task.state().fault.iter().map(ToString::to_string).collect();
    for (number, step) in (1..).zip(task.steps()).filter(|(_, step)| step.status == StepStatus::Failed) {
        let fault = step.fault.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default();
        lines.push(format!(
            "    at step {number} ({}), attempt {}{fault}",
            step.plan.description, step.attempts
        ));
    }
    lines.join("\n")
}
