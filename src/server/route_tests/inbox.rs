//! `/api/inbox`, `/messages`, `/effects`.

use axum::http::Method;
use serde_json::{Value, json};

use super::{plan_rule, problem, refused};
use crate::server::fixture::{Fixture, USER};

/// A task whose plan waits for approval; its id.
async fn cautious(fixture: &Fixture, thread: &str) -> String {
    let body = json!({"goal": "g", "threadId": thread, "approval": {"plan": true, "expiresAfterMs": 60000}});
    let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["taskId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_plan_that_waits_is_in_the_inbox_until_it_is_answered() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let id = cautious(&fixture, "t").await;
    let shown = fixture.get(&format!("/api/tasks/{id}")).await.json();
    assert_eq!((&shown["status"], &shown["pause"]["reason"]), (&json!("paused"), &json!("approval")));
    assert_eq!(shown["asking"]["open"], 1);
    let inbox = fixture.get("/api/inbox").await.json();
    let request = &inbox["requests"][0];
    assert_eq!(fixture.get(&format!("/api/inbox?taskId={id}")).await.json(), inbox, "of this task alone");
    let other = fixture.task("another goal").await.id;
    assert_eq!(fixture.get(&format!("/api/inbox?taskId={other}")).await.json(), json!({"requests": []}));
    assert_eq!((&request["kind"], &request["taskId"]), (&json!("plan"), &json!(id)));
    assert_eq!(request["decisions"], json!(["approve", "deny"]));
    assert_eq!(request["arguments"].as_array().unwrap().len(), 2);
    let uri = format!("/api/inbox/{}", request["id"].as_str().unwrap());
    let decide = async |body: Value| fixture.send(Method::POST, &uri, Some(body)).await;
    for bad in [
        json!({}),
        json!({"decision": "maybe"}),
        json!({"decision": "skip"}),
        json!({"decision": "answer", "answer": 1}),
        json!({"decision": "approve", "because": "x"}),
    ] {
        assert_eq!(problem(&decide(bad.clone()).await), refused(400, "invalid_request"), "{bad}");
    }
    let resume = fixture.send(Method::POST, &format!("/api/tasks/{id}/resume"), None).await;
    assert_eq!(problem(&resume), refused(400, "invalid_request"), "an answer is needed");
    assert_eq!(decide(json!({"decision": "approve"})).await.json()["status"], "pending");
    assert_eq!(problem(&decide(json!({"decision": "approve"})).await), refused(409, "request_closed"));
    assert_eq!(fixture.get("/api/inbox").await.json(), json!({"requests": []}));
}

#[tokio::test]
async fn requests_of_others_are_neither_shown_nor_answered() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let foreign = fixture.task_of("somebody", "g").await.id;
    let answer = async |id: String| {
        let body = Some(json!({"decision": "approve"}));
        problem(&fixture.send(Method::POST, &format!("/api/inbox/{id}"), body).await)
    };
    assert_eq!(answer(format!("{foreign}.plan.1")).await, refused(403, "forbidden"));
    assert_eq!(answer(format!("{}.0.1.1", super::UNKNOWN)).await, refused(404, "task_not_found"));
    assert_eq!(answer("x".into()).await, refused(400, "invalid_request"));
    assert_eq!(
        problem(&fixture.get(&format!("/api/inbox?taskId={foreign}")).await),
        refused(403, "forbidden")
    );
    let own = fixture.task("g").await.id;
    assert_eq!(answer(format!("{own}.0.1.1")).await, refused(409, "request_closed"));
}

#[tokio::test]
async fn a_request_cannot_waive_approvals() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let body = json!({"goal": "g", "threadId": "t", "approval": {"tools": {"mail_send": false}}});
    let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text.contains("cannot waive"), "{}", reply.text);
}

#[tokio::test]
async fn a_task_is_told_something_and_tells_its_effects() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let uri = format!("/api/tasks/{}", task.id);
    let tell = async |body: Value| fixture.send(Method::POST, &format!("{uri}/messages"), Some(body)).await;
    assert_eq!(tell(json!({"text": "Hurry"})).await.json()["seq"], 4);
    let traces = fixture.get(&format!("{uri}/traces?after=3")).await.json();
    assert_eq!(traces["traces"][0]["kind"], "message_received");
    assert_eq!(traces["traces"][0]["message"], format!("{USER} wrote: Hurry"));
    for bad in [json!({}), json!({"text": " "}), json!({"text": 7}), json!({"text": "x".repeat(70_000)})] {
        assert_eq!(problem(&tell(bad).await), refused(400, "invalid_request"));
    }
    assert_eq!(fixture.get(&format!("{uri}/effects")).await.json(), json!({"effects": []}));
    let cancelled = fixture.send(Method::POST, &format!("{uri}/cancel"), None).await.json();
    assert_eq!(cancelled["effects"], json!([]));
    assert_eq!(problem(&tell(json!({"text": "Hurry"})).await), refused(409, "task_status"));
}
