//! The one writer of a task while a worker holds it.
//!
//! Events are applied in memory at once and written in groups. If somebody else wrote first
//! (a pause, a cancel), the task is read again and the events that are still legal are applied
//! to it; what became illegal is dropped, for it has not happened. What a step brought after such an
//! event rests on it, and is dropped with it: the step goes on from what is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::leases::Signals;
use crate::orchestrator::{Clock, Rehearsal};
use crate::repository::{Commit, Lease, Repository, RepositoryError};
use crate::task::{Blob, Entry, Event, Payload, Task};

/// The first and the longest wait before a database that does not answer is tried again.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The lease is lost: nothing this worker writes is accepted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// The task, and what is known of it but not written yet.
pub(super) struct Writer {
    pub(super) task: Arc<Task>,
    repository: Arc<dyn Repository>,
    clock: Clock,
    signals: Arc<Signals>,
    entries: Vec<Entry>,
    blobs: Vec<Blob>,
    /// The first entries of commits whose answers were lost: they may be in the journal.
    doubtful: Vec<Entry>,
    /// Steps at work that know of something that has not happened.
    cut_off: BTreeSet<u32>,
    /// Who hears of everything, where a recorded task is carried out again.
    rehearsal: Option<Arc<dyn Rehearsal>>,
}

impl Writer {
    pub(super) fn new(
        task: Task,
        repository: Arc<dyn Repository>,
        clock: Clock,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            task: Arc::new(task),
            repository,
            clock,
            signals,
            entries: Vec::new(),
            blobs: Vec::new(),
            doubtful: Vec::new(),
            cut_off: BTreeSet::new(),
            rehearsal: None,
        }
    }

    /// The same for a task that is carried out again.
    pub(super) fn rehearsing(self, rehearsal: Option<Arc<dyn Rehearsal>>) -> Self {
        Self { rehearsal, ..self }
    }

    /// A step begins, or goes on, with what is known of it now.
    pub(super) fn goes_on(&mut self, step: u32) {
        self.cut_off.remove(&step);
    }

    /// Whether a step at work knows of something that has not happened.
    pub(super) fn is_cut_off(&self, step: u32) -> bool {
        self.cut_off.contains(&step)
    }

    /// Applies an event that a step brought. If the task was paused or ended before, the step is cut off:
    /// nothing counts that it brings from there on.
    pub(super) fn note_of(&mut self, step: u32, event: Event) -> bool {
        if self.cut_off.contains(&step) {
            return false;
        }
        let is_noted = self.note(event);
        if !is_noted && !self.task.status().is_live() {
            self.cut_off.insert(step);
        }
        is_noted
    }

    /// Applies an event. `false` if it cannot happen (any more); nothing is changed then.
    pub(super) fn note(&mut self, event: Event) -> bool {
        let is_noted = self.put(event);
        if let (true, Some(rehearsal), Some(entry)) = (is_noted, &self.rehearsal, self.entries.last()) {
            rehearsal.noted(&entry.event);
        }
        is_noted
    }

    fn put(&mut self, mut event: Event) -> bool {
        let blobs = event.payloads_mut().into_iter().filter_map(Payload::seal);
        self.blobs.extend(blobs);
        let now = (self.clock)();
        match Arc::make_mut(&mut self.task).record(now, event) {
            Ok(entry) => {
                self.entries.push(entry);
                true
            }
            Err(illegal) => {
                tracing::debug!(task = %self.task.id, %illegal, "an event does not happen");
                false
            }
        }
    }

    /// Whether everything that was noted is durable.
    pub(super) fn is_written(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes everything durable that was noted. Returns whether all of it is part of the
    /// journal now: if somebody else wrote meanwhile, some of it may not have happened.
    pub(super) async fn flush(&mut self) -> Result<bool, Lost> {
        if self.entries.is_empty() {
            return Ok(true);
        }
        self.write(Lease::Keep).await
    }

    /// Writes what is left and gives the task back, due at `wake` if it is live.
    pub(super) async fn release(&mut self, wake: crate::task::Timestamp) -> Result<(), Lost> {
        if self.entries.is_empty() && self.task.status().is_terminal() {
            return Ok(());
        }
        let wait = wake.since((self.clock)());
        self.write(Lease::Release(wait)).await.map(drop)
    }

    /// Reads what others wrote, and applies what is not written yet to that.
    pub(super) async fn refresh(&mut self) -> Result<(), Lost> {
        let fresh = self.load().await?;
        if fresh.state().epoch != self.task.state().epoch {
            return Err(Lost);
        }
        let written = self.task.state().seq - self.entries.len() as i64;
        if fresh.state().seq > written {
            self.rebase(fresh);
        }
        Ok(())
    }

    async fn write(&mut self, mut lease: Lease) -> Result<bool, Lost> {
        let mut all_kept = true;
        let mut wait = WAITS.0;
        loop {
            // Before the commit: its own echo is no news.
            self.signals.known_seq.store(self.task.state().seq, Ordering::Relaxed);
            let commit = Commit::new(&self.task, self.entries.clone(), self.blobs.clone(), lease);
            match self.repository.commit(commit).await {
                Ok(()) => {
                    self.written();
                    return Ok(all_kept);
                }
                Err(RepositoryError::Fenced | RepositoryError::NotFound) => return Err(Lost),
                Err(RepositoryError::Stale) => {}
                Err(error) if !error.is_passing() => {
                    tracing::error!(task = %self.task.id, %error, "a commit is refused, the task is let go");
                    return Err(Lost);
                }
                Err(error) => {
                    error.tell("a commit did not get through, trying again");
                    self.doubtful.extend(self.entries.first().cloned());
                    sleep_longer(&mut wait).await;
                }
            }
            let fresh = self.load().await?;
            if fresh.state().epoch != self.task.state().epoch {
                return Err(Lost);
            }
            if self.was_written(&fresh).await? {
                self.written();
                self.rebase(fresh);
                return Ok(all_kept);
            }
            all_kept &= self.rebase(fresh);
            // What was waited for may be what is new.
            if let Lease::Release(wait) = &mut lease {
                *wait = Duration::ZERO;
            }
        }
    }

    /// Whether a commit whose answer was lost did get through: then our entries are there.
    async fn was_written(&self, fresh: &Task) -> Result<bool, Lost> {
        for first in self.doubtful.iter().filter(|first| first.seq <= fresh.state().seq) {
            if self.is_there(fresh, first).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_there(&self, fresh: &Task, wanted: &Entry) -> Result<bool, Lost> {
        let mut wait = WAITS.0;
        loop {
            match self.repository.journal(fresh.id, wanted.seq - 1, 1).await {
                Ok(there) => return Ok(there.first().is_some_and(|entry| entry.is_same(wanted))),
                Err(error) => {
                    error.tell("the journal cannot be read, trying again");
                    sleep_longer(&mut wait).await;
                }
            }
        }
    }

    /// Applies the unwritten events to a newer state. Returns whether all are still legal.
    fn rebase(&mut self, fresh: Task) -> bool {
        self.task = Arc::new(fresh);
        let mut all_kept = true;
        for entry in std::mem::take(&mut self.entries) {
            all_kept &= self.note_again(entry.event);
        }
        self.tell();
        all_kept
    }

    /// What is known of a call stays known, whatever its step went on to.
    fn note_again(&mut self, event: Event) -> bool {
        let Some(step) = event.step().filter(|_| !matches!(event, Event::CallLost { .. })) else {
            return self.put(event);
        };
        let is_noted = !self.cut_off.contains(&step) && self.put(event);
        if !is_noted {
            self.cut_off.insert(step);
        }
        is_noted
    }

    fn written(&mut self) {
        self.doubtful.clear();
        self.entries.clear();
        self.blobs.clear();
        self.tell();
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.written();
        }
    }

    fn tell(&self) {
        let written = self.task.state().seq - self.entries.len() as i64;
        self.signals.known_seq.store(written, Ordering::Relaxed);
    }

    async fn load(&self) -> Result<Task, Lost> {
        let mut wait = WAITS.0;
        loop {
            match self.repository.load(self.task.id).await {
                Ok(task) => return task.ok_or(Lost),
                Err(error) if !error.is_passing() => {
                    tracing::error!(task = %self.task.id, %error, "the task cannot be read, it is let go");
                    return Err(Lost);
                }
                Err(error) => {
                    error.tell("the task cannot be read, trying again");
                    sleep_longer(&mut wait).await;
                }
            }
        }
    }
}

/// Waits, and longer the next time.
async fn sleep_longer(wait: &mut Duration) {
    tokio::time::sleep(*wait).await;
    *wait = WAITS.1.min(*wait * 2);
}
