//! What tasks ask people, in one place.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::frozen::ShownChange;
use super::unverified::checks_that_ask;
use super::{About, Orchestrator, OrchestratorError, RequestId};
use crate::repository::{ListFilter, Requests};
use crate::task::{AskKind, Call, CallState, CallSubject, Effect, Task, TaskId, Timestamp};

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
        self.requests_of(task, |_| true).await
    }

    /// Those of them whose id is wanted.
    pub(crate) async fn requests_of(
        &self,
        task: &Task,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<OpenRequest>, OrchestratorError> {
        let mut open: Vec<OpenRequest> = plan_request(task).into_iter().collect();
        for (step, call, kind, expires_at) in calls_that_ask(task) {
            let CallSubject::Tool { tool, arguments, effect, .. } = &call.subject else { continue };
            let about = about_call(step, call);
            if !is_wanted(&RequestId { task: task.id, about }.to_string()) {
                continue;
            }
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
        open.retain(|request| is_wanted(&request.id));
        Ok(open)
    }

    /// The ids of the open requests of one task.
    pub(crate) fn open_ids(&self, task: &Task) -> Vec<String> {
        let plan = task.plan_ask().map(|ask| About::Plan(ask.revision));
        let calls = calls_that_ask(task).map(|(step, call, ..)| about_call(step, call));
        let all = plan.into_iter().chain(calls).chain(checks_that_ask(task));
        all.map(|about| RequestId { task: task.id, about }.to_string()).collect()
    }
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

pub(super) fn words(kind: RequestKind) -> &'static [&'static str] {
    match kind {
        RequestKind::Approval => &["approve", "deny", "skip", "fail"],
        RequestKind::Input => &["answer", "deny", "skip", "fail"],
        RequestKind::Outcome => &["happened", "did_not_happen", "skip", "fail"],
        RequestKind::Plan => &["approve", "deny"],
        RequestKind::Check => &["accept", "retry", "fail"],
        RequestKind::Tool => &["accept", "deny", "skip", "fail"],
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
