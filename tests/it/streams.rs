//! Streams over tasks when the server is killed in their middle: whoever comes back to the next
//! server with what he has gets the rest, and nothing twice.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::program::{Program, Server};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task of three steps, each of which takes long enough to be killed in.
fn script() -> Value {
    let think = |id: &str| json!({"id": id, "description": "Think", "type": "llm-reasoning"});
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [think("a"), think("b"), think("c")]}}},
        {"role": "execute", "delayMs": 700, "reply": {"text": "thought"}},
        {"reply": {"text": "done"}},
    ]})
}

/// The numbers of the entries behind one, until `enough` says so or the task has ended.
async fn numbers(server: &Server, id: &str, after: i64, enough: impl Fn(&Value) -> bool) -> Vec<i64> {
    let address = format!("ws://{}/api/tasks/{id}/ws?after={after}", server.address);
    let (mut socket, _) = connect_async(address).await.unwrap();
    let mut numbers = Vec::new();
    let reading = async {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["control"] == "said" {
                continue;
            }
            if frame.get("control").is_some() {
                assert_eq!(frame["control"], "ended", "{frame}");
                return;
            }
            numbers.push(frame["seq"].as_i64().unwrap());
            if enough(&frame) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the journal goes on");
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_on_where_the_killed_server_was() {
    let program = Program::new(&script());
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "do it").await.unwrap();
    let second = |frame: &Value| frame["kind"] == "step_started" && frame["step"] == 1;
    let mut all = numbers(&server, &id, 0, second).await;
    server.kill();
    let server = program.serve(&[]).await;
    let rest = numbers(&server, &id, *all.last().unwrap(), |_| false).await;
    assert!(rest.len() > 3, "{rest:?}");
    all.extend(rest);
    assert_eq!(all, (1..=all.len() as i64).collect::<Vec<_>>());
    let journal = program.traces(&server, &id).await;
    assert_eq!(journal.len(), all.len());
}

/// The chunks of the stream of a task.
async fn chunks(program: &Program, server: &Server, path: &str) -> Vec<Value> {
    let reply = program.request("GET", server, path).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    parsed(&tokio::time::timeout(PATIENCE, reply.text()).await.expect("the stream ends").unwrap())
}

fn parsed(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| *line != "[DONE]");
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_goes_on_where_the_killed_server_was() {
    let program = Program::new(&script());
    let server = program.serve(&[]).await;
    let body = json!({"id": "thread", "trigger": "submit-message", "messages": [{"id": "m", "role": "user",
        "parts": [{"type": "text", "text": "Find every TODO comment in this repository and write a report"}]}]});
    let asked = program.request("POST", &server, "/api/chat").json(&body).send().await.unwrap();
    let id = asked.headers()["x-workflow-run-id"].to_str().unwrap().to_owned();
    let mut bytes = asked.bytes_stream();
    let mut text = String::new();
    let reading = async {
        while !text.contains("Step 2: ") {
            text.push_str(std::str::from_utf8(&bytes.next().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the second step begins");
    server.kill();
    let whole = text.rsplit_once("\n\n").unwrap().0;
    let had: Vec<Value> = whole
        .split("\n\n")
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let server = program.serve(&[]).await;
    let path = format!("/api/chat/{id}/stream?startIndex={}", had.len());
    let rest = chunks(&program, &server, &path).await;
    assert_eq!(rest.last().unwrap()["type"], "finish");
    let all = chunks(&program, &server, &format!("/api/chat/{id}/stream")).await;
    assert_eq!([had, rest].concat(), all);
    let thread = program.request("GET", &server, "/api/chat/thread/stream").send().await.unwrap();
    assert_eq!(thread.status(), 204, "the task has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_heard_while_it_is_made() {
    let words = "one two three four five six seven eight";
    let step = json!({"id": "a", "description": "Count", "type": "llm-reasoning"});
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [step]}}},
        {"role": "execute", "wordMs": 150, "reply": {"text": words}},
        {"reply": {"text": "done"}},
    ]}));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "count").await.unwrap();
    let path = format!("/api/tasks/{id}/events");
    let reply = program.request("GET", &server, &path).send().await.unwrap();
    let text = tokio::time::timeout(PATIENCE, reply.text()).await.expect("the task ends").unwrap();
    let (mut heard, mut answered) = (String::new(), false);
    for frame in text.split("\n\n") {
        let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
        let Some(data) = data.map(|data| serde_json::from_str::<Value>(data).unwrap()) else { continue };
        if data["control"] == "said" {
            assert!(!answered && !frame.contains("id: "), "{frame}");
            assert_eq!(
                (&data["step"], &data["round"], &data["part"]),
                (&json!(0), &json!(1), &json!("text"))
            );
            heard.push_str(data["text"].as_str().unwrap());
        }
        answered |= data["kind"] == "model_answered";
    }
    assert!(answered);
    assert_eq!(heard, words, "all of it, from its beginning or from the middle on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_hears_the_words_of_its_task_if_it_wants_to() {
    let words = "one two three four five six seven eight";
    let step = json!({"id": "a", "description": "Count", "type": "llm-reasoning"});
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [step]}}},
        {"role": "execute", "wordMs": 150, "reply": {"text": words}},
        {"reply": {"text": "done"}},
    ]}));
    let server = program.serve(&[]).await;
    let body = json!({"id": "thread", "trigger": "submit-message", "words": true,
        "messages": [{"id": "m", "role": "user",
        "parts": [{"type": "text", "text": "Find every TODO comment in this repository and write a report"}]}]});
    let asked = program.request("POST", &server, "/api/chat").json(&body).send().await.unwrap();
    assert!(!asked.headers().contains_key("x-workflow-run-id"), "it cannot be counted");
    let text = tokio::time::timeout(PATIENCE, asked.text()).await.expect("the task ends").unwrap();
    let live = parsed(&text);
    let id = live.iter().find_map(|chunk| chunk["messageMetadata"]["taskId"].as_str()).unwrap().to_owned();
    let again = chunks(&program, &server, &format!("/api/chat/{id}/stream?words=true")).await;
    assert_eq!((reasoning(&live), reasoning(&again)), (words.into(), words.into()));
    let deltas = |chunks: &[Value]| chunks.iter().filter(|chunk| chunk["type"] == "reasoning-delta").count();
    assert!(deltas(&live) > 3, "{live:?}");
    assert_eq!(deltas(&again), 1, "what was recorded is told as a whole");
    // All else is as it is without.
    let silent = chunks(&program, &server, &format!("/api/chat/{id}/stream")).await;
    let without = |chunks: Vec<Value>| -> Vec<Value> {
        chunks.into_iter().filter(|chunk| !chunk["type"].as_str().unwrap().starts_with("reasoning")).collect()
    };
    assert_eq!((without(live), without(again)), (silent.clone(), silent));
    let path = format!("/api/chat/{id}/stream?words=true&startIndex=3");
    let refused = program.get(&server, &path).await;
    assert_eq!(refused.0, 400, "{}", refused.1);
}

fn reasoning(chunks: &[Value]) -> String {
    let deltas = chunks.iter().filter(|chunk| chunk["type"] == "reasoning-delta");
    deltas.map(|chunk| chunk["delta"].as_str().unwrap()).collect()
}
