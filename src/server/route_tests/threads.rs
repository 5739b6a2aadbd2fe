//! `/api/chat/{id}/messages`, `/api/chat/detect`, and an entry in full.

use axum::http::Method;
use serde_json::json;

use super::{error, problem, refused};
use crate::repository::Message;
use crate::server::fixture::{Fixture, USER};
use crate::task::Timestamp;

#[tokio::test]
async fn a_conversation_is_read_by_whose_it_is() {
    let fixture = Fixture::scripted(json!([{"role": "chat", "reply": {"text": "Paris"}}])).await;
    let unknown = fixture.get("/api/chat/t/messages").await;
    assert_eq!(error(&unknown), refused(404, "there is no conversation of this name"));
    let said = json!({"id": "t", "message": {"id": "m", "role": "user",
        "parts": [{"type": "text", "text": "What is the capital of France?"}]}});
    fixture.send(Method::POST, "/api/chat", Some(said)).await;
    let read = fixture.get("/api/chat/t/messages").await.json();
    assert_eq!(read["thread"]["title"], "What is the capital of France?");
    assert_eq!((&read["messages"][0]["id"], &read["messages"][0]["role"]), (&json!("m"), &json!("user")));
    assert_eq!(read["messages"][1]["parts"][0]["text"], "Paris");
    let newest = fixture.get("/api/chat/t/messages?limit=1").await.json();
    assert_eq!(newest["messages"][0]["role"], "assistant");
    assert_eq!(fixture.get("/api/chat/t/messages?limit=0").await.status, 400);
    fixture.repository().open_thread("theirs", "somebody", "").await.unwrap();
    assert_eq!(error(&fixture.get("/api/chat/theirs/messages").await), refused(403, "Forbidden"));
}

#[tokio::test]
async fn how_an_answer_is_given_is_not_shown_to_clients() {
    let fixture = Fixture::new().await;
    fixture.repository().open_thread("t", USER, "title").await.unwrap();
    let how =
        json!({"messageId": "m", "tools": {}, "budget": {"tokens": 7}, "priority": 3, "by": "worker-7"});
    let answering = Message {
        id: "msg-1".into(),
        thread_id: "t".into(),
        role: "assistant".into(),
        parts: json!([{"type": "data-answering", "data": how}]),
        task_id: None,
        created_at: Timestamp::default(),
    };
    fixture.repository().put_message(&answering).await.unwrap();
    let read = fixture.get("/api/chat/t/messages").await.json();
    assert_eq!(read["messages"][0]["parts"], json!([{"type": "data-answering", "data": {}}]));
}

#[tokio::test]
async fn conversations_are_listed_renamed_and_forgotten() {
    let fixture = Fixture::scripted(json!([{"role": "chat", "reply": {"text": "Paris"}}])).await;
    for id in ["one", "two"] {
        let said = json!({"id": id, "message": {"id": "m", "content": "What is the capital of France?"}});
        fixture.send(Method::POST, "/api/chat", Some(said)).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    fixture.repository().open_thread("theirs", "somebody", "").await.unwrap();
    let listed = fixture.get("/api/threads?limit=1").await.json();
    assert_eq!((&listed["threads"][0]["id"], &listed["nextBefore"]), (&json!("two"), &json!("two")));
    let rest = fixture.get("/api/threads?before=two").await.json();
    assert_eq!(rest["threads"].as_array().unwrap().len(), 1, "{rest}");
    let title = |title: &str| Some(json!({"title": title}));
    let renamed = fixture.send(Method::PATCH, "/api/threads/one", title(" Capitals ")).await.json();
    assert_eq!(renamed["title"], "Capitals");
    assert_eq!(fixture.get("/api/threads/one").await.json(), renamed);
    assert_eq!(fixture.send(Method::PATCH, "/api/threads/one", title(" ")).await.status, 400);
    assert_eq!(fixture.send(Method::DELETE, "/api/threads/one", None).await.status, 204);
    let gone = refused(404, "thread_not_found");
    assert_eq!(problem(&fixture.get("/api/threads/one").await), gone);
    assert_eq!(problem(&fixture.send(Method::DELETE, "/api/threads/one", None).await), gone);
    let forbidden = refused(403, "forbidden");
    assert_eq!(problem(&fixture.send(Method::DELETE, "/api/threads/theirs", None).await), forbidden);
    assert_eq!(problem(&fixture.send(Method::PATCH, "/api/threads/theirs", title("x")).await), forbidden);
}

#[tokio::test]
async fn a_text_is_judged_by_the_rules_and_not_kept() {
    let fixture = Fixture::new().await;
    let judged = async |text: &str| {
        fixture.send(Method::POST, "/api/chat/detect", Some(json!({"text": text}))).await.json()
    };
    let goal = judged("Compare all modules and then write a report about every difference").await;
    assert_eq!((&goal["orchestrate"], &goal["by"]), (&json!(true), &json!("rules")));
    assert_eq!(judged("What is the capital of France?").await["orchestrate"], false);
    assert_eq!(fixture.send(Method::POST, "/api/chat/detect", Some(json!({}))).await.status, 400);
}

#[tokio::test]
async fn an_entry_has_its_contents_in_full() {
    let fixture = Fixture::new().await;
    let task = fixture.task_of(USER, "g").await;
    let uri = |seq: &str| format!("/api/tasks/{}/traces/{seq}", task.id);
    let entry = fixture.get(&uri("1")).await.json();
    assert_eq!((&entry["seq"], &entry["kind"]), (&json!(1), &json!("created")));
    assert_eq!(problem(&fixture.get(&uri("99")).await), refused(404, "entry_not_found"));
    assert_eq!(problem(&fixture.get(&uri("0")).await), refused(404, "entry_not_found"));
    assert_eq!(problem(&fixture.get(&uri("x")).await), refused(400, "invalid_request"));
    let foreign = fixture.task_of("somebody", "g").await.id;
    let theirs = fixture.get(&format!("/api/tasks/{foreign}/traces/1")).await;
    assert_eq!(problem(&theirs), refused(403, "forbidden"));
}
