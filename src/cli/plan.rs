//! Plans on the command line: read from a file, shown revision by revision, with the evidence that
//! what they brought is so.

use std::path::Path;

use serde_json::{Value, json};

use super::Exit;
use super::display::one_line;
use super::error::CliError;
use super::task::new_table;
use super::terminal::Terminal;
use super::wiring::Engine;
use crate::orchestrator::Revision;
use crate::task::{Plan, Task};

/// Reads a plan from a JSON file.
pub(super) fn read(path: &Path) -> Result<Plan, CliError> {
    let refused = |problem: String| CliError::usage("plan_file", format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let brought: Value = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Plan::read(brought).map_err(|error| refused(error.told("plan")))
}

/// Shows what each revision kept, dropped and added.
pub(super) async fn show(
    engine: &Engine,
    task: &Task,
    as_json: bool,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let revisions = engine.orchestrator.revisions(task).await?;
    if as_json {
        let waits = task.plan_ask().is_some();
        let plan =
            json!({"revision": task.state().revision, "waitsForApproval": waits, "revisions": revisions});
        terminal.result(plan.to_string());
        return Ok(Exit::Done);
    }
    revisions.iter().for_each(|revision| tell(revision, task, terminal));
    if task.plan_ask().is_some() {
        let program = terminal.program();
        terminal.note(format!(
            "The last revision waits for approval: {program} task approve {} (or deny)",
            task.id
        ));
    }
    Ok(Exit::Done)
}

fn tell(revision: &Revision, task: &Task, terminal: &Terminal) {
    let by = revision.by.as_ref();
    let model = by.map(|by| match &by.model {
        Some(model) => format!(" by {model}"),
        None => ", as it was given".to_owned(),
    });
    let degraded = by.is_some_and(|by| by.degraded).then_some(", only the best that could be done");
    let reason = by.map(|by| one_line(&by.reason)).filter(|reason| !reason.is_empty());
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let (number, model) = (revision.revision, model.unwrap_or_default());
    terminal.result(format!("Revision {number}{model}{}{why}", degraded.unwrap_or_default()));
    let described = |id: &str| {
        let step = task.steps().iter().find(|step| step.plan.id == id);
        step.map(|step| one_line(&step.plan.description)).unwrap_or_default()
    };
    for id in &revision.kept {
        terminal.result(format!("    {id}  {}", described(id)));
    }
    for id in &revision.dropped {
        terminal.result(format!("  - {id}  {}", described(id)));
    }
    for step in &revision.added.steps {
        terminal.result(format!("  + {}  {}", step.id, one_line(&step.description)));
    }
}

/// Shows what was checked, and where the evidence is.
pub(super) fn tell_evidence(task: &Task, terminal: &Terminal) {
    let evidence = task.evidence();
    if evidence.is_empty() {
        return;
    }
    let mut table = new_table(&["EVIDENCE", "STEP", "REQUIRED", "HOLDS", "ENTRY"]);
    for made in evidence {
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.add_row([
            made.check,
            made.step_id,
            word(made.required),
            word(made.passed),
            made.seq.to_string(),
        ]);
    }
    terminal.result(format!("\n{}", table.trim_fmt()));
}
