//! Durations in classes, from which percentiles are read without keeping each of them.
//!
//! Below 16 ms every millisecond is a class; above, each doubling is divided into 16. So a
//! percentile is off by at most a 32nd, about 3 %, whatever the durations are.

use std::collections::BTreeMap;

/// Classes per doubling.
const PER_DOUBLING: u64 = 16;
const BITS: u32 = PER_DOUBLING.trailing_zeros();

/// The class of a duration in milliseconds.
pub(super) fn slot(millis: u64) -> u16 {
    if millis < PER_DOUBLING {
        return millis as u16;
    }
    let doubling = millis.ilog2() - BITS;
    let within = (millis >> doubling) - PER_DOUBLING;
    // At most 61 * 16.
    ((u64::from(doubling) + 1) * PER_DOUBLING + within) as u16
}

/// The smallest duration of a class, and the smallest that is beyond it.
fn bounds(slot: u16) -> (u64, u64) {
    let slot = u64::from(slot);
    if slot < PER_DOUBLING {
        return (slot, slot + 1);
    }
    let doubling = (slot / PER_DOUBLING - 1).min(59);
    let low = (slot % PER_DOUBLING + PER_DOUBLING) << doubling;
    (low, low.saturating_add(1 << doubling))
}

/// Durations by class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations(BTreeMap<u16, u64>);

impl Durations {
    /// Adds so many durations of a class.
    pub fn add(&mut self, slot: u16, count: u64) {
        *self.0.entry(slot).or_default() += count;
    }

    /// How many there are of each class.
    pub fn classes(self) -> impl Iterator<Item = (u16, u64)> {
        self.0.into_iter()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The duration that so many percent do not exceed, in milliseconds: the middle of its class.
    /// `None` if there are no durations.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let (slot, _) = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        })?;
        let (low, beyond) = bounds(*slot);
        Some(low + (beyond - low) / 2)
    }

    /// How many do not exceed a duration, as far as the classes tell: those of a class that the
    /// duration lies within count if it is at least its middle.
    pub fn count_within(&self, millis: u64) -> u64 {
        let is_within = |slot: u16| {
            let (low, beyond) = bounds(slot);
            low + (beyond - low) / 2 <= millis
        };
        self.0.iter().filter(|(slot, _)| is_within(**slot)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_without_gaps() {
        for slot in 0..900 {
            let (low, beyond) = bounds(slot);
            assert_eq!(super::slot(low), slot);
            assert_eq!(super::slot(beyond - 1), slot);
            assert_eq!(bounds(slot + 1).0, beyond);
        }
    }

    #[test]
    fn a_percentile_is_off_by_three_percent_at_most() {
        for millis in [1, 15, 16, 17, 100, 999, 12_345, 86_400_000, 10_000_000_000] {
            let mut durations = Durations::default();
            durations.add(slot(millis), 1);
            let read = durations.percentile(50).unwrap();
            assert!(read.abs_diff(millis) * 32 <= millis.max(32), "{millis} was read as {read}");
        }
        assert!(slot(u64::MAX) > slot(u64::MAX / 2), "no duration is too long");
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentile(50), None);
        (1..=10).for_each(|millis| durations.add(slot(millis), 1));
        let read = |percent| durations.percentile(percent).unwrap();
        assert_eq!((read(0), read(50), read(95), read(100)), (1, 5, 10, 10));
        assert_eq!(durations.count_within(7), 7);
    }
}
