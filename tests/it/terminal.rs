//! The command line while it runs: a task that is watched, and Ctrl-C, once and twice.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::program::{Program, signal};

/// A plan of one step whose model answers after this long.
fn script(delay_ms: u64) -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Think long", "type": "llm-reasoning"}]}}},
        {"role": "execute", "delayMs": delay_ms, "reply": {"text": "thought"}},
    ]})
}

const EVER_MS: u64 = 3_600_000;

fn started(program: &Program, arguments: &[&str]) -> Child {
    program.command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    signal("-INT", child.id());
}

/// Reads lines until one contains the word.
fn until(lines: &mut impl Iterator<Item = std::io::Result<String>>, word: &str) -> String {
    lines
        .map(Result::unwrap)
        .find(|line| line.contains(word))
        .unwrap_or_else(|| panic!("no line with {word}"))
}

fn the_task(program: &Program) -> (String, String) {
    let (code, listed, said) = program.run(&["task", "list", "--json"]);
    assert_eq!(code, 0, "{said}");
    let tasks: Value = serde_json::from_str(&listed).unwrap();
    let word = |name: &str| tasks[0][name].as_str().unwrap().to_owned();
    (word("id"), word("status"))
}

#[tokio::test]
async fn a_task_is_watched_to_its_end_from_another_terminal() {
    let program = Program::new(&script(1_500));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Think about it for a while").await.unwrap();
    let watching = tokio::task::spawn_blocking({
        let mut command = program.command();
        command.args(["task", "watch", &id, "--json"]);
        move || command.output().unwrap()
    });
    let watched = watching.await.unwrap();
    let printed = String::from_utf8_lossy(&watched.stdout).into_owned();
    assert_eq!(watched.status.code(), Some(0), "{printed}\n{}", String::from_utf8_lossy(&watched.stderr));
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (result, entries) = lines.split_last().unwrap();
    assert_eq!(result["status"], "completed", "{result}");
    let kinds: Vec<&str> = entries.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert!(kinds.contains(&"step_completed") && kinds.last() == Some(&"completed"), "{kinds:?}");
    let seqs: Vec<i64> = entries.iter().filter_map(|entry| entry["seq"].as_i64()).collect();
    assert!(seqs.is_sorted() && seqs.len() == entries.len(), "{seqs:?}");
    drop(server);
}

#[tokio::test]
async fn who_stops_watching_stops_nothing() {
    let program = Program::new(&script(EVER_MS));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Think about it for ever").await.unwrap();
    program.until(&server, &id, &["running"]).await;
    let mut child = started(&program, &["task", "watch", &id, "--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    until(&mut lines, "step_started");
    interrupt(&child);
    child.wait().unwrap();
    let task = program.until(&server, &id, &["running"]).await;
    assert_eq!(task["status"], "running", "{task}");
    drop(server);
}

#[test]
fn the_second_ctrl_c_does_not_wait_for_the_step() {
    let program = Program::new(&script(EVER_MS));
    let mut child = started(&program, &["run", "--json", "Think about it for ever"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    until(&mut lines, "model_requested");
    interrupt(&child);
    until(&mut said, "again");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let (id, status) = the_task(&program);
    assert!(["pending", "running"].contains(&status.as_str()), "{status}");
    // The journal says what was under way, for whoever goes on with it.
    let (code, trace, said) = program.run(&["task", "trace", &id, "--json"]);
    assert_eq!(code, 0, "{said}");
    assert!(trace.lines().any(|line| line.contains("model_requested")), "{trace}");
}
