//! Where a task stands.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Exceeded;

/// The states of a task.
///
/// ```text
/// pending ─▶ running ⇄ paused
///    │          │         │
///    └──────────┴─────────┴──▶ completed │ failed │ cancelled   (never left again)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Created, nothing has been started.
    Pending,
    /// At least one step has been started.
    Running,
    /// Waits for a person; see [`Pause`] for what.
    Paused,
    /// Every required step is completed.
    Completed,
    /// Ended without reaching the goal.
    Failed,
    /// Ended because somebody said so.
    Cancelled,
}

impl Status {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether nothing can change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether a worker is wanted: exactly these tasks have a wake-up.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status with that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a paused task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PauseReason {
    /// Somebody paused it.
    User,
    /// An action needs somebody's approval.
    Approval,
    /// A question needs somebody's answer.
    Input,
    /// A tool was dispatched and nobody knows whether it took effect.
    UnknownOutcome,
    /// The budget is used up.
    Budget,
    /// No provider answers.
    Provider,
    /// A tool is not what it was when the plan was made.
    ToolChanged,
    /// What a step brought did not pass its checks, and a person has to say whether it will do.
    Unverified,
    /// A step killed its worker too often.
    Poison,
    /// The task repeats itself.
    NoProgress,
    /// The task that it works for is paused.
    Parent,
}

/// Why a task is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// What it waits for.
    pub reason: PauseReason,
    /// What happened, for people. What they can do about it follows from the reason, and is said by
    /// whoever shows it: a terminal has other ways than a page.
    pub detail: String,
    /// The limit that is in the way, if the reason is a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<Exceeded>,
}

impl Pause {
    /// For a reason that says enough by itself.
    pub fn new(reason: PauseReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), exceeded: None }
    }

    /// Until more is added to a limit.
    pub fn until_more(exceeded: Exceeded) -> Self {
        let detail = exceeded.to_string();
        Self { exceeded: Some(exceeded), ..Self::new(PauseReason::Budget, detail) }
    }
}
