//! `/api/templates`: strategies with parameters.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::auth::Caller;
use super::error::ApiError;
use super::idempotency::Keyed;
use super::orchestrate;
use super::page::{Limit, MOST};
use super::parse::{JsonBody, Params};
use super::state::AppState;
use crate::orchestrator::{TaskRequest, TemplateUse, TemplateWish};
use crate::repository::TemplateVersion;
use crate::task::{ApprovalWish, Budget, ModelName, Priority};

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Range {
    /// At most so many; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
    /// Only templates whose name comes behind this one.
    after: Option<String>,
}

/// The query of one template.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Which {
    /// Which version; the newest one if absent.
    #[schemars(range(min = 1))]
    version: Option<u32>,
}

/// Templates by name, each with its newest version.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TemplateList {
    templates: Vec<TemplateVersion>,
    /// What to give as `after` to get those behind these, if there may be any.
    next_after: Option<String>,
}

/// The body of a run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "TemplateRun")]
pub(super) struct Run {
    /// The parameters, as the template's schema has them.
    parameters: Map<String, Value>,
    /// Which version; the newest one if absent.
    version: Option<u32>,
    /// The conversation that the task belongs to; one of its own if absent.
    #[schemars(length(min = 1, max = 512))]
    thread_id: Option<String>,
    /// The model to use instead of the configured ones.
    chat_model: Option<ModelName>,
    /// The preset of the configuration that the task begins from, instead of the template's.
    preset: Option<String>,
    /// The agent of the configuration that does the work.
    agent_id: Option<String>,
    /// How urgent it is.
    priority: Option<Priority>,
    /// What it may consume, where that differs from the configuration.
    #[serde(deserialize_with = "crate::task::object")]
    budget: Option<Budget>,
    /// What needs approval beyond what the configuration says.
    #[serde(deserialize_with = "crate::task::object")]
    approval: Option<ApprovalWish>,
}

/// `GET /api/templates`: the caller's templates, by name.
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(range): Params<Range>,
) -> Result<Json<TemplateList>, ApiError> {
    let limit = Limit::of(range.limit)?;
    let after = range.after.unwrap_or_default();
    let templates = state.repository().templates().newest(&caller.0, &after, limit.0).await?;
    let next_after = limit.end_of(&templates).map(|last| last.template.name.clone());
    Ok(Json(TemplateList { templates, next_after }))
}

/// `POST /api/templates`: the next version; the same content again is the same version.
pub(super) async fn create(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(wish): JsonBody<TemplateWish>,
) -> Result<Json<TemplateVersion>, ApiError> {
    Ok(Json(state.orchestrator.put_template(&caller.0, wish).await?))
}

/// `GET /api/templates/{id}`.
pub(super) async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Params(which): Params<Which>,
) -> Result<Json<TemplateVersion>, ApiError> {
    Ok(Json(state.orchestrator.template(&caller.0, &name, which.version).await?))
}

/// `DELETE /api/templates/{id}`: all its versions; its tasks stay.
pub(super) async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.orchestrator.delete_template(&caller.0, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/templates/{id}/run`: starts a task.
pub(super) async fn run(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Keyed { body, key }: Keyed<Run>,
) -> Result<Response, ApiError> {
    let request = TaskRequest {
        user_id: caller.0.clone(),
        thread_id: body.thread_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
        chat_model: body.chat_model,
        preset: body.preset,
        agent_id: body.agent_id,
        priority: body.priority.unwrap_or_default(),
        budget: body.budget.unwrap_or_default(),
        approval: body.approval,
        template: Some(TemplateUse { name, version: body.version, parameters: body.parameters }),
        ..TaskRequest::default()
    };
    orchestrate::begin(&state, &caller, request, key).await
}
