//! Calls that need a person's word before they are dispatched.

use serde_json::Value;

use super::calls::Dispatch;
use super::{Attempt, Stop, recollection};
use crate::orchestrator::cut;
use crate::task::{Call, CallAt, CallState, CallSubject, Event, Fault, Payload, Taint};
use crate::tools::{Tool, ToolDescription, is_question, question_problem};

/// What a model is shown of arguments that a person changed, in bytes.
const EDIT_BYTES: usize = 4 * 1024;

impl Attempt {
    /// Sees to it that a call has the approval it needs: with it, the call goes on with exactly
    /// the arguments that were approved; without it, the step ends here and waits. What `misfit` finds wrong
    /// with the arguments comes back with them: nobody is asked about a call that cannot be made.
    pub(super) async fn permitted(
        &mut self,
        known: &ToolDescription,
        dispatch: Dispatch,
        misfit: impl Fn(&Self, &Dispatch) -> Option<String>,
    ) -> Result<(Dispatch, Option<String>), Stop> {
        let call = self.step.call(dispatch.number);
        match call.map(|call| &call.state) {
            Some(CallState::Asked(_)) => return Err(Stop::Asking),
            Some(CallState::Denied(words)) => return Err(Stop::Failed(denied(words))),
            _ => {}
        }
        // The same call under the same key: what was approved is still what is done.
        let is_approved = call
            .is_some_and(|call| call.state == CallState::Approved || (call.is_approved && call.may_repeat()));
        let is_accepted = call.is_some_and(|call| call.state == CallState::Accepted);
        let dispatch = match call.filter(|_| is_approved || is_accepted) {
            Some(call) => self.as_asked(call, dispatch).await?,
            None => dispatch,
        };
        // What was approved is a call of the tool that was known then.
        if let Some(change) = self.change_of(known, dispatch.number, dispatch.attempt) {
            self.ask_about_change(change, known, dispatch);
            return Err(Stop::Asking);
        }
        // A person may have changed them where nobody knew what the tool takes.
        if let Some(problem) = misfit(self, &dispatch) {
            return Ok((dispatch, Some(problem)));
        }
        if is_approved {
            return Ok((dispatch, None));
        }
        // A question that cannot be put to anybody is refused by the tool itself.
        if is_question(known) && question_problem(&dispatch.arguments).is_none() {
            self.ask_for_input(known, dispatch);
            return Err(Stop::Asking);
        }
        if self.is_held_back(known, &dispatch).await? {
            return Err(self.hold_back(known, dispatch));
        }
        if self.spec.approval.needs(&known.name, known.effect) && !recollection::is_of_context(known) {
            self.ask_for_approval(known, dispatch, None);
            return Err(Stop::Asking);
        }
        Ok((dispatch, None))
    }

    /// What is wrong with the arguments of a call, if anything is. In a rehearsal only whether anything was is
    /// known, and its tools say what.
    pub(super) fn misfit(&self, tool: &dyn Tool, dispatch: &Dispatch) -> Option<String> {
        match self.orchestrator.rehearsal() {
            Some(rehearsal) => {
                let at = CallAt { step: self.index, call: dispatch.number };
                rehearsal.did_not_fit(at).then(String::new)
            }
            None => tool.problem(&dispatch.arguments),
        }
    }

    /// The call with the arguments that a person saw.
    async fn as_asked(&self, call: &Call, dispatch: Dispatch) -> Result<Dispatch, Stop> {
        let CallSubject::Tool { arguments, .. } = &call.subject else { return Ok(dispatch) };
        let arguments = self.content(arguments).await?;
        Ok(Dispatch { arguments, ..dispatch })
    }

    pub(super) async fn content(&self, payload: &Payload) -> Result<Value, Stop> {
        let content = self.orchestrator.repository().content(payload).await;
        content.map_err(|error| Stop::Failed(Fault::transient(error.code(), error.to_string())))
    }

    pub(super) fn ask_for_approval(
        &mut self,
        known: &ToolDescription,
        dispatch: Dispatch,
        because: Option<Box<Taint>>,
    ) {
        let terms = &self.spec.approval;
        self.journal.note(Event::ApprovalRequested {
            step: self.index,
            call: dispatch.number,
            attempt: dispatch.attempt,
            tool: known.name.clone(),
            arguments: Payload::Inline(dispatch.arguments),
            effect: known.effect,
            request_id: dispatch.request_id,
            expires_at: terms.expiry(self.orchestrator.now()),
            on_expiry: terms.on_expiry,
            because,
        });
    }

    fn ask_for_input(&mut self, known: &ToolDescription, dispatch: Dispatch) {
        let terms = &self.spec.approval;
        self.journal.note(Event::InputRequested {
            step: self.index,
            call: dispatch.number,
            attempt: dispatch.attempt,
            tool: known.name.clone(),
            arguments: Payload::Inline(dispatch.arguments),
            request_id: dispatch.request_id,
            expires_at: terms.expiry(self.orchestrator.now()),
            on_expiry: terms.on_expiry,
        });
    }

    /// What a model has to know before it reads a result: if a person changed the arguments, it
    /// would take the result for one of the call it asked for. Empty if nobody did.
    pub(super) async fn edit_of(&self, number: u32) -> Result<String, Stop> {
        let edited = self.step.call(number).filter(|call| call.is_edited);
        let Some(CallSubject::Tool { arguments, .. }) = edited.map(|call| &call.subject) else {
            return Ok(String::new());
        };
        let arguments = self.content(arguments).await?.to_string();
        Ok(format!("[A person changed the arguments to {}]\n", cut(&arguments, EDIT_BYTES)))
    }
}

/// A planned call that a person denied, as the failure of its step.
pub(super) fn denied(words: &str) -> Fault {
    Fault::permanent("approval_denied", words)
}
