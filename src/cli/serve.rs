//! `longhaul serve` and `longhaul worker`: the two that stay until they are told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::net::{TcpListener, lookup_host};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::args::ServeArgs;
use super::beside::Beside;
use super::config::ConfigError;
use super::display::{cut, in_one_line};
use super::error::CliError;
use super::terminal::Terminal;
use super::wiring::Engine;
use super::{Exit, signals};
use crate::repository::analytics::keep_up;
use crate::server::{self, Access, AppState, LimiterSnapshot, Replayer, WorkerSnapshot, WorkerStatus};
use crate::task::{counted, words_of};
use crate::tools::ServerStatus;
use crate::worker::{self, LimiterScope, Worker};

/// How much is said of why a tool server is not there.
const REASON: usize = 100;

/// How long a process that stops waits for the last of its counting.
const GRACE: Duration = Duration::from_secs(2);
const DRAINING: &str = "stopping: running steps end first, a second signal stops at once";

/// Serves the API, and works on tasks unless that is turned off.
pub(super) async fn serve(engine: &Engine, args: &ServeArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let works = engine.settings.works && !args.no_worker;
    if works {
        engine.database.lock(engine.workspace().as_deref())?;
    }
    let settings = &engine.settings;
    let access = Access::new(settings.api_key.clone(), Some(settings.user.clone()));
    let bind = args.bind.as_deref().unwrap_or(&settings.config.server.bind);
    let listener = listen(bind, &access).await?;
    let address = listener.local_addr().map_err(|error| cannot_listen(bind, error))?;
    let stop = signals::listen(terminal, DRAINING)?;
    let worker = works.then(|| engine.worker());
    introduce(engine, Some(address), worker.as_ref(), terminal).await?;
    let status = Arc::new(Status(worker.clone()));
    let config = settings.config.server.clone();
    let state = AppState::new(engine.orchestrator.clone(), access, config, status, replayer(), stop.clone());
    let mut beside = worker.map(|worker| Beside::begin(worker, stop.clone()));
    let counting = Counting::begin(engine);
    let serving = server::serve(listener, server::router(state), stop.clone());
    // One that took tasks and let nobody work on them would be worse than none.
    let served = match &mut beside {
        Some(beside) => beside.while_there(serving).await,
        None => Ok(serving.await),
    };
    // If serving ends by itself, the worker ends with it.
    stop.cancel();
    if let Some(beside) = beside {
        beside.end().await;
    }
    counting.end().await;
    served?.map_err(|error| CliError::failed("serving_failed", "serving ended", Some(error)))?;
    Ok(Exit::Done)
}

/// Works on tasks only.
pub(super) async fn work(engine: &Engine, terminal: &Terminal) -> Result<Exit, CliError> {
    engine.database.lock(engine.workspace().as_deref())?;
    let stop = signals::listen(terminal, DRAINING)?;
    let worker = engine.worker();
    introduce(engine, None, Some(&worker), terminal).await?;
    let counting = Counting::begin(engine);
    worker.run(stop).await;
    counting.end().await;
    Ok(Exit::Done)
}

/// The counting of what this process writes: it ends behind the last that is written.
struct Counting {
    counting: JoinHandle<()>,
    written: CancellationToken,
}

impl Counting {
    fn begin(engine: &Engine) -> Self {
        let written = CancellationToken::new();
        Self { counting: tokio::spawn(keep_up(engine.repository().clone(), written.clone())), written }
    }

    async fn end(self) {
        self.written.cancel();
        // A panic of it is in the log; what is not counted is counted by whoever counts next.
        let _ = tokio::time::timeout(GRACE, self.counting).await;
    }
}

async fn listen(bind: &str, access: &Access) -> Result<TcpListener, CliError> {
    let addresses: Vec<SocketAddr> = lookup_host(bind)
        .await
        .map_err(|error| {
            let problem = format!("'{bind}' is no address ({error}): write for example 127.0.0.1:8080");
            CliError::Config(ConfigError::Value { key: "server.bind", problem })
        })?
        .collect();
    for address in &addresses {
        server::refuse_open_bind(*address, access).map_err(|refused| {
            CliError::Config(ConfigError::Value { key: "server.bind", problem: refused.to_string() })
        })?;
    }
    TcpListener::bind(&addresses[..]).await.map_err(|error| cannot_listen(bind, error))
}

fn cannot_listen(bind: &str, error: std::io::Error) -> CliError {
    CliError::failed(
        "cannot_listen",
        format!("{bind} cannot be listened on: choose another with --bind"),
        Some(error),
    )
}

/// The block that a process which stays prints at its start.
async fn introduce(
    engine: &Engine,
    address: Option<SocketAddr>,
    worker: Option<&Worker>,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let models = engine.orchestrator.models();
    let offline = if models.is_offline() { " (no language model: goals are planned by rules)" } else { "" };
    let engine_version = engine.repository().engine().await?;
    let mut lines = vec![format!("longhaul {}", env!("CARGO_PKG_VERSION"))];
    lines.extend(address.map(|address| format!("  listening  http://{address}")));
    lines.push(format!("  database   {engine_version} in {}", engine.database.place()));
    engine.orchestrator.queue().settled().await;
    lines.push(format!("  queue      {}", engine.orchestrator.queue().describe()));
    lines.push(format!("  model      {}{offline}", models.default_name()));
    lines.push(format!("  tools      {}", tools(engine)));
    lines.push(format!("  worker     {}", worker.map_or("none in this process".to_owned(), pace)));
    terminal.note(lines.join("\n"));
    Ok(())
}

fn tools(engine: &Engine) -> String {
    let toolbox = engine.orchestrator.tools();
    let offered = toolbox.offered(&Default::default());
    let tools =
        offered.map_or_else(|collision| collision.to_string(), |tools| counted(tools.len() as u64, "tool"));
    let servers = toolbox.servers();
    let down: Vec<String> = servers.iter().filter(|server| !server.connected).map(not_connected).collect();
    match (servers.len(), down.len()) {
        (0, _) => tools,
        (all, 0) => format!("{tools}, {}", counted(all as u64, "MCP server")),
        (all, _) => {
            format!("{tools}, {} (not connected: {})", counted(all as u64, "MCP server"), down.join(", "))
        }
    }
}

/// A server that is not there, with the reason as far as it is known.
fn not_connected(server: &ServerStatus) -> String {
    match &server.last_error {
        Some(error) => format!("{}: {}", server.name, cut(&in_one_line(error), REASON)),
        None => server.name.clone(),
    }
}

fn pace(worker: &Worker) -> String {
    let config = worker.config();
    let tasks = format!("{}, {} at once", worker.name(), counted(config.concurrency, "task"));
    match config.limiter.max {
        0 => tasks,
        max => {
            let whose = match config.limiter.scope {
                LimiterScope::Process => "",
                LimiterScope::Cluster => " with all other workers",
            };
            format!("{tasks}, {} per {} ms{whose}", counted(max, "step"), config.limiter.duration)
        }
    }
}

/// Lets the server replay.
fn replayer() -> Replayer {
    Arc::new(|recording| {
        let replaying =
            async move { worker::replay(&recording).await.map_err(|error| words_of(&error).join(": ")) };
        replaying.boxed()
    })
}

/// Tells the server about the worker beside it.
struct Status(Option<Worker>);

impl WorkerStatus for Status {
    fn snapshot(&self) -> WorkerSnapshot {
        let Some(worker) = &self.0 else { return WorkerSnapshot::default() };
        let config = worker.config();
        let limiter = &config.limiter;
        WorkerSnapshot {
            enabled: true,
            name: worker.name().to_owned(),
            concurrency: config.concurrency,
            active: worker.active(),
            limiter: (limiter.max > 0)
                .then_some(LimiterSnapshot { max: limiter.max, duration_ms: limiter.duration }),
            in_line: worker.in_line(),
            draining: worker.is_draining(),
        }
    }
}
