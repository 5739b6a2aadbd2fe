//! One live connection to a server: opening it, calling through it, ending it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CancelledNotificationParam, ClientCapabilities,
    ClientConfig, ClientRequest, Implementation, ListToolsRequest, ProtocolVersion, RequestId,
    RequestMetaObject, ServerResult, Tool as RemoteTool,
};
use rmcp::service::{PeerRequestOptions, RunningService, serve_client_with_lifecycle_and_ct};
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use rmcp::transport::{DynamicTransportError, StreamableHttpClientTransport};
use rmcp::{ClientLifecycleMode, Peer, RoleClient, ServiceError};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::changes::{self, Bell, Caller, Changes};
use super::child::{self, Diagnostics};
use super::content;
use super::plain;
use super::stdio::{HeldBack, StdioTransport, Unusable, unusable};
use crate::task::with_causes;
use crate::tools::text::without_nul;
use crate::tools::{CallContext, Fence, McpServerConfig, Secrets, ToolError, ToolOutput};

/// Where the idempotency key travels in a request's `_meta`.
const KEY: &str = "longhaul/idempotencyKey";
/// A server that does not even list its tools within this time hangs as a whole.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Ending a server takes its grace twice at most, and a little more.
const END: Duration = Duration::from_secs(10);

type Service = RunningService<RoleClient, Caller>;

/// A live connection. Ends when it is dropped.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    stop: CancellationToken,
    diagnostics: Diagnostics,
    /// Ends once the server is gone and its processes are reaped.
    ended: Mutex<Option<JoinHandle<()>>>,
    _stop_on_drop: DropGuard,
}

/// A connection that was just opened: its tools, and the service to be watched.
pub(super) struct Opened {
    pub(super) tools: Vec<RemoteTool>,
    service: Service,
    stop: CancellationToken,
    diagnostics: Diagnostics,
}

/// Connects and lists the tools. The changes tell when to list them again.
pub(super) async fn open(
    name: &str,
    config: &McpServerConfig,
    limit: u64,
    secrets: &Secrets,
) -> Result<(Opened, Changes), String> {
    let stop = CancellationToken::new();
    // If this future is dropped or times out, whatever was started ends with it.
    let guard = stop.clone().drop_guard();
    let diagnostics = Diagnostics::default();
    let (bell, changes) = changes::bell();
    let opening = async {
        let (service, diagnostics) = serve(name, config, limit, secrets, stop.clone(), bell.clone()).await?;
        let tools = service.list_all_tools().await.map_err(|error| {
            explain(&format!("its tools cannot be listed: {}", plain::of_service(&error)), &diagnostics)
        })?;
        Ok((service, tools, diagnostics))
    };
    match timeout(config.connect_timeout(), opening).await {
        Ok(Ok((service, tools, diagnostics))) => {
            changes::listen(service.peer().clone(), bell);
            Ok((Opened { tools, service, stop: guard.disarm(), diagnostics }, changes))
        }
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err(explain(&format!("no connection within {:?}", config.connect_timeout()), &diagnostics)),
    }
}

async fn serve(
    name: &str,
    config: &McpServerConfig,
    limit: u64,
    secrets: &Secrets,
    stop: CancellationToken,
    bell: Bell,
) -> Result<(Service, Diagnostics), String> {
    let client = ClientConfig::new(
        ClientCapabilities::default(),
        Implementation::new("longhaul", env!("CARGO_PKG_VERSION")),
    );
    let client = Caller { config: client, bell };
    // The protocol without a handshake where the server speaks it, the older one otherwise.
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    };
    if let Some(program) = &config.command {
        let started = child::start(name, program, config, secrets)
            .map_err(|error| format!("'{program}' cannot be started: {error}"))?;
        let diagnostics = started.diagnostics.clone();
        let transport = StdioTransport::new(started, limit);
        let service = serve_client_with_lifecycle_and_ct(client, transport, lifecycle, stop).await;
        return match service {
            Ok(service) => Ok((service, diagnostics)),
            Err(error) => Err(explain(&plain::of_start(&error), &diagnostics)),
        };
    }
    let transport = http(config, limit)?;
    let service = serve_client_with_lifecycle_and_ct(client, transport, lifecycle, stop).await;
    Ok((service.map_err(|error| plain::of_start(&error))?, Diagnostics::default()))
}

fn http(
    config: &McpServerConfig,
    limit: u64,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, String> {
    let url = config.url.as_deref().unwrap_or_default();
    let mut headers = HashMap::new();
    for (name, value) in &config.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("'{name}' is no name of a header"))?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("the header '{name}' has a value that cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(64 * 1024);
    let transport = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(headers)
        .max_sse_event_size(limit)
        .max_json_response_size(limit);
    // Redirects could carry the headers, which are keys, to another host.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .build()
        .map_err(|error| with_causes(&error))?;
    Ok(StreamableHttpClientTransport::with_client(client, transport))
}

impl Opened {
    /// Puts the connection to use. `lost` is called once when it has ended, whoever ended it.
    pub(super) fn watch(self, lost: impl FnOnce() + Send + 'static) -> Connection {
        let peer = self.service.peer().clone();
        let service = self.service;
        let ended = tokio::spawn(async move {
            // How the service ended makes no difference: it did.
            let _ = service.waiting().await;
            lost();
        });
        Connection {
            peer,
            _stop_on_drop: self.stop.clone().drop_guard(),
            stop: self.stop,
            diagnostics: self.diagnostics,
            ended: Mutex::new(Some(ended)),
        }
    }
}

impl Connection {
    pub(super) fn is_live(&self) -> bool {
        !self.stop.is_cancelled() && !self.peer.is_transport_closed()
    }

    /// What the server said last, for people.
    pub(super) fn diagnostics(&self) -> String {
        self.diagnostics.text()
    }

    /// Calls a tool. Dropping the future tells the server that the call is cancelled.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        context: &CallContext,
        limit: u64,
    ) -> Result<ToolOutput, ToolError> {
        context.may_be_sent()?;
        let mut parameters = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let mut meta = RequestMetaObject::new();
        meta.insert(KEY.to_owned(), Value::String(context.idempotency_key.clone()));
        parameters.meta = Some(meta);
        match self.send(CallToolRequest::new(parameters), context.fence.clone()).await.and_then(response) {
            Ok(CallToolResponse::Complete(result)) => content::output(result, limit),
            Ok(CallToolResponse::InputRequired(_)) => {
                Ok(ToolOutput::error("the tool asks for more input, which cannot be given here"))
            }
            Ok(_) => Err(lost("the server answered with something that is not a result", None)),
            Err(error) => self.failed(error, limit),
        }
    }

    /// Sends the request together with the fence that holds it back if it comes too late.
    async fn send(&self, mut request: CallToolRequest, fence: Fence) -> Result<ServerResult, ServiceError> {
        request.extensions.insert(fence);
        let request = ClientRequest::CallToolRequest(request);
        let sent = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
        let mut abandoned = Abandoned { peer: &self.peer, request: Some(sent.id.clone()) };
        let answer = sent.await_response().await;
        abandoned.request = None;
        answer
    }

    /// The tools as the server lists them now.
    pub(super) async fn list(&self, patience: Duration) -> Result<Vec<RemoteTool>, String> {
        match timeout(patience, self.peer.list_all_tools()).await {
            Ok(listed) => listed.map_err(|error| plain::of_service(&error)),
            Err(_) => Err(format!("no answer within {patience:?}")),
        }
    }

    /// Whether the server still answers at all.
    pub(super) async fn shows_life(&self) -> bool {
        let request = ClientRequest::ListToolsRequest(ListToolsRequest::default());
        match timeout(SIGN_OF_LIFE, self.peer.send_request(request)).await {
            Ok(Ok(_) | Err(ServiceError::McpError(_))) => true,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Ends the server without waiting for it.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends the server and waits until its processes are gone.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && timeout(END, ended).await.is_err()
        {
            tracing::warn!("an MCP server did not end in time");
        }
    }

    fn failed(&self, error: ServiceError, limit: u64) -> Result<ToolOutput, ToolError> {
        match error {
            ServiceError::McpError(error) => match unusable(&error) {
                Some(Unusable::Overlong) => Err(ToolError::OutputTooLarge { limit }),
                Some(Unusable::Malformed) => Err(lost(&error.message, None)),
                // The server itself says no: the model should read why.
                None => Ok(ToolOutput::error(without_nul(error.message.into_owned()))),
            },
            ServiceError::TransportSend(error) => Err(not_sent(error, limit)),
            ServiceError::TransportClosed => {
                Err(lost(&explain("the server is gone", &self.diagnostics), None))
            }
            other => Err(lost("the answer cannot be used", Some(Box::new(other)))),
        }
    }
}

/// A request that nobody waits for any more: the server is told when this is dropped.
struct Abandoned<'a> {
    peer: &'a Peer<RoleClient>,
    request: Option<RequestId>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let peer = self.peer.clone();
        // The server may be gone; then there is nobody to tell.
        runtime.spawn(async move {
            let reason = Some("the caller does not wait any longer".to_owned());
            let _ = peer.notify_cancelled(CancelledNotificationParam::new(Some(request), reason)).await;
        });
    }
}

/// What a server answered to a call.
fn response(result: ServerResult) -> Result<CallToolResponse, ServiceError> {
    match result {
        ServerResult::CallToolResult(result) => Ok(CallToolResponse::Complete(result)),
        ServerResult::InputRequiredResult(result) => Ok(CallToolResponse::InputRequired(result)),
        ServerResult::CreateTaskResult(result) => Ok(CallToolResponse::Task(result)),
        _ => Err(ServiceError::UnexpectedResponse),
    }
}

/// The statuses with which a request is turned away before anybody looks at what it asks for: no key or the wrong
/// one, nothing at that address, not in this form, too many of them.
const AT_THE_DOOR: [u16; 7] = [401, 403, 404, 405, 413, 415, 429];

/// What it means that a request could not be sent. Only where it was held back, no connection
/// was made at all, or it was turned away, is it certain that the server knows nothing of it.
fn not_sent(error: DynamicTransportError, limit: u64) -> ToolError {
    let refused = error.error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    if refused.is_some_and(|refused| refused.is::<HeldBack>()) {
        return ToolError::HeldBack;
    }
    let answer = error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>();
    let was_turned_away = plain::status_of(&error).is_some_and(|status| AT_THE_DOOR.contains(&status));
    match answer {
        Some(StreamableHttpError::ResponseBodyTooLarge { .. }) => ToolError::OutputTooLarge { limit },
        Some(StreamableHttpError::Client(cause)) if cause.is_connect() => out_of_reach(&error),
        _ if was_turned_away => out_of_reach(&error),
        _ => lost(&plain::of_transport(&error), None),
    }
}

/// The server's name is filled in by who knows it.
fn out_of_reach(error: &DynamicTransportError) -> ToolError {
    ToolError::Unreachable { server: String::new(), detail: plain::of_transport(error), source: None }
}

fn lost(detail: &str, source: Option<Box<dyn StdError + Send + Sync>>) -> ToolError {
    ToolError::Interrupted { detail: detail.to_owned(), source }
}

fn explain(what: &str, diagnostics: &Diagnostics) -> String {
    let said = diagnostics.text();
    if said.is_empty() { what.to_owned() } else { format!("{what} (it said: {said})") }
}
