//! What happened, counted: the sums from which charts and metrics are made.
//!
//! ```text
//! journals ─▶ tally (pure) ─▶ figure, failure ─▶ sums by time, name and class of durations
//! ```
//!
//! The journal stays the only truth. A pass in the background counts what was added to it since
//! the pass before, so that no commit of a task costs more; each entry is counted exactly once, for
//! how far a journal is counted is written in the same transaction as the counts.

mod keep_up;
mod slots;
mod tally;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;

use super::RepositoryError;
use crate::task::{TaskId, Timestamp};

pub use keep_up::keep_up;
pub use slots::Durations;
pub(super) use tally::{Counted, Intent, StepFacts, Tally};

/// The shortest span of time that is counted, in milliseconds. It is kept for two days.
pub const MINUTE: i64 = 60_000;
/// The span that is kept for ever.
pub const HOUR: i64 = 60 * MINUTE;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Tasks that were created.
    Created,
    /// Tasks that ended, by status; how long they took from their creation.
    Ended,
    /// First claims of tasks; how long the tasks had waited.
    Wait,
    /// Steps that were completed, by type; how long they took from their first start.
    Step,
    /// Attempts of steps that failed, by type.
    StepFailed,
    /// Those of them that are tried again.
    StepRetried,
    /// Answers of models, by model, with what they consumed; how long they took.
    Model,
    /// Answers of models in tasks that were made from templates, by template, with what they consumed.
    Template,
    /// Model calls without an answer, by model.
    ModelFailed,
    /// Model calls that were made again, by model.
    ModelRetried,
    /// Returns of tools, by tool; how long they took.
    Tool,
    /// Tool calls without a return, or with one that is an error, by tool.
    ToolFailed,
    /// Tool calls that were made again, by tool.
    ToolRetried,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Ended,
        Self::Wait,
        Self::Step,
        Self::StepFailed,
        Self::StepRetried,
        Self::Model,
        Self::Template,
        Self::ModelFailed,
        Self::ModelRetried,
        Self::Tool,
        Self::ToolFailed,
        Self::ToolRetried,
    ];

    /// The word used in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Ended => "ended",
            Self::Wait => "wait",
            Self::Step => "step",
            Self::StepFailed => "step_failed",
            Self::StepRetried => "step_retried",
            Self::Model => "model",
            Self::Template => "template",
            Self::ModelFailed => "model_failed",
            Self::ModelRetried => "model_retried",
            Self::Tool => "tool",
            Self::ToolFailed => "tool_failed",
            Self::ToolRetried => "tool_retried",
        }
    }

    /// The measure with that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.as_str() == word)
    }
}

/// What was counted of one measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How often it happened.
    pub events: u64,
    /// Milliseconds that it took in all.
    pub millis: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// Those of the prompts' tokens that came from a provider's cache.
    pub cached_tokens: u64,
    /// What the tokens cost, in thousand-millionths of a US dollar.
    pub cost_nanos: u64,
    /// Calls of models whose price is not known.
    pub unpriced: u64,
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.millis += more.millis;
        self.input_tokens += more.input_tokens;
        self.output_tokens += more.output_tokens;
        self.cached_tokens += more.cached_tokens;
        self.cost_nanos += more.cost_nanos;
        self.unpriced += more.unpriced;
    }
}

/// One sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The beginning of its span of time; 1970 where all time is one span.
    pub at: Timestamp,
    /// What was counted.
    pub measure: Measure,
    /// Of which model, tool, type of step, status; empty where there is only one.
    pub name: String,
    /// Which class of durations, see [`Durations`].
    pub slot: Option<u16>,
    /// How much it was.
    pub sum: Sum,
}

/// Which sums are wanted.
#[derive(Debug, Clone)]
pub struct FigureFilter {
    /// Of this user; of all users otherwise.
    pub user_id: Option<String>,
    /// Of these measures.
    pub measures: Vec<Measure>,
    /// When; all time otherwise.
    pub range: Option<Span>,
}

/// A stretch of time that is divided into equal pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end, which is not within it.
    pub to: Timestamp,
    /// The length of the pieces in milliseconds, a whole number of minutes; the sums of each are
    /// told apart.
    pub piece: i64,
    /// Whether they are put together from minutes; from hours otherwise.
    pub by_minute: bool,
}

/// Failures that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureGroup {
    /// Its stable code.
    pub code: String,
    /// What was said, with `#` for every number or name that differs.
    pub message: String,
    /// How often. What fails a call fails its step, and maybe its task: that is one failure.
    pub count: u64,
    /// Calls that failed of it.
    pub calls: u64,
    /// Attempts of steps that failed of it.
    pub steps: u64,
    /// Tasks that failed of it.
    pub tasks: u64,
    /// When it happened last.
    pub last_at: Timestamp,
    /// The task that met it last.
    pub example_task_id: TaskId,
}

/// What waits, runs and rests now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Tasks that wait for a worker.
    pub waiting: u64,
    /// Tasks whose time has not come: they wait for a retry.
    pub delayed: u64,
    /// Tasks that a worker holds.
    pub held: u64,
    /// Tasks that wait for a person.
    pub paused: u64,
    /// The task that has waited longest for a worker.
    pub oldest: Option<Oldest>,
}

/// The task that has waited longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Oldest {
    /// Which task.
    pub task_id: TaskId,
    /// Its goal.
    pub goal: String,
    /// For how long, in milliseconds.
    pub waited_ms: u64,
}

/// Which journals a pass looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Of these tasks.
    Of(Vec<TaskId>),
    /// Of tasks that are not at their end or reached it in the last ten minutes.
    Recent,
    /// Of all tasks: for the first pass of a process.
    All,
}

/// Counts journals, and tells what was counted.
#[async_trait]
pub trait Analytics: Send + Sync {
    /// Counts what was added to journals, up to some thousands of entries, and returns how many
    /// those were. It may run in several processes at once: of two that count the same entries,
    /// one has done nothing.
    async fn count(&self, reach: &Reach) -> Result<u64, RepositoryError>;

    /// Sums, by time, measure, name and class of durations, in this order.
    async fn figures(&self, filter: &FigureFilter) -> Result<Vec<Figure>, RepositoryError>;

    /// Failures of a user within a time, the most frequent first, at most `limit`. The time is
    /// taken in whole hours.
    async fn failures(
        &self,
        user_id: &str,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<FailureGroup>, RepositoryError>;

    /// What waits, runs and rests now: of a user, or of all.
    async fn line(&self, user_id: Option<&str>) -> Result<Line, RepositoryError>;
}
