//! References to secrets in the arguments of a call, `{{secret:NAME}}`, and what only looks like one.
//!
//! A reference counts where somebody wrote it who is asked what a tool is called with: a plan, a template,
//! a model, a person. What a step brought or an item holds is content, which may come from anywhere: what
//! looks like a reference in it gets a backslash, `{{\secret:NAME}}`, when it is put into arguments, and is
//! handed to the tool as it was.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What a reference begins and ends with.
pub const SECRET: (&str, &str) = ("{{secret:", "}}");

const BRACES: &str = "{{";
const WORD: &str = "secret:";
const ESCAPE: char = '\\';

/// The names of all secrets that arguments refer to.
pub fn secrets_in(arguments: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(arguments, &mut names);
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => names_in(text, names),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(fields) => fields.iter().for_each(|(key, field)| {
            names_in(key, names);
            collect(field, names);
        }),
        _ => {}
    }
}

fn names_in(text: &str, names: &mut BTreeSet<String>) {
    let behind = text.split(SECRET.0).skip(1);
    names.extend(behind.map(|rest| rest.split(SECRET.1).next().unwrap_or(rest).trim().to_owned()));
}

/// The same value, in which nothing is a reference any more.
pub(super) fn inert(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(inert_text(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(inert).collect()),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, field)| (inert_text(&key), inert(field)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other,
    }
}

pub(super) fn inert_text(text: &str) -> String {
    marked(text, |_| Some(true))
}

/// A text without references, as far as they are not marked already: those that came about where its parts
/// meet.
pub(super) fn disarmed(text: &str) -> String {
    marked(text, |escapes| (escapes == 0).then_some(true))
}

/// A text as a tool is given it: without the marks that `inert` made.
pub fn unmarked(text: &str) -> String {
    marked(text, |escapes| (escapes > 0).then_some(false))
}

/// The text before the first reference that is written out in it, the reference, and the rest.
pub(super) fn first_reference(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices(SECRET.0).find_map(|(at, _)| {
        let behind = &text[at + SECRET.0.len()..];
        let name = &behind[..behind.find(SECRET.1)?];
        let end = at + SECRET.0.len() + name.len() + SECRET.1.len();
        (!name.contains('{')).then(|| (&text[..at], &text[at..end], &text[end..]))
    })
}

/// A text with one backslash more or less in what looks like a reference, as `mark` says for the number of
/// those that are there.
fn marked(text: &str, mark: impl Fn(usize) -> Option<bool>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(WORD) {
        let before = text[..at].trim_end_matches(ESCAPE);
        if !before.ends_with(BRACES) {
            continue;
        }
        match mark(at - before.len()) {
            Some(true) => {
                whole.push_str(&text[from..at]);
                whole.push(ESCAPE);
                from = at;
            }
            Some(false) => {
                whole.push_str(&text[from..at - ESCAPE.len_utf8()]);
                from = at;
            }
            None => {}
        }
    }
    whole.push_str(&text[from..]);
    whole
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_put_in_is_no_reference_and_comes_out_as_it_was() {
        for text in [
            "please {{secret:tok}}",
            "{{{secret:a}}{{secret:b}} {{secret:",
            r"{{\secret:a}} {{\\secret:b}}",
            "nothing secret: {{item}}",
        ] {
            let inert = inert_text(text);
            assert!(!inert.contains(SECRET.0), "{inert}");
            assert_eq!(unmarked(&inert), text);
        }
        let value = json!({"{{secret:a}}": ["{{secret:b}}", 1]});
        assert_eq!(secrets_in(&value).into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(secrets_in(&inert(value)).is_empty());
    }

    #[test]
    fn a_reference_is_one_that_is_written_out() {
        assert_eq!(first_reference("a {{secret:b}} c"), Some(("a ", "{{secret:b}}", " c")));
        assert_eq!(first_reference("{{secret:{{item}}}} {{secret:b"), None);
        assert_eq!(
            first_reference("{{secret:{{item}}}}{{secret:b}}").map(|found| found.1),
            Some("{{secret:b}}")
        );
        assert_eq!(disarmed(r"{{secret:a}} {{\secret:b}}"), r"{{\secret:a}} {{\secret:b}}");
    }
}
