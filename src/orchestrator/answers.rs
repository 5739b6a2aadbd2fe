//! What people answer to what tasks ask. A request is answered once.

use serde_json::Value;

use super::inbox::{open_kind, words};
use super::lifecycle::waits_for_people;
use super::messages::check_text;
use super::outcome::{decided, stays_in_doubt};
use super::unverified::check_answer;
use super::{About, Orchestrator, OrchestratorError, OutcomeDecision, RequestId, RequestKind};
use crate::queue::Wake;
use crate::task::{
    CallSubject, CheckDecision, Event, Fault, MAX_DEPTH, PauseReason, Payload, Task, Timestamp, is_too_deep,
};
use crate::tools::answer_problem;

/// What a person answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Do it, with these arguments if any are given.
    Approve(Option<Value>),
    /// Do not do it, or: I do not answer. With a reason, which may be empty.
    Deny(String),
    /// The answer to a question.
    Answer(Value),
    /// How a call ended; and, for every call, `skip` and `fail` its step.
    Outcome(OutcomeDecision),
    /// Whether a step will do that did not pass its checks; and, to accept, whether a tool will that
    /// has changed.
    Check(CheckDecision),
}

impl Orchestrator {
    /// Answers a request, once. The task goes on if it waited for that.
    ///
    /// # Errors
    /// [`OrchestratorError::Closed`] if it was answered, has expired or never was; and
    /// [`OrchestratorError::Invalid`] if the answer does not fit what was asked.
    pub async fn decide(
        &self,
        id: RequestId,
        decision: Decision,
        by: &str,
    ) -> Result<Task, OrchestratorError> {
        self.check(id, &decision).await?;
        let accepted = self.acceptance(id, &decision).await?;
        let now = self.now();
        let task = self
            .record(id.task, |task| {
                let mut events = match &accepted {
                    Some(tool) => vec![self.accepted(task, id.about, tool, by)?],
                    None => answer(task, id.about, &decision, by, now)?,
                };
                let waited = task.state().pause.as_ref().is_some_and(|pause| {
                    waits_for_people(pause.reason) || pause.reason == PauseReason::UnknownOutcome
                });
                let ends = matches!(events.last(), Some(Event::Failed { .. }));
                if waited && !ends && !stays_in_doubt(task, &events) {
                    events.push(Event::Resumed { by: by.to_owned() });
                }
                Ok(events)
            })
            .await?;
        if task.status().is_live() {
            self.wake(Wake::again(&task, std::time::Duration::ZERO)).await;
        }
        self.after_end(&task).await;
        Ok(task)
    }

    /// Whether the answer can be recorded and fits the question.
    async fn check(&self, id: RequestId, decision: &Decision) -> Result<(), OrchestratorError> {
        let invalid = |field, problem: String| OrchestratorError::Invalid { field, problem };
        match decision {
            Decision::Approve(Some(arguments)) if !arguments.is_object() => {
                return Err(invalid("arguments", "must be an object".into()));
            }
            Decision::Approve(Some(content))
            | Decision::Answer(content)
            | Decision::Outcome(OutcomeDecision::Happened(content))
                if is_too_deep(content) =>
            {
                return Err(invalid("decision", format!("is nested deeper than {MAX_DEPTH} levels")));
            }
            Decision::Deny(reason) => check_text("reason", reason)?,
            _ => {}
        }
        let About::Call { step, call, .. } = id.about else { return Ok(()) };
        if !matches!(decision, Decision::Answer(_) | Decision::Approve(Some(_))) {
            return Ok(());
        }
        let task = self.repository.load(id.task).await?.ok_or(OrchestratorError::NotFound)?;
        let asked = task.step(step).and_then(|step| step.call(call));
        let Some(CallSubject::Tool { tool, arguments, .. }) = asked.map(|call| &call.subject) else {
            return Err(OrchestratorError::Closed);
        };
        let (field, problem) = match decision {
            Decision::Answer(answer) => {
                ("answer", answer_problem(&self.repository.content(arguments).await?, answer))
            }
            Decision::Approve(Some(changed)) => {
                ("arguments", self.change_misfits(&task, tool, changed).await?)
            }
            _ => return Ok(()),
        };
        problem.map_or(Ok(()), |problem| Err(invalid(field, problem)))
    }
}

/// The facts that an answer brings, if the request is open.
fn answer(
    task: &Task,
    about: About,
    decision: &Decision,
    by: &str,
    now: Timestamp,
) -> Result<Vec<Event>, OrchestratorError> {
    match about {
        About::Plan(revision) => {
            let ask = task.plan_ask().filter(|ask| ask.revision == revision && now < ask.expires_at);
            ask.ok_or(OrchestratorError::Closed)?;
            plan_answer(revision, decision, by)
        }
        About::Check { step, attempt } => check_answer(task, step, attempt, decision, by),
        About::Call { step, call, .. } | About::Tool { step, call, .. } => {
            let kind = open_kind(task, about, now)?;
            call_answer(step, call, kind, decision, by)
        }
    }
}

fn plan_answer(revision: u32, decision: &Decision, by: &str) -> Result<Vec<Event>, OrchestratorError> {
    match decision {
        Decision::Approve(None) => Ok(vec![Event::PlanApproved { revision, by: by.to_owned() }]),
        Decision::Deny(reason) => Ok(plan_denied(revision, reason, by)),
        _ => Err(unfit(RequestKind::Plan)),
    }
}

pub(super) fn plan_denied(revision: u32, reason: &str, by: &str) -> Vec<Event> {
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let fault = Fault::permanent("plan_denied", format!("{by} denied the plan{because}"));
    let denied = Event::PlanDenied { revision, reason: reason.to_owned(), by: by.to_owned() };
    vec![denied, Event::Failed { fault }]
}

fn call_answer(
    step: u32,
    call: u32,
    kind: RequestKind,
    decision: &Decision,
    by: &str,
) -> Result<Vec<Event>, OrchestratorError> {
    let by_whom = by.to_owned();
    Ok(match (kind, decision) {
        (RequestKind::Approval, Decision::Approve(arguments)) => {
            let arguments = arguments.clone().map(Payload::Inline);
            vec![Event::ApprovalGiven { step, call, arguments, by: by_whom }]
        }
        (RequestKind::Approval | RequestKind::Input | RequestKind::Tool, Decision::Deny(reason)) => {
            vec![denied(step, call, kind, reason, by)]
        }
        (RequestKind::Input, Decision::Answer(answer)) => {
            vec![Event::InputGiven { step, call, answer: Payload::Inline(answer.clone()), by: by_whom }]
        }
        (RequestKind::Outcome, Decision::Outcome(outcome)) => decided(step, call, outcome, by),
        (_, Decision::Outcome(OutcomeDecision::Skip)) => decided(step, call, &OutcomeDecision::Skip, by),
        (_, Decision::Outcome(OutcomeDecision::Fail)) => {
            let fault = Fault::permanent("given_up", format!("{by} gave the step up"));
            vec![Event::StepFailed { step, fault, retry_at: None }]
        }
        _ => return Err(unfit(kind)),
    })
}

pub(super) fn denied(step: u32, call: u32, kind: RequestKind, reason: &str, by: &str) -> Event {
    let (reason, by) = (reason.to_owned(), by.to_owned());
    match kind {
        RequestKind::Input => Event::InputDeclined { step, call, reason, by },
        _ => Event::ApprovalDenied { step, call, reason, by },
    }
}

pub(super) fn unfit(kind: RequestKind) -> OrchestratorError {
    let problem = format!("this request is answered by one of {}", words(kind).join(", "));
    OrchestratorError::Invalid { field: "decision", problem }
}
