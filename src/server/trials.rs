//! `POST /api/tools/{name}/call`: a tool called outside of any task, to see what it does.
//!
//! What happens here is in no journal and asks nobody for approval. So it is for tools that change
//! nothing, unless the configuration says otherwise and the caller says so once more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::auth::Caller;
use super::error::ApiError;
use super::parse::JsonBody;
use super::state::AppState;
use crate::task::{Effect, Fault, ToolAllowance};
use crate::tools::{CallContext, Fence, ToolDescription, ToolError, is_question};

/// Calls at once in one process: this is for people who look, not for programs that work.
const AT_ONCE: usize = 4;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a result at most: somebody reads it.
const MOST_BYTES: u64 = 1024 * 1024;

/// Which tools may be called outside of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolTrials {
    /// None.
    None,
    /// Those that change nothing.
    #[default]
    ReadOnly,
    /// All, with an explicit word about each call that may change something.
    All,
}

/// The places for calls that are made.
#[derive(Clone)]
pub(super) struct Trials(Arc<Semaphore>);

impl Default for Trials {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// The body of a call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolCallWish")]
pub(super) struct Wish {
    /// What the tool is called with.
    arguments: Value,
    /// That it may change something, for a tool that is not read-only.
    #[serde(default)]
    confirm: bool,
}

/// How a call ended.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ToolTrial")]
pub(super) struct Trial {
    /// What it returned; null if it failed.
    result: Value,
    /// Whether the tool itself calls the result an error.
    is_error: bool,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    /// Milliseconds.
    duration_ms: u64,
}

/// Calls it. A call that fails is an answer, too: how it failed.
pub(super) async fn call(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(wish): JsonBody<Wish>,
) -> Result<Json<Trial>, ApiError> {
    let tool = state.orchestrator.tools().find(&name, &ToolAllowance::default());
    let tool = tool.ok_or_else(ApiError::tool_not_found)?;
    permitted(state.config.tool_trials, tool.description(), wish.confirm)?;
    let Ok(_place) = state.trials.0.try_acquire() else { return Err(ApiError::too_many_trials()) };
    tracing::info!(tool = name, user = caller.0, effect = ?tool.description().effect, "called outside of a task");
    let context = CallContext {
        idempotency_key: format!("trial-{}", Uuid::now_v7()),
        timeout: PATIENCE,
        cancel: state.shutdown.child_token(),
        max_output_bytes: MOST_BYTES,
        // Nobody else can make this call.
        fence: Fence::default(),
        is_confidential: false,
    };
    let began = Instant::now();
    let ended = match tool.problem(&wish.arguments) {
        Some(problem) => Err(ToolError::misfit(&name, &problem)),
        None => tool.call(wish.arguments, context).await,
    };
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(match ended {
        Ok(output) => Trial { result: output.content, is_error: output.is_error, fault: None, duration_ms },
        Err(error) => Trial { result: Value::Null, is_error: true, fault: Some(error.fault()), duration_ms },
    }))
}

/// Whether such a call may be made here.
fn permitted(trials: ToolTrials, tool: &ToolDescription, confirmed: bool) -> Result<(), ApiError> {
    if is_question(tool) {
        return Err(ApiError::trial_refused("it asks people on behalf of a task, and here is none"));
    }
    match (trials, tool.effect) {
        (ToolTrials::None, _) => {
            Err(ApiError::trial_refused("tools are called by tasks only (server.toolTrials = \"none\")"))
        }
        (_, Effect::ReadOnly) => Ok(()),
        (ToolTrials::ReadOnly, _) => Err(ApiError::trial_refused(
            "it may change something, and is called by tasks only; server.toolTrials = \"all\" allows it",
        )),
        (ToolTrials::All, _) if confirmed => Ok(()),
        (ToolTrials::All, _) => Err(ApiError::trial_unconfirmed()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tools::Origin;

    fn tool(effect: Effect, toolkit: &str) -> ToolDescription {
        let origin = Origin::App { toolkit: toolkit.into() };
        let (name, description) = ("t".to_owned(), String::new());
        ToolDescription { name, description, schema: json!({}).into(), effect, origin }
    }

    fn code(trials: ToolTrials, effect: Effect, confirmed: bool) -> &'static str {
        permitted(trials, &tool(effect, "workspace"), confirmed).err().map_or("", |refusal| refusal.code)
    }

    #[test]
    fn what_may_change_something_needs_the_configuration_and_a_word() {
        use ToolTrials::{All, None, ReadOnly};
        assert_eq!(code(ReadOnly, Effect::ReadOnly, false), "");
        for effect in [Effect::Idempotent, Effect::Unsafe] {
            assert_eq!(code(ReadOnly, effect, true), "tool_trial_refused");
            assert_eq!(code(All, effect, false), "tool_trial_unconfirmed");
            assert_eq!(code(All, effect, true), "");
        }
        assert_eq!(code(None, Effect::ReadOnly, true), "tool_trial_refused");
        let question = permitted(All, &tool(Effect::ReadOnly, "person"), true);
        assert_eq!(question.err().map(|refusal| refusal.code), Some("tool_trial_refused"));
    }
}
