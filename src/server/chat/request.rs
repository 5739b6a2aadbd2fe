//! The two bodies that `POST /api/chat` takes, as one turn of a conversation.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::config::ChatReply;
use super::super::error::ApiError;
use super::answer::Question;
use super::files::{self, Attachment};
use crate::orchestrator::MAX_ID_BYTES;
use crate::repository::Message;
use crate::task::{AllowedTools, Budget, Mention, ModelName, Priority, ToolAllowance};

/// The body: the shape of the original system (`message`), or that of the AI SDK's `useChat`
/// (`messages`, `trigger`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::server) struct ChatBody {
    /// The thread, any text; made if it is unknown. A body with `messages` may leave it out: the thread
    /// is then named after the first of them.
    #[schemars(with = "String", length(min = 1, max = MAX_ID_BYTES))]
    id: Option<String>,
    /// What the user says; either this or `messages` is required.
    message: Option<UiMessage>,
    /// The body of `useChat`: the last message counts, earlier ones are read from the thread.
    messages: Option<Vec<UiMessage>>,
    /// The body of `useChat`: `submit-message` or `regenerate-message`.
    trigger: Option<String>,
    /// The model to use instead of the configured ones.
    chat_model: Option<ModelName>,
    /// Only with `auto` does a message become a task.
    tool_choice: Option<ToolChoice>,
    /// Tools, servers, workflows and agents that the user named.
    mentions: Option<Vec<Mention>>,
    /// Tools by MCP server; all servers if absent.
    allowed_mcp_servers: Option<BTreeMap<String, AllowedTools>>,
    /// Built-in toolkits; all if absent.
    allowed_app_default_toolkit: Option<Vec<String>>,
    /// The agent of the configuration that answers, or does the work.
    agent_id: Option<String>,
    /// The preset of the configuration that the task begins from, should it become one.
    preset: Option<String>,
    /// Files that go with the message; models are told their names.
    attachments: Option<Vec<Attachment>>,
    /// Of the task, should it become one.
    priority: Option<Priority>,
    #[serde(deserialize_with = "crate::task::object")]
    budget: Option<Budget>,
    /// Whether the stream of a task has what its models say, as it comes, as reasoning parts. Such a stream
    /// cannot be counted: it has no `x-workflow-run-id`.
    words: bool,
}

/// A message as the AI SDK has it. `content` is what older clients sent instead of parts.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UiMessage {
    /// Unique within the thread; made if it is absent.
    id: Option<String>,
    /// `user`.
    role: Option<String>,
    /// `{"type": "text", "text": …}` and other parts of a UI message.
    parts: Option<Vec<Value>>,
    /// What older clients send instead of parts.
    content: Option<String>,
}

/// Whether the model, or the engine, may use tools by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToolChoice {
    /// As the message needs it.
    #[default]
    Auto,
    /// No tools: never a task.
    None,
    /// Only after asking: never a task by itself.
    Manual,
}

/// What a user said, and what may be done about it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) thread_id: String,
    pub(super) message_id: String,
    pub(super) parts: Vec<Value>,
    /// The parts as text, for rules and models.
    pub(super) text: String,
    pub(super) model: Option<ModelName>,
    pub(super) tool_choice: ToolChoice,
    pub(super) tools: ToolAllowance,
    /// The preset that it begins from, should it become a task.
    pub(super) preset: Option<String>,
    /// How urgent it is, should it become a task.
    pub(super) priority: Priority,
    /// What it may consume, should it become a task, where that differs from the configuration.
    pub(super) budget: Budget,
    /// Whether what the models of a task say is wanted as it comes.
    pub(super) words: bool,
    /// Whether another answer to an old message is wanted.
    pub(super) is_repeated: bool,
    /// Whether the thread has the message already, and it is answered anew.
    pub(super) is_anew: bool,
    /// Whether the body had the shape of `useChat`.
    is_use_chat: bool,
}

impl ChatBody {
    /// The turn, or what is missing from the body.
    pub(super) fn into_turn(self) -> Result<Turn, ApiError> {
        // Some clients name no thread, but each sends its whole conversation.
        let first = self.messages.as_ref().and_then(|messages| messages.first()?.id.clone());
        let thread_id = self.id.or(first.filter(|_| self.message.is_none())).filter(|id| !id.is_empty());
        let is_use_chat = self.message.is_none() && self.messages.is_some();
        let (field, message) = match (self.message, self.messages) {
            (Some(message), _) => ("message", Some(message)),
            (None, messages) => ("messages", messages.and_then(|mut messages| messages.pop())),
        };
        let (Some(thread_id), Some(message)) = (thread_id, message) else {
            return Err(ApiError::bad_request("Missing required fields: id, message"));
        };
        check_id("id", &thread_id)?;
        if message.role.as_deref().is_some_and(|role| role != "user") {
            return Err(ApiError::invalid(field, "the last message must be the user's (role \"user\")"));
        }
        let given_id = message.id.clone().filter(|id| !id.is_empty());
        let message_id = given_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        check_id(&format!("{field}.id"), &message_id)?;
        let mut parts = message.into_parts();
        parts.extend(self.attachments.unwrap_or_default().into_iter().map(Attachment::into_part));
        let text = text_of(&parts);
        if text.trim().is_empty() {
            return Err(ApiError::invalid(
                field,
                "has no text: parts needs {\"type\": \"text\", \"text\": …}",
            ));
        }
        Ok(Turn {
            thread_id,
            message_id,
            parts,
            text,
            model: self.chat_model,
            tool_choice: self.tool_choice.unwrap_or_default(),
            tools: ToolAllowance {
                mentions: with_agent(self.mentions.unwrap_or_default(), self.agent_id),
                allowed_mcp_servers: self.allowed_mcp_servers,
                allowed_app_default_toolkit: self.allowed_app_default_toolkit,
                ..ToolAllowance::default()
            },
            preset: self.preset,
            priority: self.priority.unwrap_or_default(),
            budget: self.budget.unwrap_or_default(),
            words: self.words,
            is_repeated: self.trigger.as_deref() == Some("regenerate-message"),
            is_anew: false,
            is_use_chat,
        })
    }
}

pub(super) fn check_id(field: &str, id: &str) -> Result<(), ApiError> {
    if id.len() > MAX_ID_BYTES || id.contains('\0') {
        return Err(ApiError::invalid(field, &format!("must have 1 to {MAX_ID_BYTES} bytes and no NUL")));
    }
    Ok(())
}

impl UiMessage {
    fn into_parts(self) -> Vec<Value> {
        let text = || self.content.map(|text| json!({"type": "text", "text": text}));
        self.parts.filter(|parts| !parts.is_empty()).unwrap_or_else(|| text().into_iter().collect())
    }
}

/// The mentions, with the agent that was asked for outright before those that were mentioned.
fn with_agent(mut mentions: Vec<Mention>, agent: Option<String>) -> Vec<Mention> {
    if let Some(agent_id) = agent {
        let agent = Mention::Agent { name: agent_id.clone(), description: None, agent_id, icon: None };
        mentions.insert(0, agent);
    }
    mentions
}

impl Turn {
    /// A turn whose answer was lost, from what is stored of it.
    pub(super) fn again(message: Message, question: Question, words: bool) -> Self {
        let is_anew = question.anew.is_some();
        let stored = || message.parts.as_array().cloned().unwrap_or_default();
        let parts = question.anew.unwrap_or_else(stored);
        Self {
            thread_id: message.thread_id,
            message_id: message.id,
            text: text_of(&parts),
            parts,
            model: question.chat_model,
            tool_choice: question.tool_choice,
            tools: question.tools,
            priority: question.priority,
            budget: question.budget,
            preset: question.preset,
            words,
            is_repeated: false,
            is_anew,
            is_use_chat: true,
        }
    }

    /// What a task is answered with: what the client accepts, else what its kind of body
    /// expects, else what is configured.
    pub(super) fn reply(&self, headers: &HeaderMap, configured: ChatReply) -> ChatReply {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match () {
            () if accept.contains("text/event-stream") => ChatReply::Stream,
            () if accept.contains("application/json") => ChatReply::Json,
            () if self.is_use_chat => ChatReply::Stream,
            () => configured,
        }
    }
}

/// The parts of a message as text. Files are named, for the models are given text only; NUL
/// characters are replaced as everywhere.
pub(super) fn text_of(parts: &[Value]) -> String {
    let texts = parts.iter().filter_map(|part| match part["type"].as_str()? {
        "text" => part["text"].as_str().map(str::to_owned),
        "file" => Some(files::line(part)),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n").replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn turn(body: Value) -> Result<Turn, String> {
        serde_json::from_value::<ChatBody>(body).unwrap().into_turn().map_err(|refusal| refusal.message)
    }

    fn original() -> Value {
        json!({
            "id": "thread-123",
            "message": {"id": "msg-456", "role": "user", "parts": [{"type": "text", "text": "Hello there"}]},
            "chatModel": {"provider": "anthropic", "model": "claude"},
        })
    }

    fn use_chat() -> Value {
        json!({
            "id": "t", "trigger": "submit-message",
            "messages": [
                {"id": "1", "role": "user", "parts": [{"type": "text", "text": "old"}]},
                {"id": "2", "role": "assistant", "parts": [{"type": "step-start"}]},
                {"id": "3", "role": "user", "parts": [{"type": "text", "text": "new"}]},
            ],
        })
    }

    fn reply(body: Value, accept: Option<&'static str>) -> ChatReply {
        let accept = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept)));
        turn(body).unwrap().reply(&HeaderMap::from_iter(accept), ChatReply::Json)
    }

    #[test]
    fn both_shapes_are_read() {
        let first = turn(original()).unwrap();
        assert_eq!((first.thread_id.as_str(), first.message_id.as_str()), ("thread-123", "msg-456"));
        assert_eq!(first.text, "Hello there");
        assert_eq!(first.model.unwrap().to_string(), "anthropic/claude");
        let second = turn(use_chat()).unwrap();
        assert_eq!((second.message_id.as_str(), second.text.as_str()), ("3", "new"));
        let mut unnamed = use_chat();
        unnamed.as_object_mut().unwrap().remove("id");
        assert_eq!(turn(unnamed).unwrap().thread_id, "1", "the conversation has its first message's name");
    }

    #[test]
    fn the_accept_header_decides_before_the_shape_of_the_body() {
        assert_eq!(reply(original(), None), ChatReply::Json);
        assert_eq!(reply(use_chat(), None), ChatReply::Stream);
        assert_eq!(reply(use_chat(), Some("*/*")), ChatReply::Stream);
        assert_eq!(reply(original(), Some("text/event-stream")), ChatReply::Stream);
        assert_eq!(reply(use_chat(), Some("application/json")), ChatReply::Json);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(turn(json!({"id": "t"})).unwrap_err(), "Missing required fields: id, message");
        assert_eq!(turn(json!({"messages": []})).unwrap_err(), "Missing required fields: id, message");
        let empty = turn(json!({"id": "t", "message": {"parts": [{"type": "text", "text": " "}]}}));
        assert!(empty.unwrap_err().starts_with("message: has no text"));
        let assistant = turn(json!({"id": "t", "messages": [{"role": "assistant", "content": "x"}]}));
        assert!(assistant.unwrap_err().starts_with("messages: the last message"));
        assert!(turn(json!({"id": "t\u{0}", "message": {"content": "x"}})).unwrap_err().starts_with("id: "));
    }

    #[test]
    fn files_are_named_but_their_bytes_are_not_text() {
        let parts = [
            json!({"type": "text", "text": "see"}),
            json!({"type": "file", "filename": "a.png", "mediaType": "image/png", "url": "data:image/png;base64,AAAA"}),
        ];
        assert_eq!(text_of(&parts), "see\n[file a.png, image/png]");
    }
}
