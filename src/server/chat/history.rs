//! What was said before, as a model is told: all of it while there is room, then the newest turns behind
//! a summary of the older ones. A summary is a message of the thread as well; nothing that was said is
//! changed or removed.

use std::fmt::Write as _;
use std::iter;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::models::{Message as ModelMessage, PICTURE_BYTES};
use crate::orchestrator::{Window, cut, marked, marks_of, room_within};
use crate::repository::{Message, Repository, RepositoryError};
use crate::server::state::AppState;
use crate::task::{ModelName, Taint, TaskId};

use super::files::{self, Attached};
use super::outcome::result;
use super::request::text_of;

/// Messages that are looked back at. Long before as many have come together, there is a summary of them.
pub(super) const LOOK_BACK: u32 = 300;

/// Turns that are told one by one at most.
const TURNS: usize = 100;

/// What was said before takes at most this share of the window, in percent: the rest is for the
/// question, what tools bring, and the answer.
const SHARE: u64 = 50;

/// The part of a message of the thread that holds a summary.
const SUMMARY: &str = "data-summary";

/// The part of an answer that says what was read for it.
pub(super) const READ: &str = "data-read";

/// What marks name as the origin of what was said before.
const BEFORE: &str = "conversation";

/// One message, as it is told.
#[derive(Debug, Clone, PartialEq)]
struct Told<'a> {
    id: String,
    is_assistant: bool,
    text: String,
    /// What was shown with it.
    pictures: Vec<Attached<'a>>,
    /// Whether whoever said it had read content from outside.
    untrusted: bool,
}

impl Told<'_> {
    fn size(&self) -> usize {
        let shown = self.pictures.len() * PICTURE_BYTES;
        self.text.len() + shown + if self.untrusted { marks_of(BEFORE, self.text.len()) } else { 0 }
    }
}

/// What was said before, for the model that goes on, and what was read for it.
#[derive(Debug, Default, PartialEq)]
pub(in crate::server) struct Before {
    /// Oldest first.
    pub(in crate::server) messages: Vec<ModelMessage>,
    /// What those have read who said it.
    pub(in crate::server) taint: Taint,
}

/// What was read for an answer, as the thread keeps it.
pub(super) fn read_part(taint: &Taint) -> Option<Value> {
    (!taint.is_none()).then(|| json!({"type": READ, "data": taint}))
}

/// What is kept as [`read_part`] of a message.
fn read_for(message: &Message) -> Taint {
    let parts = message.parts.as_array().map(Vec::as_slice).unwrap_or_default();
    let kept = parts.iter().find(|part| part["type"] == READ).map(|part| part["data"].clone());
    kept.and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default()
}

/// What is told of a conversation.
#[derive(Debug, Default)]
struct History<'a> {
    /// What stands for the turns before.
    summary: Option<String>,
    turns: Vec<Told<'a>>,
    /// What was read for all of it, what the summary stands for included.
    taint: Taint,
    /// Whether what the summary stands for may hold content from outside.
    untrusted_summary: bool,
}

/// What was said before the message `until`, oldest first, within its share of the window. If it does not fit, the
/// older turns are made short, and that is kept for the next time.
pub(in crate::server) async fn within_window(
    state: &AppState,
    thread_id: &str,
    until: &str,
    wanted: Option<&ModelName>,
    window: &Window,
) -> Result<Before, RepositoryError> {
    let room = window.bytes(SHARE);
    let repository = state.repository().as_ref();
    let said = repository.messages(thread_id, LOOK_BACK).await?;
    let mut history = read(repository, &said, until).await?;
    let older = history.fold(room);
    if let Some(last) = older.last() {
        let (text, by) = state.orchestrator.digest(&history.as_notes(&older), room / 4, wanted).await;
        history.untrusted_summary |= older.iter().any(|turn| turn.untrusted);
        // Where it came from is not forgotten with the words.
        let data = json!({
            "through": last.id, "text": text, "by": by, "messages": older.len(), "read": history.taint,
            "untrusted": history.untrusted_summary,
        });
        let note = Message {
            id: format!("summary-{}", Uuid::now_v7()),
            thread_id: thread_id.to_owned(),
            role: "system".to_owned(),
            parts: json!([{"type": SUMMARY, "data": data}]),
            task_id: None,
            created_at: state.orchestrator.now(),
        };
        repository.put_message(&note).await?;
        history.summary = Some(text);
    }
    let taint = history.taint.clone();
    Ok(Before { messages: history.messages(room), taint })
}

/// The summary there is, and the turns behind it.
async fn read<'a>(
    repository: &dyn Repository,
    messages: &'a [Message],
    until: &str,
) -> Result<History<'a>, RepositoryError> {
    let mut history = History::default();
    let mut summaries: Vec<(&str, &Value)> = Vec::new();
    for message in messages {
        if message.role == "system" {
            let data = &message.parts[0]["data"];
            summaries.extend(data["through"].as_str().map(|through| (through, data)));
        }
    }
    for message in messages.iter().take_while(|message| message.id != until) {
        let is_assistant = message.role == "assistant";
        let (mut text, mut read) = (stored_text(message), Taint::default());
        if is_assistant {
            read = read_for(message);
        }
        // What became of a task is not in the message that announced it.
        if is_assistant && let Some(id) = message.task_id {
            text.push_str(&outcome(repository, id, &mut read).await?);
        }
        history.taint.add(&read);
        if message.role != "system" && !text.trim().is_empty() {
            let untrusted = read.untrusted.is_some();
            let pictures = if is_assistant { Vec::new() } else { shown_with(message) };
            history.turns.push(Told { id: message.id.clone(), is_assistant, text, pictures, untrusted });
        }
        // What a summary stands for is not told beside it.
        if let Some((_, data)) = summaries.iter().rfind(|(through, _)| *through == message.id) {
            history.taint.add(&serde_json::from_value(data["read"].clone()).unwrap_or_default());
            history = History {
                summary: Some(data["text"].as_str().unwrap_or_default().to_owned()),
                turns: Vec::new(),
                taint: history.taint,
                untrusted_summary: data["untrusted"] == true,
            };
        }
    }
    Ok(history)
}

impl<'a> History<'a> {
    /// Takes the older turns out if not all of them fit, and returns them: the newest stay, as far as
    /// they fill half of the room.
    fn fold(&mut self, room: usize) -> Vec<Told<'a>> {
        let all: usize = self.turns.iter().map(Told::size).sum();
        let summary = self.summary.as_ref().map_or(0, String::len);
        if all + summary <= room && self.turns.len() <= TURNS {
            return Vec::new();
        }
        let mut filled = 0;
        let newest = self.turns.iter().rev().take(TURNS / 2).take_while(|turn| {
            filled += turn.size().min(room / 4);
            filled <= room / 2
        });
        let kept = newest.count();
        self.turns.drain(..self.turns.len() - kept).collect()
    }

    /// The summary there is and turns, to be made short together.
    fn as_notes(&self, turns: &[Told<'_>]) -> String {
        let mut notes = self.summary.clone().unwrap_or_default();
        for turn in turns {
            let who = if turn.is_assistant { "Assistant" } else { "User" };
            let _ = writeln!(notes, "\n{who}: {}", turn.text);
        }
        notes
    }

    /// What a model is told, in at most `room` bytes.
    fn messages(self, room: usize) -> Vec<ModelMessage> {
        let turns: usize = self.turns.iter().map(Told::size).sum();
        let is_cut = turns + self.summary.as_ref().map_or(0, String::len) > room;
        let untrusted = self.untrusted_summary;
        let earlier =
            |text: String| format!("Earlier in this conversation:\n{}", shown(&text, room / 4, untrusted));
        let summary = self.summary.map(earlier);
        let turns = self.turns.into_iter().flat_map(|turn| {
            let most = if is_cut { room / 4 } else { usize::MAX };
            let text = shown(&turn.text, most, turn.untrusted);
            let said = match turn.is_assistant {
                true => ModelMessage::Assistant { text, requests: Vec::new(), thinking: None },
                false => ModelMessage::User(text),
            };
            // In as much room as its text they have no place.
            let pictures = if is_cut { Vec::new() } else { turn.pictures };
            let pictures = pictures.into_iter().filter_map(Attached::picture);
            iter::once(said).chain(pictures.map(ModelMessage::Picture))
        });
        summary.map(ModelMessage::User).into_iter().chain(turns).collect()
    }
}

/// The beginning of a text in at most so many bytes, its word about what is missing included.
fn short(text: &str, most: usize) -> String {
    if text.len() <= most { text.to_owned() } else { cut(text, most.saturating_sub(100)) }
}

/// The same, marked if it may hold content from outside.
fn shown(text: &str, most: usize, untrusted: bool) -> String {
    match untrusted {
        true => marked(BEFORE, &short(text, room_within(BEFORE, most))),
        false => short(text, most),
    }
}

/// The pictures of a stored message.
fn shown_with(message: &Message) -> Vec<Attached<'_>> {
    message.parts.as_array().map(|parts| files::attached(parts).collect()).unwrap_or_default()
}

/// The text of a stored message.
pub(super) fn stored_text(message: &Message) -> String {
    message.parts.as_array().map(|parts| text_of(parts)).unwrap_or_default()
}

/// What became of a task, and what it has read.
async fn outcome(
    repository: &dyn Repository,
    id: TaskId,
    read: &mut Taint,
) -> Result<String, RepositoryError> {
    let Some(task) = repository.load(id).await? else { return Ok(String::new()) };
    read.join(&task.state().taint, id);
    Ok(match result(repository, &task).await? {
        Some(result) => format!("\n\nThe task is completed. Its result:\n{result}"),
        None => format!("\n\nThe task is {}.", task.status()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(messages: &[ModelMessage]) -> usize {
        messages
            .iter()
            .map(|message| match message {
                ModelMessage::User(text) | ModelMessage::Assistant { text, .. } => text.len(),
                ModelMessage::ToolResult { content, .. } => content.len(),
                ModelMessage::Picture(_) => PICTURE_BYTES,
            })
            .sum()
    }

    fn told(number: usize, length: usize, parts: &[Value]) -> Told<'_> {
        let text = format!("{number} {}", "é".repeat(length));
        let pictures = if number.is_multiple_of(10) { files::attached(parts).collect() } else { Vec::new() };
        let is_assistant = number % 2 == 1;
        Told { id: number.to_string(), is_assistant, text, pictures, untrusted: number % 3 == 1 }
    }

    proptest! {
        #[test]
        fn no_history_is_above_its_room(
            lengths in prop::collection::vec(0..4000usize, 0..250),
            summary in prop::option::of(0..20_000usize),
            room in 2000..20_000usize,
        ) {
            let parts = [json!({"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,aGk="})];
            let turns: Vec<Told<'_>> =
                lengths.iter().enumerate().map(|(number, length)| told(number, *length, &parts)).collect();
            let summary = summary.map(|length| "s".repeat(length));
            let mut history =
                History { summary, turns: turns.clone(), untrusted_summary: true, ..History::default() };
            let older = history.fold(room);
            let kept = history.turns.clone();
            prop_assert_eq!([older.clone(), kept.clone()].concat(), turns.clone(), "nothing is lost on the way");
            prop_assert!(turns.is_empty() || !kept.is_empty(), "the newest is told");
            prop_assert!(kept.len() <= TURNS);
            if !older.is_empty() {
                // A digest is never longer than this.
                history.summary = Some("d".repeat(room / 4));
            }
            let messages = history.messages(room);
            prop_assert!(bytes(&messages) <= room + 40, "{} of {room}", bytes(&messages));
        }
    }
}
