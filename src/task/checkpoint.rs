//! Where a task stands, and how it goes back to there.
//!
//! A checkpoint is an entry of the journal, and the journal holds everything else: so a checkpoint has
//! the same size after ten steps and after ten thousand. Going back undoes nothing that happened. The
//! steps since are taken out of the plan, and what was open then is done anew by a revision.

use super::apply::Verdict;
use super::{
    CallState, CallSubject, Event, Payload, Plan, PlannedStep, Reserve, Status, Step, StepStatus, Summary,
    Task, Timestamp,
};

/// Open steps that a checkpoint names at most: a wide plan has many.
const NAMED: usize = 20;

/// What is to be done to go back to a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Return {
    /// Steps that do not count any more: ranges of indexes, the last one included.
    pub undone: Vec<(u32, u32)>,
    /// The steps that were open then, as new ones.
    pub plan: Plan,
    /// The summary that stood for older outputs then.
    pub summary: Option<Summary>,
}

impl Task {
    /// Where the task stands, as a fact.
    pub fn checkpoint(&self, step: Option<u32>, by: Option<&str>) -> Event {
        let state = self.state();
        let context = serde_json::json!({
            "revision": state.revision,
            "completed": state.completed,
            "total": self.total_steps(),
            "open": self.frontier().iter().take(NAMED).collect::<Vec<_>>(),
            "summaryThrough": state.summary.as_ref().map(|summary| summary.through),
            "usage": state.usage,
            "seq": state.seq,
        });
        let by = by.map(str::to_owned);
        Event::CheckpointTaken { step, completed: state.completed, context: Payload::Inline(context), by }
    }

    /// Whether a checkpoint is worth while before an event: it begins a call that may consume much,
    /// and steps were completed since the last one.
    pub fn wants_checkpoint_before(&self, event: &Event) -> bool {
        let limit = self.spec().limits.checkpoint_reserve;
        let is_dear = |reserve: &Reserve| limit > 0 && reserve.tokens >= limit;
        matches!(event, Event::ModelRequested { reserve, .. } if is_dear(reserve))
            && self.state().completed > self.state().checkpointed
    }

    /// What is to be done to go back to what this task was at a checkpoint. `None` if nothing was
    /// open then.
    pub fn way_back(&self, then: &Task) -> Option<Return> {
        let stays =
            |index: u32| then.step(index).is_some_and(|step| step.is_settled() && !then.is_open_item(step));
        let again: Vec<u32> = (0..then.steps().len() as u32)
            .filter(|index| !stays(*index))
            .filter(|index| then.step(*index).is_some_and(|step| step.item.is_none()))
            .collect();
        if again.is_empty() {
            return None;
        }
        let first = self.steps().len() as u32;
        let anew = |on: u32| again.iter().position(|index| *index == on).map_or(on, |at| first + at as u32);
        let planned = |index: &u32| {
            let plan = &then.step(*index)?.plan;
            let depends_on = plan.depends_on.iter().map(|on| anew(*on)).collect();
            Some(PlannedStep { depends_on, ..plan.clone() })
        };
        let plan = Plan { steps: again.iter().filter_map(planned).collect() };
        let undone = ranges((0..first).filter(|index| !stays(*index)));
        Some(Return { undone, plan, summary: then.state().summary.clone() })
    }

    /// Whether a step carries out an item of a list that was not done as a whole.
    fn is_open_item(&self, step: &Step) -> bool {
        step.item.as_ref().is_some_and(|item| self.step(item.of).is_some_and(|list| !list.is_settled()))
    }

    pub(super) fn restored(&mut self, revision: u32, back: &Return, seq: i64, at: Timestamp) -> Verdict {
        self.expect_status(&[Status::Pending, Status::Running, Status::Paused])?;
        let expected = self.state.revision + 1;
        if revision != expected {
            return Err(format!("revision {expected} comes next, not {revision}"));
        }
        // Looked at before they are written out: a journal may come from elsewhere.
        let named = back.undone.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1);
        let is_there = back.undone.iter().all(|(_, last)| self.step(*last).is_some());
        if !is_there || named.sum::<u64>() > self.steps.len() as u64 {
            return Err("there is no such step".into());
        }
        let undone: Vec<u32> = back.undone.iter().flat_map(|(first, last)| *first..=*last).collect();
        if let Some(open) = self.frontier().iter().find(|index| !undone.contains(index)) {
            return Err(format!("step {open} is open and would stay"));
        }
        if let Some(index) = undone.iter().find(|index| self.steps[**index as usize].is_in_doubt()) {
            return Err(format!("a call of step {} may take effect: say how it ended first", index + 1));
        }
        if let Some(index) =
            undone.iter().find(|index| self.steps[**index as usize].child_at_work().is_some())
        {
            return Err(format!("a task of its own works for step {}: cancel that first", index + 1));
        }
        self.check_return(&back.plan)?;
        for index in undone {
            self.undo(index, at);
        }
        (0..self.steps.len() as u32).for_each(|index| self.let_go(index));
        self.state.summary = back.summary.clone();
        self.state.revision = revision;
        self.state.crashes = 0;
        self.state.checkpointed = self.state.completed;
        self.state.plan_ask = None;
        self.state.messages.push(seq);
        let steps = back.plan.steps.iter().map(|step| Step::new(step.clone(), revision));
        self.steps.extend(steps);
        self.rebuild_frontier();
        Ok(())
    }

    /// The plan was allowed once; that some of its steps are done again is no reason to refuse them.
    fn check_return(&self, plan: &Plan) -> Verdict {
        let mut limits = self.spec.limits.clone();
        limits.max_steps = u32::MAX;
        plan.validate(&self.ground(), &limits).map_err(|error| error.to_string())
    }

    /// Takes a step out of the plan, done or not. What it did stays in the journal.
    fn undo(&mut self, index: u32, at: Timestamp) {
        let lost: Vec<Reserve> = self.steps[index as usize].in_flight().collect();
        for reserve in lost {
            let spent = &mut self.state.spent;
            spent.reserved = spent.reserved.minus(reserve);
            spent.lost = spent.lost.plus(reserve);
        }
        let step = &mut self.steps[index as usize];
        if step.status == StepStatus::Completed {
            self.state.completed -= 1;
        }
        if !step.replaced {
            self.state.replaced += 1;
        }
        step.replaced = true;
        step.status = StepStatus::Skipped;
        step.retry_at = None;
        // Its calls are of interest to nobody who carries the task on.
        step.first_seq = None;
        step.forget_calls();
        step.verification = None;
        step.completed_at.get_or_insert(at);
        self.state.lingering.remove(&index);
    }
}

impl Step {
    /// Whether a call that must not be repeated may still take effect.
    fn is_in_doubt(&self) -> bool {
        let is_open = |state: &CallState| matches!(state, CallState::Dispatched | CallState::Unknown);
        self.calls.iter().any(|call| is_open(&call.state) && !call.may_repeat())
    }

    /// What is reserved for model calls that nobody waits for any more.
    fn in_flight(&self) -> impl Iterator<Item = Reserve> {
        let dispatched = self.calls.iter().filter(|call| call.state == CallState::Dispatched);
        dispatched.filter_map(|call| match &call.subject {
            CallSubject::Model { reserve, .. } => Some(*reserve),
            CallSubject::Tool { .. } => None,
        })
    }
}

fn ranges(indexes: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    ranges
}
