//! MCP servers that die, fail, hang and answer with far too much: the real program, and a real server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Program, Server};

/// One planned call of a tool of the counting server.
fn one_call(tool: &str, arguments: Value) -> Value {
    json!({"rules": [
        {"role": "plan", "contains": "has to be revised", "reply": {"text": "I have no other plan."}},
        {"role": "plan", "contains": "cannot be used", "reply": {"text": "I have no other plan."}},
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Call it", "type": "tool-call",
             "tool": {"name": tool, "arguments": arguments}}]}}},
    ]})
}

/// The configuration in which a tool has this effect.
fn effect(tool: &str, effect: &str) -> String {
    format!("tools = {{ {tool} = {{ effect = {effect:?} }} }}\n")
}

fn keys(program: &Program, tool: &str) -> Vec<String> {
    let calls = program.ledger("tool-ledger.jsonl").into_iter().filter(|line| line["tool"] == tool);
    calls.map(|line| line["key"].as_str().unwrap().to_owned()).collect()
}

async fn run(program: &Program, server: &Server) -> Value {
    let id = program.orchestrate(server, "Call the tool").await.unwrap();
    let task = program.until(server, &id, &["completed", "failed", "paused"]).await;
    assert_eq!(program.run(&["doctor"]).0, 0);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_server_dies_is_repeated_by_its_effect() {
    for (class, status, calls) in
        [("read-only", "completed", 2), ("idempotent", "completed", 2), ("unsafe", "paused", 1)]
    {
        let script = one_call("world_die_once", json!({"label": "x"}));
        let program = Program::on(None, &script, &effect("die_once", class));
        let server = program.serve(&[]).await;
        let task = run(&program, &server).await;
        assert_eq!(task["status"], status, "{class}: {task:#}");
        let keys = keys(&program, "die_once");
        assert_eq!(keys.len(), calls, "{class}: {keys:?}");
        assert!(keys.iter().all(|key| *key == keys[0]), "{class}: one call has one key: {keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_a_tool_reports_is_tried_again_only_where_that_does_no_harm() {
    for (class, status, calls) in
        [("read-only", "completed", 3), ("idempotent", "completed", 3), ("unsafe", "failed", 1)]
    {
        let script = one_call("world_flaky", json!({"label": "x", "failures": 2}));
        let program = Program::on(None, &script, &effect("flaky", class));
        let server = program.serve(&[]).await;
        let task = run(&program, &server).await;
        assert_eq!(task["status"], status, "{class}: {task:#}");
        assert_eq!(keys(&program, "flaky").len(), calls, "{class}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_a_hanging_tool_within_five_seconds() {
    let program = Program::new(&one_call("world_hang", json!({})));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Call the tool").await.unwrap();
    until(|| !keys(&program, "hang").is_empty()).await;
    let cancelled = Instant::now();
    let path = format!("/api/chat/orchestrate?taskId={id}");
    let reply = program.request("DELETE", &server, &path).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    until(|| !keys(&program, "cancelled").is_empty()).await;
    let reached = cancelled.elapsed();
    assert!(reached <= Duration::from_secs(5), "the tool heard of it after {reached:?}");
    // The outcome is recorded behind the end, and the status stays.
    loop {
        let traces = program.traces(&server, &id).await;
        if traces.last().is_some_and(|trace| trace["kind"] == "call_lost") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_, task) = program.get(&server, &path).await;
    assert_eq!(task["status"], "cancelled", "{task:#}");
    let (_, effects) = program.get(&server, &format!("/api/tasks/{id}/effects")).await;
    assert_eq!(effects["effects"][0]["state"], "unknown", "{effects:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_calls_a_hanging_tool_off_within_five_seconds_if_it_may_be_called_again() {
    let declared = "tools = { hang = { effect = \"idempotent\" } }";
    let program = Program::on(None, &one_call("world_hang", json!({})), declared);
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Call the tool").await.unwrap();
    until(|| !keys(&program, "hang").is_empty()).await;
    // It is recorded a moment after it began.
    while !kinds(&program, &server, &id).await.contains(&"tool_dispatched".to_owned()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let paused = Instant::now();
    let (status, reply) = program.post(&server, &format!("/api/tasks/{id}/pause"), &json!({})).await.unwrap();
    assert_eq!((status, &reply["status"]), (200, &json!("paused")), "{reply:#}");
    let flight = &reply["inFlight"][0];
    assert_eq!((&flight["tool"], &flight["isCalledOff"]), (&json!("world_hang"), &json!(true)), "{reply:#}");
    until(|| !keys(&program, "cancelled").is_empty()).await;
    let reached = paused.elapsed();
    assert!(reached <= Duration::from_secs(5), "the tool heard of it after {reached:?}");
    while !kinds(&program, &server, &id).await.contains(&"call_failed".to_owned()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_, task) = program.get(&server, &format!("/api/tasks/{id}")).await;
    assert_eq!((&task["status"], &task["inFlight"]), (&json!("paused"), &Value::Null), "{task:#}");
    assert!(!kinds(&program, &server, &id).await.contains(&"step_failed".to_owned()));

    program.post(&server, &format!("/api/tasks/{id}/resume"), &json!({})).await.unwrap();
    until(|| keys(&program, "hang").len() == 2).await;
    let called = keys(&program, "hang");
    assert_eq!(called[0], called[1], "it is the same call, under the same key");
    program.post(&server, &format!("/api/tasks/{id}/cancel"), &json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_leaves_an_unsafe_call_to_end_and_its_outcome_is_kept() {
    let program = Program::new(&one_call("world_slow", json!({"ms": 3500})));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Call the tool").await.unwrap();
    until(|| !keys(&program, "slow").is_empty()).await;
    let (_, reply) = program.post(&server, &format!("/api/tasks/{id}/pause"), &json!({})).await.unwrap();
    let flight = &reply["inFlight"][0];
    assert_eq!((&flight["effect"], &flight["isCalledOff"]), (&json!("unsafe"), &json!(false)), "{reply:#}");
    while !kinds(&program, &server, &id).await.contains(&"tool_returned".to_owned()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, task) = program.get(&server, &format!("/api/tasks/{id}")).await;
    assert_eq!(task["status"], "paused", "{task:#}");
    program.post(&server, &format!("/api/tasks/{id}/resume"), &json!({})).await.unwrap();
    let task = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    assert_eq!((keys(&program, "slow").len(), keys(&program, "cancelled").len()), (1, 0));
}

async fn kinds(program: &Program, server: &Server, id: &str) -> Vec<String> {
    let traces = program.traces(server, id).await;
    traces.iter().filter_map(|trace| trace["kind"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_tool_hangs_keeps_nobody_else_waiting() {
    let mut script = one_call("world_hang", json!({}));
    let rules = script["rules"].as_array_mut().unwrap();
    let plan = json!({"steps": [{"id": "a", "description": "Call it", "type": "tool-call",
        "tool": {"name": "world_read", "arguments": {"label": "x"}}}]});
    rules.insert(0, json!({"role": "plan", "goalContains": "quick", "reply": {"json": plan}}));
    let program = Program::new(&script);
    let server = program.serve(&[]).await;
    program.orchestrate(&server, "Call the tool").await.unwrap();
    until(|| !keys(&program, "hang").is_empty()).await;
    let quick = program.orchestrate(&server, "a quick one").await.unwrap();
    program.until(&server, &quick, &["completed"]).await;
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it happens");
}

/// Bytes of one line of a process's status, which counts in kilobytes.
#[cfg(target_os = "linux")]
fn memory(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|text| text.starts_with(line)).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_50_mb_costs_no_more_memory_than_twice_the_limit() {
    const LIMIT: u64 = 8 * 1024 * 1024;
    let program = Program::new(&one_call("world_huge", json!({"bytes": 50_000_000})));
    let server = program.serve(&[]).await;
    // The first one warms everything up; the peak is counted from the second on.
    run(&program, &server).await;
    std::fs::write(format!("/proc/{}/clear_refs", server.process()), "5").unwrap();
    let before = memory(server.process(), "VmRSS");
    let task = run(&program, &server).await;
    assert_eq!(task["status"], "failed", "{task:#}");
    let grown = memory(server.process(), "VmHWM").saturating_sub(before);
    assert!(grown <= 2 * LIMIT, "it grew by {grown} bytes");
}
