//! What a task waits for that is not its own business: a sub-task, at whatever depth, that waits for a person.
//!
//! The task itself runs, and nothing of it does. Whoever looks at it has to be told where to look.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Orchestrator, OrchestratorError};
use crate::repository::Presence;
use crate::task::{Next, Pause, PauseReason, Status, StepStatus, Task, TaskId, Timestamp};

/// A sub-task that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitsFor {
    /// Which one.
    pub task: TaskId,
    /// What it is to do.
    pub goal: String,
    /// What it waits for.
    pub pause: Pause,
}

/// How the sub-tasks of a task stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Below {
    /// Those that wait for a person, the nearest first.
    pub waits_for: Vec<WaitsFor>,
    /// Whether something else of the tree can go on by itself.
    pub goes_on: bool,
}

impl Orchestrator {
    /// How many steps of a task are ready and have not begun although a worker holds it: they wait for their
    /// turn, for no more of them start in so much time than the workers' limiter lets.
    ///
    /// It follows from what is recorded, so that it is told in each process alike and costs no entry. A
    /// step that is just about to begin is among them, for a moment.
    pub async fn in_line(&self, task: &Task) -> Result<u32, OrchestratorError> {
        let Next::Run(steps) = task.next(self.now()) else { return Ok(0) };
        let has_not_begun =
            |index: &&u32| task.step(**index).is_some_and(|step| step.status != StepStatus::Running);
        let ready = steps.iter().filter(has_not_begun).count();
        if ready == 0 {
            return Ok(0);
        }
        let workers = self.repository.workers().await?;
        let is_held =
            workers.iter().any(|worker| worker.presence != Presence::Gone && worker.tasks.contains(&task.id));
        Ok(if is_held { u32::try_from(ready).unwrap_or(u32::MAX) } else { 0 })
    }

    /// What a task that runs waits for below it.
    pub async fn below(&self, task: &Task) -> Result<Below, OrchestratorError> {
        let now = self.now();
        let mut below = Below { goes_on: goes_on(task, now), ..Below::default() };
        let mut open: Vec<TaskId> = children(task);
        let mut next = 0;
        while let Some(id) = open.get(next).copied() {
            next += 1;
            let Some(child) = self.repository.load(id).await? else {
                // It is being created.
                below.goes_on = true;
                continue;
            };
            match &child.state().pause {
                // It stands still because one above it does.
                Some(pause) if pause.reason == PauseReason::Parent => {}
                Some(pause) => below.waits_for.push(WaitsFor {
                    task: id,
                    goal: child.spec().goal.clone(),
                    pause: pause.clone(),
                }),
                None => below.goes_on |= goes_on(&child, now),
            }
            open.extend(children(&child));
        }
        Ok(below)
    }
}

fn children(task: &Task) -> Vec<TaskId> {
    if task.status().is_terminal() {
        return Vec::new();
    }
    task.children_at_work().map(|(_, _, child)| child.task).collect()
}

/// Whether a task does something, or will by itself. One that has ended is still to be told of.
fn goes_on(task: &Task, now: Timestamp) -> bool {
    match task.next(now) {
        Next::Children(until) => until.is_some(),
        Next::Rest => task.status() != Status::Paused,
        _ => true,
    }
}
