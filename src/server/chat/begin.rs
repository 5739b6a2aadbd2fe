//! A complex message becomes a task, and is answered with it: as JSON or as a stream over it.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use uuid::Uuid;

use super::answer::Question;
use super::request::Turn;
use super::task_frames::TaskFrames;
use super::{
    files, heartbeat, history, introduced, known_task, message_id, orchestrated, place, replay, resume,
    starts, task_stream,
};
use crate::orchestrator::{Detection, Files, OrchestratorError, TaskRequest};
use crate::repository::RepositoryError;
use crate::server::auth::Caller;
use crate::server::config::ChatReply;
use crate::server::error::ApiError;
use crate::server::idempotency::{self, Key};
use crate::server::state::AppState;
use crate::server::ui_stream::{UiChunk, respond};
use crate::task::{Mention, Task, TaskId};

/// Answers a complex message. A plan may take its time, so a stream begins before there is one,
/// and has heartbeats meanwhile; a JSON answer needs the task.
pub(super) async fn begin(
    state: AppState,
    caller: Caller,
    headers: &HeaderMap,
    turn: Turn,
    detection: Detection,
    key: Option<Key>,
) -> Result<Response, ApiError> {
    let id = new_id(&state, &turn).await?;
    if turn.reply(headers, state.config.chat_reply) == ChatReply::Json {
        let _alone = state.starts.alone(&turn).await;
        if let Some(task) = started_already(&state, &turn, id).await? {
            let again = replay(&state, &caller, headers, &turn, key.as_ref()).await?;
            return Ok(again.unwrap_or_else(|| reply(&state, headers, &turn, &task)));
        }
        return match start(&state, &caller, &turn, detection, id, key.as_ref()).await {
            Ok(task) => Ok(reply(&state, headers, &turn, &task)),
            Err(refusal) if idempotency::came_second(&refusal) => {
                replay(&state, &caller, headers, &turn, key.as_ref()).await?.ok_or(refusal)
            }
            Err(refusal) => Err(refusal),
        };
    }
    let (heartbeat, words) = (heartbeat(&state), turn.words);
    let chunks = begin_stream(state, caller, turn, detection, id, key).await?;
    Ok(resume::countable(respond(chunks, heartbeat), id, words))
}

/// The id of the task that a message is to become.
async fn new_id(state: &AppState, turn: &Turn) -> Result<TaskId, ApiError> {
    let said = state.repository().messages(&turn.thread_id, history::LOOK_BACK).await?;
    let stored = said.iter().find(|message| message.id == turn.message_id);
    // What is answered anew may become a task each time.
    let stored = stored.filter(|_| !turn.is_anew);
    Ok(stored.map_or_else(|| TaskId(Uuid::now_v7()), |stored| starts::task_id(turn, stored)))
}

/// The task that the same message has become meanwhile. The thread mentions it, if whoever started it did
/// not get as far as that.
async fn started_already(state: &AppState, turn: &Turn, id: TaskId) -> Result<Option<Task>, ApiError> {
    if let Some(task) = state.repository().load(id).await? {
        announce(state, turn, &task).await?;
        return Ok(Some(task));
    }
    let said = state.repository().messages(&turn.thread_id, history::LOOK_BACK).await?;
    known_task(state, turn, &said).await
}

/// The whole stream of a task that does not exist yet.
pub(super) async fn begin_stream(
    state: AppState,
    caller: Caller,
    turn: Turn,
    detection: Detection,
    id: TaskId,
    key: Option<Key>,
) -> Result<impl Stream<Item = UiChunk> + Send + use<>, ApiError> {
    let opening = stream::iter(TaskFrames::begin(&message_id(id)));
    let marked = place::answer(&state, &turn.thread_id, id, Question::of(&state, &turn).marked(), None);
    place::put(&state, &marked, turn.is_anew).await?;
    let rest = stream::once(async move {
        let started = tokio::select! {
            started = start_or_join(&state, &caller, &turn, detection, id, key.as_ref()) => started,
            () = state.shutdown.cancelled() => Err(ApiError::shutting_down()),
        };
        match started {
            Ok(task) => task_stream::behind_beginning(&state, &task, turn.words).boxed(),
            Err(refusal) => {
                let error = json!([{"type": "data-error", "data": {"code": refusal.code, "message": refusal.message}}]);
                let error = place::answer(&state, &turn.thread_id, id, error, None);
                if let Err(problem) = place::put(&state, &error, turn.is_anew).await {
                    tracing::warn!(%problem, "the thread does not say why there is no task");
                }
                stream::iter(TaskFrames::end(Some(refusal.message))).boxed()
            }
        }
    });
    Ok(opening.chain(rest.flatten()))
}

/// The task of this request, or that of the same request which was faster: a stream has begun
/// and goes on over either.
async fn start_or_join(
    state: &AppState,
    caller: &Caller,
    turn: &Turn,
    detection: Detection,
    id: TaskId,
    key: Option<&Key>,
) -> Result<Task, ApiError> {
    let _alone = state.starts.alone(turn).await;
    if let Some(task) = started_already(state, turn, id).await? {
        return Ok(task);
    }
    match (start(state, caller, turn, detection, id, key).await, key) {
        (Err(refusal), Some(key)) if idempotency::came_second(&refusal) => {
            let answer = key.answer(state, caller).await?.ok_or(refusal)?;
            let id = answer.task_id.ok_or_else(ApiError::task_not_found)?;
            state.repository().load(id).await?.ok_or_else(ApiError::task_not_found)
        }
        (started, _) => started,
    }
}

async fn start(
    state: &AppState,
    caller: &Caller,
    turn: &Turn,
    detection: Detection,
    id: TaskId,
    key: Option<&Key>,
) -> Result<Task, ApiError> {
    let message = turn.message_id.clone();
    let keeping = |key: &Key| key.clone().keeping(move |task| json!(orchestrated(&message, task)));
    let agent_id = turn.tools.mentions.iter().find_map(|mention| match mention {
        Mention::Agent { agent_id, .. } => Some(agent_id.clone()),
        _ => None,
    });
    let request = TaskRequest {
        goal: turn.text.clone(),
        user_id: caller.0.clone(),
        thread_id: turn.thread_id.clone(),
        chat_model: turn.model.clone(),
        tools: turn.tools.clone(),
        agent_id,
        priority: turn.priority,
        budget: turn.budget,
        preset: turn.preset.clone(),
        detection: Some(detection),
        files: Files { told: files::told(&turn.parts), shown: files::pictures(&turn.parts).collect() },
        id: Some(id),
        key: key.map(keeping),
        ..TaskRequest::default()
    };
    let task = match state.orchestrator.start(request).await {
        // Another process was quicker.
        Err(OrchestratorError::Repository(RepositoryError::Exists)) => {
            state.repository().load(id).await?.ok_or_else(ApiError::task_not_found)?
        }
        started => started?,
    };
    // The task is a fact. That the thread says so is worth a warning, not a failure that would
    // make the client ask again.
    if let Err(error) = announce(state, turn, &task).await {
        tracing::warn!(task = %task.id, %error, "the thread does not mention its task");
    }
    Ok(task)
}

/// Keeps what the message is answered with.
async fn announce(state: &AppState, turn: &Turn, task: &Task) -> Result<(), RepositoryError> {
    let answer = place::answer(state, &turn.thread_id, task.id, introduced(task), Some(task.id));
    let question = place::question(state, turn, Some(task.id));
    place::put_both(state, &question, &answer, turn.is_anew).await
}

/// What a message is answered with that has its task already.
pub(super) fn reply(state: &AppState, headers: &HeaderMap, turn: &Turn, task: &Task) -> Response {
    match turn.reply(headers, state.config.chat_reply) {
        ChatReply::Json => resume::named(Json(orchestrated(&turn.message_id, task)).into_response(), task.id),
        ChatReply::Stream => {
            let chunks = task_stream::whole(state, task, turn.words);
            resume::countable(respond(chunks, heartbeat(state)), task.id, turn.words)
        }
    }
}
