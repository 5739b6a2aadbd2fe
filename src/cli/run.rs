//! `longhaul run`: carries one goal to its end in this process.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::args::RunArgs;
use super::beside::Beside;
use super::display::Form;
use super::error::CliError;
use super::terminal::Terminal;
use super::watch::Watch;
use super::wiring::Engine;
use super::{Exit, ids, plan, signals, template};
use crate::orchestrator::TaskRequest;
use crate::repository::{ListFilter, RepositoryError};
use crate::task::{Budget, ModelName, Status, Task};

const DRAINING: &str = "stopping: running steps end first, Ctrl-C again stops at once";

/// Runs the command.
pub(super) async fn run(
    engine: &Engine,
    args: RunArgs,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let stop = signals::listen(terminal, DRAINING)?;
    let works = works_here(engine, terminal)?;
    if args.resume.is_none() {
        tell_what_else(engine, terminal).await?;
    }
    let form = if args.options.json { Form::Json } else { Form::Lines };
    if form == Form::Lines {
        tell_model(engine, &args, model.as_ref(), terminal);
    }
    let (task, known) = tokio::select! {
        begun = begin(engine, &args, model) => begun?,
        () = stop.cancelled() => {
            terminal.warn("stopped while the plan was made: nothing was started");
            return Ok(Exit::Interrupted);
        }
    };
    terminal.note(format!("Task: {}", task.id));
    let watch = Watch::new(engine, terminal, form, task, known);
    if works { work_and_watch(engine, watch, stop).await } else { only_watch(engine, watch, stop).await }
}

/// Whether this process may work on tasks. If another one does, it will do this task too.
fn works_here(engine: &Engine, terminal: &Terminal) -> Result<bool, CliError> {
    let here = engine.workspace();
    match engine.database.lock(here.as_deref()) {
        Ok(()) => Ok(true),
        // It would do the work with its files, and not with those that are meant here.
        Err(RepositoryError::InUse { pid, path, workspace: Some(there) })
            if here.as_ref() != Some(&there) =>
        {
            let message = format!(
                "another process{pid} works on {path}, with the files in {}: go on from there, stop it, or take \
                 another database with --db",
                there.display()
            );
            Err(CliError::failed("database_in_use", message, None))
        }
        Err(RepositoryError::InUse { pid, .. }) => {
            terminal.note(format!(
                "another process{pid} works on this database: it does the work, this one watches"
            ));
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn tell_what_else(engine: &Engine, terminal: &Terminal) -> Result<(), CliError> {
    let statuses = vec![Status::Pending, Status::Running];
    let user_id = Some(engine.settings.user.clone());
    let filter = ListFilter { statuses, user_id, roots: true, limit: 1, ..ListFilter::default() };
    if let Some(newest) =
        engine.repository().list(&filter).await?.first().filter(|task| task.worker.is_none())
    {
        terminal.note(format!(
            "An unfinished task waits: {} goes on with it, `serve` with all of them.",
            terminal.resume(newest.id)
        ));
    }
    Ok(())
}

fn tell_model(engine: &Engine, args: &RunArgs, wanted: Option<&ModelName>, terminal: &Terminal) {
    let models = engine.orchestrator.models();
    let is_planned = args.plan.is_some() || args.template.is_some() || args.resume.is_some();
    terminal.note(match (models.is_offline_for(wanted), is_planned) {
        (true, false) => {
            "No language model is in use: the goal is planned by rules. See docs/models.md for models."
                .to_owned()
        }
        (true, true) => {
            "No language model is in use: steps that need one fail. See docs/models.md for models.".to_owned()
        }
        (false, _) => format!("Model: {}", wanted.unwrap_or(models.default_name())),
    });
}

/// Creates the task, or lets the named one go on. The number is that of the newest entry that
/// is no news.
async fn begin(engine: &Engine, args: &RunArgs, model: Option<ModelName>) -> Result<(Task, i64), CliError> {
    let user = engine.settings.user.clone();
    let Some(named) = &args.resume else {
        let options = &args.options;
        let using = match &args.template {
            Some(name) => Some(template::named(engine, name, &args.parameters).await?),
            None => None,
        };
        let files = options.attach.read()?;
        let plan = args.plan.as_deref().map(plan::read).transpose()?;
        let request = TaskRequest {
            goal: args.goal.clone().unwrap_or_default(),
            user_id: user,
            thread_id: Uuid::now_v7().to_string(),
            chat_model: model,
            plan,
            files,
            priority: options.priority,
            budget: Budget { tokens: options.max_tokens, cost_usd: options.max_cost, ..Budget::default() },
            template: using,
            preset: options.preset.clone(),
            agent_id: options.agent.clone(),
            ..TaskRequest::default()
        };
        return Ok((engine.orchestrator.start(request).await?, 0));
    };
    let id = ids::resolve(engine.repository().as_ref(), named).await?;
    let task = engine.repository().load(id).await?.ok_or(RepositoryError::NotFound)?;
    let known = task.state().seq;
    match task.status() {
        Status::Paused => Ok((engine.orchestrator.resume(id, &user).await?, known)),
        _ => Ok((task, known)),
    }
}

async fn work_and_watch(
    engine: &Engine,
    mut watch: Watch,
    stop: CancellationToken,
) -> Result<Exit, CliError> {
    let enough = stop.child_token();
    let mut worker = Beside::begin(engine.worker_for(watch.id()), enough);
    let watched = worker.while_there(async {
        tokio::select! {
            watched = watch.until_rest(&engine.orchestrator) => watched,
            () = stop.cancelled() => Ok(()),
        }
    });
    let watched = watched.await.and_then(|watched| watched);
    worker.end().await;
    watched?;
    watch.catch_up().await?;
    watch.conclude(engine).await
}

async fn only_watch(engine: &Engine, mut watch: Watch, stop: CancellationToken) -> Result<Exit, CliError> {
    tokio::select! {
        watched = watch.until_rest(&engine.orchestrator) => watched?,
        () = stop.cancelled() => {}
    }
    watch.conclude(engine).await
}
