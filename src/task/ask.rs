//! What a task asks people, and how their answers change it.
//!
//! A call that needs approval, and a question to a person, are calls that were not dispatched:
//! `asked → approved → dispatched`, `asked → denied`, `asked → committed` (a question's answer).
//! An approval holds for one call with one set of arguments, and one dispatch uses it up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::apply::Verdict;
use super::{
    Call, CallState, CallSubject, Effect, Entry, Event, Labels, Noticed, OnExpiry, PauseReason, Payload,
    Step, StepStatus, Task, Timestamp, ToolNotice,
};

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AskKind {
    /// Somebody's approval.
    Approval,
    /// Somebody's answer.
    Input,
    /// Somebody's look at a tool that has changed.
    Change,
}

/// An open request to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What is asked for.
    pub kind: AskKind,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
    /// What happens then.
    pub on_expiry: OnExpiry,
}

/// How many requests of a task are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asking {
    /// At least 1.
    pub open: u32,
    /// When the first of them expires.
    pub expires_at: Timestamp,
}

/// A plan that waits for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanAsk {
    /// Which revision.
    pub revision: u32,
    /// Until when it can be approved.
    pub expires_at: Timestamp,
}

impl Task {
    /// The calls that wait for a person: the step's index, the call, and what it waits for.
    pub fn asks(&self) -> impl Iterator<Item = (u32, &Call, Ask)> {
        let open = self.frontier().iter().filter_map(|index| Some((*index, self.step(*index)?)));
        open.filter(|(_, step)| step.status == StepStatus::Running).flat_map(|(index, step)| {
            step.calls.iter().filter_map(move |call| match call.state {
                CallState::Asked(ask) => Some((index, call, ask)),
                _ => None,
            })
        })
    }

    /// The calls of which nobody knows whether they took effect: the step's index, and the call.
    pub fn unknown_calls(&self) -> impl Iterator<Item = (u32, &Call)> {
        let open = self.frontier().iter().filter_map(|index| Some((*index, self.step(*index)?)));
        open.flat_map(|(index, step)| {
            let unknown = step.calls.iter().filter(|call| call.state == CallState::Unknown);
            unknown.map(move |call| (index, call))
        })
    }

    /// Asks about the next call, once a person has said how the one ended that the task was paused for.
    pub(super) fn ask_about_the_next(&mut self, event: &Event) {
        if !matches!(
            event,
            Event::OutcomeDecided { .. } | Event::StepSkipped { .. } | Event::StepFailed { .. }
        ) {
            return;
        }
        let next = self.unknown_calls().next();
        let question = next.map(|(step, call)| outcome_question(step, call, &what_of(call)));
        let pause = self.state.pause.as_mut().filter(|pause| pause.reason == PauseReason::UnknownOutcome);
        if let (Some(pause), Some(question)) = (pause, question) {
            pause.detail = question;
        }
    }

    /// The plan that waits for approval, if it does.
    pub fn plan_ask(&self) -> Option<PlanAsk> {
        self.state().plan_ask
    }

    /// For what the task has to be paused if nothing else can go on: the oldest request of the
    /// first step that has one.
    pub fn pause_for_people(&self) -> Option<PauseReason> {
        if self.plan_ask().is_some() {
            return Some(PauseReason::Approval);
        }
        self.asks().next().map(|(_, _, ask)| match ask.kind {
            AskKind::Approval => PauseReason::Approval,
            AskKind::Input => PauseReason::Input,
            AskKind::Change => PauseReason::ToolChanged,
        })
    }

    /// Whether the step waits for a person.
    pub fn is_asking(&self, index: u32) -> bool {
        self.step(index).is_some_and(super::Step::is_asking)
    }

    pub(super) fn ask_event(&mut self, event: &Event, entry: &Entry) -> Verdict {
        match event {
            Event::ApprovalRequested { .. } | Event::InputRequested { .. } | Event::ToolChanged(_) => {
                self.asked(event, entry)
            }
            Event::ApprovalGiven { step, call, arguments, .. } => {
                self.asked_call(*step, *call, &[AskKind::Approval])?.approve(arguments.as_ref());
                Ok(())
            }
            Event::ToolAccepted { step, call, .. } => {
                let call = self.asked_call(*step, *call, &[AskKind::Change])?;
                (call.state, call.change) = (CallState::Accepted, None);
                Ok(())
            }
            Event::ApprovalDenied { step, call, reason, by } => {
                self.asked_call(*step, *call, &[AskKind::Approval, AskKind::Change])?.deny(by, reason);
                Ok(())
            }
            Event::InputGiven { step, call, answer, .. } => {
                self.asked_call(*step, *call, &[AskKind::Input])?.returned(answer, entry.seq);
                Ok(())
            }
            Event::InputDeclined { step, call, reason, by } => {
                self.asked_call(*step, *call, &[AskKind::Input])?.deny(by, reason);
                Ok(())
            }
            other => Err(format!("'{}' is no request to a person", other.kind())),
        }
    }

    fn asked(&mut self, event: &Event, entry: &Entry) -> Verdict {
        let (step, number, attempt, subject, ask) = request(event)?;
        let change = match event {
            Event::ToolChanged(notice) => {
                Some(Box::new(Noticed { change: notice.change.clone(), seq: entry.seq }))
            }
            _ => None,
        };
        let because = match event {
            Event::ApprovalRequested { because, .. } => because.clone(),
            _ => None,
        };
        let call = Call::new(number, attempt, subject, entry.at);
        let call = Call { state: CallState::Asked(ask), change, because, ..call };
        self.calling_step(step)?.begin_call(call).map_err(|why| format!("step {step}: {why}"))
    }

    fn asked_call(&mut self, step: u32, number: u32, kinds: &[AskKind]) -> Result<&mut Call, String> {
        // A step that is over asks nothing any more.
        let step = self.running_step(step)?;
        let call = step.call_mut(number)?;
        match call.state {
            CallState::Asked(ask) if kinds.contains(&ask.kind) => Ok(call),
            _ => Err(format!("call {number} is {}", call.state.as_str())),
        }
    }

    pub(super) fn plan_decided(&mut self, revision: u32) -> Verdict {
        match self.state.plan_ask {
            Some(ask) if ask.revision == revision => {
                self.state.plan_ask = None;
                Ok(())
            }
            _ => Err(format!("revision {revision} of the plan does not wait for approval")),
        }
    }

    /// Counts the open requests anew. Costs nothing for tasks that never asked.
    pub(super) fn count_asks(&mut self, event: &Event) {
        // A step that failed while it asked, and is begun again, asks again.
        let asks_again = match event {
            Event::StepStarted { step, .. } => self.step(*step).is_some_and(Step::is_asking),
            _ => false,
        };
        if self.state.asking.is_none() && !event.is_request_to_people() && !asks_again {
            return;
        }
        let expiries = self.asks().map(|(_, _, ask)| ask.expires_at);
        let all: Vec<Timestamp> = expiries.chain(self.plan_ask().map(|ask| ask.expires_at)).collect();
        self.state.asking =
            all.iter().min().map(|first| Asking { open: all.len() as u32, expires_at: *first });
    }
}

/// What is asked about a call of which nobody knows whether it took effect.
pub fn outcome_question(step: u32, call: &Call, why: &str) -> String {
    format!(
        "call {} of step {} may or may not have taken effect: {why}. Say how it ended: it happened (with its \
         result), it did not happen, skip the step, or fail it",
        call.number,
        step + 1
    )
}

fn what_of(call: &Call) -> String {
    match &call.subject {
        CallSubject::Tool { tool, arguments, .. } => {
            format!("{tool} was called with {}", arguments.preview())
        }
        CallSubject::Model { model, .. } => format!("{model} was asked"),
    }
}

/// The parts of a request: step, call, attempt, what is to be called, and what is asked.
fn request(event: &Event) -> Result<(u32, u32, u32, CallSubject, Ask), String> {
    match event {
        Event::ApprovalRequested {
            step,
            call,
            attempt,
            tool,
            arguments,
            effect,
            request_id,
            expires_at,
            on_expiry,
            ..
        } => {
            let subject = subject(tool, arguments, *effect, request_id.as_ref());
            let ask = Ask { kind: AskKind::Approval, expires_at: *expires_at, on_expiry: *on_expiry };
            Ok((*step, *call, *attempt, subject, ask))
        }
        Event::InputRequested { step, call, attempt, tool, arguments, request_id, expires_at, on_expiry } => {
            let subject = subject(tool, arguments, Effect::ReadOnly, request_id.as_ref());
            let ask = Ask { kind: AskKind::Input, expires_at: *expires_at, on_expiry: *on_expiry };
            Ok((*step, *call, *attempt, subject, ask))
        }
        Event::ToolChanged(notice) => {
            let ToolNotice { tool, arguments, effect, request_id, expires_at, on_expiry, .. } =
                notice.as_ref();
            let subject = subject(tool, arguments, *effect, request_id.as_ref());
            let ask = Ask { kind: AskKind::Change, expires_at: *expires_at, on_expiry: *on_expiry };
            Ok((notice.step, notice.call, notice.attempt, subject, ask))
        }
        other => Err(format!("'{}' is no request to a person", other.kind())),
    }
}

fn subject(tool: &str, arguments: &Payload, effect: Effect, request_id: Option<&String>) -> CallSubject {
    CallSubject::Tool {
        tool: tool.to_owned(),
        arguments: arguments.clone(),
        effect,
        labels: Labels::default(),
        request_id: request_id.cloned(),
    }
}

impl Call {
    fn approve(&mut self, edited: Option<&Payload>) {
        if let (CallSubject::Tool { arguments, .. }, Some(edited)) = (&mut self.subject, edited) {
            *arguments = edited.clone();
            self.is_edited = true;
        }
        self.state = CallState::Approved;
        self.is_approved = true;
    }

    fn deny(&mut self, by: &str, reason: &str) {
        let because = if reason.trim().is_empty() { String::new() } else { format!(": {reason}") };
        self.state = CallState::Denied(format!("denied by {by}{because}"));
    }

    /// Whether an approval allows to dispatch exactly this: the same tool and the same arguments,
    /// once. A repeatable call keeps its approval over its attempts, which share one key.
    pub(super) fn is_covered(&self, next: &CallSubject, attempt: u32) -> Verdict {
        let known = match (&self.subject, next) {
            (
                CallSubject::Tool { tool, arguments, .. },
                CallSubject::Tool { tool: next_tool, arguments: next_arguments, .. },
            ) => tool == next_tool && arguments.hash() == next_arguments.hash(),
            _ => false,
        };
        if !known {
            return Err(format!("call {} was approved with other arguments", self.number));
        }
        let is_first = self.state == CallState::Approved && attempt == self.attempt;
        let is_repeat = attempt == self.attempt + 1 && self.may_be_dispatched_again() && self.may_repeat();
        if is_first || is_repeat {
            return Ok(());
        }
        Err(format!("the approval of call {} is used up", self.number))
    }
}
