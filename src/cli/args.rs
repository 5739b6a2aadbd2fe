//! The command line as `clap` reads it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::Value;

use super::attach::AttachArgs;
use super::config::Overrides;
use super::fork::{DiffArgs, EffectsArg, ForkArgs, RetryArgs};
use super::recording::{ExportArgs, ImportArgs, ReplayArgs};
use super::schedule_args::ScheduleCommand;
use super::template_args::{ParameterArgs, TemplateCommand};
use super::{bench, duration, exit};
use crate::orchestrator::OutcomeDecision;
use crate::task::{ModelName, Priority, Status, TopUp, Usd};

/// Carries goals that are too big for one chat answer to their end.
///
/// A goal becomes a task: planned, executed step by step with models and tools, and written
/// down in a journal from which it goes on after any crash.
#[derive(Debug, Parser)]
#[command(name = "longhaul", version, after_help = exit::HELP, max_term_width = 100)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(super) struct Global {
    /// Configuration file [default: ./longhaul.toml, then the user's configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// SQLite file or postgres:// address [default: in the user's data directory]
    #[arg(long, global = true, value_name = "FILE|URL")]
    db: Option<String>,
    /// Model for everything, for example openai/gpt-5-mini
    #[arg(long, global = true, value_name = "PROVIDER/MODEL")]
    pub(super) model: Option<ModelName>,
    /// Directory the workspace tools work in [default: the working directory]
    #[arg(long, global = true, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// MCP servers as Claude Desktop, Cursor or VS Code keep them (may be repeated)
    #[arg(long, global = true, value_name = "FILE")]
    mcp_config: Vec<PathBuf>,
    /// What is logged to stderr, for example debug or longhaul=debug,warn
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

impl Global {
    /// What the flags say about the configuration.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            file: self.config.clone(),
            database: self.db.clone(),
            model: self.model.clone(),
            workspace: self.workspace.clone(),
            mcp_files: self.mcp_config.clone(),
            log: self.log.clone(),
        }
    }

    /// The options that say which database is meant, to be typed again.
    pub(super) fn to_look(&self) -> Vec<(&'static str, String)> {
        let config = self.config.as_ref().map(|path| ("--config", path.display().to_string()));
        let database = self.db.as_ref().map(|named| ("--db", named.clone()));
        config.into_iter().chain(database).collect()
    }

    /// The options that say besides how it is worked on.
    pub(super) fn to_work(&self) -> Vec<(&'static str, String)> {
        let model = self.model.as_ref().map(|model| ("--model", model.to_string()));
        let workspace = self.workspace.as_ref().map(|path| ("--workspace", path.display().to_string()));
        let servers = self.mcp_config.iter().map(|path| ("--mcp-config", path.display().to_string()));
        self.to_look().into_iter().chain(model).chain(workspace).chain(servers).collect()
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Carry a goal to its end, here and now
    Run(RunArgs),
    /// Serve the HTTP API and work on tasks
    Serve(ServeArgs),
    /// Work on tasks, without the HTTP API
    Worker,
    /// Look at tasks and steer them
    #[command(subcommand)]
    Task(TaskCommand),
    /// Show what tasks ask people: approvals, questions, unknown outcomes
    Inbox(InboxArgs),
    /// Start tasks at a time, or again and again
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Write templates, strategies with parameters, and run them
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Bring the tables of the database up to date
    Migrate(JsonArg),
    /// Check the database against the promises, the models and the tool servers
    Doctor(JsonArg),
    /// Remove old ended tasks, or their journals
    Prune(PruneArgs),
    /// Measure durable steps per second on this machine
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Command {
    /// Whether it makes the database if there is none: it puts something in, or waits for what others put
    /// in. The others only look at what is there.
    pub(super) fn makes_database(&self) -> bool {
        match self {
            Self::Run(run) => run.resume.is_none(),
            Self::Serve(_) | Self::Worker | Self::Migrate(_) | Self::Bench(_) => true,
            Self::Schedule(command) => matches!(command, ScheduleCommand::Add(_)),
            Self::Template(command) => matches!(command, TemplateCommand::Add { .. }),
            Self::Task(command) => matches!(command, TaskCommand::Import(_)),
            // It says itself that there is none.
            Self::Doctor(_) | Self::Completions { .. } => true,
            Self::Inbox(_) | Self::Prune(_) => false,
        }
    }

    /// Whether it goes on until it is told to stop.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Worker)
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What is to be reached
    #[arg(required_unless_present_any = ["resume", "template"])]
    pub(super) goal: Option<String>,
    /// Go on with a task that exists
    #[arg(long, value_name = "ID", conflicts_with_all = [
        "goal", "template", "param", "template_version", "preset", "agent", "priority", "max_tokens", "max_cost",
        "attach",
    ])]
    pub(super) resume: Option<String>,
    /// Carry out the plan in this JSON file instead of making one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "template"])]
    pub(super) plan: Option<std::path::PathBuf>,
    /// Take goal and steps from this template; a goal that is given wins
    #[arg(long, value_name = "NAME")]
    pub(super) template: Option<String>,
    #[command(flatten)]
    pub(super) parameters: ParameterArgs,
    #[command(flatten)]
    pub(super) options: RunOptions,
}

/// What a new task is told, and in which form it is shown.
#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// Begin from this preset of the configuration
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// Let this agent of the configuration do the work
    #[arg(long, value_name = "NAME")]
    pub(super) agent: Option<String>,
    /// How urgent it is, from 1 (most) to 5 (least)
    #[arg(long, value_name = "NUMBER", default_value_t)]
    pub(super) priority: Priority,
    /// Tokens it may consume at most, prompts and answers together
    #[arg(long, value_name = "NUMBER")]
    pub(super) max_tokens: Option<u64>,
    /// What its model calls may cost at most, in US dollars
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub(super) max_cost: Option<Usd>,
    #[command(flatten)]
    pub(super) attach: AttachArgs,
    /// One JSON object per journal entry, then one with the result
    #[arg(long)]
    pub(super) json: bool,
}

impl RunOptions {
    /// The flags of a run that takes everything from a template.
    pub(super) fn of_template(self, name: String, parameters: ParameterArgs) -> RunArgs {
        RunArgs { goal: None, resume: None, plan: None, template: Some(name), parameters, options: self }
    }
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port; beyond this machine only with CHAT_API_KEY [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) bind: Option<String>,
    /// Serve only: other processes work on the tasks
    #[arg(long)]
    pub(super) no_worker: bool,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct JsonArg {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// List tasks, newest first
    List(ListArgs),
    /// Show a task with its steps
    Show {
        #[command(flatten)]
        task: TaskArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Show the plan of a task, revision by revision
    Plan {
        #[command(flatten)]
        task: TaskArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Print the journal of a task
    Trace {
        #[command(flatten)]
        task: TaskArg,
        /// Only entries with a higher number
        #[arg(long, default_value_t = 0, value_name = "SEQ")]
        after: i64,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Follow the journal of a task until it ends or is paused
    Watch {
        #[command(flatten)]
        task: TaskArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Stop a task until it is resumed
    Pause(SteerArg),
    /// Let a paused task go on
    Resume {
        #[command(flatten)]
        task: SteerArg,
        /// How a call of unknown outcome ended: happened=JSON, did-not-happen, skip or fail
        #[arg(long, value_parser = outcome)]
        outcome: Option<OutcomeDecision>,
        /// Which call, if the outcome of several is unknown: the id of the request, as `longhaul inbox` shows it
        #[arg(long, value_name = "ID", requires = "outcome")]
        request: Option<String>,
    },
    /// Stop a task for good
    Cancel(SteerArg),
    /// Approve the call or the plan that a task asks approval for
    Approve {
        #[command(flatten)]
        task: SteerArg,
        #[command(flatten)]
        request: RequestArg,
        /// Call with these arguments instead, as a JSON object
        #[arg(long, value_name = "JSON", value_parser = object)]
        arguments: Option<Value>,
    },
    /// Deny what a task asks for
    Deny {
        #[command(flatten)]
        task: SteerArg,
        #[command(flatten)]
        request: RequestArg,
        /// Why; the model is told
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Answer the question that a task asks
    Answer {
        #[command(flatten)]
        task: SteerArg,
        /// A text, or JSON where that was asked for
        answer: String,
        #[command(flatten)]
        request: RequestArg,
    },
    /// Say whether what a step brought will do although it did not pass its checks
    Verdict {
        #[command(flatten)]
        task: SteerArg,
        /// Accept it, let the step try again, or fail the task
        #[arg(value_enum)]
        verdict: VerdictWord,
        #[command(flatten)]
        request: RequestArg,
    },
    /// Accept a tool that has changed since the plan was made, as it is now
    Accept {
        #[command(flatten)]
        task: SteerArg,
        #[command(flatten)]
        request: RequestArg,
    },
    /// Send a message to a task: its models read it at their next turn
    Tell(TellArgs),
    /// Say how urgent a task is from now on
    Prioritize {
        #[command(flatten)]
        task: SteerArg,
        /// From 1 (most urgent) to 5 (least urgent)
        priority: Priority,
    },
    /// Show what the next prompt of a task holds, and what was folded
    Context {
        #[command(flatten)]
        task: TaskArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Write down where a task stands, to go back there
    Checkpoint {
        #[command(flatten)]
        task: TaskArg,
        /// Take none; list those there are
        #[arg(long)]
        list: bool,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Put a paused task back to a checkpoint, and let it go on from there
    Restore {
        #[command(flatten)]
        task: SteerArg,
        /// The checkpoint's number, as `task checkpoint --list` shows it
        #[arg(long, value_name = "SEQ")]
        checkpoint: i64,
        #[command(flatten)]
        effects: EffectsArg,
    },
    /// Start a task that begins with what another one has recorded; --model is asked from there on
    Fork(ForkArgs),
    /// Start a new task in the place of one that has ended: its failed steps are done anew
    Retry(RetryArgs),
    /// Show two tasks side by side, step by step
    Diff(DiffArgs),
    /// Write a task as one file, with all that its journal names
    Export(ExportArgs),
    /// Take a task that was exported, as a record that never runs
    Import(ImportArgs),
    /// Carry a recorded task out again, offline, and say whether it goes the same way
    Replay(ReplayArgs),
    /// Show the budget of a task, or add to it
    Budget {
        #[command(flatten)]
        task: TaskArg,
        #[command(flatten)]
        add: AddArgs,
        #[command(flatten)]
        form: JsonArg,
    },
}

/// What is added to a budget.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// So many more tokens
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    add_tokens: u64,
    /// So many more US dollars
    #[arg(long, value_name = "USD", value_parser = dollars)]
    add_cost: Option<Usd>,
    /// So much more time, for example 30m or 2h
    #[arg(long, value_name = "SPAN", value_parser = duration::parse)]
    add_time: Option<Duration>,
    /// So many more model calls
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    add_model_calls: u32,
    /// So many more tool calls
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    add_tool_calls: u32,
    /// So many more steps
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    add_steps: u32,
}

impl AddArgs {
    /// The same as a fact says it.
    pub(super) fn top_up(&self) -> TopUp {
        let millis = self.add_time.unwrap_or_default().as_millis();
        TopUp {
            tokens: self.add_tokens,
            cost_usd: self.add_cost.unwrap_or_default(),
            wall_time_ms: u64::try_from(millis).unwrap_or(u64::MAX),
            model_calls: self.add_model_calls,
            tool_calls: self.add_tool_calls,
            steps: self.add_steps,
        }
    }
}

pub(super) fn dollars(text: &str) -> Result<Usd, String> {
    let amount = text.trim_start_matches('$').parse().ok().and_then(Usd::from_dollars);
    amount.ok_or_else(|| "an amount of US dollars, for example 2.50".to_owned())
}

/// Names a task.
#[derive(Debug, Args)]
pub(super) struct TaskArg {
    /// The task's id, or at least 4 characters of its beginning or end
    pub(super) id: String,
}

/// Names a task that something is decided about, and the form in which it is shown then.
#[derive(Debug, Args)]
pub(super) struct SteerArg {
    #[command(flatten)]
    pub(super) task: TaskArg,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

/// A message to a task.
#[derive(Debug, Args)]
pub(super) struct TellArgs {
    #[command(flatten)]
    pub(super) task: SteerArg,
    /// What it should know
    pub(super) text: String,
    #[command(flatten)]
    pub(super) attach: AttachArgs,
}

/// What a person says about a step that did not pass its checks.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum VerdictWord {
    /// It will do.
    Accept,
    /// Let it try again.
    Retry,
    /// Give the task up.
    Fail,
}

/// Names one of several open requests of a task.
#[derive(Debug, Args)]
pub(super) struct RequestArg {
    /// Which request, if the task has several open ones: its id, as `longhaul inbox --json` shows it
    #[arg(long, value_name = "ID")]
    pub(super) request: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct InboxArgs {
    /// Only of this task: its id, or at least 4 characters of its beginning or end
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    pub(super) task: Option<String>,
    /// Only of tasks of this user
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// Look at no more than so many tasks
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only tasks with this status (may be repeated)
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub(super) status: Vec<Status>,
    /// Only tasks of this conversation
    #[arg(long, value_name = "ID")]
    pub(super) thread: Option<String>,
    /// Only tasks of this user
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// Only tasks that are nobody's sub-tasks
    #[arg(long)]
    pub(super) roots: bool,
    /// Only tasks whose goal has all of these words in it, in capitals or not
    #[arg(long, value_name = "WORDS")]
    pub(super) search: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true, id = "ages")]
pub(super) struct PruneArgs {
    /// Remove tasks that ended longer ago than this, for example 30d
    #[arg(long, value_name = "AGE", value_parser = duration::parse, group = "ages")]
    pub(super) tasks: Option<Duration>,
    /// Remove journals of tasks that ended longer ago than this, for example 7d
    #[arg(long, value_name = "AGE", value_parser = duration::parse, group = "ages")]
    pub(super) traces: Option<Duration>,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

fn status(word: &str) -> Result<Status, String> {
    Status::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
        format!("one of {} is needed", words.join(", "))
    })
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("a JSON object is needed, like {\"amount\": 7}".to_owned()),
        Err(error) => Err(format!("this is not JSON: {error}")),
    }
}

fn outcome(text: &str) -> Result<OutcomeDecision, String> {
    match text.split_once('=') {
        Some(("happened", result)) => {
            let result: Value = serde_json::from_str(result).map_err(|error| {
                format!("the result is not JSON ({error}): texts need quotes, \"like this\"")
            })?;
            Ok(OutcomeDecision::Happened(result))
        }
        None if text == "did-not-happen" => Ok(OutcomeDecision::DidNotHappen),
        None if text == "skip" => Ok(OutcomeDecision::Skip),
        None if text == "fail" => Ok(OutcomeDecision::Fail),
        _ => Err("write happened=JSON, did-not-happen, skip or fail".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use serde_json::json;

    use super::*;

    fn read(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(std::iter::once("longhaul").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_help_is_what_was_agreed() {
        let mut command = CommandLine::command();
        command.build();
        let mut text = command.render_long_help().to_string();
        for sub in command.get_subcommands_mut() {
            let name = sub.get_name().to_owned();
            text.push_str(&format!("\n======== {name}\n{}", sub.render_help()));
            for task in sub.get_subcommands_mut() {
                let help = task.render_help();
                text.push_str(&format!("\n======== {name} {}\n{help}", task.get_name()));
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn global_flags_stand_anywhere() {
        for line in ["--db x.db run goal", "run goal --db x.db"] {
            assert_eq!(read(line).unwrap().global.overrides().database.as_deref(), Some("x.db"));
        }
    }

    #[test]
    fn a_run_needs_a_goal_or_a_task_and_not_both() {
        assert!(read("run").is_err());
        assert!(read("run --resume 1234").is_ok());
        assert!(read("run goal --resume 1234").is_err());
        assert!(read("run --template t --resume 1234").is_err());
        assert!(read("run --template t --param a=b").is_ok());
        assert!(read("template run t --param a").is_err());
    }

    #[test]
    fn pruning_removes_nothing_that_was_not_named() {
        assert!(read("prune").is_err());
        assert!(read("prune --json").is_err());
        let Command::Prune(args) = read("prune --traces 7d").unwrap().command else { panic!() };
        assert_eq!((args.tasks, args.traces), (None, Some(Duration::from_secs(7 * 86_400))));
        assert!(read("prune --tasks 30d --traces 7d").is_ok());
    }

    #[test]
    fn outcomes_are_read() {
        assert_eq!(outcome(r#"happened={"id":1}"#), Ok(OutcomeDecision::Happened(json!({"id": 1}))));
        assert_eq!(outcome("did-not-happen"), Ok(OutcomeDecision::DidNotHappen));
        assert!(outcome("happened=done").unwrap_err().contains("quotes"));
        assert!(outcome("maybe").is_err());
    }

    #[test]
    fn a_model_without_a_provider_is_refused() {
        assert!(read("run goal --model gpt-5").unwrap_err().to_string().contains("provider/model"));
    }
}
