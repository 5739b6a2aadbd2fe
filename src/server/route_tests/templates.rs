//! `/api/templates`.

use axum::http::Method;
use serde_json::{Value, json};

use super::{UNKNOWN, problem, refused};
use crate::server::fixture::{Fixture, Reply, USER};

const TEMPLATES: &str = "/api/templates";

async fn post(fixture: &Fixture, uri: &str, body: Value) -> Reply {
    fixture.send(Method::POST, uri, Some(body)).await
}

fn notes() -> Value {
    json!({
        "name": "notes", "description": "Writes notes", "goal": "Write notes on {{topic}}",
        "parameters": {"required": ["topic"], "properties": {
            "topic": {"type": "string"}, "words": {"type": "integer", "minimum": 1, "default": 200}}},
        "steps": [
            {"id": "think", "description": "Think about {{topic}}", "type": "llm-reasoning"},
            {"description": "Write {{words}} words", "type": "llm-reasoning"},
        ],
    })
}

#[tokio::test]
async fn a_template_is_written_read_listed_and_forgotten() {
    let fixture = Fixture::new().await;
    let made = post(&fixture, TEMPLATES, notes()).await.json();
    assert_eq!((&made["version"], &made["userId"]), (&json!(1), &json!(USER)), "{made}");
    assert_eq!(made["steps"][1]["dependsOn"], json!([0]));
    assert_eq!(made["parameters"]["additionalProperties"], json!(false));
    let again = post(&fixture, TEMPLATES, notes()).await.json();
    assert_eq!(again, made, "the same content is the same version");
    let mut other = notes();
    other["goal"] = json!("Write a poem on {{topic}}");
    let second = post(&fixture, TEMPLATES, other).await.json();
    assert_eq!(second["version"], json!(2));
    let one = format!("{TEMPLATES}/notes");
    assert_eq!(fixture.get(&one).await.json(), second);
    assert_eq!(fixture.get(&format!("{one}?version=1")).await.json(), made);
    assert_eq!(problem(&fixture.get(&format!("{one}?version=3")).await), refused(404, "template_not_found"));
    let listed = fixture.get(&format!("{TEMPLATES}?limit=1")).await.json();
    assert_eq!((&listed["templates"], &listed["nextAfter"]), (&json!([second]), &json!("notes")));
    assert_eq!(fixture.get(&format!("{TEMPLATES}?after=notes")).await.json()["templates"], json!([]));
    assert_eq!(fixture.send(Method::DELETE, &one, None).await.status, 204);
    assert_eq!(problem(&fixture.send(Method::DELETE, &one, None).await), refused(404, "template_not_found"));
    assert_eq!(problem(&fixture.get(&one).await), refused(404, "template_not_found"));
}

#[tokio::test]
async fn a_run_is_a_task_with_everything_filled_in() {
    let fixture = Fixture::new().await;
    post(&fixture, TEMPLATES, notes()).await;
    let body =
        json!({"parameters": {"topic": "tea"}, "threadId": "t", "priority": 2, "budget": {"tokens": 7}});
    let started = post(&fixture, &format!("{TEMPLATES}/notes/run"), body).await.json();
    assert_eq!(started["strategy"]["totalSteps"], json!(2), "{started}");
    let task = fixture.get(&format!("/api/tasks/{}", started["taskId"].as_str().unwrap())).await.json();
    assert_eq!((&task["goal"], &task["threadId"]), (&json!("Write notes on tea"), &json!("t")));
    assert_eq!((&task["priority"], &task["budget"]["limits"]["tokens"]), (&json!(2), &json!(7)));
    assert_eq!(task["template"], json!({"name": "notes", "version": 1}));
    let steps =
        fixture.get(&format!("/api/tasks/{}/steps", started["taskId"].as_str().unwrap())).await.json();
    assert_eq!(steps["steps"][1]["description"], json!("Write 200 words"));
}

#[tokio::test]
async fn the_same_run_with_the_same_key_starts_one_task() {
    let fixture = Fixture::new().await;
    post(&fixture, TEMPLATES, notes()).await;
    let run = || {
        let request =
            axum::http::Request::builder().method(Method::POST).uri(format!("{TEMPLATES}/notes/run"));
        let request = request.header("idempotency-key", "k");
        request.body(axum::body::Body::from(json!({"parameters": {"topic": "tea"}}).to_string())).unwrap()
    };
    let first = fixture.ask(run()).await.json();
    assert_eq!(fixture.ask(run()).await.json(), first);
    assert_eq!(fixture.get("/api/tasks").await.json()["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_refused_by_their_name() {
    let fixture = Fixture::new().await;
    post(&fixture, TEMPLATES, notes()).await;
    for (parameters, said) in [
        (json!({}), "parameters: \"topic\" is a required property"),
        (json!({"topic": 7}), "parameters: topic: 7 is not of type \"string\""),
        (json!({"topic": "t", "words": 0}), "parameters: words: 0 is less than the minimum of 1"),
        (json!({"topic": "t", "word": 1}), "parameters: Additional properties are not allowed ('word'"),
    ] {
        let reply =
            post(&fixture, &format!("{TEMPLATES}/notes/run"), json!({"parameters": parameters})).await;
        assert_eq!(problem(&reply), refused(400, "invalid_request"), "{parameters}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(said), "{detail}");
    }
    let missing = post(&fixture, &format!("{TEMPLATES}/ghost/run"), json!({})).await;
    assert_eq!(problem(&missing), refused(404, "template_not_found"));
}

#[tokio::test]
async fn templates_that_make_no_sense_are_refused_with_the_field() {
    let fixture = Fixture::new().await;
    let with = |key: &str, value: Value| {
        let mut body = notes();
        body[key] = value;
        body
    };
    for (body, field) in [
        (with("name", json!("Not A Name")), "name: "),
        (with("name", json!("x".repeat(51))), "name: "),
        (with("goal", json!(" ")), "goal: "),
        (with("goal", json!("{{tpoic}}")), "parameters: {{tpoic}} is used and not declared"),
        (
            with("parameters", json!({"type": 7, "properties": {"topic": {}, "words": {}}})),
            "parameters: is no JSON",
        ),
        (
            with("parameters", json!({"properties": {"a b": {}, "topic": {}, "words": {}}})),
            "parameters: 'a b'",
        ),
        (with("steps", json!([{"description": "d"}])), "steps[0].type: is missing"),
        (
            with("steps", json!([{"description": " ", "type": "llm-reasoning"}])),
            "steps[0].description: is empty",
        ),
        (with("replace", json!({"topic": "x"})), "replace: goes with fromTask"),
        (with("fromTask", json!(UNKNOWN)), "fromTask: brings goal and steps"),
    ] {
        let reply = post(&fixture, TEMPLATES, body.clone()).await;
        assert_eq!(problem(&reply), refused(400, "invalid_request"), "{body}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(field), "{body}: {detail}");
    }
    let task = fixture.task("g").await;
    let unfinished = post(&fixture, TEMPLATES, json!({"name": "n", "fromTask": task.id})).await;
    assert_eq!(problem(&unfinished), refused(409, "task_status"));
    let foreign = fixture.task_of("somebody", "g").await;
    let refusal = post(&fixture, TEMPLATES, json!({"name": "n", "fromTask": foreign.id})).await;
    assert_eq!(problem(&refusal), refused(403, "forbidden"));
}

#[tokio::test]
async fn the_templates_of_others_are_out_of_reach() {
    let fixture = Fixture::new().await;
    let wish = serde_json::from_value(notes()).unwrap();
    fixture.orchestrator.put_template("somebody", wish).await.unwrap();
    assert_eq!(fixture.get(TEMPLATES).await.json()["templates"], json!([]));
    let one = format!("{TEMPLATES}/notes");
    for reply in [
        fixture.get(&one).await,
        fixture.send(Method::DELETE, &one, None).await,
        post(&fixture, &format!("{one}/run"), json!({})).await,
    ] {
        assert_eq!(problem(&reply), refused(404, "template_not_found"));
    }
}
