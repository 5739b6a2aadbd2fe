//! What was said before, as a model is told.

use std::collections::VecDeque;

use crate::models::Message as ModelMessage;
use crate::repository::{Message, Repository, RepositoryError};
use crate::task::{Status, TaskId};

use super::request::text_of;

/// Messages that are looked back at. With the next limit it bounds what an answer costs,
/// however long the conversation is.
pub(super) const LOOK_BACK: u32 = 40;

/// Bytes of earlier messages at most; older ones are left out.
const HISTORY_BYTES: usize = 64 * 1024;

/// What was said before the message `until`, oldest first, as far as there is room.
pub(in crate::server) async fn before(
    repository: &dyn Repository,
    messages: &[Message],
    until: &str,
) -> Result<Vec<ModelMessage>, RepositoryError> {
    let earlier = messages.iter().take_while(|message| message.id != until);
    let mut said = Vec::new();
    for message in earlier {
        let mut text = stored_text(message);
        // What became of a task is not in the message that announced it.
        if message.role == "assistant"
            && let Some(id) = message.task_id
        {
            text.push_str(&outcome(repository, id).await?);
        }
        said.push((message.role.as_str(), text));
    }
    Ok(newest(said))
}

/// The text of a stored message.
pub(super) fn stored_text(message: &Message) -> String {
    message.parts.as_array().map(|parts| text_of(parts)).unwrap_or_default()
}

fn newest(said: Vec<(&str, String)>) -> Vec<ModelMessage> {
    let mut room = HISTORY_BYTES;
    let mut kept = VecDeque::new();
    for (role, text) in said.into_iter().rev().filter(|(_, text)| !text.trim().is_empty()) {
        let Some(left) = room.checked_sub(text.len()) else { break };
        room = left;
        kept.push_front(match role {
            "assistant" => ModelMessage::Assistant { text, requests: Vec::new() },
            _ => ModelMessage::User(text),
        });
    }
    kept.into()
}

async fn outcome(repository: &dyn Repository, id: TaskId) -> Result<String, RepositoryError> {
    let Some(task) = repository.load(id).await? else { return Ok(String::new()) };
    Ok(match (&task.state().output, task.status()) {
        (Some(output), Status::Completed) => {
            let answer = repository.content(output).await?;
            let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
            format!("\n\nThe task is completed. Its result:\n{answer}")
        }
        (_, status) => format!("\n\nThe task is {status}."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_messages_are_kept_within_the_room() {
        let long = "x".repeat(HISTORY_BYTES / 2);
        let said = vec![
            ("user", "first".to_owned()),
            ("user", long.clone()),
            ("assistant", long),
            ("user", String::new()),
        ];
        let kept = newest(said);
        assert_eq!(kept.len(), 2);
        assert!(
            matches!(kept[0], ModelMessage::User(_)) && matches!(kept[1], ModelMessage::Assistant { .. })
        );
    }
}
