//! What is in the window of a task, its checkpoints, and the way back to one, under `/api/tasks`.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::auth::Caller;
use super::error::ApiError;
use super::own::Own;
use super::parse::JsonBody;
use super::state::AppState;
use super::views::{self, TaskDetail};
use crate::orchestrator::{ContextView, RestoreWish};
use crate::task::{Entry, Event, Payload, Task, Timestamp};

/// A place that a task can be put back to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Checkpoint")]
pub(super) struct CheckpointView {
    /// The entry that it is: what to give as `checkpoint` to restore it.
    seq: i64,
    at: Timestamp,
    /// The step that asked for it; null for others.
    step: Option<u32>,
    /// Who asked for it; null where nobody did.
    by: Option<String>,
    /// How many steps were completed.
    completed: u32,
    /// Where the work stood.
    context: Value,
}

/// The checkpoints of a task, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CheckpointList {
    checkpoints: Vec<CheckpointView>,
}

/// Where to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Restore")]
pub(super) struct Back {
    /// The number of a checkpoint's entry.
    checkpoint: i64,
    /// Whether what the task did to the world since then may be done once more.
    #[serde(default)]
    repeat_effects: bool,
}

impl CheckpointView {
    fn of(entry: Entry) -> Option<Self> {
        let Event::CheckpointTaken { step, completed, context: Payload::Inline(context), by } = entry.event
        else {
            return None;
        };
        Some(Self { seq: entry.seq, at: entry.at, step, by, completed, context })
    }
}

/// `GET /api/tasks/{id}/context`.
pub(super) async fn show(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<ContextView>, ApiError> {
    Ok(Json(state.orchestrator.context_view(&task).await?))
}

/// `GET /api/tasks/{id}/checkpoints`.
pub(super) async fn list(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<CheckpointList>, ApiError> {
    let entries = state.orchestrator.checkpoints(task.id).await?;
    let checkpoints = entries.into_iter().filter_map(CheckpointView::of).collect();
    Ok(Json(CheckpointList { checkpoints }))
}

/// `POST /api/tasks/{id}/checkpoints`: takes one.
pub(super) async fn take(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
) -> Result<Json<CheckpointList>, ApiError> {
    state.orchestrator.take_checkpoint(task.id, &caller.0).await?;
    let newest = state.orchestrator.checkpoints(task.id).await?.pop();
    Ok(Json(CheckpointList { checkpoints: newest.and_then(CheckpointView::of).into_iter().collect() }))
}

/// `POST /api/tasks/{id}/restore`: puts a paused task back, and lets it go on from there.
pub(super) async fn restore(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    JsonBody(back): JsonBody<Back>,
) -> Result<Json<TaskDetail>, ApiError> {
    let wish = RestoreWish { checkpoint: back.checkpoint, repeat_effects: back.repeat_effects };
    let task = state.orchestrator.restore(task.id, wish, &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}
