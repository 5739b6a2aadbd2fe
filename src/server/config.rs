//! What can be set about the way in over HTTP.

use serde::{Deserialize, Serialize};

use super::trials::ToolTrials;

/// The `[server]` table of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ServerConfig {
    /// Address and port to listen on. Beyond loopback only with a key.
    pub bind: String,
    /// Bytes of a request's body at most.
    pub max_body_bytes: usize,
    /// Bytes of a recording that is imported at most, unpacked.
    pub max_recording_bytes: usize,
    /// What a complex message gets by default; see [`ChatReply`].
    pub chat_reply: ChatReply,
    /// Milliseconds of silence after which an open stream says that it is alive.
    pub heartbeat_ms: u64,
    /// Which tools may be called outside of tasks; see [`ToolTrials`].
    pub tool_trials: ToolTrials,
    /// How simple messages are answered; the `[server.chat]` table.
    pub chat: ChatConfig,
}

/// How simple messages are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChatConfig {
    /// Bytes of the body of a message at most, with its files and, as clients send it, the conversation before;
    /// also of the other requests that may hold files.
    pub max_body_bytes: usize,
    /// Whether a model may call tools while it answers: those that only read and need nobody's
    /// approval. Whatever else it asks for makes a task of the answer.
    pub tools: bool,
    /// An answer that asks for more tool calls than this becomes a task.
    pub task_after_calls: u32,
    /// An answer that asks for a tool after so many milliseconds becomes a task.
    pub task_after_ms: u64,
    /// An answer that asks for a tool after its model turns took so many tokens becomes a task.
    pub task_after_tokens: u64,
    /// For how many milliseconds an answer goes on without anybody who reads it: a client that
    /// lost it comes back within this time, one that stays away wants it to stop.
    pub return_ms: u64,
    /// Bytes of the text files that go with a message, as far as a model is shown them.
    pub max_file_bytes: usize,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 * 1024 * 1024,
            tools: true,
            task_after_calls: 8,
            task_after_ms: 60_000,
            task_after_tokens: 50_000,
            return_ms: 5_000,
            max_file_bytes: 64 * 1024,
        }
    }
}

/// What a complex `POST /api/chat` is answered with when neither the `Accept` header nor the
/// shape of the body says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChatReply {
    /// One JSON object with the task's id.
    #[default]
    Json,
    /// A UI message stream that stays open over the task.
    Stream,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:8080".to_owned(),
            // One mebibyte of content, and room for what stands around it.
            max_body_bytes: 1024 * 1024 + 64 * 1024,
            max_recording_bytes: 64 * 1024 * 1024,
            chat_reply: ChatReply::default(),
            heartbeat_ms: 15_000,
            tool_trials: ToolTrials::default(),
            chat: ChatConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(serde_json::from_str::<ServerConfig>(r#"{"bnd": "0.0.0.0:1"}"#).is_err());
        let config: ServerConfig = serde_json::from_str(r#"{"chatReply": "stream"}"#).unwrap();
        assert_eq!(config, ServerConfig { chat_reply: ChatReply::Stream, ..ServerConfig::default() });
    }
}
