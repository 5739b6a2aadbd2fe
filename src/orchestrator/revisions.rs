//! The plan of a task, revision by revision: what each kept, dropped and added.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Orchestrator, OrchestratorError};
use crate::task::{Entry, Event, Plan, Planner, Step, Task, TaskId, Timestamp};

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// One revision of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// 1 for the first plan.
    pub revision: u32,
    /// The number of the entry that holds it; none if the journal was removed.
    pub seq: Option<i64>,
    /// When it was made.
    pub at: Option<Timestamp>,
    /// Who made it and why.
    pub by: Option<Planner>,
    /// Ids of the steps of earlier revisions that it kept: what was finished stays.
    pub kept: Vec<String>,
    /// Ids of the steps that it does without.
    pub dropped: Vec<String>,
    /// The steps that it brought.
    pub added: Plan,
}

impl Orchestrator {
    /// The revisions of a task's plan, oldest first: as its journal tells them, or as far as they can be told from
    /// its steps if the journal was removed.
    pub async fn revisions(&self, task: &Task) -> Result<Vec<Revision>, OrchestratorError> {
        let mut told = self.recorded_revisions(task.id).await?.into_iter().peekable();
        let all = (1..=task.state().revision).map(|number| {
            told.next_if(|told| told.revision == number).unwrap_or_else(|| of_steps(task, number))
        });
        Ok(all.collect())
    }

    async fn recorded_revisions(&self, id: TaskId) -> Result<Vec<Revision>, OrchestratorError> {
        let (mut revisions, mut task): (Vec<Revision>, Option<Task>) = (Vec::new(), None);
        let mut after = 0;
        loop {
            let entries = self.repository.journal(id, after, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(revisions) };
            after = last.seq;
            for entry in &entries {
                let Some(task) = &mut task else {
                    task = Some(Task::begin(id, entry)?);
                    continue;
                };
                let new = entry.event.new_plan();
                let before: Vec<bool> =
                    new.iter().flat_map(|_| task.steps()).map(|step| step.replaced).collect();
                task.apply(entry)?;
                revisions.extend(new.map(|(number, plan)| recorded(task, &before, entry, number, plan)));
            }
        }
    }
}

/// A revision that an entry has just brought to a task, of whose steps some had been replaced before.
fn recorded(task: &Task, before: &[bool], entry: &Entry, revision: u32, plan: &Plan) -> Revision {
    let earlier = || task.steps().iter().zip(before).filter(|(step, _)| step.item.is_none());
    let ids = |keep: &dyn Fn(&Step, bool) -> bool| {
        let steps = earlier().filter(|(step, was_replaced)| keep(step, **was_replaced));
        steps.map(|(step, _)| step.plan.id.clone()).collect()
    };
    let by = match &entry.event {
        Event::Restored { checkpoint, by, .. } => Planner {
            reason: format!("{by} put the task back to checkpoint {checkpoint}"),
            ..Planner::default()
        },
        Event::Planned { by, .. } => by.clone(),
        _ => Planner::default(),
    };
    Revision {
        revision,
        seq: Some(entry.seq),
        at: Some(entry.at),
        by: Some(by),
        kept: ids(&|step, _| !step.replaced),
        dropped: ids(&|step, was_replaced| step.replaced && !was_replaced),
        added: plan.clone(),
    }
}

/// What the steps alone tell: whatever is not settled when a revision comes is dropped by it, so a step that was
/// dropped was dropped by the revision behind its own, unless the task was put back.
fn of_steps(task: &Task, revision: u32) -> Revision {
    let planned = || task.steps().iter().filter(|step| step.item.is_none());
    let ids = |keep: &dyn Fn(&Step) -> bool| {
        planned().filter(|step| keep(step)).map(|step| step.plan.id.clone()).collect()
    };
    let added = planned().filter(|step| step.revision == revision).map(|step| step.plan.clone());
    Revision {
        revision,
        seq: None,
        at: None,
        by: None,
        kept: ids(&|step| step.revision < revision && !step.replaced),
        dropped: ids(&|step| step.revision + 1 == revision && step.replaced),
        added: Plan { steps: added.collect() },
    }
}
