//! Sub-tasks as a user meets them: over HTTP, on the command line, and while the program is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::postgres;
use crate::program::{Program, Server};

/// A plan that calls a workflow outright, and a model that calls it twice.
fn script() -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Count outright", "type": "tool-call",
             "tool": {"name": "workflow_count", "arguments": {"label": "outright"}}},
            {"id": "b", "description": "Count as you like", "type": "tool-call", "dependsOn": []},
            {"id": "c", "description": "Answer", "type": "llm-reasoning", "dependsOn": ["a", "b"]},
        ]}}},
        {"role": "execute", "contains": "Your step (step-3)", "delayMs": 10, "reply": {"text": "the answer"}},
        {"role": "execute", "turn": 0, "delayMs": 10, "reply": {"toolCalls": [
            {"tool": "workflow_count", "arguments": {"label": "first"}},
            {"tool": "workflow_count", "arguments": {"label": "second"}}]}},
        {"role": "execute", "reply": {"text": "counted"}},
    ]})
}

async fn add_template(program: &Program, server: &Server) {
    let step = |tool: &str| {
        json!({"description": "Count {{label}}", "type": "tool-call",
            "tool": {"name": tool, "arguments": {"label": "{{label}}", "ms": 5}}})
    };
    let body = json!({
        "name": "count", "goal": "Count {{label}}", "description": "Counts once.",
        "parameters": {"required": ["label"], "properties": {"label": {"type": "string"}}},
        "steps": [step("world_read"), step("world_keyed")],
    });
    let (status, reply) = program.post(server, "/api/templates", &body).await.unwrap();
    assert!(status < 300, "{reply}");
}

/// Starts a task that mentions the workflow. None if the server did not answer.
async fn start(program: &Program, server: &Server, goal: &str) -> Option<String> {
    let mention = json!({"type": "workflow", "name": "Count", "workflowId": "count"});
    let body = json!({"goal": goal, "threadId": "thread", "mentions": [mention]});
    let (status, reply) = program.post(server, "/api/chat/orchestrate", &body).await?;
    assert_eq!(status, 200, "{reply}");
    Some(reply["taskId"].as_str().unwrap().to_owned())
}

/// Each call had one child, each child brought its result once, and nothing else was called.
async fn check(program: &Program, server: &Server, id: &str) {
    let traces = program.traces(server, id).await;
    let of = |kind: &str| traces.iter().filter(|trace| trace["kind"] == *kind).collect::<Vec<_>>();
    let called: BTreeSet<&str> =
        of("child_started").iter().map(|trace| trace["data"]["child"].as_str().unwrap()).collect();
    assert_eq!((called.len(), of("child_started").len(), of("child_ended").len()), (3, 3, 3), "{traces:#?}");
    assert!(of("child_ended").iter().all(|trace| trace["data"]["isError"] != true));
    let (_, listed) = program.get(server, &format!("/api/tasks/{id}/children")).await;
    let listed: BTreeSet<&str> =
        listed["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(called, listed);
    for child in listed {
        let ledger = program.ledger("tool-ledger.jsonl");
        let keys: BTreeSet<&str> = ledger
            .iter()
            .filter(|line| line["tool"] == "keyed")
            .filter_map(|line| line["key"].as_str().filter(|key| key.starts_with(child)))
            .collect();
        assert_eq!(keys.len(), 1, "one key however often it was called: {keys:?}");
    }
}

async fn survives(database: Option<String>, kills: u64, tasks: usize) {
    let program = Program::on(database, &script(), "");
    let mut ids: Vec<String> = Vec::new();
    let server = program.serve(&[]).await;
    add_template(&program, &server).await;
    server.kill();
    for kill in 0..kills {
        let server = program.serve(&[]).await;
        if ids.len() < tasks {
            ids.extend(start(&program, &server, &format!("goal {}", ids.len())).await);
        }
        // Another moment each time, over all phases of a call.
        tokio::time::sleep(Duration::from_millis(7 * kill % 97)).await;
        server.kill();
    }
    let server = program.serve(&[]).await;
    for id in &ids {
        let task = program.until(&server, id, &["completed", "failed", "paused"]).await;
        assert_eq!(task["status"], "completed", "{task:#}\n{}", program.printed());
        check(&program, &server, id).await;
    }
    let (code, printed, _) = program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_on_sqlite_double_no_child_and_lose_no_result() {
    survives(None, 25, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_on_postgres_double_no_child_and_lose_no_result() {
    survives(Some(postgres::fresh_url().await), 15, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_answer_that_calls_a_workflow_becomes_a_task_on_the_same_stream() {
    let script = json!({"rules": [
        {"role": "chat", "turn": 0, "reply": {"toolCalls": [
            {"tool": "workflow_count", "arguments": {"label": "asked"}}]}},
        {"role": "execute", "turn": 1, "reply": {"text": "It is counted."}},
    ]});
    let program = Program::new(&script);
    let server = program.serve(&[]).await;
    add_template(&program, &server).await;
    let said = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": "How many are there?"}]});
    let mention = json!({"type": "workflow", "name": "Count", "workflowId": "count"});
    let body = json!({"id": "thread", "message": said, "mentions": [mention]});
    let request = program.request("POST", &server, "/api/chat").header("accept", "text/event-stream");
    let stream = request.json(&body).send().await.unwrap().text().await.unwrap();
    assert!(stream.contains("tool-output-available") && stream.contains("It is counted."), "{stream}");
    let (_, roots) = program.get(&server, "/api/tasks?roots=true").await;
    let id = roots["tasks"][0]["id"].as_str().unwrap();
    let (_, children) = program.get(&server, &format!("/api/tasks/{id}/children")).await;
    assert_eq!(children["tasks"][0]["goal"], "Count asked", "{children}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_seen_over_http_and_on_the_command_line() {
    let program = Program::new(&script());
    let server = program.serve(&[]).await;
    add_template(&program, &server).await;
    let id = start(&program, &server, "Count things").await.unwrap();
    let task = program.until(&server, &id, &["completed", "failed", "paused"]).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    check(&program, &server, &id).await;
    let (_, listed) = program.get(&server, &format!("/api/tasks/{id}/children?limit=1")).await;
    let child = listed["tasks"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&listed["tasks"][0]["parentId"], &listed["nextBefore"]), (&json!(id), &json!(child)));
    let (_, detail) = program.get(&server, &format!("/api/tasks/{child}")).await;
    assert_eq!((&detail["parent"]["task"], &detail["parent"]["depth"]), (&json!(id), &json!(1)));
    assert_eq!(detail["template"], json!({"name": "count", "version": 1}));
    let (_, all) = program.get(&server, "/api/tasks").await;
    let (_, roots) = program.get(&server, "/api/tasks?roots=true").await;
    let count = |list: &Value| list["tasks"].as_array().map(Vec::len);
    assert_eq!((count(&all), count(&roots)), (Some(4), Some(1)));
    let (code, text, errors) = program.run(&["task", "show", &id]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("SUB-TASK") && text.contains("Count outright"), "{text}");
    let (_, text, _) = program.run(&["task", "show", &child]);
    assert!(text.contains("Parent") && text.contains(&id), "{text}");
    let (_, text, _) = program.run(&["task", "list", "--roots", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_array().map(Vec::len), Some(1), "{text}");
    let mention = json!({"type": "workflow", "name": "Nobody", "workflowId": "nobody"});
    let body = json!({"goal": "Do it", "threadId": "thread", "mentions": [mention]});
    let (status, reply) = program.post(&server, "/api/chat/orchestrate", &body).await.unwrap();
    assert!(status == 400 && reply["error"].as_str().unwrap().contains("nobody"), "{reply}");
}

/// A task whose one step is a sub-task, which needs approval of its one call.
fn asks_below() -> Program {
    let script = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Count it", "type": "tool-call",
         "tool": {"name": "world_count", "arguments": {"label": "below"}}}]}}}]});
    let more =
        "[orchestrator]\noffer = ['sub_task']\n[orchestrator.approval]\ntools = { world_count = true }\n";
    let program = Program::on(None, &script, more);
    let hands_over = json!([{"id": "hand", "type": "tool-call", "description": "Hand it over", "tool":
        {"name": "sub_task", "arguments": {"goal": "Count below", "budget": {"modelCalls": 7}}}}]);
    program.file("plan.json", &hands_over.to_string());
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_a_task_is_told_which_sub_task_waits_for_a_person() {
    let program = asks_below();
    let (code, text, errors) = program.run(&["run", "Do it", "--plan", "plan.json", "--json"]);
    assert_eq!(code, 6, "{text}\n{errors}");
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (id, waits_for) = (result["taskId"].as_str().unwrap(), &result["waitsFor"][0]);
    let child = waits_for["task"].as_str().unwrap();
    assert_eq!((&result["status"], &waits_for["pause"]["reason"]), (&json!("running"), &json!("approval")));

    let (code, _, errors) = program.run(&["run", "--resume", id]);
    assert_eq!(code, 6, "{errors}");
    let words = [format!(" task approve {child} (or deny), then "), format!(" run --resume {id}")];
    assert!(words.iter().all(|word| errors.contains(word)), "{errors}");
    let (_, text, _) = program.run(&["task", "list", "--roots"]);
    assert!(text.contains("running, a sub-task waits"), "{text}");
    let (_, text, _) = program.run(&["task", "show", id]);
    assert!(text.contains(&format!("the sub-task {child} is paused: world_count")), "{text}");
    assert!(text.contains("(7 reserved)"), "{text}");
    let (_, text, _) = program.run(&["task", "budget", id]);
    let calls = text.lines().find(|line| line.contains("model calls")).unwrap();
    let words: Vec<&str> = calls.split_whitespace().collect();
    assert_eq!(words[2..4], ["0", "7"], "nothing is used, and 7 are set aside: {text}");

    let server = program.serve(&[]).await;
    let (_, detail) = program.get(&server, &format!("/api/tasks/{id}")).await;
    assert_eq!((&detail["status"], &detail["waitsFor"][0]["task"]), (&json!("running"), &json!(child)));
    assert_eq!(detail["budget"]["reserved"]["modelCalls"], 7, "{detail:#}");
    server.kill();

    let (code, _, errors) = program.run(&["task", "approve", child]);
    assert_eq!(code, 0, "{errors}");
    let (code, text, errors) = program.run(&["run", "--resume", id]);
    assert_eq!(code, 0, "{text}\n{errors}");
    assert_eq!(program.ledger("tool-ledger.jsonl").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_told_what_a_sub_task_asks_while_it_is_read() {
    let steps = |tool: &str, arguments: Value| {
        let step = json!({"id": "a", "description": "Do it", "type": "tool-call",
            "tool": {"name": tool, "arguments": arguments}});
        json!({"json": {"steps": [step]}})
    };
    let script = json!({"rules": [
        {"role": "plan", "goalContains": "Count below", "reply": steps("world_count", json!({"label": "below"}))},
        {"role": "plan", "reply": steps("sub_task", json!({"goal": "Count below"}))}]});
    let more =
        "[orchestrator]\noffer = ['sub_task']\n[orchestrator.approval]\ntools = { world_count = true }\n";
    let program = Program::on(None, &script, more);
    let server = program.serve(&[]).await;
    let goal = "Read everything here and then hand over all of it, and the rest";
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": goal}]});
    let body = json!({"id": "chat", "message": message, "words": true});
    let request = program.request("POST", &server, "/api/chat").header("accept", "text/event-stream");
    let mut bytes = request.json(&body).send().await.unwrap().bytes_stream();
    let (mut text, mut answered) = (String::new(), false);
    let asked = |text: &str| -> Vec<Value> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        chunks.filter(|chunk| chunk["type"] == "data-request").collect()
    };
    while let Some(piece) = bytes.next().await {
        text += &String::from_utf8_lossy(&piece.unwrap());
        if let Some(open) = asked(&text).first().filter(|_| !answered) {
            let path = format!("/api/inbox/{}", open["id"].as_str().unwrap());
            let (status, reply) =
                program.post(&server, &path, &json!({"decision": "approve"})).await.unwrap();
            assert_eq!(status, 200, "{reply}");
            answered = true;
        }
    }
    let told = asked(&text);
    let states: Vec<&Value> = told.iter().map(|chunk| &chunk["data"]["state"]).collect();
    assert_eq!(states, ["open", "answered"], "{text}");
    assert_eq!(told[0]["id"], told[1]["id"]);
    let child = told[0]["data"]["taskId"].as_str().unwrap();
    let (_, detail) = program.get(&server, &format!("/api/tasks/{child}")).await;
    assert_eq!(detail["goal"], "Count below", "the request is that of the sub-task: {detail}");
    assert_eq!(program.ledger("tool-ledger.jsonl").len(), 1, "{text}");
    assert!(text.contains("[DONE]"), "the stream goes on to its end: {text}");
}
