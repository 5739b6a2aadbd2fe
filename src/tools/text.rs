//! Text that enters from outside: cleaned once, here, so that every store can hold it.

use serde_json::{Map, Value};

/// PostgreSQL's jsonb rejects NUL in texts. It is replaced where it enters, the same for every
/// store, so that a result never depends on where it is kept.
const REPLACEMENT: &str = "\u{fffd}";

/// The text without NUL.
pub(crate) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', REPLACEMENT) } else { text }
}

/// The value with all its texts and keys without NUL.
pub(crate) fn value_without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => items.into_iter().map(value_without_nul).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (without_nul(key), value_without_nul(value)))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

/// How many bytes the value has as JSON. Counts without building the text, because the value
/// may be the one that is too large.
pub(crate) fn json_bytes(value: &Value) -> u64 {
    let mut counter = Counter(0);
    // Writing a JSON value into a counter has nothing that could fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// The beginning of a text, at most `limit` characters, with an ellipsis where it was cut.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_is_replaced_in_texts_and_keys_at_any_depth() {
        let dirty = json!({"a\0": ["x\0y", {"b": "\0"}], "n": 1});
        let clean = json!({"a\u{fffd}": ["x\u{fffd}y", {"b": "\u{fffd}"}], "n": 1});
        assert_eq!(value_without_nul(dirty), clean);
    }

    #[test]
    fn the_size_is_that_of_the_json_text() {
        let value = json!({"text": "é\n\"", "list": [1, null, true]});
        assert_eq!(json_bytes(&value), value.to_string().len() as u64);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("ééé", 2), "éé…");
        assert_eq!(shortened("ééé", 3), "ééé");
    }
}
