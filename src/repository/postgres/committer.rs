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

use crate::repository::commit::Creation;
use crate::repository::{Change, Commit, RepositoryError};

/// Commits in one transaction at most. Larger groups make the first one wait for the last
/// without saving anything measurable.
const GROUP: usize = 256;

/// Commits that may wait before their writers have to: bounds the memory, and a database that
/// is too slow slows its callers down instead of growing a queue.
const WAITING: usize = 1024;

/// What is written: a new task, or what happened to a known one.
pub(super) enum Work {
    Create(Creation),
    Commit(Commit),
}

impl Work {
    /// What becomes known.
    pub(super) fn commit(&self) -> &Commit {
        match self {
            Self::Create(creation) => &creation.commit,
            Self::Commit(commit) => commit,
        }
    }
}

/// Writes a group, all of different tasks, in one transaction.
#[async_trait]
pub(super) trait WriteGroup: Send + Sync + 'static {
    /// One answer per commit. An error means that nothing of the group was written.
    async fn write_group(&self, group: &[Work]) -> Result<Vec<Result<(), RepositoryError>>, RepositoryError>;
}

struct Pending {
    work: Work,
    reply: oneshot::Sender<Result<(), RepositoryError>>,
}

/// The way in. The writers end when it is dropped.
pub(super) struct Committer {
    pending: mpsc::Sender<Pending>,
    store: Arc<dyn WriteGroup>,
    changes: broadcast::Sender<Change>,
    /// Commits that were handed in and have no answer yet.
    under_way: AtomicUsize,
}

/// Counts a commit for as long as it has no answer, also when its caller gives up.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Committer {
    /// Starts `writers` writers.
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
        Self { pending, store, changes, under_way: AtomicUsize::new(0) }
    }

    /// Hands a commit in and waits until it is durable or refused.
    ///
    /// A commit that is alone is written here and now: nobody could share its trip to the disk,
    /// and the way over a writer is two changes of tasks longer.
    pub(super) async fn write(&self, work: Work) -> Result<(), RepositoryError> {
        let is_alone = self.under_way.fetch_add(1, Ordering::Relaxed) == 0;
        let _under_way = UnderWay(&self.under_way);
        if is_alone {
            let answers = self.store.write_group(std::slice::from_ref(&work)).await;
            let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Ok(())));
            if answer.is_ok() {
                let _ = self.changes.send(work.commit().change());
            }
            return answer;
        }
        let (reply, answer) = oneshot::channel();
        let gone = || RepositoryError::Unavailable("the database is being closed".into());
        self.pending.send(Pending { work, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
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
        let (group, replies): (Vec<Work>, Vec<_>) =
            group.into_iter().map(|pending| (pending.work, pending.reply)).unzip();
        let answers = write_or_isolate(store.as_ref(), &group).await;
        for ((work, reply), answer) in group.iter().zip(replies).zip(answers) {
            if answer.is_ok() {
                // Nobody listening is fine: a change is a hint.
                let _ = changes.send(work.commit().change());
            }
            // A caller that gave up finds out by reading.
            let _ = reply.send(answer);
        }
    }
}

/// Two commits of one task cannot be in one statement; the second one waits for the next.
fn split_off_repeated(group: &mut Vec<Pending>) -> Vec<Pending> {
    let mut seen = HashSet::new();
    let (first, repeated) = group.drain(..).partition(|pending| seen.insert(pending.work.commit().id));
    *group = first;
    // Two groups that are written at once lock their rows in the same order; the contents that their
    // tasks share are put into one by whoever writes them.
    group.sort_unstable_by_key(|pending| pending.work.commit().id);
    repeated
}

/// Writes a group; if the database refuses it as a whole, writes each commit alone, so that one commit
/// that it does not accept fails alone.
///
/// If it is out of reach, nobody knows whether the group was written, and none of it is tried again here:
/// a commit that was written would be told that somebody else was quicker.
async fn write_or_isolate(store: &dyn WriteGroup, group: &[Work]) -> Vec<Result<(), RepositoryError>> {
    let refused = match store.write_group(group).await {
        Ok(answers) => return answers,
        Err(error) => error,
    };
    if group.len() == 1 {
        return vec![Err(refused)];
    }
    if let RepositoryError::Unavailable(cause) = refused {
        return RepositoryError::unavailable_to_all(&cause, group.len()).map(Err).collect();
    }
    let mut answers = Vec::with_capacity(group.len());
    for work in group {
        let alone = store.write_group(std::slice::from_ref(work)).await;
        answers.push(alone.and_then(|mut answers| answers.pop().unwrap_or(Ok(()))));
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use super::*;
    use crate::repository::Lease;
    use crate::task::{Entry, Event, Task, TaskId, Timestamp};

    /// Answers a group, and then each commit of it.
    struct Store {
        answers: StdMutex<Vec<RepositoryError>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl WriteGroup for Store {
        async fn write_group(
            &self,
            group: &[Work],
        ) -> Result<Vec<Result<(), RepositoryError>>, RepositoryError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match self.answers.lock().unwrap().pop() {
                Some(error) => Err(error),
                None => Ok(group.iter().map(|_| Ok(())).collect()),
            }
        }
    }

    fn commit() -> Work {
        let spec = serde_json::json!({"goal": "g", "userId": "u", "threadId": "t"});
        let event = Event::Created { spec: serde_json::from_value(spec).unwrap() };
        let created = Entry { seq: 1, epoch: 0, at: Timestamp::from_millis(1), event };
        let task = Task::begin(TaskId(uuid::Uuid::now_v7()), &created).unwrap();
        Work::Commit(Commit::new(&task, vec![created], Vec::new(), Lease::Keep))
    }

    async fn asked_with(first: RepositoryError) -> (usize, Vec<Result<(), RepositoryError>>) {
        let store = Store { answers: StdMutex::new(vec![first]), asked: AtomicUsize::new(0) };
        let answers = write_or_isolate(&store, &[commit(), commit()]).await;
        (store.asked.into_inner(), answers)
    }

    #[tokio::test]
    async fn a_group_that_is_refused_is_written_one_by_one() {
        let (asked, answers) = asked_with(RepositoryError::Corrupt { what: "a row".into() }).await;
        assert_eq!(asked, 3);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    #[tokio::test]
    async fn a_group_of_which_nobody_knows_whether_it_was_written_is_not_written_again() {
        let (asked, answers) = asked_with(RepositoryError::Unavailable("the connection broke".into())).await;
        assert_eq!(asked, 1);
        let unknown =
            |answer: &Result<(), RepositoryError>| matches!(answer, Err(RepositoryError::Unavailable(_)));
        assert!(answers.iter().all(unknown), "{answers:?}");
    }
}
