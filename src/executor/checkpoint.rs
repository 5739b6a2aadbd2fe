//! The step that writes the context down.

use super::{Attempt, Stop};
use crate::task::{Payload, Task};

impl Attempt {
    /// Records where the work stands.
    pub(super) fn checkpoint(&mut self, task: &Task) -> Result<Option<Payload>, Stop> {
        let event = task.checkpoint(Some(self.index), None);
        let output = Payload::text(event.message());
        self.journal.note(event);
        Ok(Some(output))
    }
}
