//! Puts the rooms together: the only place that knows all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::clock::clock_of;
use super::config::{ConfigError, Durability, Environment, Settings};
use super::error::CliError;
use super::terminal::Terminal;
use crate::models::{Models, Offline};
use crate::orchestrator::Orchestrator;
use crate::queue::{BullQueue, DatabaseQueue, Doorbell, Queue, QueueConfig, QueueError, QueueLimiter};
use crate::repository::{
    PostgresRepository, Repository, RepositoryError, SqliteDurability, SqliteRepository,
};
use crate::task::TaskId;
use crate::tools::{Probes, Secrets, Toolbox};
use crate::worker::{Worker, WorkerConfig, host};

/// How long nothing is said while MCP servers start.
const SILENCE: Duration = Duration::from_secs(1);

/// The database, with what only one of the engines can do.
#[derive(Clone)]
pub(super) enum Database {
    /// A file.
    Sqlite(Arc<SqliteRepository>, PathBuf),
    /// A server; the text is its address without the password.
    Postgres(Arc<PostgresRepository>, String),
}

impl Database {
    /// Opens the configured database without looking at its tables.
    pub(super) async fn open(settings: &Settings, environment: &Environment) -> Result<Self, CliError> {
        let config = &settings.config.database;
        if let Some(url) = &config.url {
            let timeout = Duration::from_millis(config.timeout_ms);
            let repository = PostgresRepository::connect(url, config.connections, timeout).await?;
            return Ok(Self::Postgres(Arc::new(repository), without_password(url)));
        }
        let path = sqlite_path(settings, environment)?;
        Self::open_file(&path, config.durability).await
    }

    /// Opens a SQLite file; makes it if it is missing.
    pub(super) async fn open_file(path: &Path, durability: Durability) -> Result<Self, CliError> {
        let durability = match durability {
            Durability::Full => SqliteDurability::Full,
            Durability::Relaxed => SqliteDurability::Relaxed,
        };
        let repository = SqliteRepository::open(path, durability).await?;
        Ok(Self::Sqlite(Arc::new(repository), path.to_owned()))
    }

    /// Makes the tables if there are none, and refuses those of another version.
    pub(super) async fn prepare(&self) -> Result<(), RepositoryError> {
        match self {
            Self::Sqlite(repository, _) => repository.prepare().await,
            Self::Postgres(repository, _) => repository.prepare().await,
        }
    }

    /// Brings the tables up to date and returns their version.
    pub(super) async fn migrate(&self) -> Result<i64, RepositoryError> {
        match self {
            Self::Sqlite(repository, _) => repository.migrate().await,
            Self::Postgres(repository, _) => repository.migrate().await,
        }
    }

    /// Reserves the right to work on tasks. On PostgreSQL everybody has it.
    pub(super) fn lock(&self, workspace: Option<&Path>) -> Result<(), RepositoryError> {
        match self {
            Self::Sqlite(repository, _) => repository.lock(workspace),
            Self::Postgres(..) => Ok(()),
        }
    }

    /// The door that both engines share.
    pub(super) fn repository(&self) -> Arc<dyn Repository> {
        match self {
            Self::Sqlite(repository, _) => repository.clone(),
            Self::Postgres(repository, _) => repository.clone(),
        }
    }

    /// How large it is, in bytes.
    pub(super) async fn size(&self) -> Result<u64, RepositoryError> {
        match self {
            Self::Sqlite(repository, _) => repository.size().await,
            Self::Postgres(repository, _) => repository.size().await,
        }
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Sqlite(_, path) => path.display().to_string(),
            Self::Postgres(_, address) => address.clone(),
        }
    }
}

/// The SQLite file that counts.
pub(super) fn sqlite_path(settings: &Settings, environment: &Environment) -> Result<PathBuf, CliError> {
    let named = settings.config.database.path.clone();
    let default = || environment.data_directory().map(|directory| directory.join("longhaul.db"));
    named.or_else(default).ok_or_else(|| {
        let problem = "is needed: there is neither HOME nor XDG_DATA_HOME to keep a file under";
        ConfigError::Value { key: "--db", problem: problem.to_owned() }.into()
    })
}

/// Refuses to look at a file that is not there: one would be made, and found empty.
pub(super) fn require_database(settings: &Settings, environment: &Environment) -> Result<(), CliError> {
    if settings.config.database.url.is_some() {
        return Ok(());
    }
    let path = sqlite_path(settings, environment)?;
    if path.exists() { Ok(()) } else { Err(CliError::NoDatabase { path }) }
}

pub(super) fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => {
            let user = if url.username().is_empty() { String::new() } else { format!("{}@", url.username()) };
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let host = url.host_str().unwrap_or_default();
            format!("{}://{user}{host}{port}{}", url.scheme(), url.path())
        }
        Err(_) => "PostgreSQL".to_owned(),
    }
}

/// Everything that works on tasks.
pub(super) struct Engine {
    pub(super) settings: Settings,
    pub(super) database: Database,
    pub(super) orchestrator: Orchestrator,
    worker_name: String,
}

impl Engine {
    /// Opens database, models and tools. Whoever `stays` does not wait for the last MCP server.
    pub(super) async fn open(
        settings: Settings,
        environment: &Environment,
        stays: bool,
        terminal: &Terminal,
    ) -> Result<Self, CliError> {
        let database = Database::open(&settings, environment).await?;
        database.prepare().await?;
        let look_up = |name: &str| environment.get(name);
        let models = Models::open(&settings.config.models, &look_up).await?;
        let secrets = Secrets::load(&settings.config.secrets, &look_up)?;
        let tools = Toolbox::unconnected(&settings.config.tools, secrets)?;
        let tools = Arc::new(tools);
        connect(&tools, stays || models.is_offline(), terminal).await;
        Self::over(settings, database, models, tools).await
    }

    /// Opens the database only: enough to look at tasks and to steer them. Nothing is started
    /// and no provider is asked; of the tools those are known that need no server.
    pub(super) async fn steering(settings: Settings, environment: &Environment) -> Result<Self, CliError> {
        let database = Database::open(&settings, environment).await?;
        database.prepare().await?;
        let models = models_to_name(&settings, environment)?;
        Self::with_tools_at_rest(settings, database, models).await
    }

    /// The same with the models that workers would ask: for whoever looks at what they are told.
    pub(super) async fn looking(settings: Settings, environment: &Environment) -> Result<Self, CliError> {
        let database = Database::open(&settings, environment).await?;
        database.prepare().await?;
        let models = match Models::open(&settings.config.models, &|name| environment.get(name)).await {
            Ok(models) => models,
            // What cannot be asked can still be looked at.
            Err(_) => models_to_name(&settings, environment)?,
        };
        Self::with_tools_at_rest(settings, database, models).await
    }

    async fn with_tools_at_rest(
        settings: Settings,
        database: Database,
        models: Models,
    ) -> Result<Self, CliError> {
        // Whoever works with them says what is wrong with their configuration.
        let tools = Toolbox::unconnected(&settings.config.tools, Secrets::default()).unwrap_or_default();
        Self::over(settings, database, models, Arc::new(tools)).await
    }

    /// Puts the rooms over each other.
    pub(super) async fn over(
        settings: Settings,
        database: Database,
        models: Models,
        tools: Arc<Toolbox>,
    ) -> Result<Self, CliError> {
        let worker_name = worker_name();
        let queue = open_queue(&settings, &worker_name)?;
        let config = settings.config.of_orchestrator();
        let probes = Probes::open(&settings.config.checks).map_err(ConfigError::from)?;
        let clock = clock_of(&database).await;
        let orchestrator =
            Orchestrator::new(database.repository(), queue, Arc::new(models), tools, config, clock)
                .with_probes(probes);
        Ok(Self { settings, database, orchestrator, worker_name })
    }

    /// Where tasks are kept.
    pub(super) fn repository(&self) -> &Arc<dyn Repository> {
        self.orchestrator.repository()
    }

    /// A worker for these tasks.
    pub(super) fn worker(&self) -> Worker {
        self.worker_with(self.settings.config.worker.clone())
    }

    /// The directory that the tools work in.
    pub(super) fn workspace(&self) -> Option<PathBuf> {
        std::fs::canonicalize(self.settings.config.tools.workspace.as_ref()?).ok()
    }

    /// A worker for one task alone. It takes no jobs of a shared queue: they may be of other tasks.
    pub(super) fn worker_for(&self, task: TaskId) -> Worker {
        let config = self.settings.config.worker.clone();
        let poll = Duration::from_millis(config.poll_ms);
        let queue: Arc<dyn Queue> = match &self.settings.config.queue.url {
            Some(_) => Arc::new(DatabaseQueue::new(Doorbell::default(), poll)),
            None => self.orchestrator.queue().clone(),
        };
        Worker::new(self.worker_name.clone(), self.orchestrator.clone(), queue, config).only_for(task)
    }

    /// A worker that is set up otherwise.
    pub(super) fn worker_with(&self, config: WorkerConfig) -> Worker {
        let queue = self.orchestrator.queue().clone();
        Worker::new(self.worker_name.clone(), self.orchestrator.clone(), queue, config)
    }

    /// Passes on what the queue was told, and ends the tool servers, for they are processes of
    /// ours.
    pub(super) async fn close(&self) {
        self.orchestrator.queue().close().await;
        self.orchestrator.tools().close().await;
    }
}

/// The configured models by name, and the rules for everything else.
fn models_to_name(settings: &Settings, environment: &Environment) -> Result<Models, CliError> {
    let named = Models::to_name(&settings.config.models, &|name| environment.get(name));
    Ok(named.or_else(|_| Models::with_model(Arc::new(Offline::new())))?)
}

/// Connects to the MCP servers, and says so where that takes longer than a person waits without asking why.
/// A server that hangs stops nobody who does not need it: whoever `goes_on` is waited for by what names its
/// tools only.
async fn connect(tools: &Arc<Toolbox>, goes_on: bool, terminal: &Terminal) {
    let shared = tools.clone();
    let mut connecting = tokio::spawn(async move { shared.connect().await });
    if tokio::time::timeout(SILENCE, &mut connecting).await.is_ok() {
        return;
    }
    let awaited: Vec<String> =
        tools.awaited().iter().map(|(name, most)| format!("{name} (up to {} s)", most.as_secs())).collect();
    if !awaited.is_empty() {
        let awaited = awaited.join(", ");
        terminal.note(if goes_on {
            format!("MCP servers that have not answered yet: {awaited}. What needs them waits for them.")
        } else {
            format!("Waiting for MCP servers: {awaited}. Without those that do not answer it goes on then.")
        });
    }
    if !goes_on {
        // A panic of it is in the log.
        let _ = connecting.await;
    }
}

/// The queue that is configured: BullMQ if there is a Redis, else the database.
fn open_queue(settings: &Settings, worker: &str) -> Result<Arc<dyn Queue>, CliError> {
    let doorbell = Doorbell::default();
    match queue_config(settings, worker)? {
        Some(config) => Ok(Arc::new(BullQueue::start(config, doorbell).map_err(unusable)?)),
        None => {
            let poll = Duration::from_millis(settings.config.worker.poll_ms);
            Ok(Arc::new(DatabaseQueue::new(doorbell, poll)))
        }
    }
}

/// The queue in Redis, if one is configured.
pub(super) fn queue_config(settings: &Settings, worker: &str) -> Result<Option<QueueConfig>, CliError> {
    let (table, pace) = (&settings.config.queue, &settings.config.worker);
    let Some(url) = table.url.clone() else { return Ok(None) };
    let authority = table.ca_file.as_deref().map(|file| {
        let unread = |error| ConfigError::Value {
            key: "queue.caFile",
            problem: format!("{} cannot be read: {error}", file.display()),
        };
        std::fs::read(file).map_err(unread)
    });
    let limiter = QueueLimiter {
        max: u64::from(pace.limiter.max),
        duration: Duration::from_millis(pace.limiter.duration),
    };
    Ok(Some(QueueConfig {
        authority: authority.transpose()?,
        prefix: table.prefix.clone(),
        name: table.name.clone(),
        worker: worker.to_owned(),
        concurrency: pace.concurrency as usize,
        limiter: (limiter.max > 0).then_some(limiter),
        poll: Duration::from_millis(pace.poll_ms),
        lease: Duration::from_millis(pace.lease_ms),
        ..QueueConfig::at(url)
    }))
}

fn unusable(error: QueueError) -> CliError {
    ConfigError::Value { key: "queue", problem: error.to_string() }.into()
}

/// Tells people where a worker runs, and differs from every other one's.
fn worker_name() -> String {
    let host = host().unwrap_or_else(|| "worker".to_owned());
    let (_, random) = Uuid::now_v7().as_u64_pair();
    format!("{host}-{}-{:08x}", std::process::id(), random as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = without_password("postgres://ada:s3cret@db.example:5433/tasks?sslmode=require");
        assert_eq!(shown, "postgres://ada@db.example:5433/tasks");
        assert_eq!(without_password("postgres:///tasks"), "postgres:///tasks");
    }

    #[test]
    fn no_two_workers_have_one_name() {
        assert_ne!(worker_name(), worker_name());
    }
}
