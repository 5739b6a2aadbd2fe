//! Tool calls that small models write as text instead of asking for them properly.
//!
//! Three forms are seen in the wild: proper `tool_calls` (not handled here), a fenced block
//! of JSON, and `<tool_call>{…}</tool_call>`; besides, an answer that is nothing but the JSON.
//! Only names of tools that were offered count, so that JSON in an answer stays an answer.

use serde_json::{Map, Value};

use crate::task::ToolRequest;

use super::ToolSpec;

/// Where visible thoughts begin.
const THOUGHTS: &str = "<think>";

/// Finds tool calls in the text of an answer. Returns the text around them and the calls;
/// the text unchanged if there are none.
pub(super) fn extract(text: &str, tools: &[ToolSpec]) -> (String, Vec<ToolRequest>) {
    if text.trim_start().starts_with(THOUGHTS) {
        // They never ended, so this is what the model thinks of doing.
        return (text.to_owned(), Vec::new());
    }
    let mut rest = String::new();
    let mut requests = Vec::new();
    let mut remaining = text;
    while let Some(block) = next_block(remaining) {
        let found = calls_in(block.content, tools);
        rest.push_str(&remaining[..block.start]);
        if found.is_empty() {
            rest.push_str(&remaining[block.start..block.end]);
        }
        requests.extend(found);
        remaining = &remaining[block.end..];
    }
    rest.push_str(remaining);
    if requests.is_empty() {
        requests = calls_in(text, tools);
        rest.clear();
    }
    if requests.is_empty() {
        return (text.to_owned(), requests);
    }
    for (position, request) in requests.iter_mut().enumerate() {
        request.id = format!("text-call-{}", position + 1);
    }
    (rest.trim().to_owned(), requests)
}

/// The text without a leading block of visible thoughts (`<think>…</think>`), which servers
/// that do not separate them send as text.
pub(super) fn without_thoughts(text: &str) -> &str {
    let Some(thoughts) = text.trim_start().strip_prefix(THOUGHTS) else {
        return text;
    };
    thoughts.split_once("</think>").map_or(text, |(_, answer)| answer.trim_start())
}

/// Whether `text` is one JSON value, fenced or not.
pub(super) fn is_json(text: &str) -> bool {
    let whole = text.trim();
    let inner = match next_block(whole) {
        Some(block) if block.start == 0 => block.content,
        _ => whole,
    };
    serde_json::from_str::<Value>(inner.trim()).is_ok()
}

/// A marked part of a text: where it begins and ends with its marks, and what is inside.
struct Block<'a> {
    start: usize,
    end: usize,
    content: &'a str,
}

fn next_block(text: &str) -> Option<Block<'_>> {
    let tagged = marked(text, "<tool_call>", "</tool_call>");
    let fenced = marked(text, "```", "```").map(without_language);
    match (tagged, fenced) {
        (Some(tagged), Some(fenced)) if fenced.start < tagged.start => Some(fenced),
        (Some(tagged), _) => Some(tagged),
        (None, fenced) => fenced,
    }
}

/// A block whose closing mark is missing ends with the text: models stop there.
fn marked<'a>(text: &'a str, open: &str, close: &str) -> Option<Block<'a>> {
    let start = text.find(open)?;
    let inside = start + open.len();
    let (content, end) = match text[inside..].find(close) {
        Some(length) => (&text[inside..inside + length], inside + length + close.len()),
        None => (&text[inside..], text.len()),
    };
    Some(Block { start, end, content })
}

fn without_language(block: Block<'_>) -> Block<'_> {
    let content = block.content;
    let word = content.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(0);
    Block { content: &content[word..], ..block }
}

fn calls_in(json: &str, tools: &[ToolSpec]) -> Vec<ToolRequest> {
    match serde_json::from_str::<Value>(json.trim()) {
        Ok(Value::Array(items)) => {
            let calls: Option<Vec<_>> = items.iter().map(|item| call_from(item, tools)).collect();
            calls.unwrap_or_default()
        }
        Ok(value) => call_from(&value, tools).into_iter().collect(),
        // Several objects, one per line.
        Err(_) => {
            let lines = json.lines().filter(|line| !line.trim().is_empty());
            let calls: Option<Vec<_>> = lines
                .map(|line| serde_json::from_str(line).ok().and_then(|value| call_from(&value, tools)))
                .collect();
            calls.unwrap_or_default()
        }
    }
}

fn call_from(value: &Value, tools: &[ToolSpec]) -> Option<ToolRequest> {
    let outer = value.as_object()?;
    let call = outer.get("function").and_then(Value::as_object).unwrap_or(outer);
    let name = ["name", "tool", "tool_name"].iter().find_map(|key| call.get(*key)?.as_str())?;
    if !tools.iter().any(|tool| tool.name == name) {
        return None;
    }
    let given = ["arguments", "parameters", "args", "input"].iter().find_map(|key| call.get(*key));
    let arguments = arguments_from(given.cloned().unwrap_or(Value::Null))?;
    Some(ToolRequest { id: String::new(), tool: name.to_owned(), arguments })
}

/// The arguments as an object: models send them as JSON, as JSON in a string, or not at all.
/// `None` if they are something else, for example JSON that was cut.
pub(super) fn arguments_from(given: Value) -> Option<Value> {
    match given {
        Value::Object(_) => Some(given),
        Value::Null => Some(Value::Object(Map::new())),
        Value::String(text) if text.trim().is_empty() => Some(Value::Object(Map::new())),
        Value::String(text) => serde_json::from_str(&text).ok().filter(Value::is_object),
        _ => None,
    }
}

/// Whether there are no arguments.
pub(super) fn is_nothing(given: &Value) -> bool {
    match given {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<ToolSpec> {
        ["search", "read"]
            .map(|name| ToolSpec { name: name.to_owned(), description: String::new(), schema: json!({}) })
            .to_vec()
    }

    fn one(text: &str) -> (String, String, Value) {
        let (rest, mut requests) = extract(text, &tools());
        assert_eq!(requests.len(), 1, "{text}");
        let request = requests.remove(0);
        (rest, request.tool, request.arguments)
    }

    #[test]
    fn all_forms_of_a_call_are_understood() {
        let arguments = json!({"path": "a"});
        for text in [
            r#"<tool_call>{"name": "read", "arguments": {"path": "a"}}</tool_call>"#,
            "<tool_call>\n{\"name\": \"read\", \"arguments\": {\"path\": \"a\"}}\n",
            "```json\n{\"name\": \"read\", \"arguments\": {\"path\": \"a\"}}\n```",
            "```\n{\"tool\": \"read\", \"parameters\": {\"path\": \"a\"}}\n```",
            r#"{"name": "read", "arguments": "{\"path\": \"a\"}"}"#,
            r#"{"type": "function", "function": {"name": "read", "arguments": {"path": "a"}}}"#,
        ] {
            assert_eq!(one(text), (String::new(), "read".to_owned(), arguments.clone()), "{text}");
        }
    }

    #[test]
    fn text_around_a_call_is_kept() {
        let text = "I look.\n<tool_call>{\"name\":\"search\"}</tool_call>\nThen more.";
        assert_eq!(one(text), ("I look.\n\nThen more.".to_owned(), "search".to_owned(), json!({})));
    }

    #[test]
    fn several_calls_get_ids_of_their_own() {
        let text = "<tool_call>{\"name\":\"search\"}</tool_call><tool_call>{\"name\":\"read\"}</tool_call>";
        let (_, requests) = extract(text, &tools());
        let ids: Vec<_> = requests.iter().map(|request| request.id.as_str()).collect();
        assert_eq!(ids, ["text-call-1", "text-call-2"]);
        let (_, lines) = extract("{\"name\":\"search\"}\n{\"name\":\"read\"}", &tools());
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn json_that_is_no_call_of_an_offered_tool_stays_an_answer() {
        for text in [
            "```json\n{\"name\": \"erase\", \"arguments\": {}}\n```",
            r#"{"name": "Ada", "arguments": {"born": 1815}}"#,
            "```rust\nfn main() {}\n```",
            r#"<tool_call>{"name": "read", "argum"#,
            r#"<think>I could <tool_call>{"name": "read", "arguments": {}}</tool_call>"#,
            "plain words",
        ] {
            assert_eq!(extract(text, &tools()), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn thoughts_are_taken_off_and_json_is_recognised() {
        assert_eq!(without_thoughts("<think>hm</think>\n{}"), "{}");
        assert_eq!(without_thoughts("<think>never closed"), "<think>never closed");
        assert!(is_json("```json\n{\"a\":1}\n```"));
        assert!(!is_json("{\"a\":"));
    }

    proptest! {
        #[test]
        fn whatever_is_written_calls_come_from_it_and_nothing_is_made_up(
            parts in prop::collection::vec(prop_oneof![
                Just("<tool_call>".to_owned()),
                Just("</tool_call>".to_owned()),
                Just("```".to_owned()),
                Just("<think>".to_owned()),
                Just("</think>".to_owned()),
                Just(r#"{"name": "read", "arguments": {"path": "a"}}"#.to_owned()),
                Just(r#"{"name": "read", "argum"#.to_owned()),
                Just("\n".to_owned()),
                ".{0,12}",
            ], 0..12),
        ) {
            let text = parts.concat();
            let (rest, requests) = extract(&text, &tools());
            prop_assert!(rest.len() <= text.len());
            prop_assert!(requests.len() <= text.matches("\"name\"").count());
            for request in requests {
                prop_assert_eq!(request.arguments, json!({"path": "a"}));
            }
            is_json(&text);
            without_thoughts(&text);
        }
    }
}
