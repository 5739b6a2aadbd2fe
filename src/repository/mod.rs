//! The door to the database: what is known, and the only way to make more known.
//!
//! Every SQL word of Longhaul is in this room. One text serves both engines: the files under
//! `sql/` are compiled twice, once by `sqlite.rs` and once by `postgres.rs`, which differ in a
//! handful of fragments (how a list of rows is passed, how the time is asked for).
//!
//! ```text
//! Commit ──▶ a group of what waits ──▶ one transaction: task, steps, entries, wake-up
//! ```

/// What one level of priority is worth, in milliseconds of waiting: a task of priority 3 goes
/// before one of priority 2 that became due more than a minute after it. So whatever waits long
/// enough has its turn.
macro_rules! level_ms {
    () => {
        60000
    };
}

pub mod analytics;
mod commit;
pub mod conformance;
mod conversations;
mod error;
mod postgres;
mod records;
mod schedule;
mod sqlite;
mod template;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::task::{Entry, Payload, Task, TaskId, TraceType};

use analytics::Analytics;
pub use commit::{Commit, Lease};
pub use conversations::Conversations;
pub use error::{Cause, RepositoryError};
pub use postgres::PostgresRepository;
pub use records::{
    Answer, Beat, Change, Claim, Claimed, Due, Fate, Grant, ListFilter, Message, Place, Presence, Pruned,
    Rate, Renewal, Requests, Retention, Stats, Stray, TaskSummary, Thread, Violation, WorkerInfo,
    WorkerSummary,
};
pub use schedule::{Overlap, Schedule, ScheduleId, ScheduledTask, Timing};
pub use sqlite::{SqliteDurability, SqliteRepository};
pub use template::{TemplateVersion, Templates};

/// How many changes a slow listener may be behind before it misses some.
const CHANGES: usize = 4096;

/// Where tasks live.
///
/// Every method that writes returns only after the write is durable, and then nothing less
/// than all of it is. A method that fails has written nothing, unless it fails with
/// [`RepositoryError::Unavailable`]: then the outcome of that one write is not known, and the
/// caller finds out by reading.
#[async_trait]
pub trait Repository: Send + Sync {
    /// Makes a task known: its row, steps, entries and wake-up in one transaction. From here
    /// on the task is not lost. Fails with [`RepositoryError::Exists`] if it is known already.
    ///
    /// An answer is kept in the same transaction, for a day. Fails with
    /// [`RepositoryError::KeyTaken`] if there is one under its key: read that one.
    async fn create(
        &self,
        task: &Task,
        entries: Vec<Entry>,
        answer: Option<&Answer>,
    ) -> Result<(), RepositoryError>;

    /// What a request with this key was answered, if that was less than a day ago.
    async fn answer(&self, user_id: &str, key: &str) -> Result<Option<Answer>, RepositoryError>;

    /// A task as its newest entry left it.
    async fn load(&self, id: TaskId) -> Result<Option<Task>, RepositoryError>;

    /// The only write to a live task: state, steps, entries and wake-up in one transaction.
    ///
    /// Fails with [`RepositoryError::Stale`] if somebody else wrote since the task was
    /// loaded, and with [`RepositoryError::Fenced`] if a newer lease was granted: load again.
    /// Both mean that nothing of it was written. A store that does not know whether it was says
    /// [`RepositoryError::Unavailable`], and does not try again by itself.
    async fn commit(&self, commit: Commit) -> Result<(), RepositoryError>;

    /// Leases due tasks to a worker: by priority, then first come, see [`Place`]. Each claim
    /// makes the epoch one larger, whether or not anything is ever written under it.
    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, RepositoryError>;

    /// Whether anything is due: one question that locks and changes nothing, and costs the same however
    /// much waits. It is all that an idle worker asks.
    async fn due(&self) -> Result<Due, RepositoryError>;

    /// The places of the first due tasks in the line, at most `limit`. It costs no more than a
    /// claim however many wait.
    async fn waiting(&self, limit: u32) -> Result<Vec<Place>, RepositoryError>;

    /// Extends leases. A lease that is missing from the answer is lost.
    async fn renew(
        &self,
        worker: &str,
        leases: &[(TaskId, i64)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, RepositoryError>;

    /// Makes every leased task due at once. For the start of a process that is the only
    /// worker of its database: whoever held these leases is dead.
    async fn expire_leases(&self) -> Result<u64, RepositoryError>;

    /// Writes down that a worker is there, in one statement.
    async fn beat(&self, worker: &WorkerInfo, beat: Beat) -> Result<(), RepositoryError>;

    /// Who works, oldest first. Whoever has been gone for a day is forgotten.
    async fn workers(&self) -> Result<Vec<WorkerSummary>, RepositoryError>;

    /// Takes up to `wanted` permits of a limiter that all processes share, by the database's
    /// clock. Permits are for now: one that is kept for later breaks the rate.
    async fn permits(&self, limiter: &str, rate: Rate, wanted: u32) -> Result<Grant, RepositoryError>;

    /// Entries of a task with a number above `after`, in order, at most `limit`.
    async fn journal(&self, id: TaskId, after: i64, limit: u32) -> Result<Vec<Entry>, RepositoryError>;

    /// The newest entries of a task, oldest of them first, at most `limit`.
    async fn latest(&self, id: TaskId, limit: u32) -> Result<Vec<Entry>, RepositoryError>;

    /// The same, of one type only.
    async fn latest_of(&self, id: TaskId, kind: TraceType, limit: u32)
    -> Result<Vec<Entry>, RepositoryError>;

    /// Tasks, newest first.
    async fn list(&self, filter: &ListFilter) -> Result<Vec<TaskSummary>, RepositoryError>;

    /// Children that have not ended and do not stand as their parents do, some of them if there are many.
    /// It costs by how many children have not ended.
    async fn strays(&self) -> Result<Vec<Stray>, RepositoryError>;

    /// The content that a payload stands for.
    async fn content(&self, payload: &Payload) -> Result<Value, RepositoryError>;

    /// Tells of every commit made through this repository, in any order, as a hint: a slow
    /// receiver misses some and must look for itself.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Makes a conversation known, or returns it as it is. `title` is for a new one.
    async fn open_thread(&self, id: &str, user_id: &str, title: &str) -> Result<Thread, RepositoryError>;

    /// The conversation with this id.
    async fn thread(&self, id: &str) -> Result<Option<Thread>, RepositoryError>;

    /// Stores a message of a conversation; the same id again changes its parts.
    async fn put_message(&self, message: &Message) -> Result<(), RepositoryError>;

    /// The newest messages of a conversation, oldest of them first, at most `limit`.
    async fn messages(&self, thread_id: &str, limit: u32) -> Result<Vec<Message>, RepositoryError>;

    /// Finds and changes conversations as a whole.
    fn conversations(&self) -> &dyn Conversations;

    /// Writes a schedule, as it stands. `base_revision` is the revision it was made from, 0 for a new
    /// one. Fails with [`RepositoryError::Stale`] if somebody wrote since, or if it is gone.
    async fn put_schedule(&self, schedule: &Schedule, base_revision: i64) -> Result<(), RepositoryError>;

    /// Writes a new schedule, and keeps an answer in the same transaction, for a day. Fails with
    /// [`RepositoryError::KeyTaken`] if there is an answer under its key.
    async fn begin_schedule(&self, schedule: &Schedule, answer: &Answer) -> Result<(), RepositoryError>;

    /// Leases the schedule that has been due the longest, by the database's clock: its `wake_at` becomes
    /// the end of the lease, and only one caller is given it until then. Its revision stays.
    async fn claim_schedule(&self, lease: Duration) -> Result<Option<Schedule>, RepositoryError>;

    /// Extends the lease on a schedule; false if somebody wrote to it since this revision.
    async fn keep_schedule(
        &self,
        id: ScheduleId,
        revision: i64,
        lease: Duration,
    ) -> Result<bool, RepositoryError>;

    /// The schedule with this id.
    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, RepositoryError>;

    /// Schedules with an id before that one, newest first, at most `limit`; of all users if none is
    /// named.
    async fn schedules(
        &self,
        user_id: Option<&str>,
        before: Option<ScheduleId>,
        limit: u32,
    ) -> Result<Vec<Schedule>, RepositoryError>;

    /// Forgets a schedule; its tasks stay. False if there is none.
    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool, RepositoryError>;

    /// Removes what is older than asked, and nothing else: ended tasks with all that belongs
    /// to them, and journal entries of ended tasks. Contents that nothing refers to any more,
    /// answers that are older than a day and workers that have been gone for one go with them.
    /// It works in batches, so that commits are not held up; what an error leaves undone is left
    /// to the next call.
    async fn prune(&self, retention: &Retention) -> Result<Pruned, RepositoryError>;

    /// Tasks by status and what is due.
    async fn stats(&self) -> Result<Stats, RepositoryError>;

    /// Checks every invariant of the promises; an empty answer is a healthy database.
    async fn violations(&self) -> Result<Vec<Violation>, RepositoryError>;

    /// Strategies with parameters.
    fn templates(&self) -> &dyn Templates;

    /// Counts what happened, and tells it.
    fn analytics(&self) -> &dyn Analytics;

    /// Answers if the database answers, and takes what is written: where the last write was refused for want of
    /// room or of the database, it tries one.
    async fn ping(&self) -> Result<(), RepositoryError>;

    /// Which engine it is, with its version, for people.
    async fn engine(&self) -> Result<String, RepositoryError>;

    /// Whether this process is the only one that may work on the database.
    fn is_embedded(&self) -> bool;
}
