//! `/api/chat/orchestrate`, as clients of the original system know it: start, status, cancel.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::Caller;
use super::chat::{Attachment, files_of_task};
use super::error::ApiError;
use super::idempotency::{self, Key, Keyed};
use super::parse::Params;
use super::state::AppState;
use super::status::{self, TaskStatus};
use super::views::{self, EffectView};
use crate::orchestrator::TaskRequest;
use crate::task::{
    AllowedTools, ApprovalWish, Budget, Mention, ModelName, Plan, Priority, Status, Step, StepStatus,
    StepType, Task, TaskId, ToolAllowance,
};

/// The body of a start.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
// Whether they are there is looked at later, to refuse in the words of the original system.
#[schemars(rename = "StartTask", extend("required" = ["goal", "threadId"]))]
pub(super) struct Start {
    /// What is to be reached, in the user's words.
    #[schemars(with = "String", length(min = 1))]
    goal: Option<String>,
    /// The conversation it belongs to, any text; made if it is unknown.
    #[schemars(with = "String", length(min = 1, max = 512))]
    thread_id: Option<String>,
    /// The model to use instead of the configured ones.
    chat_model: Option<ModelName>,
    /// Tools, servers, workflows and agents that the user named.
    mentions: Option<Vec<Mention>>,
    /// Tools by MCP server; all servers if absent.
    allowed_mcp_servers: Option<BTreeMap<String, AllowedTools>>,
    /// Built-in toolkits; all if absent.
    allowed_app_default_toolkit: Option<Vec<String>>,
    /// The agent of the configuration that does the work.
    agent_id: Option<String>,
    /// The preset of the configuration that the task begins from.
    preset: Option<String>,
    /// How urgent it is.
    priority: Option<Priority>,
    /// What it may consume, where that differs from the configuration.
    #[serde(deserialize_with = "crate::task::object")]
    budget: Option<Budget>,
    /// What needs approval beyond what the configuration says.
    #[serde(deserialize_with = "crate::task::object")]
    approval: Option<ApprovalWish>,
    /// Files that go with the goal, as with a message of the chat.
    attachments: Option<Vec<Attachment>>,
    /// The steps to carry out; a plan is made if absent. `POST /api/chat/plan` makes one to begin with.
    plan: Option<Plan>,
}

impl Start {
    pub(super) fn into_request(self, caller: Caller) -> Result<TaskRequest, ApiError> {
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
                ..ToolAllowance::default()
            },
            agent_id: self.agent_id,
            preset: self.preset,
            priority: self.priority.unwrap_or_default(),
            budget: self.budget.unwrap_or_default(),
            approval: self.approval,
            plan: self.plan,
            files: files_of_task(self.attachments.unwrap_or_default()),
            ..TaskRequest::default()
        })
    }
}

/// The query of status and cancel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Which {
    /// Which task.
    #[schemars(required, with = "TaskId")]
    task_id: Option<String>,
}

/// A task that was started.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "StartedTask")]
pub(super) struct Started {
    task_id: TaskId,
    /// Always `queued`.
    status: &'static str,
    strategy: Strategy,
    /// Seconds.
    #[schemars(with = "f64")]
    estimated_duration: Value,
    /// For people.
    message: String,
}

/// The plan of a task that was started.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    steps: Vec<PlannedStep>,
    total_steps: usize,
}

/// A step of that plan.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "StrategyStep")]
struct PlannedStep {
    id: String,
    description: String,
    r#type: StepType,
    status: StepStatus,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_duration: Option<u64>,
}

/// A task that was cancelled.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CancelledTask")]
pub(super) struct Cancelled {
    task_id: TaskId,
    status: Status,
    /// For people.
    message: &'static str,
    /// Beyond the original: what cancelling does not undo.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    effects: Vec<EffectView>,
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
    let request = body.into_request(caller.clone())?;
    begin(&state, &caller, request, key).await
}

/// Starts a task, once for each key.
pub(super) async fn begin(
    state: &AppState,
    caller: &Caller,
    request: TaskRequest,
    key: Option<Key>,
) -> Result<Response, ApiError> {
    let reply = |task: &Task| json!(started(task));
    let start = |key| state.orchestrator.start(TaskRequest { key, ..request });
    idempotency::once(state, caller, key, reply, start).await
}

fn started(task: &Task) -> Started {
    let steps: Vec<PlannedStep> = task.steps().iter().map(PlannedStep::of).collect();
    let millis: u64 = task.steps().iter().map(|step| step.plan.estimated_millis()).sum();
    let total_steps = steps.len();
    Started {
        task_id: task.id,
        status: "queued",
        strategy: Strategy { steps, total_steps },
        estimated_duration: seconds(millis),
        message: format!("Task queued for execution. {total_steps} steps planned."),
    }
}

impl PlannedStep {
    fn of(step: &Step) -> Self {
        Self {
            id: step.plan.id.clone(),
            description: step.plan.description.clone(),
            r#type: step.plan.kind,
            status: step.status,
            estimated_duration: step.plan.estimated_duration,
        }
    }
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
) -> Result<Json<Cancelled>, ApiError> {
    let task = state.task_of(&caller, which.id()?).await?;
    let cancelled = state.orchestrator.cancel(task.id, &caller.0).await.map_err(|error| {
        let refusal = ApiError::from(error);
        // The original system calls this a bad request.
        if refusal.code == "task_status" { refusal.with_status(StatusCode::BAD_REQUEST) } else { refusal }
    })?;
    let effects = views::effects_that_may_stand(&state.orchestrator, cancelled.id).await?;
    let (task_id, status) = (cancelled.id, cancelled.status());
    Ok(Json(Cancelled { task_id, status, message: "Task cancelled successfully", effects }))
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
