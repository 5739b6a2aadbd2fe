//! Compresses what was collected, so that the work goes on within the window. Nothing is
//! lost: the journal keeps every content, the summary only stands for it in prompts.
//!
//! Facts are kept word for word by rules; a model tells the rest. If none answers, the rest is cut
//! deterministically: a placeholder never replaces a context.

use super::context::{
    Digest, Piece, fold_point, marked, notes_of, room_within, uncovered_bytes, uncovered_from,
};
use super::{Orchestrator, OrchestratorError, Window, prompts};
use crate::models::{Message, Model, ModelError, Request, Role};
use crate::task::{BlobHash, CallAt, Event, Ledger, ModelName, Payload, Task, Usage};

/// What marks name as the origin of what is compressed.
const NOTES: &str = "notes";

/// What is compressed, whatever it is of.
#[derive(Debug, Clone, Copy)]
pub struct Compression<'a> {
    /// What the text is for, in the user's words.
    pub goal: &'a str,
    /// The model that was wished for.
    pub wish: Option<&'a ModelName>,
    /// The summary that already stands for what came before.
    pub earlier: Option<&'a str>,
    /// What is left of the budget, if there is one.
    pub ledger: Option<Ledger>,
    /// Bytes that the summary may have.
    pub room: usize,
    /// The step whose conversation it is, if it is one's.
    pub step: Option<u32>,
}

/// What stands for a context.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its text.
    pub text: String,
    /// The model, or `truncation`.
    pub by: String,
    /// Which instructions the model had.
    pub prompt: String,
    /// The hash of what was compressed.
    pub input: BlobHash,
    /// What it consumed.
    pub usage: Usage,
}

/// Older messages that a summary stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// How many of the first messages it stands for.
    pub messages: usize,
    /// What stands for them.
    pub summary: Summary,
}

impl Orchestrator {
    /// Compresses the outputs of every step that is settled, together with the summary there
    /// is. The fact to record; `None` if there is nothing to compress.
    ///
    /// The call has to fit into the `ledger`: what is left of the budget, with all calls in flight.
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
        let spec = task.spec();
        let earlier = match &task.state().summary {
            Some(summary) => Some(self.text_of(&summary.text).await?),
            None => None,
        };
        let pieces: Vec<Piece> = outputs
            .into_iter()
            .map(|output| Piece {
                title: format!("{}: {}", output.id, output.description),
                text: output.text,
                facts: Vec::new(),
            })
            .collect();
        let model = self.models.for_role(Role::Execute, spec.chat_model.as_ref())?;
        let window = self.window(model.as_ref(), spec);
        let compression = Compression {
            goal: &spec.goal,
            wish: spec.chat_model.as_ref(),
            earlier: earlier.as_deref(),
            ledger: Some(ledger),
            room: window.summary_bytes(),
            step: None,
        };
        let summary = self.compress(&pieces, compression, spec.limits.context_window_limit).await?;
        Ok(Some(Event::ContextSummarized {
            step,
            from: uncovered_from(task),
            through,
            tokens_before: window.tokens(uncovered_bytes(task)),
            tokens_after: window.tokens(summary.text.len() as u64),
            summary: Payload::text(summary.text),
            by: summary.by,
            prompt: summary.prompt,
            input: Some(summary.input),
            usage: summary.usage,
        }))
    }

    /// Folds the older messages of a conversation into a summary: those that leave the recent ones
    /// within their share of the window, or all of them if that is not enough. `None` if there is
    /// nothing to fold. `handle` names the recorded result at a position.
    ///
    /// For the conversation of a step, and for the history of a thread.
    pub async fn fold_messages(
        &self,
        messages: &[Message],
        handle: impl Fn(usize) -> Option<String> + Send,
        compression: Compression<'_>,
        window: &Window,
        recent: usize,
    ) -> Result<Option<Folded>, OrchestratorError> {
        let count = fold_point(messages, recent);
        if count == 0 {
            return Ok(None);
        }
        let pieces = Piece::of_messages(&messages[..count], handle);
        let summary = self.compress(&pieces, compression, window.limit()).await?;
        Ok(Some(Folded { messages: count, summary }))
    }

    /// Compresses pieces into a summary of at most `room` bytes (pinned facts aside).
    async fn compress(
        &self,
        pieces: &[Piece],
        compression: Compression<'_>,
        limit: u64,
    ) -> Result<Summary, OrchestratorError> {
        let (mut digest, all) = taken_apart(pieces, compression.earlier);
        let input = BlobHash::of(notes_of(&all, usize::MAX).as_bytes());
        let (told, usage) = self.told(&all, compression, limit).await?;
        let (prose, by) = told.unwrap_or_else(|| (notes_of(&all, compression.room), "truncation".to_owned()));
        digest.prose = prose.trim().to_owned();
        let text = digest.text(compression.room);
        Ok(Summary { text, by, prompt: prompts::version(prompts::SUMMARIZE), input, usage })
    }

    /// What a model makes of it, and which; `None` if none answers. And what that took.
    async fn told(
        &self,
        pieces: &[Piece],
        compression: Compression<'_>,
        limit: u64,
    ) -> Result<(Option<(String, String)>, Usage), OrchestratorError> {
        let Ok(model) = self.models.for_role(Role::Summarize, compression.wish) else {
            return Ok((None, Usage::default()));
        };
        let mut request = compression.request(model.as_ref(), limit, self.models.output_reserve(), pieces);
        let window = Window::of(model.as_ref(), limit, self.models.output_reserve());
        let tokens = window.tokens(compression.room as u64).max(64);
        request.max_output_tokens = u32::try_from(tokens).ok();
        request.at = compression.step.map(|step| CallAt { step, call: 0 });
        if let Some(mut ledger) = compression.ledger {
            let reserve = self.reserve_for(model.as_ref(), &request);
            ledger.reserve(reserve, self.now()).map_err(OrchestratorError::OutOfBudget)?;
        }
        Ok(match model.generate(request).await {
            Ok(answer) if answer.text.trim().is_empty() => (None, answer.usage),
            Ok(answer) => (Some((answer.text, model.name().to_string())), answer.usage),
            Err(error) => {
                tell_of(&error);
                (None, error.usage().unwrap_or_default())
            }
        })
    }
}

fn tell_of(error: &ModelError) {
    tracing::warn!(%error, "no model summarises, the notes are cut");
}

impl Compression<'_> {
    /// The question to a model, within that model's own window.
    fn request(&self, model: &dyn Model, limit: u64, answer: u64, pieces: &[Piece]) -> Request {
        let window = Window::of(model, limit, answer);
        let head =
            format!("Goal of the task:\n{}\n\nNotes:\n", super::cut(self.goal, window.summary_bytes()));
        let room = window.opening_bytes().saturating_sub(prompts::SUMMARIZE.len() + head.len());
        let notes = marked(NOTES, &notes_of(pieces, room_within(NOTES, room)));
        Request::new(Role::Summarize, self.goal, prompts::SUMMARIZE, head + &notes)
    }
}

/// What is kept word for word, and what is to be told: the summary before comes first.
fn taken_apart(pieces: &[Piece], earlier: Option<&str>) -> (Digest, Vec<Piece>) {
    let mut digest = earlier.map(Digest::read).unwrap_or_default();
    digest.facts.extend(pieces.iter().flat_map(Piece::all_facts));
    let before = Some(std::mem::take(&mut digest.prose)).filter(|prose| !prose.trim().is_empty());
    let before = before.map(|text| Piece { title: "Before".to_owned(), text, facts: Vec::new() });
    (digest, before.into_iter().chain(pieces.iter().cloned()).collect())
}

/// A summary of messages by rules alone: what there is when no model answers.
#[cfg(test)]
pub(crate) fn by_rules(messages: &[Message], earlier: Option<&str>, room: usize) -> String {
    let (mut digest, all) = taken_apart(&Piece::of_messages(messages, |_| None), earlier);
    digest.prose = notes_of(&all, room).trim().to_owned();
    digest.text(room)
}

/// The largest index up to which every step is settled: a step that still runs must not
/// disappear behind a summary.
fn settled_prefix(task: &Task) -> Option<u32> {
    let first_open = task.first_unsettled().unwrap_or(task.steps().len() as u32);
    first_open.checked_sub(1)
}
