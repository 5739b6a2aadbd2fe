//! `longhaul task fork`, `retry` and `diff`: new tasks that go on from what another one recorded.

use clap::Args;
use serde_json::{Value, json};

use super::args::{JsonArg, SteerArg, TaskArg};
use super::display::{cut, one_line};
use super::error::CliError;
use super::task::{find, new_table, told};
use super::terminal::{Terminal, cell};
use super::wiring::Engine;
use super::{Exit, duration};
use crate::orchestrator::{ForkAt, ForkWish, RetryWish, StepSide, TaskSide};
use crate::task::{CallAt, ModelName, Task, Usd, as_text};

/// How much of an output a table shows.
const CELL: usize = 40;

#[derive(Debug, Args)]
pub(super) struct ForkArgs {
    #[command(flatten)]
    task: SteerArg,
    /// Go on behind the entry with this number, as `longhaul task trace` shows it
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["at_step", "result"])]
    at_seq: Option<i64>,
    /// Do this step and all that wait for it anew, as `longhaul task show` numbers them
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u32).range(1..))]
    at_step: Option<u32>,
    /// Go on behind a call of --at-step with another result: its number within the step, = and JSON
    #[arg(long, value_name = "CALL=JSON", value_parser = result, requires = "at_step")]
    result: Option<(u32, Value)>,
    /// Reach this instead
    #[arg(long)]
    goal: Option<String>,
    /// Tell its models this besides
    #[arg(long)]
    prompt: Option<String>,
    #[command(flatten)]
    effects: EffectsArg,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    task: SteerArg,
    /// Do this step and all that wait for it anew [default: the steps that failed]
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u32).range(1..))]
    from_step: Option<u32>,
    #[command(flatten)]
    effects: EffectsArg,
}

#[derive(Debug, Args)]
pub(super) struct EffectsArg {
    /// Allow that what the task did to the world behind that place is done once more
    #[arg(long)]
    pub(super) repeat_effects: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    task: TaskArg,
    /// The other task
    #[arg(value_name = "OTHER")]
    other: String,
    #[command(flatten)]
    form: JsonArg,
}

fn result(text: &str) -> Result<(u32, Value), String> {
    let wrong = || "write the number of the call, = and JSON, like 1={\"found\":3}".to_owned();
    let (call, value) = text.split_once('=').ok_or_else(wrong)?;
    let value = serde_json::from_str(value)
        .map_err(|error| format!("the result is not JSON ({error}): texts need quotes, \"like this\""))?;
    Ok((call.trim().parse().map_err(|_| wrong())?, value))
}

impl ForkArgs {
    fn wish(self, chat_model: Option<ModelName>) -> (SteerArg, ForkWish) {
        let index = self.at_step.map(|step| step - 1);
        let at = match (self.at_seq, index, self.result) {
            (Some(seq), ..) => ForkAt::Entry(seq),
            (None, Some(step), Some((call, value))) => ForkAt::Result { call: CallAt { step, call }, value },
            (None, Some(step), None) => ForkAt::Step(step),
            (None, None, _) => ForkAt::End,
        };
        let (goal, prompt) = (self.goal, self.prompt);
        let repeat_effects = self.effects.repeat_effects;
        (self.task, ForkWish { at, chat_model, goal, prompt, repeat_effects, key: None })
    }
}

/// Forks a task; from there on `model` is asked, if one is named.
pub(super) async fn fork(
    engine: &Engine,
    args: ForkArgs,
    model: Option<ModelName>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let (task, wish) = args.wish(model);
    let (id, by) = (find(engine, &task.task.id).await?, &engine.settings.user);
    started(engine, &engine.orchestrator.fork(id, wish, by).await?, task.form, terminal).await
}

/// Starts a new task in the place of one that has ended.
pub(super) async fn retry(engine: &Engine, args: RetryArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let (id, by) = (find(engine, &args.task.task.id).await?, &engine.settings.user);
    let from_step = args.from_step.map(|step| step - 1);
    let wish = RetryWish { from_step, repeat_effects: args.effects.repeat_effects, key: None };
    started(engine, &engine.orchestrator.retry(id, wish, by).await?, args.task.form, terminal).await
}

async fn started(engine: &Engine, task: &Task, form: JsonArg, terminal: &Terminal) -> Result<Exit, CliError> {
    terminal.tell_who_goes_on(task.id);
    told(engine, task, form, terminal).await
}

/// Shows how two tasks differ.
pub(super) async fn diff(engine: &Engine, args: &DiffArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let (a, b) = (find(engine, &args.task.id).await?, find(engine, &args.other).await?);
    let diff = engine.orchestrator.compare(a, b).await?;
    if args.form.json {
        terminal.result(json!(diff).to_string());
        return Ok(Exit::Done);
    }
    let mut table = new_table(&["", "STEP", "STATUS", "TOKENS", "COST", "TOOK", "OUTPUT"]);
    for step in &diff.steps {
        let mark = if step.same { "=" } else { "≠" };
        for (mark, side) in [(mark, &step.a), ("", &step.b)] {
            table.add_row(row(mark, &step.id, side.as_ref()));
        }
    }
    for (name, side) in [("A", &diff.a), ("B", &diff.b)] {
        table.add_row(total(name, side));
    }
    terminal.result(table.trim_fmt());
    Ok(Exit::Done)
}

fn row(mark: &str, id: &str, side: Option<&StepSide>) -> [String; 7] {
    let Some(side) = side else {
        return [mark, id, "not there", "", "", "", ""].map(str::to_owned);
    };
    let status = if side.inherited { format!("{}, inherited", side.status) } else { side.status.to_string() };
    let output = side.output.as_ref().cloned().map(as_text);
    [
        mark.to_owned(),
        id.to_owned(),
        status,
        side.tokens.to_string(),
        money(side.cost_usd, side.unpriced_calls),
        side.duration_ms.map(took).unwrap_or_default(),
        cut(&one_line(&output.or_else(|| side.fault.clone()).unwrap_or_default()), cell(CELL)),
    ]
}

fn total(name: &str, side: &TaskSide) -> [String; 7] {
    let usage = &side.usage;
    [
        name.to_owned(),
        "all".to_owned(),
        side.status.to_string(),
        (usage.input_tokens + usage.output_tokens).to_string(),
        money(usage.cost_usd, usage.unpriced_calls),
        took(side.duration_ms),
        side.id.to_string(),
    ]
}

/// What calls cost, when that is not known of so many of them.
fn money(cost: Usd, unpriced: u32) -> String {
    match (unpriced, cost.is_zero()) {
        (0, _) => cost.to_string(),
        (_, true) => "unknown".to_owned(),
        (_, false) => format!("at least {cost}"),
    }
}

fn took(millis: u64) -> String {
    duration::short(std::time::Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_nobody_knows_is_not_nothing() {
        let cent = Usd::from_nanos(10_000_000);
        assert_eq!(money(Usd::default(), 0), Usd::default().to_string());
        assert_eq!(money(Usd::default(), 2), "unknown");
        assert_eq!(money(cent, 0), cent.to_string());
        assert_eq!(money(cent, 2), format!("at least {cent}"));
    }
}
