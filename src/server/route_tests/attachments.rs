//! Files that go with the goal of a task that is started outright, and with what a task is told.

use axum::http::Method;
use serde_json::{Value, json};

use super::{error, plan_rule, problem, refused};
use crate::models::Role;
use crate::orchestrator::StepContext;
use crate::server::fixture::Fixture;
use crate::task::{Event, TaskId};

const ORCHESTRATE: &str = "/api/chat/orchestrate";

fn files() -> Value {
    json!([
        {"type": "file", "filename": "notes.md", "mediaType": "text/markdown", "url": "data:text/markdown,Who%20writes%3F"},
        {"filename": "cat.png", "mediaType": "image/png", "url": "data:image/png;base64,aGVsbG8="},
        {"filename": "a.pdf", "mediaType": "application/pdf", "url": "data:application/pdf;base64,aGVsbG8="},
    ])
}

async fn opening(fixture: &Fixture, id: TaskId) -> StepContext {
    let task = fixture.repository().load(id).await.unwrap().unwrap();
    let orchestrator = &fixture.orchestrator;
    let model = orchestrator.models().for_role(Role::Execute, None).unwrap();
    let window = orchestrator.window(model.as_ref(), task.spec());
    orchestrator.step_context(&task, task.step(0).unwrap(), &window, None).await.unwrap()
}

/// Who wrote each message of a task, its beginning, and the names of its pictures.
async fn messages(fixture: &Fixture, id: TaskId) -> Vec<(String, String, Vec<String>)> {
    let journal = fixture.repository().journal(id, 0, 100).await.unwrap();
    let messages = journal.into_iter().filter_map(|entry| match entry.event {
        Event::MessageReceived { text, pictures, by } => {
            let names = pictures.into_iter().map(|picture| picture.name).collect();
            Some((by, text.preview().to_string(), names))
        }
        _ => None,
    });
    messages.collect()
}

#[tokio::test]
async fn files_go_with_the_goal_of_a_task_that_is_started_outright() {
    let planned =
        json!({"role": "plan", "contains": "The file notes.md:\nWho writes?", "reply": plan_rule()["reply"]});
    let fixture = Fixture::scripted(json!([planned])).await;
    let body = json!({"goal": "See who writes", "threadId": "t", "attachments": files()});
    let drafted = fixture.send(Method::POST, "/api/chat/plan", Some(body.clone())).await;
    assert_eq!((drafted.status, &drafted.json()["by"]["degraded"]), (200, &json!(false)), "{}", drafted.text);
    let started = fixture.send(Method::POST, ORCHESTRATE, Some(body)).await;
    assert_eq!(started.status, 200, "{}", started.text);
    let id: TaskId = serde_json::from_value(started.json()["taskId"].clone()).unwrap();
    let goal = fixture.repository().load(id).await.unwrap().unwrap().spec().goal.clone();
    assert_eq!(goal, "See who writes", "files are not the goal");
    let context = opening(&fixture, id).await;
    assert!(context.brief.contains("The file notes.md:\nWho writes?"), "{}", context.brief);
    assert!(context.brief.contains("[file a.pdf, application/pdf]"), "{}", context.brief);
    assert!(context.brief.contains("[a picture: cat.png, shown below]"), "{}", context.brief);
    assert!(matches!(&context.pictures[..], [cat] if cat.data == "aGVsbG8="), "{:?}", context.pictures);
    let by: Vec<String> = messages(&fixture, id).await.into_iter().map(|(by, ..)| by).collect();
    assert_eq!(by, ["file", "file", "file"], "nobody wrote them as a message");
    let said = fixture.orchestrator.said_by_people(id).await.unwrap();
    assert_eq!(said, ["See who writes"], "what is in a file is not what a person says");
}

#[tokio::test]
async fn files_go_with_what_a_task_is_told() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let id = fixture.task("g").await.id;
    let uri = format!("/api/tasks/{id}/messages");
    let told = json!({"text": "Look at these", "attachments": files()});
    let reply = fixture.send(Method::POST, &uri, Some(told)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let messages = messages(&fixture, id).await;
    let cat = vec!["cat.png".to_owned()];
    assert_eq!(messages[0], (crate::server::fixture::USER.to_owned(), "Look at these".to_owned(), cat));
    assert!(messages[1].0 == "file" && messages[1].1.contains("The file notes.md"), "{messages:?}");
    assert!(messages[2].0 == "file" && messages[2].1.contains("[file a.pdf"), "{messages:?}");
    let context = opening(&fixture, id).await;
    assert!(context.brief.contains("Look at these\n[a picture: cat.png, shown below]"), "{}", context.brief);
    assert_eq!(context.pictures.len(), 1);
    let said = fixture.orchestrator.said_by_people(id).await.unwrap();
    assert_eq!(said, ["g", "Look at these"]);
    let silent = fixture.send(Method::POST, &uri, Some(json!({"text": " ", "attachments": files()}))).await;
    assert_eq!(problem(&silent), refused(400, "invalid_request"));
}

#[tokio::test]
async fn a_body_with_files_may_be_as_large_as_that_of_a_chat_message() {
    let fixture = Fixture::scripted(json!([plan_rule()])).await;
    let id = fixture.task("g").await.id;
    let with = |bytes: usize| {
        let url = format!("data:image/png;base64,{}", "aGVsbG8h".repeat(bytes / 8));
        json!([{"filename": "cat.png", "mediaType": "image/png", "url": url}])
    };
    let start = async |bytes| {
        let body = json!({"goal": "See", "threadId": "t", "attachments": with(bytes)});
        fixture.send(Method::POST, ORCHESTRATE, Some(body)).await
    };
    let tell = async |bytes| {
        let body = json!({"text": "See", "attachments": with(bytes)});
        fixture.send(Method::POST, &format!("/api/tasks/{id}/messages"), Some(body)).await
    };
    const LARGE: usize = 3 * 1024 * 1024;
    assert_eq!((start(LARGE).await.status, tell(LARGE).await.status), (200, 200));
    const TOO_LARGE: usize = 17 * 1024 * 1024;
    let (status, said) = error(&start(TOO_LARGE).await);
    assert!(status == 413 && said.contains("server.chat.maxBodyBytes"), "{said}");
    assert_eq!(problem(&tell(TOO_LARGE).await), refused(413, "body_too_large"));
    let wrong = json!({"goal": "See", "threadId": "t", "attachments": [{"url": 7}]});
    let (status, said) = error(&fixture.send(Method::POST, ORCHESTRATE, Some(wrong)).await);
    assert_eq!((status, said.as_str()), (400, "attachments[0].url: must be a text, not the number 7"));
}
