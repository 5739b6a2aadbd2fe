//! Looks at the budget before a task goes on, and pauses it where nothing is left.

use super::drive::Drive;
use crate::executor::CallAllowance;
use crate::task::{Exceeded, Ledger, Pause};

impl Drive {
    /// Whether the task was paused because one of these steps cannot be begun. Takes over what was
    /// added to the budget before it looks.
    pub(super) fn is_out_of_budget(&mut self, steps: &[u32]) -> bool {
        let task = self.writer.task.clone();
        if self.cancels.is_empty() {
            self.allowance = CallAllowance::of(&task);
        } else {
            self.allowance.follow(&task);
        }
        let begins = steps.iter().filter_map(|index| task.step(*index)).any(|step| step.attempts == 0);
        let verdict = match begins {
            true => task.fits_step().and_then(|()| Ledger::of(&task).has_time((self.shared.clock)())),
            false => Ok(()),
        };
        verdict.is_err_and(|exceeded| self.pause_for_budget(&exceeded))
    }

    pub(super) fn pause_for_budget(&mut self, exceeded: &Exceeded) -> bool {
        tracing::info!(task = %self.writer.task.id, %exceeded, "paused for its budget");
        self.rest_with(Pause::until_more(*exceeded))
    }
}
