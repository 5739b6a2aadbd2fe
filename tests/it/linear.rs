//! How much a long history takes in the database, and how long a task with a long plan takes to load. It
//! says so: `scripts/test --release linear:: -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use longhaul::models::Models;
use longhaul::repository::{Commit, Lease, Repository, SqliteDurability, SqliteRepository};
use longhaul::task::{
    Effect, Entry, Event, Limits, Payload, Plan, Planner, Status, StepType, Task, TaskId, Timestamp,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::context::{Recording, Turns};
use crate::postgres;
use crate::world::{Setup, World, plan, step};

const TURNS: usize = 200;
const CONVERSATIONS: usize = 3;
const STEPS: u32 = 10_000;
const BYTES: usize = 5 * 1024;

/// Letters that no other content has, as many of them as asked for: what repeats would be compressed to
/// nothing.
fn letters(number: usize, bytes: usize) -> String {
    let mut state = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..bytes).map(|_| letter()).collect()
}

/// What a model does in a turn: words, and tools.
type Turn = (String, Vec<(&'static str, Value)>);

/// A turn that says 5 KiB.
fn says(turn: usize) -> Turn {
    (letters(turn, BYTES), vec![("read", json!({"turn": turn}))])
}

/// A turn that hands 5 KiB to a tool, as one does that writes a file.
fn writes(turn: usize) -> Turn {
    (String::new(), vec![("slow_reading", json!({"turn": turn, "ms": 0, "text": letters(turn, BYTES)}))])
}

/// A step whose model does 5 KiB in each of its turns, and nothing that the model of another number does.
async fn long_conversation(repository: Arc<dyn Repository>, number: usize, does: fn(usize) -> Turn) -> usize {
    let turns: Turns = Box::new(move |turn| match turn {
        TURNS.. => ("done".to_owned(), Vec::new()),
        turn => does(number * TURNS + turn),
    });
    let model = Recording::without_thoughts(Some("It went on."), turns);
    let limits = Limits { max_turns: 1000, max_tool_calls: 1000, ..Limits::default() };
    let models = Some(Models::with_model(model).unwrap());
    let repository = Some(repository);
    let world = World::new(Setup { models, limits, repository, ..Setup::default() }).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Talk")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let folded = world.kinds(task.id).await.iter().filter(|kind| **kind == "conversation_summarized").count();
    println!("  {folded} compactions");
    TURNS * BYTES
}

/// A task with ten thousand steps that bring 5 KiB each.
async fn long_plan(repository: &dyn Repository) -> (TaskId, usize) {
    let at = Timestamp::from_millis(1_790_000_000_000);
    let spec = json!({"goal": "g", "userId": "u", "threadId": "t",
        "limits": {"maxSteps": STEPS, "maxToolCalls": STEPS}});
    let event = Event::Created { spec: serde_json::from_value(spec).unwrap() };
    let created = Entry { seq: 1, epoch: 0, at, event };
    let mut task = Task::begin(TaskId(uuid::Uuid::now_v7()), &created).unwrap();
    let steps = (0..STEPS).map(|step| {
        let before: Vec<u32> = step.checked_sub(1).into_iter().collect();
        json!({"id": format!("step-{step}"), "description": format!("Look at part {step} of the papers"),
            "type": "tool-call", "dependsOn": before})
    });
    let plan = Plan { steps: serde_json::from_value(steps.collect()).unwrap() };
    let planned =
        task.record(at, Event::Planned { revision: 1, plan, by: Planner::default(), tools: None }).unwrap();
    repository.create(&task, vec![created, planned], None).await.unwrap();
    for step in 0..STEPS {
        let mut entries = Vec::new();
        let mut blobs = Vec::new();
        for mut event in events(step) {
            blobs.extend(event.payloads_mut().into_iter().filter_map(Payload::seal));
            entries.push(task.record(at, event).unwrap());
        }
        if step % 5 == 4 {
            entries.push(task.record(at, task.checkpoint(None, None)).unwrap());
        }
        repository.commit(Commit::new(&task, entries, blobs, Lease::Keep)).await.unwrap();
    }
    (task.id, STEPS as usize * BYTES)
}

fn events(step: u32) -> [Event; 4] {
    let (call, result) = (1, Payload::text(letters(step as usize, BYTES)));
    [
        Event::StepStarted { step, attempt: 1 },
        Event::ToolDispatched {
            step,
            call,
            attempt: 1,
            tool: "papers_read".into(),
            arguments: Payload::Inline(json!({"part": step})),
            effect: Effect::ReadOnly,
            labels: Default::default(),
            request_id: None,
        },
        Event::ToolReturned { step, call, result, is_error: false },
        Event::StepCompleted { step, output: None },
    ]
}

fn report(engine: &str, what: &str, stored: u64, content: usize) {
    let ratio = stored as f64 / content as f64;
    println!("{engine}: {what}: {stored} bytes stored for {content} of content, {ratio:.2} times");
}

async fn load(engine: &str, repository: &dyn Repository, id: TaskId) {
    let mut times = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        let task = repository.load(id).await.unwrap().unwrap();
        times.push(began.elapsed());
        assert_eq!(task.steps().len(), STEPS as usize);
    }
    times.sort();
    println!("{engine}: a task of {STEPS} steps is loaded in {:?} (the first time {:?})", times[4], times[8]);
}

/// Some conversations, behind the first one.
async fn conversations(repository: Arc<dyn Repository>, does: fn(usize) -> Turn) -> usize {
    let mut content = 0;
    for number in 1..=CONVERSATIONS {
        content += long_conversation(repository.clone(), number, does).await;
    }
    content
}

/// What filling a database adds to it. It has held a conversation before: a database begins with a page or
/// more of each table and index, for each connection that writes.
async fn sqlite_with(fill: impl AsyncFnOnce(Arc<dyn Repository>) -> usize) -> (u64, usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("linear.db");
    let open = async || {
        let repository = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
        repository.prepare().await.unwrap();
        Arc::new(repository) as Arc<dyn Repository>
    };
    let url = format!("sqlite://{}", path.display());
    // The log belongs to no content: it is folded into the file first.
    let size = async || {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        std::fs::metadata(&path).unwrap().len()
    };
    long_conversation(open().await, 0, says).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let before = size().await;
    let content = fill(open().await).await;
    // The log of the database goes into its file when the last connection is closed.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    (size().await.saturating_sub(before), content)
}

async fn postgres_with(fill: impl AsyncFnOnce(Arc<dyn Repository>) -> usize) -> (u64, usize) {
    let url = postgres::fresh_url().await;
    let repository =
        longhaul::repository::PostgresRepository::connect(&url, 10, postgres::PATIENCE).await.unwrap();
    repository.prepare().await.unwrap();
    let repository = Arc::new(repository);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    long_conversation(repository.clone(), 0, says).await;
    let before = database_bytes(&mut connection).await;
    let content = fill(repository).await;
    (database_bytes(&mut connection).await.saturating_sub(before), content)
}

async fn database_bytes(connection: &mut PgConnection) -> u64 {
    sqlx::raw_sql("VACUUM").execute(&mut *connection).await.unwrap();
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(connection)
        .await
        .unwrap();
    bytes.unsigned_abs()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn sqlite() {
    let (stored, content) = sqlite_with(async |repository| conversations(repository, says).await).await;
    report("SQLite", "200 turns that say 5 KiB", stored, content);
    let (stored, content) = sqlite_with(async |repository| conversations(repository, writes).await).await;
    report("SQLite", "200 turns that write 5 KiB", stored, content);
    let (stored, content) = sqlite_with(async |repository: Arc<dyn Repository>| {
        let (id, content) = long_plan(repository.as_ref()).await;
        load("SQLite", repository.as_ref(), id).await;
        content
    })
    .await;
    report("SQLite", "10,000 steps of 5 KiB", stored, content);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn postgresql() {
    let (stored, content) = postgres_with(async |repository| conversations(repository, says).await).await;
    report("PostgreSQL", "200 turns that say 5 KiB", stored, content);
    let (stored, content) = postgres_with(async |repository| conversations(repository, writes).await).await;
    report("PostgreSQL", "200 turns that write 5 KiB", stored, content);
    let (stored, content) = postgres_with(async |repository: Arc<dyn Repository>| {
        let (id, content) = long_plan(repository.as_ref()).await;
        load("PostgreSQL", repository.as_ref(), id).await;
        content
    })
    .await;
    report("PostgreSQL", "10,000 steps of 5 KiB", stored, content);
}
