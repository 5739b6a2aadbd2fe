//! A message is answered once, also if it is sent twice in one moment, or again after its server was lost while the
//! answer became a task.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::fixture::{Fixture, USER};
use super::chat::{QUESTION, body, kept, post, texts};
use crate::orchestrator::TaskRequest;
use crate::repository::{ListFilter, Message};
use crate::task::{Plan, PlannedStep, StepType, Task, TaskId};

#[tokio::test]
async fn a_message_that_is_sent_twice_in_one_moment_is_answered_once() {
    let once = json!({"role": "chat", "times": 1, "delayMs": 100, "reply": {"text": "It is Paris."}});
    let fixture = Fixture::scripted(json!([once, {"role": "chat", "reply": {"text": "Rome."}}])).await;
    let (first, second, third) = tokio::join!(
        post(&fixture, body("m1", QUESTION)),
        post(&fixture, body("m1", QUESTION)),
        post(&fixture, body("m1", QUESTION)),
    );
    for reply in [&first, &second, &third] {
        assert_eq!(texts(&reply.chunks()), "It is Paris.", "the model is asked once");
        assert_eq!(reply.headers["x-workflow-run-id"], first.headers["x-workflow-run-id"]);
    }
    assert_eq!(kept(&fixture).await.len(), 2);
}

/// A thread, and a model that would give another answer.
async fn in_thread() -> Fixture {
    let fixture = Fixture::scripted(json!([{"role": "chat", "reply": {"text": "Rome."}}])).await;
    fixture.repository().open_thread("thread", USER, "title").await.unwrap();
    fixture
}

/// The task that an answer to "m1" became, in a thread that does not say so: its server was lost in between.
async fn unmentioned(fixture: &Fixture, anew: Option<Value>) -> Task {
    let id = TaskId(Uuid::now_v7());
    let plan = Plan { steps: vec![PlannedStep::new("a", StepType::LlmReasoning, "Think")] };
    let request = TaskRequest {
        goal: QUESTION.into(),
        user_id: USER.into(),
        thread_id: "thread".into(),
        plan: Some(plan),
        id: Some(id),
        ..TaskRequest::default()
    };
    let task = fixture.orchestrator.start(request).await.unwrap();
    let repository = fixture.repository();
    let is_aside = anew.is_some();
    let message = |id: String, role: &str, parts| Message {
        id,
        thread_id: "thread".into(),
        role: role.into(),
        parts,
        task_id: None,
        created_at: fixture.orchestrator.now(),
    };
    let asked = json!([{"type": "text", "text": QUESTION}]);
    repository.put_message(&message("m1".into(), "user", asked)).await.unwrap();
    let mark =
        |anew: Option<Value>| json!([{"type": "data-answering", "data": {"messageId": "m1", "anew": anew}}]);
    if is_aside {
        // An answer before that was lost as well, and became nothing.
        let lost = format!("msg-{}", TaskId(Uuid::now_v7()));
        repository.put_message(&message(lost, "assistant", mark(None))).await.unwrap();
        let aside = message(format!("msg-{id}"), "assistant", mark(anew));
        repository.conversations().put_aside(&aside).await.unwrap();
    } else {
        repository.put_message(&message(format!("msg-{id}"), "assistant", mark(None))).await.unwrap();
    }
    task
}

async fn names_it_alone(fixture: &Fixture, task: &Task) {
    let tasks = fixture.repository().list(&ListFilter::default()).await.unwrap();
    assert_eq!(tasks.iter().map(|known| known.id).collect::<Vec<_>>(), [task.id], "the work began twice");
    let said = fixture.repository().messages("thread", 10).await.unwrap();
    let said: Vec<_> = said.iter().map(|message| (message.id.as_str(), message.task_id)).collect();
    let answer = format!("msg-{}", task.id);
    assert_eq!(said, [("m1", Some(task.id)), (answer.as_str(), Some(task.id))]);
}

#[tokio::test]
async fn an_answer_that_became_a_task_unseen_is_found_when_its_message_is_sent_again() {
    let asked = json!([{"type": "text", "text": QUESTION}]);
    for anew in [None, Some(asked)] {
        let fixture = in_thread().await;
        let task = unmentioned(&fixture, anew).await;
        let reply = post(&fixture, body("m1", QUESTION)).await;
        assert_eq!(reply.json()["taskId"], json!(task.id), "{}", reply.text);
        names_it_alone(&fixture, &task).await;
    }
}

#[tokio::test]
async fn a_task_that_its_answer_names_and_its_question_does_not_is_found_when_the_message_is_sent_again() {
    let fixture = in_thread().await;
    let task = unmentioned(&fixture, None).await;
    let answer = fixture.repository().messages("thread", 10).await.unwrap().remove(1);
    fixture.repository().put_message(&Message { task_id: Some(task.id), ..answer }).await.unwrap();
    let reply = post(&fixture, body("m1", QUESTION)).await;
    assert_eq!(reply.json()["taskId"], json!(task.id), "{}", reply.text);
    assert_eq!(fixture.repository().list(&ListFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_became_a_task_unseen_is_found_when_its_stream_is_read_on() {
    let asked = json!([{"type": "text", "text": QUESTION}]);
    for anew in [None, Some(asked)] {
        let fixture = in_thread().await;
        let task = unmentioned(&fixture, anew).await;
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        let reply = fixture.get("/api/chat/thread/stream").await;
        assert!(!texts(&reply.chunks()).contains("Rome."), "{}", reply.text);
        names_it_alone(&fixture, &task).await;
    }
}

#[tokio::test]
async fn a_lost_answer_is_given_once_to_all_who_come_back_for_it() {
    let once = json!({"role": "chat", "times": 1, "delayMs": 100, "reply": {"text": "It is Paris."}});
    let fixture = Fixture::scripted(json!([once, {"role": "chat", "reply": {"text": "Rome."}}])).await;
    fixture.repository().open_thread("thread", USER, "title").await.unwrap();
    let id = TaskId(Uuid::now_v7());
    for (id, role, parts) in [
        ("m1".to_owned(), "user", json!([{"type": "text", "text": QUESTION}])),
        (format!("msg-{id}"), "assistant", json!([{"type": "data-answering", "data": {"messageId": "m1"}}])),
    ] {
        let (thread_id, created_at) = ("thread".into(), fixture.orchestrator.now());
        let message = Message { id, thread_id, role: role.into(), parts, task_id: None, created_at };
        fixture.repository().put_message(&message).await.unwrap();
    }
    let by_name = format!("/api/chat/{id}/stream");
    let (first, second, third) = tokio::join!(
        fixture.get("/api/chat/thread/stream"),
        fixture.get("/api/chat/thread/stream"),
        fixture.get(&by_name),
    );
    for reply in [&first, &second, &third] {
        assert_eq!(texts(&reply.chunks()), "It is Paris.", "the model is asked once");
    }
    assert_eq!(kept(&fixture).await.len(), 2);
}
