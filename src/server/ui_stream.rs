//! The UI message stream of the AI SDK, version 1: its chunks, its headers, its end.
//!
//! Only keys of the protocol are written, and of these only the ones that its first version
//! knew: strict clients refuse all others.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One chunk of the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum UiChunk {
    /// A message begins.
    Start {
        message_id: String,
        /// What a client may want to know of the message, such as its task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_metadata: Option<Value>,
    },
    /// More that a client may want to know of the message.
    MessageMetadata {
        message_metadata: Value,
    },
    /// One turn begins.
    StartStep,
    TextStart {
        id: String,
    },
    TextDelta {
        id: String,
        delta: String,
    },
    TextEnd {
        id: String,
    },
    ReasoningStart {
        id: String,
    },
    ReasoningDelta {
        id: String,
        delta: String,
    },
    ReasoningEnd {
        id: String,
    },
    /// A tool is called with this.
    ToolInputAvailable {
        tool_call_id: String,
        tool_name: String,
        input: Value,
    },
    /// The tool returned this.
    ToolOutputAvailable {
        tool_call_id: String,
        output: Value,
    },
    /// The tool did not return, or reported an error.
    ToolOutputError {
        tool_call_id: String,
        error_text: String,
    },
    /// What is asked of a person, or what became of that: a part that takes the place of the one with its id.
    DataRequest {
        id: String,
        data: Value,
    },
    /// The turn ends.
    FinishStep,
    /// The message ends.
    Finish,
    /// The message cannot be ended as it should. Clients read nothing behind it.
    Error {
        error_text: String,
    },
}

impl UiChunk {
    /// A whole text part.
    pub(super) fn text(id: &str, text: String) -> [Self; 3] {
        [
            Self::TextStart { id: id.to_owned() },
            Self::TextDelta { id: id.to_owned(), delta: text },
            Self::TextEnd { id: id.to_owned() },
        ]
    }
}

/// The chunks as a response, with the protocol's headers and end, and heartbeats as comments.
pub(super) fn respond(chunks: impl Stream<Item = UiChunk> + Send + 'static, heartbeat: Duration) -> Response {
    let chunks = chunks.filter_map(|chunk| async move {
        match serde_json::to_string(&chunk) {
            Ok(json) => Some(json),
            Err(error) => {
                tracing::error!(%error, "a chunk cannot be written");
                None
            }
        }
    });
    let lines = chunks.chain(stream::once(async { "[DONE]".to_owned() }));
    let events = lines.map(|line| Ok::<_, Infallible>(Event::default().data(line)));
    let mut response = event_stream(events, heartbeat);
    let version = HeaderName::from_static("x-vercel-ai-ui-message-stream");
    response.headers_mut().insert(version, HeaderValue::from_static("v1"));
    response
}

/// Server-sent events that no proxy may hold back, with heartbeats as comments.
pub(super) fn event_stream(
    events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static,
    heartbeat: Duration,
) -> Response {
    let keep_alive = KeepAlive::new().interval(heartbeat.max(Duration::from_millis(1))).text("heartbeat");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;

    #[test]
    fn chunks_have_the_protocols_keys_and_no_others() {
        let written = |chunk: &UiChunk| serde_json::to_value(chunk).unwrap();
        let id = || "c".to_owned();
        let start = UiChunk::Start { message_id: "m".into(), message_metadata: None };
        assert_eq!(written(&start), json!({"type": "start", "messageId": "m"}));
        let metadata = UiChunk::MessageMetadata { message_metadata: json!({"a": 1}) };
        assert_eq!(written(&metadata), json!({"type": "message-metadata", "messageMetadata": {"a": 1}}));
        assert_eq!(written(&UiChunk::StartStep), json!({"type": "start-step"}));
        assert_eq!(written(&UiChunk::Finish), json!({"type": "finish"}));
        let input =
            UiChunk::ToolInputAvailable { tool_call_id: id(), tool_name: "t".into(), input: json!({"a": 1}) };
        assert_eq!(
            written(&input),
            json!({"type": "tool-input-available", "toolCallId": "c", "toolName": "t", "input": {"a": 1}})
        );
        let failed = UiChunk::ToolOutputError { tool_call_id: id(), error_text: "e".into() };
        assert_eq!(
            written(&failed),
            json!({"type": "tool-output-error", "toolCallId": "c", "errorText": "e"})
        );
        let request = UiChunk::DataRequest { id: id(), data: json!({"state": "open"}) };
        assert_eq!(written(&request), json!({"type": "data-request", "id": "c", "data": {"state": "open"}}));
        assert_eq!(
            written(&UiChunk::ReasoningDelta { id: id(), delta: "d".into() }),
            json!({"type": "reasoning-delta", "id": "c", "delta": "d"})
        );
    }

    #[tokio::test]
    async fn headers_and_end_are_the_protocols() {
        let chunks = stream::iter(UiChunk::text("t", "two\nlines".into()));
        let response = respond(chunks, Duration::from_secs(15));
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(header("cache-control"), "no-cache");
        assert_eq!(header("x-vercel-ai-ui-message-stream"), "v1");
        assert_eq!(header("x-accel-buffering"), "no");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let expected = "data: {\"type\":\"text-start\",\"id\":\"t\"}\n\n\
                        data: {\"type\":\"text-delta\",\"id\":\"t\",\"delta\":\"two\\nlines\"}\n\n\
                        data: {\"type\":\"text-end\",\"id\":\"t\"}\n\n\
                        data: [DONE]\n\n";
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected);
    }
}
