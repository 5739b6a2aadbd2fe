//! Jobs in Redis: as the original wrote them, true to the tasks, and never more than hints.

use std::sync::Arc;
use std::time::Duration;

use longhaul::queue::{BullQueue, Doorbell, Job, JobState, Queue, QueueConfig, Wake};
use longhaul::task::{Limits, Priority, RetryPolicy, Status, Task};
use serde_json::{Value, json};

use crate::program::Program;
use crate::redis_server::RedisServer;
use crate::relay::Relay;
use crate::world::{Setup, Working, World, call, plan};

/// How long a test waits for what must happen. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A wait that no test survives: what happens before it happens without it.
const NEVER: Duration = Duration::from_secs(3600);

/// The Redis that `scripts/test` starts.
pub(crate) fn url() -> String {
    std::env::var("LONGHAUL_TEST_REDIS")
        .expect("LONGHAUL_TEST_REDIS names a Redis for tests: run scripts/test, which starts one")
}

/// A queue in it that no other test uses, with short waits.
pub(crate) fn config_of_its_own() -> QueueConfig {
    let prefix = format!("test-{}", uuid::Uuid::now_v7().simple());
    QueueConfig { prefix, poll: Duration::from_millis(50), ..QueueConfig::at(url()) }
}

/// The same without polling: whatever happens, a job led to it.
pub(crate) fn jobs_only() -> QueueConfig {
    QueueConfig { poll: NEVER, lease: NEVER, ..config_of_its_own() }
}

pub(crate) async fn connected(config: QueueConfig) -> Arc<BullQueue> {
    let queue = Arc::new(BullQueue::start(config, Doorbell::default()).unwrap());
    patiently("Redis is connected", async || queue.is_connected()).await;
    queue
}

pub(crate) async fn patiently(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !wanted().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it never happened that {what}");
}

async fn world(queue: &Arc<BullQueue>, retry: RetryPolicy) -> World {
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let mut world = World::new(Setup { queue: Some(queue.clone()), retry, limits, ..Setup::default() }).await;
    // A lease outlives whatever the test does to Redis.
    (world.worker_config.lease_ms, world.worker_config.heartbeat_ms) = (15_000, 5_000);
    world
}

/// A worker whose first look at what is due is over: from here on only jobs lead it anywhere.
pub(crate) async fn working(world: &World) -> Working {
    let worker = world.work("w");
    let first = world.start(plan(vec![call("read", json!({}))])).await;
    world.ended(first.id).await;
    worker
}

fn quick() -> RetryPolicy {
    RetryPolicy { max_attempts: 3, base_ms: 2, factor: 2.0, max_ms: 10 }
}

/// The jobs of a task once they are as wanted.
async fn jobs(queue: &BullQueue, task: &Task, wanted: impl Fn(&[Job]) -> bool) -> Vec<Job> {
    let mut jobs = Vec::new();
    patiently("the jobs are as wanted", async || {
        jobs = queue.get_task_jobs(task.id).await.unwrap();
        wanted(&jobs)
    })
    .await;
    jobs
}

fn all(jobs: &[Job], state: JobState) -> bool {
    !jobs.is_empty() && jobs.iter().all(|job| job.state == state)
}

/// Waits until a task is led to by its job. Some before it may be found by polling: the library that takes
/// jobs connects after the one that writes them.
async fn goes_through_its_job(world: &World, queue: &BullQueue) {
    patiently("a task goes through its job", async || {
        let task = world.start(plan(vec![call("read", json!({}))])).await;
        world.ended(task.id).await;
        let is_done =
            |job: &Job| job.return_value.as_ref().is_some_and(|value| value["status"] == "completed");
        let jobs = queue.get_task_jobs(task.id).await.unwrap_or_default();
        jobs.iter().any(|job| is_done(job) && job.return_value.as_ref().unwrap()["skipped"].is_null())
    })
    .await;
}

/// The raw hash of a job.
async fn stored(config: &QueueConfig, id: &str) -> std::collections::BTreeMap<String, String> {
    let client = ::redis::Client::open(config.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}:{}:{id}", config.prefix, config.name);
    ::redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_looks_as_the_original_wrote_it() {
    let config = jobs_only();
    let queue = connected(config.clone()).await;
    let world = world(&queue, quick()).await;
    let task = world.start(plan(vec![call("read", json!({}))])).await;
    let jobs = jobs(&queue, &task, |jobs| jobs.len() == 1).await;
    assert_eq!(jobs[0].id, format!("{}-step-0", task.id));
    assert_eq!((jobs[0].name.as_str(), jobs[0].state), ("execute-step", JobState::Prioritized));
    let stored = stored(&config, &jobs[0].id).await;
    let data: Value = serde_json::from_str(&stored["data"]).unwrap();
    let expected = json!({"taskId": task.id, "userId": "user", "threadId": "thread", "stepIndex": 0});
    assert_eq!(data, expected);
    let options: Value = serde_json::from_str(&stored["opts"]).unwrap();
    assert_eq!(options["attempts"], 5);
    assert_eq!(options["backoff"], json!({"type": "exponential", "delay": 5000}));
    assert_eq!(options["removeOnComplete"], json!({"count": 50, "age": 24 * 60 * 60}));
    assert_eq!(options["removeOnFail"], 100);
    assert_eq!(options["priority"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_carried_out_by_its_job_alone() {
    let queue = connected(jobs_only()).await;
    let world = world(&queue, quick()).await;
    let _worker = working(&world).await;
    let steps = vec![call("read", json!({})), call("slow", json!({"ms": 300})), call("keyed", json!({}))];
    let task = world.start(plan(steps)).await;
    let running =
        jobs(&queue, &task, |jobs| jobs.iter().any(|job| job.progress["completedSteps"] == 1)).await;
    assert_eq!(running[0].state, JobState::Active);
    assert_eq!(running[0].progress["progress"], 33, "what Bull Board draws as a ring");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    let jobs = jobs(&queue, &task, |jobs| all(jobs, JobState::Completed)).await;
    assert_eq!(jobs.len(), 1, "one wake-up is one job, whatever the number of steps: {jobs:#?}");
    let expected = json!({"status": "completed", "completedSteps": 3, "totalSteps": 3});
    assert_eq!(jobs[0].return_value, Some(expected));
    assert_eq!(jobs[0].progress["completedSteps"], 3);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_a_delayed_job_and_counts_its_attempts() {
    let queue = connected(jobs_only()).await;
    let retry = RetryPolicy { max_attempts: 3, base_ms: 400, factor: 1.0, max_ms: 400 };
    let world = world(&queue, retry).await;
    let _worker = working(&world).await;
    let task = world.start(plan(vec![call("flaky", json!({"failures": 1}))])).await;
    let twice = jobs(&queue, &task, |jobs| jobs.len() == 2).await;
    let later = twice.iter().find(|job| job.name == "continue-task").unwrap();
    assert_eq!(later.id, format!("{}-step-0-r1", task.id), "after the first epoch");
    assert!((1..=401).contains(&later.delay), "{later:?}");
    world.ended(task.id).await;
    let ended = jobs(&queue, &task, |jobs| all(jobs, JobState::Completed)).await;
    let attempts: Vec<u32> = ended.iter().map(|job| job.attempts_made).collect();
    assert_eq!(attempts, [1, 2]);
    let first = ended[0].return_value.clone().unwrap();
    assert!(first["continuesInMs"].as_u64().is_some_and(|wait| wait <= 400), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_failed_task_says_why() {
    let config = jobs_only();
    let queue = connected(config.clone()).await;
    let world = world(&queue, quick()).await;
    let _worker = working(&world).await;
    let task = world.start(plan(vec![call("broken", json!({}))])).await;
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Failed);
    let jobs = jobs(&queue, &task, |jobs| all(jobs, JobState::Failed)).await;
    let fault = task.state().fault.clone().unwrap();
    assert_eq!(jobs[0].failed_reason, Some(fault.message));
    let trace: Vec<String> = serde_json::from_str(&stored(&config, &jobs[0].id).await["stacktrace"]).unwrap();
    assert!(trace[0].contains("at step 1 (Call a tool), attempt 1"), "{trace:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_cancelled_leaves_no_job_waiting() {
    let queue = connected(jobs_only()).await;
    let world = world(&queue, quick()).await;
    let task = world.start(plan(vec![call("read", json!({}))])).await;
    jobs(&queue, &task, |jobs| all(jobs, JobState::Prioritized)).await;
    world.orchestrator.cancel(task.id, "user").await.unwrap();
    jobs(&queue, &task, <[Job]>::is_empty).await;
}

/// Nothing is polled here: the end of the first task alone leads to the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_its_users_turn_begins_when_the_one_before_ends() {
    let queue = connected(jobs_only()).await;
    let mut world = world(&queue, quick()).await;
    world.worker_config.per_user = 1;
    let _worker = working(&world).await;
    let first = world.start(plan(vec![call("slow", json!({"ms": 1500}))])).await;
    jobs(&queue, &first, |jobs| all(jobs, JobState::Active)).await;
    let second = world.start(plan(vec![call("read", json!({}))])).await;
    jobs(&queue, &second, |jobs| all(jobs, JobState::Delayed)).await;
    assert_eq!(world.ended(first.id).await.status(), Status::Completed);
    let ended = std::time::Instant::now();
    assert_eq!(world.ended(second.id).await.status(), Status::Completed);
    assert!(ended.elapsed() < Duration::from_secs(10), "its job alone led to it: {:?}", ended.elapsed());
    jobs(&queue, &second, |jobs| !jobs.iter().any(|job| job.state.waits())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_becomes_urgent_is_so_in_the_queue() {
    let config = jobs_only();
    let queue = connected(config.clone()).await;
    let world = world(&queue, quick()).await;
    let first = world.start(plan(vec![call("read", json!({}))])).await;
    jobs(&queue, &first, |jobs| all(jobs, JobState::Prioritized)).await;
    let second = world.start(plan(vec![call("read", json!({}))])).await;
    jobs(&queue, &second, |jobs| all(jobs, JobState::Prioritized)).await;
    world.orchestrator.prioritize(second.id, Priority::HIGHEST, "user").await.unwrap();
    let changed = jobs(&queue, &second, |jobs| jobs.iter().all(|job| job.priority == 1)).await;
    assert_eq!((changed.len(), changed[0].state), (1, JobState::Prioritized), "{changed:#?}");
    assert_eq!(stored(&config, &changed[0].id).await["priority"], "1", "as Node reads it");
    assert_eq!(jobs(&queue, &first, |_| true).await[0].priority, 3);
    let client = ::redis::Client::open(config.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let line = format!("{}:{}:prioritized", config.prefix, config.name);
    let line: Vec<String> =
        ::redis::cmd("ZRANGE").arg(line).arg(0).arg(-1).query_async(&mut connection).await.unwrap();
    let expected = [&second, &first].map(|task| format!("{}-step-0", task.id));
    assert_eq!(line, expected, "it is handed out first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_becomes_urgent_is_so_in_the_queue() {
    let queue = connected(jobs_only()).await;
    let retry = RetryPolicy { max_attempts: 3, base_ms: 60_000, factor: 1.0, max_ms: 60_000 };
    let world = world(&queue, retry).await;
    let _worker = working(&world).await;
    let task = world.start(plan(vec![call("flaky", json!({"failures": 1}))])).await;
    jobs(&queue, &task, |jobs| jobs.iter().any(|job| job.state == JobState::Delayed)).await;
    world.orchestrator.prioritize(task.id, Priority::HIGHEST, "user").await.unwrap();
    let is_urgent = |job: &Job| job.state == JobState::Delayed && job.priority == 1;
    jobs(&queue, &task, |jobs| jobs.iter().any(is_urgent)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_paused_and_resumed_comes_back_as_a_job() {
    let queue = connected(jobs_only()).await;
    let world = world(&queue, quick()).await;
    let _worker = working(&world).await;
    let task = world.start(plan(vec![call("read", json!({})), call("slow", json!({"ms": 300}))])).await;
    world.until(task.id, |task| task.state().completed == 1).await;
    world.orchestrator.pause(task.id, "user").await.unwrap();
    let paused = jobs(&queue, &task, |jobs| all(jobs, JobState::Completed)).await;
    assert_eq!(paused[0].return_value.as_ref().unwrap()["status"], "paused");
    // Twice under one epoch: the id of a kept job must not keep the second one out.
    world.orchestrator.resume(task.id, "user").await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_come_twice_and_late_do_nothing_twice() {
    let queue = connected(jobs_only()).await;
    let world = world(&queue, quick()).await;
    let workers = [world.work("one"), world.work("two")];
    let task =
        world.start(plan(vec![call("slow", json!({"ms": 200})), call("unsafe_effect", json!({}))])).await;
    for epoch in 100..110 {
        queue.push(Wake { again: Some(epoch), ..Wake::first(&task) }).await.unwrap();
    }
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    queue.push(Wake { again: Some(200), ..Wake::first(&task) }).await.unwrap();
    let jobs = jobs(&queue, &task, |jobs| jobs.len() == 12 && all(jobs, JobState::Completed)).await;
    let skipped = jobs.iter().filter(|job| job.return_value.as_ref().unwrap()["skipped"] == true).count();
    // The very first look at what is due may have been quicker than every job.
    assert!(skipped >= 11, "{jobs:#?}");
    assert!(world.calls().values().all(|count| *count == 1), "{:?}", world.calls());
    for worker in workers {
        worker.stop().await;
    }
}

/// Its worker was killed when the task was done and before that was told: nobody is left to tell it.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_worker_that_died_ends_about_when_its_lease_does() {
    let config = QueueConfig { lease: Duration::from_secs(1), ..jobs_only() };
    let queue = connected(config.clone()).await;
    let world = world(&queue, quick()).await;
    let task = world.start(plan(vec![call("read", json!({}))])).await;
    let waiting = jobs(&queue, &task, |jobs| all(jobs, JobState::Prioritized)).await;
    let client = ::redis::Client::open(config.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = |list: &str| format!("{}:{}:{list}", config.prefix, config.name);
    let mut taken = ::redis::pipe();
    taken.cmd("ZREM").arg(key("prioritized")).arg(&waiting[0].id).ignore();
    taken.cmd("LPUSH").arg(key("active")).arg(&waiting[0].id).ignore();
    let () = taken.query_async(&mut connection).await.unwrap();
    jobs(&queue, &task, |jobs| all(jobs, JobState::Active)).await;
    let started = std::time::Instant::now();
    let _worker = working(&world).await;
    jobs(&queue, &task, |jobs| all(jobs, JobState::Completed)).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_is_told_as_away_only_once_it_was_tried() {
    let mut server = RedisServer::start();
    let queue = || BullQueue::start(QueueConfig::at(server.url()), Doorbell::default()).unwrap();
    let there = queue();
    assert!(!there.describe().contains("away"), "{}", there.describe());
    there.settled().await;
    assert!(there.is_connected() && !there.describe().contains('('), "{}", there.describe());
    let gone = queue();
    server.kill();
    patiently("Redis is away", async || gone.describe().contains("away")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_loses_no_task() {
    let server = RedisServer::start();
    let queue = connected(QueueConfig {
        poll: Duration::from_millis(100),
        lease: Duration::from_millis(600),
        ..QueueConfig::at(server.url())
    })
    .await;
    let world = world(&queue, quick()).await;
    let worker = world.work("w");
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.push(
            world.start(plan(vec![call("slow", json!({"ms": 30})), call("unsafe_effect", json!({}))])).await,
        );
    }
    world.until(tasks[0].id, |task| task.state().completed > 0).await;
    assert_eq!(server.ask(&["FLUSHALL"]).trim(), "OK");
    for task in &tasks {
        assert_eq!(world.ended(task.id).await.status(), Status::Completed);
        world.is_sound(task.id).await;
    }
    assert!(world.calls().values().all(|count| *count == 1), "{:?}", world.calls());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_through_the_database_while_redis_is_away_and_back() {
    let mut server = RedisServer::start();
    let config = QueueConfig {
        poll: Duration::from_millis(50),
        lease: Duration::from_millis(600),
        ..QueueConfig::at(server.url())
    };
    let queue = connected(config).await;
    let world = world(&queue, quick()).await;
    let worker = world.work("w");
    let before =
        world.start(plan(vec![call("slow", json!({"ms": 500})), call("unsafe_effect", json!({}))])).await;
    // Its job led to it, or the poll, which may be faster.
    world.until(before.id, |task| !task.steps()[0].calls.is_empty()).await;
    server.kill();
    let during = world.start(plan(vec![call("unsafe_effect", json!({}))])).await;
    assert_eq!(world.ended(before.id).await.status(), Status::Completed);
    assert_eq!(world.ended(during.id).await.status(), Status::Completed);
    patiently("Redis is known to be away", async || !queue.is_connected()).await;
    let away = world.start(plan(vec![call("unsafe_effect", json!({}))])).await;
    assert_eq!(world.ended(away.id).await.status(), Status::Completed);
    assert!(queue.get_task_jobs(away.id).await.is_err(), "an answer would be invented");
    server.start_again();
    patiently("Redis is back", async || queue.is_connected()).await;
    goes_through_its_job(&world, &queue).await;
    assert!(world.calls().values().all(|count| *count == 1), "{:?}", world.calls());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_is_as_good_as_none() {
    let server = RedisServer::start();
    let config = QueueConfig { poll: Duration::from_millis(50), ..QueueConfig::at(server.url()) };
    let queue = connected(config).await;
    let world = world(&queue, quick()).await;
    let worker = working(&world).await;
    for (refuse, accept, why) in [
        (&["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"][..], "OOM"),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"], "ReadOnly"),
        (
            &["ACL", "SETUSER", "default", "-eval", "-evalsha"],
            &["ACL", "SETUSER", "default", "+@all"],
            "NoPerm",
        ),
    ] {
        server.ask(refuse);
        let first = world.start(plan(vec![call("unsafe_effect", json!({}))])).await;
        patiently("it is seen that Redis takes no writes", async || !queue.is_connected()).await;
        assert_eq!(world.ended(first.id).await.status(), Status::Completed);
        let next = world.start(plan(vec![call("unsafe_effect", json!({}))])).await;
        assert_eq!(world.ended(next.id).await.status(), Status::Completed);
        let trouble = queue.ping().await.expect_err("it would say that all is well").to_string();
        assert!(trouble.contains(why), "{trouble}");
        server.ask(accept);
        patiently("Redis is back", async || queue.is_connected()).await;
        goes_through_its_job(&world, &queue).await;
    }
    assert!(world.calls().values().all(|count| *count == 1), "{:?}", world.calls());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_is_told_as_that() {
    let server = RedisServer::start();
    server.ask(&["CONFIG", "SET", "requirepass", "right"]);
    let url = format!("redis://:wrong@127.0.0.1:{}", server.port());
    let queue = BullQueue::start(QueueConfig::at(url), Doorbell::default()).unwrap();
    let trouble = queue.ping().await.expect_err("it is not let in").to_string();
    assert!(trouble.to_lowercase().contains("auth") && !trouble.contains("wrong@"), "{trouble}");
}

/// As behind a router that forgot them: nothing comes over them any more, and neither end is told.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fell_silent_are_made_anew() {
    let server = RedisServer::start();
    let relay = Relay::to(server.port()).await;
    let url = format!("redis://127.0.0.1:{}", relay.port());
    let config = QueueConfig { poll: Duration::from_millis(50), ..QueueConfig::at(url) };
    let queue = connected(config).await;
    let world = world(&queue, quick()).await;
    let worker = working(&world).await;
    goes_through_its_job(&world, &queue).await;
    // The one that asks whether Redis is there goes on, or not.
    for first in [1, 0] {
        relay.silence_all_but(first);
        goes_through_its_job(&world, &queue).await;
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_never_answers_holds_nobody_up() {
    // Accepts, and says nothing: the library alone would wait for forty seconds.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", mute.local_addr().unwrap());
    let config = QueueConfig { poll: Duration::from_millis(50), ..QueueConfig::at(url) };
    let queue = Arc::new(BullQueue::start(config, Doorbell::default()).unwrap());
    let world = world(&queue, quick()).await;
    let worker = world.work("w");
    let task = tokio::time::timeout(Duration::from_secs(1), world.start(plan(vec![call("read", json!({}))])));
    let task = task.await.expect("creation waits for no queue");
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    assert!(queue.ping().await.is_err());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_waits_for_jobs_closes_at_once() {
    let queue = connected(jobs_only()).await;
    let world = world(&queue, quick()).await;
    let worker = working(&world).await;
    goes_through_its_job(&world, &queue).await;
    worker.stop().await;
    let began = std::time::Instant::now();
    queue.close().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// One step that a model answers.
pub(crate) fn script() -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [{"id": "a", "description": "Answer", "type": "llm-reasoning"}]}}},
        {"role": "execute", "reply": {"text": "The answer."}},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn that_redis_takes_no_writes_is_told_once_however_many_jobs_it_refuses() {
    let redis = RedisServer::start();
    let program = Program::on(None, &script(), &format!("[queue]\nurl = {:?}\n", redis.url()));
    let server = program.serve(&[]).await;
    let told = |line: &str| program.printed().lines().filter(|printed| printed.contains(line)).count();
    patiently("it is connected", async || told("jobs go through Redis") == 1).await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..5 {
        let id = program.orchestrate(&server, "Answer the question of all questions").await.unwrap();
        program.until(&server, &id, &["completed"]).await;
    }
    patiently("it is told", async || told("jobs do not go through Redis") == 1).await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    patiently("it is told that it is over", async || told("jobs go through Redis") == 2).await;
    assert_eq!((told("WARN"), told("ERROR")), (1, 0), "{}", program.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shows_the_jobs_of_a_task_and_whether_redis_answers() {
    let prefix = format!("test-{}", uuid::Uuid::now_v7().simple());
    let table = format!("[queue]\nurl = {:?}\nprefix = {prefix:?}\n", url());
    let script = script();
    let program = Program::on(None, &script, &table);
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Answer the question of all questions").await.unwrap();
    program.until(&server, &id, &["completed"]).await;
    patiently("the job has ended", async || {
        let (status, reply) = program.get(&server, &format!("/api/tasks/{id}/jobs")).await;
        assert_eq!(status, 200, "{reply}");
        let job = &reply["jobs"][0];
        assert_eq!(job["data"]["taskId"], id.as_str(), "{reply}");
        job["state"] == "completed"
    })
    .await;
    assert!(program.printed().contains("BullMQ chat-tasks in redis://"), "{}", program.printed());
    drop(server);
    let (exit, printed, _) = program.run(&["doctor"]);
    assert!(printed.contains("answers in redis://"), "{printed}");
    assert_eq!(exit, 0, "{printed}");
    let nowhere = Program::on(None, &script, "[queue]\nurl = \"redis://127.0.0.1:1\"\n");
    let (exit, printed, _) = nowhere.run(&["doctor"]);
    assert!(exit != 0 && printed.contains("redis://127.0.0.1:1"), "{printed}");
}
