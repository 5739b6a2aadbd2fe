//! Reads the MCP server lists that other programs keep: Claude Desktop, Cursor and VS Code.

use std::collections::BTreeMap;
use std::env;

use serde_json::{Map, Value};
use thiserror::Error;

use super::jsonc::as_json;
use super::{McpServerConfig, McpToolConfig};

/// Why a list of MCP servers cannot be used.
#[derive(Debug, Error)]
pub enum McpJsonError {
    /// It is not JSON.
    #[error("the list of MCP servers is not JSON")]
    Json(#[from] serde_json::Error),
    /// There is neither `mcpServers` nor `servers`, nor `servers` in `mcp`.
    #[error(
        "the list of MCP servers needs an object `mcpServers` (or `servers`, as VS Code writes it, or `mcp` with \
         `servers` in it, as its settings.json has it)"
    )]
    NoServers,
    /// One server's entry is wrong.
    #[error("MCP server '{server}': {detail}")]
    Server {
        /// Which one.
        server: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Reads `{"mcpServers": {name: {command, args, env} | {url, headers}}}`, also under VS Code's
/// key `servers`, and under `mcp` with `servers` in it as its settings.json has them, and our own `trusted` and `tools: {name: {effect}}`. Keys of other programs
/// are ignored, disabled servers are left out; comments and commas behind the last item do no harm. `${env:NAME}` stands for an environment variable.
/// A server that names one that is not set, or `${input:NAME}`, which only VS Code can ask for, is withheld: it is listed with
/// the reason and never started, and the others are as they are. Other placeholders stay as they are.
///
/// # Errors
/// [`McpJsonError`] names the server and what is wrong with it.
pub fn read_mcp_json(text: &str) -> Result<BTreeMap<String, McpServerConfig>, McpJsonError> {
    read_with(text, &|name| env::var(name).ok())
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn read_with(text: &str, lookup: Lookup<'_>) -> Result<BTreeMap<String, McpServerConfig>, McpJsonError> {
    // Editors on Windows like to begin files with a byte order mark.
    let document: Value = serde_json::from_str(&as_json(text.trim_start_matches('\u{feff}')))?;
    let servers = ["/mcpServers", "/servers", "/mcp/servers"]
        .iter()
        .find_map(|place| document.pointer(place)?.as_object())
        .ok_or(McpJsonError::NoServers)?;
    let mut read = BTreeMap::new();
    for (name, entry) in servers {
        let fault = |detail| McpJsonError::Server { server: name.clone(), detail };
        let entry = entry.as_object().ok_or_else(|| fault("an object is needed".to_owned()))?;
        if entry.get("disabled") == Some(&Value::Bool(true)) {
            continue;
        }
        let server = server(entry, lookup).map_err(fault)?;
        server.validate().map_err(fault)?;
        read.insert(name.clone(), server);
    }
    Ok(read)
}

fn server(entry: &Map<String, Value>, lookup: Lookup<'_>) -> Result<McpServerConfig, String> {
    Ok(McpServerConfig {
        command: text(entry, "command", lookup)?,
        args: texts(entry, "args", lookup)?,
        env: pairs(entry, "env", lookup)?,
        cwd: text(entry, "cwd", lookup)?.map(Into::into),
        url: text(entry, "url", lookup)?,
        headers: pairs(entry, "headers", lookup)?,
        trusted: match entry.get("trusted") {
            None => false,
            Some(Value::Bool(trusted)) => *trusted,
            Some(_) => return Err("`trusted` must be true or false".to_owned()),
        },
        tools: tools(entry)?,
        withheld: missing(entry, lookup),
        ..McpServerConfig::default()
    })
}

fn text(entry: &Map<String, Value>, key: &str, lookup: Lookup<'_>) -> Result<Option<String>, String> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => expand(text, lookup).map(Some),
        Some(_) => Err(format!("`{key}` must be a text")),
    }
}

fn texts(entry: &Map<String, Value>, key: &str, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let Some(value) = entry.get(key) else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(|| format!("`{key}` must be a list of texts"))?;
    items.iter().map(|item| scalar(key, item, lookup)).collect()
}

fn pairs(
    entry: &Map<String, Value>,
    key: &str,
    lookup: Lookup<'_>,
) -> Result<BTreeMap<String, String>, String> {
    let Some(value) = entry.get(key) else { return Ok(BTreeMap::new()) };
    let fields = value.as_object().ok_or_else(|| format!("`{key}` must be an object of texts"))?;
    fields.iter().map(|(name, value)| Ok((name.clone(), scalar(key, value, lookup)?))).collect()
}

/// People write ports and flags without quotes; the meaning is clear.
fn scalar(key: &str, value: &Value, lookup: Lookup<'_>) -> Result<String, String> {
    match value {
        Value::String(text) => expand(text, lookup),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("`{key}` holds something that is not a text")),
    }
}

/// Other programs keep a list under `tools`; only an object is ours.
fn tools(entry: &Map<String, Value>) -> Result<BTreeMap<String, McpToolConfig>, String> {
    match entry.get("tools") {
        Some(tools @ Value::Object(_)) => {
            serde_json::from_value(tools.clone()).map_err(|error| format!("`tools`: {error}"))
        }
        _ => Ok(BTreeMap::new()),
    }
}

/// What a server would have to be started with and is not there. One that is started with an empty key fails
/// much later and says much less.
fn missing(entry: &Map<String, Value>, lookup: Lookup<'_>) -> Option<String> {
    let read = ["command", "args", "env", "cwd", "url", "headers"].iter().filter_map(|key| entry.get(*key));
    let texts = read.flat_map(|value| match value {
        Value::Array(items) => items.iter().collect::<Vec<_>>(),
        Value::Object(fields) => fields.values().collect(),
        one => vec![one],
    });
    texts.filter_map(Value::as_str).find_map(|text| missing_in(text, lookup))
}

fn missing_in(text: &str, lookup: Lookup<'_>) -> Option<String> {
    let names = |opening| text.split(opening).skip(1).filter_map(|behind| behind.split('}').next());
    if let Some(name) = names(ENV).find(|name| lookup(name).is_none()) {
        return Some(format!("the environment variable {name} is not set"));
    }
    names("${input:").next().map(|name| {
        format!(
            "`${{input:{name}}}` is what VS Code asks for when it starts the server: name an environment variable \
             instead, as in `${{env:NAME}}`"
        )
    })
}

/// What an environment variable is named behind.
const ENV: &str = "${env:";

/// Replaces `${env:NAME}`. One that is not set stays as it is: see [`missing`].
fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(ENV) {
        expanded.push_str(before);
        let (name, tail) = after.split_once('}').ok_or_else(|| format!("`{ENV}` is not closed"))?;
        expanded.push_str(&lookup(name).unwrap_or_else(|| format!("{ENV}{name}}}")));
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Effect;

    fn read(text: &str) -> Result<BTreeMap<String, McpServerConfig>, McpJsonError> {
        read_with(text, &|name| (name == "TOKEN").then(|| "t0k3n".to_owned()))
    }

    #[test]
    fn claude_desktop_and_cursor_lists_are_read() {
        let servers = read(
            r#"{"mcpServers": {
                "files": {"command": "npx", "args": ["-y", "server", 8080], "env": {"DEBUG": true}},
                "web": {"type": "http", "url": "https://example.com/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}},
                "off": {"command": "x", "disabled": true}
            }, "theme": "dark"}"#,
        )
        .unwrap();
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["files", "web"]);
        assert_eq!(servers["files"].args, ["-y", "server", "8080"]);
        assert_eq!(servers["files"].env["DEBUG"], "true");
        assert_eq!(servers["web"].headers["Authorization"], "Bearer t0k3n");
    }

    #[test]
    fn vs_code_lists_are_read_and_foreign_placeholders_stay() {
        let servers = read(
            r#"{"inputs": [], "servers": {"a": {"type": "stdio", "command": "a", "env": {"K": "${workspaceFolder}"}, "tools": ["*"]}}}"#,
        )
        .unwrap();
        assert_eq!(servers["a"].env["K"], "${workspaceFolder}");
        assert!(servers["a"].tools.is_empty());
    }

    #[test]
    fn a_server_that_something_is_missing_for_is_withheld_and_the_others_are_not() {
        let servers = read(
            r#"{"mcpServers": {
                "asks": {"command": "a", "env": {"K": "${input:key}"}},
                "unset": {"url": "https://${env:NONE}/mcp", "headers": {"Authorization": "${env:TOKEN}"}},
                "well": {"command": "a", "env": {"K": "${env:TOKEN}"}}
            }}"#,
        )
        .unwrap();
        assert!(servers["asks"].withheld.as_ref().unwrap().contains("${input:key}"));
        assert_eq!(servers["unset"].withheld.as_deref(), Some("the environment variable NONE is not set"));
        assert_eq!(servers["well"].withheld, None);
    }

    #[test]
    fn a_list_as_vs_code_keeps_it_has_comments_and_commas() {
        let servers = read(
            r#"{
                // Asked for once.
                "inputs": [{"type": "promptString", "id": "key", "password": true,},],
                "servers": {
                    "web": {"type": "http", "url": "https://example.com/mcp", /* remote */},
                    // "old": {"command": "old"},
                },
            }"#,
        )
        .unwrap();
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["web"]);
        assert_eq!(servers["web"].url.as_deref(), Some("https://example.com/mcp"));
    }

    #[test]
    fn the_settings_of_vs_code_are_read() {
        let servers = read(
            r#"{
                "editor.fontSize": 13, // Whatever else is set.
                "mcp": {"inputs": [], "servers": {"web": {"url": "https://example.com/mcp"}}},
            }"#,
        )
        .unwrap();
        assert_eq!(servers["web"].url.as_deref(), Some("https://example.com/mcp"));
    }

    #[test]
    fn our_own_keys_are_understood() {
        let servers = read(
            r#"{"mcpServers": {"a": {"command": "a", "trusted": true, "tools": {"get": {"effect": "read-only"}}}}}"#,
        )
        .unwrap();
        assert!(servers["a"].trusted);
        assert_eq!(servers["a"].tools["get"].effect, Effect::ReadOnly);
    }

    #[test]
    fn errors_name_the_server_and_the_key() {
        for (text, expected) in [
            ("nonsense", "not JSON"),
            ("[]", "mcpServers"),
            (r#"{"mcpServers": {"a": 1}}"#, "'a': an object"),
            (r#"{"mcpServers": {"a": {}}}"#, "'a': one of `command` and `url`"),
            (r#"{"mcpServers": {"a": {"command": 1}}}"#, "'a': `command` must be a text"),
            (r#"{"mcpServers": {"a": {"command": "a", "args": "x"}}}"#, "'a': `args`"),
            (r#"{"mcpServers": {"a": {"command": "${env:TOKEN"}}}"#, "not closed"),
            (r#"{"mcpServers": {"a": {"command": "a", "tools": {"t": {"effect": "safe"}}}}}"#, "`tools`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
