//! `/api/tasks` and what surrounds it.

use axum::http::Method;
use serde_json::{Value, json};

use super::super::fixture::{Fixture, USER};
use super::{UNKNOWN, error, plan_rule, problem, refused};
use crate::repository::{Beat, Claim, WorkerInfo};

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let fixture = Fixture::new().await;
    let first = fixture.task("one").await;
    let second = fixture.task("two").await;
    fixture.orchestrator.cancel(first.id, USER).await.unwrap();
    let page = fixture.get("/api/tasks?limit=1").await.json();
    assert_eq!(page["tasks"][0]["id"], json!(second.id));
    assert_eq!(page["nextBefore"], json!(second.id));
    let rest = fixture.get(&format!("/api/tasks?before={}", second.id)).await.json();
    assert_eq!(rest["tasks"][0]["id"], json!(first.id));
    assert_eq!(rest["nextBefore"], Value::Null);
    let live = fixture.get("/api/tasks?status=pending,running&threadId=thread+of+local").await.json();
    assert_eq!(live["tasks"].as_array().unwrap().len(), 1);
    for bad in ["status=done", "limit=0", "limit=x", "before=task-1"] {
        assert_eq!(
            problem(&fixture.get(&format!("/api/tasks?{bad}")).await),
            refused(400, "invalid_request"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_task_its_steps_and_its_journal_are_shown() {
    let fixture = Fixture::new().await;
    let task = fixture.task("the goal").await;
    let base = format!("/api/tasks/{}", task.id);
    let shown = fixture.get(&base).await.json();
    assert_eq!(
        (&shown["goal"], &shown["seq"], &shown["status"]),
        (&json!("the goal"), &json!(3), &json!("pending"))
    );
    let steps = fixture.get(&format!("{base}/steps")).await.json();
    assert_eq!(steps["steps"].as_array().unwrap().len(), 3);
    assert_eq!((&steps["steps"][1]["id"], &steps["steps"][1]["index"]), (&json!("step-2"), &json!(1)));
    let traces = fixture.get(&format!("{base}/traces?after=1&limit=1")).await.json();
    assert_eq!(traces["nextAfter"], 2);
    let fields: Vec<&String> = traces["traces"][0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["seq", "at", "epoch", "type", "kind", "message", "step", "data"]);
    assert_eq!((&traces["traces"][0]["seq"], &traces["traces"][0]["kind"]), (&json!(2), &json!("detected")));
}

#[tokio::test]
async fn a_task_is_paused_resumed_and_cancelled() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let act = async |verb: &str, body: Option<Value>| {
        fixture.send(Method::POST, &format!("/api/tasks/{}/{verb}", task.id), body).await
    };
    let paused = act("pause", None).await.json();
    assert_eq!((&paused["status"], &paused["pause"]["reason"]), (&json!("paused"), &json!("user")));
    assert_eq!(problem(&act("pause", None).await), refused(409, "task_status"));
    let skip = act("resume", Some(json!({"outcome": "skip"}))).await;
    assert_eq!(problem(&skip), refused(400, "invalid_request"), "no call has an unknown outcome");
    assert_eq!(
        problem(&act("resume", Some(json!({"outcome": "perhaps"}))).await),
        refused(400, "invalid_request")
    );
    assert_eq!(act("resume", None).await.json()["status"], "pending");
    assert_eq!(act("cancel", None).await.json()["status"], "cancelled");
    assert_eq!(problem(&act("cancel", None).await), refused(409, "task_status"));
}

#[tokio::test]
async fn foreign_and_unknown_ids_are_told_apart() {
    let fixture = Fixture::new().await;
    let foreign = fixture.task_of("somebody", "g").await.id.to_string();
    for (id, expected) in [
        (foreign.as_str(), refused(403, "forbidden")),
        (UNKNOWN, refused(404, "task_not_found")),
        ("x", refused(404, "task_not_found")),
    ] {
        for rest in ["", "/steps", "/traces", "/events"] {
            assert_eq!(problem(&fixture.get(&format!("/api/tasks/{id}{rest}")).await), expected);
        }
        for verb in ["pause", "resume", "cancel"] {
            let reply = fixture.send(Method::POST, &format!("/api/tasks/{id}/{verb}"), None).await;
            assert_eq!(problem(&reply), expected);
        }
    }
}

#[tokio::test]
async fn worker_tools_and_models_are_shown() {
    let fixture = Fixture::new().await;
    fixture.task("g").await;
    let worker = fixture.get("/api/worker").await.json();
    assert_eq!(worker["worker"]["name"], "idle");
    assert_eq!((&worker["stats"]["due"], &worker["database"]["embedded"]), (&json!(1), &json!(true)));
    assert_eq!(fixture.get("/api/tools").await.json(), json!({"tools": [], "mcpServers": []}));
    let models = fixture.get("/api/models").await.json();
    assert_eq!((&models["default"], &models["offline"]), (&json!("scripted/test"), &json!(false)));
}

#[tokio::test]
async fn a_task_is_as_urgent_as_was_asked_and_as_somebody_says_later() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let start = async |priority: Value| {
        let body = json!({"goal": "g", "threadId": "t", "priority": priority});
        fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await
    };
    let (status, message) = error(&start(json!(6)).await);
    assert_eq!(status, 400);
    assert!(message.starts_with("priority: '6' is no priority"), "{message}");
    let id = start(json!(2)).await.json()["taskId"].as_str().unwrap().to_owned();
    let uri = format!("/api/tasks/{id}");
    assert_eq!(fixture.get(&uri).await.json()["priority"], 2);
    let change = async |body: Value| fixture.send(Method::PATCH, &uri, Some(body)).await;
    assert_eq!(change(json!({"priority": 5})).await.json()["priority"], 5);
    assert_eq!(fixture.get("/api/tasks").await.json()["tasks"][0]["priority"], 5);
    let traces = fixture.get(&format!("{uri}/traces?after=3")).await.json();
    let fact = json!({"priority": 5, "by": USER});
    assert_eq!((&traces["traces"][0]["kind"], &traces["traces"][0]["data"]), (&json!("prioritized"), &fact));
    for bad in
        [json!({}), json!({"priority": 0}), json!({"priority": "high"}), json!({"priority": 1, "goal": "h"})]
    {
        assert_eq!(problem(&change(bad).await), refused(400, "invalid_request"));
    }
    fixture.send(Method::POST, &format!("{uri}/cancel"), None).await;
    assert_eq!(problem(&change(json!({"priority": 1})).await), refused(409, "task_status"));
}

#[tokio::test]
async fn all_workers_are_listed_with_what_they_hold() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let worker = WorkerInfo {
        name: "w".into(),
        host: "h".into(),
        pid: 7,
        version: "1".into(),
        concurrency: 5,
        lease_ms: 15_000,
    };
    fixture.repository().beat(&worker, Beat::Begin).await.unwrap();
    let lease = std::time::Duration::from_secs(60);
    let claim = Claim::by("w", lease);
    fixture.repository().claim(claim).await.unwrap();
    let listed = fixture.get("/api/workers").await.json();
    let mut listed = listed["workers"][0].clone();
    assert!(listed["startedAt"].take().is_string() && listed["seenAt"].take().is_string());
    let expected = json!({
        "name": "w", "host": "h", "pid": 7, "version": "1", "concurrency": 5, "leaseMs": 15000,
        "presence": "working", "startedAt": null, "seenAt": null, "tasks": [task.id],
    });
    assert_eq!(listed, expected);
}
