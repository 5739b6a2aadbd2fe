//! Reads what planners write. Models wrap JSON in prose and fences, number steps their own
//! way and refer forwards; whatever can be understood is understood, the rest is refused.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

pub(super) use crate::task::json_in as read_json;
use crate::task::{
    Check, Condition, ForEach, ModelName, Plan, PlannedStep, StepProblem, StepType, ToolUse, is_literal,
    outputs_used,
};
use crate::tools::Probes;

/// What a model is told that its list of steps is called.
pub(super) const STEPS: &str = "steps";

/// A plan as a model wrote it.
#[derive(Debug, Deserialize)]
pub(super) struct PlanText {
    #[serde(default)]
    pub(super) reason: String,
    steps: Vec<StepText>,
}

/// Unknown fields, `status` among them, are ignored: what a step's state is, is not the
/// model's to say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepText {
    #[serde(default)]
    id: Option<Value>,
    description: String,
    #[serde(rename = "type")]
    kind: StepType,
    #[serde(default)]
    depends_on: Option<Vec<Value>>,
    #[serde(default)]
    tool: Option<ToolUse>,
    #[serde(default)]
    estimated_duration: Option<f64>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    for_each: Option<ForEach>,
    #[serde(default)]
    when: Option<Condition>,
    #[serde(default)]
    checks: Vec<Check>,
}

/// The JSON Schema of a plan; `models` and `probes` are those that a step may name.
pub(super) fn schema(models: &[ModelName], probes: &Probes) -> Value {
    let tool = serde_json::json!({
        "type": "object", "required": ["name", "arguments"],
        "description": "The one call that the step is. Only for steps of type tool-call.",
        "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
    });
    let for_each = serde_json::json!({
        "type": "object", "required": ["items"],
        "properties": {
            "items": {"type": ["array", "object"]},
            "maxItems": {"type": "integer"},
            "parallel": {"type": "integer"},
            "allowFailures": {"type": "boolean"},
        },
    });
    let mut schema = serde_json::json!({
        "type": "object", "required": ["steps"],
        "properties": {
            "reason": {"type": "string"},
            "steps": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["id", "description", "type"],
                "properties": {
                    "id": {"type": "string"},
                    "description": {"type": "string"},
                    "type": {"enum": StepType::ALL, "description":
                        "llm-reasoning has no tools and asks nobody: a tool or a question to a person is a tool-call."},
                    "dependsOn": {"type": "array", "items": {"type": "string"}},
                    "tool": tool,
                    "estimatedDuration": {"type": "integer"},
                    "optional": {"type": "boolean"},
                    "forEach": for_each,
                    "when": {"type": "object"},
                    "checks": {"type": "array", "items": check_schema(probes)},
                },
            }},
        },
    });
    if !models.is_empty() {
        schema["properties"]["steps"]["items"]["properties"]["model"] = serde_json::json!({"enum": models});
    }
    schema
}

fn check_schema(probes: &Probes) -> Value {
    let mut kinds = serde_json::json!({
        "schema": {"type": "object"}, "judge": {"type": "string"}, "required": {"type": "boolean"},
    });
    let names: Vec<&str> = probes.names().collect();
    if !names.is_empty() {
        kinds["probe"] = serde_json::json!({"enum": names});
    }
    serde_json::json!({"type": "object", "properties": kinds})
}

impl PlanText {
    /// Reads what a model wrote, or says what is wrong with it: in which field, where that is known.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        read_json(text).map_err(|error| {
            let value = read_json::<Value>(text).ok().filter(Value::is_object);
            let problem = value.and_then(|value| crate::task::read_json::<Self>(value).err());
            problem.unwrap_or_else(|| format!("it is not the JSON that was asked for ({error})"))
        })
    }

    /// What is wrong with the order of the steps: one that waits for itself or for a later one, or uses what
    /// such a one brings, is in the way of its own, as in a circle.
    pub(super) fn out_of_order(&self) -> Option<StepProblem> {
        let ids: Vec<Option<String>> = self.steps.iter().map(|step| step.id.as_ref().map(name_of)).collect();
        self.steps.iter().enumerate().find_map(|(position, step)| {
            let is_late = |name: &String| ids[position..].iter().flatten().any(|id| id == name);
            let named = step.depends_on.iter().flatten().map(name_of);
            let named = named.map(|name| ("dependsOn", "depends on", name));
            let used = outputs_used(step.tool.as_ref(), step.when.as_ref(), step.for_each.as_ref());
            let used =
                used.into_iter().map(|(field, id)| (field, "uses the output of", id.trim().to_owned()));
            let (field, how, late) = named.chain(used).find(|(.., name)| is_late(name))?;
            let own = ids[position].as_deref().unwrap_or_default();
            let words = format!(
                "step '{own}' {how} '{late}', which does not come before it: put each step behind those it depends \
                 on"
            );
            Some(StepProblem::new(position, field, words))
        })
    }

    /// The plan, as the continuation of steps that exist already under `known` ids (in order).
    ///
    /// Ids become `step-1`, `step-2`, …; references to the model's own ids follow. A reference
    /// to the step itself or a later one says nothing that could be obeyed and is dropped. A
    /// step that names no dependency waits for the one before it.
    pub(super) fn into_plan(self, known: &[&str]) -> Plan {
        let first = known.len();
        let mut names: HashMap<String, u32> =
            known.iter().enumerate().map(|(index, id)| ((*id).to_owned(), index as u32)).collect();
        let own_ids: Vec<Option<String>> =
            self.steps.iter().map(|step| step.id.as_ref().map(name_of)).collect();
        for (position, own_id) in own_ids.iter().enumerate() {
            let index = (first + position) as u32;
            names.extend(own_id.iter().map(|id| (id.clone(), index)));
        }
        let steps = self.steps.into_iter().enumerate();
        let steps =
            steps.map(|(position, step)| step.into_planned((first + position) as u32, first as u32, &names));
        Plan { steps: steps.collect() }
    }
}

impl StepText {
    fn into_planned(self, index: u32, first: u32, names: &HashMap<String, u32>) -> PlannedStep {
        let before = || if index > first { vec![index - 1] } else { Vec::new() };
        let named = self.depends_on.map(|ids| ids.iter().map(name_of).collect::<Vec<_>>());
        let mut depends_on: Vec<u32> =
            named.map_or_else(before, |ids| ids.iter().filter_map(|id| names.get(id).copied()).collect());
        let tool = self.tool.map(|mut tool| {
            rename_outputs(&mut tool.arguments, names, &mut depends_on);
            tool
        });
        let for_each = self.for_each.map(|mut for_each| {
            rename_outputs(&mut for_each.items, names, &mut depends_on);
            for_each
        });
        let when = self.when.map(|mut when| {
            let operands = when.operands_mut().into_iter();
            operands.for_each(|operand| rename_outputs(operand, names, &mut depends_on));
            when
        });
        depends_on.retain(|on| *on < index);
        depends_on.sort_unstable();
        depends_on.dedup();
        PlannedStep {
            depends_on,
            tool,
            estimated_duration: self
                .estimated_duration
                .filter(|millis| *millis >= 0.0)
                .map(|millis| millis as u64),
            optional: self.optional,
            model: self.model.and_then(|name| name.parse().ok()),
            for_each,
            when,
            checks: self.checks,
            ..PlannedStep::new(format!("step-{}", index + 1), self.kind, self.description.trim())
        }
    }
}

fn name_of(id: &Value) -> String {
    match id {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

/// `{"$output": id}` follows the renaming of the steps, and is a dependency whether or not the
/// model said so.
fn rename_outputs(value: &mut Value, names: &HashMap<String, u32>, used: &mut Vec<u32>) {
    match value {
        literal if is_literal(literal) => {}
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match names.get(&name_of(field)) {
                    Some(index) if name == "$output" => {
                        used.push(*index);
                        *field = Value::String(format!("step-{}", index + 1));
                    }
                    _ => rename_outputs(field, names, used),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_outputs(item, names, used)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn plan(value: Value) -> Plan {
        read_json::<PlanText>(&value.to_string()).unwrap().into_plan(&[])
    }

    #[test]
    fn json_is_found_in_prose_and_fences() {
        let fenced = "Here is the plan:\n```json\n{\"a\": 1}\n```\nGood luck!";
        let prose = "Sure! {\"a\": 1} is what you want.";
        for text in [fenced, prose, " {\"a\": 1} "] {
            assert_eq!(read_json::<Value>(text).unwrap(), json!({"a": 1}), "{text}");
        }
        assert!(read_json::<Value>("{\"a\": 1").is_err(), "cut JSON is not completed by guessing");
    }

    #[test]
    fn an_answer_that_is_no_plan_is_told_with_the_field_that_is_wrong() {
        let read = |text: &str| PlanText::read(text).unwrap_err();
        let kind = read(r#"Here: {"steps": [{"description": "a", "type": "think"}]}"#);
        assert!(kind.starts_with("steps[0].type: 'think' is none of llm-reasoning, "), "{kind}");
        let silent = read(r#"{"steps": [{"description": "a", "type": "tool-call"}, {"type": "tool-call"}]}"#);
        assert_eq!(silent, "steps[1].description: is missing");
        assert!(read("I would begin with a search.").starts_with("it is not the JSON that was asked for ("));
    }

    #[test]
    fn without_dependencies_steps_follow_each_other() {
        let plan = plan(json!({"steps": [
            {"description": "a", "type": "llm-reasoning"},
            {"description": "b", "type": "llm-reasoning"},
        ]}));
        assert_eq!(plan.steps[1].depends_on, [0]);
        assert_eq!(plan.steps[1].id, "step-2");
    }

    #[test]
    fn steps_that_wait_for_themselves_or_for_later_ones_are_told() {
        let told = |steps: Value| {
            let text = read_json::<PlanText>(&json!({"steps": steps}).to_string()).unwrap();
            text.out_of_order().map(|problem| crate::task::PlanError::from(problem).told(STEPS))
        };
        let step = |id: &str, on: &[&str]| json!({"id": id, "description": "d", "type": "llm-reasoning", "dependsOn": on});
        assert_eq!(
            told(json!([step("a", &[]), step("b", &["a"]), step("c", &["a", "of an earlier plan"])])),
            None
        );
        let circle = told(json!([step("a", &["b"]), step("b", &["a"])])).unwrap();
        assert!(
            circle.starts_with("steps[0].dependsOn: step 'a' depends on 'b', which does not come before it"),
            "{circle}"
        );
        assert!(told(json!([step("a", &["a"])])).unwrap().contains("'a' depends on 'a'"));
        let user = |id: &str, of: &str| {
            json!({"id": id, "description": "d", "type": "tool-call", "tool":
                {"name": "t", "arguments": {"x": [{"$output": of, "pointer": "/y"}]}}})
        };
        assert_eq!(told(json!([step("a", &[]), user("b", "a")])), None);
        let late = told(json!([user("b", "a"), step("a", &[])])).unwrap();
        assert!(
            late.starts_with(
                "steps[0].tool.arguments: step 'b' uses the output of 'a', which does not come before it"
            ),
            "{late}"
        );
        assert!(told(json!([user("b", "b")])).is_some());
    }

    #[test]
    fn own_ids_are_renamed_and_forward_references_dropped() {
        let plan = plan(json!({"steps": [
            {"id": "scan", "description": "a", "type": "tool-call", "dependsOn": ["scan", "write"]},
            {"id": "write", "description": "b", "type": "tool-call", "dependsOn": ["scan", "ghost"],
             "status": "completed",
             "tool": {"name": "w", "arguments": {"content": [{"$output": "scan"}]}}},
        ]}));
        assert_eq!(plan.steps[0].depends_on, Vec::<u32>::new());
        assert_eq!(plan.steps[1].depends_on, [0]);
        let arguments = &plan.steps[1].tool.as_ref().unwrap().arguments;
        assert_eq!(arguments, &json!({"content": [{"$output": "step-1"}]}));
    }

    #[test]
    fn a_step_waits_for_the_outputs_it_uses() {
        let plan = plan(json!({"steps": [
            {"id": "a", "description": "a", "type": "tool-call"},
            {"id": "b", "description": "b", "type": "tool-call", "dependsOn": []},
            {"id": "c", "description": "c", "type": "tool-call", "dependsOn": ["b"],
             "tool": {"name": "w", "arguments": {"x": {"$output": "a", "pointer": "/y"}}}},
        ]}));
        assert_eq!(plan.steps[1].depends_on, Vec::<u32>::new());
        assert_eq!(plan.steps[2].depends_on, [0, 1]);
    }

    #[test]
    fn lists_conditions_and_checks_follow_the_renaming_and_are_waited_for() {
        let plan = plan(json!({"steps": [
            {"id": "find", "description": "a", "type": "tool-call"},
            {"id": "each", "description": "b {{item}}", "type": "llm-reasoning", "dependsOn": [],
             "forEach": {"items": {"$output": "find", "pointer": "/files"}, "parallel": 4},
             "checks": [{"judge": "good"}, {"schema": {}, "required": false}]},
            {"id": "end", "description": "c", "type": "llm-reasoning", "dependsOn": [],
             "when": {"not": {"equals": [{"$output": "each"}, []]}}},
        ]}));
        let items = &plan.steps[1].for_each.as_ref().unwrap().items;
        assert_eq!(items, &json!({"$output": "step-1", "pointer": "/files"}));
        assert_eq!((&plan.steps[1].depends_on[..], &plan.steps[2].depends_on[..]), (&[0][..], &[1][..]));
        assert!(plan.steps[1].checks[0].required && !plan.steps[1].checks[1].required);
        let when = serde_json::to_value(plan.steps[2].when.as_ref().unwrap()).unwrap();
        assert_eq!(when, json!({"not": {"equals": [{"$output": "step-2"}, []]}}));
        let limits = crate::task::Limits::default();
        assert_eq!(plan.validate(&crate::task::Ground::default(), &limits), Ok(()));
    }

    #[test]
    fn a_revision_continues_the_numbers() {
        let text = json!({"steps": [{"id": "step-1", "description": "again", "type": "llm-reasoning"}]});
        let plan = read_json::<PlanText>(&text.to_string()).unwrap().into_plan(&["step-1", "step-2"]);
        assert_eq!(plan.steps[0].id, "step-3");
        assert_eq!(plan.steps[0].depends_on, Vec::<u32>::new());
    }

    /// Any JSON, down to a few levels.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop_oneof![".{0,8}", Just("step-1".to_owned()), Just("tool-call".to_owned())]
                .prop_map(Value::from),
        ];
        let key = prop_oneof![
            ".{0,4}",
            prop::sample::select(vec!["id", "description", "type", "dependsOn", "tool", "name", "arguments"])
                .prop_map(str::to_owned),
            Just("$output".to_owned()),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_planner_writes_is_read_or_refused(text in "[ -~\\n`{}\\[\\]\",:é]{0,200}", known in 0..3_usize) {
            let ids = ["step-1", "step-2", "step-3"];
            if let Ok(plan) = read_json::<PlanText>(&text) {
                plan.into_plan(&ids[..known]);
            }
        }

        #[test]
        fn a_step_depends_on_earlier_ones_only(fields in any_json(), more in any_json(), duration: f64) {
            let mut steps: Vec<Value> = Vec::new();
            for (n, arguments) in [&fields, &more].into_iter().enumerate() {
                steps.push(json!({"id": n, "description": "x", "type": "tool-call", "dependsOn": [n, "0", fields],
                    "estimatedDuration": duration, "tool": {"name": "t", "arguments": arguments}}));
            }
            let text = format!("Here:\n```json\n{}\n```", json!({"steps": steps, "status": more}));
            if let Ok(plan) = read_json::<PlanText>(&text) {
                for (index, step) in plan.into_plan(&[]).steps.iter().enumerate() {
                    prop_assert!(step.depends_on.iter().all(|on| (*on as usize) < index));
                }
            }
            let _ = read_json::<PlanText>(&json!({"steps": fields}).to_string()).map(|plan| plan.into_plan(&[]));
        }
    }
}
