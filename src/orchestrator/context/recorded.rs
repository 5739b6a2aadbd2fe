//! Reads what is recorded of a task by the handles that prompts name.

use super::super::promote::FROM_CHAT;
use super::excerpt::boundary;
use super::opening::MESSAGE;
use super::{Orchestrator, OrchestratorError};
use crate::task::{Entry, Event, FROM_FILE, Step, Taint, Task, TaskId};

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// Bytes of a content that one look shows at most, and if nobody says.
const MOST: usize = 16 * 1024;

/// A piece of a recorded content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The piece.
    pub text: String,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// How long the whole is, in bytes.
    pub total: usize,
}

impl Orchestrator {
    /// Whether a task takes one more pinned fact, or why not.
    pub(crate) async fn room_for_pin(&self, id: TaskId) -> Result<Result<(), String>, OrchestratorError> {
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        Ok(task.has_room_for_pin())
    }

    /// A piece of what is recorded of a task: of the `goal`, of the `summary`, of a message by the number of its entry
    /// (`message-4`), of the output of a step
    /// by its id, or of the result of one of its calls by id and number (`step-3/2`).
    pub async fn read_recorded(
        &self,
        id: TaskId,
        handle: &str,
        offset: usize,
        length: Option<usize>,
    ) -> Result<Recorded, OrchestratorError> {
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        let text = self.recorded_text(&task, handle).await?.ok_or_else(|| unknown(handle))?;
        let from = boundary(&text, offset);
        let to = boundary(&text, from.saturating_add(length.unwrap_or(MOST).min(MOST)));
        Ok(Recorded { text: text[from..to].to_owned(), offset: from, total: text.len() })
    }

    /// What a task has read by now.
    pub(crate) async fn taint_of(&self, id: TaskId) -> Result<Taint, OrchestratorError> {
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        Ok(task.state().taint.clone())
    }

    /// What people wrote of a task: its goal, unless another task chose that, and their messages.
    pub(crate) async fn said_by_people(&self, id: TaskId) -> Result<Vec<String>, OrchestratorError> {
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        let mut said = Vec::new();
        if task.spec().parent.is_none() {
            said.push(task.spec().goal.clone());
        }
        for seq in &task.state().messages {
            let entries = self.repository.journal(id, seq - 1, 1).await?;
            match entries.first().map(|entry| &entry.event) {
                // What was said in a chat before is also what a model said, and a file is whose it is.
                Some(Event::MessageReceived { text, by, .. }) if by != FROM_CHAT && by != FROM_FILE => {
                    said.push(self.text_of(text).await?);
                }
                _ => {}
            }
        }
        Ok(said)
    }

    /// Whether a model made a revision of the plan when the task had read something untrusted: then nobody
    /// can tell whose words its steps are. Steps that are done again since the task was put back are those of
    /// the plan that counted at the checkpoint.
    pub(crate) async fn is_made_of_what_was_read(
        &self,
        id: TaskId,
        revision: u32,
    ) -> Result<bool, OrchestratorError> {
        let task = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        let journal = self.whole_journal(id).await?;
        let mut plans = journal.iter().rev().filter(|entry| entry.event.new_plan().is_some());
        let mut made = plans.find(|entry| entry.event.new_plan().is_some_and(|(made, _)| made == revision));
        while let Some(Entry { event: Event::Restored { checkpoint, .. }, .. }) = made {
            made = plans.find(|entry| entry.seq < *checkpoint);
        }
        Ok(made.is_none_or(|entry| match &entry.event {
            Event::Planned { by, .. } => by.model.is_some() && task.is_untrusted(entry.seq),
            _ => true,
        }))
    }

    async fn recorded_text(&self, task: &Task, handle: &str) -> Result<Option<String>, OrchestratorError> {
        if handle == "goal" {
            return Ok(Some(task.spec().goal.clone()));
        }
        if handle == "summary" {
            let Some(summary) = &task.state().summary else { return Ok(None) };
            return Ok(Some(self.text_of(&summary.text).await?));
        }
        // The newest revision may have a step of the same name.
        let named = |id: &str| (0_u32..).zip(task.steps()).filter(|(_, step)| step.plan.id == id).last();
        if let Some((_, step)) = named(handle) {
            let Some(output) = &step.output else { return Ok(None) };
            return Ok(Some(self.text_of(output).await?));
        }
        let message = handle.strip_prefix(MESSAGE).and_then(|seq| seq.parse().ok());
        if let Some(seq) = message.filter(|seq| task.state().messages.contains(seq)) {
            return Ok(self.message(task.id, seq).await?.map(|written| written.text));
        }
        let Some((step, call)) = handle.rsplit_once('/') else { return Ok(None) };
        match (named(step), call.parse()) {
            (Some((index, step)), Ok(call)) => self.result_of(task.id, index, step, call).await,
            _ => Ok(None),
        }
    }

    /// What a call brought, from the journal: the call of a step that has ended is nowhere else.
    async fn result_of(
        &self,
        id: TaskId,
        index: u32,
        of: &Step,
        number: u32,
    ) -> Result<Option<String>, OrchestratorError> {
        let Some(mut after) = of.first_seq else { return Ok(None) };
        let mut found = None;
        loop {
            let entries = self.repository.journal(id, after, PAGE).await?;
            let Some(last) = entries.last() else { break };
            after = last.seq;
            let about = entries.into_iter().filter(|entry| entry.event.step() == Some(index));
            let mut is_over = false;
            for entry in about {
                match entry.event {
                    Event::ToolReturned { call, result, .. } | Event::ChildEnded { call, result, .. }
                        if call == number =>
                    {
                        found = Some(result);
                    }
                    Event::OutcomeDecided { call, result: Some(result), .. } if call == number => {
                        found = Some(result);
                    }
                    Event::InputGiven { call, answer, .. } if call == number => found = Some(answer),
                    Event::ModelAnswered { call, text, .. } if call == number => found = Some(text),
                    Event::StepCompleted { .. } => is_over = true,
                    _ => {}
                }
            }
            if is_over || found.is_some() {
                break;
            }
        }
        match found {
            Some(payload) => Ok(Some(self.text_of(&payload).await?)),
            None => Ok(None),
        }
    }
}

fn unknown(handle: &str) -> OrchestratorError {
    let problem = format!(
        "nothing is recorded under '{}': it is goal, summary, message-N, the id of a step, or such an id with the number of a \
         call behind it, as in step-3/2",
        handle.chars().take(100).collect::<String>()
    );
    OrchestratorError::Invalid { field: "handle", problem }
}
