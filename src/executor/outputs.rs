//! What the references of a step stand for: `{"$output": "step-1"}` and `{"$item": true}`.

use serde_json::Value;

use super::{Attempt, Stop};
use crate::task::{Condition, Fault, Known, Task, outputs_in};

impl Attempt {
    /// A value with every reference replaced by what it stands for.
    pub(super) async fn with_outputs(&self, task: &Task, value: &Value) -> Result<Value, Stop> {
        self.referred(task, value).await?.fill(value).map_err(missing)
    }

    /// The same for the arguments of a tool.
    pub(super) async fn filled_arguments(&self, task: &Task, arguments: &Value) -> Result<Value, Stop> {
        self.referred(task, arguments).await?.fill_arguments(arguments).map_err(missing)
    }

    async fn referred(&self, task: &Task, value: &Value) -> Result<Known, Stop> {
        let mut ids = Vec::new();
        outputs_in(value, &mut ids);
        self.known(task, &ids).await
    }

    /// Why the step is not wanted, if it is not.
    pub(super) async fn unmet(&self, task: &Task, condition: &Condition) -> Result<Option<String>, Stop> {
        let mut ids = Vec::new();
        condition.outputs(&mut ids);
        let known = self.known(task, &ids).await?;
        Ok((!condition.holds(&known)).then(|| {
            let words = serde_json::to_string(condition).unwrap_or_default();
            format!("its condition does not hold: {words}")
        }))
    }

    /// What these steps brought, as far as they brought anything, and the item of this one.
    async fn known(&self, task: &Task, ids: &[&str]) -> Result<Known, Stop> {
        let mut known = Known::default();
        for id in ids {
            let step = task.steps().iter().rev().find(|step| step.plan.id == *id);
            if let Some(output) = step.and_then(|step| step.output.as_ref()) {
                known.outputs.insert((*id).to_owned(), self.content(output).await?);
            }
        }
        if let Some(item) = &self.step.item {
            known.item = Some(self.content(&item.value).await?);
        }
        Ok(known)
    }
}

fn missing(problem: String) -> Stop {
    Stop::Failed(Fault::permanent("output_missing", format!("the arguments cannot be made: {problem}")))
}
