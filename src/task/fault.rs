//! Why something failed, in a form that decides what happens next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ModelName, Reserve, Usage};

/// The code of a call that was not made because its model has just failed several times in a row.
pub const CIRCUIT_OPEN: &str = "provider_circuit_open";

/// The code of a prompt that is longer than the window of its model.
pub const CONTEXT_OVERFLOW: &str = "context_overflow";

/// The code of a call that was not sent, because nobody wanted it any more.
pub const HELD_BACK: &str = "tool_held_back";

/// The code of a step whose model makes the same call with the same result again and again.
pub const NO_PROGRESS: &str = "no_progress";

/// What kind of failure it was: decides whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultClass {
    /// Passing: network trouble, 5xx, an overloaded provider.
    Transient,
    /// The provider asked for patience (429).
    RateLimited,
    /// A deadline passed.
    Timeout,
    /// The answer could not be used: cut, not JSON, not the schema.
    Malformed,
    /// Trying again will fail again: bad arguments, no permission, quota, missing model.
    Permanent,
    /// The step killed its worker too often.
    Poison,
    /// A limit of the task was reached.
    Limit,
    /// Somebody stopped it.
    Cancelled,
}

/// One recorded failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Decides whether the step may be tried again.
    pub class: FaultClass,
    /// A stable code in snake_case, for programs: `provider_rate_limited`, `tool_timeout`, …
    pub code: String,
    /// What happened and what to do, for people; with its causes.
    pub message: String,
    /// The least wait before another attempt, in milliseconds, where the other side named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What a model's answer used that could not be used, where its provider said so. Each failure that is
    /// recorded says it once: that of the call, or if there was none, that of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Box<Usage>>,
    /// The model whose answer that was, where no call names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<ModelName>>,
}

impl Fault {
    /// A failure of the given class.
    pub fn new(class: FaultClass, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.to_owned(),
            message: message.into(),
            retry_after_ms: None,
            usage: None,
            model: None,
        }
    }

    /// A failure that no repetition mends.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultClass::Permanent, code, message)
    }

    /// A failure that may pass.
    pub fn transient(code: &str, message: impl Into<String>) -> Self {
        Self::new(FaultClass::Transient, code, message)
    }

    /// The failure of a task whose step, so named, has failed like this for good.
    #[must_use]
    pub fn for_good(step: &str, cause: &Self) -> Self {
        Self::permanent(&cause.code, format!("Step '{step}'{FOR_GOOD}{}", cause.message))
    }

    /// The failure of a step because of a call: what was paid for is in the failure of the call.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { usage: None, ..self }
    }

    /// What was said where it happened, of which [`for_good`](Self::for_good) may have made more.
    pub fn cause(&self) -> &str {
        let from_step = self.message.strip_prefix("Step '").and_then(|rest| rest.split_once(FOR_GOOD));
        from_step.map_or(&self.message, |(_, cause)| cause)
    }

    /// Whether a model call that failed so may have been worked on all the same, and so be on the
    /// bill: an answer that came too late or cannot be used was made.
    pub fn may_have_cost(&self) -> bool {
        match self.class {
            FaultClass::Malformed => true,
            FaultClass::Timeout => self.code != "provider_timeout_connect",
            _ => false,
        }
    }

    /// What a model call that failed so took; none if nobody knows.
    pub fn used(&self) -> Option<Reserve> {
        let free = (!self.may_have_cost()).then(Reserve::default);
        self.usage.as_deref().map(Reserve::of).or(free)
    }

    /// Whether the attempt that failed so does not count: nobody was asked.
    pub fn spares_attempt(&self) -> bool {
        self.code == CIRCUIT_OPEN
    }

    /// Whether a call that failed so may have taken effect all the same: it was cut off.
    pub fn hides_the_outcome(&self) -> bool {
        matches!(self.code.as_str(), "tool_timeout" | "tool_cancelled" | "tool_interrupted")
    }

    /// Whether it is no failure where the task was stopped: the call ended for that reason, or was not
    /// even sent.
    pub fn follows_a_stop(&self) -> bool {
        self.class == FaultClass::Cancelled || self.code == HELD_BACK
    }

    /// Whether another attempt of the same step can end differently.
    pub fn is_retryable(&self) -> bool {
        use FaultClass::{Malformed, RateLimited, Timeout, Transient};
        matches!(self.class, Transient | RateLimited | Timeout | Malformed)
    }
}

/// What an error says, followed by what its causes say.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    words_of(error).join(": ")
}

/// What an error says, and then what each of its causes says that was not said already: some
/// errors repeat their causes in their own words.
pub fn words_of(error: &dyn std::error::Error) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
        cause = next.source();
    }
    said
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// What stands between the name of a step and why it failed.
const FOR_GOOD: &str = " failed for good: ";

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("the disk is full")]
    struct Cause;

    #[derive(Debug, Error)]
    #[error("{words}")]
    struct Above<E: std::error::Error + 'static> {
        words: &'static str,
        #[source]
        cause: E,
    }

    #[test]
    fn the_failure_of_a_task_has_the_cause_of_its_step() {
        let cause = Fault::permanent("tool_denied", "no file 'a'");
        let of_task = Fault::for_good("step-1", &cause);
        assert_eq!(of_task.message, "Step 'step-1' failed for good: no file 'a'");
        assert_eq!((of_task.code.as_str(), of_task.cause()), ("tool_denied", "no file 'a'"));
        assert_eq!(cause.cause(), "no file 'a'");
    }

    #[test]
    fn a_stopped_task_fails_neither_by_what_was_cancelled_nor_by_what_was_held_back() {
        assert!(Fault::new(FaultClass::Cancelled, "tool_cancelled", "").follows_a_stop());
        let held = Fault::transient(HELD_BACK, "");
        assert!(held.follows_a_stop() && held.is_retryable() && !held.hides_the_outcome());
        assert!(!Fault::transient("tool_unreachable", "").follows_a_stop());
    }

    #[test]
    fn a_cause_is_told_unless_it_was_said_already() {
        let repeats = Above { words: "no write: the disk is full", cause: Cause };
        assert_eq!(with_causes(&repeats), "no write: the disk is full");
        let hides = Above { words: "no commit", cause: Above { words: "no write", cause: Cause } };
        assert_eq!(words_of(&hides), ["no commit", "no write", "the disk is full"]);
    }
}
