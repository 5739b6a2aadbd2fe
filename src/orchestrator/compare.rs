//! Two tasks side by side, step by step: for a fork and the task it was forked from, or any two.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Orchestrator, OrchestratorError};
use crate::task::{ForkPoint, ModelName, Payload, Status, Step, StepStatus, Task, TaskId, Usage, Usd};

/// What differs between two tasks.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TaskDiff {
    /// The first task.
    pub a: TaskSide,
    /// The second task.
    pub b: TaskSide,
    /// Their steps, in the order of the first task; then those that only the second one has.
    pub steps: Vec<StepDiff>,
}

/// One of the two tasks.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSide {
    /// Its id.
    pub id: TaskId,
    /// Where it stands.
    pub status: Status,
    /// The model that was asked for; the configured ones otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_model: Option<ModelName>,
    /// The task it was forked from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// What it consumed itself.
    pub usage: Usage,
    /// From its creation to its end, in milliseconds; to its newest entry if it has not ended.
    pub duration_ms: u64,
}

/// A step in both tasks.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDiff {
    /// The step's id, by which the two are put side by side.
    pub id: String,
    /// Whether both are the same but for the time they took: status, plan and output.
    pub same: bool,
    /// The step in the first task, if it has it.
    pub a: Option<StepSide>,
    /// The step in the second task, if it has it.
    pub b: Option<StepSide>,
}

/// A step in one of the tasks.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepSide {
    /// Its index.
    pub index: u32,
    /// What it is to do.
    pub description: String,
    /// Where it stands.
    pub status: StepStatus,
    /// Whether a fork was given it as it stands, and did not do it itself.
    pub inherited: bool,
    /// How often it was begun.
    pub attempts: u32,
    /// What it brought; a large output by its beginning.
    pub output: Option<Value>,
    /// Why it failed, if it did.
    pub fault: Option<String>,
    /// Tokens of prompts and answers.
    pub tokens: u64,
    /// What they cost, as far as the price is known.
    pub cost_usd: Usd,
    /// Model calls of which nobody knows the price, if there were any.
    #[serde(skip_serializing_if = "is_none")]
    pub unpriced_calls: u32,
    /// From its beginning to its end, in milliseconds, once it has ended.
    pub duration_ms: Option<u64>,
}

impl Orchestrator {
    /// Puts two tasks side by side.
    pub async fn compare(&self, a: TaskId, b: TaskId) -> Result<TaskDiff, OrchestratorError> {
        let a = self.repository.load(a).await?.ok_or(OrchestratorError::NotFound)?;
        let b = self.repository.load(b).await?.ok_or(OrchestratorError::NotFound)?;
        Ok(diff(&a, &b))
    }
}

fn diff(a: &Task, b: &Task) -> TaskDiff {
    let find = |task: &Task, id: &str| {
        (0u32..).zip(task.steps()).find(|(_, step)| step.plan.id == id).map(|(at, _)| at)
    };
    let mut steps: Vec<StepDiff> = (0u32..)
        .zip(a.steps())
        .map(|(index, step)| step_diff(a, Some(index), b, find(b, &step.plan.id)))
        .collect();
    let only_b = (0u32..).zip(b.steps()).filter(|(_, step)| find(a, &step.plan.id).is_none());
    steps.extend(only_b.map(|(index, _)| step_diff(a, None, b, Some(index))));
    TaskDiff { a: task_side(a), b: task_side(b), steps }
}

fn task_side(task: &Task) -> TaskSide {
    let (spec, state) = (task.spec(), task.state());
    let until = state.completed_at.unwrap_or(state.updated_at);
    TaskSide {
        id: task.id,
        status: state.status,
        chat_model: spec.chat_model.clone(),
        forked_from: spec.forked_from,
        usage: state.usage,
        duration_ms: millis(until.since(state.created_at)),
    }
}

fn step_diff(a: &Task, in_a: Option<u32>, b: &Task, in_b: Option<u32>) -> StepDiff {
    let (one, other) = (in_a.and_then(|at| a.step(at)), in_b.and_then(|at| b.step(at)));
    let id = one.or(other).map(|step| step.plan.id.clone()).unwrap_or_default();
    StepDiff {
        id,
        same: one.zip(other).is_some_and(|(one, other)| is_same(one, other)),
        a: in_a.and_then(|at| Some(step_side(a, at, a.step(at)?))),
        b: in_b.and_then(|at| Some(step_side(b, at, b.step(at)?))),
    }
}

fn is_same(one: &Step, other: &Step) -> bool {
    let hash = |step: &Step| step.output.as_ref().map(Payload::hash);
    (one.status, &one.plan, hash(one)) == (other.status, &other.plan, hash(other))
}

fn step_side(task: &Task, index: u32, step: &Step) -> StepSide {
    let created_at = task.state().created_at;
    let is_older = step.completed_at.is_some_and(|at| at < created_at);
    let took = step.started_at.zip(step.completed_at).map(|(from, to)| millis(to.since(from)));
    StepSide {
        index,
        description: step.plan.description.clone(),
        status: step.status,
        inherited: task.spec().forked_from.is_some() && is_older,
        attempts: step.attempts,
        output: step.output.as_ref().map(|output| match output {
            Payload::Inline(value) => value.clone(),
            Payload::Blob { preview, .. } => Value::String(preview.clone()),
        }),
        fault: step.fault.as_ref().map(ToString::to_string),
        tokens: step.usage.input_tokens.saturating_add(step.usage.output_tokens),
        cost_usd: step.usage.cost_usd,
        unpriced_calls: step.usage.unpriced_calls,
        duration_ms: took,
    }
}

fn is_none(calls: &u32) -> bool {
    *calls == 0
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
