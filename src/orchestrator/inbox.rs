//! What tasks ask people, in one place, and what people answer.
//!
//! A request has an id that names the task, the step, the call and its attempt, so that a word
//! about one request never counts for another. It is answered once.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::context::pin_in;
use super::frozen::ShownChange;
use super::lifecycle::{expect, waits_for_people};
use super::outcome::{decided, stays_in_doubt};
use super::unverified::check_answer;
use super::{Orchestrator, OrchestratorError, OutcomeDecision};
use crate::queue::Wake;
use crate::repository::{ListFilter, Requests};
use crate::task::{
    AskKind, Call, CallState, CallSubject, CheckDecision, Effect, Event, Fault, MAX_DEPTH, PauseReason,
    Payload, Status, Task, TaskId, Timestamp, is_too_deep,
};
use crate::tools::answer_problem;

/// Longest reason and message, in bytes. Longer material belongs into a file that is named.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Names one request to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Which task asks.
    pub task: TaskId,
    /// About what.
    pub about: About,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A call of a step.
    Call {
        /// The step's index.
        step: u32,
        /// The call's number within it.
        call: u32,
        /// Its attempt.
        attempt: u32,
    },
    /// A tool that has changed since the plan was made.
    Tool {
        /// The index of the step that calls it.
        step: u32,
        /// The number of the call that waits.
        call: u32,
        /// The entry that tells what became of it.
        entry: i64,
    },
    /// What a step brought, which did not pass its checks.
    Check {
        /// The step's index.
        step: u32,
        /// Its attempt.
        attempt: u32,
    },
    /// A revision of the plan.
    Plan(u32),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about {
            About::Call { step, call, attempt } => write!(f, "{}.{step}.{call}.{attempt}", self.task),
            About::Tool { step, call, entry } => write!(f, "{}.tool.{step}.{call}.{entry}", self.task),
            About::Check { step, attempt } => write!(f, "{}.check.{step}.{attempt}", self.task),
            About::Plan(revision) => write!(f, "{}.plan.{revision}", self.task),
        }
    }
}

impl FromStr for RequestId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "is not the id of a request: ids look like TASK.STEP.CALL.ATTEMPT, TASK.plan.REVISION, \
            TASK.check.STEP.ATTEMPT or TASK.tool.STEP.CALL.ENTRY";
        let parts: Vec<&str> = text.split('.').collect();
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong);
        let task = |text: &str| text.parse::<TaskId>().map_err(|_| wrong);
        match parts.as_slice() {
            [id, "plan", revision] => Ok(Self { task: task(id)?, about: About::Plan(number(revision)?) }),
            [id, "tool", step, call, entry] => {
                let entry = entry.parse().map_err(|_| wrong)?;
                let about = About::Tool { step: number(step)?, call: number(call)?, entry };
                Ok(Self { task: task(id)?, about })
            }
            [id, "check", step, attempt] => {
                let about = About::Check { step: number(step)?, attempt: number(attempt)? };
                Ok(Self { task: task(id)?, about })
            }
            [id, step, call, attempt] => {
                let about =
                    About::Call { step: number(step)?, call: number(call)?, attempt: number(attempt)? };
                Ok(Self { task: task(id)?, about })
            }
            _ => Err(wrong),
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// Whether a call may be dispatched.
    Approval,
    /// The answer to a question.
    Input,
    /// How a call ended whose outcome nobody knows.
    Outcome,
    /// Whether a revision of the plan may be carried out.
    Plan,
    /// Whether what a step brought will do although it did not pass its checks.
    Check,
    /// Whether a tool that has changed since the plan was made may be called as it is now.
    Tool,
}

/// An open request to people.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenRequest {
    /// Its id: see [`RequestId`].
    pub id: String,
    /// What it asks for.
    pub kind: RequestKind,
    /// Which task asks.
    pub task_id: TaskId,
    /// What that task is for.
    pub goal: String,
    /// The conversation it belongs to.
    pub thread_id: String,
    /// The step's index; none for a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// What the step is to do; for a plan, its steps.
    pub description: String,
    /// The call's number within the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u32>,
    /// The tool that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The exact arguments; for a question, the question and what an answer has to look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// What the call does to the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Why it is asked, if the call is held back for what the task has read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of the tool, if that is what is asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<ShownChange>,
    /// Since when it is open.
    pub asked_at: Timestamp,
    /// Until when it can be answered; none if it never expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The words that may answer it.
    pub decisions: &'static [&'static str],
}

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
    /// The open requests of a user's tasks, of the newest task first; of all users without one.
    /// Looks at no more than `limit` tasks.
    pub async fn inbox(&self, user: Option<&str>, limit: u32) -> Result<Vec<OpenRequest>, OrchestratorError> {
        let filter = ListFilter {
            user_id: user.map(str::to_owned),
            requests: Some(Requests::Open),
            limit,
            ..ListFilter::default()
        };
        let mut open = Vec::new();
        for summary in self.repository.list(&filter).await? {
            if let Some(task) = self.repository.load(summary.id).await? {
                open.extend(self.open_requests(&task).await?);
            }
        }
        Ok(open)
    }

    /// The open requests of one task.
    pub async fn open_requests(&self, task: &Task) -> Result<Vec<OpenRequest>, OrchestratorError> {
        let mut open: Vec<OpenRequest> = plan_request(task).into_iter().collect();
        for (step, call, kind, expires_at) in calls_that_ask(task) {
            let CallSubject::Tool { tool, arguments, effect, .. } = &call.subject else { continue };
            let about = about_call(step, call);
            let arguments = self.repository.content(arguments).await?;
            open.push(OpenRequest {
                step: Some(step),
                call: Some(call.number),
                tool: Some(tool.clone()),
                reason: call.because.as_ref().map(|because| because.reason(&arguments)),
                arguments: Some(arguments),
                effect: Some(*effect),
                change: self.shown_change(call).await?,
                description: task.step(step).map(|step| step.plan.description.clone()).unwrap_or_default(),
                ..request(task, about, kind, call.dispatched_at, expires_at)
            });
        }
        open.extend(self.check_requests(task).await?);
        Ok(open)
    }

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

    /// Sends a message to a task that has not ended. Models that work on it read it at their next
    /// turn, and so do all later steps; a paused task stays paused.
    pub async fn send_message(&self, id: TaskId, text: &str, by: &str) -> Result<Task, OrchestratorError> {
        let text = message_text(text)?;
        self.record(id, |task| {
            expect(task, "send a message to", &[Status::Pending, Status::Running, Status::Paused])?;
            let by = by.to_owned();
            let pinned = pin_in(&text).map(|fact| Event::FactPinned {
                step: None,
                text: Payload::text(fact),
                by: by.clone(),
            });
            let received = Event::MessageReceived { text: Payload::text(&text), by };
            Ok(std::iter::once(received).chain(pinned).collect())
        })
        .await
    }

    /// The text of a message that a task received, by the number of its entry.
    pub async fn message(&self, id: TaskId, seq: i64) -> Result<Option<String>, OrchestratorError> {
        let entries = self.repository.journal(id, seq - 1, 1).await?;
        match entries.first().map(|entry| &entry.event) {
            Some(Event::MessageReceived { text, .. } | Event::Restored { notice: text, .. }) => {
                Ok(Some(self.text_of(text).await?))
            }
            _ => Ok(None),
        }
    }
}

/// A message as it is recorded.
pub(super) fn message_text(text: &str) -> Result<String, OrchestratorError> {
    let text = text.trim();
    if text.is_empty() {
        let problem = "is empty: write what the task should know".to_owned();
        return Err(OrchestratorError::Invalid { field: "text", problem });
    }
    check_text("text", text)?;
    Ok(text.replace('\0', "\u{fffd}"))
}

fn check_text(field: &'static str, text: &str) -> Result<(), OrchestratorError> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let problem = format!("has {} bytes, at most {MAX_TEXT_BYTES} are allowed", text.len());
    Err(OrchestratorError::Invalid { field, problem })
}

/// The calls that wait for a person, whatever for.
fn calls_that_ask(task: &Task) -> impl Iterator<Item = (u32, &Call, RequestKind, Option<Timestamp>)> {
    let open = task.frontier().iter().filter_map(|index| Some((*index, task.step(*index)?)));
    open.flat_map(|(index, step)| {
        step.calls.iter().filter_map(move |call| match call.state {
            CallState::Asked(ask) => {
                let kind = match ask.kind {
                    AskKind::Approval => RequestKind::Approval,
                    AskKind::Input => RequestKind::Input,
                    AskKind::Change => RequestKind::Tool,
                };
                Some((index, call, kind, Some(ask.expires_at)))
            }
            CallState::Unknown => Some((index, call, RequestKind::Outcome, None)),
            _ => None,
        })
    })
}

fn plan_request(task: &Task) -> Option<OpenRequest> {
    let ask = task.plan_ask()?;
    // Of a revision one wants to know what it does without, too.
    let lines = task.steps().iter().filter_map(|step| {
        let (brought, dropped) =
            (step.revision == ask.revision, step.replaced && step.revision + 1 == ask.revision);
        match (brought, dropped) {
            (true, _) if ask.revision > 1 => Some(format!("+ {}", step.plan.description)),
            (true, _) => Some(step.plan.description.clone()),
            (_, true) => Some(format!("- {}", step.plan.description)),
            _ => None,
        }
    });
    let lines: Vec<String> = lines.collect();
    let plans =
        json!(task.steps().iter().filter(|step| !step.replaced).map(|step| &step.plan).collect::<Vec<_>>());
    Some(OpenRequest {
        description: lines.join("\n"),
        arguments: Some(plans),
        ..request(
            task,
            About::Plan(ask.revision),
            RequestKind::Plan,
            task.state().updated_at,
            Some(ask.expires_at),
        )
    })
}

pub(super) fn request(
    task: &Task,
    about: About,
    kind: RequestKind,
    asked_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> OpenRequest {
    OpenRequest {
        id: RequestId { task: task.id, about }.to_string(),
        kind,
        task_id: task.id,
        goal: task.spec().goal.clone(),
        thread_id: task.spec().thread_id.clone(),
        step: None,
        description: String::new(),
        call: None,
        tool: None,
        arguments: None,
        effect: None,
        change: None,
        reason: None,
        asked_at,
        expires_at,
        decisions: words(kind),
    }
}

fn words(kind: RequestKind) -> &'static [&'static str] {
    match kind {
        RequestKind::Approval => &["approve", "deny", "skip", "fail"],
        RequestKind::Input => &["answer", "deny", "skip", "fail"],
        RequestKind::Outcome => &["happened", "did_not_happen", "skip", "fail"],
        RequestKind::Plan => &["approve", "deny"],
        RequestKind::Check => &["accept", "retry", "fail"],
        RequestKind::Tool => &["accept", "deny", "skip", "fail"],
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

/// By what a request about a call is known.
pub(super) fn about_call(step: u32, call: &Call) -> About {
    match &call.change {
        Some(noticed) => About::Tool { step, call: call.number, entry: noticed.seq },
        None => About::Call { step, call: call.number, attempt: call.attempt },
    }
}

/// What a call asks for, if it still does.
pub(super) fn open_kind(task: &Task, about: About, now: Timestamp) -> Result<RequestKind, OrchestratorError> {
    let mut asking = calls_that_ask(task);
    let (_, _, kind, expires_at) = asking
        .find(|(index, known, _, _)| about_call(*index, known) == about)
        .ok_or(OrchestratorError::Closed)?;
    let is_over = expires_at.is_some_and(|expires_at| expires_at <= now);
    if is_over { Err(OrchestratorError::Closed) } else { Ok(kind) }
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_of_requests_survive_the_text_form() {
        let task = TaskId(Uuid::now_v7());
        let call = About::Call { step: 0, call: 3, attempt: 1 };
        let tool = About::Tool { step: 4, call: 2, entry: 17 };
        for about in [About::Plan(2), call, tool, About::Check { step: 4, attempt: 2 }] {
            let id = RequestId { task, about };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "x.1.2.3", "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70.1.2", "a.plan.b"] {
            assert!(wrong.parse::<RequestId>().is_err(), "{wrong}");
        }
    }
}
