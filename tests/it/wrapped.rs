//! A repository that stands between the engine and a real one, for tests that interfere.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longhaul::repository::analytics::Analytics;
use longhaul::repository::{
    Answer, Beat, Change, Claim, Claimed, Commit, Conversations, Due, Grant, Leases, ListFilter, Message,
    Place, Pruned, Rate, Renewal, Repository, RepositoryError, Retention, Schedule, ScheduleId, Schedules,
    Stats, Stray, TaskSummary, Tasks, Templates, Thread, Threads, Upkeep, Violation, WorkerInfo,
    WorkerSummary,
};
use longhaul::task::{Entry, Payload, Task, TaskId, TraceType};
use serde_json::Value;
use tokio::sync::broadcast;

/// The calls that a test may interfere with. All others pass.
#[async_trait]
pub(crate) trait Interference: Send + Sync {
    /// Hears the name of whatever is asked.
    fn is_asked(&self, question: &'static str) {
        let _ = question;
    }
    async fn create(
        &self,
        inner: &dyn Repository,
        task: &Task,
        entries: Vec<Entry>,
        answer: Option<&Answer>,
    ) -> Result<(), RepositoryError> {
        inner.create(task, entries, answer).await
    }
    async fn load(&self, inner: &dyn Repository, id: TaskId) -> Result<Option<Task>, RepositoryError> {
        inner.load(id).await
    }
    async fn commit(&self, inner: &dyn Repository, commit: Commit) -> Result<(), RepositoryError> {
        inner.commit(commit).await
    }
    async fn claim(&self, inner: &dyn Repository, claim: Claim<'_>) -> Result<Vec<Claimed>, RepositoryError> {
        inner.claim(claim).await
    }
    async fn renew(
        &self,
        inner: &dyn Repository,
        worker: &str,
        leases: &[(TaskId, i64)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, RepositoryError> {
        inner.renew(worker, leases, lease).await
    }
    async fn journal(
        &self,
        inner: &dyn Repository,
        id: TaskId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, RepositoryError> {
        inner.journal(id, after, limit).await
    }
    async fn content(&self, inner: &dyn Repository, payload: &Payload) -> Result<Value, RepositoryError> {
        inner.content(payload).await
    }
    async fn put_schedule(
        &self,
        inner: &dyn Repository,
        schedule: &Schedule,
        base_revision: i64,
    ) -> Result<(), RepositoryError> {
        inner.put_schedule(schedule, base_revision).await
    }
}

/// A repository with somebody who interferes.
pub(crate) struct Wrapped<I> {
    pub(crate) inner: Arc<dyn Repository>,
    pub(crate) interference: I,
}

#[async_trait]
impl<I: Interference> Tasks for Wrapped<I> {
    async fn create(
        &self,
        task: &Task,
        entries: Vec<Entry>,
        answer: Option<&Answer>,
    ) -> Result<(), RepositoryError> {
        self.interference.is_asked("create");
        self.interference.create(self.inner.as_ref(), task, entries, answer).await
    }
    async fn answer(&self, user_id: &str, key: &str) -> Result<Option<Answer>, RepositoryError> {
        self.interference.is_asked("answer");
        self.inner.answer(user_id, key).await
    }
    async fn load(&self, id: TaskId) -> Result<Option<Task>, RepositoryError> {
        self.interference.is_asked("load");
        self.interference.load(self.inner.as_ref(), id).await
    }
    async fn commit(&self, commit: Commit) -> Result<(), RepositoryError> {
        self.interference.is_asked("commit");
        self.interference.commit(self.inner.as_ref(), commit).await
    }
    async fn journal(&self, id: TaskId, after: i64, limit: u32) -> Result<Vec<Entry>, RepositoryError> {
        self.interference.is_asked("journal");
        self.interference.journal(self.inner.as_ref(), id, after, limit).await
    }
    async fn latest(&self, id: TaskId, limit: u32) -> Result<Vec<Entry>, RepositoryError> {
        self.interference.is_asked("latest");
        self.inner.latest(id, limit).await
    }
    async fn latest_of(
        &self,
        id: TaskId,
        kind: TraceType,
        limit: u32,
    ) -> Result<Vec<Entry>, RepositoryError> {
        self.interference.is_asked("latest_of");
        self.inner.latest_of(id, kind, limit).await
    }
    async fn list(&self, filter: &ListFilter) -> Result<Vec<TaskSummary>, RepositoryError> {
        self.interference.is_asked("list");
        self.inner.list(filter).await
    }
    async fn strays(&self) -> Result<Vec<Stray>, RepositoryError> {
        self.interference.is_asked("strays");
        self.inner.strays().await
    }
    async fn content(&self, payload: &Payload) -> Result<Value, RepositoryError> {
        self.interference.is_asked("content");
        self.interference.content(self.inner.as_ref(), payload).await
    }
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes()
    }
}

#[async_trait]
impl<I: Interference> Leases for Wrapped<I> {
    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, RepositoryError> {
        self.interference.is_asked("claim");
        self.interference.claim(self.inner.as_ref(), claim).await
    }
    async fn due(&self) -> Result<Due, RepositoryError> {
        self.interference.is_asked("due");
        self.inner.due().await
    }
    async fn waiting(&self, limit: u32) -> Result<Vec<Place>, RepositoryError> {
        self.interference.is_asked("waiting");
        self.inner.waiting(limit).await
    }
    async fn renew(
        &self,
        worker: &str,
        leases: &[(TaskId, i64)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, RepositoryError> {
        self.interference.is_asked("renew");
        self.interference.renew(self.inner.as_ref(), worker, leases, lease).await
    }
    async fn expire_leases(&self) -> Result<u64, RepositoryError> {
        self.interference.is_asked("expire_leases");
        self.inner.expire_leases().await
    }
    async fn beat(&self, worker: &WorkerInfo, beat: Beat) -> Result<(), RepositoryError> {
        self.interference.is_asked("beat");
        self.inner.beat(worker, beat).await
    }
    async fn workers(&self) -> Result<Vec<WorkerSummary>, RepositoryError> {
        self.interference.is_asked("workers");
        self.inner.workers().await
    }
    async fn permits(&self, limiter: &str, rate: Rate, wanted: u32) -> Result<Grant, RepositoryError> {
        self.interference.is_asked("permits");
        self.inner.permits(limiter, rate, wanted).await
    }
}

#[async_trait]
impl<I: Interference> Threads for Wrapped<I> {
    async fn open_thread(&self, id: &str, user_id: &str, title: &str) -> Result<Thread, RepositoryError> {
        self.interference.is_asked("open_thread");
        self.inner.open_thread(id, user_id, title).await
    }
    async fn thread(&self, id: &str) -> Result<Option<Thread>, RepositoryError> {
        self.interference.is_asked("thread");
        self.inner.thread(id).await
    }
    async fn put_message(&self, message: &Message) -> Result<(), RepositoryError> {
        self.interference.is_asked("put_message");
        self.inner.put_message(message).await
    }
    async fn messages(&self, thread_id: &str, limit: u32) -> Result<Vec<Message>, RepositoryError> {
        self.interference.is_asked("messages");
        self.inner.messages(thread_id, limit).await
    }
}

#[async_trait]
impl<I: Interference> Schedules for Wrapped<I> {
    async fn put_schedule(&self, schedule: &Schedule, base_revision: i64) -> Result<(), RepositoryError> {
        self.interference.is_asked("put_schedule");
        self.interference.put_schedule(self.inner.as_ref(), schedule, base_revision).await
    }
    async fn begin_schedule(&self, schedule: &Schedule, answer: &Answer) -> Result<(), RepositoryError> {
        self.interference.is_asked("begin_schedule");
        self.inner.begin_schedule(schedule, answer).await
    }
    async fn claim_schedule(&self, lease: Duration) -> Result<Option<Schedule>, RepositoryError> {
        self.interference.is_asked("claim_schedule");
        self.inner.claim_schedule(lease).await
    }
    async fn keep_schedule(
        &self,
        id: ScheduleId,
        revision: i64,
        lease: Duration,
    ) -> Result<bool, RepositoryError> {
        self.interference.is_asked("keep_schedule");
        self.inner.keep_schedule(id, revision, lease).await
    }
    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, RepositoryError> {
        self.interference.is_asked("schedule");
        self.inner.schedule(id).await
    }
    async fn schedules(
        &self,
        user_id: Option<&str>,
        before: Option<ScheduleId>,
        limit: u32,
    ) -> Result<Vec<Schedule>, RepositoryError> {
        self.interference.is_asked("schedules");
        self.inner.schedules(user_id, before, limit).await
    }
    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool, RepositoryError> {
        self.interference.is_asked("delete_schedule");
        self.inner.delete_schedule(id).await
    }
}

#[async_trait]
impl<I: Interference> Upkeep for Wrapped<I> {
    async fn prune(&self, retention: &Retention) -> Result<Pruned, RepositoryError> {
        self.interference.is_asked("prune");
        self.inner.prune(retention).await
    }
    async fn stats(&self) -> Result<Stats, RepositoryError> {
        self.interference.is_asked("stats");
        self.inner.stats().await
    }
    async fn violations(&self) -> Result<Vec<Violation>, RepositoryError> {
        self.interference.is_asked("violations");
        self.inner.violations().await
    }
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.interference.is_asked("ping");
        self.inner.ping().await
    }
    async fn engine(&self) -> Result<String, RepositoryError> {
        self.interference.is_asked("engine");
        self.inner.engine().await
    }
    fn is_embedded(&self) -> bool {
        self.inner.is_embedded()
    }
}

impl<I: Interference> Repository for Wrapped<I> {
    fn conversations(&self) -> &dyn Conversations {
        self.inner.conversations()
    }
    fn templates(&self) -> &dyn Templates {
        self.inner.templates()
    }
    fn analytics(&self) -> &dyn Analytics {
        self.interference.is_asked("analytics");
        self.inner.analytics()
    }
}
