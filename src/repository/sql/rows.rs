//! Tasks, steps and entries as the rows that are passed to the database.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::repository::{Commit, Lease};
use crate::task::{Entry, Event, Fault, Payload, State, Step, TaskId, TaskSpec, Timestamp, Usage};

/// Rows as one JSON text.
///
/// PostgreSQL's jsonb does not take NUL characters. They are replaced here, where everything
/// passes, and for both engines, so that a task reads the same wherever it is stored.
pub(super) fn list<T: Serialize>(rows: &[T]) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(rows)?;
    if !text.contains("\\u0000") {
        return Ok(text);
    }
    let mut value: Value = serde_json::from_str(&text)?;
    replace_nul(&mut value);
    Ok(value.to_string())
}

fn replace_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        Value::Object(fields) => {
            let bad: Vec<String> = fields.keys().filter(|name| name.contains('\0')).cloned().collect();
            for name in bad {
                let moved = fields.remove(&name).unwrap_or_default();
                fields.insert(name.replace('\0', "\u{fffd}"), moved);
            }
            fields.values_mut().for_each(replace_nul);
        }
        _ => {}
    }
}

/// What a commit changes of a task's row.
#[derive(Serialize)]
pub(super) struct TaskMove<'a> {
    task_id: TaskId,
    epoch: i64,
    base_seq: i64,
    seq: i64,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_reason: Option<Value>,
    live: bool,
    keep: bool,
    /// Milliseconds from now.
    wake_in: i64,
    crashes: u32,
    completed_steps: u32,
    total_steps: u32,
    state: &'a State,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
}

impl<'a> TaskMove<'a> {
    pub(super) fn of(commit: &'a Commit) -> Self {
        let state = &commit.state;
        let (keep, wait) = match commit.lease {
            Lease::Keep => (true, Duration::ZERO),
            Lease::Release(wait) => (false, wait),
        };
        Self {
            task_id: commit.id,
            epoch: state.epoch,
            base_seq: commit.base_seq,
            seq: state.seq,
            status: state.status.as_str(),
            pause_reason: pause_reason(state),
            live: state.status.is_live(),
            keep,
            wake_in: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
            crashes: state.crashes,
            completed_steps: state.completed,
            total_steps: commit.total_steps,
            state,
            updated_at: state.updated_at,
            completed_at: state.completed_at,
        }
    }
}

/// A whole new task.
#[derive(Serialize)]
pub(super) struct NewTask<'a> {
    #[serde(flatten)]
    moved: TaskMove<'a>,
    user_id: &'a str,
    thread_id: &'a str,
    goal: &'a str,
    spec: &'a TaskSpec,
    created_at: Timestamp,
}

impl<'a> NewTask<'a> {
    pub(super) fn of(commit: &'a Commit, spec: &'a TaskSpec) -> Self {
        Self {
            moved: TaskMove::of(commit),
            user_id: &spec.user_id,
            thread_id: &spec.thread_id,
            goal: &spec.goal,
            spec,
            created_at: commit.state.created_at,
        }
    }
}

/// An entry of the journal.
#[derive(Serialize)]
pub(super) struct TraceRow<'a> {
    task_id: TaskId,
    seq: i64,
    epoch: i64,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_index: Option<u32>,
    r#type: &'static str,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> TraceRow<'a> {
    pub(super) fn of(task_id: TaskId, entry: &'a Entry) -> Self {
        Self {
            task_id,
            seq: entry.seq,
            epoch: entry.epoch,
            at: entry.at,
            step_index: entry.event.step(),
            r#type: entry.event.trace_type().as_str(),
            event: &entry.event,
        }
    }
}

/// A step.
#[derive(Serialize)]
pub(super) struct StepRow<'a> {
    task_id: TaskId,
    step_index: u32,
    step_id: &'a str,
    revision: u32,
    r#type: &'static str,
    description: &'a str,
    status: &'static str,
    optional: bool,
    replaced: bool,
    depends_on: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a crate::task::ToolUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Fault>,
    usage: Usage,
    attempts: u32,
    estimated_ms: Option<u64>,
    first_seq: Option<i64>,
    retry_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl<'a> StepRow<'a> {
    pub(super) fn of(task_id: TaskId, step_index: u32, step: &'a Step) -> Self {
        Self {
            task_id,
            step_index,
            step_id: &step.plan.id,
            revision: step.revision,
            r#type: step.plan.kind.as_str(),
            description: &step.plan.description,
            status: step.status.as_str(),
            optional: step.plan.optional,
            replaced: step.replaced,
            depends_on: &step.plan.depends_on,
            input: step.plan.tool.as_ref(),
            output: step.output.as_ref(),
            error: step.fault.as_ref(),
            usage: step.usage,
            attempts: step.attempts,
            estimated_ms: step.plan.estimated_duration,
            first_seq: step.first_seq,
            retry_at: step.retry_at,
            started_at: step.started_at,
            completed_at: step.completed_at,
        }
    }
}

fn pause_reason(state: &State) -> Option<Value> {
    let pause = state.pause.as_ref()?;
    serde_json::to_value(pause.reason).ok()
}
