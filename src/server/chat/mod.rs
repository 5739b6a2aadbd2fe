//! `POST /api/chat`: a simple message is answered, a complex one becomes a task. Either way
//! the message and what is said to it are kept in the thread.

mod answer;
mod answer_frames;
mod history;
mod request;
mod resume;
mod task_frames;
mod task_stream;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::answer::Answering;
#[cfg(test)]
pub(super) use self::history::before;
pub(super) use self::request::ChatBody;
use self::request::{ToolChoice, Turn};
pub(super) use self::resume::{Begin, stream as resume};
use self::task_frames::TaskFrames;
use super::auth::Caller;
use super::config::ChatReply;
use super::error::ApiError;
use super::follow::{Follower, Slow};
use super::idempotency::{self, Key, Keyed};
use super::state::AppState;
use super::ui_stream::{UiChunk, respond};
use crate::models::Role;
use crate::orchestrator::{Detection, OrchestratorError, TaskRequest};
use crate::repository::Message;
use crate::task::{Mention, Task, TaskId};

/// Characters of a message that become the title of a new thread.
const TITLE: usize = 100;

/// `POST /api/chat`.
pub(super) async fn post(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Keyed { body, key }: Keyed<ChatBody>,
) -> Result<Response, ApiError> {
    let turn = body.into_turn()?;
    if let Some(again) = replay(&state, &caller, &headers, &turn, key.as_ref()).await? {
        return Ok(again);
    }
    let said = open_thread(&state, &caller, &turn).await?;
    if let Some(task) = known_task(&state, &turn, &said).await? {
        return Ok(reply(&state, &headers, &turn, &task));
    }
    keep(&state, &turn, None).await?;
    match detect(&state, &turn).await {
        Some(detection) => begin(state, caller, &headers, turn, detection, key).await,
        None => answer(state, turn).await,
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
        && let Some(task) = state.repository().load(answer.task_id).await?
    {
        return Ok(Some(idempotency::marked(reply(state, headers, turn, &task))));
    }
    Ok(Some(idempotency::again(answer)))
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
    let same = same.filter(|message| !turn.is_repeated && history::stored_text(message) == turn.text);
    match same.and_then(|message| message.task_id) {
        Some(id) => Ok(state.repository().load(id).await?),
        None => Ok(None),
    }
}

/// Keeps the user's message, whatever becomes of it.
async fn keep(state: &AppState, turn: &Turn, task_id: Option<TaskId>) -> Result<(), ApiError> {
    let message = Message {
        id: turn.message_id.clone(),
        thread_id: turn.thread_id.clone(),
        role: "user".to_owned(),
        parts: Value::Array(turn.parts.clone()),
        task_id,
        created_at: state.orchestrator.now(),
    };
    Ok(state.repository().put_message(&message).await?)
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

/// Answers a complex message. A plan may take its time, so a stream begins before there is one,
/// and has heartbeats meanwhile; a JSON answer needs the task.
async fn begin(
    state: AppState,
    caller: Caller,
    headers: &HeaderMap,
    turn: Turn,
    detection: Detection,
    key: Option<Key>,
) -> Result<Response, ApiError> {
    let id = TaskId(Uuid::now_v7());
    if turn.reply(headers, state.config.chat_reply) == ChatReply::Json {
        return match start(&state, &caller, &turn, detection, id, key.as_ref()).await {
            Ok(task) => {
                Ok(resume::named(Json(orchestrated(&turn.message_id, &task)).into_response(), task.id))
            }
            Err(refusal) if idempotency::came_second(&refusal) => {
                replay(&state, &caller, headers, &turn, key.as_ref()).await?.ok_or(refusal)
            }
            Err(refusal) => Err(refusal),
        };
    }
    let heartbeat = heartbeat(&state);
    let opening = stream::iter(TaskFrames::begin(&message_id(id)));
    let rest = stream::once(async move {
        let started = tokio::select! {
            started = start_or_join(&state, &caller, &turn, detection, id, key.as_ref()) => {
                started.map_err(|refusal| refusal.message)
            }
            () = state.shutdown.cancelled() => Err("the server is shutting down: ask again".to_owned()),
        };
        match started {
            Ok(task) => over_task(&state, &task).boxed(),
            Err(problem) => stream::iter(TaskFrames::end(Some(problem))).boxed(),
        }
    });
    Ok(resume::named(respond(opening.chain(rest.flatten()), heartbeat), id))
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
    match (start(state, caller, turn, detection, id, key).await, key) {
        (Err(refusal), Some(key)) if idempotency::came_second(&refusal) => {
            let answer = key.answer(state, caller).await?.ok_or(refusal)?;
            state.repository().load(answer.task_id).await?.ok_or_else(ApiError::task_not_found)
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
        detection: Some(detection),
        id: Some(id),
        key: key.map(keeping),
        ..TaskRequest::default()
    };
    let task = state.orchestrator.start(request).await?;
    // The task is a fact. That the thread says so is worth a warning, not a failure that would
    // make the client ask again.
    if let Err(refusal) = announce(state, turn, &task).await {
        tracing::warn!(task = %task.id, problem = %refusal.message, "the thread does not mention its task");
    }
    Ok(task)
}

async fn announce(state: &AppState, turn: &Turn, task: &Task) -> Result<(), ApiError> {
    keep(state, turn, Some(task.id)).await?;
    let message = Message {
        id: message_id(task.id),
        thread_id: turn.thread_id.clone(),
        role: "assistant".to_owned(),
        parts: json!([{"type": "text", "text": introduction(task)}]),
        task_id: Some(task.id),
        created_at: state.orchestrator.now(),
    };
    Ok(state.repository().put_message(&message).await?)
}

fn message_id(task: TaskId) -> String {
    format!("task-{task}")
}

fn introduction(task: &Task) -> String {
    let steps = match task.total_steps() {
        1 => "1 step is planned".to_owned(),
        steps => format!("{steps} steps are planned"),
    };
    format!("I'll work on this as a long-running task. {steps}. Task: {}", task.id)
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
    let (id, content) = (message_id.to_owned(), introduction(task));
    Orchestrated { id, role: "assistant", content, task_id: task.id, orchestrated: true }
}

/// What a message is answered with that has its task already.
fn reply(state: &AppState, headers: &HeaderMap, turn: &Turn, task: &Task) -> Response {
    let reply = match turn.reply(headers, state.config.chat_reply) {
        ChatReply::Json => Json(orchestrated(&turn.message_id, task)).into_response(),
        ChatReply::Stream => {
            let opening = stream::iter(TaskFrames::begin(&message_id(task.id)));
            respond(opening.chain(over_task(state, task)), heartbeat(state))
        }
    };
    resume::named(reply, task.id)
}

/// The chunks behind the beginning of a message about a task.
fn over_task(state: &AppState, task: &Task) -> impl Stream<Item = UiChunk> + Send + use<> {
    let opening = TaskFrames::introduce(task.id, &introduction(task));
    let repository = state.repository().clone();
    let follower = Follower::new(&state.feeds, task, 0, Slow::MayRead);
    task_stream::chunks(opening, task.id, repository, follower)
}

/// Answers a simple message.
async fn answer(state: AppState, turn: Turn) -> Result<Response, ApiError> {
    let models = state.orchestrator.models();
    let model = models.for_role(Role::Chat, turn.model.as_ref()).map_err(OrchestratorError::from)?;
    let said = state.repository().messages(&turn.thread_id, history::LOOK_BACK).await?;
    let history = history::before(state.repository().as_ref(), &said, &turn.message_id).await?;
    let heartbeat = heartbeat(&state);
    let answering = Answering { state, model, thread_id: turn.thread_id, history, text: turn.text };
    Ok(respond(answering.chunks(), heartbeat))
}

fn heartbeat(state: &AppState) -> Duration {
    Duration::from_millis(state.config.heartbeat_ms)
}
