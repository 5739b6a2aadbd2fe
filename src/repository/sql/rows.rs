//! Tasks, steps and entries as the rows that are passed to the database.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::repository::commit::Creation;
use crate::repository::{Commit, Lease, RepositoryError};
use crate::task::{
    Check, Condition, Entry, Event, Fault, ForEach, ForkPoint, Item, ModelName, RetryPolicy, State, Step,
    TaskId, Timestamp, ToolUse, Usage, Verification,
};

/// A value, or a list of rows, as JSON text.
///
/// PostgreSQL's jsonb does not take NUL characters. They are replaced here, where everything
/// passes, and for both engines, so that a task reads the same wherever it is stored.
pub(in crate::repository) fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    without_nul(serde_json::to_string(value)?)
}

fn without_nul(text: String) -> Result<String, serde_json::Error> {
    if !text.contains("\\u0000") {
        return Ok(text);
    }
    let mut value: Value = serde_json::from_str(&text)?;
    replace_nul(&mut value);
    Ok(value.to_string())
}

/// The same for a text that is not JSON.
pub(in crate::repository) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The content of an event as JSON text, without its tag, which has a column of its own.
///
/// It is cut off while the text is as serde writes it, the tag first: a text that was read into a map has
/// whatever order its map has.
pub(in crate::repository) fn content(event: &Event) -> Result<String, RepositoryError> {
    let tagged = serde_json::to_string(event).map_err(unwritable)?;
    let tag = format!(r#"{{"kind":"{}","data":"#, event.kind());
    match tagged.strip_prefix(&tag).and_then(|content| content.strip_suffix('}')) {
        Some(content) => without_nul(content.to_owned()).map_err(unwritable),
        None => Err(RepositoryError::Corrupt { what: format!("an entry '{}' has no content", event.kind()) }),
    }
}

/// Something of ours cannot be written as JSON.
pub(in crate::repository) fn unwritable(error: serde_json::Error) -> RepositoryError {
    RepositoryError::Corrupt { what: format!("a row cannot be written as JSON: {error}") }
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
pub(in crate::repository) struct TaskMove<'a> {
    pub(in crate::repository) task_id: TaskId,
    pub(in crate::repository) epoch: i64,
    pub(in crate::repository) base_seq: i64,
    pub(in crate::repository) seq: i64,
    pub(in crate::repository) status: &'static str,
    pub(in crate::repository) pause_reason: Option<String>,
    pub(in crate::repository) live: bool,
    pub(in crate::repository) keep: bool,
    pub(in crate::repository) due: bool,
    /// Milliseconds from now.
    pub(in crate::repository) wake_in: i64,
    pub(in crate::repository) priority: u8,
    pub(in crate::repository) crashes: u32,
    pub(in crate::repository) completed_steps: u32,
    pub(in crate::repository) total_steps: u32,
    pub(in crate::repository) state: &'a State,
    pub(in crate::repository) updated_at: Timestamp,
    pub(in crate::repository) completed_at: Option<Timestamp>,
}

impl<'a> TaskMove<'a> {
    pub(in crate::repository) fn of(commit: &'a Commit) -> Self {
        let state = &commit.state;
        let (keep, wait) = match commit.lease {
            Lease::Keep | Lease::Due => (true, Duration::ZERO),
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
            due: commit.lease == Lease::Due,
            wake_in: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
            priority: state.priority.number(),
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
pub(in crate::repository) struct NewTask<'a> {
    pub(in crate::repository) moved: TaskMove<'a>,
    pub(in crate::repository) user_id: &'a str,
    pub(in crate::repository) thread_id: &'a str,
    pub(in crate::repository) goal: &'a str,
    pub(in crate::repository) created_at: Timestamp,
    pub(in crate::repository) parent_id: Option<TaskId>,
    pub(in crate::repository) forked_from: Option<ForkPoint>,
    pub(in crate::repository) imported: bool,
}

impl<'a> NewTask<'a> {
    pub(in crate::repository) fn of(creation: &'a Creation) -> Self {
        let (commit, spec) = (&creation.commit, &creation.spec);
        Self {
            moved: TaskMove::of(commit),
            user_id: &spec.user_id,
            thread_id: &spec.thread_id,
            goal: &spec.goal,
            created_at: commit.state.created_at,
            parent_id: spec.parent.map(|parent| parent.task),
            forked_from: spec.forked_from,
            imported: spec.imported,
        }
    }
}

/// An entry of the journal.
pub(in crate::repository) struct TraceRow<'a> {
    pub(in crate::repository) task_id: TaskId,
    pub(in crate::repository) seq: i64,
    pub(in crate::repository) epoch: i64,
    pub(in crate::repository) at: Timestamp,
    pub(in crate::repository) step_index: Option<u32>,
    pub(in crate::repository) r#type: &'static str,
    pub(in crate::repository) event: &'a Event,
}

impl<'a> TraceRow<'a> {
    pub(in crate::repository) fn of(task_id: TaskId, entry: &'a Entry) -> Self {
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

/// What a plan gives a step to work with, as one column keeps it: the tool's name and arguments,
/// and beside them what differs from other steps.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::repository) struct StepInput<'a> {
    #[serde(flatten)]
    tool: Option<&'a ToolUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<&'a RetryPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a ModelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_each: Option<&'a ForEach>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'a Condition>,
    #[serde(skip_serializing_if = "<[Check]>::is_empty")]
    checks: &'a [Check],
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a Item>,
}

/// The same as it is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredInput {
    #[serde(flatten)]
    pub(super) tool: Option<ToolUse>,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) model: Option<ModelName>,
    pub(super) for_each: Option<ForEach>,
    pub(super) when: Option<Condition>,
    #[serde(default)]
    pub(super) checks: Vec<Check>,
    pub(super) item: Option<Item>,
}

impl<'a> StepInput<'a> {
    fn of(step: &'a Step) -> Option<Self> {
        let plan = &step.plan;
        let input = Self {
            tool: plan.tool.as_ref(),
            retry: plan.retry.as_ref(),
            model: plan.model.as_ref(),
            for_each: plan.for_each.as_ref(),
            when: plan.when.as_ref(),
            checks: &plan.checks,
            item: step.item.as_ref(),
        };
        let says_something = plan.tool.is_some()
            || plan.retry.is_some()
            || plan.model.is_some()
            || plan.for_each.is_some()
            || plan.when.is_some()
            || !plan.checks.is_empty()
            || step.item.is_some();
        says_something.then_some(input)
    }
}

/// A step.
pub(in crate::repository) struct StepRow<'a> {
    pub(in crate::repository) task_id: TaskId,
    pub(in crate::repository) step_index: u32,
    pub(in crate::repository) step_id: &'a str,
    pub(in crate::repository) revision: u32,
    pub(in crate::repository) r#type: &'static str,
    pub(in crate::repository) description: &'a str,
    pub(in crate::repository) status: &'static str,
    pub(in crate::repository) optional: bool,
    pub(in crate::repository) replaced: bool,
    pub(in crate::repository) depends_on: &'a [u32],
    pub(in crate::repository) input: Option<StepInput<'a>>,
    pub(in crate::repository) output_seq: Option<i64>,
    pub(in crate::repository) verification: Option<&'a Verification>,
    pub(in crate::repository) error: Option<&'a Fault>,
    pub(in crate::repository) usage: Usage,
    pub(in crate::repository) attempts: u32,
    pub(in crate::repository) estimated_ms: Option<u64>,
    pub(in crate::repository) first_seq: Option<i64>,
    pub(in crate::repository) retry_at: Option<Timestamp>,
    pub(in crate::repository) started_at: Option<Timestamp>,
    pub(in crate::repository) completed_at: Option<Timestamp>,
}

impl<'a> StepRow<'a> {
    pub(in crate::repository) fn of(task_id: TaskId, step_index: u32, step: &'a Step) -> Self {
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
            input: StepInput::of(step),
            output_seq: step.output_seq,
            verification: step.verification.as_deref(),
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

fn pause_reason(state: &State) -> Option<String> {
    let pause = state.pause.as_ref()?;
    Some(serde_json::to_value(pause.reason).ok()?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Payload;

    #[test]
    fn the_content_of_an_event_is_its_own_whatever_is_in_it() {
        for said in [json!("plain"), json!("a\0b"), json!({"kind": "x", "data": [{"data": 1}], "a\0": "\0"})]
        {
            let event = Event::ToolReturned {
                step: 1,
                call: 2,
                result: Payload::Inline(said.clone()),
                is_error: false,
            };
            let written: Value = serde_json::from_str(&content(&event).unwrap()).unwrap();
            let mut whole = serde_json::to_value(&event).unwrap();
            replace_nul(&mut whole);
            assert_eq!(written, whole["data"], "{said}");
        }
    }
}
