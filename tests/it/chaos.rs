//! Everything breaks, again and again, while three workers work: they are killed and frozen,
//! PostgreSQL crashes, Redis is emptied and restarted, and every job is sent three times. The
//! checker, which is another program, finds that nothing was lost and nothing was doubled.

use std::collections::BTreeSet;
use std::time::Duration;

use longhaul::queue::{BullQueue, Doorbell, Queue, QueueConfig, Wake};
use longhaul::task::TaskId;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fleet, patiently};
use crate::judge;

const KILLS: usize = 100;
const FREEZES: usize = 20;
/// As many tasks are kept unfinished, so that there is always somebody to hit.
const AT_WORK: i64 = 8;
/// Copies are numbered like epochs that no task reaches.
const COPIES_FROM: i64 = 1_000_000;

/// A plan with all three classes of effects, called by the plan and by a model.
fn script() -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Read", "type": "tool-call",
             "tool": {"name": "world_read", "arguments": {"label": "planned"}}},
            {"id": "b", "description": "Write once", "type": "tool-call",
             "tool": {"name": "world_keyed", "arguments": {"label": "planned"}}},
            {"id": "c", "description": "Work with tools", "type": "tool-call"},
            {"id": "d", "description": "Do harm once", "type": "tool-call",
             "tool": {"name": "world_slow", "arguments": {"label": "planned", "ms": 30}}},
            {"id": "e", "description": "Note", "type": "checkpoint"},
            {"id": "f", "description": "Answer", "type": "llm-reasoning"},
        ]}}},
        {"role": "execute", "contains": "Your step (step-6)", "delayMs": 40, "reply": {"text": "the answer"}},
        {"role": "execute", "turn": 0, "delayMs": 40, "reply": {"toolCalls": [
            {"tool": "world_read", "arguments": {"label": "agent"}},
            {"tool": "world_keyed", "arguments": {"label": "agent"}},
            {"tool": "world_slow", "arguments": {"label": "agent", "ms": 20}}]}},
        {"role": "execute", "turn": 1, "delayMs": 40, "reply": {"toolCalls": [
            {"tool": "world_count", "arguments": {"label": "agent"}}]}},
        {"role": "execute", "delayMs": 40, "reply": {"text": "worked"}},
    ]})
}

/// Small and repeatable; the moments depend on it, and what comes when.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Freeze,
    EmptyRedis,
    StopRedis,
    StartRedis,
    CrashPostgres,
    /// All workers die, and everything else while the next ones take over.
    Everything,
}

/// The blows in a random order, and between them at fixed places what is rare.
fn blows(dice: &mut Dice) -> Vec<Blow> {
    let mut blows: Vec<Blow> =
        (0..KILLS + FREEZES).map(|at| [Blow::Kill, Blow::Freeze][usize::from(at < FREEZES)]).collect();
    for at in (1..blows.len()).rev() {
        blows.swap(at, dice.below(at + 1));
    }
    let rare = [
        (110, Blow::EmptyRedis),
        (95, Blow::Everything),
        (80, Blow::StartRedis),
        (75, Blow::StopRedis),
        (60, Blow::CrashPostgres),
        (45, Blow::Everything),
        (25, Blow::CrashPostgres),
        (10, Blow::EmptyRedis),
    ];
    rare.into_iter().for_each(|(at, blow)| blows.insert(at, blow));
    blows
}

async fn strike(fleet: &mut Fleet, blow: Blow, dice: &mut Dice) {
    match blow {
        Blow::Kill => {
            // A zombie goes first: as long as it lives nobody can answer for lost calls.
            let worker = match fleet.zombies().first() {
                Some(zombie) => *zombie,
                None => fleet.busy(dice.below(3)).await,
            };
            tokio::time::sleep(Duration::from_millis(dice.below(150) as u64)).await;
            fleet.replace(worker);
        }
        Blow::Freeze => loop {
            let worker = fleet.busy(dice.below(3)).await;
            if fleet.freeze_beyond_the_lease(worker).await {
                break;
            }
            fleet.create().await;
        },
        Blow::EmptyRedis => assert_eq!(fleet.redis.ask(&["FLUSHALL"]).trim(), "OK"),
        Blow::StopRedis => fleet.redis.kill(),
        Blow::StartRedis => fleet.redis.start_again(),
        Blow::CrashPostgres => fleet.postgres.crash(),
        Blow::Everything => {
            fleet.replace_all();
            fleet.redis.ask(&["FLUSHALL"]);
            fleet.postgres.crash_while_it_recovers();
            fleet.busy(0).await;
            fleet.redis.kill();
            fleet.postgres.crash();
            fleet.redis.start_again();
        }
    }
}

/// Sends every job twice more, until it is told to stop. Returns how many it sent.
async fn send_all_jobs_three_times(redis: String, database: String, stop: CancellationToken) -> usize {
    let queue = BullQueue::start(QueueConfig::at(redis), Doorbell::default()).unwrap();
    let (mut seen, mut copies) = (BTreeSet::new(), 0);
    while !stop.is_cancelled() {
        for task in live(&database).await.unwrap_or_default() {
            for job in queue.get_task_jobs(task).await.unwrap_or_default() {
                if is_copy(&job.id) || !seen.insert(job.id) {
                    continue;
                }
                for _ in 0..2 {
                    let again = Some(COPIES_FROM + copies);
                    let (user_id, thread_id) = ("local".to_owned(), "thread".to_owned());
                    let delay = Duration::ZERO;
                    let wake = Wake { task, user_id, thread_id, step: 0, priority: 3, delay, again };
                    copies += i64::from(queue.push(wake).await.is_ok());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    usize::try_from(copies).unwrap()
}

fn is_copy(job: &str) -> bool {
    let epoch = job.rsplit_once("-r").and_then(|(_, epoch)| epoch.parse::<i64>().ok());
    epoch.is_some_and(|epoch| epoch >= COPIES_FROM)
}

async fn live(database: &str) -> Result<Vec<TaskId>, sqlx::Error> {
    let mut connection = PgConnection::connect(database).await?;
    let query = "SELECT id::text FROM task_execution WHERE wake_at IS NOT NULL";
    let rows = sqlx::query(query).fetch_all(&mut connection).await?;
    Ok(rows.iter().map(|row| row.get::<&str, _>(0).parse().unwrap()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_nothing_is_lost_and_nothing_is_doubled() {
    let mut fleet = Fleet::start(&script()).await;
    let stop = CancellationToken::new();
    let copying =
        tokio::spawn(send_all_jobs_three_times(fleet.redis.url(), fleet.postgres.url(), stop.clone()));
    let mut dice = Dice(3);
    let mut decided = 0;
    for blow in blows(&mut dice) {
        while fleet.count("wake_at IS NOT NULL").await < AT_WORK {
            fleet.create().await;
        }
        decided += fleet.decide().await;
        strike(&mut fleet, blow, &mut dice).await;
    }
    fleet.zombies().into_iter().for_each(|zombie| fleet.replace(zombie));
    patiently("all tasks end", async || {
        decided += fleet.decide().await;
        (fleet.count("completed_at IS NULL").await == 0).then_some(())
    })
    .await;
    stop.cancel();
    let copies = copying.await.unwrap();

    let directory = fleet.program.directory.path();
    let promised = directory.join("promised");
    std::fs::write(&promised, fleet.ids.join("\n")).unwrap();
    let (tools, models) = (directory.join("tool-ledger.jsonl"), directory.join("model-ledger.jsonl"));
    let files = [("--tools", &*tools), ("--models", &*models), ("--promised", &*promised)];
    let verdict = judge::verdict(&fleet.postgres.url(), &files);
    let tasks = fleet.ids.len();
    assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
    assert_eq!(fleet.count("TRUE").await as usize, tasks, "one task for each key");
    assert_eq!(fleet.count("status <> 'completed'").await, 0);
    let takeovers = fleet
        .ask("SELECT count(*) FROM task_execution_trace WHERE kind = 'claimed' AND data->>'crashes' <> '0'");
    let takeovers: i64 = takeovers.await[0].get(0);
    assert!(takeovers > KILLS as i64 / 2, "only {takeovers} tasks were hit at work: the test tests nothing");
    let noticed = fleet.noticed;
    assert!(noticed > FREEZES / 2, "only {noticed} of {FREEZES} frozen workers were fenced at work");
    assert!(decided > 0, "no unsafe call was ever cut off");
    assert!(copies > tasks, "only {copies} copies of jobs were sent for {tasks} tasks");
    let (code, printed, _) = fleet.program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}\n{}", fleet.printed());
}
