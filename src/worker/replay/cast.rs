//! The models and tools of a replay, as the engine sees them.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};

use super::script::{Kept, Turn};
use super::stage::Stage;
use crate::models::{Answer, Chunk, Model, ModelError, Request, Role, Understudy};
use crate::orchestrator::{RecordedDelegate, Rehearsal};
use crate::task::{
    CallAt, Effect, Event, Exceeded, Fault, Labels, ModelName, Reserve, Resource, TaskId, ToolChange,
};
use crate::tools::{CallContext, Origin, Tool, ToolDescription, ToolError, ToolOutput};

/// Bytes of a tool that is described by nothing.
const BARE: usize = 2;

/// The tool that stands for the descriptions of all: a prompt has as much room as it had.
const STAND_IN: &str = "tools_as_recorded";

/// Hands out models that know what is recorded.
pub(super) struct Cast(pub(super) Arc<Stage>, pub(super) ModelName);

impl Understudy for Cast {
    fn model(&self, _: Role, wanted: Option<&ModelName>, step: Option<u32>) -> Arc<dyn Model> {
        let name = wanted.cloned().or_else(|| self.0.model(step)).unwrap_or_else(|| self.1.clone());
        Arc::new(Recorded { stage: self.0.clone(), name, step })
    }
}

struct Recorded {
    stage: Arc<Stage>,
    name: ModelName,
    step: Option<u32>,
}

#[async_trait]
impl Model for Recorded {
    fn name(&self) -> &ModelName {
        &self.name
    }

    fn reserve(&self, request: &Request) -> Option<Reserve> {
        self.stage.reserve(request.at?)
    }

    fn window(&self) -> Option<u64> {
        self.stage.prompt(self.step).map(|prompt| prompt.window)
    }

    fn tokens(&self, bytes: u64) -> u64 {
        let density = self.stage.prompt(self.step).map_or(300, |prompt| prompt.density);
        bytes.saturating_mul(density).div_ceil(1000)
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        match request.at.filter(|at| at.call > 0) {
            Some(at) => self.stage.said(&request, at).await.map_err(|(fault, partial)| {
                let why = ModelError::Recorded(fault);
                match partial {
                    Some(partial) => ModelError::BrokenOff { partial, why: Box::new(why) },
                    None => why,
                }
            }),
            None => {
                let unknown = || Fault::permanent("not_recorded", "no answer to this is recorded");
                let told = self.stage.told(&request).unwrap_or_else(|| Err(unknown()));
                told.map_err(ModelError::Recorded)
            }
        }
    }

    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let answer = self.generate(request).await?;
        Ok(stream::iter([Ok(Chunk::Text(answer.text.clone())), Ok(Chunk::End(answer))]).boxed())
    }

    async fn speak(&self, request: Request, _: crate::models::Hear<'_>) -> Result<Answer, ModelError> {
        self.generate(request).await
    }
}

/// The tools that were there, and one that takes the room of their descriptions.
pub(super) fn tools(stage: &Arc<Stage>, id: TaskId, own: usize) -> Vec<Arc<dyn Tool>> {
    let (kept, delegates, reconcilers, offered) = stage.script(|script| {
        let reconcilers: Vec<String> = script
            .journal
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::OutcomeDecided { by, .. } => by.strip_prefix("reconcile:").map(str::to_owned),
                _ => None,
            })
            .collect();
        let offered = script.journal.iter().filter_map(|entry| match &entry.event {
            Event::ModelRequested { prompt, .. } => prompt.map(|prompt| prompt.tools),
            _ => None,
        });
        (script.tools.clone(), script.delegates.clone(), reconcilers, offered.max().unwrap_or(0))
    });
    let offered = usize::try_from(offered).unwrap_or(0);
    let bare = |name: &String| name.len() + BARE;
    let named: usize = kept.keys().chain(&delegates).map(bare).sum();
    let taken = named + own + STAND_IN.len() + BARE;
    let filler = " ".repeat(offered.saturating_sub(taken));
    let reconciler = reconcilers.first().cloned();
    let tool = |name: &str, kept: Kept, about: String| -> Arc<dyn Tool> {
        let toolkit = if kept.asks { "person" } else { "recorded" }.to_owned();
        Arc::new(Played {
            description: ToolDescription {
                name: name.to_owned(),
                description: about,
                schema: json!({}).into(),
                effect: kept.effect,
                origin: Origin::App { toolkit },
            },
            stage: stage.clone(),
            id,
            reconciler: reconciler.clone().filter(|reconciler| reconciler != name),
        })
    };
    let mut tools: Vec<Arc<dyn Tool>> =
        kept.iter().map(|(name, kept)| tool(name, *kept, String::new())).collect();
    tools.push(tool(
        STAND_IN,
        Kept { effect: Effect::Unsafe, asks: false, labels: Labels::default() },
        filler,
    ));
    if let Some(name) = reconciler.as_ref().filter(|name| !kept.contains_key(*name)) {
        tools.push(tool(
            name,
            Kept { effect: Effect::ReadOnly, asks: false, labels: Labels::default() },
            String::new(),
        ));
    }
    tools
}

/// What the engine would find out by itself.
pub(super) struct Known(pub(super) Arc<Stage>);

#[async_trait]
impl Rehearsal for Known {
    fn delegate(&self, name: &str, at: Option<CallAt>) -> Option<RecordedDelegate> {
        self.0.delegated(name, at)
    }

    fn handed_over(&self, at: CallAt, arguments: &Value) {
        self.0.handed_over(at, arguments);
    }

    fn change(&self, at: CallAt, attempt: u32) -> Option<ToolChange> {
        self.0.changed(at, attempt)
    }

    fn did_not_fit(&self, at: CallAt) -> bool {
        self.0.did_not_fit(at)
    }

    fn begins(&self, steps: Vec<u32>) -> Vec<u32> {
        self.0.script(|script| script.order.begins(steps, script.words_at()))
    }

    fn is_turn(&self, step: u32) -> bool {
        self.0.script(|script| script.turn(step) == Turn::Now)
    }

    async fn turn(&self, step: u32) -> bool {
        self.0.turn(step).await
    }

    fn is_outcome_due(&self, at: CallAt) -> bool {
        self.0.script(|script| {
            let ended = script.next(at).and_then(|attempt| attempt.ended);
            ended.is_none_or(|ended| script.is_outcome_due(at.step, ended))
        })
    }

    fn may_rest(&self) -> bool {
        self.0.script(|script| match script.order.pause() {
            Some(pause) => script.words_at() > pause,
            None => script.outside.is_empty(),
        })
    }

    fn no_room(&self, at: CallAt) -> Option<Exceeded> {
        self.0.no_room(at)
    }

    fn warned(&self, at: CallAt) -> Option<(Resource, u64)> {
        self.0.warned(at)
    }

    fn noted(&self, event: &Event) {
        self.0.noted(event);
    }

    fn written(&self) {
        self.0.script(|script| script.order.written());
        self.0.stir();
    }
}

struct Played {
    description: ToolDescription,
    stage: Arc<Stage>,
    id: TaskId,
    reconciler: Option<String>,
}

#[async_trait]
impl Tool for Played {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    fn reconciler(&self) -> Option<&str> {
        self.reconciler.as_deref()
    }

    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        let name = &self.description.name;
        let of = context.idempotency_key.strip_prefix(&format!("{}-", self.id));
        let of = of.map(|of| of.strip_suffix("-reconcile").map_or((of, false), |of| (of, true)));
        let at = of.and_then(|(of, _)| {
            let (step, call) = of.split_once('-')?;
            Some(CallAt { step: step.parse().ok()?, call: call.parse().ok()? })
        });
        let Some(at) = at else { return Err(ToolError::Unknown(name.clone())) };
        if of.is_some_and(|(_, reconciles)| reconciles) {
            return Ok(ToolOutput::ok(self.stage.reconciled(at)));
        }
        match self.stage.returned(name, &arguments, at).await {
            Ok((content, true)) => match limit_of(&content) {
                Some(limit) => Err(ToolError::OutputTooLarge { limit }),
                None => Ok(ToolOutput { content, is_error: true }),
            },
            Ok((content, false)) => Ok(ToolOutput::ok(content)),
            Err(Some(fault)) if fault.code == "tool_unknown" => Err(ToolError::Unknown(name.clone())),
            Err(Some(fault)) => Err(ToolError::Recorded(fault)),
            Err(None) => {
                let detail = "nobody knows how it ended".to_owned();
                Err(ToolError::Interrupted { detail, source: None })
            }
        }
    }
}

/// The limit that a result was larger than, if it says so.
fn limit_of(content: &Value) -> Option<u64> {
    content.as_str()?.strip_prefix("the result is larger than ")?.strip_suffix(" bytes")?.parse().ok()
}
