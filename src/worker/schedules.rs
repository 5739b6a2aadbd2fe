//! Fires schedules that are due.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::until;
use crate::orchestrator::Orchestrator;
use crate::repository::{Due, Repository, RepositoryError, Schedule};

/// How a worker looks for schedules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long it goes without a look, at least.
    pub(super) every: Duration,
    /// For how long it takes one.
    pub(super) lease: Duration,
    /// How many tasks it starts side by side: one whose planner is slow keeps no other waiting.
    pub(super) at_once: usize,
}

/// When somebody looked, and when the next schedule is due as far as was seen then.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    next: Option<Instant>,
}

/// What a worker sees when it looks for whatever is due. Whoever looks, looks for all of it, so that an
/// idle worker asks one question at a time and not one for each kind of work.
#[derive(Debug)]
pub(super) struct Outlook(watch::Sender<Seen>);

impl Default for Outlook {
    fn default() -> Self {
        Self(watch::Sender::new(Seen { at: Instant::now(), next: None }))
    }
}

impl Outlook {
    /// Looks, and tells whoever fires schedules when there is one to fire.
    pub(super) async fn look(&self, repository: &dyn Repository) -> Result<Due, RepositoryError> {
        let looked = repository.due().await;
        let at = Instant::now();
        let due = looked.as_ref().ok().and_then(|due| due.schedule);
        // The database's clock tells whole milliseconds: a moment too early would find nothing.
        let next = due.map(|wait| at + wait + Duration::from_millis(1));
        self.0.send_replace(Seen { at, next });
        looked
    }

    /// What was due is seen to.
    fn clear(&self) {
        self.0.send_modify(|seen| seen.next = None);
    }
}

/// Sleeps until a schedule is due, and takes as many as are, until the worker drains; then lets those
/// end that it is firing.
///
/// Somebody has looked for them not longer ago than the pace says: the worker does while it waits for
/// work, and this does when it is busy or leaves its work to another queue.
pub(super) async fn watch(
    orchestrator: Orchestrator,
    outlook: &Outlook,
    pace: Pace,
    draining: CancellationToken,
) {
    let every = pace.every.max(Duration::from_millis(1));
    let mut seen = outlook.0.subscribe();
    let mut firing = JoinSet::new();
    loop {
        while firing.try_join_next().is_some() {}
        let Seen { at, next } = *seen.borrow_and_update();
        let next = next.filter(|_| firing.len() < pace.at_once.max(1));
        let is_due = tokio::select! {
            () = draining.cancelled() => break,
            () = until(next) => true,
            _ = seen.changed() => false,
            Some(_) = firing.join_next() => false,
            () = orchestrator.scheduled() => look(&orchestrator, outlook).await,
            () = sleep_until(at + every + every / 4) => look(&orchestrator, outlook).await,
        };
        if is_due {
            outlook.clear();
            fire_all(&orchestrator, pace, &mut firing, &draining).await;
        }
    }
    while firing.join_next().await.is_some() {}
}

/// Looks, and lets the next turn see what it saw.
async fn look(orchestrator: &Orchestrator, outlook: &Outlook) -> bool {
    if let Err(error) = outlook.look(orchestrator.repository().as_ref()).await {
        tracing::debug!(%error, "due schedules were not looked for, trying again later");
    }
    false
}

async fn fire_all(
    orchestrator: &Orchestrator,
    pace: Pace,
    firing: &mut JoinSet<()>,
    draining: &CancellationToken,
) {
    while firing.len() < pace.at_once.max(1) && !draining.is_cancelled() {
        match orchestrator.due_schedule(pace.lease).await {
            Ok(Some(schedule)) => firing.spawn(fire(orchestrator.clone(), schedule, pace.lease)),
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "due schedules were not taken, trying again later");
                break;
            }
        };
    }
}

async fn fire(orchestrator: Orchestrator, schedule: Schedule, lease: Duration) {
    let id = schedule.id;
    if let Err(error) = orchestrator.fire(schedule, lease).await {
        tracing::warn!(schedule = %id, %error, "not fired, trying again when the lease ends");
    }
}
