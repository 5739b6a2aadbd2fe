//! The step that writes the context down.

use serde_json::json;

use super::{Attempt, Stop};
use crate::task::{Event, Payload, Task};

impl Attempt {
    /// Records where the work stands.
    pub(super) fn checkpoint(&mut self, task: &Task) -> Result<Option<Payload>, Stop> {
        let event = checkpoint_event(task, Some(self.index));
        let output = Payload::text(event.message());
        self.journal.note(event);
        Ok(Some(output))
    }
}

/// Where a task stands, as a fact. The journal holds everything else, so a checkpoint has the
/// same size after ten steps and after ten thousand.
pub(crate) fn checkpoint_event(task: &Task, step: Option<u32>) -> Event {
    let state = task.state();
    let context = json!({
        "revision": state.revision,
        "completed": state.completed,
        "total": task.total_steps(),
        "open": task.frontier(),
        "summaryThrough": state.summary.as_ref().map(|summary| summary.through),
        "usage": state.usage,
        "seq": state.seq,
    });
    Event::CheckpointTaken { step, completed: state.completed, context: Payload::Inline(context) }
}
