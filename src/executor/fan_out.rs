//! The step that is carried out once for each item of a list: finds the list, and later puts
//! together what the items brought.

use serde_json::{Value, json};

use super::{Attempt, Stop};
use crate::orchestrator::cut;
use crate::task::{
    FannedItem, Fault, FaultClass, ForEach, Known, MAX_DEPTH, Payload, Step, StepStatus, Task, data_of,
    is_too_deep,
};

/// How much of an item its description shows, in bytes. The item is recorded in full.
const DESCRIPTION_BYTES: usize = 8 * 1024;

/// Failed items that are named in the fault of their list.
const NAMED: usize = 5;

impl Attempt {
    /// Finds the list when the step is ready; puts the outputs together once all items are settled.
    pub(super) async fn fan_out(&self, task: &Task, for_each: &ForEach) -> Result<Payload, Stop> {
        let steps: Vec<&Step> = task.items_of(self.index).filter_map(|index| task.step(index)).collect();
        if !steps.is_empty() {
            return self.join(&steps, for_each).await;
        }
        match self.items(task, for_each).await? {
            items if items.is_empty() => Ok(Payload::Inline(json!([]))),
            items => Err(Stop::FannedOut(items)),
        }
    }

    async fn items(&self, task: &Task, for_each: &ForEach) -> Result<Vec<FannedItem>, Stop> {
        let found = data_of(self.with_outputs(task, &for_each.items).await?);
        let Value::Array(values) = found else {
            let shown = Payload::Inline(found).preview();
            let message = format!("what the step is to be carried out for is no list: {shown}");
            return Err(Stop::Failed(Fault::permanent("not_a_list", message)));
        };
        let limit = self.spec.limits.max_items;
        let most = for_each.max_items.map_or(limit, |wanted| limit.min(wanted));
        if values.len() > most as usize {
            let message = format!(
                "the list has {} items, at most {most} are allowed (limits.maxItems, forEach.maxItems)",
                values.len()
            );
            return Err(Stop::Failed(Fault::new(FaultClass::Limit, "too_many_items", message)));
        }
        if values.iter().any(is_too_deep) {
            let message = format!("an item of the list is nested deeper than {MAX_DEPTH} levels");
            return Err(Stop::Failed(Fault::permanent("json_too_deep", message)));
        }
        Ok(values.into_iter().map(|value| self.item(value)).collect())
    }

    fn item(&self, value: Value) -> FannedItem {
        let known = Known { item: Some(value.clone()), ..Known::default() };
        let described = known.fill_text(&self.step.plan.description);
        FannedItem { description: cut(&described, DESCRIPTION_BYTES), value: Payload::Inline(value) }
    }

    /// What the items brought, in their order. One that does not fit is named instead: its step has
    /// it, and so has whoever refers to that step.
    async fn join(&self, steps: &[&Step], for_each: &ForEach) -> Result<Payload, Stop> {
        if !for_each.allow_failures {
            refuse_failures(steps)?;
        }
        let mut room = self.spec.limits.max_output_bytes;
        let mut outputs = Vec::with_capacity(steps.len());
        for (position, step) in steps.iter().enumerate() {
            let share = room / (steps.len() - position) as u64;
            let output = self.brought_by(step, share).await?;
            room = room.saturating_sub(output.to_string().len() as u64);
            outputs.push(output);
        }
        Ok(Payload::Inline(Value::Array(outputs)))
    }

    async fn brought_by(&self, step: &Step, share: u64) -> Result<Value, Stop> {
        match (step.status, &step.output, &step.fault) {
            (StepStatus::Completed, Some(Payload::Blob { size, preview, .. }), _) if *size > share => {
                Ok(json!({"$output": step.plan.id, "bytes": size, "beginning": preview}))
            }
            (StepStatus::Completed, Some(output), _) => self.content(output).await,
            (StepStatus::Failed, _, Some(fault)) => {
                Ok(json!({"$failed": step.plan.id, "code": fault.code, "message": fault.message}))
            }
            _ => Ok(Value::Null),
        }
    }
}

/// A list is done only if each of its items is.
fn refuse_failures(steps: &[&Step]) -> Result<(), Stop> {
    let failed: Vec<&&Step> = steps.iter().filter(|step| step.status == StepStatus::Failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let named = failed.iter().take(NAMED).map(|step| {
        let why = step.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}: {why}", step.plan.id)
    });
    let more = if failed.len() > NAMED { ", …" } else { "" };
    let message = format!(
        "{} of {} items failed: {}{more}",
        failed.len(),
        steps.len(),
        named.collect::<Vec<_>>().join(", ")
    );
    Err(Stop::Failed(Fault::permanent("items_failed", message)))
}
