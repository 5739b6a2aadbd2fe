//! Tasks, steps and entries as the routes under `/api/tasks` show them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::budget::BudgetView;
use super::status::shown;
use crate::orchestrator::{Orchestrator, OrchestratorError, RequestId, WaitsFor};
use crate::queue::Job;
use crate::repository::{Repository, RepositoryError, TaskSummary};
use crate::task::{
    Asking, Call, CallSubject, Check, Condition, Effect, EffectRecord, EffectState, Entry, Event, Evidence,
    Fault, ForEach, ForkPoint, Item, Limits, ModelName, Parent, Pause, Payload, Priority, RetryPolicy,
    Status, Step, StepStatus, StepType, Task, TaskId, TemplateRef, Timestamp, ToolUse, TraceType, Usage,
    Verification,
};

/// Tasks, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskList {
    pub(super) tasks: Vec<TaskSummary>,
    /// What to give as `before` to get those behind these, if there may be any.
    pub(super) next_before: Option<TaskId>,
}

/// All steps of a task, over all revisions of its plan.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StepList {
    pub(super) steps: Vec<StepDetail>,
}

/// A piece of a journal.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TraceList {
    pub(super) traces: Vec<EntryView>,
    /// What to give as `after` to get those behind these, if there may be any.
    pub(super) next_after: Option<i64>,
}

/// What a queue still keeps of a task, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobList {
    pub(super) jobs: Vec<Job>,
}

/// A call that changes the world. Large contents by their beginning.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EffectRecord")]
pub(super) struct EffectView {
    /// The step's index.
    step: u32,
    /// The call's number within the step.
    call: u32,
    /// How often it was dispatched.
    attempt: u32,
    /// The idempotency key that the tool was given with all attempts.
    key: String,
    tool: String,
    arguments: Value,
    effect: Effect,
    state: EffectState,
    /// When that was recorded.
    at: Timestamp,
    result: Option<Value>,
    /// Why it is not known or did not happen; or that the tool called its result an error.
    detail: Option<String>,
    /// The task below this one whose call it is, if it is not its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<TaskId>,
}

/// A task.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Task")]
pub(super) struct TaskDetail {
    id: TaskId,
    user_id: String,
    thread_id: String,
    goal: String,
    status: Status,
    priority: Priority,
    pause: Option<Pause>,
    /// Of a paused task: the calls that have not ended yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_flight: Vec<InFlight>,
    /// How many requests to people are open, if any is.
    #[serde(skip_serializing_if = "Option::is_none")]
    asking: Option<Asking>,
    /// Of the answer to a word about an unknown outcome: the request that it counted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<String>,
    /// The sub-tasks that wait for a person, at whatever depth, while this task runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits_for: Vec<WaitsFor>,
    /// How many steps are ready and wait for their turn, while a worker holds the task: the workers' limiter lets
    /// only so many start in so much time.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(default)]
    in_line: u32,
    /// Of a cancelled task: the effects that did happen, or may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Vec<EffectView>>,
    fault: Option<Fault>,
    /// 0 to 100.
    progress: u32,
    completed_steps: u32,
    total_steps: u32,
    revision: u32,
    /// The answer in full, once there is one.
    output: Option<Value>,
    /// The checks that were made of what steps claimed last; the entry `seq` holds what was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Evidence>,
    chat_model: Option<ModelName>,
    /// Whose sub-task it is, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    /// The task whose facts it began with, if it is a fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    forked_from: Option<ForkPoint>,
    /// Whether it was carried out elsewhere and is here as a recording.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    imported: bool,
    agent_id: Option<String>,
    /// The preset of the configuration that it began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    preset: Option<String>,
    /// The template that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<TemplateRef>,
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
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Step")]
pub(super) struct StepDetail {
    index: usize,
    id: String,
    description: String,
    #[schemars(with = "StepType")]
    r#type: &'static str,
    status: StepStatus,
    revision: u32,
    replaced: bool,
    optional: bool,
    depends_on: Vec<u32>,
    tool: Option<ToolUse>,
    /// When it is tried again, if otherwise than the task's other steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryPolicy>,
    /// The model that is asked in it, if its plan names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelName>,
    /// The list it is carried out for.
    #[serde(skip_serializing_if = "Option::is_none")]
    for_each: Option<ForEach>,
    /// The item it is carried out for: that of the step with the index `of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item>,
    /// It is skipped unless this holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<Condition>,
    /// What has to hold of what it brings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
    /// What the checks said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
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
    calls: Vec<CallView>,
    estimated_duration: Option<u64>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

/// A call of a step that has not ended: a model's (`model`) or a tool's (`tool`, `arguments`,
/// `effect`).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Call")]
struct CallView {
    /// Its number within the step, from 1.
    call: u32,
    /// How often it was dispatched.
    attempt: u32,
    /// `dispatched`, `delegated`, `committed`, `failed`, `lost` or `unknown`.
    state: &'static str,
    dispatched_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// The beginning of what the tool is called with.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// The task that carries it out, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<TaskId>,
}

/// A call that goes on although its task is paused. A tool that may be called again is called off, and
/// called again once the task goes on; what an unsafe one or a model brings is recorded.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InFlight {
    /// The step's index.
    step: u32,
    /// Whether it is called off.
    is_called_off: bool,
    #[serde(flatten)]
    call: CallView,
}

/// An entry of the journal.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Entry")]
pub(super) struct EntryView {
    /// Its number within the task: 1, 2, 3, … without gaps.
    seq: i64,
    at: Timestamp,
    /// The epoch of the lease under which it was written.
    epoch: i64,
    #[schemars(with = "TraceType")]
    r#type: &'static str,
    #[schemars(skip)]
    kind: &'static str,
    /// One line for people.
    message: String,
    /// The index of the step it is about.
    step: Option<u32>,
    /// What the kind of the entry brings; both are described together.
    #[schemars(flatten, with = "Event")]
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
}

/// A task as `GET /api/tasks/{id}` shows it, for programs that ask otherwise; and if somebody just said how
/// a call of it ended, for which request that counted.
///
/// # Errors
/// If the database does not answer.
pub async fn task_as_shown(
    orchestrator: &Orchestrator,
    shown: &Task,
    decided: Option<RequestId>,
) -> Result<Value, OrchestratorError> {
    let shown = task(orchestrator, shown).await?;
    Ok(json!(match decided {
        Some(request) => shown.with_decided(request),
        None => shown,
    }))
}

/// A task with its answer.
pub(super) async fn task(orchestrator: &Orchestrator, task: &Task) -> Result<TaskDetail, OrchestratorError> {
    let state = task.state();
    let effects = match state.status {
        Status::Cancelled => Some(effects_that_may_stand(orchestrator, task.id).await?),
        _ => None,
    };
    let output = match &state.output {
        Some(output) => Some(orchestrator.repository().content(output).await?),
        None => None,
    };
    let waits_for = orchestrator.below(task).await?.waits_for;
    let in_line = orchestrator.in_line(task).await?;
    Ok(TaskDetail { waits_for, in_line, effects, output, ..begun(task, orchestrator.now()) })
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A task that has no answer and did nothing yet.
pub(super) fn begun(task: &Task, now: Timestamp) -> TaskDetail {
    let (spec, state) = (task.spec(), task.state());
    TaskDetail {
        id: task.id,
        user_id: spec.user_id.clone(),
        thread_id: spec.thread_id.clone(),
        goal: spec.goal.clone(),
        status: state.status,
        priority: state.priority,
        pause: state.pause.clone(),
        in_flight: in_flight(task),
        asking: state.asking,
        decided: None,
        waits_for: Vec::new(),
        in_line: 0,
        effects: None,
        fault: state.fault.clone(),
        progress: task.progress(),
        completed_steps: state.completed,
        total_steps: task.total_steps(),
        revision: state.revision,
        output: None,
        evidence: task.evidence(),
        chat_model: spec.chat_model.clone(),
        parent: spec.parent,
        forked_from: spec.forked_from,
        imported: spec.imported,
        agent_id: spec.agent_id.clone(),
        preset: spec.preset.clone(),
        template: spec.template.clone(),
        limits: spec.limits.clone(),
        budget: BudgetView::of(task, now),
        usage: state.usage,
        seq: state.seq,
        epoch: state.epoch,
        created_at: state.created_at,
        updated_at: state.updated_at,
        completed_at: state.completed_at,
    }
}

/// What a cancelled task did to the world, or may have done.
pub(super) async fn effects_that_may_stand(
    orchestrator: &Orchestrator,
    id: TaskId,
) -> Result<Vec<EffectView>, OrchestratorError> {
    let effects = orchestrator.effects(id).await?;
    Ok(effects.iter().filter(|effect| effect.may_have_happened()).map(EffectView::of).collect())
}

impl EffectView {
    pub(super) fn of(effect: &EffectRecord) -> Self {
        let short = |payload: &Payload| match payload {
            Payload::Inline(value) => value.clone(),
            Payload::Blob { preview, .. } => Value::String(preview.clone()),
        };
        Self {
            step: effect.step,
            call: effect.call,
            attempt: effect.attempt,
            key: effect.key.clone(),
            tool: effect.tool.clone(),
            arguments: short(&effect.arguments),
            effect: effect.effect,
            state: effect.state,
            at: effect.at,
            result: effect.result.as_ref().map(short),
            detail: effect.detail.clone(),
            child: effect.child,
        }
    }
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
        retry: step.plan.retry.clone(),
        model: step.plan.model.clone(),
        for_each: step.plan.for_each.clone(),
        item: step.item.clone(),
        when: step.plan.when.clone(),
        checks: step.plan.checks.clone(),
        verification: step.verification.as_deref().cloned(),
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

impl TaskDetail {
    /// The same as the answer to a word about an unknown outcome.
    pub(super) fn with_decided(self, request: RequestId) -> Self {
        Self { decided: Some(request.to_string()), ..self }
    }
}

fn in_flight(task: &Task) -> Vec<InFlight> {
    let calls = task.calls_in_flight().filter(|_| task.status() == Status::Paused);
    let shown = calls.map(|(step, known)| InFlight {
        step,
        is_called_off: task.is_stopped() && known.is_called_off(),
        call: call(known),
    });
    shown.collect()
}

/// What a person has to know to judge a call.
fn call(call: &Call) -> CallView {
    let (model, tool, arguments, effect) = match &call.subject {
        CallSubject::Model { model, .. } => (Some(model.clone()), None, None, None),
        CallSubject::Tool { tool, arguments, effect, .. } => {
            (None, Some(tool.clone()), Some(arguments.preview()), Some(*effect))
        }
    };
    CallView {
        call: call.number,
        attempt: call.attempt,
        state: call.state.as_str(),
        dispatched_at: call.dispatched_at,
        model,
        tool,
        arguments,
        effect,
        child: call.child.as_ref().map(|child| child.task),
    }
}
