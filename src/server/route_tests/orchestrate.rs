//! `/api/chat/orchestrate`: the fields and the words of the original system.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use super::super::fixture::Fixture;
use super::{UNKNOWN, error, plan_rule, refused, status_of};
use crate::task::TaskId;

#[tokio::test]
async fn a_start_is_answered_with_the_plan() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let body =
        json!({"goal": "Migrate all TODOs", "threadId": "thread-123", "mentions": [], "agentId": null});
    let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let mut started = reply.json();
    let id: TaskId = serde_json::from_value(started["taskId"].take()).unwrap();
    let expected = json!({
        "taskId": null,
        "status": "queued",
        "strategy": {"steps": [
            {"id": "step-1", "description": "look", "type": "llm-reasoning", "status": "pending", "estimatedDuration": 1500},
            {"id": "step-2", "description": "write", "type": "llm-reasoning", "status": "pending"},
        ], "totalSteps": 2},
        "estimatedDuration": 31.5,
        "message": "Task queued for execution. 2 steps planned.",
    });
    assert_eq!(started, expected);
    assert!(fixture.repository().load(id).await.unwrap().is_some());
    assert_eq!(fixture.repository().thread("thread-123").await.unwrap().unwrap().title, "Migrate all TODOs");
}

#[tokio::test]
async fn a_start_without_its_fields_is_refused() {
    let fixture = Fixture::new().await;
    for body in [json!({}), json!({"goal": "g"}), json!({"goal": "", "threadId": "t"}), json!({"goal": null})]
    {
        let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
        assert_eq!(error(&reply), refused(400, "Missing required fields: goal, threadId"));
        assert_eq!(reply.headers["x-error-code"], "invalid_request");
    }
}

#[tokio::test]
async fn bad_starts_name_what_is_bad() {
    let fixture = Fixture::new().await;
    for (body, begins) in [
        (json!({"goal": 5, "threadId": "t"}), "goal: must be a text"),
        (json!({"goal": "g", "threadId": ["t"]}), "threadId: must be a text, not a list"),
        (json!({"goal": "g", "threadId": "t\u{0}"}), "threadId: must have"),
        (json!({"goal": "x".repeat(100_000), "threadId": "t"}), "goal: has 100000 bytes"),
        (json!({"goal": " ", "threadId": "t"}), "goal: is empty"),
        (
            json!({"goal": "g", "threadId": "t", "allowedMcpServers": {"s": 1}}),
            "allowedMcpServers.s: must be an object, not the number 1",
        ),
    ] {
        let (status, message) = error(&fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await);
        assert_eq!(status, 400);
        assert!(message.starts_with(begins), "{message}");
    }
    let request = Request::post("/api/chat/orchestrate").body(Body::from("{\"goal\": ")).unwrap();
    assert_eq!(error(&fixture.ask(request).await).0, 400);
}

#[tokio::test]
async fn a_large_body_is_refused_as_such() {
    let fixture = Fixture::new().await;
    for (route, bytes, key) in [
        ("/api/chat/detect", 2_000_000, "server.maxBodyBytes"),
        ("/api/chat/orchestrate", 17_000_000, "server.chat.maxBodyBytes"),
    ] {
        let body = json!({"text": "x".repeat(bytes), "goal": "g", "threadId": "t"});
        let refused = fixture.send(Method::POST, route, Some(body)).await;
        assert!(refused.status == 413 && refused.text.contains(key), "{route}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_asked_is_told_with_what_to_do() {
    let fixture = Fixture::new().await;
    let body = json!({"goal": "g", "threadId": "t", "chatModel": {"provider": "nobody", "model": "m"}});
    let (status, message) = error(&fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await);
    assert_eq!(status, 422, "{message}");
    assert!(message.contains("nobody"), "{message}");
}

#[tokio::test]
async fn the_thread_of_somebody_else_is_forbidden() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    fixture.repository().open_thread("t", "somebody", "title").await.unwrap();
    let body = json!({"goal": "g", "threadId": "t"});
    let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
    assert_eq!(error(&reply), refused(403, "Forbidden"));
}

#[tokio::test]
async fn a_task_is_shown_in_the_original_fields() {
    let fixture = Fixture::new().await;
    let task = fixture.task("the goal").await;
    let reply = fixture.get(&status_of(task.id)).await;
    assert_eq!(reply.status, 200);
    let status = reply.json();
    let fields: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "taskId",
        "status",
        "goal",
        "progress",
        "currentStep",
        "totalSteps",
        "steps",
        "latestTraces",
        "context",
        "lastError",
        "createdAt",
        "updatedAt",
        "completedAt",
    ];
    assert_eq!(fields, expected);
    assert_eq!((&status["status"], &status["totalSteps"]), (&json!("pending"), &json!(3)));
    assert_eq!(status["latestTraces"][2]["message"], "Planned 3 steps");
}

#[tokio::test]
async fn status_and_cancel_refuse_in_the_original_words() {
    let fixture = Fixture::new().await;
    let foreign = fixture.task_of("somebody", "g").await;
    for method in [Method::GET, Method::DELETE] {
        let ask = async |uri: &str| error(&fixture.send(method.clone(), uri, None).await);
        assert_eq!(ask("/api/chat/orchestrate").await, refused(400, "Missing taskId parameter"));
        assert_eq!(ask("/api/chat/orchestrate?taskId=").await, refused(400, "Missing taskId parameter"));
        assert_eq!(
            ask(&format!("/api/chat/orchestrate?taskId={UNKNOWN}")).await,
            refused(404, "Task not found")
        );
        assert_eq!(ask(&status_of(foreign.id)).await, refused(403, "Forbidden"));
        let no_id = ask("/api/chat/orchestrate?taskId=task-789").await;
        assert_eq!(no_id, refused(404, "Task not found"), "what cannot be an id is that of no task");
    }
}

#[tokio::test]
async fn defect_4_cancelled_is_shown_as_cancelled_and_only_once() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let reply = fixture.send(Method::DELETE, &status_of(task.id), None).await;
    let expected =
        json!({"taskId": task.id, "status": "cancelled", "message": "Task cancelled successfully"});
    assert_eq!((reply.status, reply.json()), (200, expected));
    let again = fixture.send(Method::DELETE, &status_of(task.id), None).await;
    assert_eq!(error(&again), refused(400, "Cannot cancel task with status: cancelled"));
    assert_eq!(fixture.get(&status_of(task.id)).await.json()["status"], "cancelled");
}

#[tokio::test]
async fn a_plan_is_drafted_changed_and_carried_out_without_asking_again() {
    let fixture =
        Fixture::scripted(json!([{"times": 1, "role": "plan", "reply": plan_rule()["reply"]}])).await;
    let body = json!({"goal": "g", "threadId": "t"});
    let draft = fixture.send(Method::POST, "/api/chat/plan", Some(body.clone())).await;
    assert_eq!(draft.status, 200, "{}", draft.text);
    let mut draft = draft.json();
    assert_eq!(draft["by"]["usage"]["modelCalls"], 1);
    assert!(fixture.get("/api/tasks").await.json()["tasks"].as_array().unwrap().is_empty());
    draft["plan"][0]["description"] = json!("look twice");
    let mut start = body.clone();
    start["plan"] = draft["plan"].clone();
    let started = fixture.send(Method::POST, "/api/chat/orchestrate", Some(start.clone())).await.json();
    assert_eq!(started["strategy"]["steps"][0]["description"], "look twice");
    start["plan"][0]["dependsOn"] = json!([1]);
    let refusal = fixture.send(Method::POST, "/api/chat/orchestrate", Some(start)).await;
    assert_eq!(refusal.status, 400);
    assert!(refusal.text.contains("does not come before it"), "{}", refusal.text);
    let missing = fixture.send(Method::POST, "/api/chat/plan", Some(json!({"goal": "g"}))).await;
    assert_eq!(missing.status, 400);
}

#[tokio::test]
async fn a_tool_that_is_not_there_cannot_be_tried() {
    let fixture = Fixture::new().await;
    let body = json!({"arguments": {}});
    let reply = fixture.send(Method::POST, "/api/tools/nothing/call", Some(body)).await;
    assert_eq!(super::problem(&reply), refused(404, "tool_not_found"));
}
