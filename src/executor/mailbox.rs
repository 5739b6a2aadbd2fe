//! What people wrote to a task while a worker holds it.

use std::sync::{Arc, Mutex, PoisonError};

use super::conversation::Conversation;
use super::{Attempt, Stop};
use crate::models::Message;
use crate::orchestrator::{Window, beside, cut, excerpt};
use crate::task::StepType;

/// The numbers of the entries that hold messages to a task, oldest first. Clones share them: who
/// drives the task puts them in, and its running steps look before each model turn.
#[derive(Debug, Clone, Default)]
pub struct Mailbox {
    entries: Arc<Mutex<Vec<i64>>>,
}

impl Mailbox {
    /// Takes the messages that the task knows of now.
    pub fn put(&self, messages: &[i64]) {
        // The list is whole after a panic elsewhere: every change of it is one call.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() != messages.len() {
            messages.clone_into(&mut entries);
        }
    }

    /// Those behind an entry.
    pub(super) fn after(&self, seq: i64) -> Vec<i64> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().copied().filter(|entry| *entry > seq).collect()
    }
}

impl Attempt {
    /// Whether somebody wrote what this conversation does not hold yet.
    pub(super) fn has_mail(&self, conversation: &Conversation) -> bool {
        !self.mailbox.after(conversation.heard).is_empty()
    }

    /// Adds to a conversation what people wrote since. Returns the newest message it holds then,
    /// if it holds any beyond its opening.
    pub(super) async fn read_mail(
        &self,
        conversation: &mut Conversation,
        window: &Window,
    ) -> Result<Option<i64>, Stop> {
        let newest = self.mailbox.after(conversation.heard).last().copied().unwrap_or(conversation.heard);
        let written = self.written(conversation.heard, newest, window).await?;
        let before = conversation.next_number();
        conversation.hear(written, newest, before);
        let opening = self.step.first_seq.unwrap_or_default();
        Ok(Some(newest).filter(|newest| *newest > opening))
    }

    /// What people wrote behind one entry and up to another, with the pictures that go with it. A file is
    /// shown as far as a result is, and of the pictures of a message the newest, as much as the results of a
    /// turn may take.
    pub(super) async fn written(
        &self,
        after: i64,
        through: i64,
        window: &Window,
    ) -> Result<Vec<Message>, Stop> {
        let (of_file, of_pictures) = window.result_bytes();
        let mut messages = Vec::new();
        let numbers = self.mailbox.after(after);
        for seq in numbers.into_iter().filter(|seq| *seq <= through) {
            let Some(written) = self.orchestrator.message(self.task_id, seq).await? else { continue };
            let (left, shown) = beside(&written, of_pictures);
            let said = match (written.is_file(), self.step.plan.kind) {
                (false, _) => written.text.clone(),
                // It cannot read on.
                (true, StepType::LlmReasoning) => cut(&written.text, of_file),
                (true, _) => excerpt(&written.text, of_file, &format!("message-{seq}")),
            };
            let words: Vec<String> = std::iter::once(said).chain(left).collect();
            messages.push(Message::User(words.join("\n")));
            for picture in shown {
                messages.push(Message::Picture(self.orchestrator.picture(picture).await?));
            }
        }
        Ok(messages)
    }
}
