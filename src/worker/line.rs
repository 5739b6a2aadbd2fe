//! Who waits while this worker has no room: so that a long task lets others go first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Shared;
use super::config::LimiterConfig;
use super::drive::Drive;
use crate::repository::{Place, Repository};
use crate::task::Priority;

/// The first of those that wait, as they were when the worker last looked. Each of them makes
/// one task step back, and no more.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<VecDeque<Place>>);

impl Line {
    /// Looks for as many as could be let go first.
    pub(super) async fn look(&self, repository: &dyn Repository, slots: u32) {
        match repository.waiting(slots).await {
            Ok(places) => self.set(places.into()),
            Err(error) => tracing::debug!(%error, "nobody knows who waits"),
        }
    }

    /// There is room: whoever waits is served without anybody stepping back.
    pub(super) fn clear(&self) {
        self.set(VecDeque::new());
    }

    /// Whether a task of this priority has to let somebody go first. If so, whoever it is has
    /// been seen to.
    pub(super) fn steps_back(&self, priority: Priority) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_first = places.front().is_some_and(|first| *first < Place::of_newcomer(priority));
        if goes_first {
            places.pop_front();
        }
        goes_first
    }

    fn set(&self, places: VecDeque<Place>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }
}

/// A task whose next step waits for its turn, for as long as it does.
pub(super) struct InLine<'a>(&'a AtomicU32);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drive {
    /// Counts a task among those that wait for the limiter. It is said once: who wonders why so little of a
    /// plan runs side by side finds the reason.
    pub(super) fn stand_in_line<'a>(&mut self, shared: &'a Shared) -> InLine<'a> {
        if !std::mem::replace(&mut self.was_in_line, true) {
            let LimiterConfig { max, duration, .. } = &shared.config.limiter;
            tracing::info!(task = %self.writer.task.id, max, duration,
                "steps are ready and wait for their turn ([worker.limiter])");
        }
        shared.in_line.fetch_add(1, Ordering::Relaxed);
        InLine(&shared.in_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_steps_back_for_each_that_waits_and_none_for_those_behind() {
        let line = Line::default();
        assert!(!line.steps_back(Priority::LOWEST));
        let usual = Place::of_newcomer(Priority::default());
        line.set([usual].into());
        assert!(!line.steps_back(Priority::HIGHEST), "it would be claimed again at once");
        assert!(!line.steps_back(Priority::default()), "it is as urgent and did not come before");
        assert!(line.steps_back(Priority::LOWEST));
        assert!(!line.steps_back(Priority::LOWEST), "nobody is left");
    }
}
