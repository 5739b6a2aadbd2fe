//! Group commit: whatever waits is written together.
//!
//! One durable transaction costs one trip to the disk, whether it holds one commit or two
//! hundred. So commits are handed to a few writers, each of which takes all that wait, writes
//! them in one transaction, and answers everybody. Alone, a commit waits for nobody.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};

use super::{Change, Commit, RepositoryError};

/// Commits in one transaction at most. Larger groups make the first one wait for the last
/// without saving anything measurable.
const GROUP: usize = 256;

/// Commits that may wait before their writers have to: bounds the memory, and a database that
/// is too slow slows its callers down instead of growing a queue.
const WAITING: usize = 1024;

/// Writes a group of commits, all of different tasks, in one transaction.
#[async_trait]
pub(super) trait WriteGroup: Send + Sync + 'static {
    /// One answer per commit. An error means that nothing of the group was written.
    async fn write_group(
        &self,
        group: &[Commit],
    ) -> Result<Vec<Result<(), RepositoryError>>, RepositoryError>;
}

struct Pending {
    commit: Commit,
    reply: oneshot::Sender<Result<(), RepositoryError>>,
}

/// The way in. Clones share the writers; the writers end when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Committer {
    pending: mpsc::Sender<Pending>,
    changes: broadcast::Sender<Change>,
    /// Who writes a commit that is alone, where that is a shorter way than over a writer.
    shortcut: Option<Shortcut>,
}

#[derive(Clone)]
struct Shortcut {
    store: Arc<dyn WriteGroup>,
    /// Commits that were handed in and have no answer yet.
    under_way: Arc<AtomicUsize>,
}

/// Counts a commit for as long as it has no answer, also when its caller gives up.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Committer {
    /// Starts `writers` writers that wait for the database without holding a thread.
    pub(super) fn start(
        store: Arc<dyn WriteGroup>,
        writers: usize,
        changes: broadcast::Sender<Change>,
    ) -> Self {
        let (pending, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..writers {
            tokio::spawn(write_groups(store.clone(), waiting.clone(), changes.clone()));
        }
        let shortcut = Some(Shortcut { store, under_way: Arc::default() });
        Self { pending, changes, shortcut }
    }

    /// A way in whose groups are written by a thread of the caller.
    pub(super) fn for_thread(changes: broadcast::Sender<Change>) -> (Self, Groups) {
        let (pending, waiting) = mpsc::channel(WAITING);
        let groups = Groups { waiting, later: Vec::new(), changes: changes.clone() };
        (Self { pending, changes, shortcut: None }, groups)
    }

    /// Hands a commit in and waits until it is durable or refused.
    ///
    /// A commit that is alone is written here and now: nobody could share its trip to the disk,
    /// and the way over a writer is two changes of tasks longer.
    pub(super) async fn commit(&self, commit: Commit) -> Result<(), RepositoryError> {
        let Some(shortcut) = &self.shortcut else { return self.hand_in(commit).await };
        let is_alone = shortcut.under_way.fetch_add(1, Ordering::Relaxed) == 0;
        let _under_way = UnderWay(&shortcut.under_way);
        if !is_alone {
            return self.hand_in(commit).await;
        }
        let answers = shortcut.store.write_group(std::slice::from_ref(&commit)).await;
        let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Ok(())));
        if answer.is_ok() {
            let _ = self.changes.send(commit.change());
        }
        answer
    }

    async fn hand_in(&self, commit: Commit) -> Result<(), RepositoryError> {
        let (reply, answer) = oneshot::channel();
        let gone = || RepositoryError::Unavailable("the database is being closed".into());
        self.pending.send(Pending { commit, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Commits of different tasks that are written together.
pub(super) struct Group {
    commits: Vec<Commit>,
    replies: Vec<oneshot::Sender<Result<(), RepositoryError>>>,
    changes: broadcast::Sender<Change>,
}

impl Group {
    fn of(pending: Vec<Pending>, changes: broadcast::Sender<Change>) -> Self {
        let (commits, replies) = pending.into_iter().map(|pending| (pending.commit, pending.reply)).unzip();
        Self { commits, replies, changes }
    }

    /// What to write.
    pub(super) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// Tells everybody what became of their commits: one answer each, in order.
    pub(super) fn answer(self, answers: Vec<Result<(), RepositoryError>>) {
        for ((commit, reply), answer) in self.commits.iter().zip(self.replies).zip(answers) {
            if answer.is_ok() {
                // Nobody listening is fine: a change is a hint.
                let _ = self.changes.send(commit.change());
            }
            // A caller that gave up finds out by reading.
            let _ = reply.send(answer);
        }
    }
}

/// What waits, for one thread that writes.
pub(super) struct Groups {
    waiting: mpsc::Receiver<Pending>,
    later: Vec<Pending>,
    changes: broadcast::Sender<Change>,
}

impl Groups {
    /// Whatever waits now; blocks while that is nothing. `None` once nobody can hand in more.
    pub(super) fn next(&mut self) -> Option<Group> {
        let mut group = std::mem::take(&mut self.later);
        if group.is_empty() && self.waiting.blocking_recv_many(&mut group, GROUP) == 0 {
            return None;
        }
        self.later = split_off_repeated(&mut group);
        Some(Group::of(group, self.changes.clone()))
    }
}

async fn write_groups(
    store: Arc<dyn WriteGroup>,
    waiting: Arc<Mutex<mpsc::Receiver<Pending>>>,
    changes: broadcast::Sender<Change>,
) {
    let mut later: Vec<Pending> = Vec::new();
    loop {
        let mut group = std::mem::take(&mut later);
        if group.is_empty() && waiting.lock().await.recv_many(&mut group, GROUP).await == 0 {
            return;
        }
        later = split_off_repeated(&mut group);
        let group = Group::of(group, changes.clone());
        let answers = write_or_isolate(store.as_ref(), group.commits()).await;
        group.answer(answers);
    }
}

/// Two commits of one task cannot be in one statement; the second one waits for the next.
fn split_off_repeated(group: &mut Vec<Pending>) -> Vec<Pending> {
    let mut seen = HashSet::new();
    let (first, repeated) = group.drain(..).partition(|pending| seen.insert(pending.commit.id));
    *group = first;
    // Two groups that are written at once lock their rows in the same order.
    group.sort_unstable_by_key(|pending| pending.commit.id);
    repeated
}

/// Writes a group; if it is refused as a whole, writes each commit alone, so that one commit
/// the database does not accept fails alone.
async fn write_or_isolate(store: &dyn WriteGroup, group: &[Commit]) -> Vec<Result<(), RepositoryError>> {
    let refused = match store.write_group(group).await {
        Ok(answers) => return answers,
        Err(error) => error,
    };
    if group.len() == 1 {
        return vec![Err(refused)];
    }
    let mut answers = Vec::with_capacity(group.len());
    for commit in group {
        let alone = store.write_group(std::slice::from_ref(commit)).await;
        answers.push(alone.and_then(|mut answers| answers.pop().unwrap_or(Ok(()))));
    }
    answers
}
