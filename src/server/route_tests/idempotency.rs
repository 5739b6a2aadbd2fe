//! `Idempotency-Key`: a request that is repeated is answered again and starts nothing new.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use serde_json::{Value, json};

use super::super::fixture::{Fixture, Reply, USER};
use super::{error, plan_rule};
use crate::repository::{ListFilter, Retention};
use crate::task::TaskId;

const ORCHESTRATE: &str = "/api/chat/orchestrate";
const COMPLEX: &str = "Find every TODO comment in this repository and write a report";

/// A model that plans once: whoever asks again fails.
async fn planning_once() -> Fixture {
    let mut rule = plan_rule();
    rule["times"] = json!(1);
    Fixture::scripted(json!([rule, {"role": "plan", "reply": {"error": {"kind": "quota"}}}])).await
}

async fn post(fixture: &Fixture, uri: &str, key: &str, body: &Value, accept: &str) -> Reply {
    let request = Request::post(uri).header("Idempotency-Key", key).header("Accept", accept);
    fixture.ask(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn start(fixture: &Fixture, key: &str, body: &Value) -> Reply {
    post(fixture, ORCHESTRATE, key, body, "application/json").await
}

async fn tasks(fixture: &Fixture) -> usize {
    fixture.repository().list(&ListFilter::default()).await.unwrap().len()
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_no_second_task() {
    let fixture = planning_once().await;
    let body = json!({"goal": "g", "threadId": "t"});
    let first = start(&fixture, "k-1", &body).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = start(&fixture, "k-1", &body).await;
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(tasks(&fixture).await, 1);
}

#[tokio::test]
async fn an_answer_outlives_its_task() {
    let fixture = planning_once().await;
    let body = json!({"goal": "g", "threadId": "t"});
    let first = start(&fixture, "k-1", &body).await;
    let id: TaskId = serde_json::from_value(first.json()["taskId"].clone()).unwrap();
    fixture.orchestrator.cancel(id, USER).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let retention = Retention { tasks: Some(std::time::Duration::ZERO), traces: None };
    fixture.repository().prune(&retention).await.unwrap();
    assert_eq!(tasks(&fixture).await, 0);
    assert_eq!(start(&fixture, "k-1", &body).await.text, first.text);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let body = json!({"goal": "g", "threadId": "t"});
    start(&fixture, "k-1", &body).await;
    let (status, message) = error(&start(&fixture, "k-1", &json!({"goal": "h", "threadId": "t"})).await);
    assert_eq!(status, 422);
    assert!(message.starts_with("Idempotency-Key: "), "{message}");
    assert_eq!(start(&fixture, "k-2", &body).await.status, 200);
    assert_eq!(tasks(&fixture).await, 2);
}

#[tokio::test]
async fn a_request_that_was_refused_may_be_repeated() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let refused = start(&fixture, "k-1", &json!({"goal": "", "threadId": "t"})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(start(&fixture, "k-1", &json!({"goal": "g", "threadId": "t"})).await.status, 200);
}

#[tokio::test]
async fn keys_are_short_and_visible() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let body = json!({"goal": "g", "threadId": "t"});
    for key in ["", "two words", &"x".repeat(256), "é"] {
        let (status, message) = error(&start(&fixture, key, &body).await);
        assert_eq!(status, 400, "{key}");
        assert!(message.contains("1 to 255 visible characters"), "{message}");
    }
    assert_eq!(start(&fixture, &"x".repeat(255), &body).await.status, 200);
}

#[tokio::test]
async fn requests_that_race_start_one_task() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let body = json!({"goal": "g", "threadId": "t"});
    let replies = futures::future::join_all((0..8).map(|_| start(&fixture, "k-1", &body))).await;
    assert!(replies.iter().all(|reply| (reply.status, &reply.text) == (200, &replies[0].text)));
    let new = replies.iter().filter(|reply| !reply.headers.contains_key("idempotent-replayed")).count();
    assert_eq!((new, tasks(&fixture).await), (1, 1));
}

#[tokio::test]
async fn a_chat_message_that_becomes_a_task_is_answered_again_in_the_form_that_is_wanted() {
    let fixture = planning_once().await;
    // Without an id of the message only the key tells that it is the same request.
    let body =
        json!({"id": "thread", "message": {"role": "user", "parts": [{"type": "text", "text": COMPLEX}]}});
    let chat = async |accept: &str| post(&fixture, "/api/chat", "k-1", &body, accept).await;
    let first = chat("application/json").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = chat("application/json").await;
    assert_eq!(
        (&again.text, &again.headers["idempotent-replayed"]),
        (&first.text, &HeaderValue::from_static("true"))
    );
    let id: TaskId = serde_json::from_value(first.json()["taskId"].clone()).unwrap();
    fixture.orchestrator.cancel(id, USER).await.unwrap();
    let stream = chat("text/event-stream").await;
    assert_eq!(stream.headers["idempotent-replayed"], "true");
    assert_eq!(stream.chunks()[2]["messageMetadata"]["taskId"], json!(id));
    assert_eq!(tasks(&fixture).await, 1);
}

/// Whatever starts a task does it once for each key, and says the same again.
async fn starts_once(fixture: &Fixture, uri: &str, body: &Value, other: &Value) {
    let before = tasks(fixture).await;
    let key = format!("key of {uri}").replace(' ', "-");
    let ask = async |body: &Value| post(fixture, uri, &key, body, "application/json").await;
    let first = ask(body).await;
    assert_eq!(first.status, 200, "{uri}: {}", first.text);
    let again = ask(body).await;
    assert_eq!((&again.text, again.headers["idempotent-replayed"].to_str().unwrap()), (&first.text, "true"));
    let refused = ask(other).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("idempotency_key_reused")), "{uri}");
    assert_eq!(tasks(fixture).await, before + 1, "{uri}");
}

#[tokio::test]
async fn forks_retries_runs_and_triggers_start_one_task_too() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let task = fixture.task("Tell me").await;
    let fork = format!("/api/tasks/{}/fork", task.id);
    starts_once(&fixture, &fork, &json!({"step": 1}), &json!({"step": 2})).await;
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    let retry = format!("/api/tasks/{}/retry", task.id);
    starts_once(&fixture, &retry, &json!({}), &json!({"step": 1})).await;

    let template = json!({"name": "poem", "goal": "Write a poem"});
    assert_eq!(post(&fixture, "/api/templates", "t", &template, "*/*").await.status, 200);
    starts_once(&fixture, "/api/templates/poem/run", &json!({}), &json!({"threadId": "t"})).await;

    let schedule = json!({"cron": "@daily", "task": {"goal": "Write a poem"}});
    let schedule = post(&fixture, "/api/schedules", "s", &schedule, "*/*").await.json();
    let trigger = format!("/api/schedules/{}/trigger", schedule["id"].as_str().unwrap());
    starts_once(&fixture, &trigger, &json!({}), &json!({"now": true})).await;
    let counted = fixture.get(&format!("/api/schedules/{}", schedule["id"].as_str().unwrap())).await.json();
    assert_eq!(counted["runs"], 1);
}

#[tokio::test]
async fn forks_that_race_are_one_task() {
    let fixture = Fixture::new().await;
    let task = fixture.task("Tell me").await;
    let uri = format!("/api/tasks/{}/fork", task.id);
    let body = json!({});
    let ask = |_| post(&fixture, &uri, "k-1", &body, "application/json");
    let replies = futures::future::join_all((0..8).map(ask)).await;
    assert!(replies.iter().all(|reply| (reply.status, &reply.text) == (200, &replies[0].text)));
    assert_eq!(tasks(&fixture).await, 2);
}

#[tokio::test]
async fn a_schedule_is_made_once_for_each_key() {
    let fixture = Fixture::new().await;
    let body = json!({"cron": "@daily", "task": {"goal": "Look at the news"}});
    let first = post(&fixture, "/api/schedules", "s-1", &body, "application/json").await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.json()["upcoming"].as_array().unwrap().len(), 5);
    let again = post(&fixture, "/api/schedules", "s-1", &body, "application/json").await;
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = json!({"cron": "@hourly", "task": {"goal": "Look at the news"}});
    let reused = post(&fixture, "/api/schedules", "s-1", &other, "application/json").await;
    assert_eq!((reused.status, &reused.json()["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(fixture.repository().schedules(Some(USER), None, 10).await.unwrap().len(), 1);
}
