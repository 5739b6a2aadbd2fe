//! What a model is told about the task around a step.
//!
//! ```text
//! instructions │ goal │ summary │ outputs since │ pinned facts │ plan, messages, step │ conversation
//! ─────────── stays the same from call to call ───────────────▶ │ changes with the step │ grows
//! ```
//!
//! Everything is read from the journal and cut to the window of the model that is asked.

mod digest;
mod excerpt;
mod facts;
mod opening;
mod pictures;
mod recorded;
mod untrusted;
mod view;
mod window;

use serde_json::Value;

use super::messages::Written;
use super::{Orchestrator, OrchestratorError, prompts};
use crate::models::{Model, Picture, Role, ToolSpec};
use crate::task::{Event, Opening, Payload, Step, StepStatus, Task, TaskSpec, TraceType, View, as_text};

pub(crate) use digest::{Digest, Piece, fold_point, notes_of, prose_of};
pub(crate) use excerpt::{cut, excerpt};
pub(crate) use facts::{is_pin_of_nothing, pin_in};
pub use opening::StepOutput;
use opening::Told;
pub(crate) use pictures::beside;
pub(in crate::orchestrator) use pictures::newest_within;
pub use recorded::Recorded;
pub(crate) use untrusted::{is_marked, marked, marks_of, room_within};
pub use view::{ContextPart, ContextView, FoldedRange};
pub use window::Window;

/// The tool with which a model pins a fact.
pub(crate) const PIN_TOOL: &str = "context_pin";

/// Entries among which an older summary is looked for.
const SUMMARIES: u32 = 500;

/// A summary is made when what it can cover takes this share of the opening, in percent.
const CROWDED_PERCENT: usize = 90;

/// The opening of a step's conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepContext {
    /// The instructions.
    pub system: String,
    /// Goal, and what earlier steps brought: what other steps are told too.
    pub background: String,
    /// The facts that are pinned.
    pub pins: String,
    /// Plan, messages, and the step itself.
    pub brief: String,
    /// Pictures that go with the messages.
    pub pictures: Vec<Picture>,
    /// What the background shows.
    pub shows: View,
}

impl StepContext {
    /// Whether something of it is only shown in part.
    pub fn is_cut(&self) -> bool {
        self.background.contains(excerpt::CUT) || self.brief.contains(excerpt::CUT)
    }

    /// The first message of the conversation.
    ///
    /// `untrusted` if the digest may hold content from outside.
    pub fn first_message(&self, digest: Option<&str>, untrusted: bool) -> String {
        let mut text = self.pins.clone();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&self.brief);
        if let Some(digest) = digest {
            text.push_str("\n\nWhat you did so far in this step, older turns compressed:\n");
            // What is made of material is material.
            match untrusted || self.is_marked() {
                true => text.push_str(&marked("digest", digest)),
                false => text.push_str(digest),
            }
        }
        text
    }

    /// Whether it holds content from outside.
    fn is_marked(&self) -> bool {
        is_marked(&self.background) || is_marked(&self.pins)
    }

    /// The parts as they are recorded.
    pub fn parts(&self) -> Vec<Payload> {
        [&self.system, &self.pins, &self.brief].map(Payload::text).into()
    }
}

impl Orchestrator {
    /// The room that a task leaves a model for one call.
    pub fn window(&self, model: &dyn Model, spec: &TaskSpec) -> Window {
        Window::of(model, spec.limits.context_window_limit, self.models.output_reserve())
    }

    /// The room that a model has for one turn of a conversation that is no task.
    pub fn chat_window(&self, model: &dyn Model) -> Window {
        Window::of(model, self.limits().context_window_limit, self.models.output_reserve())
    }

    /// The opening of a step's conversation, within a window and beside these tools.
    pub async fn step_context(
        &self,
        task: &Task,
        step: &Step,
        window: &Window,
        tools: Option<&[ToolSpec]>,
    ) -> Result<StepContext, OrchestratorError> {
        let mut system = prompts::step(tools.is_some());
        if let Some(instructions) = &task.spec().instructions {
            system.push_str("\n\n");
            system.push_str(instructions);
        }
        let whole = window.opening_bytes();
        let pins = opening::pins(&self.pins_before(task, step).await?);
        let messages = self.messages_before(task, step).await?;
        let shown = pictures::newest(&messages, window.pictures_bytes());
        let brief = opening::brief(task, step, &pictures::told(&messages, &shown), whole);
        let pictures = self.pictures_among(&messages, &shown).await?;
        let taken: usize = tools.unwrap_or_default().iter().map(ToolSpec::bytes).sum();
        let taken = taken + pictures.iter().map(Picture::bytes).sum::<usize>();
        let room = whole.saturating_sub(taken + system.len() + pins.len() + brief.len());
        let (share, _) = window.result_bytes();
        let summary = task.state().summary.as_ref().map(|summary| summary.through);
        let outputs = ranges(task);
        let shows = View { summary, outputs, pictures: shown, room: room as u64, share: share as u64 };
        let background = self.background(task, &shows).await?;
        Ok(StepContext { system, background, pins, brief, pictures, shows })
    }

    /// The opening as it was recorded.
    pub async fn recorded_context(
        &self,
        task: &Task,
        opening: &Opening,
    ) -> Result<Option<StepContext>, OrchestratorError> {
        let [system, pins, brief] = opening.parts.as_slice() else { return Ok(None) };
        Ok(Some(StepContext {
            system: self.text_of(system).await?,
            background: self.background(task, &opening.shows).await?,
            pins: self.text_of(pins).await?,
            brief: self.text_of(brief).await?,
            pictures: self.pictures_at(task, &opening.shows.pictures).await?,
            shows: opening.shows.clone(),
        }))
    }

    /// Goal, and what earlier steps brought, as far as the view shows it.
    async fn background(&self, task: &Task, shows: &View) -> Result<String, OrchestratorError> {
        let room = usize::try_from(shows.room).unwrap_or(usize::MAX);
        let share = usize::try_from(shows.share).unwrap_or(usize::MAX);
        let mut background = opening::goal(&task.spec().goal, room);
        let summary = self.summary_of(task, shows.summary).await?;
        let mut outputs = Vec::new();
        for (first, last) in &shows.outputs {
            let steps = task.steps().iter().skip(*first as usize).take((last - first + 1) as usize);
            self.add_outputs(task, steps, &mut outputs).await?;
        }
        let summary = summary.as_ref().map(|(through, told)| (*through, told));
        let left = room.saturating_sub(background.len() + 40);
        let notes = opening::notes(summary, &outputs, left, share);
        if !notes.is_empty() {
            background.push_str("\nWhat earlier steps brought:\n");
            background.push_str(&notes);
        }
        Ok(background)
    }

    /// The summary that stood for the steps through this one: that, and its text.
    async fn summary_of(
        &self,
        task: &Task,
        through: Option<u32>,
    ) -> Result<Option<(u32, Told)>, OrchestratorError> {
        let Some(through) = through else { return Ok(None) };
        // What it stands for says where it comes from, and does not change any more.
        let covered = task.steps().iter().take(through as usize + 1);
        let untrusted = covered.filter(|step| task.is_untrusted_output(step)).count() > 0;
        let told = |text: String| Some((through, Told { text, untrusted }));
        let newest = task.state().summary.as_ref().filter(|summary| summary.through == through);
        if let Some(summary) = newest {
            return Ok(told(self.text_of(&summary.text).await?));
        }
        // A step beside this one has replaced it since.
        let entries = self.repository.latest_of(task.id, TraceType::Checkpoint, SUMMARIES).await?;
        for entry in entries.into_iter().rev() {
            match entry.event {
                Event::ContextSummarized { through: known, summary, .. } if known == through => {
                    return Ok(told(self.text_of(&summary).await?));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    async fn add_outputs<'a>(
        &self,
        task: &Task,
        steps: impl Iterator<Item = &'a Step>,
        outputs: &mut Vec<StepOutput>,
    ) -> Result<(), OrchestratorError> {
        // What the items of a list brought is told by the list.
        for step in steps.filter(|step| step.item.is_none()) {
            let Some(output) = &step.output else { continue };
            outputs.push(StepOutput {
                id: step.plan.id.clone(),
                description: step.plan.description.clone(),
                text: self.text_of(output).await?,
                untrusted: task.is_untrusted_output(step),
            });
        }
        Ok(())
    }

    /// What people wrote before the step was started first. What they wrote since is part of the
    /// step's own conversation: its opening must stay what it was.
    async fn messages_before(&self, task: &Task, step: &Step) -> Result<Vec<Written>, OrchestratorError> {
        self.messages(task, step.first_seq.unwrap_or(i64::MAX)).await
    }

    /// What people wrote before this entry, oldest first.
    pub(super) async fn messages(&self, task: &Task, before: i64) -> Result<Vec<Written>, OrchestratorError> {
        let mut messages = Vec::new();
        for seq in task.state().messages.iter().filter(|seq| **seq < before) {
            messages.extend(self.message(task.id, *seq).await?);
        }
        // What they pinned stands among what is pinned.
        messages.retain(|written| pin_in(&written.text).is_none());
        Ok(messages)
    }

    /// The facts that were pinned before the step was started first, each once.
    async fn pins_before(&self, task: &Task, step: &Step) -> Result<Vec<Told>, OrchestratorError> {
        self.pins(task, step.first_seq.unwrap_or(i64::MAX)).await
    }

    async fn pins(&self, task: &Task, before: i64) -> Result<Vec<Told>, OrchestratorError> {
        let mut pins: Vec<Told> = Vec::new();
        for seq in task.state().pins.iter().filter(|seq| **seq < before) {
            let Some(pin) = self.pinned_at(task, *seq).await? else { continue };
            if !pin.text.is_empty() && pins.iter().all(|known| known.text != pin.text) {
                pins.push(pin);
            }
        }
        Ok(pins)
    }

    /// What a person pinned is theirs, whatever the task has read.
    async fn pinned_at(&self, task: &Task, seq: i64) -> Result<Option<Told>, OrchestratorError> {
        let entries = self.repository.journal(task.id, seq - 1, 1).await?;
        match entries.first().map(|entry| &entry.event) {
            Some(Event::FactPinned { text, step, .. }) => {
                let untrusted = step.is_some() && task.is_untrusted(seq);
                Ok(Some(Told { text: self.text_of(text).await?, untrusted }))
            }
            _ => Ok(None),
        }
    }

    /// The working notes of a task in so many bytes: the summary of what was compressed, then what
    /// each later step brought, and what is pinned.
    pub(super) async fn notes(&self, task: &Task, window: &Window) -> Result<String, OrchestratorError> {
        let through = task.state().summary.as_ref().map(|summary| summary.through);
        let summary = self.summary_of(task, through).await?;
        let pins = opening::pins(&self.pins(task, i64::MAX).await?);
        let outputs = self.outputs_since_summary(task).await?;
        let summary = summary.as_ref().map(|(through, told)| (*through, told));
        let room = window.opening_bytes().saturating_sub(pins.len());
        Ok(opening::notes(summary, &outputs, room, window.result_bytes().0) + &pins)
    }

    /// What each completed step brought that no summary stands for.
    pub(super) async fn outputs_since_summary(
        &self,
        task: &Task,
    ) -> Result<Vec<StepOutput>, OrchestratorError> {
        let mut outputs = Vec::new();
        self.add_outputs(task, uncovered(task).map(|(_, step)| step), &mut outputs).await?;
        Ok(outputs)
    }

    /// A recorded content.
    pub async fn content_of(&self, payload: &Payload) -> Result<Value, OrchestratorError> {
        Ok(self.repository.content(payload).await?)
    }

    /// A recorded content as text: strings as they are, everything else as JSON.
    pub async fn text_of(&self, payload: &Payload) -> Result<String, OrchestratorError> {
        Ok(as_text(self.content_of(payload).await?))
    }

    /// Whether what was collected has to be compressed before the next model call.
    pub fn needs_summary(&self, task: &Task) -> bool {
        let spec = task.spec();
        let Ok(model) = self.models.for_role(Role::Execute, spec.chat_model.as_ref()) else { return false };
        let window = self.window(model.as_ref(), spec);
        let share = window.result_bytes().0 as u64;
        let mut outputs = 0_u64;
        let shown: u64 = uncovered(task)
            .filter_map(|(_, step)| Some((step, step.output.as_ref()?)))
            .inspect(|_| outputs += 1)
            .map(|(step, output)| output.size().min(share) + step.plan.description.len() as u64)
            .sum();
        let summary = task.state().summary.as_ref().map_or(0, |summary| summary.text.size());
        outputs > 1 && shown + summary > (window.opening_bytes() * CROWDED_PERCENT / 100) as u64
    }
}

/// Completed steps that no summary covers, with their indexes. What the items of a list brought is
/// told by the list.
fn uncovered(task: &Task) -> impl Iterator<Item = (u32, &Step)> {
    let from = task.state().summary.as_ref().map_or(0, |summary| summary.through as usize + 1);
    let steps = (0_u32..).zip(task.steps()).skip(from);
    steps.filter(|(_, step)| step.status == StepStatus::Completed && step.item.is_none())
}

/// The same as ranges of indexes. Steps between them that never bring anything do not divide them:
/// a range would be longer than what it leaves out.
fn ranges(task: &Task) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (index, step) in uncovered(task).filter(|(_, step)| step.output.is_some()) {
        let _ = step;
        match ranges.last_mut() {
            Some((_, last)) if between_is_settled(task, *last, index) => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    ranges
}

fn between_is_settled(task: &Task, last: u32, index: u32) -> bool {
    let is_nothing = |step: &Step| step.item.is_some() || (step.is_settled() && step.output.is_none());
    (last + 1..index).all(|between| task.step(between).is_some_and(is_nothing))
}

/// Estimated bytes of what no summary covers.
pub(super) fn uncovered_bytes(task: &Task) -> u64 {
    uncovered(task).filter_map(|(_, step)| step.output.as_ref()).map(Payload::size).sum()
}

/// The first index that no summary covers.
pub(super) fn uncovered_from(task: &Task) -> u32 {
    task.state().summary.as_ref().map_or(0, |summary| summary.through + 1)
}
