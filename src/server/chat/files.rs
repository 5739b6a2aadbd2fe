//! Files that go with a message: what is in text files is shown to the model, within bounds. Of all
//! others, and of those that are only linked to, it is told the names.

use std::fmt::Write as _;

use serde_json::Value;

use crate::orchestrator::cut;

/// Kinds of files beside `text/…` that are text.
const TEXTS: [&str; 8] = [
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/javascript",
    "application/sql",
    "application/x-sh",
];

/// Files of a message that a task is told of one by one; what more there are is told in one piece.
const TOLD: usize = 20;

/// What is in the text files among the parts of a message, in about `most` bytes.
pub(super) fn contents(parts: &[Value], most: usize) -> String {
    let mut contents = String::new();
    for (name, text) in texts(parts) {
        let text = cut(&text, most.saturating_sub(contents.len()));
        let _ = write!(contents, "\n\nThe file {name}:\n{text}");
    }
    contents
}

/// The same in full, as a task is told of them: what of it is too long for a prompt can be read from there.
pub(super) fn told(parts: &[Value]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for (name, text) in texts(parts) {
        let file = format!("The file {name}:\n{text}");
        let is_full = told.len() == TOLD;
        match told.last_mut() {
            Some(last) if is_full => last.extend(["\n\n", &file]),
            _ => told.push(file),
        }
    }
    told
}

/// The text files among the parts of a message, with their names.
fn texts(parts: &[Value]) -> impl Iterator<Item = (&str, String)> {
    parts.iter().filter(|part| part["type"] == "file").filter_map(|part| {
        let field = |name: &str| part[name].as_str().unwrap_or_default();
        let text = is_text(field("mediaType")).then(|| text_of(field("url")))??;
        Some((field("filename"), text))
    })
}

fn is_text(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || TEXTS.contains(&kind)
}

/// The text in a `data:` address.
fn text_of(url: &str) -> Option<String> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let bytes = if head.ends_with(";base64") { base64(data)? } else { percent(data) };
    Some(String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}"))
}

/// Base64 of either alphabet, with padding or without it; none if it is something else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(((bits >> held) & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// Percent-encoded text; what is not encoded stands for itself.
fn percent(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                decoded.push(code);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(media_type: &str, url: &str) -> Value {
        json!({"type": "file", "filename": "a", "mediaType": media_type, "url": url})
    }

    #[test]
    fn text_files_are_shown_and_no_others() {
        let parts = [
            json!({"type": "text", "text": "see"}),
            file("text/plain; charset=utf-8", "data:text/plain;base64,SGVsbG8sIHfDtnJsZCE="),
            file("application/json", "data:application/json,%7B%22a%22%3A1%7D"),
            file("image/png", "data:image/png;base64,AAAA"),
            file("text/plain", "https://example.org/a.txt"),
            file("text/plain", "data:text/plain;base64,?"),
        ];
        assert_eq!(contents(&parts, 1000), "\n\nThe file a:\nHello, wörld!\n\nThe file a:\n{\"a\":1}");
    }

    #[test]
    fn a_task_is_told_all_of_each() {
        let long = "x".repeat(200_000);
        let mut parts =
            vec![file("text/plain", &format!("data:text/plain,{long}")), file("image/png", "data:,x")];
        assert_eq!(told(&parts), [format!("The file a:\n{long}")]);
        parts.extend((0..30).map(|_| file("text/plain", "data:text/plain,y")));
        let told = told(&parts);
        assert_eq!((told.len(), told.concat().matches("The file a:").count()), (TOLD, 31));
    }

    #[test]
    fn long_files_are_cut() {
        let parts = [file("text/plain", &format!("data:text/plain,{}", "x".repeat(500)))];
        let shown = contents(&parts, 100);
        assert!(shown.contains("400 more bytes"), "{shown}");
    }
}
