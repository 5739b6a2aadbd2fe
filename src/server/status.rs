//! How a task stands, in the fields of the original system.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::views::{EffectView, effects_that_may_stand};
use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::repository::{Repository, RepositoryError};
use crate::task::{
    Entry, Event, Evidence, Pause, Payload, Status, Step, StepStatus, StepType, Task, TaskId, Timestamp,
    TraceType,
};

/// Traces that are shown: the newest ones.
const LATEST: usize = 10;

/// Entries that are looked at for traces, tool results and messages. A status is polled, so it
/// must not cost more the longer the task is.
const LOOKED_AT: u32 = 200;

/// Findings, tool results and messages that are shown, the newest of each.
const CONTEXT_ITEMS: usize = 20;

/// Larger contents are shown by their beginning; the task's own routes have the whole.
const SHOWN_BYTES: u64 = 16 * 1024;

/// How a task stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskStatus {
    task_id: TaskId,
    status: Status,
    goal: String,
    /// 0 to 100.
    progress: u32,
    /// Completed steps.
    current_step: u32,
    total_steps: u32,
    steps: Vec<StepView>,
    latest_traces: Vec<TraceView>,
    /// `summary`, `findings` by step id, `toolResults` and `messageHistory`, as far as there are any.
    context: Map<String, Value>,
    last_error: Option<String>,
    /// Why it is paused; beyond the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<Pause>,
    /// The checks that were made of what steps claimed; beyond the original.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Evidence>,
    /// Of a cancelled task: the effects that did happen, or may have; beyond the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Vec<EffectView>>,
    created_at: Timestamp,
    updated_at: Timestamp,
    completed_at: Option<Timestamp>,
}

/// A step, in the fields of the original system.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "StatusStep")]
struct StepView {
    /// From 0, as text.
    index: String,
    description: String,
    #[schemars(with = "StepType")]
    r#type: &'static str,
    status: StepStatus,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    /// Milliseconds, as text.
    duration: Option<String>,
}

/// An entry, in the fields of the original system.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StatusTrace")]
struct TraceView {
    #[schemars(with = "TraceType")]
    r#type: &'static str,
    message: String,
    timestamp: Timestamp,
}

/// Reads how a task stands.
pub(super) async fn read(orchestrator: &Orchestrator, task: &Task) -> Result<TaskStatus, OrchestratorError> {
    let repository = orchestrator.repository().as_ref();
    let entries = repository.latest(task.id, LOOKED_AT).await?;
    let context = context(repository, task, &entries).await?;
    let effects = match task.status() {
        Status::Cancelled => Some(effects_that_may_stand(orchestrator, task.id).await?),
        _ => None,
    };
    Ok(TaskStatus { effects, ..view(task, &entries, context) })
}

fn view(task: &Task, entries: &[Entry], context: Map<String, Value>) -> TaskStatus {
    let state = task.state();
    let steps = task.steps().iter().enumerate().filter(|(_, step)| !step.replaced);
    TaskStatus {
        task_id: task.id,
        status: state.status,
        goal: task.spec().goal.clone(),
        progress: task.progress(),
        current_step: state.completed,
        total_steps: task.total_steps(),
        steps: steps.map(|(index, step)| step_view(index, step)).collect(),
        latest_traces: entries[entries.len().saturating_sub(LATEST)..].iter().map(trace_view).collect(),
        context,
        last_error: last_error(task),
        pause: state.pause.clone(),
        evidence: task.evidence(),
        effects: None,
        created_at: state.created_at,
        updated_at: state.updated_at,
        completed_at: state.completed_at,
    }
}

fn step_view(index: usize, step: &Step) -> StepView {
    let took =
        step.started_at.zip(step.completed_at).map(|(from, to)| to.since(from).as_millis().to_string());
    StepView {
        index: index.to_string(),
        description: step.plan.description.clone(),
        r#type: step.plan.kind.as_str(),
        status: step.status,
        started_at: step.started_at,
        completed_at: step.completed_at,
        duration: took,
    }
}

fn trace_view(entry: &Entry) -> TraceView {
    TraceView {
        r#type: entry.event.trace_type().as_str(),
        message: entry.event.message(),
        timestamp: entry.at,
    }
}

/// Why the task failed, or what went wrong in it last.
fn last_error(task: &Task) -> Option<String> {
    let of_step = || task.steps().iter().rev().find_map(|step| step.fault.as_ref());
    task.state().fault.as_ref().or_else(of_step).map(ToString::to_string)
}

async fn context(
    repository: &dyn Repository,
    task: &Task,
    entries: &[Entry],
) -> Result<Map<String, Value>, RepositoryError> {
    let mut context = Map::new();
    if let Some(summary) = &task.state().summary {
        context.insert("summary".to_owned(), shown(repository, &summary.text).await?);
    }
    let findings = findings(repository, task).await?;
    let mut results = Vec::new();
    for (tool, result) in newest(tool_results(entries)) {
        results.push(json!({"toolName": tool, "result": shown(repository, result).await?}));
    }
    let answers = entries.iter().filter_map(|entry| match &entry.event {
        Event::ModelAnswered { text, .. } => Some(text),
        _ => None,
    });
    let mut messages = Vec::new();
    for text in newest(answers.collect()) {
        messages.push(json!({"role": "assistant", "content": shown(repository, text).await?}));
    }
    if !findings.is_empty() {
        context.insert("findings".to_owned(), Value::Object(findings));
    }
    if !results.is_empty() {
        context.insert("toolResults".to_owned(), Value::Array(results));
    }
    if !messages.is_empty() {
        messages.insert(0, json!({"role": "user", "content": task.spec().goal}));
        context.insert("messageHistory".to_owned(), Value::Array(messages));
    }
    Ok(context)
}

/// What completed steps brought, by their ids.
async fn findings(repository: &dyn Repository, task: &Task) -> Result<Map<String, Value>, RepositoryError> {
    let completed = task.steps().iter().filter(|step| step.status == StepStatus::Completed);
    let brought = completed.filter_map(|step| Some((&step.plan.id, step.output.as_ref()?)));
    let mut findings = Map::new();
    for (id, output) in newest(brought.collect()) {
        findings.insert(id.clone(), shown(repository, output).await?);
    }
    Ok(findings)
}

fn newest<T>(mut items: Vec<T>) -> Vec<T> {
    items.split_off(items.len().saturating_sub(CONTEXT_ITEMS))
}

/// What tools returned, with their names, as far as both are among the entries.
fn tool_results(entries: &[Entry]) -> Vec<(&str, &Payload)> {
    let mut called = HashMap::new();
    let mut results = Vec::new();
    for entry in entries {
        match &entry.event {
            Event::ToolDispatched { step, call, tool, .. } | Event::ChildStarted { step, call, tool, .. } => {
                called.insert((*step, *call), tool.as_str());
            }
            Event::ToolReturned { step, call, result, .. } | Event::ChildEnded { step, call, result, .. } => {
                results.extend(called.get(&(*step, *call)).map(|tool| (*tool, result)));
            }
            _ => {}
        }
    }
    results
}

/// A content, or the beginning of a large one.
pub(super) async fn shown(repository: &dyn Repository, payload: &Payload) -> Result<Value, RepositoryError> {
    match payload {
        Payload::Blob { size, preview, .. } if *size > SHOWN_BYTES => Ok(Value::String(preview.clone())),
        small => repository.content(small).await,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::task::{Effect, Fault, Plan, PlannedStep, Planner, TaskSpec};

    fn task(steps: usize, events: impl IntoIterator<Item = Event>) -> (Task, Vec<Entry>) {
        let spec: TaskSpec =
            serde_json::from_value(json!({"goal": "g", "userId": "u", "threadId": "t"})).unwrap();
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1000);
        let first = Entry { seq: 1, epoch: 0, at: at(0), event: Event::Created { spec: Box::new(spec) } };
        let mut task = Task::begin(TaskId(Uuid::nil()), &first).unwrap();
        let plan = Plan { steps: (0..steps).map(planned).collect() };
        let mut entries = vec![first];
        let planned = Event::Planned { revision: 1, plan, by: Planner::default(), tools: None };
        for (event, second) in std::iter::once(planned).chain(events).zip(1..) {
            entries.push(task.record(at(second), event).unwrap());
        }
        (task, entries)
    }

    fn planned(index: usize) -> PlannedStep {
        serde_json::from_value(
            json!({"id": format!("step-{}", index + 1), "description": "d", "type": "tool-call"}),
        )
        .unwrap()
    }

    fn done(step: u32) -> [Event; 2] {
        let output = Some(Payload::text("o"));
        [Event::StepStarted { step, attempt: 1 }, Event::StepCompleted { step, output }]
    }

    fn written(task: &Task, entries: &[Entry]) -> Value {
        serde_json::to_value(view(task, entries, Map::new())).unwrap()
    }

    #[test]
    fn two_of_three_steps_are_sixty_six_percent() {
        let (task, entries) = task(3, done(0).into_iter().chain(done(1)));
        let status = written(&task, &entries);
        assert_eq!((&status["progress"], &status["currentStep"]), (&json!(66), &json!(2)));
        assert_eq!(status["totalSteps"], 3);
        assert_eq!(status["status"], "running");
        assert_eq!(status["lastError"], Value::Null);
        assert_eq!(status["completedAt"], Value::Null);
        assert_eq!(status["createdAt"], "2023-11-14T22:13:20.000Z");
        let first = json!({
            "index": "0", "description": "d", "type": "tool-call", "status": "completed",
            "startedAt": "2023-11-14T22:13:22.000Z", "completedAt": "2023-11-14T22:13:23.000Z", "duration": "1000",
        });
        assert_eq!(status["steps"][0], first);
        assert_eq!(status["steps"][2]["duration"], Value::Null);
    }

    #[test]
    fn defect_1_a_failed_step_is_no_progress() {
        let fault = Fault::permanent("tool_denied", "no");
        let failed = Event::StepFailed { step: 0, fault, retry_at: None };
        let (task, entries) = task(2, [Event::StepStarted { step: 0, attempt: 1 }, failed]);
        let status = written(&task, &entries);
        assert_eq!((&status["progress"], &status["currentStep"]), (&json!(0), &json!(0)));
        assert_eq!(status["lastError"], "no (tool_denied)");
    }

    #[test]
    fn defect_8_steps_are_in_order_and_the_newest_traces_are_shown() {
        let (task, entries) = task(12, (0..12).flat_map(done));
        let status = written(&task, &entries);
        let indexes: Vec<_> =
            status["steps"].as_array().unwrap().iter().map(|step| step["index"].clone()).collect();
        assert_eq!(indexes, (0..12).map(|index| json!(index.to_string())).collect::<Vec<_>>());
        let traces = status["latestTraces"].as_array().unwrap();
        assert_eq!(traces.len(), 10);
        assert_eq!(traces[9]["message"], "Step 12 completed");
        assert_eq!(traces[0]["message"], "Step 8 started (attempt 1)");
        assert_eq!(traces[9]["type"], "decision");
    }

    #[test]
    fn results_are_told_with_the_names_of_their_tools() {
        let dispatched = Event::ToolDispatched {
            step: 0,
            call: 1,
            attempt: 1,
            tool: "t".into(),
            arguments: Payload::Inline(json!({})),
            effect: Effect::ReadOnly,
            labels: Default::default(),
            request_id: None,
        };
        let returned = Event::ToolReturned { step: 0, call: 1, result: Payload::text("r"), is_error: false };
        let (_, entries) = task(1, [Event::StepStarted { step: 0, attempt: 1 }, dispatched, returned]);
        assert_eq!(tool_results(&entries), [("t", &Payload::text("r"))]);
    }
}
