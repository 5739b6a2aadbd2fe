//! Calls that tasks of their own carry out: the intent is durable before the child exists, and the step
//! holds no worker until it has ended.

use uuid::Uuid;

use super::calls::{Dispatch, too_deep};
use super::{Attempt, Stop};
use crate::orchestrator::{Calling, Delegate, Unborn, is_delegate};
use crate::task::{Call, CallAt, CallState, Event, Fault, FaultClass, Payload, TaskId, as_text, is_too_deep};
use crate::tools::{ToolError, ToolOutput};

impl Attempt {
    /// What carries out the calls of this tool, if that is a task of its own.
    pub(super) async fn delegate(&self, name: &str, call: u32) -> Result<Option<Delegate>, Stop> {
        let at = CallAt { step: self.index, call };
        match is_delegate(name) {
            true => Ok(self.orchestrator.delegate(&self.spec, name, Some(at)).await?),
            false => Ok(None),
        }
    }

    /// Hands a call to a task of its own. Returns only if there is no such task: with why.
    pub(super) async fn hand_over(
        &mut self,
        to: &Delegate,
        dispatch: Dispatch,
    ) -> Result<Result<ToolOutput, ToolError>, Stop> {
        if is_too_deep(&dispatch.arguments) {
            return Err(Stop::Failed(too_deep(FaultClass::Permanent, &to.description.name)));
        }
        let (dispatch, _) = self.permitted(&to.description, dispatch, |_, _| None).await?;
        let most = self.spec.limits.max_depth;
        if self.spec.depth() >= most {
            let problem = format!("{most} tasks stand above this one already (limits.maxDepth)");
            return self.turn_down(to, dispatch, problem);
        }
        if let Some(problem) = to.problem(&dispatch.arguments) {
            return self.turn_down(to, dispatch, problem);
        }
        let now = self.orchestrator.now();
        let grant =
            self.allowance.grant(&to.asked(&dispatch.arguments), self.steps_left, self.side_by_side, now)?;
        let (step, call, child) = (self.index, dispatch.number, TaskId(Uuid::now_v7()));
        self.journal
            .record(Event::ChildStarted {
                step,
                call,
                attempt: dispatch.attempt,
                tool: to.description.name.clone(),
                arguments: Payload::Inline(dispatch.arguments.clone()),
                request_id: dispatch.request_id,
                child,
                template: to.template_ref(),
                grant,
            })
            .await?;
        let (spec, template) = (self.spec.clone(), to.template_ref());
        let (task, arguments, taint) = (self.task_id, &dispatch.arguments, self.taint.clone());
        let calling =
            Calling { task, spec: &spec, step, call, child, template, arguments, grant, taint: &taint };
        let begun = tokio::select! {
            begun = self.orchestrator.begin_child(&calling) => begun,
            () = self.cancel.cancelled() => return Err(Stop::Interrupted),
        };
        match begun {
            Ok(()) => Err(Stop::Delegated),
            // Whoever looks after the task next tries again.
            Err(Unborn::NotNow(error)) => {
                tracing::warn!(task = %task, %child, %error, "the sub-task was not created yet");
                Err(Stop::Delegated)
            }
            Err(Unborn::Never(ended)) => {
                self.allowance.close(grant.reserve(), crate::task::Reserve::default());
                let said = match ended.as_ref() {
                    Event::ChildEnded { result: Payload::Inline(said), .. } => said.clone(),
                    _ => serde_json::Value::Null,
                };
                self.journal.note(*ended);
                Ok(Ok(ToolOutput { content: said, is_error: true }))
            }
        }
    }

    /// A call that no task is created for: it had no effect, and whoever made it is told.
    fn turn_down(
        &mut self,
        to: &Delegate,
        dispatch: Dispatch,
        problem: String,
    ) -> Result<Result<ToolOutput, ToolError>, Stop> {
        self.allowance.take(self.orchestrator.now())?;
        let (step, call) = (self.index, dispatch.number);
        self.journal.note(Event::ToolDispatched {
            step,
            call,
            attempt: dispatch.attempt,
            tool: to.description.name.clone(),
            arguments: Payload::Inline(dispatch.arguments),
            effect: to.description.effect,
            labels: crate::task::Labels::default(),
            request_id: dispatch.request_id,
        });
        self.journal.note(Event::ToolReturned {
            step,
            call,
            result: Payload::text(&problem),
            is_error: true,
        });
        Ok(Ok(ToolOutput::error(problem)))
    }

    /// Why a planned call fails its step, if a task of its own carried it out and did not reach its goal. It
    /// has tried again and planned anew itself, and may have changed the world: it is not done twice.
    pub(super) async fn failed_child(&self, call: &Call) -> Result<Option<Fault>, Stop> {
        let (CallState::Committed, true, Some(_)) = (&call.state, call.is_error, &call.child) else {
            return Ok(None);
        };
        let said = match &call.result {
            Some(result) => as_text(self.content(result).await?),
            None => String::new(),
        };
        Ok(Some(child_failed(&said)))
    }
}

pub(super) fn child_failed(said: &str) -> Fault {
    Fault::permanent("child_failed", said)
}
