//! How asking a model can fail, told apart by what helps.

use std::error::Error as StdError;
use std::time::Duration;

use thiserror::Error;

use crate::task::{CIRCUIT_OPEN, CONTEXT_OVERFLOW, Fault, FaultClass, Usage, with_causes};

/// A cause from below.
type Source = Box<dyn StdError + Send + Sync>;

/// Why a model gave no usable answer.
#[derive(Debug, Error)]
pub enum ModelError {
    /// No configured model has this name or serves this role.
    #[error("{0}")]
    NotConfigured(String),
    /// The rules that plan where there is no language model do not understand the goal.
    #[error("{0}")]
    NotUnderstood(String),
    /// There is no key to ask the provider with.
    #[error("there is no API key for {model}: set the environment variable {variable}")]
    MissingKey {
        /// Which model.
        model: String,
        /// Where the key is looked for.
        variable: String,
    },
    /// The provider refuses the key.
    #[error("the provider of {model} does not accept the API key: {detail}")]
    Unauthorized {
        /// Which model.
        model: String,
        /// The provider's words.
        detail: String,
    },
    /// Too many requests; `retry_after` is the provider's word.
    #[error("the provider of {model} asks to slow down")]
    RateLimited {
        /// Which model.
        model: String,
        /// How long to wait at least.
        retry_after: Option<Duration>,
    },
    /// The account has no credit or quota left: waiting does not help.
    #[error("the account for {model} has no quota left: {detail}")]
    Quota {
        /// Which model.
        model: String,
        /// The provider's words.
        detail: String,
    },
    /// The prompt is longer than the model's window.
    #[error("the prompt is too long for {model}: {detail}")]
    ContextOverflow {
        /// Which model.
        model: String,
        /// The provider's words.
        detail: String,
    },
    /// The provider finds the request faulty (4xx).
    #[error("the provider of {model} rejects the request: {detail}")]
    Rejected {
        /// Which model.
        model: String,
        /// The provider's words.
        detail: String,
    },
    /// The model did not want to answer, or a filter of its provider stopped it.
    #[error("{model} refuses to answer ({detail})")]
    Refused {
        /// Which model.
        model: String,
        /// How the answer ended, and what there was of it.
        detail: String,
    },
    /// The provider is in trouble (5xx, 529) or out of reach.
    #[error("the provider of {model} is unavailable: {detail}")]
    Unavailable {
        /// Which model.
        model: String,
        /// What was seen.
        detail: String,
        /// How long to wait at least, if the provider says so.
        retry_after: Option<Duration>,
        /// The cause.
        #[source]
        source: Option<Source>,
    },
    /// It failed several times in a row and is not asked for a while.
    #[error("{model} failed several times in a row and is not asked for {} s", retry_after.as_secs().max(1))]
    CircuitOpen {
        /// Which model.
        model: String,
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// A deadline passed: `connect`, `first byte`, `between chunks` or `total`.
    #[error("{model} timed out ({phase})")]
    Timeout {
        /// Which model.
        model: String,
        /// Which deadline.
        phase: &'static str,
    },
    /// The answer was cut or cannot be read.
    #[error("the answer of {model} cannot be used: {detail}")]
    Malformed {
        /// Which model.
        model: String,
        /// What is wrong with it.
        detail: String,
    },
    /// It is recorded that it failed like this.
    #[error("{}", .0.message)]
    Recorded(Fault),
    /// An answer was made, and paid for, that cannot be used. In all else this is the error that says why.
    #[error("{why}")]
    Spent {
        /// What was paid for.
        usage: Usage,
        /// Why it cannot be used.
        why: Box<ModelError>,
    },
    /// An answer broke off after it had begun. In all else this is the error that ended it.
    #[error("{why}")]
    BrokenOff {
        /// The text that had come until then.
        partial: String,
        /// What ended it.
        why: Box<ModelError>,
    },
}

impl ModelError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured(_) | Self::NotUnderstood(_) => "model_not_configured",
            Self::Unauthorized { .. } => "provider_unauthorized",
            Self::MissingKey { .. } => "provider_key_missing",
            Self::RateLimited { .. } => "provider_rate_limited",
            Self::Quota { .. } => "provider_quota",
            Self::ContextOverflow { .. } => CONTEXT_OVERFLOW,
            Self::Rejected { .. } => "provider_rejected",
            Self::Refused { .. } => "model_refused",
            Self::Unavailable { .. } => "provider_unavailable",
            Self::CircuitOpen { .. } => CIRCUIT_OPEN,
            Self::Timeout { phase: "connect", .. } => "provider_timeout_connect",
            Self::Timeout { phase: "first byte", .. } => "provider_timeout_first_byte",
            Self::Timeout { phase: "between chunks", .. } => "provider_timeout_chunk",
            Self::Timeout { .. } => "provider_timeout_total",
            Self::Malformed { .. } => "model_malformed",
            Self::Recorded(_) => "recorded",
            Self::BrokenOff { why, .. } | Self::Spent { why, .. } => why.code(),
        }
    }

    /// What went wrong, whether or not the answer had begun.
    pub fn why(&self) -> &Self {
        match self {
            Self::BrokenOff { why, .. } | Self::Spent { why, .. } => why.why(),
            other => other,
        }
    }

    /// What was paid for all the same, as far as it is known.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Spent { usage, .. } => Some(*usage),
            Self::BrokenOff { why, .. } => why.usage(),
            Self::Recorded(fault) => fault.usage.as_deref().copied(),
            _ => None,
        }
    }

    /// The same, with what was paid for in all.
    pub(super) fn having_spent(self, usage: Usage) -> Self {
        if usage == Usage::default() { self } else { Self::Spent { usage, why: Box::new(self) } }
    }

    /// The text of an answer that broke off.
    pub fn partial(&self) -> Option<&str> {
        match self {
            Self::BrokenOff { partial, .. } => Some(partial),
            Self::Spent { why, .. } => why.partial(),
            _ => None,
        }
    }

    /// The failure as the journal records it.
    pub fn fault(&self) -> Fault {
        if let Self::Recorded(fault) = self.why() {
            return Fault { usage: self.usage().map(Box::new), ..fault.clone() };
        }
        let class = match self.why() {
            Self::RateLimited { .. } => FaultClass::RateLimited,
            Self::Unavailable { .. } | Self::CircuitOpen { .. } => FaultClass::Transient,
            Self::Timeout { .. } => FaultClass::Timeout,
            Self::Malformed { .. } => FaultClass::Malformed,
            _ => FaultClass::Permanent,
        };
        let mut fault = Fault::new(class, self.code(), with_causes(self));
        fault.usage = self.usage().map(Box::new);
        fault.retry_after_ms = self.retry_after().and_then(|wait| u64::try_from(wait.as_millis()).ok());
        fault
    }

    /// How long nobody should ask again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.why() {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::CircuitOpen { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
