//! What an executor sees of the journal: it can add to it, and nothing else.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::task::Event;
use crate::tools::Fence;

/// The journal takes no more entries of this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the task does not go on")]
pub struct Interrupted;

/// Events on their way to whoever writes the task.
#[derive(Debug)]
pub struct Note {
    /// In order.
    pub events: Vec<Event>,
    /// Answered once they are durable, or refused.
    pub answer: oneshot::Sender<Result<(), Interrupted>>,
}

/// One attempt's way into the journal.
pub struct Journal {
    noted: Vec<Event>,
    fence: Fence,
    notes: mpsc::Sender<Note>,
}

impl Journal {
    /// A journal whose events go to the given writer. The fence closes when the attempt may belong
    /// to nobody any more.
    pub fn new(notes: mpsc::Sender<Note>, fence: Fence) -> Self {
        Self { noted: Vec::new(), fence, notes }
    }

    /// Whether only a write can tell if this attempt still goes on.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.fence.is_closed()
    }

    /// What keeps the calls of this attempt from being made too late.
    pub(super) fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Adds an event that becomes durable with the next one that has to: for whatever may be
    /// done again if it is lost.
    pub fn note(&mut self, event: Event) {
        self.noted.push(event);
    }

    /// Adds an event and waits until it, and all that were noted before, are durable.
    pub async fn record(&mut self, event: Event) -> Result<(), Interrupted> {
        self.noted.push(event);
        self.flush().await
    }

    /// Waits until all that was noted is durable.
    pub async fn flush(&mut self) -> Result<(), Interrupted> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let events = std::mem::take(&mut self.noted);
        self.notes.send(Note { events, answer }).await.map_err(|_| Interrupted)?;
        answered.await.unwrap_or(Err(Interrupted))
    }

    /// What was noted and is not durable yet.
    pub(super) fn into_events(self) -> Vec<Event> {
        self.noted
    }
}
