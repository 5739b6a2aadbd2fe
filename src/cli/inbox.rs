//! `longhaul inbox`, and what people answer with `longhaul task …`.

use serde_json::{Value, json};

use super::args::{InboxArgs, RequestArg, SteerArg, TellArgs, VerdictWord};
use super::display::{cut, one_line};
use super::error::CliError;
use super::task::{find, load, new_table, told};
use super::terminal::{Terminal, cell};
use super::wiring::Engine;
use super::{Exit, ids, way_on};
use crate::orchestrator::{
    Decision, OpenRequest, OrchestratorError, OutcomeDecision, RequestId, RequestKind, ShownChange,
};
use crate::server::task_as_shown;
use crate::task::{CheckDecision, TaskId};

/// How much of the arguments a table shows.
const CELL: usize = 70;

/// Shows what waits for people, of all users.
pub(super) async fn list(engine: &Engine, args: &InboxArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let open = match &args.task {
        Some(task) => engine.orchestrator.open_requests(&load(engine, task).await?).await?,
        None => engine.orchestrator.inbox(args.user.as_deref(), args.limit).await?,
    };
    if args.form.json {
        terminal.result(json!(open).to_string());
    } else if open.is_empty() {
        terminal.note("Nothing waits for a person.");
    } else {
        let mut table = new_table(&["TASK", "WANTS", "STEP", "TOOL", "UNTIL", "ABOUT"]);
        for request in &open {
            table.add_row(row(request));
        }
        terminal.result(table.trim_fmt());
        terminal.note(format!(
            "Answer with: {} task {}",
            terminal.program(),
            way_on::for_requests(&open).join(", or ")
        ));
        for request in open.iter().filter(|request| request.kind == RequestKind::Outcome) {
            terminal.note(format!("REQUEST of {}: {}", which_call(request), request.id));
        }
    }
    Ok(Exit::Done)
}

fn row(request: &OpenRequest) -> [String; 6] {
    let wants = match request.kind {
        RequestKind::Approval => "approval",
        RequestKind::Input => "an answer",
        RequestKind::Outcome => "an outcome",
        RequestKind::Plan => "approval",
        RequestKind::Check => "a verdict",
        RequestKind::Tool => "a look at a tool",
    };
    let until = request.expires_at.map(|at| at.to_datetime().format("%Y-%m-%d %H:%M").to_string());
    let about = match (&request.arguments, request.kind) {
        (Some(arguments), RequestKind::Approval) if request.reason.is_some() => {
            format!("{} ({arguments})", request.reason.as_deref().unwrap_or_default())
        }
        (_, RequestKind::Tool) => request.change.as_ref().map(difference).unwrap_or_default(),
        (
            Some(arguments),
            RequestKind::Approval | RequestKind::Input | RequestKind::Outcome | RequestKind::Check,
        ) => arguments.to_string(),
        _ => one_line(&request.description),
    };
    [
        ids::short(request.task_id),
        wants.to_owned(),
        request.step.map(|step| (step + 1).to_string()).unwrap_or_else(|| "plan".to_owned()),
        request.tool.clone().unwrap_or_default(),
        until.unwrap_or_default(),
        cut(&about, cell(CELL)),
    ]
}

/// A call in words that tell it from the others of its task.
fn which_call(request: &OpenRequest) -> String {
    let (step, call) = (request.step.unwrap_or_default() + 1, request.call.unwrap_or_default());
    format!("call {call} of step {step} ({})", request.tool.as_deref().unwrap_or_default())
}

/// Says how a call ended of which nobody knew, and what is still to be said.
pub(super) async fn outcome(
    engine: &Engine,
    task: &SteerArg,
    request: Option<&str>,
    decision: OutcomeDecision,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let id = find(engine, &task.task.id).await?;
    let request = request.map(read).transpose()?;
    let before = engine.repository().load(id).await?.ok_or(OrchestratorError::NotFound)?;
    let asked = engine.orchestrator.open_requests(&before).await?;
    let by = &engine.settings.user;
    let (decided, request) = engine.orchestrator.decide_outcome(id, request, decision, by).await?;
    let named = request.to_string();
    if let Some(request) = asked.iter().find(|request| request.id == named) {
        terminal.note(format!("This was about {}.", which_call(request)));
    }
    let open = engine.orchestrator.open_requests(&decided).await?;
    match open.iter().find(|request| request.kind == RequestKind::Outcome) {
        Some(next) => {
            let word = way_on::for_outcome(id, Some(&next.id));
            terminal.note(format!("Nobody knows yet how {} ended.", which_call(next)));
            terminal.note(format!("Say so, too: {} task {word}", terminal.program()));
        }
        None => terminal.tell_who_goes_on(id),
    }
    if task.form.json {
        let shown = task_as_shown(&engine.orchestrator, &decided, Some(request)).await?;
        terminal.result(shown.to_string());
        return Ok(Exit::Done);
    }
    told(engine, &decided, task.form, terminal).await
}

/// Approves what a task asks approval for.
pub(super) async fn approve(
    engine: &Engine,
    task: &SteerArg,
    request: Option<&str>,
    arguments: Option<Value>,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let kinds = [RequestKind::Approval, RequestKind::Plan];
    decide(engine, task, request, &kinds, Decision::Approve(arguments), terminal).await
}

/// Denies what a task asks for.
pub(super) async fn deny(
    engine: &Engine,
    task: &SteerArg,
    request: Option<&str>,
    reason: String,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let kinds = [RequestKind::Approval, RequestKind::Plan, RequestKind::Input, RequestKind::Tool];
    decide(engine, task, request, &kinds, Decision::Deny(reason), terminal).await
}

/// Accepts a tool that has changed.
pub(super) async fn accept(
    engine: &Engine,
    task: &SteerArg,
    request: &RequestArg,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let decision = Decision::Check(CheckDecision::Accept);
    decide(engine, task, request.request.as_deref(), &[RequestKind::Tool], decision, terminal).await
}

/// What has changed about a tool, in a line.
fn difference(change: &ShownChange) -> String {
    let ShownChange { before, now } = change;
    let mut parts = Vec::new();
    if before.description != now.description {
        parts.push(format!(
            "said \"{}\", says \"{}\"",
            one_line(&before.description),
            one_line(&now.description)
        ));
    }
    if before.schema != now.schema {
        parts.push(format!("took {}, takes {}", before.schema, now.schema));
    }
    if before.effect != now.effect {
        parts.push(format!("was {}, is {}", json!(before.effect), json!(now.effect)));
    }
    parts.join("; ")
}

/// Says whether what a step brought will do.
pub(super) async fn verdict(
    engine: &Engine,
    task: &SteerArg,
    request: Option<&str>,
    word: VerdictWord,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let decision = match word {
        VerdictWord::Accept => Decision::Check(CheckDecision::Accept),
        VerdictWord::Retry => Decision::Check(CheckDecision::Retry),
        VerdictWord::Fail => Decision::Outcome(OutcomeDecision::Fail),
    };
    decide(engine, task, request, &[RequestKind::Check], decision, terminal).await
}

/// Answers what a task asks.
pub(super) async fn answer(
    engine: &Engine,
    task: &SteerArg,
    request: Option<&str>,
    answer: String,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    // Texts need no quotes: what is no JSON is a text. Where a text was asked for, the orchestrator
    // refuses a number, and the second try takes the words as they are.
    let read = serde_json::from_str::<Value>(&answer).unwrap_or_else(|_| Value::String(answer.clone()));
    let kinds = [RequestKind::Input];
    let first = decide(engine, task, request, &kinds, Decision::Answer(read.clone()), terminal).await;
    match first {
        Err(CliError::Refused(OrchestratorError::Invalid { field: "answer", .. })) if !read.is_string() => {
            decide(engine, task, request, &kinds, Decision::Answer(Value::String(answer)), terminal).await
        }
        other => other,
    }
}

async fn decide(
    engine: &Engine,
    task: &SteerArg,
    request: Option<&str>,
    kinds: &[RequestKind],
    decision: Decision,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let id = find(engine, &task.task.id).await?;
    let request = which(engine, id, request, kinds).await?;
    let decided = engine.orchestrator.decide(request, decision, &engine.settings.user).await?;
    if !decided.status().is_terminal() {
        terminal.tell_who_goes_on(id);
    }
    told(engine, &decided, task.form, terminal).await
}

/// The request that is meant: the one that was named, or the only one there is.
async fn which(
    engine: &Engine,
    id: TaskId,
    named: Option<&str>,
    kinds: &[RequestKind],
) -> Result<RequestId, CliError> {
    if let Some(text) = named {
        return read(text);
    }
    let task = engine.repository().load(id).await?.ok_or(OrchestratorError::NotFound)?;
    let open = engine.orchestrator.open_requests(&task).await?;
    let fitting: Vec<&OpenRequest> = open.iter().filter(|request| kinds.contains(&request.kind)).collect();
    match fitting.as_slice() {
        [only] => read(&only.id),
        [] => Err(OrchestratorError::Closed.into()),
        several => {
            let ids = several.iter().map(|request| request.id.clone());
            Err(OrchestratorError::Ambiguous(ids.collect()).into())
        }
    }
}

fn read(text: &str) -> Result<RequestId, CliError> {
    text.parse().map_err(|problem| CliError::usage("request_id", format!("'{text}' {problem}")))
}

/// Sends a message to a task.
pub(super) async fn tell(engine: &Engine, message: &TellArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let files = message.attach.read()?;
    let id = find(engine, &message.task.task.id).await?;
    let user = &engine.settings.user;
    let told_to = engine.orchestrator.send_message_with(id, &message.text, &files, user).await?;
    told(engine, &told_to, message.task.form, terminal).await
}
