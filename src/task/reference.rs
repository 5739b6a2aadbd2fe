//! References within a plan: `{"$output": "step-1", "pointer": "/files"}` stands for what a step
//! brought, or a part of it; `{"$item": true}` and `{{item}}` for the item that a step is carried
//! out for. The pointer is a JSON Pointer. `{"$value": …}` stands for what is in it, in which nothing
//! stands for something else.
//!
//! Models bring their data as text. A pointer into a text looks into the JSON that the text holds.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::as_text;
use super::secret_reference::{SECRET, disarmed, first_reference, inert, inert_text};

/// The keys of a reference. An object with one of the first two and nothing but the last is one.
const OUTPUT: &str = "$output";
const ITEM: &str = "$item";
const POINTER: &str = "pointer";

/// The key of an object that stands for a value as it is. It has no other.
const VALUE: &str = "$value";

/// The beginning and the end of an item's place within a text: `{{item}}`, `{{item/name}}`.
const PLACE: (&str, &str) = ("{{item", "}}");

/// The parts of a place's beginning. With backslashes between them it is none: filling takes one away.
const BRACES: &str = "{{";
const WORD: &str = "item";
const ESCAPE: char = '\\';

/// What references stand for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// What steps brought, by their ids. A step that brought nothing is not here.
    pub outputs: BTreeMap<String, Value>,
    /// The item that the step is carried out for.
    pub item: Option<Value>,
}

/// What a reference names.
enum Reference<'a> {
    Output(&'a str, &'a str),
    Item(&'a str),
}

impl Known {
    /// The value with every reference replaced by what it stands for; the error says which of them
    /// stands for nothing.
    pub fn fill(&self, value: &Value) -> Result<Value, String> {
        self.filled(value, &|found| found, &|text| self.fill_text(text))
    }

    /// The same for the arguments of a tool. A reference to a secret counts where it is written, and not in
    /// what is put in: that is content, whoever it is from.
    pub fn fill_arguments(&self, arguments: &Value) -> Result<Value, String> {
        self.filled(arguments, &inert, &|text| self.fill_argument(text))
    }

    fn filled(
        &self,
        value: &Value,
        put_in: &dyn Fn(Value) -> Value,
        text_of: &dyn Fn(&str) -> String,
    ) -> Result<Value, String> {
        if let Some(given) = literal(value) {
            return Ok(given.clone());
        }
        if let Some(reference) = reference(value) {
            return self.find(&reference).map(put_in).ok_or_else(|| self.missing(&reference));
        }
        let filled = |value: &Value| self.filled(value, put_in, text_of);
        Ok(match value {
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, field)| Ok((name.clone(), filled(field)?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
            Value::Array(items) => Value::Array(items.iter().map(filled).collect::<Result<_, _>>()?),
            Value::String(text) if self.item.is_some() => Value::String(text_of(text)),
            other => other.clone(),
        })
    }

    /// Of an item neither the whole of a reference is taken nor a part of one.
    fn fill_argument(&self, text: &str) -> String {
        let between =
            |text: &str| disarmed(&self.fill_places(text, &|value| inert_text(&as_text(value.clone()))));
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, reference, behind)) = first_reference(rest) {
            filled.push_str(&between(before));
            filled.push_str(reference);
            rest = behind;
        }
        filled.push_str(&between(rest));
        filled
    }

    /// A text with each `{{item}}` replaced. A place that names nothing stays as it is written.
    pub fn fill_text(&self, text: &str) -> String {
        self.fill_places(text, &|value| as_text(value.clone()))
    }

    fn fill_places(&self, text: &str, written: &dyn Fn(&Value) -> String) -> String {
        let Some(item) = &self.item else { return text.to_owned() };
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(WORD) {
            let braces = rest[..at].trim_end_matches(ESCAPE);
            if !braces.ends_with(BRACES) {
                let (before, behind) = rest.split_at(at + WORD.len());
                filled.push_str(before);
                rest = behind;
                continue;
            }
            if braces.len() < at {
                // What was given to the plan comes out as it was.
                filled.push_str(&rest[..at - ESCAPE.len_utf8()]);
                filled.push_str(WORD);
                rest = &rest[at + WORD.len()..];
                continue;
            }
            let (before, place) = rest.split_at(at - BRACES.len());
            filled.push_str(before);
            let inner = place.find(PLACE.1).and_then(|end| place.get(PLACE.0.len()..end));
            let named = inner.filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
            match named.and_then(|pointer| Some((pointer, part(item, pointer)?))) {
                Some((pointer, value)) => {
                    filled.push_str(&written(&value));
                    rest = &place[PLACE.0.len() + pointer.len() + PLACE.1.len()..];
                }
                None => {
                    filled.push_str(PLACE.0);
                    rest = &place[PLACE.0.len()..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn find(&self, reference: &Reference<'_>) -> Option<Value> {
        match reference {
            Reference::Output(id, pointer) => part(self.outputs.get(*id)?, pointer),
            Reference::Item(pointer) => part(self.item.as_ref()?, pointer),
        }
    }

    fn missing(&self, reference: &Reference<'_>) -> String {
        match reference {
            Reference::Output(id, _) if !self.outputs.contains_key(*id) => {
                format!("'{id}' has no output")
            }
            Reference::Output(id, pointer) => format!("the output of '{id}' has nothing at '{pointer}'"),
            Reference::Item(pointer) if self.item.is_some() => {
                format!("the item has nothing at '{pointer}'")
            }
            Reference::Item(_) => "there is no item: the step is not carried out for each of a list".into(),
        }
    }
}

/// Adds the ids of the steps whose outputs a value refers to.
pub fn outputs_in<'a>(value: &'a Value, ids: &mut Vec<&'a str>) {
    match (reference(value), value) {
        _ if is_literal(value) => {}
        (Some(Reference::Output(id, _)), _) => ids.push(id),
        (Some(Reference::Item(_)), _) => {}
        (None, Value::Object(fields)) => fields.values().for_each(|field| outputs_in(field, ids)),
        (None, Value::Array(items)) => items.iter().for_each(|item| outputs_in(item, ids)),
        _ => {}
    }
}

/// Whether a part of a value is only known when it is used: an output, an item, a secret.
pub fn is_open(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(PLACE.0) || text.contains(SECRET.0),
        Value::Array(items) => items.iter().any(is_open),
        Value::Object(fields) => {
            reference(value).is_some()
                || is_literal(value)
                || fields.iter().any(|(name, field)| name.contains(SECRET.0) || is_open(field))
        }
        _ => false,
    }
}

/// Whether an object stands for the value in it, whatever that looks like.
pub fn is_literal(value: &Value) -> bool {
    literal(value).is_some()
}

fn literal(value: &Value) -> Option<&Value> {
    value.as_object().filter(|fields| fields.len() == 1)?.get(VALUE)
}

/// A value that somebody gave, as a part of a plan that stands for just that: what looks like a reference
/// in it refers to nothing.
pub(super) fn as_given(value: Value) -> Value {
    let stands_for_other = match &value {
        Value::String(text) => has_place(text),
        other => reference(other).is_some() || is_literal(other),
    };
    match value {
        value if stands_for_other => Value::Object([(VALUE.to_owned(), value)].into_iter().collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, field)| (name, as_given(field))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(as_given).collect()),
        other => other,
    }
}

/// A text that somebody gave, to be a part of one in which an item will be filled in: what looks like a place
/// for it is none.
pub(super) fn without_places(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(WORD) {
        whole.push_str(&rest[..at]);
        if rest[..at].trim_end_matches(ESCAPE).ends_with(BRACES) {
            whole.push(ESCAPE);
        }
        whole.push_str(WORD);
        rest = &rest[at + WORD.len()..];
    }
    whole + rest
}

/// Whether a text has a place for an item in it.
pub(super) fn has_place(text: &str) -> bool {
    text.contains(PLACE.0)
}

fn reference(value: &Value) -> Option<Reference<'_>> {
    let fields = value.as_object()?;
    let pointer = match (fields.len(), fields.get(POINTER)) {
        (1, None) => "",
        (2, Some(Value::String(pointer))) => pointer,
        _ => return None,
    };
    match (fields.get(OUTPUT), fields.get(ITEM)) {
        (Some(Value::String(id)), None) => Some(Reference::Output(id, pointer)),
        (None, Some(Value::Bool(true))) => Some(Reference::Item(pointer)),
        _ => None,
    }
}

/// A part of a value. A text on the way there is taken for the JSON that it holds: tools answer in such texts,
/// and a list of answers is a list of them.
fn part(value: &Value, pointer: &str) -> Option<Value> {
    let (mut at, mut rest) = (value, pointer);
    while let Some(names) = rest.strip_prefix('/') {
        if let Value::String(text) = at {
            return part(&json_in::<Value>(text).ok()?, rest);
        }
        let end = names.find('/').unwrap_or(names.len()) + 1;
        at = at.pointer(&rest[..end])?;
        rest = &rest[end..];
    }
    rest.is_empty().then(|| at.clone())
}

/// What a step brought, as data: the JSON that a text holds, if it holds an object or a list.
pub fn data_of(output: Value) -> Value {
    match &output {
        Value::String(text) => match json_in::<Value>(text) {
            Ok(data @ (Value::Object(_) | Value::Array(_))) => data,
            _ => output,
        },
        _ => output,
    }
}

/// Finds the JSON in a model's text: the text itself, a fenced block, or the outermost braces or
/// brackets.
pub fn json_in<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let text = text.trim();
    let strict = serde_json::from_str(text);
    if strict.is_ok() {
        return strict;
    }
    let fenced = text.split("```").nth(1).map(|block| block.trim_start_matches("json").trim());
    let within = |open: char, close: char| {
        text.find(open).zip(text.rfind(close)).and_then(|(from, to)| text.get(from..=to))
    };
    let candidates = fenced.into_iter().chain(within('{', '}')).chain(within('[', ']'));
    candidates.filter_map(|part| serde_json::from_str(part).ok()).next().map_or(strict, Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(item: Option<Value>) -> Known {
        let outputs = [
            ("step-1".to_owned(), json!({"body": ["x"]})),
            ("step-2".to_owned(), json!("Here it is:\n```json\n{\"files\": [\"a.rs\"]}\n```")),
        ];
        Known { outputs: outputs.into(), item }
    }

    #[test]
    fn references_are_found_and_replaced_wherever_they_are() {
        let arguments = json!({"a": [{"$output": "step-1", "pointer": "/body/0"}], "b": {"$output": 3},
            "c": {"$output": "step-1", "other": 1}});
        let mut ids = Vec::new();
        outputs_in(&arguments, &mut ids);
        assert_eq!(ids, ["step-1"]);
        let expected = json!({"a": ["x"], "b": {"$output": 3}, "c": {"$output": "step-1", "other": 1}});
        assert_eq!(known(None).fill(&arguments), Ok(expected));
    }

    #[test]
    fn a_pointer_looks_into_texts_wherever_they_are() {
        let value = json!([{"a": 1}, "{\"args\": {\"x\": [7, 8]}, \"\": \"e\"}", "no JSON"]);
        assert_eq!(part(&value, "/1/args/x/1"), Some(json!(8)));
        assert_eq!(part(&value, "/1/"), Some(json!("e")));
        assert_eq!(part(&value, "/1"), Some(value[1].clone()));
        assert_eq!(part(&value, ""), Some(value.clone()));
        for nothing in ["/2/a", "/0/a/b", "/3", "0/a"] {
            assert_eq!(part(&value, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let problem = |value: Value| known(None).fill(&value).unwrap_err();
        assert!(
            problem(json!({"$output": "step-1", "pointer": "/nothing"})).contains("nothing at '/nothing'")
        );
        assert!(problem(json!({"$output": "step-9"})).contains("'step-9' has no output"));
        assert!(problem(json!({"$item": true})).contains("no item"));
    }

    #[test]
    fn a_pointer_into_a_text_looks_into_its_json() {
        let part = known(None).fill(&json!({"$output": "step-2", "pointer": "/files"}));
        assert_eq!(part, Ok(json!(["a.rs"])));
        assert_eq!(data_of(json!("[1, 2]")), json!([1, 2]));
        assert_eq!(data_of(json!("12")), json!("12"), "a number in a text stays a text");
    }

    #[test]
    fn an_item_stands_in_values_and_in_texts() {
        let known = known(Some(json!({"name": "a", "n": 3})));
        let filled = known.fill(&json!({"whole": {"$item": true}, "part": {"$item": true, "pointer": "/n"},
            "text": "{{item/name}}.rs {{item/none}} {{items}}"}));
        let expected = json!({"whole": {"name": "a", "n": 3}, "part": 3,
            "text": "a.rs {{item/none}} {{items}}"});
        assert_eq!(filled, Ok(expected));
        let unordered = Some(json!({"z": "a", "n": 3}));
        assert_eq!(
            self::known(unordered).fill_text("{{item}}"),
            r#"{"n":3,"z":"a"}"#,
            "whatever order it was stored in"
        );
    }

    #[test]
    fn what_was_given_to_a_text_has_no_places_and_comes_out_as_it_was() {
        let known = known(Some(json!({"name": "a"})));
        for given in
            ["{{item}}", "{{item/name}} items", r"{{\item}} {{\\item/name}}", "{{{item", "item {{ item"]
        {
            let text = format!("{{{{item/name}}}}: {}", without_places(given));
            assert_eq!(known.fill_text(&text), format!("a: {given}"));
        }
    }

    #[test]
    fn what_is_put_into_arguments_refers_to_no_secret() {
        let known = known(Some(json!({"text": "{{secret:tok}}", "name": "tok", "tail": "secret:tok}}"})));
        let outputs = [("file".to_owned(), json!("{\"a\": \"{{secret\\u003atok}}\"}"))];
        let known = Known { outputs: outputs.into(), ..known };
        let filled = known.fill_arguments(&json!({"own": "{{secret:own}} {{item/name}}",
            "text": "{{item/text}}", "whole": {"$item": true, "pointer": "/text"},
            "chosen": "{{secret:{{item/name}}}}", "joined": "{{{{item/tail}}", "plain": "{{\\secret:x}}",
            "hidden": {"$output": "file", "pointer": "/a"}}));
        let expected = json!({"own": "{{secret:own}} tok", "text": "{{\\secret:tok}}",
            "whole": "{{\\secret:tok}}", "chosen": "{{\\secret:tok}}", "joined": "{{\\secret:tok}}",
            "plain": "{{\\secret:x}}", "hidden": "{{\\secret:tok}}"});
        assert_eq!(filled, Ok(expected));
        assert_eq!(known.fill(&json!({"$item": true, "pointer": "/text"})), Ok(json!("{{secret:tok}}")));
    }
}
