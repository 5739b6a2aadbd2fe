//! What an operator may set: the workspace, limits, and the MCP servers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{LabelsConfig, Secrets, ToolboxError};
use crate::task::Effect;

/// The `[tools]` table of the configuration file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ToolsConfig {
    /// The directory that the workspace tools work in; the current directory if absent.
    pub workspace: Option<PathBuf>,
    /// Whether `http_fetch` may reach private, loopback and link-local addresses.
    pub allow_private_addresses: bool,
    /// Offers `http_request`, which writes to the web; it is not there otherwise.
    pub http_request: Option<HttpRequestConfig>,
    /// How long one call may take at most, in milliseconds.
    pub call_timeout_ms: u64,
    /// How large one result may be at most, in bytes of JSON.
    pub max_output_bytes: u64,
    /// What is to be known of tools, by toolkit or by the full name of a tool.
    pub labels: BTreeMap<String, LabelsConfig>,
    /// MCP servers by name.
    pub mcp: BTreeMap<String, McpServerConfig>,
}

/// What is allowed to `http_request`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpRequestConfig {
    /// What calling it does to the world; unsafe if nothing is said. `idempotent` is right where all
    /// hosts heed the header `Idempotency-Key`.
    pub effect: Effect,
    /// Hosts that are written to: `api.example.com`, or `*.example.com`. All of them if nothing is
    /// said.
    pub hosts: Vec<String>,
}

impl HttpRequestConfig {
    /// Whether this host may be written to.
    pub(super) fn allows(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| is_host(host, pattern))
    }
}

/// Whether a host is the one that is named, or one beneath `*.example.com`.
pub(super) fn is_host(host: &str, pattern: &str) -> bool {
    let (host, pattern) = (host.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    match pattern.strip_prefix('*') {
        Some(ending) => host.ends_with(ending),
        None => host == pattern,
    }
}

/// One MCP server: a program that is started, or an address that is called.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct McpServerConfig {
    /// The program to start and talk to over its standard input and output.
    pub command: Option<String>,
    /// The program's arguments.
    pub args: Vec<String>,
    /// The program's environment. It receives these and a minimal PATH, HOME and LANG; nothing
    /// else of Longhaul's own environment, which may hold keys.
    pub env: BTreeMap<String, String>,
    /// The program's working directory; Longhaul's own if absent.
    pub cwd: Option<PathBuf>,
    /// The address to call over streamable HTTP.
    pub url: Option<String>,
    /// Headers that every request to `url` carries.
    pub headers: BTreeMap<String, String>,
    /// Whether the server's own word on the effects of its tools is believed.
    pub trusted: bool,
    /// What is to be known of all its tools besides.
    pub labels: LabelsConfig,
    /// What is known of single tools, by the server's name for them. Overrules the server.
    pub tools: BTreeMap<String, McpToolConfig>,
    /// How long connecting may take, in milliseconds, until its tools are listed.
    pub connect_timeout_ms: u64,
    /// How long one call may take at most, in milliseconds; as for all tools if absent.
    pub call_timeout_ms: Option<u64>,
    /// Why it is never started, where something is missing that it would have to be started with.
    #[serde(skip)]
    pub withheld: Option<String>,
}

/// What the operator declares about one tool of an MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct McpToolConfig {
    /// What calling it does to the world.
    pub effect: Effect,
    /// The full name of a read-only tool that can tell how a call ended that was cut off. It is
    /// asked before a person is.
    #[serde(default)]
    pub reconcile: Option<String>,
}

impl ToolsConfig {
    /// Says what is contradictory, before anything is started.
    ///
    /// # Errors
    /// [`ToolboxError::Config`] for an MCP server without exactly one of `command` and `url`.
    pub fn validate(&self) -> Result<(), ToolboxError> {
        for (name, server) in &self.mcp {
            server.validate().map_err(|detail| ToolboxError::Config { server: name.clone(), detail })?;
        }
        Ok(())
    }
}

impl McpServerConfig {
    /// What is contradictory about it.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.withheld.is_some() {
            return Ok(());
        }
        match (&self.command, &self.url) {
            (Some(command), None) if command.trim().is_empty() => Err("`command` is empty".to_owned()),
            (None, None) => Err("one of `command` and `url` is needed".to_owned()),
            (Some(_), Some(_)) => Err("only one of `command` and `url` may be given".to_owned()),
            (None, Some(url)) => check_url(url),
            (Some(_), None) => Ok(()),
        }
    }

    /// The same with the values of secrets in its headers and its environment.
    pub(super) fn with_secrets(&self, secrets: &Secrets) -> Result<Self, String> {
        let resolve = |pairs: &BTreeMap<String, String>| {
            let resolved = pairs.iter().map(|(name, text)| Ok((name.clone(), secrets.resolve(text)?)));
            resolved.collect::<Result<BTreeMap<_, _>, String>>()
        };
        Ok(Self { env: resolve(&self.env)?, headers: resolve(&self.headers)?, ..self.clone() })
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// `stdio` or `http`.
    pub(super) fn transport(&self) -> &'static str {
        if self.url.is_some() { "http" } else { "stdio" }
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("`url` cannot be read: {error}"))?;
    match parsed.scheme() {
        "http" | "https" => Ok(()),
        other => Err(format!("`url` begins with {other}:, only http: and https: are spoken")),
    }
}

impl Default for ToolsConfig {
    fn default() -> Self {
        Self {
            workspace: None,
            allow_private_addresses: false,
            http_request: None,
            call_timeout_ms: 120_000,
            max_output_bytes: 8 * 1024 * 1024,
            labels: BTreeMap::new(),
            mcp: BTreeMap::new(),
        }
    }
}

impl Default for McpServerConfig {
    fn default() -> Self {
        Self {
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            url: None,
            headers: BTreeMap::new(),
            trusted: false,
            labels: LabelsConfig::default(),
            tools: BTreeMap::new(),
            connect_timeout_ms: 30_000,
            call_timeout_ms: None,
            withheld: None,
        }
    }
}

/// Shows the names of environment variables and headers, never their values: those are keys.
impl fmt::Debug for McpServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServerConfig")
            .field("command", &self.command)
            .field("args", &self.args.len())
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("url", &self.url)
            .field("headers", &self.headers.keys())
            .field("trusted", &self.trusted)
            .field("tools", &self.tools)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("call_timeout_ms", &self.call_timeout_ms)
            .field("withheld", &self.withheld)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ToolsConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_empty_table_has_the_documented_defaults() {
        let config = read("");
        assert_eq!(config, ToolsConfig::default());
        assert!(!config.allow_private_addresses);
        assert_eq!((config.call_timeout_ms, config.max_output_bytes), (120_000, 8_388_608));
    }

    #[test]
    fn servers_and_their_tools_are_read() {
        let config = read(
            "[mcp.everything]\ncommand = 'npx'\nargs = ['-y', 'x']\ntrusted = true\n\
             [mcp.everything.tools.echo]\neffect = 'read-only'",
        );
        let server = &config.mcp["everything"];
        assert_eq!(server.tools["echo"].effect, Effect::ReadOnly);
        assert_eq!(server.connect_timeout_ms, 30_000);
        config.validate().unwrap();
    }

    #[test]
    fn unknown_keys_are_errors_and_not_typos_that_pass() {
        assert!(toml::from_str::<ToolsConfig>("allowPrivatAddresses = true").is_err());
        assert!(toml::from_str::<ToolsConfig>("[mcp.a]\ncommand = 'x'\ntrust = true").is_err());
    }

    #[test]
    fn a_server_is_a_program_or_an_address() {
        for (text, expected) in [
            ("[mcp.a]", "one of `command` and `url` is needed"),
            ("[mcp.a]\ncommand = 'x'\nurl = 'http://x/'", "only one of"),
            ("[mcp.a]\nurl = 'ftp://x/'", "only http: and https:"),
            ("[mcp.a]\nurl = 'nonsense'", "cannot be read"),
        ] {
            let error = read(text).validate().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("'a'"), "{error}");
        }
    }

    #[test]
    fn keys_never_reach_the_log() {
        let config = read(
            "[mcp.a]\ncommand = 'x'\nargs = ['--key=secret1']\nenv = {TOKEN = 'secret2'}\nheaders = {Authorization = 'secret3'}",
        );
        let shown = format!("{config:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("secret"), "{shown}");
    }
}
