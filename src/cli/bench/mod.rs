//! `longhaul bench`: durable steps per second through the real repository, queue, worker and
//! executor.
//!
//! The tasks are made while the worker is at work, within what is measured. Every step is one call of a tool that does
//! nothing but return a text, and every step is durable before the next one starts.

mod arena;
mod baseline;
mod figures;
mod noop;
mod process;

use std::path::PathBuf;

use clap::Args;

use self::arena::Arena;
use self::figures::{Claims, Figures, Load};
use super::Exit;
use super::config::{Environment, Settings};
use super::error::CliError;
use super::terminal::Terminal;

/// Steps of the task that runs alone.
const LONE_STEPS: u32 = 200;

/// What to measure.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Tasks
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tasks: u32,
    /// Steps of each task
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// Bytes that each step returns
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=8_000_000))]
    payload: u32,
    /// Tasks worked on at the same time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// Where the temporary SQLite file goes [default: ./target if there is one, else the user's
    /// data directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also measure claims of five tasks while so many wait
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(5000..=10_000_000))]
    waiting: Option<u32>,
    /// Let a user have so many of these at work, and all but a hundredth of them be one user's
    #[arg(long, value_name = "TASKS", requires = "waiting", default_value_t = 0)]
    per_user: u32,
    /// Measure the disk (SQLite) or pgbench -N (PostgreSQL) in the same run, for the ratio
    #[arg(long)]
    baseline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the benchmark.
pub(super) async fn run(
    settings: &Settings,
    environment: &Environment,
    args: &BenchArgs,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let arena = Arena::open(settings, environment, args.dir.as_deref()).await?;
    terminal.note(format!("database: {}", arena.describe().await?));
    let load =
        Load { tasks: args.tasks, steps: args.steps, payload: args.payload, concurrency: args.concurrency };
    let lone = arena.measure(&Load { tasks: 1, steps: LONE_STEPS, concurrency: 1, ..load }).await?;
    terminal.note(format!("one task alone is done, making {} tasks", load.tasks));
    let full = arena.measure(&load).await?;
    let baseline = if args.baseline { Some(arena.baseline(load.concurrency).await?) } else { None };
    let claims = match args.waiting {
        Some(waiting) => {
            let per_user = args.per_user;
            Some(Claims { waiting, per_user, took: arena.claims(waiting, per_user).await? })
        }
        None => None,
    };
    let figures = Figures { engine: arena.engine().await?, load, lone, full, claims, baseline };
    terminal.result(if args.json { figures.json().to_string() } else { figures.table() });
    arena.close();
    Ok(Exit::Done)
}
