//! Takes jobs out of Redis, one at a time and only while a worker has room for them.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bullmq::options::WorkerOptions;
use bullmq::worker::WorkerEvent;
use bullmq::{Job, RateLimiterOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::link::{Connected, Link};
use super::processor::process;
use super::{QueueConfig, link};
use crate::queue::Delivery;

/// How long a job waits for a worker that had room a moment ago. Then it goes back, for a
/// worker elsewhere may be free.
const HOLD: Duration = Duration::from_millis(250);
/// How long the library may take to connect, and how soon it is tried again.
const CONNECT: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(500);
/// How long the ends of jobs may take to be written when the process stops.
const CLOSE: Duration = Duration::from_secs(2);
/// How often it is looked whether they are. A job that was asked for when no more were wanted is here by
/// then, and on its way back.
const GLANCE: Duration = Duration::from_millis(50);
/// How soon the library asks Redis again after an error, in milliseconds. Its own fifteen
/// seconds would leave the queue alone long after Redis is back.
const RETRY_MS: u64 = 500;

/// A shorter lock than this would be lost whenever Redis is slow.
const SHORTEST_LOCK: Duration = Duration::from_secs(1);

/// A job on its way to a worker. Whoever takes it says so; the other side may have given up.
struct Parcel {
    delivery: Delivery,
    taken: oneshot::Sender<()>,
}

/// Where jobs come in.
pub(super) struct Intake {
    config: Arc<QueueConfig>,
    link: Arc<Link>,
    parcels: tokio::sync::Mutex<mpsc::Receiver<Parcel>>,
    hatch: Arc<Hatch>,
    taking: Mutex<Option<JoinHandle<()>>>,
}

/// What the two sides of the intake share.
pub(super) struct Hatch {
    parcels: mpsc::Sender<Parcel>,
    /// Workers that wait for a job.
    waiting: Mutex<usize>,
    /// Whether jobs are wanted: closed when one found nobody, opened by whoever waits.
    open: watch::Sender<bool>,
    drained: AtomicBool,
    closing: CancellationToken,
}

impl Intake {
    pub(super) fn new(config: Arc<QueueConfig>, link: Arc<Link>) -> Self {
        let (parcels, arriving) = mpsc::channel(1);
        let hatch = Hatch {
            parcels,
            waiting: Mutex::default(),
            open: watch::Sender::new(true),
            drained: AtomicBool::new(false),
            closing: CancellationToken::new(),
        };
        Self {
            config,
            link,
            parcels: tokio::sync::Mutex::new(arriving),
            hatch: Arc::new(hatch),
            taking: Mutex::default(),
        }
    }

    /// Waits for a job. A process that never waits takes none.
    pub(super) async fn next(&self) -> Delivery {
        self.take_jobs();
        let _waiting = Waiting::at(&self.hatch);
        let mut parcels = self.parcels.lock().await;
        loop {
            let Some(Parcel { delivery, taken }) = parcels.recv().await else {
                return std::future::pending().await;
            };
            // Nothing is awaited from here on: a job that is taken is not dropped.
            if taken.send(()).is_ok() {
                return delivery;
            }
        }
    }

    /// Whether the queue was empty when it was last looked at.
    pub(super) fn is_drained(&self) -> bool {
        self.hatch.drained.load(Ordering::Relaxed)
    }

    /// Takes no more jobs, and waits a little for the ends of those that were taken.
    pub(super) async fn close(&self) {
        self.hatch.closing.cancel();
        let taking = self.taking().take();
        if let Some(taking) = taking {
            let _ = tokio::time::timeout(CLOSE * 2, taking).await;
        }
    }

    fn taking(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_jobs(&self) {
        let mut taking = self.taking();
        if taking.is_none() && !self.hatch.closing.is_cancelled() {
            let (config, link) = (self.config.clone(), self.link.clone());
            *taking = Some(tokio::spawn(take(config, link, self.hatch.clone())));
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.hatch.closing.cancel();
    }
}

/// Somebody waits for as long as this lives.
struct Waiting<'a>(&'a Hatch);

impl<'a> Waiting<'a> {
    fn at(hatch: &'a Hatch) -> Self {
        *hatch.waiting() += 1;
        hatch.turn(true);
        Self(hatch)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.0.waiting() -= 1;
    }
}

impl Hatch {
    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, open: bool) {
        self.open.send_if_modified(|was| std::mem::replace(was, open) != open);
    }

    /// Passes a job to whoever waits. `false` if nobody took it.
    pub(super) async fn offer(&self, delivery: Delivery) -> bool {
        let (taken, mut was_taken) = oneshot::channel();
        let offered = async {
            let parcel = Parcel { delivery, taken };
            self.parcels.send(parcel).await.is_ok() && (&mut was_taken).await.is_ok()
        };
        tokio::select! {
            taken = offered => return taken,
            () = tokio::time::sleep(HOLD) => {}
            () = self.closing.cancelled() => {}
        }
        was_taken.close();
        if was_taken.try_recv().is_ok() {
            return true;
        }
        let waiting = self.waiting();
        if *waiting == 0 {
            self.turn(false);
        }
        false
    }
}

/// Lets a worker of the library work until the process stops, and another one from when its connections
/// cannot be trusted any more: it goes on asking one that fell silent, and waits ten seconds for nothing
/// each time.
async fn take(config: Arc<QueueConfig>, link: Arc<Link>, hatch: Arc<Hatch>) {
    let mut connected = link.watch();
    let mut leaving = JoinSet::new();
    loop {
        let connecting = connect(&config, &link, &hatch, &mut connected);
        let Some(worker) = hatch.closing.run_until_cancelled(connecting).await else { break };
        follow(&worker, &link, &hatch, &mut connected).await;
        leaving.spawn(leave(worker));
        while leaving.try_join_next().is_some() {}
        if hatch.closing.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            break;
        }
    }
    let all = async { while leaving.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE, all).await.is_err() {
        tracing::debug!("the queue was not closed cleanly: its jobs come back by themselves");
    }
}

async fn connect(
    config: &QueueConfig,
    link: &Arc<Link>,
    hatch: &Arc<Hatch>,
    connected: &mut watch::Receiver<Connected>,
) -> bullmq::Worker {
    loop {
        // Fails only when the link is gone, and then this is not polled any more either.
        if connected.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        let worker = bullmq::Worker::with_options(&config.name, processor(link, hatch), options(config));
        match tokio::time::timeout(CONNECT, worker).await {
            Ok(Ok(worker)) => return worker,
            Ok(Err(error)) => tracing::debug!(%error, "no jobs are taken yet"),
            Err(_) => tracing::debug!("no jobs are taken yet: Redis does not answer"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows a worker of the library for as long as its connections can be trusted.
async fn follow(
    worker: &bullmq::Worker,
    link: &Link,
    hatch: &Hatch,
    connected: &mut watch::Receiver<Connected>,
) {
    let mut open = hatch.open.subscribe();
    open.mark_changed();
    hatch.drained.store(false, Ordering::Relaxed);
    loop {
        tokio::select! {
            () = hatch.closing.cancelled() => return,
            // Redis was away: what is connected to it may be to one that is gone.
            _ = connected.changed() => return,
            // The library never forgets an event that nobody reads.
            event = worker.next_event() => match event {
                Some(WorkerEvent::Drained) => hatch.drained.store(true, Ordering::Relaxed),
                Some(WorkerEvent::Active { .. }) => hatch.drained.store(false, Ordering::Relaxed),
                Some(WorkerEvent::Error(trouble)) => {
                    tracing::debug!(trouble, "jobs are taken over another connection");
                    link.look().await;
                    return;
                }
                Some(_) => {}
                None => return,
            },
            Ok(()) = open.changed() => {
                if *open.borrow_and_update() { worker.resume() } else { worker.pause() }
            }
        }
    }
}

/// Takes no more jobs, and ends when those have ended that were taken. The library itself would wait for
/// its question after the next one, too.
async fn leave(worker: bullmq::Worker) {
    worker.pause();
    loop {
        let glance = tokio::time::sleep(GLANCE);
        tokio::pin!(glance);
        // Some event comes when a job has ended; none must be left lying.
        while tokio::select! { event = worker.next_event() => event.is_some(), () = &mut glance => false } {}
        if worker.active_count().await == 0 {
            break;
        }
    }
    if let Err(error) = worker.close(0).await {
        tracing::debug!(%error, "the queue was not closed cleanly: its jobs come back by themselves");
    }
}

type Processed = std::pin::Pin<Box<dyn Future<Output = Result<serde_json::Value, bullmq::Error>> + Send>>;

fn processor(
    link: &Arc<Link>,
    hatch: &Arc<Hatch>,
) -> impl Fn(Job, bullmq::worker::CancellationToken) -> Processed + Send + Sync + 'static {
    let (link, hatch) = (Arc::downgrade(link), Arc::downgrade(hatch));
    move |job, _| match (link.upgrade(), hatch.upgrade()) {
        (Some(link), Some(hatch)) => Box::pin(process(link, hatch, job)),
        _ => Box::pin(async { Err(bullmq::Error::RateLimited { delay_ms: 0 }) }),
    }
}

fn options(config: &QueueConfig) -> WorkerOptions {
    let lock = config.lease.max(SHORTEST_LOCK);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    WorkerOptions {
        connection: link::connection(config),
        prefix: config.prefix.clone(),
        name: Some(config.worker.clone()),
        concurrency: config.concurrency.max(1),
        // A job is locked for as long as its task is leased. Whoever takes the task over does so then,
        // and the job of the worker that died is no longer shown as if somebody worked on it.
        lock_duration: millis(lock),
        stalled_interval: millis(lock / 3),
        // A job whose worker died waits again, as often as it takes: whether a step is poison
        // is the task's to decide.
        max_stalled_count: i32::MAX.unsigned_abs(),
        run_retry_delay: RETRY_MS,
        limiter: config.limiter.map(|limiter| RateLimiterOptions::new(limiter.max, limiter.duration)),
        ..WorkerOptions::default()
    }
}
