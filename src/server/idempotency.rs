//! `Idempotency-Key`: a client that repeats a request because it heard no answer gets the answer
//! of the first one, and no second task.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::auth::Caller;
use super::error::ApiError;
use super::parse::{bytes, json};
use super::state::AppState;
use super::views;
use crate::orchestrator::{OrchestratorError, RequestKey};
use crate::repository::Answer;
use crate::task::Task;

const KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Longest key, in characters.
const LONGEST: usize = 255;

/// A JSON body, and what makes the request repeatable if the client wants that.
pub(super) struct Keyed<T> {
    pub(super) body: T,
    pub(super) key: Option<Key>,
}

/// The key of a request, with what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    key: String,
    /// Over path and body: the same body means something else on another route.
    request_hash: [u8; 32],
}

impl<T: DeserializeOwned> FromRequest<AppState> for Keyed<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (bytes, key) = keyed(request, state).await?;
        Ok(Self { body: json(&bytes)?, key })
    }
}

/// The same of a body that may be missing.
pub(super) struct KeyedOrBare<T>(pub(super) Keyed<T>);

impl<T: DeserializeOwned + Default> FromRequest<AppState> for KeyedOrBare<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (bytes, key) = keyed(request, state).await?;
        let body = if bytes.trim_ascii().is_empty() { T::default() } else { json(&bytes)? };
        Ok(Self(Keyed { body, key }))
    }
}

async fn keyed(request: Request, state: &AppState) -> Result<(Bytes, Option<Key>), ApiError> {
    let key = chosen(request.headers())?;
    let hash = Sha256::new().chain_update(request.uri().path()).chain_update("\n");
    let bytes = bytes(request, state).await?;
    let key = key.map(|key| Key { key, request_hash: hash.chain_update(&bytes).finalize().into() });
    Ok((bytes, key))
}

/// Starts a task, or makes a schedule, once for each key, and answers with what `reply` says of it.
pub(super) async fn once<T, F>(
    state: &AppState,
    caller: &Caller,
    key: Option<Key>,
    reply: impl Fn(&T) -> Value + Clone + Send + Sync + 'static,
    start: impl FnOnce(Option<RequestKey<T>>) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<T, OrchestratorError>>,
{
    let Some(key) = key else { return Ok(Json(reply(&start(None).await?)).into_response()) };
    if let Some(answer) = key.answer(state, caller).await? {
        return Ok(again(answer));
    }
    match start(Some(key.clone().keeping(reply.clone()))).await.map_err(ApiError::from) {
        Ok(made) => Ok(Json(reply(&made)).into_response()),
        Err(refusal) if came_second(&refusal) => key.answer(state, caller).await?.map(again).ok_or(refusal),
        Err(refusal) => Err(refusal),
    }
}

/// What is said of a task that has just begun.
pub(super) fn begun(task: &Task) -> Value {
    json!(views::begun(task, task.state().updated_at))
}

/// The key that the client chose, if it did.
fn chosen(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    if values.next().is_some() || !is_visible || !(1..=LONGEST).contains(&value.len()) {
        let problem = format!("is one text of 1 to {LONGEST} visible characters, for example a UUID");
        return Err(ApiError::invalid("Idempotency-Key", &problem));
    }
    Ok(value.to_str().ok().map(str::to_owned))
}

impl Key {
    /// What this very request was answered before. Refuses a key that stood for another one.
    pub(super) async fn answer(&self, state: &AppState, caller: &Caller) -> Result<Option<Answer>, ApiError> {
        match state.repository().answer(&caller.0, &self.key).await? {
            Some(answer) if answer.request_hash != self.request_hash => Err(ApiError::key_reused()),
            answer => Ok(answer),
        }
    }

    /// The key for what the request makes, with the reply that is to be kept.
    pub(super) fn keeping<T>(self, reply: impl Fn(&T) -> Value + Send + Sync + 'static) -> RequestKey<T> {
        RequestKey { key: self.key, request_hash: self.request_hash, reply: Arc::new(reply) }
    }
}

/// The reply as it was given the first time.
pub(super) fn again(answer: Answer) -> Response {
    marked(([(CONTENT_TYPE, "application/json")], Body::from(answer.reply)).into_response())
}

/// Says that nothing new was made.
pub(super) fn marked(mut response: Response) -> Response {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Whether starting a task was refused because another request with the same key came first.
pub(super) fn came_second(refusal: &ApiError) -> bool {
    refusal.code == "idempotency_key_taken"
}
