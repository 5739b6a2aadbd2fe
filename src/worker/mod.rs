//! The only loop: claim, execute, commit, next.
//!
//! ```text
//! hint ─▶ claim (a lease with an epoch) ─▶ drive ─▶ commit per step ─▶ … ─▶ give back
//! ```
//!
//! A worker holds as many tasks as its concurrency says, one future each; a task has one
//! writer. If the worker dies, its leases end and others go on from the journal.

mod budget;
mod children;
mod config;
mod drive;
mod ended;
mod expiry;
mod jobs;
mod leases;
mod limiter;
mod line;
mod pause;
mod people;
mod presence;
mod replay;
mod schedules;
mod verdict;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{RwLock, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::leases::{Leases, Taken};
use self::limiter::Limiter;
use self::line::Line;
use self::schedules::Outlook;
use crate::executor::Executor;
use crate::orchestrator::{Clock, Orchestrator};
use crate::queue::{Delivery, Hint, Queue};
use crate::repository::{Beat, Claim, Claimed, Commit, Lease, RepositoryError};
use crate::task::{TaskId, with_causes};

pub use config::{LimiterConfig, LimiterScope, WorkerConfig};
pub use presence::host;
pub use replay::{ReplayError, replay};

/// How often a worker without room looks who waits, at most.
const LOOK: Duration = Duration::from_secs(1);

/// How long a worker that stops waits for a database that does not answer.
const GRACE: Duration = Duration::from_secs(2);

/// What is asked of the database, unless it has not answered a moment after `stop`.
async fn unless_stopped<T>(stop: &CancellationToken, asked: impl Future<Output = T>) -> Option<T> {
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        answer = asked => Some(answer),
        () = patience => None,
    }
}

/// Waits until then; for ever if there is nothing to wait for.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What all drives of a worker share.
struct Shared {
    name: String,
    config: WorkerConfig,
    orchestrator: Orchestrator,
    executor: Executor,
    clock: Clock,
    limiter: Limiter,
    /// Tasks whose steps wait for their turn now.
    in_line: AtomicU32,
    leases: Arc<Leases>,
    /// The one place for a task that is suspected of killing its workers.
    suspects: Arc<Semaphore>,
    /// Whoever has that place waits until those that came with it are given back: its next crash would
    /// count for them, too.
    arriving: Arc<RwLock<()>>,
    line: Line,
    outlook: Outlook,
    draining: CancellationToken,
}

/// A worker. Cheap to clone; clones are the same worker.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
    queue: Arc<dyn Queue>,
    /// The task it is there for, with its sub-tasks; none if it works on whatever is due.
    root: Option<TaskId>,
}

impl Worker {
    /// A worker called `name`, which must differ from every other one's.
    pub fn new(
        name: String,
        orchestrator: Orchestrator,
        queue: Arc<dyn Queue>,
        config: WorkerConfig,
    ) -> Self {
        let executor = Executor::new(orchestrator.clone(), Duration::from_millis(config.tool_timeout_ms));
        let clock = orchestrator.clock();
        let limiter = Limiter::new(&config.limiter, orchestrator.repository());
        let leases = Arc::default();
        let (suspects, arriving) = (Arc::new(Semaphore::new(1)), Arc::default());
        let (line, outlook, draining) = (Line::default(), Outlook::default(), CancellationToken::new());
        let shared = Shared {
            name,
            config,
            orchestrator,
            executor,
            clock,
            limiter,
            in_line: AtomicU32::new(0),
            leases,
            suspects,
            arriving,
            line,
            outlook,
            draining,
        };
        Self { shared: Arc::new(shared), queue, root: None }
    }

    /// The same worker for one task and its sub-tasks: it leaves all others alone, and schedules and
    /// requests that expire, too. They may want other models, tools or files than it has.
    pub fn only_for(self, root: TaskId) -> Self {
        Self { root: Some(root), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How many of its tasks wait until the limiter lets their next step start.
    pub fn in_line(&self) -> u32 {
        self.shared.in_line.load(Ordering::Relaxed)
    }

    /// How it is set up.
    pub fn config(&self) -> &WorkerConfig {
        &self.shared.config
    }

    /// The tasks it holds.
    pub fn active(&self) -> Vec<TaskId> {
        self.shared.leases.ids()
    }

    /// Whether it takes no more tasks.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// Works until `stop`, then lets running steps end, gives every task back, and returns.
    pub async fn run(&self, stop: CancellationToken) {
        let repository = self.shared.orchestrator.repository().clone();
        let (leases, config) = (self.shared.leases.clone(), &self.shared.config);
        let worker = presence::introduce(&self.shared.name, config);
        let mut company = JoinSet::new();
        company.spawn(leases::listen(leases.clone(), repository.clone()));
        company.spawn(leases::heartbeat(
            leases,
            repository.clone(),
            worker.clone(),
            Duration::from_millis(config.heartbeat_ms),
            self.shared.draining.clone(),
        ));
        // A set, so that what is being fired ends with the worker whatever ends it.
        let mut firing = JoinSet::new();
        if self.root.is_none() {
            company.spawn(expiry::watch(
                self.shared.orchestrator.clone(),
                Duration::from_millis(config.heartbeat_ms.max(1)),
            ));
            let (shared, pace) = (self.shared.clone(), self.pace_of_schedules());
            firing.spawn(async move {
                let draining = shared.draining.clone();
                schedules::watch(shared.orchestrator.clone(), &shared.outlook, pace, draining).await;
            });
        }
        self.recover().await;
        let drives = self.follow_hints(stop).await;
        let patience = Duration::from_millis(self.shared.config.drain_ms);
        tokio::join!(self.drain(drives), tokio::time::timeout(patience, firing.join_next())).0;
        firing.shutdown().await;
        // From here on nobody says that the worker is there.
        company.shutdown().await;
        let goodbye = presence::tell(repository.as_ref(), &worker, Beat::End);
        // The others find out by themselves.
        let _ = tokio::time::timeout(GRACE, goodbye).await;
    }

    fn pace_of_schedules(&self) -> schedules::Pace {
        let config = &self.shared.config;
        schedules::Pace {
            every: Duration::from_millis(config.poll_ms),
            lease: Duration::from_millis(config.lease_ms),
            at_once: config.concurrency as usize,
        }
    }

    /// Starts whatever hints lead to, until `stop`; returns what runs then.
    async fn follow_hints(&self, stop: CancellationToken) -> JoinSet<()> {
        let mut drives = JoinSet::new();
        // Whether the last look at what is due filled all room: there may be more then.
        let mut was_full = false;
        // Whoever looks before it is known whether Redis is there takes what others count.
        self.queue.settled().await;
        // Work that was due before the first hint is not waited for.
        let mut next = Some(self.queue.look());
        let mut looked = Instant::now();
        let limits_users = self.shared.config.per_user > 0;
        // Whether a task was given back while a hint came in.
        let mut owes_look = false;
        while !stop.is_cancelled() {
            if let Some(delivery) = next.take() {
                let is_look = !matches!(delivery.hint, Hint::Task(_));
                let Some(full) = unless_stopped(&stop, self.fill(delivery, &mut drives)).await else { break };
                was_full = if is_look { full } else { was_full };
            }
            if std::mem::take(&mut owes_look) {
                unless_stopped(&stop, self.fill(Delivery::due(), &mut drives)).await;
            }
            let full = self.room(&drives) == 0;
            let look = self.look_every().filter(|_| full).map(|every| looked + every);
            next = tokio::select! {
                () = stop.cancelled() => break,
                // Where users have limits, the next task of the same user may have waited for this.
                Some(_) = drives.join_next() => {
                    (limits_users || self.queue.looks_again(was_full)).then(Delivery::due)
                }
                () = until(look) => {
                    let repository = self.shared.orchestrator.repository();
                    let look = self.shared.line.look(repository.as_ref(), self.shared.config.concurrency);
                    unless_stopped(&stop, look).await;
                    looked = Instant::now();
                    None
                }
                delivery = self.queue.next(), if !full => Some(delivery),
            };
            while drives.try_join_next().is_some() {
                owes_look = limits_users;
            }
        }
        drives
    }

    /// How often a worker without room looks who waits, if its tasks let others go first.
    fn look_every(&self) -> Option<Duration> {
        let slice = Duration::from_millis(self.shared.config.slice_ms);
        (!slice.is_zero()).then(|| slice.min(LOOK))
    }

    fn room(&self, drives: &JoinSet<()>) -> usize {
        (self.shared.config.concurrency as usize).saturating_sub(drives.len())
    }

    /// On a database that belongs to this process alone, whoever held leases is dead.
    async fn recover(&self) {
        let repository = self.shared.orchestrator.repository();
        if !repository.is_embedded() {
            return;
        }
        match repository.expire_leases().await {
            Ok(0) => {}
            Ok(tasks) => tracing::info!(tasks, "tasks of an earlier run go on"),
            Err(error) => tracing::warn!(%error, "leases of an earlier run end by themselves"),
        }
    }

    /// Takes as many of the tasks that the hint leads to as there is room for. Returns whether
    /// there is no room left.
    async fn fill(&self, delivery: Delivery, drives: &mut JoinSet<()>) -> bool {
        let room = self.room(drives);
        if room == 0 {
            return true;
        }
        let lease = Duration::from_millis(self.shared.config.lease_ms);
        if self.shared.leases.are_overdue(lease) {
            let repository = self.shared.orchestrator.repository();
            self.shared.leases.renew(repository.as_ref(), &self.shared.name, lease).await;
        }
        if matches!(delivery.hint, Hint::Look { .. }) && !self.is_anything_due().await {
            return false;
        }
        let asked = Instant::now().into_std();
        let Some(claimed) = self.take(&delivery.hint, room).await else { return false };
        let mut receipt = delivery.receipt;
        // One for all of a batch: whoever asks for a second one may wait for somebody who waits for the first.
        let arriving = match claimed.iter().any(|claimed| drive::is_suspect(&claimed.task, claimed.crashes)) {
            true => Some(Arc::new(self.shared.arriving.clone().read_owned().await)),
            false => None,
        };
        for claimed in claimed {
            let is_suspect = drive::is_suspect(&claimed.task, claimed.crashes);
            let taken = Taken { claimed, asked, arriving: arriving.clone().filter(|_| is_suspect) };
            let (shared, queue, receipt) = (self.shared.clone(), self.queue.clone(), receipt.take());
            drives.spawn(jobs::serve(shared, queue, taken, receipt));
        }
        drop(arriving);
        if let (Some(receipt), Hint::Task(id)) = (receipt, delivery.hint) {
            tokio::spawn(jobs::nothing_to_do(self.shared.clone(), id, receipt));
        }
        let full = self.room(drives) == 0;
        if !full {
            self.shared.line.clear();
        }
        full
    }

    /// Looks before it leases: to ask is cheaper for the database, and leaves it alone.
    async fn is_anything_due(&self) -> bool {
        let repository = self.shared.orchestrator.repository();
        match self.shared.outlook.look(repository.as_ref()).await {
            Ok(due) => due.task,
            Err(error) => {
                error.tell("nobody knows what is due, looking again later");
                false
            }
        }
    }

    /// Claims what the hint leads to; without a job, no more than the queue admits. `None` if the database
    /// does not answer.
    async fn take(&self, hint: &Hint, room: usize) -> Option<Vec<Claimed>> {
        let is_counted = matches!(hint, Hint::Task(_));
        let admitted = if is_counted { room } else { self.queue.admits(hint, room).await };
        if admitted == 0 {
            return Some(Vec::new());
        }
        let claimed =
            self.claim(hint, admitted).await.map_err(|error| error.tell("no work was claimed")).ok();
        let left = admitted - claimed.as_ref().map_or(0, Vec::len).min(admitted);
        if !is_counted && left > 0 {
            self.queue.not_taken(left).await;
        }
        claimed
    }

    async fn claim(&self, hint: &Hint, room: usize) -> Result<Vec<Claimed>, RepositoryError> {
        let (overdue, only) = match hint {
            Hint::Due => (Duration::ZERO, None),
            Hint::Look { overdue } => (*overdue, None),
            Hint::Task(id) => (Duration::ZERO, Some(*id)),
        };
        let claim = Claim {
            worker: &self.shared.name,
            limit: u32::try_from(room).unwrap_or(u32::MAX),
            lease: Duration::from_millis(self.shared.config.lease_ms),
            overdue,
            only,
            per_user: self.shared.config.per_user,
        };
        let repository = self.shared.orchestrator.repository();
        let Some(root) = self.root else { return repository.claim(claim).await };
        let mut claimed = Vec::new();
        for id in self.shared.orchestrator.open_tree(root).await? {
            if claimed.len() < room {
                claimed.extend(repository.claim(Claim { only: Some(id), limit: 1, ..claim }).await?);
            }
        }
        Ok(claimed)
    }

    async fn drain(&self, mut drives: JoinSet<()>) {
        self.shared.draining.cancel();
        let patience = Duration::from_millis(self.shared.config.drain_ms);
        let all = async { while drives.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return;
        }
        let left = self.shared.leases.epochs();
        tracing::warn!(
            tasks = left.len(),
            "steps did not end in time: their tasks are given back as they are"
        );
        drives.shutdown().await;
        let given_back = left.into_iter().map(|(id, epoch)| async move {
            if let Err(error) = self.give_back(id, epoch).await {
                let error = with_causes(&error);
                tracing::warn!(task = %id, error, "not given back: another worker goes on when the lease ends");
            }
        });
        if tokio::time::timeout(GRACE, join_all(given_back)).await.is_err() {
            tracing::warn!("the database does not answer: other workers go on when the leases end");
        }
    }

    /// Gives a task back that nobody drives any more, so that stopping a worker does not look
    /// like its death. What was in flight is looked at by whoever goes on.
    async fn give_back(&self, id: TaskId, epoch: i64) -> Result<(), RepositoryError> {
        let repository = self.shared.orchestrator.repository();
        let task = repository.load(id).await?.filter(|task| task.state().epoch == epoch);
        let Some(task) = task else { return Ok(()) };
        repository.commit(Commit::new(&task, Vec::new(), Vec::new(), Lease::Release(Duration::ZERO))).await?;
        jobs::pass_on(&self.shared, self.queue.as_ref(), &task).await;
        Ok(())
    }
}
