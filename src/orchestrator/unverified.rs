//! Steps whose output did not pass its checks, when nothing is left to try: a person says whether it
//! will do.

use serde_json::json;

use super::answers::unfit;
use super::inbox::request;
use super::{About, Decision, OpenRequest, Orchestrator, OrchestratorError, OutcomeDecision, RequestKind};
use crate::task::{Event, Fault, PauseReason, Payload, Task, TaskId, UNVERIFIED};

impl Orchestrator {
    /// What a task asks about steps that did not pass their checks. It asks only once it rests for
    /// that: before, the plan may still be revised.
    pub(super) async fn check_requests(&self, task: &Task) -> Result<Vec<OpenRequest>, OrchestratorError> {
        let mut open = Vec::new();
        for index in asked(task) {
            let Some(step) = task.step(index) else { continue };
            let output = match &step.output {
                Some(Payload::Blob { preview, .. }) => Some(json!(preview)),
                Some(small) => Some(self.repository.content(small).await?),
                None => None,
            };
            let checks: Vec<_> = task.evidence().into_iter().filter(|made| made.step == index).collect();
            let about = About::Check { step: index, attempt: step.attempts };
            let asked_at = step.completed_at.unwrap_or(task.state().updated_at);
            open.push(OpenRequest {
                step: Some(index),
                description: step.plan.description.clone(),
                arguments: Some(json!({"output": output, "checks": checks})),
                ..request(task, about, RequestKind::Check, asked_at, None)
            });
        }
        Ok(open)
    }

    /// The evidence that an entry holds, if it is a verdict.
    pub async fn evidence(
        &self,
        id: TaskId,
        seq: i64,
    ) -> Result<Option<serde_json::Value>, OrchestratorError> {
        let entries = self.repository.journal(id, seq - 1, 1).await?;
        match entries.first().map(|entry| &entry.event) {
            Some(Event::StepVerified { evidence, .. }) => Ok(Some(self.repository.content(evidence).await?)),
            _ => Ok(None),
        }
    }
}

/// About what a task asks, of the steps that did not pass their checks.
pub(super) fn checks_that_ask(task: &Task) -> impl Iterator<Item = About> {
    let steps = asked(task).into_iter();
    steps.filter_map(|step| Some(About::Check { step, attempt: task.step(step)?.attempts }))
}

fn asked(task: &Task) -> Vec<u32> {
    let waits = task.state().pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Unverified);
    if waits { task.unverified() } else { Vec::new() }
}

/// The facts that an answer brings, if it is still asked for.
pub(super) fn check_answer(
    task: &Task,
    step: u32,
    attempt: u32,
    decision: &Decision,
    by: &str,
) -> Result<Vec<Event>, OrchestratorError> {
    let is_open = asked(task).contains(&step) && task.step(step).is_some_and(|step| step.attempts == attempt);
    if !is_open {
        return Err(OrchestratorError::Closed);
    }
    match decision {
        Decision::Check(decision) => {
            Ok(vec![Event::CheckDecided { step, decision: *decision, by: by.to_owned() }])
        }
        Decision::Outcome(OutcomeDecision::Fail) => {
            let message = format!("{by} does not accept what step {} brought", step + 1);
            Ok(vec![Event::Failed { fault: Fault::permanent(UNVERIFIED, message) }])
        }
        _ => Err(unfit(RequestKind::Check)),
    }
}
