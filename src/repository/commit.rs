//! One write to one task, prepared outside of the database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, RepositoryError};
use crate::task::{Blob, BlobHash, Entry, Event, Payload, State, Step, StepStatus, Task, TaskId, TaskSpec};

/// What becomes of the lease with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Whoever holds the task goes on holding it. A task that nobody holds keeps its place in
    /// the line; one that had none, because it was paused, becomes due if it is live. For commits
    /// within a lease, and for writers without one.
    Keep,
    /// The same for whoever holds it; a task that nobody holds becomes due at once. For news that a
    /// waiting task has been waiting for.
    Due,
    /// The task is given back and is due after this while, if it is live. A while and not a
    /// moment: it is counted by the database's clock, which alone says what is due.
    Release(Duration),
}

/// New entries of one task with everything that follows from them.
///
/// All commits are optimistic: they state the epoch and the newest entry that their writer
/// knew. A lease does not add a second check; it only keeps other workers from trying.
#[derive(Debug, Clone)]
pub struct Commit {
    pub(super) id: TaskId,
    pub(super) base_seq: i64,
    pub(super) entries: Vec<Entry>,
    contents: Vec<Blob>,
    pub(super) blobs: Vec<Packed>,
    /// Contents that are stored already and that the task refers to from now on.
    pub(super) shared: Vec<BlobHash>,
    pub(super) state: State,
    pub(super) total_steps: u32,
    pub(super) steps: Vec<(u32, Step)>,
    /// Steps from this index on are new.
    pub(super) planned_from: u32,
    pub(super) lease: Lease,
}

impl Commit {
    /// The commit that makes `entries` known; they must be the newest that were applied to
    /// `task`. Large contents must have been sealed into `blobs` before.
    pub fn new(task: &Task, entries: Vec<Entry>, blobs: Vec<Blob>, lease: Lease) -> Self {
        let base_seq = entries.first().map_or(task.state().seq, |first| first.seq - 1);
        let touched = touched_steps(task, &entries);
        let steps = touched.into_iter().filter_map(|index| Some((index, task.step(index)?.clone())));
        Self {
            id: task.id,
            base_seq,
            contents: blobs,
            blobs: Vec::new(),
            shared: Vec::new(),
            planned_from: task.steps().len() as u32 - planned(&entries),
            state: task.state().clone(),
            total_steps: task.total_steps(),
            steps: steps.collect(),
            entries,
            lease,
        }
    }

    /// Compresses the contents: before the commit takes its turn, so that nobody waits for it.
    pub(super) fn pack(&mut self) -> Result<(), RepositoryError> {
        for content in std::mem::take(&mut self.contents) {
            let bytes = zstd::bulk::compress(&content.bytes, 3)?;
            self.blobs.push(Packed { hash: content.hash, size: content.bytes.len() as i64, bytes });
        }
        Ok(())
    }

    /// Whether whoever holds the task goes on with it as before: then neither its lease nor its
    /// place in the line changes, if it has both.
    pub(super) fn is_advance(&self) -> bool {
        let is_moved = |entry: &Entry| matches!(entry.event, Event::Prioritized { .. });
        self.lease == Lease::Keep && self.state.status.is_live() && !self.entries.iter().any(is_moved)
    }

    /// Why the commit was refused, by the epoch that the task has; none if it does not exist.
    pub(super) fn refusal(&self, epoch: Option<i64>) -> RepositoryError {
        match epoch {
            None => RepositoryError::NotFound,
            Some(epoch) if epoch == self.state.epoch => RepositoryError::Stale,
            Some(_) => RepositoryError::Fenced,
        }
    }

    /// Whether it brings no large contents and refers to none.
    pub(super) fn has_no_contents(&self) -> bool {
        self.blobs.is_empty() && self.shared.is_empty()
    }

    /// Whose commit it is.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// What it makes known, in order: for whoever stands between the engine and a repository.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number of the newest entry after this commit.
    pub fn seq(&self) -> i64 {
        self.state.seq
    }
}

/// A new task with everything that belongs to it.
pub(super) struct Creation {
    pub(super) commit: Commit,
    pub(super) spec: Arc<TaskSpec>,
    /// The reply to the request that started it, if that brought a key.
    pub(super) answer: Option<Answer>,
}

impl Creation {
    pub(super) fn new(
        task: &Task,
        mut entries: Vec<Entry>,
        answer: Option<&Answer>,
    ) -> Result<Self, RepositoryError> {
        let mut shared = BTreeSet::new();
        let payloads = entries.iter_mut().flat_map(|entry| entry.event.payloads_mut());
        let sealed = payloads.filter_map(|part| match part {
            Payload::Blob { hash, .. } => {
                shared.insert(*hash);
                None
            }
            inline => inline.seal(),
        });
        let blobs: Vec<Blob> = sealed.collect();
        let mut commit = Commit::new(task, entries, blobs, Lease::Release(Duration::ZERO));
        commit.shared = shared.into_iter().collect();
        commit.pack()?;
        Ok(Self { commit, spec: task.shared_spec(), answer: answer.cloned() })
    }
}

/// A content as the blob table keeps it.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) hash: BlobHash,
    /// Its length before it was compressed.
    pub(super) size: i64,
    pub(super) bytes: Vec<u8>,
}

/// How many steps the entries bring: they are the last ones.
fn planned(entries: &[Entry]) -> u32 {
    entries.iter().map(|entry| entry.event.new_steps() as u32).sum()
}

/// Which steps the entries changed. The end of a task closes whatever step was running.
fn touched_steps(task: &Task, entries: &[Entry]) -> BTreeSet<u32> {
    let mut touched: BTreeSet<u32> = entries
        .iter()
        .filter(|entry| !entry.event.is_about_call() || is_counted(&entry.event))
        .filter_map(|entry| entry.event.step())
        .collect();
    for entry in entries {
        match &entry.event {
            plan if plan.new_plan().is_some() => touched.extend(0..task.steps().len() as u32),
            Event::FannedOut { step, .. } => touched.extend(task.items_of(*step)),
            // The list of an item looks at its items again.
            Event::CheckDecided { step, .. } => {
                touched.extend(task.step(*step).and_then(|step| Some(step.item.as_ref()?.of)));
            }
            Event::Cancelled { .. } | Event::Failed { .. } => touched.extend(unfinished(task)),
            _ => {}
        }
    }
    touched
}

/// Steps that were started and brought nothing; also one whose attempts do not count because nobody was
/// asked: it may have waited for the next one.
fn unfinished(task: &Task) -> impl Iterator<Item = u32> {
    let steps = (0..).zip(task.steps());
    steps
        .filter(|(_, step)| step.first_seq.is_some() && step.status != StepStatus::Completed)
        .map(|(index, _)| index)
}

/// Whether an entry about a call changes what the step's row says of its usage.
fn is_counted(event: &Event) -> bool {
    matches!(
        event,
        Event::ModelAnswered { .. }
            | Event::ToolDispatched { .. }
            | Event::ChildStarted { .. }
            | Event::ChildEnded { .. }
    )
}

impl Commit {
    /// The hint that goes out once this is durable.
    pub(super) fn change(&self) -> super::Change {
        let is_given_back = self.lease != Lease::Keep;
        super::Change {
            id: self.id,
            seq: self.state.seq,
            status: self.state.status,
            completed_steps: self.state.completed,
            total_steps: self.total_steps,
            is_due: self.state.status.is_live() && is_given_back,
        }
    }
}
