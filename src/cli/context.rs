//! `longhaul task context`, `checkpoint` and `restore`: what models are told of a task, and how it goes
//! back.

use serde_json::json;

use super::Exit;
use super::args::SteerArg;
use super::display::{cut, one_line};
use super::error::CliError;
use super::fork::EffectsArg;
use super::task::{find, new_table, told};
use super::terminal::{Terminal, cell};
use super::wiring::Engine;
use crate::orchestrator::{ContextView, RestoreWish};
use crate::repository::RepositoryError;
use crate::task::{Event, TaskId};

/// How much of a part a table shows.
const CELL: usize = 70;

/// Shows the window of the task's next prompt.
pub(super) async fn show(
    engine: &Engine,
    id: TaskId,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let task = engine.repository().load(id).await?.ok_or(RepositoryError::NotFound)?;
    let view = engine.orchestrator.context_view(&task).await?;
    if as_json {
        terminal.result(json!(view).to_string());
        return Ok(Exit::Done);
    }
    terminal.result(headline(&view));
    let mut table = new_table(&["PART", "TOKENS", "BYTES", "BEGINS WITH"]);
    for part in &view.parts {
        let text = part.text.as_deref().unwrap_or_default();
        table.add_row([
            part.name.to_owned(),
            part.tokens.to_string(),
            part.bytes.to_string(),
            cut(&one_line(text), cell(CELL)),
        ]);
    }
    terminal.result(format!("\n{}", table.trim_fmt()));
    if !view.folded.is_empty() {
        terminal.result(format!("\n{}", folded(&view)));
    }
    Ok(Exit::Done)
}

fn headline(view: &ContextView) -> String {
    let step =
        view.step.as_deref().map_or_else(|| "no step is left".to_owned(), |step| format!("step {step}"));
    let known = match view.calibrated {
        true => "calibrated by what the provider reported",
        false => "a first guess: this process has asked nobody",
    };
    format!(
        "{step}, {}: about {} of {} tokens ({} for the answer; compressed from {} on)\n{} tokens per 1,000 bytes, {known}",
        view.model,
        view.tokens,
        view.limit,
        view.limit - view.room,
        view.compacts_at,
        view.density
    )
}

fn folded(view: &ContextView) -> String {
    let mut table = new_table(&["FOLDED", "ENTRY", "TOKENS", "TO", "BY"]);
    for range in &view.folded {
        let what = match range.step {
            Some(step) => format!("calls {}-{} of step {}", range.from, range.through, step + 1),
            None => format!("steps {}-{}", range.from + 1, range.through + 1),
        };
        table.add_row([
            what,
            range.seq.to_string(),
            range.tokens_before.to_string(),
            range.tokens_after.to_string(),
            range.by.clone(),
        ]);
    }
    table.trim_fmt()
}

/// Takes a checkpoint, or lists those there are.
pub(super) async fn checkpoint(
    engine: &Engine,
    id: TaskId,
    only_list: bool,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    if !only_list {
        engine.orchestrator.take_checkpoint(id, &engine.settings.user).await?;
    }
    let mut entries = engine.orchestrator.checkpoints(id).await?;
    if !only_list {
        entries.drain(..entries.len().saturating_sub(1));
    }
    if as_json {
        let all: Vec<_> = entries.iter().map(super::display::entry_json).collect();
        terminal.result(json!(all).to_string());
        return Ok(Exit::Done);
    }
    let mut table = new_table(&["CHECKPOINT", "TAKEN", "COMPLETED", "BY"]);
    for entry in &entries {
        let Event::CheckpointTaken { completed, by, step, .. } = &entry.event else { continue };
        let by = match (by, step) {
            (Some(by), _) => by.clone(),
            (None, Some(step)) => format!("step {}", step + 1),
            (None, None) => "by itself".to_owned(),
        };
        table.add_row([entry.seq.to_string(), entry.at.to_string(), completed.to_string(), by]);
    }
    terminal.result(table.trim_fmt());
    Ok(Exit::Done)
}

/// Puts a paused task back to a checkpoint.
pub(super) async fn restore(
    engine: &Engine,
    named: &SteerArg,
    checkpoint: i64,
    effects: &EffectsArg,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let id = find(engine, &named.task.id).await?;
    let wish = RestoreWish { checkpoint, repeat_effects: effects.repeat_effects };
    let task = engine.orchestrator.restore(id, wish, &engine.settings.user).await?;
    if let Some(seq) = task.state().messages.last()
        && let Some(notice) = engine.orchestrator.message(id, *seq).await?
    {
        terminal.note(notice.text);
    }
    terminal.tell_who_goes_on(id);
    told(engine, &task, named.form, terminal).await
}
