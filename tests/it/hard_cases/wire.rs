//! Answers in the wire formats of OpenAI's chat completions and of Anthropic's messages.

use serde_json::{Value, json};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenAi,
    Anthropic,
}

pub(super) const FORMATS: [Format; 2] = [Format::OpenAi, Format::Anthropic];

/// What a model says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) text: &'a str,
    /// A tool, and pieces of its arguments.
    pub(super) call: Option<(&'a str, &'a [&'a str])>,
    /// OpenAI's word for the end.
    pub(super) finish: &'a str,
}

/// Nothing but text.
pub(super) fn text(text: &str) -> Said<'_> {
    Said { text, call: None, finish: "stop" }
}

/// A call of a tool, announced by some words.
pub(super) fn call<'a>(tool: &'a str, arguments: &'a [&'a str]) -> Said<'a> {
    Said { text: "Well – now.", call: Some((tool, arguments)), finish: "tool_calls" }
}

impl Format {
    /// The kind of provider in the configuration.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::OpenAi => "openai-compatible",
            Self::Anthropic => "anthropic",
        }
    }

    /// The events of a stream.
    pub(super) fn events(self, said: Said<'_>) -> Vec<String> {
        match self {
            Self::OpenAi => openai_events(said),
            Self::Anthropic => anthropic_events(said),
        }
    }

    /// The answer in one piece.
    pub(super) fn whole(self, said: Said<'_>) -> Value {
        let arguments = said.call.map(|(tool, pieces)| (tool, pieces.concat()));
        match self {
            Self::OpenAi => {
                let calls: Vec<Value> = arguments
                    .iter()
                    .map(|(tool, arguments)| {
                        let function = json!({"name": tool, "arguments": arguments});
                        json!({"id": "call_1", "type": "function", "function": function})
                    })
                    .collect();
                let mut message = json!({"role": "assistant", "content": said.text});
                if !calls.is_empty() {
                    message["tool_calls"] = json!(calls);
                }
                let choice = json!({"index": 0, "message": message, "finish_reason": said.finish});
                json!({"id": "1", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 5}})
            }
            Self::Anthropic => {
                let mut content = vec![json!({"type": "text", "text": said.text})];
                content.extend(arguments.iter().map(|(tool, arguments)| {
                    let input: Value = serde_json::from_str(arguments).unwrap();
                    json!({"type": "tool_use", "id": "call_1", "name": tool, "input": input})
                }));
                json!({"type": "message", "role": "assistant", "content": content,
                    "stop_reason": anthropic_finish(said.finish),
                    "usage": {"input_tokens": 9, "output_tokens": 5}})
            }
        }
    }

    /// An error as the provider words it.
    pub(super) fn error(self, kind: &str, message: &str) -> Value {
        match self {
            Self::OpenAi => json!({"error": {"message": message, "type": kind, "code": kind}}),
            Self::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
        }
    }
}

pub(super) fn openai_event(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [choice]}))
}

fn openai_events(said: Said<'_>) -> Vec<String> {
    let mut events = vec![openai_event(&json!({"role": "assistant", "content": ""}), None)];
    events.extend(said.text.split_inclusive(' ').map(|word| openai_event(&json!({"content": word}), None)));
    if let Some((tool, arguments)) = said.call {
        let head = json!({"index": 0, "id": "call_1", "function": {"name": tool, "arguments": ""}});
        events.push(openai_event(&json!({"tool_calls": [head]}), None));
        events.extend(arguments.iter().map(|piece| {
            let piece = json!({"index": 0, "function": {"arguments": piece}});
            openai_event(&json!({"tool_calls": [piece]}), None)
        }));
    }
    events.push(openai_event(&json!({}), Some(said.finish)));
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}});
    events.push(format!("data: {usage}\n\n"));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn anthropic_finish(finish: &str) -> &str {
    match finish {
        "stop" => "end_turn",
        "tool_calls" => "tool_use",
        "length" => "max_tokens",
        other => other,
    }
}

fn anthropic_event(name: &str, mut data: Value) -> String {
    data["type"] = json!(name);
    format!("event: {name}\ndata: {data}\n\n")
}

fn anthropic_events(said: Said<'_>) -> Vec<String> {
    let start = json!({"message": {"role": "assistant", "usage": {"input_tokens": 9, "output_tokens": 1}}});
    let mut events = vec![anthropic_event("message_start", start)];
    let block = json!({"index": 0, "content_block": {"type": "text", "text": ""}});
    events.push(anthropic_event("content_block_start", block));
    events.extend(said.text.split_inclusive(' ').map(|word| {
        let delta = json!({"type": "text_delta", "text": word});
        anthropic_event("content_block_delta", json!({"index": 0, "delta": delta}))
    }));
    events.push(anthropic_event("content_block_stop", json!({"index": 0})));
    if let Some((tool, arguments)) = said.call {
        let block = json!({"type": "tool_use", "id": "call_1", "name": tool, "input": {}});
        events.push(anthropic_event("content_block_start", json!({"index": 1, "content_block": block})));
        events.extend(arguments.iter().map(|piece| {
            let delta = json!({"type": "input_json_delta", "partial_json": piece});
            anthropic_event("content_block_delta", json!({"index": 1, "delta": delta}))
        }));
        events.push(anthropic_event("content_block_stop", json!({"index": 1})));
    }
    let delta = json!({"stop_reason": anthropic_finish(said.finish)});
    events.push(anthropic_event("message_delta", json!({"delta": delta, "usage": {"output_tokens": 5}})));
    events.push(anthropic_event("message_stop", json!({})));
    events
}
