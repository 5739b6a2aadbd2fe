//! What is wrong with JSON that somebody sent, in their words: which field, and what it must be. The
//! library that reads it speaks of its own types.

use serde::{Deserialize, Deserializer};

/// Reads a value; what is wrong with it is told with the field it is about.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    value: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| plainly(&error.to_string()))
}

/// How the library begins what it says; before that stands at most the path of the field.
const BEGINNINGS: [&str; 7] = [
    "invalid type: ",
    "invalid value: ",
    "invalid length ",
    "missing field ",
    "unknown field ",
    "unknown variant ",
    "duplicate field ",
];

/// The same in plain words. What the library does not say itself stays as it is.
pub(crate) fn plainly(said: &str) -> String {
    let said = without_place(said);
    let beginning = BEGINNINGS.iter().filter_map(|beginning| Some((said.find(beginning)?, *beginning)));
    let Some((at, beginning)) = beginning.min() else { return numbers(said) };
    let (path, rest) = (&said[..at], &said[at + beginning.len()..]);
    // Each level that was read by itself has added its path and a colon.
    let levels: Vec<&str> = path.split(": ").filter(|level| !level.is_empty()).collect();
    if levels.iter().any(|level| level.contains(' ')) {
        return said.to_owned();
    }
    let path = levels.join(".");
    let first = quoted(rest).next().unwrap_or_default();
    let expected = rest.split_once(", expected ").map_or("", |(_, expected)| expected);
    match beginning.trim_end() {
        "missing field" => under(&path, first, "is missing"),
        "duplicate field" => under(&path, first, "is there twice"),
        "unknown field" => {
            let known: Vec<&str> = quoted(rest).skip(1).collect();
            let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            under(&path, first, &format!("there is no such field; there is {known}"))
        }
        "unknown variant" => {
            let known: Vec<&str> = quoted(rest).skip(1).collect();
            at_path(&path, &format!("'{first}' is none of {}", known.join(", ")))
        }
        "invalid length" if expected.starts_with("struct ") => {
            at_path(&path, "must be an object, not a list")
        }
        "invalid length" => {
            let length = rest.split(',').next().unwrap_or_default();
            at_path(&path, &format!("must be {}, not of length {length}", wanted(expected)))
        }
        _ => {
            let found = rest.split_once(", expected ").map_or(rest, |(found, _)| found);
            at_path(&path, &format!("must be {}, not {}", wanted(expected), named(found)))
        }
    }
}

fn at_path(path: &str, problem: &str) -> String {
    if path.is_empty() { problem.to_owned() } else { format!("{path}: {problem}") }
}

/// A field that should or should not be there; where it is there, the path ends in it.
fn under(path: &str, field: &str, problem: &str) -> String {
    let is_whole = path == field || path.strip_suffix(field).is_some_and(|above| above.ends_with('.'));
    match () {
        () if is_whole => format!("{path}: {problem}"),
        () if path.is_empty() => format!("{field}: {problem}"),
        () => format!("{path}.{field}: {problem}"),
    }
}

/// Without the line and the column, which are those of a text that only programs see.
fn without_place(said: &str) -> &str {
    let Some((before, place)) = said.rsplit_once(" at line ") else { return said };
    let is_place = place.chars().all(|letter| letter.is_ascii_digit() || " column".contains(letter));
    if is_place { before } else { said }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What was found, as people call it.
fn named(found: &str) -> String {
    let value = quoted(found).next().unwrap_or_default();
    match found.split([' ', ',']).next().unwrap_or_default() {
        "integer" | "floating" => format!("the number {value}"),
        "boolean" => value.to_owned(),
        "string" => format!("the text {}", found.trim_start_matches("string ")),
        "character" => format!("the text \"{value}\""),
        "sequence" | "tuple" => "a list".to_owned(),
        "map" | "struct" => "an object".to_owned(),
        "null" | "unit" | "Option" => "null".to_owned(),
        _ => found.to_owned(),
    }
}

/// What is needed, as people call it.
fn wanted(expected: &str) -> &str {
    match expected {
        "a string" | "string" | "a borrowed string" | "variant identifier" | "field identifier" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "a character" => "a single letter",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a UUID string" | "a formatted UUID string" => "an id",
        other
            if other.starts_with("internally tagged enum") || other.starts_with("adjacently tagged enum") =>
        {
            "an object with a type"
        }
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a text or an object",
        other => other,
    }
}

/// What is said of a parameter that is no number, or neither true nor false.
fn numbers(said: &str) -> String {
    let plain = [
        ("invalid digit found in string", "must be a whole number"),
        ("cannot parse integer from empty string", "must be a whole number, and is empty"),
        ("number too large to fit in target type", "is too large a number"),
        ("number too small to fit in target type", "is too small a number"),
        ("provided string was not `true` or `false`", "must be true or false"),
    ];
    plain.iter().fold(said.to_owned(), |said, (theirs, ours)| said.replace(theirs, ours))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::task::{Budget, Mention};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[allow(dead_code, reason = "only what is refused is looked at")]
    struct Body {
        goal: String,
        chat_model: Option<crate::task::ModelName>,
        #[serde(default)]
        mentions: Vec<Mention>,
        #[serde(default, deserialize_with = "crate::task::object")]
        budget: Option<Budget>,
        #[serde(default)]
        small: u8,
        pair: Option<(u8, u8)>,
        id: Option<uuid::Uuid>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only what is refused is looked at")]
    struct Inner {
        a: u64,
        b: u64,
    }

    fn refused(body: Value) -> String {
        read::<Body>(body).unwrap_err()
    }

    #[test]
    fn a_mistake_is_told_with_its_field_and_what_it_must_be() {
        let with = |field: &str, value: Value| {
            let mut body = json!({"goal": "g"});
            body[field] = value;
            refused(body)
        };
        assert_eq!(refused(json!({})), "goal: is missing");
        assert_eq!(with("goal", json!(5)), "goal: must be a text, not the number 5");
        assert_eq!(with("goal", json!({})), "goal: must be a text, not an object");
        assert_eq!(with("goal", json!(null)), "goal: must be a text, not null");
        assert_eq!(
            with("small", json!(300)),
            "small: must be a whole number from 0 to 255, not the number 300"
        );
        assert_eq!(
            with("small", json!("1")),
            "small: must be a whole number from 0 to 255, not the text \"1\""
        );
        assert_eq!(with("mentions", json!("all")), "mentions: must be a list, not the text \"all\"");
        let mention = json!([{"type": "agent", "name": "n"}]);
        assert_eq!(with("mentions", mention), "mentions[0].agentId: is missing");
        let mention = with("mentions", json!([{"type": "person"}]));
        assert!(
            mention.starts_with("mentions[0].type: 'person' is none of mcpTool, defaultTool, "),
            "{mention}"
        );
        let steps = with("budget", json!({"steps": -1}));
        assert!(steps.starts_with("budget.steps: must be a whole number"), "{steps}");
        assert_eq!(with("budget", json!([1])), "budget: must be an object, not a list");
        assert_eq!(with("inner", json!([1])), "inner: must be an object, not a list");
        assert!(with("bugdet", json!({})).starts_with("bugdet: there is no such field; there is goal, "));
        assert_eq!(with("pair", json!([1])), "pair: must be a tuple of size 2, not of length 1");
        assert_eq!(with("chatModel", json!("gpt")).split(':').next(), Some("chatModel"));
        assert!(!with("id", json!(7)).contains("UUID"), "{}", with("id", json!(7)));
    }

    #[test]
    fn lines_of_a_text_that_nobody_wrote_are_not_told() {
        assert_eq!(
            plainly("goal: invalid type: map, expected a string at line 1 column 20"),
            "goal: must be a text, not an object"
        );
        assert_eq!(plainly("say it at line noise"), "say it at line noise");
        assert_eq!(plainly("limit: invalid digit found in string"), "limit: must be a whole number");
    }
}
