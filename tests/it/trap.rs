//! A worker that dies at a commit, or is frozen there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use longhaul::repository::Commit;
use tokio::sync::Notify;

/// What becomes of the worker that is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It dies after the commit, before it hears of it.
    Dies,
    /// It is frozen before the commit.
    FrozenBefore,
    /// It is frozen after the commit, before it hears of it.
    FrozenAfter,
}

/// Catches the first worker that commits an entry of one kind.
pub(crate) struct Trap {
    armed: Mutex<Option<(&'static str, Fate)>>,
    caught: Notify,
    is_frozen: AtomicBool,
    thawed: Notify,
}

/// The name of the worker that steps into a trap.
pub(crate) const FIRST: &str = "first";

impl Trap {
    pub(crate) fn new(kind: &'static str, fate: Fate) -> Self {
        Self {
            armed: Mutex::new(Some((kind, fate))),
            caught: Notify::new(),
            is_frozen: AtomicBool::new(false),
            thawed: Notify::new(),
        }
    }

    /// What happens at this commit.
    pub(crate) fn fate(&self, commit: &Commit) -> Option<Fate> {
        let mut armed = self.armed.lock().unwrap();
        let is_meant = |kind: &str| commit.entries().iter().any(|entry| entry.event.kind() == kind);
        armed.take_if(|(kind, _)| is_meant(kind)).map(|(_, fate)| fate)
    }

    /// Dies.
    pub(crate) async fn die<T>(&self) -> T {
        self.caught.notify_one();
        std::future::pending().await
    }

    /// Is frozen until it is let go on.
    pub(crate) async fn freeze(&self) {
        self.is_frozen.store(true, Ordering::SeqCst);
        self.caught.notify_one();
        self.while_frozen().await;
    }

    /// Waits until somebody is dead or frozen.
    pub(crate) async fn caught(&self) {
        self.caught.notified().await;
    }

    /// Lets the frozen worker go on.
    pub(crate) fn thaw(&self) {
        self.is_frozen.store(false, Ordering::SeqCst);
        self.thawed.notify_waiters();
    }

    /// Waits for as long as the first worker is frozen.
    pub(crate) async fn while_frozen(&self) {
        loop {
            let thawed = self.thawed.notified();
            if !self.is_frozen.load(Ordering::SeqCst) {
                return;
            }
            thawed.await;
        }
    }
}
