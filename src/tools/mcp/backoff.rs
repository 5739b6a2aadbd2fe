//! When a server that failed may be tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So many failures within [`WINDOW`] open the breaker, until the oldest of them has passed out
/// of it.
const BREAKER: usize = 5;
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The recent failures of one server: attempts to connect, and connections that were lost. There
/// is nothing to reset: a server is well again when its failures are long ago.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Instant>);

/// Whether to try now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Try,
    Wait(Duration),
    /// The breaker is open for so long.
    Open(Duration),
}

impl Failures {
    pub(super) fn add(&mut self, now: Instant) {
        self.0.push_back(now);
        while self.0.len() > BREAKER {
            self.0.pop_front();
        }
    }

    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let recent = || self.0.iter().filter(|at| now.saturating_duration_since(**at) < WINDOW);
        let (Some(oldest), Some(newest)) = (recent().next(), recent().next_back()) else {
            return Verdict::Try;
        };
        let count = recent().count();
        if count >= BREAKER {
            return Verdict::Open((*oldest + WINDOW).saturating_duration_since(now));
        }
        let doublings = u32::try_from(count).unwrap_or(u32::MAX).saturating_sub(1).min(16);
        let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        match (*newest + wait).saturating_duration_since(now) {
            Duration::ZERO => Verdict::Try,
            left => Verdict::Wait(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_server_without_failures_is_tried_at_once() {
        assert_eq!(Failures::default().verdict(Instant::now()), Verdict::Try);
    }

    #[test]
    fn every_failure_doubles_the_wait() {
        let start = Instant::now();
        let mut failures = Failures::default();
        for wait in [1, 2, 4, 8] {
            failures.add(start);
            assert_eq!(failures.verdict(start), Verdict::Wait(wait * SECOND));
            assert_eq!(failures.verdict(start + wait * SECOND), Verdict::Try);
        }
    }

    #[test]
    fn five_failures_in_five_minutes_open_the_breaker_until_the_oldest_is_past() {
        let start = Instant::now();
        let mut failures = Failures::default();
        for minute in 0..5 {
            failures.add(start + minute * 59 * SECOND);
        }
        let now = start + 4 * 59 * SECOND;
        assert_eq!(failures.verdict(now), Verdict::Open(64 * SECOND));
        assert_eq!(failures.verdict(now + 64 * SECOND), Verdict::Try);
        assert_eq!(failures.verdict(now + WINDOW), Verdict::Try);
    }
}
