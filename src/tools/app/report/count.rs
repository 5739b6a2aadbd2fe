//! How many there are of whatever it is.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::words::{counted, cut};
use super::super::{Early, Operation};
use super::markdown::path_span;
use crate::task::Effect;
use crate::tools::CallContext;

/// `report_count`.
pub(super) struct Count;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// What to count: the result of another tool, a list or a text.
    content: Value,
}

#[async_trait]
impl Operation for Count {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "report";
    const NAME: &'static str = "report_count";
    const DESCRIPTION: &'static str =
        "Counts a result: matches of a search, entries of a list, lines of a text, items of an array.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        let content = &arguments.content;
        let (count, one, many) = count_of(content);
        let own = content.get("summary").and_then(Value::as_str).map(str::to_owned);
        Ok(json!({"count": count, "summary": own.unwrap_or_else(|| summed_up(content, count, one, many))}))
    }
}

fn summed_up(content: &Value, count: u64, one: &str, many: &str) -> String {
    let words =
        |count: u64, one: &str, many: &str| counted(usize::try_from(count).unwrap_or(usize::MAX), one, many);
    let mut summary = words(count, one, many);
    if let Some(files) = content.get("files").and_then(Value::as_u64) {
        summary = format!("{summary} in {}", words(files, "file", "files"));
    }
    if let Some(path) = content.get("path").and_then(Value::as_str) {
        summary = format!("{summary} in {}", path_span(path));
    }
    let is_cut = content.get("truncated") == Some(&Value::Bool(true));
    format!("{summary}{}", cut(is_cut, usize::try_from(count).unwrap_or(usize::MAX)))
}

fn count_of(content: &Value) -> (u64, &'static str, &'static str) {
    let field = |key: &str| content.get(key).and_then(Value::as_u64);
    let length = |key: &str| content.get(key).and_then(Value::as_array).map(|items| items.len() as u64);
    if let Some(matches) = length("matches") {
        return (field("count").unwrap_or(matches), "match", "matches");
    }
    if let Some(entries) = length("entries") {
        return (field("count").unwrap_or(entries), "entry", "entries");
    }
    if let Some(count) = field("count") {
        return (count, "item", "items");
    }
    if let Some(lines) = field("lines") {
        return (lines, "line", "lines");
    }
    let lines = |text: &str| (text.lines().count() as u64, "line", "lines");
    match content {
        Value::String(text) => lines(text),
        Value::Array(items) => (items.len() as u64, "item", "items"),
        Value::Object(fields) => match ["text", "body"].iter().find_map(|key| fields.get(*key)?.as_str()) {
            Some(text) => lines(text),
            None => (fields.len() as u64, "field", "fields"),
        },
        Value::Null => (0, "item", "items"),
        Value::Bool(_) | Value::Number(_) => (1, "item", "items"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{built_in, tests::context};
    use super::*;

    #[tokio::test]
    async fn what_is_counted_fits_the_content() {
        for (content, count, summary) in [
            (
                json!({"matches": [1, 2], "count": 2, "files": 1, "truncated": true}),
                2,
                "2 matches in 1 file (cut at 2: there are more)",
            ),
            (json!({"entries": [1], "count": 1}), 1, "1 entry"),
            (json!({"path": "a", "text": "x\ny", "lines": 2}), 2, "2 lines in `a`"),
            (json!({"matches": [1], "count": 1, "summary": "1 match in `src`"}), 1, "1 match in `src`"),
            (json!({"url": "u", "body": "a\nb\nc"}), 3, "3 lines"),
            (json!("one line"), 1, "1 line"),
            (json!([1, 2, 3]), 3, "3 items"),
            (json!({"a": 1, "b": 2}), 2, "2 fields"),
            (json!(null), 0, "0 items"),
        ] {
            let output = built_in(Count).call(json!({"content": content}), context()).await.unwrap();
            assert_eq!(output.content, json!({"count": count, "summary": summary}), "{content}");
        }
    }
}
