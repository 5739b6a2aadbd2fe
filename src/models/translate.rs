//! Between our types and those of the client library.

use std::iter;

use genai::adapter::AdapterKind;
use genai::chat::{
    CacheControl, ChatMessage, ChatOptions, ChatRequest, ChatRole, ContentPart, JsonSpec, MessageContent,
    ReasoningEffort, StopReason, Tool, ToolCall, ToolResponse,
};
use serde_json::{Value, json};

use crate::task::{CUT_SHORT, ModelName, ToolRequest, Usage};

use super::call_ids::CallIds;
use super::failure::Diagnosis;
use super::gauge::first_guess;
use super::tool_text;
use super::{Answer, Message, ModelError, Picture, Request, Role, Thinking, ToolSpec};

/// What the schema of an answer is called on the wire; only letters are allowed everywhere.
const SCHEMA_NAME: &str = "answer";

/// What is known of the other side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) adapter: AdapterKind,
    /// Whether it was seen to refuse schemas.
    pub(super) refuses_schemas: bool,
    /// Whether it was seen to ask for what its models thought.
    pub(super) wants_thinking: bool,
    /// The window of the model, if it is known.
    pub(super) window: Option<u64>,
}

/// The conversation as the library wants it, for this model.
pub(super) fn chat_request(request: &Request, name: &ModelName, dialect: Dialect) -> ChatRequest {
    let mut chat = ChatRequest::new(messages(request, name, dialect));
    let mut system = request.system.clone();
    if let (Some(schema), SchemaWay::Words) = (&request.schema, schema_way(request, dialect)) {
        system.push_str(&format!(
            "\n\nAnswer with one JSON value and nothing else. It satisfies this JSON Schema:\n{schema}"
        ));
    }
    let system = system.trim();
    if has_marks(request, dialect.adapter) && !system.is_empty() {
        chat.messages.insert(0, marked(ChatMessage::system(system)));
    } else if !system.is_empty() {
        chat = chat.with_system(system);
    }
    match offered(request) {
        [] => chat,
        tools => chat.with_tools(tools.iter().map(|tool| {
            Tool::new(tool.name.clone())
                .with_description(tool.description.clone())
                .with_schema(tool.schema.clone())
        })),
    }
}

/// The tools that the provider offers to the model: a plan only names its tools.
pub(super) fn offered(request: &Request) -> &[ToolSpec] {
    if request.role == Role::Plan { &[] } else { &request.tools }
}

/// Everything about the call that is not the conversation.
pub(super) fn options(request: &Request, dialect: Dialect) -> ChatOptions {
    let adapter = dialect.adapter;
    let mut options = ChatOptions::default()
        .with_capture_usage(true)
        .with_capture_content(true)
        .with_capture_tool_calls(true)
        .with_normalize_reasoning_content(true);
    // Elsewhere that would ask for a summary of it, which not every model or account may.
    if matches!(adapter, AdapterKind::Anthropic | AdapterKind::OpenAI) {
        options = options.with_capture_reasoning_content(true);
    }
    options.max_tokens = match request.max_output_tokens {
        Some(most) => Some(with_thoughts(most, request, dialect)),
        None => longest(request, dialect),
    };
    if adapter == AdapterKind::OpenAI {
        // Without an effort the library takes one from the model's name and cuts it off:
        // `qwen-max` would be asked for as `qwen`. A budget is what this adapter ignores.
        options.reasoning_effort = Some(ReasoningEffort::Budget(0));
    }
    let Some(schema) = &request.schema else {
        return options;
    };
    match schema_way(request, dialect) {
        SchemaWay::Words => {}
        SchemaWay::Native => {
            options.response_format = Some(JsonSpec::new(SCHEMA_NAME, schema.clone()).into());
        }
        SchemaWay::ChatCompletions => {
            let inner = json!({"name": SCHEMA_NAME, "strict": is_strict(schema), "schema": schema});
            let format = json!({"type": "json_schema", "json_schema": inner});
            options.extra_body = Some(json!({"response_format": format}));
        }
        SchemaWay::Responses => {
            let strict = is_strict(schema);
            let format =
                json!({"type": "json_schema", "name": SCHEMA_NAME, "strict": strict, "schema": schema});
            options.extra_body = Some(json!({"text": {"format": format}}));
        }
    }
    options
}

/// A limit with room for what the model thinks before it answers, as far as its window has some: providers count
/// that as output, and a model that thinks by default would say nothing within a short limit.
fn with_thoughts(most: u32, request: &Request, dialect: Dialect) -> u32 {
    const THOUGHTS: u32 = 4_096;
    let room = room(request, dialect).map_or(u32::MAX, |room| u32::try_from(room).unwrap_or(u32::MAX));
    most.saturating_add(THOUGHTS).min(room).max(most)
}

/// The longest answer there is room for, where the library would ask for one of 64,000 tokens: Anthropic
/// refuses a prompt with which that is more than the window.
fn longest(request: &Request, dialect: Dialect) -> Option<u32> {
    const USUAL: u64 = 64_000;
    let room = room(request, dialect).filter(|_| dialect.adapter == AdapterKind::Anthropic)?;
    u32::try_from(room.max(1024)).ok().filter(|_| room < USUAL)
}

/// About how many tokens the window has beside the prompt, if it is known.
fn room(request: &Request, dialect: Dialect) -> Option<u64> {
    dialect.window.map(|window| window.saturating_sub(first_guess(request.bytes())))
}

/// How a provider is told the schema. The library itself only knows strict schemas for
/// OpenAI and rewrites others until they are strict, after which a free-form object such as
/// the arguments of a tool can only be empty.
enum SchemaWay {
    Native,
    ChatCompletions,
    Responses,
    Words,
}

fn schema_way(request: &Request, dialect: Dialect) -> SchemaWay {
    let closed = request.schema.as_ref().is_some_and(is_closed);
    match dialect.adapter {
        _ if dialect.refuses_schemas => SchemaWay::Words,
        AdapterKind::OpenAI => SchemaWay::ChatCompletions,
        AdapterKind::OpenAIResp => SchemaWay::Responses,
        AdapterKind::Anthropic if closed => SchemaWay::Native,
        // Gemini refuses tools and a schema in one request.
        AdapterKind::Gemini if offered(request).is_empty() => SchemaWay::Native,
        _ => SchemaWay::Words,
    }
}

/// Whether every object of the schema lists its properties and allows no others.
fn is_closed(schema: &Value) -> bool {
    every_object(schema, &|object| {
        object.get("properties").is_some()
            && object.get("additionalProperties").is_none_or(|more| more == &Value::Bool(false))
    })
}

/// Whether the schema is strict in OpenAI's sense: closed, and every property required.
fn is_strict(schema: &Value) -> bool {
    every_object(schema, &|object| {
        let properties = object.get("properties").and_then(Value::as_object);
        let required = object.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        object.get("additionalProperties") == Some(&Value::Bool(false))
            && properties.is_some_and(|properties| properties.len() == required)
    })
}

fn every_object(schema: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    let is_object = match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    let inner = match schema {
        Value::Object(map) => map.values().all(|value| every_object(value, test)),
        Value::Array(items) => items.iter().all(|value| every_object(value, test)),
        _ => true,
    };
    inner && (!is_object || test(schema))
}

/// Whether the provider wants to be told how far a prompt stays the same. Others find out by
/// themselves. What is written into a cache costs more than what is not, so only a prompt that will
/// be sent again is marked: one with a background, or a conversation with tools.
fn has_marks(request: &Request, adapter: AdapterKind) -> bool {
    adapter == AdapterKind::Anthropic && (!request.background.is_empty() || !offered(request).is_empty())
}

/// A message up to whose end the provider may keep what it made of the prompt.
fn marked(message: ChatMessage) -> ChatMessage {
    message.with_options(CacheControl::Ephemeral)
}

/// The conversation with its background before it. Where the cache is marked, the background is a
/// message of its own; elsewhere it is the beginning of the first one, for there are servers that
/// want user and model to alternate.
fn messages(request: &Request, name: &ModelName, dialect: Dialect) -> Vec<ChatMessage> {
    let (background, has_marks) = (request.background.as_str(), has_marks(request, dialect.adapter));
    let mut chat = conversation(&request.messages, name, dialect);
    match chat.first_mut() {
        _ if background.is_empty() => {}
        Some(first) if !has_marks && first.role == ChatRole::User => {
            let text = ContentPart::from_text(format!("{background}\n\n{}", first.content.texts().concat()));
            let pictures = std::mem::take(&mut first.content).into_parts().into_iter();
            let pictures = pictures.filter(|part| part.as_text().is_none());
            first.content = MessageContent::from_parts(iter::once(text).chain(pictures).collect::<Vec<_>>());
        }
        _ if has_marks => chat.insert(0, marked(ChatMessage::user(background))),
        _ => chat.insert(0, ChatMessage::user(background)),
    }
    // The next turn sends all of this again, and one message more.
    if has_marks
        && !offered(request).is_empty()
        && let Some(last) = chat.pop()
    {
        chat.push(marked(last));
    }
    chat
}

fn conversation(messages: &[Message], name: &ModelName, dialect: Dialect) -> Vec<ChatMessage> {
    let mut chat = Vec::with_capacity(messages.len());
    let mut results: Vec<ToolResponse> = Vec::new();
    let mut ids = CallIds::default();
    for message in messages {
        if let Message::ToolResult { id, tool, content, is_error } = message {
            results.push(tool_response(&ids.of_result(id), tool, content, *is_error));
            continue;
        }
        flush(&mut results, &mut chat);
        match message {
            Message::User(text) => chat.push(ChatMessage::user(text.as_str())),
            Message::Assistant { text, requests, thinking } => {
                let thinking = thinking.as_deref().filter(|thinking| thinking.model == *name);
                chat.extend(assistant(text, requests, thinking, dialect, &mut ids));
            }
            Message::Picture(picture) => show(picture, &mut chat),
            Message::ToolResult { .. } => {}
        }
    }
    flush(&mut results, &mut chat);
    chat
}

/// A picture goes with the words before it.
fn show(picture: &Picture, chat: &mut Vec<ChatMessage>) {
    let Picture { name, media_type, data } = picture;
    let picture = ContentPart::from_binary_base64(media_type.as_str(), data.as_str(), Some(name.clone()));
    match chat.last_mut() {
        Some(last) if last.role == ChatRole::User => last.content.push(picture),
        _ => chat.push(ChatMessage::user(MessageContent::from_parts(vec![picture]))),
    }
}

/// The results of one turn go into one message: Anthropic wants them together.
fn flush(results: &mut Vec<ToolResponse>, chat: &mut Vec<ChatMessage>) {
    if !results.is_empty() {
        chat.push(ChatMessage::from(std::mem::take(results)));
    }
}

fn tool_response(id: &str, tool: &str, content: &str, is_error: bool) -> ToolResponse {
    let content = if is_error { format!("The tool reports an error: {content}") } else { content.to_owned() };
    ToolResponse::new(id, content).with_fn_name(tool)
}

/// `None` for a message that says nothing: providers refuse empty ones.
fn assistant(
    text: &str,
    requests: &[ToolRequest],
    thinking: Option<&Thinking>,
    dialect: Dialect,
    ids: &mut CallIds,
) -> Option<ChatMessage> {
    // What servers with OpenAI's interface do not ask for, many of them refuse.
    let with_words = dialect.wants_thinking || dialect.adapter != AdapterKind::OpenAI;
    let mut parts: Vec<ContentPart> =
        thinking.iter().flat_map(|thinking| thinking.parts(with_words)).collect();
    if dialect.wants_thinking && parts.is_empty() && !requests.is_empty() {
        // It was another model's turn. The field has to be there, and not empty.
        parts.push(ContentPart::ReasoningContent(" ".to_owned()));
    }
    if !text.is_empty() {
        parts.push(ContentPart::from_text(text));
    }
    parts.extend(requests.iter().enumerate().map(|(position, request)| {
        let mut call = ToolCall {
            call_id: ids.of_call(&request.id, dialect.adapter),
            fn_name: request.tool.clone(),
            fn_arguments: request.arguments.clone(),
            thought_signatures: None,
        };
        if let Some(thinking) = thinking {
            thinking.seal(position, &mut call);
        }
        ContentPart::ToolCall(call)
    }));
    (!parts.is_empty()).then(|| ChatMessage::assistant(MessageContent::from_parts(parts)))
}

/// What a provider returned, before it is known to be usable.
pub(super) struct Returned {
    pub(super) thinking: Option<Box<Thinking>>,
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) stop: Option<StopReason>,
    pub(super) usage: Option<genai::chat::Usage>,
}

/// What the request makes of an answer: which tools may be asked for and whether it is JSON.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    tools: Vec<ToolSpec>,
    json: bool,
    /// About how many tokens the prompt has, for servers that do not say.
    prompt: u64,
    /// Whether a person reads the answer as it is: to them a refusal is one, too.
    is_talk: bool,
    /// Whether its models may write calls as text. Those of Anthropic, Gemini and OpenAI's responses
    /// do not: JSON in their text is an example or a quotation.
    calls_in_text: bool,
}

impl Expected {
    /// What `request` expects of such a server.
    pub(super) fn by(request: &Request, dialect: Dialect) -> Self {
        Self {
            tools: offered(request).to_vec(),
            json: request.schema.is_some(),
            prompt: first_guess(request.bytes()),
            is_talk: request.role == Role::Chat,
            calls_in_text: dialect.adapter == AdapterKind::OpenAI,
        }
    }

    /// The answer in our types, or why it cannot be used and what it cost.
    pub(super) fn answer(&self, returned: Returned, diagnosis: &Diagnosis<'_>) -> Result<Answer, ModelError> {
        let mut spent = usage(returned.usage.as_ref());
        // A call is never free: what nobody reports is reckoned.
        if spent.input_tokens == 0 {
            spent.input_tokens = self.prompt;
        }
        if spent.output_tokens == 0 {
            let asked = returned.calls.iter().map(|call| call.fn_arguments.to_string().len());
            spent.output_tokens = first_guess((returned.text.len() + asked.sum::<usize>()) as u64);
        }
        self.read(returned, spent, diagnosis).map_err(|why| why.having_spent(spent))
    }

    fn read(
        &self,
        returned: Returned,
        usage: Usage,
        diagnosis: &Diagnosis<'_>,
    ) -> Result<Answer, ModelError> {
        let mut text = tool_text::without_thoughts(&returned.text).to_owned();
        let mut requests = Vec::new();
        let was_cut = is_cut(returned.stop.as_ref());
        for call in returned.calls {
            // Arguments that were cut are no JSON. Those that had not begun look like none at all.
            if was_cut && tool_text::is_nothing(&call.fn_arguments) {
                let detail = format!("it ended before the arguments for {} came", call.fn_name);
                return Err(diagnosis.malformed(&detail));
            }
            requests.push(tool_request(call, requests.len(), diagnosis)?);
        }
        if requests.is_empty() && !self.tools.is_empty() && self.calls_in_text {
            (text, requests) = tool_text::extract(&text, &self.tools);
        }
        let finish = finish(returned.stop.as_ref(), !requests.is_empty());
        if self.json && finish == CUT_SHORT && !tool_text::is_json(&text) {
            return Err(diagnosis.malformed("the limit of output tokens cut the JSON"));
        }
        let is_empty = requests.is_empty() && text.trim().is_empty();
        // Most of those who decline say nothing besides. What they do say, a person can read.
        let is_told = self.is_talk && !is_empty;
        if requests.is_empty() && !is_told && REFUSALS.contains(&finish.as_str()) {
            return Err(diagnosis.refused(&finish, &text));
        }
        if is_empty {
            return Err(diagnosis.malformed(&format!("it is empty (finish reason: {finish})")));
        }
        // Without results of tools to come, nobody wants it back.
        let thinking = returned.thinking.filter(|_| !requests.is_empty());
        Ok(Answer { requests, thinking, finish, usage, ..Answer::text(text) })
    }
}

fn tool_request(
    call: ToolCall,
    position: usize,
    diagnosis: &Diagnosis<'_>,
) -> Result<ToolRequest, ModelError> {
    let arguments = tool_text::arguments_from(call.fn_arguments).ok_or_else(|| {
        diagnosis.malformed(&format!("the arguments for {} are not a JSON object", call.fn_name))
    })?;
    let id = if call.call_id.is_empty() { format!("call-{}", position + 1) } else { call.call_id };
    Ok(ToolRequest { id, tool: call.fn_name, arguments })
}

/// How an answer ends that its provider stopped, or that its model did not want to give.
const REFUSALS: [&str; 2] = ["content-filter", "refusal"];

/// Whether a model was stopped in the middle of what it said.
fn is_cut(stop: Option<&StopReason>) -> bool {
    matches!(stop, None | Some(StopReason::MaxTokens(_) | StopReason::ContentFilter(_)))
}

fn finish(stop: Option<&StopReason>, asks_for_tools: bool) -> String {
    match stop {
        Some(StopReason::MaxTokens(_)) => CUT_SHORT,
        _ if asks_for_tools => "tool-calls",
        Some(StopReason::ContentFilter(_)) => "content-filter",
        Some(StopReason::Other(word)) => word,
        _ => "stop",
    }
    .to_owned()
}

fn usage(reported: Option<&genai::chat::Usage>) -> Usage {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(0);
    let mut usage = Usage { model_calls: 1, ..Usage::default() };
    if let Some(reported) = reported {
        usage.input_tokens = count(reported.prompt_tokens);
        usage.output_tokens = count(reported.completion_tokens);
        let details = reported.prompt_tokens_details.as_ref();
        usage.cached_tokens = count(details.and_then(|details| details.cached_tokens));
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(adapter: AdapterKind) -> Dialect {
        Dialect { adapter, refuses_schemas: false, wants_thinking: false, window: None }
    }

    #[test]
    fn free_form_objects_are_never_sent_as_strict_schemas() {
        let strict = json!({"type": "object", "properties": {"a": {"type": "string"}},
            "required": ["a"], "additionalProperties": false});
        let optional = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let free = json!({"type": "object", "properties": {"arguments": {"type": "object"}},
            "required": ["arguments"], "additionalProperties": false});
        assert_eq!([&strict, &optional, &free].map(is_strict), [true, false, false]);
        assert_eq!([&strict, &optional, &free].map(is_closed), [true, true, false]);
    }

    fn name() -> ModelName {
        "own/some-model".parse().unwrap()
    }

    #[test]
    fn anthropic_is_asked_for_no_longer_answer_than_there_is_room_for() {
        let longest = |adapter, bytes: usize| {
            let request = Request::new(Role::Execute, "g", "", "x".repeat(bytes));
            options(&request, Dialect { window: Some(200_000), ..speaks(adapter) }).max_tokens
        };
        assert_eq!(longest(AdapterKind::Anthropic, 1_000), None);
        let room = longest(AdapterKind::Anthropic, 500_000).unwrap();
        assert!((20_000..40_000).contains(&room), "{room}");
        assert_eq!(longest(AdapterKind::OpenAI, 500_000), None);
    }

    #[test]
    fn a_short_answer_has_room_for_thoughts_before_it_where_the_window_has() {
        let most = |window| {
            let mut request = Request::new(Role::Detect, "g", "", "x".repeat(4_000));
            request.max_output_tokens = Some(200);
            options(&request, Dialect { window, ..speaks(AdapterKind::OpenAI) }).max_tokens.unwrap()
        };
        assert_eq!(most(None), 4_296);
        assert_eq!(most(Some(100_000)), 4_296);
        assert!((201..4_296).contains(&most(Some(4_096))), "{}", most(Some(4_096)));
        assert_eq!(most(Some(512)), 200, "no window is no reason to ask for less");
    }

    #[test]
    fn a_schema_that_anthropic_cannot_enforce_is_put_into_words() {
        let mut request = Request::new(Role::Plan, "g", "Plan.", "do");
        request.schema = Some(json!({"type": "object"}));
        let chat = chat_request(&request, &name(), speaks(AdapterKind::Anthropic));
        assert!(chat.system.unwrap().contains(r#"{"type":"object"}"#));
        assert!(options(&request, speaks(AdapterKind::Anthropic)).response_format.is_none());
        assert_eq!(chat_request(&request, &name(), speaks(AdapterKind::OpenAI)).system.unwrap(), "Plan.");
        let body = options(&request, speaks(AdapterKind::OpenAI)).extra_body.unwrap();
        assert_eq!(body.pointer("/response_format/json_schema/strict"), Some(&Value::Bool(false)));
    }

    #[test]
    fn the_unchanging_part_is_marked_where_the_provider_wants_it_and_merged_elsewhere() {
        let mut request = Request::new(Role::Execute, "g", "Do.", "Your step");
        request.background = "Goal".to_owned();
        request.tools =
            vec![ToolSpec { name: "read".to_owned(), description: String::new(), schema: json!({}) }];
        let marks = |chat: &ChatRequest| {
            let marked = |message: &ChatMessage| message.options.is_some();
            chat.messages.iter().map(marked).collect::<Vec<_>>()
        };
        let chat = chat_request(&request, &name(), speaks(AdapterKind::Anthropic));
        assert_eq!(marks(&chat), [true, true, true], "instructions, background, the last message");
        let other = chat_request(&request, &name(), speaks(AdapterKind::OpenAI));
        assert_eq!(marks(&other), [false]);
        assert_eq!(other.messages[0].content.texts().concat(), "Goal\n\nYour step");
        let once = Request::new(Role::Detect, "g", "Judge.", "Hello");
        assert_eq!(marks(&chat_request(&once, &name(), speaks(AdapterKind::Anthropic))), [false]);
    }

    #[test]
    fn results_of_one_turn_share_a_message_and_plans_offer_no_tools() {
        let result = |id: &str| Message::ToolResult {
            id: id.to_owned(),
            tool: "read".to_owned(),
            content: "x".to_owned(),
            is_error: false,
        };
        let mut request = Request::new(Role::Execute, "g", "", "do");
        request.messages.extend([
            Message::Assistant { text: String::new(), requests: Vec::new(), thinking: None },
            result("1"),
            result("2"),
        ]);
        request.tools =
            vec![ToolSpec { name: "read".to_owned(), description: String::new(), schema: json!({}) }];
        let chat = chat_request(&request, &name(), speaks(AdapterKind::OpenAI));
        assert_eq!((chat.messages.len(), chat.tools.map(|tools| tools.len())), (2, Some(1)));
        request.role = Role::Plan;
        assert!(chat_request(&request, &name(), speaks(AdapterKind::OpenAI)).tools.is_none());
    }
}
