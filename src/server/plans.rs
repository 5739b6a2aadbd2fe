//! `/api/tasks/{id}/plan`: the plan of a task, revision by revision.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use super::own::Own;
use super::state::AppState;
use crate::orchestrator::Revision;
use crate::task::Task;

/// The plan of a task.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskPlan {
    /// The revision that is carried out.
    revision: u32,
    /// Whether it waits for approval.
    waits_for_approval: bool,
    /// All revisions, oldest first.
    revisions: Vec<Revision>,
}

/// `GET /api/tasks/{id}/plan`.
pub(super) async fn show(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<TaskPlan>, ApiError> {
    let revisions = state.orchestrator.revisions(&task).await?;
    let (revision, waits_for_approval) = (task.state().revision, task.plan_ask().is_some());
    Ok(Json(TaskPlan { revision, waits_for_approval, revisions }))
}
