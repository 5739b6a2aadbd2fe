//! `{"$output": "step-1"}`: how the arguments of a planned call refer to earlier results.
//! With `"pointer": "/body"` (a JSON Pointer) it stands for a part of the result.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Attempt, Stop};
use crate::task::{Fault, Task};

/// The key of a reference, and the key that picks a part of the output. An object with the
/// first and nothing but these is a reference.
const OUTPUT: &str = "$output";
const POINTER: &str = "pointer";

impl Attempt {
    /// The arguments with every reference replaced by the output it names.
    pub(super) async fn with_outputs(&self, task: &Task, arguments: Value) -> Result<Value, Stop> {
        let mut names = Vec::new();
        references(&arguments, &mut names);
        if names.is_empty() {
            return Ok(arguments);
        }
        let mut outputs = BTreeMap::new();
        for name in names {
            let output = self.output_of(task, &name).await?;
            outputs.insert(name, output);
        }
        replaced(arguments, &outputs)
            .map_err(|problem| Stop::Failed(Fault::permanent("output_missing", problem)))
    }

    async fn output_of(&self, task: &Task, id: &str) -> Result<Value, Stop> {
        let missing = |problem: &str| {
            Stop::Failed(Fault::permanent(
                "output_missing",
                format!("the arguments refer to '{id}', {problem}"),
            ))
        };
        let step = task.steps().iter().find(|step| step.plan.id == id);
        let step = step.ok_or_else(|| missing("which is not a step of this task"))?;
        let output = step.output.as_ref().ok_or_else(|| missing("which has no output"))?;
        let content = self.orchestrator.repository().content(output).await;
        content.map_err(|error| Stop::Failed(Fault::transient(error.code(), error.to_string())))
    }
}

fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => match reference(value) {
            Some((name, _)) => names.push(name.to_owned()),
            None => fields.values().for_each(|field| references(field, names)),
        },
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// The step a reference names, and the part of its output.
fn reference(value: &Value) -> Option<(&str, &str)> {
    let fields = value.as_object()?;
    let name = fields.get(OUTPUT)?.as_str()?;
    match (fields.len(), fields.get(POINTER)) {
        (1, None) => Some((name, "")),
        (2, Some(Value::String(pointer))) => Some((name, pointer)),
        _ => None,
    }
}

fn replaced(value: Value, outputs: &BTreeMap<String, Value>) -> Result<Value, String> {
    if let Some((name, pointer)) = reference(&value)
        && let Some(output) = outputs.get(name)
    {
        let part = output.pointer(pointer).cloned();
        return part.ok_or_else(|| format!("the output of '{name}' has nothing at '{pointer}'"));
    }
    Ok(match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, field)| Ok((name, replaced(field, outputs)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| replaced(item, outputs)).collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_and_replaced_wherever_they_are() {
        let arguments =
            json!({"a": [{"$output": "step-1"}], "b": {"$output": "step-2"}, "c": {"$output": 3}});
        let mut names = Vec::new();
        references(&arguments, &mut names);
        assert_eq!(names, ["step-1", "step-2"]);
        let outputs = BTreeMap::from([("step-1".to_owned(), json!(1)), ("step-2".to_owned(), json!("two"))]);
        let expected = json!({"a": [1], "b": "two", "c": {"$output": 3}});
        assert_eq!(replaced(arguments, &outputs), Ok(expected));
    }

    #[test]
    fn a_pointer_picks_a_part_or_says_that_it_is_not_there() {
        let outputs = BTreeMap::from([("step-1".to_owned(), json!({"body": ["x"]}))]);
        let part = |pointer: &str| replaced(json!({"$output": "step-1", "pointer": pointer}), &outputs);
        assert_eq!(part("/body/0"), Ok(json!("x")));
        assert!(part("/nothing").unwrap_err().contains("nothing at '/nothing'"));
    }
}
