//! `/api/chat/orchestrate`, as clients of the original system know it: start, status, cancel.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Caller;
use super::error::ApiError;
use super::idempotency::{self, Keyed};
use super::parse::Params;
use super::state::AppState;
use super::status::{self, TaskStatus};
use super::views;
use crate::orchestrator::TaskRequest;
use crate::task::{AllowedTools, ApprovalWish, Budget, Mention, ModelName, Priority, Task, ToolAllowance};

/// What a step takes if its plan does not say, in milliseconds.
const USUAL_DURATION: u64 = 30_000;

/// The body of a start.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Start {
    goal: Option<String>,
    thread_id: Option<String>,
    chat_model: Option<ModelName>,
    mentions: Option<Vec<Mention>>,
    allowed_mcp_servers: Option<BTreeMap<String, AllowedTools>>,
    allowed_app_default_toolkit: Option<Vec<String>>,
    agent_id: Option<String>,
    priority: Option<Priority>,
    budget: Option<Budget>,
    approval: Option<ApprovalWish>,
}

impl Start {
    fn into_request(self, caller: Caller) -> Result<TaskRequest, ApiError> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (Some(goal), Some(thread_id)) = (given(self.goal), given(self.thread_id)) else {
            return Err(ApiError::bad_request("Missing required fields: goal, threadId"));
        };
        Ok(TaskRequest {
            goal,
            thread_id,
            user_id: caller.0,
            chat_model: self.chat_model,
            tools: ToolAllowance {
                mentions: self.mentions.unwrap_or_default(),
                allowed_mcp_servers: self.allowed_mcp_servers,
                allowed_app_default_toolkit: self.allowed_app_default_toolkit,
            },
            agent_id: self.agent_id,
            priority: self.priority.unwrap_or_default(),
            budget: self.budget.unwrap_or_default(),
            approval: self.approval,
            ..TaskRequest::default()
        })
    }
}

/// The query of status and cancel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Which {
    task_id: Option<String>,
}

impl Which {
    fn id(&self) -> Result<&str, ApiError> {
        let given = self.task_id.as_deref().filter(|id| !id.is_empty());
        given.ok_or_else(|| ApiError::bad_request("Missing taskId parameter"))
    }
}

/// `POST`: starts a task.
pub(super) async fn start(
    State(state): State<AppState>,
    caller: Caller,
    Keyed { body, key }: Keyed<Start>,
) -> Result<Response, ApiError> {
    let mut request = body.into_request(caller.clone())?;
    let Some(key) = key else {
        return Ok(Json(started(&state.orchestrator.start(request).await?)).into_response());
    };
    if let Some(answer) = key.answer(&state, &caller).await? {
        return Ok(idempotency::again(answer));
    }
    request.key = Some(key.clone().keeping(started));
    match state.orchestrator.start(request).await.map_err(ApiError::from) {
        Ok(task) => Ok(Json(started(&task)).into_response()),
        Err(refusal) if idempotency::came_second(&refusal) => {
            key.answer(&state, &caller).await?.map(idempotency::again).ok_or(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

fn started(task: &Task) -> Value {
    let steps: Vec<Value> = task
        .steps()
        .iter()
        .map(|step| {
            let mut shown = json!({
                "id": step.plan.id, "description": step.plan.description, "type": step.plan.kind,
                "status": step.status,
            });
            if let Some(millis) = step.plan.estimated_duration {
                shown["estimatedDuration"] = millis.into();
            }
            shown
        })
        .collect();
    let millis: u64 =
        task.steps().iter().map(|step| step.plan.estimated_duration.unwrap_or(USUAL_DURATION)).sum();
    let total = steps.len();
    json!({
        "taskId": task.id,
        "status": "queued",
        "strategy": {"steps": steps, "totalSteps": total},
        "estimatedDuration": seconds(millis),
        "message": format!("Task queued for execution. {total} steps planned."),
    })
}

/// Seconds as JavaScript writes them: whole ones without a point.
fn seconds(millis: u64) -> Value {
    if millis.is_multiple_of(1000) { (millis / 1000).into() } else { (millis as f64 / 1000.0).into() }
}

/// `GET`: tells how a task stands.
pub(super) async fn status(
    State(state): State<AppState>,
    caller: Caller,
    Params(which): Params<Which>,
) -> Result<Json<TaskStatus>, ApiError> {
    let task = state.task_of(&caller, which.id()?).await?;
    Ok(Json(status::read(&state.orchestrator, &task).await?))
}

/// `DELETE`: cancels a task.
pub(super) async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Params(which): Params<Which>,
) -> Result<Json<Value>, ApiError> {
    let task = state.task_of(&caller, which.id()?).await?;
    let cancelled = state.orchestrator.cancel(task.id, &caller.0).await.map_err(|error| {
        let refusal = ApiError::from(error);
        // The original system calls this a bad request.
        if refusal.code == "task_status" { refusal.with_status(StatusCode::BAD_REQUEST) } else { refusal }
    })?;
    let effects = views::effects_that_may_stand(&state.orchestrator, cancelled.id).await?;
    let mut reply = json!({
        "taskId": cancelled.id, "status": cancelled.status(), "message": "Task cancelled successfully",
    });
    // Beyond the original: what cancelling does not undo.
    if !effects.is_empty() {
        reply["effects"] = effects.into();
    }
    Ok(Json(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_where_they_can_be() {
        assert_eq!(seconds(90_000).to_string(), "90");
        assert_eq!(seconds(1_500).to_string(), "1.5");
    }
}
