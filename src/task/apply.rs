//! The one place where the state of a task changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use thiserror::Error;

use super::fan_out::FanOut;
use super::state::{State, Summary};
use super::{
    Entry, Event, Fault, FrozenAt, Pause, PauseReason, Payload, Plan, PlanAsk, Return, Status, Step,
    StepStatus, TaskId, TaskSpec, Timestamp,
};

/// An entry that contradicts what has already happened. The task is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Illegal {
    /// The journal would have a gap or a repetition.
    #[error("entry {got} cannot follow entry {last}")]
    OutOfSequence {
        /// The newest entry.
        last: i64,
        /// The entry that was offered.
        got: i64,
    },
    /// The writer lost its lease to a newer one.
    #[error("an entry of epoch {got} cannot follow epoch {current}")]
    OldEpoch {
        /// The newest epoch.
        current: i64,
        /// The epoch of the entry.
        got: i64,
    },
    /// The task or the step is not in a state in which this can happen.
    #[error("'{event}' cannot happen: {why}")]
    NotNow {
        /// The tag of the event.
        event: &'static str,
        /// What stands against it.
        why: String,
    },
}

/// A goal on its way, as the fold of its journal.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    pub(super) spec: Arc<TaskSpec>,
    pub(super) state: State,
    pub(super) steps: Vec<Step>,
    /// Steps that are not settled and wait for no other step. Kept up to date so that finding
    /// the next step costs the same in a plan of ten and of ten thousand steps.
    pub(super) frontier: BTreeSet<u32>,
    /// For a step that others wait for: which ones.
    pub(super) dependents: HashMap<u32, Vec<u32>>,
    /// For a step that is carried out for each item of a list: the steps of the items.
    pub(super) fan_outs: HashMap<u32, FanOut>,
}

/// Two tasks are equal if they know the same; how they look it up does not count.
impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        (self.id, &self.spec, &self.state, &self.steps) == (other.id, &other.spec, &other.state, &other.steps)
    }
}

/// Messages to one task at most.
const MAX_MESSAGES: usize = 100;

/// Pinned facts of one task at most: all of them are in every prompt.
const MAX_PINS: usize = 100;

pub(super) type Verdict = Result<(), String>;

impl Task {
    /// A task from its first entry, which must be [`Event::Created`] with number 1.
    pub fn begin(id: TaskId, first: &Entry) -> Result<Self, Illegal> {
        if first.seq != 1 {
            return Err(Illegal::OutOfSequence { last: 0, got: first.seq });
        }
        let Event::Created { spec } = &first.event else {
            return Err(Illegal::NotNow { event: first.event.kind(), why: "the task does not exist".into() });
        };
        Ok(Self {
            id,
            spec: Arc::new((**spec).clone()),
            state: State {
                taint: spec.taint.clone(),
                untrusted_from: spec.taint.untrusted.as_ref().map(|_| first.seq),
                ..State::new(first.epoch, first.at, spec.priority)
            },
            steps: Vec::new(),
            frontier: BTreeSet::new(),
            dependents: HashMap::new(),
            fan_outs: HashMap::new(),
        })
    }

    /// A task from its whole journal.
    pub fn fold<'a>(id: TaskId, entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, Illegal> {
        let mut entries = entries.into_iter();
        let first = entries.next().ok_or(Illegal::OutOfSequence { last: 0, got: 0 })?;
        let mut task = Self::begin(id, first)?;
        for entry in entries {
            task.apply(entry)?;
        }
        Ok(task)
    }

    /// Stamps an event as the next entry of this task and applies it.
    pub fn record(&mut self, at: Timestamp, event: Event) -> Result<Entry, Illegal> {
        let entry = Entry { seq: self.state.seq + 1, epoch: self.state.epoch, at, event };
        self.apply(&entry)?;
        Ok(entry)
    }

    /// Applies the next entry of the journal, or says why it cannot be the next one.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Illegal> {
        if entry.seq != self.state.seq + 1 {
            return Err(Illegal::OutOfSequence { last: self.state.seq, got: entry.seq });
        }
        if entry.epoch < self.state.epoch {
            return Err(Illegal::OldEpoch { current: self.state.epoch, got: entry.epoch });
        }
        self.happen(&entry.event, entry).map_err(|why| Illegal::NotNow { event: entry.event.kind(), why })?;
        self.count_asks(&entry.event);
        self.ask_about_the_next(&entry.event);
        self.state.seq = entry.seq;
        self.state.epoch = entry.epoch;
        self.state.updated_at = entry.at;
        Ok(())
    }

    fn happen(&mut self, event: &Event, entry: &Entry) -> Verdict {
        if self.status().is_terminal() && !event.may_come_late() {
            return Err(format!("the task is {}", self.status()));
        }
        match event {
            Event::Created { .. } => Err("the task exists already".into()),
            Event::Promoted { .. } if entry.seq == 2 => Ok(()),
            Event::Promoted { .. } => Err("only a task that has just begun was an answer before".into()),
            Event::Planned { revision, plan, by, tools } => {
                self.planned(*revision, plan, entry.at)?;
                self.freeze(tools.as_ref(), entry.seq);
                self.charge(&by.usage)
            }
            Event::Detected { usage, .. } | Event::Evaluated { usage, .. } => self.charge(usage),
            Event::Forked { from, .. } => self.forked(*from, entry),
            Event::Claimed { crashes, .. } => {
                self.state.crashes = *crashes;
                Ok(())
            }
            Event::CheckpointTaken { completed, .. } => {
                self.state.checkpointed = *completed;
                Ok(())
            }
            Event::ContextSummarized { through, summary, usage, .. } => {
                self.summarized(*through, summary)?;
                self.charge(usage)
            }
            Event::Prioritized { priority, .. } => {
                self.state.priority = *priority;
                Ok(())
            }
            Event::BudgetRaised { add, child, .. } => {
                if child.is_some() {
                    self.call_event(event, entry)?;
                }
                self.budget_raised(add, child.as_ref());
                Ok(())
            }
            Event::PlanApproved { revision, .. } | Event::PlanDenied { revision, .. } => {
                self.plan_decided(*revision)
            }
            Event::MessageReceived { .. } => self.heard(entry.seq),
            Event::FactPinned { .. } => self.pinned(entry.seq),
            Event::Restored { revision, undone, plan, summary, .. } => {
                let (undone, plan, summary) = (undone.clone(), plan.clone(), summary.clone());
                self.restored(*revision, &Return { undone, plan, summary }, entry.seq, entry.at)
            }
            Event::Paused { pause, .. } => self.paused(pause, entry.at),
            Event::Resumed { .. } => self.resumed(entry.at),
            Event::Completed { output } => self.completed(output, entry.at),
            Event::Failed { fault } => self.ended(Status::Failed, Some(fault), entry.at),
            Event::Cancelled { .. } => self.ended(Status::Cancelled, None, entry.at),
            about_step => self.step_event(about_step, entry),
        }
    }

    fn step_event(&mut self, event: &Event, entry: &Entry) -> Verdict {
        match event {
            Event::StepStarted { step, attempt } => self.step_started(*step, *attempt, entry),
            Event::StepCompleted { step, output } => self.step_completed(*step, output.as_ref(), entry),
            Event::StepFailed { step, fault, retry_at } => {
                self.step_failed(*step, fault, *retry_at, entry.at)
            }
            Event::StepSkipped { step, .. } => self.step_skipped(*step, entry.at),
            Event::FannedOut { step, items } => self.fanned_out(*step, items, entry),
            about_check if about_check.is_about_check() => self.check_event(about_check, entry),
            about_call => {
                self.is_let_out(about_call)?;
                let posting = self.posting(about_call)?;
                self.call_event(about_call, entry)?;
                self.post(posting);
                self.taint(about_call);
                about_call.step().into_iter().for_each(|step| self.let_go(step));
                if self.state.taint.untrusted.is_some() {
                    self.state.untrusted_from.get_or_insert(entry.seq);
                }
                match about_call {
                    Event::ConversationSummarized { usage, .. } => return self.charge(usage),
                    Event::ToolAccepted { tools, .. } => self.freeze(Some(tools), entry.seq),
                    _ => {}
                }
                Ok(())
            }
        }
    }

    fn planned(&mut self, revision: u32, plan: &Plan, at: Timestamp) -> Verdict {
        let expected = self.state.revision + 1;
        if revision != expected {
            return Err(format!("revision {expected} comes next, not {revision}"));
        }
        if self.steps.iter().any(|step| step.status == StepStatus::Running && !step.replaced) {
            return Err("a step is running".into());
        }
        plan.validate(&self.ground(), &self.spec.limits).map_err(|error| error.to_string())?;
        for index in 0..self.steps.len() as u32 {
            self.replace(index, at);
        }
        (0..self.steps.len() as u32).for_each(|index| self.let_go(index));
        self.state.revision = revision;
        self.state.crashes = 0;
        let steps = plan.steps.iter().map(|step| Step::new(step.clone(), revision));
        self.steps.extend(steps);
        self.rebuild_frontier();
        let approval = &self.spec.approval;
        self.state.plan_ask = approval.plan.then(|| PlanAsk { revision, expires_at: approval.expiry(at) });
        Ok(())
    }

    /// Takes the tools that it may use from now on. A plan that needs none leaves those before it.
    fn freeze(&mut self, tools: Option<&Payload>, seq: i64) {
        self.state.tools = tools.map(|tools| FrozenAt { hash: tools.hash(), seq }).or(self.state.tools);
    }

    /// Takes a step that is not done out of the plan. What has been completed stays.
    fn replace(&mut self, index: u32, at: Timestamp) {
        let step = &mut self.steps[index as usize];
        if step.is_settled() {
            return;
        }
        step.replaced = true;
        step.retry_at = None;
        self.state.replaced += 1;
        if step.status == StepStatus::Pending {
            step.status = StepStatus::Skipped;
            step.completed_at = Some(at);
        }
    }

    /// Takes a person's message. Its text is in its entry; a task that talks for ever would
    /// carry ever more of it from step to step.
    fn heard(&mut self, seq: i64) -> Verdict {
        if self.state.messages.len() >= MAX_MESSAGES {
            return Err(format!("the task has received {MAX_MESSAGES} messages"));
        }
        self.state.messages.push(seq);
        Ok(())
    }

    /// Whether a fact can be pinned, or why not.
    pub fn has_room_for_pin(&self) -> Result<(), String> {
        match self.state.pins.len() {
            MAX_PINS.. => Err(format!("the task has {MAX_PINS} pinned facts")),
            _ => Ok(()),
        }
    }

    /// Takes a fact that every later prompt holds. Its text is in its entry.
    fn pinned(&mut self, seq: i64) -> Verdict {
        self.has_room_for_pin()?;
        self.state.pins.push(seq);
        Ok(())
    }

    fn summarized(&mut self, through: u32, summary: &Payload) -> Verdict {
        if through as usize >= self.steps.len() {
            return Err(format!("there is no step with index {through}"));
        }
        self.state.summary = Some(Summary { through, text: summary.clone() });
        Ok(())
    }

    fn paused(&mut self, pause: &Pause, at: Timestamp) -> Verdict {
        self.expect_status(&[Status::Pending, Status::Running])?;
        let asks_nobody = match pause.reason {
            PauseReason::Approval | PauseReason::Input | PauseReason::ToolChanged => {
                self.pause_for_people().is_none()
            }
            PauseReason::Unverified => self.unverified().is_empty(),
            _ => false,
        };
        if asks_nobody {
            // Somebody answered meanwhile: a task must not wait for an answer that was given.
            return Err("nothing waits for a person".into());
        }
        self.state.spent.paused_at = Some(at);
        self.state.status = Status::Paused;
        self.state.pause = Some(pause.clone());
        Ok(())
    }

    fn resumed(&mut self, at: Timestamp) -> Verdict {
        self.expect_status(&[Status::Paused])?;
        self.end_pause(at);
        let started = self.steps.iter().any(|step| step.attempts > 0);
        self.state.status = if started { Status::Running } else { Status::Pending };
        self.state.pause = None;
        // A person looked at it: the deaths before do not count against it any more.
        self.state.crashes = 0;
        Ok(())
    }

    fn completed(&mut self, output: &Payload, at: Timestamp) -> Verdict {
        self.expect_status(&[Status::Running])?;
        if let Some(open) = self.frontier.first() {
            return Err(format!("step {open} is not settled"));
        }
        self.state.output = Some(output.clone());
        self.ended(Status::Completed, None, at)
    }

    fn ended(&mut self, status: Status, fault: Option<&Fault>, at: Timestamp) -> Verdict {
        // An ended task has no open steps; what was running is over.
        let waiting = self.end_fan_outs();
        for index in std::mem::take(&mut self.frontier).into_iter().chain(waiting) {
            let step = &mut self.steps[index as usize];
            step.retry_at = None;
            if step.status == StepStatus::Running {
                step.status = StepStatus::Skipped;
                step.completed_at = Some(at);
            }
        }
        if !self.fan_outs.is_empty() {
            self.rebuild_fan_outs();
        }
        let begun = (0u32..).zip(&self.steps).filter(|(_, step)| !step.calls.is_empty());
        self.state.lingering = begun.map(|(index, _)| index).collect();
        self.end_pause(at);
        self.state.status = status;
        self.state.pause = None;
        self.state.plan_ask = None;
        self.state.fault = fault.cloned();
        self.state.completed_at = Some(at);
        Ok(())
    }

    fn step_started(&mut self, index: u32, attempt: u32, entry: &Entry) -> Verdict {
        self.expect_status(&[Status::Pending, Status::Running])?;
        if let Some(ask) = self.state.plan_ask {
            return Err(format!("revision {} of the plan waits for approval", ask.revision));
        }
        if !self.frontier.contains(&index) {
            return Err(format!("step {index} is not there, is settled, or waits for another step"));
        }
        if attempt == 1 {
            self.fits_step().map_err(|exceeded| exceeded.to_string())?;
        }
        let told = self.state.messages.last().copied();
        let step = &mut self.steps[index as usize];
        let due =
            step.status == StepStatus::Pending || step.retry_at.is_some() || step.is_told_otherwise(told);
        if !due || attempt != step.attempts + 1 {
            return Err(format!("step {index} is {} after {} attempts", step.status, step.attempts));
        }
        step.status = StepStatus::Running;
        step.attempts = attempt;
        step.retry_at = None;
        step.completed_at = None;
        step.first_seq.get_or_insert(entry.seq);
        step.started_at.get_or_insert(entry.at);
        self.state.status = Status::Running;
        Ok(())
    }

    fn step_completed(&mut self, index: u32, output: Option<&Payload>, entry: &Entry) -> Verdict {
        if self.waits_for_items(index) {
            return Err(format!("step {index} waits for its items"));
        }
        self.is_verified(index)?;
        let step = self.running_step(index)?;
        step.has_no_child_at_work()?;
        if step.owes_a_result() {
            return Err(format!("step {index} has made no call that brought a result"));
        }
        // What was claimed and verified is what it brought.
        if step.checks().is_empty() {
            step.bring(output, entry.seq);
        }
        step.fault = None;
        self.state.completed += 1;
        self.state.crashes = 0;
        self.settle(index, StepStatus::Completed, entry.at);
        Ok(())
    }

    fn step_failed(
        &mut self,
        index: u32,
        fault: &Fault,
        retry_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Verdict {
        let step = self.running_step(index)?;
        step.has_no_child_at_work()?;
        step.fault = Some(fault.clone());
        step.retry_at = retry_at;
        step.status = StepStatus::Failed;
        if fault.spares_attempt() && retry_at.is_some() {
            step.attempts = step.attempts.saturating_sub(1);
            if step.attempts == 0 {
                // No attempt of it counts, so it has not begun.
                step.started_at = None;
            }
        }
        if step.is_settled() {
            self.settle(index, StepStatus::Failed, at);
        } else if retry_at.is_none() {
            step.completed_at = Some(at);
        }
        self.charge(&fault.usage.as_deref().copied().unwrap_or_default())
    }

    fn step_skipped(&mut self, index: u32, at: Timestamp) -> Verdict {
        let step = self.step_mut(index)?;
        if step.is_settled() {
            return Err(format!("step {index} is {}", step.status));
        }
        step.has_no_child_at_work()?;
        self.settle(index, StepStatus::Skipped, at);
        Ok(())
    }

    fn settle(&mut self, index: u32, status: StepStatus, at: Timestamp) {
        let step = &mut self.steps[index as usize];
        step.status = status;
        step.retry_at = None;
        step.completed_at = Some(at);
        if status == StepStatus::Completed {
            step.forget_calls();
        }
        self.let_go(index);
        let items: Vec<u32> = self.items_of(index).collect();
        items.into_iter().for_each(|item| self.let_go(item));
        self.frontier.remove(&index);
        for waiting in self.dependents.get(&index).into_iter().flatten() {
            let step = &self.steps[*waiting as usize];
            if !step.is_settled() && self.dependencies_settled(step) {
                self.frontier.insert(*waiting);
            }
        }
        self.item_settled(index);
    }

    pub(super) fn expect_status(&self, allowed: &[Status]) -> Verdict {
        if allowed.contains(&self.status()) { Ok(()) } else { Err(format!("the task is {}", self.status())) }
    }

    pub(super) fn step_mut(&mut self, index: u32) -> Result<&mut Step, String> {
        self.steps.get_mut(index as usize).ok_or_else(|| format!("there is no step with index {index}"))
    }

    pub(super) fn running_step(&mut self, index: u32) -> Result<&mut Step, String> {
        let step = self.step_mut(index)?;
        if step.status != StepStatus::Running {
            return Err(format!("step {index} is {}", step.status));
        }
        Ok(step)
    }

    pub(super) fn rebuild_frontier(&mut self) {
        self.frontier.clear();
        self.dependents.clear();
        self.rebuild_fan_outs();
        if self.status().is_terminal() {
            return;
        }
        for index in 0..self.steps.len() as u32 {
            let step = &self.steps[index as usize];
            if step.is_settled() || self.waits_for_items(index) {
                continue;
            }
            if self.dependencies_settled(step) {
                self.frontier.insert(index);
            } else {
                for on in step.plan.depends_on.clone() {
                    self.dependents.entry(on).or_default().push(index);
                }
            }
        }
    }
}
