//! Tasks, steps and entries as the routes under `/api/tasks` show them.

use serde::Serialize;
use serde_json::{Value, json};

use super::budget::BudgetView;
use super::status::shown;
use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::repository::{Repository, RepositoryError};
use crate::task::{
    Asking, Call, CallSubject, EffectRecord, Entry, Fault, Limits, ModelName, Pause, Payload, Priority,
    Status, Step, StepStatus, Task, TaskId, Timestamp, ToolUse, Usage,
};

/// A task.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskDetail {
    id: TaskId,
    user_id: String,
    thread_id: String,
    goal: String,
    status: Status,
    priority: Priority,
    pause: Option<Pause>,
    /// How many requests to people are open, if any is.
    #[serde(skip_serializing_if = "Option::is_none")]
    asking: Option<Asking>,
    /// Of a cancelled task: the effects that did happen, or may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Vec<Value>>,
    fault: Option<Fault>,
    progress: u32,
    completed_steps: u32,
    total_steps: u32,
    revision: u32,
    /// The answer in full, once there is one.
    output: Option<Value>,
    chat_model: Option<ModelName>,
    agent_id: Option<String>,
    limits: Limits,
    budget: BudgetView,
    usage: Usage,
    /// The number of its newest entry.
    seq: i64,
    epoch: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    completed_at: Option<Timestamp>,
}

/// A step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepDetail {
    index: usize,
    id: String,
    description: String,
    r#type: &'static str,
    status: StepStatus,
    revision: u32,
    replaced: bool,
    optional: bool,
    depends_on: Vec<u32>,
    tool: Option<ToolUse>,
    attempts: u32,
    retry_at: Option<Timestamp>,
    /// What it brought, or the beginning of it.
    output: Option<Value>,
    /// The length of a large output in bytes, of which only the beginning is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_bytes: Option<u64>,
    fault: Option<Fault>,
    usage: Usage,
    /// The calls of a step that has not ended.
    calls: Vec<Value>,
    estimated_duration: Option<u64>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

/// An entry of the journal.
#[derive(Debug, Serialize)]
pub(super) struct EntryView {
    seq: i64,
    at: Timestamp,
    epoch: i64,
    r#type: &'static str,
    kind: &'static str,
    message: String,
    step: Option<u32>,
    data: Value,
}

impl EntryView {
    /// The entry with its data as recorded: large contents by name and beginning.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            epoch: entry.epoch,
            r#type: entry.event.trace_type().as_str(),
            kind: entry.event.kind(),
            message: entry.event.message(),
            step: entry.event.step(),
            data: entry.event.data(),
        }
    }

    /// Its number.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// Its tag.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }
}

/// A task with its answer.
pub(super) async fn task(orchestrator: &Orchestrator, task: &Task) -> Result<TaskDetail, OrchestratorError> {
    let (repository, spec, state) = (orchestrator.repository(), task.spec(), task.state());
    let effects = match state.status {
        Status::Cancelled => Some(effects_that_may_stand(orchestrator, task.id).await?),
        _ => None,
    };
    let output = match &state.output {
        Some(output) => Some(repository.content(output).await?),
        None => None,
    };
    Ok(TaskDetail {
        id: task.id,
        user_id: spec.user_id.clone(),
        thread_id: spec.thread_id.clone(),
        goal: spec.goal.clone(),
        status: state.status,
        priority: state.priority,
        pause: state.pause.clone(),
        asking: state.asking,
        effects,
        fault: state.fault.clone(),
        progress: task.progress(),
        completed_steps: state.completed,
        total_steps: task.total_steps(),
        revision: state.revision,
        output,
        chat_model: spec.chat_model.clone(),
        agent_id: spec.agent_id.clone(),
        limits: spec.limits.clone(),
        budget: BudgetView::of(task, orchestrator.now()),
        usage: state.usage,
        seq: state.seq,
        epoch: state.epoch,
        created_at: state.created_at,
        updated_at: state.updated_at,
        completed_at: state.completed_at,
    })
}

/// What a cancelled task did to the world, or may have done.
pub(super) async fn effects_that_may_stand(
    orchestrator: &Orchestrator,
    id: TaskId,
) -> Result<Vec<Value>, OrchestratorError> {
    let effects = orchestrator.effects(id).await?;
    Ok(effects.iter().filter(|effect| effect.may_have_happened()).map(self::effect).collect())
}

/// An effect: large contents by their beginning.
pub(super) fn effect(effect: &EffectRecord) -> Value {
    let short = |payload: &Payload| match payload {
        Payload::Inline(value) => value.clone(),
        Payload::Blob { preview, .. } => Value::String(preview.clone()),
    };
    json!({
        "step": effect.step, "call": effect.call, "attempt": effect.attempt, "key": effect.key,
        "tool": effect.tool, "arguments": short(&effect.arguments), "effect": effect.effect,
        "state": effect.state, "at": effect.at, "result": effect.result.as_ref().map(short),
        "detail": effect.detail,
    })
}

/// A step with what it brought.
pub(super) async fn step(
    repository: &dyn Repository,
    index: usize,
    step: &Step,
) -> Result<StepDetail, RepositoryError> {
    let output = match &step.output {
        Some(output) => Some(shown(repository, output).await?),
        None => None,
    };
    let output_bytes = match &step.output {
        Some(Payload::Blob { size, .. }) => Some(*size),
        _ => None,
    };
    Ok(StepDetail {
        index,
        id: step.plan.id.clone(),
        description: step.plan.description.clone(),
        r#type: step.plan.kind.as_str(),
        status: step.status,
        revision: step.revision,
        replaced: step.replaced,
        optional: step.plan.optional,
        depends_on: step.plan.depends_on.clone(),
        tool: step.plan.tool.clone(),
        attempts: step.attempts,
        retry_at: step.retry_at,
        output,
        output_bytes,
        fault: step.fault.clone(),
        usage: step.usage,
        calls: step.calls.iter().map(call).collect(),
        estimated_duration: step.plan.estimated_duration,
        started_at: step.started_at,
        completed_at: step.completed_at,
    })
}

/// What a person has to know to judge a call.
fn call(call: &Call) -> Value {
    let common = json!({
        "call": call.number, "attempt": call.attempt, "state": call.state.as_str(),
        "dispatchedAt": call.dispatched_at,
    });
    let subject = match &call.subject {
        CallSubject::Model { model, .. } => json!({"model": model}),
        CallSubject::Tool { tool, arguments, effect, .. } => {
            json!({"tool": tool, "arguments": arguments.preview(), "effect": effect})
        }
    };
    match (common, subject) {
        (Value::Object(mut common), Value::Object(subject)) => {
            common.extend(subject);
            Value::Object(common)
        }
        (common, _) => common,
    }
}
