//! A model of a provider: one implementation for Anthropic, OpenAI, Gemini, Ollama and every
//! server that speaks OpenAI's chat completions.
//!
//! Answers are always streamed, also when the caller wants them whole: only a stream tells a
//! model that writes for minutes from one that hangs. A server that does not stream is asked
//! again without, and remembered.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use genai::adapter::AdapterKind;
use genai::chat::{ChatStream, ChatStreamEvent, StreamEnd, ToolCall};
use serde_json::Value;

use crate::task::ModelName;

use super::config::Timeouts;
use super::deadline::Watch;
use super::failure::Diagnosis;
use super::provider::Provider;
use super::translate::{self, Dialect, Expected, Returned};
use super::{Answer, Chunk, Model, ModelError, Request, Thinking};

/// No answer is longer, in bytes of text and of arguments: no model says so much at once, and whoever
/// sends more never ends.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The same where the model was told how many tokens its answer may have: so many bytes for each, several
/// times what a token of any language is, and some to begin with. A server that goes on beyond that does not
/// obey, and what it says is paid for.
const TOKEN_BYTES: usize = 16;
const BEGINNING_BYTES: usize = 32 * 1024;

fn longest_answer(max_tokens: Option<u32>) -> usize {
    let told = max_tokens.map(|tokens| tokens as usize * TOKEN_BYTES + BEGINNING_BYTES);
    told.map_or(ANSWER_BYTES, |told| told.min(ANSWER_BYTES))
}

/// One model of one provider.
pub(super) struct ProviderModel {
    name: ModelName,
    provider: Provider,
    library: genai::Client,
    timeouts: Timeouts,
    window: Option<u64>,
}

impl ProviderModel {
    /// The model `name` at `provider`, called through `http`, with its window if that is known.
    pub(super) fn new(
        name: ModelName,
        provider: Provider,
        http: reqwest::Client,
        timeouts: Timeouts,
        window: Option<u64>,
    ) -> Result<Self, ModelError> {
        let library = genai::Client::builder().with_reqwest(http).build().map_err(|error| {
            ModelError::NotConfigured(format!("the client for {name} cannot be made: {error}"))
        })?;
        Ok(Self { name, provider, library, timeouts, window })
    }

    fn diagnosis(&self) -> Diagnosis<'_> {
        Diagnosis { model: &self.name, provider: &self.provider }
    }

    fn dialect(&self, adapter: AdapterKind) -> Dialect {
        let refuses_schemas = self.provider.refuses_schemas.load(Ordering::Relaxed);
        let wants_thinking = self.provider.wants_thinking.load(Ordering::Relaxed);
        Dialect { adapter, refuses_schemas, wants_thinking, window: self.window }
    }

    /// Asks in the way this server is known to understand, and learns from a refusal: of
    /// streaming, or of schemas.
    async fn try_stream(&self, request: &Request) -> Result<Pieces, ModelError> {
        let Some(tried) = self.provider.streaming.next_try() else {
            return self.whole_as_stream(request).await;
        };
        let mut reply = self.begin(request).await?;
        match reply.next().await {
            Ok(first) => {
                self.provider.streaming.began();
                Ok(reply.starting_with(first))
            }
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::NoStream { is_said }) => {
                let whole = self.whole_as_stream(request).await?;
                // What a gateway says of a failure comes in one piece, too.
                self.provider.streaming.was_in_vain(tried, is_said);
                Ok(whole)
            }
        }
    }

    async fn begin(&self, request: &Request) -> Result<Reply, ModelError> {
        let watch = Watch::start(self.timeouts);
        let target = self.provider.target(&self.name.model);
        let adapter = target.model.adapter_kind;
        let dialect = self.dialect(adapter);
        let chat = translate::chat_request(request, &self.name, dialect);
        let mut options = translate::options(request, dialect).with_raw_frame_sink_arc(watch.sink());
        if adapter == AdapterKind::OpenAI {
            // They are put together here: see `pieces`.
            options.capture_tool_calls = Some(false);
        }
        // Nothing is sent before the stream is polled, so no deadline can pass here.
        let response = self.library.exec_chat_stream(target, chat, Some(&options)).await;
        Ok(Reply {
            stream: response.map_err(|error| self.diagnosis().of(error))?.stream,
            watch,
            adapter,
            expected: Expected::by(request, dialect),
            bytes: 0,
            longest: longest_answer(options.max_tokens),
            name: self.name.clone(),
            provider: self.provider.clone(),
        })
    }

    async fn ask_whole(&self, request: &Request) -> Result<Answer, ModelError> {
        let watch = Watch::start(self.timeouts);
        let target = self.provider.target(&self.name.model);
        let dialect = self.dialect(target.model.adapter_kind);
        let chat = translate::chat_request(request, &self.name, dialect);
        let options = translate::options(request, dialect).with_capture_raw_body(true);
        let call = self.library.exec_chat(target, chat, Some(&options));
        let response = watch.wait_whole(call).await.map_err(|phase| self.diagnosis().timeout(phase))?;
        let response = response.map_err(|error| self.diagnosis().of(error))?;
        // Some gateways tell of a failure with the status of an answer.
        let is_failure = |body: &&Value| body.get("error").is_some_and(|error| !error.is_null());
        let failure = response.captured_raw_body.as_ref().filter(is_failure);
        if let Some(body) = failure.filter(|_| response.content.is_empty()) {
            return Err(self.diagnosis().of_event(body));
        }
        let returned = Returned {
            thinking: Thinking::of(&self.name, &response.content, response.reasoning_content, &[]),
            text: response.content.texts().concat(),
            calls: response.content.into_tool_calls(),
            stop: response.stop_reason,
            usage: Some(response.usage),
        };
        Expected::by(request, dialect).answer(returned, &self.diagnosis())
    }

    /// The answer as a stream although the server gives it in one piece.
    async fn whole_as_stream(&self, request: &Request) -> Result<Pieces, ModelError> {
        let answer = self.ask_whole(request).await?;
        let text = Some(answer.text.clone()).filter(|text| !text.is_empty());
        let pieces = text.map(Chunk::Text).into_iter().chain([Chunk::End(answer)]);
        Ok(stream::iter(pieces.map(Ok).collect::<Vec<_>>()).boxed())
    }
}

type Pieces = BoxStream<'static, Result<Chunk, ModelError>>;

#[async_trait]
impl Model for ProviderModel {
    fn name(&self) -> &ModelName {
        &self.name
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        self.speak(request, &|_| ()).await
    }

    /// Failures before the first piece are returned, not streamed, so that a fallback can
    /// still answer.
    async fn stream(&self, request: Request) -> Result<Pieces, ModelError> {
        match self.insist(&request).await {
            // Some models take text only, and a picture may be too large or broken. Which it is, only its
            // words would tell; either way the model can answer to what was said.
            Err(ModelError::Rejected { detail, .. }) if request.has_pictures() => {
                tracing::warn!(model = %self.name, %detail, "asked again without the pictures");
                let pieces = self.insist(&request.without_pictures()).await?;
                let told = |piece| match piece {
                    Chunk::End(answer) => Chunk::End(Answer { without_pictures: true, ..answer }),
                    other => other,
                };
                Ok(pieces.map(move |piece| piece.map(told)).boxed())
            }
            result => result,
        }
    }
}

impl ProviderModel {
    /// The same, and once more otherwise if the server refuses what it learns of: schemas, or turns with or without
    /// what their model thought.
    async fn insist(&self, request: &Request) -> Result<Pieces, ModelError> {
        let has_schema = request.schema.is_some() && !self.provider.refuses_schemas.load(Ordering::Relaxed);
        match self.try_stream(request).await {
            Err(ModelError::Rejected { detail, .. }) if has_schema && refuses_schemas(&detail) => {
                self.provider.refuses_schemas.store(true, Ordering::Relaxed);
                self.try_stream(request).await
            }
            Err(ModelError::Rejected { detail, .. }) if misses_thinking(&detail) => {
                self.provider.wants_thinking.store(true, Ordering::Relaxed);
                self.try_stream(request).await
            }
            Err(ModelError::Rejected { detail, .. })
                if request.has_thinking() && refuses_thinking(&detail) =>
            {
                tracing::warn!(model = %self.name, %detail, "asked again without what it thought");
                self.try_stream(&request.without_thinking()).await
            }
            result => result,
        }
    }
}

const CUT: &str = "it was cut: the stream ended before the answer did";

/// Why there is no next piece.
enum Stop {
    Failed(ModelError),
    /// This server cannot stream, or not this request: it said so, or nothing came that is part of a stream.
    NoStream {
        is_said: bool,
    },
}

/// An answer while it arrives.
struct Reply {
    stream: ChatStream,
    watch: Watch,
    adapter: AdapterKind,
    expected: Expected,
    /// Text that came so far.
    bytes: usize,
    /// How much of it and of arguments may come.
    longest: usize,
    name: ModelName,
    provider: Provider,
}

impl Reply {
    fn diagnosis(&self) -> Diagnosis<'_> {
        Diagnosis { model: &self.name, provider: &self.provider }
    }

    async fn next(&mut self) -> Result<Chunk, Stop> {
        loop {
            let event = match self.watch.wait(self.stream.next()).await {
                Err(phase) => return Err(Stop::Failed(self.diagnosis().timeout(phase))),
                Ok(None) if !self.watch.has_events() => return Err(self.nothing()),
                Ok(None) => return Err(Stop::Failed(self.diagnosis().malformed(CUT))),
                Ok(Some(Err(error))) => return Err(self.stop(error)),
                Ok(Some(Ok(event))) => event,
            };
            let piece = match event {
                ChatStreamEvent::Chunk(chunk) => Some(Chunk::Text(chunk.content)),
                ChatStreamEvent::ReasoningChunk(chunk) => Some(Chunk::Reasoning(chunk.content)),
                ChatStreamEvent::End(end) => return self.end(end),
                // Pieces of tool calls are useless until they are complete.
                _ => None,
            };
            if let Some(Chunk::Text(text) | Chunk::Reasoning(text)) = &piece {
                self.bytes += text.len();
            }
            if self.bytes + self.watch.pieces().bytes() > self.longest {
                let detail = format!("it is longer than {} bytes, and went on", self.longest);
                return Err(Stop::Failed(self.diagnosis().malformed(&detail)));
            }
            if let Some(piece) = piece {
                return Ok(piece);
            }
        }
    }

    /// The end without an event before it: either this server answered in one piece, or the
    /// connection was cut at once.
    fn nothing(&self) -> Stop {
        match self.watch.has_frames() && !self.provider.streaming.is_known() {
            true => Stop::NoStream { is_said: false },
            false => Stop::Failed(self.diagnosis().malformed(CUT)),
        }
    }

    fn end(&self, end: StreamEnd) -> Result<Chunk, Stop> {
        if !self.watch.has_events() {
            return Err(self.nothing());
        }
        // For these two the library makes an end up when the connection closes early.
        let made_up = matches!(self.adapter, AdapterKind::Gemini | AdapterKind::OpenAIResp);
        if made_up && end.captured_stop_reason.is_none() {
            return Err(Stop::Failed(self.diagnosis().malformed(CUT)));
        }
        let content = end.captured_content.unwrap_or_default();
        let blocks = self.watch.pieces().thoughts().to_vec();
        let thinking = Thinking::of(&self.name, &content, end.captured_reasoning_content, &blocks);
        let text = content.texts().concat();
        let calls = match self.adapter {
            AdapterKind::OpenAI => self.pieced_calls(),
            _ => content.into_tool_calls(),
        };
        let (stop, usage) = (end.captured_stop_reason, end.captured_usage);
        let returned = Returned { thinking, text, calls, stop, usage };
        self.expected.answer(returned, &self.diagnosis()).map(Chunk::End).map_err(Stop::Failed)
    }

    fn pieced_calls(&self) -> Vec<ToolCall> {
        let pieces = self.watch.pieces();
        let whole = pieces.calls().iter().map(|call| ToolCall {
            call_id: call.id.clone(),
            fn_name: call.name.clone(),
            fn_arguments: Value::String(call.arguments.clone()),
            thought_signatures: None,
        });
        whole.collect()
    }

    fn stop(&self, error: genai::Error) -> Stop {
        if let Some(reason) = self.watch.pieces().blocked() {
            return Stop::Failed(self.diagnosis().refused(reason, "the prompt was blocked"));
        }
        let error = self.diagnosis().of(error);
        match &error {
            ModelError::Rejected { detail, .. } | ModelError::Unavailable { detail, .. }
                if !self.watch.has_events() && refuses_to_stream(detail) =>
            {
                Stop::NoStream { is_said: true }
            }
            _ => Stop::Failed(error),
        }
    }

    fn starting_with(self, first: Chunk) -> Pieces {
        let rest = (!matches!(first, Chunk::End(_))).then_some(self);
        let rest = stream::unfold(rest, |reply| async {
            let mut reply = reply?;
            match reply.next().await {
                Ok(end @ Chunk::End(_)) => Some((Ok(end), None)),
                Ok(piece) => Some((Ok(piece), Some(reply))),
                Err(Stop::Failed(error)) => Some((Err(error), None)),
                Err(Stop::NoStream { .. }) => Some((Err(reply.diagnosis().malformed(CUT)), None)),
            }
        });
        stream::iter([Ok(first)]).chain(rest).boxed()
    }
}

/// Whether a provider's words say that it cannot stream, for example "Cannot use tools with
/// stream" of older llama.cpp servers.
fn refuses_to_stream(detail: &str) -> bool {
    let words = detail.to_lowercase();
    let refusal = ["cannot", "not support", "unsupported", "not allowed", "must be false"];
    words.contains("stream") && refusal.iter().any(|word| words.contains(word))
}

/// Whether a provider's words say that it does not know schemas for answers.
fn refuses_schemas(detail: &str) -> bool {
    let words = detail.to_lowercase();
    ["response_format", "json_schema", "text.format"].iter().any(|word| words.contains(word))
}

/// Whether a provider's words say that it wants back what its model thought, as DeepSeek and Kimi do.
fn misses_thinking(detail: &str) -> bool {
    let words = detail.to_lowercase();
    words.contains("reasoning_content") && ["passed back", "missing"].iter().any(|word| words.contains(word))
}

/// Whether they say that it does not take what was thought.
fn refuses_thinking(detail: &str) -> bool {
    let words = detail.to_lowercase();
    ["reasoning_content", "thinking", "thought", "signature"].iter().any(|word| words.contains(word))
}
