//! The command line: wires all rooms together; configuration, signals, exit codes.
//!
//! ```text
//! arguments ─▶ settings ─▶ log ─▶ rooms ─▶ command ─▶ exit code
//! ```
//!
//! An error is printed in one place, here, with its causes, its code and what to do.

mod admin;
mod args;
mod attach;
mod bench;
mod beside;
mod budget;
mod clock;
pub mod config;
mod context;
mod display;
mod duration;
mod error;
mod exit;
mod follow;
mod fork;
mod ids;
mod inbox;
mod logging;
mod plan;
mod recording;
mod run;
mod schedule;
mod schedule_args;
mod serve;
mod signals;
mod task;
mod template;
mod template_args;
mod terminal;
mod watch;
mod way_on;
mod wiring;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::args::{Command, CommandLine, Global, TaskCommand};
use self::config::{Environment, Settings};
use self::schedule_args::ScheduleCommand;
use self::template_args::TemplateCommand;
use self::terminal::Terminal;
use self::wiring::{Engine, require_database};

pub use error::CliError;
pub use exit::Exit;

/// Runs the command line of this process and says how it ended.
pub fn main() -> ExitCode {
    // Usage errors, `--help` and `--version` end here: clap prints them and exits with 2 or 0.
    let CommandLine { global, command } = CommandLine::parse();
    let terminal = Terminal::of_process(&global);
    let ended = match runtime() {
        Ok(runtime) => {
            let ended = runtime.block_on(dispatch(command, &global, &terminal));
            // A blocking call that nobody waits for must not keep the process.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(CliError::failed("no_threads", "no threads can be started", Some(error))),
    };
    let unprinted = terminal.failure();
    match ended.and_then(|exit| exit.unless(unprinted)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal.warn(error.render());
            // A program that asked for JSON reads it also when nothing could begin.
            if std::env::args().any(|argument| argument == "--json") {
                terminal.result(error.to_json().to_string());
            }
            error.exit().into()
        }
    }
}

/// What is logged where nothing is configured: the libraries say in their own words what ours say better,
/// and with whole addresses, in which keys may stand.
const STAYING: &str = "info,rmcp=error,rmcp::transport::worker=off,genai=off,bullmq=off,sqlx=error";
const PASSING: &str = "warn,rmcp=error,rmcp::transport::worker=off,genai=off,bullmq=off,sqlx=error";

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn dispatch(command: Command, global: &Global, terminal: &Terminal) -> Result<Exit, CliError> {
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut CommandLine::command(), "longhaul", &mut script);
        terminal.result(String::from_utf8_lossy(&script).trim_end());
        return Ok(Exit::Done);
    }
    if let Command::Task(TaskCommand::Replay(args)) = &command
        && args.is_of_file()
    {
        return recording::replay_file(args, terminal).await;
    }
    let environment = Environment::of_process();
    let settings = Settings::load(&global.overrides(), &environment)?;
    logging::start(&settings.config.log, if command.stays() { STAYING } else { PASSING }, terminal)?;
    if !command.makes_database() {
        require_database(&settings, &environment)?;
    }
    match command {
        Command::Migrate(form) => admin::migrate(&settings, &environment, form, terminal).await,
        Command::Doctor(form) => admin::doctor(&settings, &environment, form.json, terminal).await,
        Command::Prune(args) => admin::prune(&settings, &environment, &args, terminal).await,
        Command::Bench(args) => bench::run(&settings, &environment, &args, terminal).await,
        Command::Task(command) => {
            let engine = match command {
                TaskCommand::Context { .. } => Engine::looking(settings, &environment).await?,
                _ => Engine::steering(settings, &environment).await?,
            };
            let ended = task::run(&engine, command, global.model.clone(), terminal).await;
            engine.close().await;
            ended
        }
        // A trigger makes a plan: it needs models and tools.
        Command::Schedule(command) if !matches!(command, ScheduleCommand::Trigger { .. }) => {
            let engine = Engine::steering(settings, &environment).await?;
            let ended = schedule::run(&engine, command, global.model.clone(), terminal).await;
            engine.close().await;
            ended
        }
        Command::Template(command) if !matches!(command, TemplateCommand::Run(_)) => {
            let engine = Engine::steering(settings, &environment).await?;
            let ended = template::run(&engine, command, None, terminal).await;
            engine.close().await;
            ended
        }
        Command::Inbox(args) => {
            let engine = Engine::steering(settings, &environment).await?;
            let ended = inbox::list(&engine, &args, terminal).await;
            engine.close().await;
            ended
        }
        command => work(command, settings, &environment, global, terminal).await,
    }
}

/// The commands that need models and tools.
async fn work(
    command: Command,
    settings: Settings,
    environment: &Environment,
    global: &Global,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let engine = Engine::open(settings, environment, command.stays(), terminal).await?;
    let ended = match command {
        Command::Run(args) => run::run(&engine, args, global.model.clone(), terminal).await,
        Command::Schedule(command) => schedule::run(&engine, command, global.model.clone(), terminal).await,
        Command::Template(command) => template::run(&engine, command, global.model.clone(), terminal).await,
        Command::Serve(args) => serve::serve(&engine, &args, terminal).await,
        _ => serve::work(&engine, terminal).await,
    };
    engine.close().await;
    ended
}
