//! Tasks whose jobs are lost, held back or counted in Redis, while Redis is well or nearly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longhaul::queue::{BullQueue, Hint, Queue, QueueConfig, QueueLimiter};
use longhaul::repository::Repository;
use longhaul::task::{Limits, RetryPolicy, Status, Task};
use serde_json::json;

use crate::program::Program;
use crate::redis::{config_of_its_own, connected, patiently, script, working};
use crate::redis_server::RedisServer;
use crate::relay::Relay;
use crate::world::{Setup, World, call, plan, sqlite};
use crate::wrapped::{Interference, Wrapped};

/// So often a worker looks until a test believes that it takes no more.
const LOOKS: usize = 20;

/// Counts how often somebody looks whether anything is due.
#[derive(Clone, Default)]
struct Looks(Arc<AtomicUsize>);

impl Interference for Looks {
    fn is_asked(&self, question: &'static str) {
        if question == "due" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Looks {
    async fn some_more(&self) {
        let before = self.0.load(Ordering::SeqCst);
        patiently("the worker looks", async || self.0.load(Ordering::SeqCst) >= before + LOOKS).await;
    }
}

/// A process that works, and one beside it all of whose jobs are lost.
struct Two {
    here: World,
    elsewhere: World,
    looks: Looks,
    _directory: tempfile::TempDir,
}

impl Two {
    async fn on(queue: &Arc<BullQueue>, retry: RetryPolicy) -> Self {
        let (directory, inner) = sqlite().await;
        let looks = Looks::default();
        let repository: Arc<dyn Repository> =
            Arc::new(Wrapped { inner: inner.clone(), interference: looks.clone() });
        let limits = Limits { max_replans: 0, ..Limits::default() };
        let elsewhere = World::new(Setup { repository: Some(inner), ..Setup::default() }).await;
        let mut here = World::new(Setup {
            repository: Some(repository),
            queue: Some(queue.clone()),
            retry,
            limits,
            ..Setup::default()
        })
        .await;
        (here.worker_config.lease_ms, here.worker_config.heartbeat_ms) = (15_000, 5_000);
        Self { here, elsewhere, looks, _directory: directory }
    }

    /// A task whose job is lost.
    async fn lost(&self) -> Task {
        self.elsewhere.start(plan(vec![call("read", json!({}))])).await
    }

    /// How many of the tasks were ever begun.
    async fn begun(&self, tasks: &[Task]) -> usize {
        let mut begun = 0;
        for task in tasks {
            let now = self.here.repository.load(task.id).await.unwrap().unwrap();
            begun += usize::from(now.state().epoch > 0);
        }
        begun
    }
}

/// The library's own hand on the queue, as a person's on Bull Board.
async fn operator(config: &QueueConfig) -> bullmq::Queue {
    let options = bullmq::options::QueueOptions::new()
        .connection(bullmq::options::RedisConnectionOptions::new().url(&config.url))
        .prefix(&config.prefix);
    bullmq::Queue::with_options(&config.name, options).await.unwrap()
}

/// A queue whose workers go round it often.
fn sweeping() -> QueueConfig {
    QueueConfig { lease: Duration::from_millis(300), ..config_of_its_own() }
}

/// Three tasks are found before something is tried again that would be tried sooner than tasks are taken
/// three times although jobs wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_job_is_lost_is_found_by_the_next_look() {
    let queue = connected(config_of_its_own()).await;
    let later = RetryPolicy { max_attempts: 3, base_ms: 10_000, factor: 1.0, max_ms: 10_000 };
    let two = Two::on(&queue, later).await;
    let _worker = working(&two.here).await;
    let tried_again = two.here.start(plan(vec![call("flaky", json!({"failures": 1}))])).await;
    two.here.until(tried_again.id, |task| task.steps()[0].attempts == 1 && task.status().is_live()).await;
    for _ in 0..3 {
        let lost = two.lost().await;
        assert_eq!(two.here.ended(lost.id).await.status(), Status::Completed);
    }
    let other = two.here.repository.load(tried_again.id).await.unwrap().unwrap();
    assert!(!other.status().is_terminal(), "the task without a job waited for longer than for a look");
    two.here.orchestrator.cancel(tried_again.id, "a person").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_paused_in_redis_begins_nothing_until_it_is_resumed() {
    let config = sweeping();
    let queue = connected(config.clone()).await;
    let two = Two::on(&queue, RetryPolicy::default()).await;
    let _worker = working(&two.here).await;
    let operator = operator(&config).await;
    operator.pause().await.unwrap();
    let mut tasks = vec![two.lost().await];
    for _ in 0..3 {
        tasks.push(two.here.start(plan(vec![call("read", json!({}))])).await);
    }
    two.looks.some_more().await;
    assert_eq!(two.begun(&tasks).await, 0);
    let told = BullQueue::look_at(&config).await.unwrap();
    assert!(told.contains("the queue is paused"), "{told}");
    operator.resume().await.unwrap();
    for task in &tasks {
        assert_eq!(two.here.ended(task.id).await.status(), Status::Completed);
    }
    assert!(!BullQueue::look_at(&config).await.unwrap().contains("paused"));
}

/// The limit is shared with workers in Node, so no worker may go round it.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_without_jobs_count_for_the_limiter_of_the_queue() {
    let limiter = QueueLimiter { max: 4, duration: Duration::from_secs(3600) };
    let config = QueueConfig { limiter: Some(limiter), ..sweeping() };
    let queue = connected(config.clone()).await;
    let two = Two::on(&queue, RetryPolicy::default()).await;
    // One goes through its job, or is found; then one at a time, which leaves room for others.
    let _worker = working(&two.here).await;
    for _ in 0..2 {
        let lost = two.lost().await;
        assert_eq!(two.here.ended(lost.id).await.status(), Status::Completed);
    }
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(two.lost().await);
        tasks.push(two.here.start(plan(vec![call("read", json!({}))])).await);
    }
    two.looks.some_more().await;
    assert!(two.begun(&tasks).await <= 1, "more tasks begin than all workers together may begin");
    let operator = operator(&config).await;
    // Each time the hour is over.
    patiently("they begin as the limiter lets them", async || {
        operator.remove_rate_limit_key().await.unwrap();
        two.begun(&tasks).await == tasks.len()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_admitted_and_not_taken_is_there_for_others() {
    let limiter = QueueLimiter { max: 4, duration: Duration::from_secs(3600) };
    let queue = connected(QueueConfig { limiter: Some(limiter), ..config_of_its_own() }).await;
    for not_taken in [4, 3] {
        assert_eq!(queue.admits(&Hint::Due, 10).await, 4);
        queue.not_taken(not_taken).await;
    }
    assert_eq!(queue.admits(&Hint::Due, 10).await, 3);
    assert_eq!(queue.admits(&Hint::Due, 10).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_just_become_due_is_left_to_its_job_while_redis_is_well() {
    let mut server = RedisServer::start();
    let poll = Duration::from_secs(4 * 3600);
    let queue = connected(QueueConfig { poll, ..QueueConfig::at(server.url()) }).await;
    let two = Two::on(&queue, RetryPolicy::default()).await;
    let lost = two.lost().await;
    // It begins with a look.
    let worker = working(&two.here).await;
    let told = two.here.start(plan(vec![call("read", json!({}))])).await;
    assert_eq!(two.here.ended(told.id).await.status(), Status::Completed);
    assert_eq!(two.begun(std::slice::from_ref(&lost)).await, 0, "its job may be on its way");
    worker.stop().await;
    server.kill();
    patiently("Redis is away", async || !queue.is_connected()).await;
    let _worker = working(&two.here).await;
    assert_eq!(two.here.ended(lost.id).await.status(), Status::Completed, "no job can be on its way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_too_slowly_to_be_of_use_is_away() {
    let server = RedisServer::start();
    let relay = Relay::to(server.port()).await;
    let url = format!("redis://127.0.0.1:{}", relay.port());
    let queue = connected(QueueConfig { poll: Duration::from_millis(50), ..QueueConfig::at(url) }).await;
    let two = Two::on(&queue, RetryPolicy::default()).await;
    let worker = working(&two.here).await;
    relay.take(400);
    patiently("it is seen that Redis is slow", async || !queue.is_connected()).await;
    let trouble = queue.get_task_jobs(two.lost().await.id).await.unwrap_err().to_string();
    assert!(trouble.contains("ms to answer") || trouble.contains("it cannot be connected to"), "{trouble}");
    let task = two.here.start(plan(vec![call("read", json!({}))])).await;
    assert_eq!(two.here.ended(task.id).await.status(), Status::Completed);
    relay.take(0);
    patiently("Redis is quick again", async || queue.is_connected()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_and_goes_is_told_of_once() {
    let redis = RedisServer::start();
    let program = Program::on(None, &script(), &format!("[queue]\nurl = {:?}\n", redis.url()));
    let server = program.serve(&[]).await;
    let told = |line: &str| program.printed().lines().filter(|printed| printed.contains(line)).count();
    patiently("it is connected", async || told("jobs go through Redis") == 1).await;
    for _ in 0..3 {
        redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let id = program.orchestrate(&server, "Answer the question of all questions").await.unwrap();
        program.until(&server, &id, &["completed"]).await;
        let shows_jobs = async || program.get(&server, &format!("/api/tasks/{id}/jobs")).await.0 == 200;
        patiently("it is away", async || !shows_jobs().await).await;
        redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        patiently("it is back", shows_jobs).await;
    }
    // Before the first time, after it, and no more until it is steady.
    assert_eq!(told("jobs go through Redis"), 2, "{}", program.printed());
    assert_eq!(told("jobs do not go through Redis"), 2, "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_says_that_redis_is_away_in_its_table_alone() {
    let nowhere = Program::on(None, &script(), "[queue]\nurl = \"redis://127.0.0.1:1\"\n");
    let (exit, printed, logged) = nowhere.run(&["doctor"]);
    assert!(exit != 0 && printed.contains("redis://127.0.0.1:1"), "{printed}");
    assert!(!logged.contains("WARN"), "{logged}");
}
