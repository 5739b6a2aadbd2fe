//! `/api/presets` and `/api/agents`: named terms of the configuration that a request may begin from.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::state::AppState;
use crate::orchestrator::{Agent, Preset};
use crate::task::{Budget, ModelName};

/// The presets of the configuration, by name.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PresetList {
    presets: Vec<PresetView>,
}

/// What differs from the configuration for tasks that name a preset.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Preset")]
struct PresetView {
    name: String,
    description: String,
    /// The model, if the request names none.
    model: Option<ModelName>,
    /// Tools by full name, or by the beginning of it with a `*`: no others are offered.
    tools: Option<Vec<String>>,
    budget: Budget,
    /// Limits that differ.
    limits: Map<String, Value>,
    /// Terms of approval that differ.
    approval: Map<String, Value>,
    /// Terms of retries that differ.
    retry: Map<String, Value>,
}

/// The agents of the configuration, by name.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AgentList {
    agents: Vec<AgentView>,
}

/// Who may do the work.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Agent")]
struct AgentView {
    /// What `agentId` names.
    id: String,
    description: String,
    /// What its models are told in each step.
    instructions: String,
    /// The model, if the request names none.
    model: Option<ModelName>,
    /// Tools by full name, or by the beginning of it with a `*`: no others are offered.
    tools: Option<Vec<String>>,
    /// The preset that its tasks begin from, if the request names none.
    preset: Option<String>,
}

/// `GET /api/presets`.
pub(super) async fn presets(State(state): State<AppState>) -> Json<PresetList> {
    Json(PresetList { presets: views(state.orchestrator.presets(), PresetView::of) })
}

/// `GET /api/agents`.
pub(super) async fn agents(State(state): State<AppState>) -> Json<AgentList> {
    Json(AgentList { agents: views(state.orchestrator.agents(), AgentView::of) })
}

fn views<T, V>(all: &BTreeMap<String, T>, view: fn(&str, &T) -> V) -> Vec<V> {
    all.iter().map(|(name, one)| view(name, one)).collect()
}

impl PresetView {
    fn of(name: &str, preset: &Preset) -> Self {
        Self {
            name: name.to_owned(),
            description: preset.description.clone(),
            model: preset.model.clone(),
            tools: preset.tools.clone(),
            budget: preset.budget,
            limits: preset.limits.clone(),
            approval: preset.approval.clone(),
            retry: preset.retry.clone(),
        }
    }
}

impl AgentView {
    fn of(id: &str, agent: &Agent) -> Self {
        Self {
            id: id.to_owned(),
            description: agent.description.clone(),
            instructions: agent.instructions.clone(),
            model: agent.model.clone(),
            tools: agent.tools.clone(),
            preset: agent.preset.clone(),
        }
    }
}
