//! A plan as people write it: `dependsOn` may name ids, ids may be left out, and a key that nobody
//! knows is a mistake.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{Plan, PlannedStep, wording};

impl Plan {
    /// Reads a plan that a person or a program brings: a list of steps, or an object that holds it
    /// under `steps`. The error says what is wrong and where.
    pub fn read(brought: Value) -> Result<Self, String> {
        let steps = match brought {
            Value::Object(mut fields) => fields.remove("steps").unwrap_or_default(),
            other => other,
        };
        let Value::Array(mut steps) = steps else {
            return Err("is a list of steps, or an object with it under 'steps'".to_owned());
        };
        let known = keys();
        let mut ids: HashMap<String, u32> = HashMap::new();
        for (index, step) in (0u32..).zip(&mut steps) {
            let Value::Object(fields) = step else {
                return Err(format!("step {index} is no object"));
            };
            if let Some(key) = fields.keys().find(|key| !known.contains(*key)) {
                return Err(format!("step {index} has an unknown key '{key}'"));
            }
            let id = fields.entry("id").or_insert_with(|| json!(format!("step-{}", index + 1)));
            let id = id.as_str().map(str::to_owned);
            if let Some(Value::Array(depends_on)) = fields.get_mut("dependsOn") {
                depends_on.iter_mut().try_for_each(|on| to_index(on, index, &ids))?;
            }
            ids.extend(id.map(|id| (id, index)));
        }
        let steps = steps.into_iter().enumerate().map(|(index, step)| {
            wording::read::<PlannedStep>(step).map_err(|problem| format!("step {index}: {problem}"))
        });
        Ok(Self { steps: steps.collect::<Result<_, _>>()? })
    }
}

fn to_index(on: &mut Value, step: u32, ids: &HashMap<String, u32>) -> Result<(), String> {
    let Value::String(id) = on else { return Ok(()) };
    match ids.get(id.as_str()) {
        Some(index) => {
            *on = json!(index);
            Ok(())
        }
        None => Err(format!("step {step} depends on '{id}', which is no step before it")),
    }
}

/// The keys that a step may have.
fn keys() -> BTreeSet<String> {
    let schema = schemars::schema_for!(PlannedStep);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_may_name_each_other_by_id_and_need_no_id() {
        let plan = Plan::read(json!({"steps": [
            {"id": "find", "description": "a", "type": "tool-call"},
            {"description": "b", "type": "llm-reasoning", "dependsOn": ["find", 0]},
        ]}))
        .unwrap();
        assert_eq!(plan.steps[1].id, "step-2");
        assert_eq!(plan.steps[1].depends_on, [0, 0]);
    }

    #[test]
    fn what_nobody_knows_is_a_mistake() {
        for (plan, words) in [
            (json!("x"), "is a list of steps"),
            (json!([1]), "step 0 is no object"),
            (json!([{"description": "a", "type": "tool-call", "forEeach": {}}]), "unknown key 'forEeach'"),
            (json!([{"description": "a", "type": "tool-call", "dependsOn": ["b"]}]), "depends on 'b'"),
            (
                json!([{"description": "a", "type": "magic"}]),
                "step 0: type: 'magic' is none of llm-reasoning, ",
            ),
        ] {
            let problem = Plan::read(plan).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
