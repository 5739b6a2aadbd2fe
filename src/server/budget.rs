//! Budgets under `/api/tasks`: what a task may consume, what it has, and more of it.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::error::ApiError;
use super::own::Own;
use super::parse::JsonBody;
use super::state::AppState;
use super::views::{self, TaskDetail};
use crate::task::{Budget, Consumed, Reserve, Task, Timestamp, TopUp};

/// A budget as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BudgetState")]
pub(super) struct BudgetView {
    limits: Budget,
    /// What counts against the limits, with what is set aside.
    used: Consumed,
    /// What of that is set aside, for calls in flight and for sub-tasks, and not consumed yet.
    #[serde(skip_serializing_if = "Reserve::is_nothing")]
    reserved: Reserve,
}

impl BudgetView {
    pub(super) fn of(task: &Task, now: Timestamp) -> Self {
        Self { limits: task.budget(), used: task.consumed(now), reserved: task.state().spent.reserved }
    }
}

/// The body of a top-up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MoreBudget")]
pub(super) struct More {
    add: TopUp,
}

/// `POST /api/tasks/{id}/budget`: adds to it. A task that was paused because it was used up goes
/// on.
pub(super) async fn raise(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    JsonBody(more): JsonBody<More>,
) -> Result<Json<TaskDetail>, ApiError> {
    let task = state.orchestrator.raise_budget(task.id, more.add, &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_does_not_pass_for_nothing() {
        assert!(serde_json::from_str::<More>(r#"{"add": {"tokens": 5}}"#).is_ok());
        assert!(serde_json::from_str::<More>(r#"{"add": {"token": 5}}"#).is_err());
        assert!(serde_json::from_str::<More>(r#"{"add": {"costUsd": -5}}"#).is_err());
    }
}
