//! One message is one task, and a model that is busy for a moment ends nothing.

use axum::http::Method;
use serde_json::json;
use tower::ServiceExt;

use super::super::fixture::{Fixture, USER};
use super::chat::{COMPLEX, QUESTION, body, kept, post, rules, streamed, texts, types};
use super::{error, plan_rule};
use crate::repository::{ListFilter, Message};

#[tokio::test]
async fn a_message_that_is_sent_again_while_its_plan_is_made_is_one_task() {
    let mut plan = plan_rule();
    (plan["delayMs"], plan["times"]) = (json!(200), json!(1));
    let fixture = Fixture::scripted(json!([plan])).await;
    let stream = fixture.router().oneshot(streamed()).await.unwrap();
    let named = stream.headers()["x-workflow-run-id"].to_str().unwrap().to_owned();
    let (first, second) =
        tokio::join!(post(&fixture, body("m", COMPLEX)), post(&fixture, body("m", COMPLEX)));
    assert_eq!((first.status, &first.text), (200, &second.text), "the planner was asked twice");
    assert_eq!(first.json()["taskId"], json!(named));
    assert_eq!(fixture.repository().list(&ListFilter::default()).await.unwrap().len(), 1);
    let said = fixture.repository().messages("thread", 10).await.unwrap();
    assert_eq!(
        said.iter().map(|message| message.id.clone()).collect::<Vec<_>>(),
        ["m".to_owned(), format!("msg-{named}")]
    );
    // In a new thread of that name it is another message, and in another thread as well.
    let mut other = body("m", COMPLEX);
    other["id"] = json!("other");
    assert_eq!(post(&fixture, other).await.status, 422, "there is no plan for it");
    drop(stream);
}

#[tokio::test]
async fn the_task_of_a_message_is_found_again_if_nobody_wrote_down_that_it_is_there() {
    let fixture = Fixture::scripted(rules()).await;
    let first = post(&fixture, body("m", COMPLEX)).await.json();
    // As the thread was before: the process was lost behind the creation of the task.
    let said = fixture.repository().messages("thread", 10).await.unwrap().remove(0);
    fixture.repository().conversations().forget("thread").await.unwrap();
    fixture.repository().open_thread("thread", USER, "title").await.unwrap();
    fixture.repository().put_message(&Message { task_id: None, ..said }).await.unwrap();
    assert_eq!(post(&fixture, body("m", COMPLEX)).await.json(), first);
    assert_eq!(kept(&fixture).await.len(), 2, "the thread mentions it");
    assert_eq!(fixture.repository().list(&ListFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_does_not_take_the_place_of_an_answer() {
    let fixture = Fixture::scripted(rules()).await;
    post(&fixture, body("m1", QUESTION)).await;
    let before = fixture.repository().messages("thread", 10).await.unwrap();
    let (status, message) = error(&post(&fixture, body(&before[1].id, "And of Italy, please?")).await);
    assert_eq!(status, 400);
    assert!(message.contains("message.id: is the id of an answer"), "{message}");
    assert_eq!(fixture.repository().messages("thread", 10).await.unwrap(), before);
}

#[tokio::test]
async fn a_model_that_is_busy_for_a_moment_is_waited_for() {
    let busy = |role: &str| {
        let error = json!({"error": {"kind": "rate-limited", "retryAfterMs": 20}});
        json!({"role": role, "times": 2, "reply": error})
    };
    let fixture = Fixture::scripted(json!([
        busy("chat"), {"role": "chat", "reply": {"text": "It is Paris."}}, busy("plan"), plan_rule()
    ]))
    .await;
    let chunks = post(&fixture, body("m1", QUESTION)).await.chunks();
    assert_eq!((texts(&chunks).as_str(), types(&chunks).contains(&"error")), ("It is Paris.", false));
    assert_eq!(post(&fixture, body("m2", COMPLEX)).await.status, 200);
    let draft = json!({"goal": COMPLEX, "threadId": "t"});
    let long = json!({"error": {"kind": "rate-limited", "retryAfterMs": 120_000}});
    let fixture = Fixture::scripted(json!([{"role": "plan", "reply": long}])).await;
    let reply = fixture.send(Method::POST, "/api/chat/plan", Some(draft)).await;
    assert_eq!((reply.status, &reply.headers["retry-after"]), (503, &"120".parse().unwrap()));
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_told_the_answer_that_it_was_given() {
    let once = json!({"role": "chat", "times": 1, "reply": {"text": "It is Paris."}});
    let fixture = Fixture::scripted(json!([once, {"role": "chat", "reply": {"text": "Rome."}}])).await;
    let first = post(&fixture, body("m1", QUESTION)).await;
    let again = post(&fixture, body("m1", QUESTION)).await;
    assert_eq!(texts(&again.chunks()), "It is Paris.", "the model is asked once");
    assert_eq!(again.headers["x-workflow-run-id"], first.headers["x-workflow-run-id"]);
    assert_eq!(kept(&fixture).await.len(), 2);
    // Also when the conversation went on meanwhile.
    assert_eq!(texts(&post(&fixture, body("m2", "And that of Italy, please?")).await.chunks()), "Rome.");
    assert_eq!(texts(&post(&fixture, body("m1", QUESTION)).await.chunks()), "It is Paris.");
    assert_eq!(kept(&fixture).await.len(), 4);
    // Whoever wants another answer says so.
    let mut anew = body("m1", QUESTION);
    anew["trigger"] = json!("regenerate-message");
    assert_eq!(texts(&post(&fixture, anew).await.chunks()), "Rome.");
}

#[tokio::test]
async fn a_message_whose_answer_was_cut_is_answered_when_it_is_sent_again() {
    let cut = json!({"role": "chat", "times": 1, "reply": {"error": {"kind": "quota"}}});
    let fixture = Fixture::scripted(json!([cut, {"role": "chat", "reply": {"text": "It is Paris."}}])).await;
    assert!(types(&post(&fixture, body("m1", QUESTION)).await.chunks()).contains(&"error"));
    assert_eq!(texts(&post(&fixture, body("m1", QUESTION)).await.chunks()), "It is Paris.");
    let kept = kept(&fixture).await;
    assert_eq!(kept.len(), 2, "it takes the place of the error: {kept:?}");
}
