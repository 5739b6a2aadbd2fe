//! The analytics over a journal of a million entries. It takes a minute or two and says how long
//! each question takes: `cargo test --release --test it large:: -- --ignored --nocapture`. And how
//! long a wide plan takes beside what its slowest calls would take alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul::repository::analytics::{FigureFilter, HOUR, Measure, Reach, Span};
use longhaul::repository::{Commit, Lease, Repository, SqliteDurability, SqliteRepository};
use longhaul::task::{
    Effect, Entry, Event, Limits, Payload, Plan, PlannedStep, Planner, Task, TaskId, Timestamp, Usage,
};
use serde_json::json;

use crate::postgres;
use crate::world::{Setup, World, call};

const STEPS: u32 = 166;
const TASKS: u32 = 1000;

/// A task with a thousand entries, made and committed at once.
async fn fill(repository: &dyn Repository, number: u32, now: i64) {
    // Spread over a month, the newest last.
    let begin = now - i64::from(TASKS - number) * 40 * 60_000;
    let at = |second: u32| Timestamp::from_millis(begin + i64::from(second) * 1000);
    let spec = json!({"goal": "g", "userId": format!("user-{}", number % 3), "threadId": "t",
        "limits": {"maxSteps": 1000, "maxToolCalls": 1000}});
    let event = Event::Created { spec: serde_json::from_value(spec).unwrap() };
    let created = Entry { seq: 1, epoch: 0, at: at(0), event };
    let mut task = Task::begin(TaskId(uuid::Uuid::now_v7()), &created).unwrap();
    let steps = (0..STEPS).map(|step| {
        json!({"id": format!("s{step}"), "description": "d", "type": if step % 2 == 0 { "tool-call" } else { "llm-reasoning" }})
    });
    let plan = Plan { steps: serde_json::from_value(steps.collect()).unwrap() };
    let planned = Event::Planned { revision: 1, plan, by: Planner::default(), tools: None };
    let planned = task.record(at(0), planned).unwrap();
    repository.create(&task, vec![created, planned], None).await.unwrap();
    let mut entries = Vec::new();
    for step in 0..STEPS {
        for event in events(step, number) {
            entries.push(task.record(at(step), event).unwrap());
        }
    }
    entries.push(task.record(at(STEPS), Event::Cancelled { by: "b".into() }).unwrap());
    repository.commit(Commit::new(&task, entries, Vec::new(), Lease::Keep)).await.unwrap();
}

fn events(step: u32, number: u32) -> [Event; 6] {
    let model = format!("provider/model-{}", step % 5);
    let requested = json!({"kind": "model_requested",
        "data": {"step": step, "call": 1, "attempt": 1, "model": model}});
    let usage = Usage { input_tokens: 500, output_tokens: 50, model_calls: 1, ..Usage::default() };
    let text = Payload::text("some words that a model said");
    let requests = Vec::new();
    [
        Event::StepStarted { step, attempt: 1 },
        serde_json::from_value(requested).unwrap(),
        Event::ModelAnswered {
            step,
            call: 1,
            text,
            requests,
            thinking: None,
            finish: "stop".into(),
            usage,
            model: None,
            without_pictures: false,
        },
        Event::ToolDispatched {
            step,
            call: 2,
            attempt: 1,
            tool: format!("tool_{}", (step + number) % 20),
            arguments: Payload::Inline(json!({"n": step})),
            effect: Effect::ReadOnly,
            labels: Default::default(),
            request_id: None,
        },
        Event::ToolReturned {
            step,
            call: 2,
            result: Payload::Inline(json!("r")),
            is_error: step.is_multiple_of(40),
        },
        Event::StepCompleted { step, output: None },
    ]
}

async fn measure(name: &str, repository: Arc<dyn Repository>) {
    let now = chrono_now();
    let began = Instant::now();
    for number in 0..TASKS {
        fill(repository.as_ref(), number, now).await;
    }
    println!("{name}: {} entries written in {:?}", TASKS * (STEPS * 6 + 3), began.elapsed());
    let analytics = repository.analytics();
    let (began, mut passes, mut longest) = (Instant::now(), 0, std::time::Duration::ZERO);
    loop {
        let pass = Instant::now();
        if analytics.count(&Reach::All).await.unwrap() == 0 {
            break;
        }
        passes += 1;
        longest = longest.max(pass.elapsed());
    }
    println!("{name}: counted in {:?}, {passes} passes, the longest {longest:?}", began.elapsed());
    let month = Timestamp::from_millis(now / HOUR * HOUR - 30 * 24 * HOUR);
    let end = Timestamp::from_millis(now + HOUR);
    let user = Some("user-1".to_owned());
    let spans =
        [("a month as a whole", i64::MAX), ("a month by the day", 24 * HOUR), ("a month by the hour", HOUR)];
    let mut slow = Vec::new();
    for (words, piece) in spans {
        for (of, measures) in [
            ("everything", Measure::ALL.to_vec()),
            ("tools", vec![Measure::Tool, Measure::ToolFailed]),
            ("models", vec![Measure::Model]),
        ] {
            let range = Some(Span { from: month, to: end, piece, by_minute: false });
            let began = Instant::now();
            let filter = FigureFilter { user_id: user.clone(), measures, range };
            let rows = analytics.figures(&filter).await.unwrap().len();
            let took = began.elapsed();
            println!("{name}: {of}, {words}: {rows} rows in {took:?}");
            slow.extend((took.as_millis() > 200).then(|| format!("{of}, {words}: {took:?}")));
        }
    }
    let began = Instant::now();
    let filter = FigureFilter { user_id: None, measures: Measure::ALL.to_vec(), range: None };
    analytics.figures(&filter).await.unwrap();
    println!("{name}: all of all users: {:?}", began.elapsed());
    let began = Instant::now();
    analytics.failures("user-1", month, end, 200).await.unwrap();
    analytics.line(Some("user-1")).await.unwrap();
    println!("{name}: failures and what waits: {:?}", began.elapsed());
    let began = Instant::now();
    analytics.count(&Reach::Recent).await.unwrap();
    println!("{name}: a pass with nothing to do: {:?}", began.elapsed());
    println!("{name}: slow: {slow:?}");
}

fn chrono_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.db");
    let repository = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
    repository.prepare().await.unwrap();
    measure("SQLite", Arc::new(repository)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn postgresql() {
    measure("PostgreSQL", Arc::new(postgres::fresh_database().await)).await;
}

/// 200 steps of 100 ms, 50 of them side by side: 400 ms if nothing but the calls took time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn wide() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for _ in 0..5 {
        let path = directory.path().join(format!("{}.db", uuid::Uuid::now_v7()));
        let repository = SqliteRepository::open(&path, SqliteDurability::Full).await.unwrap();
        repository.prepare().await.unwrap();
        let limits = Limits { max_steps: 200, max_parallel_steps: 50, ..Limits::default() };
        let world =
            World::new(Setup { repository: Some(Arc::new(repository)), limits, ..Setup::default() }).await;
        let steps = (1..=200).map(|number| PlannedStep {
            id: format!("step-{number}"),
            ..call("slow_reading", json!({"ms": 100}))
        });
        let task = world.start(Plan { steps: steps.collect() }).await;
        let began = Instant::now();
        let _working = world.work("w");
        // Whoever looks at the task all the time would be part of what is measured.
        while world.ledger.lock().unwrap().len() < 200 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let task = world.ended(task.id).await;
        let took = began.elapsed();
        let state = task.state();
        println!(
            "200 steps of 100 ms, 50 side by side: {took:?}, {:.2} times the ideal ({})",
            took.as_secs_f64() / 0.4,
            state.status
        );
    }
}
