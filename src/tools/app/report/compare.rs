//! Compares two results line by line.

use std::collections::HashMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::words::counted;
use super::super::{Early, Operation, blocking};
use crate::task::Effect;
use crate::tools::CallContext;

/// Up to so many pairs of lines the exact difference is found; its table has one cell per
/// pair. Beyond it lines are compared as a bag, without their order.
const MAX_CELLS: usize = 4_000_000;
/// How many differing lines are listed on each side.
const MAX_LINES: usize = 1000;

/// `report_compare`.
pub(super) struct Compare;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The one side: a text, or the result of a read, fetch, search or list.
    left: Value,
    /// The other side.
    right: Value,
    /// What to call the one side.
    #[serde(default)]
    left_name: Option<String>,
    /// What to call the other side.
    #[serde(default)]
    right_name: Option<String>,
}

#[async_trait]
impl Operation for Compare {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "report";
    const NAME: &'static str = "report_compare";
    const DESCRIPTION: &'static str =
        "Compares two texts or results line by line: which lines were `added` and which `removed`.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        blocking(move || Ok(compare(&arguments))).await
    }
}

fn compare(arguments: &Arguments) -> Value {
    let (left, right) = (lines_of(&arguments.left), lines_of(&arguments.right));
    let left_name = name(arguments.left_name.as_deref(), &arguments.left, "left");
    let right_name = name(arguments.right_name.as_deref(), &arguments.right, "right");
    compared([(&left_name, &left), (&right_name, &right)], None)
}

/// How two texts differ. Of a line no more is told than so many characters.
pub(in crate::tools::app) fn compared(
    [(left_name, left), (right_name, right)]: [(&str, &[String]); 2],
    most: Option<usize>,
) -> Value {
    let difference = difference(left, right);
    let equal = left == right;
    let summary = if equal {
        format!("{left_name} and {right_name} are equal ({}).", counted(left.len(), "line", "lines"))
    } else {
        format!(
            "{left_name} and {right_name} differ: {} only in {right_name}, {} only in {left_name}.",
            counted(difference.added.len(), "line", "lines"),
            counted(difference.removed.len(), "line", "lines"),
        )
    };
    json!({
        "equal": equal,
        "added": listed(&difference.added, most),
        "removed": listed(&difference.removed, most),
        "summary": summary,
    })
}

fn name(given: Option<&str>, side: &Value, default: &str) -> String {
    let own = || ["path", "url"].iter().find_map(|key| side.get(key)?.as_str());
    given.or_else(own).unwrap_or(default).to_owned()
}

fn listed(lines: &[&str], most: Option<usize>) -> Vec<String> {
    let told = |line: &&str| match most.and_then(|most| line.char_indices().nth(most)) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => (*line).to_owned(),
    };
    let mut listed: Vec<String> = lines.iter().take(MAX_LINES).map(told).collect();
    if lines.len() > MAX_LINES {
        listed.push(format!("… and {} more lines", lines.len() - MAX_LINES));
    }
    listed
}

/// What a value says, as lines.
fn lines_of(value: &Value) -> Vec<String> {
    let split = |text: &str| text.lines().map(str::to_owned).collect();
    if let Some(text) = value.as_str() {
        return split(text);
    }
    if let Some(text) = ["text", "body"].iter().find_map(|key| value.get(key)?.as_str()) {
        return split(text);
    }
    let items = ["matches", "entries"].iter().find_map(|key| value.get(key)?.as_array());
    if let Some(lines) = items.and_then(|items| items.iter().map(item_line).collect()) {
        return lines;
    }
    split(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
}

/// A match by its text, an entry by its path: line numbers and sizes change too easily.
fn item_line(item: &Value) -> Option<String> {
    let path = item.get("path")?.as_str()?;
    Some(match item.get("text").and_then(Value::as_str) {
        Some(text) => format!("{path}: {text}"),
        None => path.to_owned(),
    })
}

#[derive(Debug, Default, PartialEq)]
struct Difference<'a> {
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
}

fn difference<'a>(left: &'a [String], right: &'a [String]) -> Difference<'a> {
    let prefix = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[prefix..], &right[prefix..]);
    let suffix = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[..left.len() - suffix], &right[..right.len() - suffix]);
    if left.len().saturating_mul(right.len()) <= MAX_CELLS {
        by_sequence(left, right)
    } else {
        by_bag(left, right)
    }
}

/// The longest common subsequence stays; all other lines differ.
fn by_sequence<'a>(left: &'a [String], right: &'a [String]) -> Difference<'a> {
    let width = right.len() + 1;
    let mut longest = vec![0_u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            longest[i * width + j] = if left[i] == right[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let mut difference = Difference::default();
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            difference.removed.push(&left[i]);
            i += 1;
        } else {
            difference.added.push(&right[j]);
            j += 1;
        }
    }
    difference.removed.extend(left[i..].iter().map(String::as_str));
    difference.added.extend(right[j..].iter().map(String::as_str));
    difference
}

fn by_bag<'a>(left: &'a [String], right: &'a [String]) -> Difference<'a> {
    let mut balance: HashMap<&str, i64> = HashMap::new();
    left.iter().for_each(|line| *balance.entry(line).or_default() += 1);
    let mut difference = Difference::default();
    for line in right {
        match balance.get_mut(line.as_str()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => difference.added.push(line),
        }
    }
    for line in left.iter().rev() {
        if let Some(count) = balance.get_mut(line.as_str())
            && *count > 0
        {
            *count -= 1;
            difference.removed.push(line);
        }
    }
    difference.removed.reverse();
    difference
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compared(left: Value, right: Value) -> Value {
        compare(&Arguments { left, right, left_name: None, right_name: None })
    }

    #[test]
    fn differing_lines_are_listed() {
        let result = compared(json!("a\nb\nc\n"), json!("a\nx\nc\nd\n"));
        assert_eq!(
            (&result["equal"], &result["added"], &result["removed"]),
            (&json!(false), &json!(["x", "d"]), &json!(["b"]))
        );
        assert_eq!(
            result["summary"],
            json!("left and right differ: 2 lines only in right, 1 line only in left.")
        );
    }

    #[test]
    fn equal_texts_are_equal_wherever_they_come_from() {
        let result = compared(
            json!({"path": "a.txt", "text": "x\n", "bytes": 2, "lines": 1}),
            json!({"url": "http://a/", "status": 200, "body": "x"}),
        );
        assert_eq!(result["equal"], json!(true));
        assert_eq!(result["summary"], json!("a.txt and http://a/ are equal (1 line)."));
    }

    #[test]
    fn findings_are_compared_by_place_and_text() {
        let hit = |line: u32, text: &str| json!({"path": "a", "line": line, "text": text});
        let result =
            compared(json!({"matches": [hit(1, "x")]}), json!({"matches": [hit(2, "x"), hit(3, "y")]}));
        assert_eq!(result["added"], json!(["a: y"]));
    }

    #[test]
    fn large_texts_are_compared_in_bounded_memory() {
        let text = |from: u32| (from..from + 50_000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        let result = compared(json!(text(0)), json!(text(10)));
        assert_eq!(result["added"].as_array().unwrap().len(), 10);
        let other = compared(json!(text(0)), json!(text(100_000)));
        assert_eq!(other["added"].as_array().unwrap().len(), MAX_LINES + 1);
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_what_is_equal(left in prop::collection::vec("[ab]", 0..8), right in prop::collection::vec("[ab]", 0..8)) {
            let sequence = by_sequence(&left, &right);
            prop_assert_eq!(sequence == Difference::default(), left == right);
            prop_assert_eq!(left.len() + sequence.added.len(), right.len() + sequence.removed.len());
            let bag = by_bag(&left, &right);
            prop_assert_eq!(left.len() + bag.added.len(), right.len() + bag.removed.len());
            prop_assert!(bag.added.len() <= sequence.added.len());
        }
    }
}
