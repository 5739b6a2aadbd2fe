//! MCP servers over streamable HTTP, spoken by a server of a few lines on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use longhaul::task::ToolAllowance;
use longhaul::tools::{CallContext, Fence, McpServerConfig, ToolError, ToolOutput, Toolbox, ToolsConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the server saw: the bodies, and the header that stands for a key.
type Seen = Arc<Mutex<Vec<(Value, Option<String>)>>>;

struct World {
    toolbox: Toolbox,
    seen: Seen,
    server: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let seen = Seen::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let router = Router::new().route("/mcp", post(answer)).with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let remote = McpServerConfig {
            url: Some(url),
            headers: BTreeMap::from([("x-api-key".to_owned(), "k3y".to_owned())]),
            ..McpServerConfig::default()
        };
        let config =
            ToolsConfig { mcp: BTreeMap::from([("web".to_owned(), remote)]), ..ToolsConfig::default() };
        Self { toolbox: Toolbox::open(&config).await.unwrap(), seen, server }
    }

    async fn call(&self, tool: &str, arguments: Value, timeout: Duration) -> Result<ToolOutput, ToolError> {
        let tool = self.toolbox.find(tool, &ToolAllowance::default()).unwrap();
        let context = CallContext {
            idempotency_key: "key".to_owned(),
            timeout,
            cancel: CancellationToken::new(),
            max_output_bytes: 8 * 1024 * 1024,
            fence: Fence::default(),
            is_confidential: false,
        };
        tool.call(arguments, context).await
    }
}

/// Speaks the protocol as far as the tests need it, without sessions.
async fn answer(State(seen): State<Seen>, headers: HeaderMap, Json(message): Json<Value>) -> Response {
    let key = headers.get("x-api-key").map(|value| value.to_str().unwrap().to_owned());
    seen.lock().unwrap().push((message.clone(), key));
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let tool = message["params"]["name"].as_str().unwrap_or_default();
    let result = match (message["method"].as_str().unwrap(), tool) {
        ("initialize", _) => json!({
            "protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "few lines", "version": "1"},
        }),
        // Two pages: a client that reads only the first has only one tool.
        ("tools/list", _) if message["params"]["cursor"].is_null() => json!({
            "tools": [{"name": "echo", "inputSchema": {"type": "object"}}], "nextCursor": "2",
        }),
        ("tools/list", _) => json!({"tools": [
            {"name": "large", "inputSchema": {"type": "object"}},
            {"name": "hang", "inputSchema": {"type": "object"}},
            {"name": "broken", "inputSchema": {"type": "object"}},
            {"name": "refuses", "inputSchema": {"type": "object"}},
        ]}),
        ("tools/call", "echo") => {
            json!({"content": [{"type": "text", "text": message["params"]["arguments"].to_string()}]})
        }
        ("tools/call", "large") => json!({"content": [{"type": "text", "text": "x".repeat(20_000_000)}]}),
        ("tools/call", "hang") => std::future::pending().await,
        ("tools/call", "refuses") => {
            let status = message["params"]["arguments"]["status"].as_u64().unwrap() as u16;
            return (StatusCode::from_u16(status).unwrap(), "the token has expired").into_response();
        }
        ("tools/call", "broken") => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => {
            return Json(
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "unknown"}}),
            )
            .into_response();
        }
    };
    Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn tools_on_all_pages_are_called_with_headers_and_key() {
    let world = World::new().await;
    let status = world.toolbox.servers().remove(0);
    assert!(status.connected, "{status:?}");
    assert_eq!(status.tools, ["web_echo", "web_large", "web_hang", "web_broken", "web_refuses"]);
    let output = world.call("web_echo", json!({"a": 1}), LONG).await.unwrap();
    assert_eq!(output, ToolOutput::ok(r#"{"a":1}"#));
    let seen = world.seen.lock().unwrap().clone();
    assert!(seen.iter().all(|(_, key)| key.as_deref() == Some("k3y")));
    let call = seen.iter().find(|(message, _)| message["method"] == json!("tools/call")).unwrap();
    assert_eq!(call.0["params"]["_meta"]["longhaul/idempotencyKey"], json!("key"));
}

#[tokio::test]
async fn what_goes_wrong_has_its_own_error() {
    let world = World::new().await;
    let large = world.call("web_large", json!({}), LONG).await.unwrap_err();
    assert_eq!(large.code(), "tool_output_too_large", "{large:?}");
    let broken = world.call("web_broken", json!({}), LONG).await.unwrap_err();
    assert_eq!(broken.code(), "tool_interrupted", "{broken:?}");
    let late = world.call("web_hang", json!({}), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late.code(), "tool_timeout", "{late:?}");
    world.call("web_echo", json!({}), LONG).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_turned_away_had_no_effect_and_the_status_is_told() {
    let world = World::new().await;
    for (status, may_have_taken_effect, told) in [
        (401, false, "HTTP 401 Unauthorized: the token has expired"),
        (403, false, "HTTP 403"),
        (429, false, "HTTP 429"),
        (400, true, "HTTP 400 Bad Request: the token has expired"),
        (503, true, "HTTP 503"),
    ] {
        let error = world.call("web_refuses", json!({"status": status}), LONG).await.unwrap_err();
        assert_eq!(error.may_have_taken_effect(), may_have_taken_effect, "{status}: {error}");
        assert_eq!(error.is_out_of_reach(), !may_have_taken_effect, "{status}: {error}");
        assert!(error.to_string().contains(told), "{status}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable_and_nothing_was_dispatched() {
    let world = World::new().await;
    world.server.abort();
    let _ = world.server.await;
    let tool = world.toolbox.find("web_echo", &ToolAllowance::default()).unwrap();
    let context = CallContext {
        idempotency_key: "key".to_owned(),
        timeout: LONG,
        cancel: CancellationToken::new(),
        max_output_bytes: 1000,
        fence: Fence::default(),
        is_confidential: false,
    };
    let error = tool.call(json!({}), context).await.unwrap_err();
    assert!(matches!(&error, ToolError::Unreachable { server, .. } if server == "web"), "{error:?}");
    assert!(!error.may_have_taken_effect());
    let told = error.fault().message;
    assert!(told.starts_with("'web' cannot be reached: no connection to http://127.0.0.1:"), "{told}");
    assert!(told.ends_with(": Connection refused (os error 111)"), "{told}");
}

#[tokio::test]
async fn a_server_that_was_never_there_is_told_in_plain_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let remote =
        McpServerConfig { url: Some(format!("http://{address}/mcp?key=k3y")), ..McpServerConfig::default() };
    let config = ToolsConfig { mcp: BTreeMap::from([("web".to_owned(), remote)]), ..ToolsConfig::default() };
    let toolbox = Toolbox::open(&config).await.unwrap();
    let told = toolbox.servers()[0].last_error.clone().unwrap();
    assert_eq!(told, format!("no connection to http://{address}/mcp: Connection refused (os error 111)"));
}
