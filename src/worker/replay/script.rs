//! A journal as the script of a replay: what came from outside of the engine, and in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::order::Order;
use crate::orchestrator::is_delegate;
use crate::task::{CallAt, Effect, Entry, Event, Labels, PauseReason, Status, StepType, Task, TaskId};

/// The tools that the engine itself answers for.
const OF_CONTEXT: [&str; 2] = ["context_read", "context_pin"];

/// One dispatch of a call, and how it ended; positions in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) asked: usize,
    pub(super) ended: Option<usize>,
}

/// What is recorded of everything that was asked of somebody.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) journal: Vec<Entry>,
    /// So many entries the task began with.
    pub(super) begins: usize,
    /// The calls of models and tools, attempt by attempt. Those that a lost worker made are left out:
    /// they were made again.
    pub(super) calls: BTreeMap<(u32, u32), VecDeque<Attempt>>,
    /// What was found of the claims of each step by those who were asked.
    pub(super) verdicts: BTreeMap<u32, VecDeque<usize>>,
    pub(super) evaluations: VecDeque<usize>,
    pub(super) plans: VecDeque<usize>,
    pub(super) summaries: VecDeque<usize>,
    pub(super) digests: BTreeMap<u32, VecDeque<usize>>,
    /// Tools that were others than when the plan was made, by step, call and attempt.
    pub(super) changes: BTreeMap<(u32, u32, u32), VecDeque<usize>>,
    /// What people wrote, said and decided.
    pub(super) outside: VecDeque<Outside>,
    /// In which order the engine noted what it did.
    pub(super) order: Order,
    /// The tools that were there.
    pub(super) tools: BTreeMap<String, Kept>,
    /// Those of them whose calls tasks of their own carried out.
    pub(super) delegates: BTreeSet<String>,
}

/// What is known of a tool from its calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) effect: Effect,
    /// Whether it puts questions to people.
    pub(super) asks: bool,
    pub(super) labels: Labels,
}

/// What somebody brought from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outside {
    /// It comes behind all that was asked and answered before this position.
    pub(super) place: usize,
    /// Its own position in the journal.
    pub(super) at: usize,
    /// Whether the task was paused then.
    pub(super) rests: bool,
}

/// Whether an entry stands between two attempts of a call whose worker was lost.
fn is_between_attempts(event: &Event) -> bool {
    matches!(
        event,
        Event::ConversationSummarized { .. } | Event::ModelRequested { .. } | Event::CallLost { .. }
    )
}

impl Script {
    /// The request for which the conversation was folded that this one goes on with: an earlier attempt, if the
    /// worker that folded was lost with it. What a model was taken to have room for was another thing then.
    pub(super) fn folded_for(&self, asked: usize) -> usize {
        let step = self.journal[asked].event.step();
        let is_own = |at: &usize| self.journal[*at].event.step() == step;
        let before = (0..asked).rev().filter(is_own);
        let before = before.take_while(|at| is_between_attempts(&self.journal[*at].event));
        let is = |at: usize, wanted: fn(&Event) -> bool| wanted(&self.journal[at].event);
        let fold =
            before.filter(|at| is(*at, |event| matches!(event, Event::ConversationSummarized { .. }))).last();
        let request = fold.and_then(|fold| {
            let mut behind = (fold..asked).filter(is_own);
            behind.find(|at| is(*at, |event| matches!(event, Event::ModelRequested { .. })))
        });
        request.unwrap_or(asked)
    }

    /// Reads a journal; large contents must be in their places. The error says why it cannot be
    /// replayed.
    pub(super) fn of(id: TaskId, journal: Vec<Entry>) -> Result<Self, String> {
        let begins = beginning(&journal).ok_or("the task has no plan")?;
        let (delegates, tools) = tools(&journal);
        let mut script = Self { begins, tools, delegates, ..Self::default() };
        let mut task = Task::fold(id, &journal[..begins]).map_err(|why| why.to_string())?;
        let mut is_outside = false;
        for at in begins..journal.len() {
            let entry = &journal[at];
            let goes_along = is_outside && entry.at == journal[at - 1].at && may_go_along(&entry.event);
            is_outside = comes_from_outside(&entry.event, task.status()) || goes_along;
            if is_outside {
                script.outside.push_back(Outside {
                    place: heard_at(&journal, at),
                    at,
                    rests: task.status() == Status::Paused,
                });
            } else {
                let thinks = entry.event.step().and_then(|step| task.step(step));
                let thinks = thinks.is_some_and(|step| step.plan.kind == StepType::LlmReasoning);
                // A step without tools is refused those that its model asks for by the engine itself.
                if !(thinks && matches!(entry.event, Event::ToolDispatched { .. })) {
                    script.take(at, entry);
                }
            }
            task.apply(entry).map_err(|why| why.to_string())?;
        }
        script.outside.make_contiguous().sort_by_key(|outside| outside.place);
        script.journal = journal;
        let mut left_out = script.leave_out_lost();
        left_out.extend(script.outside.iter().map(|outside| outside.at));
        script.order = Order::of(&script.journal, begins, |at| left_out.contains(&at));
        Ok(script)
    }

    fn take(&mut self, at: usize, entry: &Entry) {
        match &entry.event {
            Event::ModelRequested { step, call, .. } | Event::ChildStarted { step, call, .. } => {
                self.asked(*step, *call, at);
            }
            Event::ToolDispatched { step, call, tool, .. } if self.is_answered_for(tool) => {
                self.asked(*step, *call, at);
            }
            // The engine knows by itself which tools its plan was made with.
            Event::CallFailed { step, call, fault, .. } if fault.code == "tool_not_planned" => {
                self.calls.get_mut(&(*step, *call)).and_then(VecDeque::pop_back);
            }
            Event::ModelAnswered { step, call, .. }
            | Event::ToolReturned { step, call, .. }
            | Event::CallFailed { step, call, .. } => self.ended(*step, *call, at),
            Event::CallLost { step, call, .. } => self.lost(*step, *call, at),
            Event::StepVerified { step, by, .. } if by != "schema" => {
                self.verdicts.entry(*step).or_default().push_back(at);
            }
            // A judge had no usable answer.
            Event::StepFailed { step, fault, .. } if fault.model.is_some() => {
                self.verdicts.entry(*step).or_default().push_back(at);
            }
            Event::ToolChanged(notice) => {
                self.changes.entry((notice.step, notice.call, notice.attempt)).or_default().push_back(at);
            }
            Event::Evaluated { .. } => self.evaluations.push_back(at),
            Event::Planned { .. } => self.plans.push_back(at),
            Event::ContextSummarized { .. } => self.summaries.push_back(at),
            Event::ConversationSummarized { step, .. } => {
                self.digests.entry(*step).or_default().push_back(at);
            }
            _ => {}
        }
    }

    fn is_answered_for(&self, tool: &str) -> bool {
        !OF_CONTEXT.contains(&tool) && self.tools.contains_key(tool)
    }

    fn asked(&mut self, step: u32, call: u32, at: usize) {
        self.calls.entry((step, call)).or_default().push_back(Attempt { asked: at, ended: None });
    }

    fn ended(&mut self, step: u32, call: u32, at: usize) {
        let last = self.calls.get_mut(&(step, call)).and_then(VecDeque::back_mut);
        if let Some(attempt) = last.filter(|attempt| attempt.ended.is_none()) {
            attempt.ended = Some(at);
        }
    }

    /// A call that may be repeated was made again by whoever went on. Of another one people were asked.
    fn lost(&mut self, step: u32, call: u32, at: usize) {
        let Some(attempts) = self.calls.get_mut(&(step, call)) else { return };
        let Some(attempt) = attempts.back().copied() else { return };
        if attempt.ended.is_some() {
            return;
        }
        // The journal is not in its place yet while it is read: the effect is that of the tool.
        self.ended(step, call, at);
    }

    /// Leaves out the attempts that were lost and made again; returns their positions.
    fn leave_out_lost(&mut self) -> BTreeSet<usize> {
        let (journal, mut left_out) = (&self.journal, BTreeSet::new());
        for attempts in self.calls.values_mut() {
            attempts.retain(|attempt| {
                let is_lost =
                    attempt.ended.is_some_and(|ended| matches!(journal[ended].event, Event::CallLost { .. }));
                let stands = matches!(&journal[attempt.asked].event,
                    Event::ToolDispatched { effect, .. } if !effect.may_repeat());
                if is_lost && !stands {
                    left_out.extend([Some(attempt.asked), attempt.ended].into_iter().flatten());
                }
                !is_lost || stands
            });
        }
        left_out
    }

    /// The call that is asked for next under this number.
    pub(super) fn next(&self, at: CallAt) -> Option<Attempt> {
        self.calls.get(&(at.step, at.call))?.front().copied()
    }

    /// Whether another plan was looked for and none was found.
    pub(super) fn ends_without_plan(&self) -> bool {
        let has_none = |event: &Event| matches!(event, Event::Failed { fault } if fault.code == "no_plan");
        self.journal.iter().any(|entry| has_none(&entry.event))
    }

    /// The call that was asked for last under this number has ended.
    pub(super) fn is_over(&mut self, at: CallAt) {
        if let Some(attempts) = self.calls.get_mut(&(at.step, at.call)) {
            attempts.pop_front();
        }
    }

    /// Whether the next that happens is that somebody tells the task something, which nobody has to ask for.
    pub(super) fn tells_next(&self) -> bool {
        self.is_due()
            && self.outside.front().is_some_and(|next| {
                let tells = matches!(
                    self.journal[next.at].event,
                    Event::MessageReceived { .. } | Event::FactPinned { .. } | Event::BudgetRaised { .. }
                );
                tells && !next.rests
            })
    }

    /// Whether all that was noted before the next words is noted again, and written.
    pub(super) fn is_due(&self) -> bool {
        self.outside.front().is_some_and(|next| self.order.is_behind(next.place))
    }

    /// Before which position the next words come.
    pub(super) fn words_at(&self) -> usize {
        self.outside.front().map_or(usize::MAX, |next| next.place)
    }

    /// Whether the outcome of a call, at this position, comes next.
    pub(super) fn is_outcome_due(&self, step: u32, ended: usize) -> bool {
        self.words_at() > ended && self.order.is_up_to(ended, step)
    }

    /// Whether a step goes on now.
    pub(super) fn turn(&self, step: u32) -> Turn {
        let next = self.order.next_of(step);
        if self.words_at() > next.unwrap_or(usize::MAX - 1) {
            return match next.is_none_or(|next| self.order.is_up_to(next, step)) {
                true => Turn::Now,
                false => Turn::Later,
            };
        }
        // It goes on after somebody lets the task go on: until then it rests.
        let next = next.unwrap_or(usize::MAX);
        let mut before = self.outside.iter().take_while(|words| words.place <= next);
        let stops = |words: &Outside| matches!(self.journal[words.at].event, Event::Paused { .. });
        match before.find(|words| words.rests || stops(words)) {
            Some(words) if words.rests && self.order.pause().is_none_or(|pause| pause > words.place) => {
                Turn::Over
            }
            _ => Turn::Later,
        }
    }
}

/// Whether a step goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// Something else comes first.
    Later,
    /// The task rests first.
    Over,
}

/// Where a message is to be written, so that those hear it who heard it: a request that was on its way
/// when it came does not. Anything else has its own place.
fn heard_at(journal: &[Entry], at: usize) -> usize {
    if !matches!(journal[at].event, Event::MessageReceived { .. }) {
        return at;
    }
    let begun = |step: u32| {
        let mut before = journal[..at].iter();
        before.any(|entry| matches!(entry.event, Event::StepStarted { step: of, .. } if of == step))
    };
    let later = journal.iter().enumerate().skip(at + 1);
    let missed = later.filter_map(|(position, entry)| match &entry.event {
        Event::ModelRequested { step, heard, .. } if begun(*step) => Some((position, heard.unwrap_or(0))),
        _ => None,
    });
    let missed = missed.take_while(|(_, heard)| *heard < journal[at].seq);
    missed.last().map_or(at, |(position, _)| position + 1)
}

/// How many entries the task was created with.
fn beginning(journal: &[Entry]) -> Option<usize> {
    let find = |is: fn(&Event) -> bool| journal.iter().position(|entry| is(&entry.event));
    let planned = find(|event| matches!(event, Event::Planned { .. }))?;
    let forked = find(|event| matches!(event, Event::Forked { .. }));
    let through = journal.iter().find_map(|entry| match &entry.event {
        Event::Promoted { through, .. } => usize::try_from(*through).ok(),
        _ => None,
    });
    let last = forked.or(through.map(|through| through.saturating_sub(1))).unwrap_or(planned).max(planned);
    let waits = journal.get(last + 1).is_some_and(|next| {
        matches!(&next.event, Event::Paused { pause, by } if by == "engine" && pause.reason == PauseReason::Approval)
    });
    Some((last + 1 + usize::from(waits)).min(journal.len()))
}

/// The names of the tools whose calls tasks of their own carried out, and what is known of the others.
fn tools(journal: &[Entry]) -> (BTreeSet<String>, BTreeMap<String, Kept>) {
    let mut tools: BTreeMap<String, Kept> = BTreeMap::new();
    let mut unknown: BTreeSet<(u32, u32)> = BTreeSet::new();
    for entry in journal {
        if let Event::CallFailed { step, call, fault, .. } = &entry.event
            && fault.code == "tool_unknown"
        {
            unknown.insert((*step, *call));
        }
    }
    for entry in journal {
        let (name, effect, asks, labels) = match &entry.event {
            Event::ToolDispatched { step, call, tool, effect, labels, .. }
                if !unknown.contains(&(*step, *call)) =>
            {
                (tool, *effect, false, *labels)
            }
            Event::ToolChanged(notice) => (&notice.tool, notice.effect, false, Labels::default()),
            Event::ChildStarted { tool, .. } => (tool, Effect::ReadOnly, false, Labels::default()),
            // It was held back because it tells the outside.
            Event::ApprovalRequested { tool, effect, because, .. } => (
                tool,
                *effect,
                false,
                Labels { outward: because.as_ref().is_some_and(|read| read.is_both()), ..Labels::default() },
            ),
            Event::InputRequested { tool, .. } => (tool, Effect::ReadOnly, true, Labels::default()),
            Event::Planned { plan, .. } => {
                let named = plan.steps.iter().filter_map(|step| step.tool.as_ref());
                for tool in named.filter(|_| entry.epoch > 0) {
                    let kept = Kept { effect: Effect::Unsafe, asks: false, labels: Labels::default() };
                    tools.entry(tool.name.clone()).or_insert(kept);
                }
                continue;
            }
            _ => continue,
        };
        let kept = tools.entry(name.clone()).or_insert(Kept { effect, asks, labels });
        kept.effect = effect;
        kept.asks |= asks;
        kept.labels.untrusted |= labels.untrusted;
        kept.labels.private |= labels.private;
        kept.labels.outward |= labels.outward;
    }
    tools.retain(|name, _| !OF_CONTEXT.contains(&name.as_str()));
    let delegates = tools.extract_if(.., |name, _| is_delegate(name)).map(|(name, _)| name).collect();
    (delegates, tools)
}

/// Whether somebody else than the engine brought it.
fn comes_from_outside(event: &Event, status: Status) -> bool {
    match event {
        // The policy denies by itself what would tell the outside.
        Event::ApprovalDenied { by, .. } => by != "policy",
        Event::ApprovalGiven { .. }
        | Event::InputGiven { .. }
        | Event::InputDeclined { .. }
        | Event::PlanApproved { .. }
        | Event::PlanDenied { .. }
        | Event::MessageReceived { .. }
        | Event::CheckDecided { .. }
        | Event::Prioritized { .. }
        | Event::BudgetRaised { .. }
        | Event::Restored { .. }
        | Event::Cancelled { .. }
        | Event::Resumed { .. }
        | Event::ChildEnded { .. }
        | Event::ToolAccepted { .. }
        | Event::FactPinned { step: None, .. }
        | Event::CheckpointTaken { by: Some(_), .. } => true,
        Event::OutcomeDecided { by, .. } => !by.starts_with("reconcile:"),
        Event::Paused { pause, .. } => matches!(pause.reason, PauseReason::User | PauseReason::Parent),
        Event::StepSkipped { .. } | Event::Failed { .. } => status == Status::Paused,
        Event::StepFailed { fault, .. } => status == Status::Paused && fault.code == "given_up",
        _ => false,
    }
}

/// Whether it may be part of what somebody decided.
fn may_go_along(event: &Event) -> bool {
    matches!(event, Event::StepFailed { .. } | Event::StepSkipped { .. } | Event::Failed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{BlobHash, Payload, Reserve, Timestamp, Usage};

    fn asked(call: u32, attempt: u32) -> Event {
        Event::ModelRequested {
            step: 0,
            call,
            attempt,
            model: "scripted/x".parse().unwrap(),
            base: None,
            heard: None,
            shows: None,
            parts: Vec::new(),
            prompt: None,
            reserve: Reserve::default(),
        }
    }

    fn lost(call: u32) -> Event {
        Event::CallLost { step: 0, call, detail: String::new() }
    }

    fn folded() -> Event {
        Event::ConversationSummarized {
            step: 0,
            from: 1,
            through: 2,
            summary: Payload::text("s"),
            by: "truncation".into(),
            prompt: String::new(),
            input: BlobHash::of(b""),
            tokens_before: 2,
            tokens_after: 1,
            usage: Usage::default(),
        }
    }

    fn elsewhere() -> Event {
        Event::Claimed { worker: "w".into(), crashes: 1 }
    }

    #[test]
    fn what_was_folded_for_an_attempt_that_was_lost_goes_by_that_one() {
        let brought =
            || Event::ToolReturned { step: 0, call: 2, result: Payload::text("r"), is_error: false };
        for (events, at, expected) in [
            (vec![brought(), folded(), asked(3, 1)], 2, 2),
            (vec![brought(), folded(), asked(3, 1), elsewhere(), lost(3), asked(3, 2)], 5, 2),
            (vec![brought(), asked(3, 1), elsewhere(), lost(3), folded(), asked(3, 2)], 5, 5),
            (vec![brought(), asked(3, 1), elsewhere(), lost(3), asked(3, 2)], 4, 4),
            (vec![folded(), asked(1, 1), brought(), asked(3, 1), lost(3), asked(3, 2)], 5, 5),
        ] {
            let entry = |(seq, event): (i64, Event)| Entry { seq, epoch: 1, at: Timestamp::default(), event };
            let journal = (1..).zip(events).map(entry).collect();
            let script = Script { journal, ..Script::default() };
            assert_eq!(script.folded_for(at), expected, "{:#?}", script.journal);
        }
    }
}
