//! `POST /api/chat`: a simple message is answered, a complex one becomes a task. Either way
//! the message and what is said to it are kept in the thread.

mod answer;
mod answer_frames;
mod asked;
mod begin;
mod below;
mod files;
mod grown;
mod history;
mod kept;
mod live;
mod outcome;
mod place;
mod promote;
mod request;
mod resume;
mod starts;
mod task_frames;
mod task_stream;
mod turns;
mod words;

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::{Stream, stream};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::answer::{Answering, Question};
use self::begin::{begin, reply};
pub(super) use self::files::{Attachment, of_task as files_of_task};
#[cfg(test)]
pub(super) use self::history::within_window;
pub(super) use self::live::Answers;
pub(super) use self::outcome::shown;
pub(super) use self::request::ChatBody;
use self::request::{ToolChoice, Turn};
pub(super) use self::resume::{Begin, stop, stream as resume};
pub(super) use self::starts::Starts;
use super::auth::Caller;
use super::config::ChatReply;
use super::error::ApiError;
use super::idempotency::{self, Key, Keyed};
use super::state::AppState;
use super::ui_stream::{UiChunk, respond};
use crate::models::Role;
use crate::orchestrator::{Detection, OrchestratorError};
use crate::repository::Message;
use crate::task::{Mention, Task, TaskId};

/// What the id of each answer begins with.
const ANSWER: &str = "msg-";

/// Characters of a message that become the title of a new thread.
const TITLE: usize = 100;

/// `POST /api/chat`.
pub(super) async fn post(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Keyed { body, key }: Keyed<ChatBody>,
) -> Result<Response, ApiError> {
    let mut turn = body.into_turn()?;
    refuse_foreign(&state, &caller, &turn).await?;
    let preset = turn.preset.as_deref();
    state.orchestrator.check_names(&caller.0, &turn.tools).await?;
    (turn.tools, turn.model) = state.orchestrator.narrowed(turn.tools, turn.model, preset)?;
    if let Some(again) = replay(&state, &caller, &headers, &turn, key.as_ref()).await? {
        return Ok(again);
    }
    // Of two that come at once the second one finds what the first has begun.
    let alone = state.starts.alone(&turn).await;
    let said = open_thread(&state, &caller, &turn).await?;
    place::refuse_taken(&state, &turn, &said).await?;
    turn.is_anew = place::is_anew(&turn, &said);
    if let Some(task) = known_task(&state, &turn, &said).await? {
        return Ok(reply(&state, &headers, &turn, &task));
    }
    if let Some(saying) = state.answers.in_thread(&turn.thread_id) {
        if saying.is_for(&turn) {
            // The same request again: its client lost the first answer, which is still being given.
            let chunks = saying.chunks(state.clone(), 0, turn.words);
            return Ok(resume::countable(respond(chunks, heartbeat(&state)), saying.id, turn.words));
        }
        if turn.is_anew || turn.is_repeated {
            saying.give_way();
        }
    }
    let answered = place::said_to(&turn, &said).filter(|_| !turn.is_anew);
    if let Some(again) = answered.and_then(|answer| given_again(&state, answer)) {
        return Ok(again);
    }
    // Whatever becomes of it; one that is answered anew says what it said until it is answered.
    if !turn.is_anew {
        state.repository().put_message(&place::question(&state, &turn, None)).await?;
    }
    match detect(&state, &turn).await {
        Some(detection) => {
            drop(alone);
            begin(state, caller, &headers, turn, detection, key).await
        }
        None => {
            // An answer that was cut is no answer: if nothing was said behind it, the next one takes its place.
            let is_last = |cut: &&Message| said.last().is_some_and(|last| last.id == cut.id);
            turn.is_anew |= place::said_to(&turn, &said).is_some_and(|cut| is_last(&cut));
            let (id, words, heartbeat) = (TaskId(Uuid::now_v7()), turn.words, heartbeat(&state));
            let chunks = answer(state, caller, turn, id).await?;
            Ok(resume::countable(respond(chunks, heartbeat), id, words))
        }
    }
}

/// What the same request was answered before, if it started a task: as a stream of that task
/// where a stream is wanted, for as long as the task is there.
async fn replay(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
    turn: &Turn,
    key: Option<&Key>,
) -> Result<Option<Response>, ApiError> {
    let Some(key) = key else { return Ok(None) };
    let Some(answer) = key.answer(state, caller).await? else { return Ok(None) };
    if turn.reply(headers, state.config.chat_reply) == ChatReply::Stream
        && let Some(id) = answer.task_id
        && let Some(task) = state.repository().load(id).await?
    {
        return Ok(Some(idempotency::marked(reply(state, headers, turn, &task))));
    }
    Ok(Some(idempotency::again(answer)))
}

/// Whose a thread is comes before what is wrong with a message to it.
async fn refuse_foreign(state: &AppState, caller: &Caller, turn: &Turn) -> Result<(), ApiError> {
    let thread = state.repository().thread(&turn.thread_id).await?;
    let is_foreign = thread.is_some_and(|thread| thread.user_id != caller.0);
    if is_foreign { Err(ApiError::forbidden()) } else { Ok(()) }
}

/// The newest messages of the thread, which is made if it is new and refused if it is somebody
/// else's.
async fn open_thread(state: &AppState, caller: &Caller, turn: &Turn) -> Result<Vec<Message>, ApiError> {
    let title: String = turn.text.chars().take(TITLE).collect();
    let thread = state.repository().open_thread(&turn.thread_id, &caller.0, &title).await?;
    if thread.user_id != caller.0 {
        return Err(ApiError::forbidden());
    }
    Ok(state.repository().messages(&turn.thread_id, history::LOOK_BACK).await?)
}

/// The task that this very message has started already: a client that repeats a request
/// because it heard no answer must not start the work twice.
async fn known_task(state: &AppState, turn: &Turn, said: &[Message]) -> Result<Option<Task>, ApiError> {
    let same = said.iter().find(|message| message.id == turn.message_id && message.role == "user");
    let Some(asked) = same.filter(|_| !turn.is_repeated) else { return Ok(None) };
    // Its answer is named first where that became a task.
    let named = asked.task_id.or_else(|| place::said_to(turn, said)?.task_id);
    match named.filter(|_| history::stored_text(asked) == turn.text) {
        Some(id) => Ok(state.repository().load(id).await?),
        None => grown::task_of(state, asked, &turn.text).await,
    }
}

/// The same answer once more, if it was given to its end: its client did not hear it, and it is paid for.
fn given_again(state: &AppState, answer: &Message) -> Option<Response> {
    let id = answer.id.strip_prefix(ANSWER)?.parse().ok().filter(|_| place::is_whole(answer))?;
    let chunks = stream::iter(kept::chunks(answer));
    Some(resume::countable(respond(chunks, heartbeat(state)), id, false))
}

/// Why the message becomes a task, if it does.
async fn detect(state: &AppState, turn: &Turn) -> Option<Detection> {
    if turn.tool_choice != ToolChoice::Auto {
        return None;
    }
    let is_tool = |mention: &&Mention| !matches!(mention, Mention::Agent { .. });
    let named = turn.tools.mentions.iter().filter(is_tool).count();
    let detection = state.orchestrator.should_orchestrate(&turn.text, named, turn.model.as_ref()).await;
    detection.orchestrate.then_some(detection)
}

/// The id of the message that an answer or a task is told in. It is one name for both, for an answer
/// may become a task.
fn message_id(id: TaskId) -> String {
    format!("{ANSWER}{id}")
}

fn introduction(id: TaskId, steps: usize) -> String {
    let steps = match steps {
        1 => "1 step is planned".to_owned(),
        steps => format!("{steps} steps are planned"),
    };
    format!("I'll work on this as a long-running task. {steps}. Task: {id}")
}

/// The same of a task that was just made, as the parts of a message.
fn introduced(task: &Task) -> Value {
    json!([{"type": "text", "text": introduction(task.id, task.total_steps() as usize)}])
}

/// The answer to a complex message as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Orchestrated {
    /// The id of the message that is answered.
    id: String,
    /// Always `assistant`.
    role: &'static str,
    /// For people.
    content: String,
    task_id: TaskId,
    /// Always true.
    orchestrated: bool,
}

fn orchestrated(message_id: &str, task: &Task) -> Orchestrated {
    let content = introduction(task.id, task.total_steps() as usize);
    let id = message_id.to_owned();
    Orchestrated { id, role: "assistant", content, task_id: task.id, orchestrated: true }
}

/// Answers a simple message.
async fn answer(
    state: AppState,
    caller: Caller,
    turn: Turn,
    id: TaskId,
) -> Result<impl Stream<Item = UiChunk> + Send + use<>, ApiError> {
    let models = state.orchestrator.models();
    let model = models.for_role(Role::Chat, turn.model.as_ref()).map_err(OrchestratorError::from)?;
    let question = Question::of(&state, &turn);
    if turn.is_anew {
        // A summary of what was said before is kept behind it, and stays when it takes its place.
        let marked = place::answer(&state, &turn.thread_id, id, question.marked(), None);
        place::put(&state, &marked, true).await?;
    }
    let wanted = turn.model.as_ref();
    let window = state.orchestrator.chat_window(model.as_ref());
    let before = history::within_window(&state, &turn.thread_id, &turn.message_id, wanted, &window).await?;
    let (history, read) = (before.messages, before.taint);
    let files = files::contents(&turn.parts, state.config.chat.max_file_bytes);
    let pictures = files::pictures(&turn.parts).collect();
    let (user_id, thread_id, text, words) = (caller.0, turn.thread_id, turn.text, turn.words);
    let answering = Answering {
        state,
        model,
        id,
        user_id,
        thread_id,
        question,
        window,
        history,
        read,
        text,
        files,
        pictures,
    };
    Ok(answering.begin(words).await?)
}

fn heartbeat(state: &AppState) -> Duration {
    Duration::from_millis(state.config.heartbeat_ms)
}
