//! Tasks as files over HTTP.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use super::super::fixture::{Fixture, Reply};
use super::super::{Access, ServerConfig};
use super::{UNKNOWN, problem, refused};

async fn import(fixture: &Fixture, file: &str) -> Reply {
    fixture
        .ask(Request::post("/api/tasks/import?threadId=t").body(Body::from(file.to_owned())).unwrap())
        .await
}

#[tokio::test]
async fn a_task_goes_and_comes_as_a_file() {
    let here = Fixture::new().await;
    let task = here.task("Tell me").await;
    here.send(Method::POST, &format!("/api/tasks/{}/cancel", task.id), None).await;
    let file = here.get(&format!("/api/tasks/{}/export", task.id)).await;
    assert_eq!((file.status, &file.headers["content-type"]), (200, &"application/x-ndjson".parse().unwrap()));
    assert!(file.headers["content-disposition"].to_str().unwrap().contains(&task.id.to_string()));

    let there = Fixture::new().await;
    let imported = import(&there, &file.text).await;
    assert_eq!(imported.status, 200, "{}", imported.text);
    let imported = imported.json();
    assert_eq!((&imported["id"], &imported["imported"]), (&json!(task.id), &json!(true)));
    assert_eq!((&imported["threadId"], &imported["status"]), (&json!("t"), &json!("cancelled")));
    assert_eq!(there.get(&format!("/api/tasks/{}/export", task.id)).await.text, file.text);
    assert_eq!(problem(&import(&there, &file.text).await), refused(409, "task_exists"));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_in_words_and_leaves_nothing_behind() {
    let config = ServerConfig { max_recording_bytes: 4096, ..ServerConfig::default() };
    let fixture = Fixture::with(Access::new(None, None), config, json!([])).await;
    let task = fixture.task("Tell me").await;
    let file = fixture.get(&format!("/api/tasks/{}/export", task.id)).await.text;
    let cut = file.lines().next().unwrap();
    for (text, status, code) in [
        ("", 422, "recording_unknown"),
        ("{}", 422, "recording_unknown"),
        (cut, 422, "recording_cut"),
        (&file.replace("Tell me", "Tell her"), 422, "recording_altered"),
        (&file.replace("\"version\":1", "\"version\":9"), 422, "recording_too_new"),
        (&"x".repeat(5000), 413, "recording_too_large"),
    ] {
        assert_eq!(problem(&import(&fixture, text).await), refused(status, code), "{text:.100}");
    }
    assert_eq!(fixture.get("/api/tasks").await.json()["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(fixture.get("/api/threads/t").await.status, 404);
    let foreign = fixture.task_of("somebody", "Tell me").await;
    assert_eq!(fixture.get(&format!("/api/tasks/{}/export", foreign.id)).await.status, 403);
    let unknown = fixture.get(&format!("/api/tasks/{UNKNOWN}/export")).await;
    assert_eq!(problem(&unknown), refused(404, "task_not_found"));
}

#[tokio::test]
async fn a_task_is_replayed_for_whom_it_belongs_to() {
    let fixture = Fixture::new().await;
    let replay =
        async |id: String| fixture.send(Method::POST, &format!("/api/tasks/{id}/replay"), None).await;
    let task = fixture.task("Tell me").await;
    let found = replay(task.id.to_string()).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let found = found.json();
    assert_eq!((&found["task"], &found["recorded"]), (&json!(task.id), &json!("pending")));
    assert_eq!((found["endsAt"].as_i64(), found.get("divergence")), (Some(task.state().seq), None));
    let foreign = fixture.task_of("somebody", "Tell me").await;
    assert_eq!(replay(foreign.id.to_string()).await.status, 403);
    assert_eq!(problem(&replay(UNKNOWN.to_owned()).await), refused(404, "task_not_found"));
    assert_eq!(replay("x".to_owned()).await.status, 404);
}

#[tokio::test]
async fn replays_are_few_and_short_and_of_what_can_be_read() {
    let config = ServerConfig { max_recording_bytes: 4096, ..ServerConfig::default() };
    let mut fixture = Fixture::with(Access::new(None, None), config, json!([])).await;
    let path = format!("/api/tasks/{}/replay", fixture.task("Tell me").await.id);
    let large = format!("/api/tasks/{}/replay", fixture.task(&"x".repeat(5000)).await.id);
    assert_eq!(problem(&fixture.send(Method::POST, &large, None).await), refused(413, "recording_too_large"));

    fixture.replays_with(std::sync::Arc::new(|_| Box::pin(std::future::pending())));
    let ask = || fixture.send(Method::POST, &path, None);
    let replies = futures::join!(ask(), ask(), ask());
    let mut codes = [problem(&replies.0), problem(&replies.1), problem(&replies.2)];
    codes.sort();
    let long = refused(422, "replay_too_long");
    assert_eq!(codes, [refused(409, "replays_busy"), long.clone(), long]);

    fixture.replays_with(std::sync::Arc::new(|_| Box::pin(async { Err("it has no plan".to_owned()) })));
    let reply = fixture.send(Method::POST, &path, None).await;
    assert_eq!(problem(&reply), refused(422, "replay_impossible"));
    assert!(reply.text.contains("it has no plan"), "{}", reply.text);
}
