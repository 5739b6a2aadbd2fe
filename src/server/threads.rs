//! Conversations as pages show them: which there are, what was said, and what would become of a message.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::auth::Caller;
use super::chat::shown;
use super::error::ApiError;
use super::own::Own;
use super::page::{Limit, MOST};
use super::parse::{JsonBody, Params};
use super::state::AppState;
use crate::orchestrator::Detection;
use crate::repository::{Message, Thread};
use crate::task::{TaskId, Timestamp};

/// Messages in one answer if nobody says how many.
const USUAL: u32 = 200;

/// Characters of a title at most.
const LONGEST_TITLE: usize = 200;

/// The query of a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Range {
    /// How many messages, 1 to 1000; 200 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
}

/// A text of which somebody wants to know what would become.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    text: String,
}

/// The query of the list of conversations.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    /// At most so many, 1 to 1000; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
    /// Only conversations behind the one with this id.
    before: Option<String>,
}

/// Conversations of the caller, the one that was written to last first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThreadList {
    threads: Vec<ThreadView>,
    /// What to give as `before` to get those behind these, if there may be any.
    next_before: Option<String>,
}

/// What may be changed of a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    /// For people; 1 to 200 characters.
    #[schemars(length(min = 1, max = 200))]
    title: String,
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
pub(super) struct ThreadView {
    id: String,
    title: String,
    created_at: Timestamp,
    /// When it was written to last.
    updated_at: Timestamp,
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
        let Thread { id, title, created_at, updated_at, .. } = thread;
        Self { id, title, created_at, updated_at }
    }
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        let Message { id, role, parts, task_id, created_at, .. } = message;
        Self { id, role, parts, task_id, created_at }
    }
}

/// `GET /api/threads`: the conversations of the caller.
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(page): Params<Page>,
) -> Result<Json<ThreadList>, ApiError> {
    let limit = Limit::of(page.limit)?;
    let conversations = state.repository().conversations();
    let threads = conversations.threads(&caller.0, page.before.as_deref(), limit.0).await?;
    let next_before = limit.end_of(&threads).map(|last| last.id.clone());
    Ok(Json(ThreadList { threads: threads.into_iter().map(ThreadView::from).collect(), next_before }))
}

/// `GET /api/threads/{id}`.
pub(super) async fn show(Own(thread): Own<Thread>) -> Result<Json<ThreadView>, ApiError> {
    Ok(Json(thread.into()))
}

/// `PATCH /api/threads/{id}`: gives a conversation another title.
pub(super) async fn change(
    State(state): State<AppState>,
    Own(thread): Own<Thread>,
    JsonBody(rename): JsonBody<Rename>,
) -> Result<Json<ThreadView>, ApiError> {
    let title = rename.title.trim().replace('\0', "\u{fffd}");
    if title.is_empty() || title.chars().count() > LONGEST_TITLE {
        return Err(ApiError::invalid("title", &format!("has 1 to {LONGEST_TITLE} characters")));
    }
    state.repository().conversations().rename(&thread.id, &title).await?;
    Ok(Json(Thread { title, ..thread }.into()))
}

/// `DELETE /api/threads/{id}`: forgets a conversation with its messages; its tasks stay.
pub(super) async fn delete(
    State(state): State<AppState>,
    Own(thread): Own<Thread>,
) -> Result<StatusCode, ApiError> {
    state.answers.stop(&thread.id);
    state.repository().conversations().forget(&thread.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/chat/{id}/messages`: what was said in a conversation.
pub(super) async fn messages(
    State(state): State<AppState>,
    Own(thread): Own<Thread>,
    Params(range): Params<Range>,
) -> Result<Json<Conversation>, ApiError> {
    let limit = Limit::or(range.limit, USUAL)?;
    let repository = state.repository().as_ref();
    let mut messages = Vec::new();
    for message in repository.messages(&thread.id, limit.0).await? {
        messages.push(shown(&state.orchestrator, message).await?.into());
    }
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
