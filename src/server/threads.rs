//! Conversations as pages show them: what was said, and what would become of a message.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::auth::Caller;
use super::error::ApiError;
use super::parse::{JsonBody, Params};
use super::state::AppState;
use crate::orchestrator::Detection;
use crate::repository::{Message, Thread};
use crate::task::{TaskId, Timestamp};

/// Messages in one answer if nobody says how many, and at most.
const USUAL: u32 = 200;
const MOST: u32 = 1000;

/// The query of a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Range {
    /// How many messages, 1 to 1000; 200 if absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

/// A text of which somebody wants to know what would become.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    text: String,
}

/// A conversation with its newest messages, oldest of them first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Conversation {
    thread: ThreadView,
    messages: Vec<MessageView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Thread")]
struct ThreadView {
    id: String,
    title: String,
    created_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ThreadMessage")]
struct MessageView {
    id: String,
    role: String,
    parts: Value,
    task_id: Option<TaskId>,
    created_at: Timestamp,
}

impl From<Thread> for ThreadView {
    fn from(thread: Thread) -> Self {
        Self { id: thread.id, title: thread.title, created_at: thread.created_at }
    }
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        let Message { id, role, parts, task_id, created_at, .. } = message;
        Self { id, role, parts, task_id, created_at }
    }
}

/// `GET /api/chat/{id}/messages`: what was said in a conversation.
pub(super) async fn messages(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Params(range): Params<Range>,
) -> Result<Json<Conversation>, ApiError> {
    let limit = match range.limit {
        None => USUAL,
        Some(limit @ 1..=MOST) => limit,
        Some(_) => return Err(ApiError::invalid("limit", &format!("is a number from 1 to {MOST}"))),
    };
    let thread = state.repository().thread(&id).await?.ok_or_else(ApiError::thread_not_found)?;
    if thread.user_id != caller.0 {
        return Err(ApiError::forbidden());
    }
    let messages = state.repository().messages(&id, limit).await?;
    let messages = messages.into_iter().map(MessageView::from).collect();
    Ok(Json(Conversation { thread: thread.into(), messages }))
}

/// `POST /api/chat/detect`: whether a chat would make a task of this text, by the rules alone.
/// It is asked while somebody types, so it must cost nothing.
pub(super) async fn detect(
    State(state): State<AppState>,
    _: Caller,
    JsonBody(draft): JsonBody<Draft>,
) -> Json<Detection> {
    Json(state.orchestrator.detect_by_rules(&draft.text, 0))
}
