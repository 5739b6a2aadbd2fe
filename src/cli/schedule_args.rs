//! The flags of `longhaul schedule …`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::args::{JsonArg, dollars};
use super::template_args::pair;
use crate::repository::Overlap;
use crate::task::{Priority, Timestamp, Usd};

#[derive(Debug, Subcommand)]
pub(super) enum ScheduleCommand {
    /// Start a task at a time, or again and again
    Add(Box<AddArgs>),
    /// List schedules, newest first
    List {
        /// Only schedules of this user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Show a schedule with its next fire times
    Show {
        #[command(flatten)]
        schedule: ScheduleArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Change a schedule: what is not said stays as it is
    Change(Box<ChangeArgs>),
    /// Let a schedule start nothing until it is resumed
    Pause {
        #[command(flatten)]
        schedule: ScheduleArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Let a paused schedule go on
    Resume {
        #[command(flatten)]
        schedule: ScheduleArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Start the task of a schedule now
    Trigger {
        #[command(flatten)]
        schedule: ScheduleArg,
        #[command(flatten)]
        form: JsonArg,
    },
    /// Forget a schedule; its tasks stay
    Remove {
        #[command(flatten)]
        schedule: ScheduleArg,
        #[command(flatten)]
        form: JsonArg,
    },
}

/// Names a schedule.
#[derive(Debug, Args)]
pub(super) struct ScheduleArg {
    /// Its name, its id, or at least 4 characters of the id's beginning or end
    pub(super) schedule: String,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("when").args(["cron", "at"]).required(true),
    group = ArgGroup::new("filled").arg("param").requires("template"),
)]
pub(super) struct AddArgs {
    /// What is to be reached each time [default: the goal of the template]
    #[arg(required_unless_present_any = ["template", "task"])]
    pub(super) goal: Option<String>,
    #[command(flatten)]
    pub(super) timing: TimingArgs,
    /// Its name, which no other schedule of its user has [default: the beginning of the goal]
    #[arg(long)]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) task: TaskFlags,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub(super) schedule: ScheduleArg,
    /// What is to be reached each time
    #[arg(long)]
    pub(super) goal: Option<String>,
    #[command(flatten)]
    pub(super) timing: TimingArgs,
    /// Call it so
    #[arg(long)]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) task: TaskFlags,
    #[command(flatten)]
    pub(super) form: JsonArg,
}

/// When a schedule starts its tasks.
#[derive(Debug, Args)]
pub(super) struct TimingArgs {
    /// Minute, hour, day of the month, month, day of the week: '0 9 * * 1-5'; or @daily and the like
    #[arg(long, value_name = "PATTERN", conflicts_with = "at")]
    pub(super) cron: Option<String>,
    /// Whose clock the pattern is about, for example Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", conflicts_with = "at")]
    pub(super) time_zone: Option<String>,
    /// Once, at this moment, for example 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) at: Option<Timestamp>,
    /// What happens while the last task has not ended: skip or allow [default: skip]
    #[arg(long, value_name = "WORD", value_parser = overlap)]
    pub(super) overlap: Option<Overlap>,
}

/// What the tasks of a schedule are asked with.
#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct TaskFlags {
    /// The template that its tasks are made from, each time in its newest version
    #[arg(long, value_name = "NAME")]
    pub(super) template: Option<String>,
    /// A parameter of the template (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) param: Vec<(String, String)>,
    /// The conversation of its tasks [default: one of its own]
    #[arg(long, value_name = "ID")]
    pub(super) thread: Option<String>,
    /// The preset of the configuration that its tasks begin from
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// The agent of the configuration that does the work
    #[arg(long, value_name = "NAME")]
    pub(super) agent: Option<String>,
    /// How urgent its tasks are, from 1 (most) to 5 (least)
    #[arg(long, value_name = "NUMBER")]
    pub(super) priority: Option<Priority>,
    /// Tokens that each may consume at most, prompts and answers together
    #[arg(long, value_name = "NUMBER")]
    pub(super) max_tokens: Option<u64>,
    /// What the model calls of each may cost at most, in US dollars
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub(super) max_cost: Option<Usd>,
    /// Let its tasks carry out the plan in this JSON file instead of making one each time
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    pub(super) plan: Option<PathBuf>,
    /// Take what else its tasks are asked with from this JSON file: tools, approvals, budget, as `task` of POST
    /// /api/schedules; what the other flags say wins
    #[arg(long, value_name = "FILE")]
    pub(super) task: Option<PathBuf>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("{error}: write for example 2026-12-01T09:00:00Z"))
}

fn overlap(word: &str) -> Result<Overlap, String> {
    word.parse().map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::CommandLine;

    fn is_read(words: &[&str]) -> bool {
        let line = ["longhaul", "schedule", "add", "goal"].iter().chain(words);
        CommandLine::try_parse_from(line).is_ok()
    }

    #[test]
    fn a_schedule_has_a_goal_or_a_template() {
        let is_read = |words: &[&str]| {
            let line = ["longhaul", "schedule", "add", "--cron", "@daily"];
            CommandLine::try_parse_from(line.iter().chain(words)).is_ok()
        };
        assert!(is_read(&["--template", "poem", "--param", "topic=tea", "--agent", "poet"]));
        assert!(is_read(&["Write", "--template", "poem", "--max-tokens", "1000", "--max-cost", "0.5"]));
        assert!(is_read(&["--task", "news.json"]));
        assert!(!is_read(&[]));
        assert!(!is_read(&["Write", "--template", "poem", "--plan", "plan.json"]));
        assert!(!is_read(&["Write", "--param", "topic=tea"]));
        assert!(!is_read(&["--template", "poem", "--param", "topic"]));
    }

    #[test]
    fn a_schedule_has_a_pattern_or_a_moment() {
        assert!(is_read(&["--cron", "0 9 * * 1-5", "--time-zone", "Europe/Berlin", "--overlap", "allow"]));
        assert!(is_read(&["--at", "2026-12-01T09:00:00+01:00"]));
        assert!(!is_read(&[]));
        assert!(!is_read(&["--cron", "@daily", "--at", "2026-12-01T09:00:00Z"]));
        assert!(!is_read(&["--at", "2026-12-01T09:00:00Z", "--time-zone", "UTC"]));
        assert!(!is_read(&["--at", "tomorrow"]));
        assert!(!is_read(&["--cron", "@daily", "--overlap", "perhaps"]));
    }
}
