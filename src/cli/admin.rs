//! `longhaul migrate`, `doctor` and `prune`: the upkeep of a database.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::Exit;
use super::args::{JsonArg, PruneArgs};
use super::config::{Environment, Settings};
use super::error::CliError;
use super::task::new_table;
use super::terminal::Terminal;
use super::wiring::{Database, queue_config, sqlite_path};
use crate::models::{Models, Role};
use crate::queue::BullQueue;
use crate::repository::{Presence, Retention, Stats, Violation, WorkerSummary};
use crate::task::{counted, with_causes};
use crate::tools::{Secrets, Tool, Toolbox};

/// Brings the tables up to date.
pub(super) async fn migrate(
    settings: &Settings,
    environment: &Environment,
    form: JsonArg,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let database = Database::open(settings, environment).await?;
    let version = database.migrate().await?;
    let place = database.place();
    match form.json {
        true => terminal.result(json!({"schemaVersion": version, "database": place}).to_string()),
        false => terminal.result(format!("schema version {version} in {place}")),
    }
    Ok(Exit::Done)
}

/// Removes what is older than asked.
pub(super) async fn prune(
    settings: &Settings,
    environment: &Environment,
    args: &PruneArgs,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let database = Database::open(settings, environment).await?;
    database.prepare().await?;
    let retention = Retention { tasks: args.tasks, traces: args.traces };
    let pruned = database.repository().prune(&retention).await?;
    if args.form.json {
        let removed = json!({"tasks": pruned.tasks, "traces": pruned.traces, "contents": pruned.blobs,
            "replies": pruned.replies, "workers": pruned.workers});
        terminal.result(removed.to_string());
        return Ok(Exit::Done);
    }
    terminal.result(format!(
        "removed {}, {}, {} and {}",
        counted(pruned.tasks, "task"),
        counted(pruned.traces, "journal entry"),
        counted(pruned.blobs, "content"),
        counted(pruned.replies, "kept reply")
    ));
    Ok(Exit::Done)
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

/// Everything that was looked at.
#[derive(Debug, Default)]
struct Findings {
    checks: Vec<Check>,
    stats: Option<Stats>,
    workers: Vec<WorkerSummary>,
    violations: Vec<Violation>,
}

impl Findings {
    fn note(&mut self, name: &'static str, finding: Result<String, String>) {
        let (ok, detail) = match finding {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        self.checks.push(Check { name, ok, detail });
    }

    fn is_well(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// Checks whatever can be checked; nothing that fails keeps the rest from being looked at.
pub(super) async fn doctor(
    settings: &Settings,
    environment: &Environment,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let mut findings = Findings::default();
    let file = settings.file.as_ref().map_or("defaults only".to_owned(), |path| path.display().to_string());
    findings.note("configuration", Ok(file));
    if let Err(error) = look_at_database(&mut findings, settings, environment).await {
        findings.note("database", Err(with_causes(&error)));
    }
    look_at_queue(&mut findings, settings).await;
    look_at_models(&mut findings, settings, environment).await;
    look_at_tools(&mut findings, settings, environment).await;
    if as_json {
        terminal.result(
            json!({"ok": findings.is_well(), "checks": findings.checks, "tasks": findings.stats,
                "workers": findings.workers, "violations": findings.violations})
            .to_string(),
        );
    } else {
        tell(&findings, terminal);
    }
    Ok(if findings.is_well() { Exit::Done } else { Exit::Failed })
}

async fn look_at_database(
    findings: &mut Findings,
    settings: &Settings,
    environment: &Environment,
) -> Result<(), CliError> {
    if settings.config.database.url.is_none() {
        let path = sqlite_path(settings, environment)?;
        if !path.exists() {
            findings.note(
                "database",
                Ok(format!("{} does not exist yet: the first task makes it", path.display())),
            );
            return Ok(());
        }
    }
    let database = Database::open(settings, environment).await?;
    let repository = database.repository();
    findings.note("database", Ok(format!("{} in {}", repository.engine().await?, database.place())));
    database.prepare().await?;
    findings.note("schema", Ok("is the one this program needs".to_owned()));
    if let Err(error) = repository.ping().await {
        let advice = error.advice().map_or(String::new(), |advice| format!(" ({advice})"));
        findings.note("database", Err(format!("takes no writes: {}{advice}", with_causes(&error))));
    }
    findings.stats = Some(repository.stats().await?);
    findings.workers = repository.workers().await?;
    findings.violations = repository.violations().await?;
    let violated = match findings.violations.len() {
        0 => Ok("all hold".to_owned()),
        several => Err(format!("{several} do not hold, see below")),
    };
    findings.note("invariants", violated);
    Ok(())
}

async fn look_at_queue(findings: &mut Findings, settings: &Settings) {
    let config = match queue_config(settings, "longhaul-doctor") {
        Ok(Some(config)) => config,
        Ok(None) => return findings.note("queue", Ok("the database: no Redis is configured".to_owned())),
        Err(error) => return findings.note("queue", Err(with_causes(&error))),
    };
    let answered = BullQueue::look_at(&config).await;
    // Work goes on without Redis, only less promptly; that it is away is wrong all the same.
    findings.note("queue", answered.map_err(|error| with_causes(&error)));
}

async fn look_at_models(findings: &mut Findings, settings: &Settings, environment: &Environment) {
    let look_up = |name: &str| environment.get(name);
    let models = match Models::open(&settings.config.models, &look_up).await {
        Ok(models) => models,
        Err(error) => return findings.note("models", Err(with_causes(&error))),
    };
    let default = models.default_name();
    let finding = match models.for_role(Role::Execute, None) {
        Ok(_) if models.is_offline() => {
            Ok(format!("{default}: no language model, goals are planned by rules"))
        }
        Ok(_) => Ok(default.to_string()),
        Err(error) => Err(with_causes(&error)),
    };
    findings.note("models", finding);
}

async fn look_at_tools(findings: &mut Findings, settings: &Settings, environment: &Environment) {
    let secrets = match Secrets::load(&settings.config.secrets, &|name| environment.get(name)) {
        Ok(secrets) => secrets,
        Err(error) => return findings.note("secrets", Err(with_causes(&error))),
    };
    let tools = match Toolbox::open_with(&settings.config.tools, secrets).await {
        Ok(tools) => tools,
        Err(error) => return findings.note("tools", Err(with_causes(&error))),
    };
    match tools.offered(&Default::default()) {
        Ok(offered) => {
            findings.note("tools", Ok(counted(offered.len() as u64, "tool")));
            look_at_schemas(findings, &offered);
        }
        Err(error) => findings.note("tools", Err(with_causes(&error))),
    }
    for server in tools.servers() {
        let name = format!("'{}' over {}", server.name, server.transport);
        let finding = match (server.connected, server.last_error) {
            (true, _) => Ok(format!("{name}: {}", counted(server.tools.len() as u64, "tool"))),
            (false, error) => Err(format!("{name}: {}", error.unwrap_or_else(|| "not connected".to_owned()))),
        };
        findings.note("tool server", finding);
    }
    tools.close().await;
}

/// A tool whose schema says nothing that could be checked can be called all the same.
fn look_at_schemas(findings: &mut Findings, offered: &[Arc<dyn Tool>]) {
    for tool in offered {
        let known = tool.description();
        if let Some(reason) = known.schema.unusable() {
            let detail = format!("the arguments for {} are not checked before a call: {reason}", known.name);
            findings.note("tool schema", Ok(detail));
        }
    }
}

fn tell(findings: &Findings, terminal: &Terminal) {
    let mut table = new_table(&["CHECK", "STATE", "DETAIL"]);
    for check in &findings.checks {
        let state = if check.ok { "ok" } else { "WRONG" };
        table.add_row([check.name, state, check.detail.as_str()]);
    }
    if let Some(stats) = &findings.stats {
        let tasks: Vec<String> =
            stats.tasks.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let tasks = if tasks.is_empty() { "none".to_owned() } else { tasks.join(", ") };
        table.add_row([
            "tasks",
            "",
            &format!("{tasks}; {} due, {} held by workers", stats.due, stats.leased),
        ]);
    }
    terminal.result(table.trim_fmt());
    if !findings.workers.is_empty() {
        terminal.result(format!("\n{}", workers(&findings.workers)));
    }
    if !findings.violations.is_empty() {
        let mut table = new_table(&["BROKEN INVARIANT", "ROWS", "TASKS"]);
        for violation in &findings.violations {
            let (rows, examples) = (violation.rows.to_string(), violation.examples.join(" "));
            table.add_row([violation.invariant, &rows, &examples]);
        }
        terminal.result(format!("\n{}", table.trim_fmt()));
    }
}

fn workers(workers: &[WorkerSummary]) -> String {
    let mut table = new_table(&["WORKER", "STATE", "VERSION", "TASKS", "SINCE", "SEEN"]);
    for worker in workers {
        let state = match worker.presence {
            Presence::Working => "working",
            Presence::Draining => "draining",
            Presence::Gone => "gone",
        };
        let tasks = format!("{}/{}", worker.tasks.len(), worker.info.concurrency);
        let (since, seen) = (worker.started_at.to_string(), worker.seen_at.to_string());
        table.add_row([&worker.info.name, state, &worker.info.version, &tasks, &since, &seen]);
    }
    table.trim_fmt()
}
