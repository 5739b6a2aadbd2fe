//! Carries a recorded task out again: with the real engine on a database of its own, and with models,
//! tools and people that only repeat what is recorded.
//!
//! ```text
//! recording ─▶ script ─▶ stage ◀─asks─ engine (drive, executor, orchestrator, journal)
//!                          │ the same words? the recorded answer : the first divergence
//! ```
//!
//! Nothing is asked of the network, no tool runs, and nothing is waited for: the time is that of the
//! journal. The calls of steps side by side are told apart by step and number.

mod cast;
mod order;
mod people;
mod report;
mod script;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::cast::{Cast, Known};
use self::script::Script;
use self::stage::Stage;
use super::leases::Taken;
use super::{LimiterConfig, Shared, Worker, WorkerConfig, drive};
use crate::executor::own_tools_bytes;
use crate::models::{ModelError, Models};
use crate::orchestrator::{Orchestrator, OrchestratorConfig};
use crate::queue::{DatabaseQueue, Doorbell};
use crate::repository::{Claim, Repository, RepositoryError, SqliteDurability, SqliteRepository};
use crate::task::{Entry, Event, Illegal, ModelName, Recording, Replay, RetryPolicy, Status, Task, TaskId};
use crate::tools::{Finder, Probes, Toolbox, ToolboxError};

/// A replay is over long before a lease of this length is.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks after which a task that wants to go on and is not due is at rest.
const PATIENCE: u32 = 1000;

/// Why there is no replay.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The recording is of a task that cannot be carried out from it alone.
    #[error("the recording cannot be replayed: {0}")]
    Unfit(String),
    /// There is no place for the database of the replay.
    #[error("the database of the replay cannot be used")]
    Database(#[from] RepositoryError),
    /// The models of the replay cannot be put in place.
    #[error("the replay cannot be set up")]
    Models(#[from] ModelError),
    /// The tools of the replay cannot be put in place.
    #[error("the replay cannot be set up")]
    Tools(#[from] ToolboxError),
    /// The recording contradicts itself.
    #[error("the recording is of nothing that can have happened")]
    Illegal(#[from] Illegal),
}

/// A directory that goes with the replay.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Carries a recorded task out again, and says whether it went the same way.
///
/// # Errors
/// [`ReplayError::Unfit`] for a task that never had a plan.
pub async fn replay(recording: &Recording) -> Result<Replay, ReplayError> {
    let id = recording.id;
    let mut journal = recording.opened();
    let then = Task::fold(id, &journal)?;
    let expected = Task::fold(id, &recording.entries)?;
    journal.iter_mut().for_each(without_waits);
    let script = Script::of(id, journal).map_err(ReplayError::Unfit)?;
    let stage = Arc::new(Stage::new(script));
    let place = Directory(std::env::temp_dir().join(format!("longhaul-replay-{}", Uuid::now_v7().simple())));
    let repository = SqliteRepository::open(&place.0.join("replay.db"), SqliteDurability::Relaxed).await?;
    repository.prepare().await?;
    let repository: Arc<dyn Repository> = Arc::new(repository);
    let shared = engine(&stage, &then, repository.clone())?;
    let first = stage.script(|script| script.journal[..script.begins].to_vec());
    repository.create(&Task::fold(id, &sealed(&first))?, first, None).await?;
    play(&stage, &shared, id).await?;
    let now = repository.load(id).await?.ok_or(RepositoryError::NotFound)?;
    Ok(report::compared(&expected, &now, &stage))
}

/// The engine over the stage.
fn engine(
    stage: &Arc<Stage>,
    then: &Task,
    repository: Arc<dyn Repository>,
) -> Result<Arc<Shared>, ReplayError> {
    let unnamed = ModelName { provider: "recorded".to_owned(), model: "model".to_owned() };
    let default = match stage.model(None) {
        Some(name) => name,
        None if stage.script(|script| script.plans.is_empty()) => "offline/rules".parse().unwrap_or(unnamed),
        None => unnamed,
    };
    let allowed = then.steps().iter().filter_map(|step| step.plan.model.clone()).collect();
    let models = Models::instead(Arc::new(Cast(stage.clone(), default.clone())), default, allowed)?;
    let tools = Toolbox::recorded(
        cast::tools(stage, then.id, own_tools_bytes()),
        stage.script(|script| script.tools.iter().map(|(name, kept)| (name.clone(), kept.labels)).collect()),
    )?;
    let judges = stage.script(|script| !script.evaluations.is_empty());
    let config = OrchestratorConfig { judge: judges, ..OrchestratorConfig::default() };
    let queue = Arc::new(DatabaseQueue::new(Doorbell::default(), LEASE));
    let clock = {
        let stage = stage.clone();
        Arc::new(move || stage.now())
    };
    let finder: Finder = {
        let stage = stage.clone();
        Arc::new(move |name, input| stage.found(name, input))
    };
    let checks = then.steps().iter().flat_map(|step| step.checks());
    let names = checks.filter_map(|check| match &check.kind {
        crate::task::CheckKind::Probe(name) => Some(name.clone()),
        _ => None,
    });
    let orchestrator =
        Orchestrator::new(repository, queue.clone(), Arc::new(models), Arc::new(tools), config, clock)
            .with_probes(Probes::told(names, &finder))
            .rehearsing(Arc::new(Known(stage.clone())));
    let config = WorkerConfig {
        slice_ms: 0,
        limiter: LimiterConfig { max: 0, ..LimiterConfig::default() },
        ..WorkerConfig::default()
    };
    Ok(Worker::new("replay".to_owned(), orchestrator, queue, config).shared)
}

/// Lets the engine go on for as long as anything goes on.
async fn play(stage: &Arc<Stage>, shared: &Arc<Shared>, id: TaskId) -> Result<(), ReplayError> {
    let repository = shared.orchestrator.repository();
    let mut looks = 0;
    while !stage.over.is_cancelled() {
        while stage.script(|script| script.tells_next()) {
            if !people::say(stage, shared, id, false).await {
                break;
            }
        }
        let claim = Claim { only: Some(id), ..Claim::by("replay", LEASE) };
        let asked = Instant::now();
        if let Some(claimed) = repository.claim(claim).await?.pop() {
            let stop = CancellationToken::new();
            let talking = people::speak(stage.clone(), shared.clone(), id, stop.clone());
            let driving = async {
                tokio::select! {
                    _ = drive::drive(shared.clone(), Taken { claimed, asked, arriving: None }) => {}
                    () = stage.over.cancelled() => {}
                }
                stop.cancel();
            };
            tokio::join!(driving, talking);
            continue;
        }
        let task = repository.load(id).await?;
        let status = task.as_ref().map_or(Status::Cancelled, Task::status);
        // A task that waits for one that works for it hears how that ended.
        if task.is_some_and(|task| task.children_at_work().next().is_some())
            && stage.script(|script| script.is_due())
            && people::say(stage, shared, id, false).await
        {
            continue;
        }
        // Given back a moment ago, it is due by the clock of the database in the next one.
        if status.is_live() && looks < PATIENCE {
            looks += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        looks = 0;
        // A task that rests waits for somebody's word.
        if status.is_terminal() || !people::say(stage, shared, id, true).await {
            break;
        }
    }
    Ok(())
}

/// Steps that failed are tried again at once.
fn without_waits(entry: &mut Entry) {
    let at_once = |retry: &mut RetryPolicy| (retry.base_ms, retry.max_ms) = (0, 0);
    match &mut entry.event {
        Event::Created { spec } => {
            at_once(&mut spec.retry);
            spec.user_id = "replay".to_owned();
            spec.thread_id = "replay".to_owned();
        }
        Event::Planned { plan, .. } | Event::Restored { plan, .. } => {
            plan.steps.iter_mut().filter_map(|step| step.retry.as_mut()).for_each(at_once);
        }
        _ => {}
    }
}

fn sealed(entries: &[Entry]) -> Vec<Entry> {
    let mut entries = entries.to_vec();
    for payload in entries.iter_mut().flat_map(|entry| entry.event.payloads_mut()) {
        payload.seal();
    }
    entries
}
