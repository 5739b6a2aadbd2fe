//! `POST /api/tasks/{id}/replay`: carries a task out again from what is recorded of it, and says how far
//! it goes the same way. Nothing runs for it, but a whole task is read and gone through: so it is bounded
//! in size, time and number.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::error::ApiError;
use super::own::Own;
use super::state::AppState;
use crate::orchestrator::OrchestratorError;
use crate::task::{Recording, Replay, Task};

/// Carries a recorded task out again; refuses in words. Who does is on the same floor, so whoever wires
/// both together passes it in.
pub type Replayer = Arc<dyn Fn(Recording) -> BoxFuture<'static, Result<Replay, String>> + Send + Sync>;

/// Replays at once in one process: each takes as much of it as a task that waits for nothing.
const AT_ONCE: usize = 2;

/// How long a replay may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who replays, and the places for it.
#[derive(Clone)]
pub(super) struct Replays {
    replayer: Replayer,
    places: Arc<Semaphore>,
    patience: Duration,
}

impl Replays {
    pub(super) fn new(replayer: Replayer) -> Self {
        Self::within(PATIENCE, replayer)
    }

    /// With other patience.
    pub(super) fn within(patience: Duration, replayer: Replayer) -> Self {
        Self { replayer, places: Arc::new(Semaphore::new(AT_ONCE)), patience }
    }
}

/// Replays it.
pub(super) async fn replay(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<Replay>, ApiError> {
    let Ok(_place) = state.replays.places.try_acquire() else { return Err(ApiError::too_many_replays()) };
    let limit = state.config.max_recording_bytes as u64;
    let text = state.orchestrator.recorded(task.id, limit).await?;
    // A long one takes a while, and other requests do not wait for it.
    let reading = tokio::task::spawn_blocking(move || Recording::read(&text));
    let read = reading.await.map_err(|_| ApiError::broken_recording())?;
    let recording = read.map_err(OrchestratorError::from)?;
    let patience = state.replays.patience;
    tokio::select! {
        replayed = tokio::time::timeout(patience, (state.replays.replayer)(recording)) => match replayed {
            Ok(Ok(replay)) => Ok(Json(replay)),
            Ok(Err(why)) => Err(ApiError::no_replay(&why)),
            Err(_) => Err(ApiError::long_replay(patience)),
        },
        () = state.shutdown.cancelled() => Err(ApiError::shutting_down()),
    }
}
