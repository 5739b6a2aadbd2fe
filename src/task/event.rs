//! The facts: everything that can happen to a task, in one vocabulary.
//!
//! The journal, recovery, live streams, the audit trail and the progress bars of the command
//! line all consume these same entries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Effect, Fault, ModelName, Pause, Payload, Plan, Priority, TaskSpec, Timestamp, ToolRequest, Usage,
};

/// One line of a task's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number within the task: 1, 2, 3, … in commit order, without gaps.
    pub seq: i64,
    /// The epoch of the lease under which it was written; never falls.
    pub epoch: i64,
    /// When it was written, by the clock of its writer.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Who made a plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Planner {
    /// The model, or none where the caller brought the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Whether this is only the best that could be done: the model gave no usable plan.
    #[serde(default)]
    pub degraded: bool,
    /// What making it consumed.
    #[serde(default)]
    pub usage: Usage,
    /// Why the plan is as it is, or why it was revised.
    #[serde(default)]
    pub reason: String,
}

/// The trace types of the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceType {
    /// A tool was called or answered.
    ToolCall,
    /// A model was asked.
    LlmRequest,
    /// A model answered.
    LlmResponse,
    /// The context was written down or compressed.
    Checkpoint,
    /// Something failed.
    Error,
    /// The engine or a person decided something.
    Decision,
}

impl TraceType {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolCall => "tool-call",
            Self::LlmRequest => "llm-request",
            Self::LlmResponse => "llm-response",
            Self::Checkpoint => "checkpoint",
            Self::Error => "error",
            Self::Decision => "decision",
        }
    }
}

/// A fact about a task. `step` is always the index of a step, `call` its number within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// The task exists. Always the first entry, and only that.
    Created {
        /// What was asked for.
        spec: Box<TaskSpec>,
    },
    /// Why the request became a task.
    Detected {
        /// `rules`, a model's name, or `caller` where the task was asked for outright.
        by: String,
        /// 0 (simple) to 1 (complex).
        score: f64,
        /// From which score on a request becomes a task.
        threshold: f64,
        /// What was seen in the request.
        features: Vec<String>,
    },
    /// A plan, or a revision of it: steps that are not done are replaced by these.
    Planned {
        /// 1 for the first plan, then one more each time.
        revision: u32,
        /// The new steps, appended to those that stay.
        plan: Plan,
        /// Who made it and why.
        by: Planner,
    },
    /// A worker took the task over; recorded with the first commit of its epoch.
    Claimed {
        /// The worker's name.
        worker: String,
        /// How many workers lost the task since it last made progress.
        crashes: u32,
    },
    /// An attempt of a step begins.
    StepStarted {
        /// Which step.
        step: u32,
        /// From 1.
        attempt: u32,
    },
    /// A model is about to be asked. The whole prompt is the recorded request `base` with the
    /// recorded outcomes since, followed by `parts`: nothing is stored twice.
    ModelRequested {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// From 1.
        attempt: u32,
        /// Which model.
        model: ModelName,
        /// The call of this step whose conversation this one continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<u32>,
        /// Messages that are not recorded elsewhere yet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<Payload>,
    },
    /// The model answered.
    ModelAnswered {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// The text of the answer.
        text: Payload,
        /// The tool calls it asks for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        requests: Vec<ToolRequest>,
        /// Why it stopped, in the provider's word.
        finish: String,
        /// What it consumed.
        usage: Usage,
    },
    /// A tool is about to be called.
    ToolDispatched {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// From 1.
        attempt: u32,
        /// The tool's full name.
        tool: String,
        /// The arguments, as dispatched.
        arguments: Payload,
        /// What calling it does to the world.
        effect: Effect,
        /// The model's own id for this call; none if the plan itself named the tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// The tool returned.
    ToolReturned {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// What it returned.
        result: Payload,
        /// Whether the tool itself calls that an error.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// A call is known to have had no outcome: refused, timed out before it was sent, cut.
    CallFailed {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// Why.
        fault: Fault,
    },
    /// A call was in flight when its worker or its server was lost.
    CallLost {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// What is known.
        detail: String,
    },
    /// A person or a reconciling tool says how a lost call ended.
    OutcomeDecided {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// The result if it took effect; none if it did not and may be dispatched again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Payload>,
        /// Who said so.
        by: String,
    },
    /// A step is done.
    StepCompleted {
        /// Which step.
        step: u32,
        /// What it brought. None where it is the result of its last call, which is recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Payload>,
    },
    /// An attempt of a step failed.
    StepFailed {
        /// Which step.
        step: u32,
        /// Why.
        fault: Fault,
        /// When it is tried again; none if it failed for good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// A step is not needed.
    StepSkipped {
        /// Which step.
        step: u32,
        /// Why.
        reason: String,
    },
    /// The context was written down.
    CheckpointTaken {
        /// The step that asked for it; none for an automatic one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// How many steps were completed.
        completed: u32,
        /// Where the work stands.
        context: Payload,
    },
    /// Older content was compressed: from now on the summary stands for it in prompts.
    ContextSummarized {
        /// The step that asked for it; none for an automatic one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// The outputs of all steps up to this index are covered.
        through: u32,
        /// What stands for them.
        summary: Payload,
        /// The model, or `truncation` where it failed.
        by: String,
        /// Estimated tokens of what is covered.
        tokens_before: u64,
        /// Estimated tokens of the summary.
        tokens_after: u64,
        /// What it consumed.
        #[serde(default)]
        usage: Usage,
    },
    /// The engine looked at the progress and decided how to go on.
    Evaluated {
        /// `continue`, `replan`, `done` or `fail`.
        verdict: String,
        /// Why.
        reason: String,
        /// `rules` or a model's name.
        by: String,
        /// What it consumed.
        #[serde(default)]
        usage: Usage,
    },
    /// Somebody said how urgent the task is from now on.
    Prioritized {
        /// 1 (most urgent) to 5.
        priority: Priority,
        /// Who said so.
        by: String,
    },
    /// The task waits for a person.
    Paused {
        /// For what.
        pause: Pause,
        /// Who paused it.
        by: String,
    },
    /// The task goes on.
    Resumed {
        /// Who said so.
        by: String,
    },
    /// The end: every required step is completed.
    Completed {
        /// The answer.
        output: Payload,
    },
    /// The end: the goal was not reached.
    Failed {
        /// Why.
        fault: Fault,
    },
    /// The end: somebody stopped it.
    Cancelled {
        /// Who.
        by: String,
    },
}

impl Entry {
    /// Whether two entries of one task are the same one. Nobody else writes in one epoch under one
    /// number at the same millisecond with the same tag; the contents are not compared, for a
    /// database may write a number differently.
    pub fn is_same(&self, other: &Self) -> bool {
        let shape = |entry: &Self| (entry.seq, entry.epoch, entry.at, entry.event.kind());
        shape(self) == shape(other)
    }
}

impl Event {
    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<u32> {
        match self {
            Self::StepStarted { step, .. }
            | Self::ModelRequested { step, .. }
            | Self::ModelAnswered { step, .. }
            | Self::ToolDispatched { step, .. }
            | Self::ToolReturned { step, .. }
            | Self::CallFailed { step, .. }
            | Self::CallLost { step, .. }
            | Self::OutcomeDecided { step, .. }
            | Self::StepCompleted { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepSkipped { step, .. } => Some(*step),
            Self::CheckpointTaken { step, .. } | Self::ContextSummarized { step, .. } => *step,
            _ => None,
        }
    }

    /// Whether it is the intent or the outcome of a call.
    pub fn is_about_call(&self) -> bool {
        self.is_outcome()
            || self.is_dispatch()
            || matches!(self, Self::CallLost { .. } | Self::OutcomeDecided { .. })
    }

    /// Whether it is the intent of a call.
    pub fn is_dispatch(&self) -> bool {
        matches!(self, Self::ModelRequested { .. } | Self::ToolDispatched { .. })
    }

    /// Whether it tells how a dispatched call ended. Outcomes are recorded even when they
    /// come late, for they did happen.
    pub fn is_outcome(&self) -> bool {
        matches!(self, Self::ModelAnswered { .. } | Self::ToolReturned { .. } | Self::CallFailed { .. })
    }

    /// Whether it may be recorded after the end of the task: what is known of a call that was
    /// in flight then.
    pub fn may_come_late(&self) -> bool {
        self.is_outcome() || matches!(self, Self::CallLost { .. })
    }

    /// The seed's trace type for it.
    pub fn trace_type(&self) -> TraceType {
        match self {
            Self::ModelRequested { .. } => TraceType::LlmRequest,
            Self::ModelAnswered { .. } => TraceType::LlmResponse,
            Self::ToolDispatched { .. } | Self::ToolReturned { .. } => TraceType::ToolCall,
            Self::CheckpointTaken { .. } | Self::ContextSummarized { .. } => TraceType::Checkpoint,
            Self::CallFailed { .. }
            | Self::CallLost { .. }
            | Self::StepFailed { .. }
            | Self::Failed { .. } => TraceType::Error,
            _ => TraceType::Decision,
        }
    }

    /// The tag it is stored under: `created`, `step_started`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Detected { .. } => "detected",
            Self::Planned { .. } => "planned",
            Self::Claimed { .. } => "claimed",
            Self::StepStarted { .. } => "step_started",
            Self::ModelRequested { .. } => "model_requested",
            Self::ModelAnswered { .. } => "model_answered",
            Self::ToolDispatched { .. } => "tool_dispatched",
            Self::ToolReturned { .. } => "tool_returned",
            Self::CallFailed { .. } => "call_failed",
            Self::CallLost { .. } => "call_lost",
            Self::OutcomeDecided { .. } => "outcome_decided",
            Self::StepCompleted { .. } => "step_completed",
            Self::StepFailed { .. } => "step_failed",
            Self::StepSkipped { .. } => "step_skipped",
            Self::CheckpointTaken { .. } => "checkpoint_taken",
            Self::ContextSummarized { .. } => "context_summarized",
            Self::Evaluated { .. } => "evaluated",
            Self::Prioritized { .. } => "prioritized",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// One line for people.
    pub fn message(&self) -> String {
        match self {
            Self::Created { spec } => format!("Task created: {}", Payload::text(&spec.goal).preview()),
            Self::Detected { by, score, .. } => format!("Needs orchestration (score {score:.2}, by {by})"),
            Self::Planned { revision, plan, by } => planned_message(*revision, plan, by),
            Self::Claimed { worker, .. } => format!("Taken over by worker {worker}"),
            Self::StepStarted { step, attempt } => format!("Step {} started (attempt {attempt})", step + 1),
            Self::ModelRequested { model, .. } => format!("Asked model {model}"),
            Self::ModelAnswered { text, requests, .. } => answered_message(text, requests),
            Self::ToolDispatched { tool, .. } => format!("Called tool: {tool}"),
            Self::ToolReturned { result, is_error: false, .. } => {
                format!("Tool returned: {}", result.preview())
            }
            Self::ToolReturned { result, .. } => format!("Tool reported an error: {}", result.preview()),
            Self::CallFailed { fault, .. } => format!("Call failed: {fault}"),
            Self::CallLost { detail, .. } => format!("Outcome of a call is not known: {detail}"),
            Self::OutcomeDecided { by, result: Some(_), .. } => format!("{by}: the call took effect"),
            Self::OutcomeDecided { by, .. } => format!("{by}: the call did not take effect"),
            Self::StepCompleted { step, .. } => format!("Step {} completed", step + 1),
            Self::StepFailed { step, fault, retry_at } => failed_message(*step, fault, *retry_at),
            Self::StepSkipped { step, reason } => format!("Step {} skipped: {reason}", step + 1),
            Self::CheckpointTaken { completed, .. } => {
                format!("Checkpoint after {completed} completed steps")
            }
            Self::ContextSummarized { tokens_before, tokens_after, by, .. } => {
                format!("Context summarized from {tokens_before} to {tokens_after} tokens by {by}")
            }
            Self::Evaluated { verdict, reason, .. } => format!("Progress evaluated: {verdict} ({reason})"),
            Self::Prioritized { priority, by } => format!("Priority set to {priority} by {by}"),
            Self::Paused { pause, .. } => format!("Paused: {}", pause.detail),
            Self::Resumed { by } => format!("Resumed by {by}"),
            Self::Completed { output } => format!("Task completed: {}", output.preview()),
            Self::Failed { fault } => format!("Task failed: {fault}"),
            Self::Cancelled { by } => format!("Task cancelled by {by}"),
        }
    }

    /// Every payload in it, so that large ones can be stored by name.
    pub fn payloads_mut(&mut self) -> Vec<&mut Payload> {
        match self {
            Self::ModelRequested { parts, .. } => parts.iter_mut().collect(),
            Self::ModelAnswered { text, .. } => vec![text],
            Self::ToolDispatched { arguments, .. } => vec![arguments],
            Self::ToolReturned { result, .. } => vec![result],
            Self::OutcomeDecided { result, .. } => result.iter_mut().collect(),
            Self::StepCompleted { output, .. } => output.iter_mut().collect(),
            Self::CheckpointTaken { context, .. } => vec![context],
            Self::ContextSummarized { summary, .. } => vec![summary],
            Self::Completed { output } => vec![output],
            _ => Vec::new(),
        }
    }

    /// What it says beyond its tag, as JSON.
    pub fn data(&self) -> Value {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut tagged)) => tagged.remove("data").unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }
}

fn planned_message(revision: u32, plan: &Plan, by: &Planner) -> String {
    let degraded = if by.degraded { ", degraded" } else { "" };
    match revision {
        1 => format!("Planned {} steps{degraded}", plan.steps.len()),
        _ => {
            format!("Plan revised (revision {revision}, {} steps{degraded}): {}", plan.steps.len(), by.reason)
        }
    }
}

fn answered_message(text: &Payload, requests: &[ToolRequest]) -> String {
    if requests.is_empty() {
        return format!("Model answered: {}", text.preview());
    }
    let tools: Vec<&str> = requests.iter().map(|request| request.tool.as_str()).collect();
    format!("Model wants to call {}", tools.join(", "))
}

fn failed_message(step: u32, fault: &Fault, retry_at: Option<Timestamp>) -> String {
    match retry_at {
        Some(at) => format!("Step {} failed, next attempt at {at}: {fault}", step + 1),
        None => format!("Step {} failed for good: {fault}", step + 1),
    }
}
