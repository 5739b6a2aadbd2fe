//! The model turns and tool calls of one answer, and when it has grown too large for one.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answer::{Answering, Cut};
use super::answer_frames::AnswerFrames;
use super::live::Saying;
use super::request::ToolChoice;
use super::task_frames::call_id;
use crate::models::{Answer, Chunk, Message as ModelMessage, ModelError, Request, Role, ToolSpec};
use crate::orchestrator::{Called, GO_ON, GrownCall, cut, marked};
use crate::task::{
    Effect, Fault, FaultClass, Labels, MAX_DEPTH, Source, TOO_DEEP, Taint, Task, Timestamp, ToolRequest,
    counted, is_too_deep, secrets_in,
};
use crate::tools::{CallContext, Fence, Tool, ToolError, ToolOutput};

/// What the model is told about itself, without tools and with them.
const INSTRUCTIONS: &str = include_str!("../prompts/chat.md");
const WITH_TOOLS: &str = include_str!("../prompts/chat_tools.md");

/// What a model sees of one tool result at most, in bytes.
const RESULT_BYTES: usize = 16 * 1024;

/// How much of the window a question takes at most, and what was done for its answer, in percent.
const QUESTION: u64 = 25;
const WORK: u64 = 20;

/// An answer of a model, piece by piece.
type Pieces = BoxStream<'static, Result<Chunk, ModelError>>;

/// What was done for an answer so far.
pub(super) struct Work {
    pub(super) frames: AnswerFrames,
    /// Everything that was called, in order: if the answer becomes a task, these are its facts.
    pub(super) calls: Vec<GrownCall>,
    /// Behind the question: what the model said and what tools brought.
    messages: Vec<ModelMessage>,
    tool_calls: u32,
    tokens: u64,
    /// What it has read.
    pub(super) taint: Taint,
    began: Instant,
}

impl Work {
    /// Nothing yet, behind a conversation for which this was read.
    pub(super) fn behind(taint: Taint) -> Self {
        Self {
            frames: AnswerFrames::default(),
            calls: Vec::new(),
            messages: Vec::new(),
            tool_calls: 0,
            tokens: 0,
            taint,
            began: Instant::now(),
        }
    }

    /// How much was said behind the question.
    fn bytes(&self) -> usize {
        self.messages.iter().map(ModelMessage::bytes).sum()
    }
}

impl Answering {
    /// Turn by turn to the end of the answer; or why it has to become a task.
    pub(super) async fn turns(&self, saying: &Saying, work: &mut Work) -> Result<Option<String>, Cut> {
        let tools = self.tools().await?;
        loop {
            let answer = self.ask(saying, work, &tools).await?;
            if answer.is_cut() {
                // Where no task may come of it, what was said so far is the answer.
                if let Some(reason) = self.outgrows(work) {
                    return Ok(Some(reason).filter(|_| self.has_tools()));
                }
                work.messages.push(ModelMessage::User(GO_ON.to_owned()));
                work.frames.goes_on();
                continue;
            }
            if answer.requests.is_empty() {
                return Ok(None);
            }
            for request in answer.requests {
                let tool = self.tool(&request.tool);
                let handed_over = self.state.orchestrator.hands_over(&tools, &request.tool);
                let task_only = || self.is_for_a_task(work, tool.as_deref()?, &request);
                if let Some(reason) = handed_over.or_else(task_only).or_else(|| self.outgrows(work)) {
                    return Ok(Some(reason));
                }
                self.call(saying, work, tool.as_deref(), request).await;
            }
            saying.say(work.frames.next_turn());
        }
    }

    async fn tools(&self) -> Result<Vec<ToolSpec>, Cut> {
        match self.has_tools() {
            true => self.state.orchestrator.tools_for_chat(&self.as_task()).await.map_err(Cut::Engine),
            false => Ok(Vec::new()),
        }
    }

    /// Without automatic tools a message is answered by the model alone.
    fn has_tools(&self) -> bool {
        self.state.config.chat.tools && self.question.tool_choice == ToolChoice::Auto
    }

    fn tool(&self, name: &str) -> Option<std::sync::Arc<dyn Tool>> {
        let tools = self.state.orchestrator.tools();
        tools.find(name, &self.question.tools).filter(|_| self.has_tools())
    }

    /// What the model is told before anything else.
    pub(super) fn instructions(&self) -> String {
        let own = if self.has_tools() { WITH_TOOLS } else { INSTRUCTIONS };
        match self.state.orchestrator.agent_instructions(&self.question.tools) {
            Some(agent) => format!("{own}\n\n{agent}"),
            None => own.to_owned(),
        }
    }

    async fn ask(&self, saying: &Saying, work: &mut Work, tools: &[ToolSpec]) -> Result<Answer, Cut> {
        // A very long question is told by its beginning; the thread has all of it.
        let question = cut(&format!("{}{}", self.text, self.files), self.window.bytes(QUESTION));
        let mut request = Request::new(Role::Chat, &self.text, self.instructions(), question);
        request.messages.extend(self.pictures.iter().cloned().map(ModelMessage::Picture));
        request.messages.splice(0..0, self.history.iter().cloned());
        request.messages.extend(work.messages.iter().cloned());
        request.tools = tools.to_vec();
        let asked_at = self.now();
        let mut pieces = self.pieces(request).await.map_err(Cut::Model)?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(Cut::Model)?;
            saying.say(work.frames.frames(&piece));
            if let Chunk::End(answer) = piece {
                self.refuse_depth(&answer)?;
                self.note_answer(work, asked_at, &answer);
                return Ok(answer);
            }
        }
        let detail = "the stream ended before the answer did".to_owned();
        Err(Cut::Model(ModelError::Malformed { model: self.model.name().to_string(), detail }))
    }

    /// The answer of the model, which is asked again for as long as nothing of it has come.
    async fn pieces(&self, request: Request) -> Result<Pieces, ModelError> {
        self.state.orchestrator.patience().insist(|| self.model.stream(request.clone())).await
    }

    /// What is nested too deep can be neither recorded nor called.
    fn refuse_depth(&self, answer: &Answer) -> Result<(), Cut> {
        let deep = answer.requests.iter().find(|request| is_too_deep(&request.arguments));
        deep.map_or(Ok(()), |request| {
            let detail =
                format!("the arguments for {} are nested deeper than {MAX_DEPTH} levels", request.tool);
            Err(Cut::Model(ModelError::Malformed { model: self.model.name().to_string(), detail }))
        })
    }

    fn note_answer(&self, work: &mut Work, asked_at: Timestamp, answer: &Answer) {
        work.tokens += answer.usage.input_tokens + answer.usage.output_tokens;
        let Answer { text, requests, thinking, .. } = answer.clone();
        work.messages.push(ModelMessage::Assistant { text, requests, thinking });
        let parts = match work.calls.is_empty() {
            true => vec![self.instructions(), self.before(), self.text.clone() + &self.files],
            false => Vec::new(),
        };
        let what = Called::Model { model: self.model.name().clone(), parts, answer: answer.clone() };
        work.calls.push(GrownCall { asked_at, ended_at: self.now(), what });
    }

    /// Why only a task may make this call, if so. One that nobody can make is answered here, with what is wrong
    /// with it.
    fn is_for_a_task(&self, work: &Work, tool: &dyn Tool, request: &ToolRequest) -> Option<String> {
        if tool.problem(&request.arguments).is_some() {
            return None;
        }
        let labels = self.labels(tool, &request.arguments);
        self.state.orchestrator.needs_task(tool.description(), labels, &work.taint)
    }

    /// Why the answer has become work for a task, if it has.
    fn outgrows(&self, work: &Work) -> Option<String> {
        let limits = &self.state.config.chat;
        // A task goes by its own budget: an answer that has used that up has to be one that may wait for more.
        let budget = self.state.orchestrator.budget_of(&self.as_task()).unwrap_or(self.question.budget);
        let most = budget.tool_calls.unwrap_or(u32::MAX).min(limits.task_after_calls);
        match () {
            () if work.tool_calls >= most => {
                Some(format!("it needs more than {}", counted(most, "tool call")))
            }
            () if work.began.elapsed() >= Duration::from_millis(limits.task_after_ms) => {
                Some(format!("it takes longer than {} ms", limits.task_after_ms))
            }
            // Behind history and question a quarter of the window is left, for this and the answer: a
            // task can go on beyond it.
            () if work.bytes() + RESULT_BYTES > self.window.bytes(WORK) => {
                Some("it does not fit into the window of the model".to_owned())
            }
            () if work.tokens >= limits.task_after_tokens => {
                Some(format!("it takes more than {} tokens", limits.task_after_tokens))
            }
            () => None,
        }
    }

    /// What is known of a call besides its effect. What is answered is a person's; the rest of the
    /// conversation is not theirs alone.
    fn labels(&self, tool: &dyn Tool, arguments: &Value) -> Labels {
        let tools = self.state.orchestrator.tools();
        let labels = tools.labels_of_call(tool.description(), arguments, std::slice::from_ref(&self.text));
        Labels { secret: !secrets_in(arguments).is_empty(), ..labels }
    }

    /// Calls a tool that only reads, and tells client and model how that ended.
    async fn call(&self, saying: &Saying, work: &mut Work, tool: Option<&dyn Tool>, request: ToolRequest) {
        work.tool_calls += 1;
        let number = work.calls.len() as u32 + 1;
        let id = call_id(0, number);
        saying.say(work.frames.called(&id, &request.tool, &request.arguments));
        let asked_at = self.now();
        let outcome = match tool {
            Some(tool) => self.outcome(tool, number, request.arguments.clone()).await,
            None => Err(Fault::permanent("tool_unknown", format!("there is no tool {}", request.tool))),
        };
        let labels = tool.map(|tool| self.labels(tool, &request.arguments)).unwrap_or_default();
        let source = Source { tool: request.tool.clone(), step: 0, call: number, task: None };
        let read = Labels { private: labels.private && outcome.is_ok(), ..labels };
        work.taint.take(read, &source);
        let (text, is_error) = told(&outcome);
        let shown = match (&outcome, is_error) {
            (Ok(output), false) => Ok(output.content.clone()),
            _ => Err(text.clone()),
        };
        saying.say([work.frames.returned(&id, shown)]);
        work.messages.push(ModelMessage::ToolResult {
            id: request.id.clone(),
            tool: request.tool.clone(),
            content: if labels.untrusted {
                marked(&request.tool, &cut(&text, RESULT_BYTES))
            } else {
                cut(&text, RESULT_BYTES)
            },
            is_error,
        });
        let what = Called::Tool { request, effect: Effect::ReadOnly, labels, outcome };
        work.calls.push(GrownCall { asked_at, ended_at: self.now(), what });
    }

    async fn outcome(&self, tool: &dyn Tool, number: u32, arguments: Value) -> Result<ToolOutput, Fault> {
        let context = CallContext {
            idempotency_key: Task::idempotency_key(self.id, 0, number),
            timeout: Duration::from_millis(self.state.config.chat.task_after_ms),
            cancel: CancellationToken::new(),
            max_output_bytes: self.state.orchestrator.limits().max_output_bytes,
            // It only reads: nothing can be done twice.
            fence: Fence::default(),
            is_confidential: false,
        };
        // Whoever stops the answer drops this call, and it must not go on for nobody.
        let _cancel = context.cancel.clone().drop_guard();
        if let Some(problem) = tool.problem(&arguments) {
            return Err(ToolError::misfit(&tool.description().name, &problem).fault());
        }
        match tool.call(arguments, context).await {
            Ok(output) if is_too_deep(&output.content) => {
                let message = format!("the result is nested deeper than {MAX_DEPTH} levels");
                Err(Fault::new(FaultClass::Permanent, TOO_DEEP, message))
            }
            outcome => outcome.map_err(|error| error.fault()),
        }
    }

    fn now(&self) -> Timestamp {
        self.state.orchestrator.now()
    }
}

/// The outcome of a call as the model reads it, and whether it is an error.
fn told(outcome: &Result<ToolOutput, Fault>) -> (String, bool) {
    match outcome {
        Ok(output) => match &output.content {
            Value::String(text) => (text.clone(), output.is_error),
            other => (other.to_string(), output.is_error),
        },
        Err(fault) => (fault.message.clone(), true),
    }
}
