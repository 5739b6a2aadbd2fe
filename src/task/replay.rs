//! What came of carrying a recorded task out again.

use schemars::JsonSchema;
use serde::Serialize;

use super::{CallAt, Status, TaskId};

/// Whether a task goes the way again that it went.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Which task.
    pub task: TaskId,
    /// How it ended when it was recorded.
    pub recorded: Status,
    /// How it ended now.
    pub status: Status,
    /// Answers of models that were asked for in the same words.
    pub model_calls: u32,
    /// Calls of tools with the same arguments.
    pub tool_calls: u32,
    /// Where it first went another way; none if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
    /// How far a recording goes whose task had not ended, if it went the same way until there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<i64>,
}

impl Replay {
    /// Whether it went the same way, as far as the recording goes.
    pub fn is_same(&self) -> bool {
        self.divergence.is_none()
    }
}

/// Where a replay first went another way.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Divergence {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is recorded.
    pub expected: String,
    /// What came instead.
    pub came: String,
    /// Whether the recording only ends there.
    #[serde(skip)]
    pub ends: bool,
}

/// A place in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The number of the entry.
    pub seq: i64,
    /// The step's index, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The call's number within the step, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u32>,
}

impl Place {
    /// The call `at`, at the entry `seq`.
    pub(crate) fn of(seq: i64, at: CallAt) -> Self {
        Self { seq, step: Some(at.step), call: Some(at.call) }
    }
}
