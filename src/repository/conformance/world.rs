//! What the checks are made of: small tasks with a clock that only moves when told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Broken;
use crate::repository::{Claim, Claimed, Commit, Lease, Repository, RepositoryError};
use crate::task::{
    Blob, Effect, Entry, Event, Parent, Payload, Plan, PlannedStep, Planner, Priority, StepType, Task,
    TaskId, TaskSpec, Timestamp,
};

/// The worker that claims in most checks.
pub(super) const WORKER: &str = "worker-a";

/// Longer than all checks take anywhere: what one of them leaves leased or asleep is in no other one's way.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// One repository, and ids that no other check uses.
#[derive(Clone)]
pub(super) struct World {
    pub(super) repository: Arc<dyn Repository>,
    pub(super) user: String,
}

impl World {
    pub(super) fn new(repository: Arc<dyn Repository>) -> Self {
        Self { repository, user: format!("user-{}", Uuid::now_v7()) }
    }

    pub(super) fn spec(&self, goal: &str) -> TaskSpec {
        TaskSpec {
            goal: goal.to_owned(),
            user_id: self.user.clone(),
            thread_id: format!("thread of {}", self.user),
            chat_model: None,
            tools: crate::task::ToolAllowance::default(),
            agent_id: None,
            preset: None,
            instructions: None,
            template: None,
            priority: Priority::default(),
            limits: crate::task::Limits { max_steps: 100_000, ..crate::task::Limits::default() },
            budget: crate::task::Budget::default(),
            retry: crate::task::RetryPolicy::default(),
            approval: crate::task::ApprovalPolicy::default(),
            taint: crate::task::Taint::default(),
            forked_from: None,
            parent: None,
            imported: false,
        }
    }

    /// A task in memory with its first entries.
    pub(super) fn draft(&self, goal: &str, steps: u32) -> Result<(Task, Vec<Entry>), Broken> {
        self.begin(self.spec(goal), steps)
    }

    fn begin(&self, spec: TaskSpec, steps: u32) -> Result<(Task, Vec<Entry>), Broken> {
        let at = now();
        let event = Event::Created { spec: Box::new(spec) };
        let created = Entry { seq: 1, epoch: 0, at, event };
        let mut task = Task::begin(TaskId(Uuid::now_v7()), &created)?;
        let plan = Plan { steps: (0..steps).map(planned).collect() };
        let planned =
            task.record(at, Event::Planned { revision: 1, plan, by: Planner::default(), tools: None })?;
        Ok((task, vec![created, planned]))
    }

    /// A task in the database.
    pub(super) async fn task(&self, goal: &str, steps: u32) -> Result<Task, Broken> {
        self.task_of(self.spec(goal), steps).await
    }

    /// A task in the database that was asked for like that.
    pub(super) async fn task_of(&self, spec: TaskSpec, steps: u32) -> Result<Task, Broken> {
        let (task, entries) = self.begin(spec, steps)?;
        self.repository.create(&task, entries, None).await?;
        Ok(task)
    }

    /// A task in the database that is as urgent as that.
    pub(super) async fn urgent_task(&self, goal: &str, priority: Priority) -> Result<Task, Broken> {
        self.task_of(TaskSpec { priority, ..self.spec(goal) }, 1).await
    }

    pub(super) async fn load(&self, id: TaskId) -> Result<Task, Broken> {
        self.repository.load(id).await?.ok_or_else(|| Broken(format!("task {id} is not there")))
    }

    /// A child in memory with its first entries.
    pub(super) fn child_draft(&self, goal: &str, parent: Parent) -> Result<(Task, Vec<Entry>), Broken> {
        self.begin(TaskSpec { parent: Some(parent), ..self.spec(goal) }, 1)
    }

    /// Claims one task for a while.
    pub(super) async fn claim(
        &self,
        id: TaskId,
        worker: &str,
        lease: Duration,
    ) -> Result<Option<Claimed>, Broken> {
        let claim = Claim { only: Some(id), ..Claim::by(worker, lease) };
        Ok(self.repository.claim(claim).await?.pop())
    }

    /// Claims one task that must be due.
    pub(super) async fn hold(&self, id: TaskId) -> Result<Task, Broken> {
        let claimed = self.claim(id, WORKER, LONG).await?;
        claimed
            .map(|claimed| claimed.task)
            .ok_or_else(|| Broken(format!("task {id} was due and not claimed")))
    }

    /// Applies events and commits them.
    pub(super) async fn commit(
        &self,
        task: &mut Task,
        events: Vec<Event>,
        lease: Lease,
    ) -> Result<(), RepositoryError> {
        let (entries, blobs) = match apply(task, events) {
            Ok(applied) => applied,
            Err(illegal) => return Err(RepositoryError::Corrupt { what: illegal.0 }),
        };
        self.repository.commit(Commit::new(task, entries, blobs, lease)).await
    }
}

/// Applies events in memory.
pub(super) fn apply(task: &mut Task, events: Vec<Event>) -> Result<(Vec<Entry>, Vec<Blob>), Broken> {
    let mut entries = Vec::new();
    let mut blobs = Vec::new();
    for mut event in events {
        blobs.extend(event.payloads_mut().into_iter().filter_map(Payload::seal));
        entries.push(task.record(now(), event)?);
    }
    Ok((entries, blobs))
}

/// Checks compare moments with the database's clock, so they use the real one.
pub(super) fn now() -> Timestamp {
    chrono::Utc::now().into()
}

fn planned(index: u32) -> PlannedStep {
    PlannedStep {
        depends_on: index.checked_sub(1).into_iter().collect(),
        estimated_duration: Some(100),
        // Some steps differ from the others, so that it is seen whether that is kept.
        retry: (index == 1)
            .then(|| crate::task::RetryPolicy { max_attempts: 2, ..crate::task::RetryPolicy::default() }),
        model: (index == 2).then(|| crate::task::ModelName { provider: "a".into(), model: "b/c".into() }),
        when: (index == 1).then(|| crate::task::Condition::Exists(json!({"$output": "step-1"}))),
        ..PlannedStep::new(
            format!("step-{}", index + 1),
            StepType::ToolCall,
            format!("Do part {}", index + 1),
        )
    }
}

pub(super) fn started(step: u32) -> Event {
    Event::StepStarted { step, attempt: 1 }
}

pub(super) fn dispatched(step: u32, call: u32, effect: Effect) -> Event {
    Event::ToolDispatched {
        step,
        call,
        attempt: 1,
        tool: "tool".to_owned(),
        arguments: Payload::Inline(json!({"n": call})),
        effect,
        labels: Default::default(),
        request_id: None,
    }
}

pub(super) fn returned(step: u32, call: u32, result: Value) -> Event {
    Event::ToolReturned { step, call, result: Payload::Inline(result), is_error: false }
}

pub(super) fn completed(step: u32, output: &str) -> Event {
    Event::StepCompleted { step, output: Some(Payload::text(output)) }
}

pub(super) fn cancelled() -> Event {
    Event::Cancelled { by: "somebody".to_owned() }
}
