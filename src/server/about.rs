//! What this server is, has and can: health, worker, tools, models.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::error::ApiError;
use super::state::AppState;
use crate::orchestrator::OrchestratorError;
use crate::task::ToolAllowance;
use crate::tools::{Origin, ServerStatus, Tool};

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: the database answers, too.
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    state.repository().ping().await?;
    Ok(Json(json!({"status": "ready"})))
}

/// `GET /api/worker`: the worker of this process, and what waits in the database.
pub(super) async fn worker(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let repository = state.repository();
    Ok(Json(json!({
        "worker": state.worker.snapshot(),
        "database": {"engine": repository.engine().await?, "embedded": repository.is_embedded()},
        "stats": repository.stats().await?,
    })))
}

/// `GET /api/workers`: who works on this database, and what runs where.
pub(super) async fn workers(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({"workers": state.repository().workers().await?})))
}

/// `GET /api/tools`: the tools a request may use, and the tool servers.
pub(super) async fn tools(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let toolbox = state.orchestrator.tools();
    let offered = toolbox.offered(&ToolAllowance::default()).map_err(OrchestratorError::from)?;
    let tools: Vec<Value> = offered.iter().map(|tool| described(tool.as_ref())).collect();
    let servers: Vec<Value> = toolbox.servers().iter().map(server).collect();
    Ok(Json(json!({"tools": tools, "mcpServers": servers})))
}

fn described(tool: &dyn Tool) -> Value {
    let known = tool.description();
    let origin = match &known.origin {
        Origin::App { toolkit } => json!({"type": "app", "toolkit": toolkit}),
        Origin::Mcp { server, tool } => json!({"type": "mcp", "server": server, "tool": tool}),
    };
    json!({
        "name": known.name, "description": known.description, "schema": known.schema,
        "effect": known.effect, "origin": origin,
    })
}

fn server(status: &ServerStatus) -> Value {
    json!({
        "name": status.name, "transport": status.transport, "connected": status.connected,
        "tools": status.tools, "lastError": status.last_error,
    })
}

/// `GET /api/models`: the models that can be asked.
pub(super) async fn models(State(state): State<AppState>) -> Json<Value> {
    let models = state.orchestrator.models();
    Json(json!({
        "default": models.default_name(), "offline": models.is_offline(), "models": models.known(),
    }))
}
