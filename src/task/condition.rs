//! When a step is wanted at all: a small condition over what earlier steps brought.

use std::cmp::Ordering;

use regex::RegexBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Known;
use super::reference::outputs_in;

/// Bytes that a compiled pattern may take: patterns come from plans.
const PATTERN_BYTES: usize = 256 * 1024;

/// Conditions within a condition at most.
const MOST: usize = 64;

/// Holds or does not hold. An operand is a value, in which references stand for outputs:
/// `{"equals": [{"$output": "step-1", "pointer": "/kind"}, "bug"]}`.
///
/// A comparison with something that is not there, or that cannot be compared, does not hold;
/// `notEquals` does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
    /// It is there, and is not null.
    Exists(Value),
    /// Both are the same.
    Equals(Value, Value),
    /// They are not the same.
    NotEquals(Value, Value),
    /// The first is a text in which the second, a regular expression, is found.
    Matches(Value, String),
    /// The first is a list with the second among its items, or a text that holds it.
    Contains(Value, Value),
    /// The first is greater: of two numbers, or of two texts.
    GreaterThan(Value, Value),
    /// The first is not smaller.
    AtLeast(Value, Value),
    /// The first is smaller.
    LessThan(Value, Value),
    /// The first is not greater.
    AtMost(Value, Value),
}

impl Condition {
    /// Whether it holds, by what is known.
    pub fn holds(&self, known: &Known) -> bool {
        let value = |operand: &Value| known.fill(operand).ok();
        let compared = |one: &Value, other: &Value| compare(&value(one)?, &value(other)?);
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(known)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(known)),
            Self::Not(part) => !part.holds(known),
            Self::Exists(operand) => value(operand).is_some_and(|value| !value.is_null()),
            Self::Equals(one, other) => are_equal(value(one), value(other)),
            Self::NotEquals(one, other) => !are_equal(value(one), value(other)),
            Self::Matches(operand, pattern) => value(operand).is_some_and(|value| matches(&value, pattern)),
            Self::Contains(whole, part) => {
                value(whole).zip(value(part)).is_some_and(|(whole, part)| contains(&whole, &part))
            }
            Self::GreaterThan(one, other) => compared(one, other) == Some(Ordering::Greater),
            Self::AtLeast(one, other) => compared(one, other).is_some_and(Ordering::is_ge),
            Self::LessThan(one, other) => compared(one, other) == Some(Ordering::Less),
            Self::AtMost(one, other) => compared(one, other).is_some_and(Ordering::is_le),
        }
    }

    /// Adds the ids of the steps whose outputs it looks at.
    pub fn outputs<'a>(&'a self, ids: &mut Vec<&'a str>) {
        self.operands().into_iter().for_each(|operand| outputs_in(operand, ids));
        self.parts().iter().for_each(|part| part.outputs(ids));
    }

    /// Every operand, so that references in it can be renamed.
    pub fn operands_mut(&mut self) -> Vec<&mut Value> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter_mut().flat_map(Self::operands_mut).collect(),
            Self::Not(part) => part.operands_mut(),
            Self::Exists(one) | Self::Matches(one, _) => vec![one],
            Self::Equals(one, other)
            | Self::NotEquals(one, other)
            | Self::Contains(one, other)
            | Self::GreaterThan(one, other)
            | Self::AtLeast(one, other)
            | Self::LessThan(one, other)
            | Self::AtMost(one, other) => vec![one, other],
        }
    }

    /// What stands against it, if anything does.
    pub(super) fn problem(&self) -> Option<String> {
        if self.size() > MOST {
            return Some(format!("it has more than {MOST} parts"));
        }
        match self {
            Self::All(parts) | Self::Any(parts) if parts.is_empty() => {
                Some("'all' and 'any' need at least one condition".into())
            }
            Self::Matches(_, pattern) => compiled(pattern).err().map(|error| error.to_string()),
            _ => self.parts().iter().find_map(Self::problem),
        }
    }

    fn parts(&self) -> &[Self] {
        match self {
            Self::All(parts) | Self::Any(parts) => parts,
            Self::Not(part) => std::slice::from_ref(part),
            _ => &[],
        }
    }

    fn operands(&self) -> Vec<&Value> {
        match self {
            Self::All(_) | Self::Any(_) | Self::Not(_) => Vec::new(),
            Self::Exists(one) | Self::Matches(one, _) => vec![one],
            Self::Equals(one, other)
            | Self::NotEquals(one, other)
            | Self::Contains(one, other)
            | Self::GreaterThan(one, other)
            | Self::AtLeast(one, other)
            | Self::LessThan(one, other)
            | Self::AtMost(one, other) => vec![one, other],
        }
    }

    fn size(&self) -> usize {
        1 + self.parts().iter().map(Self::size).sum::<usize>()
    }
}

fn compiled(pattern: &str) -> Result<regex::Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build()
}

fn matches(value: &Value, pattern: &str) -> bool {
    let text = value.as_str();
    text.is_some_and(|text| compiled(pattern).is_ok_and(|pattern| pattern.is_match(text)))
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(items), part) => items.iter().any(|item| same(item, part)),
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        _ => false,
    }
}

fn are_equal(one: Option<Value>, other: Option<Value>) -> bool {
    one.zip(other).is_some_and(|(one, other)| same(&one, &other))
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(one: &Value, other: &Value) -> bool {
    one == other
        || matches!((one, other), (Value::Number(_), Value::Number(_)) if compare(one, other) == Some(Ordering::Equal))
}

fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(condition: Value) -> Condition {
        serde_json::from_value(condition).unwrap()
    }

    fn holds(condition: Value) -> bool {
        let outputs = [
            ("a".to_owned(), json!({"count": 3, "kind": "bug", "tags": ["x"], "none": null})),
            ("t".to_owned(), json!("{\"count\": 7}")),
        ];
        read(condition).holds(&Known { outputs: outputs.into(), item: None })
    }

    #[test]
    fn each_comparison_says_what_its_name_says() {
        let count = json!({"$output": "a", "pointer": "/count"});
        let kind = json!({"$output": "a", "pointer": "/kind"});
        for (condition, expected) in [
            (json!({"equals": [count, 3.0]}), true),
            (json!({"equals": [count, "3"]}), false),
            (json!({"notEquals": [kind, "bug"]}), false),
            (json!({"matches": [kind, "^b.g$"]}), true),
            (json!({"contains": [{"$output": "a", "pointer": "/tags"}, "x"]}), true),
            (json!({"contains": [kind, "ug"]}), true),
            (json!({"greaterThan": [count, 3]}), false),
            (json!({"atLeast": [count, 3]}), true),
            (json!({"lessThan": [count, 4.5]}), true),
            (json!({"atMost": ["2026-01-01", "2026-06-01"]}), true),
            (json!({"exists": {"$output": "a", "pointer": "/none"}}), false),
            (json!({"greaterThan": [{"$output": "t", "pointer": "/count"}, 5]}), true),
        ] {
            assert_eq!(holds(condition.clone()), expected, "{condition}");
        }
    }

    #[test]
    fn what_is_not_there_equals_nothing() {
        let ghost = json!({"$output": "ghost"});
        assert!(!holds(json!({"exists": ghost})) && !holds(json!({"equals": [ghost, ghost]})));
        assert!(holds(json!({"notEquals": [ghost, 1]})) && holds(json!({"not": {"exists": ghost}})));
        assert!(!holds(json!({"greaterThan": [ghost, 1]})));
    }

    #[test]
    fn conditions_are_put_together() {
        let (yes, no) = (json!({"equals": [1, 1]}), json!({"equals": [1, 2]}));
        assert!(holds(json!({"all": [yes, {"not": no}]})) && !holds(json!({"all": [yes, no]})));
        assert!(holds(json!({"any": [no, yes]})) && !holds(json!({"any": [no]})));
    }

    #[test]
    fn a_condition_that_makes_no_sense_is_refused() {
        assert!(read(json!({"all": []})).problem().unwrap().contains("at least one"));
        assert!(read(json!({"not": {"matches": ["x", "("]}})).problem().is_some());
        let deep = (0..70).fold(json!({"exists": 1}), |inner, _| json!({"not": inner}));
        assert!(read(deep).problem().unwrap().contains("64 parts"));
        assert!(serde_json::from_value::<Condition>(json!({"equal": [1, 1]})).is_err());
        assert_eq!(read(json!({"equals": [1, 1]})).problem(), None);
    }

    #[test]
    fn the_outputs_it_looks_at_are_known() {
        let condition =
            read(json!({"any": [{"exists": {"$output": "a"}}, {"equals": [{"$output": "b"}, 1]}]}));
        let mut ids = Vec::new();
        condition.outputs(&mut ids);
        assert_eq!(ids, ["a", "b"]);
    }
}
