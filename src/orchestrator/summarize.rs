//! Compresses what was collected, so that the work goes on within the window. Nothing is
//! lost: the journal keeps every content, the summary only stands for it in prompts.

use super::context::{cut, tokens, uncovered_tokens};
use super::{Orchestrator, OrchestratorError, prompts};
use crate::models::{Request, Role};
use crate::task::{Event, Ledger, Payload, Task, Usage};

/// A summary may take this share of the window, in percent.
const SUMMARY_PERCENT: u64 = 10;

/// What stands for a context.
struct Summary {
    text: String,
    by: String,
    usage: Usage,
}

impl Orchestrator {
    /// Compresses the outputs of every step that is settled, together with the summary there
    /// is. The fact to record; `None` if there is nothing to compress.
    ///
    /// The call has to fit into the `ledger`: what is left of the budget, with all calls in flight.
    /// If no model answers, the notes are cut deterministically and the entry says so: a
    /// placeholder never replaces a context.
    pub async fn summarize_context(
        &self,
        task: &Task,
        step: Option<u32>,
        ledger: Ledger,
    ) -> Result<Option<Event>, OrchestratorError> {
        let Some(through) = settled_prefix(task) else { return Ok(None) };
        let outputs = self.outputs_since_summary(task).await?;
        if outputs.is_empty() {
            return Ok(None);
        }
        let notes = self.notes(task).await?;
        let room = task.spec().limits.context_window_limit * SUMMARY_PERCENT / 100;
        let summary = self.compress(task, &notes, room, ledger).await?;
        Ok(Some(Event::ContextSummarized {
            step,
            through,
            tokens_before: uncovered_tokens(task),
            tokens_after: tokens(&summary.text),
            summary: Payload::text(summary.text),
            by: summary.by,
            usage: summary.usage,
        }))
    }

    async fn compress(
        &self,
        task: &Task,
        notes: &str,
        room: u64,
        mut ledger: Ledger,
    ) -> Result<Summary, OrchestratorError> {
        let spec = task.spec();
        let truncated = || Summary {
            // Each token of room is four bytes of text.
            text: cut(notes, usize::try_from(room * 4).unwrap_or(usize::MAX)),
            by: "truncation".to_owned(),
            usage: Usage::default(),
        };
        let Ok(model) = self.models.for_role(Role::Summarize, spec.chat_model.as_ref()) else {
            return Ok(truncated());
        };
        let user = format!("Goal of the task:\n{}\n\nNotes:\n{notes}", spec.goal);
        let mut request = Request::new(Role::Summarize, &spec.goal, prompts::SUMMARIZE, user);
        request.max_output_tokens = u32::try_from(room.max(256)).ok();
        let reserve = self.reserve_for(model.as_ref(), &request);
        ledger.reserve(reserve, self.now()).map_err(OrchestratorError::OutOfBudget)?;
        Ok(match model.generate(request).await {
            Ok(answer) if !answer.text.trim().is_empty() => {
                Summary { text: answer.text, by: model.name().to_string(), usage: answer.usage }
            }
            Ok(_) => truncated(),
            Err(error) => {
                tracing::warn!(task = %task.id, %error, "no model summarises, the notes are cut");
                truncated()
            }
        })
    }
}

/// The largest index up to which every step is settled: a step that still runs must not
/// disappear behind a summary.
fn settled_prefix(task: &Task) -> Option<u32> {
    let first_open = task.first_unsettled().unwrap_or(task.steps().len() as u32);
    first_open.checked_sub(1)
}
