//! Whether a revision is the plan that failed once more: just the steps that are not done, under new numbers.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Plan, PlannedStep, Task};

impl Task {
    /// Whether the plan has just the steps that are not done yet, one of which has failed for good: it would fail
    /// the same way.
    pub fn has_failed_with(&self, plan: &Plan) -> bool {
        let steps = (0u32..).zip(self.steps());
        let open = steps.filter(|(_, step)| !step.is_settled() && step.item.is_none());
        let open: Vec<(u32, &PlannedStep)> = open.map(|(index, step)| (index, &step.plan)).collect();
        if !open.iter().any(|(index, _)| self.step(*index).is_some_and(super::Step::is_dead_end)) {
            return false;
        }
        let first = self.steps().len() as u32;
        let planned: Vec<(u32, &PlannedStep)> = (first..).zip(&plan.steps).collect();
        open.len() == planned.len() && outline(&open) == outline(&planned)
    }
}

/// Steps with their indexes, as far as they decide what is done: by their places among each other.
fn outline(steps: &[(u32, &PlannedStep)]) -> Vec<Value> {
    let indexes: HashMap<u32, usize> = steps.iter().zip(0..).map(|((index, _), at)| (*index, at)).collect();
    let ids: HashMap<&str, usize> =
        steps.iter().zip(0..).map(|((_, step), at)| (step.id.as_str(), at)).collect();
    let outlines = steps.iter().map(|(_, step)| {
        // What they wait for that is done makes no difference any more.
        let waits: Vec<usize> = step.depends_on.iter().filter_map(|on| indexes.get(on).copied()).collect();
        let mut parts = json!([step.tool, step.for_each, step.when]);
        number(&mut parts, &ids);
        json!([step.description.trim(), step.kind, step.model, step.optional, step.checks, waits, parts])
    });
    outlines.collect()
}

/// Puts places where the ids of steps are.
fn number(value: &mut Value, ids: &HashMap<&str, usize>) {
    match value {
        Value::String(text) => {
            if let Some(at) = ids.get(text.as_str()) {
                *value = json!({ "step": at });
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| number(item, ids)),
        Value::Object(fields) => fields.values_mut().for_each(|field| number(field, ids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::task::{Entry, Event, Fault, Planner, StepType, TaskId, Timestamp, ToolUse};

    fn step(id: &str, description: &str, output: &str) -> PlannedStep {
        let arguments = json!({"path": {"$output": output}});
        let tool = Some(ToolUse { name: "read".into(), arguments });
        PlannedStep { tool, ..PlannedStep::new(id, StepType::ToolCall, description) }
    }

    fn waiting(on: u32, step: PlannedStep) -> PlannedStep {
        PlannedStep { depends_on: vec![on], ..step }
    }

    /// The first of three steps is done, and the second has failed for good.
    fn failed() -> Task {
        let spec = json!({"goal": "g", "userId": "anna", "threadId": "home"});
        let spec = Box::new(serde_json::from_value(spec).unwrap());
        let created = Entry { seq: 1, epoch: 0, at: Timestamp::default(), event: Event::Created { spec } };
        let mut task = Task::begin(TaskId(Uuid::from_u128(7)), &created).unwrap();
        let steps = vec![
            PlannedStep::new("step-1", StepType::LlmReasoning, "Find it"),
            waiting(0, step("step-2", "Read it", "step-1")),
            waiting(1, step("step-3", "Read what it names", "step-2")),
        ];
        for event in [
            Event::Planned { revision: 1, plan: Plan { steps }, by: Planner::default(), tools: None },
            Event::StepStarted { step: 0, attempt: 1 },
            Event::StepCompleted { step: 0, output: None },
            Event::StepStarted { step: 1, attempt: 1 },
            Event::StepFailed { step: 1, fault: Fault::permanent("tool_denied", "no"), retry_at: None },
        ] {
            task.record(Timestamp::default(), event).unwrap();
        }
        task
    }

    fn again() -> Vec<PlannedStep> {
        vec![step("step-4", "Read it", "step-1"), waiting(3, step("step-5", "Read what it names", "step-4"))]
    }

    #[test]
    fn what_is_left_of_a_plan_is_the_same_under_other_numbers() {
        assert!(failed().has_failed_with(&Plan { steps: again() }));
    }

    #[test]
    fn another_tool_order_or_description_is_another_way() {
        let other = |change: fn(&mut Vec<PlannedStep>)| {
            let mut steps = again();
            change(&mut steps);
            !failed().has_failed_with(&Plan { steps })
        };
        assert!(other(|steps| steps[0].description = "Look it up".into()));
        assert!(other(|steps| steps[0].tool.as_mut().unwrap().name = "list".into()));
        assert!(other(|steps| steps[1].depends_on.clear()));
        assert!(other(|steps| steps[1].tool = steps[0].tool.clone()));
        assert!(other(|steps| steps[0].optional = true));
        assert!(other(|steps| drop(steps.pop())));
    }

    #[test]
    fn what_did_not_fail_may_be_planned_once_more() {
        let mut task = failed();
        task.record(
            Timestamp::default(),
            Event::Planned {
                revision: 2,
                plan: Plan { steps: again() },
                by: Planner::default(),
                tools: None,
            },
        )
        .unwrap();
        assert!(!task.has_failed_with(&Plan { steps: again() }));
    }
}
