//! One tool of an MCP server.

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::Tool as RemoteTool;
use serde_json::{Map, Value};

use super::naming::{effect, full_name};
use super::server::Server;
use crate::tools::text::{value_without_nul, without_nul};
use crate::tools::{CallContext, McpServerConfig, Origin, Tool, ToolDescription, ToolError, ToolOutput};

/// A tool of a server, connected or not.
pub(super) struct McpTool {
    server: Arc<Server>,
    description: ToolDescription,
    /// The server's own name for it.
    name: String,
    reconciler: Option<String>,
}

impl McpTool {
    pub(super) fn shared(server: Arc<Server>, description: ToolDescription) -> Arc<dyn Tool> {
        let name = match &description.origin {
            Origin::Mcp { tool, .. } => tool.clone(),
            Origin::App { .. } => description.name.clone(),
        };
        let reconciler = server.reconciler(&name);
        Arc::new(Self { server, description, name, reconciler })
    }
}

#[async_trait]
impl Tool for McpTool {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    fn reconciler(&self) -> Option<&str> {
        self.reconciler.as_deref()
    }

    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            _ => return Err(ToolError::Arguments("an object is needed".to_owned())),
        };
        self.server.call(&self.name, arguments, context).await
    }
}

/// What is known of a server's tool before it is called.
pub(super) fn describe(server: &str, config: &McpServerConfig, tool: &RemoteTool) -> ToolDescription {
    let mut schema = (*tool.input_schema).clone();
    // Says which edition of JSON Schema it is; some providers reject it.
    schema.remove("$schema");
    ToolDescription {
        name: full_name(server, &tool.name),
        description: without_nul(
            tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default().to_owned(),
        ),
        schema: value_without_nul(Value::Object(schema)).into(),
        effect: effect(config, &tool.name, tool.annotations.as_ref()),
        origin: Origin::Mcp { server: server.to_owned(), tool: without_nul(tool.name.to_string()) },
    }
}
