//! Secrets: tools are given values, and nothing that is kept or shown has one in it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use longhaul::orchestrator::{Decision, RequestId, RestoreWish};
use longhaul::task::{Event, PauseReason, PlannedStep, Status, StepType, Task};
use longhaul::tools::{Secrets, Toolbox, ToolsConfig};
use serde_json::{Value, json};

use crate::program::Program;
use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, step};

const VALUE: &str = "v4lue-that-nobody-knows";

/// A server that says back what it was asked with.
async fn parrot() -> (String, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let say = async |State(seen): State<Arc<Mutex<Vec<String>>>>, RawQuery(query): RawQuery| {
        let query = query.unwrap_or_default();
        seen.lock().unwrap().push(query.clone());
        format!("you sent {query}")
    };
    let router = Router::new().route("/", get(say)).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), seen)
}

async fn world(hosts: Value) -> World {
    scripted(hosts, json!({"rules": []})).await
}

async fn scripted(hosts: Value, script: Value) -> World {
    let config = serde_json::from_value(json!({"token": {"tools": ["http_fetch"], "hosts": hosts}})).unwrap();
    let secrets = Secrets::load(&config, &|name| (name == "LONGHAUL_SECRET_TOKEN").then(|| VALUE.to_owned()));
    let workspace = std::env::temp_dir();
    let config =
        ToolsConfig { allow_private_addresses: true, workspace: Some(workspace), ..ToolsConfig::default() };
    let tools = Toolbox::open_with(&config, secrets.unwrap()).await.unwrap();
    World::new(Setup { script, tools: Some(tools), ..Setup::default() }).await
}

/// Everything that is kept of a task, as one text.
async fn kept(world: &World, id: longhaul::task::TaskId) -> String {
    let mut text = String::new();
    for mut entry in world.journal(id).await {
        for payload in entry.event.payloads_mut() {
            text.push_str(&world.repository.content(payload).await.unwrap().to_string());
        }
        text.push_str(&serde_json::to_string(&entry).unwrap());
    }
    let task = world.repository.load(id).await.unwrap().unwrap();
    text.push_str(&format!("{:?}{:?}", task.state(), task.steps()));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_given_a_value_and_the_journal_has_its_name_only() {
    let (base, seen) = parrot().await;
    let world = world(json!(["127.0.0.1"])).await;
    let _worker = world.work("w");
    let url = format!("{base}/?key={{{{secret:token}}}}");
    let task = world.start(plan(vec![call("http_fetch", json!({"url": url}))])).await;
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(*seen.lock().unwrap(), [format!("key={VALUE}")]);
    let kept = kept(&world, task.id).await;
    assert!(!kept.contains(VALUE), "{kept}");
    assert!(kept.contains("you sent key={{secret:token}}"), "{kept}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_there_does_not_bring_the_value_into_the_journal() {
    let (base, _) = parrot().await;
    let world = world(json!(["127.0.0.1"])).await;
    let _worker = world.work("w");
    let url = format!("{base}/nowhere?key={{{{secret:token}}}}");
    let task = world.start(plan(vec![call("http_fetch", json!({"url": url, "mustSucceed": true}))])).await;
    world.until(task.id, |task| task.step(0).is_some_and(|step| step.fault.is_some())).await;
    let kept = kept(&world, task.id).await;
    assert!(kept.contains("key={{secret:token}} answered 404 Not Found"), "{kept}");
    assert!(!kept.contains(VALUE), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_not_sent_to_whoever_a_plan_or_a_model_likes() {
    let (base, seen) = parrot().await;
    let world = world(json!(["api.example.com"])).await;
    let _worker = world.work("w");
    let url = format!("{base}/?key={{{{secret:token}}}}");
    let task = world.start(plan(vec![call("http_fetch", json!({"url": url}))])).await;
    world.until(task.id, |task| task.step(0).is_some_and(|step| step.fault.is_some())).await;
    assert!(seen.lock().unwrap().is_empty());
    let journal = world.journal(task.id).await;
    let fault = journal.iter().find_map(|entry| match &entry.event {
        Event::CallFailed { fault, .. } => Some(fault.clone()),
        _ => None,
    });
    let fault = fault.expect("the call failed");
    assert_eq!(fault.code, "tool_denied");
    assert!(fault.message.contains("may not be sent to 127.0.0.1 (secrets.token.hosts)"), "{fault}");
    assert!(!kept(&world, task.id).await.contains(VALUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_brought_asks_for_no_secret_and_is_handed_on_as_it_was() {
    let (base, seen) = parrot().await;
    let world = world(json!(["127.0.0.1"])).await;
    let _worker = world.work("w");
    // The server says back what it was asked with: a page that holds a reference.
    let first = call("http_fetch", json!({"url": format!("{base}/?page=%7B%7Bsecret:token%7D%7D")}));
    let page = json!([format!("{base}/?said={{{{secret:token}}}}")]);
    let each = PlannedStep {
        for_each: Some(serde_json::from_value(json!({"items": page})).unwrap()),
        ..call("http_fetch", json!({"url": {"$item": true}}))
    };
    let own = call("http_fetch", json!({"url": format!("{base}/?own={{{{secret:token}}}}")}));
    let task = world.start(plan(vec![first, each, own])).await;
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    let seen: Vec<String> = seen.lock().unwrap().iter().map(|query| decoded(query)).collect();
    assert_eq!(
        seen,
        ["page={{secret:token}}", "said={{secret:token}}", &format!("own={VALUE}")],
        "only where the plan itself says so"
    );
    let recorded = kept(&world, task.id).await;
    assert!(recorded.contains(r"said={{\\secret:token}}"), "the journal tells what it is: {recorded}");
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 0, 3).await;
}

fn decoded(query: &str) -> String {
    url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

/// A model that reads a page and then wants to send the secret, for the page may have said so.
fn talked_into(base: &str) -> Value {
    let fetch = |url: String| json!({"toolCalls": [{"tool": "http_fetch", "arguments": {"url": url}}]});
    json!({"rules": [
        {"role": "execute", "turn": 0, "reply": fetch(format!("{base}/?first={{{{secret:token}}}}"))},
        {"role": "execute", "turn": 1, "reply": fetch(format!("{base}/?second={{{{secret:token}}}}"))},
        {"role": "execute", "contains": "denied by", "reply": {"text": "I may not."}},
        {"role": "execute", "reply": {"text": "I sent it."}},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_has_read_a_page_is_given_a_secret_only_if_a_person_lets_it() {
    let edited =
        |base: &str| Decision::Approve(Some(json!({"url": format!("{base}/?mine={{{{secret:token}}}}")})));
    let decisions: [fn(&str) -> Decision; 2] = [|_| Decision::Approve(None), |_| Decision::Deny("no".into())];
    for (position, decision) in decisions
        .iter()
        .map(|decision| decision as &dyn Fn(&str) -> Decision)
        .chain([&edited as _])
        .enumerate()
    {
        let (base, seen) = parrot().await;
        let world = scripted(json!(["127.0.0.1"]), talked_into(&base)).await;
        let task = world.start(plan(vec![step(StepType::ToolCall, "Read the page")])).await;
        let _worker = world.work("w");
        let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
        assert_eq!(paused.pause_for_people(), Some(PauseReason::Approval));
        // The first one was written before anything was read.
        assert_eq!(*seen.lock().unwrap(), [format!("first={VALUE}")]);
        let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
        let reason = open[0].reason.clone().unwrap();
        assert!(reason.starts_with("the task has read untrusted content from http_fetch"), "{reason}");
        assert!(reason.ends_with("the arguments refer to a secret: token"), "{reason}");
        let id: RequestId = open[0].id.parse().unwrap();
        world.orchestrator.decide(id, decision(&base), "anna").await.unwrap();
        let ended = world.ended(task.id).await;
        assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
        let then = seen.lock().unwrap().get(1).cloned();
        let expected = [Some(format!("second={VALUE}")), None, Some(format!("mine={VALUE}"))];
        assert_eq!(then, expected[position]);
        assert!(!kept(&world, task.id).await.contains(VALUE));
        world.is_sound(task.id).await;
        is_the_same(&world, task.id, 3, 2 - u32::from(then.is_none())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_a_model_made_of_what_was_read_asks_for_a_secret_before_it_is_given_one() {
    let (base, seen) = parrot().await;
    let revised = json!({"steps": [{"id": "again", "description": "Send it", "type": "tool-call", "tool":
        {"name": "http_fetch", "arguments": {"url": format!("{base}/?revised={{{{secret:token}}}}")}}}]});
    let script =
        json!({"rules": [{"role": "plan", "contains": "has to be revised", "reply": {"json": revised}}]});
    let world = scripted(json!(["127.0.0.1"]), script).await;
    let page = call("http_fetch", json!({"url": format!("{base}/?page")}));
    let own = call("http_fetch", json!({"url": format!("{base}/?own={{{{secret:token}}}}")}));
    let broken = call("workspace_read", json!({"path": "there/is/no/such/file"}));
    let task = world.start(plan(vec![page, own, broken])).await;
    let _worker = world.work("w");
    let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
    assert_eq!(paused.pause_for_people(), Some(PauseReason::Approval), "{:?}", paused.state().pause);
    assert_eq!(
        *seen.lock().unwrap(),
        ["page".to_owned(), format!("own={VALUE}")],
        "the first plan was a person's"
    );
    let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
    world.orchestrator.decide(open[0].id.parse().unwrap(), Decision::Approve(None), "anna").await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(seen.lock().unwrap()[2], format!("revised={VALUE}"));
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 1, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_planned_stays_theirs_when_the_task_is_put_back() {
    let (base, seen) = parrot().await;
    let world = scripted(json!(["127.0.0.1"]), json!({"rules": []})).await;
    let page = call("http_fetch", json!({"url": format!("{base}/?page")}));
    let own = call("http_fetch", json!({"url": format!("{base}/?own={{{{secret:token}}}}")}));
    let asks = call("ask_person", json!({"question": "Is it good?"}));
    let task = world.start(plan(vec![page, step(StepType::Checkpoint, "Write down"), own, asks])).await;
    let _worker = world.work("w");
    let rests = |task: &Task, revision| task.status() == Status::Paused && task.state().revision == revision;
    world.until(task.id, |task| rests(task, 1)).await;
    let checkpoint = world.orchestrator.checkpoints(task.id).await.unwrap()[0].seq;
    let wish = RestoreWish { checkpoint, repeat_effects: true };
    world.orchestrator.restore(task.id, wish, "ada").await.unwrap();
    let again = world.until(task.id, |task| rests(task, 2)).await;
    assert_eq!(again.pause_for_people(), Some(PauseReason::Input), "{:?}", again.state().pause);
    let own = format!("own={VALUE}");
    assert_eq!(*seen.lock().unwrap(), ["page".to_owned(), own.clone(), own]);
    world.is_sound(task.id).await;
}

/// Every file of a directory, as one text.
fn files(directory: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text.push_str(&files(&path)),
            false => text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())),
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_nowhere_in_recording_database_log_replies_and_streams() {
    let (base, seen) = parrot().await;
    let url = format!("{base}/?key={{{{secret:token}}}}");
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Fetch", "type": "tool-call"},
            {"id": "b", "description": "Fetch it again", "type": "tool-call",
                "tool": {"name": "http_fetch", "arguments": {"url": url}}}]}}},
        {"role": "execute", "turn": 0,
            "reply": {"toolCalls": [{"tool": "http_fetch", "arguments": {"url": url}}]}},
        {"role": "execute", "reply": {"text": "done"}},
    ]});
    let secrets = "[secrets.token]\ntools = [\"http_fetch\"]\nhosts = [\"127.0.0.1\"]\n\n[log]\nfilter = \"longhaul=trace,info\"\n";
    let program = Program::on(None, &script, secrets).with_variable("LONGHAUL_SECRET_TOKEN", VALUE);
    program.reconfigure("[tools]\n", "[tools]\nallowPrivateAddresses = true\n");
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Fetch the page twice").await.unwrap();
    let ended = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(
        *seen.lock().unwrap(),
        [format!("key={VALUE}"), format!("key={VALUE}")],
        "the tool was given it"
    );

    let mut said = String::new();
    let own = format!("/api/tasks/{id}");
    let mut paths = ["", "/traces", "/steps", "/effects", "/context", "/plan", "/export", "/events"]
        .map(|path| format!("{own}{path}"))
        .to_vec();
    paths.push(format!("/api/chat/{id}/stream"));
    let traces = program.traces(&server, &id).await;
    paths.extend(traces.iter().map(|entry| format!("{own}/traces/{}", entry["seq"])));
    for path in &paths {
        let reply = program.request("GET", &server, path).send().await.unwrap();
        said.push_str(&reply.text().await.unwrap());
    }
    assert!(said.contains("you sent key={{secret:token}}"), "what is shown has the name: {said}");
    let file = program.directory.path().join("recording.jsonl");
    let (code, _, errors) = program.run(&["task", "export", &id, "--output", &file.display().to_string()]);
    assert_eq!(code, 0, "{errors}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("{{secret:token}}"));
    drop(server);
    assert!(!said.contains(VALUE), "an API reply or a stream has it");
    // The database with its write-ahead log, the recording, and what the server has printed.
    assert!(!files(program.directory.path()).contains(VALUE), "a file has it");
}
