//! Checkpoints and the real program: taken before what is dear, gone back to over API and command
//! line, and `kill -9` in between.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{Program, Server};

/// A read, a text of a model, an effect, and a question that stops the task behind all of them.
fn script() -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Read", "type": "tool-call",
             "tool": {"name": "world_read", "arguments": {"label": "a"}}},
            {"id": "b", "description": "Write", "type": "llm-reasoning"},
            {"id": "c", "description": "Pay", "type": "tool-call",
             "tool": {"name": "world_count", "arguments": {"label": "money"}}},
            {"id": "d", "description": "Ask", "type": "tool-call",
             "tool": {"name": "ask_person", "arguments": {"question": "Is it good?"}}},
        ]}}},
        {"role": "execute", "delayMs": 200, "reply": {"text": "written"}},
    ]})
}

/// A checkpoint is taken before each call that may consume so many tokens.
fn reserving(tokens: u64) -> Program {
    let program = Program::new(&script());
    program.reconfigure("maxCrashes = 10000", &format!("maxCrashes = 10000\ncheckpointReserve = {tokens}"));
    program
}

/// Waits until the task asks its question in a revision of its plan.
async fn asks(program: &Program, server: &Server, id: &str, revision: u64) -> Value {
    loop {
        program.until(server, id, &["paused"]).await;
        let (_, task) = program.get(server, &format!("/api/tasks/{id}")).await;
        if task["status"] == "paused" && task["revision"] == revision {
            return task;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn checkpoints(program: &Program, server: &Server, id: &str) -> Vec<Value> {
    let (status, reply) = program.get(server, &format!("/api/tasks/{id}/checkpoints")).await;
    assert_eq!(status, 200, "{reply}");
    reply["checkpoints"].as_array().unwrap().clone()
}

fn calls(program: &Program, tool: &str) -> usize {
    program.ledger("tool-ledger.jsonl").iter().filter(|line| line["tool"] == tool).count()
}

fn kinds(traces: &[Value]) -> Vec<&str> {
    traces.iter().filter_map(|trace| trace["kind"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_taken_before_a_dear_call_and_only_then() {
    for (reserve, expected) in [(1_000, 1), (1_000_000, 0), (0, 0)] {
        let program = reserving(reserve);
        let server = program.serve(&[]).await;
        let id = program.orchestrate(&server, "Write and pay").await.unwrap();
        asks(&program, &server, &id, 1).await;
        assert_eq!(checkpoints(&program, &server, &id).await.len(), expected, "checkpointReserve {reserve}");
        let traces = program.traces(&server, &id).await;
        let kinds = kinds(&traces);
        if let Some(taken) = kinds.iter().position(|kind| *kind == "checkpoint_taken") {
            assert_eq!(kinds[taken + 1], "model_requested", "it stands right before the call: {kinds:?}");
            assert_eq!(traces[taken]["data"]["completed"], 1, "{}", traces[taken]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_back_over_the_api_and_a_kill_behind_the_reply_takes_nothing_of_it() {
    let program = reserving(1_000);
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Write and pay").await.unwrap();
    asks(&program, &server, &id, 1).await;
    let taken = checkpoints(&program, &server, &id).await[0]["seq"].clone();
    server.kill();
    let server = program.serve(&[]).await;
    let path = format!("/api/tasks/{id}/restore");
    let (status, reply) = program.post(&server, &path, &json!({"checkpoint": 1})).await.unwrap();
    assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{reply}");
    let (status, reply) = program.post(&server, &path, &json!({"checkpoint": taken})).await.unwrap();
    assert_eq!((status, &reply["code"]), (409, &json!("effects_would_repeat")), "{reply}");
    let again = json!({"checkpoint": taken, "repeatEffects": true});
    let (status, reply) = program.post(&server, &path, &again).await.unwrap();
    assert_eq!(status, 200, "{reply}");
    server.kill();
    let server = program.serve(&[]).await;
    let task = asks(&program, &server, &id, 2).await;
    assert_eq!(task["status"], "paused", "{task:#}");
    assert_eq!(calls(&program, "read"), 1, "what was done at the checkpoint is not done again");
    assert_eq!(calls(&program, "count"), 2, "what came behind it is");
    let (_, effects) = program.get(&server, &format!("/api/tasks/{id}/effects")).await;
    let paid = effects["effects"].as_array().unwrap().iter().filter(|effect| effect["tool"] == "world_count");
    assert_eq!(paid.count(), 2, "both payments are on record: {effects}");
    let traces = program.traces(&server, &id).await;
    let numbers: Vec<i64> = traces.iter().filter_map(|trace| trace["seq"].as_i64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert_eq!(kinds(&traces).iter().filter(|kind| **kind == "restored").count(), 1);
    server.terminate();
    let (code, printed, _) = program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn a_task_goes_back_on_the_command_line_and_a_kill_while_it_goes_on_takes_nothing_of_it() {
    let program = reserving(1_000);
    let (code, printed, errors) = program.run(&["run", "Write and pay"]);
    assert_eq!(code, 6, "it waits for a person: {printed}{errors}");
    let (_, listed, _) = program.run(&["task", "list", "--json"]);
    let tasks: Value = serde_json::from_str(&listed).unwrap();
    let id = tasks[0]["id"].as_str().unwrap();
    let (code, listed, errors) = program.run(&["task", "checkpoint", id, "--list", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let taken: Value = serde_json::from_str(&listed).unwrap();
    let seq = taken[0]["seq"].to_string();
    let back = ["task", "restore", id, "--checkpoint", &seq];
    let (code, _, errors) = program.run(&back);
    assert!(code != 0 && errors.contains("effects_would_repeat"), "{errors}");
    let (code, printed, errors) = program.run(&[&back[..], &["--repeat-effects"]].concat());
    assert_eq!(code, 0, "{printed}{errors}");

    let mut run = program.command();
    run.args(["run", "--resume", id, "--json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut run = run.spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    let asked = |line: &String| line.contains("model_requested") && line.contains(r#""step":4"#);
    let said = lines.find(asked);
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(said.is_some(), "the model is asked again, in a step of the new revision");

    let (code, printed, errors) = program.run(&["run", "--resume", id]);
    assert_eq!(code, 6, "{printed}{errors}");
    let (code, printed, errors) = program.run(&["task", "answer", id, "Yes"]);
    assert_eq!(code, 0, "{printed}{errors}");
    let (code, printed, errors) = program.run(&["run", "--resume", id]);
    assert_eq!(code, 0, "{printed}{errors}");
    assert_eq!((calls(&program, "read"), calls(&program, "count")), (1, 2));
    let (code, printed, _) = program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}");
}

/// Whoever looks may be elsewhere, without the key of the model.
#[test]
fn the_window_that_is_looked_at_is_that_of_the_model_which_the_task_is_given_to() {
    let ask = json!({"tool": "ask_person", "arguments": {"question": "Which?"}});
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [{"id": "a", "description": "Ask", "type": "tool-call"}]}}},
        {"role": "execute", "reply": {"toolCalls": [ask]}},
    ]}));
    let (code, printed, said) = program.run(&["run", "--json", "Ask and ask again, then write it down"]);
    assert_eq!(code, 6, "{printed}{said}");
    let result: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let shown = |name: &str, limit: u64| {
        let (code, printed, said) =
            program.run(&["task", "context", result["taskId"].as_str().unwrap(), "--json"]);
        assert_eq!(code, 0, "{said}");
        let view: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&view["model"], &view["limit"]), (&json!(name), &json!(limit)), "{view}");
        assert_eq!(view["step"], "step-1", "{view}");
    };
    shown("scripted/test", 100_000);
    program.reconfigure(
        "default = \"scripted/test\"",
        "default = \"anthropic/own\"\nwindows = { \"anthropic/own\" = 32000 }",
    );
    shown("anthropic/own", 32_000);
}
