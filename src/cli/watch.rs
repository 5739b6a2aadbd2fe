//! Watches one task until it ends or waits for a person, and tells how it ended.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::display::{Display, Form, in_one_line, readable, written_file};
use super::error::CliError;
use super::follow::Follower;
use super::terminal::Terminal;
use super::wiring::Engine;
use super::{Exit, duration, way_on};
use crate::orchestrator::{Orchestrator, OrchestratorError, RequestId, WaitsFor, requests_about_outcomes};
use crate::task::{Entry, Event, Pause, Status, Task, TaskId};

/// How often to look whether a sub-task waits for a person, and nothing else goes on.
const LOOK: Duration = Duration::from_millis(500);

/// One task and everything needed to watch it.
pub(super) struct Watch {
    display: Display,
    follower: Follower,
    terminal: Terminal,
    form: Form,
    /// Files the task has written, relative to the workspace.
    files: Vec<String>,
    /// Calls of the writing tool that have not returned.
    writing: HashSet<(u32, u32)>,
    /// The sub-tasks that wait for a person, if nothing of the task goes on without one.
    waits_for: Vec<WaitsFor>,
    /// Whether the newest plan is only the best that could be done.
    degraded: bool,
}

impl Watch {
    /// Watches a task. Entries up to `known` are no news to people.
    pub(super) fn new(engine: &Engine, terminal: &Terminal, form: Form, task: Task, known: i64) -> Self {
        Self {
            follower: Follower::new(engine.repository().clone(), task.id, 0),
            display: Display::new(terminal.clone(), form, task, known),
            terminal: terminal.clone(),
            form,
            files: Vec::new(),
            writing: HashSet::new(),
            waits_for: Vec::new(),
            degraded: false,
        }
    }

    /// Which task.
    pub(super) fn id(&self) -> TaskId {
        self.display.task().id
    }

    /// Shows what happens until the task ends or is paused, or nothing of it goes on because its sub-tasks
    /// wait for a person.
    pub(super) async fn until_rest(&mut self, orchestrator: &Orchestrator) -> Result<(), CliError> {
        self.catch_up().await?;
        while self.display.task().status().is_live() {
            let entries = tokio::select! {
                entries = self.follower.next() => entries?,
                waits_for = stands_still(orchestrator, self.display.task()) => {
                    self.waits_for = waits_for?;
                    return Ok(());
                }
            };
            self.show(&entries);
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Shows what has happened so far.
    pub(super) async fn catch_up(&mut self) -> Result<(), CliError> {
        loop {
            let entries = self.follower.read().await?;
            if entries.is_empty() {
                return Ok(());
            }
            self.show(&entries);
        }
    }

    fn show(&mut self, entries: &[Entry]) {
        for entry in entries {
            let file = written_file(&entry.event, &mut self.writing);
            // A report that is written twice is still one file.
            self.files.extend(file.filter(|file| !self.files.contains(file)));
            if let Event::Planned { by, .. } = &entry.event {
                self.degraded = by.degraded;
            }
            self.display.show(entry);
        }
    }

    /// Tells how the task stands and what to do next.
    pub(super) async fn conclude(self, engine: &Engine) -> Result<Exit, CliError> {
        self.display.finish();
        let task = self.display.task();
        let output = match &task.state().output {
            Some(output) => engine.repository().content(output).await?,
            None => Value::Null,
        };
        let files = files_on_disk(engine, &self.files);
        let waits_for = if task.status().is_live() { self.waits_for.as_slice() } else { &[] };
        match self.form {
            Form::Json => {
                let mut result = result_json(task, &output, &files);
                result["degraded"] = json!(self.degraded);
                if !waits_for.is_empty() {
                    result["waitsFor"] = json!(waits_for);
                }
                self.terminal.result(result.to_string());
            }
            Form::Lines => {
                let paused = waits_for.iter().map(|below| below.task).chain([task.id]);
                let mut doubts = Vec::new();
                for id in paused {
                    doubts.extend(doubt(engine, id).await?);
                }
                self.tell(task, &output, &files, waits_for, &doubts);
            }
        }
        Ok(if waits_for.is_empty() { exit(task.status()) } else { Exit::Paused })
    }

    fn tell(
        &self,
        task: &Task,
        output: &Value,
        files: &[PathBuf],
        waits_for: &[WaitsFor],
        doubts: &[RequestId],
    ) {
        let (id, state) = (task.id, task.state());
        let say = |line: String| self.terminal.note(line);
        match state.status {
            Status::Completed => {
                // That a file was written is said below, better than the tool says it.
                if !output.is_null() && !is_about_file(output, &self.files) {
                    self.terminal.progress("");
                    self.terminal.result(readable(output).trim_end());
                    self.terminal.progress("");
                }
            }
            Status::Failed => {
                let why = state.fault.as_ref().map(ToString::to_string).unwrap_or_default();
                self.terminal.warn(format!("The task failed: {}", in_one_line(&why)));
            }
            Status::Cancelled => self.terminal.warn("The task was cancelled."),
            Status::Paused => {
                let pause = state.pause.as_ref();
                let why = pause.map(|pause| pause.detail.clone()).unwrap_or_default();
                self.terminal.warn(format!("The task is paused: {}", in_one_line(&why)));
                if let Some(pause) = pause {
                    self.tell_way_on(id, pause, doubts);
                }
            }
            Status::Pending | Status::Running if !waits_for.is_empty() => {
                for below in waits_for {
                    self.terminal.warn(format!("The task waits: {}", waiting(below)));
                    self.tell_way_on(below.task, &below.pause, doubts);
                }
            }
            Status::Pending | Status::Running => {
                say(format!(
                    "The task is not done and nothing of it is lost. Go on: {}",
                    self.terminal.resume(id)
                ));
            }
        }
        for file in files {
            self.terminal.result(format!("Written: {}", file.display()));
        }
        if !state.usage.is_nothing() {
            self.terminal.progress(format!("Used: {}", state.usage));
        }
        self.terminal.progress(format!("Look at the trace: {} task trace {id}", self.terminal.program()));
    }

    /// Says what lets a task go on that is paused: this one, or one below it.
    fn tell_way_on(&self, paused: TaskId, pause: &Pause, doubts: &[RequestId]) {
        let doubt = doubts.iter().find(|doubt| doubt.task == paused);
        let word = format!("{} task {}", self.terminal.program(), way_on::for_pause(paused, pause, doubt));
        let resume = self.terminal.resume(self.id());
        self.terminal.note(format!("Let it go on: {word}, then {resume}"));
    }
}

/// The sub-tasks that wait for a person, once nothing else of the task goes on.
async fn stands_still(orchestrator: &Orchestrator, task: &Task) -> Result<Vec<WaitsFor>, OrchestratorError> {
    loop {
        tokio::time::sleep(LOOK).await;
        let below = orchestrator.below(task).await?;
        if !below.goes_on && !below.waits_for.is_empty() {
            return Ok(below.waits_for);
        }
    }
}

/// Which sub-task waits for what, in one line.
pub(super) fn waiting(below: &WaitsFor) -> String {
    let why = in_one_line(&below.pause.detail);
    format!("the sub-task {} is paused: {why}", below.task)
}

/// The first call of a task of which nobody knows whether it took effect.
async fn doubt(engine: &Engine, id: TaskId) -> Result<Option<RequestId>, CliError> {
    let task = engine.repository().load(id).await?;
    Ok(task.and_then(|task| requests_about_outcomes(&task).into_iter().next()))
}

/// What the exit code says about a task that stands there.
pub(super) fn exit(status: Status) -> Exit {
    match status {
        Status::Completed => Exit::Done,
        Status::Failed | Status::Cancelled => Exit::Failed,
        Status::Paused => Exit::Paused,
        Status::Pending | Status::Running => Exit::Interrupted,
    }
}

/// Whether an answer is no more than what the writing tool returned.
fn is_about_file(output: &Value, files: &[String]) -> bool {
    output.get("path").and_then(Value::as_str).is_some_and(|path| files.iter().any(|file| file == path))
}

fn files_on_disk(engine: &Engine, files: &[String]) -> Vec<PathBuf> {
    let workspace = engine.settings.config.tools.workspace.clone().unwrap_or_default();
    // Without a working directory the relative path is still the best there is to say.
    let absolute = |file: &String| {
        let path = workspace.join(file);
        std::path::absolute(&path).unwrap_or(path)
    };
    files.iter().map(absolute).collect()
}

fn result_json(task: &Task, output: &Value, files: &[PathBuf]) -> Value {
    let state = task.state();
    let end = state.completed_at.unwrap_or(state.updated_at);
    json!({
        "taskId": task.id,
        "status": state.status,
        "output": output,
        "fault": state.fault,
        "pause": state.pause,
        "files": files,
        "steps": {"completed": state.completed, "total": task.total_steps()},
        "usage": state.usage,
        "durationMs": end.since(state.created_at).as_millis() as u64,
    })
}

/// How long a task has taken, for people.
pub(super) fn took(task: &Task) -> String {
    let state = task.state();
    duration::short(state.completed_at.unwrap_or(state.updated_at).since(state.created_at))
}
