//! `GET /api/chat/{id}/stream`: a stream over a task once more, for a client that lost it.
//!
//! A task's stream is made from its journal, so it is the same each time: whoever has some of its
//! chunks can count them and ask for the rest, also of another process than before.

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;

use super::request::check_id;
use super::task_frames::TaskFrames;
use super::{heartbeat, message_id, over_task};
use crate::server::auth::Caller;
use crate::server::error::ApiError;
use crate::server::parse::Params;
use crate::server::state::AppState;
use crate::server::ui_stream::respond;
use crate::task::{Task, TaskId};

/// Names the task of a reply, for clients that resume it by that name.
const RUN_ID: HeaderName = HeaderName::from_static("x-workflow-run-id");

/// Where to begin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::server) struct Begin {
    /// How many chunks the client has; it gets those behind them. All, if absent or negative.
    start_index: Option<i64>,
}

/// The stream of the task with this id, or of the task that a thread waits for. 204 if the thread
/// waits for none: what was said last is in its history.
pub(in crate::server) async fn stream(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Params(begin): Params<Begin>,
) -> Result<Response, ApiError> {
    check_id("id", &id)?;
    let Some(task) = find(&state, &caller, &id).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let has = usize::try_from(begin.start_index.unwrap_or(0)).unwrap_or(0);
    let opening = stream::iter(TaskFrames::begin(&message_id(task.id)));
    let chunks = opening.chain(over_task(&state, &task)).skip(has);
    Ok(named(respond(chunks, heartbeat(&state)), task.id))
}

async fn find(state: &AppState, caller: &Caller, id: &str) -> Result<Option<Task>, ApiError> {
    if let Ok(id) = id.parse::<TaskId>()
        && let Some(task) = state.repository().load(id).await?
    {
        return own(caller, task).map(Some);
    }
    let Some(thread) = state.repository().thread(id).await? else { return Ok(None) };
    if thread.user_id != caller.0 {
        return Err(ApiError::forbidden());
    }
    let last = state.repository().messages(id, 1).await?.pop();
    let Some(id) = last.and_then(|message| message.task_id) else { return Ok(None) };
    let task = state.repository().load(id).await?;
    Ok(task.filter(|task| task.status().is_live()))
}

fn own(caller: &Caller, task: Task) -> Result<Task, ApiError> {
    if task.spec().user_id == caller.0 { Ok(task) } else { Err(ApiError::forbidden()) }
}

/// The reply with the name of its task.
pub(super) fn named(mut response: Response, id: TaskId) -> Response {
    if let Ok(name) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(RUN_ID, name);
    }
    response
}
