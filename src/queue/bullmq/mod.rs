//! The queue on Redis that the Node ecosystem reads: BullMQ's own scripts through its library.
//!
//! ```text
//! push ─▶ pusher ─▶ Redis ─▶ intake (a BullMQ worker) ─▶ next ─▶ a worker ─▶ receipt ─▶ the job's end
//!           └ away: the doorbell of this process              └ a sweep, often while Redis is away
//! ```
//!
//! Redis decides nothing. A job that is lost is found by the sweep, one that comes twice claims
//! nothing, and whatever Redis does not answer in time is left alone. A Redis that takes no writes is
//! away like one that does not answer. The library itself waits forty seconds for a server that is
//! gone, so every wait on it here has its own end.

mod allowance;
mod config;
mod intake;
mod link;
mod processor;
mod pusher;
mod reader;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Delivery, Doorbell, Hint, Job, JobState, Queue, QueueError, Wake};
use crate::task::TaskId;
use allowance::Allowance;
use intake::Intake;
use link::{ANSWER, Link};
use pusher::Pusher;

pub use config::{QueueConfig, QueueLimiter};

/// How often tasks are taken without their jobs although jobs wait: those that Redis would let wait for
/// ever behind more urgent ones, and those whose jobs nobody hands out.
const SWEEP: Duration = Duration::from_secs(5);

/// Which part of the interval between looks a due task is left to its job.
const PATIENCE: u32 = 4;

/// Jobs in BullMQ, and the database where they fail.
pub struct BullQueue {
    link: Arc<Link>,
    pusher: Pusher,
    intake: Intake,
    doorbell: Doorbell,
    allowance: Allowance,
    /// How long what is due is left to its job.
    patience: Duration,
    /// How often it is time to look.
    every: Duration,
    sweep: Duration,
    looked: Mutex<Instant>,
    swept: Mutex<Instant>,
}

impl BullQueue {
    /// A queue that connects in the background, now and whenever Redis was away. `doorbell`
    /// wakes the workers of this process while it is.
    pub fn start(config: QueueConfig, doorbell: Doorbell) -> Result<Self, QueueError> {
        let config = Arc::new(config);
        let link = Arc::new(Link::start(config.clone())?);
        let patience = config.poll / PATIENCE;
        Ok(Self {
            pusher: Pusher::start(link.clone(), doorbell.clone()),
            intake: Intake::new(config.clone(), link.clone()),
            doorbell,
            allowance: Allowance::default(),
            patience,
            // A task whose job is lost is found within the interval all the same.
            every: config.poll - patience,
            sweep: SWEEP.min(config.lease / 3).max(config.poll),
            looked: Mutex::new(Instant::now()),
            swept: Mutex::new(Instant::now()),
            link,
        })
    }

    /// Connects once, and tells which Redis it is, as [`Queue::ping`] does.
    pub async fn look_at(config: &QueueConfig) -> Result<String, QueueError> {
        link::introduce(config).await
    }

    /// Whether Redis answers at the moment and takes what is written.
    pub fn is_connected(&self) -> bool {
        self.link.queue().is_some()
    }

    fn next_look(&self) -> Instant {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) + self.every
    }

    fn looked(&self, delivery: Delivery) -> Delivery {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        delivery
    }

    /// Whether it is time to take tasks although jobs wait; if so, it was.
    fn sweeps(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = swept.elapsed() >= self.sweep;
        if is_time {
            *swept = Instant::now();
        }
        is_time
    }
}

#[async_trait]
impl Queue for BullQueue {
    async fn push(&self, wake: Wake) -> Result<(), QueueError> {
        if self.link.is_away() {
            if wake.delay.is_zero() {
                self.doorbell.ring();
            }
            return Err(self.link.trouble());
        }
        self.pusher.add(wake)
    }

    async fn next(&self) -> Delivery {
        tokio::select! {
            delivery = self.intake.next() => delivery,
            () = tokio::time::sleep_until(self.next_look()) => self.looked(self.look()),
            () = self.doorbell.rung() => self.looked(Delivery::due()),
        }
    }

    fn look(&self) -> Delivery {
        // The job of a task is written behind the task.
        Delivery::look(if self.is_connected() { self.patience } else { Duration::ZERO })
    }

    fn looks_again(&self, was_full: bool) -> bool {
        // Jobs that wait come by themselves. What is due without a job is looked for until no
        // more is found.
        !self.is_connected() || (was_full && self.intake.is_drained())
    }

    async fn admits(&self, hint: &Hint, tasks: usize) -> usize {
        let insists = !matches!(hint, Hint::Look { .. }) || self.sweeps();
        let limiter = self.link.config().limiter;
        let asked =
            self.link.ask(async |queue| self.allowance.take(&queue, limiter, tasks, insists).await).await;
        // A Redis that is away, or does not answer, limits nobody.
        asked.unwrap_or(tasks)
    }

    async fn not_taken(&self, tasks: usize) {
        // What is not given back counts for a moment longer.
        let _ = self.link.ask(async |queue| self.allowance.give_back(&queue, tasks).await).await;
    }

    async fn forget(&self, task: TaskId) {
        self.pusher.remove(task);
    }

    async fn prioritize(&self, task: TaskId, priority: u8) {
        self.pusher.prioritize(task, priority);
    }

    async fn close(&self) {
        self.pusher.flush().await;
        self.intake.close().await;
    }

    async fn settled(&self) {
        // One that is away is told as that.
        let _ = tokio::time::timeout(ANSWER, self.link.tried()).await;
    }

    fn describe(&self) -> String {
        let state = match () {
            () if self.is_connected() => "",
            () if self.link.is_away() => " (away: the database is the queue)",
            () => " (not connected yet)",
        };
        format!("BullMQ {} in {}{state}", self.link.config().name, self.link.config().place())
    }

    async fn ping(&self) -> Result<String, QueueError> {
        link::introduce(self.link.config()).await
    }

    async fn get_job_status(&self, job_id: &str) -> Result<Option<Job>, QueueError> {
        self.link.ask(async |queue| reader::job(queue, job_id).await).await
    }

    async fn get_task_jobs(&self, task: TaskId) -> Result<Vec<Job>, QueueError> {
        self.link.ask(async |queue| reader::jobs_of(queue, task).await).await
    }

    async fn cancel_job(&self, job_id: &str) -> Result<bool, QueueError> {
        self.link
            .ask(async |queue| {
                let is_there = queue.get_job(job_id).await?.is_some();
                Ok(is_there && queue.remove(job_id).await?)
            })
            .await
    }

    async fn remove_task_jobs(&self, task: TaskId) -> Result<usize, QueueError> {
        self.link.ask(async |queue| reader::remove_jobs_of(queue, task, JobState::is_kept).await).await
    }
}
