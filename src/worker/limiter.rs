//! How many steps may start in how much time.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::config::LimiterConfig;

/// Lets steps start at the configured rate. It counts for this process.
pub(super) struct Limiter(Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>);

impl Limiter {
    pub(super) fn new(config: &LimiterConfig) -> Self {
        let Some(max) = NonZeroU32::new(config.max) else { return Self(None) };
        let period = Duration::from_millis(config.duration) / max.get();
        let quota = Quota::with_period(period).map(|quota| quota.allow_burst(max));
        Self(quota.map(RateLimiter::direct))
    }

    /// Whether a step may start now; if so, it counts as started.
    pub(super) fn admits_now(&self) -> bool {
        self.0.as_ref().is_none_or(|limiter| limiter.check().is_ok())
    }

    /// Waits until a step may start.
    pub(super) async fn admit(&self) {
        if let Some(limiter) = &self.0 {
            limiter.until_ready().await;
        }
    }
}
