//! Start, pause, resume, cancel: the life cycle that server, command line and library share.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::decompose::{Again, check_plan};
use super::frozen::frozen;
use super::outcome::unknown_call;
use super::promote::{FROM_CHAT, told};
use super::{Detection, Files, Orchestrator, OrchestratorError, TaskRequest};
use crate::queue::Wake;
use crate::repository::{Commit, Lease, RepositoryError};
use crate::task::{
    Blob, Call, EffectRecord, Effects, Entry, Event, FROM_FILE, FrozenTools, Ground, Pause, PauseReason,
    Payload, Plan, PlannedStep, Planner, Priority, Status, StepProblem, Task, TaskId, TaskSpec,
};
use crate::tools::Tool;

/// How often a write is tried if somebody else writes first. Each failure means that another writer
/// succeeded, and not so many people write to one task at once.
const TRIES: usize = 100;

/// Entries that are read at once.
const PAGE: u32 = 1000;

impl Orchestrator {
    /// Accepts a request: makes the plan and creates the task with plan and wake-up in one
    /// transaction. When this returns, the task is durable.
    pub async fn start(&self, request: TaskRequest) -> Result<Task, OrchestratorError> {
        self.start_with(request, Again::Here).await
    }

    /// The same, with who asks again if no model makes a plan.
    pub(super) async fn start_with(
        &self,
        request: TaskRequest,
        again: Again,
    ) -> Result<Task, OrchestratorError> {
        let (request, spec, offered) = self.prepared(request).await?;
        let (plan, by) = self.plan_of(&spec, request.plan, &request.files, again).await?;
        let thread = self.open_thread(&spec).await?;
        let id = request.id.unwrap_or_else(|| TaskId(Uuid::now_v7()));
        let tools = frozen(&offered, &plan);
        let made = Event::Planned { revision: 1, plan, by, tools: tools.as_ref().map(FrozenTools::content) };
        // Who sent the goal by itself wrote no chat.
        let from = if request.detection.is_some() { FROM_CHAT } else { FROM_FILE };
        let Files { told: texts, shown } = &request.files;
        let texts = texts.iter().map(|text| told(text, &[], from));
        let shown = (!shown.is_empty()).then(|| told("", shown, from));
        let first = std::iter::once(made).chain(texts).chain(shown).collect();
        let detection = request.detection.unwrap_or_else(Detection::by_caller);
        let (task, entries) = self.first_entries(id, spec, &detection, first)?;
        self.know_tools(&task, tools);
        let answer = request.key.as_ref().map(|key| key.answer(&task));
        self.repository.create(&task, entries, answer.as_ref()).await?;
        tracing::info!(task = %task.id, %thread, steps = task.steps().len(), "task created");
        if task.status().is_live() {
            self.wake(Wake::first(&task)).await;
        }
        Ok(task)
    }

    /// A request with what its template brings, the part of a task that it becomes, and the tools that the
    /// task is offered: a plan that is only looked at is made under the conditions of one that is carried out.
    pub(super) async fn prepared(
        &self,
        request: TaskRequest,
    ) -> Result<(TaskRequest, TaskSpec, Vec<Arc<dyn Tool>>), OrchestratorError> {
        let (request, template) = self.with_template(request).await?;
        self.check_names(&request.user_id, &request.tools).await?;
        let spec = TaskSpec { template, ..request.spec(&self.config)? };
        if let Some(model) = &spec.chat_model {
            self.models.check_known(model)?;
        }
        let spec = self.with_workflows(spec, request.plan.as_ref()).await?;
        // A collision among the tools is the caller's to mend before anything is planned.
        let offered = self.tools.offered(&spec.tools)?;
        Ok((request, spec, offered))
    }

    /// The plan that was brought, if it can be carried out; else one that is made.
    pub(super) async fn plan_of(
        &self,
        spec: &TaskSpec,
        brought: Option<Plan>,
        files: &Files,
        again: Again,
    ) -> Result<(Plan, Planner), OrchestratorError> {
        match brought {
            Some(plan) => Ok((self.accept_plan(spec, plan).await?, Planner::default())),
            None => self.first_plan(spec, files, again).await,
        }
    }

    async fn accept_plan(&self, spec: &TaskSpec, mut plan: Plan) -> Result<Plan, OrchestratorError> {
        plan.wait_for_outputs();
        let offered = self.tools.offered(&spec.tools)?;
        let is_tool = |name: &str| {
            spec.tools.delegates(name) || offered.iter().any(|tool| tool.description().name == name)
        };
        let refused = |error| OrchestratorError::Plan { list: "plan", error };
        let unknown = |(place, step): (usize, &PlannedStep)| {
            let model = step.model.as_ref().filter(|name| !self.models.allowed().contains(name))?;
            let problem = format!("{model} is not one of the models a step may name (models.allowed)");
            Some(StepProblem::new(place, "model", problem))
        };
        if let Some(problem) = plan.steps.iter().enumerate().find_map(unknown) {
            return Err(refused(problem.into()));
        }
        check_plan(&plan, &Ground::default(), &spec.limits, self.probes(), is_tool).map_err(refused)?;
        match self.misfits(&plan, spec, &offered).await? {
            None => Ok(plan),
            Some(error) => Err(refused(error)),
        }
    }

    pub(super) async fn open_thread(&self, spec: &TaskSpec) -> Result<String, OrchestratorError> {
        let title: String = spec.goal.chars().take(100).collect();
        let thread = self.repository.open_thread(&spec.thread_id, &spec.user_id, &title).await?;
        if thread.user_id != spec.user_id {
            return Err(OrchestratorError::Forbidden);
        }
        Ok(thread.id)
    }

    pub(super) fn first_entries(
        &self,
        id: TaskId,
        spec: TaskSpec,
        detection: &Detection,
        made: Vec<Event>,
    ) -> Result<(Task, Vec<Entry>), OrchestratorError> {
        let now = self.now();
        let created = Entry { seq: 1, epoch: 0, at: now, event: Event::Created { spec: Box::new(spec) } };
        let mut task = Task::begin(id, &created)?;
        let detected = task.record(now, detection.event())?;
        let mut entries = vec![created, detected];
        for event in made {
            entries.push(task.record(now, event)?);
        }
        if task.plan_ask().is_some() {
            // No worker has to find out that there is nothing to do yet.
            let pause = Pause::new(PauseReason::Approval, "the plan waits for approval");
            entries.push(task.record(now, Event::Paused { pause, by: "engine".to_owned() })?);
        }
        Ok((task, entries))
    }

    /// Stops a task for good. What has happened has happened and stays recorded.
    pub async fn cancel(&self, id: TaskId, by: &str) -> Result<Task, OrchestratorError> {
        let task = self
            .record(id, |task| {
                expect(task, "cancel", &[Status::Pending, Status::Running, Status::Paused])?;
                Ok(vec![Event::Cancelled { by: by.to_owned() }])
            })
            .await?;
        self.queue.forget(id).await;
        self.after_end(&task).await;
        Ok(task)
    }

    /// What the calls of a task did to the world, or may have done, in order; and then what the tasks
    /// below it did. Reads their whole journals; a task whose journal was removed has no effects to tell
    /// of.
    pub async fn effects(&self, id: TaskId) -> Result<Vec<EffectRecord>, OrchestratorError> {
        let effects = self.effects_by_step(id).await?.into_iter();
        Ok(effects.map(|(_, effect)| effect).collect())
    }

    /// The same, each with the step of the task itself for which that was.
    pub(super) async fn effects_by_step(
        &self,
        id: TaskId,
    ) -> Result<Vec<(u32, EffectRecord)>, OrchestratorError> {
        let (mut effects, mut children) = (Effects::of(id), Vec::new());
        let mut after = 0;
        loop {
            let entries = self.repository.journal(id, after, PAGE).await?;
            let Some(last) = entries.last() else { break };
            after = last.seq;
            entries.iter().for_each(|entry| effects.take(entry));
            children.extend(entries.iter().filter_map(|entry| match &entry.event {
                Event::ChildStarted { step, child, .. } => Some((*step, *child)),
                _ => None,
            }));
        }
        let own = effects.into_records().into_iter();
        let mut records: Vec<_> = own.map(|effect| (effect.step, effect)).collect();
        if children.is_empty() {
            return Ok(records);
        }
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        for (step, child) in children {
            let below = self.effects_of_child(child, &task.spec().user_id).await?;
            records.extend(below.into_iter().map(|effect| (step, effect)));
        }
        Ok(records)
    }

    /// Says how urgent a task is from now on, and with it the tasks below it that have not ended. It keeps
    /// its place among those that are as urgent: what it has waited counts.
    pub async fn prioritize(
        &self,
        id: TaskId,
        priority: Priority,
        by: &str,
    ) -> Result<Task, OrchestratorError> {
        let decide = |task: &Task| {
            expect(task, "prioritize", &[Status::Pending, Status::Running, Status::Paused])?;
            Ok(vec![Event::Prioritized { priority, by: by.to_owned() }])
        };
        let task = self.record(id, decide).await?;
        self.queue.prioritize(id, priority.number()).await;
        // It waits for them: it would not be any sooner done without.
        for below in self.open_tree(id).await?.into_iter().skip(1) {
            match self.record(below, decide).await {
                Ok(_) => self.queue.prioritize(below, priority.number()).await,
                Err(OrchestratorError::NotFound | OrchestratorError::NotNow { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(task)
    }

    /// Stops a task until somebody resumes it. A call in flight ends and is recorded, or is called off
    /// where it may be made again.
    pub async fn pause(&self, id: TaskId, by: &str) -> Result<Task, OrchestratorError> {
        let task = self
            .record(id, |task| {
                expect(task, "pause", &[Status::Pending, Status::Running])?;
                let pause = Pause::new(PauseReason::User, format!("paused by {by}"));
                Ok(vec![Event::Paused { pause, by: by.to_owned() }])
            })
            .await?;
        self.reach_children(&task).await;
        Ok(task)
    }

    /// Lets a paused task go on. One that waits for a word about an unknown outcome needs that
    /// word first: see [`Orchestrator::decide_outcome`].
    pub async fn resume(&self, id: TaskId, by: &str) -> Result<Task, OrchestratorError> {
        let task = self
            .record(id, |task| {
                expect(task, "resume", &[Status::Paused])?;
                if let Some((step, call)) = unknown_call(task) {
                    return Err(OrchestratorError::Invalid {
                        field: "outcome",
                        problem: format!(
                            "nobody knows whether call {call} of step {} took effect: say whether it happened, \
                             did not happen, is to be skipped, or fails the step",
                            step + 1
                        ),
                    });
                }
                if task.state().pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Parent) {
                    let parent = task.spec().parent.map(|of| of.task.to_string()).unwrap_or_default();
                    let problem = format!("the task that it works for is paused: resume that one ({parent})");
                    return Err(OrchestratorError::Invalid { field: "parent", problem });
                }
                if task.state().pause.as_ref().is_some_and(|pause| waits_for_people(pause.reason)) {
                    let problem = "the task waits for a person's word: answer what is in the inbox".to_owned();
                    return Err(OrchestratorError::Invalid { field: "inbox", problem });
                }
                Ok(vec![Event::Resumed { by: by.to_owned() }])
            })
            .await?;
        self.wake(Wake::again(&task, Duration::ZERO)).await;
        self.reach_children(&task).await;
        Ok(task)
    }

    /// Writes to a task without a lease: reads it, decides, and writes if nobody wrote
    /// meanwhile; otherwise reads again. A write whose answer was lost is looked for before
    /// anything is decided anew: the state that it left is no reason to refuse it.
    pub(super) async fn record(
        &self,
        id: TaskId,
        decide: impl Fn(&Task) -> Result<Vec<Event>, OrchestratorError>,
    ) -> Result<Task, OrchestratorError> {
        self.record_as(id, Lease::Keep, decide).await
    }

    /// The same, with what becomes of the lease.
    pub(super) async fn record_as(
        &self,
        id: TaskId,
        lease: Lease,
        decide: impl Fn(&Task) -> Result<Vec<Event>, OrchestratorError>,
    ) -> Result<Task, OrchestratorError> {
        for _ in 0..TRIES {
            let mut task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
            let events = decide(&task)?;
            let (entries, blobs) = self.apply(&mut task, events)?;
            let first = entries.first().cloned();
            match (self.repository.commit(Commit::new(&task, entries, blobs, lease)).await, first) {
                // Somebody was quicker, and nothing was written.
                (Err(RepositoryError::Stale | RepositoryError::Fenced), _) => {}
                // Nobody knows whether it was written, until the journal is read.
                (Err(refusal), Some(entry)) if refusal.is_passing() => {
                    let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
                    return if self.is_recorded(&task, &entry).await? {
                        Ok(task)
                    } else {
                        Err(refusal.into())
                    };
                }
                (outcome, _) => return Ok(outcome.map(|()| task)?),
            }
        }
        Err(RepositoryError::Stale.into())
    }

    /// Whether an entry that was handed in is part of the journal.
    async fn is_recorded(&self, task: &Task, entry: &Entry) -> Result<bool, OrchestratorError> {
        if task.state().seq < entry.seq {
            return Ok(false);
        }
        let there = self.repository.journal(task.id, entry.seq - 1, 1).await?;
        Ok(there.first().is_some_and(|stored| stored.is_same(entry)))
    }

    fn apply(
        &self,
        task: &mut Task,
        events: Vec<Event>,
    ) -> Result<(Vec<Entry>, Vec<Blob>), OrchestratorError> {
        let now = self.now();
        let mut blobs = Vec::new();
        let mut entries = Vec::new();
        for mut event in events {
            blobs.extend(event.payloads_mut().into_iter().filter_map(Payload::seal));
            entries.push(task.record(now, event)?);
        }
        Ok((entries, blobs))
    }

    /// Tells the workers. If that fails, the wake-up in the database finds one.
    pub(super) async fn wake(&self, wake: Wake) {
        let task = wake.task;
        if let Err(error) = self.queue.push(wake).await {
            tracing::debug!(%task, %error, "the queue was not told, polling will find the task");
        }
    }
}

pub(super) fn expect(task: &Task, verb: &'static str, allowed: &[Status]) -> Result<(), OrchestratorError> {
    let status = task.status();
    if allowed.contains(&status) { Ok(()) } else { Err(OrchestratorError::NotNow { verb, status }) }
}

/// Whether a task that is paused for this goes on by an answer, and not by being resumed.
pub(super) fn waits_for_people(reason: PauseReason) -> bool {
    matches!(
        reason,
        PauseReason::Approval | PauseReason::Input | PauseReason::ToolChanged | PauseReason::Unverified
    )
}

/// The first such call of a step that is not done: its step and its number.
pub(super) fn open_call(task: &Task, is_such: impl Fn(&Call) -> bool) -> Option<(u32, u32)> {
    task.frontier().iter().find_map(|index| {
        let call = task.step(*index)?.calls.iter().find(|call| is_such(call))?;
        Some((*index, call.number))
    })
}
