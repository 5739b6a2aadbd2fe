//! A pause reaches the calls in flight, and loses nothing.
//!
//! A tool call that may be made again is called off after a moment, and made again under its own key when
//! the task goes on; so is a probe that is asked whether what a step did is so. An unsafe one is left to end, for nobody would know what it did: its outcome is
//! recorded while the task is paused, and nothing follows it. So is a model's answer: it is paid for.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drive::Drive;
use crate::task::{Call, Step};

/// How long a call may go on after a pause before it is called off: most end within that, and what ends
/// is not made again.
const GRACE: Duration = Duration::from_secs(2);

impl Drive {
    /// When calls in flight are called off, if somebody wants the task to stand still and there are any.
    pub(super) fn calls_off_at(&mut self) -> Option<Instant> {
        if !self.writer.task.is_stopped() {
            self.stopped_since = None;
            return None;
        }
        let since = *self.stopped_since.get_or_insert_with(Instant::now);
        self.may_call_off().next().map(|_| since + GRACE)
    }

    pub(super) fn call_off(&self) {
        self.may_call_off().for_each(CancellationToken::cancel);
    }

    /// What ends the running steps whose call in flight, or whose probe, may be made again.
    fn may_call_off(&self) -> impl Iterator<Item = &CancellationToken> {
        let task = &self.writer.task;
        let may = move |index: &u32| {
            let last = |step: &Step| step.calls.last().is_some_and(Call::is_called_off);
            task.step(*index).is_some_and(|step| step.asks_a_probe() || last(step))
        };
        let still = self.cancels.iter().filter(move |(index, cancel)| !cancel.is_cancelled() && may(index));
        still.map(|(_, cancel)| cancel)
    }
}
