//! The plan of a task, revision by revision: what each kept, dropped and added.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Orchestrator, OrchestratorError};
use crate::task::{Event, Plan, Planner, Step, Task, TaskId, Timestamp};

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

/// Where a revision is recorded.
struct Recorded {
    revision: u32,
    seq: i64,
    at: Timestamp,
    by: Planner,
}

impl Orchestrator {
    /// The revisions of a task's plan, oldest first. Reads its journal for who made them and why.
    pub async fn revisions(&self, task: &Task) -> Result<Vec<Revision>, OrchestratorError> {
        let recorded = self.recorded_plans(task.id).await?;
        Ok((1..=task.state().revision).map(|revision| revision_of(task, revision, &recorded)).collect())
    }

    async fn recorded_plans(&self, id: TaskId) -> Result<Vec<Recorded>, OrchestratorError> {
        let mut plans = Vec::new();
        let mut after = 0;
        loop {
            let entries = self.repository.journal(id, after, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(plans) };
            after = last.seq;
            plans.extend(entries.into_iter().filter_map(|entry| match entry.event {
                Event::Planned { revision, by, .. } => {
                    Some(Recorded { revision, seq: entry.seq, at: entry.at, by })
                }
                _ => None,
            }));
        }
    }
}

/// Whatever is not settled when a revision comes is dropped by it, so a step that was dropped was
/// dropped by the revision behind its own.
fn revision_of(task: &Task, revision: u32, recorded: &[Recorded]) -> Revision {
    let planned = || task.steps().iter().filter(|step| step.item.is_none());
    let ids = |keep: &dyn Fn(&Step) -> bool| {
        planned().filter(|step| keep(step)).map(|step| step.plan.id.clone()).collect()
    };
    let known = recorded.iter().find(|known| known.revision == revision);
    let added = planned().filter(|step| step.revision == revision).map(|step| step.plan.clone());
    Revision {
        revision,
        seq: known.map(|known| known.seq),
        at: known.map(|known| known.at),
        by: known.map(|known| known.by.clone()),
        kept: ids(&|step| step.revision < revision && !step.replaced),
        dropped: ids(&|step| step.revision + 1 == revision && step.replaced),
        added: Plan { steps: added.collect() },
    }
}
