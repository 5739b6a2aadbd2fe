//! PostgreSQL behind a network that swallows what is sent, without a word.

use std::time::Duration;

use serde_json::json;

use crate::postgres;
use crate::program::Program;
use crate::relay::Relay;

const SHORT: &str = "[database]\ntimeoutMs = 1000\n";

fn script() -> serde_json::Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [{"id": "say", "description": "Say it", "type": "llm-reasoning"}]}}},
        {"reply": {"text": "Done."}},
    ]})
}

/// A database, and the way to it.
async fn behind_a_relay() -> (String, Relay) {
    let mut url = url::Url::parse(&postgres::fresh_url().await).unwrap();
    let relay = Relay::to(url.port().unwrap()).await;
    url.set_port(Some(relay.port())).unwrap();
    (url.to_string(), relay)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_connections_fell_silent_opens_new_ones_and_goes_on() {
    let (database, relay) = behind_a_relay().await;
    let program = Program::on(Some(database), &script(), SHORT);
    let server = program.serve(&[]).await;
    let before = program.orchestrate(&server, "Say a word").await.unwrap();
    program.until(&server, &before, &["completed"]).await;

    for _ in 0..2 {
        relay.silence_all_but(0);
        let body = json!({"goal": "Say another word", "threadId": "thread"});
        let mut created = None;
        program
            .patiently("a task is created", async || {
                created = program.post(&server, "/api/chat/orchestrate", &body).await;
                matches!(created, Some((200, _)))
            })
            .await;
        let id = created.unwrap().1["taskId"].as_str().unwrap().to_owned();
        program.until(&server, &id, &["completed"]).await;
    }
    let printed = program.printed();
    assert!(printed.contains("PostgreSQL does not answer"), "{printed}");
    assert!(printed.contains("has not answered within"), "the cause is told: {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_in_time_though_its_database_says_nothing() {
    let (database, relay) = behind_a_relay().await;
    let program = Program::on(Some(database), &script(), "");
    program.reconfigure("pollMs = 50", "pollMs = 50\ndrainMs = 500");
    let server = program.serve(&[]).await;
    let task = program.orchestrate(&server, "Say a word").await.unwrap();
    program.until(&server, &task, &["completed"]).await;
    relay.silence_for_good();
    // Everybody has asked something meanwhile, and waits.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ended = tokio::task::spawn_blocking(|| server.terminate());
    let ended = tokio::time::timeout(Duration::from_secs(14), ended).await;
    assert!(ended.is_ok(), "a statement would have had fifteen seconds: {}", program.printed());
}
