//! Fires schedules that are due.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::orchestrator::Orchestrator;
use crate::repository::Schedule;

/// How a worker looks for schedules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How often.
    pub(super) every: Duration,
    /// For how long it takes one.
    pub(super) lease: Duration,
    /// How many tasks it starts side by side: one whose planner is slow keeps no other waiting.
    pub(super) at_once: usize,
}

/// Looks every so often, and takes as many as are due, until the worker drains; then lets those end that
/// it is firing.
pub(super) async fn watch(orchestrator: Orchestrator, pace: Pace, draining: CancellationToken) {
    let mut ticks = tokio::time::interval(pace.every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut firing = JoinSet::new();
    loop {
        tokio::select! {
            () = draining.cancelled() => break,
            _ = ticks.tick() => {}
        }
        while firing.try_join_next().is_some() {}
        while firing.len() < pace.at_once.max(1) && !draining.is_cancelled() {
            match orchestrator.due_schedule(pace.lease).await {
                Ok(Some(schedule)) => firing.spawn(fire(orchestrator.clone(), schedule, pace.lease)),
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "due schedules were not looked for, trying again later");
                    break;
                }
            };
        }
    }
    while firing.join_next().await.is_some() {}
}

async fn fire(orchestrator: Orchestrator, schedule: Schedule, lease: Duration) {
    let id = schedule.id;
    if let Err(error) = orchestrator.fire(schedule, lease).await {
        tracing::warn!(schedule = %id, %error, "not fired, trying again when the lease ends");
    }
}
