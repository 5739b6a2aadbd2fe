//! The door to the world: tools, wherever they come from.
//!
//! A tool is called with a key that stays the same over all attempts of one call, a deadline
//! and a cancel signal. What calling it does to the world is its [`Effect`].

mod allowance;
mod app;
mod config;
mod disguise;
mod error;
mod fence;
mod jsonc;
mod labels;
mod mcp;
mod mcp_json;
mod named;
mod probe;
mod schema;
mod secrets;
mod text;
mod toolbox;
mod unknown;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::task::{Effect, FrozenTool, is_open};

pub(crate) use allowance::is_listed;
pub(crate) use app::{answer_problem, is_question, question_problem, repeats_itself};
pub use config::{HttpRequestConfig, McpServerConfig, McpToolConfig, ToolsConfig};
pub use error::ToolError;
pub use fence::Fence;
pub use labels::LabelsConfig;
pub use mcp::ServerStatus;
pub use mcp_json::{McpJsonError, read_mcp_json};
pub use probe::{Finder, Finding, ProbeConfig, ProbeError, Probes};
pub use schema::ArgumentSchema;
pub(crate) use schema::validator;
pub use secrets::{SecretConfig, Secrets};
pub use toolbox::{Toolbox, ToolboxError};

/// Something that can be called with JSON and answers with JSON.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What models and plans know of it.
    fn description(&self) -> &ToolDescription;

    /// The full name of the tool that can tell how a call of this one ended that was cut off, if
    /// there is one.
    fn reconciler(&self) -> Option<&str> {
        None
    }

    /// What is wrong with the arguments of a call, if anything is: nothing is sent then. It names the place and
    /// what is expected there.
    fn problem(&self, arguments: &Value) -> Option<String> {
        self.description().schema.problem(arguments)
    }

    /// The same for arguments as a plan has them. What an output, an item or a secret is put into is judged
    /// when it is there.
    fn problem_in_plan(&self, arguments: &Value) -> Option<String> {
        match is_open(arguments) {
            true => self.description().schema.problem_with_names(arguments),
            false => self.problem(arguments),
        }
    }

    /// Calls it. Never panics; gives up at the deadline or when cancelled, with an error that
    /// says whether the call may have taken effect.
    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError>;
}

/// What is known of a tool before it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDescription {
    /// The full name, unique among all tools: `workspace_search`, `github_create_issue`.
    /// Letters, digits, `_` and `-`, at most 64 characters.
    pub name: String,
    /// What it does, for models.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub schema: ArgumentSchema,
    /// What calling it does to the world.
    pub effect: Effect,
    /// Where it comes from.
    pub origin: Origin,
}

impl ToolDescription {
    /// The MCP server it comes from, if it does.
    pub fn server(&self) -> Option<&str> {
        match &self.origin {
            Origin::Mcp { server, .. } => Some(server),
            Origin::App { .. } => None,
        }
    }

    /// The tool as a plan that is made now takes it down.
    pub fn frozen(&self) -> FrozenTool {
        FrozenTool::new(&self.name, &self.description, self.schema.value(), self.effect, self.server())
    }
}

/// Where a tool comes from; what allowances and mentions refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A built-in toolkit, by its name: `workspace`, `http`, `clock`, `calculation`, `person`,
    /// `report`.
    App {
        /// The toolkit.
        toolkit: String,
    },
    /// An MCP server from the configuration.
    Mcp {
        /// The server's name in the configuration.
        server: String,
        /// The tool's own name on that server.
        tool: String,
    },
}

/// What a tool is told besides its arguments.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The same over all attempts of one call; handed on to whoever can use it.
    pub idempotency_key: String,
    /// The call ends by then.
    pub timeout: Duration,
    /// Ends the call early.
    pub cancel: CancellationToken,
    /// A longer result fails with [`ToolError::OutputTooLarge`].
    pub max_output_bytes: u64,
    /// Nothing leaves this process once it is closed.
    pub fence: Fence,
    /// Whether there is a secret among the arguments, which goes to nobody but whom they name.
    pub is_confidential: bool,
}

impl CallContext {
    /// Whether the call may still be sent. It is asked right before that: whatever is held back here
    /// has certainly not taken effect.
    pub(in crate::tools) fn may_be_sent(&self) -> Result<(), ToolError> {
        match self.cancel.is_cancelled() || self.fence.is_closed() {
            true => Err(ToolError::HeldBack),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
impl CallContext {
    /// That of a call in a test, which nobody stops.
    pub(crate) fn of_test() -> Self {
        Self {
            idempotency_key: "key".to_owned(),
            timeout: Duration::from_secs(60),
            cancel: CancellationToken::new(),
            max_output_bytes: 8 * 1024 * 1024,
            fence: Fence::default(),
            is_confidential: false,
        }
    }
}

/// What a tool returned.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// The result. Texts are JSON strings.
    pub content: Value,
    /// Whether the tool itself calls it an error.
    pub is_error: bool,
}

impl ToolOutput {
    /// A successful result.
    pub fn ok(content: impl Into<Value>) -> Self {
        Self { content: content.into(), is_error: false }
    }

    /// A result that the tool itself calls an error: shown to the model, which may do better.
    pub fn error(message: impl Into<String>) -> Self {
        Self { content: Value::String(message.into()), is_error: true }
    }
}
