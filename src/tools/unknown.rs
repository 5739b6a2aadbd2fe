//! Names in a request that nothing here has. They are refused with those there are: a task would begin
//! without the tool that its user named, and nobody would know why it does so badly.

use std::collections::BTreeSet;

use super::{Origin, ToolDescription, Toolbox};
use crate::task::{Mention, ToolAllowance};

/// A name that nothing here has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The field of the request that has it.
    pub(crate) field: &'static str,
    /// Which it is, and what there is.
    pub(crate) problem: String,
}

const MENTIONS: &str = "mentions";
const SERVERS: &str = "allowedMcpServers";
const TOOLKITS: &str = "allowedAppDefaultToolkit";

/// What can be named.
struct Known {
    tools: Vec<ToolDescription>,
    servers: BTreeSet<String>,
    /// Servers that are down: what they have, nobody knows.
    down: BTreeSet<String>,
}

impl Toolbox {
    /// The first name in what a request says of tools that nothing here has. `elsewhere` knows the tools
    /// that are none of these.
    pub(crate) fn unknown(
        &self,
        allowance: &ToolAllowance,
        elsewhere: impl Fn(&str) -> bool,
    ) -> Option<Unknown> {
        let known = self.known()?;
        let mentioned = allowance.mentions.iter().find_map(|mention| match mention {
            Mention::McpTool { server_id, name, .. } => known.of_server(server_id, Some(name)),
            Mention::McpServer { server_id, .. } => known.of_server(server_id, None),
            Mention::DefaultTool { name, .. } => known.tool(name).filter(|_| !elsewhere(name)),
            Mention::Agent { .. } | Mention::Workflow { .. } => None,
        });
        let servers = allowance.allowed_mcp_servers.iter().flatten();
        let mut allowed = servers.flat_map(|(server, allowed)| {
            let each = allowed.tools.iter().map(|tool| known.of_server(server, Some(tool)));
            std::iter::once(known.of_server(server, None)).chain(each)
        });
        let mut toolkits = allowance.allowed_app_default_toolkit.iter().flatten();
        let unknown = |field| move |problem| Unknown { field, problem };
        mentioned
            .map(unknown(MENTIONS))
            .or_else(|| allowed.find_map(|problem| problem).map(unknown(SERVERS)))
            .or_else(|| {
                let name = toolkits.find(|name| !known.has_toolkit(name) && !elsewhere(name))?;
                Some(unknown(TOOLKITS)(known.toolkit(name)))
            })
    }

    /// What can be named; nothing is unknown where a task is done again as it was recorded.
    fn known(&self) -> Option<Known> {
        let tools = self.all()?.into_iter().map(|tool| tool.description().clone()).collect::<Vec<_>>();
        let status = self.servers();
        let down = status.iter().filter(|server| !server.connected).map(|server| server.name.clone());
        let of_tools = tools.iter().filter_map(ToolDescription::server).map(str::to_owned);
        let servers = status.iter().map(|server| server.name.clone()).chain(of_tools).collect();
        Some(Known { down: down.collect(), servers, tools })
    }
}

impl Known {
    fn of_server(&self, server: &str, tool: Option<&str>) -> Option<String> {
        if !self.servers.contains(server) {
            return Some(format!("there is no MCP server '{server}': {}", listed(&self.servers)));
        }
        let tool = tool?;
        let has = |known: &ToolDescription| match &known.origin {
            Origin::Mcp { server: of, tool } if of == server => Some(tool.clone()),
            _ => None,
        };
        let tools: BTreeSet<String> = self.tools.iter().filter_map(has).collect();
        (!tools.contains(tool) && !self.down.contains(server))
            .then(|| format!("the MCP server '{server}' has no tool '{tool}': {}", listed(&tools)))
    }

    fn tool(&self, name: &str) -> Option<String> {
        let names: BTreeSet<String> = self.built_in().map(|(_, name)| name.to_owned()).collect();
        (!names.contains(name)).then(|| format!("there is no built-in tool '{name}': {}", listed(&names)))
    }

    fn has_toolkit(&self, name: &str) -> bool {
        self.built_in().any(|(toolkit, tool)| toolkit == name || tool == name)
    }

    fn toolkit(&self, name: &str) -> String {
        let toolkits: BTreeSet<String> = self.built_in().map(|(toolkit, _)| toolkit.to_owned()).collect();
        format!("there is no built-in toolkit or tool '{name}': {}", listed(&toolkits))
    }

    /// Toolkit and name of the built-in tools.
    fn built_in(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tools.iter().filter_map(|tool| match &tool.origin {
            Origin::App { toolkit } => Some((toolkit.as_str(), tool.name.as_str())),
            Origin::Mcp { .. } => None,
        })
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "there are none".to_owned(),
        false => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::tools::{McpServerConfig, ToolsConfig};

    async fn toolbox() -> Toolbox {
        let down =
            McpServerConfig { command: Some("/no/such/program".to_owned()), ..McpServerConfig::default() };
        let config =
            ToolsConfig { mcp: BTreeMap::from([("down".to_owned(), down)]), ..ToolsConfig::default() };
        Toolbox::open(&config).await.unwrap()
    }

    async fn said(allowance: Value) -> Option<String> {
        let allowance = serde_json::from_value(allowance).unwrap();
        let unknown = toolbox().await.unknown(&allowance, |name| name == "sub_task");
        unknown.map(|unknown| format!("{}: {}", unknown.field, unknown.problem))
    }

    #[tokio::test]
    async fn a_name_that_nothing_has_is_told_with_those_there_are() {
        let mention = |mention: Value| json!({"mentions": [mention]});
        assert_eq!(
            said(mention(json!({"type": "mcpServer", "name": "G", "serverId": "githb"}))).await.unwrap(),
            "mentions: there is no MCP server 'githb': down"
        );
        let tool = said(mention(json!({"type": "defaultTool", "name": "clock", "label": "Clock"}))).await;
        let tool = tool.unwrap();
        assert!(
            tool.starts_with("mentions: there is no built-in tool 'clock': ") && tool.contains("clock_now")
        );
        assert_eq!(
            said(json!({"allowedMcpServers": {"web": {"tools": []}}})).await.unwrap(),
            "allowedMcpServers: there is no MCP server 'web': down"
        );
        let toolkit = said(json!({"allowedAppDefaultToolkit": ["clock", "workspce"]})).await.unwrap();
        assert!(
            toolkit.starts_with(
                "allowedAppDefaultToolkit: there is no built-in toolkit or tool 'workspce': calculation, clock, "
            ),
            "{toolkit}"
        );
    }

    #[tokio::test]
    async fn what_there_is_may_be_named_and_what_nobody_can_know_now() {
        let known = json!({
            "mentions": [
                {"type": "mcpServer", "name": "Down", "serverId": "down"},
                {"type": "mcpTool", "name": "any", "serverId": "down"},
                {"type": "defaultTool", "name": "clock_now", "label": "Clock"},
                {"type": "defaultTool", "name": "sub_task", "label": "Sub-task"},
            ],
            "allowedMcpServers": {"down": {"tools": ["any"]}},
            "allowedAppDefaultToolkit": ["clock", "workspace_read", "sub_task"],
        });
        assert_eq!(said(known).await, None);
        assert_eq!(said(json!({})).await, None);
    }
}
