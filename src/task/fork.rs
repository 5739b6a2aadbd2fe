//! Forks: what of a task's journal another task begins with.
//!
//! A fork holds the facts of another task as far as they count for it: what was completed stays
//! completed, what was answered is not asked again, and no tool is called for it. The entry
//! [`Event::Forked`] stands behind the last of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::apply::Verdict;
use super::{Effect, Entry, Event, Payload, Planner, Spent, Task, TaskId, TopUp, Usage};

/// Where a task was forked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForkPoint {
    /// The other task.
    pub task: TaskId,
    /// Its newest entry that counts here.
    pub seq: i64,
}

/// A call of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct CallAt {
    /// The step's index.
    pub step: u32,
    /// The call's number within the step, from 1.
    pub call: u32,
}

/// Which part of a journal counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Cut {
    /// All of it, but for its end.
    End,
    /// What was known with this entry.
    Entry(i64),
    /// All but what these steps did, and the steps that wait for them.
    Steps(BTreeSet<u32>),
    /// What was known when this call had returned; and it returned this.
    Result(CallAt, Value),
}

/// What a fork begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Inheritance {
    /// The facts that count, in order, with the numbers that they have in the other journal.
    pub entries: Vec<Entry>,
    /// The newest of these numbers.
    pub seq: i64,
    /// The steps that are done anew although they were begun.
    pub steps: BTreeSet<u32>,
    /// The calls that were dispatched and do not count.
    pub left_out: BTreeSet<(u32, u32)>,
}

/// Why a journal cannot be forked there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForkError {
    /// Retention has removed it.
    #[error("its journal was removed (longhaul prune), so nothing is known that could be gone on from")]
    NoJournal,
    /// There is no such entry that anything could follow.
    #[error("{0} is not the number of an entry that a fork can follow: they go from {1} to {2}")]
    NoEntry(i64, i64, i64),
    /// There is no such step.
    #[error("there is no step {} (its index would be {})", .0 + 1, .0)]
    NoStep(u32),
    /// There is no such result.
    #[error("call {} of step {} has no result that could be replaced", .0.call, .0.step + 1)]
    NoResult(CallAt),
    /// A call that changes the world was in flight there.
    #[error(
        "call {} of step {} was in flight there and nobody knows how it ended: fork before or after it",
        .0.call, .0.step + 1
    )]
    InFlight(CallAt),
    /// A call was being carried out there by a task that has not ended.
    #[error(
        "a task of its own carries out call {} of step {} and has not ended: wait for it, cancel it, or fork \
         before it", .0.call, .0.step + 1
    )]
    ChildAtWork(CallAt),
}

/// What of a whole journal counts for a fork.
///
/// # Errors
/// [`ForkError`], if there is no such place or a call hangs over it.
pub fn inherit(journal: &[Entry], cut: &Cut) -> Result<Inheritance, ForkError> {
    if !journal.first().is_some_and(|first| matches!(first.event, Event::Created { .. })) {
        return Err(ForkError::NoJournal);
    }
    let anew = match cut {
        Cut::Steps(steps) => Anew::of(journal, steps)?,
        _ => Anew::default(),
    };
    let limit = limit(journal, cut)?.min(anew.limit.unwrap_or(i64::MAX));
    let counts = |entry: &&Entry| entry.seq <= limit && is_inherited(entry, &anew);
    let mut entries: Vec<Entry> = journal.iter().filter(counts).cloned().collect();
    if let Cut::Result(call, value) = cut {
        replace(&mut entries, *call, value);
    }
    close_calls(&mut entries, journal, limit)?;
    entries.iter_mut().for_each(spend_nothing);
    let kept: BTreeSet<(u32, u32)> = entries.iter().filter_map(dispatch).collect();
    let begun: BTreeSet<u32> = journal
        .iter()
        .filter(|entry| matches!(entry.event, Event::StepStarted { .. }))
        .filter_map(|entry| entry.event.step())
        .collect();
    Ok(Inheritance {
        entries,
        seq: limit,
        steps: anew.steps.intersection(&begun).copied().collect(),
        left_out: journal.iter().filter_map(dispatch).filter(|call| !kept.contains(call)).collect(),
    })
}

/// The newest entry that can count.
fn limit(journal: &[Entry], cut: &Cut) -> Result<i64, ForkError> {
    let is_end = |entry: &&Entry| {
        matches!(entry.event, Event::Completed { .. } | Event::Failed { .. } | Event::Cancelled { .. })
    };
    let last = journal.last().map_or(1, |last| last.seq);
    let end = journal.iter().find(is_end).map_or(last, |end| end.seq - 1);
    let planned = journal.iter().find(|entry| matches!(entry.event, Event::Planned { .. }));
    let first = planned.map_or(end, |planned| planned.seq);
    match cut {
        Cut::End | Cut::Steps(_) => Ok(end),
        Cut::Entry(seq) if (first..=end).contains(seq) => Ok(*seq),
        Cut::Entry(seq) => Err(ForkError::NoEntry(*seq, first, end)),
        Cut::Result(at, _) => {
            let returned = journal.iter().rev().find(|entry| {
                matches!(&entry.event, Event::ToolReturned { step, call, .. } | Event::InputGiven { step, call, .. }
                    | Event::ChildEnded { step, call, .. }
                    if (*step, *call) == (at.step, at.call))
            });
            returned.map(|entry| entry.seq).filter(|seq| *seq <= end).ok_or(ForkError::NoResult(*at))
        }
    }
}

/// A step as the journal brings it.
struct Known<'a> {
    depends_on: &'a [u32],
    /// The step whose item it is, if it is one's.
    item_of: Option<u32>,
    /// The entry that brought it, and whether that is a plan.
    brought: (i64, bool),
}

/// All steps, in the order of their indexes.
fn known_steps(journal: &[Entry]) -> Vec<Known<'_>> {
    let mut known: Vec<Known<'_>> = Vec::new();
    for entry in journal {
        let planned = entry.event.new_plan().into_iter().flat_map(|(_, plan)| &plan.steps);
        known.extend(planned.map(|step| Known {
            depends_on: &step.depends_on,
            item_of: None,
            brought: (entry.seq, true),
        }));
        if let Event::FannedOut { step, items } = &entry.event {
            known.extend(items.iter().map(|_| Known {
                depends_on: &[],
                item_of: Some(*step),
                brought: (entry.seq, false),
            }));
        }
    }
    known
}

/// What is done anew, and what it takes with it.
#[derive(Default)]
struct Anew {
    /// Steps that are as new.
    steps: BTreeSet<u32>,
    /// Steps that wait for an item which is done anew, with the entry that has their items: what
    /// they did behind it does not count.
    waiting: BTreeMap<u32, i64>,
    /// No entry behind this one can count.
    limit: Option<i64>,
}

impl Anew {
    /// The steps and all that wait for one of them.
    fn of(journal: &[Entry], steps: &BTreeSet<u32>) -> Result<Self, ForkError> {
        let known = known_steps(journal);
        if let Some(unknown) = steps.iter().find(|step| **step as usize >= known.len()) {
            return Err(ForkError::NoStep(*unknown));
        }
        let mut anew = Self { steps: steps.clone(), ..Self::default() };
        // Items come behind the steps that wait for them, so they are looked at first.
        for step in steps {
            let Some(of) = known[*step as usize].item_of.filter(|of| !steps.contains(of)) else { continue };
            anew.waiting.insert(of, known[*step as usize].brought.0);
        }
        for (index, step) in (0u32..).zip(&known) {
            let waits = |on: &u32| anew.steps.contains(on) || anew.waiting.contains_key(on);
            if step.depends_on.iter().any(waits) || step.item_of.is_some_and(|of| anew.steps.contains(&of)) {
                anew.waiting.remove(&index);
                anew.steps.insert(index);
            }
        }
        anew.limit = anew.limit(&known, steps);
        Ok(anew)
    }

    /// The entry before the revision that came after the first of the steps, and before the items
    /// of any list that is found anew: it may be another list, and the steps behind it are numbered
    /// by it.
    fn limit(&self, known: &[Known<'_>], asked: &BTreeSet<u32>) -> Option<i64> {
        let (first_seq, _) = known[*asked.first()? as usize].brought;
        let revised =
            known.iter().map(|step| step.brought).filter(|(seq, is_plan)| *is_plan && *seq > first_seq);
        let listed = known.iter().filter(|step| step.item_of.is_some_and(|of| self.steps.contains(&of)));
        let first = revised.map(|(seq, _)| seq).chain(listed.map(|step| step.brought.0)).min();
        first.map(|seq| seq - 1)
    }

    /// Whether an entry about a step still counts.
    fn spares(&self, entry: &Entry) -> bool {
        let Some(step) = entry.event.step() else { return true };
        !self.steps.contains(&step) && self.waiting.get(&step).is_none_or(|listed| entry.seq <= *listed)
    }
}

/// Whether a fact of one task can be one of another. Who held it, how urgent it was and why it was
/// paused is its own; and a plan that was denied is not denied for good.
fn is_inherited(entry: &Entry, anew: &Anew) -> bool {
    match &entry.event {
        Event::Created { .. }
        | Event::Forked { .. }
        | Event::Claimed { .. }
        | Event::Prioritized { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::PlanDenied { .. }
        | Event::Completed { .. }
        | Event::Failed { .. }
        | Event::Cancelled { .. } => false,
        // Stands for what a step brought that is done anew.
        Event::ContextSummarized { through, .. }
            if anew.steps.first().is_some_and(|step| step <= through) =>
        {
            false
        }
        _ => anew.spares(entry),
    }
}

fn dispatch(entry: &Entry) -> Option<(u32, u32)> {
    match &entry.event {
        Event::ToolDispatched { step, call, .. } | Event::ChildStarted { step, call, .. } => {
            Some((*step, *call))
        }
        _ => None,
    }
}

fn replace(entries: &mut [Entry], at: CallAt, value: &Value) {
    for entry in entries.iter_mut().rev() {
        match &mut entry.event {
            Event::ToolReturned { step, call, result, is_error }
            | Event::ChildEnded { step, call, result, is_error, .. }
                if (*step, *call) == (at.step, at.call) =>
            {
                (*result, *is_error) = (Payload::Inline(value.clone()), false);
                return;
            }
            Event::InputGiven { step, call, answer, .. } if (*step, *call) == (at.step, at.call) => {
                *answer = Payload::Inline(value.clone());
                return;
            }
            _ => {}
        }
    }
}

/// Sees to it that no call hangs over the cut. One whose outcome was recorded later has it; one
/// that was asked for, or that may be made anew, was never made; and an approval that was not used
/// is the other task's.
fn close_calls(entries: &mut Vec<Entry>, journal: &[Entry], limit: i64) -> Result<(), ForkError> {
    let mut open: HashMap<CallAt, Vec<usize>> = HashMap::new();
    for (position, entry) in entries.iter().enumerate() {
        let Some(at) = call_of(&entry.event) else { continue };
        if is_under_way(&entry.event) {
            open.entry(at).or_default().push(position);
        } else {
            open.remove(&at);
        }
    }
    let mut gone = BTreeSet::new();
    let mut outcomes = Vec::new();
    for (at, positions) in open {
        let dispatched = positions.iter().map(|position| &entries[*position].event).find(|e| e.is_dispatch());
        let later = journal.iter().filter(|entry| entry.seq > limit && call_of(&entry.event) == Some(at));
        let known: Vec<Entry> = later.take_while(|entry| ends(&entry.event)).cloned().collect();
        match dispatched {
            Some(_) if !known.is_empty() => outcomes.extend(known),
            Some(Event::ToolDispatched { effect, .. }) if *effect != Effect::ReadOnly => {
                return Err(ForkError::InFlight(at));
            }
            Some(Event::ChildStarted { .. }) => return Err(ForkError::ChildAtWork(at)),
            _ => gone.extend(positions),
        }
    }
    let mut position = 0;
    entries.retain(|_| {
        position += 1;
        !gone.contains(&(position - 1))
    });
    outcomes.sort_by_key(|entry| entry.seq);
    entries.extend(outcomes);
    Ok(())
}

/// The call an entry is about.
fn call_of(event: &Event) -> Option<CallAt> {
    match event {
        Event::ModelRequested { step, call, .. }
        | Event::ModelAnswered { step, call, .. }
        | Event::ToolDispatched { step, call, .. }
        | Event::ToolReturned { step, call, .. }
        | Event::ChildStarted { step, call, .. }
        | Event::ChildEnded { step, call, .. }
        | Event::CallFailed { step, call, .. }
        | Event::CallLost { step, call, .. }
        | Event::OutcomeDecided { step, call, .. }
        | Event::ApprovalRequested { step, call, .. }
        | Event::ApprovalGiven { step, call, .. }
        | Event::ApprovalDenied { step, call, .. }
        | Event::ToolAccepted { step, call, .. }
        | Event::InputRequested { step, call, .. }
        | Event::InputGiven { step, call, .. }
        | Event::InputDeclined { step, call, .. } => Some(CallAt { step: *step, call: *call }),
        Event::ToolChanged(notice) => Some(CallAt { step: notice.step, call: notice.call }),
        _ => None,
    }
}

/// Whether a call is under way because of it: asked for, allowed, or made.
fn is_under_way(event: &Event) -> bool {
    matches!(
        event,
        Event::ApprovalRequested { .. }
            | Event::ApprovalGiven { .. }
            | Event::ToolChanged(_)
            | Event::ToolAccepted { .. }
            | Event::InputRequested { .. }
            | Event::ModelRequested { .. }
            | Event::ToolDispatched { .. }
            | Event::ChildStarted { .. }
    )
}

/// Whether it says how a dispatched call ended, or that nobody knows.
fn ends(event: &Event) -> bool {
    event.is_outcome() || matches!(event, Event::CallLost { .. } | Event::OutcomeDecided { .. })
}

/// What making a plan or a judgement took was the other task's to pay.
fn spend_nothing(entry: &mut Entry) {
    match &mut entry.event {
        Event::Planned { by: Planner { usage, .. }, .. }
        | Event::Detected { usage, .. }
        | Event::Evaluated { usage, .. }
        | Event::StepVerified { usage, .. }
        | Event::ConversationSummarized { usage, .. }
        | Event::ContextSummarized { usage, .. } => *usage = Usage::default(),
        Event::StepFailed { fault, .. } => fault.usage = None,
        _ => {}
    }
}

impl Task {
    /// The account begins anew: what stands before was paid for by the other task.
    pub(super) fn forked(&mut self, from: ForkPoint, entry: &Entry) -> Verdict {
        if self.spec.forked_from != Some(from) {
            return Err("the task was not forked from there".into());
        }
        if self.state.epoch > 0 {
            return Err("the task is at work already".into());
        }
        self.state.usage = Usage::default();
        self.state.spent = Spent::default();
        self.state.raised = TopUp::default();
        self.state.crashes = 0;
        let expires_at = self.spec.approval.expiry(entry.at);
        if let Some(ask) = &mut self.state.plan_ask {
            ask.expires_at = expires_at;
        }
        Ok(())
    }
}
