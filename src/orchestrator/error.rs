//! How a request can be refused.

use thiserror::Error;

use crate::models::ModelError;
use crate::repository::RepositoryError;
use crate::task::{EffectRecord, Exceeded, Illegal, PlanError, RecordingError, Status};
use crate::tools::ToolboxError;

/// Why something that was asked for did not happen. Nothing was changed then.
#[derive(Debug, Error)]
pub enum OrchestratorError {
    /// The request itself is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which part of it.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// No such task, or not for this user.
    #[error("Task not found")]
    NotFound,
    /// No such schedule.
    #[error("Schedule not found")]
    NoSchedule,
    /// The user has another schedule of this name.
    #[error("there is a schedule '{0}' already: change it, or call this one otherwise (name, --name)")]
    ScheduleExists(String),
    /// No such template, or not for this user.
    #[error("Template not found: {0}")]
    NoTemplate(String),
    /// The task is somebody else's.
    #[error("Forbidden")]
    Forbidden,
    /// The task is not in a state in which this can be done.
    #[error("Cannot {verb} task with status: {status}")]
    NotNow {
        /// What was asked for: `cancel`, `pause`, `resume`, `prioritize`.
        verb: &'static str,
        /// Where the task stands.
        status: Status,
    },
    /// What is asked for would do to the world once more what was done to it already.
    #[error(
        "this would do again what the task has done to the world: {}. Say that it may (repeatEffects, \
         --repeat-effects), or choose a place behind it", in_short(.0)
    )]
    WouldRepeat(Vec<EffectRecord>),
    /// The request to a person was answered, has expired, or was never made.
    #[error("the request is not open (any more): look into the inbox")]
    Closed,
    /// Several calls have an unknown outcome, and nobody said which one is meant.
    #[error("the task has several open requests: name one (request, --request): {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The plan cannot be carried out.
    #[error("{}", .error.told(.list))]
    Plan {
        /// What the list of its steps is called in the request: `plan`, `steps`.
        list: &'static str,
        /// What is wrong with it.
        error: PlanError,
    },
    /// A model is needed and does not answer.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// A model is needed, and the call does not fit into the budget of the task.
    #[error("{0}")]
    OutOfBudget(Exceeded),
    /// The tools cannot be offered.
    #[error("{0}")]
    Tools(#[from] ToolboxError),
    /// The database refuses.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The file is no recording that could be used, or none can be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The event contradicts the task.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

impl OrchestratorError {
    /// Whether the database may answer another time.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Repository(_))
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Plan { .. } => "invalid_request",
            Self::NotFound => "task_not_found",
            Self::NoSchedule => "schedule_not_found",
            Self::ScheduleExists(_) => "schedule_exists",
            Self::NoTemplate(_) => "template_not_found",
            Self::Forbidden => "forbidden",
            Self::NotNow { .. } => "task_status",
            Self::WouldRepeat(_) => "effects_would_repeat",
            Self::Closed => "request_closed",
            Self::Ambiguous(_) => "request_ambiguous",
            Self::Model(error) => error.code(),
            Self::OutOfBudget(_) => "budget_used_up",
            Self::Tools(_) => "tools_unavailable",
            Self::Repository(error) => error.code(),
            Self::Recording(error) => error.code(),
            Self::Illegal(_) => "illegal_event",
        }
    }
}

/// Effects that are named before the rest is counted.
const NAMED: usize = 3;

fn in_short(effects: &[EffectRecord]) -> String {
    let name = |effect: &EffectRecord| format!("{} (step {})", effect.tool, effect.step + 1);
    let named: Vec<String> = effects.iter().take(NAMED).map(name).collect();
    match effects.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
