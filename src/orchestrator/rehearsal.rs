//! What is known beforehand where the engine carries a recorded task out again: of what the engine finds
//! out by itself, the parts that do not follow from the journal of that task alone.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::Orchestrator;
use crate::task::{Budget, CallAt, Event, Exceeded, Resource, ToolChange};

/// Who knows what is recorded.
#[async_trait]
pub(crate) trait Rehearsal: Send + Sync {
    /// What is recorded of a tool whose calls tasks of their own carry out, if it is one; of one call,
    /// where `at` names it. Those tasks have recordings of their own, and are not created.
    fn delegate(&self, name: &str, at: Option<CallAt>) -> Option<RecordedDelegate>;

    /// A call is handed over to a task of its own.
    fn handed_over(&self, at: CallAt, arguments: &Value);

    /// What had become of the tool of a call by then, if it was another one than when the plan was made.
    fn change(&self, at: CallAt, attempt: u32) -> Option<ToolChange>;

    /// Whether the next attempt of a call was not sent, because its arguments did not fit.
    fn did_not_fit(&self, at: CallAt) -> bool;

    /// Those of the steps that begin now, in the order in which they do: the others wait for what comes first.
    fn begins(&self, steps: Vec<u32>) -> Vec<u32>;

    /// Whether what comes next is of this step.
    fn is_turn(&self, step: u32) -> bool;

    /// Waits until it is. False if the task rests first.
    async fn turn(&self, step: u32) -> bool;

    /// Whether the outcome of a call that is made now comes next.
    fn is_outcome_due(&self, at: CallAt) -> bool;

    /// Whether the task rests before anybody says something.
    fn may_rest(&self) -> bool;

    /// The limit of the budget that stood in the way of a call. How much the calls beside it had used when it
    /// was to be made is not recorded; what came of it is.
    fn no_room(&self, at: CallAt) -> Option<Exceeded>;

    /// The limit that was nearly used up when a model was asked, with the share in percent, if it was told.
    fn warned(&self, at: CallAt) -> Option<(Resource, u64)>;

    /// The engine noted this.
    fn noted(&self, event: &Event);

    /// All that was noted is written.
    fn written(&self);
}

/// What is recorded of a call that a task of its own carried out, or was to.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedDelegate {
    /// What was set aside for it.
    pub(crate) grant: Budget,
    /// Why there was no task for it.
    pub(crate) problem: Option<String>,
}

impl Orchestrator {
    /// The same brain for a task that was carried out before.
    pub(crate) fn rehearsing(self, rehearsal: Arc<dyn Rehearsal>) -> Self {
        Self { rehearsal: Some(rehearsal), ..self }
    }

    /// What is known beforehand, if anything is.
    pub(crate) fn rehearsal(&self) -> Option<&Arc<dyn Rehearsal>> {
        self.rehearsal.as_ref()
    }
}
