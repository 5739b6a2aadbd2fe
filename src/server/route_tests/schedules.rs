//! `/api/schedules`.

use axum::http::Method;
use serde_json::{Value, json};

use super::{UNKNOWN, plan_rule, problem, refused};
use crate::server::fixture::{Fixture, Reply, USER};

const SCHEDULES: &str = "/api/schedules";

async fn create(fixture: &Fixture, body: Value) -> Reply {
    fixture.send(Method::POST, SCHEDULES, Some(body)).await
}

fn every_morning() -> Value {
    json!({"cron": "0 9 * * 1-5", "timeZone": "Europe/Berlin", "task": {"goal": "Look at the news", "priority": 2}})
}

#[tokio::test]
async fn a_schedule_is_made_shown_changed_and_removed() {
    let fixture = Fixture::new().await;
    let made = create(&fixture, every_morning()).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json();
    assert_eq!(
        (&made["name"], &made["overlap"], &made["userId"]),
        (&json!("Look at the news"), &json!("skip"), &json!(USER))
    );
    assert_eq!(made["task"], every_morning()["task"]);
    let upcoming = made["upcoming"].as_array().unwrap();
    assert_eq!((upcoming.len(), &upcoming[0]), (5, &made["nextAt"]));
    let uri = format!("{SCHEDULES}/{}", made["id"].as_str().unwrap());
    assert_eq!(fixture.get(&uri).await.json(), made);
    let change = json!({"timeZone": "Asia/Tokyo", "overlap": "allow", "name": "News"});
    let changed = fixture.send(Method::PATCH, &uri, Some(change)).await.json();
    assert_eq!((&changed["cron"], &changed["timeZone"]), (&made["cron"], &json!("Asia/Tokyo")));
    assert_eq!((&changed["overlap"], &changed["name"]), (&json!("allow"), &json!("News")));
    assert!(changed["nextAt"].as_str().unwrap().ends_with("T00:00:00.000Z"), "{changed}");
    let listed = fixture.get(SCHEDULES).await.json();
    assert_eq!((&listed["schedules"][0]["id"], &listed["nextBefore"]), (&made["id"], &Value::Null));
    assert_eq!(fixture.send(Method::DELETE, &uri, None).await.status, 204);
    assert_eq!(problem(&fixture.get(&uri).await), refused(404, "schedule_not_found"));
}

#[tokio::test]
async fn a_paused_schedule_has_no_fire_times_and_can_be_triggered() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let made = create(&fixture, every_morning()).await.json();
    let uri = format!("{SCHEDULES}/{}", made["id"].as_str().unwrap());
    let act = async |verb: &str| fixture.send(Method::POST, &format!("{uri}/{verb}"), None).await;
    let paused = act("pause").await.json();
    assert_eq!((&paused["paused"], &paused["upcoming"]), (&json!(true), &json!([])));
    let task = act("trigger").await;
    assert_eq!(task.status, 200, "{}", task.text);
    let shown = fixture.get(&uri).await.json();
    assert_eq!((&shown["taskId"], &shown["runs"]), (&task.json()["id"], &json!(1)));
    let thread = format!("/api/tasks?threadId=schedule-{}", made["id"].as_str().unwrap());
    assert_eq!(fixture.get(&thread).await.json()["tasks"][0]["id"], task.json()["id"]);
    let resumed = act("resume").await.json();
    assert_eq!((&resumed["paused"], &resumed["nextAt"]), (&json!(false), &made["nextAt"]));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_field() {
    let fixture = Fixture::new().await;
    let task = json!({"goal": "g"});
    for (body, field) in [
        (json!({"task": task}), "cron"),
        (json!({"cron": "@daily"}), "task"),
        (json!({"cron": "0 25 * * *", "task": task}), "cron: the hour"),
        (json!({"cron": "0 0 30 2 *", "task": task}), "cron"),
        (json!({"cron": "@daily", "timeZone": "Mars/Base", "task": task}), "timeZone"),
        (json!({"at": "2020-01-01T00:00:00Z", "task": task}), "at: 2020-01-01T00:00:00.000Z has passed"),
        (json!({"at": "2120-01-01T00:00:00Z", "cron": "@daily", "task": task}), "at"),
        (json!({"at": "2120-01-01T00:00:00Z", "timeZone": "UTC", "task": task}), "timeZone"),
        (json!({"cron": "@daily", "task": {"goal": " "}}), "goal"),
        (json!({"cron": "@daily", "task": {"goal": "g", "priority": 9}}), "task"),
        (json!({"cron": "@daily", "tasks": task}), "tasks: there is no such field"),
    ] {
        let reply = create(&fixture, body.clone()).await;
        assert_eq!(problem(&reply), refused(400, "invalid_request"), "{body}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(field), "{body}: {detail}");
    }
    assert_eq!(fixture.get(SCHEDULES).await.json()["schedules"], json!([]));
}

#[tokio::test]
async fn the_schedules_and_threads_of_others_are_out_of_reach() {
    let fixture = Fixture::new().await;
    let wish = serde_json::from_value(every_morning()).unwrap();
    let foreign = fixture.orchestrator.create_schedule("somebody", wish, None).await.unwrap().id.to_string();
    for (id, expected) in [
        (foreign.as_str(), refused(403, "forbidden")),
        (UNKNOWN, refused(404, "schedule_not_found")),
        ("x", refused(400, "invalid_request")),
    ] {
        let uri = format!("{SCHEDULES}/{id}");
        assert_eq!(problem(&fixture.get(&uri).await), expected);
        assert_eq!(problem(&fixture.send(Method::PATCH, &uri, Some(json!({}))).await), expected);
        assert_eq!(problem(&fixture.send(Method::DELETE, &uri, None).await), expected);
        for verb in ["pause", "resume", "trigger"] {
            assert_eq!(problem(&fixture.send(Method::POST, &format!("{uri}/{verb}"), None).await), expected);
        }
    }
    fixture.task_of("somebody", "g").await;
    let body = json!({"cron": "@daily", "task": {"goal": "g", "threadId": "thread of somebody"}});
    assert_eq!(problem(&create(&fixture, body).await), refused(403, "forbidden"));
}

#[tokio::test]
async fn a_pattern_is_previewed_before_there_is_a_schedule() {
    let fixture = Fixture::new().await;
    let ask = async |query: &str| fixture.get(&format!("{SCHEDULES}/preview{query}")).await;
    let times = ask("?cron=0%209%20*%20*%201-5&timeZone=Asia/Tokyo").await.json();
    let times = times["upcoming"].as_array().unwrap().clone();
    assert_eq!(times.len(), 5);
    assert!(times.iter().all(|time| time.as_str().unwrap().ends_with("T00:00:00.000Z")), "{times:?}");
    let wrong = ask("?cron=0%2025%20*%20*%20*").await;
    assert_eq!(problem(&wrong), refused(400, "invalid_request"));
    assert!(wrong.text.contains("hour '25'"), "{}", wrong.text);
    assert_eq!(ask("").await.status, 400);
}

#[tokio::test]
async fn a_schedule_keeps_all_that_a_task_may_be_asked_with() {
    let fixture = Fixture::new().await;
    let task = json!({
        "goal": "Look at the news", "threadId": "news", "priority": 2, "budget": {"costUsd": 0.5, "steps": 7},
        "approval": {"plan": true, "classes": ["unsafe"], "expiresAfterMs": 60_000, "onExpiry": "deny"},
        "allowedMcpServers": {}, "allowedAppDefaultToolkit": [],
        "plan": [{"id": "a", "description": "look", "type": "llm-reasoning"}],
    });
    let made = create(&fixture, json!({"cron": "@daily", "task": task})).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let kept = &made.json()["task"];
    for field in ["threadId", "priority", "allowedMcpServers", "allowedAppDefaultToolkit"] {
        assert_eq!(kept[field], task[field], "{field}");
    }
    for (field, value) in task["approval"].as_object().unwrap() {
        assert_eq!(&kept["approval"][field], value, "{field}");
    }
    assert_eq!((&kept["budget"]["costUsd"], &kept["budget"]["steps"]), (&json!(0.5), &json!(7)));
    let uri = format!("{SCHEDULES}/{}/trigger", made.json()["id"].as_str().unwrap());
    let started = fixture.send(Method::POST, &uri, None).await;
    assert_eq!(started.status, 200, "{}", started.text);
    let started = started.json();
    assert_eq!((&started["priority"], &started["threadId"]), (&json!(2), &json!("news")));
    let uri = format!("/api/tasks/{}/steps", started["id"].as_str().unwrap());
    assert_eq!(fixture.get(&uri).await.json()["steps"][0]["description"], "look");
}
