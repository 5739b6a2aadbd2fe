//! A WebSocket that follows one task.

use std::time::Duration;

use axum::extract::ws::WebSocket;

use super::connection::{AWAY, Connection, DONE, TRY_AGAIN};
use super::frames::Control;
use crate::server::follow::{Follower, Next};
use crate::server::state::AppState;

/// Tells the journal until the task has ended, the client goes, or it does not keep up.
pub(super) async fn run(socket: WebSocket, state: AppState, mut follower: Follower) {
    let heartbeat = Duration::from_millis(state.config.heartbeat_ms);
    let mut connection = Connection::over(socket, heartbeat);
    loop {
        let next = tokio::select! {
            next = follower.next() => next,
            said = connection.next() => match said {
                // There is nothing to say here.
                Ok(_) => continue,
                Err(_) => return,
            },
        };
        let (task_id, seq) = (follower.id(), follower.after());
        let (control, code, reason) = match next {
            Next::Note(note) => match connection.send(note.json.clone()).await {
                Ok(()) => continue,
                Err(_) => return,
            },
            Next::Said(piece) => match connection.send(piece.json.clone()).await {
                Ok(()) => continue,
                Err(_) => return,
            },
            Next::Ended => (Control::Ended { task_id, seq }, DONE, "ended"),
            Next::Behind => (Control::Resync { task_id, seq }, TRY_AGAIN, "resync"),
            Next::Cut => (Control::Cut { task_id, seq }, AWAY, "cut"),
        };
        if connection.send(control.text()).await.is_ok() {
            connection.close(code, reason).await;
        }
        return;
    }
}
