//! `longhaul task …`: looks at tasks and steers them.

use comfy_table::{Table, presets};
use serde_json::json;

use super::args::{JsonArg, ListArgs, SteerArg, TaskCommand};
use super::display::{Form, cut, entry_json, one_line, readable, said};
use super::error::CliError;
use super::follow::Follower;
use super::terminal::{Terminal, cell};
use super::watch::{Watch, took, waiting};
use super::wiring::Engine;
use super::{Exit, budget, context, duration, fork, ids, inbox, plan, recording, signals, way_on};
use crate::orchestrator::requests_about_outcomes;
use crate::repository::{ListFilter, RepositoryError, TaskSummary};
use crate::server::task_as_shown;
use crate::task::{CallSubject, EffectRecord, ModelName, Step, Task, TaskId, counted};

/// How much of a goal or a description a table shows.
const CELL: usize = 60;

/// Sub-tasks that are shown with a task, at most.
const CHILDREN: u32 = 200;

/// Runs a command. `model` is the one that the command line names.
pub(super) async fn run(
    engine: &Engine,
    command: TaskCommand,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    match command {
        TaskCommand::List(args) => list(engine, &args, terminal).await,
        TaskCommand::Show { task, form } => {
            show(&load(engine, &task.id).await?, form.json, engine, terminal).await
        }
        TaskCommand::Plan { task, form } => {
            plan::show(engine, &load(engine, &task.id).await?, form.json, terminal).await
        }
        TaskCommand::Trace { task, after, form } => {
            let id = find(engine, &task.id).await?;
            trace(engine, id, after, form.json, terminal).await
        }
        TaskCommand::Watch { task, form } => {
            let form = if form.json { Form::Json } else { Form::Lines };
            watch(engine, load(engine, &task.id).await?, form, terminal).await
        }
        TaskCommand::Pause(task) => pause(engine, &task, terminal).await,
        TaskCommand::Resume { task, outcome: Some(outcome), request } => {
            inbox::outcome(engine, &task, request.as_deref(), outcome, terminal).await
        }
        TaskCommand::Resume { task, .. } => resume(engine, &task, terminal).await,
        TaskCommand::Cancel(task) => {
            let (id, by) = (find(engine, &task.task.id).await?, &engine.settings.user);
            told(engine, &engine.orchestrator.cancel(id, by).await?, task.form, terminal).await
        }
        TaskCommand::Approve { task, request, arguments } => {
            inbox::approve(engine, &task, request.request.as_deref(), arguments, terminal).await
        }
        TaskCommand::Deny { task, request, reason } => {
            inbox::deny(engine, &task, request.request.as_deref(), reason, terminal).await
        }
        TaskCommand::Answer { task, answer, request } => {
            inbox::answer(engine, &task, request.request.as_deref(), answer, terminal).await
        }
        TaskCommand::Verdict { task, verdict, request } => {
            inbox::verdict(engine, &task, request.request.as_deref(), verdict, terminal).await
        }
        TaskCommand::Accept { task, request } => inbox::accept(engine, &task, &request, terminal).await,
        TaskCommand::Tell(told) => inbox::tell(engine, &told, terminal).await,
        TaskCommand::Prioritize { task, priority } => {
            let (id, by) = (find(engine, &task.task.id).await?, &engine.settings.user);
            let changed = engine.orchestrator.prioritize(id, priority, by).await?;
            told(engine, &changed, task.form, terminal).await
        }
        TaskCommand::Context { task, form } => {
            context::show(engine, find(engine, &task.id).await?, form.json, terminal).await
        }
        TaskCommand::Checkpoint { task, list, form } => {
            context::checkpoint(engine, find(engine, &task.id).await?, list, form.json, terminal).await
        }
        TaskCommand::Restore { task, checkpoint, effects } => {
            context::restore(engine, &task, checkpoint, &effects, terminal).await
        }
        TaskCommand::Fork(args) => fork::fork(engine, args, model, terminal).await,
        TaskCommand::Retry(args) => fork::retry(engine, args, terminal).await,
        TaskCommand::Diff(args) => fork::diff(engine, &args, terminal).await,
        TaskCommand::Export(args) => recording::export(engine, args, terminal).await,
        TaskCommand::Import(args) => recording::import(engine, args, terminal).await,
        TaskCommand::Replay(args) => recording::replay_task(engine, &args, terminal).await,
        TaskCommand::Budget { task, add, form } => {
            budget::run(engine, find(engine, &task.id).await?, &add, form.json, terminal).await
        }
    }
}

pub(super) async fn find(engine: &Engine, text: &str) -> Result<TaskId, CliError> {
    ids::resolve(engine.repository().as_ref(), text).await
}

pub(super) async fn load(engine: &Engine, text: &str) -> Result<Task, CliError> {
    let id = find(engine, text).await?;
    let task = engine.repository().load(id).await?;
    Ok(task.ok_or(RepositoryError::NotFound)?)
}

/// Says how a task stands about which something was decided.
pub(super) async fn told(
    engine: &Engine,
    task: &Task,
    form: JsonArg,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    match form.json {
        true => terminal.result(task_as_shown(&engine.orchestrator, task, None).await?.to_string()),
        false => terminal.result(format!("{} {}", task.id, task.status())),
    }
    Ok(Exit::Done)
}

/// Pauses a task and says what becomes of the calls that are in flight.
async fn pause(engine: &Engine, named: &SteerArg, terminal: &Terminal) -> Result<Exit, CliError> {
    let id = find(engine, &named.task.id).await?;
    let task = engine.orchestrator.pause(id, &engine.settings.user).await?;
    for (step, call) in task.calls_in_flight() {
        let what = match &call.subject {
            CallSubject::Model { model, .. } => model.to_string(),
            CallSubject::Tool { tool, .. } => tool.clone(),
        };
        let then = match call.is_called_off() {
            true => "is called off and called again once the task goes on",
            false => "is left to end, and its outcome is recorded",
        };
        terminal.note(format!("In flight in step {}: {what} {then}", step + 1));
    }
    told(engine, &task, named.form, terminal).await
}

async fn resume(engine: &Engine, named: &SteerArg, terminal: &Terminal) -> Result<Exit, CliError> {
    let id = find(engine, &named.task.id).await?;
    let task = engine.orchestrator.resume(id, &engine.settings.user).await?;
    terminal.tell_who_goes_on(task.id);
    told(engine, &task, named.form, terminal).await
}

async fn list(engine: &Engine, args: &ListArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let filter = ListFilter {
        user_id: args.user.clone(),
        thread_id: args.thread.clone(),
        statuses: args.status.clone(),
        roots: args.roots,
        words: args.search.iter().flat_map(|words| words.split_whitespace()).map(str::to_owned).collect(),
        limit: args.limit,
        ..ListFilter::default()
    };
    let tasks = engine.repository().list(&filter).await?;
    if args.form.json {
        terminal.result(json!(tasks).to_string());
    } else if tasks.is_empty() {
        terminal.note("There are no such tasks.");
    } else {
        let mut table = new_table(&["ID", "STATUS", "STEPS", "CREATED", "GOAL"]);
        for task in &tasks {
            let mut row = summary_row(task);
            if waits_below(engine, task).await? {
                row[1] = format!("{}, a sub-task waits", task.status);
            }
            table.add_row(row);
        }
        terminal.result(table.trim_fmt());
    }
    Ok(Exit::Done)
}

/// Whether a task runs, and does nothing but wait for a sub-task that waits for a person.
async fn waits_below(engine: &Engine, summary: &TaskSummary) -> Result<bool, CliError> {
    if !summary.status.is_live() {
        return Ok(false);
    }
    let Some(task) = engine.repository().load(summary.id).await? else { return Ok(false) };
    let below = engine.orchestrator.below(&task).await?;
    Ok(!below.goes_on && !below.waits_for.is_empty())
}

fn summary_row(task: &TaskSummary) -> [String; 5] {
    [
        ids::short(task.id),
        task.status.to_string(),
        format!("{}/{}", task.completed_steps, task.total_steps),
        task.created_at.to_datetime().format("%Y-%m-%d %H:%M").to_string(),
        cut(&format!("{}{}", origin(task), one_line(&task.goal)), cell(CELL)),
    ]
}

/// What a task is, if it is more than a goal that somebody gave.
fn origin(task: &TaskSummary) -> &'static str {
    match task {
        TaskSummary { imported: true, .. } => "[import] ",
        TaskSummary { parent_id: Some(_), .. } => "[sub-task] ",
        TaskSummary { forked_from: Some(_), .. } => "[fork] ",
        _ => "",
    }
}

async fn show(task: &Task, as_json: bool, engine: &Engine, terminal: &Terminal) -> Result<Exit, CliError> {
    let state = task.state();
    let output = match &state.output {
        Some(output) => Some(engine.repository().content(output).await?),
        None => None,
    };
    let effects = engine.orchestrator.effects(task.id).await?;
    let waits_for = engine.orchestrator.below(task).await?.waits_for;
    let in_line = engine.orchestrator.in_line(task).await?;
    let children = ListFilter { parent: Some(task.id), limit: CHILDREN, ..ListFilter::default() };
    let children = engine.repository().list(&children).await?;
    if as_json {
        let text = json!({
            "id": task.id, "spec": task.spec(), "state": state, "progress": task.progress(),
            "steps": task.steps(), "output": output, "effects": effects,
            "evidence": task.evidence(), "children": children, "waitsFor": waits_for, "inLine": in_line,
        });
        terminal.result(text.to_string());
        return Ok(Exit::Done);
    }
    let line = (in_line > 0).then(|| {
        let ready = counted(in_line, "ready step");
        ("Waits", format!("{ready} for their turn: [worker.limiter] lets so many start in so much time"))
    });
    let waiting = line.into_iter().chain(waits_for.iter().map(|below| ("Waits", waiting(below))));
    let doubts = requests_about_outcomes(task);
    let way_on = state.pause.as_ref().map(|pause| way_on::for_pause(task.id, pause, doubts.first()));
    let way_on = way_on.map(|words| ("Go on", format!("{} task {words}", terminal.program())));
    terminal.facts(facts(task).into_iter().chain(way_on).chain(waiting));
    let mut table = new_table(&["STEP", "STATUS", "TYPE", "TRIES", "TOOK", "DESCRIPTION"]);
    for (index, step) in task.steps().iter().enumerate() {
        table.add_row(step_row(index, step));
    }
    terminal.result(format!("\n{}", table.trim_fmt()));
    if !children.is_empty() {
        terminal.result(format!("\n{}", children_table(&children).trim_fmt()));
    }
    if !effects.is_empty() {
        terminal.result(format!("\n{}", effects_table(&effects).trim_fmt()));
    }
    plan::tell_evidence(task, terminal);
    if let Some(output) = output {
        terminal.result(format!("\n{}", readable(&output).trim_end()));
    }
    Ok(Exit::Done)
}

fn children_table(children: &[TaskSummary]) -> Table {
    let mut table = new_table(&["SUB-TASK", "STATUS", "STEPS", "CREATED", "GOAL"]);
    children.iter().rev().for_each(|child| {
        table.add_row(summary_row(child));
    });
    table
}

/// What a task did to the world, and what the tasks below it did: those have steps of their own.
fn effects_table(effects: &[EffectRecord]) -> Table {
    let mut table = new_table(&["EFFECT", "STEP", "OF", "STATE", "TRIES", "ARGUMENTS"]);
    for effect in effects {
        let state = serde_json::to_value(effect.state).ok();
        table.add_row([
            effect.tool.clone(),
            (effect.step + 1).to_string(),
            effect.child.map(ids::short).unwrap_or_default(),
            state.and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default(),
            effect.attempt.to_string(),
            cut(&one_line(&effect.arguments.preview()), cell(CELL)),
        ]);
    }
    table
}

fn facts(task: &Task) -> Vec<(&'static str, String)> {
    let (spec, state) = (task.spec(), task.state());
    let usage = &state.usage;
    let mut facts = vec![
        ("Task", task.id.to_string()),
        ("Goal", one_line(&spec.goal)),
        ("Status", format!("{} ({} %)", state.status, task.progress())),
        ("Priority", state.priority.to_string()),
        ("Created", state.created_at.to_string()),
        ("Took", took(task)),
        ("Plan", format!("revision {}, {}", state.revision, counted(task.total_steps(), "step"))),
        ("Used", usage.to_string()),
        ("Budget", budget::in_short(task)),
    ];
    facts.extend(spec.chat_model.as_ref().map(|model| ("Model", model.to_string())));
    facts.extend(spec.parent.map(|of| ("Parent", format!("{} (step {})", of.task, of.step + 1))));
    let forked = spec.forked_from.map(|from| format!("{} at entry {}", from.task, from.seq));
    facts.extend(forked.map(|from| ("Forked", from)));
    facts.extend(state.pause.as_ref().map(|pause| ("Paused", one_line(&pause.detail))));
    facts.extend(state.fault.as_ref().map(|fault| ("Failed", one_line(&fault.to_string()))));
    facts
}

fn step_row(index: usize, step: &Step) -> [String; 6] {
    let took = step.started_at.zip(step.completed_at).map(|(from, to)| duration::short(to.since(from)));
    let status = if step.replaced { format!("{}, replaced", step.status) } else { step.status.to_string() };
    let mut description = cut(&one_line(&step.plan.description), cell(CELL));
    if let Some(fault) = &step.fault {
        description = format!("{description} ({})", cut(&one_line(&fault.to_string()), cell(CELL)));
    }
    [
        (index + 1).to_string(),
        status,
        step.plan.kind.to_string(),
        step.attempts.to_string(),
        took.unwrap_or_default(),
        description,
    ]
}

async fn trace(
    engine: &Engine,
    id: TaskId,
    after: i64,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let mut follower = Follower::new(engine.repository().clone(), id, after);
    loop {
        let entries = follower.read().await?;
        if entries.is_empty() {
            return Ok(Exit::Done);
        }
        for entry in &entries {
            let line = if as_json {
                entry_json(entry).to_string()
            } else {
                let (kind, message) = (entry.event.trace_type().as_str(), one_line(&said(entry)));
                format!("{:>5}  {}  {kind:<12}  {message}", entry.seq, entry.at)
            };
            terminal.result(line);
        }
    }
}

async fn watch(engine: &Engine, task: Task, form: Form, terminal: &Terminal) -> Result<Exit, CliError> {
    let stop = signals::listen(terminal, "no longer watching: the task goes on")?;
    let known = task.state().seq;
    let mut watch = Watch::new(engine, terminal, form, task, known);
    tokio::select! {
        watched = watch.until_rest(&engine.orchestrator) => watched?,
        () = stop.cancelled() => return Ok(Exit::Interrupted),
    }
    watch.conclude(engine).await
}

/// A table without lines: people read it as well as `awk`.
pub(super) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    table
}
