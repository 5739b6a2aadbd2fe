//! Forks, retries and differences over HTTP.

use axum::http::Method;
use serde_json::{Value, json};

use super::super::fixture::{Fixture, USER};
use super::{UNKNOWN, problem, refused};

#[tokio::test]
async fn a_task_is_forked_and_put_beside_the_other_one() {
    let fixture = Fixture::new().await;
    let task = fixture.task("Tell me").await;
    let base = format!("/api/tasks/{}", task.id);
    let body = json!({"step": 1, "model": {"provider": "offline", "model": "rules"}, "goal": "Tell her",
                      "prompt": "Be brief"});
    let fork = fixture.send(Method::POST, &format!("{base}/fork"), Some(body)).await;
    assert_eq!(fork.status, 200, "{}", fork.text);
    let fork = fork.json();
    assert_eq!(fork["forkedFrom"], json!({"task": task.id, "seq": 3}));
    assert_eq!((&fork["goal"], &fork["chatModel"]), (&json!("Tell her"), &json!("offline/rules")));
    assert_eq!(fork["totalSteps"], 3);
    let same = fixture.send(Method::POST, &format!("{base}/fork"), None).await;
    assert_eq!(same.status, 200, "{}", same.text);
    let diff = fixture.get(&format!("{base}/diff/{}", fork["id"].as_str().unwrap())).await.json();
    let steps = diff["steps"].as_array().unwrap();
    assert_eq!(
        (steps.len(), &steps[0]["same"], &steps[0]["b"]["status"]),
        (3, &json!(true), &json!("pending"))
    );
    assert_eq!(diff["b"]["forkedFrom"]["task"], json!(task.id));
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let fixture = Fixture::new().await;
    let task = fixture.task("Tell me").await;
    let base = format!("/api/tasks/{}", task.id);
    let post = async |path: &str, body: Value| {
        fixture.send(Method::POST, &format!("{base}/{path}"), Some(body)).await
    };
    for body in [
        json!({"seq": 99}),
        json!({"step": 7}),
        json!({"seq": 3, "step": 1}),
        json!({"result": {"step": 0, "call": 1, "value": 1}}),
        json!({"goal": " "}),
        json!({"sequence": 3}),
    ] {
        assert_eq!(problem(&post("fork", body.clone()).await), refused(400, "invalid_request"), "{body}");
    }
    let unknown = json!({"model": "nobody/x"});
    assert_eq!(problem(&post("fork", unknown).await), refused(422, "model_not_configured"));
    assert_eq!(problem(&post("retry", json!({})).await), refused(409, "task_status"));
    for path in ["fork", "retry"] {
        let unknown = fixture.send(Method::POST, &format!("/api/tasks/{UNKNOWN}/{path}"), None).await;
        assert_eq!(problem(&unknown), refused(404, "task_not_found"));
    }
    let foreign = fixture.task_of("somebody", "Tell me").await;
    let diff = fixture.get(&format!("{base}/diff/{}", foreign.id)).await;
    assert_eq!(diff.status, 403, "{USER} is not somebody");
}
