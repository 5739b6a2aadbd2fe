//! A chat answer that grew becomes a task: what was done for it is recorded as facts, so that the
//! task goes on behind them and nothing is asked or called again.

use super::workflow::is_delegate;
use super::{Orchestrator, OrchestratorError, TaskRequest, cut};
use crate::models::{Answer, Picture, Thinking, ToolSpec};
use crate::queue::Wake;
use crate::task::{
    Budget, Effect, Entry, Event, Fault, FrozenTools, Labels, Limits, ModelName, Payload, Plan, PlannedStep,
    Planner, RecordedRequest, ShownPicture, StepType, Taint, Task, TaskId, TaskSpec, Timestamp, ToolRequest,
};
use crate::tools::{ToolDescription, ToolOutput, is_question};

/// What the one step of such a task is, for people and models.
const STEP: &str = "Carry on with the answer that was begun in the chat, to its end";

/// Who says what was said in the chat before, people and models.
pub(in crate::orchestrator) const FROM_CHAT: &str = "chat";

/// What is said with pictures of a message that has no other words beside its goal.
const WITH_THE_GOAL: &str = "What goes with the goal:";

/// The one step that was begun.
const INDEX: u32 = 0;

/// An answer that becomes a task.
#[derive(Debug)]
pub struct Grown {
    /// The task as it would be asked for; its goal is the message that is answered.
    pub request: TaskRequest,
    /// The id under which the answer was given.
    pub id: TaskId,
    /// Why it cannot stay an answer.
    pub reason: String,
    /// What was said in the conversation before, with whatever else the answer rests on.
    pub before: String,
    /// The chunks that clients were given, as JSON.
    pub said: serde_json::Value,
    /// What was done so far, in order.
    pub calls: Vec<GrownCall>,
}

/// A call of an answer that ended; its position among them is its number.
#[derive(Debug, Clone)]
pub struct GrownCall {
    /// When it was made.
    pub asked_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What was called and what came back.
    pub what: Called,
}

/// What was called and what came back.
#[derive(Debug, Clone)]
pub enum Called {
    /// A model turn.
    Model {
        /// Which model answered.
        model: ModelName,
        /// What it was asked beyond what earlier calls brought.
        parts: Vec<String>,
        /// What it answered.
        answer: Answer,
    },
    /// A tool call that a model asked for.
    Tool {
        /// What it asked for.
        request: ToolRequest,
        /// What calling the tool does to the world.
        effect: Effect,
        /// What else is known of it.
        labels: Labels,
        /// What came back.
        outcome: Result<ToolOutput, Fault>,
    },
}

impl Orchestrator {
    /// The tools that an answer may ask for. Whether it may call them is another question: see
    /// [`Orchestrator::needs_task`].
    pub async fn tools_for_chat(&self, request: &TaskRequest) -> Result<Vec<ToolSpec>, OrchestratorError> {
        let spec = self.with_workflows(request.spec(&self.config)?, None).await?;
        self.tool_specs(&spec).await
    }

    /// Why a call of one of these tools is one for a task, if it is: another task carries it out, and
    /// there has to be one that waits for it.
    pub fn hands_over(&self, offered: &[ToolSpec], tool: &str) -> Option<String> {
        let is_offered = is_delegate(tool) && offered.iter().any(|known| known.name == tool);
        is_offered.then(|| format!("{tool} is carried out by a task"))
    }

    /// Why a tool cannot be called without a task, if it cannot: there is no ledger in which the
    /// call would stand, and nobody who could be asked.
    pub fn needs_task(&self, tool: &ToolDescription, labels: Labels, read: &Taint) -> Option<String> {
        let name = &tool.name;
        let is_held_back = read.holds_back(labels, &self.config.approval);
        match () {
            () if is_question(tool) => Some(format!("{name} asks a person")),
            () if self.config.approval.needs(name, tool.effect) => Some(format!("{name} needs approval")),
            () if is_held_back && labels.secret => {
                Some(format!("{name} would be given a secret, and {read}"))
            }
            () if is_held_back => Some(format!("{name} would go outward, and {read}")),
            () if tool.effect != Effect::ReadOnly => Some(format!("{name} may change something")),
            () => None,
        }
    }

    /// What a task of this request may consume.
    ///
    /// # Errors
    /// [`OrchestratorError::Invalid`] if the request is no task.
    pub fn budget_of(&self, request: &TaskRequest) -> Result<Budget, OrchestratorError> {
        Ok(request.spec(&self.config)?.budget)
    }

    /// The limits of new tasks.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Makes a task of an answer: what was done is recorded with its creation, in one transaction,
    /// and a worker goes on behind it. When this returns, the task is durable.
    pub async fn promote(&self, mut grown: Grown) -> Result<Task, OrchestratorError> {
        grown.request.goal = cut(grown.request.goal.trim(), self.config.max_goal_bytes / 2);
        let spec = self.with_workflows(grown.request.spec(&self.config)?, None).await?;
        let offered = self.tools.offered(&spec.tools)?;
        self.open_thread(&spec).await?;
        let tools = FrozenTools::new(offered.iter().map(|tool| tool.description().frozen()));
        let (task, entries) = self.grown_entries(spec, grown, &tools)?;
        self.know_tools(&task, Some(tools));
        self.repository.create(&task, entries, None).await?;
        tracing::info!(task = %task.id, "a chat answer became a task");
        self.wake(Wake::first(&task)).await;
        Ok(task)
    }

    fn grown_entries(
        &self,
        spec: TaskSpec,
        grown: Grown,
        tools: &FrozenTools,
    ) -> Result<(Task, Vec<Entry>), OrchestratorError> {
        let began = grown.calls.first().map_or_else(|| self.now(), |call| call.asked_at);
        let created = Entry { seq: 1, epoch: 0, at: began, event: Event::Created { spec: Box::new(spec) } };
        let mut task = Task::begin(grown.id, &created)?;
        let step = grown.calls.iter().enumerate();
        let step: Vec<_> = step.flat_map(|(position, call)| call.events(position as u32 + 1)).collect();
        let opening = opening(&grown, tools);
        // What is told here was told in the chat: the last number is known before the first is used.
        let through = 2 + opening.len() as i64 + step.len() as i64;
        let promoted =
            Event::Promoted { said: Payload::Inline(grown.said), through, reason: grown.reason.clone() };
        let mut entries = vec![created];
        let opening = std::iter::once(promoted).chain(opening).map(|event| (began, event));
        for (at, event) in opening.chain(step) {
            entries.push(task.record(at, event)?);
        }
        Ok((task, entries))
    }
}

/// Why there is a task, its plan of one step, and that this step was begun.
fn opening(grown: &Grown, tools: &FrozenTools) -> Vec<Event> {
    let step = PlannedStep::new("step-1", StepType::ToolCall, STEP);
    let detected = Event::Detected {
        by: FROM_CHAT.to_owned(),
        score: 1.0,
        threshold: 1.0,
        features: vec![grown.reason.clone()],
        usage: crate::task::Usage::default(),
    };
    let by = Planner { reason: grown.reason.clone(), ..Planner::default() };
    let (plan, tools) = (Plan { steps: vec![step] }, Some(tools.content()));
    let mut events = vec![detected, Event::Planned { revision: 1, plan, by, tools }];
    if !(grown.before.is_empty() && grown.request.files.shown.is_empty()) {
        events.push(told(&grown.before, &grown.request.files.shown, FROM_CHAT));
    }
    events.push(Event::StepStarted { step: INDEX, attempt: 1 });
    events
}

/// What a task is told beside its goal: of the chat that it comes from, or of files. Not all of it was written
/// by a person.
pub(super) fn told(text: &str, shown: &[Picture], by: &str) -> Event {
    pictured(if text.is_empty() { WITH_THE_GOAL } else { text }, shown, by)
}

/// A message with pictures.
pub(super) fn pictured(text: &str, shown: &[Picture], by: &str) -> Event {
    let pictures = shown.iter().map(|picture| ShownPicture {
        name: picture.name.clone(),
        media_type: picture.media_type.clone(),
        content: Payload::text(&picture.data),
    });
    let (text, pictures) = (Payload::text(text), pictures.collect());
    Event::MessageReceived { text, pictures, by: by.to_owned() }
}

impl GrownCall {
    /// Intent and outcome of the call of this number.
    fn events(&self, call: u32) -> [(Timestamp, Event); 2] {
        let (asked, ended) = self.what.events(call);
        [(self.asked_at, asked), (self.ended_at, ended)]
    }
}

impl Called {
    fn events(&self, call: u32) -> (Event, Event) {
        match self {
            Self::Model { model, parts, answer } => (
                Event::ModelRequested {
                    step: INDEX,
                    call,
                    attempt: 1,
                    model: model.clone(),
                    base: (call > 1).then_some(1),
                    heard: None,
                    shows: None,
                    parts: parts.iter().map(Payload::text).collect(),
                    prompt: None,
                    reserve: crate::task::Reserve::default(),
                },
                Event::ModelAnswered {
                    step: INDEX,
                    call,
                    text: Payload::text(&answer.text),
                    requests: answer.requests.iter().map(RecordedRequest::from).collect(),
                    thinking: answer.thinking.as_deref().map(Thinking::recorded),
                    finish: answer.finish.clone(),
                    usage: answer.usage,
                    model: answer.model.clone(),
                    without_pictures: answer.without_pictures,
                },
            ),
            Self::Tool { request, effect, labels, outcome } => (
                Event::ToolDispatched {
                    step: INDEX,
                    call,
                    attempt: 1,
                    tool: request.tool.clone(),
                    arguments: Payload::Inline(request.arguments.clone()),
                    effect: *effect,
                    labels: *labels,
                    request_id: Some(request.id.clone()),
                },
                match outcome {
                    Ok(output) => Event::ToolReturned {
                        step: INDEX,
                        call,
                        result: Payload::Inline(output.content.clone()),
                        is_error: output.is_error,
                    },
                    Err(fault) => {
                        Event::CallFailed { step: INDEX, call, fault: fault.clone(), partial: None }
                    }
                },
            ),
        }
    }
}
