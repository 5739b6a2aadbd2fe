//! How many steps may start in how much time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;

use super::config::{LimiterConfig, LimiterScope};
use crate::repository::{Rate, Repository};

/// The name of the limiter that all workers share.
const STEPS: &str = "steps";

/// How long to wait for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets steps start at the configured rate.
pub(super) enum Limiter {
    /// Whenever they like.
    Off,
    /// Counts for this process.
    Process(Box<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>),
    /// Counts for all workers of the database.
    Cluster(Permits),
}

impl Limiter {
    pub(super) fn new(config: &LimiterConfig, repository: &Arc<dyn Repository>) -> Self {
        let Some(max) = NonZeroU32::new(config.max) else { return Self::Off };
        let duration = Duration::from_millis(config.duration);
        if config.scope == LimiterScope::Cluster {
            let rate = Rate { max: max.get(), duration };
            return Self::Cluster(Permits::new(repository.clone(), rate));
        }
        let quota = Quota::with_period(duration / max.get()).map(|quota| quota.allow_burst(max));
        quota.map_or(Self::Off, |quota| Self::Process(Box::new(RateLimiter::direct(quota))))
    }

    /// Whether a step may start now; if so, it counts as started.
    pub(super) async fn admits_now(&self) -> bool {
        match self {
            Self::Off => true,
            Self::Process(limiter) => limiter.check().is_ok(),
            Self::Cluster(permits) => permits.take().await.is_none(),
        }
    }

    /// Waits until a step may start.
    pub(super) async fn admit(&self) {
        match self {
            Self::Off => {}
            Self::Process(limiter) => limiter.until_ready().await,
            Self::Cluster(permits) => {
                while let Some(wait) = permits.take().await {
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// Permits from the database. While one request for them is on its way, others wait for it; the
/// next one asks for all of them. So a high rate does not cost a round trip per step, and no
/// permit is kept for later.
pub(super) struct Permits {
    repository: Arc<dyn Repository>,
    rate: Rate,
    wanted: AtomicU32,
    granted: Mutex<u32>,
}

/// Somebody who wants a permit, until there is one or nobody wants it any more.
struct Wish<'a>(&'a AtomicU32);

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permits {
    fn new(repository: Arc<dyn Repository>, rate: Rate) -> Self {
        Self { repository, rate, wanted: AtomicU32::new(0), granted: Mutex::new(0) }
    }

    /// Takes one permit. If there is none: how long to wait before asking again.
    async fn take(&self) -> Option<Duration> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let wish = Wish(&self.wanted);
        let mut granted = self.granted.lock().await;
        let wait = if *granted == 0 { self.ask(&mut granted).await } else { None };
        drop(wish);
        if *granted > 0 {
            // What nobody waits for any more is given up: a permit is for now.
            *granted = (*granted - 1).min(self.wanted.load(Ordering::Relaxed));
            return None;
        }
        wait
    }

    async fn ask(&self, granted: &mut u32) -> Option<Duration> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        match self.repository.permits(STEPS, self.rate, wanted).await {
            Ok(grant) => {
                *granted = grant.permits;
                Some(grant.wait.max(Duration::from_millis(1)))
            }
            Err(error) => {
                error.tell("the limit of all workers is not known, steps wait");
                Some(PATIENCE)
            }
        }
    }
}
