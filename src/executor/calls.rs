//! Calls: the intent is recorded before the world can change, the outcome after.

use std::time::Duration;

use serde_json::Value;

use super::reconcile::Reconciled;
use super::{Attempt, Stop};
use crate::task::{
    CallAt, CallState, CallSubject, Effect, Event, Fault, FaultClass, MAX_DEPTH, Payload, TOO_DEEP, Task,
    as_text, is_too_deep,
};
use crate::tools::{CallContext, Tool, ToolDescription, ToolError, ToolOutput, repeats_itself};

/// A call that may be repeated is recorded together with its outcome if it is quicker than
/// this: that saves a commit. A slower one is recorded meanwhile, so that it is seen.
const QUICK: Duration = Duration::from_millis(20);

/// One dispatch of a tool.
pub(super) struct Dispatch {
    /// The call's number within the step.
    pub(super) number: u32,
    /// From 1.
    pub(super) attempt: u32,
    /// The model's own id for it, if a model asked.
    pub(super) request_id: Option<String>,
    pub(super) arguments: Value,
}

impl Attempt {
    /// Looks at the calls that were in flight when an earlier worker was lost.
    pub(super) async fn recover(&mut self) -> Result<(), Stop> {
        for position in 0..self.step.calls.len() {
            let mut call = self.step.calls[position].clone();
            match call.state {
                CallState::Unknown => {}
                CallState::Dispatched => {
                    let detail = "the worker was lost while the call was in flight".to_owned();
                    self.journal.note(Event::CallLost { step: self.index, call: call.number, detail });
                }
                _ => continue,
            }
            if call.may_repeat() {
                call.state = CallState::Lost;
            } else if !self.settle(&mut call).await? {
                return Err(Stop::Unknown(unknown_detail(&call.subject)));
            }
            self.step.calls[position] = call;
        }
        Ok(())
    }

    /// Calls a tool: records the intent, waits for the outcome, records that.
    ///
    /// The inner error is a failure that is known to have had no effect, or one that may be
    /// repeated; an unsafe call with an unknown outcome stops the step.
    pub(super) async fn dispatch(
        &mut self,
        tool: &dyn Tool,
        dispatch: Dispatch,
    ) -> Result<Result<ToolOutput, ToolError>, Stop> {
        if is_too_deep(&dispatch.arguments) {
            return Err(Stop::Failed(too_deep(FaultClass::Permanent, &tool.description().name)));
        }
        self.wait_for_turn().await?;
        let known = tool.description();
        let fits = |attempt: &Self, dispatch: &Dispatch| attempt.misfit(tool, dispatch);
        let (dispatch, misfit) = self.permitted(known, dispatch, fits).await?;
        self.allowance.take(self.orchestrator.now())?;
        let (step, call, effect) = (self.index, dispatch.number, known.effect);
        let labels = self.labels_of_call(known, &dispatch).await?;
        self.journal.note(Event::ToolDispatched {
            step,
            call,
            attempt: dispatch.attempt,
            tool: known.name.clone(),
            arguments: Payload::Inline(dispatch.arguments.clone()),
            effect,
            labels,
            request_id: dispatch.request_id,
        });
        // Nothing is sent, so there is no doubt how it ends.
        if let Some(problem) = misfit.filter(|_| self.orchestrator.rehearsal().is_none()) {
            self.has_read(&known.name, labels, call, false);
            let refused = Err(ToolError::misfit(&known.name, &problem));
            return self.record_outcome(call, effect, &known.name, refused).await;
        }
        // Of what leaves the house, or takes a secret, the intent is durable first: the task may have read more than this step.
        let is_beside = || {
            let at = CallAt { step, call };
            self.orchestrator.rehearsal().is_some_and(|known| !known.is_outcome_due(at))
        };
        let must_be_known = effect != Effect::ReadOnly || labels.outward || labels.secret;
        if must_be_known || self.journal.is_in_doubt() || is_beside() {
            self.journal.flush().await?;
        }
        let context = CallContext {
            idempotency_key: Task::idempotency_key(self.task_id, step, call),
            timeout: self.tool_timeout,
            cancel: self.cancel.child_token(),
            max_output_bytes: self.spec.limits.max_output_bytes,
            fence: self.journal.fence(),
            is_confidential: false,
        };
        let asked = tool.reconciler().map(|_| dispatch.arguments.clone());
        let outcome = self.await_call(tool.call(dispatch.arguments, context)).await?;
        self.has_read(&known.name, labels, call, outcome.is_ok());
        match (self.record_outcome(call, effect, &known.name, outcome).await, asked) {
            // Whoever cancelled the task wants to hear what is known now, and nothing goes on.
            (Err(Stop::Unknown(detail)), Some(arguments)) if !self.cancel.is_cancelled() => {
                self.after_doubt(&known.name, call, &arguments, detail).await
            }
            (ended, _) => ended,
        }
    }

    /// Asks the reconciling tool about a call that was cut off while this worker waited for it.
    async fn after_doubt(
        &mut self,
        tool: &str,
        call: u32,
        arguments: &Value,
        detail: String,
    ) -> Result<Result<ToolOutput, ToolError>, Stop> {
        match self.reconcile(tool, call, arguments).await {
            Reconciled::Happened { result } => Ok(Ok(ToolOutput::ok(result))),
            Reconciled::DidNotHappen => Ok(Err(ToolError::Interrupted { detail, source: None })),
            Reconciled::Unknown => Err(Stop::Unknown(detail)),
        }
    }

    async fn await_call<T>(&mut self, call: impl Future<Output = T>) -> Result<T, Stop> {
        let mut call = std::pin::pin!(call);
        match tokio::time::timeout(QUICK, &mut call).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => {
                self.journal.flush().await?;
                Ok(call.await)
            }
        }
    }

    async fn record_outcome(
        &mut self,
        call: u32,
        effect: Effect,
        tool: &str,
        outcome: Result<ToolOutput, ToolError>,
    ) -> Result<Result<ToolOutput, ToolError>, Stop> {
        let step = self.index;
        match outcome {
            Ok(output) => {
                let output = readable(output);
                let result = Payload::Inline(output.content.clone());
                self.journal.note(Event::ToolReturned { step, call, result, is_error: output.is_error });
                Ok(Ok(output))
            }
            // It did return, and it will not return less: that is an outcome, and not a doubt.
            Err(error @ ToolError::OutputTooLarge { .. }) => {
                let result = Payload::text(error.to_string());
                self.journal.note(Event::ToolReturned { step, call, result, is_error: true });
                Ok(Err(error))
            }
            Err(error) if error.may_have_taken_effect() && !effect.may_repeat() => {
                let detail = format!("{tool}: {error}");
                self.journal.note(Event::CallLost { step, call, detail: detail.clone() });
                Err(Stop::Unknown(detail))
            }
            Err(error) => {
                self.journal.note(Event::CallFailed { step, call, fault: error.fault(), partial: None });
                Ok(Err(error))
            }
        }
    }
}

/// A result that is nested too deep to be read again is kept as its JSON text: it did come back,
/// and nothing of it is lost.
fn readable(output: ToolOutput) -> ToolOutput {
    match is_too_deep(&output.content) {
        true => ToolOutput { content: Value::String(output.content.to_string()), ..output },
        false => output,
    }
}

/// Arguments that are nested too deep to be recorded, and so are not dispatched.
pub(super) fn too_deep(class: FaultClass, tool: &str) -> Fault {
    let message = format!("the arguments for {tool} are nested deeper than {MAX_DEPTH} levels");
    Fault::new(class, TOO_DEEP, message)
}

/// What a person is asked when nobody knows whether a call took effect.
fn unknown_detail(subject: &CallSubject) -> String {
    match subject {
        CallSubject::Tool { tool, arguments, .. } => {
            format!("{tool} was called with {}, and its worker was lost", arguments.preview())
        }
        CallSubject::Model { model, .. } => format!("{model} was asked"),
    }
}

/// A tool's own error as the failure of a step. An unsafe tool that reported an error may
/// have done half of its work: trying again is not ours to decide. Some would only say it
/// again.
pub(super) fn reported(tool: &ToolDescription, output: &ToolOutput) -> Fault {
    let said = as_text(output.content.clone());
    let may_pass = tool.effect.may_repeat() && !repeats_itself(&tool.name);
    let class = if may_pass { FaultClass::Transient } else { FaultClass::Permanent };
    Fault::new(
        class,
        "tool_reported_error",
        format!("{} reported an error: {}", tool.name, Payload::text(said).preview()),
    )
}
