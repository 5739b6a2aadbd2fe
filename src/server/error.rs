//! Every way in which a request can be refused, as one status, one stable code and one
//! message; and the two forms in which clients read them.
//!
//! A handler returns an [`ApiError`]; [`render`] writes it, as `{"error"}` on the routes of
//! the original system and as `application/problem+json` on all others. The code is a header of
//! both, for the original system's body has no room for it. What went wrong
//! inside is logged where it becomes a refusal, and never sent.

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::models::ModelError;
use crate::orchestrator::OrchestratorError;
use crate::queue::QueueError;
use crate::repository::RepositoryError;
use crate::task::{MAX_DEPTH, RecordingError, TOO_DEEP, with_causes};

/// Has the code of a refusal.
pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// For programs; never changes.
    pub(super) code: &'static str,
    /// For people.
    pub(super) message: String,
    /// The least wait before another try helps, in seconds.
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// The same refusal under another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// A part of the request is wrong.
    pub(super) fn invalid(field: &str, problem: &str) -> Self {
        Self::bad_request(format!("{field}: {problem}"))
    }

    /// The request is wrong.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// No key, or the wrong one.
    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// Nothing is begun any more.
    pub(super) fn shutting_down() -> Self {
        let message = "the server is shutting down: ask again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutdown", message)
    }

    /// Somebody else's.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden")
    }

    /// A web page of another origin.
    pub(super) fn foreign(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", message)
    }

    /// No such task.
    pub(super) fn task_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "task_not_found", "Task not found")
    }

    /// No such entry of the journal.
    pub(super) fn entry_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "entry_not_found", "the journal has no entry of this number")
    }

    /// No such conversation.
    pub(super) fn thread_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "thread_not_found", "there is no conversation of this name")
    }

    /// No such tool.
    pub(super) fn tool_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "tool_not_found",
            "there is no tool of this name: GET /api/tools has all",
        )
    }

    /// A tool that is not for calls outside of tasks.
    pub(super) fn trial_refused(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "tool_trial_refused", why)
    }

    /// Nobody said that a call may change something.
    pub(super) fn trial_unconfirmed() -> Self {
        let message = "confirm: this tool may change something: send true to call it nevertheless";
        Self::new(StatusCode::CONFLICT, "tool_trial_unconfirmed", message)
    }

    /// Others try tools already.
    pub(super) fn too_many_trials() -> Self {
        let message = "as many tools are called outside of tasks as may be at once: wait until one has ended";
        Self::new(StatusCode::CONFLICT, "tool_trials_busy", message)
    }

    /// Others replay already.
    pub(super) fn too_many_replays() -> Self {
        let message = "as many tasks are replayed as may be at once: wait until one has ended";
        Self::new(StatusCode::CONFLICT, "replays_busy", message)
    }

    /// A task that cannot be carried out from its recording.
    pub(super) fn no_replay(why: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "replay_impossible", why)
    }

    /// A replay that does not end in time.
    pub(super) fn long_replay(limit: Duration) -> Self {
        let message = format!(
            "the replay takes longer than {} s: export the task, and `longhaul task replay FILE` takes its time",
            limit.as_secs()
        );
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "replay_too_long", message)
    }

    /// The key of another request.
    pub(super) fn key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "Idempotency-Key: stood for another request within the last day: choose a new one",
        )
    }

    /// No such route.
    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "route_not_found", "there is nothing at this path")
    }

    /// The route does something else.
    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
    }

    /// Something else than a WebSocket.
    pub(super) fn no_upgrade() -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "this path serves WebSockets only")
    }

    /// The body is larger than allowed, by this key of the configuration.
    pub(super) fn too_large(limit: usize, key: &str) -> Self {
        let message = format!("the body is larger than {limit} bytes ({key})");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// The body is nested deeper than can be kept.
    pub(super) fn too_deep() -> Self {
        let message = format!("the body is nested deeper than {MAX_DEPTH} levels");
        Self::new(StatusCode::BAD_REQUEST, TOO_DEEP, message)
    }

    /// Reading a recording hit a defect.
    pub(super) fn broken_recording() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "recording_unreadable", "the recording cannot be read")
    }

    /// A handler panicked.
    pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
        // The panic hook has reported where and why.
        tracing::error!("a handler panicked");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", INTERNAL).into_response()
    }
}

/// What is said where nothing more may be said.
const INTERNAL: &str = "something went wrong inside: the log of the server has the details";

impl IntoResponse for ApiError {
    /// Only the status and the refusal itself: [`render`] knows which form it takes.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes a refusal in the form that clients of its route read.
pub(super) async fn render(request: Request, next: Next) -> Response {
    let is_original = is_original(request.uri().path());
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<ApiError>() else { return response };
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static(refusal.code));
    let (content_type, written) = match is_original {
        true => ("application/json", Json(Refusal { error: refusal.message }).into_response()),
        false => ("application/problem+json", Json(Problem::of(refusal)).into_response()),
    };
    *response.body_mut() = written.into_body();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Whether a route is one of the original system.
pub(super) fn is_original(path: &str) -> bool {
    path == "/api/chat" || path.starts_with("/api/chat/")
}

/// A refusal on the routes of the original system.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Refusal {
    /// For people.
    error: String,
}

/// A refusal on all other routes: RFC 9457, with the stable code beside it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// `urn:longhaul:error:` and the code.
    r#type: String,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// For programs; never changes.
    code: &'static str,
    /// For people: what is wrong and what to do.
    detail: String,
}

impl Problem {
    pub(super) fn of(refusal: ApiError) -> Self {
        Self {
            r#type: format!("urn:longhaul:error:{}", refusal.code),
            title: refusal.status.canonical_reason().unwrap_or("Error"),
            status: refusal.status.as_u16(),
            code: refusal.code,
            detail: refusal.message,
        }
    }
}

impl From<OrchestratorError> for ApiError {
    fn from(error: OrchestratorError) -> Self {
        let code = error.code();
        let status = match error {
            OrchestratorError::Model(cause) => return cause.into(),
            OrchestratorError::Repository(cause) => return cause.into(),
            OrchestratorError::NotFound => return Self::task_not_found(),
            OrchestratorError::NoSchedule | OrchestratorError::NoTemplate(_) => StatusCode::NOT_FOUND,
            OrchestratorError::Invalid { .. } | OrchestratorError::Plan { .. } => StatusCode::BAD_REQUEST,
            OrchestratorError::Recording(RecordingError::NoJournal) => StatusCode::CONFLICT,
            OrchestratorError::Recording(RecordingError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            OrchestratorError::Recording(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OrchestratorError::Forbidden => StatusCode::FORBIDDEN,
            OrchestratorError::NotNow { .. }
            | OrchestratorError::Closed
            | OrchestratorError::ScheduleExists(_)
            | OrchestratorError::Ambiguous(_)
            | OrchestratorError::WouldRepeat(_)
            | OrchestratorError::OutOfBudget(_)
            | OrchestratorError::Illegal(_) => StatusCode::CONFLICT,
            OrchestratorError::Tools(_) => {
                tracing::error!(%error, "the tools cannot be offered");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<RepositoryError> for ApiError {
    fn from(error: RepositoryError) -> Self {
        let status = match error {
            RepositoryError::NotFound => return Self::task_not_found(),
            RepositoryError::Stale
            | RepositoryError::Fenced
            | RepositoryError::Exists
            | RepositoryError::NameTaken
            | RepositoryError::KeyTaken => StatusCode::CONFLICT,
            RepositoryError::Full(_)
            | RepositoryError::Unavailable(_)
            | RepositoryError::InUse { .. }
            | RepositoryError::Schema { .. }
            | RepositoryError::OtherTables => StatusCode::SERVICE_UNAVAILABLE,
            RepositoryError::Corrupt { .. } | RepositoryError::Address(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        if status.is_server_error() {
            tracing::error!(cause = %with_causes(&error), code = error.code(), "the database refuses");
        }
        let message = match &error {
            RepositoryError::Corrupt { .. } | RepositoryError::Address(_) => INTERNAL.to_owned(),
            RepositoryError::InUse { .. } => "another process works on the database file".to_owned(),
            _ => error.to_string(),
        };
        Self::new(status, error.code(), message)
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        tracing::warn!(cause = %with_causes(&error), "the queue does not answer");
        let message = "the queue does not answer: tasks go on without it";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "queue_unavailable", message)
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        let status = match error.why() {
            // The request cannot be carried out as things stand: the message says what to
            // configure, and repeating it without that does not help.
            ModelError::NotConfigured(_)
            | ModelError::NotUnderstood(_)
            | ModelError::MissingKey { .. }
            | ModelError::ContextOverflow { .. }
            | ModelError::Refused { .. }
            | ModelError::Rejected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ModelError::RateLimited { .. }
            | ModelError::Quota { .. }
            | ModelError::CircuitOpen { .. }
            | ModelError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ModelError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            ModelError::Unauthorized { .. }
            | ModelError::Malformed { .. }
            | ModelError::Recorded(_)
            | ModelError::Spent { .. }
            | ModelError::BrokenOff { .. } => StatusCode::BAD_GATEWAY,
        };
        tracing::warn!(cause = %with_causes(&error), code = error.code(), "no answer from a model");
        let mut refusal = Self::new(status, error.code(), model_message(&error));
        if let Some(wait) = error.retry_after() {
            // Rounded up, so that the wait is never too short.
            refusal.retry_after = Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
        }
        refusal
    }
}

/// What may be said about a model that does not answer. A provider that refuses a key likes to
/// repeat parts of it.
pub(super) fn model_message(error: &ModelError) -> String {
    match error.why() {
        ModelError::Unauthorized { model, .. } => {
            format!("the provider of {model} does not accept the API key")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Status;
    use crate::tools::ToolboxError;

    #[test]
    fn a_key_that_a_provider_repeats_is_not_sent_on() {
        let error = ModelError::Unauthorized { model: "openai/x".into(), detail: "sk-123 is wrong".into() };
        let refusal = ApiError::from(error);
        assert_eq!((refusal.status, refusal.code), (StatusCode::BAD_GATEWAY, "provider_unauthorized"));
        assert!(!refusal.message.contains("sk-123"));
        let (model, variable) = ("openai/x".into(), "OPENAI_API_KEY".into());
        let refusal = ApiError::from(ModelError::MissingKey { model, variable });
        assert_eq!(
            (refusal.status, refusal.code),
            (StatusCode::UNPROCESSABLE_ENTITY, "provider_key_missing")
        );
        assert!(refusal.message.contains("OPENAI_API_KEY"), "{}", refusal.message);
    }

    #[test]
    fn a_missing_model_is_the_configurations_matter() {
        let refusal = ApiError::from(OrchestratorError::from(ModelError::NotConfigured("set a key".into())));
        assert_eq!(refusal.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!((refusal.code, refusal.message.as_str()), ("model_not_configured", "set a key"));
    }

    #[test]
    fn the_wait_a_provider_asks_for_is_passed_on_rounded_up() {
        let wait = Some(Duration::from_millis(1500));
        let refusal = ApiError::from(ModelError::RateLimited { model: "m/m".into(), retry_after: wait });
        assert_eq!(refusal.into_response().headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn what_is_broken_inside_stays_inside() {
        let refusal = ApiError::from(RepositoryError::Corrupt { what: "secret row".into() });
        assert_eq!((refusal.status, refusal.code), (StatusCode::INTERNAL_SERVER_ERROR, "database_corrupt"));
        assert!(!refusal.message.contains("secret row"));
    }

    #[test]
    fn the_words_of_the_original_system_are_kept() {
        let collision = ToolboxError::Collision(vec!["a".into(), "b".into()]);
        let refusal = ApiError::from(OrchestratorError::from(collision));
        assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(refusal.message, "Tool name collision detected: a, b");
        let late = OrchestratorError::NotNow { verb: "cancel", status: Status::Completed };
        assert_eq!(ApiError::from(late).message, "Cannot cancel task with status: completed");
    }
}
