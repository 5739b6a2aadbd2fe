//! The task that an answer has become although its thread does not say so: whoever promoted it was lost before
//! that was written. A message that is sent again must not start the work twice.

use serde_json::Value;

use super::answer::{ANSWERING, Question};
use super::answer_frames::AnswerFrames;
use super::history::stored_text;
use super::request::text_of;
use super::resume::is_given_elsewhere;
use super::{ANSWER, introduced, place};
use crate::models::Chunk;
use crate::repository::{Message, RepositoryError};
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::server::ui_stream::UiChunk;
use crate::task::{Event, Task, TaskId};

/// How many answers are looked at. Few of a thread were begun and became neither an answer nor, as far as it
/// says, a task.
const LOOK_BACK: u32 = 64;

/// The entry of a task that says that it was an answer is its second one.
const FIRST: u32 = 2;

impl Question {
    /// What was to be answered by a message that says that it is the place of an answer.
    pub(super) fn marked_in(answer: &Message) -> Option<Self> {
        let part = answer.parts.get(0).filter(|part| part["type"] == ANSWERING)?;
        serde_json::from_value(part["data"].clone()).ok()
    }
}

/// The task that an answer to this message has become, if it says `text`. From here on the thread says so.
pub(super) async fn task_of(state: &AppState, asked: &Message, text: &str) -> Result<Option<Task>, ApiError> {
    let conversations = state.repository().conversations();
    for answer in conversations.without_task(&asked.thread_id, LOOK_BACK).await?.into_iter().rev() {
        let Some(question) = Question::marked_in(&answer).filter(|question| question.message_id == asked.id)
        else {
            continue;
        };
        let said = question.anew.as_ref().map_or_else(|| stored_text(asked), |parts| text_of(parts));
        let id = answer.id.strip_prefix(ANSWER).and_then(|id| id.parse::<TaskId>().ok());
        let Some(id) = id.filter(|_| said == text) else { continue };
        let Some(task) = state.repository().load(id).await? else { continue };
        // Whoever gave the answer says more of it, in a moment.
        let is_given =
            state.answers.get(id).is_some() || is_given_elsewhere(state, &question, &answer).await?;
        if !is_given {
            mention(state, asked, question, answer, &task).await?;
        }
        return Ok(Some(task));
    }
    Ok(None)
}

/// Writes down what the promotion would have written.
async fn mention(
    state: &AppState,
    asked: &Message,
    question: Question,
    answer: Message,
    task: &Task,
) -> Result<(), RepositoryError> {
    let parts = match said(state, task.id).await? {
        Some(said) => Value::Array(parts_of(said)),
        None => introduced(task),
    };
    let answer = Message { parts, task_id: Some(task.id), ..answer };
    let is_anew = question.anew.is_some();
    let parts = question.anew.map_or_else(|| asked.parts.clone(), Value::Array);
    let asked = Message { parts, task_id: Some(task.id), ..asked.clone() };
    place::put_both(state, &asked, &answer, is_anew).await
}

/// What clients were told before it was a task; none if it was one from the beginning.
async fn said(state: &AppState, id: TaskId) -> Result<Option<Vec<UiChunk>>, RepositoryError> {
    let first = state.repository().journal(id, 0, FIRST).await?;
    let said = first.into_iter().find_map(|entry| match entry.event {
        Event::Promoted { said, .. } => Some(said),
        _ => None,
    });
    let Some(said) = said else { return Ok(None) };
    Ok(serde_json::from_value(state.repository().content(&said).await?).ok())
}

/// The parts of a message that was told in these chunks.
fn parts_of(chunks: Vec<UiChunk>) -> Vec<Value> {
    let mut frames = AnswerFrames::default();
    for chunk in chunks {
        match chunk {
            UiChunk::TextDelta { delta, .. } => drop(frames.frames(&Chunk::Text(delta))),
            UiChunk::ReasoningDelta { delta, .. } => drop(frames.frames(&Chunk::Reasoning(delta))),
            UiChunk::ToolInputAvailable { tool_call_id, tool_name, input } => {
                drop(frames.called(&tool_call_id, &tool_name, &input));
            }
            UiChunk::ToolOutputAvailable { tool_call_id, output } => {
                drop(frames.returned(&tool_call_id, Ok(output)));
            }
            UiChunk::ToolOutputError { tool_call_id, error_text } => {
                drop(frames.returned(&tool_call_id, Err(error_text)));
            }
            UiChunk::StartStep => drop(frames.next_turn()),
            _ => {}
        }
    }
    frames.kept().to_vec()
}
