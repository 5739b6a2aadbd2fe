//! What follows: how a failed step goes on, and how the task does when its plan is at an end.

use super::drive::{Drive, Turn};
use super::writer::Lost;
use crate::orchestrator::{Evaluation, OrchestratorError, Revised, dice};
use crate::task::{
    CONTEXT_OVERFLOW, Event, Exceeded, Fault, FrozenTools, NO_PROGRESS, PauseReason, Task, counted,
};

/// What only whoever runs this can mend: the account, the key, the name or the address of a model, or one that
/// is configured for other workers and not for this one. No other plan helps there.
const NEEDS_A_PERSON: [&str; 5] = [
    "provider_quota",
    "provider_unauthorized",
    "provider_key_missing",
    "provider_rejected",
    "model_not_configured",
];

impl Drive {
    /// Whether the context is smaller now, or what has no room for that; `None` if it was called off.
    pub(super) async fn summarize(&mut self) -> Result<Option<Result<bool, Exceeded>>, Lost> {
        let (shared, task) = (self.shared.clone(), self.writer.task.clone());
        let compressing = shared.orchestrator.summarize_context(&task, None, self.allowance.ledger());
        let summary = self.unless_called_off(compressing).await?;
        Ok(summary.map(|summary| match summary {
            Ok(Some(event)) => {
                if let Event::ContextSummarized { usage, .. } = &event {
                    self.allowance.charge(usage);
                }
                Ok(self.writer.note(event))
            }
            Ok(None) => Ok(false),
            Err(OrchestratorError::OutOfBudget(exceeded)) => Err(exceeded),
            Err(error) => {
                tracing::warn!(task = %task.id, %error, "the context was not summarized");
                Ok(false)
            }
        }))
    }

    /// Whether the step failed because its context was too large, and may fit once that is summarized.
    pub(super) fn may_fit(&self, index: u32, fault: &Fault) -> bool {
        fault.code == CONTEXT_OVERFLOW && self.writer.task.step(index).is_some_and(|step| step.attempts == 1)
    }

    /// Makes the context smaller, and lets the step try again at once if that helped.
    pub(super) async fn overflowed(&mut self, index: u32, fault: Fault) -> Result<(), Lost> {
        let summary = self.summarize().await?;
        self.cancels.remove(&index);
        match summary {
            // The step stays as it is. Whoever goes on finds the context too large again.
            None => {}
            Some(Err(exceeded)) => {
                self.pause_for_budget(&exceeded);
            }
            Some(Ok(true)) => {
                let retry_at = Some((self.shared.clock)());
                self.writer.note(Event::StepFailed { step: index, fault, retry_at });
            }
            Some(Ok(false)) => self.failed(index, fault),
        }
        Ok(())
    }

    pub(super) fn failed(&mut self, index: u32, fault: Fault) {
        let task = self.writer.task.clone();
        let Some(step) = task.step(index) else { return };
        let now = (self.shared.clock)();
        let delay = step.retry(&task.spec().retry).delay(step.attempts, &fault, dice());
        let retry_at = delay.map(|wait| now.plus(wait));
        tracing::info!(task = %task.id, step = index, %fault, ?retry_at, "step failed");
        let is_away = fault.is_retryable() && fault.code.starts_with("provider_");
        if retry_at.is_none() && (is_away || NEEDS_A_PERSON.contains(&fault.code.as_str())) {
            // The plan is not at fault: the step stays what it is, and waits for the provider.
            let detail = format!("{fault}, after {}", counted(step.attempts, "attempt"));
            self.writer.note(Event::StepFailed { step: index, fault, retry_at: Some(now) });
            self.pause(PauseReason::Provider, detail);
            return;
        }
        if fault.code == NO_PROGRESS && !self.shared.orchestrator.may_replan(&task) {
            // The step stays what it is: told what to do otherwise, its model may get on.
            let detail = fault.message.clone();
            self.writer.note(Event::StepFailed { step: index, fault, retry_at: Some(now) });
            self.pause(PauseReason::NoProgress, detail);
            return;
        }
        self.writer.note(Event::StepFailed { step: index, fault, retry_at });
    }

    /// The plan is at its end or at a dead end: decides how the task goes on.
    pub(super) async fn conclude(&mut self) -> Result<Turn, Lost> {
        if self.shared.orchestrator.judges() {
            self.writer.flush().await?;
        }
        let (shared, task) = (self.shared.clone(), self.writer.task.clone());
        let judged = self.unless_called_off(shared.orchestrator.evaluate_progress(&task)).await?;
        let Some((evaluation, fact)) = judged else { return Ok(Turn::Leave((self.shared.clock)())) };
        if let Some(fact) = fact {
            self.writer.note(fact);
        }
        match evaluation {
            Evaluation::Continue => {}
            Evaluation::Done => {
                let output = self.shared.orchestrator.answer(&task);
                self.writer.note(Event::Completed { output });
            }
            Evaluation::Fail(fault) => {
                self.writer.note(Event::Failed { fault });
            }
            Evaluation::Unverified(why) => {
                self.pause(PauseReason::Unverified, why);
            }
            Evaluation::OutOfBudget(exceeded) => {
                self.pause_for_budget(&exceeded);
            }
            Evaluation::Replan(reason) => {
                self.writer.flush().await?;
                return self.revise(&task, &reason).await;
            }
        }
        Ok(Turn::Again)
    }

    async fn revise(&mut self, task: &Task, reason: &str) -> Result<Turn, Lost> {
        let shared = self.shared.clone();
        let revised = self.unless_called_off(shared.orchestrator.revise(task, reason)).await?;
        let Some(revised) = revised else { return Ok(Turn::Leave((self.shared.clock)())) };
        let Revised { plan, tools, by } = revised;
        if !matches!(plan, Ok(Some(_))) && by.usage.model_calls > 0 {
            // No plan tells what looking for one consumed, so this does.
            let planner = by.model.as_ref().map(ToString::to_string).unwrap_or_default();
            let (verdict, reason) = ("replan".to_owned(), reason.to_owned());
            self.writer.note(Event::Evaluated { verdict, reason, by: planner, usage: by.usage });
        }
        match plan {
            Ok(Some(plan)) => {
                let revision = task.state().revision + 1;
                let content = tools.as_ref().map(FrozenTools::content);
                if self.writer.note(Event::Planned { revision, plan, by, tools: content }) {
                    shared.orchestrator.know_tools(&self.writer.task, tools);
                }
            }
            // What was brought may do all the same: that nobody finds another way does not say that it won't.
            Ok(None) if !task.unverified().is_empty() => {
                let why = format!("{} (no other plan was found)", reason.trim_end_matches('.'));
                self.pause(PauseReason::Unverified, why);
            }
            Ok(None) if is_going_round(task) => {
                let detail = format!("{reason} No other plan was found.");
                self.pause(PauseReason::NoProgress, detail);
            }
            Ok(None) => {
                let fault = Fault::permanent("no_plan", format!("{reason} No other plan was found."));
                self.writer.note(Event::Failed { fault });
            }
            Err(OrchestratorError::OutOfBudget(exceeded)) => {
                self.pause_for_budget(&exceeded);
            }
            Err(error) => {
                let detail = format!("{reason} A new plan is needed and no model makes one ({error})");
                self.pause(PauseReason::Provider, detail);
            }
        }
        Ok(Turn::Again)
    }
}

/// Whether the step in the way of a task failed because it repeated itself.
fn is_going_round(task: &Task) -> bool {
    let mut open = task.frontier().iter().filter_map(|index| task.step(*index));
    open.any(|step| step.is_dead_end() && step.fault.as_ref().is_some_and(|fault| fault.code == NO_PROGRESS))
}
