//! The store: one SQL text, compiled once for each engine.

pub(super) mod answers;
mod chat;
mod children;
pub(super) mod claim;
mod counting;
mod figures;
mod invariants;
mod limiter;
pub(super) mod prune;
mod read;
pub(super) mod rows;
mod schedules;
mod schema;
mod templates;
mod workers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::Row as _;
use tokio::sync::broadcast;

use super::{
    Conn, IS_EMBEDDED, Key, KeyList, Link, Row, TYPES, Time, VERSION, begin_write, key, key_list, moment,
    task_id,
};
use crate::repository::analytics::{Analytics, FailureGroup, Figure, FigureFilter, Line, Reach};
use crate::repository::commit::Creation;
use crate::repository::outage::Outage;
use crate::repository::records::Leased;
use crate::repository::{
    Answer, Beat, Change, Claim, Claimed, Commit, Conversations, Due, Grant, Leases, ListFilter, Message,
    Place, Pruned, Rate, Renewal, Repository, RepositoryError, Retention, Schedule, ScheduleId, Schedules,
    Stats, Stray, TaskSummary, Tasks, Templates, Thread, Threads, Upkeep, Violation, WorkerInfo,
    WorkerSummary,
};
use crate::task::{Entry, Payload, Task, TaskId, Timestamp, TraceType};

/// Whether a row with these unique values is there already.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|cause| cause.is_unique_violation())
}

#[cfg(test)]
#[allow(unused_imports, reason = "one of the engines looks at their plans")]
pub(super) use claim::{CLAIM_DUE, CLAIM_DUE_WITHIN};

type Result<T> = std::result::Result<T, RepositoryError>;

/// How long whoever asks whether the database is well waits for an answer.
const PING: Duration = Duration::from_secs(3);

/// Tasks in a database.
pub struct Store {
    link: Link,
    /// Whether nobody knows that writes are taken: none was tried yet, or the last was refused for want of room or
    /// of the database.
    refuses: AtomicBool,
    outage: Outage,
}

impl Store {
    pub(super) fn over(link: Link) -> Self {
        Self { link, refuses: AtomicBool::new(true), outage: Outage::default() }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Makes the tables on an empty database and brings older ones up to date. Running it
    /// again, or from several processes at once, does nothing more. Returns the version.
    pub async fn migrate(&self) -> Result<i64> {
        let mut conn = self.link.unhurried().await?;
        schema::migrate(&mut conn).await
    }

    /// Makes the tables if there are none at all; otherwise only checks that this program
    /// knows them, so that a running deployment is never changed by the way.
    pub async fn prepare(&self) -> Result<()> {
        let mut conn = self.link.unhurried().await?;
        match schema::version(&mut conn).await? {
            0 => schema::migrate(&mut conn).await.map(drop),
            found => schema::check(found),
        }
    }
}

impl Store {
    /// Remembers whether the database takes what is written.
    fn noted<T>(&self, written: Result<T>) -> Result<T> {
        if written.as_ref().is_err_and(RepositoryError::is_passing) {
            self.refuses.store(true, Ordering::Relaxed);
        }
        self.told(written)
    }

    /// The same of a write that is as large as any: small ones may still find room where it does not.
    fn settled<T>(&self, written: Result<T>) -> Result<T> {
        if written.is_ok() {
            self.refuses.store(false, Ordering::Relaxed);
        }
        self.noted(written)
    }

    /// Tells in the log when the database is out of reach, and when it is back.
    fn told<T>(&self, asked: Result<T>) -> Result<T> {
        self.outage.note(&asked);
        asked
    }

    /// Whether the database answers, and takes what is written if it is not known to.
    async fn answers(&self) -> Result<()> {
        if self.refuses.load(Ordering::Relaxed) {
            let mut conn = self.link.writer().await?;
            return self.settled(answers::try_to_keep(&mut conn).await);
        }
        let mut conn = self.link.reader().await?;
        let conn: &mut Conn = &mut conn;
        sqlx::query("SELECT 1").execute(conn).await?;
        Ok(())
    }

    async fn read_leased(&self, leased: &[Leased]) -> Result<Vec<Claimed>> {
        // Most tasks are claimed between two steps, and one trip is enough for them.
        let between = {
            let mut conn = self.link.by_key().await?;
            read::tasks_between_steps(&mut conn, &claim::ids(leased)).await
        };
        match between {
            Ok(Some(tasks)) => Ok(claim::still_leased(tasks, leased)),
            Ok(None) | Err(RepositoryError::Corrupt { .. }) => {
                let mut snapshot = self.link.snapshot().await?;
                claim::load(&mut snapshot, leased).await
            }
            Err(error) => Err(error),
        }
    }

    /// Nobody works on what could not be read. Left alone, its lease would end like that of a worker
    /// that is gone, and a few of those make a task poison.
    async fn hand_back(&self, leased: &[Leased]) {
        let handed_back = async {
            let mut conn = self.link.writer().await?;
            claim::hand_back(&mut conn, leased).await
        };
        if let Err(error) = handed_back.await {
            tracing::warn!(%error, tasks = leased.len(), "leases of tasks that could not be read end by themselves");
        }
    }
}

#[async_trait]
impl Tasks for Store {
    async fn create(&self, task: &Task, entries: Vec<Entry>, answer: Option<&Answer>) -> Result<()> {
        self.settled(self.link.create(Creation::new(task, entries, answer)?).await)
    }

    async fn answer(&self, user_id: &str, key: &str) -> Result<Option<Answer>> {
        let mut conn = self.link.reader().await?;
        answers::answer(&mut conn, user_id, key).await
    }

    async fn load(&self, id: TaskId) -> Result<Option<Task>> {
        let read = async {
            let mut snapshot = self.link.snapshot().await?;
            read::task(&mut snapshot, id).await
        };
        self.told(read.await)
    }

    async fn commit(&self, mut commit: Commit) -> Result<()> {
        commit.pack()?;
        self.settled(self.link.commit(commit).await)
    }

    async fn journal(&self, id: TaskId, after: i64, limit: u32) -> Result<Vec<Entry>> {
        let mut conn = self.link.reader().await?;
        read::journal(&mut conn, id, after, limit).await
    }

    async fn latest(&self, id: TaskId, limit: u32) -> Result<Vec<Entry>> {
        let mut conn = self.link.reader().await?;
        read::latest(&mut conn, id, limit).await
    }

    async fn latest_of(&self, id: TaskId, kind: TraceType, limit: u32) -> Result<Vec<Entry>> {
        let mut conn = self.link.reader().await?;
        read::latest_of(&mut conn, id, kind, limit).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<TaskSummary>> {
        let mut conn = self.link.reader().await?;
        read::list(&mut conn, filter).await
    }

    async fn strays(&self) -> Result<Vec<Stray>> {
        let mut conn = self.link.reader().await?;
        children::strays(&mut conn).await
    }

    async fn content(&self, payload: &Payload) -> Result<Value> {
        match payload {
            Payload::Inline(value) => Ok(value.clone()),
            Payload::Blob { hash, .. } => {
                let mut conn = self.link.reader().await?;
                read::blob(&mut conn, *hash).await
            }
        }
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.link.changes.subscribe()
    }
}

#[async_trait]
impl Leases for Store {
    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>> {
        let leased = self.noted(self.link.lease(claim).await)?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let claimed = self.read_leased(&leased).await;
        if claimed.is_err() {
            self.hand_back(&leased).await;
        }
        claimed
    }

    async fn due(&self) -> Result<Due> {
        let due = async {
            let mut conn = self.link.by_key().await?;
            claim::due(&mut conn).await
        };
        self.told(due.await)
    }

    async fn waiting(&self, limit: u32) -> Result<Vec<Place>> {
        let mut conn = self.link.reader().await?;
        claim::waiting(&mut conn, limit).await
    }

    async fn renew(&self, worker: &str, leases: &[(TaskId, i64)], lease: Duration) -> Result<Vec<Renewal>> {
        let renewed = async {
            let mut conn = self.link.writer().await?;
            claim::renew(&mut conn, worker, leases, lease).await
        };
        self.noted(renewed.await)
    }

    async fn expire_leases(&self) -> Result<u64> {
        let mut conn = self.link.writer().await?;
        claim::expire_leases(&mut conn).await
    }

    async fn beat(&self, worker: &WorkerInfo, beat: Beat) -> Result<()> {
        let told = async {
            let mut conn = self.link.writer().await?;
            workers::beat(&mut conn, worker, beat).await
        };
        self.noted(told.await)
    }

    async fn workers(&self) -> Result<Vec<WorkerSummary>> {
        let mut conn = self.link.reader().await?;
        workers::workers(&mut conn).await
    }

    async fn permits(&self, limiter: &str, rate: Rate, wanted: u32) -> Result<Grant> {
        let mut conn = self.link.writer().await?;
        limiter::permits(&mut conn, limiter, rate, wanted).await
    }
}

#[async_trait]
impl Threads for Store {
    async fn open_thread(&self, id: &str, user_id: &str, title: &str) -> Result<Thread> {
        // Most are known: then nobody has to wait for the right to write.
        if let Some(known) = self.thread(id).await? {
            return Ok(known);
        }
        let mut conn = self.link.writer().await?;
        self.noted(chat::open_thread(&mut conn, id, user_id, title).await)
    }

    async fn thread(&self, id: &str) -> Result<Option<Thread>> {
        let mut conn = self.link.reader().await?;
        chat::thread(&mut conn, id).await
    }

    async fn put_message(&self, message: &Message) -> Result<()> {
        let mut conn = self.link.writer().await?;
        self.noted(chat::put_message(&mut conn, message).await)
    }

    async fn messages(&self, thread_id: &str, limit: u32) -> Result<Vec<Message>> {
        let mut conn = self.link.reader().await?;
        chat::messages(&mut conn, thread_id, limit).await
    }
}

#[async_trait]
impl Schedules for Store {
    async fn put_schedule(&self, schedule: &Schedule, base_revision: i64) -> Result<()> {
        let mut conn = self.link.writer().await?;
        self.noted(schedules::put(&mut conn, schedule, base_revision).await)
    }

    async fn begin_schedule(&self, schedule: &Schedule, answer: &Answer) -> Result<()> {
        let mut conn = self.link.writer().await?;
        let mut transaction = begin_write(&mut conn).await?;
        answers::keep(&mut transaction, answer).await?;
        schedules::put(&mut transaction, schedule, 0).await?;
        Ok(transaction.commit().await?)
    }

    async fn claim_schedule(&self, lease: Duration) -> Result<Option<Schedule>> {
        let mut conn = self.link.writer().await?;
        self.noted(schedules::claim(&mut conn, lease).await)
    }

    async fn keep_schedule(&self, id: ScheduleId, revision: i64, lease: Duration) -> Result<bool> {
        let mut conn = self.link.writer().await?;
        schedules::keep(&mut conn, id, revision, lease).await
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>> {
        let mut conn = self.link.reader().await?;
        schedules::one(&mut conn, id).await
    }

    async fn schedules(
        &self,
        user_id: Option<&str>,
        before: Option<ScheduleId>,
        limit: u32,
    ) -> Result<Vec<Schedule>> {
        let mut conn = self.link.reader().await?;
        schedules::list(&mut conn, user_id, before, limit).await
    }

    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool> {
        let mut conn = self.link.writer().await?;
        schedules::delete(&mut conn, id).await
    }
}

#[async_trait]
impl Upkeep for Store {
    async fn prune(&self, retention: &Retention) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for stage in prune::stages(retention) {
            // The writer is given back after each batch: on SQLite it is the only one.
            loop {
                let mut conn = self.link.unhurried().await?;
                if !stage.batch(&mut conn, &mut pruned).await? {
                    break;
                }
            }
        }
        Ok(pruned)
    }

    async fn stats(&self) -> Result<Stats> {
        let mut conn = self.link.reader().await?;
        read::stats(&mut conn).await
    }

    async fn violations(&self) -> Result<Vec<Violation>> {
        let mut conn = self.link.survey().await?;
        invariants::violations(&mut conn).await
    }

    async fn ping(&self) -> Result<()> {
        let answered = tokio::time::timeout(PING, self.answers());
        answered.await.unwrap_or_else(|late| Err(RepositoryError::Unavailable(late.into())))
    }

    async fn engine(&self) -> Result<String> {
        let mut conn = self.link.reader().await?;
        let conn: &mut Conn = &mut conn;
        let row = sqlx::query(VERSION).fetch_one(conn).await?;
        Ok(row.try_get(0)?)
    }

    fn is_embedded(&self) -> bool {
        IS_EMBEDDED
    }
}

impl Repository for Store {
    fn conversations(&self) -> &dyn Conversations {
        self
    }

    fn templates(&self) -> &dyn Templates {
        self
    }

    fn analytics(&self) -> &dyn Analytics {
        self
    }
}

#[async_trait]
impl Conversations for Store {
    async fn message(&self, id: &str) -> Result<Option<Message>> {
        let mut conn = self.link.reader().await?;
        chat::message_with(&mut conn, id).await
    }

    async fn without_task(&self, thread_id: &str, limit: u32) -> Result<Vec<Message>> {
        let mut conn = self.link.reader().await?;
        chat::without_task(&mut conn, thread_id, limit).await
    }

    async fn threads(&self, user_id: &str, behind: Option<&str>, limit: u32) -> Result<Vec<Thread>> {
        let mut conn = self.link.reader().await?;
        chat::threads(&mut conn, user_id, behind, limit).await
    }

    async fn rename(&self, id: &str, title: &str) -> Result<bool> {
        let mut conn = self.link.writer().await?;
        chat::rename(&mut conn, id, title).await
    }

    async fn forget(&self, id: &str) -> Result<bool> {
        let mut conn = self.link.writer().await?;
        chat::forget(&mut conn, id).await
    }

    async fn put_aside(&self, message: &Message) -> Result<()> {
        let mut conn = self.link.writer().await?;
        self.noted(chat::put_aside(&mut conn, message).await)
    }

    async fn answer_anew(&self, question: &Message, answer: &Message) -> Result<u64> {
        let mut conn = self.link.writer().await?;
        self.noted(chat::answer_anew(&mut conn, question, answer).await)
    }
}

#[async_trait]
impl Analytics for Store {
    async fn count(&self, reach: &Reach) -> Result<u64> {
        let mut snapshot = self.link.snapshot().await?;
        let pass = counting::read(&mut snapshot, reach).await?;
        drop(snapshot);
        if pass.entries == 0 && *reach != Reach::All {
            return Ok(0);
        }
        let mut conn = self.link.writer().await?;
        match pass.entries {
            0 => counting::forget(&mut conn).await.map(|()| 0),
            _ => self.noted(counting::write(&mut conn, &pass).await),
        }
    }

    async fn figures(&self, filter: &FigureFilter) -> Result<Vec<Figure>> {
        let mut conn = self.link.reader().await?;
        figures::figures(&mut conn, filter).await
    }

    async fn failures(
        &self,
        user_id: &str,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<FailureGroup>> {
        let mut conn = self.link.reader().await?;
        figures::failures(&mut conn, user_id, from, to, limit).await
    }

    async fn line(&self, user_id: Option<&str>) -> Result<Line> {
        let mut conn = self.link.reader().await?;
        figures::line(&mut conn, user_id).await
    }
}
