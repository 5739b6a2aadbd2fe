//! The JSON Schema of a tool's arguments: what models are shown, and what a call is held against before
//! anything is sent.
//!
//! The schema is read once, when it is needed for the first time. Where it cannot be read the tool can be
//! called all the same, and judges by itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::{Map, Value};

use super::text::shortened;
use crate::task::is_open;

/// Editions of JSON Schema, in the order in which they are tried: servers seldom say which one they mean,
/// and what an edition does not know is no schema in it.
const EDITIONS: [Draft; 3] = [Draft::Draft202012, Draft::Draft7, Draft::Draft4];

/// Problems that are told at once.
const PROBLEMS: usize = 5;

/// Characters of one of them.
const TOLD: usize = 300;

/// Places of a schema that refers to itself, with what it refers to in place of each reference. With more, one
/// call could take as long as whoever wrote the schema likes.
const MOST_PLACES: u64 = 1_000_000;

/// The schema of a tool's arguments. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct ArgumentSchema(Arc<Kept>);

struct Kept {
    value: Value,
    read: OnceLock<Result<Validator, String>>,
}

impl From<Value> for ArgumentSchema {
    fn from(value: Value) -> Self {
        Self(Arc::new(Kept { value, read: OnceLock::new() }))
    }
}

impl PartialEq for ArgumentSchema {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

impl fmt::Debug for ArgumentSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl ArgumentSchema {
    /// The schema as it is written.
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// Why no call can be held against it, if so.
    pub fn unusable(&self) -> Option<&str> {
        self.read().as_ref().err().map(String::as_str)
    }

    /// What is wrong with arguments, with the places where it is and what is expected there. The arguments
    /// themselves are not repeated.
    pub fn problem(&self, arguments: &Value) -> Option<String> {
        self.told(arguments, |_| true)
    }

    /// The same for arguments of which a part is not known yet. A value that is not there says nothing, and may
    /// decide what else has to be there: so only the names are judged that are wanted or refused whatever it
    /// is.
    pub fn problem_with_names(&self, arguments: &Value) -> Option<String> {
        self.told(arguments, |error| {
            let path = error.instance_path().as_str();
            let is_named = matches!(
                error.kind(),
                ValidationErrorKind::Required { .. } | ValidationErrorKind::AdditionalProperties { .. }
            );
            let depends =
                error.schema_path().as_str().split('/').any(|part| part == "then" || part == "else");
            is_named && !depends && !is_within_reference(arguments, path)
        })
    }

    fn told(&self, arguments: &Value, counts: impl Fn(&ValidationError<'_>) -> bool) -> Option<String> {
        let validator = self.read().as_ref().ok()?;
        let nothing = Value::Object(Map::new());
        let arguments = if arguments.is_null() { &nothing } else { arguments };
        let problems = validator.iter_errors(arguments).filter(|error| counts(error));
        let problems: Vec<String> = problems.take(PROBLEMS).map(|error| in_words(&error)).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    fn read(&self) -> &Result<Validator, String> {
        self.0.read.get_or_init(|| {
            refuse_endless(&self.0.value)?;
            let mut reasons = Vec::new();
            for edition in EDITIONS {
                // A reference to somewhere else is not followed, and a format is a hint.
                let options =
                    jsonschema::options().with_draft(edition).should_validate_formats(false).offline();
                match options.build(&self.0.value) {
                    Ok(validator) => return Ok(validator),
                    Err(error) => reasons.push(shortened(&error.to_string(), TOLD)),
                }
            }
            Err(reasons.swap_remove(0))
        })
    }
}

/// What judges by a schema that came from outside, or why it cannot be used.
pub(crate) fn validator(schema: &Value) -> Result<Validator, String> {
    refuse_endless(schema)?;
    jsonschema::validator_for(schema).map_err(|error| error.to_string())
}

fn refuse_endless(schema: &Value) -> Result<(), String> {
    match places(schema, schema, &mut HashMap::new()) {
        places if places > MOST_PLACES => {
            Err(format!("with all references followed it has more than {MOST_PLACES} places"))
        }
        _ => Ok(()),
    }
}

fn in_words(error: &ValidationError<'_>) -> String {
    let said = match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let each = context.iter().filter_map(|problems| problems.first());
            let each: Vec<String> = each.take(PROBLEMS).map(|error| error.masked().to_string()).collect();
            format!("value is none of what is allowed ({})", each.join("; or "))
        }
        _ => error.masked().to_string(),
    };
    match error.instance_path().as_str() {
        "" => shortened(&said, TOLD),
        path => format!("at {path}: {}", shortened(&said, TOLD)),
    }
}

/// Whether a place in arguments is a reference itself, which stands for something else.
fn is_within_reference(arguments: &Value, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.filter_map(|end| arguments.pointer(&path[..end])).any(is_reference)
}

fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.keys().any(|key| key.starts_with('$'))) && is_open(value)
}

/// How many places a schema has if what it refers to stood in place of each reference; one that leads back to
/// itself counts once.
fn places<'a>(part: &'a Value, root: &'a Value, known: &mut HashMap<&'a str, u64>) -> u64 {
    let inner = |values: &mut dyn Iterator<Item = &'a Value>, known: &mut HashMap<&'a str, u64>| {
        values.fold(1_u64, |sum, value| sum.saturating_add(places(value, root, known)))
    };
    match part {
        Value::Array(items) => inner(&mut items.iter(), known),
        Value::Object(fields) => {
            let own = inner(&mut fields.values(), known);
            let target = fields.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
            let Some(target) = target else { return own };
            if let Some(known) = known.get(target) {
                return own.saturating_add(*known);
            }
            known.insert(target, 1);
            let size = root.pointer(target).map_or(1, |value| places(value, root, known));
            known.insert(target, size);
            own.saturating_add(size)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issue() -> ArgumentSchema {
        json!({"type": "object", "required": ["title"], "additionalProperties": false, "properties": {
            "title": {"type": "string", "maxLength": 20},
            "labels": {"type": "array", "items": {"enum": ["bug", "idea"]}},
            "milestone": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}})
        .into()
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place_and_what_is_expected() {
        for (arguments, problem) in [
            (json!({"title": "It leaks", "labels": ["bug"], "milestone": null}), None),
            (json!({}), Some(r#""title" is a required property"#)),
            (Value::Null, Some(r#""title" is a required property"#)),
            (json!([]), Some(r#"value is not of type "object""#)),
            (json!({"title": 7}), Some(r#"at /title: value is not of type "string""#)),
            (
                json!({"title": "t", "labels": ["bug", "fun"]}),
                Some(r#"at /labels/1: value is not one of "bug" or "idea""#),
            ),
            (
                json!({"title": "t", "body": "x"}),
                Some("Additional properties are not allowed ('body' was unexpected)"),
            ),
            (
                json!({"title": "t", "milestone": "m"}),
                Some(
                    r#"at /milestone: value is none of what is allowed (value is not of type "integer"; or value is not of type "null")"#,
                ),
            ),
        ] {
            assert_eq!(issue().problem(&arguments).as_deref(), problem, "{arguments}");
        }
        let long = issue().problem(&json!({"title": "a secret that is long"})).unwrap();
        assert_eq!(long, "at /title: value is longer than 20 characters", "it is not repeated");
    }

    #[test]
    fn beside_references_the_names_are_judged_and_nothing_else() {
        let output = json!({"$output": "step-1"});
        for (arguments, problem) in [
            (json!({"title": output}), None),
            (json!({"title": "{{item/name}} is far too long for a title", "labels": output}), None),
            (json!({"labels": output}), Some(r#""title" is a required property"#)),
            (
                json!({"title": output, "body": ""}),
                Some("Additional properties are not allowed ('body' was unexpected)"),
            ),
        ] {
            assert_eq!(issue().problem_with_names(&arguments).as_deref(), problem, "{arguments}");
        }
        let nested = json!({"properties": {"place": {"required": ["city"]}}});
        assert_eq!(ArgumentSchema::from(nested).problem_with_names(&json!({"place": output})), None);
        let depends = json!({"if": {"properties": {"kind": {"const": "new"}}}, "else": {"required": ["id"]}});
        assert_eq!(ArgumentSchema::from(depends).problem_with_names(&json!({"kind": output})), None);
    }

    #[test]
    fn older_editions_are_understood_and_formats_are_hints() {
        let tuple: ArgumentSchema = json!({"properties": {"at": {"items": [{"type": "integer"}]}}}).into();
        assert!(
            tuple.problem(&json!({"at": ["x"]})).is_some() && tuple.problem(&json!({"at": [1]})).is_none()
        );
        let above: ArgumentSchema =
            json!({"properties": {"n": {"minimum": 0, "exclusiveMinimum": true}}}).into();
        assert!(above.problem(&json!({"n": 0})).is_some() && above.problem(&json!({"n": 1})).is_none());
        let format: ArgumentSchema = json!({"properties": {"to": {"format": "email"}}}).into();
        assert_eq!(format.problem(&json!({"to": "nobody"})), None);
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_in_nobodys_way() {
        for schema in [
            json!({"properties": {"a": {"type": "int"}}}),
            json!({"properties": {"a": {"pattern": "(("}}}),
            json!({"properties": {"a": {"$ref": "https://127.0.0.1:1/schema.json"}}}),
            json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
            json!({"properties": {"a": {"$ref": "#/$defs/nowhere"}}}),
        ] {
            let schema = ArgumentSchema::from(schema);
            assert_eq!(schema.problem(&json!({"a": [1]})), None, "{schema:?}");
            assert!(schema.unusable().is_some(), "{schema:?}");
        }
        assert_eq!(issue().unusable(), None);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let tree: ArgumentSchema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
            "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}}}}})
        .into();
        assert_eq!(tree.problem(&json!({"left": {"right": {}}})), None);
        assert!(tree.problem(&json!({"left": {"right": 7}})).unwrap().starts_with("at /left/right: "));
        let circle = ArgumentSchema::from(json!({"allOf": [{"$ref": "#"}]}));
        assert_eq!(circle.problem(&json!({})), None);
    }

    #[test]
    fn references_that_multiply_are_not_followed() {
        let twice = |to: u32| json!({"allOf": [{"$ref": format!("#/$defs/{to}")}, {"$ref": format!("#/$defs/{to}")}]});
        let defs: Map<String, Value> = (0..64).map(|n| (n.to_string(), twice(n + 1))).collect();
        let bomb = ArgumentSchema::from(json!({"$ref": "#/$defs/0", "$defs": defs}));
        assert!(bomb.unusable().unwrap().contains("more than 1000000 places"));
        assert_eq!(bomb.problem(&json!({})), None);
    }
}
