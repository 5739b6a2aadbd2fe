//! Writes jobs in the background, so that nobody waits for Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bullmq::options::JobOptions;
use bullmq::types::{BackoffStrategy, KeepJobs, RemoveOnFinish};
use futures::StreamExt;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::link::{ANSWER, Link};
use super::reader;
use crate::queue::{Doorbell, JobState, QueueError, Wake};
use crate::task::TaskId;

/// Writes that may wait. More than that wait only while Redis is in trouble, and then each of
/// them is a hint that polling replaces.
const WAITING: usize = 4096;
/// Writes that are taken up together, and those under way at the same time.
const BATCH: usize = 256;
const AT_ONCE: usize = 32;
/// How long the last writes of a process may take.
const FLUSH: Duration = Duration::from_secs(2);
/// How long it is remembered which jobs a task had: longer than any of them is kept.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 60 * 60;

enum Write {
    Add(Wake),
    Remove(TaskId),
    Prioritize(TaskId, u8),
    Flush(oneshot::Sender<()>),
}

/// The way in.
pub(super) struct Pusher {
    writes: mpsc::Sender<Write>,
    /// Whether anything was ever handed in: a process that has nothing to tell waits for nobody.
    was_used: AtomicBool,
}

impl Pusher {
    /// `doorbell` wakes the workers of this process for what Redis did not take.
    pub(super) fn start(link: Arc<Link>, doorbell: Doorbell) -> Self {
        let (writes, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write(Redis { link, doorbell }, waiting));
        Self { writes, was_used: AtomicBool::new(false) }
    }

    pub(super) fn add(&self, wake: Wake) -> Result<(), QueueError> {
        self.was_used.store(true, Ordering::Relaxed);
        self.writes
            .try_send(Write::Add(wake))
            .map_err(|error| QueueError::new(format!("too many jobs wait to be written ({error})")))
    }

    pub(super) fn remove(&self, task: TaskId) {
        self.was_used.store(true, Ordering::Relaxed);
        // A job that stays finds its task ended.
        let _ = self.writes.try_send(Write::Remove(task));
    }

    pub(super) fn prioritize(&self, task: TaskId, priority: u8) {
        self.was_used.store(true, Ordering::Relaxed);
        // A job that keeps its place is late at worst.
        let _ = self.writes.try_send(Write::Prioritize(task, priority));
    }

    /// Waits until everything that was handed in is written, or some time has passed.
    pub(super) async fn flush(&self) {
        if !self.was_used.load(Ordering::Relaxed) {
            return;
        }
        let (done, written) = oneshot::channel();
        let flushing = async {
            if self.writes.send(Write::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        let _ = tokio::time::timeout(FLUSH, flushing).await;
    }
}

/// Where writes go, and what rings when they do not get there.
struct Redis {
    link: Arc<Link>,
    doorbell: Doorbell,
}

async fn write(redis: Redis, mut waiting: mpsc::Receiver<Write>) {
    let mut batch = Vec::new();
    // What a process that just started has to tell waits for its connection.
    redis.link.tried().await;
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let mut adds = Vec::new();
        for write in batch.drain(..) {
            match write {
                Write::Add(wake) => adds.push(wake),
                // A removal must not overtake what it removes, nor a change what it changes.
                Write::Remove(task) => {
                    redis.add_all(std::mem::take(&mut adds)).await;
                    redis.remove(task).await;
                }
                Write::Prioritize(task, priority) => {
                    redis.add_all(std::mem::take(&mut adds)).await;
                    redis.prioritize(task, priority).await;
                }
                Write::Flush(done) => {
                    redis.add_all(std::mem::take(&mut adds)).await;
                    let _ = done.send(());
                }
            }
        }
        redis.add_all(adds).await;
    }
}

impl Redis {
    /// What has ended is history and stays; what waits would find nothing to do.
    async fn remove(&self, task: TaskId) {
        let removed = self.link.ask(async |queue| reader::remove_jobs_of(queue, task, JobState::waits).await);
        if let Err(error) = removed.await {
            tracing::debug!(%task, %error, "jobs of an ended task stay in the queue");
        }
    }

    async fn prioritize(&self, task: TaskId, priority: u8) {
        let changed = self.link.ask(async |queue| reader::prioritize_jobs_of(queue, task, priority).await);
        if let Err(error) = changed.await {
            tracing::debug!(%task, %error, "jobs of the task keep their places in the queue");
        }
    }

    async fn add_all(&self, wakes: Vec<Wake>) {
        let troubles: Vec<String> = futures::stream::iter(wakes)
            .map(|wake| self.add(wake))
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        // A Redis that is away is told of once, by whoever keeps the connection.
        if let Some(trouble) = troubles.first()
            && self.link.look().await
        {
            let jobs = troubles.len();
            tracing::warn!(jobs, trouble, "not written into Redis: looking for due tasks finds them");
        }
    }

    /// What went wrong, if a job was not written.
    async fn add(&self, wake: Wake) -> Option<String> {
        let trouble = match self.link.queue() {
            None => "Redis is away".to_owned(),
            Some(queue) => match tokio::time::timeout(ANSWER * 2, add(&queue, &wake)).await {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "Redis does not answer".to_owned(),
            },
        };
        tracing::debug!(task = %wake.task, trouble, "a job was not written");
        if wake.delay.is_zero() {
            self.doorbell.ring();
        }
        Some(trouble)
    }
}

async fn add(queue: &bullmq::Queue, wake: &Wake) -> Result<(), bullmq::Error> {
    let id = wake.job_id();
    let mut remember = redis::pipe();
    let index = reader::index_key(queue, wake.task);
    remember.cmd("SADD").arg(&index).arg(&id).ignore();
    remember.cmd("EXPIRE").arg(&index).arg(REMEMBERED_SECONDS).ignore();
    queue.connection().pipe::<()>(&remember).await?;
    if wake.again.is_some() {
        // A task that was paused and resumed may come back under the epoch of a job that is
        // still kept, and adding that id again would silently do nothing.
        queue.remove(&id).await?;
    }
    queue.add(wake.job_name().as_str(), data(wake)).options(options(wake, id)).await?;
    Ok(())
}

fn data(wake: &Wake) -> serde_json::Value {
    json!({
        "taskId": wake.task.to_string(),
        "userId": wake.user_id,
        "threadId": wake.thread_id,
        "stepIndex": wake.step,
    })
}

/// The seed's options. Attempts and backoff are for people who look: which step is tried again
/// and when is decided by the task, and no job of ours is failed to be tried again.
fn options(wake: &Wake, id: String) -> JobOptions {
    // One more, for a fraction of a millisecond too early is early.
    let millis = u64::try_from(wake.delay.as_millis()).unwrap_or(u64::MAX - 1) + 1;
    let kept = KeepJobs { age: Some(24 * 60 * 60), count: Some(50), limit: None };
    JobOptions {
        job_id: Some(id),
        priority: Some(u32::from(wake.priority)),
        delay: (!wake.delay.is_zero()).then_some(millis),
        attempts: Some(5),
        backoff: Some(BackoffStrategy::Exponential(5000)),
        remove_on_complete: Some(RemoveOnFinish::Options(kept)),
        remove_on_fail: Some(RemoveOnFinish::Count(100)),
        ..JobOptions::default()
    }
}
