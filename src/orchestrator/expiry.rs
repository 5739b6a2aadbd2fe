//! What becomes of requests to people that nobody answered in time.

use std::time::Duration;

use super::answers::{denied, plan_denied};
use super::lifecycle::waits_for_people;
use super::{Orchestrator, OrchestratorError, RequestKind};
use crate::queue::Wake;
use crate::repository::{ListFilter, Requests};
use crate::task::{AskKind, Event, Fault, OnExpiry, Task, TaskId, Timestamp};

/// Who answers for those who did not answer in time.
pub(crate) const BY_EXPIRY: &str = "expiry";

/// Tasks that are looked at before the next ones are asked for.
const PAGE: u32 = 100;

impl Orchestrator {
    /// Does what was agreed for requests that nobody answered in time. Returns how many tasks
    /// that changed. Any number of processes may do this at once.
    ///
    /// A task that cannot be changed is passed over, and said to be: it would be the first one each time, and
    /// nothing behind it would ever expire.
    pub async fn expire_requests(&self) -> Result<u32, OrchestratorError> {
        let now = self.now();
        let mut filter =
            ListFilter { requests: Some(Requests::ExpiredBy(now)), limit: PAGE, ..ListFilter::default() };
        let mut changed = 0;
        loop {
            let page = self.repository.list(&filter).await?;
            for summary in &page {
                match self.expire_those_of(summary.id, now).await {
                    Ok(has_changed) => changed += u32::from(has_changed),
                    Err(error) => {
                        tracing::warn!(task = %summary.id, %error, "its request is not ended, trying again later");
                    }
                }
            }
            match page.last() {
                Some(last) if page.len() >= PAGE as usize => filter.before = Some(last.id),
                _ => return Ok(changed),
            }
        }
    }

    /// Whether that changed anything.
    async fn expire_those_of(&self, id: TaskId, now: Timestamp) -> Result<bool, OrchestratorError> {
        match self.record(id, |task| expired(task, now)).await {
            Ok(task) => {
                tracing::info!(task = %task.id, "a request to people has expired");
                if task.status().is_live() {
                    self.wake(Wake::again(&task, Duration::ZERO)).await;
                }
                self.after_end(&task).await;
                Ok(true)
            }
            // Somebody else was quicker.
            Err(OrchestratorError::Closed | OrchestratorError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The facts that the expiry of requests brings.
fn expired(task: &Task, now: Timestamp) -> Result<Vec<Event>, OrchestratorError> {
    const BY: &str = BY_EXPIRY;
    let mut events = Vec::new();
    let cancels = vec![Event::Cancelled { by: BY.to_owned() }];
    if let Some(ask) = task.plan_ask().filter(|ask| ask.expires_at <= now) {
        return Ok(match task.spec().approval.on_expiry {
            OnExpiry::Cancel => cancels,
            _ => plan_denied(ask.revision, &nobody(ask.expires_at), BY),
        });
    }
    for (step, call, ask) in task.asks().filter(|(_, _, ask)| ask.expires_at <= now) {
        let reason = nobody(ask.expires_at);
        let kind = if ask.kind == AskKind::Input { RequestKind::Input } else { RequestKind::Approval };
        if ask.on_expiry == OnExpiry::Cancel {
            return Ok(cancels);
        }
        events.push(denied(step, call.number, kind, &reason, BY));
        if ask.on_expiry == OnExpiry::Fail {
            let fault = Fault::permanent("approval_expired", reason);
            events.push(Event::StepFailed { step, fault, retry_at: None });
        }
    }
    if events.is_empty() {
        return Err(OrchestratorError::Closed);
    }
    if task.state().pause.as_ref().is_some_and(|pause| waits_for_people(pause.reason)) {
        events.push(Event::Resumed { by: BY.to_owned() });
    }
    Ok(events)
}

fn nobody(expires_at: Timestamp) -> String {
    format!("nobody answered until {expires_at}")
}
