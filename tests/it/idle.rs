//! Who has nothing to do asks one question, again and again, and no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul::orchestrator::Orchestrator;
use longhaul::queue::{DatabaseQueue, Doorbell};
use longhaul::repository::Repository;
use longhaul::repository::analytics::{FigureFilter, Measure, keep_up};
use longhaul::task::{Plan, Timestamp};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::postgres;
use crate::world::{Setup, World, call, plan, sqlite};
use crate::wrapped::{Interference, Wrapped};

/// An hour, in milliseconds.
const HOUR: u64 = 3_600_000;

/// How often each question was asked.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Interference for Asked {
    fn is_asked(&self, question: &'static str) {
        *self.0.lock().unwrap().entry(question).or_default() += 1;
    }
}

impl Asked {
    /// What is asked while the worker looks so many times.
    async fn during(&self, looks: usize) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap().clear();
        let waiting = async {
            while self.0.lock().unwrap().get("due").copied().unwrap_or_default() < looks {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the worker looks");
        self.0.lock().unwrap().clone()
    }
}

fn quick() -> Plan {
    plan(vec![call("read", json!({}))])
}

/// A process with a worker and somebody who counts, on a database with something in it.
async fn only_looks(inner: Arc<dyn Repository>) {
    let asked = Asked::default();
    let repository: Arc<dyn Repository> = Arc::new(Wrapped { inner, interference: asked.clone() });
    let world = World::new(Setup { repository: Some(repository.clone()), ..Setup::default() }).await;
    let shutdown = CancellationToken::new();
    let counting = tokio::spawn(keep_up(repository.clone(), shutdown.clone()));
    let worker = world.work("a");
    let wish = json!({"cron": "0 0 1 1 *", "task": {"goal": "Look once a year"}});
    world.orchestrator.create_schedule("user", serde_json::from_value(wish).unwrap(), None).await.unwrap();
    let done = world.start(quick()).await;
    world.ended(done.id).await;
    // What was written is counted, and then there is nothing to count any more.
    let ended = FigureFilter { user_id: None, measures: vec![Measure::Ended], range: None };
    while repository.analytics().figures(&ended).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asked.during(20).await;
    let asked = asked.during(100).await;
    let looks = asked["due"];
    for (question, times) in &asked {
        match *question {
            "due" => {}
            // The heartbeat: it is there, what nobody answered, who lost their parents.
            "beat" | "list" | "strays" => assert!(times * 4 < looks, "{question}: {times} of {asked:?}"),
            other => panic!("{other} was asked: {asked:?}"),
        }
    }
    worker.stop().await;
    shutdown.cancel();
    counting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_only_looks_on_sqlite() {
    let (_directory, repository) = sqlite().await;
    only_looks(repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_only_looks_on_postgres() {
    only_looks(Arc::new(postgres::fresh_database().await)).await;
}

/// A world whose queue tells nobody to look, and a schedule for in a moment that is made by `maker`.
async fn fires(mut world: World, poll_ms: u64, maker: &Orchestrator) {
    world.worker_config.poll_ms = poll_ms;
    let worker = world.work("a");
    let at = Timestamp::from(chrono::Utc::now()).plus(Duration::from_millis(300));
    let wish = serde_json::from_value(json!({"at": at, "task": {"goal": "Look"}})).unwrap();
    let schedule = maker.create_schedule("user", wish, None).await.unwrap();
    let fired = async {
        while world.repository.schedule(schedule.id).await.unwrap().unwrap().runs == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fired).await.expect("it fires");
    worker.stop().await;
}

async fn silent(repository: Arc<dyn Repository>) -> World {
    let queue = Arc::new(DatabaseQueue::new(Doorbell::default(), Duration::from_millis(HOUR)));
    let script = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Look", "type": "tool-call", "tool": {"name": "read", "arguments": {}}}]}}}]});
    World::new(Setup { script, repository: Some(repository), queue: Some(queue), ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_made_here_fires_though_nobody_looks() {
    let (_directory, repository) = sqlite().await;
    let world = silent(repository).await;
    let here = world.orchestrator.clone();
    fires(world, HOUR, &here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_made_elsewhere_is_found_whatever_the_queue_tells() {
    let (_directory, repository) = sqlite().await;
    let (world, elsewhere) = (silent(repository.clone()).await, silent(repository).await);
    fires(world, 5, &elsewhere.orchestrator).await;
}
