//! What the log says while the database is out of reach: once when it begins, now and then while it lasts,
//! and once when it is over. Whoever fails meanwhile tries again and has nothing to add.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::RepositoryError;
use crate::task::with_causes;

/// How often it is said that an outage goes on.
const REMIND: Duration = Duration::from_secs(60);

/// It is over when nothing has failed for so long: a full disk refuses some writes and takes others.
const CALM: Duration = Duration::from_secs(3);

/// Whether the database is out of reach.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Whether there is one: looked at with every write that succeeds.
    lasts: AtomicBool,
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    since: Instant,
    failed: Instant,
    said: Instant,
}

/// What there is to say.
#[derive(Debug, PartialEq)]
enum News {
    Begins,
    GoesOn(Duration),
}

impl Outage {
    /// Takes note of how something went that the database was asked for.
    pub(super) fn note<T>(&self, asked: &Result<T, RepositoryError>) {
        match asked {
            Err(error) if error.is_passing() => match self.failed(Instant::now()) {
                Some(News::Begins) => {
                    tracing::warn!(
                        error = with_causes(error),
                        "the database cannot be used: trying until it can"
                    );
                }
                Some(News::GoesOn(lasted)) => {
                    let seconds = lasted.as_secs();
                    tracing::warn!(error = with_causes(error), seconds, "the database still cannot be used");
                }
                None => {}
            },
            Ok(_) if self.lasts.load(Ordering::Relaxed) => {
                if let Some(lasted) = self.went_well(Instant::now()) {
                    tracing::info!(seconds = lasted.as_secs(), "the database can be used again");
                }
            }
            _ => {}
        }
    }

    fn failed(&self, now: Instant) -> Option<News> {
        self.lasts.store(true, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = seen.as_mut() else {
            *seen = Some(Seen { since: now, failed: now, said: now });
            return Some(News::Begins);
        };
        known.failed = now;
        if now - known.said < REMIND {
            return None;
        }
        known.said = now;
        Some(News::GoesOn(now - known.since))
    }

    /// How long it lasted, if it is over.
    fn went_well(&self, now: Instant) -> Option<Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (*seen).filter(|known| now - known.failed >= CALM)?;
        *seen = None;
        self.lasts.store(false, Ordering::Relaxed);
        Some(known.failed - known.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_now_and_then_and_when_it_is_over() {
        let outage = Outage::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(outage.went_well(at(0)), None);
        assert_eq!(outage.failed(at(0)), Some(News::Begins));
        assert_eq!((1..60).filter_map(|second| outage.failed(at(second))).count(), 0);
        assert_eq!(outage.failed(at(60)), Some(News::GoesOn(Duration::from_secs(60))));
        assert_eq!(outage.went_well(at(61)), None, "what fails may fail again at once");
        assert_eq!(outage.failed(at(62)), None);
        assert_eq!(outage.went_well(at(65)), Some(Duration::from_secs(62)));
        assert_eq!(outage.failed(at(66)), Some(News::Begins));
    }
}
