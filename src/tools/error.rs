//! How calling a tool can fail, told apart by whether it may have taken effect.

use std::error::Error as StdError;
use std::time::Duration;

use thiserror::Error;

use crate::task::{Fault, FaultClass, HELD_BACK, with_causes};

/// A cause from below.
type Source = Box<dyn StdError + Send + Sync>;

/// Why there is no result. A result that the tool itself calls an error is not among these:
/// it is a result.
#[derive(Debug, Error)]
pub enum ToolError {
    /// No such tool, or not for this task.
    #[error("there is no tool '{0}' for this task")]
    Unknown(String),
    /// The plan was made without it.
    #[error(
        "'{0}' was not among the tools when the plan was made: it can be called once the plan is revised"
    )]
    NotPlanned(String),
    /// The plan was made with it, and it is not there any more.
    #[error(
        "'{0}' was among the tools when the plan was made and is not there any more: its server does not list \
         it, or it is not configured"
    )]
    Gone(String),
    /// The arguments do not fit the tool's schema. Nothing was dispatched.
    #[error("the arguments do not fit: {0}")]
    Arguments(String),
    /// Policy forbids it: a path outside of the workspace, a private address. Nothing was
    /// dispatched.
    #[error("{0}")]
    Denied(String),
    /// The other side could not be reached. Nothing was dispatched.
    #[error("'{server}' cannot be reached: {detail}")]
    Unreachable {
        /// Which server.
        server: String,
        /// What was seen.
        detail: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },
    /// The web answered, and not with what was asked for; the caller said that only that will do.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status with its usual words: `404 Not Found`.
        status: String,
        /// The same as a number.
        number: u16,
        /// The least wait before another attempt, in milliseconds, where the answer named one.
        retry_after_ms: Option<u64>,
    },
    /// The result is larger than the limit.
    #[error("the result is larger than {limit} bytes")]
    OutputTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// No answer in time; it may have taken effect.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Nobody wanted the call any more before it was sent. Nothing was dispatched.
    #[error("the call was held back before it was sent: its task was stopped, or another worker may have it")]
    HeldBack,
    /// Cancelled while in flight; it may have taken effect.
    #[error("cancelled while in flight")]
    Cancelled,
    /// It is recorded that it failed like this.
    #[error("{}", .0.message)]
    Recorded(Fault),
    /// The other side died or answered nonsense; it may have taken effect.
    #[error("the connection was lost during the call: {detail}")]
    Interrupted {
        /// What was seen.
        detail: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },
}

impl ToolError {
    /// The arguments do not fit what the tool wants, for this reason.
    pub fn misfit(tool: &str, problem: &str) -> Self {
        Self::Arguments(format!("{tool}: {problem}"))
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "tool_unknown",
            Self::NotPlanned(_) => "tool_not_planned",
            Self::Gone(_) => "tool_gone",
            Self::Arguments(_) => "tool_arguments",
            Self::Denied(_) => "tool_denied",
            Self::Unreachable { .. } => "tool_unreachable",
            Self::Status { .. } => "http_status",
            Self::OutputTooLarge { .. } => "tool_output_too_large",
            Self::Timeout(_) => "tool_timeout",
            Self::HeldBack => HELD_BACK,
            Self::Cancelled => "tool_cancelled",
            Self::Interrupted { .. } => "tool_interrupted",
            Self::Recorded(_) => "recorded",
        }
    }

    /// Whether the call may have changed the world although there is no result.
    pub fn may_have_taken_effect(&self) -> bool {
        if let Self::Recorded(fault) = self {
            return fault.hides_the_outcome();
        }
        matches!(
            self,
            Self::OutputTooLarge { .. } | Self::Timeout(_) | Self::Cancelled | Self::Interrupted { .. }
        )
    }

    /// Whether the call did not get through to the other side: it may be made again as it is.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::HeldBack => true,
            Self::Recorded(fault) => ["tool_unreachable", HELD_BACK].contains(&fault.code.as_str()),
            _ => false,
        }
    }

    /// The failure as the journal records it.
    pub fn fault(&self) -> Fault {
        if let Self::Recorded(fault) = self {
            return fault.clone();
        }
        let class = match self {
            Self::Unreachable { .. } | Self::HeldBack | Self::Interrupted { .. } => FaultClass::Transient,
            Self::Status { number: 429, .. } => FaultClass::RateLimited,
            // What is asked for may be there, only not at this moment.
            Self::Status { number: 408 | 425 | 500.., .. } => FaultClass::Transient,
            Self::Timeout(_) => FaultClass::Timeout,
            Self::Cancelled => FaultClass::Cancelled,
            _ => FaultClass::Permanent,
        };
        let retry_after_ms = match self {
            Self::Status { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        };
        Fault { retry_after_ms, ..Fault::new(class, self.code(), with_causes(self)) }
    }
}
