//! Answers of the real program that become tasks: with the model that began them, to their end.

use serde_json::{Value, json};

use crate::program::{Program, Server};

/// Everything is answered by `scripted/test`, but the chat by `scripted/talker`.
fn program(rules: &Value, more: &str) -> Program {
    let program = Program::on(None, &json!({"rules": rules}), more);
    let script = program.directory.path().join("script.json").display().to_string();
    program.reconfigure("scripted = { test", &format!("scripted = {{ talker = {script:?}, test"));
    program.reconfigure("[models]", "[models]\nroles = { chat = \"scripted/talker\" }");
    program
}

/// Asks, and reads the stream to its end: the text, and the task.
async fn ask(program: &Program, server: &Server, text: &str) -> (String, String) {
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": text}]});
    let body = json!({"id": "thread", "message": message});
    let reply = program.request("POST", server, "/api/chat").json(&body).send().await.unwrap();
    let stream = reply.text().await.unwrap();
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let chunks: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = chunks.iter().filter_map(|chunk| chunk["delta"].as_str()).collect();
    let task = chunks.iter().find_map(|chunk| chunk["messageMetadata"]["taskId"].as_str());
    (said, task.unwrap_or_else(|| panic!("no task: {stream}")).to_owned())
}

/// Which models the journal says were asked.
fn asked(traces: &[Value]) -> Vec<&Value> {
    let requests = traces.iter().filter(|trace| trace["kind"] == "model_requested");
    requests.map(|trace| &trace["data"]["model"]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_grows_goes_on_with_the_model_that_began_it() {
    let call = json!({"toolCalls": [{"tool": "world_count", "arguments": {"label": "a"}}]});
    let rules = json!([
        {"role": "chat", "reply": call},
        {"role": "execute", "reply": {"text": "It is counted."}},
    ]);
    let program = program(&rules, "");
    let server = program.serve(&[]).await;
    let (said, id) = ask(&program, &server, "Count this").await;
    assert!(said.ends_with("It is counted."), "{said}");
    let (_, task) = program.get(&server, &format!("/api/tasks/{id}")).await;
    assert_eq!(task["chatModel"], "scripted/talker", "{task:#}");
    let traces = program.traces(&server, &id).await;
    let asked = asked(&traces);
    assert!(asked.len() > 1 && asked.iter().all(|model| **model == "scripted/talker"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_used_up_its_budget_waits_for_more_as_a_task() {
    let read = |label: &str| json!({"tool": "world_read", "arguments": {"label": label}});
    let calls = json!({"toolCalls": [read("a"), read("b"), read("c")]});
    let program = program(&json!([{"role": "chat", "reply": calls}]), "");
    let server = program.serve(&[]).await;
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": "Read these"}]});
    let body = json!({"id": "thread", "message": message, "budget": {"toolCalls": 1}});
    let reply = program.request("POST", &server, "/api/chat").json(&body).send().await.unwrap();
    let stream = reply.text().await.unwrap();
    assert!(!stream.contains("\"error\"") && stream.contains("it needs more than 1 tool call"), "{stream}");
    let id = stream.split("\"taskId\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let task = program.until(&server, id, &["paused", "failed", "completed"]).await;
    assert_eq!((&task["status"], &task["pause"]["reason"]), (&json!("paused"), &json!("budget")), "{task:#}");
    let read = program.ledger("tool-ledger.jsonl").iter().filter(|line| line["tool"] == "read").count();
    assert_eq!(read, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_when_it_has_grown_is_whole_as_a_task() {
    let rules = json!([
        {"role": "chat", "reply": {"text": "It is P", "cut": true}},
        {"role": "execute", "contains": "Go on exactly", "reply": {"text": "aris."}},
    ]);
    let program = program(&rules, "\n[server.chat]\ntaskAfterTokens = 1\n");
    let server = program.serve(&[]).await;
    let (_, id) = ask(&program, &server, "What is the capital of France?").await;
    let task = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    let (_, task) = program.get(&server, &format!("/api/tasks/{id}")).await;
    assert_eq!(task["output"], "It is Paris.", "{task:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_asked_makes_no_task() {
    let asks = |arguments: Value| json!({"toolCalls": [{"tool": "ask_person", "arguments": arguments}]});
    let rules = json!([
        {"role": "chat", "turn": 0, "reply": asks(json!({}))},
        {"role": "chat", "turn": 1, "contains": "question", "reply": asks(json!({"question": " "}))},
        {"role": "chat", "turn": 2, "contains": "is empty", "reply": {"text": "I need nothing."}},
    ]);
    let program = program(&rules, "");
    let server = program.serve(&[]).await;
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": "Do it"}]});
    let body = json!({"id": "thread", "message": message});
    let reply = program.request("POST", &server, "/api/chat").json(&body).send().await.unwrap();
    let stream = reply.text().await.unwrap();
    assert!(stream.contains("nothing.") && !stream.contains("taskId"), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_grows_into_a_task_keeps_what_it_was_shown() {
    let reads = json!({"toolCalls": [{"tool": "world_read", "arguments": {"label": "first"}}]});
    let rules = json!([
        {"role": "chat", "contains": "[shown: cat.png]", "reply": reads},
        {"role": "execute", "reply": {"text": "It is a cat."}},
    ]);
    let program = program(&rules, "\n[server.chat]\ntaskAfterTokens = 1\n");
    let server = program.serve(&[]).await;
    let picture = json!({
        "type": "file", "filename": "cat.png", "mediaType": "image/png", "url": "data:image/png;base64,aGVsbG8=",
    });
    let parts = json!([{"type": "text", "text": "What is this?"}, picture]);
    let body = json!({"id": "thread", "message": {"id": "m", "role": "user", "parts": parts}});
    let reply = program.request("POST", &server, "/api/chat").json(&body).send().await.unwrap();
    let stream = reply.text().await.unwrap();
    let id = stream.split("\"taskId\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&stream);
    let task = program.until(&server, id, &["completed", "failed"]).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    let (_, trace) = program.get(&server, &format!("/api/tasks/{id}/traces")).await;
    let traces = trace["traces"].as_array().unwrap();
    let told = traces
        .iter()
        .find(|entry| entry["kind"] == "message_received")
        .unwrap_or_else(|| panic!("{trace:#}"));
    let data = &told["data"];
    assert_eq!((&data["pictures"][0]["name"], &data["by"]), (&json!("cat.png"), &json!("chat")), "{told:#}");
}
