//! The order in which a journal was written, and how far the replay has come in it.
//!
//! Steps side by side see of each other what was noted before: what was read, said and used. So everything
//! happens at its place: a step goes on, and an outcome is released, once all that others had noted before
//! is noted again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::task::{Entry, Event};

/// What the engine noted of steps, and the pauses that it made: what is still to be noted again.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The positions in the journal, with the step that each is about.
    open: BTreeMap<usize, Option<u32>>,
    /// The same by kind and step: what a step notes, it notes in one order.
    by_kind: HashMap<(&'static str, Option<u32>), VecDeque<usize>>,
    by_step: HashMap<u32, BTreeSet<usize>>,
    /// Up to which position each step was let go on: what is open up to there is in its hands.
    reached: HashMap<u32, usize>,
    /// Whether something was noted that is not in the journal of the replay yet.
    unwritten: bool,
}

impl Order {
    /// The order of what the engine notes; `left_out` says what it will not note again.
    pub(super) fn of(journal: &[Entry], begins: usize, left_out: impl Fn(usize) -> bool) -> Self {
        let mut order = Self::default();
        for (at, entry) in journal.iter().enumerate().skip(begins) {
            let event = &entry.event;
            if !counts(event) || left_out(at) {
                continue;
            }
            order.open.insert(at, event.step());
            order.by_kind.entry((event.kind(), event.step())).or_default().push_back(at);
            if let Some(step) = event.step() {
                order.by_step.entry(step).or_default().insert(at);
            }
        }
        order
    }

    /// The engine noted this. Returns where something else is recorded of the step instead: where it ended
    /// another way.
    pub(super) fn noted(&mut self, event: &Event) -> Option<usize> {
        self.unwritten = true;
        if !counts(event) {
            return None;
        }
        let next = event.step().and_then(|step| self.by_step.get(&step)?.first().copied());
        let found = self.by_kind.get_mut(&(event.kind(), event.step())).and_then(VecDeque::pop_front);
        if let Some(found) = found {
            self.close(found);
        }
        next.filter(|next| ends_step(event) && found != Some(*next))
    }

    fn close(&mut self, position: usize) {
        let step = self.open.remove(&position).flatten();
        if let Some(of_step) = step.and_then(|step| self.by_step.get_mut(&step)) {
            of_step.remove(&position);
        }
    }

    /// All that was noted is in the journal of the replay.
    pub(super) fn written(&mut self) {
        self.unwritten = false;
    }

    /// A step was let go on up to this position.
    pub(super) fn reaches(&mut self, step: u32, position: usize) {
        let reached = self.reached.entry(step).or_default();
        *reached = position.max(*reached);
    }

    /// What comes next of a step that has nothing more in its hands: an entry of its own, or a pause of the task.
    pub(super) fn next_of(&self, step: u32) -> Option<usize> {
        let reached = self.reached.get(&step).map_or(0, |reached| reached + 1);
        let own = self.by_step.get(&step).and_then(|open| open.range(reached..).next().copied());
        let pause = self.pause();
        own.into_iter().chain(pause).min()
    }

    /// Where the engine pauses the task next.
    pub(super) fn pause(&self) -> Option<usize> {
        self.by_kind.get(&("paused", None)).and_then(VecDeque::front).copied()
    }

    /// Whether all that others noted before this position is noted again.
    pub(super) fn is_up_to(&self, position: usize, step: u32) -> bool {
        self.open.range(..position).all(|(_, of)| *of == Some(step))
    }

    /// Whether everything before this position is noted again, and written.
    pub(super) fn is_behind(&self, position: usize) -> bool {
        !self.unwritten && self.open.range(..position).next().is_none()
    }

    /// Those of the steps that may begin now, one after the other. Of a step that has begun the place is not
    /// recorded at which somebody took it up again.
    pub(super) fn begins(&self, steps: Vec<u32>, until: usize) -> Vec<u32> {
        let mut before = self.open.iter().take_while(|(at, _)| **at < until).peekable();
        let begins = |step: u32| self.by_kind.get(&("step_started", Some(step))).and_then(VecDeque::front);
        let mut all: Vec<(Option<usize>, u32)> =
            steps.into_iter().map(|step| (begins(step).copied(), step)).collect();
        all.sort_unstable();
        all.retain(|(at, _)| match at {
            None => true,
            Some(at) => before.next_if(|(next, _)| *next == at).is_some(),
        });
        all.into_iter().map(|(_, step)| step).collect()
    }

    /// Nothing happens any more: what is waited for will not be noted. False if there is nothing.
    pub(super) fn give_up(&mut self) -> bool {
        let Some(position) = self.open.keys().next().copied() else { return false };
        self.close(position);
        self.by_kind.values_mut().for_each(|positions| {
            if positions.front() == Some(&position) {
                positions.pop_front();
            }
        });
        true
    }
}

/// Whether steps beside see it. The contexts that are written down go along with the step that begins then.
fn counts(event: &Event) -> bool {
    match event {
        Event::CheckpointTaken { .. } | Event::ContextSummarized { .. } | Event::BudgetRaised { .. } => false,
        Event::Paused { .. } => true,
        event => event.step().is_some(),
    }
}

fn ends_step(event: &Event) -> bool {
    matches!(
        event,
        Event::StepCompleted { .. }
            | Event::StepFailed { .. }
            | Event::StepSkipped { .. }
            | Event::FannedOut { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Fault, Timestamp};

    fn started(step: u32) -> Event {
        Event::StepStarted { step, attempt: 1 }
    }

    fn completed(step: u32) -> Event {
        Event::StepCompleted { step, output: None }
    }

    fn order(events: Vec<Event>) -> Order {
        let entry = |(at, event)| Entry { seq: at as i64, epoch: 1, at: Timestamp::from_millis(0), event };
        let journal: Vec<Entry> = events.into_iter().enumerate().map(entry).collect();
        Order::of(&journal, 0, |_| false)
    }

    #[test]
    fn a_step_begins_and_ends_once_all_that_was_noted_before_is_noted_again() {
        let mut order = order(vec![started(0), started(1), completed(0), started(2), completed(1)]);
        assert_eq!(order.begins(vec![0, 1, 2], usize::MAX), [0, 1]);
        assert_eq!(order.begins(vec![0, 1], 1), [0], "somebody says something behind the first one");
        assert!(order.noted(&started(0)).is_none() && order.noted(&started(1)).is_none());
        assert!(order.begins(vec![2], usize::MAX).is_empty());
        assert!(order.is_up_to(2, 0) && !order.is_up_to(4, 1));
        assert!(order.noted(&completed(0)).is_none());
        assert_eq!(order.begins(vec![2], usize::MAX), [2]);
        assert!(!order.is_behind(3));
        order.written();
        assert!(order.is_behind(3) && !order.is_behind(4));
        assert!(order.give_up() && order.is_up_to(4, 1), "what does not come is not waited for for ever");
    }

    #[test]
    fn a_step_that_ends_another_way_is_noticed_where_it_does() {
        let mut order = order(vec![started(0), completed(0)]);
        let failed = Event::StepFailed { step: 0, fault: Fault::permanent("x", "y"), retry_at: None };
        assert_eq!(order.noted(&started(0)), None);
        assert_eq!(order.noted(&failed), Some(1));
    }
}
