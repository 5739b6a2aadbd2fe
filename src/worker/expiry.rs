//! Ends requests to people that nobody answered in time, and sees to children that do not stand as their
//! parents do.

use std::time::Duration;

use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::task::with_causes;

/// Looks every so often, for ever. A paused task has no wake-up of its own, so somebody has to
/// look; every worker does, for any of them may be the only one.
pub(super) async fn watch(orchestrator: Orchestrator, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = orchestrator.expire_requests().await {
            tell(&error, "expired requests were not looked for, trying again later");
        }
        if let Err(error) = orchestrator.see_to_strays().await {
            tell(&error, "children were not looked for, trying again later");
        }
    }
}

fn tell(error: &OrchestratorError, not_done: &str) {
    match error {
        OrchestratorError::Repository(error) => error.tell(not_done),
        other => tracing::warn!(error = with_causes(other), "{not_done}"),
    }
}
