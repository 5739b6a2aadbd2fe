//! Several workers on one database: fair to those who wait, within limits they share, and there
//! for each other.

use std::sync::Arc;
use std::time::Duration;

use longhaul::orchestrator::TaskRequest;
use longhaul::repository::{Presence, Repository};
use longhaul::task::{Event, Priority, Status, TaskId, Timestamp};
use longhaul::worker::{LimiterConfig, LimiterScope};
use serde_json::json;

use crate::world::{Setup, World, call, plan, request};

async fn world(repository: Option<Arc<dyn Repository>>) -> World {
    World::new(Setup { repository, ..Setup::default() }).await
}

/// When an entry of this kind was written, the first one and the last one.
async fn times(world: &World, id: TaskId, kind: &str) -> (Timestamp, Timestamp) {
    let journal = world.journal(id).await;
    let mut times = journal.iter().filter(|entry| entry.event.kind() == kind).map(|entry| entry.at);
    let first = times.next().expect("there is one");
    (first, times.next_back().unwrap_or(first))
}

fn long(steps: usize) -> longhaul::task::Plan {
    plan((0..steps).map(|_| call("slow", json!({"ms": 20}))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_task_lets_a_short_one_go_first_and_goes_on() {
    let mut world = world(None).await;
    world.worker_config.concurrency = 1;
    world.worker_config.slice_ms = 10;
    let long = world.start(long(50)).await;
    let worker = world.work("w");
    world.until(long.id, |task| task.state().completed > 0).await;
    let short = world.start(plan(vec![call("read", json!({}))])).await;
    assert_eq!(world.ended(short.id).await.status(), Status::Completed);
    assert_eq!(world.ended(long.id).await.status(), Status::Completed);
    let (ended, _) = times(&world, short.id, "completed").await;
    let (_, went_on) = times(&world, long.id, "step_started").await;
    assert!(ended < went_on, "the short one had to wait for all of the long one");
    assert!(world.calls().values().all(|count| *count == 1), "nothing was done twice");
    world.is_sound(long.id).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_keeps_its_worker_as_long_as_nobody_waits_or_nobody_comes_before_it() {
    let mut world = world(None).await;
    world.worker_config.concurrency = 1;
    world.worker_config.slice_ms = 1;
    let urgent = TaskRequest { plan: Some(long(20)), priority: Priority::HIGHEST, ..request("Now") };
    let urgent = world.orchestrator.start(urgent).await.unwrap();
    let worker = world.work("w");
    world.until(urgent.id, |task| task.state().completed > 0).await;
    let patient = TaskRequest {
        plan: Some(plan(vec![call("read", json!({}))])),
        priority: Priority::LOWEST,
        ..request("Some time")
    };
    let patient = world.orchestrator.start(patient).await.unwrap();
    world.ended(patient.id).await;
    let claims = world.kinds(urgent.id).await.iter().filter(|kind| **kind == "claimed").count();
    assert_eq!(claims, 1, "it was given back though nobody was more urgent");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_one_limit() {
    for repository in [None, Some(Arc::new(crate::postgres::fresh_database().await) as Arc<dyn Repository>)] {
        let mut world = world(repository).await;
        let (max, millis, steps) = (4, 200, 8);
        let scope = LimiterScope::Cluster;
        world.worker_config.limiter = LimiterConfig { max, duration: millis, scope };
        let mut tasks = Vec::new();
        for _ in 0..2 {
            tasks.push(world.start(plan((0..steps).map(|_| call("read", json!({}))).collect())).await);
        }
        world.worker_config.concurrency = 1;
        let before = world.orchestrator.now();
        let workers = [world.work("one"), world.work("two")];
        let mut last = before;
        for task in &tasks {
            assert_eq!(world.ended(task.id).await.status(), Status::Completed);
            last = last.max(times(&world, task.id, "step_started").await.1);
        }
        // `max` may start at once and each of the others has an interval of its own. A step is
        // written down after its permit was granted, and none was granted before the start: so the
        // time between these two is at least as long as that between the first and the last permit.
        let intervals = 2 * steps as u32 - max;
        let needed = Duration::from_millis(millis) * intervals / max;
        let rounded = Duration::from_millis(2);
        assert!(last.since(before) + rounded >= needed, "{:?} of {needed:?}", last.since(before));
        for worker in workers {
            worker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_listed_while_it_works_and_its_tasks_are_taken_over_when_it_dies() {
    let repository: Arc<dyn Repository> = Arc::new(crate::postgres::fresh_database().await);
    let world = world(Some(repository.clone())).await;
    let task = world.start(plan(vec![call("hang_reading", json!({})), call("read", json!({}))])).await;
    let first = world.work("first");
    world.until(task.id, |task| task.status() == Status::Running).await;
    let workers = repository.workers().await.unwrap();
    let names: Vec<&str> = workers.iter().map(|worker| worker.info.name.as_str()).collect();
    assert_eq!((names, workers[0].presence), (vec!["first"], Presence::Working));
    assert_eq!(workers[0].tasks, [task.id]);

    // The second one is there before the first one dies and is told nothing: its polling finds
    // the task when the lease has ended.
    let second = world.work("second");
    first.kill().await;
    let takers = |journal: Vec<longhaul::task::Entry>| -> Vec<(String, u32)> {
        let claims = journal.into_iter().filter_map(|entry| match entry.event {
            Event::Claimed { worker, crashes } => Some((worker, crashes)),
            _ => None,
        });
        claims.collect()
    };
    let taken_over = async {
        while takers(world.journal(task.id).await).len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_over).await.expect("it is taken over");
    let expected = [("first".to_owned(), 0), ("second".to_owned(), 1)];
    assert_eq!(takers(world.journal(task.id).await), expected);
    world.orchestrator.cancel(task.id, "user").await.unwrap();
    second.stop().await;
    let left = repository.workers().await.unwrap();
    let names: Vec<&str> = left.iter().map(|worker| worker.info.name.as_str()).collect();
    assert_eq!(names, ["first"], "who stops takes the name off the list, who dies does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_no_more_tasks_under_way_than_allowed() {
    let mut world = world(None).await;
    world.worker_config.per_user = 1;
    let mut mine = Vec::new();
    for _ in 0..3 {
        mine.push(world.start(long(3)).await.id);
    }
    let other = TaskRequest {
        plan: Some(long(1)),
        user_id: "another".into(),
        thread_id: "another".into(),
        ..request("x")
    };
    mine.push(world.orchestrator.start(other).await.unwrap().id);
    let worker = world.work("w");
    let mut spans = Vec::new();
    for id in &mine {
        world.ended(*id).await;
        spans.push((times(&world, *id, "claimed").await.0, times(&world, *id, "completed").await.0));
    }
    let mut of_one_user = spans[..3].to_vec();
    of_one_user.sort();
    assert!(of_one_user.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two at a time: {of_one_user:?}");
    assert!(spans[3].0 <= of_one_user[1].0, "another user had to wait for one who has enough");
    worker.stop().await;
}
