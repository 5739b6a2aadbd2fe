//! What this server is, has and can: health, worker, tools, models.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::state::{AppState, WorkerSnapshot};
use crate::orchestrator::OrchestratorError;
use crate::repository::{Stats, WorkerSummary};
use crate::task::{Effect, ModelName, ToolAllowance};
use crate::tools::{Origin, ServerStatus, Tool};

/// That a server is there.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// The worker of a process, and what waits in its database.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WorkerReport {
    worker: WorkerSnapshot,
    database: DatabaseView,
    stats: Stats,
}

/// Where tasks are kept.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Database")]
struct DatabaseView {
    /// Which engine, with its version.
    engine: String,
    /// Whether only one process may work on it.
    embedded: bool,
}

/// All workers of a database, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WorkerList {
    workers: Vec<WorkerSummary>,
}

/// What a request may use.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolList {
    tools: Vec<ToolView>,
    mcp_servers: Vec<ServerView>,
}

/// A tool.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tool")]
struct ToolView {
    name: String,
    description: String,
    /// The JSON Schema of its arguments.
    schema: Value,
    /// Why no arguments are held against the schema before a call; the tool judges by itself then.
    #[serde(skip_serializing_if = "Option::is_none")]
    unchecked: Option<String>,
    effect: Effect,
    origin: OriginView,
}

/// Where a tool comes from.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schemars(rename = "ToolOrigin")]
enum OriginView {
    /// A built-in toolkit.
    App { toolkit: String },
    /// An MCP server, and what the tool is called there.
    Mcp { server: String, tool: String },
}

/// An MCP server.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "McpServer")]
struct ServerView {
    /// Its name in the configuration.
    name: String,
    /// `stdio` or `http`.
    transport: &'static str,
    /// Whether calls can reach it now.
    connected: bool,
    /// The full names of its tools, as of its last connection.
    tools: Vec<String>,
    /// Why it is not connected, or was not at some time.
    last_error: Option<String>,
}

/// The models that can be asked.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelList {
    /// The one that is asked if nobody names another.
    default: ModelName,
    /// Whether there is no language model, so that goals are planned by rules.
    offline: bool,
    models: Vec<ModelName>,
    /// Those that a step of a plan may name (`models.allowed`).
    for_steps: Vec<ModelName>,
}

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// `GET /readyz`: the database answers, too, and takes what is written.
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    state.repository().ping().await?;
    Ok(Json(Health { status: "ready" }))
}

/// `GET /api/worker`: the worker of this process, and what waits in the database.
pub(super) async fn worker(State(state): State<AppState>) -> Result<Json<WorkerReport>, ApiError> {
    let repository = state.repository();
    Ok(Json(WorkerReport {
        worker: state.worker.snapshot(),
        database: DatabaseView { engine: repository.engine().await?, embedded: repository.is_embedded() },
        stats: repository.stats().await?,
    }))
}

/// `GET /api/workers`: who works on this database, and what runs where.
pub(super) async fn workers(State(state): State<AppState>) -> Result<Json<WorkerList>, ApiError> {
    Ok(Json(WorkerList { workers: state.repository().workers().await? }))
}

/// `GET /api/tools`: the tools a request may use, and the tool servers.
pub(super) async fn tools(State(state): State<AppState>) -> Result<Json<ToolList>, ApiError> {
    let toolbox = state.orchestrator.tools();
    let offered = toolbox.offered(&ToolAllowance::default()).map_err(OrchestratorError::from)?;
    Ok(Json(ToolList {
        tools: offered.iter().map(|tool| ToolView::of(tool.as_ref())).collect(),
        mcp_servers: toolbox.servers().into_iter().map(ServerView::of).collect(),
    }))
}

impl ToolView {
    fn of(tool: &dyn Tool) -> Self {
        let known = tool.description();
        let origin = match &known.origin {
            Origin::App { toolkit } => OriginView::App { toolkit: toolkit.clone() },
            Origin::Mcp { server, tool } => OriginView::Mcp { server: server.clone(), tool: tool.clone() },
        };
        Self {
            name: known.name.clone(),
            description: known.description.clone(),
            schema: known.schema.value().clone(),
            unchecked: known.schema.unusable().map(str::to_owned),
            effect: known.effect,
            origin,
        }
    }
}

impl ServerView {
    fn of(status: ServerStatus) -> Self {
        let ServerStatus { name, transport, connected, tools, last_error } = status;
        Self { name, transport, connected, tools, last_error }
    }
}

/// `GET /api/models`: the models that can be asked.
pub(super) async fn models(State(state): State<AppState>) -> Json<ModelList> {
    let models = state.orchestrator.models();
    Json(ModelList {
        default: models.default_name().clone(),
        offline: models.is_offline(),
        models: models.known(),
        for_steps: models.allowed().to_vec(),
    })
}
