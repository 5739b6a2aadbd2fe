//! Forks and retries under `/api/tasks`: new tasks that go on from what another one recorded, and
//! how two tasks differ.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::auth::Caller;
use super::error::ApiError;
use super::idempotency::{self, Keyed, KeyedOrBare, begun};
use super::own::Own;
use super::state::AppState;
use crate::orchestrator::{ForkAt, ForkWish, RetryWish, TaskDiff};
use crate::task::{CallAt, ModelName, Task};

/// The body of a fork. At most one of `seq`, `step` and `result` says where; with none of them, it
/// is where the task stands, or the moment before its end.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ForkTask")]
pub(super) struct ForkBody {
    /// Behind the entry with this number.
    seq: Option<i64>,
    /// Before the step with this index: it and all that wait for it are done anew.
    step: Option<u32>,
    /// Behind a tool's result, with another one in its place.
    result: Option<Instead>,
    /// The model to ask from there on.
    model: Option<ModelName>,
    /// What is to be reached instead.
    goal: Option<String>,
    /// What its models are told besides.
    prompt: Option<String>,
    /// Whether what the task did to the world behind that place may be done once more.
    #[serde(default)]
    repeat_effects: bool,
}

/// A result in the place of the one that a tool returned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReplacedResult")]
struct Instead {
    /// The step's index.
    step: u32,
    /// The call's number within the step.
    call: u32,
    /// What it returned.
    value: Value,
}

/// The body of a retry.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "RetryTask")]
pub(super) struct RetryBody {
    /// The index of the step from which on all is done anew; the failed steps if absent.
    step: Option<u32>,
    /// Whether what the task did to the world in these steps may be done once more.
    #[serde(default)]
    repeat_effects: bool,
}

impl ForkBody {
    fn wish(self) -> Result<ForkWish, ApiError> {
        let at = match (self.seq, self.step, self.result) {
            (None, None, None) => ForkAt::End,
            (Some(seq), None, None) => ForkAt::Entry(seq),
            (None, Some(step), None) => ForkAt::Step(step),
            (None, None, Some(Instead { step, call, value })) => {
                ForkAt::Result { call: CallAt { step, call }, value }
            }
            _ => return Err(ApiError::bad_request("only one of seq, step and result can say where")),
        };
        let (chat_model, goal, prompt) = (self.model, self.goal, self.prompt);
        Ok(ForkWish { at, chat_model, goal, prompt, repeat_effects: self.repeat_effects, key: None })
    }
}

/// `POST /api/tasks/{id}/fork`.
pub(super) async fn fork(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    KeyedOrBare(Keyed { body, key }): KeyedOrBare<ForkBody>,
) -> Result<Response, ApiError> {
    let wish = body.wish()?;
    let start = |key| state.orchestrator.fork(task.id, ForkWish { key, ..wish }, &caller.0);
    idempotency::once(&state, &caller, key, begun, start).await
}

/// `POST /api/tasks/{id}/retry`.
pub(super) async fn retry(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    KeyedOrBare(Keyed { body, key }): KeyedOrBare<RetryBody>,
) -> Result<Response, ApiError> {
    let RetryBody { step: from_step, repeat_effects } = body;
    let wish = |key| RetryWish { from_step, repeat_effects, key };
    let start = |key| state.orchestrator.retry(task.id, wish(key), &caller.0);
    idempotency::once(&state, &caller, key, begun, start).await
}

/// `GET /api/tasks/{id}/diff/{other}`.
pub(super) async fn diff(
    State(state): State<AppState>,
    caller: Caller,
    Own(a): Own<Task>,
    Path((_, other)): Path<(String, String)>,
) -> Result<Json<TaskDiff>, ApiError> {
    let b = state.task_of(&caller, &other).await?;
    Ok(Json(state.orchestrator.compare(a.id, b.id).await?))
}
