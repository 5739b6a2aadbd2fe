//! A person's word about a call of which nobody knows whether it took effect. It counts for one call,
//! the one that is named or the only one there is: what is said of one payment is not true of another.

use std::time::Duration;

use serde_json::Value;

use super::inbox::about_call;
use super::lifecycle::expect;
use super::{About, Orchestrator, OrchestratorError, RequestId};
use crate::queue::Wake;
use crate::task::{Event, Fault, MAX_DEPTH, Payload, Status, Task, TaskId, is_too_deep};

/// What a person says about a call whose outcome nobody knows.
#[derive(Debug, Clone, PartialEq)]
pub enum OutcomeDecision {
    /// It took effect, with this result.
    Happened(Value),
    /// It did not take effect: run it again.
    DidNotHappen,
    /// Go on without the step.
    Skip,
    /// Give up the step.
    Fail,
}

impl Orchestrator {
    /// Ends the doubt about a call: the one that is named, or the only one there is. The task goes on
    /// once there is no other. Returns for which call the word was.
    ///
    /// # Errors
    /// [`OrchestratorError::Ambiguous`] if there are several and none is named, and
    /// [`OrchestratorError::Closed`] if nobody asks about the named one (any more).
    pub async fn decide_outcome(
        &self,
        id: TaskId,
        request: Option<RequestId>,
        decision: OutcomeDecision,
        by: &str,
    ) -> Result<(Task, RequestId), OrchestratorError> {
        if matches!(&decision, OutcomeDecision::Happened(result) if is_too_deep(result)) {
            let problem = format!("the result is nested deeper than {MAX_DEPTH} levels");
            return Err(OrchestratorError::Invalid { field: "outcome", problem });
        }
        let meant = match request {
            Some(request) if request.task != id => {
                let problem = format!("is a request of another task ({})", request.task);
                return Err(OrchestratorError::Invalid { field: "request", problem });
            }
            Some(request) => request,
            None => self.only_doubt(id).await?,
        };
        let task = self
            .record(id, |task| {
                expect(task, "resume", &[Status::Paused])?;
                let open = requests_about_outcomes(task);
                let About::Call { step, call, .. } = meant.about else {
                    return Err(OrchestratorError::Closed);
                };
                if !open.contains(&meant) {
                    return Err(OrchestratorError::Closed);
                }
                let mut events = decided(step, call, &decision, by);
                if !stays_in_doubt(task, &events) {
                    events.push(Event::Resumed { by: by.to_owned() });
                }
                Ok(events)
            })
            .await?;
        if task.status().is_live() {
            self.wake(Wake::again(&task, Duration::ZERO)).await;
        }
        Ok((task, meant))
    }

    /// The one call that a word without a name can be about. Looked up before anything is written: a word
    /// that is tried again is about no other call than at first.
    async fn only_doubt(&self, id: TaskId) -> Result<RequestId, OrchestratorError> {
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        expect(&task, "resume", &[Status::Paused])?;
        match requests_about_outcomes(&task).as_slice() {
            [only] => Ok(*only),
            [] => {
                let problem = "no call of this task has an unknown outcome".to_owned();
                Err(OrchestratorError::Invalid { field: "outcome", problem })
            }
            several => Err(OrchestratorError::Ambiguous(several.iter().map(ToString::to_string).collect())),
        }
    }
}

/// What a task asks people about calls of which nobody knows whether they took effect.
pub fn requests_about_outcomes(task: &Task) -> Vec<RequestId> {
    let asked = task.unknown_calls();
    asked.map(|(step, call)| RequestId { task: task.id, about: about_call(step, call) }).collect()
}

/// The first call whose outcome nobody knows: its step and its number.
pub(super) fn unknown_call(task: &Task) -> Option<(u32, u32)> {
    task.unknown_calls().next().map(|(step, call)| (step, call.number))
}

/// Whether the outcome of some call is still unknown once this has happened: the task stays paused then,
/// and the inbox goes on asking.
pub(super) fn stays_in_doubt(task: &Task, events: &[Event]) -> bool {
    let settles = |event: &Event, index: u32, number: u32| match event {
        Event::OutcomeDecided { step, call, .. } => (*step, *call) == (index, number),
        Event::StepSkipped { step, .. } | Event::StepFailed { step, .. } => *step == index,
        _ => false,
    };
    task.unknown_calls().any(|(index, call)| !events.iter().any(|event| settles(event, index, call.number)))
}

pub(super) fn decided(step: u32, call: u32, decision: &OutcomeDecision, by: &str) -> Vec<Event> {
    let by = by.to_owned();
    match decision {
        OutcomeDecision::Happened(result) => {
            vec![Event::OutcomeDecided { step, call, result: Some(Payload::Inline(result.clone())), by }]
        }
        OutcomeDecision::DidNotHappen => vec![Event::OutcomeDecided { step, call, result: None, by }],
        OutcomeDecision::Skip => {
            vec![Event::StepSkipped { step, reason: format!("{by} goes on without it") }]
        }
        OutcomeDecision::Fail => {
            let fault =
                Fault::permanent("given_up", format!("{by} gave the step up: its outcome is not known"));
            vec![Event::StepFailed { step, fault, retry_at: None }]
        }
    }
}
