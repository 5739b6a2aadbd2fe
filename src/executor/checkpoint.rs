//! The step that writes the context down.

use super::Attempt;
use crate::task::{Payload, Task};

impl Attempt {
    /// Records where the work stands.
    pub(super) fn checkpoint(&mut self, task: &Task) -> Payload {
        let event = task.checkpoint(Some(self.index), None);
        let output = Payload::text(event.message());
        self.journal.note(event);
        output
    }
}
