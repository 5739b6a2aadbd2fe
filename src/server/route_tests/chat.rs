//! `/api/chat`: answers, tasks and streams over tasks.

use axum::body::Body;
use axum::http::{Method, Request};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt;

use super::super::fixture::{Fixture, Reply, USER};
use super::super::{Access, ServerConfig};
use super::{error, plan_rule, refused};
use crate::models::{Message, Role};
use crate::orchestrator::Window;
use crate::repository::{Commit, Lease, ListFilter};
use crate::task::{Event, Payload, TaskId};

/// Longer than anything here takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

pub(super) const COMPLEX: &str = "Find every TODO comment in this repository and write a report";

pub(super) fn body(id: &str, text: &str) -> Value {
    json!({"id": "thread", "message": {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}})
}

pub(super) fn rules() -> Value {
    json!([plan_rule(), {"role": "chat", "reply": {"text": "It is Paris."}}])
}

pub(super) async fn post(fixture: &Fixture, body: Value) -> Reply {
    fixture.send(Method::POST, "/api/chat", Some(body)).await
}

pub(super) async fn kept(fixture: &Fixture) -> Vec<(String, String)> {
    let messages = fixture.repository().messages("thread", 100).await.unwrap();
    messages.iter().map(|message| (message.role.clone(), message.parts.to_string())).collect()
}

pub(super) fn types(chunks: &[Value]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk["type"].as_str().unwrap()).collect()
}

pub(super) fn texts(chunks: &[Value]) -> String {
    chunks
        .iter()
        .filter(|chunk| chunk["type"] == "text-delta")
        .map(|chunk| chunk["delta"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_simple_message_is_answered_as_a_stream_and_kept() {
    let fixture = Fixture::scripted(rules()).await;
    let reply = post(&fixture, body("m1", "What is the capital of France?")).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.headers["x-vercel-ai-ui-message-stream"], "v1");
    let chunks = reply.chunks();
    assert_eq!(types(&chunks)[..3], ["start", "start-step", "text-start"]);
    assert!(types(&chunks).ends_with(&["text-end", "finish-step", "finish"]));
    assert_eq!(texts(&chunks), "It is Paris.");
    let kept = kept(&fixture).await;
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1], ("assistant".into(), r#"[{"type":"text","text":"It is Paris."}]"#.into()));
}

#[tokio::test]
async fn what_was_said_before_is_told_to_the_model() {
    let rules = json!([
        {"role": "chat", "turn": 0, "contains": "capital of France", "reply": {"text": "Paris"}},
        {"role": "chat", "turn": 1, "contains": "And of Italy", "reply": {"text": "Rome"}},
    ]);
    let fixture = Fixture::scripted(rules).await;
    post(&fixture, body("m1", "What is the capital of France?")).await;
    let reply = post(&fixture, body("m2", "And of Italy?")).await;
    assert_eq!(texts(&reply.chunks()), "Rome");
    assert_eq!(kept(&fixture).await.len(), 4);
}

#[tokio::test]
async fn a_failing_model_ends_the_stream_with_an_error_that_is_kept() {
    let fixture = Fixture::scripted(json!([{"role": "chat", "reply": {"error": {"kind": "quota"}}}])).await;
    let chunks = post(&fixture, body("m1", "What is the capital of France?")).await.chunks();
    assert_eq!(types(&chunks), ["start", "start-step", "finish-step", "error", "finish"]);
    let kept = kept(&fixture).await;
    assert!(kept[1].1.contains("data-error") && kept[1].1.contains("provider_quota"), "{kept:?}");
}

#[tokio::test]
async fn defect_13_a_complex_message_is_kept_and_becomes_a_task() {
    let fixture = Fixture::scripted(rules()).await;
    let reply = post(&fixture, body("msg-456", COMPLEX)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answer = reply.json();
    assert_eq!(
        (&answer["id"], &answer["role"], &answer["orchestrated"]),
        (&json!("msg-456"), &json!("assistant"), &json!(true))
    );
    assert!(answer["content"].as_str().unwrap().starts_with("I'll work on this as a long-running task. "));
    let kept = kept(&fixture).await;
    assert_eq!((kept[0].0.as_str(), kept[1].0.as_str()), ("user", "assistant"));
    let id: TaskId = serde_json::from_value(answer["taskId"].clone()).unwrap();
    assert_eq!(fixture.repository().load(id).await.unwrap().unwrap().spec().goal, COMPLEX);
}

#[tokio::test]
async fn a_task_is_told_what_is_in_the_files_of_its_message() {
    let fixture = Fixture::scripted(rules()).await;
    let long = format!("{}the very end", "line by line\n".repeat(20_000));
    let mut body = body("m", COMPLEX);
    body["attachments"] = json!([
        {"filename": "notes.md", "mediaType": "text/markdown", "url": "data:text/markdown,Who%20writes%3F"},
        {"filename": "long.txt", "mediaType": "text/plain", "url": format!("data:text/plain,{}", long.replace('\n', "%0A"))},
        {"filename": "a.png", "mediaType": "image/png", "url": "data:image/png;base64,aGVsbG8="},
    ]);
    let started = post(&fixture, body).await;
    assert_eq!(started.status, 200, "{}", started.text);
    let id: TaskId = serde_json::from_value(started.json()["taskId"].clone()).unwrap();
    let orchestrator = &fixture.orchestrator;
    let task = fixture.repository().load(id).await.unwrap().unwrap();
    assert!(task.spec().goal.starts_with(COMPLEX) && task.spec().goal.len() < 200, "files are not the goal");
    assert_eq!(task.state().messages.len(), 3, "two texts, and a picture");
    let model = orchestrator.models().for_role(Role::Execute, None).unwrap();
    let window = orchestrator.window(model.as_ref(), task.spec());
    let context = orchestrator.step_context(&task, task.step(0).unwrap(), &window, None).await.unwrap();
    assert!(context.brief.contains("The file notes.md:\nWho writes?"), "{}", context.brief);
    assert!(context.brief.contains("[a picture: a.png, shown below]"), "{}", context.brief);
    assert!(matches!(&context.pictures[..], [shown] if shown.data == "aGVsbG8="), "{:?}", context.pictures);
    let handle = format!("message-{}", task.state().messages[1]);
    assert!(context.brief.contains(&format!("context_read {{\"handle\": \"{handle}\"")), "{}", context.brief);
    assert!(context.is_cut() && context.brief.len() < long.len() / 2);
    let rest = orchestrator.read_recorded(id, &handle, long.len() - 100, None).await.unwrap();
    assert!(rest.text.ends_with("the very end"), "{}", rest.text);
    let journal = fixture.repository().journal(id, 0, 100).await.unwrap();
    let large = journal.iter().any(|entry| {
        matches!(&entry.event, Event::MessageReceived { text: Payload::Blob { .. }, by, .. } if by == "chat")
    });
    assert!(large, "a large file is stored by its name");
    let written = orchestrator.read_recorded(id, "message-1", 0, None).await;
    assert!(written.is_err(), "an entry that is no message has no such handle");
}

#[tokio::test]
async fn a_model_sees_the_pictures_of_a_conversation() {
    let fixture = Fixture::scripted(json!([
        {"role": "chat", "contains": "[shown: cat.png]", "reply": {"text": "A cat."}},
        {"role": "chat", "reply": {"text": "I see nothing."}},
    ]))
    .await;
    let mut shown = body("m1", "What is this?");
    shown["attachments"] = json!([
        {"filename": "cat.png", "mediaType": "image/png", "url": "data:image/png;base64,aGVsbG8="},
    ]);
    assert_eq!(texts(&post(&fixture, shown).await.chunks()), "A cat.");
    assert_eq!(texts(&post(&fixture, body("m2", "And behind it?")).await.chunks()), "I see nothing.");
    let history = history_within(&fixture, 20_000).await;
    assert!(matches!(&history[0], Message::User(text) if text.contains("[file cat.png, image/png]")));
    assert!(matches!(&history[1], Message::Picture(cat) if cat.data == "aGVsbG8="), "{history:?}");
    assert!(matches!(&history[2], Message::Assistant { text, .. } if text == "A cat."));
    let history = history_within(&fixture, 1_000).await;
    assert!(
        !history.iter().any(|message| matches!(message, Message::Picture(_))),
        "it has no room: {history:?}"
    );
}

#[tokio::test]
async fn the_message_is_kept_even_if_no_task_comes_of_it() {
    let fixture =
        Fixture::scripted(json!([{"role": "plan", "reply": {"error": {"kind": "unavailable"}}}])).await;
    assert_eq!(error(&post(&fixture, body("m", COMPLEX)).await).0, 503);
    assert_eq!(kept(&fixture).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_request_does_not_start_the_work_twice() {
    let fixture = Fixture::scripted(rules()).await;
    let first = post(&fixture, body("m", COMPLEX)).await.json();
    let second = post(&fixture, body("m", COMPLEX)).await.json();
    assert_eq!(first, second);
    assert_eq!(kept(&fixture).await.len(), 2);
    let edited = post(&fixture, body("m", &format!("{COMPLEX}, and a summary"))).await.json();
    assert_ne!(first["taskId"], edited["taskId"]);
}

#[tokio::test]
async fn without_automatic_tools_nothing_becomes_a_task() {
    let fixture = Fixture::scripted(rules()).await;
    for choice in ["none", "manual"] {
        let mut body = body("m", COMPLEX);
        body["toolChoice"] = json!(choice);
        assert_eq!(texts(&post(&fixture, body).await.chunks()), "It is Paris.");
    }
}

#[tokio::test]
async fn use_chat_gets_a_stream_that_stays_open_over_the_task() {
    let fixture = Fixture::scripted(rules()).await;
    let mut message = body("m", COMPLEX)["message"].take();
    message["metadata"] = json!({"any": 1});
    let body = json!({"id": "thread", "trigger": "submit-message", "messages": [message]});
    let end = async {
        let mut changes = fixture.repository().changes();
        let task = changes.recv().await.unwrap();
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    };
    let (reply, ()) = tokio::join!(post(&fixture, body), end);
    let chunks = reply.chunks();
    assert_eq!(chunks[0]["messageMetadata"]["orchestrated"], true);
    assert_eq!(types(&chunks)[..3], ["start", "start-step", "message-metadata"]);
    let id = chunks[2]["messageMetadata"]["taskId"].as_str().unwrap();
    assert_eq!(chunks[0]["messageId"], format!("msg-{id}"));
    assert!(types(&chunks).ends_with(&["finish-step", "finish"]));
    let said = texts(&chunks);
    assert!(
        said.contains("I'll work on this")
            && said.contains("2. write")
            && said.contains("Task cancelled by local")
    );
}

/// Carries a task of two steps to its end without a worker.
async fn complete(fixture: &Fixture, id: TaskId, answer: &str) {
    let mut task = fixture.repository().load(id).await.unwrap().unwrap();
    let steps = (0..2).flat_map(|step| {
        let output = Some(Payload::text("o"));
        [Event::StepStarted { step, attempt: 1 }, Event::StepCompleted { step, output }]
    });
    let (mut entries, mut blobs) = (Vec::new(), Vec::new());
    for mut event in steps.chain([Event::Completed { output: Payload::text(answer) }]) {
        blobs.extend(event.payloads_mut().into_iter().filter_map(Payload::seal));
        entries.push(task.record(fixture.orchestrator.now(), event).unwrap());
    }
    let commit = Commit::new(&task, entries, blobs, Lease::Keep);
    fixture.repository().commit(commit).await.unwrap();
}

/// What the next model turn of the thread is told of what was said before.
async fn history(fixture: &Fixture) -> Vec<Message> {
    history_within(fixture, fixture.orchestrator.limits().context_window_limit).await
}

/// The same for a model with a window of so many tokens.
async fn history_within(fixture: &Fixture, tokens: u64) -> Vec<Message> {
    let model = fixture.orchestrator.models().for_role(Role::Chat, None).unwrap();
    let window = Window::of(model.as_ref(), tokens, 0);
    super::super::chat::within_window(&fixture.state, "thread", "next", None, &window).await.unwrap().messages
}

#[tokio::test]
async fn the_whole_answer_of_a_task_is_told_in_its_stream_and_in_the_history() {
    let follow_up = "The task is completed. Its result:\nlong answer";
    let fixture = Fixture::scripted(rules()).await;
    let started = post(&fixture, body("m", COMPLEX)).await.json();
    let id = serde_json::from_value(started["taskId"].clone()).unwrap();
    let answer = "long answer ".repeat(2000);
    complete(&fixture, id, &answer).await;
    let request = Request::post("/api/chat").header("accept", "text/event-stream");
    let request = request.body(Body::from(body("m", COMPLEX).to_string())).unwrap();
    assert!(texts(&fixture.ask(request).await.chunks()).ends_with(&answer));
    let history = history(&fixture).await;
    assert!(
        matches!(&history[1], Message::Assistant { text, .. } if text.contains(follow_up)),
        "{history:?}"
    );
    // A page that is opened later has no stream to read the end from.
    let page = fixture.send(Method::GET, "/api/chat/thread/messages", None).await.json();
    let parts = page["messages"][1]["parts"].as_array().unwrap();
    let [.., stands, told] = parts.as_slice() else { panic!("{page:#}") };
    assert_eq!(stands["data"], json!({"taskId": id, "status": "completed"}), "{page:#}");
    assert_eq!(told["text"], answer, "{page:#}");
}

#[tokio::test]
async fn a_long_conversation_goes_on_behind_a_summary_and_keeps_everything() {
    let fixture = Fixture::scripted(json!([
        {"role": "summarize", "times": 1, "reply": {"text": "They spoke of France."}},
        {"role": "chat", "contains": "Bound", "reply": {"text": "It goes on."}},
        {"role": "chat", "reply": {"text": "long answer ".repeat(2500)}},
    ]))
    .await;
    for number in 0..7 {
        let asked = post(&fixture, body(&format!("m{number}"), "What is the capital of France?")).await;
        assert_eq!(types(&asked.chunks()).last(), Some(&"finish"));
    }
    let history = history(&fixture).await;
    assert!(
        matches!(&history[0], Message::User(text) if text.contains("They spoke of France")),
        "{history:?}"
    );
    let said = fixture.repository().messages("thread", 100).await.unwrap();
    assert_eq!(said.iter().filter(|message| message.role == "assistant").count(), 7);
    assert_eq!(said.iter().filter(|message| message.role == "system").count(), 1);
    assert_eq!(texts(&post(&fixture, body("m9", "Bound by nothing?")).await.chunks()), "It goes on.");
    let model = fixture.orchestrator.models().for_role(Role::Chat, None).unwrap();
    for tokens in [4_000, 20_000] {
        let lengths = history_within(&fixture, tokens).await.into_iter().map(|message| match message {
            Message::User(text) | Message::Assistant { text, .. } => text.len() as u64,
            Message::ToolResult { .. } | Message::Picture(_) => 0,
        });
        let told = model.tokens(lengths.sum());
        assert!(told > 0 && told <= tokens * 51 / 100, "{told} tokens of a window of {tokens}");
    }
}

#[tokio::test]
async fn an_answer_that_the_limit_of_tokens_cut_goes_on_in_the_same_text() {
    let fixture = Fixture::scripted(json!([
        {"role": "chat", "contains": "Go on exactly", "reply": {"text": "aris."}},
        {"role": "chat", "reply": {"text": "It is P", "cut": true}},
    ]))
    .await;
    let chunks = post(&fixture, body("m", "What is the capital of France?")).await.chunks();
    assert_eq!(texts(&chunks), "It is Paris.");
    assert_eq!(types(&chunks).iter().filter(|kind| **kind == "text-start").count(), 1);
    assert!(kept(&fixture).await[1].1.contains("It is Paris."), "{:?}", kept(&fixture).await);
}

#[tokio::test]
async fn a_stream_ends_when_its_task_waits_for_somebody() {
    let fixture = Fixture::scripted(rules()).await;
    let mut changes = fixture.repository().changes();
    post(&fixture, body("m", COMPLEX)).await;
    let task = changes.recv().await.unwrap();
    fixture.orchestrator.pause(task.id, USER).await.unwrap();
    let request = Request::post("/api/chat").header("accept", "text/event-stream");
    let request = request.body(Body::from(body("m", COMPLEX).to_string())).unwrap();
    let chunks = fixture.ask(request).await.chunks();
    assert!(texts(&chunks).contains("Paused: paused by local"));
    assert!(types(&chunks).ends_with(&["finish-step", "finish"]));
}

#[tokio::test]
async fn a_shutdown_ends_open_streams_without_an_end_so_that_clients_come_back() {
    let fixture = Fixture::scripted(rules()).await;
    post(&fixture, body("m", COMPLEX)).await;
    fixture.shutdown.cancel();
    let request = Request::post("/api/chat").header("accept", "text/event-stream");
    let request = request.body(Body::from(body("m", COMPLEX).to_string())).unwrap();
    let chunks = fixture.ask(request).await.chunks();
    assert_eq!(types(&chunks), ["start", "start-step"]);
}

#[tokio::test]
async fn the_thread_of_somebody_else_is_forbidden() {
    let fixture = Fixture::scripted(rules()).await;
    fixture.repository().open_thread("thread", "somebody", "title").await.unwrap();
    let reply = post(&fixture, body("m", "What is the capital of France?")).await;
    assert_eq!(error(&reply), refused(403, "Forbidden"));
    assert!(kept(&fixture).await.is_empty());
}

#[tokio::test]
async fn nul_characters_do_no_harm() {
    let fixture = Fixture::scripted(rules()).await;
    let reply = post(&fixture, body("m", "What is the \u{0} capital of France?")).await;
    assert_eq!(texts(&reply.chunks()), "It is Paris.");
    assert!(kept(&fixture).await[0].1.contains('\u{fffd}'));
}

pub(super) fn streamed() -> Request<Body> {
    let request = Request::post("/api/chat").header("accept", "text/event-stream");
    request.body(Body::from(body("m", COMPLEX).to_string())).unwrap()
}

#[tokio::test]
async fn a_stream_begins_before_the_plan_is_made() {
    let mut never = plan_rule();
    never["delayMs"] = json!(3_600_000);
    let config = ServerConfig { heartbeat_ms: 1, ..ServerConfig::default() };
    let fixture = Fixture::with(Access::new(None, None), config, json!([never])).await;
    let response = timeout(PATIENCE, fixture.router().oneshot(streamed())).await;
    let mut pieces = response.expect("silence until there is a plan").unwrap().into_body().into_data_stream();
    let mut said = String::new();
    while !said.contains("heartbeat") {
        said += std::str::from_utf8(&pieces.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(said.starts_with("data: {\"type\":\"start\""), "{said}");
    fixture.shutdown.cancel();
    while let Some(piece) = pieces.next().await {
        said += std::str::from_utf8(&piece.unwrap()).unwrap();
    }
    assert!(said.contains("\"error\"") && said.ends_with("data: [DONE]\n\n"), "{said}");
    assert!(fixture.repository().list(&ListFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_plan_that_cannot_be_made_ends_the_stream_with_an_error() {
    let fixture =
        Fixture::scripted(json!([{"role": "plan", "reply": {"error": {"kind": "unavailable"}}}])).await;
    let chunks = fixture.ask(streamed()).await.chunks();
    assert_eq!(types(&chunks), ["start", "start-step", "finish-step", "error", "finish"]);
    let kept = kept(&fixture).await;
    assert_eq!(kept.len(), 2, "the message of the user is kept");
    assert!(kept[1].1.contains("data-error") && kept[1].1.contains("provider_unavailable"), "{kept:?}");
}

/// Starts a task in the thread over a stream that is open for as long as `meanwhile` takes.
async fn told_while(fixture: &Fixture, meanwhile: impl AsyncFn(TaskId)) -> (TaskId, Vec<Value>) {
    let request = Request::post("/api/chat").header("accept", "text/event-stream");
    let request = request.body(Body::from(body("m1", COMPLEX).to_string())).unwrap();
    let response = fixture.router().oneshot(request).await.unwrap();
    let id: TaskId = response.headers()["x-workflow-run-id"].to_str().unwrap().parse().unwrap();
    let reading = timeout(PATIENCE, axum::body::to_bytes(response.into_body(), usize::MAX));
    let running = async {
        while fixture.repository().load(id).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        meanwhile(id).await;
    };
    let (read, ()) = tokio::join!(reading, running);
    let text = String::from_utf8(read.unwrap().unwrap().to_vec()).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| *line != "[DONE]");
    (id, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test]
async fn a_stream_that_was_lost_is_given_once_more() {
    let fixture = Fixture::scripted(rules()).await;
    let (id, all) = told_while(&fixture, async |id| {
        // While the task lives, its thread has the whole stream.
        let request = Request::get("/api/chat/thread/stream").body(Body::empty()).unwrap();
        let response = fixture.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-workflow-run-id"], id.to_string().as_str());
        fixture.orchestrator.cancel(id, USER).await.unwrap();
        let body = timeout(PATIENCE, axum::body::to_bytes(response.into_body(), usize::MAX)).await.unwrap();
        assert!(body.unwrap().starts_with(b"data: {\"type\":\"start\""));
    })
    .await;
    let again = fixture.get(&format!("/api/chat/{id}/stream")).await;
    assert_eq!(again.chunks(), all);
    let rest = fixture.get(&format!("/api/chat/{id}/stream?startIndex=5")).await;
    assert_eq!(rest.chunks(), all[5..]);
    assert_eq!(fixture.get("/api/chat/thread/stream").await.status, 204, "the task has ended");
}

#[tokio::test]
async fn an_answer_is_told_once_more_to_a_client_that_lost_its_end() {
    let fixture = Fixture::scripted(rules()).await;
    let reply = post(&fixture, body("m1", "What is the capital of France?")).await;
    let id = reply.headers["x-workflow-run-id"].to_str().unwrap().to_owned();
    let all = reply.chunks();
    assert_eq!(all[0]["messageId"], format!("msg-{id}"));
    assert_eq!(fixture.get(&format!("/api/chat/{id}/stream")).await.chunks(), all);
    let rest = fixture.get(&format!("/api/chat/{id}/stream?startIndex=4")).await.chunks();
    assert_eq!(rest, all[4..]);
}

#[tokio::test]
async fn another_answer_takes_the_place_of_the_one_before() {
    let rules = json!([
        {"role": "chat", "times": 1, "reply": {"text": "Lyon"}},
        {"role": "chat", "turn": 0, "contains": "France", "reply": {"text": "Paris"}},
        {"role": "chat", "turn": 1, "reply": {"text": "Rome"}},
    ]);
    let fixture = Fixture::scripted(rules).await;
    let question = body("m1", "What is the capital of France?");
    post(&fixture, question.clone()).await;
    let mut again = question.clone();
    again["trigger"] = json!("regenerate-message");
    assert_eq!(texts(&post(&fixture, again).await.chunks()), "Paris");
    assert_eq!(texts(&post(&fixture, body("m2", "And of Italy?")).await.chunks()), "Rome");
    let said: Vec<String> = kept(&fixture).await.into_iter().map(|(_, parts)| parts).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[1].contains("Paris") && said[3].contains("Rome"), "{said:?}");
    // An edited message is another one, and what followed it goes with it.
    let edited = body("m1", "What is the capital of France, please?");
    assert_eq!(texts(&post(&fixture, edited).await.chunks()), "Paris");
    assert_eq!(kept(&fixture).await.len(), 2);
}

pub(super) const QUESTION: &str = "What is the capital of France?";

/// The same message once more, for another answer.
fn again(id: &str, text: &str) -> Value {
    let mut again = body(id, text);
    again["trigger"] = json!("regenerate-message");
    again
}

#[tokio::test]
async fn an_answer_that_fails_takes_the_place_of_nothing() {
    let failure = json!({"error": {"kind": "quota"}});
    let fixture = Fixture::scripted(json!([
        {"role": "chat", "times": 2, "reply": {"text": "Lyon"}},
        {"role": "chat", "times": 2, "reply": failure},
        {"role": "plan", "times": 2, "reply": failure},
        {"role": "chat", "reply": {"text": "Paris"}},
    ]))
    .await;
    post(&fixture, body("m1", QUESTION)).await;
    post(&fixture, body("m2", "And of Italy?")).await;
    let before = fixture.repository().messages("thread", 10).await.unwrap();
    assert_eq!(before.len(), 4);
    let fails = ["start", "start-step", "finish-step", "error", "finish"];
    assert_eq!(types(&post(&fixture, again("m1", QUESTION)).await.chunks()), fails);
    assert_eq!(fixture.repository().messages("thread", 10).await.unwrap(), before, "asked again");
    assert_eq!(types(&post(&fixture, body("m1", "What is that of Spain?")).await.chunks()), fails);
    assert_eq!(fixture.repository().messages("thread", 10).await.unwrap(), before, "edited");
    assert_eq!(error(&post(&fixture, body("m1", COMPLEX)).await).0, 503);
    assert_eq!(fixture.repository().messages("thread", 10).await.unwrap(), before, "edited into a task");
    let mut streamed = body("m1", COMPLEX);
    streamed["messages"] = json!([streamed["message"].take()]);
    streamed.as_object_mut().unwrap().remove("message");
    assert_eq!(types(&post(&fixture, streamed).await.chunks()), fails);
    assert_eq!(fixture.repository().messages("thread", 10).await.unwrap(), before, "edited into a stream");
    assert_eq!(texts(&post(&fixture, body("m1", "What is that of Spain?")).await.chunks()), "Paris");
    let said = kept(&fixture).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].1.contains("Spain") && said[1].1.contains("Paris"), "{said:?}");
}

#[tokio::test]
async fn a_task_that_was_replaced_is_not_named_any_more() {
    let fixture = Fixture::scripted(rules()).await;
    let task = post(&fixture, body("m1", COMPLEX)).await.json();
    post(&fixture, body("m1", QUESTION)).await;
    let said = fixture.repository().messages("thread", 10).await.unwrap();
    assert_eq!(said.iter().map(|message| message.task_id).collect::<Vec<_>>(), [None, None]);
    assert_eq!(texts(&post(&fixture, again("m1", QUESTION)).await.chunks()), "It is Paris.");
    // Edited back it is another task, which both messages name.
    let other = post(&fixture, body("m1", COMPLEX)).await.json();
    assert_ne!(task["taskId"], other["taskId"]);
    let said = fixture.repository().messages("thread", 10).await.unwrap();
    let id: TaskId = serde_json::from_value(other["taskId"].clone()).unwrap();
    assert_eq!(said.iter().map(|message| message.task_id).collect::<Vec<_>>(), [Some(id), Some(id)]);
    assert_eq!(post(&fixture, body("m1", COMPLEX)).await.json(), other, "the same request again");
}

#[tokio::test]
async fn an_answer_given_anew_whose_process_was_lost_takes_its_place_later() {
    let fixture = Fixture::scripted(rules()).await;
    post(&fixture, body("m1", QUESTION)).await;
    let before = kept(&fixture).await;
    let mut lost = fixture.repository().messages("thread", 10).await.unwrap().remove(1);
    let id = "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f71";
    lost.id = format!("msg-{id}");
    let anew = json!([{"type": "text", "text": "What is that of Spain?"}]);
    lost.parts = json!([{"type": "data-answering", "data": {"messageId": "m1", "anew": anew}}]);
    fixture.repository().conversations().put_aside(&lost).await.unwrap();
    assert_eq!(fixture.get("/api/chat/thread/stream").await.status, 204, "the thread is as it was");
    assert_eq!(kept(&fixture).await, before);
    let given = fixture.get(&format!("/api/chat/{id}/stream")).await;
    assert_eq!(texts(&given.chunks()), "It is Paris.");
    let said = fixture.repository().messages("thread", 10).await.unwrap();
    assert_eq!((said.len(), &said[0].parts, &said[1].id), (2, &anew, &lost.id));
}

#[tokio::test]
async fn an_answer_that_was_lost_with_its_process_is_given_under_the_same_id() {
    let fixture = Fixture::scripted(rules()).await;
    post(&fixture, body("m1", "What is the capital of France?")).await;
    let mut lost = fixture.repository().messages("thread", 10).await.unwrap().remove(1);
    let id = "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70";
    lost.id = format!("msg-{id}");
    lost.parts = json!([{"type": "data-answering", "data": {"messageId": "m1"}}]);
    fixture.repository().put_message(&lost).await.unwrap();
    let rest = fixture.get(&format!("/api/chat/{id}/stream?startIndex=3")).await.chunks();
    assert_eq!(types(&rest), ["finish-step", "error", "finish"], "nobody knows the chunks it had");
    let again = fixture.get("/api/chat/thread/stream").await;
    assert_eq!(again.headers["x-workflow-run-id"], id);
    assert_eq!(again.chunks()[0]["messageId"], format!("msg-{id}"));
    assert_eq!(texts(&again.chunks()), "It is Paris.");
    assert_eq!(fixture.get("/api/chat/thread/stream").await.status, 204);
}

#[tokio::test]
async fn an_answer_is_stopped_by_whose_it_is() {
    let slow = json!([{"role": "chat", "delayMs": 3_600_000, "reply": {"text": "late"}}]);
    let fixture = Fixture::scripted(slow).await;
    let stop = async {
        while fixture.repository().messages("thread", 10).await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        fixture.send(Method::DELETE, "/api/chat/thread/stream", None).await
    };
    let asking = post(&fixture, body("m1", "What is the capital of France?"));
    let (reply, stopped) = timeout(PATIENCE, async { tokio::join!(asking, stop) }).await.unwrap();
    assert_eq!(stopped.status, 204);
    assert_eq!(types(&reply.chunks()), ["start", "start-step", "finish-step", "error", "finish"]);
    assert!(kept(&fixture).await[1].1.contains("stopped by the client"));
}

#[tokio::test]
async fn a_thread_that_waits_for_nothing_has_no_stream() {
    let fixture = Fixture::scripted(rules()).await;
    assert_eq!(fixture.get("/api/chat/unknown/stream").await.status, 204);
    post(&fixture, body("m1", "What is the capital of France?")).await;
    assert_eq!(fixture.get("/api/chat/thread/stream").await.status, 204);
    fixture.repository().open_thread("theirs", "somebody", "t").await.unwrap();
    assert_eq!(error(&fixture.get("/api/chat/theirs/stream").await), refused(403, "Forbidden"));
    let theirs = fixture.task_of("somebody", "g").await;
    let uri = format!("/api/chat/{}/stream", theirs.id);
    assert_eq!(error(&fixture.get(&uri).await), refused(403, "Forbidden"));
    let uri = "/api/chat/thread/stream?startIndex=x";
    assert_eq!(error(&fixture.get(uri).await).0, 400);
}
