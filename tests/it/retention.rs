//! What retention leaves of large contents.

use std::sync::Arc;
use std::time::Duration;

use longhaul::repository::{PostgresRepository, Repository, Retention, SqliteDurability, SqliteRepository};
use longhaul::task::{Payload, StepType};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::postgres;
use crate::world::{Setup, World, plan, step};

const AGED: [&str; 2] = [
    "UPDATE blob SET touched_at = touched_at - 2 * 86400000",
    "UPDATE blob SET touched_at = touched_at - interval '2 days'",
];
const COUNT: &str = "SELECT count(*) FROM blob";

/// A text that is stored as a content of its own.
fn long(word: &str) -> String {
    format!("{word} ").repeat(1000)
}

/// A step whose model reads something long and brings something else that is long.
fn script() -> Value {
    let reads = json!([{"tool": "read", "arguments": {"path": long("path")}}]);
    json!({"rules": [
        {"role": "execute", "turn": 0, "reply": {"text": long("thought"), "toolCalls": reads}},
        {"role": "execute", "reply": {"text": long("report")}},
    ]})
}

/// Carries out a task, removes its entries, and returns how many contents there were and are; `aged`
/// makes them older.
async fn pruned(repository: Arc<dyn Repository>, aged: impl AsyncFn() -> i64) -> (i64, i64) {
    let world =
        World::new(Setup { script: script(), repository: Some(repository), ..Setup::default() }).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Read")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    let before = aged().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let all = Retention { tasks: None, traces: Some(Duration::ZERO) };
    world.repository.prune(&all).await.unwrap();
    let task = world.repository.load(task.id).await.unwrap().unwrap();
    for output in [task.state().output.clone(), task.steps()[0].output.clone()] {
        let output = output.unwrap();
        assert!(matches!(output, Payload::Blob { .. }), "{output:?}");
        let content = world.repository.content(&output).await.unwrap();
        assert!(content.to_string().contains("report report"), "what the task brought can be read");
    }
    (before, aged().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_removed_entries_go_and_those_of_outputs_stay_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("retention.db");
    let repository = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
    repository.prepare().await.unwrap();
    let url = format!("sqlite://{}", path.display());
    let aged = async || {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AGED[0]).execute(&mut connection).await.unwrap();
        sqlx::query_scalar(COUNT).fetch_one(&mut connection).await.unwrap()
    };
    let (before, after) = pruned(Arc::new(repository), aged).await;
    assert!(before > after && after >= 1, "{before} contents became {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_removed_entries_go_and_those_of_outputs_stay_on_postgresql() {
    let url = postgres::fresh_url().await;
    let repository = PostgresRepository::connect(&url, 10, postgres::PATIENCE).await.unwrap();
    repository.prepare().await.unwrap();
    let aged = async || {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AGED[1]).execute(&mut connection).await.unwrap();
        sqlx::query_scalar(COUNT).fetch_one(&mut connection).await.unwrap()
    };
    let (before, after) = pruned(Arc::new(repository), aged).await;
    assert!(before > after && after >= 1, "{before} contents became {after}");
}
