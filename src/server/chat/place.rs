//! Where what is said gets its place in the thread. An answer to a message that is answered anew, because
//! its client asks for another one or because it was edited, waits aside until it is whole: should it
//! fail, the thread is as it was.

use serde_json::Value;

use super::answer::ANSWERING;
use super::history::{READ, stored_text};
use super::request::Turn;
use super::{ANSWER, message_id};
use crate::repository::{Message, RepositoryError};
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::task::TaskId;

/// Whether the message is answered anew.
pub(super) fn is_anew(turn: &Turn, said: &[Message]) -> bool {
    let known = said.iter().find(|message| message.id == turn.message_id && message.role == "user");
    known.is_some_and(|known| turn.is_repeated || stored_text(known) != turn.text)
}

/// What was said to the message the last time it was sent, whether that is an answer, the beginning of one
/// or why there is none.
pub(super) fn said_to<'a>(turn: &Turn, said: &'a [Message]) -> Option<&'a Message> {
    let at = said.iter().position(|message| message.id == turn.message_id && message.role == "user")?;
    let behind = said[at + 1..].iter().take_while(|message| message.role != "user");
    behind.filter(|message| message.role == "assistant").last()
}

/// Whether an answer was given to its end.
pub(super) fn is_whole(answer: &Message) -> bool {
    let parts = answer.parts.as_array().map(Vec::as_slice).unwrap_or_default();
    let says = |kind: &str| parts.iter().any(|part| part["type"] == kind);
    // What became a task is told as that.
    let is_open = answer.task_id.is_some() || says(ANSWERING) || says("data-error");
    !is_open && parts.iter().any(|part| part["type"] != READ)
}

/// Refuses a message that has the id of something else in the thread, such as an answer: it would take its place.
pub(super) async fn refuse_taken(state: &AppState, turn: &Turn, said: &[Message]) -> Result<(), ApiError> {
    let is_other = |known: &Message| known.id == turn.message_id && known.role != "user";
    let is_taken = said.iter().any(is_other) || {
        // An answer may stand further back than anybody looks.
        let conversations = state.repository().conversations();
        let known = match turn.message_id.starts_with(ANSWER) {
            true => conversations.message(&turn.message_id).await?,
            false => None,
        };
        known.is_some_and(|known| known.thread_id == turn.thread_id && is_other(&known))
    };
    match is_taken {
        true => {
            Err(ApiError::invalid("message.id", "is the id of an answer in this thread: choose a new one"))
        }
        false => Ok(()),
    }
}

/// What the user said, as a message of the thread.
pub(super) fn question(state: &AppState, turn: &Turn, task_id: Option<TaskId>) -> Message {
    Message {
        id: turn.message_id.clone(),
        thread_id: turn.thread_id.clone(),
        role: "user".to_owned(),
        parts: Value::Array(turn.parts.clone()),
        task_id,
        created_at: state.orchestrator.now(),
    }
}

/// What is said to it, as a message of the thread.
pub(super) fn answer(
    state: &AppState,
    thread_id: &str,
    id: TaskId,
    parts: Value,
    task_id: Option<TaskId>,
) -> Message {
    Message {
        id: message_id(id),
        thread_id: thread_id.to_owned(),
        role: "assistant".to_owned(),
        parts,
        task_id,
        created_at: state.orchestrator.now(),
    }
}

/// Stores a message with what it is answered with; if it is answered anew, in the place of what followed it.
pub(super) async fn put_both(
    state: &AppState,
    question: &Message,
    answer: &Message,
    is_anew: bool,
) -> Result<(), RepositoryError> {
    let repository = state.repository();
    if is_anew {
        return repository.conversations().answer_anew(question, answer).await.map(drop);
    }
    repository.put_message(question).await?;
    repository.put_message(answer).await
}

/// Stores an answer as far as it is known.
pub(super) async fn put(state: &AppState, answer: &Message, is_anew: bool) -> Result<(), RepositoryError> {
    let repository = state.repository();
    match is_anew {
        true => repository.conversations().put_aside(answer).await,
        false => repository.put_message(answer).await,
    }
}
