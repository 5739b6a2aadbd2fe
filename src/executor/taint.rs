//! Calls that would tell the outside what a task has read, or be given a secret because of it.

use super::calls::Dispatch;
use super::{Attempt, Stop, recollection};
use crate::task::{Event, Labels, Source, WhenTainted, secrets_in};
use crate::tools::ToolDescription;

/// Who denies calls by the policy.
const POLICY: &str = "policy";

impl Attempt {
    /// What is known of a tool besides its effect. The tools of the context reach nothing else, and bring
    /// back what the task has read.
    pub(super) fn labels(&self, known: &ToolDescription) -> Labels {
        match recollection::is_of_context(known) {
            true => Labels { untrusted: self.taint.untrusted.is_some(), ..Labels::default() },
            false => self.orchestrator.tools().labels(known),
        }
    }

    /// The same for one call: what a person named may be fetched.
    pub(super) async fn labels_of_call(
        &self,
        known: &ToolDescription,
        dispatch: &Dispatch,
    ) -> Result<Labels, Stop> {
        let tools = self.orchestrator.tools();
        let secret = self.is_secret_of_a_model(dispatch).await?;
        let labels = Labels { secret, ..self.labels(known) };
        let arguments = &dispatch.arguments;
        let is_held_back = self.taint.holds_back(labels, &self.spec.approval);
        if !is_held_back || !tools.may_be_named(known, arguments) {
            return Ok(labels);
        }
        let said = self.orchestrator.said_by_people(self.task_id).await?;
        Ok(Labels { secret, ..tools.labels_of_call(known, arguments, &said) })
    }

    /// Whether a model wrote arguments that refer to a secret: in a conversation, or in a plan that was made
    /// when the task had read something untrusted already.
    async fn is_secret_of_a_model(&self, dispatch: &Dispatch) -> Result<bool, Stop> {
        if secrets_in(&dispatch.arguments).is_empty() {
            return Ok(false);
        }
        if dispatch.request_id.is_some() || self.taint.untrusted.is_none() {
            return Ok(dispatch.request_id.is_some());
        }
        Ok(self.orchestrator.is_made_of_what_was_read(self.task_id, self.step.revision).await?)
    }

    /// Whether a call is held back because of what the task has read.
    pub(super) async fn is_held_back(
        &self,
        known: &ToolDescription,
        dispatch: &Dispatch,
    ) -> Result<bool, Stop> {
        let labels = self.labels_of_call(known, dispatch).await?;
        Ok(self.taint.holds_back(labels, &self.spec.approval))
    }

    /// Asks a person whether the call may be made, or says in the policy's name that it may not: then the
    /// step goes on as if a person had denied it.
    pub(super) fn hold_back(&mut self, known: &ToolDescription, dispatch: Dispatch) -> Stop {
        let (step, call) = (self.index, dispatch.number);
        let reason = self.taint.reason(&dispatch.arguments);
        self.ask_for_approval(known, dispatch, Some(Box::new(self.taint.clone())));
        if self.spec.approval.when_tainted == WhenTainted::Deny {
            let by = POLICY.to_owned();
            self.journal.note(Event::ApprovalDenied { step, call, reason, by });
        }
        Stop::Asking
    }

    /// Takes what steps beside this one have read meanwhile into account.
    pub(super) async fn learn_what_was_read(&mut self) -> Result<(), Stop> {
        self.taint.add(&self.orchestrator.taint_of(self.task_id).await?);
        Ok(())
    }

    /// Takes what an outcome brought into account for the calls that follow.
    pub(super) fn has_read(&mut self, tool: &str, labels: Labels, call: u32, is_result: bool) {
        let labels = Labels { private: labels.private && is_result, ..labels };
        let source = Source { tool: tool.to_owned(), step: self.index, call, task: None };
        self.taint.take(labels, &source);
    }
}
