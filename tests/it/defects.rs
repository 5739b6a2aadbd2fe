//! Defects of the system whose specification this is. None of them comes back.

use std::sync::Arc;
use std::time::Duration;

use longhaul::repository::{Claim, Commit, Lease, RepositoryError};
use longhaul::task::{Event, Limits, Payload, RetryPolicy, Status, StepType};
use serde_json::{Value, json};

use crate::program::Program;
use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, step};

async fn bare() -> World {
    World::new(Setup::default()).await
}

/// A model that never has a plan: a dead end stays one.
fn no_plan() -> Value {
    json!({"rules": [{"role": "plan", "reply": {"text": "no plan"}}]})
}

fn two_steps() -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Read", "type": "tool-call",
             "tool": {"name": "world_read", "arguments": {"label": "x"}}},
            {"id": "b", "description": "Answer", "type": "llm-reasoning"}]}}},
        {"role": "execute", "reply": {"text": "the answer"}},
        {"role": "chat", "reply": {"text": "hello"}},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_01_a_failed_step_is_no_progress_and_its_task_does_not_complete() {
    let world = World::new(Setup { script: no_plan(), ..Setup::default() }).await;
    let task = world.start(plan(vec![call("read", json!({})), call("broken", json!({}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Failed);
    assert_eq!((task.progress(), task.state().completed), (50, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_02_a_server_on_an_empty_database_makes_its_tables_and_works() {
    let program = Program::new(&two_steps());
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Do something with it").await.unwrap();
    let task = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_03_retries_happen_and_one_layer_counts_them() {
    let retry = RetryPolicy { base_ms: 1, max_ms: 2, ..RetryPolicy::default() };
    let world = World::new(Setup { script: no_plan(), retry, ..Setup::default() }).await;
    let task = world.start(plan(vec![call("flaky", json!({"failures": 1000}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.steps()[0].attempts, 5);
    assert_eq!(world.ledger.lock().unwrap().len(), 5, "five attempts are five calls");
    assert_eq!(task.status(), Status::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_04_a_running_worker_does_not_overwrite_a_cancel() {
    let world = bare().await;
    let task = world.start(plan((0..5).map(|_| call("slow", json!({"ms": 50}))).collect())).await;
    let worker = world.work("w");
    world.until(task.id, |task| task.state().completed >= 1).await;
    world.orchestrator.cancel(task.id, "p").await.unwrap();
    worker.stop().await;
    let task = world.repository.load(task.id).await.unwrap().unwrap();
    assert_eq!(task.status(), Status::Cancelled, "stored as what it is");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_05_a_task_that_was_acknowledged_survives_whatever_comes_next() {
    let program = Program::new(&two_steps());
    let server = program.serve(&["--no-worker"]).await;
    let id = program.orchestrate(&server, "Survive the crash right after the answer").await.unwrap();
    server.kill();
    let server = program.serve(&[]).await;
    assert_eq!(program.until(&server, &id, &["completed"]).await["status"], "completed");
    assert_eq!(program.run(&["doctor"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_06_a_stalled_worker_and_its_successor_do_not_both_write() {
    let world = bare().await;
    let task = world.start(plan(vec![call("read", json!({}))])).await;
    let claim = Claim { only: Some(task.id), ..Claim::by("stalled", Duration::ZERO) };
    let mut stalled = world.repository.claim(claim).await.unwrap().pop().unwrap().task;
    let _worker = world.work("successor");
    let ended = world.ended(task.id).await;
    let now = world.orchestrator.now();
    let late = stalled.record(now, Event::StepStarted { step: 0, attempt: 1 }).unwrap();
    let refused = world.repository.commit(Commit::new(&stalled, vec![late], vec![], Lease::Keep)).await;
    assert!(matches!(refused, Err(RepositoryError::Fenced)), "{refused:?}");
    assert_eq!(world.repository.load(task.id).await.unwrap().unwrap(), ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_06_a_worker_that_dies_twice_does_not_fail_the_task() {
    let world = bare().await;
    let task = world.start(plan(vec![call("hang_reading", json!({}))])).await;
    for attempt in 1..=2 {
        let worker = world.work("dies");
        world.until(task.id, |task| task.steps()[0].calls.iter().any(|call| call.attempt == attempt)).await;
        worker.kill().await;
    }
    let task = world.repository.load(task.id).await.unwrap().unwrap();
    assert_eq!(task.status(), Status::Running);
    assert_eq!(task.steps()[0].attempts, 1, "a death is not a failure of the step");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_07_checkpoints_and_summaries_happen_by_themselves() {
    let script = json!({"rules": [
        {"role": "summarize", "reply": {"text": "The essence."}},
        {"role": "execute", "contains": "The essence.", "reply": {"text": "answered from the summary"}},
    ]});
    let limits = Limits { context_window_limit: 1_000, ..Limits::default() };
    let world = World::new(Setup { script, limits, ..Setup::default() }).await;
    let mut steps: Vec<_> = (0..6).map(|_| call("read", json!({"text": "words ".repeat(300)}))).collect();
    steps.push(step(StepType::LlmReasoning, "Answer"));
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.state().output, Some(Payload::text("answered from the summary")));
    let kinds = world.kinds(task.id).await;
    assert!(kinds.contains(&"checkpoint_taken") && kinds.contains(&"context_summarized"), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_08_step_ten_follows_step_nine_and_the_newest_traces_are_shown() {
    let steps: Vec<Value> = (0..12)
        .map(|number| {
            json!({"id": format!("s{number}"), "description": format!("Part {number}"), "type": "tool-call",
                "tool": {"name": "world_read", "arguments": {"label": "x"}}})
        })
        .collect();
    let program = Program::new(&json!({"rules": [{"role": "plan", "reply": {"json": {"steps": steps}}}]}));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Twelve parts").await.unwrap();
    let task = program.until(&server, &id, &["completed"]).await;
    let indexes: Vec<&str> =
        task["steps"].as_array().unwrap().iter().filter_map(|step| step["index"].as_str()).collect();
    let expected: Vec<String> = (0..12).map(|index| index.to_string()).collect();
    assert_eq!(indexes, expected);
    let latest = task["latestTraces"].as_array().unwrap();
    let traces = program.traces(&server, &id).await;
    assert!(traces.len() > 50 - 12, "{}", traces.len());
    assert_eq!(latest.len(), 10);
    assert_eq!(latest[9]["message"], traces.last().unwrap()["message"]);
    assert_eq!(
        (&task["progress"], &task["currentStep"], &task["totalSteps"]),
        (&json!(100), &json!(12), &json!(12))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_09_side_by_side_steps_lose_no_update_and_an_error_is_an_error() {
    let limits = Limits { max_parallel_steps: 8, ..Limits::default() };
    let world = World::new(Setup { script: no_plan(), limits, ..Setup::default() }).await;
    let mut side_by_side = plan((0..8).map(|_| call("slow", json!({"ms": 30}))).collect());
    side_by_side.steps.iter_mut().for_each(|step| step.depends_on.clear());
    let task = world.start(side_by_side).await;
    let failing = world.start(plan(vec![call("flaky", json!({"failures": 1000}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.state().usage.tool_calls, 8);
    assert!(task.steps().iter().all(|step| step.output.is_some()));
    world.ended(failing.id).await;
    let errors = world.journal(failing.id).await;
    let is_error = |event: &Event| matches!(event, Event::ToolReturned { is_error: true, .. });
    assert!(errors.iter().any(|entry| is_error(&entry.event)));
    assert!(!errors.iter().any(|entry| matches!(entry.event, Event::ToolReturned { is_error: false, .. })));
}

/// That nothing younger than asked goes, and that what is older does, is a part of the
/// conformance suite; here it is asked for the way an operator does.
#[tokio::test(flavor = "multi_thread")]
async fn defect_10_cleaning_up_removes_what_is_old_and_nothing_else() {
    let program = Program::new(&two_steps());
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Something that ends").await.unwrap();
    program.until(&server, &id, &["completed"]).await;
    assert_eq!(program.run(&["prune", "--tasks", "1h", "--traces", "1h"]).0, 0);
    assert!(!program.traces(&server, &id).await.is_empty());
    assert_eq!(program.run(&["prune", "--tasks", "0s"]).0, 0);
    assert_eq!(program.get(&server, &format!("/api/chat/orchestrate?taskId={id}")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_11_the_api_key_is_asked_for_and_never_printed() {
    let key = "a-very-secret-key-of-the-operator";
    let program = Program::new(&two_steps()).with_key(key);
    let server = program.serve(&["--log", "trace"]).await;
    assert!(program.orchestrate(&server, "With the key").await.is_some());
    let address = format!("http://{}/api/chat/orchestrate?taskId=x", server.address);
    let client = reqwest::Client::new();
    let without = client.get(&address).send().await.unwrap();
    assert_eq!(without.status(), 401);
    assert_eq!(without.json::<Value>().await.unwrap(), json!({"error": "Unauthorized"}));
    let wrong = client.get(&address).bearer_auth(&key[1..]).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.json::<Value>().await.unwrap(), json!({"error": "Invalid API key"}));
    assert!(program.printed().len() > 100, "nothing was logged");
    assert!(!program.printed().contains(key) && !program.printed().contains(&key[1..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_12_no_command_comes_over_the_api_and_servers_get_no_environment() {
    let program = Program::new(&json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Look around", "type": "tool-call",
         "tool": {"name": "world_environment", "arguments": {}}}]}}}]}))
    .with_key("a-very-secret-key-of-the-operator");
    let server = program.serve(&[]).await;
    let marker = program.directory.path().join("it-was-run");
    let body = json!({"goal": "Run this for me", "threadId": "t",
        "allowedMcpServers": {"evil": {"tools": ["x"], "command": "touch", "args": [marker.display().to_string()]}},
        "mcpServers": {"evil": {"command": "touch", "args": [marker.display().to_string()]}}});
    program.post(&server, "/api/chat/orchestrate", &body).await.unwrap();
    let id = program.orchestrate(&server, "Look around").await.unwrap();
    let task = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    let seen = task["context"]["toolResults"].to_string();
    assert!(seen.contains("LEDGER") && !seen.contains("CHAT_API_KEY"), "{seen}");
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_13_the_users_message_is_stored_when_it_becomes_a_task() {
    let program = Program::new(&two_steps());
    let server = program.serve(&[]).await;
    let text = "Analyze all issues in my GitHub repo and create a summary report";
    let body = json!({"id": "thread-123",
        "message": {"id": "msg-456", "role": "user", "parts": [{"type": "text", "text": text}]}});
    let (status, reply) = program.post(&server, "/api/chat", &body).await.unwrap();
    assert_eq!(status, 200, "{reply}");
    assert_eq!((&reply["id"], &reply["orchestrated"]), (&json!("msg-456"), &json!(true)));
    drop(server);
    let path = program.directory.path().join("longhaul.db");
    let durability = longhaul::repository::SqliteDurability::Full;
    let repository = longhaul::repository::SqliteRepository::open(&path, durability).await.unwrap();
    let repository: Arc<dyn longhaul::repository::Repository> = Arc::new(repository);
    let messages = repository.messages("thread-123", 10).await.unwrap();
    assert_eq!(messages[0].id, "msg-456");
    assert!(messages[0].parts.to_string().contains(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_14_a_summariser_that_fails_leaves_the_notes_and_not_a_placeholder() {
    let script = json!({"rules": [
        {"role": "summarize", "reply": {"error": {"kind": "malformed", "outputTokens": 40}}},
        {"role": "execute", "contains": "needle-1", "reply": {"text": "found it"}},
    ]});
    let limits = Limits { context_window_limit: 4_000, ..Limits::default() };
    let world = World::new(Setup { script, limits, ..Setup::default() }).await;
    let text = |number: usize| json!({"text": format!("needle-{number} {}", "words ".repeat(500))});
    let mut steps: Vec<_> = (1..=6).map(|number| call("read", text(number))).collect();
    steps.push(step(StepType::LlmReasoning, "Find the needle"));
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let by: Vec<(String, u64)> = world
        .journal(task.id)
        .await
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::ContextSummarized { by, usage, .. } => Some((by, usage.output_tokens)),
            _ => None,
        })
        .collect();
    assert_eq!(by, [("truncation".to_owned(), 40)], "what it took is on the bill");
    is_the_same(&world, task.id, 2, 6).await;
}
