//! The routes, from the request to the reply, over a real database.

mod access;
mod analytics;
mod attachments;
mod budget;
mod chat;
mod chat_grown;
mod chat_starts;
mod events;
mod forks;
mod idempotency;
mod inbox;
mod orchestrate;
mod recordings;
mod schedules;
mod sockets;
mod tasks;
mod templates;
mod threads;

use axum::http::Method;
use serde_json::{Value, json};

use super::fixture::{Fixture, Reply};
use crate::task::TaskId;

const UNKNOWN: &str = "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70";

fn error(reply: &Reply) -> (u16, String) {
    assert_eq!(reply.headers["content-type"], "application/json");
    // The body of the original system has this one field; programs read the code beside it.
    assert_eq!(reply.json().as_object().unwrap().len(), 1, "{}", reply.text);
    assert!(!reply.headers["x-error-code"].is_empty());
    (reply.status, reply.json()["error"].as_str().unwrap().to_owned())
}

fn refused(status: u16, message: &str) -> (u16, String) {
    (status, message.to_owned())
}

fn problem(reply: &Reply) -> (u16, String) {
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status);
    let code = problem["code"].as_str().unwrap();
    assert_eq!(reply.headers["x-error-code"], code);
    assert_eq!(problem["type"], format!("urn:longhaul:error:{code}"));
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    (reply.status, code.to_owned())
}

fn status_of(id: TaskId) -> String {
    format!("/api/chat/orchestrate?taskId={id}")
}

fn plan_rule() -> Value {
    json!({"role": "plan", "reply": {"json": {"reason": "", "steps": [
        {"id": "a", "description": "look", "type": "llm-reasoning", "estimatedDuration": 1500},
        {"id": "b", "description": "write", "type": "llm-reasoning"},
    ]}}})
}

#[tokio::test]
async fn a_panic_is_answered_without_its_words() {
    let mut fixture = Fixture::scripted(json!([plan_rule()])).await;
    let clock = std::sync::Arc::new(|| panic!("secret words"));
    fixture.state.orchestrator = fixture.state.orchestrator.clone().with_clock(clock);
    let body = json!({"goal": "g", "threadId": "t"});
    let (status, message) = error(&fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await);
    assert_eq!(status, 500);
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn serving_ends_with_its_streams() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(super::serve(listener, fixture.router(), fixture.shutdown.clone()));
    let uri = format!("http://{address}/api/tasks/{}/events?after=2", task.id);
    let mut response = reqwest::Client::builder().no_proxy().build().unwrap().get(uri).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 3\n"));
    fixture.shutdown.cancel();
    assert_eq!(response.chunk().await.unwrap(), None, "the stream ends properly");
    serving.await.unwrap().unwrap();
}
