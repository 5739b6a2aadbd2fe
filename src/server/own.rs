//! What a path names, if it is the caller's. Whose it is comes before anything else that may be wrong with a
//! request, its body and its query included: so this is looked at while the path is read.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::auth::Caller;
use super::error::ApiError;
use super::state::AppState;
use crate::orchestrator::{OrchestratorError, RequestId};
use crate::repository::{Schedule, ScheduleId, Thread};
use crate::task::Task;

/// What stands under the `{id}` of the path: 404 if there is none, 403 if it is somebody else's.
pub(super) struct Own<T>(pub(super) T);

/// What has an owner and an id.
pub(super) trait Owned: Sized {
    /// The caller's with this id.
    fn of(state: &AppState, caller: &Caller, id: &str)
    -> impl Future<Output = Result<Self, ApiError>> + Send;
}

impl<T: Owned> FromRequestParts<AppState> for Own<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let named = RawPathParams::from_request_parts(parts, state).await;
        // A path that is no text names nothing.
        let named = named.map_err(|_| ApiError::invalid("id", "is not UTF-8"))?;
        let id = named.iter().find_map(|(name, id)| (name == "id").then(|| id.to_owned()));
        T::of(state, &caller, &id.unwrap_or_default()).await.map(Self)
    }
}

impl Owned for Task {
    async fn of(state: &AppState, caller: &Caller, id: &str) -> Result<Self, ApiError> {
        state.task_of(caller, id).await
    }
}

impl Owned for Thread {
    async fn of(state: &AppState, caller: &Caller, id: &str) -> Result<Self, ApiError> {
        let thread = state.repository().thread(id).await?.ok_or_else(ApiError::thread_not_found)?;
        if thread.user_id == caller.0 { Ok(thread) } else { Err(ApiError::forbidden()) }
    }
}

impl Owned for Schedule {
    async fn of(state: &AppState, caller: &Caller, id: &str) -> Result<Self, ApiError> {
        let id =
            id.parse::<ScheduleId>().map_err(|_| ApiError::invalid("id", "is not the id of a schedule"))?;
        let schedule = state.repository().schedule(id).await?.ok_or(OrchestratorError::NoSchedule)?;
        if schedule.user_id == caller.0 { Ok(schedule) } else { Err(ApiError::forbidden()) }
    }
}

/// A request of a task that is the caller's, whether or not it is open.
impl Owned for RequestId {
    async fn of(state: &AppState, caller: &Caller, id: &str) -> Result<Self, ApiError> {
        let id = id.parse::<Self>().map_err(|problem| ApiError::invalid("id", problem))?;
        state.task_of(caller, &id.task.to_string()).await?;
        Ok(id)
    }
}
