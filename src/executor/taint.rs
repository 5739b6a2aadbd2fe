//! Calls that would tell the outside what a task has read.

use serde_json::Value;

use super::calls::Dispatch;
use super::{Attempt, Stop, recollection};
use crate::task::{Event, Labels, Source, WhenTainted};
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
        arguments: &Value,
    ) -> Result<Labels, Stop> {
        let (labels, tools) = (self.labels(known), self.orchestrator.tools());
        let is_held_back = self.taint.holds_back(labels, &self.spec.approval);
        if !is_held_back || !tools.may_be_named(known, arguments) {
            return Ok(labels);
        }
        let said = self.orchestrator.said_by_people(self.task_id).await?;
        Ok(tools.labels_of_call(known, arguments, &said))
    }

    /// Whether a call is held back because of what the task has read.
    pub(super) async fn is_held_back(
        &self,
        known: &ToolDescription,
        arguments: &Value,
    ) -> Result<bool, Stop> {
        let labels = self.labels_of_call(known, arguments).await?;
        Ok(self.taint.holds_back(labels, &self.spec.approval))
    }

    /// Asks a person whether the call may be made, or says in the policy's name that it may not: then the
    /// step goes on as if a person had denied it.
    pub(super) fn hold_back(&mut self, known: &ToolDescription, dispatch: Dispatch) -> Stop {
        let (step, call) = (self.index, dispatch.number);
        self.ask_for_approval(known, dispatch, Some(Box::new(self.taint.clone())));
        if self.spec.approval.when_tainted == WhenTainted::Deny {
            let (reason, by) = (self.taint.to_string(), POLICY.to_owned());
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
