//! Who comes in, and what everybody else is told.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use uuid::Uuid;

use super::super::fixture::{Fixture, Reply};
use super::super::{Access, ServerConfig};
use super::{error, problem, refused};
use crate::repository::Message;
use crate::task::{TaskId, Timestamp};

async fn guarded() -> Fixture {
    let access = Access::new(Some("s3cret".into()), Some("system".into()));
    Fixture::with(access, ServerConfig::default(), json!([])).await
}

async fn get(fixture: &Fixture, uri: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    fixture.ask(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_key_opens_and_nothing_else_does() {
    let fixture = guarded().await;
    let uri = "/api/chat/orchestrate";
    assert_eq!(error(&get(&fixture, uri, &[]).await), refused(401, "Unauthorized"));
    let wrong = get(&fixture, uri, &[("authorization", "Bearer wrong")]).await;
    assert_eq!(wrong.headers["www-authenticate"], "Bearer");
    assert_eq!(error(&wrong), refused(401, "Invalid API key"));
    let right = get(&fixture, uri, &[("authorization", "Bearer s3cret"), ("host", "example.com")]).await;
    assert_eq!(error(&right), refused(400, "Missing taskId parameter"));
    assert_eq!(problem(&get(&fixture, "/api/tasks", &[]).await), refused(401, "unauthorized"));
}

#[tokio::test]
async fn a_caller_with_the_key_is_the_system_user() {
    let fixture = guarded().await;
    fixture.task_of("system", "mine").await;
    fixture.task_of("somebody", "theirs").await;
    let tasks = get(&fixture, "/api/tasks", &[("authorization", "Bearer s3cret")]).await.json();
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(tasks["tasks"][0]["goal"], "mine");
}

#[tokio::test]
async fn health_needs_no_key() {
    let fixture = guarded().await;
    let health = get(&fixture, "/healthz", &[]).await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    assert_eq!(get(&fixture, "/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn without_a_key_foreign_pages_are_turned_away() {
    let fixture = Fixture::new().await;
    let rebound = get(&fixture, "/api/tasks", &[("host", "evil.example:8080")]).await;
    assert_eq!(problem(&rebound), refused(403, "foreign_origin"));
    let page = [("host", "localhost:8080"), ("origin", "https://evil.example")];
    assert_eq!(error(&get(&fixture, "/api/chat", &page).await).0, 403);
    let own = [("host", "localhost:8080"), ("origin", "http://localhost:8080")];
    assert_eq!(get(&fixture, "/api/tasks", &own).await.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_too() {
    let fixture = Fixture::new().await;
    assert_eq!(problem(&get(&fixture, "/nowhere", &[]).await), refused(404, "route_not_found"));
    assert_eq!(error(&get(&fixture, "/api/chat/nowhere", &[]).await).0, 404);
    let wrong = get(&fixture, "/api/chat", &[]).await;
    assert_eq!(wrong.headers["allow"], "POST");
    assert_eq!(error(&wrong).0, 405);
    let wrong = fixture.send(Method::PUT, "/api/tasks", Some(json!({}))).await;
    assert_eq!(problem(&wrong), refused(405, "method_not_allowed"));
}

#[tokio::test]
async fn whose_something_is_comes_before_what_is_wrong_with_a_request() {
    let fixture = Fixture::new().await;
    let task = fixture.task_of("somebody", "theirs").await.id;
    fixture.repository().open_thread("their thread", "somebody", "title").await.unwrap();
    let answer = TaskId(Uuid::now_v7());
    let message = Message {
        id: format!("msg-{answer}"),
        thread_id: "their thread".into(),
        role: "assistant".into(),
        parts: json!([{"type": "text", "text": "theirs"}]),
        task_id: None,
        created_at: Timestamp::default(),
    };
    fixture.repository().put_message(&message).await.unwrap();
    let wrong = || Some(json!({"nobody": "knows this"}));
    for action in ["resume", "fork", "retry", "messages", "budget", "restore"] {
        let reply = fixture.send(Method::POST, &format!("/api/tasks/{task}/{action}"), wrong()).await;
        assert_eq!(reply.status, 403, "{action}: {}", reply.text);
    }
    for (method, path) in [
        (Method::PATCH, format!("/api/tasks/{task}")),
        (Method::POST, format!("/api/inbox/{task}.0.1.1")),
        (Method::PATCH, "/api/threads/their%20thread".to_owned()),
        (Method::DELETE, "/api/chat/their%20thread/stream".to_owned()),
        (Method::DELETE, format!("/api/chat/{answer}/stream")),
        (Method::DELETE, format!("/api/chat/{task}/stream")),
    ] {
        let reply = fixture.send(method, &path, wrong()).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text);
    }
    for path in ["traces?limit=x", "traces/x", "children?before=x", "events?after=x", "ws?after=x"] {
        assert_eq!(fixture.get(&format!("/api/tasks/{task}/{path}")).await.status, 403, "{path}");
    }
    for path in ["messages?limit=x", "stream?startIndex=x"] {
        assert_eq!(fixture.get(&format!("/api/chat/their%20thread/{path}")).await.status, 403, "{path}");
    }
    let unknown = json!({"id": "their thread", "preset": "unknown", "message": {"content": "Hello there?"}});
    assert_eq!(fixture.send(Method::POST, "/api/chat", Some(unknown)).await.status, 403);
}
