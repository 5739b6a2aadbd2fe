//! Tasks that go and come as files: `GET /api/tasks/{id}/export` and `POST /api/tasks/import`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::auth::Caller;
use super::error::ApiError;
use super::own::Own;
use super::parse::Params;
use super::state::AppState;
use super::views::{self, TaskDetail};
use crate::orchestrator::OrchestratorError;
use crate::task::{Recording, RecordingError, Task, unpack_recording};

/// What a recording is.
pub(super) const MEDIA: &str = "application/x-ndjson";

/// The query of an import.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Where {
    /// The conversation that the task belongs to; one of its own if absent.
    #[schemars(length(min = 1, max = 512))]
    thread_id: Option<String>,
}

/// `GET /api/tasks/{id}/export`.
pub(super) async fn export(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Response, ApiError> {
    let lines = state.orchestrator.export(task.id).await?;
    let headers = [
        (CONTENT_TYPE, MEDIA.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=longhaul-{}.jsonl", task.id)),
    ];
    let body = lines.map(|line| line.map(|line| line + "\n"));
    Ok((headers, Body::from_stream(body)).into_response())
}

/// `POST /api/tasks/import`.
pub(super) async fn import(
    State(state): State<AppState>,
    caller: Caller,
    Params(to): Params<Where>,
    Packed(bytes): Packed,
) -> Result<Json<TaskDetail>, ApiError> {
    let limit = state.config.max_recording_bytes as u64;
    // A large file takes a while, and other requests do not wait for it.
    let reading =
        tokio::task::spawn_blocking(move || Recording::read(&unpack_recording(bytes.into(), limit)?));
    let read = reading.await.map_err(|_| ApiError::broken_recording())?;
    let recording = read.map_err(OrchestratorError::from)?;
    let task = state.orchestrator.import(&recording, &caller.0, to.thread_id.as_deref()).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

/// A body that is a recording, packed or not.
pub(super) struct Packed(Bytes);

impl FromRequest<AppState> for Packed {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        Bytes::from_request(request, state).await.map(Self).map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let limit = state.config.max_recording_bytes as u64;
                OrchestratorError::from(RecordingError::TooLarge(limit)).into()
            }
            _ => ApiError::bad_request("the body cannot be read to its end"),
        })
    }
}
