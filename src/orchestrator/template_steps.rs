//! Steps as people write them in a template: references by name, and no word more than needed.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::task::{
    Plan, PlannedStep, Step, StepProblem, is_literal, is_taken, keys_of_step as keys, read_json,
};

/// The key of a reference to what a step brought.
const OUTPUT: &str = "$output";

/// Reads steps. A step without an id is `step-1`, `step-2`, … by its place; one that names no
/// dependency waits for the one before it, and each waits for the steps whose outputs it uses.
pub(super) fn read(steps: Vec<Value>) -> Result<Plan, StepProblem> {
    let ids = ids(&steps)?;
    let places: HashMap<&str, u32> = (0..).zip(&ids).map(|(place, id)| (id.as_str(), place)).collect();
    let known = keys();
    let mut read = Vec::with_capacity(steps.len());
    for (place, step) in steps.into_iter().enumerate() {
        read.push(step_of(place, step, &ids, &places, &known)?);
    }
    Ok(Plan { steps: read })
}

fn ids(steps: &[Value]) -> Result<Vec<String>, StepProblem> {
    let mut ids: Vec<String> = Vec::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        let wrong = |words: String| Err(StepProblem::new(place, "id", words));
        let usual = format!("step-{}", place + 1);
        let id = match step.get("id") {
            None => usual.clone(),
            Some(Value::String(id)) if !id.trim().is_empty() => id.trim().to_owned(),
            Some(_) => return wrong("must be a text that is not empty".to_owned()),
        };
        // A later revision of the plan goes on with these names.
        let is_reserved = id.strip_prefix("step-").is_some_and(|rest| rest.parse::<u32>().is_ok());
        if is_reserved && id != usual {
            return wrong(format!("'{id}' is the name of another place: call it otherwise"));
        }
        if ids.contains(&id) {
            return wrong(is_taken(&id));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn step_of(
    place: usize,
    step: Value,
    ids: &[String],
    places: &HashMap<&str, u32>,
    known: &BTreeSet<String>,
) -> Result<PlannedStep, StepProblem> {
    let Value::Object(mut step) = step else {
        let said = read_json::<PlannedStep>(step).err().unwrap_or_default();
        return Err(StepProblem::of_reading(place, &said));
    };
    if let Some(unknown) = step.keys().find(|key| !known.contains(*key)) {
        return Err(StepProblem::unknown_key(place, unknown, known.iter()));
    }
    let wrong = |field: &str, words: String| StepProblem::new(place, field, words);
    let mut depends_on = match step.remove("dependsOn") {
        None => place.checked_sub(1).map(|before| before as u32).into_iter().collect(),
        Some(Value::Array(named)) => {
            let named = named.iter().map(|on| place_of(on, ids, places));
            named.collect::<Result<Vec<u32>, String>>().map_err(|words| wrong("dependsOn", words))?
        }
        Some(_) => return Err(wrong("dependsOn", "must be a list of the ids of steps".to_owned())),
    };
    for (field, value) in &step {
        let path = if field == "tool" { "tool.arguments" } else { field };
        used(value, places, &mut depends_on).map_err(|words| wrong(path, words))?;
    }
    depends_on.sort_unstable();
    depends_on.dedup();
    step.insert("id".to_owned(), json!(ids[place]));
    step.insert("dependsOn".to_owned(), json!(depends_on));
    read_json(Value::Object(step)).map_err(|said| StepProblem::of_reading(place, &said))
}

fn place_of(on: &Value, ids: &[String], places: &HashMap<&str, u32>) -> Result<u32, String> {
    let by_number = |number: u64| u32::try_from(number).ok().filter(|at| (*at as usize) < ids.len());
    let place = match on {
        Value::String(id) => places.get(id.trim()).copied(),
        Value::Number(number) => number.as_u64().and_then(by_number),
        _ => None,
    };
    place.ok_or_else(|| format!("{on} is no step of the template"))
}

/// Adds the steps whose outputs a value refers to.
fn used(value: &Value, places: &HashMap<&str, u32>, depends_on: &mut Vec<u32>) -> Result<(), String> {
    match value {
        literal if is_literal(literal) => Ok(()),
        Value::Object(fields) => {
            if let Some(Value::String(id)) = fields.get(OUTPUT) {
                let place = places.get(id.as_str());
                depends_on
                    .push(*place.ok_or_else(|| format!("uses the output of '{id}', which is no step"))?);
            }
            fields.values().try_for_each(|field| used(field, places, depends_on))
        }
        Value::Array(items) => items.iter().try_for_each(|item| used(item, places, depends_on)),
        _ => Ok(()),
    }
}

/// The steps of a plan that was carried out, as a plan of its own: those that were replaced, and
/// those of items of lists, are gone, and references follow.
pub(super) fn of_task(steps: &[Step]) -> Result<Plan, serde_json::Error> {
    let kept: Vec<(u32, &Step)> =
        (0..).zip(steps).filter(|(_, step)| !step.replaced && step.item.is_none()).collect();
    let place: HashMap<u32, u32> = (0..).zip(&kept).map(|(new, (old, _))| (*old, new)).collect();
    let names: HashMap<&str, String> = (1..)
        .zip(&kept)
        .map(|(number, (_, step))| (step.plan.id.as_str(), format!("step-{number}")))
        .collect();
    let mut plan = Vec::with_capacity(kept.len());
    for (_, step) in &kept {
        let mut value = serde_json::to_value(&step.plan)?;
        rename(&mut value, &names);
        let depends_on: Vec<u32> =
            step.plan.depends_on.iter().filter_map(|on| place.get(on).copied()).collect();
        value["id"] = json!(names[step.plan.id.as_str()]);
        value["dependsOn"] = json!(depends_on);
        plan.push(serde_json::from_value(value)?);
    }
    Ok(Plan { steps: plan })
}

fn rename(value: &mut Value, names: &HashMap<&str, String>) {
    match value {
        literal if is_literal(literal) => {}
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                match field.as_str().and_then(|id| names.get(id)) {
                    Some(name) if key == OUTPUT => *field = json!(name),
                    _ => rename(field, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::PlanError;

    fn steps(value: Value) -> Result<Plan, StepProblem> {
        read(value.as_array().unwrap().clone())
    }

    #[test]
    fn what_is_not_said_follows_from_the_order() {
        let plan = steps(json!([
            {"id": "scan", "description": "a", "type": "tool-call", "tool": {"name": "s", "arguments": {}}},
            {"description": "b", "type": "llm-reasoning"},
            {"description": "c", "type": "tool-call", "dependsOn": [],
             "tool": {"name": "w", "arguments": {"x": [{"$output": "scan", "pointer": "/y"}]}}},
            {"description": "d", "type": "llm-reasoning", "dependsOn": ["scan", 1]},
        ]))
        .unwrap();
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["scan", "step-2", "step-3", "step-4"]);
        let depends: Vec<&[u32]> = plan.steps.iter().map(|step| step.depends_on.as_slice()).collect();
        assert_eq!(depends, [&[][..], &[0], &[0], &[0, 1]]);
    }

    #[test]
    fn mistakes_are_named_with_their_step() {
        let good = json!({"description": "a", "type": "llm-reasoning"});
        let with = |key: &str, value: Value| {
            let mut step = good.clone();
            step[key] = value;
            json!([good, step])
        };
        for (bad, said) in [
            (with("dependOn", json!([])), "steps[1].dependOn: there is no such field; there is checks, "),
            (with("dependsOn", json!(["ghost"])), "steps[1].dependsOn: \"ghost\" is no step of the template"),
            (with("dependsOn", json!("ghost")), "steps[1].dependsOn: must be a list"),
            (with("type", json!("think")), "steps[1].type: 'think' is none of llm-reasoning, "),
            (with("id", json!("step-1")), "steps[1].id: 'step-1' is the name of another place"),
            (with("id", json!(7)), "steps[1].id: must be a text"),
            (
                with("tool", json!({"name": "t", "arguments": {"$output": "x"}})),
                "steps[1].tool.arguments: uses the output of 'x'",
            ),
            (json!([{"type": "llm-reasoning"}]), "steps[0].description: is missing"),
            (json!([good, 7]), "steps[1]: must be an object, not the number 7"),
        ] {
            let problem = PlanError::from(steps(bad).unwrap_err()).told("steps");
            assert!(problem.starts_with(said), "{problem}");
        }
    }
}
