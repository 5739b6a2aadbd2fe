//! What a task may consume, over HTTP.

use axum::http::Method;
use serde_json::json;

use super::super::fixture::Fixture;
use super::{UNKNOWN, plan_rule, problem, refused};

#[tokio::test]
async fn a_request_may_bring_a_budget_and_somebody_may_add_to_it() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let body =
        json!({"goal": "g", "threadId": "t", "budget": {"tokens": 1000, "costUsd": 0.5, "modelCalls": 0}});
    let started = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await.json();
    let base = format!("/api/tasks/{}", started["taskId"].as_str().unwrap());
    let budget = fixture.get(&base).await.json()["budget"].clone();
    assert_eq!((&budget["limits"]["tokens"], &budget["limits"]["costUsd"]), (&json!(1000), &json!(0.5)));
    assert_eq!(budget["limits"]["modelCalls"], json!(null), "0 is without limit");
    assert_eq!(budget["limits"]["wallTimeMs"], json!(86_400_000), "what is not said is as configured");
    assert_eq!(budget["used"]["modelCalls"], 1, "the planner's call");
    assert!(budget["used"]["tokens"].as_u64().unwrap() > 0);
    let raise =
        async |add| fixture.send(Method::POST, &format!("{base}/budget"), Some(json!({"add": add}))).await;
    let raised = raise(json!({"tokens": 500, "costUsd": 0.25})).await.json();
    assert_eq!(raised["budget"]["limits"]["tokens"], 1500);
    assert_eq!(raised["budget"]["limits"]["costUsd"], 0.75);
    for nonsense in [json!({}), json!({"modelCalls": 5}), json!({"token": 5}), json!({"tokens": -5})] {
        assert_eq!(raise(nonsense).await.status, 400);
    }
}

#[tokio::test]
async fn a_chat_message_may_bring_a_budget_for_its_task() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let text = "Find every TODO comment in this repository and write a report";
    let body = json!({
        "id": "thread", "message": {"role": "user", "parts": [{"type": "text", "text": text}]},
        "budget": {"toolCalls": 7},
    });
    let answer = fixture.send(Method::POST, "/api/chat", Some(body)).await.json();
    let uri = format!("/api/tasks/{}", answer["taskId"].as_str().unwrap());
    let limits = fixture.get(&uri).await.json()["budget"]["limits"].clone();
    assert_eq!((&limits["toolCalls"], &limits["modelCalls"]), (&json!(7), &json!(1000)));
}

#[tokio::test]
async fn only_ones_own_budget_is_raised() {
    let fixture = Fixture::new().await;
    let add = Some(json!({"add": {"tokens": 5}}));
    let reply = fixture.send(Method::POST, &format!("/api/tasks/{UNKNOWN}/budget"), add).await;
    assert_eq!(problem(&reply), refused(404, "task_not_found"));
}
