//! What a model is asked and what it answers, in our own types.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Thinking;
use crate::task::{BlobHash, CUT_SHORT, CallAt, ModelName, Payload, ToolRequest, Usage};

/// What a model is asked for; decides which of the configured models answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A simple chat answer.
    Chat,
    /// Does this message need a task?
    Detect,
    /// Which steps lead to the goal?
    Plan,
    /// Do this step.
    Execute,
    /// Is the goal reached?
    Evaluate,
    /// Compress this context.
    Summarize,
}

/// One question to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it is for.
    pub role: Role,
    /// The goal in the user's own words, apart from the prompt built around it. Rules (the
    /// offline model) read this instead of guessing at the prompt.
    pub goal: String,
    /// Instructions that precede the conversation.
    pub system: String,
    /// What the conversation is about, before its first message and part of it: what stays the
    /// same from call to call, so that a provider may keep what it made of it. May be empty.
    pub background: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools it may ask for. For [`Role::Plan`] these are the tools a plan may name; they are
    /// described in the prompt and must not be offered to the provider as callable.
    pub tools: Vec<ToolSpec>,
    /// The JSON Schema the answer's text must satisfy, if it must be JSON.
    pub schema: Option<Value>,
    /// At most so many tokens of answer; the model's own limit otherwise.
    pub max_output_tokens: Option<u32>,
    /// Under which call of which step the answer is recorded, if it is one's. What is asked for a step
    /// besides is call 0 of it.
    pub at: Option<CallAt>,
}

impl Request {
    /// A request with instructions and one user message.
    pub fn new(role: Role, goal: &str, system: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            role,
            goal: goal.to_owned(),
            system: system.into(),
            background: String::new(),
            messages: vec![Message::User(user.into())],
            tools: Vec::new(),
            schema: None,
            max_output_tokens: None,
            at: None,
        }
    }
}

impl Request {
    /// The hash of everything that is said in it. Tools, which are told apart from that, do not count.
    pub fn hash(&self) -> BlobHash {
        let said = serde_json::json!([self.system, self.background, self.messages]);
        Payload::Inline(said).hash()
    }

    /// The same for a model that cannot see: its pictures are told of in the words that they go with.
    pub(super) fn without_pictures(&self) -> Self {
        let mut messages: Vec<Message> = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            match (message, messages.last_mut()) {
                (Message::Picture(picture), Some(Message::User(text))) => {
                    text.push('\n');
                    text.push_str(&picture.in_words());
                }
                (Message::Picture(picture), _) => messages.push(Message::User(picture.in_words())),
                (other, _) => messages.push(other.clone()),
            }
        }
        Self { messages, ..self.clone() }
    }

    /// The same without what models thought.
    pub(super) fn without_thinking(&self) -> Self {
        let mut bare = self.clone();
        for message in &mut bare.messages {
            if let Message::Assistant { thinking, .. } = message {
                *thinking = None;
            }
        }
        bare
    }

    /// Whether a turn has what its model thought.
    pub(super) fn has_thinking(&self) -> bool {
        self.messages.iter().any(|message| matches!(message, Message::Assistant { thinking: Some(_), .. }))
    }

    /// Whether something is shown in it.
    pub(super) fn has_pictures(&self) -> bool {
        self.messages.iter().any(|message| matches!(message, Message::Picture(_)))
    }

    /// How many bytes the prompt has, everything that a provider counts included.
    pub fn bytes(&self) -> u64 {
        let messages: usize = self.messages.iter().map(Message::bytes).sum();
        let tools: usize = self.tools.iter().map(ToolSpec::bytes).sum();
        let schema = self.schema.as_ref().map_or(0, |schema| schema.to_string().len());
        (self.system.len() + self.background.len() + messages + tools + schema) as u64
    }
}

impl ToolSpec {
    /// How many bytes of a prompt it takes.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.description.len() + self.schema.to_string().len()
    }
}

impl Message {
    /// How many bytes of a prompt it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::User(text) => text.len(),
            Self::Assistant { text, requests, thinking } => {
                let asked = requests.iter().map(|request| {
                    request.id.len() + request.tool.len() + request.arguments.to_string().len()
                });
                text.len() + asked.sum::<usize>() + thinking.as_ref().map_or(0, |thinking| thinking.bytes())
            }
            Self::ToolResult { id, tool, content, .. } => id.len() + tool.len() + content.len(),
            Self::Picture(picture) => picture.bytes(),
        }
    }
}

/// A picture counts as that much text, however many bytes it has: some 1,600 tokens, which is what the
/// providers charge at most for one that they have made small enough for their models.
pub const PICTURE_BYTES: usize = 4700;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// What the user, or the engine in the user's place, said.
    User(String),
    /// What the model said and which tools it asked for.
    Assistant {
        /// Its text; may be empty.
        text: String,
        /// The tools it asked for.
        requests: Vec<ToolRequest>,
        /// What it thought before it asked for them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thinking: Option<Box<Thinking>>,
    },
    /// What a tool returned.
    ToolResult {
        /// The request's id.
        id: String,
        /// The tool's full name.
        tool: String,
        /// Its result as text.
        content: String,
        /// Whether the tool called it an error.
        is_error: bool,
    },
    /// What the user showed with the words before it.
    Picture(Picture),
}

/// A picture as a model is shown it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// What its file is called; may be empty.
    pub name: String,
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    /// Its bytes in Base64.
    pub data: String,
}

impl Picture {
    /// How many bytes of a prompt it counts as.
    pub fn bytes(&self) -> usize {
        Self::bytes_of(&self.name)
    }

    /// The same of one that is called so and not read yet.
    pub fn bytes_of(name: &str) -> usize {
        name.len() + PICTURE_BYTES
    }

    /// What stands for it where it cannot be shown.
    pub fn in_words(&self) -> String {
        format!("[a picture that you cannot see: {}]", self.in_short())
    }

    /// Its name and its kind.
    pub fn in_short(&self) -> String {
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        format!("{name}, {}", self.media_type)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}, {}, {} bytes)", self.name, self.media_type, self.data.len())
    }
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its full name; letters, digits, `_` and `-`, at most 64 characters.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub schema: Value,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text; may be empty if tools are asked for.
    pub text: String,
    /// The tools it asks for.
    pub requests: Vec<ToolRequest>,
    /// What it thought before it asked for them, if its provider may want that back.
    pub thinking: Option<Box<Thinking>>,
    /// Why it stopped: `stop`, `length`, `tool-calls`, or the provider's own word.
    pub finish: String,
    /// What it consumed; `model_calls` is 1, or 0 if no language model was asked.
    pub usage: Usage,
    /// Who gave it, if that was not the model that was asked but one behind it.
    pub model: Option<ModelName>,
    /// Whether who gave it was shown none of the pictures of the request: it refused them, and was told their
    /// names.
    pub without_pictures: bool,
}

impl Answer {
    /// Whether it is a text that the limit of output tokens cut: there is more to be said.
    pub fn is_cut(&self) -> bool {
        self.requests.is_empty() && self.finish == CUT_SHORT
    }

    /// A plain text answer that consumed nothing but its call.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            requests: Vec::new(),
            thinking: None,
            finish: "stop".to_owned(),
            usage: Usage { model_calls: 1, ..Usage::default() },
            model: None,
            without_pictures: false,
        }
    }
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// More of the text.
    Text(String),
    /// More of the model's visible reasoning.
    Reasoning(String),
    /// The whole answer; always the last piece.
    End(Answer),
}

/// What is heard of an answer while it is made. It counts for nothing until the answer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// More of the text.
    Text(&'a str),
    /// More of the model's visible reasoning.
    Reasoning(&'a str),
    /// What was heard is void: another model is asked.
    Anew,
}

/// Is told what is heard.
pub type Hear<'a> = &'a (dyn for<'b> Fn(Heard<'b>) + Send + Sync);
