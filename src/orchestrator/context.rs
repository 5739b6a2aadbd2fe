//! What a model is told about the task around a step.

use std::fmt::Write as _;

use super::{Orchestrator, OrchestratorError, prompts};
use crate::task::{Payload, Step, StepStatus, Task};

/// Bytes of text per token, on average over prose and code. Only decides when to compress:
/// what a call really consumed is what its provider reports.
const BYTES_PER_TOKEN: u64 = 4;

/// Compression starts when the recorded outputs fill this share of the window, in percent;
/// the rest is for instructions, the conversation within the step, and the answer.
const FULL_PERCENT: u64 = 80;

/// The plan is shown around the current step, not as a whole: a prompt must not grow with the
/// length of the plan.
const PLAN_LINES: usize = 60;

/// The opening of a step's conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepContext {
    /// The instructions.
    pub system: String,
    /// Goal, plan, what earlier steps brought, and the step itself.
    pub brief: String,
}

/// What one step brought, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutput {
    /// The step's id.
    pub id: String,
    /// What it was to do.
    pub description: String,
    /// What it brought.
    pub text: String,
}

impl Orchestrator {
    /// The opening of a step's conversation.
    pub async fn step_context(
        &self,
        task: &Task,
        step: &Step,
        has_tools: bool,
    ) -> Result<StepContext, OrchestratorError> {
        let mut brief = format!("Goal:\n{}\n\nPlan:\n{}", task.spec().goal, plan_lines(task, step));
        let notes = self.notes(task).await?;
        if !notes.is_empty() {
            let _ = write!(brief, "\nWhat earlier steps brought:\n{notes}");
        }
        let messages = self.messages_before(task, step).await?;
        if !messages.is_empty() {
            let _ = write!(brief, "\nWhat the user wrote since the task began:\n{messages}");
        }
        let _ = write!(brief, "\nYour step ({}):\n{}", step.plan.id, step.plan.description);
        Ok(StepContext { system: prompts::step(has_tools), brief })
    }

    /// What people wrote before the step was started first. What they wrote since is part of the
    /// step's own conversation: its opening must stay what it was.
    async fn messages_before(&self, task: &Task, step: &Step) -> Result<String, OrchestratorError> {
        let started = step.first_seq.unwrap_or(i64::MAX);
        let mut messages = String::new();
        for seq in task.state().messages.iter().filter(|seq| **seq < started) {
            if let Some(text) = self.message(task.id, *seq).await? {
                let _ = writeln!(messages, "- {text}");
            }
        }
        Ok(messages)
    }

    /// The working notes of a task: the summary of what was compressed, then what each later
    /// step brought, cut where the window ends.
    pub(super) async fn notes(&self, task: &Task) -> Result<String, OrchestratorError> {
        let mut notes = String::new();
        if let Some(summary) = &task.state().summary {
            let text = self.text_of(&summary.text).await?;
            let _ = writeln!(notes, "## Summary of steps 1 to {}\n{text}\n", summary.through + 1);
        }
        let room = task.spec().limits.context_window_limit * BYTES_PER_TOKEN * FULL_PERCENT / 100;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let outputs = self.outputs_since_summary(task).await?;
        for (position, output) in outputs.iter().enumerate() {
            // An even share of what is left: one large output must not hide those after it.
            let share = room.saturating_sub(notes.len()) / (outputs.len() - position);
            let text = cut(&output.text, share);
            let _ = writeln!(notes, "## {}: {}\n{text}\n", output.id, output.description);
        }
        Ok(notes)
    }

    /// What each completed step brought that no summary stands for.
    pub(super) async fn outputs_since_summary(
        &self,
        task: &Task,
    ) -> Result<Vec<StepOutput>, OrchestratorError> {
        let mut outputs = Vec::new();
        for step in uncovered(task) {
            let Some(output) = &step.output else { continue };
            outputs.push(StepOutput {
                id: step.plan.id.clone(),
                description: step.plan.description.clone(),
                text: self.text_of(output).await?,
            });
        }
        Ok(outputs)
    }

    /// A recorded content as text: strings as they are, everything else as JSON.
    pub async fn text_of(&self, payload: &Payload) -> Result<String, OrchestratorError> {
        Ok(match self.repository.content(payload).await? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// Whether what was collected has to be compressed before the next model call.
    pub fn needs_summary(&self, task: &Task) -> bool {
        let limit = task.spec().limits.context_window_limit * FULL_PERCENT / 100;
        let several = uncovered(task).filter(|step| step.output.is_some()).nth(1).is_some();
        several && uncovered_tokens(task) > limit
    }
}

/// Completed steps that no summary covers. What the items of a list brought is told by the list.
fn uncovered(task: &Task) -> impl Iterator<Item = &Step> {
    let from = task.state().summary.as_ref().map_or(0, |summary| summary.through as usize + 1);
    let brought = |step: &&Step| step.status == StepStatus::Completed && step.item.is_none();
    task.steps().iter().skip(from).filter(brought)
}

/// Estimated tokens of what no summary covers.
pub(super) fn uncovered_tokens(task: &Task) -> u64 {
    let bytes: u64 = uncovered(task).filter_map(|step| step.output.as_ref()).map(size_of).sum();
    bytes / BYTES_PER_TOKEN
}

/// Estimated tokens of a text.
pub(super) fn tokens(text: &str) -> u64 {
    text.len() as u64 / BYTES_PER_TOKEN
}

fn size_of(payload: &Payload) -> u64 {
    match payload {
        Payload::Inline(value) => value.to_string().len() as u64,
        Payload::Blob { size, .. } => *size,
    }
}

/// The plan with its states: the lines around the current step.
fn plan_lines(task: &Task, current: &Step) -> String {
    let shown: Vec<&Step> = task.steps().iter().filter(|step| !step.replaced).collect();
    let position = shown.iter().position(|step| step.plan.id == current.plan.id).unwrap_or(0);
    let from = position.saturating_sub(PLAN_LINES / 2);
    let mut lines = String::new();
    if from > 0 {
        let _ = writeln!(lines, "({from} earlier steps)");
    }
    for step in shown.iter().skip(from).take(PLAN_LINES) {
        let mark = if step.plan.id == current.plan.id { "now" } else { step.status.as_str() };
        let _ = writeln!(lines, "- {} [{mark}] {}", step.plan.id, step.plan.description);
    }
    let later = shown.len().saturating_sub(from + PLAN_LINES);
    if later > 0 {
        let _ = writeln!(lines, "({later} later steps)");
    }
    lines
}

/// The beginning of a text, with a word about what is left out.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n[… {} more bytes are recorded but not shown here]", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_says_how_much_is_missing_and_never_splits_a_character() {
        assert_eq!(cut("short", 10), "short");
        let cut = cut("ééé", 3);
        assert!(cut.starts_with("é\n[… 4 more bytes"), "{cut}");
    }
}
