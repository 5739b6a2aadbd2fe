//! What people tell a task that has not asked them, and the files that go with it.

use super::context::{is_pin_of_nothing, pin_in};
use super::lifecycle::expect;
use super::promote::pictured;
use super::{Files, Orchestrator, OrchestratorError};
use crate::models::Picture;
use crate::task::{Event, FROM_FILE, Payload, ShownPicture, Status, Task, TaskId};

/// Longest reason and message, in bytes. Longer material belongs into a file that is named.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// What somebody wrote to a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The number of its entry.
    pub seq: i64,
    /// The words.
    pub text: String,
    /// What goes with them.
    pub pictures: Vec<ShownPicture>,
    /// Who wrote.
    pub by: String,
}

impl Written {
    /// Whether it is what is in a file, which no person wrote as a message.
    pub fn is_file(&self) -> bool {
        self.by == FROM_FILE
    }
}

impl Orchestrator {
    /// Sends a message to a task that has not ended. Models that work on it read it at their next
    /// turn, and so do all later steps; a paused task stays paused.
    pub async fn send_message(&self, id: TaskId, text: &str, by: &str) -> Result<Task, OrchestratorError> {
        self.send_message_with(id, text, &Files::default(), by).await
    }

    /// The same with files: what is in those with text follows the message as messages of their own.
    pub async fn send_message_with(
        &self,
        id: TaskId,
        text: &str,
        files: &Files,
        by: &str,
    ) -> Result<Task, OrchestratorError> {
        let text = message_text(text)?;
        self.record(id, |task| {
            expect(task, "send a message to", &[Status::Pending, Status::Running, Status::Paused])?;
            let by = by.to_owned();
            let pinned = pin_in(&text).map(|fact| Event::FactPinned {
                step: None,
                text: Payload::text(fact),
                by: by.clone(),
            });
            let told = files.told.iter().map(|file| pictured(file, &[], FROM_FILE));
            let received = pictured(&text, &files.shown, &by);
            Ok(std::iter::once(received).chain(told).chain(pinned).collect())
        })
        .await
    }

    /// A message that a task received, by the number of its entry.
    pub async fn message(&self, id: TaskId, seq: i64) -> Result<Option<Written>, OrchestratorError> {
        let entries = self.repository.journal(id, seq - 1, 1).await?;
        let (text, pictures, by) = match entries.into_iter().next().map(|entry| entry.event) {
            Some(Event::MessageReceived { text, pictures, by }) => (text, pictures, by),
            Some(Event::Restored { notice, by, .. }) => (notice, Vec::new(), by),
            _ => return Ok(None),
        };
        Ok(Some(Written { seq, text: self.text_of(&text).await?, pictures, by }))
    }

    /// A picture as a model is shown it.
    pub async fn picture(&self, shown: &ShownPicture) -> Result<Picture, OrchestratorError> {
        let data = self.text_of(&shown.content).await?;
        Ok(Picture { name: shown.name.clone(), media_type: shown.media_type.clone(), data })
    }
}

/// A message as it is recorded.
pub(super) fn message_text(text: &str) -> Result<String, OrchestratorError> {
    let text = text.trim();
    if text.is_empty() {
        let problem = "is empty: write what the task should know".to_owned();
        return Err(OrchestratorError::Invalid { field: "text", problem });
    }
    if is_pin_of_nothing(text) {
        let problem = "has nothing behind pin: write the fact that is to be kept there".to_owned();
        return Err(OrchestratorError::Invalid { field: "text", problem });
    }
    check_text("text", text)?;
    Ok(text.replace('\0', "\u{fffd}"))
}

pub(super) fn check_text(field: &'static str, text: &str) -> Result<(), OrchestratorError> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let problem = format!("has {} bytes, at most {MAX_TEXT_BYTES} are allowed", text.len());
    Err(OrchestratorError::Invalid { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_something_and_so_does_a_pin() {
        for nothing in ["", " \n", "pin:", "  PIN: \n"] {
            assert!(message_text(nothing).is_err(), "{nothing:?}");
        }
        assert_eq!(message_text(" pin: It is blue ").unwrap(), "pin: It is blue");
    }
}
