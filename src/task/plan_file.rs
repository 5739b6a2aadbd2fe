//! A plan as people write it: `dependsOn` may name ids, ids may be left out, and a key that nobody
//! knows is a mistake.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::plan_error::{PlanError, StepProblem};
use super::{Plan, PlannedStep, wording};

impl Plan {
    /// Reads a plan that a person or a program brings: a list of steps, or an object that holds it
    /// under `steps`. The error says what is wrong and where.
    pub fn read(brought: Value) -> Result<Self, PlanError> {
        let steps = match brought {
            Value::Object(mut fields) => fields.remove("steps").unwrap_or_default(),
            other => other,
        };
        let Value::Array(mut steps) = steps else {
            return Err(PlanError::NoList);
        };
        let known = keys_of_step();
        let mut ids: HashMap<String, u32> = HashMap::new();
        for (place, step) in steps.iter_mut().enumerate() {
            // What is no object is told when it is read.
            let Value::Object(fields) = step else { continue };
            if let Some(key) = fields.keys().find(|key| !known.contains(*key)) {
                return Err(StepProblem::unknown_key(place, key, known.iter()).into());
            }
            let id = fields.entry("id").or_insert_with(|| json!(format!("step-{}", place + 1)));
            let id = id.as_str().map(str::to_owned);
            if let Some(Value::Array(depends_on)) = fields.get_mut("dependsOn") {
                depends_on.iter_mut().try_for_each(|on| to_index(on, place, &ids))?;
            }
            ids.extend(id.map(|id| (id, place as u32)));
        }
        let steps = steps.into_iter().enumerate().map(|(place, step)| {
            wording::read::<PlannedStep>(step).map_err(|said| StepProblem::of_reading(place, &said))
        });
        Ok(Self { steps: steps.collect::<Result<_, _>>()? })
    }
}

fn to_index(on: &mut Value, place: usize, ids: &HashMap<String, u32>) -> Result<(), StepProblem> {
    let Value::String(id) = on else { return Ok(()) };
    match ids.get(id.as_str()) {
        Some(index) => {
            *on = json!(index);
            Ok(())
        }
        None => Err(StepProblem::new(place, "dependsOn", format!("'{id}' is no step before it"))),
    }
}

/// The keys that a step may have. One that is misspelt would be passed over else: a plan is read as a newer
/// version may have written it.
pub(crate) fn keys_of_step() -> BTreeSet<String> {
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
            (json!("x"), "plan: must be a list of steps"),
            (json!([1]), "plan[0]: must be an object, not the number 1"),
            (
                json!([{"description": "a", "type": "tool-call", "forEeach": {}}]),
                "plan[0].forEeach: there is no such field; there is checks, ",
            ),
            (
                json!([{"description": "a", "type": "tool-call", "dependsOn": ["b"]}]),
                "plan[0].dependsOn: 'b' is no step before it",
            ),
            (
                json!([{"description": "a", "type": "magic"}]),
                "plan[0].type: 'magic' is none of llm-reasoning, ",
            ),
            (
                json!([{"description": "a", "type": "tool-call", "retry": {"maxAttempts": 2.5}}]),
                "plan[0].retry.maxAttempts: must be a whole number",
            ),
        ] {
            let problem = Plan::read(plan).unwrap_err().told("plan");
            assert!(problem.starts_with(words), "{problem}");
        }
    }
}
