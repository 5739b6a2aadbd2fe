//! One step of a plan and where it stands.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Call, CallState, Fault, Item, NO_PROGRESS, Payload, PlannedStep, RetryPolicy, Timestamp, Usage,
    Verification,
};

/// What kind of work a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepType {
    /// A language model thinks and answers.
    LlmReasoning,
    /// Tools are called: one named by the plan, or those a model chooses turn by turn.
    ToolCall,
    /// The context is written down to resume from.
    Checkpoint,
    /// The context is compressed.
    Summarization,
}

impl StepType {
    /// Every type, in the order of the specification.
    pub const ALL: [Self; 4] = [Self::LlmReasoning, Self::ToolCall, Self::Checkpoint, Self::Summarization];

    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlmReasoning => "llm-reasoning",
            Self::ToolCall => "tool-call",
            Self::Checkpoint => "checkpoint",
            Self::Summarization => "summarization",
        }
    }
}

impl fmt::Display for StepType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// Not started.
    Pending,
    /// Started; what it did so far is in its calls.
    Running,
    /// Done; its output is recorded and never changes.
    Completed,
    /// The last attempt failed.
    Failed,
    /// Not needed any more.
    Skipped,
}

impl StepStatus {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What the plan says.
    #[serde(flatten)]
    pub plan: PlannedStep,
    /// The revision of the plan that brought it.
    pub revision: u32,
    /// The item of a list that it is carried out for, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// Where it stands.
    pub status: StepStatus,
    /// Whether a later revision of the plan does without it. It is not required then.
    #[serde(default)]
    pub replaced: bool,
    /// Attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// When the next attempt is due; only while [`StepStatus::Failed`] and not for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What it brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// The entry that records what it brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_seq: Option<i64>,
    /// What is known of its checks, once it claimed to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Box<Verification>>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What its calls consumed.
    #[serde(default)]
    pub usage: Usage,
    /// The entry that started it first: its calls are recorded behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<i64>,
    /// When it was started first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// What it has done so far, in order; emptied when the step ends, for the journal has it.
    #[serde(skip)]
    pub calls: Vec<Call>,
    /// What stands for the older ones of them in prompts.
    #[serde(skip)]
    pub digest: Option<Digest>,
}

/// A summary of the older calls of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Digest {
    /// It covers the calls up to this number.
    pub through: u32,
    /// The text that stands for them.
    pub text: Payload,
}

impl Step {
    /// A step as the plan brings it.
    pub fn new(plan: PlannedStep, revision: u32) -> Self {
        Self {
            plan,
            revision,
            item: None,
            status: StepStatus::Pending,
            replaced: false,
            attempts: 0,
            retry_at: None,
            output: None,
            output_seq: None,
            verification: None,
            fault: None,
            usage: Usage::default(),
            first_seq: None,
            started_at: None,
            completed_at: None,
            calls: Vec::new(),
            digest: None,
        }
    }

    /// When it is tried again, in a task whose steps are tried again by `usual`.
    pub fn retry<'a>(&'a self, usual: &'a RetryPolicy) -> &'a RetryPolicy {
        self.plan.retry.as_ref().unwrap_or(usual)
    }

    /// Whether the task cannot be completed without it.
    pub fn is_required(&self) -> bool {
        !self.plan.optional && !self.replaced
    }

    /// Whether nothing is left to do for it.
    pub fn is_settled(&self) -> bool {
        match self.status {
            StepStatus::Completed | StepStatus::Skipped => true,
            StepStatus::Failed => self.replaced || (self.plan.optional && self.retry_at.is_none()),
            StepStatus::Pending | StepStatus::Running => self.replaced,
        }
    }

    /// Whether it failed, will not be tried again, and is in the way of the goal.
    pub fn is_dead_end(&self) -> bool {
        self.status == StepStatus::Failed && self.retry_at.is_none() && self.is_required()
    }

    /// Whether it failed because its model repeated itself, and that one has not read the newest message of a
    /// person yet: told what to do otherwise, it may get on. What it did is known to it, so nothing is done twice.
    pub fn is_told_otherwise(&self, newest: Option<i64>) -> bool {
        let goes_round = self.fault.as_ref().is_some_and(|fault| fault.code == NO_PROGRESS);
        let heard = self.calls.iter().filter_map(|call| call.heard).max();
        self.is_dead_end() && goes_round && newest > heard.max(self.first_seq)
    }

    /// Whether one of its calls waits for a person: nothing can be done for it meanwhile.
    pub fn is_asking(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.state, CallState::Asked(_)))
    }

    /// Whether it is a planned call and none of its calls has brought anything.
    pub(super) fn owes_a_result(&self) -> bool {
        let is_call = self.plan.kind == StepType::ToolCall && self.plan.tool.is_some();
        let has_brought = |call: &Call| call.state == CallState::Committed && !call.is_error;
        is_call && self.plan.for_each.is_none() && !self.calls.iter().any(has_brought)
    }

    /// Takes what it brought: this, or the result of its last call.
    pub(super) fn bring(&mut self, output: Option<&Payload>, seq: i64) {
        let last = self.calls.iter().rev().find_map(|call| call.result.clone().zip(call.result_seq));
        let output = output.map(|output| (output.clone(), seq)).or(last);
        (self.output, self.output_seq) = output.unzip();
    }

    /// Takes its next call, or the next attempt of its last one. The calls of a step are made one
    /// after the other: nothing is called while it is not known how the call before ended.
    pub(super) fn begin_call(&mut self, call: Call) -> Result<(), String> {
        let comes_next = self.calls.len() as u32 + 1;
        match self.calls.last_mut() {
            Some(last) if last.number == call.number => {
                if !last.goes_on_with(&call) {
                    return Err(format!("call {} is {}", last.number, last.state.as_str()));
                }
                let is_edited = last.is_edited && last.attempt == call.attempt;
                *last = Call { is_edited, ..call };
            }
            Some(open) if !open.state.is_outcome() => {
                return Err(format!("call {} is {}", open.number, open.state.as_str()));
            }
            _ if call.number == comes_next && call.attempt == 1 => self.calls.push(call),
            _ => return Err(format!("call {comes_next} comes next")),
        }
        Ok(())
    }

    /// Forgets what it did so far: the journal has it.
    pub(super) fn forget_calls(&mut self) {
        (self.calls, self.digest) = (Vec::new(), None);
    }

    /// The call with this number, to be changed.
    pub(super) fn call_mut(&mut self, number: u32) -> Result<&mut Call, String> {
        let call = self.calls.iter_mut().find(|call| call.number == number);
        call.ok_or_else(|| format!("there is no call {number}"))
    }

    /// The call with this number, if it was made.
    pub fn call(&self, number: u32) -> Option<&Call> {
        self.calls.iter().find(|call| call.number == number)
    }
}
