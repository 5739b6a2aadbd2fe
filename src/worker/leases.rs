//! The leases this worker holds, and the heartbeat that keeps them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OwnedRwLockReadGuard};
use tokio_util::sync::CancellationToken;

use super::presence;
use crate::repository::{Beat, Claimed, Repository, WorkerInfo};
use crate::task::TaskId;

/// A task that was claimed.
pub(super) struct Taken {
    pub(super) claimed: Claimed,
    /// When the database was asked: the lease may be as old as that.
    pub(super) asked: Instant,
    /// Of a suspect: that it has neither its place nor was given back yet.
    pub(super) arriving: Option<Arriving>,
}

/// Held by a suspect from its claim on, until it has its place or was given back.
pub(super) type Arriving = Arc<OwnedRwLockReadGuard<()>>;

/// What the heartbeat tells whoever drives a task.
#[derive(Debug)]
pub(super) struct Signals {
    /// Somebody else wrote to the task: look.
    pub(super) changed: Notify,
    /// The newest entry its driver knows.
    pub(super) known_seq: AtomicI64,
    epoch: i64,
    /// When the database was last asked for the lease and granted it. By this machine's clock,
    /// which goes on while the process is frozen.
    granted: Mutex<Instant>,
}

impl Signals {
    fn was_granted(&self, asked: Instant) {
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// Whether somebody else may have the task by now: the database alone knows it then. Nothing
    /// is safe because of this clock; it only tells when to ask.
    pub(super) fn is_in_doubt(&self, lease: Duration) -> bool {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= lease
    }
}

/// The leases by task. The locks are held for single look-ups only.
#[derive(Debug)]
pub(super) struct Leases {
    by_task: Mutex<HashMap<TaskId, Arc<Signals>>>,
    /// When the database last extended them.
    extended: Mutex<Instant>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { by_task: Mutex::default(), extended: Mutex::new(Instant::now()) }
    }
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Signals>>> {
        // The map is whole after a panic elsewhere: every change of it is one call.
        self.by_task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, taken: &Taken) -> Arc<Signals> {
        let task = &taken.claimed.task;
        let (id, state) = (task.id, task.state());
        let signals = Arc::new(Signals {
            changed: Notify::new(),
            known_seq: AtomicI64::new(state.seq),
            epoch: state.epoch,
            granted: Mutex::new(taken.asked),
        });
        self.held().insert(id, signals.clone());
        signals
    }

    /// Forgets a lease, unless the task was claimed again meanwhile.
    pub(super) fn remove(&self, id: TaskId, epoch: i64) {
        let mut held = self.held();
        if held.get(&id).is_some_and(|signals| signals.epoch == epoch) {
            held.remove(&id);
        }
    }

    /// What is held, under which epoch.
    pub(super) fn epochs(&self) -> Vec<(TaskId, i64)> {
        self.held().iter().map(|(id, signals)| (*id, signals.epoch)).collect()
    }

    pub(super) fn ids(&self) -> Vec<TaskId> {
        self.held().keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.held().len()
    }

    fn were_extended(&self) {
        *self.extended.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The newest entry that whoever drives a task knows.
    pub(super) fn known(&self, id: TaskId) -> Option<i64> {
        self.held().get(&id).map(|signals| signals.known_seq.load(Ordering::Relaxed))
    }

    pub(super) fn told(&self, id: TaskId, seq: i64) {
        if let Some(signals) = self.held().get(&id)
            && seq > signals.known_seq.load(Ordering::Relaxed)
        {
            signals.changed.notify_one();
        }
    }

    /// Whether leases may have ended without anybody noticing: a worker must not claim its own
    /// tasks anew while it still drives them.
    pub(super) fn are_overdue(&self, lease: Duration) -> bool {
        let extended = *self.extended.lock().unwrap_or_else(PoisonError::into_inner);
        self.len() > 0 && extended.elapsed() > lease / 2
    }

    /// Extends all leases. What the database does not extend is lost.
    pub(super) async fn renew(&self, repository: &dyn Repository, worker: &str, lease: Duration) {
        let held: Vec<(TaskId, Arc<Signals>)> =
            self.held().iter().map(|(id, signals)| (*id, signals.clone())).collect();
        if held.is_empty() {
            self.were_extended();
            return;
        }
        let leases: Vec<(TaskId, i64)> = held.iter().map(|(id, signals)| (*id, signals.epoch)).collect();
        let asked = Instant::now();
        let renewed = match repository.renew(worker, &leases, lease).await {
            Ok(renewed) => renewed,
            Err(error) => {
                // Nothing is decided by that: the next commit finds out whether the lease holds.
                error.tell("leases were not extended");
                return;
            }
        };
        self.were_extended();
        let extended: HashMap<TaskId, i64> =
            renewed.into_iter().map(|renewal| (renewal.id, renewal.seq)).collect();
        for (id, signals) in held {
            match extended.get(&id) {
                Some(seq) => {
                    signals.was_granted(asked);
                    self.told(id, *seq);
                }
                // Its task has ended or belongs to somebody else: its driver looks which.
                None => signals.changed.notify_one(),
            }
        }
    }
}

/// Extends the leases of a worker, and says that it is there, until it stops.
pub(super) async fn heartbeat(
    leases: Arc<Leases>,
    repository: Arc<dyn Repository>,
    worker: WorkerInfo,
    every: Duration,
    draining: CancellationToken,
) {
    let lease = Duration::from_millis(worker.lease_ms);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beat = Beat::Begin;
    loop {
        ticks.tick().await;
        leases.renew(repository.as_ref(), &worker.name, lease).await;
        presence::tell(repository.as_ref(), &worker, beat).await;
        beat = if draining.is_cancelled() { Beat::Drain } else { Beat::Work };
    }
}

/// Passes on what others wrote through the same repository, so that a cancel is noticed at
/// once and not at the next heartbeat.
pub(super) async fn listen(leases: Arc<Leases>, repository: Arc<dyn Repository>) {
    let mut changes = repository.changes();
    loop {
        match changes.recv().await {
            Ok(change) => leases.told(change.id, change.seq),
            Err(RecvError::Lagged(_)) => {
                leases.held().values().for_each(|signals| signals.changed.notify_one())
            }
            Err(RecvError::Closed) => return,
        }
    }
}
