//! The step that compresses the context.

use super::{Attempt, Stop};
use crate::task::{Event, Payload, Task};

impl Attempt {
    /// Compresses what earlier steps brought; the summary is the step's output.
    pub(super) async fn summarize(&mut self, task: &Task) -> Result<Payload, Stop> {
        let ledger = self.allowance.ledger();
        match self.orchestrator.summarize_context(task, Some(self.index), ledger).await? {
            Some(event) => {
                let summary = match &event {
                    Event::ContextSummarized { summary, .. } => summary.clone(),
                    other => Payload::text(other.message()),
                };
                if let Event::ContextSummarized { usage, .. } = &event {
                    self.allowance.charge(usage);
                }
                self.journal.note(event);
                Ok(summary)
            }
            None => Ok(Payload::text("There is nothing to summarize yet.")),
        }
    }
}
