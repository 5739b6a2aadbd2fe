//! Shows what happens to a task: lines and a spinner for people, lines for a pipe, JSON for
//! programs. All three are made from the same journal entries.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::terminal::Terminal;
use super::{duration, ids};
use crate::task::{Entry, Event, Payload, Plan, Planner, Step, Task, counted};

/// How much of the arguments of a call is shown: the journal has all of them.
const ARGUMENTS: usize = 80;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Lines,
    /// One JSON object per entry.
    Json,
}

/// Follows one task.
pub(super) struct Display {
    terminal: Terminal,
    form: Form,
    /// The task as the entries shown so far leave it.
    task: Task,
    spinner: ProgressBar,
    /// The newest thing each running step does.
    doing: HashMap<u32, String>,
    /// Entries up to this one are no news.
    known: i64,
}

impl Display {
    /// Shows what happens to `task` behind the entry `known`.
    pub(super) fn new(terminal: Terminal, form: Form, task: Task, known: i64) -> Self {
        let spinner = terminal.bars().add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:24} {wide_msg} {elapsed}") {
            spinner.set_style(style.progress_chars("━━─"));
        }
        spinner.enable_steady_tick(Duration::from_millis(120));
        Self { terminal, form, task, spinner, doing: HashMap::new(), known }
    }

    /// The task as the entries shown so far leave it.
    pub(super) fn task(&self) -> &Task {
        &self.task
    }

    /// Shows an entry. The whole journal is to be shown, from its first entry on: what is no
    /// news is folded and, for people, left out.
    pub(super) fn show(&mut self, entry: &Entry) {
        self.fold(entry);
        match self.form {
            Form::Json => self.terminal.result(entry_json(entry).to_string()),
            Form::Lines if entry.seq > self.known => self.lines(entry),
            Form::Lines if entry.seq == self.known => self.introduce(),
            Form::Lines => {}
        }
        self.spin(entry);
    }

    fn fold(&mut self, entry: &Entry) {
        let folded = match entry.seq {
            1 => Task::begin(self.task.id, entry).map(|task| self.task = task),
            _ => self.task.apply(entry),
        };
        // The task that was loaded stays; it is only for show.
        if let Err(illegal) = folded {
            tracing::debug!(task = %self.task.id, %illegal, "an entry cannot be followed");
        }
    }

    fn introduce(&self) {
        let done = self.task.state().completed;
        let steps = self.task.steps().iter().filter(|step| !step.replaced);
        self.list(steps.map(|step| step.plan.description.as_str()));
        let all = counted(self.task.total_steps(), "step");
        self.terminal.progress(format!("{done} of {all} done."));
    }

    /// Takes the spinner away.
    pub(super) fn finish(&self) {
        self.spinner.finish_and_clear();
    }

    fn lines(&self, entry: &Entry) {
        match &entry.event {
            Event::Planned { revision, plan, by, .. } => self.planned(*revision, plan, by),
            Event::StepStarted { step, attempt } => {
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                self.line(*step, &format!("{}{again}", self.describe(*step)));
            }
            Event::StepCompleted { step, .. } => self.line(*step, &format!("done{}", self.took(*step))),
            Event::ToolDispatched { step, tool, arguments, .. } => {
                let arguments = cut(&one_line(&arguments.preview()), ARGUMENTS);
                self.line(*step, &format!("  {tool} {arguments}"));
            }
            Event::ChildStarted { step, tool, child, .. } => {
                self.line(*step, &format!("  {tool}: task {}", ids::short(*child)));
            }
            Event::ToolReturned { step, is_error: true, result, .. }
            | Event::ChildEnded { step, is_error: true, result, .. } => {
                self.line(*step, &format!("  error: {}", one_line(&result.preview())));
            }
            Event::ModelAnswered { step, text, requests, .. } if requests.is_empty() => {
                self.line(*step, &format!("  {}", one_line(&text.preview())));
            }
            // Seen by their effects, or shown at the end.
            Event::Created { .. }
            | Event::Detected { .. }
            | Event::Claimed { .. }
            | Event::ModelRequested { .. }
            | Event::ModelAnswered { .. }
            | Event::ToolReturned { .. }
            | Event::ChildEnded { .. }
            | Event::Completed { .. }
            | Event::Failed { .. }
            | Event::Paused { .. } => {}
            _ => self.terminal.progress(one_line(&said(entry))),
        }
    }

    fn planned(&self, revision: u32, plan: &Plan, by: &Planner) {
        if revision > 1 {
            self.terminal.progress(format!("The plan is revised: {}", one_line(&by.reason)));
        }
        if by.degraded {
            self.terminal
                .warn(format!("This plan is only the best that could be done: {}", one_line(&by.reason)));
        }
        self.list(plan.steps.iter().map(|step| step.description.as_str()));
    }

    fn list<'a>(&self, descriptions: impl Iterator<Item = &'a str>) {
        self.terminal.progress("Plan:");
        for (position, description) in descriptions.enumerate() {
            self.terminal.progress(format!("  {}. {}", position + 1, one_line(description)));
        }
    }

    fn line(&self, step: u32, text: &str) {
        self.terminal.progress(format!("[{}/{}] {text}", step + 1, self.task.steps().len()));
    }

    fn describe(&self, step: u32) -> String {
        self.task.step(step).map_or_else(String::new, |step| one_line(&step.plan.description))
    }

    fn took(&self, step: u32) -> String {
        let times = |step: &Step| Some(step.completed_at?.since(step.started_at?));
        match self.task.step(step).and_then(times) {
            Some(span) => format!(" ({})", duration::short(span)),
            None => String::new(),
        }
    }

    fn spin(&mut self, entry: &Entry) {
        let Some(step) = entry.event.step() else { return };
        let doing = match &entry.event {
            Event::StepStarted { .. } => Some(self.describe(step)),
            Event::ModelRequested { model, .. } => Some(format!("asking {model}")),
            Event::ToolDispatched { tool, .. } => Some(format!("calling {tool}")),
            Event::ChildStarted { tool, .. } => Some(format!("waiting for {tool}")),
            Event::StepCompleted { .. } | Event::StepFailed { .. } | Event::StepSkipped { .. } => None,
            _ => return,
        };
        match doing {
            Some(doing) => self.doing.insert(step, doing),
            None => self.doing.remove(&step),
        };
        let mut running: Vec<_> = self.doing.iter().collect();
        running.sort_unstable();
        let running: Vec<String> =
            running.into_iter().map(|(step, doing)| format!("step {}: {doing}", step + 1)).collect();
        let done = format!("{} of {} steps", self.task.state().completed, self.task.total_steps());
        self.spinner.set_length(u64::from(self.task.total_steps()));
        self.spinner.set_position(u64::from(self.task.state().completed));
        self.spinner.set_message(if running.is_empty() {
            done
        } else {
            format!("{done}, {}", running.join(", "))
        });
    }
}

/// What an entry says, for people: how long something is waited for, where the journal has until when.
pub(super) fn said(entry: &Entry) -> String {
    match &entry.event {
        Event::StepFailed { step, fault, retry_at: Some(at) } => {
            let wait = duration::short(at.since(entry.at)).replace(".0 s", " s");
            format!("Step {} failed, next attempt in {wait}: {fault}", step + 1)
        }
        other => other.message(),
    }
}

/// A journal entry as `--json` prints it.
pub(super) fn entry_json(entry: &Entry) -> Value {
    json!({
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.event.kind(),
        "type": entry.event.trace_type(),
        "message": entry.event.message(),
        "step": entry.event.step(),
        "data": entry.event.data(),
    })
}

/// A text without line breaks, cut where a terminal would break it.
pub(super) fn one_line(text: &str) -> String {
    cut(&in_one_line(text), 160)
}

/// All of a text, without line breaks.
pub(super) fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The beginning of a text.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text content as it is, everything else as readable JSON.
pub(super) fn readable(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_else(|_| other.to_string()),
    }
}

/// The file that a returned call of the writing tool left behind, relative to the workspace.
pub(super) fn written_file(event: &Event, writing_calls: &mut HashSet<(u32, u32)>) -> Option<String> {
    match event {
        Event::ToolDispatched { step, call, tool, .. } if tool == "workspace_write" => {
            writing_calls.insert((*step, *call));
            None
        }
        Event::ToolReturned { step, call, result: Payload::Inline(result), is_error: false } => {
            if !writing_calls.remove(&(*step, *call)) {
                return None;
            }
            result.get("path")?.as_str().map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Fault, Timestamp};

    #[test]
    fn lines_stay_lines() {
        assert_eq!(one_line("a\n  b\tc "), "a b c");
        assert_eq!(cut("ééé", 2), "éé…");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), 161);
    }

    #[test]
    fn people_are_told_how_long_something_is_waited_for_and_programs_until_when() {
        let fault = Fault::transient("provider_unavailable", "no answer");
        let retry_at = Some(Timestamp::from_millis(3000));
        let event = Event::StepFailed { step: 0, fault, retry_at };
        let entry = Entry { seq: 7, epoch: 1, at: Timestamp::from_millis(0), event };
        assert!(
            said(&entry).starts_with("Step 1 failed, next attempt in 3 s: no answer"),
            "{}",
            said(&entry)
        );
        assert_eq!(entry_json(&entry)["data"]["retryAt"], "1970-01-01T00:00:03.000Z");
    }

    #[test]
    fn an_entry_has_the_documented_keys() {
        let event = Event::StepStarted { step: 2, attempt: 1 };
        let entry = Entry { seq: 7, epoch: 1, at: Timestamp::from_millis(0), event };
        assert_eq!(
            entry_json(&entry),
            json!({"seq": 7, "at": "1970-01-01T00:00:00.000Z", "kind": "step_started", "type": "decision",
                "message": "Step 3 started (attempt 1)", "step": 2, "data": {"step": 2, "attempt": 1}})
        );
    }
}
