//! The step that is one tool call the plan already knows.

use std::sync::Arc;

use super::calls::{Dispatch, reported};
use super::delegation::child_failed;
use super::people::denied;
use super::{Attempt, Stop};
use crate::task::{Call, CallState, Fault, Payload, Task, as_text};

impl Attempt {
    /// Calls the tool the plan names, unless its outcome is recorded already.
    pub(super) async fn planned_call(&mut self, task: Arc<Task>) -> Result<Option<Payload>, Stop> {
        let Some(planned) = self.step.plan.tool.clone() else {
            return Err(Stop::Failed(Fault::permanent(
                "tool_missing",
                "the plan names no tool for this step",
            )));
        };
        if let Some(call) = self.step.call(1)
            && let Some(fault) = self.failed_child(call).await?
        {
            return Err(Stop::Failed(fault));
        }
        let attempt = match self.step.call(1) {
            Some(call) if call.state == CallState::Committed && !call.is_error => {
                let result = call.result.clone();
                return self.returned(result).await;
            }
            Some(Call { state: CallState::Denied(words), .. }) => return Err(Stop::Failed(denied(words))),
            Some(call) if call.is_held() => call.attempt,
            Some(call) => call.attempt + 1,
            None => 1,
        };
        let arguments = self.filled_arguments(&task, &planned.arguments).await?;
        drop(task);
        let dispatch = Dispatch { number: 1, attempt, request_id: None, arguments };
        if let Some(delegate) = self.delegate(&planned.name, dispatch.number).await? {
            return match self.hand_over(&delegate, dispatch).await? {
                Ok(refused) => Err(Stop::Failed(child_failed(&as_text(refused.content)))),
                Err(error) => Err(Stop::Failed(error.fault())),
            };
        }
        let tool = self.tool(&planned.name).await.map_err(|error| Stop::Failed(error.fault()))?;
        match self.dispatch(tool.as_ref(), dispatch).await? {
            Ok(output) if output.is_error => Err(Stop::Failed(reported(tool.description(), &output))),
            Ok(output) => self.claim_once(None, &output.content).await,
            Err(error) => Err(Stop::Failed(error.fault())),
        }
    }

    /// The call has returned before this attempt.
    async fn returned(&mut self, result: Option<Payload>) -> Result<Option<Payload>, Stop> {
        match result {
            Some(result) if !self.step.checks().is_empty() => {
                let content = self.content(&result).await?;
                self.claim_once(None, &content).await
            }
            _ => Ok(None),
        }
    }
}
