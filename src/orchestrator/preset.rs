//! Presets and agents: named terms of the configuration that a request may begin from.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Orchestrator, OrchestratorConfig, OrchestratorError, TaskRequest};
use crate::task::{ApprovalPolicy, Budget, Limits, Mention, ModelName, RetryPolicy, ToolAllowance};

/// A `[presets.NAME]` table: what differs from the configuration for tasks that name it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Preset {
    /// What it is for.
    pub description: String,
    /// The model, if the request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Tools by full name, or by the beginning of it with a `*`: no others are offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// What its tasks may consume, key by key.
    pub budget: Budget,
    /// The keys of `[orchestrator.limits]` that differ.
    pub limits: Map<String, Value>,
    /// The keys of `[orchestrator.approval]` that differ.
    pub approval: Map<String, Value>,
    /// The keys of `[orchestrator.retry]` that differ.
    pub retry: Map<String, Value>,
}

/// An `[agents.NAME]` table: who does the work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Agent {
    /// What it is for.
    pub description: String,
    /// What its models are told in each step, besides the step.
    pub instructions: String,
    /// The model, if the request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Tools by full name, or by the beginning of it with a `*`: no others are offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// The preset that its tasks begin from, if the request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

/// What a task begins with, before its request has its word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Terms {
    pub(super) preset: Option<String>,
    pub(super) model: Option<ModelName>,
    pub(super) instructions: Option<String>,
    /// Lists of tools; one that is in each of them is offered.
    pub(super) only: Vec<Vec<String>>,
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    pub(super) retry: RetryPolicy,
    pub(super) approval: ApprovalPolicy,
}

impl OrchestratorConfig {
    /// The terms of a preset and an agent.
    ///
    /// # Errors
    /// [`OrchestratorError::Invalid`] if there is no such preset or agent; it names those there are.
    pub(super) fn terms(
        &self,
        preset: Option<&str>,
        agent: Option<&str>,
    ) -> Result<Terms, OrchestratorError> {
        let agent = agent.map(|name| known("agentId", "agent", &self.agents, name)).transpose()?;
        let named = preset.or(agent.and_then(|agent| agent.preset.as_deref()));
        let preset = named.map(|name| known("preset", "preset", &self.presets, name)).transpose()?;
        let plain = Preset::default();
        let (from, said) = (preset.unwrap_or(&plain), agent);
        let wrong = |problem: serde_json::Error| OrchestratorError::Invalid {
            field: "preset",
            problem: problem.to_string(),
        };
        let instructions = said.map(|agent| agent.instructions.trim()).filter(|text| !text.is_empty());
        let lists = [said.and_then(|agent| agent.tools.clone()), from.tools.clone()];
        Ok(Terms {
            preset: named.map(str::to_owned),
            model: said.and_then(|agent| agent.model.clone()).or_else(|| from.model.clone()),
            instructions: instructions.map(str::to_owned),
            only: lists.into_iter().flatten().collect(),
            limits: overlaid(&self.limits, &from.limits).map_err(wrong)?,
            budget: from.budget.or(&self.budget),
            retry: overlaid(&self.retry, &from.retry).map_err(wrong)?,
            approval: overlaid(&self.approval, &from.approval).map_err(wrong)?,
        })
    }

    /// What is wrong with the presets and agents, with the key that it is about.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        for name in self.presets.keys() {
            if let Err(error) = self.terms(Some(name), None) {
                return Some(("presets", format!("{name}: {error}")));
            }
        }
        for (name, agent) in &self.agents {
            if let Err(error) = self.terms(None, Some(name)) {
                return Some(("agents", format!("{name}: {error}")));
            }
            if agent.instructions.trim().is_empty() {
                return Some(("agents", format!("{name}: has no instructions")));
            }
        }
        None
    }
}

impl TaskRequest {
    /// The agent that it names, or that its user mentioned.
    pub(super) fn agent(&self) -> Option<&str> {
        self.agent_id.as_deref().or(mentioned(&self.tools))
    }
}

impl Orchestrator {
    /// The presets of the configuration, by name.
    pub fn presets(&self) -> &BTreeMap<String, Preset> {
        &self.config.presets
    }

    /// The agents of the configuration, by name.
    pub fn agents(&self) -> &BTreeMap<String, Agent> {
        &self.config.agents
    }

    /// The tools and the model of an answer, with what the agent that is mentioned and the preset
    /// say of them.
    ///
    /// # Errors
    /// [`OrchestratorError::Invalid`] if there is no such agent or preset; it names those there are.
    pub fn narrowed(
        &self,
        tools: ToolAllowance,
        model: Option<ModelName>,
        preset: Option<&str>,
    ) -> Result<(ToolAllowance, Option<ModelName>), OrchestratorError> {
        let terms = self.config.terms(preset, mentioned(&tools))?;
        Ok((ToolAllowance { only: terms.only, ..tools }, model.or(terms.model)))
    }

    /// The instructions of the agent that is mentioned, if one is.
    pub fn agent_instructions(&self, tools: &ToolAllowance) -> Option<&str> {
        self.config.agents.get(mentioned(tools)?).map(|agent| agent.instructions.as_str())
    }
}

/// The agent that a user mentioned.
fn mentioned(tools: &ToolAllowance) -> Option<&str> {
    tools.mentions.iter().find_map(|mention| match mention {
        Mention::Agent { agent_id, .. } => Some(agent_id.as_str()),
        _ => None,
    })
}

fn known<'a, T>(
    field: &'static str,
    what: &str,
    all: &'a BTreeMap<String, T>,
    name: &str,
) -> Result<&'a T, OrchestratorError> {
    all.get(name).ok_or_else(|| {
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let there = if names.is_empty() { "none are configured".to_owned() } else { names.join(", ") };
        OrchestratorError::Invalid { field, problem: format!("there is no {what} '{name}': {there}") }
    })
}

/// A table with some of its keys replaced.
fn overlaid<T: Serialize + DeserializeOwned>(
    base: &T,
    over: &Map<String, Value>,
) -> Result<T, serde_json::Error> {
    let mut value = serde_json::to_value(base)?;
    if let Some(fields) = value.as_object_mut() {
        fields.extend(over.clone());
    }
    serde_json::from_value(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> OrchestratorConfig {
        OrchestratorConfig {
            presets: serde_json::from_value(json!({
                "small": {"model": "a/b", "budget": {"tokens": 5, "costUsd": 0}, "limits": {"maxSteps": 3},
                    "approval": {"classes": ["unsafe"]}, "retry": {"maxAttempts": 1}, "tools": ["workspace_*"]},
            }))
            .unwrap(),
            agents: serde_json::from_value(json!({
                "reader": {"instructions": "Read.", "model": "c/d", "tools": ["workspace_read"], "preset": "small"},
                "writer": {"instructions": "Write."},
            }))
            .unwrap(),
            ..OrchestratorConfig::default()
        }
    }

    #[test]
    fn a_preset_changes_what_it_names_and_nothing_else() {
        let config = config();
        let terms = config.terms(Some("small"), None).unwrap();
        assert_eq!((terms.limits.max_steps, terms.limits.max_turns), (3, config.limits.max_turns));
        assert_eq!((terms.budget.tokens, terms.budget.cost_usd), (Some(5), None));
        assert_eq!(terms.budget.model_calls, config.budget.model_calls);
        assert_eq!((terms.retry.max_attempts, terms.retry.base_ms), (1, config.retry.base_ms));
        assert_eq!(terms.approval.classes.len(), 1);
        assert_eq!(terms.model.map(|model| model.to_string()).as_deref(), Some("a/b"));
    }

    #[test]
    fn an_agent_brings_its_preset_unless_another_is_named() {
        let config = config();
        let terms = config.terms(None, Some("reader")).unwrap();
        assert_eq!((terms.preset.as_deref(), terms.instructions.as_deref()), (Some("small"), Some("Read.")));
        assert_eq!(terms.model.map(|model| model.to_string()).as_deref(), Some("c/d"));
        assert_eq!(terms.only, [vec!["workspace_read".to_owned()], vec!["workspace_*".to_owned()]]);
        assert_eq!(config.terms(Some("small"), Some("writer")).unwrap().limits.max_steps, 3);
        assert_eq!(config.terms(None, Some("writer")).unwrap().preset, None);
    }

    #[test]
    fn who_is_not_known_is_told_who_is() {
        let config = config();
        let error = config.terms(None, Some("ghost")).unwrap_err().to_string();
        assert_eq!(error, "agentId: there is no agent 'ghost': reader, writer");
        let error = config.terms(Some("big"), None).unwrap_err().to_string();
        assert_eq!(error, "preset: there is no preset 'big': small");
        let error = OrchestratorConfig::default().terms(Some("big"), None).unwrap_err().to_string();
        assert!(error.ends_with("none are configured"), "{error}");
    }

    #[test]
    fn mistakes_of_the_configuration_are_found_before_anything_starts() {
        let mut config = config();
        assert_eq!(config.problem(), None);
        config.presets.entry("small".into()).or_default().limits.insert("maxStep".into(), json!(1));
        let (key, problem) = config.problem().unwrap();
        assert!(key == "presets" && problem.contains("maxStep"), "{problem}");
    }
}
