//! A model that does not answer is asked again, also where no step asks it: while a message is judged, a
//! first plan is made, or an answer in a chat has not begun. Somebody waits for that, so it is not tried for long.
//!
//! It is the policy of steps that says how often and after which waits. What is tried again as a whole by
//! whoever asks, as the task of a schedule or of another task is, has no patience of its own.

use std::time::Duration;

use tokio::time::Instant;

use super::Orchestrator;
use crate::models::{Answer, Model, ModelError, Request};
use crate::task::RetryPolicy;

/// How long after the first attempt another one may begin, at most.
const LONGEST: Duration = Duration::from_secs(30);

/// The same where the answer is not needed: there is a rule that decides without it.
const SHORT: Duration = Duration::from_secs(10);

/// What is left of the attempts to get an answer of a model.
#[derive(Debug)]
pub struct Patience {
    policy: RetryPolicy,
    until: Instant,
    attempts: u32,
}

impl Orchestrator {
    /// The patience of somebody who needs the answer.
    pub fn patience(&self) -> Patience {
        Patience::of(&self.config.retry, LONGEST)
    }

    /// The patience of somebody who can do without it.
    pub(super) fn short_patience(&self) -> Patience {
        Patience::of(&self.config.retry, SHORT)
    }
}

impl Patience {
    /// With a task's own policy.
    pub(super) fn with(policy: &RetryPolicy) -> Self {
        Self::of(policy, LONGEST)
    }

    fn of(policy: &RetryPolicy, most: Duration) -> Self {
        Self { policy: policy.clone(), until: Instant::now() + most, attempts: 0 }
    }

    /// Asks for as long as there is patience.
    pub async fn insist<T, F: Future<Output = Result<T, ModelError>>>(
        mut self,
        ask: impl Fn() -> F,
    ) -> Result<T, ModelError> {
        loop {
            match ask().await {
                Err(error) => self.wait(error).await?,
                answered => return answered,
            }
        }
    }

    /// Waits until the model may be asked again.
    ///
    /// # Errors
    /// The error itself, if it is not to be asked again: because that would not help, because it may have
    /// worked on the answer already, or because the wait would be too long.
    async fn wait(&mut self, error: ModelError) -> Result<(), ModelError> {
        self.attempts += 1;
        let fault = error.fault();
        let is_counted_out = fault.may_have_cost() || self.attempts >= self.policy.max_attempts;
        let wait = self.policy.delay(self.attempts, &fault, dice()).filter(|_| !is_counted_out);
        match wait.filter(|wait| Instant::now() + *wait <= self.until) {
            Some(wait) => {
                tracing::warn!(%error, attempt = self.attempts, ?wait, "no answer of a model, it is asked again");
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(error),
        }
    }
}

/// Asks a model, again for as long as there is patience.
pub(super) async fn ask(
    model: &dyn Model,
    request: &Request,
    patience: Option<Patience>,
) -> Result<Answer, ModelError> {
    let generate = || model.generate(request.clone());
    match patience {
        Some(patience) => patience.insist(generate).await,
        None => generate().await,
    }
}

/// A random number in 0..1 for the jitter of waits.
pub(crate) fn dice() -> f64 {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    (low & 0xffff_ffff) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Role, Scripted};

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 5, base_ms: 10, factor: 2.0, max_ms: 20 };

    /// The outcome, and how long it took.
    async fn asked(rules: &str, most: Duration) -> (Result<String, ModelError>, Duration) {
        let model = Scripted::parse("m", &format!(r#"{{"rules":[{rules}]}}"#)).unwrap();
        let began = Instant::now();
        let patience = Some(Patience::of(&POLICY, most));
        let request = Request::new(Role::Plan, "g", "", "do");
        (ask(&model, &request, patience).await.map(|answer| answer.text), began.elapsed())
    }

    #[tokio::test]
    async fn a_model_that_comes_back_is_waited_for() {
        let (answer, took) = asked(
            r#"{"times":1,"reply":{"error":{"kind":"rate-limited","retryAfterMs":200}}},
               {"times":1,"reply":{"error":{"kind":"unavailable"}}},{"reply":{"text":"here"}}"#,
            LONGEST,
        )
        .await;
        assert_eq!(answer.unwrap(), "here");
        assert!(took >= Duration::from_millis(205), "it came back before it was asked to: {took:?}");
    }

    #[tokio::test]
    async fn one_that_does_not_is_asked_as_often_as_a_step_would() {
        let gone =
            r#"{"times":4,"reply":{"error":{"kind":"unavailable"}}},{"times":1,"reply":{"text":"here"}}"#;
        assert_eq!(asked(gone, LONGEST).await.0.unwrap(), "here");
        let (answer, _) = asked(&gone.replace('4', "5"), LONGEST).await;
        assert_eq!(answer.unwrap_err().code(), "provider_unavailable");
    }

    #[tokio::test]
    async fn whoever_asked_hears_at_once_that_it_would_take_too_long() {
        let (answer, took) =
            asked(r#"{"reply":{"error":{"kind":"rate-limited","retryAfterMs":60000}}}"#, LONGEST).await;
        assert_eq!(answer.unwrap_err().retry_after(), Some(Duration::from_secs(60)));
        assert!(took < LONGEST, "{took:?}");
        let (answer, _) = asked(r#"{"reply":{"error":{"kind":"unavailable"}}}"#, Duration::ZERO).await;
        assert!(answer.is_err());
    }

    #[tokio::test]
    async fn what_may_have_been_paid_for_or_does_not_help_is_not_asked_again() {
        for kind in ["timeout", "malformed", "quota", "rejected"] {
            let rules = format!(
                r#"{{"times":1,"reply":{{"error":{{"kind":"{kind}"}}}}}},{{"reply":{{"text":"x"}}}}"#
            );
            assert!(asked(&rules, LONGEST).await.0.is_err(), "{kind}");
        }
    }
}
