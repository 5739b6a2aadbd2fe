//! How deep JSON may be nested.
//!
//! What is written down is read again, and readers of JSON give up at 128 levels. So whatever
//! enters (bodies, plans, arguments, results) is looked at once, here, before it is recorded.

use serde_json::Value;

/// Levels of arrays and objects within each other. The rest up to a reader's limit is for what
/// the journal puts around a content.
pub const MAX_DEPTH: usize = 100;

/// The code under which deeper contents are refused.
pub const TOO_DEEP: &str = "json_too_deep";

/// Whether a value is nested deeper than can be recorded.
pub fn is_too_deep(value: &Value) -> bool {
    is_deeper(value, MAX_DEPTH)
}

/// The same of a text, before anything is made of it. A text that is no JSON has some depth too.
pub fn is_text_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn is_deeper(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|item| is_deeper(item, left - 1)),
        Value::Object(fields) => left == 0 || fields.values().any(|field| is_deeper(field, left - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(
            json!("]["),
            |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({"{": inner}) },
        )
    }

    #[test]
    fn a_value_and_its_text_are_judged_alike() {
        for (levels, is_deep) in
            [(0, false), (MAX_DEPTH, false), (MAX_DEPTH + 1, true), (5 * MAX_DEPTH, true)]
        {
            assert_eq!(is_too_deep(&nested(levels)), is_deep, "{levels}");
            assert_eq!(is_text_too_deep(nested(levels).to_string().as_bytes()), is_deep, "{levels}");
        }
    }

    #[test]
    fn brackets_within_texts_are_no_levels() {
        let text = json!({"a": "[".repeat(1000), "b": "\\\"{".repeat(1000)});
        assert!(!is_text_too_deep(text.to_string().as_bytes()));
    }
}
