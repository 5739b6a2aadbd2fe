//! One model turn or tool call inside a step: the smallest thing that is never repeated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Ask, Child, Effect, Fault, Labels, ModelName, OnExpiry, Payload, Reserve, Taint, Timestamp, View,
};

/// How an answer ended that the limit of output tokens cut.
pub const CUT_SHORT: &str = "length";

/// What was called.
#[derive(Debug, Clone, PartialEq)]
pub enum CallSubject {
    /// A model turn.
    Model {
        /// Which model was asked.
        model: ModelName,
        /// What the call was expected to consume at most.
        reserve: Reserve,
    },
    /// A tool call.
    Tool {
        /// The tool's full name.
        tool: String,
        /// What it was called with.
        arguments: Payload,
        /// What calling it does to the world.
        effect: Effect,
        /// What else is known of the tool.
        labels: Labels,
        /// The model's own id for this call; none if the plan itself named the tool.
        request_id: Option<String>,
    },
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq)]
pub enum CallState {
    /// Not dispatched: a person has to say a word first.
    Asked(Ask),
    /// Not dispatched: a person approved it, with the arguments it has now.
    Approved,
    /// Not dispatched: a person accepted its tool as it is now. Whether it needs approval is another
    /// question.
    Accepted,
    /// Not dispatched: a person denied it, with these words.
    Denied(String),
    /// The intent is recorded; the outcome is not.
    Dispatched,
    /// The intent is recorded, and a task of its own carries it out.
    Delegated,
    /// The outcome is recorded and is never asked for again.
    Committed,
    /// It is known that it had no outcome.
    Failed(Fault),
    /// Its worker is gone and the call may be repeated.
    Lost,
    /// Nobody knows whether it took effect, and it must not be repeated.
    Unknown,
}

/// A tool call that a model asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolRequest {
    /// The model's own id for the call.
    pub id: String,
    /// The tool's full name.
    pub tool: String,
    /// The arguments as JSON.
    pub arguments: Value,
}

/// A tool call that a model asked for, as the journal holds it: large arguments are stored once, and the
/// dispatch of the call names the same content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRequest {
    /// The model's own id for the call.
    pub id: String,
    /// The tool's full name.
    pub tool: String,
    /// The arguments.
    pub arguments: Payload,
}

impl From<&ToolRequest> for RecordedRequest {
    fn from(request: &ToolRequest) -> Self {
        let ToolRequest { id, tool, arguments } = request.clone();
        Self { id, tool, arguments: Payload::Inline(arguments) }
    }
}

/// What became of a tool: each is a [`FrozenTool`](super::FrozenTool).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolChange {
    /// As it was when the plan was made.
    pub before: Payload,
    /// As it is now.
    pub now: Payload,
}

/// A call that waits until somebody has seen what became of its tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolNotice {
    /// Which step.
    pub step: u32,
    /// Its number within the step.
    pub call: u32,
    /// The attempt that it would be, from 1.
    pub attempt: u32,
    /// The tool's full name.
    pub tool: String,
    /// What it would be called with.
    pub arguments: Payload,
    /// What calling it does to the world now.
    pub effect: Effect,
    /// The model's own id for this call; none if the plan itself named the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The tool as it was, and as it is.
    pub change: ToolChange,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
    /// What happens then.
    pub on_expiry: OnExpiry,
}

/// A change of a tool that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Noticed {
    /// What became of it.
    pub change: ToolChange,
    /// The entry that says so: whoever accepts it means this change and no later one.
    pub seq: i64,
}

/// A call of a step that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its number within the step, from 1; constant over attempts.
    pub number: u32,
    /// How often it was dispatched.
    pub attempt: u32,
    /// When it was dispatched last.
    pub dispatched_at: Timestamp,
    /// What was called.
    pub subject: CallSubject,
    /// Where it stands.
    pub state: CallState,
    /// What came back: the model's text or the tool's result.
    pub result: Option<Payload>,
    /// The number of the entry that records it.
    pub result_seq: Option<i64>,
    /// The tool calls the model asked for.
    pub requests: Vec<RecordedRequest>,
    /// What the model thought before it asked for them.
    pub thinking: Option<Payload>,
    /// Whether the tool itself called its result an error.
    pub is_error: bool,
    /// Whether the limit of output tokens cut what the model said.
    pub is_cut: bool,
    /// Whether the model was shown none of the pictures of its prompt, for it refused them.
    pub without_pictures: bool,
    /// The newest message of a person that a model turn had read.
    pub heard: Option<i64>,
    /// What a conversation that begins with it begins with.
    pub opening: Option<Opening>,
    /// Whether a person approved it.
    pub is_approved: bool,
    /// Whether that person changed its arguments.
    pub is_edited: bool,
    /// What the task has read, if that is why it needs approval.
    pub because: Option<Box<Taint>>,
    /// The task that carries it out, if one does.
    pub child: Option<Box<Child>>,
    /// What became of its tool, if that is why it waits.
    pub change: Option<Box<Noticed>>,
}

/// The beginning of a conversation, as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// The instructions, the pinned facts, and what is to be done.
    pub parts: Vec<Payload>,
    /// What it shows of earlier steps.
    pub shows: View,
}

impl Call {
    /// Whether it was never dispatched, or not since it was asked for anew.
    pub fn is_held(&self) -> bool {
        matches!(
            self.state,
            CallState::Asked(_) | CallState::Approved | CallState::Accepted | CallState::Denied(_)
        )
    }

    /// Whether dispatching it again is allowed without a person's word.
    pub fn may_repeat(&self) -> bool {
        match &self.subject {
            CallSubject::Model { .. } => true,
            CallSubject::Tool { effect, .. } => effect.may_repeat(),
        }
    }

    /// Whether a pause calls it off if it does not end by itself: what is left to end is recorded, and a
    /// model's answer is paid for.
    pub fn is_called_off(&self) -> bool {
        let is_tool = matches!(self.subject, CallSubject::Tool { .. });
        is_tool && self.state == CallState::Dispatched && self.may_repeat()
    }
}

impl Call {
    pub(super) fn new(number: u32, attempt: u32, subject: CallSubject, dispatched_at: Timestamp) -> Self {
        Self {
            number,
            attempt,
            dispatched_at,
            subject,
            state: CallState::Dispatched,
            result: None,
            result_seq: None,
            requests: Vec::new(),
            thinking: None,
            is_error: false,
            is_cut: false,
            without_pictures: false,
            heard: None,
            opening: None,
            is_approved: false,
            is_edited: false,
            because: None,
            child: None,
            change: None,
        }
    }

    /// Whether the next attempt may be dispatched: the last one is known to have had no
    /// outcome, or repeating it does no harm. A recorded success is never repeated.
    pub(super) fn may_be_dispatched_again(&self) -> bool {
        match self.state {
            CallState::Failed(_) => true,
            CallState::Lost => self.may_repeat(),
            CallState::Committed => self.is_error && self.may_repeat(),
            CallState::Dispatched
            | CallState::Delegated
            | CallState::Unknown
            | CallState::Asked(_)
            | CallState::Approved
            | CallState::Accepted
            | CallState::Denied(_) => false,
        }
    }

    /// Whether it goes on with `next` under its own number: an attempt behind one that left nothing, or
    /// the same one, which was not made yet and may have to wait for something else as well.
    pub(super) fn goes_on_with(&self, next: &Self) -> bool {
        match self.state {
            CallState::Accepted => next.attempt == self.attempt,
            // What was approved is a call of the tool as it was.
            CallState::Approved if next.change.is_some() => next.attempt == self.attempt,
            _ => next.attempt == self.attempt + 1 && self.may_be_dispatched_again(),
        }
    }

    /// Takes what came back, which the entry `seq` records.
    pub(super) fn returned(&mut self, result: &Payload, seq: i64) {
        self.state = CallState::Committed;
        (self.result, self.result_seq) = (Some(result.clone()), Some(seq));
    }

    /// Ends the doubt about an unknown outcome.
    pub(super) fn decide(&mut self, result: Option<Payload>, seq: i64, by: &str) {
        self.state = match result {
            Some(_) => CallState::Committed,
            None => {
                CallState::Failed(Fault::transient("did_not_happen", format!("{by}: it did not take effect")))
            }
        };
        self.result_seq = result.is_some().then_some(seq);
        self.result = result;
    }
}

impl CallState {
    /// Whether it is known how the call ended.
    pub fn is_outcome(&self) -> bool {
        matches!(self, Self::Committed | Self::Failed(_) | Self::Denied(_))
    }

    /// Whether it may yet take effect or bring something.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Dispatched | Self::Delegated | Self::Unknown)
    }

    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Asked(_) => "asked",
            Self::Approved => "approved",
            Self::Accepted => "accepted",
            Self::Denied(_) => "denied",
            Self::Dispatched => "dispatched",
            Self::Delegated => "delegated",
            Self::Committed => "committed",
            Self::Failed(_) => "failed",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}
