//! The database of a benchmark, and one run on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::baseline::{self, Baseline};
use super::figures::{Load, Measured};
use super::noop::{self, Noop};
use super::process;
use crate::cli::config::{Environment, Settings};
use crate::cli::error::CliError;
use crate::cli::wiring::{Database, Engine};
use crate::models::{Models, Offline};
use crate::orchestrator::TaskRequest;
use crate::repository::{Claim, ListFilter, Stats};
use crate::task::{Limits, Plan, PlannedStep, Status, StepType, TaskId, ToolUse};
use crate::tools::Toolbox;
use crate::worker::{LimiterConfig, WorkerConfig};

/// How often it is looked whether all calls were made.
const GLANCE: Duration = Duration::from_millis(5);
/// How often it is looked whether something else went wrong.
const LOOK: Duration = Duration::from_secs(1);

/// How many tasks are made at a time.
const MAKERS: usize = 16;
/// How many claims are measured.
const CLAIMS: usize = 1000;
/// How soon what is claimed comes back where users have limits.
const SOON: Duration = Duration::from_millis(200);

/// Where the measuring happens.
pub(super) struct Arena {
    settings: Settings,
    database: Database,
    /// The directory that was made for this run.
    scratch: Option<PathBuf>,
    /// The server, if there is one.
    url: Option<Url>,
}

impl Arena {
    /// Opens a new SQLite file, or the configured PostgreSQL database as it is.
    pub(super) async fn open(
        settings: &Settings,
        environment: &Environment,
        directory: Option<&Path>,
    ) -> Result<Self, CliError> {
        let mut settings = settings.clone();
        // What is measured is the engine; somebody's Redis is not filled with jobs for it.
        settings.config.queue.url = None;
        if let Some(url) = settings.config.database.url.as_deref() {
            let url = Url::parse(url).ok();
            let database = Database::open(&settings, environment).await?;
            database.prepare().await?;
            refuse_live_tasks(&database).await?;
            return Ok(Self { settings, database, scratch: None, url });
        }
        let scratch = scratch(environment, directory)?;
        let durability = settings.config.database.durability;
        let database = Database::open_file(&scratch.join("bench.db"), durability).await?;
        database.prepare().await?;
        database.lock(None)?;
        Ok(Self { settings, database, scratch: Some(scratch), url: None })
    }

    /// The engine with its version.
    pub(super) async fn engine(&self) -> Result<String, CliError> {
        Ok(self.database.repository().engine().await?)
    }

    /// Which database it is and what stays of it.
    pub(super) async fn describe(&self) -> Result<String, CliError> {
        let stays =
            if self.scratch.is_some() { "removed afterwards" } else { "used as it is: the tasks stay in it" };
        Ok(format!("{} in {} ({stays})", self.engine().await?, self.database.place()))
    }

    /// What the machine can do, with so many clients.
    pub(super) async fn baseline(&self, clients: u32) -> Result<Baseline, CliError> {
        match (&self.scratch, &self.url) {
            (Some(directory), _) => baseline::synced_appends(directory).map_err(disk_failed),
            (None, Some(url)) => baseline::pgbench(url, clients).await,
            (None, None) => {
                Err(CliError::failed("pgbench_failed", "the address of the database cannot be read", None))
            }
        }
    }

    /// Starts the clock and a worker, makes the tasks, and waits for the last one.
    pub(super) async fn measure(&self, load: &Load) -> Result<Measured, CliError> {
        let noop = Arc::new(Noop::new(load.payload));
        let models = Models::with_model(Arc::new(Offline::new()))?;
        let toolbox = Toolbox::with_tools(vec![noop.clone()])?;
        let engine =
            Engine::over(self.settings.clone(), self.database.clone(), models, Arc::new(toolbox)).await?;
        let before = self.database.size().await?;
        let failed_before = count(&engine.repository().stats().await?, Status::Failed);
        let (began, cpu) = (Instant::now(), process::cpu_time());
        let stop = CancellationToken::new();
        let worker = engine.worker_with(worker_config(load));
        let working = tokio::spawn({
            let stop = stop.clone();
            async move { worker.run(stop).await }
        });
        make(&engine, load, load.tasks, |_| "bench".to_owned()).await?;
        let calls = u64::from(load.tasks) * u64::from(load.steps);
        let failed = all_ended(&engine, &noop, calls, failed_before).await?;
        let wall = began.elapsed();
        let cpu = process::cpu_time().zip(cpu).map(|(after, before)| after - before);
        stop.cancel();
        let _ = working.await;
        if let Some(id) = failed {
            return Err(CliError::failed(
                "bench_task_failed",
                format!("task {id} failed: nothing was measured"),
                None,
            ));
        }
        let bytes = self.database.size().await?.saturating_sub(before);
        let steps = u64::from(load.tasks) * u64::from(load.steps);
        Ok(Measured { steps, wall, cpu, bytes, periods: noop.periods() })
    }

    /// How long a claim takes while so many tasks wait. Where users have limits, all but a hundredth of
    /// the tasks are one user's, and those behind them each another one's. What is claimed then comes
    /// back soon, so that there is somebody to find at each claim.
    pub(super) async fn claims(&self, waiting: u32, per_user: u32) -> Result<Vec<Duration>, CliError> {
        let models = Models::with_model(Arc::new(Offline::new()))?;
        let toolbox = Toolbox::with_tools(vec![Arc::new(Noop::new(0))])?;
        let engine =
            Engine::over(self.settings.clone(), self.database.clone(), models, Arc::new(toolbox)).await?;
        let load = Load { tasks: waiting, steps: 1, payload: 0, concurrency: 1 };
        let others = if per_user == 0 { 0 } else { waiting / 100 };
        let mut made = make(&engine, &load, waiting - others, |_| "bench".to_owned()).await?;
        made.extend(make(&engine, &load, others, |number| format!("bench-{number}")).await?);
        let lease = if per_user == 0 { Duration::from_secs(60) } else { SOON };
        let claim = Claim { limit: 5, per_user, ..Claim::by("bench", lease) };
        let mut took = Vec::with_capacity(CLAIMS);
        for _ in 0..CLAIMS {
            let began = Instant::now();
            engine.repository().claim(claim).await?;
            took.push(began.elapsed());
        }
        if self.scratch.is_none() {
            // Tasks that nobody has tools for are not left to the next worker.
            let cancelled = stream::iter(made).map(|id| engine.orchestrator.cancel(id, "bench"));
            cancelled.buffer_unordered(MAKERS).try_for_each(|_| std::future::ready(Ok(()))).await?;
        }
        Ok(took)
    }

    /// Removes what was made for this run.
    pub(super) fn close(self) {
        let Some(scratch) = self.scratch.clone() else { return };
        drop(self);
        if let Err(error) = std::fs::remove_dir_all(&scratch) {
            tracing::warn!(%error, directory = %scratch.display(), "the benchmark's directory stays");
        }
    }
}

/// A worker would do the tasks of others too, and it has none of their tools.
async fn refuse_live_tasks(database: &Database) -> Result<(), CliError> {
    let statuses = vec![Status::Pending, Status::Running];
    let live =
        database.repository().list(&ListFilter { statuses, limit: 1, ..ListFilter::default() }).await?;
    if live.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} has tasks that are not done: give the benchmark a database of its own", database.place());
    Err(CliError::usage("bench_database", message))
}

fn scratch(environment: &Environment, directory: Option<&Path>) -> Result<PathBuf, CliError> {
    // A temporary directory is often in memory, where nothing is ever durable.
    let target = Some(PathBuf::from("target")).filter(|target| target.is_dir());
    let named = directory.map(Path::to_owned).or(target).or_else(|| environment.data_directory());
    let place = named.unwrap_or_default().join(format!("longhaul-bench-{}", Uuid::now_v7().simple()));
    std::fs::create_dir_all(&place).map_err(disk_failed)?;
    Ok(place)
}

fn disk_failed(error: std::io::Error) -> CliError {
    CliError::failed(
        "bench_disk",
        "the directory of the benchmark cannot be written: choose one with --dir",
        Some(error),
    )
}

fn worker_config(load: &Load) -> WorkerConfig {
    let limiter = LimiterConfig { max: 0, ..LimiterConfig::default() };
    WorkerConfig { concurrency: load.concurrency, limiter, poll_ms: 50, ..WorkerConfig::default() }
}

fn request(load: &Load) -> TaskRequest {
    let steps = (0..load.steps).map(|index| PlannedStep {
        depends_on: index.checked_sub(1).into_iter().collect(),
        tool: Some(ToolUse { name: noop::NAME.to_owned(), arguments: json!({}) }),
        ..PlannedStep::new(format!("step-{}", index + 1), StepType::ToolCall, "Return a text")
    });
    TaskRequest {
        goal: "Measure".to_owned(),
        limits: Some(Limits {
            max_steps: load.steps,
            max_tool_calls: u32::MAX,
            checkpoint_interval: 0,
            ..Limits::default()
        }),
        plan: Some(Plan { steps: steps.collect() }),
        ..TaskRequest::default()
    }
}

/// Makes tasks, several at a time, as the requests of several clients would.
async fn make(
    engine: &Engine,
    load: &Load,
    tasks: u32,
    user: impl Fn(u32) -> String,
) -> Result<Vec<TaskId>, CliError> {
    let wanted = stream::iter(0..tasks).map(|number| {
        let user_id = user(number);
        TaskRequest { thread_id: user_id.clone(), user_id, ..request(load) }
    });
    let started = wanted.map(|request| engine.orchestrator.start(request));
    let ids = started.buffer_unordered(MAKERS).map_ok(|task| task.id);
    Ok(ids.try_collect().await?)
}

/// Waits until all tasks have ended. Returns one that did not end well.
///
/// It counts calls and not commits: a listener that every commit wakes would be part of what is
/// measured. The tables are asked when the last call was made, and rarely before: a task that
/// fails makes fewer calls.
async fn all_ended(
    engine: &Engine,
    noop: &Noop,
    steps: u64,
    failed_before: u64,
) -> Result<Option<TaskId>, CliError> {
    let repository = engine.repository();
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep(GLANCE).await;
        if noop.count() < steps && asked.elapsed() < LOOK {
            continue;
        }
        let stats = repository.stats().await?;
        asked = Instant::now();
        if count(&stats, Status::Pending) + count(&stats, Status::Running) > 0 {
            continue;
        }
        if count(&stats, Status::Failed) == failed_before {
            return Ok(None);
        }
        break;
    }
    let filter = ListFilter { statuses: vec![Status::Failed], limit: 1, ..ListFilter::default() };
    Ok(repository.list(&filter).await?.first().map(|task| task.id))
}

fn count(stats: &Stats, status: Status) -> u64 {
    stats.tasks.get(status.as_str()).copied().unwrap_or(0)
}
