//! WebSockets: the journal of one task, and of any number of tasks on one connection.
//!
//! What is sent is what `/api/tasks/{id}/events` sends, the entry with its number; besides it there
//! are [`Control`] frames, which have no number and are not part of any journal.

mod connection;
mod frames;
mod many;
mod one;
mod summaries;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;

pub(super) use self::frames::{Command, Control, TaskFrame};
pub(super) use self::summaries::Summaries;
use super::auth::Caller;
use super::error::ApiError;
use super::events::From;
use super::follow::{Follower, Slow};
use super::own::Own;
use super::parse::Params;
use super::state::AppState;
use crate::task::Task;

/// The subprotocol that a client may name beside one that carries its key.
const PROTOCOL: &str = "longhaul";

/// Bytes that are read at once, and of one message of a client: commands are short, and every
/// connection has buffers of this size.
const READ: usize = 4 * 1024;
const LONGEST: usize = 16 * 1024;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `GET /api/tasks/{id}/ws`: every entry after the one the client has, then those to come, until the
/// task has ended.
pub(super) async fn task(
    State(state): State<AppState>,
    Own(task): Own<Task>,
    Params(from): Params<From>,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let follower = Follower::new(&state.feeds, &task, from.after.unwrap_or(0), Slow::MustGo);
    upgraded(upgrade, move |socket| one::run(socket, state, follower))
}

/// `GET /api/ws`: subscriptions to tasks, and to summaries of all tasks of the caller.
pub(super) async fn all(
    State(state): State<AppState>,
    caller: Caller,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    upgraded(upgrade, move |socket| many::run(socket, state, caller))
}

fn upgraded<F, R>(upgrade: Upgrade, run: F) -> Result<Response, ApiError>
where
    F: FnOnce(WebSocket) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let upgrade = upgrade.map_err(|_| ApiError::no_upgrade())?;
    let upgrade = upgrade.protocols([PROTOCOL]).read_buffer_size(READ).max_message_size(LONGEST);
    Ok(upgrade.max_frame_size(LONGEST).write_buffer_size(0).on_upgrade(run))
}
