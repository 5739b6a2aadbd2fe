//! What a task asks people, as parts of the message that it is told in. A request is one part for as long as it
//! is told: what becomes of it is the same part once more, under the same id, which takes the place of the first.

use serde_json::{Value, json};

use super::super::ui_stream::UiChunk;
use crate::orchestrator::{BY_EXPIRY, OpenRequest, Orchestrator, OrchestratorError};
use crate::task::{Entry, Event, Payload, Task, TaskId, Timestamp};

/// The type of such a part.
const REQUEST: &str = "data-request";

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Somebody may answer it.
    Open,
    /// Somebody has.
    Answered,
    /// Nobody did in time.
    Expired,
    /// Nobody needs to any more: its step or its task ended otherwise.
    Closed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }
}

/// The requests of a task, told as its journal is read. What is told follows from the journal alone: whoever
/// reads it again is told the same.
#[derive(Debug)]
pub(super) struct Asked {
    id: TaskId,
    /// The task as the entries so far have it; none if they did not begin with its first one.
    task: Option<Task>,
    /// What was told to be open.
    open: Vec<OpenRequest>,
}

impl Asked {
    /// Nothing was read of this task yet.
    pub(super) fn by(id: TaskId) -> Self {
        Self { id, task: None, open: Vec::new() }
    }

    /// What the next entry adds to the message.
    pub(super) async fn take(&mut self, orchestrator: &Orchestrator, entry: &Entry) -> Vec<UiChunk> {
        self.fold(entry);
        let Some(task) = self.task.as_ref().filter(|task| self.may_change(task, &entry.event)) else {
            return Vec::new();
        };
        let open = match task.status().is_terminal() {
            true => Vec::new(),
            false => orchestrator.open_ids(task),
        };
        let (stay, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|told| open.contains(&told.id));
        let mut chunks: Vec<UiChunk> = gone.iter().map(|request| ended(request, entry)).collect();
        self.open = stay;
        let is_new =
            |id: &str| open.iter().any(|one| one == id) && self.open.iter().all(|told| told.id != id);
        match orchestrator.requests_of(task, is_new).await {
            Ok(new) => {
                chunks.extend(new.iter().map(|request| chunk(request, State::Open, None)));
                self.open.extend(new);
            }
            Err(error) => tracing::warn!(task = %self.id, %error, "a chat is not told what its task asks"),
        }
        chunks
    }

    /// Nothing of it is open any more.
    pub(super) fn close(self) -> Vec<UiChunk> {
        self.open.iter().map(|request| chunk(request, State::Closed, None)).collect()
    }

    fn fold(&mut self, entry: &Entry) {
        let folded = match &mut self.task {
            None => Task::begin(self.id, entry).map(|task| self.task = Some(task)),
            Some(task) => task.apply(entry),
        };
        if folded.is_err() {
            self.task = None;
        }
    }

    /// Whether another request may be open than before. Most entries are about nobody's word.
    fn may_change(&self, task: &Task, event: &Event) -> bool {
        let may_begin =
            matches!(event, Event::CallLost { .. } | Event::CallFailed { .. } | Event::Paused { .. });
        may_begin || !self.open.is_empty() || task.state().asking.is_some()
    }
}

/// What a task that goes on asks now, and what the tasks below it do, as parts of a stored message.
pub(super) async fn parts(orchestrator: &Orchestrator, task: &Task) -> Result<Vec<Value>, OrchestratorError> {
    if task.status().is_terminal() {
        return Ok(Vec::new());
    }
    let mut open = orchestrator.open_requests(task).await?;
    if task.children_at_work().next().is_some() {
        for waiting in orchestrator.below(task).await?.waits_for {
            if let Some(child) = orchestrator.repository().load(waiting.task).await? {
                open.extend(orchestrator.open_requests(&child).await?);
            }
        }
    }
    let now = orchestrator.now();
    let part = |request: &OpenRequest| {
        let state = if is_over(request, now) { State::Expired } else { State::Open };
        json!({"type": REQUEST, "id": request.id, "data": data(request, state, None)})
    };
    Ok(open.iter().map(part).collect())
}

/// What became of a request, by the entry with which it is open no more.
fn ended(request: &OpenRequest, entry: &Entry) -> UiChunk {
    let answer = word(&entry.event);
    let state = match &answer {
        Some(answer) if answer["by"] == BY_EXPIRY => State::Expired,
        Some(_) => State::Answered,
        None if is_over(request, entry.at) => State::Expired,
        None => State::Closed,
    };
    chunk(request, state, answer.filter(|_| state == State::Answered))
}

fn is_over(request: &OpenRequest, now: Timestamp) -> bool {
    request.expires_at.is_some_and(|expires_at| expires_at <= now)
}

/// What a person said, in the words of an answer to the inbox, and who.
fn word(event: &Event) -> Option<Value> {
    Some(match event {
        Event::ApprovalGiven { arguments: None, by, .. } | Event::PlanApproved { by, .. } => {
            json!({"decision": "approve", "by": by})
        }
        Event::ApprovalGiven { arguments: Some(arguments), by, .. } => {
            json!({"decision": "approve", "arguments": shown(arguments), "by": by})
        }
        Event::ApprovalDenied { reason, by, .. }
        | Event::InputDeclined { reason, by, .. }
        | Event::PlanDenied { reason, by, .. } => json!({"decision": "deny", "reason": reason, "by": by}),
        Event::InputGiven { answer, by, .. } => {
            json!({"decision": "answer", "answer": shown(answer), "by": by})
        }
        Event::ToolAccepted { by, .. } => json!({"decision": "accept", "by": by}),
        Event::CheckDecided { decision, by, .. } => json!({"decision": decision, "by": by}),
        Event::OutcomeDecided { result: Some(result), by, .. } => {
            json!({"decision": "happened", "result": shown(result), "by": by})
        }
        Event::OutcomeDecided { result: None, by, .. } => json!({"decision": "did_not_happen", "by": by}),
        _ => return None,
    })
}

fn shown(payload: &Payload) -> Value {
    match payload {
        Payload::Inline(value) => value.clone(),
        Payload::Blob { preview, .. } => Value::String(preview.clone()),
    }
}

fn chunk(request: &OpenRequest, state: State, answer: Option<Value>) -> UiChunk {
    UiChunk::DataRequest { id: request.id.clone(), data: data(request, state, answer) }
}

/// The request as the inbox has it, how it stands, and what was answered.
fn data(request: &OpenRequest, state: State, answer: Option<Value>) -> Value {
    let mut data = json!(request);
    data["state"] = json!(state.as_str());
    if let Some(answer) = answer {
        data["answer"] = answer;
    }
    data
}
