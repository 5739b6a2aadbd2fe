//! `longhaul task budget`: what a task may consume, what it has consumed, and more of it.

use serde_json::json;

use super::args::AddArgs;
use super::error::CliError;
use super::task::new_table;
use super::terminal::Terminal;
use super::wiring::Engine;
use super::{Exit, duration};
use crate::orchestrator::system_clock;
use crate::repository::RepositoryError;
use crate::task::{Budget, Task, TaskId, Usd, grouped};

/// Adds what is to be added, and shows how the budget stands then.
pub(super) async fn run(
    engine: &Engine,
    id: TaskId,
    add: &AddArgs,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let add = add.top_up();
    let task = if add.is_nothing() {
        engine.repository().load(id).await?.ok_or(RepositoryError::NotFound)?
    } else {
        let raised = engine.orchestrator.raise_budget(id, add, &engine.settings.user).await?;
        terminal.tell_who_goes_on(id);
        raised
    };
    if as_json {
        let used = task.consumed(system_clock()());
        let reserved = task.state().spent.reserved;
        let shown = json!({"taskId": id, "limits": task.budget(), "used": used, "reserved": reserved});
        terminal.result(shown.to_string());
        return Ok(Exit::Done);
    }
    let mut table = new_table(&["WHAT", "USED", "RESERVED", "LIMIT"]);
    for line in lines(&task, |number| number.to_string()) {
        let limit = line.limit.unwrap_or_else(|| "none".to_owned());
        table.add_row([line.what.to_owned(), line.used, line.reserved.unwrap_or_default(), limit]);
    }
    terminal.result(table.trim_fmt());
    Ok(Exit::Done)
}

/// One line for people: what has a limit, and how much of it is used.
pub(super) fn in_short(task: &Task) -> String {
    let limited = lines(task, grouped).into_iter().filter_map(|line| {
        let reserved = line.reserved.map(|reserved| format!(" ({reserved} reserved)")).unwrap_or_default();
        let used = format!("{} of {}", line.used, line.limit?);
        Some(if line.names_itself { used + &reserved } else { format!("{used} {}{reserved}", line.what) })
    });
    let limited: Vec<String> = limited.collect();
    if limited.is_empty() { "without limits".to_owned() } else { limited.join(", ") }
}

struct Line {
    what: &'static str,
    /// Without what is set aside.
    used: String,
    /// What calls in flight and sub-tasks may still consume of it, if anything.
    reserved: Option<String>,
    limit: Option<String>,
    /// Whether the amounts have a unit that says what they are of: `$1.20`, `4 min`.
    names_itself: bool,
}

fn lines(task: &Task, plain: fn(u64) -> String) -> Vec<Line> {
    let Budget { tokens, cost_usd, wall_time_ms, model_calls, tool_calls, steps, .. } = task.budget();
    let used = task.consumed(system_clock()());
    let aside = task.state().spent.reserved;
    let time = |millis: u64| duration::short(std::time::Duration::from_millis(millis));
    let count = |what, used: u64, aside: u64, limit: Option<u64>| Line {
        what,
        used: plain(used.saturating_sub(aside)),
        reserved: (aside > 0).then(|| plain(aside)),
        limit: limit.map(plain),
        names_itself: false,
    };
    let amount = |what, used, reserved, limit| Line { what, used, reserved, limit, names_itself: true };
    let money = used.cost_usd.saturating_sub(aside.cost_usd).to_string();
    let held = (!aside.cost_usd.is_zero()).then(|| aside.cost_usd.to_string());
    vec![
        count("tokens", used.tokens, aside.tokens, tokens),
        amount("money", money, held, cost_usd.as_ref().map(Usd::to_string)),
        amount("time", time(used.wall_time_ms), None, wall_time_ms.map(time)),
        count("model calls", used.model_calls.into(), aside.model_calls.into(), model_calls.map(u64::from)),
        count("tool calls", used.tool_calls.into(), aside.tool_calls.into(), tool_calls.map(u64::from)),
        count("steps", used.steps.into(), aside.steps.into(), steps.map(u64::from)),
    ]
}
