//! `/api/inbox`: what the caller's tasks ask people, and the answers. `/messages`: what people
//! tell a task unasked. `/effects`: what a task did to the world.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::auth::Caller;
use super::chat::{Attachment, files_of_task};
use super::error::ApiError;
use super::own::Own;
use super::page::{Limit, MOST};
use super::parse::{JsonBody, Params};
use super::state::AppState;
use super::views::{self, EffectView, TaskDetail};
use crate::orchestrator::{Decision, OpenRequest, OutcomeDecision, RequestId};
use crate::task::{CheckDecision, Task, TaskId};

/// The query of an inbox.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Range {
    /// Only what this task asks.
    #[schemars(with = "Option<TaskId>")]
    task_id: Option<String>,
    /// Tasks that are looked at; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
}

/// What the caller's tasks ask people, of the newest task first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Inbox {
    requests: Vec<OpenRequest>,
}

/// What a task did to the world, in order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EffectList {
    effects: Vec<EffectView>,
}

/// A person's answer to a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "Decision")]
pub(super) enum Word {
    Approve {
        /// The arguments to call with, if they are to be others.
        arguments: Option<Value>,
    },
    Deny {
        #[serde(default)]
        reason: String,
    },
    Answer {
        answer: Value,
    },
    Happened {
        #[serde(default)]
        result: Value,
    },
    DidNotHappen,
    Skip,
    Fail,
    Accept,
    Retry,
}

impl From<Word> for Decision {
    fn from(word: Word) -> Self {
        match word {
            Word::Approve { arguments } => Self::Approve(arguments),
            Word::Deny { reason } => Self::Deny(reason),
            Word::Answer { answer } => Self::Answer(answer),
            Word::Happened { result } => Self::Outcome(OutcomeDecision::Happened(result)),
            Word::DidNotHappen => Self::Outcome(OutcomeDecision::DidNotHappen),
            Word::Skip => Self::Outcome(OutcomeDecision::Skip),
            Word::Fail => Self::Outcome(OutcomeDecision::Fail),
            Word::Accept => Self::Check(CheckDecision::Accept),
            Word::Retry => Self::Check(CheckDecision::Retry),
        }
    }
}

/// What somebody tells a task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Message")]
pub(super) struct Told {
    text: String,
    /// Files that go with it, as with a message of the chat.
    #[serde(default)]
    attachments: Vec<Attachment>,
}

/// `GET /api/inbox`: the open requests of the caller's tasks, of the newest task first.
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(range): Params<Range>,
) -> Result<Json<Inbox>, ApiError> {
    let limit = Limit::of(range.limit)?.0;
    let requests = match range.task_id {
        Some(id) => state.orchestrator.open_requests(&state.task_of(&caller, &id).await?).await?,
        None => state.orchestrator.inbox(Some(&caller.0), limit).await?,
    };
    Ok(Json(Inbox { requests }))
}

/// `POST /api/inbox/{id}`: answers a request, once.
pub(super) async fn decide(
    State(state): State<AppState>,
    caller: Caller,
    Own(id): Own<RequestId>,
    JsonBody(word): JsonBody<Word>,
) -> Result<Json<TaskDetail>, ApiError> {
    let task = state.orchestrator.decide(id, word.into(), &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

/// `POST /api/tasks/{id}/messages`.
pub(super) async fn tell(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    JsonBody(told): JsonBody<Told>,
) -> Result<Json<TaskDetail>, ApiError> {
    let files = files_of_task(told.attachments);
    let task = state.orchestrator.send_message_with(task.id, &told.text, &files, &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

/// `GET /api/tasks/{id}/effects`: every call that changes the world, in order.
pub(super) async fn effects(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<EffectList>, ApiError> {
    let effects = state.orchestrator.effects(task.id).await?;
    Ok(Json(EffectList { effects: effects.iter().map(EffectView::of).collect() }))
}
