//! A provider of models over HTTP that does what a test tells it, down to the single byte.
//!
//! It speaks the wire formats of OpenAI and Anthropic (see [`super::wire`]) over sockets of its own:
//! no HTTP library lets a test end an answer in the middle of a character.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use longhaul::models::{Models, ModelsConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::wire::Format;

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) body: Value,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    parts: Vec<Part>,
    /// Whether the end of the connection is the end of the body; otherwise it is sent in chunks, and
    /// a body without its last chunk was cut.
    until_close: bool,
}

#[derive(Debug, Clone)]
enum Part {
    Bytes(Vec<u8>),
    Pause(Duration),
    Hang,
    Cut,
}

/// A provider that is there until the test ends.
pub(super) struct Provider {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

impl Asked {
    /// Whether anything in it contains these words.
    pub(super) fn says(&self, words: &str) -> bool {
        self.body.to_string().contains(words)
    }

    /// The number behind `mark` in it.
    pub(super) fn number(&self, mark: &str) -> Option<usize> {
        let text = self.body.to_string();
        let digits: String = text.split_once(mark)?.1.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// How many results of tools are in the conversation.
    pub(super) fn tool_results(&self) -> usize {
        let text = self.body.to_string();
        let marks = [r#""role":"tool""#, r#""type":"tool_result""#];
        marks.iter().map(|mark| text.matches(mark).count()).sum()
    }

    /// Whether a result of a tool is in the conversation.
    pub(super) fn has_tool_result(&self) -> bool {
        self.tool_results() > 0
    }

    /// Whether the answer is wanted piece by piece.
    pub(super) fn wants_stream(&self) -> bool {
        self.body["stream"] == true
    }
}

impl Reply {
    fn new(status: u16, kind: &str) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        Self { status, headers, parts: Vec::new(), until_close: false }
    }

    /// A stream of events.
    pub(super) fn events(events: &[String]) -> Self {
        let parts = events.iter().map(|event| Part::Bytes(event.clone().into_bytes())).collect();
        Self { parts, ..Self::new(200, "text/event-stream") }
    }

    /// One JSON value.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self {
            parts: vec![Part::Bytes(value.to_string().into_bytes())],
            ..Self::new(status, "application/json")
        }
    }

    /// A stream of which only so many bytes come.
    pub(super) fn cut(events: &[String], bytes: usize) -> Self {
        let whole = events.concat().into_bytes();
        let parts = vec![Part::Bytes(whole[..bytes.min(whole.len())].to_vec()), Part::Cut];
        Self { parts, ..Self::new(200, "text/event-stream") }
    }

    /// What calls itself a stream of events.
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Self { parts: vec![Part::Bytes(bytes)], ..Self::new(200, "text/event-stream") }
    }

    /// A stream that says the same so many times.
    pub(super) fn many(event: &str, times: usize) -> Self {
        let parts = (0..times).map(|_| Part::Bytes(event.as_bytes().to_vec())).collect();
        Self { parts, ..Self::new(200, "text/event-stream") }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The connection's end is the body's end: what was cut looks whole.
    pub(super) fn until_close(self, until_close: bool) -> Self {
        Self { until_close, ..self }
    }

    /// Waits before each part.
    pub(super) fn dripping(mut self, pause: Duration) -> Self {
        self.parts = self.parts.into_iter().flat_map(|part| [Part::Pause(pause), part]).collect();
        self
    }

    /// Does not even begin.
    pub(super) fn never() -> Self {
        Self::new(0, "")
    }

    /// Never goes on after the first `parts` parts.
    pub(super) fn hanging_after(mut self, parts: usize) -> Self {
        self.parts.truncate(parts);
        self.parts.push(Part::Hang);
        self
    }
}

impl Provider {
    /// Starts one that answers by this script.
    pub(super) async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (asked, script): (Arc<Mutex<Vec<Asked>>>, Script) = (Arc::default(), Arc::new(script));
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that hangs up is no failure of the provider.
                tokio::spawn(serve(socket, script.clone(), seen.clone()));
            }
        });
        Self { url, asked }
    }

    /// All requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The table of this provider in a configuration: models are called `own/NAME`.
    pub(super) fn table(&self, format: Format) -> String {
        let (kind, url) = (format.kind(), &self.url);
        format!("[models.providers.own]\nkind = '{kind}'\nbaseUrl = '{url}'\napiKeyEnv = 'OWN_KEY'\n")
    }

    /// Models whose default is `own/first` at this provider.
    pub(super) async fn models(&self, format: Format, more: &str) -> Models {
        let table = self.table(format).replace("[models.", "[");
        let config = format!("default = 'own/first'\n{more}\n{table}");
        let config: ModelsConfig = toml::from_str(&config).unwrap();
        Models::open(&config, &|name| (name == "OWN_KEY").then(|| "sk-own".to_owned())).await.unwrap()
    }
}

async fn serve(mut socket: TcpStream, script: Script, seen: Arc<Mutex<Vec<Asked>>>) -> io::Result<()> {
    let asked = Asked { body: read(&mut socket).await?, at: Instant::now() };
    let reply = script(&asked);
    seen.lock().unwrap().push(asked);
    if reply.status == 0 {
        std::future::pending::<()>().await;
    }
    let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(if reply.until_close { "\r\n" } else { "transfer-encoding: chunked\r\n\r\n" });
    socket.write_all(head.as_bytes()).await?;
    for part in reply.parts {
        match part {
            Part::Bytes(bytes) if bytes.is_empty() => {}
            Part::Bytes(bytes) if reply.until_close => socket.write_all(&bytes).await?,
            Part::Bytes(bytes) => {
                let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
                socket.write_all(&chunk).await?;
            }
            Part::Pause(pause) => tokio::time::sleep(pause).await,
            Part::Hang => std::future::pending().await,
            Part::Cut => return socket.shutdown().await,
        }
    }
    if !reply.until_close {
        socket.write_all(b"0\r\n\r\n").await?;
    }
    socket.shutdown().await
}

/// The body of one request, which has a length.
async fn read(socket: &mut TcpStream) -> io::Result<Value> {
    let (mut request, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = socket.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&buffer[..count]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let body = &request[end + 4..];
        if body.len() >= length.unwrap_or(0) {
            return Ok(serde_json::from_slice(body)?);
        }
    }
}
