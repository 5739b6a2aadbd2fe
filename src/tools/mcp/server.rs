//! One configured server: connected, down, or on its way back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::Tool as RemoteTool;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::ServerStatus;
use super::backoff::{Failures, Verdict};
use super::changes::Changes;
use super::connection::{self, Connection};
use super::naming::may_name;
use super::tool::{McpTool, describe};
use crate::tools::text::without_nul;
use crate::tools::{CallContext, McpServerConfig, Secrets, Tool, ToolDescription, ToolError, ToolOutput};

/// A call waits so long for the next attempt to connect. Longer waits are left to the task's own
/// retry, which holds no slot meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// What holds for all servers.
#[derive(Debug, Clone, Copy)]
pub(in crate::tools) struct Limits {
    pub(in crate::tools) call_timeout: Duration,
    pub(in crate::tools) max_output_bytes: u64,
}

/// One configured server.
pub(in crate::tools) struct Server {
    name: String,
    config: McpServerConfig,
    limits: Limits,
    /// What must not be said of it.
    secrets: Secrets,
    state: Mutex<State>,
    /// Held while connecting, so that many calls make one attempt.
    dialing: Arc<tokio::sync::Mutex<()>>,
    closing: CancellationToken,
}

/// The right to connect.
type Alone = tokio::sync::OwnedMutexGuard<()>;

#[derive(Default)]
struct State {
    link: Option<Arc<Connection>>,
    /// As of the last connection; kept while the server is down, so that plans can be made.
    tools: Vec<ToolDescription>,
    failures: Failures,
    last_error: Option<String>,
}

impl Server {
    pub(in crate::tools) fn new(
        name: String,
        config: McpServerConfig,
        limits: Limits,
        secrets: Secrets,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            config,
            limits,
            secrets,
            state: Mutex::default(),
            dialing: Arc::default(),
            closing: CancellationToken::new(),
        })
    }

    /// Connects for the first time. A failure is remembered and tried again later.
    pub(in crate::tools) async fn connect(self: &Arc<Self>) {
        if let Err(error) = self.dial().await
            && !self.closing.is_cancelled()
        {
            tracing::warn!(server = self.name, %error, "the MCP server is down");
        }
    }

    /// Waits until it is connected or down, if it is neither.
    pub(in crate::tools) async fn settled(self: &Arc<Self>) {
        if self.awaited().is_some() {
            // Whoever connects first says why it failed.
            let _ = self.dial().await;
        }
    }

    /// Whether a tool of this name may be its own: all of them begin with its name.
    pub(in crate::tools) fn may_have(&self, tool: &str) -> bool {
        may_name(&self.name, tool)
    }

    /// Its name and how long it is waited for, as long as it is neither connected nor down.
    pub(in crate::tools) fn awaited(&self) -> Option<(String, Duration)> {
        let state = self.state();
        let is_known = state.live().is_some() || state.last_error.is_some();
        (!is_known).then(|| (self.name.clone(), self.config.connect_timeout()))
    }

    /// Its tools as of the last connection. A server that is down is tried again in the
    /// background when its time has come, so that its tools appear by themselves.
    pub(in crate::tools) fn tools(self: &Arc<Self>) -> Vec<Arc<dyn Tool>> {
        self.revive();
        let descriptions = self.state().tools.clone();
        descriptions.into_iter().map(|tool| McpTool::shared(Arc::clone(self), tool)).collect()
    }

    pub(in crate::tools) fn status(self: &Arc<Self>) -> ServerStatus {
        let state = self.state();
        ServerStatus {
            name: self.name.clone(),
            transport: self.config.transport(),
            connected: state.live().is_some(),
            tools: state.tools.iter().map(|tool| tool.name.clone()).collect(),
            last_error: state.last_error.clone(),
        }
    }

    /// Ends the server and waits until its processes are gone.
    pub(in crate::tools) async fn close(&self) {
        self.closing.cancel();
        // Whoever is connecting just now notices and gives up.
        let _no_more = self.dialing.lock().await;
        let link = self.state().link.take();
        if let Some(link) = link {
            link.close().await;
        }
    }

    /// What the operator says who can tell how a call of this tool ended.
    pub(super) fn reconciler(&self, tool: &str) -> Option<String> {
        self.config.tools.get(tool)?.reconcile.clone()
    }

    /// Calls a tool of this server.
    pub(super) async fn call(
        self: &Arc<Self>,
        tool: &str,
        arguments: Map<String, Value>,
        context: CallContext,
    ) -> Result<ToolOutput, ToolError> {
        let most = self.config.call_timeout_ms.map_or(self.limits.call_timeout, Duration::from_millis);
        let allowed = context.timeout.min(most);
        let deadline = tokio::time::Instant::now() + allowed;
        let link = tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Err(ToolError::HeldBack),
            link = tokio::time::timeout_at(deadline, self.link()) => match link {
                Ok(link) => link?,
                Err(_) => return Err(self.unreachable("still connecting")),
            },
        };
        let limit = context.max_output_bytes.min(self.limits.max_output_bytes);
        // Dropping the call's future tells the server that it is cancelled.
        tokio::select! {
            biased;
            outcome = link.call(tool, arguments, &context, limit) => {
                outcome.map_err(|error| self.named(error))
            }
            () = context.cancel.cancelled() => Err(ToolError::Cancelled),
            () = tokio::time::sleep_until(deadline) => {
                self.examine(link);
                Err(ToolError::Timeout(allowed))
            }
        }
    }

    /// A live connection, made now if need be and allowed.
    async fn link(self: &Arc<Self>) -> Result<Arc<Connection>, ToolError> {
        loop {
            let verdict = {
                let state = self.state();
                if let Some(link) = state.live() {
                    return Ok(link);
                }
                state.failures.verdict(Instant::now())
            };
            match verdict {
                Verdict::Try => return self.dial().await.map_err(|error| self.unreachable(&error)),
                Verdict::Wait(wait) if wait <= PATIENCE => tokio::time::sleep(wait).await,
                Verdict::Wait(wait) => {
                    return Err(self.unreachable(&format!("it is tried again in {} s", wait.as_secs() + 1)));
                }
                Verdict::Open(wait) => {
                    let detail = format!("it failed too often and rests for {} s", wait.as_secs() + 1);
                    return Err(self.unreachable(&detail));
                }
            }
        }
    }

    /// Connects in a task of its own, so that a caller who gives up does not end an attempt
    /// that others wait for.
    async fn dial(self: &Arc<Self>) -> Result<Arc<Connection>, String> {
        let server = Arc::clone(self);
        let dialing = async move {
            let alone = Arc::clone(&server.dialing).lock_owned().await;
            server.dial_once(alone).await
        };
        match tokio::spawn(dialing).await {
            Ok(outcome) => outcome,
            Err(error) => Err(format!("connecting ended early: {error}")),
        }
    }

    async fn dial_once(self: &Arc<Self>, _alone: Alone) -> Result<Arc<Connection>, String> {
        if let Some(missing) = &self.config.withheld {
            return Err(self.note_failure(missing.clone()));
        }
        {
            let state = self.state();
            if let Some(link) = state.live() {
                return Ok(link);
            }
            // Another caller's attempt may have failed while this one waited for its turn.
            if state.failures.verdict(Instant::now()) != Verdict::Try {
                return Err(state.last_error.clone().unwrap_or_default());
            }
        }
        let opened = tokio::select! {
            biased;
            () = self.closing.cancelled() => return Err("the tools are being closed".to_owned()),
            opened = connection::open(&self.name, &self.config, self.limits.max_output_bytes, &self.secrets) => opened,
        };
        let (opened, changes) =
            opened.map_err(|error| self.note_failure(self.secrets.redacted(without_nul(error))))?;
        let tools = self.described(&opened.tools);
        let server = Arc::downgrade(self);
        let link = Arc::new(opened.watch(move || {
            if let Some(server) = server.upgrade() {
                server.lost();
            }
        }));
        let mut state = self.state();
        state.tools = tools;
        state.link = Some(Arc::clone(&link));
        tracing::debug!(server = self.name, tools = state.tools.len(), "the MCP server is connected");
        drop(state);
        self.follow(&link, changes);
        Ok(link)
    }

    /// Reads the list of tools again whenever the server says that it has changed.
    fn follow(self: &Arc<Self>, link: &Arc<Connection>, mut changes: Changes) {
        let (server, link) = (Arc::downgrade(self), Arc::downgrade(link));
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                let (Some(server), Some(link)) = (server.upgrade(), link.upgrade()) else { return };
                server.relist(&link).await;
            }
        });
    }

    /// A list that cannot be read leaves the tools as they were: a call tells more than a guess.
    async fn relist(&self, link: &Arc<Connection>) {
        let listed = match link.list(self.config.connect_timeout()).await {
            Ok(listed) => self.described(&listed),
            Err(error) => {
                tracing::warn!(
                    server = self.name,
                    error,
                    "the changed tools of an MCP server cannot be listed"
                );
                return;
            }
        };
        let mut state = self.state();
        let is_current = state.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link));
        if is_current && state.tools != listed {
            tracing::info!(
                server = self.name,
                tools = listed.len(),
                "the tools of the MCP server have changed"
            );
            state.tools = listed;
        }
    }

    fn described(&self, listed: &[RemoteTool]) -> Vec<ToolDescription> {
        listed.iter().map(|tool| describe(&self.name, &self.config, tool)).collect()
    }

    fn note_failure(&self, error: String) -> String {
        let mut state = self.state();
        state.failures.add(Instant::now());
        state.last_error = Some(error.clone());
        error
    }

    /// The connection has ended.
    fn lost(&self) {
        let Some(link) = self.state().link.take() else { return };
        if self.closing.is_cancelled() {
            return;
        }
        let error = match link.diagnostics() {
            said if said.is_empty() => "the connection was lost".to_owned(),
            said => format!("the connection was lost; it said: {said}"),
        };
        tracing::warn!(server = self.name, error, "the MCP server is gone");
        self.note_failure(error);
    }

    /// After a call without an answer: a server that does not answer anything else either hangs
    /// as a whole, and is ended so that the next call finds a fresh one.
    fn examine(self: &Arc<Self>, link: Arc<Connection>) {
        let name = self.name.clone();
        tokio::spawn(async move {
            if !link.shows_life().await {
                tracing::warn!(server = name, "the MCP server hangs and is ended");
                link.stop();
            }
        });
    }

    /// Tries a server that is down in the background, if its time has come and nobody tries it yet.
    fn revive(self: &Arc<Self>) {
        let due = {
            let state = self.state();
            state.live().is_none() && state.failures.verdict(Instant::now()) == Verdict::Try
        };
        if due
            && !self.closing.is_cancelled()
            && let Ok(runtime) = Handle::try_current()
            && let Ok(alone) = Arc::clone(&self.dialing).try_lock_owned()
        {
            let server = Arc::clone(self);
            runtime.spawn(async move { server.dial_once(alone).await.map(drop) });
        }
    }

    fn unreachable(&self, detail: &str) -> ToolError {
        let last = self.state().last_error.clone().filter(|last| last != detail);
        let detail = last.map_or_else(|| detail.to_owned(), |last| format!("{detail}; last: {last}"));
        ToolError::Unreachable { server: self.name.clone(), detail, source: None }
    }

    /// The error with this server's name where it was not known.
    fn named(&self, error: ToolError) -> ToolError {
        match error {
            ToolError::Unreachable { server, detail, source } if server.is_empty() => {
                ToolError::Unreachable { server: self.name.clone(), detail, source }
            }
            other => other,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live(&self) -> Option<Arc<Connection>> {
        self.link.clone().filter(|link| link.is_live())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server behind an address that takes connections and says nothing.
    async fn mute() -> (tokio::net::TcpListener, Arc<Server>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Some(format!("http://{}/mcp", listener.local_addr().unwrap()));
        let config = McpServerConfig { url, ..McpServerConfig::default() };
        let limits = Limits { call_timeout: Duration::from_secs(60), max_output_bytes: 1024 };
        (listener, Server::new("mute".to_owned(), config, limits, Secrets::default()))
    }

    #[tokio::test]
    async fn a_server_that_is_withheld_is_listed_with_the_reason_and_never_started() {
        let (listener, mute) = mute().await;
        let withheld = Some("the environment variable KEY is not set".to_owned());
        let config = McpServerConfig { withheld: withheld.clone(), ..mute.config.clone() };
        let server = Server::new("keyed".to_owned(), config, mute.limits, Secrets::default());
        server.connect().await;
        assert!(server.tools().is_empty() && server.awaited().is_none());
        assert_eq!(server.status().last_error, withheld);
        let dialled = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(dialled.is_err(), "nobody called");
    }

    #[tokio::test]
    async fn however_often_the_tools_are_asked_for_a_server_that_hangs_is_tried_once_at_a_time() {
        let (_listener, server) = mute().await;
        for _ in 0..100 {
            assert!(server.tools().is_empty());
            tokio::task::yield_now().await;
        }
        // Whoever connects holds on to the server.
        assert_eq!(Arc::strong_count(&server), 2);
    }

    #[tokio::test]
    async fn a_call_that_is_cancelled_while_its_server_is_waited_for_has_not_taken_effect() {
        let (_listener, server) = mute().await;
        let context = CallContext::of_test();
        let call = server.call("pay", Map::new(), context.clone());
        let (outcome, ()) = tokio::join!(call, async {
            tokio::task::yield_now().await;
            context.cancel.cancel();
        });
        let error = outcome.unwrap_err();
        assert!(matches!(error, ToolError::HeldBack) && !error.may_have_taken_effect(), "{error:?}");
    }
}
