//! Budgets: what a call is expected to consume, how a model is warned, and how more is added.

use std::time::Duration;

use super::{Orchestrator, OrchestratorError};
use crate::models::{Model, Request};
use crate::queue::Wake;
use crate::task::{Event, PauseReason, Reserve, Resource, Task, TaskId, TopUp, Usage};

impl Orchestrator {
    /// What a call may consume at most: the prompt, estimated, and the longest answer. Where the
    /// caller sets no limit for the answer, it is `models.outputReserve`.
    pub fn reserve_for(&self, model: &dyn Model, request: &Request) -> Reserve {
        if let Some(reserve) = model.reserve(request) {
            return reserve;
        }
        let output = request.max_output_tokens.map_or(self.models.output_reserve(), u64::from);
        let expected = Usage {
            input_tokens: model.tokens(request.bytes()),
            output_tokens: output,
            model_calls: 1,
            ..Usage::default()
        };
        Reserve { cost_usd: model.cost(&expected).unwrap_or_default(), ..Reserve::of(&expected) }
    }

    /// Adds to the budget of a task that has not ended. One that was paused because its budget
    /// was used up goes on at the step where it stood. What is added to a child is added to the tasks above
    /// it.
    pub async fn raise_budget(&self, id: TaskId, add: TopUp, by: &str) -> Result<Task, OrchestratorError> {
        let invalid = |problem: String| OrchestratorError::Invalid { field: "budget", problem };
        if add.is_nothing() {
            return Err(invalid("nothing is added: say how much of what".to_owned()));
        }
        let known = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        if let Some(above) = known.spec().parent
            && add.unlimited_in(&known.budget()).is_none()
            && !known.status().is_terminal()
        {
            self.raise_above(above, add, by).await?;
        }
        let task = self
            .record(id, |task| {
                let status = task.status();
                if status.is_terminal() {
                    return Err(OrchestratorError::NotNow { verb: "raise the budget of", status });
                }
                if let Some(resource) = add.unlimited_in(&task.budget()) {
                    return Err(invalid(format!("this task has no limit of {}", resource.words())));
                }
                let mut events = vec![Event::BudgetRaised { add, by: by.to_owned(), child: None }];
                if is_out_of_budget(task) {
                    events.push(Event::Resumed { by: by.to_owned() });
                }
                Ok(events)
            })
            .await?;
        self.wake(Wake::again(&task, Duration::ZERO)).await;
        Ok(task)
    }
}

fn is_out_of_budget(task: &Task) -> bool {
    task.state().pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Budget)
}

/// What a model is told when a limit is near.
pub(crate) fn wrap_up(resource: Resource, percent: u64) -> String {
    format!(
        "Note: {percent} % of this task's budget of {} are used. Wrap up: finish this step with what you \
         have, and ask for no tool that you can do without.",
        resource.words()
    )
}
