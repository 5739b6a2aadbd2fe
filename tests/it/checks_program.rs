//! Verified completion and the real program: `kill -9` while a check is made, and anywhere between what
//! was done, what is claimed and what is verified.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Program, Server};

/// A call that changes something, once per key, and is done only if the probe says so.
fn script() -> Value {
    json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Pay", "type": "tool-call", "checks": [{"probe": "paid"}],
         "tool": {"name": "world_keyed", "arguments": {"label": "money"}}}]}}}]})
}

/// The program with a probe that is this text of a shell; it runs in a directory of its own.
fn probed(shell: &str, limits: &str) -> Program {
    let directory = tempfile::tempdir().unwrap().keep();
    let more =
        format!("\n[checks.paid]\ncommand = \"/bin/sh\"\nargs = [\"-c\", {shell:?}]\ncwd = {directory:?}\n");
    let program = Program::on(None, &script(), &more);
    program.reconfigure("maxCrashes = 10000", &format!("maxCrashes = 10000\n{limits}"));
    // Where the probe writes is found beside the program.
    std::os::unix::fs::symlink(directory, program.directory.path().join("probe")).unwrap();
    program
}

fn lines(program: &Program, name: &str) -> Vec<String> {
    let path = program.directory.path().join("probe").join(name);
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("in time");
}

/// What the journal says of the step, in order.
async fn about(program: &Program, server: &Server, id: &str) -> Vec<String> {
    let wanted = ["tool_returned", "step_claimed", "step_verified", "step_completed", "completed"];
    let traces = program.traces(server, id).await;
    let kinds = traces.iter().filter_map(|trace| trace["kind"].as_str());
    kinds.filter(|kind| wanted.contains(kind)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_a_kill_cut_off_is_made_again_and_what_it_looks_at_is_not() {
    let program = probed("echo $$ >> began; test -e go || exec sleep 600", "");
    let mut server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Pay").await.unwrap();
    for kill in 1..=3 {
        until(|| lines(&program, "began").len() == kill).await;
        let said = about(&program, &server, &id).await;
        assert_eq!(said, ["tool_returned", "step_claimed"], "done and claimed, and not verified");
        let probe = lines(&program, "began").pop().unwrap();
        server.kill();
        let process = format!("/proc/{probe}");
        until(|| !Path::new(&process).exists()).await;
        server = program.serve(&[]).await;
    }
    until(|| lines(&program, "began").len() == 4).await;
    std::fs::write(program.directory.path().join("probe/go"), "").unwrap();
    // The check that began before does not know of it.
    server.kill();
    let server = program.serve(&[]).await;
    let ended = program.until(&server, &id, &["completed", "failed", "paused"]).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let said = about(&program, &server, &id).await;
    assert_eq!(said, ["tool_returned", "step_claimed", "step_verified", "step_completed", "completed"]);
    assert_eq!(program.ledger("tool-ledger.jsonl").len(), 1, "the payment is made once");
    server.terminate();
    let (code, printed, _) = program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_reaches_a_probe_and_it_is_asked_again_when_the_task_goes_on() {
    let program = probed("echo $$ >> began; test -e go || exec sleep 600", "");
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Pay").await.unwrap();
    until(|| lines(&program, "began").len() == 1).await;
    let path = format!("/api/tasks/{id}");
    let (status, reply) = program.post(&server, &format!("{path}/pause"), &json!({})).await.unwrap();
    assert_eq!(status, 200, "{reply}");
    let process = format!("/proc/{}", lines(&program, "began")[0]);
    until(|| !Path::new(&process).exists()).await;
    std::fs::write(program.directory.path().join("probe/go"), "").unwrap();
    let (status, reply) = program.post(&server, &format!("{path}/resume"), &json!({})).await.unwrap();
    assert_eq!(status, 200, "{reply}");
    let ended = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!((lines(&program, "began").len(), program.ledger("tool-ledger.jsonl").len()), (2, 1));
}

/// Kills in the test below, and tasks that are under way meanwhile.
const KILLS: u64 = 25;
const TASKS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_between_done_claimed_and_verified_doubles_anything_or_completes_what_is_not_so() {
    // The first look at a task finds nothing; every second task is never found to be paid.
    let look = r#"told=$(cat); sleep 0.05; case "$told" in *"Never pay"*) exit 1;; esac
        id=$(echo "$told" | sed 's/.*"taskId":"\([^"]*\)".*/\1/')
        test -e "seen-$id" || { touch "seen-$id"; exit 1; }"#;
    let program = probed(look, "maxReplans = 0\nmaxRepairs = 1");
    let mut ids: Vec<String> = Vec::new();
    let mut server = program.serve(&[]).await;
    for kill in 0..KILLS {
        if ids.len() < TASKS {
            let goal = if ids.len().is_multiple_of(2) { "Pay" } else { "Never pay" };
            ids.push(program.orchestrate(&server, &format!("{goal} {kill}")).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(7 * kill * kill % 150)).await;
        server.kill();
        server = program.serve(&[]).await;
    }
    for (number, id) in ids.iter().enumerate() {
        let task = program.until(&server, id, &["completed", "failed", "paused"]).await;
        let said = about(&program, &server, id).await;
        let times = |kind: &str| said.iter().filter(|said| *said == kind).count();
        assert_eq!(times("tool_returned"), 1, "{said:?}");
        assert_eq!(times("step_verified"), times("step_claimed"), "each claim is judged once: {said:?}");
        let is_call = |line: &&Value| line["key"].as_str().is_some_and(|key| key.starts_with(id));
        let ledger = program.ledger("tool-ledger.jsonl");
        let keys: std::collections::BTreeSet<String> =
            ledger.iter().filter(is_call).map(|line| line["key"].to_string()).collect();
        assert_eq!(keys.len(), 1, "a payment has one key: {keys:?}");
        match number % 2 {
            0 => {
                assert_eq!(task["status"], "completed", "{task:#}");
                assert_eq!(said[said.len() - 3..], ["step_verified", "step_completed", "completed"]);
            }
            _ => {
                assert_eq!(task["status"], "paused", "an unmet check is no completion: {task:#}");
                assert_eq!((times("step_completed"), times("completed")), (0, 0), "{said:?}");
            }
        }
    }
    server.terminate();
    let (code, printed, _) = program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}");
}
