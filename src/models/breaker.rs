//! Does not ask a model that has just failed several times in a row: the wait for its failure is
//! saved, and the provider is left in peace.
//!
//! ```text
//! closed ──failures in a row──▶ open ──time──▶ half-open ──one call: success──▶ closed
//!                                 ▲                │
//!                                 └────failure─────┘   (twice as long as before)
//! ```
//!
//! [`Breaker`] is pure: times are passed in. [`Guarded`] is a model behind one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::task::ModelName;

use super::{Answer, Chunk, Hear, Model, ModelError, Request};

/// While one call tries whether a model answers again, others are told to ask after this.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// The `[models.breaker]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct BreakerConfig {
    /// After so many failures in a row a model is not asked for a while; 0 turns that off.
    pub failures: u32,
    /// For how long at first, in milliseconds; twice as long each time it fails again.
    pub open_ms: u64,
    /// For how long at most, in milliseconds.
    pub max_open_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, open_ms: 15_000, max_open_ms: 300_000 }
    }
}

/// Whether one model is asked. Times are counted from any fixed moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// How often it opened since the model answered last.
    opened: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is asked; so many calls in a row have failed.
    Closed { failures: u32 },
    /// It is not asked before this moment.
    Open { until: Duration },
    /// One call is on its way to try it.
    HalfOpen,
}

/// How a call ended, as far as it tells whether the provider is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It answered, be it with a refusal.
    Answered,
    /// It is in trouble or out of reach.
    Failed,
    /// Nobody waited for the end.
    Abandoned,
}

impl End {
    fn of(error: &ModelError) -> Self {
        match error.why() {
            ModelError::Unavailable { .. } | ModelError::Timeout { .. } => Self::Failed,
            _ => Self::Answered,
        }
    }
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed { failures: 0 }, opened: 0 }
    }

    /// Lets a call through, or says how long to wait before the next try.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Ok(())
            }
            State::HalfOpen => Err(PROBE_WAIT),
        }
    }

    /// Takes note of how an admitted call ended.
    pub(super) fn ended(&mut self, end: End, now: Duration) {
        match (end, self.state) {
            (End::Answered, _) => {
                (self.state, self.opened) = (State::Closed { failures: 0 }, 0);
            }
            (End::Failed, State::Closed { failures }) => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if self.config.failures > 0 && failures >= self.config.failures {
                    self.open(now);
                }
            }
            (End::Failed, State::HalfOpen) => self.open(now),
            // A call from before it opened: that is known already.
            (End::Failed, State::Open { .. }) => {}
            // The next call tries in its place.
            (End::Abandoned, State::HalfOpen) => self.state = State::Open { until: now },
            (End::Abandoned, _) => {}
        }
    }

    fn open(&mut self, now: Duration) {
        let doubled = self.config.open_ms.saturating_mul(1_u64.checked_shl(self.opened).unwrap_or(u64::MAX));
        let millis = doubled.min(self.config.max_open_ms.max(self.config.open_ms));
        self.state = State::Open { until: now.saturating_add(Duration::from_millis(millis)) };
        self.opened = self.opened.saturating_add(1);
    }
}

/// The breakers of all models that were asked.
#[derive(Debug)]
pub(super) struct Breakers {
    config: BreakerConfig,
    origin: Instant,
    known: Mutex<BTreeMap<ModelName, Shared>>,
}

type Shared = Arc<Mutex<Breaker>>;

impl Breakers {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, origin: Instant::now(), known: Mutex::new(BTreeMap::new()) }
    }

    /// The model behind its breaker.
    pub(super) fn guard(&self, model: Arc<dyn Model>) -> Guarded {
        let mut known = lock(&self.known);
        let breaker = known.entry(model.name().clone());
        let breaker = breaker.or_insert_with(|| Arc::new(Mutex::new(Breaker::new(self.config))));
        Guarded { breaker: breaker.clone(), origin: self.origin, model }
    }
}

/// Nothing panics while it holds a breaker; if something did, it is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A model that is not asked while its breaker is open.
pub(super) struct Guarded {
    model: Arc<dyn Model>,
    breaker: Shared,
    origin: Instant,
}

/// An admitted call. Dropped without an end, it was abandoned.
struct Admitted {
    breaker: Shared,
    origin: Instant,
    end: End,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.breaker).ended(self.end, self.origin.elapsed());
    }
}

impl Guarded {
    fn admit(&self) -> Result<Admitted, ModelError> {
        let admitted = lock(&self.breaker).admit(self.origin.elapsed());
        let model = self.model.name().to_string();
        admitted.map_err(|retry_after| ModelError::CircuitOpen { model, retry_after })?;
        Ok(Admitted { breaker: self.breaker.clone(), origin: self.origin, end: End::Abandoned })
    }
}

#[async_trait]
impl Model for Guarded {
    fn name(&self) -> &ModelName {
        self.model.name()
    }

    fn behind(&self) -> Option<&dyn Model> {
        Some(self.model.as_ref())
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        let mut admitted = self.admit()?;
        let outcome = self.model.generate(request).await;
        admitted.end = outcome.as_ref().map_or_else(End::of, |_| End::Answered);
        outcome
    }

    async fn speak(&self, request: Request, hear: Hear<'_>) -> Result<Answer, ModelError> {
        let mut admitted = self.admit()?;
        let outcome = self.model.speak(request, hear).await;
        admitted.end = outcome.as_ref().map_or_else(End::of, |_| End::Answered);
        outcome
    }

    /// A stream that has begun counts as an answer.
    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let mut admitted = self.admit()?;
        let outcome = self.model.stream(request).await;
        admitted.end = outcome.as_ref().map_or_else(End::of, |_| End::Answered);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Role, Scripted};
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig { failures: 2, open_ms: 100, max_open_ms: 300 };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A breaker that opened at the moment 0.
    fn open() -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        for _ in 0..CONFIG.failures {
            breaker.admit(ms(0)).unwrap();
            breaker.ended(End::Failed, ms(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_does_not() {
        assert_eq!(open().admit(ms(40)), Err(ms(60)));
        let mut breaker = Breaker::new(CONFIG);
        for _ in 0..5 {
            breaker.ended(End::Failed, ms(0));
            breaker.ended(End::Answered, ms(0));
        }
        assert_eq!(breaker.admit(ms(1)), Ok(()));
    }

    #[test]
    fn one_call_tries_and_its_answer_closes_it() {
        let mut breaker = open();
        assert_eq!(breaker.admit(ms(100)), Ok(()));
        assert_eq!(breaker.admit(ms(100)), Err(PROBE_WAIT), "the others wait for the first");
        breaker.ended(End::Answered, ms(110));
        assert_eq!((breaker.admit(ms(111)), breaker.admit(ms(111))), (Ok(()), Ok(())));
    }

    #[test]
    fn each_failed_try_doubles_the_wait_up_to_the_cap() {
        let mut breaker = open();
        let mut now = ms(100);
        for wait in [200, 300, 300] {
            breaker.admit(now).unwrap();
            breaker.ended(End::Failed, now);
            assert_eq!(breaker.admit(now), Err(ms(wait)));
            now += ms(wait);
        }
    }

    #[test]
    fn a_try_that_nobody_waits_for_is_left_to_the_next_call() {
        let mut breaker = open();
        breaker.admit(ms(100)).unwrap();
        breaker.ended(End::Abandoned, ms(101));
        assert_eq!(breaker.admit(ms(101)), Ok(()));
    }

    proptest! {
        #[test]
        fn it_never_stays_shut_for_longer_than_the_cap(steps in prop::collection::vec((0..3u8, 0..400u64), 0..60)) {
            let mut breaker = Breaker::new(CONFIG);
            let (mut now, mut in_flight) = (ms(0), 0_u32);
            for (what, wait) in steps {
                now += ms(wait);
                if breaker.admit(now).is_ok() {
                    in_flight += 1;
                }
                if in_flight > 0 {
                    let end = [End::Answered, End::Failed, End::Abandoned][usize::from(what)];
                    breaker.ended(end, now);
                    in_flight -= 1;
                }
            }
            // Once nothing is in flight any more, the longest wait is enough.
            while in_flight > 0 {
                breaker.ended(End::Abandoned, now);
                in_flight -= 1;
            }
            prop_assert_eq!(breaker.admit(now + ms(CONFIG.max_open_ms)), Ok(()));
        }

        #[test]
        fn turned_off_it_never_opens(failures in 0..100_u32) {
            let mut breaker = Breaker::new(BreakerConfig { failures: 0, ..CONFIG });
            for _ in 0..failures {
                breaker.ended(End::Failed, ms(0));
            }
            prop_assert_eq!(breaker.admit(ms(0)), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_model_behind_it_is_not_asked_while_it_is_open() {
        let script =
            r#"{"rules":[{"times":2,"reply":{"error":{"kind":"unavailable"}}},{"reply":{"text":"x"}}]}"#;
        let breakers = Breakers::new(BreakerConfig { open_ms: 600_000, max_open_ms: 600_000, ..CONFIG });
        let model = breakers.guard(Arc::new(Scripted::parse("m", script).unwrap()));
        let again = breakers.guard(Arc::new(Scripted::parse("m", script).unwrap()));
        let ask = async |model: &Guarded| {
            let request = Request::new(Role::Execute, "g", "", "do");
            model.generate(request).await.map_or_else(|error| error.code(), |_| "answered")
        };
        assert_eq!(ask(&model).await, "provider_unavailable");
        assert_eq!(ask(&model).await, "provider_unavailable");
        assert_eq!(ask(&model).await, "provider_circuit_open");
        assert_eq!(ask(&again).await, "provider_circuit_open", "one breaker for all who ask this model");
    }
}
