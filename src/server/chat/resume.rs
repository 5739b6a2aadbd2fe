//! `GET /api/chat/{id}/stream`: the stream of an answer once more, for a client that lost it.
//!
//! An answer that is being given is read on where it is. A task's stream is made from its journal, so
//! it is the same each time: whoever has some of its chunks can count them and ask for the rest, also
//! of another process than before. An answer whose process was lost is given anew, under the id of
//! the message that clients know.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Question;
use super::begin::begin_stream;
use super::live::Saying;
use super::request::{Turn, check_id};
use super::task_frames::TaskFrames;
use super::{ANSWER, answer, detect, grown, heartbeat, history, kept, message_id, task_stream};
use crate::repository::{Message, Presence};
use crate::server::auth::Caller;
use crate::server::error::ApiError;
use crate::server::parse::Params;
use crate::server::state::AppState;
use crate::server::ui_stream::{UiChunk, respond};
use crate::task::{Task, TaskId};

/// Names the answer of a reply, or its task, for clients that resume it by that name.
const RUN_ID: HeaderName = HeaderName::from_static("x-workflow-run-id");

/// How long the answer of another process may be silent before it counts as lost, if that process is
/// not among the workers that tell how they are.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// What a client is told that has a part of an answer of which the rest is gone.
const LOST: &str = "the rest of this answer was lost with the server that gave it: ask for it anew";

/// Where to begin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::server) struct Begin {
    /// How many chunks the client has; it gets those behind them. All, if absent or negative.
    start_index: Option<i64>,
    /// Whether the stream of a task has what its models say, as it comes, as reasoning parts. It can then
    /// not begin behind chunks that a client has.
    #[serde(default)]
    words: bool,
}

/// What there is of an answer.
enum Found {
    /// It is being given, or was a moment ago.
    Saying(Arc<Saying>),
    /// It is, or became, a task.
    Task(Box<Task>),
    /// It was being given when its process was lost.
    Lost(TaskId, Box<(Message, Question)>),
    /// It was given.
    Kept(TaskId, Box<Message>),
}

/// The stream of the answer or task with this id, or of the one that a thread waits for. 204 if the
/// thread waits for none: what was said last is in its history.
pub(in crate::server) async fn stream(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    begin: Result<Params<Begin>, ApiError>,
) -> Result<Response, ApiError> {
    check_id("id", &id)?;
    let found = find(&state, &caller, &id).await?;
    let Params(begin) = begin?;
    let Some(found) = found else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let has = usize::try_from(begin.start_index.unwrap_or(0)).unwrap_or(0);
    let words = begin.words;
    if words && has > 0 {
        return Err(ApiError::invalid(
            "startIndex",
            "cannot count a stream with words: leave one of them out",
        ));
    }
    let heartbeat = heartbeat(&state);
    let (id, chunks): (_, BoxStream<'static, UiChunk>) = match found {
        Found::Saying(saying) => (saying.id, saying.chunks(state, has, words).boxed()),
        Found::Task(task) => (task.id, task_stream::whole(&state, &task, words).skip(has).boxed()),
        Found::Lost(id, ..) | Found::Kept(id, _) if has > 0 => {
            (id, stream::iter(TaskFrames::end(Some(LOST.to_owned()))).boxed())
        }
        Found::Kept(id, message) => (id, stream::iter(kept::chunks(&message)).boxed()),
        Found::Lost(id, lost) => {
            // Of two readers that come back at once, the second one hears what the first has begun.
            let (message, question) = lost.as_ref();
            let _alone = state.starts.alone_with(&message.thread_id, &question.message_id).await;
            match state.answers.get(id) {
                Some(saying) => (id, saying.chunks(state, 0, words).boxed()),
                None => (id, again(state, caller, id, *lost, words).await?),
            }
        }
    };
    Ok(countable(respond(chunks, heartbeat), id, words))
}

/// `DELETE /api/chat/{id}/stream`: ends the answer that is being given in a thread, or the one with
/// this id, where it is. A task is not an answer: it is cancelled by its own route.
pub(in crate::server) async fn stop(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    check_id("id", &id)?;
    let by_name = id.parse::<TaskId>().ok().and_then(|id| state.answers.get(id));
    if let Some(saying) = by_name.or_else(|| state.answers.in_thread(&id)) {
        own(&caller, &saying.user_id)?;
        saying.stop.cancel();
    } else {
        // Nothing is to be ended; whose it is is said all the same.
        find(&state, &caller, &id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn find(state: &AppState, caller: &Caller, id: &str) -> Result<Option<Found>, ApiError> {
    if let Ok(id) = id.parse::<TaskId>()
        && let Some(found) = find_named(state, caller, id).await?
    {
        return Ok(Some(found));
    }
    let Some(thread) = state.repository().thread(id).await? else { return Ok(None) };
    own(caller, &thread.user_id)?;
    if let Some(saying) = state.answers.in_thread(id) {
        return Ok(Some(Found::Saying(saying)));
    }
    let said = state.repository().messages(id, history::LOOK_BACK).await?;
    let Some(last) = said.into_iter().rfind(|message| message.role != "system") else { return Ok(None) };
    if let Some(id) = last.task_id {
        let task = state.repository().load(id).await?;
        let live = task.filter(|task| task.status().is_live());
        return Ok(live.map(|task| Found::Task(Box::new(task))));
    }
    let answer = last.id.strip_prefix(ANSWER).and_then(|id| id.parse().ok());
    match answer {
        Some(id) => Ok(lost(state, id, last).await?.ok()),
        None => Ok(None),
    }
}

/// The answer or the task of this name.
async fn find_named(state: &AppState, caller: &Caller, id: TaskId) -> Result<Option<Found>, ApiError> {
    if let Some(saying) = state.answers.get(id) {
        own(caller, &saying.user_id)?;
        return Ok(Some(Found::Saying(saying)));
    }
    if let Some(task) = state.repository().load(id).await? {
        own(caller, &task.spec().user_id)?;
        return Ok(Some(Found::Task(Box::new(task))));
    }
    let conversations = state.repository().conversations();
    let Some(message) = conversations.message(&message_id(id)).await? else { return Ok(None) };
    let Some(thread) = state.repository().thread(&message.thread_id).await? else { return Ok(None) };
    own(caller, &thread.user_id)?;
    Ok(match lost(state, id, message).await? {
        Ok(found) => Some(found),
        Err(message) => (message.role == "assistant").then(|| Found::Kept(id, Box::new(message))),
    })
}

/// Whether this is an answer that nobody gives any more.
async fn lost(state: &AppState, id: TaskId, message: Message) -> Result<Result<Found, Message>, ApiError> {
    let Some(question) = Question::marked_in(&message) else { return Ok(Err(message)) };
    if is_given_elsewhere(state, &question, &message).await? {
        return Ok(Err(message));
    }
    Ok(Ok(Found::Lost(id, Box::new((message, question)))))
}

/// Whether another process may still be giving an answer.
pub(super) async fn is_given_elsewhere(
    state: &AppState,
    question: &Question,
    message: &Message,
) -> Result<bool, ApiError> {
    if state.repository().is_embedded() {
        return Ok(false);
    }
    let workers = state.repository().workers().await?;
    Ok(match workers.iter().find(|worker| worker.info.name == question.by) {
        Some(worker) => worker.presence != Presence::Gone,
        None => state.orchestrator.now().since(message.created_at) < SILENCE,
    })
}

/// Answers once more, under the same name.
async fn again(
    state: AppState,
    caller: Caller,
    id: TaskId,
    (message, question): (Message, Question),
    words: bool,
) -> Result<BoxStream<'static, UiChunk>, ApiError> {
    let said = state.repository().messages(&message.thread_id, history::LOOK_BACK).await?;
    let asked = said.into_iter().find(|said| said.id == question.message_id);
    let Some(asked) = asked else {
        return Ok(stream::iter(TaskFrames::end(Some(LOST.to_owned()))).boxed());
    };
    let turn = Turn::again(asked.clone(), question, words);
    if let Some(task) = grown::task_of(&state, &asked, &turn.text).await? {
        return Ok(task_stream::whole(&state, &task, words).boxed());
    }
    Ok(match detect(&state, &turn).await {
        Some(detection) => begin_stream(state, caller, turn, detection, id, None).await?.boxed(),
        None => answer(state, caller, turn, id).await?.boxed(),
    })
}

fn own(caller: &Caller, user_id: &str) -> Result<(), ApiError> {
    if *user_id == caller.0 { Ok(()) } else { Err(ApiError::forbidden()) }
}

/// A stream with its name, unless it has words: who resumes by that name counts chunks.
pub(super) fn countable(response: Response, id: TaskId, words: bool) -> Response {
    if words { response } else { named(response, id) }
}

/// The reply with the name of its answer or task.
pub(super) fn named(mut response: Response, id: TaskId) -> Response {
    if let Ok(name) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(RUN_ID, name);
    }
    response
}
