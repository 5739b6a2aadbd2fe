//! Calls that would tell the outside what a task has read.

use super::calls::Dispatch;
use super::{Attempt, Stop, recollection};
use crate::task::{Event, Labels, Source, WhenTainted};
use crate::tools::ToolDescription;

/// Who denies calls by the policy.
const POLICY: &str = "policy";

impl Attempt {
    /// What is known of a tool besides its effect. The tools of the context reach nothing else.
    pub(super) fn labels(&self, known: &ToolDescription) -> Labels {
        match recollection::is_of_context(known) {
            true => Labels::default(),
            false => self.orchestrator.tools().labels(known),
        }
    }

    /// Whether a call is held back because of what the task has read.
    pub(super) fn is_held_back(&self, known: &ToolDescription) -> bool {
        self.taint.holds_back(self.labels(known), &self.spec.approval)
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

    /// Takes what an outcome brought into account for the calls that follow.
    pub(super) fn has_read(&mut self, tool: &str, labels: Labels, call: u32, is_result: bool) {
        let labels = Labels { private: labels.private && is_result, ..labels };
        let source = Source { tool: tool.to_owned(), step: self.index, call, task: None };
        self.taint.take(labels, &source);
    }
}
