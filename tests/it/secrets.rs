//! Secrets: tools are given values, and nothing that is kept or shown has one in it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use longhaul::task::{Event, Status};
use longhaul::tools::{Secrets, Toolbox, ToolsConfig};
use serde_json::{Value, json};

use crate::program::Program;
use crate::world::{Setup, World, call, plan};

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
    let config = serde_json::from_value(json!({"token": {"tools": ["http_fetch"], "hosts": hosts}})).unwrap();
    let secrets = Secrets::load(&config, &|name| (name == "LONGHAUL_SECRET_TOKEN").then(|| VALUE.to_owned()));
    let workspace = std::env::temp_dir();
    let config =
        ToolsConfig { allow_private_addresses: true, workspace: Some(workspace), ..ToolsConfig::default() };
    let tools = Toolbox::open_with(&config, secrets.unwrap()).await.unwrap();
    World::new(Setup { tools: Some(tools), ..Setup::default() }).await
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
            {"id": "a", "description": "Fetch", "type": "tool-call",
                "tool": {"name": "http_fetch", "arguments": {"url": url}}},
            {"id": "b", "description": "Fetch it again", "type": "tool-call"}]}}},
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
