//! When a failed step is tried again. There is no other retry layer anywhere.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fault;

/// No provider is waited for longer than a day, whatever it asks for: some send a date where a
/// number of seconds belongs.
const LONGEST_ASKED_MS: u64 = 24 * 60 * 60 * 1000;

/// Exponential backoff with jitter; the seed's 5 attempts from 5,000 ms by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// Wait before the second attempt, in milliseconds, before jitter.
    pub base_ms: u64,
    /// Each further wait is this many times the one before.
    pub factor: f64,
    /// No wait is longer than this, in milliseconds.
    pub max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 5, base_ms: 5_000, factor: 2.0, max_ms: 300_000 }
    }
}

impl RetryPolicy {
    /// What stands against this policy, if anything does: the field, and what it must be.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        const A_DAY: &str = "must be at most a day (86400000)";
        match self {
            Self { max_attempts: 0, .. } => Some(("maxAttempts", "must be at least 1")),
            Self { max_attempts: 101.., .. } => Some(("maxAttempts", "must be at most 100")),
            Self { factor, .. } if !factor.is_finite() || *factor < 1.0 => {
                Some(("factor", "must be 1.0 or more"))
            }
            Self { base_ms, .. } if *base_ms > LONGEST_ASKED_MS => Some(("baseMs", A_DAY)),
            Self { max_ms, .. } if *max_ms > LONGEST_ASKED_MS => Some(("maxMs", A_DAY)),
            _ => None,
        }
    }

    /// How long to wait after attempt number `attempt` (from 1) ended with `fault`; `None`
    /// if the step has failed for good.
    ///
    /// `dice` is a random number in 0..1. The wait lies between half of the exponential step
    /// and the whole of it: full jitter would allow a retry at once, which a struggling
    /// provider does not deserve. A wait that the other side asked for is the minimum, and there the
    /// whole step is diced on top of it: many were asked to come back at the same moment.
    ///
    /// An attempt in which nobody was asked is not counted and waits as long as it was told to.
    pub fn delay(&self, attempt: u32, fault: &Fault, dice: f64) -> Option<Duration> {
        let dice = dice.clamp(0.0, 1.0);
        let asked = fault.retry_after_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
        if fault.spares_attempt() {
            return Some(Duration::from_millis(asked + (asked as f64 / 10.0 * dice) as u64));
        }
        if attempt >= self.max_attempts || !fault.is_retryable() {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let step = (self.base_ms as f64 * self.factor.powi(exponent)).min(self.max_ms as f64);
        Some(Duration::from_millis(match asked {
            0 => (step / 2.0 + step / 2.0 * dice) as u64,
            asked => asked + (step * dice) as u64,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::FaultClass;

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = RetryPolicy { max_attempts: 20, ..RetryPolicy::default() };
        let fault = Fault::transient("x", "x");
        let waits: Vec<u64> = (1..9)
            .filter_map(|attempt| policy.delay(attempt, &fault, 1.0))
            .map(|wait| wait.as_millis() as u64)
            .collect();
        assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        assert_eq!(policy.delay(1, &fault, 0.0), Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn the_last_attempt_and_permanent_faults_end_it() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(5, &Fault::transient("x", "x"), 0.5), None);
        assert_eq!(policy.delay(1, &Fault::permanent("x", "x"), 0.5), None);
    }

    #[test]
    fn an_attempt_in_which_nobody_was_asked_waits_and_never_ends_it() {
        let mut fault = Fault::transient(crate::task::CIRCUIT_OPEN, "x");
        fault.retry_after_ms = Some(15_000);
        assert_eq!(RetryPolicy::default().delay(99, &fault, 0.0), Some(Duration::from_secs(15)));
    }

    #[test]
    fn a_wait_the_provider_asked_for_is_the_minimum() {
        let mut fault = Fault::new(FaultClass::RateLimited, "x", "x");
        fault.retry_after_ms = Some(60_000);
        assert_eq!(RetryPolicy::default().delay(1, &fault, 0.0), Some(Duration::from_secs(60)));
        assert_eq!(RetryPolicy::default().delay(1, &fault, 1.0), Some(Duration::from_secs(65)));
        fault.retry_after_ms = Some(1_767_225_600_000);
        assert_eq!(RetryPolicy::default().delay(1, &fault, 0.0), Some(Duration::from_secs(86_400)));
    }
}
