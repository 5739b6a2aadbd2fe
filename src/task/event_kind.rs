//! What kind of fact an event is: its tag, its trace type, and what it is about.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Plan};

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

impl Event {
    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<u32> {
        match self {
            Self::StepStarted { step, .. }
            | Self::ModelRequested { step, .. }
            | Self::ModelAnswered { step, .. }
            | Self::ToolDispatched { step, .. }
            | Self::ToolReturned { step, .. }
            | Self::ChildStarted { step, .. }
            | Self::ChildEnded { step, .. }
            | Self::CallFailed { step, .. }
            | Self::CallLost { step, .. }
            | Self::OutcomeDecided { step, .. }
            | Self::ApprovalRequested { step, .. }
            | Self::ApprovalGiven { step, .. }
            | Self::ApprovalDenied { step, .. }
            | Self::ToolAccepted { step, .. }
            | Self::InputRequested { step, .. }
            | Self::InputGiven { step, .. }
            | Self::InputDeclined { step, .. }
            | Self::StepCompleted { step, .. }
            | Self::StepFailed { step, .. }
            | Self::FannedOut { step, .. }
            | Self::StepClaimed { step, .. }
            | Self::StepVerified { step, .. }
            | Self::CheckDecided { step, .. }
            | Self::StepSkipped { step, .. }
            | Self::ConversationSummarized { step, .. } => Some(*step),
            Self::ToolChanged(notice) => Some(notice.step),
            Self::CheckpointTaken { step, .. }
            | Self::ContextSummarized { step, .. }
            | Self::FactPinned { step, .. } => *step,
            Self::BudgetRaised { child, .. } => child.map(|of| of.step),
            _ => None,
        }
    }

    /// The revision of the plan that it brings, with its number: one that was made, or what is done anew since
    /// the task was put back. Its steps stand behind those that are there.
    pub fn new_plan(&self) -> Option<(u32, &Plan)> {
        match self {
            Self::Planned { revision, plan, .. } | Self::Restored { revision, plan, .. } => {
                Some((*revision, plan))
            }
            _ => None,
        }
    }

    /// How many steps it appends to those that are there: those of a plan, or one for each item of a list.
    pub fn new_steps(&self) -> usize {
        match self {
            Self::FannedOut { items, .. } => items.len(),
            other => other.new_plan().map_or(0, |(_, plan)| plan.steps.len()),
        }
    }

    /// Whether it is the intent or the outcome of a call, or stands for calls.
    pub fn is_about_call(&self) -> bool {
        self.is_outcome()
            || self.is_dispatch()
            || self.is_about_people()
            || self.is_about_child()
            || matches!(
                self,
                Self::CallLost { .. } | Self::OutcomeDecided { .. } | Self::ConversationSummarized { .. }
            )
    }

    /// Whether it is the intent of a call.
    pub fn is_dispatch(&self) -> bool {
        matches!(self, Self::ModelRequested { .. } | Self::ToolDispatched { .. } | Self::ChildStarted { .. })
    }

    /// Whether it is about a task that carries out a call.
    pub fn is_about_child(&self) -> bool {
        matches!(
            self,
            Self::ChildStarted { .. } | Self::ChildEnded { .. } | Self::BudgetRaised { child: Some(_), .. }
        )
    }

    /// Whether a call waits for a person because of it, or does not any more.
    pub fn is_about_people(&self) -> bool {
        matches!(
            self,
            Self::ApprovalRequested { .. }
                | Self::ApprovalGiven { .. }
                | Self::ApprovalDenied { .. }
                | Self::ToolChanged(_)
                | Self::ToolAccepted { .. }
                | Self::InputRequested { .. }
                | Self::InputGiven { .. }
                | Self::InputDeclined { .. }
        )
    }

    /// Whether it is about what a step claims to have done.
    pub fn is_about_check(&self) -> bool {
        matches!(self, Self::StepClaimed { .. } | Self::StepVerified { .. } | Self::CheckDecided { .. })
    }

    /// Whether a person may have something to answer because of it.
    pub(super) fn is_request_to_people(&self) -> bool {
        matches!(
            self,
            Self::ApprovalRequested { .. }
                | Self::InputRequested { .. }
                | Self::ToolChanged(_)
                | Self::Planned { .. }
        )
    }

    /// Whether it tells how a dispatched call ended. Outcomes are recorded even when they
    /// come late, for they did happen.
    pub fn is_outcome(&self) -> bool {
        matches!(
            self,
            Self::ModelAnswered { .. }
                | Self::ToolReturned { .. }
                | Self::CallFailed { .. }
                | Self::ChildEnded { .. }
        )
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
            Self::ToolDispatched { .. }
            | Self::ToolReturned { .. }
            | Self::ChildStarted { .. }
            | Self::ChildEnded { .. } => TraceType::ToolCall,
            Self::CheckpointTaken { .. }
            | Self::ContextSummarized { .. }
            | Self::ConversationSummarized { .. } => TraceType::Checkpoint,
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
            Self::Forked { .. } => "forked",
            Self::Detected { .. } => "detected",
            Self::Promoted { .. } => "promoted",
            Self::Planned { .. } => "planned",
            Self::Claimed { .. } => "claimed",
            Self::StepStarted { .. } => "step_started",
            Self::ModelRequested { .. } => "model_requested",
            Self::ModelAnswered { .. } => "model_answered",
            Self::ToolDispatched { .. } => "tool_dispatched",
            Self::ToolReturned { .. } => "tool_returned",
            Self::ChildStarted { .. } => "child_started",
            Self::ChildEnded { .. } => "child_ended",
            Self::CallFailed { .. } => "call_failed",
            Self::CallLost { .. } => "call_lost",
            Self::OutcomeDecided { .. } => "outcome_decided",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::ApprovalGiven { .. } => "approval_given",
            Self::ApprovalDenied { .. } => "approval_denied",
            Self::InputRequested { .. } => "input_requested",
            Self::InputGiven { .. } => "input_given",
            Self::InputDeclined { .. } => "input_declined",
            Self::ToolChanged(_) => "tool_changed",
            Self::ToolAccepted { .. } => "tool_accepted",
            Self::PlanApproved { .. } => "plan_approved",
            Self::PlanDenied { .. } => "plan_denied",
            Self::MessageReceived { .. } => "message_received",
            Self::StepCompleted { .. } => "step_completed",
            Self::StepFailed { .. } => "step_failed",
            Self::FannedOut { .. } => "fanned_out",
            Self::StepClaimed { .. } => "step_claimed",
            Self::StepVerified { .. } => "step_verified",
            Self::CheckDecided { .. } => "check_decided",
            Self::StepSkipped { .. } => "step_skipped",
            Self::CheckpointTaken { .. } => "checkpoint_taken",
            Self::ContextSummarized { .. } => "context_summarized",
            Self::ConversationSummarized { .. } => "conversation_summarized",
            Self::FactPinned { .. } => "fact_pinned",
            Self::Restored { .. } => "restored",
            Self::Evaluated { .. } => "evaluated",
            Self::Prioritized { .. } => "prioritized",
            Self::BudgetRaised { .. } => "budget_raised",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}
