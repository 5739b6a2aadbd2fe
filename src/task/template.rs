//! A template: a strategy with parameters.
//!
//! In its texts `{{name}}` stands for a parameter as text; in the arguments of its tools
//! `{"$param": "name"}` stands for the value itself. Everything else in braces is not ours and
//! stays as it is.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plan_error::{PlanError, StepProblem};
use super::reference::{as_given, has_place, without_places};
use super::{Plan, PlannedStep, wording};

/// The key of an object that stands for the value of a parameter.
const PARAM: &str = "$param";

/// A goal and the steps that lead to it, with parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Its name: small letters, digits, `-` and `_`.
    pub name: String,
    /// What it does, for people and for models that are offered it as a tool.
    #[serde(default)]
    pub description: String,
    /// The JSON Schema of its parameters, which are the fields of an object.
    pub parameters: Map<String, Value>,
    /// The goal of its tasks, with placeholders.
    pub goal: String,
    /// The steps, with placeholders. Without any, a plan is made when it is run.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub steps: Plan,
    /// The preset of the configuration that its tasks begin from, if the request names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

/// Which version of which template a task was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateRef {
    /// The template.
    pub name: String,
    /// 1 for the first.
    pub version: u32,
}

fn is_empty(plan: &Plan) -> bool {
    plan.steps.is_empty()
}

impl Template {
    /// The names of its parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let properties = self.parameters.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// A placeholder that no parameter stands behind, if there is one.
    pub fn undeclared(&self) -> Option<String> {
        let mut used = BTreeSet::new();
        collect(&Value::String(self.goal.clone()), &mut used);
        collect(&serde_json::to_value(&self.steps).unwrap_or_default(), &mut used);
        used.into_iter().find(|name| !self.names().any(|known| known == name))
    }

    /// The same within a text, where there is one: not as a value of its own.
    pub fn undeclared_text(&self) -> Option<String> {
        let steps = serde_json::to_string(&self.steps).unwrap_or_default();
        self.undeclared().filter(|name| !steps.contains(&format!("\"{PARAM}\":\"{name}\"")))
    }

    /// These parameters with the defaults of those that are not given.
    pub fn with_defaults(&self, given: &Map<String, Value>) -> Map<String, Value> {
        let mut all = given.clone();
        let properties = self.parameters.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            if let Some(default) = schema.get("default").filter(|_| !all.contains_key(name)) {
                all.insert(name.clone(), default.clone());
            }
        }
        all
    }

    /// The goal and the steps with everything filled in. What is given for one parameter is not
    /// looked at for placeholders of others.
    ///
    /// # Errors
    /// If the steps are none any more: a value stands where only some other can.
    pub fn fill(&self, values: &Map<String, Value>) -> Result<(String, Plan), PlanError> {
        let filled = |step: &PlannedStep| {
            let step = serde_json::to_value(step).map_err(|error| error.to_string())?;
            wording::read(filled_step(step, values))
        };
        let steps = self.steps.steps.iter().enumerate();
        let steps = steps
            .map(|(place, step)| filled(step).map_err(|said| StepProblem::of_reading(place, &said)))
            .collect::<Result<_, _>>()?;
        Ok((filled_text(&self.goal, values), Plan { steps }))
    }
}

/// The parts of a step in which references stand for what other steps bring.
const WITH_REFERENCES: [&str; 3] = ["tool", "forEach", "when"];

/// The parts of a step for each item of a list in whose texts the item is filled in.
const WITH_ITEM: [&str; 2] = ["tool", "description"];

/// What is done with a part of a step after it was filled in.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// References in it are looked up.
    has_references: bool,
    /// An item is filled into its texts.
    has_item: bool,
}

/// A step with its placeholders replaced. What was given is content, whoever gave it: where the plan refers
/// to outputs and items, it refers to none.
fn filled_step(step: Value, values: &Map<String, Value>) -> Value {
    let Value::Object(fields) = step else { return step };
    let is_for_each = fields.get("forEach").is_some_and(|list| !list.is_null());
    let fields = fields.into_iter().filter_map(|(name, field)| {
        let part = Part {
            has_references: WITH_REFERENCES.contains(&name.as_str()),
            has_item: is_for_each && WITH_ITEM.contains(&name.as_str()),
        };
        let field = filled(field, values, part)?;
        Some((name, field))
    });
    Value::Object(fields.collect())
}

/// A value with its placeholders replaced by what was given; none if it stands for a parameter that has no
/// value.
fn filled(value: Value, values: &Map<String, Value>, part: Part) -> Option<Value> {
    let given = |value: Value| if part.has_references { as_given(value) } else { value };
    if let Some(name) = parameter(&value) {
        return values.get(name).cloned().map(given);
    }
    Some(match value {
        Value::String(text) => match part.has_references && !has_place(&text) {
            true => given(Value::String(filled_text(&text, values))),
            // The item is filled in here later, and only where the template has a place for it.
            false if part.has_item => Value::String(filled_with(&text, values, without_places)),
            false => Value::String(filled_text(&text, values)),
        },
        Value::Array(items) => {
            Value::Array(items.into_iter().filter_map(|item| filled(item, values, part)).collect())
        }
        Value::Object(fields) => {
            let fields =
                fields.into_iter().filter_map(|(name, field)| Some((name, filled(field, values, part)?)));
            Value::Object(fields.collect())
        }
        other => other,
    })
}

fn filled_text(text: &str, values: &Map<String, Value>) -> String {
    filled_with(text, values, str::to_owned)
}

fn filled_with(text: &str, values: &Map<String, Value>, given: fn(&str) -> String) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, name, behind)) = placeholder(rest) {
        result.push_str(before);
        match values.get(name) {
            Some(Value::String(value)) => result.push_str(&given(value)),
            Some(Value::Null) | None => {}
            Some(value) => result.push_str(&given(&value.to_string())),
        }
        rest = behind;
    }
    result + rest
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    if let Some(name) = parameter(value) {
        names.insert(name.to_owned());
        return;
    }
    match value {
        Value::String(text) => {
            let mut rest = text.as_str();
            while let Some((_, name, behind)) = placeholder(rest) {
                names.insert(name.to_owned());
                rest = behind;
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, names)),
        _ => {}
    }
}

/// The parameter whose value an object stands for.
fn parameter(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get(PARAM)?.as_str()
}

/// The first placeholder of a text: what stands before it, its name, what stands behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let begin = from + text[from..].find("{{")?;
        let inside = &text[begin + 2..];
        match inside.split_once("}}") {
            Some((name, behind)) if is_parameter_name(name.trim()) => {
                return Some((&text[..begin], name.trim(), behind));
            }
            // Braces of somebody else: a secret, or no placeholder at all.
            _ => from = begin + 1,
        }
    }
}

/// Whether a parameter can have this name. `item` is the item of a list that a step goes through.
pub fn is_parameter_name(name: &str) -> bool {
    let mut characters = name.chars();
    name != "item"
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::{Known, outputs_in};

    fn template(goal: &str, arguments: Value) -> Template {
        let value = json!({
            "name": "t", "goal": goal,
            "parameters": {"properties": {"term": {"type": "string"}, "most": {"type": "integer", "default": 3},
                "ids": {"type": "array"}}},
            "steps": [{"id": "step-1", "description": "Look for {{ term }}", "type": "tool-call",
                "tool": {"name": "search", "arguments": arguments}}],
        });
        serde_json::from_value(value).unwrap()
    }

    fn values(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn placeholders_become_texts_and_references_become_values() {
        let template =
            template("Find {{term}}, {{most}} at most", json!({"q": "{{term}}!", "n": [{"$param": "most"}]}));
        let all = template.with_defaults(&values(json!({"term": "TODO"})));
        let (goal, plan) = template.fill(&all).unwrap();
        assert_eq!(goal, "Find TODO, 3 at most");
        assert_eq!(plan.steps[0].description, "Look for TODO");
        assert_eq!(plan.steps[0].tool.as_ref().unwrap().arguments, json!({"q": "TODO!", "n": [3]}));
    }

    #[test]
    fn what_is_given_is_not_read_as_a_template() {
        let template = template("{{term}}", json!({}));
        let (goal, _) = template.fill(&values(json!({"term": "{{most}}", "most": 1}))).unwrap();
        assert_eq!(goal, "{{most}}");
    }

    #[test]
    fn what_is_given_refers_to_no_output_and_no_item() {
        let template = template(
            "",
            json!({"value": {"$param": "term"}, "list": [{"$param": "ids"}], "text": "{{term}}",
                "own": {"$output": "step-0"}, "each": "{{item}}: {{most}}"}),
        );
        let given = json!({"o": {"$output": "y"}, "i": [{"$item": true}], "v": {"$value": 1}, "plain": 7});
        let values = values(json!({"term": given, "ids": ["{{item/name}}", "{{item", "a"], "most": 1}));
        let (_, plan) = template.fill(&values).unwrap();
        let arguments = &plan.steps[0].tool.as_ref().unwrap().arguments;
        let mut used = Vec::new();
        outputs_in(arguments, &mut used);
        assert_eq!(used, ["step-0"], "only what the template itself refers to");
        let known = Known {
            outputs: [("step-0".to_owned(), json!("brought"))].into(),
            item: Some(json!({"name": "an item"})),
        };
        let filled = known.fill_arguments(arguments).unwrap();
        assert_eq!(filled["value"], given);
        assert_eq!(filled["list"], json!([["{{item/name}}", "{{item", "a"]]));
        assert_eq!(filled["text"], json!(given.to_string()));
        assert_eq!(
            (&filled["own"], &filled["each"]),
            (&json!("brought"), &json!("{\"name\":\"an item\"}: 1"))
        );
    }

    #[test]
    fn what_is_given_has_no_place_for_an_item_beside_one_of_the_template() {
        let mut template = template("", json!({"text": "{{item}}: {{term}}"}));
        let step = &mut template.steps.steps[0];
        step.description = "{{term}} of {{item}}".to_owned();
        step.for_each = serde_json::from_value(json!({"items": ["a"]})).unwrap();
        let (_, plan) = template.fill(&values(json!({"term": "{{item}} and {{item/x}}"}))).unwrap();
        let known = Known { item: Some(json!("a")), ..Known::default() };
        let step = &plan.steps[0];
        let arguments = known.fill_arguments(&step.tool.as_ref().unwrap().arguments).unwrap();
        assert_eq!(arguments["text"], "a: {{item}} and {{item/x}}");
        assert_eq!(known.fill_text(&step.description), "{{item}} and {{item/x}} of a");
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let template = template("[{{ids}}]", json!({"ids": {"$param": "ids"}, "q": 1}));
        let (goal, plan) = template.fill(&Map::new()).unwrap();
        assert_eq!(goal, "[]");
        assert_eq!(plan.steps[0].tool.as_ref().unwrap().arguments, json!({"q": 1}));
    }

    #[test]
    fn braces_of_others_stay() {
        let template = template(
            "{{secret:key}} {{item}} {{item/name}} {{}} {{ x y }} { {{",
            json!({"a": {"$output": "step-1"}}),
        );
        let (goal, plan) = template.fill(&Map::new()).unwrap();
        assert_eq!(goal, template.goal);
        assert_eq!(plan.steps[0].tool.as_ref().unwrap().arguments, json!({"a": {"$output": "step-1"}}));
        assert_eq!(template.undeclared(), None);
    }

    #[test]
    fn a_placeholder_without_a_parameter_is_found() {
        assert_eq!(template("{{trem}}", json!({})).undeclared().as_deref(), Some("trem"));
        assert_eq!(template("", json!([{"$param": "x"}])).undeclared().as_deref(), Some("x"));
    }
}
