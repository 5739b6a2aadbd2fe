//! A step that is carried out once for each item of a list.
//!
//! What the list holds is known only when the step is ready: then it is a fact, and each item gets
//! a step of its own at the end of the task's steps. The step itself waits for them and brings what
//! they brought, in the order of the items.

use std::collections::HashMap;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::Verdict;
use super::{Entry, Limits, Payload, PlannedStep, Step, StepStatus, Task};

/// Carries a step out once for each item of a list. `{"$item": true}` in the arguments of its tool,
/// and `{{item}}` in its description and in texts, stand for the item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForEach {
    /// The list, or a reference to one: `{"$output": "step-1", "pointer": "/files"}`.
    pub items: Value,
    /// So many items at most, if fewer than `limits.maxItems`. A longer list fails the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// So many items are worked on side by side at most, if fewer than `limits.maxParallelSteps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Whether the step is done although some of its items failed. Those are told in its output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_failures: bool,
}

/// An item of the list, as the step that carries it out begins with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FannedItem {
    /// What to do, with the item in it.
    pub description: String,
    /// The item.
    pub value: Payload,
}

/// What a step is carried out for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    /// The step of the plan whose item it is.
    pub of: u32,
    /// The item.
    pub value: Payload,
}

/// The steps of one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FanOut {
    first: u32,
    count: u32,
    /// Those that are not settled.
    pub(super) open: u32,
}

impl ForEach {
    /// What stands against it under these limits, as far as that is known before the list is: the field, and
    /// what is wrong with it.
    pub fn beyond(&self, limits: &Limits) -> Option<(&'static str, String)> {
        let most = limits.max_items;
        if let Some(wanted) = self.max_items.filter(|wanted| *wanted > most) {
            return Some(("maxItems", format!("is {wanted}, at most {most} are allowed (limits.maxItems)")));
        }
        let most = self.max_items.unwrap_or(most) as usize;
        let items = self.items.as_array().map_or(0, Vec::len);
        (items > most).then(|| {
            let words = format!(
                "the list has {items} items, at most {most} are allowed (limits.maxItems, forEach.maxItems)"
            );
            ("items", words)
        })
    }

    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let none = |limit: Option<u32>| limit == Some(0);
        let is_list = match &self.items {
            Value::Array(_) => true,
            reference => reference.get("$output").is_some(),
        };
        match self {
            _ if !is_list => Some(("items", "must be a list, or refer to one: {\"$output\": \"step-1\"}")),
            _ if none(self.max_items) => Some(("maxItems", "must be at least 1")),
            _ if none(self.parallel) => Some(("parallel", "must be at least 1")),
            _ => None,
        }
    }
}

impl PlannedStep {
    /// The step for one item, made of the step without its list. It answers to the step of the plan and not to
    /// the goal: that one decides what its failure means.
    fn for_item(&self, number: usize, description: &str) -> Self {
        Self {
            id: format!("{}.{number}", self.id),
            description: description.to_owned(),
            optional: true,
            ..self.clone()
        }
    }
}

impl Task {
    /// The steps that carry out the items of this one, in the order of the items; empty if it has
    /// none, or they are not known yet.
    pub fn items_of(&self, index: u32) -> Range<u32> {
        self.fan_outs.get(&index).map_or(0..0, |fan| fan.first..fan.first + fan.count)
    }

    /// Steps that a plan brought: those of items do not count.
    pub fn planned_steps(&self) -> usize {
        let of_items: u32 = self.fan_outs.values().map(|fan| fan.count).sum();
        self.steps().len() - of_items as usize
    }

    /// The first step that is not settled, whatever it waits for.
    pub fn first_unsettled(&self) -> Option<u32> {
        let waits = |(index, fan): (&u32, &FanOut)| (fan.open > 0).then_some(*index);
        self.fan_outs.iter().filter_map(waits).chain(self.frontier.first().copied()).min()
    }

    pub(super) fn fanned_out(&mut self, index: u32, items: &[FannedItem], entry: &Entry) -> Verdict {
        let (limits, known) = (&self.spec.limits, self.fan_outs.contains_key(&index));
        let most = limits.max_items as usize;
        let first = self.steps.len() as u32;
        let step = self.running_step(index)?;
        let Some(for_each) = &step.plan.for_each else {
            return Err(format!("step {index} has no items"));
        };
        if known || items.is_empty() || !step.calls.is_empty() {
            return Err(format!(
                "step {index} was fanned out or works by itself already, or there is no item"
            ));
        }
        let most = for_each.max_items.map_or(most, |wanted| most.min(wanted as usize));
        if items.len() > most {
            return Err(format!("{} items, at most {most} are allowed", items.len()));
        }
        // Without the list: each of its items would copy it.
        let plan = PlannedStep { for_each: None, when: None, ..step.plan.clone() };
        let revision = step.revision;
        let steps = items.iter().zip(1..).map(|(item, number)| Step {
            item: Some(Item { of: index, value: item.value.clone() }),
            ..Step::new(plan.for_item(number, &item.description), revision)
        });
        self.steps.extend(steps);
        let count = items.len() as u32;
        self.fan_outs.insert(index, FanOut { first, count, open: count });
        self.frontier.remove(&index);
        self.frontier.extend(first..first + count);
        self.state.crashes = 0;
        self.steps[index as usize].first_seq.get_or_insert(entry.seq);
        Ok(())
    }

    /// The step of an item is settled: whoever waits for the last one may go on.
    pub(super) fn item_settled(&mut self, index: u32) {
        let Some(of) = self.steps[index as usize].item.as_ref().map(|item| item.of) else { return };
        let Some(fan) = self.fan_outs.get_mut(&of) else { return };
        fan.open = fan.open.saturating_sub(1);
        if fan.open == 0 && !self.steps[of as usize].is_settled() {
            self.frontier.insert(of);
        }
    }

    /// Whether it waits for steps of its items.
    pub(super) fn waits_for_items(&self, index: u32) -> bool {
        self.fan_outs.get(&index).is_some_and(|fan| fan.open > 0)
    }

    pub(super) fn rebuild_fan_outs(&mut self) {
        self.fan_outs.clear();
        for (position, step) in (0u32..).zip(&self.steps) {
            let Some(item) = &step.item else { continue };
            let fan = self.fan_outs.entry(item.of).or_insert(FanOut { first: position, count: 0, open: 0 });
            fan.count += 1;
            fan.open += u32::from(!step.is_settled());
        }
    }

    /// The task has ended: steps that wait for their items wait no more.
    pub(super) fn end_fan_outs(&mut self) -> Vec<u32> {
        let waits = |index: &u32| self.step(*index).is_some_and(|step| step.status == StepStatus::Running);
        self.fan_outs.keys().copied().filter(waits).collect()
    }

    /// Whom of these steps a limit of their list lets run, besides `running`.
    pub(super) fn within_lists<'t>(
        &'t self,
        running: &[u32],
        ready: impl Iterator<Item = u32> + 't,
    ) -> impl Iterator<Item = u32> + 't {
        let mut taken: HashMap<u32, u32> = HashMap::new();
        for of in running.iter().filter_map(|index| self.list_of(*index)) {
            *taken.entry(of).or_default() += 1;
        }
        ready.filter(move |index| {
            let Some(of) = self.list_of(*index) else { return true };
            let for_each = self.step(of).and_then(|step| step.plan.for_each.as_ref());
            let most = for_each.and_then(|for_each| for_each.parallel).unwrap_or(u32::MAX);
            let count = taken.entry(of).or_default();
            *count += 1;
            *count <= most
        })
    }

    /// How many steps of the list that a step belongs to may be at work at once, itself included; 1 if it
    /// belongs to none.
    pub fn side_by_side(&self, index: u32) -> u32 {
        let Some(of) = self.list_of(index) else { return 1 };
        let for_each = self.step(of).and_then(|step| step.plan.for_each.as_ref());
        let most = for_each.and_then(|for_each| for_each.parallel).unwrap_or(u32::MAX);
        let open = self.fan_outs.get(&of).map_or(1, |fan| fan.open);
        open.min(most).min(self.spec().limits.max_parallel_steps).max(1)
    }

    fn list_of(&self, index: u32) -> Option<u32> {
        self.step(index)?.item.as_ref().map(|item| item.of)
    }
}
