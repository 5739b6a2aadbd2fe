//! Steps as people write them in a template: references by name, and no word more than needed.

use std::collections::HashMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::task::{Plan, PlannedStep, Step, is_literal, read_json};

/// The key of a reference to what a step brought.
const OUTPUT: &str = "$output";

/// Reads steps. A step without an id is `step-1`, `step-2`, … by its place; one that names no
/// dependency waits for the one before it, and each waits for the steps whose outputs it uses. The
/// error says which step is wrong, and why.
pub(super) fn read(steps: Vec<Value>) -> Result<Plan, String> {
    let ids = ids(&steps)?;
    let places: HashMap<&str, u32> = (0..).zip(&ids).map(|(place, id)| (id.as_str(), place)).collect();
    let mut read = Vec::with_capacity(steps.len());
    for (place, step) in (0u32..).zip(steps) {
        let step = step_of(place, step, &ids, &places);
        read.push(step.map_err(|problem| format!("step {}: {problem}", place + 1))?);
    }
    Ok(Plan { steps: read })
}

fn ids(steps: &[Value]) -> Result<Vec<String>, String> {
    let mut ids: Vec<String> = Vec::with_capacity(steps.len());
    for (number, step) in (1..).zip(steps) {
        let usual = format!("step-{number}");
        let id = match step.get("id") {
            None => usual,
            Some(Value::String(id)) if !id.trim().is_empty() => id.trim().to_owned(),
            Some(_) => return Err(format!("step {number}: id is a text")),
        };
        // A later revision of the plan goes on with these names.
        let is_reserved = id.strip_prefix("step-").is_some_and(|rest| rest.parse::<u32>().is_ok());
        if is_reserved && id != format!("step-{number}") {
            return Err(format!("step {number}: '{id}' is the name of another place: call it otherwise"));
        }
        if ids.contains(&id) {
            return Err(format!("step {number}: there is a step '{id}' already"));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn step_of(
    place: u32,
    step: Value,
    ids: &[String],
    places: &HashMap<&str, u32>,
) -> Result<PlannedStep, String> {
    let Value::Object(mut step) = step else { return Err("is an object".to_owned()) };
    if let Some(unknown) = unknown_key(&step) {
        return Err(format!("there is no field '{unknown}'"));
    }
    let mut depends_on = match step.remove("dependsOn") {
        None => place.checked_sub(1).into_iter().collect(),
        Some(Value::Array(named)) => {
            named.iter().map(|on| place_of(on, ids, places)).collect::<Result<Vec<u32>, String>>()?
        }
        Some(_) => return Err("dependsOn is a list of the ids of steps".to_owned()),
    };
    used(&Value::Object(step.clone()), places, &mut depends_on)?;
    depends_on.sort_unstable();
    depends_on.dedup();
    step.insert("id".to_owned(), json!(ids[place as usize]));
    step.insert("dependsOn".to_owned(), json!(depends_on));
    read_json(Value::Object(step))
}

fn place_of(on: &Value, ids: &[String], places: &HashMap<&str, u32>) -> Result<u32, String> {
    let by_number = |number: u64| u32::try_from(number).ok().filter(|at| (*at as usize) < ids.len());
    let place = match on {
        Value::String(id) => places.get(id.trim()).copied(),
        Value::Number(number) => number.as_u64().and_then(by_number),
        _ => None,
    };
    place.ok_or_else(|| format!("depends on {on}, which is no step of the template"))
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

/// A misspelt key would be passed over: a plan is read as a newer version may have written it.
fn unknown_key(step: &Map<String, Value>) -> Option<&String> {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<PlannedStep>();
    let known = schema.get("properties").and_then(Value::as_object);
    step.keys().find(|key| known.is_none_or(|known| !known.contains_key(*key)))
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

    fn steps(value: Value) -> Result<Plan, String> {
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
            (with("dependOn", json!([])), "step 2: there is no field 'dependOn'"),
            (with("dependsOn", json!(["ghost"])), "step 2: depends on \"ghost\""),
            (with("type", json!("think")), "step 2: type: 'think' is none of llm-reasoning, "),
            (with("id", json!("step-1")), "step 2: 'step-1' is the name of another place"),
            (
                with("tool", json!({"name": "t", "arguments": {"$output": "x"}})),
                "step 2: uses the output of 'x'",
            ),
            (json!([{"type": "llm-reasoning"}]), "step 1: description: is missing"),
        ] {
            let problem = steps(bad).unwrap_err();
            assert!(problem.starts_with(said), "{problem}");
        }
    }
}
