//! What is known of a task besides its request and its steps; and the questions one may ask.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Asking, Call, CallState, Entry, Fault, FrozenAt, Pause, PauseReason, Payload, PlanAsk, Priority, Spent,
    Status, Step, StepStatus, Taint, Task, TaskId, TaskSpec, Timestamp, TopUp, Usage,
};

/// The part of a task that its steps do not hold, as the tables keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// The epoch of the newest lease.
    pub epoch: i64,
    /// The number of the newest entry.
    pub seq: i64,
    /// The revision of its plan; 0 before there is one.
    pub revision: u32,
    /// Steps that are completed.
    pub completed: u32,
    /// Steps that a later revision does without.
    pub replaced: u32,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Priority::is_usual")]
    pub priority: Priority,
    /// Workers that lost it since it last made progress.
    pub crashes: u32,
    /// How many steps were completed at the newest checkpoint.
    pub checkpointed: u32,
    /// What it has consumed.
    pub usage: Usage,
    /// What counts against its budget besides.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spent: Spent,
    /// What was added to its budget.
    #[serde(default, skip_serializing_if = "TopUp::is_nothing")]
    pub raised: TopUp,
    /// What stands for older outputs in prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Why it is paused, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// How many requests to people are open, if any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<Asking>,
    /// The plan that waits for approval, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_ask: Option<PlanAsk>,
    /// The tools that it may use: those that its plan was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<FrozenAt>,
    /// What it has read.
    #[serde(default, skip_serializing_if = "Taint::is_none")]
    pub taint: Taint,
    /// The entry from which on what it brings may hold untrusted content; none while it has read none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untrusted_from: Option<i64>,
    /// The entries of the messages that people sent to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<i64>,
    /// The entries of the facts that every prompt holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<i64>,
    /// Steps with which nothing goes on and whose calls still count: one of them may yet end, or the task
    /// ended in their midst.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lingering: BTreeSet<u32>,
    /// The answer, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it failed, once failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the newest entry was written.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

fn is_default(spent: &Spent) -> bool {
    *spent == Spent::default()
}

/// A summary of older step outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// It covers the outputs of all steps up to this index.
    pub through: u32,
    /// The text that stands for them.
    pub text: Payload,
}

impl State {
    pub(super) fn new(epoch: i64, at: Timestamp, priority: Priority) -> Self {
        Self {
            status: Status::Pending,
            epoch,
            seq: 1,
            revision: 0,
            completed: 0,
            replaced: 0,
            priority,
            crashes: 0,
            checkpointed: 0,
            usage: Usage::default(),
            spent: Spent::default(),
            raised: TopUp::default(),
            summary: None,
            pause: None,
            asking: None,
            plan_ask: None,
            tools: None,
            taint: Taint::default(),
            untrusted_from: None,
            messages: Vec::new(),
            pins: Vec::new(),
            lingering: BTreeSet::new(),
            output: None,
            fault: None,
            created_at: at,
            updated_at: at,
            completed_at: None,
        }
    }
}

impl Task {
    /// A task as its tables have it: equal to the fold of its journal, without reading all of
    /// it. `calls` are the entries about calls of the steps that have not ended, in order.
    pub fn restore(id: TaskId, spec: TaskSpec, state: State, steps: Vec<Step>, calls: &[Entry]) -> Self {
        let spec = Arc::new(spec);
        let (frontier, dependents, fan_outs) = (BTreeSet::new(), HashMap::new(), HashMap::new());
        let mut task = Self { id, spec, state, steps, frontier, dependents, fan_outs };
        task.rebuild_frontier();
        task.recall_all(calls);
        task
    }

    /// Takes what entries say about the calls of steps of which they count.
    pub fn recall_all(&mut self, calls: &[Entry]) {
        for entry in calls {
            if entry.event.step().is_some_and(|step| self.recalls(step)) {
                self.recall(entry);
            }
        }
    }

    /// What was asked for.
    pub fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// The same, to keep.
    pub fn shared_spec(&self) -> Arc<TaskSpec> {
        self.spec.clone()
    }

    /// Everything that is known besides request and steps.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.state.status
    }

    /// Whether somebody wants it to stand still, its children and its calls in flight included. What a step
    /// of it waits for is no reason.
    pub fn is_stopped(&self) -> bool {
        let reason = self.state.pause.as_ref().map(|pause| pause.reason);
        matches!(reason, Some(PauseReason::User | PauseReason::Parent))
    }

    /// The calls of which the outcome is not known yet: step and call.
    pub fn calls_in_flight(&self) -> impl Iterator<Item = (u32, &Call)> {
        let steps = (0u32..).zip(&self.steps);
        let calls = steps.flat_map(|(index, step)| step.calls.iter().map(move |call| (index, call)));
        calls.filter(|(_, call)| call.state == CallState::Dispatched)
    }

    /// The entry behind which all calls are recorded that a load has to read; none if there are none.
    pub fn calls_after(&self) -> Option<i64> {
        let steps = (0u32..).zip(&self.steps).filter(|(index, _)| self.recalls(*index));
        steps.filter_map(|(_, step)| step.first_seq).min()
    }

    /// Whether the calls of a step count for whoever carries the task on.
    pub fn recalls(&self, index: u32) -> bool {
        self.step(index).is_some_and(|step| {
            step.first_seq.is_some()
                && !matches!(step.status, StepStatus::Pending | StepStatus::Completed)
                && (self.state.lingering.contains(&index) || self.may_go_on(step))
        })
    }

    /// Whether something is left to do for a step, or a person may say so.
    fn may_go_on(&self, step: &Step) -> bool {
        let list = || step.item.as_ref().and_then(|item| self.step(item.of));
        !step.is_settled() || (step.is_unverified() && list().is_some_and(|list| !list.is_settled()))
    }

    /// Forgets the calls of a step with which nothing goes on, for the journal has them: else each load of a
    /// long task would read all calls since the first step that was given up. One that may yet take effect
    /// or be paid for stays known until it has ended.
    pub(super) fn let_go(&mut self, index: u32) {
        let Some(step) = self.steps.get(index as usize) else { return };
        if self.status().is_terminal() || self.may_go_on(step) {
            return;
        }
        let is_open = step.calls.iter().any(|call| call.state.is_open());
        if is_open {
            self.state.lingering.insert(index);
            return;
        }
        self.state.lingering.remove(&index);
        self.steps[index as usize].forget_calls();
    }

    /// Takes the epoch of a lease that was just granted.
    pub fn enter_epoch(&mut self, epoch: i64) {
        self.state.epoch = epoch;
    }

    /// Its steps over all revisions; the position is the index.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step with this index.
    pub fn step(&self, index: u32) -> Option<&Step> {
        self.steps.get(index as usize)
    }

    /// Indexes of the steps that are not settled and wait for no other step.
    pub fn frontier(&self) -> &BTreeSet<u32> {
        &self.frontier
    }

    /// Whether everything the step waits for is settled.
    pub fn dependencies_settled(&self, step: &Step) -> bool {
        step.plan.depends_on.iter().all(|on| self.step(*on).is_none_or(Step::is_settled))
    }

    /// Steps of the plan as it is now: those a revision dropped do not count.
    pub fn total_steps(&self) -> u32 {
        self.steps.len() as u32 - self.state.replaced
    }

    /// Steps per hundred that are completed or were skipped, rounded down; 100 of a task that is completed, whatever
    /// was left out on the way.
    pub fn progress(&self) -> u32 {
        let is_done = |step: &&Step| matches!(step.status, StepStatus::Completed | StepStatus::Skipped);
        let done = self.steps.iter().filter(|step| !step.replaced).filter(is_done).count() as u32;
        match self.total_steps() {
            _ if self.state.status == Status::Completed => 100,
            0 => 0,
            total => done * 100 / total,
        }
    }

    /// The key under which a call is known to the outside, the same over all its attempts.
    pub fn idempotency_key(id: TaskId, step: u32, call: u32) -> String {
        format!("{id}-{step}-{call}")
    }
}
