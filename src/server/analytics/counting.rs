//! Keeps the sums up with the journals, in the background of a server.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::repository::analytics::Reach;
use crate::server::state::AppState;

/// How far the sums may be behind.
const PAUSE: Duration = Duration::from_secs(3);

/// After so many looks at what changes, all tasks are looked at: one may have waited for a person, or
/// ended, while nobody counted.
const ROUNDS: u32 = 200;

/// Counts until `shutdown` is cancelled. Several servers may do so at once.
pub async fn count(state: AppState, shutdown: CancellationToken) {
    for round in (0..ROUNDS).cycle() {
        let reach = if round == 0 { Reach::All } else { Reach::Recent };
        tokio::select! {
            () = catch_up(&state, reach) => {}
            () = shutdown.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Counts until there is nothing left, or something is in the way: then the next round goes on.
async fn catch_up(state: &AppState, reach: Reach) {
    loop {
        match state.repository().analytics().count(reach).await {
            Ok(0) => return,
            // Whoever commits goes first.
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                tracing::warn!(%error, "what happened cannot be counted, trying again");
                return;
            }
        }
    }
}
