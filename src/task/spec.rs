//! What was asked for: the part of a task that never changes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    ApprovalPolicy, Budget, ForkPoint, Limits, ModelName, Parent, Priority, RetryPolicy, Taint, TemplateRef,
};

/// A request to carry one goal to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// The goal in the user's words.
    pub goal: String,
    /// Whose task it is.
    pub user_id: String,
    /// The conversation it belongs to; any text.
    pub thread_id: String,
    /// The model that was asked for; the configured ones otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_model: Option<ModelName>,
    /// Which tools it may use.
    #[serde(default)]
    pub tools: ToolAllowance,
    /// Named instructions, model and tools to work with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The preset of the configuration that it began from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What the models of its steps are told besides: the agent's instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// The template that it was made from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// How urgent it is to begin with; how urgent it is now is part of its state.
    #[serde(default, skip_serializing_if = "Priority::is_usual")]
    pub priority: Priority,
    /// How far it may go.
    #[serde(default, deserialize_with = "known_keys")]
    pub limits: Limits,
    /// What it may consume to begin with; what was added since is part of its state.
    #[serde(default, skip_serializing_if = "Budget::is_default", deserialize_with = "known_keys")]
    pub budget: Budget,
    /// When its failed steps are tried again.
    #[serde(default, deserialize_with = "known_keys")]
    pub retry: RetryPolicy,
    /// What needs a person's approval.
    #[serde(default, deserialize_with = "known_keys", skip_serializing_if = "is_usual")]
    pub approval: ApprovalPolicy,
    /// What those had read who asked for it: it begins as if it had read that itself.
    #[serde(default, skip_serializing_if = "Taint::is_none")]
    pub taint: Taint,
    /// The task whose facts it begins with, if it is a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// Whose child it is, if it carries out a call of another task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Whether it was carried out elsewhere and is here as a recording: it never runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}

impl TaskSpec {
    /// How many tasks stand above it.
    pub fn depth(&self) -> u32 {
        self.parent.map_or(0, |parent| parent.depth)
    }
}

/// Whether it is the default: most tasks need no approval, and their first entries stay short.
fn is_usual(approval: &ApprovalPolicy) -> bool {
    *approval == ApprovalPolicy::default()
}

/// Reads what this version knows and passes over the rest. In a configuration an unknown key is
/// a mistake; in a stored task it is one that a newer version wrote.
fn known_keys<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Serialize + DeserializeOwned,
{
    let mut stored = serde_json::Map::deserialize(deserializer)?;
    let known = serde_json::to_value(T::default()).map_err(serde::de::Error::custom)?;
    stored.retain(|key, _| known.get(key).is_some());
    serde_json::from_value(stored.into()).map_err(serde::de::Error::custom)
}

/// Reads an object or null. Left to itself, a list would do for an object, its items taken for the
/// fields in their order.
pub(crate) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Some(fields) = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)?
    else {
        return Ok(None);
    };
    let fields = serde_json::Value::from(fields);
    // With the path within it, to which whoever reads all of it adds the path to here.
    serde_path_to_error::deserialize(fields).map(Some).map_err(serde::de::Error::custom)
}

/// Which of the configured tools a request may use. All of them where nothing is said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolAllowance {
    /// Tools, servers, workflows and agents that the user named. If any tool or server is
    /// named, only the named ones are offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention>,
    /// MCP tools by server id; `None` allows every configured server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_mcp_servers: Option<BTreeMap<String, AllowedTools>>,
    /// Names of built-in toolkits; `None` allows all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_app_default_toolkit: Option<Vec<String>>,
    /// Lists of the configuration, of tools by full name or by the beginning of it with a `*`: only
    /// what is in each of them is offered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Vec<String>>,
    /// The templates that are offered as tools: those that were named when the task was created, in the
    /// versions of then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<TemplateRef>,
    /// Whether sub-tasks for goals of the model's own are offered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sub_tasks: bool,
}

/// The tools of one MCP server that may be used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AllowedTools {
    /// Their names as the server gives them.
    pub tools: Vec<String>,
}

/// Something the user named in the message, in the seed's shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Mention {
    /// One tool of an MCP server.
    McpTool {
        /// The tool's own name.
        name: String,
        /// What it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// The server's display name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_name: Option<String>,
        /// The server's name in the configuration.
        server_id: String,
    },
    /// One built-in tool.
    DefaultTool {
        /// The tool's name.
        name: String,
        /// Its display name.
        label: String,
        /// What it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// All tools of an MCP server.
    McpServer {
        /// The server's display name.
        name: String,
        /// What it offers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// How many tools it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool_count: Option<u32>,
        /// The server's name in the configuration.
        server_id: String,
    },
    /// A template offered as a tool.
    Workflow {
        /// Its name.
        name: String,
        /// What it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Its id.
        workflow_id: String,
        /// How it is shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icon: Option<serde_json::Value>,
    },
    /// Named instructions, model and tools.
    Agent {
        /// Its name.
        name: String,
        /// What it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Its id.
        agent_id: String,
        /// How it is shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icon: Option<serde_json::Value>,
    },
}

impl Mention {
    /// Whether it names a tool, or the tools of a server.
    pub fn is_tool(&self) -> bool {
        !matches!(self, Self::Workflow { .. } | Self::Agent { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_a_newer_version_wrote_does_not_make_a_task_unreadable() {
        let stored =
            r#"{"goal": "g", "userId": "u", "threadId": "t", "limits": {"maxSteps": 7, "maxDreams": 1}}"#;
        let spec: TaskSpec = serde_json::from_str(stored).unwrap();
        assert_eq!(spec.limits, Limits { max_steps: 7, ..Limits::default() });
    }
}
