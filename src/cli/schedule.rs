//! `longhaul schedule …`: what is to be started when.

use std::path::Path;

use serde_json::{Map, json};

use super::display::{cut, one_line};
use super::error::CliError;
use super::schedule_args::{AddArgs, ChangeArgs, ScheduleArg, ScheduleCommand, TaskFlags, TimingArgs};
use super::task::{new_table, told};
use super::template_args::ParameterArgs;
use super::terminal::{Terminal, cell};
use super::wiring::Engine;
use super::{Exit, ids, plan, template};
use crate::orchestrator::{OrchestratorError, ScheduleWish};
use crate::repository::{Schedule, ScheduleId, ScheduledTask, Timing};
use crate::task::{Budget, ModelName, TaskId, Timestamp};

/// Schedules looked through at once.
const PAGE: u32 = 1_000;

/// Fire times that are told in advance.
const UPCOMING: usize = 5;

/// How much of a name a table shows.
const CELL: usize = 50;

/// Runs a command.
pub(super) async fn run(
    engine: &Engine,
    command: ScheduleCommand,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let brain = &engine.orchestrator;
    match command {
        ScheduleCommand::Add(args) => add(engine, *args, model, terminal).await,
        ScheduleCommand::List { user, form } => list(engine, user.as_deref(), form.json, terminal).await,
        ScheduleCommand::Show { schedule, form } => {
            show(engine, &find(engine, &schedule).await?, form.json, terminal)
        }
        ScheduleCommand::Change(args) => change(engine, *args, model, terminal).await,
        ScheduleCommand::Pause { schedule, form } => {
            let id = find(engine, &schedule).await?.id;
            show(engine, &brain.pause_schedule(id).await?, form.json, terminal)
        }
        ScheduleCommand::Resume { schedule, form } => {
            let id = find(engine, &schedule).await?.id;
            show(engine, &brain.resume_schedule(id).await?, form.json, terminal)
        }
        ScheduleCommand::Trigger { schedule, form } => {
            let task = brain.trigger_schedule(find(engine, &schedule).await?.id, None).await?;
            terminal.tell_who_goes_on(task.id);
            told(engine, &task, form, terminal).await
        }
        ScheduleCommand::Remove { schedule, form } => {
            let Schedule { id, name, .. } = find(engine, &schedule).await?;
            brain.delete_schedule(id).await?;
            match form.json {
                true => terminal.result(json!({"id": id, "name": name, "removed": true}).to_string()),
                false => terminal.result(format!("{id} removed")),
            }
            Ok(Exit::Done)
        }
    }
}

async fn add(
    engine: &Engine,
    args: AddArgs,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let task = task_of(engine, args.task, args.goal, ScheduledTask::default(), model).await?;
    let wish = wish(args.timing, args.name, Some(task));
    let schedule = engine.orchestrator.create_schedule(&engine.settings.user, wish, None).await?;
    terminal.note("A running worker starts it in time: longhaul serve, or longhaul worker");
    show(engine, &schedule, args.form.json, terminal)
}

async fn change(
    engine: &Engine,
    args: ChangeArgs,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let Schedule { id, task, .. } = find(engine, &args.schedule).await?;
    let says_what = args.task != TaskFlags::default() || args.goal.is_some() || model.is_some();
    // The other source of steps takes the place of this one, and of the goal that went with it.
    let base = match (&args.task.template, &args.task.plan) {
        (Some(_), _) => ScheduledTask { goal: String::new(), plan: None, parameters: Map::new(), ..task },
        (None, Some(_)) => ScheduledTask { template: None, parameters: Map::new(), ..task },
        (None, None) => task,
    };
    let task = match says_what {
        true => Some(task_of(engine, args.task, args.goal, base, model).await?),
        false => None,
    };
    let changed = engine.orchestrator.change_schedule(id, wish(args.timing, args.name, task)).await?;
    show(engine, &changed, args.form.json, terminal)
}

fn wish(timing: TimingArgs, name: Option<String>, task: Option<ScheduledTask>) -> ScheduleWish {
    let TimingArgs { cron, time_zone, at, overlap } = timing;
    ScheduleWish { name, cron, time_zone, at, overlap, task }
}

/// What tasks are asked with: what flags say, else what the file says that they name, else what was before.
async fn task_of(
    engine: &Engine,
    flags: TaskFlags,
    goal: Option<String>,
    before: ScheduledTask,
    model: Option<ModelName>,
) -> Result<ScheduledTask, CliError> {
    let base = flags.task.as_deref().map(brought).transpose()?.unwrap_or(before);
    let mut parameters = base.parameters.clone();
    if let Some(name) = flags.template.as_ref().or(base.template.as_ref().filter(|_| !flags.param.is_empty()))
    {
        let given = ParameterArgs { param: flags.param, template_version: None };
        let given = template::named(engine, name, &given).await?.parameters;
        if flags.template.is_some() {
            parameters.clear();
        }
        parameters.extend(given);
    } else if !flags.param.is_empty() {
        let problem = "a parameter needs a template: name one with --template";
        return Err(CliError::usage("template_missing", problem.to_owned()));
    }
    let budget = base.budget.unwrap_or_default();
    let budget = Budget {
        tokens: flags.max_tokens.or(budget.tokens),
        cost_usd: flags.max_cost.or(budget.cost_usd),
        ..budget
    };
    Ok(ScheduledTask {
        goal: goal.unwrap_or(base.goal),
        template: flags.template.or(base.template),
        parameters,
        thread_id: flags.thread.or(base.thread_id),
        chat_model: model.or(base.chat_model),
        agent_id: flags.agent.or(base.agent_id),
        preset: flags.preset.or(base.preset),
        priority: flags.priority.or(base.priority),
        budget: (budget != Budget::default()).then_some(budget),
        plan: flags.plan.as_deref().map(plan::read).transpose()?.or(base.plan),
        ..base
    })
}

/// What tasks are asked with, as a file says it.
fn brought(path: &Path) -> Result<ScheduledTask, CliError> {
    let refused = |problem: String| CliError::usage("task_file", format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refused(error.to_string()))
}

/// All schedules, newest first; of all users if none is named.
async fn all(engine: &Engine, user: Option<&str>) -> Result<Vec<Schedule>, CliError> {
    let mut schedules: Vec<Schedule> = Vec::new();
    loop {
        let before: Option<ScheduleId> = schedules.last().map(|last| last.id);
        let page = engine.repository().schedules(user, before, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        schedules.extend(page);
        if is_last {
            return Ok(schedules);
        }
    }
}

/// The schedule that a text names.
async fn find(engine: &Engine, named: &ScheduleArg) -> Result<Schedule, CliError> {
    let text = named.schedule.trim().trim_start_matches('…');
    let mut schedules = all(engine, None).await?;
    let lower = text.to_lowercase();
    let is_id = |schedule: &Schedule| lower.len() >= 4 && ids::is_named(TaskId(schedule.id.0), &lower);
    schedules.retain(|schedule| schedule.name == text || is_id(schedule));
    match schedules.len() {
        0 => Err(OrchestratorError::NoSchedule.into()),
        1 => Ok(schedules.remove(0)),
        several => {
            let message = format!("'{text}' names {several} schedules: give more of the id");
            Err(CliError::usage("schedule_ambiguous", message))
        }
    }
}

async fn list(
    engine: &Engine,
    user: Option<&str>,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let schedules = all(engine, user).await?;
    if as_json {
        terminal.result(json!(schedules).to_string());
    } else if schedules.is_empty() {
        terminal.note("There are no schedules.");
    } else {
        let mut table = new_table(&["ID", "NEXT", "RUNS", "SKIPPED", "WHEN", "NAME"]);
        for schedule in &schedules {
            table.add_row([
                ids::short(TaskId(schedule.id.0)),
                next(schedule),
                schedule.runs.to_string(),
                schedule.skipped.to_string(),
                when(&schedule.timing),
                cut(&one_line(&schedule.name), cell(CELL)),
            ]);
        }
        terminal.result(table.trim_fmt());
    }
    Ok(Exit::Done)
}

fn next(schedule: &Schedule) -> String {
    match schedule.next_at {
        _ if schedule.paused => "paused".to_owned(),
        Some(at) => at.to_datetime().format("%Y-%m-%d %H:%M").to_string(),
        None => "over".to_owned(),
    }
}

fn when(timing: &Timing) -> String {
    match timing {
        Timing::Cron { cron, time_zone } => format!("{cron} ({time_zone})"),
        Timing::At { at } => at.to_string(),
    }
}

fn show(engine: &Engine, schedule: &Schedule, as_json: bool, terminal: &Terminal) -> Result<Exit, CliError> {
    let upcoming = engine.orchestrator.upcoming(schedule, UPCOMING);
    if as_json {
        let mut shown = json!(schedule);
        shown["upcoming"] = json!(upcoming);
        terminal.result(shown.to_string());
        return Ok(Exit::Done);
    }
    terminal.facts(facts(schedule, &upcoming));
    Ok(Exit::Done)
}

fn facts(schedule: &Schedule, upcoming: &[Timestamp]) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Schedule", schedule.id.to_string()),
        ("Name", one_line(&schedule.name)),
        ("Goal", one_line(&schedule.task.goal)),
        ("When", when(&schedule.timing)),
        ("Overlap", schedule.overlap.as_str().to_owned()),
        ("Runs", format!("{}, {} skipped", schedule.runs, schedule.skipped)),
    ];
    let task = &schedule.task;
    facts.extend(task.template.as_ref().map(|name| ("Template", one_line(name))));
    facts.extend(task.parameters.iter().map(|(name, value)| ("Parameter", format!("{name} {value}"))));
    facts.extend(schedule.paused.then(|| ("Paused", "until it is resumed".to_owned())));
    facts.extend(schedule.task_id.map(|task| ("Last task", task.to_string())));
    facts.extend(schedule.fault.as_ref().map(|fault| ("Fault", one_line(fault))));
    facts.extend(upcoming.iter().map(|at| ("Next", at.to_string())));
    facts
}
