//! What is in the window of a task, for people.

use schemars::JsonSchema;
use serde::Serialize;

use super::{StepContext, Window, opening};
use crate::models::{Picture, Role, ToolSpec};
use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::task::{
    BlobHash, Call, CallState, CallSubject, Event, ModelName, Payload, Step, StepStatus, StepType, Task,
    Timestamp, TraceType,
};

/// Summaries that are shown at most.
const FOLDED: u32 = 200;

/// What a prompt of the task holds now.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContextView {
    /// The step whose prompt it is: the one that runs or comes next. None once there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The model that is asked.
    pub model: ModelName,
    /// Tokens of a prompt and its answer: the smaller one of `contextWindowLimit` and of the model's own
    /// window.
    pub limit: u64,
    /// Tokens that a prompt may have; the rest is for the answer.
    pub room: u64,
    /// Tokens from which on what is old is compressed.
    pub compacts_at: u64,
    /// Estimated tokens of the whole prompt.
    pub tokens: u64,
    /// Tokens that a thousand bytes are taken for: no count is exact.
    pub density: u64,
    /// Whether that follows from what the provider of the model reported since the process began that was
    /// asked; until then it is a first guess on the safe side.
    pub calibrated: bool,
    /// The prompt part by part, in its order.
    pub parts: Vec<ContextPart>,
    /// What summaries stand for, oldest first.
    pub folded: Vec<FoldedRange>,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContextPart {
    /// What it is: `instructions`, `tools`, `background`, `pins`, `step`, `pictures`, `digest`, `conversation`.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// The same in estimated tokens.
    pub tokens: u64,
    /// How it reads; of pictures their names, and whether the model refused to be shown them; none for the turns of
    /// a conversation, which the journal has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What a summary stands for.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoldedRange {
    /// The entry that records it.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The step in whose conversation it is; none for a summary of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The first call, or the index of the first step, that was read for it.
    pub from: u32,
    /// The last one.
    pub through: u32,
    /// The model, or `truncation`.
    pub by: String,
    /// Which instructions the model had.
    pub prompt: String,
    /// The hash of what was compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<BlobHash>,
    /// Estimated tokens before.
    pub tokens_before: u64,
    /// Estimated tokens after.
    pub tokens_after: u64,
}

impl Orchestrator {
    /// What the next prompt of a task holds, as far as it is known by now.
    pub async fn context_view(&self, task: &Task) -> Result<ContextView, OrchestratorError> {
        let spec = task.spec();
        let step = current(task);
        let named = step.and_then(|step| step.plan.model.as_ref());
        let named = named.filter(|name| self.models.allowed().contains(name));
        // Whoever looks wants to see, also where the key of the model is missing.
        let model = self.models.to_look_at(Role::Execute, named.or(spec.chat_model.as_ref()));
        let window = self.window(model.as_ref(), spec);
        let parts = match step {
            Some(step) => self.parts_of_step(task, step, &window).await?,
            None => self.parts_at_rest(task, &window).await?,
        };
        let entries = self.repository.latest_of(task.id, TraceType::Checkpoint, FOLDED).await?;
        Ok(ContextView {
            step: step.map(|step| step.plan.id.clone()),
            model: model.name().clone(),
            limit: window.limit(),
            room: window.room(),
            compacts_at: window.full(),
            tokens: parts.iter().map(|part| part.tokens).sum(),
            density: window.density(),
            calibrated: model.is_calibrated(),
            parts,
            folded: entries
                .into_iter()
                .filter_map(|entry| folded(entry.seq, entry.at, entry.event))
                .collect(),
        })
    }

    async fn parts_of_step(
        &self,
        task: &Task,
        step: &Step,
        window: &Window,
    ) -> Result<Vec<ContextPart>, OrchestratorError> {
        let tools = match step.plan.kind {
            StepType::ToolCall => Some(self.tool_specs_of(task).await?),
            _ => None,
        };
        let recorded = step.calls.iter().find_map(|call| call.opening.as_ref());
        let recorded = match recorded {
            Some(opening) => self.recorded_context(task, opening).await?,
            None => None,
        };
        let StepContext { system, background, pins, brief, pictures, .. } = match recorded {
            Some(context) => context,
            None => self.step_context(task, step, window, tools.as_deref()).await?,
        };
        let offered: usize = tools.iter().flatten().map(ToolSpec::bytes).sum();
        let digest = match &step.digest {
            Some(digest) => self.text_of(&digest.text).await?,
            None => String::new(),
        };
        let parts = [
            text("instructions", system, window),
            sized("tools", offered, window),
            text("background", background, window),
            text("pins", pins, window),
            text("step", brief, window),
            shown(step, &pictures, window),
            text("digest", digest, window),
            sized("conversation", conversation_bytes(step, window.result_bytes().0), window),
        ];
        Ok(parts.into_iter().filter(|part| part.bytes > 0).collect())
    }

    /// Nothing is asked any more, or not of a model: what a step would be told.
    async fn parts_at_rest(
        &self,
        task: &Task,
        window: &Window,
    ) -> Result<Vec<ContextPart>, OrchestratorError> {
        let goal = opening::goal(&task.spec().goal, window.opening_bytes());
        let notes = self.notes(task, window).await?;
        Ok(vec![text("background", format!("{goal}\n{notes}"), window)])
    }
}

/// The step that asks a model now, or the next one that will.
fn current(task: &Task) -> Option<&Step> {
    let asks = |step: &&Step| {
        !step.is_settled()
            && match step.plan.kind {
                StepType::LlmReasoning => true,
                StepType::ToolCall => step.plan.tool.is_none(),
                StepType::Checkpoint | StepType::Summarization => false,
            }
    };
    if task.status().is_terminal() {
        return None;
    }
    let running = task.steps().iter().filter(asks).find(|step| step.status == StepStatus::Running);
    running.or_else(|| task.steps().iter().find(asks))
}

/// The pictures of a prompt. A model that refused those of its last turn will not see them at the next either.
fn shown(step: &Step, pictures: &[Picture], window: &Window) -> ContextPart {
    let is_turn = |call: &&Call| {
        matches!(call.subject, CallSubject::Model { .. }) && call.state == CallState::Committed
    };
    let last = step.calls.iter().rev().find(is_turn);
    let refused = last.is_some_and(|call| call.without_pictures).then(|| REFUSED.to_owned());
    let names = pictures.iter().map(Picture::in_short);
    let lines: Vec<String> = refused.into_iter().chain(names).collect();
    ContextPart {
        text: Some(lines.join("\n")).filter(|text| !text.is_empty()),
        ..sized("pictures", pictures.iter().map(Picture::bytes).sum(), window)
    }
}

/// What is said of pictures that a model did not see.
const REFUSED: &str = "The model refused them: it was told their names, and saw none of them.";

/// About how many bytes the turns have that no digest stands for.
fn conversation_bytes(step: &Step, share: usize) -> usize {
    let covered = step.digest.as_ref().map_or(0, |digest| digest.through);
    let calls = step.calls.iter().filter(|call| call.number > covered && call.state == CallState::Committed);
    let size = |payload: &Payload| usize::try_from(payload.size()).unwrap_or(usize::MAX);
    let asked = |call: &Call| -> usize {
        let thought = call.thinking.as_ref().map_or(0, size);
        let asked = call.requests.iter().map(|request| request.tool.len() + size(&request.arguments));
        thought + asked.sum::<usize>()
    };
    calls.map(|call| call.result.as_ref().map_or(0, |result| size(result).min(share)) + asked(call)).sum()
}

fn sized(name: &'static str, bytes: usize, window: &Window) -> ContextPart {
    ContextPart { name, bytes: bytes as u64, tokens: window.tokens(bytes as u64), text: None }
}

fn text(name: &'static str, text: String, window: &Window) -> ContextPart {
    ContextPart {
        text: Some(text.clone()).filter(|text| !text.is_empty()),
        ..sized(name, text.len(), window)
    }
}

fn folded(seq: i64, at: Timestamp, event: Event) -> Option<FoldedRange> {
    match event {
        Event::ContextSummarized {
            from, through, by, prompt, input, tokens_before, tokens_after, ..
        } => Some(FoldedRange {
            seq,
            at,
            step: None,
            from,
            through,
            by,
            prompt,
            input,
            tokens_before,
            tokens_after,
        }),
        Event::ConversationSummarized {
            step,
            from,
            through,
            by,
            prompt,
            input,
            tokens_before,
            tokens_after,
            ..
        } => {
            let (step, input) = (Some(step), Some(input));
            Some(FoldedRange { seq, at, step, from, through, by, prompt, input, tokens_before, tokens_after })
        }
        _ => None,
    }
}
