//! Lays the results of tools out in Markdown.
//!
//! A result is recognised by its shape, not by the tool that made it, so that MCP tools which
//! answer in the same shapes are laid out as well.

use std::fmt::Write as _;

use chrono::DateTime;
use serde_json::Value;

use super::super::words::{counted, cut};
use super::markdown::{code_span, fenced, path_span, prose, sentence};
use crate::tools::text::shortened;

/// How much of a file or page a report shows, in characters.
const SHOWN_CHARACTERS: usize = 20_000;

/// The content of one section.
pub(super) fn render(content: &Value) -> String {
    match content {
        Value::Null => "(nothing)".to_owned(),
        Value::String(text) => prose(text),
        Value::Bool(_) | Value::Number(_) => code_span(&content.to_string()),
        Value::Object(_) => render_result(content),
        Value::Array(items) if items.is_empty() => "(nothing)".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => bullets(items),
        Value::Array(items) if items.iter().all(is_known) => {
            items.iter().map(render_result).collect::<Vec<_>>().join("\n\n")
        }
        Value::Array(_) => json(content),
    }
}

fn render_result(content: &Value) -> String {
    known(content).unwrap_or_else(|| json(content))
}

fn is_known(content: &Value) -> bool {
    known(content).is_some()
}

/// The layout of a result whose shape is known.
fn known(content: &Value) -> Option<String> {
    search(content)
        .or_else(|| list(content))
        .or_else(|| fetch(content))
        .or_else(|| read(content))
        .or_else(|| comparison(content))
        .or_else(|| count(content))
        .or_else(|| calculation(content))
        .or_else(|| moment(content))
        .or_else(|| written(content))
}

/// `path:line: text`, grouped by file.
fn search(content: &Value) -> Option<String> {
    let matches = content.get("matches")?.as_array()?;
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for hit in matches {
        let path = hit.get("path")?.as_str()?;
        let line = hit.get("line")?.as_u64()?;
        let text = hit.get("text")?.as_str()?;
        let shown = code_span(&format!("{path}:{line}: {text}"));
        match groups.last_mut() {
            Some((last, lines)) if *last == path => lines.push(shown),
            _ => groups.push((path, vec![shown])),
        }
    }
    let counts = || {
        let files = counted(groups.len(), "file", "files");
        format!(
            "{} in {files}{}",
            counted(matches.len(), "match", "matches"),
            truncation(content, matches.len())
        )
    };
    let mut out = summary(content).unwrap_or_else(counts);
    for (path, lines) in groups {
        let _ = write!(out, "\n\n**{}** ({})\n", path_span(path), lines.len());
        for line in lines {
            let _ = write!(out, "\n- {line}");
        }
    }
    Some(out)
}

fn list(content: &Value) -> Option<String> {
    let entries = content.get("entries")?.as_array()?;
    let counts =
        || format!("{}{}", counted(entries.len(), "entry", "entries"), truncation(content, entries.len()));
    let mut out = format!("{}\n", summary(content).unwrap_or_else(counts));
    for entry in entries {
        let path = entry.get("path")?.as_str()?;
        let number = |key: &str| entry.get(key).and_then(Value::as_u64);
        let size = number("lines").map(lines_words).or_else(|| number("bytes").map(bytes_words));
        let _ = match size {
            Some(size) if entry.get("kind")?.as_str()? == "file" => {
                write!(out, "\n- {} ({size})", path_span(path))
            }
            _ => write!(out, "\n- {}", path_span(&format!("{path}/"))),
        };
    }
    Some(out)
}

fn read(content: &Value) -> Option<String> {
    let path = content.get("path")?.as_str()?;
    let text = content.get("text")?.as_str()?;
    let lines = content.get("lines").and_then(Value::as_u64).unwrap_or_else(|| text.lines().count() as u64);
    let shown = shortened(text, SHOWN_CHARACTERS);
    Some(format!("{} ({})\n\n{}", path_span(path), lines_words(lines), fenced("", &shown)))
}

fn fetch(content: &Value) -> Option<String> {
    let url = content.get("url")?.as_str()?;
    let status = content.get("status")?.as_u64()?;
    let body = content.get("body")?.as_str()?;
    let kind = content.get("contentType").and_then(Value::as_str).filter(|kind| !kind.is_empty());
    let kind = kind.map(|kind| format!(", {}", code_span(kind))).unwrap_or_default();
    let shown = shortened(body, SHOWN_CHARACTERS);
    Some(format!(
        "{}: status {status}{kind}{}\n\n{}",
        code_span(url),
        if is_truncated(content) { " (cut: there is more)" } else { "" },
        fenced("", &shown)
    ))
}

fn comparison(content: &Value) -> Option<String> {
    content.get("equal")?.as_bool()?;
    let summary = content.get("summary")?.as_str()?;
    let lines = |key: &str, mark: &str| -> Option<Vec<String>> {
        let lines = content.get(key)?.as_array()?;
        lines.iter().map(|line| Some(format!("{mark} {}", line.as_str()?))).collect()
    };
    let mut changed = lines("removed", "-")?;
    changed.extend(lines("added", "+")?);
    let out = sentence(summary);
    Some(if changed.is_empty() { out } else { format!("{out}\n\n{}", fenced("diff", &changed.join("\n"))) })
}

fn count(content: &Value) -> Option<String> {
    content.get("count")?.as_u64()?;
    summary(content)
}

fn calculation(content: &Value) -> Option<String> {
    let expression = content.get("expression")?.as_str()?;
    let value = content.get("value")?.as_number()?;
    Some(code_span(&format!("{expression} = {value}")))
}

fn written(content: &Value) -> Option<String> {
    let path = content.get("path")?.as_str()?;
    let bytes = content.get("bytes")?.as_u64()?;
    Some(format!("Written to {} ({})", path_span(path), bytes_words(bytes)))
}

/// `It is Friday, 27 November 2026, 15:30:54 UTC`.
fn moment(content: &Value) -> Option<String> {
    let moment = DateTime::from_timestamp_millis(content.get("unixMillis")?.as_i64()?)?;
    Some(moment.format("It is %A, %-d %B %Y, %H:%M:%S UTC").to_string())
}

/// What a result says of itself.
fn summary(content: &Value) -> Option<String> {
    content.get("summary")?.as_str().map(sentence)
}

fn bullets(items: &[Value]) -> String {
    let lines: Vec<_> =
        items.iter().filter_map(Value::as_str).map(|text| format!("- {}", code_span(text))).collect();
    lines.join("\n")
}

fn json(content: &Value) -> String {
    let text = serde_json::to_string_pretty(content).unwrap_or_else(|_| content.to_string());
    fenced("json", &shortened(&text, SHOWN_CHARACTERS))
}

fn truncation(content: &Value, at: usize) -> String {
    cut(is_truncated(content), at)
}

fn is_truncated(content: &Value) -> bool {
    content.get("truncated") == Some(&Value::Bool(true))
}

fn lines_words(lines: u64) -> String {
    counted(usize::try_from(lines).unwrap_or(usize::MAX), "line", "lines")
}

fn bytes_words(bytes: u64) -> String {
    counted(usize::try_from(bytes).unwrap_or(usize::MAX), "byte", "bytes")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_results_are_laid_out() {
        for (content, expected) in [
            (json!("plain *text*"), "plain *text*"),
            (json!(null), "(nothing)"),
            (json!(42), "`42`"),
            (json!(["a", "b`"]), "- `a`\n- `` b` ``"),
            (json!({"matches": [], "count": 0, "files": 0, "truncated": false}), "0 matches in 0 files"),
            (
                json!({"entries": [{"path": "src", "kind": "directory", "bytes": 0}, {"path": "a", "kind": "file", "bytes": 5}], "count": 2, "truncated": true}),
                "2 entries (cut at 2: there are more)\n\n- `src/`\n- `a` (5 bytes)",
            ),
            (json!({"path": "a", "text": "x\n", "bytes": 2, "lines": 1}), "`a` (1 line)\n\n```\nx\n```"),
            (
                json!({"url": "http://a/", "status": 404, "contentType": "", "body": "no", "truncated": false}),
                "`http://a/`: status 404\n\n```\nno\n```",
            ),
            (
                json!({"equal": false, "added": ["n"], "removed": ["o"], "summary": "differs"}),
                "differs\n\n```diff\n- o\n+ n\n```",
            ),
            (json!({"count": 3, "summary": "3 matches"}), "3 matches"),
            (json!({"expression": "1+1", "value": 2}), "`1+1 = 2`"),
            (
                json!({"utc": "2026-11-27T15:30:54.866Z", "unixMillis": 1_795_793_454_866_i64}),
                "It is Friday, 27 November 2026, 15:30:54 UTC",
            ),
            (
                json!({"entries": [{"path": "a.rs", "kind": "file", "bytes": 9, "lines": 2}], "count": 1, "truncated": false, "summary": "2 lines in 1 file in `src`"}),
                "2 lines in 1 file in `src`\n\n- `a.rs` (2 lines)",
            ),
            (json!({"path": "r.md", "bytes": 7}), "Written to `r.md` (7 bytes)"),
            (json!([{"count": 3, "summary": "3"}, {"count": 4, "summary": "4"}]), "3\n\n4"),
            (json!({"other": 1}), "```json\n{\n  \"other\": 1\n}\n```"),
        ] {
            assert_eq!(render(&content), expected, "{content}");
        }
    }

    #[test]
    fn what_was_found_cannot_become_markup() {
        let hostile = "``` </div> [click](javascript:x) # heading";
        let content = json!({"matches": [{"path": "a\n# b", "line": 1, "text": hostile}]});
        let shown = render(&content);
        assert!(shown.contains("- ````a # b:1: ``` </div>"), "{shown}");
        assert!(!shown.lines().any(|line| line.starts_with('#')), "{shown}");
        let fence = render(&json!({"path": "x", "text": "```\n# not a heading", "lines": 2, "bytes": 3}));
        assert!(fence.contains("````\n```\n# not a heading\n````"), "{fence}");
    }
}
