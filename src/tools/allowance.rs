//! Which tools a task may use.

use crate::task::{Mention, ToolAllowance};

use super::{Origin, ToolDescription};

/// Whether the task may use the tool: it is allowed, and if the user named tools or servers, it
/// is among them.
pub(super) fn permits(allowance: &ToolAllowance, tool: &ToolDescription) -> bool {
    is_allowed(allowance, tool)
        && is_listed(&allowance.only, &tool.name)
        && (!names_tools(allowance) || is_mentioned(allowance, tool))
}

/// Whether a tool is in each of these lists.
pub(crate) fn is_listed(lists: &[Vec<String>], tool: &str) -> bool {
    lists.iter().all(|names| names.iter().any(|name| fits(name, tool)))
}

/// Whether a tool has this name, or begins with what stands before the `*`.
fn fits(name: &str, tool: &str) -> bool {
    name.strip_suffix('*').map_or(name == tool, |beginning| tool.starts_with(beginning))
}

fn is_allowed(allowance: &ToolAllowance, tool: &ToolDescription) -> bool {
    match &tool.origin {
        Origin::App { toolkit } => allowance
            .allowed_app_default_toolkit
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == toolkit || *name == tool.name)),
        Origin::Mcp { server, tool } => allowance
            .allowed_mcp_servers
            .as_ref()
            .is_none_or(|servers| servers.get(server).is_some_and(|allowed| allowed.tools.contains(tool))),
    }
}

fn names_tools(allowance: &ToolAllowance) -> bool {
    allowance.mentions.iter().any(Mention::is_tool)
}

fn is_mentioned(allowance: &ToolAllowance, tool: &ToolDescription) -> bool {
    allowance.mentions.iter().any(|mention| match (mention, &tool.origin) {
        (Mention::McpTool { server_id, name, .. }, Origin::Mcp { server, tool }) => {
            server_id == server && name == tool
        }
        (Mention::McpServer { server_id, .. }, Origin::Mcp { server, .. }) => server_id == server,
        (Mention::DefaultTool { name, .. }, Origin::App { .. }) => *name == tool.name,
        _ => false,
    })
}
