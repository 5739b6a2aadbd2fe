//! The transport to a server's program: one JSON message per line.

use std::borrow::Cow;
use std::io;

use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, NumberOrString, RequestId,
    ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::child::{ServerProcess, Started};
use super::line::{Incoming, LineReader};
use crate::tools::Fence;

/// What JSON and the protocol add to a result of the largest size.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// In the range that JSON-RPC leaves to implementations.
const OWN_CODE: ErrorCode = ErrorCode(-32_090);
/// Marks answers that were made here, in the place of one that could not be used.
const MARK: &str = "longhaul";

/// Why an answer of the server could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    Overlong,
    Malformed,
}

/// A message was not written: whoever sent it may have no right to any more.
#[derive(Debug, Error)]
#[error("the call was held back, for another worker may have the task by now")]
pub(super) struct HeldBack;

/// A message for the server.
struct Outgoing {
    line: Vec<u8>,
    fence: Fence,
    /// Who waits for it to be written.
    written: oneshot::Sender<io::Result<()>>,
}

/// A connection to a program over its standard input and output.
pub(super) struct StdioTransport {
    process: Option<ServerProcess>,
    reader: LineReader<ChildStdout>,
    writer: mpsc::Sender<Outgoing>,
    /// Ends the writer, which closes the program's input, even if the program does not read.
    writing: AbortHandle,
    /// The question whether the server speaks the newer protocol.
    probe: Option<RequestId>,
    /// The same once the older one was begun instead. A program that is slow to start, as one is that is
    /// installed first, answers it all the same; to the library that answer is the end of the connection.
    given_up: Option<RequestId>,
}

impl StdioTransport {
    pub(super) fn new(started: Started, max_output_bytes: u64) -> Self {
        let limit = usize::try_from(max_output_bytes).unwrap_or(usize::MAX).saturating_add(ENVELOPE_BYTES);
        // Messages are written by a task of their own, so that a caller who gives up cannot
        // leave half a message behind.
        let (writer, messages) = mpsc::channel(16);
        let writing = tokio::spawn(write(started.input, messages)).abort_handle();
        Self {
            process: Some(started.process),
            reader: LineReader::new(started.output, limit),
            writer,
            writing,
            probe: None,
            given_up: None,
        }
    }

    fn note(&mut self, message: &ClientJsonRpcMessage) {
        let JsonRpcMessage::Request(request) = message else { return };
        match request.request {
            ClientRequest::DiscoverRequest(_) => self.probe = Some(request.id.clone()),
            ClientRequest::InitializeRequest(_) => self.given_up = self.probe.take(),
            _ => {}
        }
    }

    fn is_given_up(&self, answer: &ServerJsonRpcMessage) -> bool {
        let id = match answer {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        id.is_some() && id == self.given_up.as_ref()
    }
}

impl Transport<RoleClient> for StdioTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        self.note(&message);
        let (writer, fence) = (self.writer.clone(), fence_of(&message));
        async move {
            let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the server's input is closed");
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let (written, done) = oneshot::channel();
            writer.send(Outgoing { line, fence, written }).await.map_err(|_| closed())?;
            done.await.map_err(|_| closed())?
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            match self.reader.next().await {
                Ok(Incoming::Line(line)) => {
                    if let Some(message) = parse(&line).filter(|message| !self.is_given_up(message)) {
                        return Some(message);
                    }
                }
                Ok(Incoming::Overlong(Some(request))) => return Some(instead(request, Unusable::Overlong)),
                Ok(Incoming::Overlong(None)) => {
                    tracing::warn!("an MCP server sent a message that is too large")
                }
                Ok(Incoming::End) => return None,
                Err(error) => {
                    tracing::debug!(%error, "the output of an MCP server cannot be read");
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.writing.abort();
        match self.process.take() {
            Some(process) => process.end().await,
            None => Ok(()),
        }
    }
}

impl Drop for StdioTransport {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

async fn write(mut input: ChildStdin, mut messages: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { line, fence, written }) = messages.recv().await {
        // The last moment: between here and the pipe a process has hardly time to be frozen in.
        if fence.is_closed() {
            let _ = written.send(Err(io::Error::other(HeldBack)));
            continue;
        }
        let mut outcome = input.write_all(&line).await;
        if outcome.is_ok() {
            outcome = input.flush().await;
        }
        let failed = outcome.is_err();
        // Whoever sent it may have given up meanwhile.
        let _ = written.send(outcome);
        if failed {
            return;
        }
    }
}

/// The fence that a call of a tool brings along.
fn fence_of(message: &ClientJsonRpcMessage) -> Fence {
    let JsonRpcMessage::Request(request) = message else { return Fence::default() };
    let ClientRequest::CallToolRequest(call) = &request.request else { return Fence::default() };
    call.extensions.get().cloned().unwrap_or_default()
}

/// Reads one line. Programs print all kinds of things; what is no message is passed over, but
/// an answer that cannot be understood is one, and somebody waits for it.
fn parse(line: &[u8]) -> Option<ServerJsonRpcMessage> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let line = with_whole_letters(line);
    match serde_json::from_slice(&line) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::debug!(%error, "an MCP server wrote a line that is no message");
            let value: Value = serde_json::from_slice(&line).ok()?;
            let id = u32::try_from(value.get("id")?.as_u64()?).ok()?;
            value.get("method").is_none().then(|| instead(id, Unusable::Malformed))
        }
    }
}

/// A line without the halves of letters that a server writes which has cut a text in the middle of one: no
/// text can hold them, and for one of them a whole answer would be lost.
fn with_whole_letters(line: &[u8]) -> Cow<'_, [u8]> {
    let unit = |at: usize| {
        let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = Cow::Borrowed(line);
    let mut at = 0;
    while at < line.len() {
        at += match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                mended.to_mut()[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            // What stands behind a backslash is not the beginning of anything.
            _ if line[at] == b'\\' => 2,
            _ => 1,
        };
    }
    mended
}

/// The client numbers its requests. The answer that a waiting call gets in the place of one that cannot be used.
fn instead(id: u32, why: Unusable) -> ServerJsonRpcMessage {
    let (message, mark) = match why {
        Unusable::Overlong => ("the answer is too large", "overlong"),
        Unusable::Malformed => ("the answer is not a valid MCP message", "malformed"),
    };
    let error = ErrorData::new(OWN_CODE, message, Some(json!({ MARK: mark })));
    ServerJsonRpcMessage::error(error, Some(NumberOrString::Number(id.into())))
}

/// Whether an error is one that [`instead`] made.
pub(super) fn unusable(error: &ErrorData) -> Option<Unusable> {
    match error.data.as_ref()?.get(MARK)?.as_str()? {
        "overlong" if error.code == OWN_CODE => Some(Unusable::Overlong),
        "malformed" if error.code == OWN_CODE => Some(Unusable::Malformed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::child;
    use super::*;
    use crate::tools::{McpServerConfig, Secrets};

    fn error_of(message: Option<ServerJsonRpcMessage>) -> (Option<NumberOrString>, Option<Unusable>) {
        match message {
            Some(JsonRpcMessage::Error(error)) => (error.id.clone(), unusable(&error.error)),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_slow_program_answers_to_a_question_that_was_given_up_is_passed_over() {
        let answers = r#"echo '{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"what?"}}'; \
            echo '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"heard"}}'; cat"#;
        let config =
            McpServerConfig { args: vec!["-c".to_owned(), answers.to_owned()], ..McpServerConfig::default() };
        let started = child::start("slow", "/bin/sh", &config, &Secrets::default()).unwrap();
        let mut transport = StdioTransport::new(started, 1024);
        for (id, method, params) in [
            (0, "server/discover", json!({})),
            (
                1,
                "initialize",
                json!({"protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "n", "version": "1"}}),
            ),
        ] {
            let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
            transport.send(serde_json::from_value(request).unwrap()).await.unwrap();
        }
        assert_eq!(error_of(transport.receive().await).0, Some(NumberOrString::Number(1)));
        transport.close().await.unwrap();
    }

    #[test]
    fn what_a_program_prints_besides_messages_is_passed_over() {
        for line in ["", "  ", "Server started on stdio", "{}", r#"{"level":"info"}"#, "[1,2]"] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn half_a_letter_does_not_cost_the_answer() {
        let mended =
            |line: &str| String::from_utf8(with_whole_letters(line.as_bytes()).into_owned()).unwrap();
        assert_eq!(mended(r#""cut \ud83d""#), r#""cut \ufffd""#);
        assert_eq!(mended(r#""\uDE00\ud83d\ud83d\ude00""#), r#""\ufffd\ufffd\ud83d\ude00""#);
        for whole in [r#""\ud83d\ude00""#, r#""\\ud83d is how it is written""#, r#""\u0041 \n""#, "\\u12"] {
            assert_eq!(mended(whole), whole);
        }
    }

    #[test]
    fn an_answer_that_cannot_be_understood_ends_the_call_it_answers() {
        let (id, why) = error_of(parse(br#"{"jsonrpc":"1.0","id":7,"outcome":{}}"#));
        assert_eq!((id, why), (Some(NumberOrString::Number(7)), Some(Unusable::Malformed)));
    }

    #[test]
    fn an_error_of_the_server_is_not_taken_for_one_of_ours() {
        let (_, why) = error_of(parse(br#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"x"}}"#));
        assert_eq!(why, None);
    }
}
