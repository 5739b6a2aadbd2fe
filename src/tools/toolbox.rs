//! All tools of this process, and what a task is offered of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use thiserror::Error;

use super::allowance::permits;
use super::labels::LabelRules;
use super::mcp::{Limits, Server};
use super::{Secrets, ServerStatus, Tool, ToolDescription, ToolsConfig, app, named};
use crate::task::{Labels, ToolAllowance};

/// Why there are no tools to offer.
#[derive(Debug, Error)]
pub enum ToolboxError {
    /// Two tools share a name. Never resolved silently: a plan would call the wrong one.
    #[error("Tool name collision detected: {}", .0.join(", "))]
    Collision(Vec<String>),
    /// The configuration of an MCP server contradicts itself.
    #[error("MCP server '{server}': {detail}")]
    Config {
        /// Which server.
        server: String,
        /// What is wrong.
        detail: String,
    },
    /// A secret has no value that could be used.
    #[error("secret '{name}': {problem}")]
    Secret {
        /// Which one.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The workspace cannot be opened.
    #[error("the workspace '{}' cannot be opened", path.display())]
    Workspace {
        /// Where it should be.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// All tools of this process.
#[derive(Default)]
pub struct Toolbox {
    tools: Vec<Arc<dyn Tool>>,
    servers: Vec<Arc<Server>>,
    secrets: Secrets,
    labels: LabelRules,
    /// What is recorded of their labels; every task may use all of them then.
    recorded: Option<BTreeMap<String, Labels>>,
}

impl Toolbox {
    /// Opens the built-in toolkits and connects to all MCP servers at once. A server that cannot
    /// be reached is logged, listed as down and tried again later; the others do not wait.
    ///
    /// # Errors
    /// [`ToolboxError::Config`] and [`ToolboxError::Workspace`]; never because of a server.
    pub async fn open(config: &ToolsConfig) -> Result<Self, ToolboxError> {
        Self::open_with(config, Secrets::default()).await
    }

    /// The same, with secrets that tools may be called with and servers are configured with.
    ///
    /// # Errors
    /// As for [`Toolbox::open`].
    pub async fn open_with(config: &ToolsConfig, secrets: Secrets) -> Result<Self, ToolboxError> {
        let tools = Self::unconnected(config, secrets)?;
        tools.connect().await;
        Ok(tools)
    }

    /// The same before any server is connected: see [`Toolbox::connect`].
    ///
    /// # Errors
    /// As for [`Toolbox::open`].
    pub fn unconnected(config: &ToolsConfig, secrets: Secrets) -> Result<Self, ToolboxError> {
        config.validate()?;
        let tools = app::tools(config)?;
        let limits = Limits {
            call_timeout: Duration::from_millis(config.call_timeout_ms),
            max_output_bytes: config.max_output_bytes,
        };
        let mut servers = Vec::new();
        for (name, server) in &config.mcp {
            let server = server
                .with_secrets(&secrets)
                .map_err(|detail| ToolboxError::Config { server: name.clone(), detail })?;
            servers.push(Server::new(name.clone(), server, limits, secrets.clone()));
        }
        Ok(Self { tools, servers, secrets, labels: LabelRules::of(config), recorded: None })
    }

    /// Connects to all MCP servers at once, and waits until each is connected or down.
    pub async fn connect(&self) {
        join_all(self.servers.iter().map(Server::connect)).await;
    }

    /// Waits until each MCP server that may have this tool, or any, has been heard of once: it is
    /// connected, or known to be down. From then on this returns at once.
    pub async fn settled(&self, tool: Option<&str>) {
        let may_have = |server: &&Arc<Server>| tool.is_none_or(|tool| server.may_have(tool));
        join_all(self.servers.iter().filter(may_have).map(Server::settled)).await;
    }

    /// The servers that have not been heard of yet, with how long they are waited for.
    pub fn awaited(&self) -> Vec<(String, Duration)> {
        self.servers.iter().filter_map(|server| server.awaited()).collect()
    }

    /// A toolbox of exactly these tools, without servers.
    ///
    /// # Errors
    /// [`ToolboxError::Collision`] if two of them share a name.
    pub fn with_tools(tools: Vec<Arc<dyn Tool>>) -> Result<Self, ToolboxError> {
        refuse_collisions(&tools)?;
        Ok(Self { tools, ..Self::default() })
    }

    /// A toolbox of exactly these tools, whatever a task is allowed and whatever is declared: both were
    /// decided when they were recorded.
    ///
    /// # Errors
    /// [`ToolboxError::Collision`] if two of them share a name.
    pub fn recorded(
        tools: Vec<Arc<dyn Tool>>,
        labels: BTreeMap<String, Labels>,
    ) -> Result<Self, ToolboxError> {
        Ok(Self { recorded: Some(labels), ..Self::with_tools(tools)? })
    }

    /// The tools that a task with this allowance may use, sorted by name.
    ///
    /// # Errors
    /// [`ToolboxError::Collision`] if two of them share a name.
    pub fn offered(&self, allowance: &ToolAllowance) -> Result<Vec<Arc<dyn Tool>>, ToolboxError> {
        let mut tools: Vec<_> = self.permitted(allowance).map(|tool| self.guarded(tool)).collect();
        refuse_collisions(&tools)?;
        tools.sort_by(|a, b| a.description().name.cmp(&b.description().name));
        Ok(tools)
    }

    /// The tool of this name, if a task with this allowance may use it. A name that two tools
    /// share names none of them.
    pub fn find(&self, name: &str, allowance: &ToolAllowance) -> Option<Arc<dyn Tool>> {
        let mut named = self.permitted(allowance).filter(|tool| tool.description().name == name);
        let found = named.next()?;
        named.next().is_none().then(|| self.guarded(found))
    }

    /// What is to be known of a tool besides its effect, as the operator says now.
    pub fn labels(&self, tool: &ToolDescription) -> Labels {
        match &self.recorded {
            Some(labels) => labels.get(&tool.name).copied().unwrap_or_default(),
            None => self.labels.labels(tool),
        }
    }

    /// The same for one call. A fetch of an address that a person wrote goes outward and tells nobody
    /// anything: the model could choose no letter of it. `said` is what people wrote.
    pub fn labels_of_call(&self, tool: &ToolDescription, arguments: &Value, said: &[String]) -> Labels {
        let labels = self.labels(tool);
        let address = named::address_of(tool, arguments).filter(|_| labels.outward);
        let is_named = address.is_some_and(|address| said.iter().any(|text| named::names(text, address)));
        Labels { outward: labels.outward && !is_named, ..labels }
    }

    /// Whether [`Toolbox::labels_of_call`] depends on what people wrote.
    pub fn may_be_named(&self, tool: &ToolDescription, arguments: &Value) -> bool {
        named::address_of(tool, arguments).is_some()
    }

    /// How the MCP servers are doing, in the order of their names.
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(Server::status).collect()
    }

    /// Ends all MCP servers and waits until their processes are gone. Calls in flight fail.
    pub async fn close(&self) {
        join_all(self.servers.iter().map(|server| server.close())).await;
    }

    /// What is recorded is compared as it was written down.
    fn guarded(&self, tool: Arc<dyn Tool>) -> Arc<dyn Tool> {
        if self.recorded.is_some() { tool } else { self.secrets.guard(tool) }
    }

    /// All tools there are, whoever may use them; nothing where they are recorded ones.
    pub(super) fn all(&self) -> Option<Vec<Arc<dyn Tool>>> {
        self.recorded.is_none().then(|| self.here().collect())
    }

    fn here(&self) -> impl Iterator<Item = Arc<dyn Tool>> {
        self.tools.iter().cloned().chain(self.servers.iter().flat_map(Server::tools))
    }

    fn permitted(&self, allowance: &ToolAllowance) -> impl Iterator<Item = Arc<dyn Tool>> {
        self.here().filter(|tool| self.recorded.is_some() || permits(allowance, tool.description()))
    }
}

fn refuse_collisions(tools: &[Arc<dyn Tool>]) -> Result<(), ToolboxError> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> = tools
        .iter()
        .map(|tool| tool.description().name.clone())
        .filter(|name| !seen.insert(name.clone()))
        .collect();
    if twice.is_empty() { Ok(()) } else { Err(ToolboxError::Collision(twice.into_iter().collect())) }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.tools.iter().map(|tool| tool.description().name.as_str()).collect();
        f.debug_struct("Toolbox").field("tools", &names).field("servers", &self.servers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{AllowedTools, Effect, Mention};
    use crate::tools::{CallContext, McpServerConfig, Origin, ToolDescription, ToolError, ToolOutput};

    struct Named(ToolDescription);

    #[async_trait]
    impl Tool for Named {
        fn description(&self) -> &ToolDescription {
            &self.0
        }

        async fn call(&self, _: Value, _: CallContext) -> Result<ToolOutput, ToolError> {
            Ok(ToolOutput::ok("called"))
        }
    }

    fn named(name: &str, origin: Origin) -> Arc<dyn Tool> {
        Arc::new(Named(ToolDescription {
            name: name.to_owned(),
            description: String::new(),
            schema: json!({}).into(),
            effect: Effect::Unsafe,
            origin,
        }))
    }

    fn app(toolkit: &str, name: &str) -> Arc<dyn Tool> {
        named(name, Origin::App { toolkit: toolkit.to_owned() })
    }

    fn mcp(server: &str, tool: &str) -> Arc<dyn Tool> {
        named(&format!("{server}_{tool}"), Origin::Mcp { server: server.to_owned(), tool: tool.to_owned() })
    }

    fn toolbox() -> Toolbox {
        Toolbox::with_tools(vec![
            mcp("git", "push"),
            mcp("git", "pull"),
            mcp("web", "get"),
            app("workspace", "workspace_read"),
            app("workspace", "workspace_list"),
            app("clock", "clock_now"),
        ])
        .unwrap()
    }

    fn offered(allowance: &ToolAllowance) -> Vec<String> {
        let tools = toolbox().offered(allowance).unwrap();
        tools.iter().map(|tool| tool.description().name.clone()).collect()
    }

    fn mention(value: Value) -> Mention {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn everything_is_offered_in_order_where_nothing_is_said() {
        let all = ["clock_now", "git_pull", "git_push", "web_get", "workspace_list", "workspace_read"];
        assert_eq!(offered(&ToolAllowance::default()), all);
        let other = vec![mention(json!({"type": "agent", "name": "a", "agentId": "a"}))];
        assert_eq!(offered(&ToolAllowance { mentions: other, ..ToolAllowance::default() }), all);
    }

    #[test]
    fn an_allowance_narrows_servers_and_toolkits() {
        let servers = BTreeMap::from([("git".to_owned(), AllowedTools { tools: vec!["pull".to_owned()] })]);
        let allowance = ToolAllowance {
            allowed_mcp_servers: Some(servers),
            allowed_app_default_toolkit: Some(vec!["clock".to_owned(), "workspace_read".to_owned()]),
            ..ToolAllowance::default()
        };
        assert_eq!(offered(&allowance), ["clock_now", "git_pull", "workspace_read"]);
        let none = ToolAllowance {
            allowed_mcp_servers: Some(BTreeMap::new()),
            allowed_app_default_toolkit: Some(Vec::new()),
            ..ToolAllowance::default()
        };
        assert!(offered(&none).is_empty());
    }

    #[test]
    fn lists_of_the_configuration_narrow_what_is_offered() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut allowance =
            ToolAllowance { only: vec![list(&["workspace_*", "git_push"])], ..ToolAllowance::default() };
        assert_eq!(offered(&allowance), ["git_push", "workspace_list", "workspace_read"]);
        allowance.only.push(list(&["workspace_read", "clock_*"]));
        assert_eq!(offered(&allowance), ["workspace_read"]);
        allowance.only.push(Vec::new());
        assert!(offered(&allowance).is_empty());
    }

    #[test]
    fn only_what_is_mentioned_is_offered_and_only_if_it_is_allowed() {
        let mentions = vec![
            mention(json!({"type": "mcpTool", "name": "push", "serverId": "git"})),
            mention(json!({"type": "mcpServer", "name": "The web", "serverId": "web"})),
            mention(json!({"type": "defaultTool", "name": "clock_now", "label": "Clock"})),
        ];
        let mut allowance = ToolAllowance { mentions, ..ToolAllowance::default() };
        assert_eq!(offered(&allowance), ["clock_now", "git_push", "web_get"]);
        allowance.allowed_app_default_toolkit = Some(Vec::new());
        assert_eq!(offered(&allowance), ["git_push", "web_get"]);
    }

    #[test]
    fn a_collision_is_told_and_never_resolved() {
        let twice = || {
            vec![
                app("a", "b_c"),
                mcp("b", "c"),
                app("x", "y"),
                mcp("x", "y"),
                named("y", Origin::App { toolkit: "z".to_owned() }),
            ]
        };
        let error = Toolbox::with_tools(twice()).unwrap_err();
        assert_eq!(error.to_string(), "Tool name collision detected: b_c, y");
        let open = Toolbox { tools: twice(), ..Toolbox::default() };
        assert!(matches!(open.offered(&ToolAllowance::default()), Err(ToolboxError::Collision(_))));
        assert!(open.find("b_c", &ToolAllowance::default()).is_none());
        let only_app =
            ToolAllowance { allowed_mcp_servers: Some(BTreeMap::new()), ..ToolAllowance::default() };
        assert!(open.find("b_c", &only_app).is_some());
    }

    #[test]
    fn a_tool_that_is_not_offered_is_not_found() {
        let none =
            ToolAllowance { allowed_app_default_toolkit: Some(Vec::new()), ..ToolAllowance::default() };
        assert!(toolbox().find("clock_now", &ToolAllowance::default()).is_some());
        assert!(toolbox().find("clock_now", &none).is_none());
        assert!(toolbox().find("no_such_tool", &ToolAllowance::default()).is_none());
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_started_is_listed_as_down_and_harms_nobody() {
        let broken =
            McpServerConfig { command: Some("/no/such/program".to_owned()), ..McpServerConfig::default() };
        let config =
            ToolsConfig { mcp: BTreeMap::from([("broken".to_owned(), broken)]), ..ToolsConfig::default() };
        let toolbox = Toolbox::open(&config).await.unwrap();
        let status = toolbox.servers().remove(0);
        assert!(!status.connected && status.last_error.unwrap().contains("/no/such/program"));
        assert_eq!(toolbox.offered(&ToolAllowance::default()).unwrap().len(), 12);
        toolbox.close().await;
    }
}
