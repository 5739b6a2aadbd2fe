//! Schedules fire once for each fire time, whoever looks, dies or comes late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longhaul::orchestrator::ScheduleWish;
use longhaul::repository::{ListFilter, Overlap, Repository, RepositoryError, Schedule, ScheduleId};
use longhaul::task::{TaskId, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::postgres;
use crate::program::Program;
use crate::world::{Setup, World, sqlite};
use crate::wrapped::{Interference, Wrapped};

/// A plan of one call, whatever the goal.
fn script() -> Value {
    json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Look", "type": "tool-call", "tool": {"name": "read", "arguments": {}}}]}}}]})
}

async fn world(repository: Arc<dyn Repository>, script: Value) -> World {
    World::new(Setup { script, repository: Some(repository), ..Setup::default() }).await
}

fn minutes_ago(minutes: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::from(chrono::Utc::now()).as_millis() - minutes * 60_000)
}

/// A schedule that is due: the worker was away for some minutes.
async fn due(world: &World, cron: &str, overlap: Overlap) -> Schedule {
    let name = uuid::Uuid::now_v7().to_string();
    let wish = json!({"name": name, "cron": cron, "overlap": overlap, "task": {"goal": "Look"}});
    let wish: ScheduleWish = serde_json::from_value(wish).unwrap();
    let mut schedule = world.orchestrator.create_schedule("user", wish, None).await.unwrap();
    schedule.revision += 1;
    schedule.next_at = Some(minutes_ago(5));
    schedule.wake_at = schedule.next_at;
    world.repository.put_schedule(&schedule, schedule.revision - 1).await.unwrap();
    schedule
}

/// Lets the fire time that comes next be now.
async fn again(world: &World, id: ScheduleId) {
    let mut schedule = load(world, id).await;
    schedule.revision += 1;
    schedule.next_at = Some(minutes_ago(0));
    schedule.wake_at = schedule.next_at;
    world.repository.put_schedule(&schedule, schedule.revision - 1).await.unwrap();
}

async fn load(world: &World, id: ScheduleId) -> Schedule {
    world.repository.schedule(id).await.unwrap().unwrap()
}

async fn until(world: &World, id: ScheduleId, wanted: impl Fn(&Schedule) -> bool) -> Schedule {
    let waiting = async {
        loop {
            let schedule = load(world, id).await;
            if wanted(&schedule) {
                return schedule;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(60), waiting).await {
        Ok(schedule) => schedule,
        Err(_) => panic!("it never became what was wanted: {:#?}", load(world, id).await),
    }
}

async fn tasks(world: &World, schedule: &Schedule) -> Vec<TaskId> {
    let filter = ListFilter { thread_id: Some(schedule.thread_id()), ..ListFilter::default() };
    world.repository.list(&filter).await.unwrap().iter().map(|task| task.id).collect()
}

/// Several workers over one database, each with connections of its own.
async fn fires_once(repositories: [Arc<dyn Repository>; 2]) {
    let mut worlds = Vec::new();
    for repository in repositories {
        worlds.push(world(repository, script()).await);
    }
    let mut schedules = Vec::new();
    for _ in 0..10 {
        schedules.push(due(&worlds[0], "0 0 1 1 *", Overlap::Skip).await);
    }
    let at = Timestamp::from(chrono::Utc::now()).plus(Duration::from_millis(300));
    for number in 0..10 {
        let wish = json!({"at": at, "task": {"goal": format!("Look once, the {number}. time")}});
        let wish = serde_json::from_value(wish).unwrap();
        schedules.push(worlds[0].orchestrator.create_schedule("user", wish, None).await.unwrap());
    }
    let workers = [worlds[0].work("a"), worlds[1].work("b"), worlds[0].work("c"), worlds[1].work("d")];
    for schedule in &schedules {
        let fired = until(&worlds[0], schedule.id, |schedule| schedule.runs > 0).await;
        assert_eq!(tasks(&worlds[0], schedule).await, [fired.task_id.unwrap()]);
        assert_eq!((fired.runs, fired.skipped, fired.fired_at), (1, 0, schedule.next_at));
        worlds[0].ended(fired.task_id.unwrap()).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    for schedule in &schedules {
        let fired = load(&worlds[0], schedule.id).await;
        assert_eq!((fired.runs, tasks(&worlds[0], schedule).await.len()), (1, 1));
        let is_over = matches!(fired.timing, longhaul::repository::Timing::At { .. });
        assert_eq!(fired.next_at.is_none(), is_over, "{fired:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_one_file_fire_each_time_once() {
    let (_directory, repository) = sqlite().await;
    fires_once([repository.clone(), repository]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_one_cluster_fire_each_time_once() {
    let url = postgres::fresh_url().await;
    let mut repositories: Vec<Arc<dyn Repository>> = Vec::new();
    for _ in 0..2 {
        let repository =
            longhaul::repository::PostgresRepository::connect(&url, 10, postgres::PATIENCE).await.unwrap();
        repository.prepare().await.unwrap();
        repositories.push(Arc::new(repository));
    }
    let [first, second] = <[_; 2]>::try_from(repositories).ok().unwrap();
    fires_once([first, second]).await;
}

/// Lets whoever first writes a schedule down that has fired die before the write.
struct Death {
    is_armed: AtomicBool,
    died: Notify,
}

#[async_trait]
impl Interference for Death {
    async fn put_schedule(
        &self,
        inner: &dyn Repository,
        schedule: &Schedule,
        base_revision: i64,
    ) -> Result<(), RepositoryError> {
        if schedule.runs > 0 && self.is_armed.swap(false, Ordering::SeqCst) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        inner.put_schedule(schedule, base_revision).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_before_it_wrote_down_what_it_started_leads_to_no_second_task() {
    let (_directory, inner) = sqlite().await;
    let interference = Death { is_armed: AtomicBool::new(true), died: Notify::new() };
    let wrapped = Arc::new(Wrapped { inner, interference });
    let world = world(wrapped.clone(), script()).await;
    let schedule = due(&world, "0 0 1 1 *", Overlap::Skip).await;
    let first = world.work("first");
    wrapped.interference.died.notified().await;
    first.kill().await;
    let left = load(&world, schedule.id).await;
    assert_eq!((left.runs, tasks(&world, &schedule).await.len()), (0, 1), "started and not written down");
    let second = world.work("second");
    let fired = until(&world, schedule.id, |schedule| schedule.runs > 0).await;
    assert_eq!(tasks(&world, &schedule).await, [fired.task_id.unwrap()]);
    assert_eq!((fired.runs, fired.skipped), (1, 0));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_were_missed_are_one_task_and_the_next_one_is_to_come() {
    let (_directory, repository) = sqlite().await;
    let world = world(repository, script()).await;
    let schedule = due(&world, "* * * * *", Overlap::Allow).await;
    let before = Timestamp::from(chrono::Utc::now());
    let worker = world.work("w");
    let fired = until(&world, schedule.id, |schedule| schedule.runs > 0).await;
    worker.stop().await;
    assert_eq!(tasks(&world, &schedule).await.len() as u64, fired.runs);
    assert!(fired.next_at.unwrap() > before, "{fired:?}");
    assert_eq!((fired.runs, fired.fired_at), (1, schedule.next_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_task_goes_on_a_schedule_skips_or_starts_another_as_it_was_told() {
    let (_directory, repository) = sqlite().await;
    let hanging = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Hang", "type": "tool-call", "tool": {"name": "hang_reading", "arguments": {}}}]}}}]});
    let world = world(repository, hanging).await;
    let worker = world.work("w");
    for (overlap, runs, skipped) in [(Overlap::Skip, 1, 1), (Overlap::Allow, 2, 0)] {
        let schedule = due(&world, "0 0 1 1 *", overlap).await;
        let fired = until(&world, schedule.id, |schedule| schedule.runs == 1).await;
        again(&world, schedule.id).await;
        let settled = until(&world, schedule.id, |schedule| schedule.runs + schedule.skipped == 2).await;
        assert_eq!((settled.runs, settled.skipped), (runs, skipped), "{overlap:?}");
        assert_eq!(settled.task_id == fired.task_id, overlap == Overlap::Skip);
        for id in tasks(&world, &schedule).await {
            world.orchestrator.cancel(id, "user").await.unwrap();
        }
        again(&world, schedule.id).await;
        let free = until(&world, schedule.id, |schedule| schedule.runs == runs + 1).await;
        for id in tasks(&world, &free).await {
            let _ = world.orchestrator.cancel(id, "user").await;
        }
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_schedule_is_passed_over_and_fires_when_it_is_resumed() {
    let (_directory, repository) = sqlite().await;
    let world = world(repository, script()).await;
    let at = Timestamp::from(chrono::Utc::now()).plus(Duration::from_millis(200));
    let wish = serde_json::from_value(json!({"at": at, "task": {"goal": "Look once"}})).unwrap();
    let paused = world.orchestrator.create_schedule("user", wish, None).await.unwrap();
    world.orchestrator.pause_schedule(paused.id).await.unwrap();
    let worker = world.work("w");
    // One that is due later has fired: the worker has looked since.
    let wish = json!({"at": at.plus(Duration::from_millis(100)), "task": {"goal": "Look"}});
    let other = world
        .orchestrator
        .create_schedule("user", serde_json::from_value(wish).unwrap(), None)
        .await
        .unwrap();
    until(&world, other.id, |schedule| schedule.runs == 1).await;
    assert_eq!(load(&world, paused.id).await.runs, 0);
    world.orchestrator.resume_schedule(paused.id).await.unwrap();
    let fired = until(&world, paused.id, |schedule| schedule.runs == 1).await;
    assert_eq!((fired.fired_at, fired.next_at), (Some(at), None));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_shown_tried_again_and_keeps_no_other_schedule_waiting() {
    let (_directory, repository) = sqlite().await;
    let failing = json!({"rules": [
        {"role": "plan", "contains": "Fail", "times": 2, "reply": {"error": {"kind": "quota"}}},
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Look", "type": "tool-call", "tool": {"name": "read", "arguments": {}}}]}}}]});
    let world = world(repository, failing).await;
    let wish = json!({"cron": "0 0 1 1 *", "task": {"goal": "Fail at first"}});
    let schedule = world
        .orchestrator
        .create_schedule("user", serde_json::from_value(wish).unwrap(), None)
        .await
        .unwrap();
    again(&world, schedule.id).await;
    let other = due(&world, "0 0 1 1 *", Overlap::Skip).await;
    let worker = world.work("w");
    until(&world, other.id, |schedule| schedule.runs == 1).await;
    let failed = until(&world, schedule.id, |schedule| schedule.fault.is_some()).await;
    assert_eq!((failed.runs, failed.skipped), (0, 0), "{failed:?}");
    let fired = until(&world, schedule.id, |schedule| schedule.runs == 1).await;
    assert_eq!((fired.fault, fired.fired_at), (None, failed.next_at));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_starts_the_task_of_a_schedule_when_its_time_has_come() {
    let script = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Count", "type": "tool-call",
         "tool": {"name": "world_count", "arguments": {"label": "x"}}}]}}}]});
    let program = Program::new(&script);
    let server = program.serve(&[]).await;
    let at = Timestamp::from(chrono::Utc::now()).plus(Duration::from_secs(1));
    let body = json!({"at": at, "task": {"goal": "Count once", "threadId": "mine"}});
    let (status, made) = program.post(&server, "/api/schedules", &body).await.unwrap();
    assert_eq!((status, &made["upcoming"]), (200, &json!([at])), "{made}");
    let path = format!("/api/schedules/{}", made["id"].as_str().unwrap());
    let task = loop {
        let (_, shown) = program.get(&server, &path).await;
        if let Some(id) = shown["taskId"].as_str() {
            assert_eq!((&shown["firedAt"], &shown["nextAt"]), (&json!(at), &Value::Null));
            break id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    program.until(&server, &task, &["completed"]).await;
    assert_eq!(program.ledger("tool-ledger.jsonl").len(), 1);
    let (_, listed) = program.get(&server, "/api/tasks?threadId=mine").await;
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 1);
    let (code, text, _) = program.run(&["schedule", "list", "--json"]);
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &listed[0]["taskId"]), (0, &json!(task)));
}
