//! `POST /api/chat/plan`: a plan before there is a task, for whoever wants to see and change it first.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::Caller;
use super::error::ApiError;
use super::orchestrate::Start;
use super::parse::JsonBody;
use super::state::AppState;
use crate::task::{Plan, Planner};

/// A plan that nobody carries out yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlanDraft {
    /// What `POST /api/chat/orchestrate` takes as `plan`.
    plan: Plan,
    /// Who made it, and what that consumed. No task is charged for it.
    by: Planner,
}

/// Plans as a start would, and creates nothing.
pub(super) async fn plan(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(start): JsonBody<Start>,
) -> Result<Json<PlanDraft>, ApiError> {
    let request = start.into_request(caller)?;
    let (plan, by) = state.orchestrator.draft_plan(request).await?;
    Ok(Json(PlanDraft { plan, by }))
}
