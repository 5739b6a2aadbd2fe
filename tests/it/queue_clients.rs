//! The Node programs that people operate BullMQ with read the queue truly: BullMQ 6 and 5, and
//! Bull Board. They are installed from npm into the user's cache.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use longhaul::queue::{BullQueue, Doorbell, QueueConfig};
use longhaul::task::{Limits, RetryPolicy, Status};
use serde_json::{Value, json};

use crate::node_packages::Packages;
use crate::redis::{jobs_only, url, working};
use crate::world::{Setup, World, call, plan};

const PACKAGES: Packages = Packages {
    manifest: &[("package.json", include_str!("../node/package.json"))],
    programs: &[("observe.mjs", include_str!("../node/observe.mjs"))],
};

/// Starts the observers, waits until they listen, and returns what they will have seen.
fn observers(config: &QueueConfig, completed: usize, failed: usize) -> impl Future<Output = Value> + use<> {
    let address = url::Url::parse(&url()).unwrap();
    let mut child = PACKAGES
        .node()
        .arg("observe.mjs")
        .args([address.host_str().unwrap(), &address.port().unwrap().to_string(), &config.prefix])
        .args([completed.to_string(), failed.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is there: run scripts/test, which installs it");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let reading = tokio::task::spawn_blocking(move || {
        let told = lines.next().expect("the observers tell what they saw").unwrap();
        child.wait().unwrap();
        serde_json::from_str(&told).unwrap()
    });
    async { tokio::time::timeout(Duration::from_secs(90), reading).await.expect("they saw it all").unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_programs_see_the_jobs_truly() {
    // A look into the database that comes between a task and its job takes the task without it.
    let config = jobs_only();
    let told = observers(&config, 5, 1);
    let queue = Arc::new(BullQueue::start(config, Doorbell::default()).unwrap());
    let world = World::new(Setup {
        queue: Some(queue.clone()),
        retry: RetryPolicy { max_attempts: 3, base_ms: 200, factor: 1.0, max_ms: 200 },
        limits: Limits { max_replans: 0, ..Limits::default() },
        ..Setup::default()
    })
    .await;
    let _worker = working(&world).await;
    // Three that complete, one of them at the second attempt, and one that fails.
    let steps = vec![call("read", json!({})), call("slow", json!({"ms": 100})), call("keyed", json!({}))];
    let three_steps = world.start(plan(steps)).await;
    let one_step = world.start(plan(vec![call("read", json!({}))])).await;
    let retried = world.start(plan(vec![call("flaky", json!({"failures": 1}))])).await;
    let broken = world.start(plan(vec![call("broken", json!({}))])).await;
    for task in [&three_steps, &one_step, &retried] {
        assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    }
    assert_eq!(world.ended(broken.id).await.status(), Status::Failed);
    let told = told.await;
    for library in ["six", "five"] {
        are_true(&told[library], &format!("{}-step-0", three_steps.id), &format!("{}-step-0", broken.id));
    }
    let board = &told["board"];
    assert_eq!((&board["page"], &board["status"]), (&json!(200), &json!(200)), "{board}");
    let shown = &board["queues"][0];
    assert_eq!(shown["counts"]["failed"], 1, "{shown}");
    let failed = job(&shown["jobs"], &format!("{}-step-0", broken.id));
    let reason = failed["failedReason"].as_str().unwrap();
    assert!(reason.contains("it never works"), "{failed}");
}

fn job<'a>(jobs: &'a Value, id: &str) -> &'a Value {
    let jobs = jobs.as_array().unwrap();
    jobs.iter().find(|job| job["id"] == id).unwrap_or_else(|| panic!("no {id} in {jobs:#?}"))
}

/// What one version of the library saw.
fn are_true(told: &Value, completed: &str, failed: &str) {
    assert_eq!((&told["counts"]["completed"], &told["counts"]["failed"]), (&json!(5), &json!(1)), "{told}");
    let done = job(&told["jobs"], completed);
    assert_eq!(done["name"], "execute-step");
    assert_eq!((&done["data"]["stepIndex"], &done["opts"]["attempts"]), (&json!(0), &json!(5)), "{done}");
    assert_eq!(done["opts"]["backoff"], json!({"type": "exponential", "delay": 5000}));
    let broken = job(&told["jobs"], failed);
    assert_eq!(broken["attemptsMade"], 1, "{broken}");
    assert!(broken["stacktrace"][0].as_str().is_some_and(|trace| trace.contains("at step 1")), "{broken}");
    let saw = |kind: &str| told["events"][kind].as_array().unwrap().len();
    assert_eq!((saw("added"), saw("active"), saw("completed"), saw("failed")), (6, 6, 5, 1), "{told}");
    assert!(saw("progress") > 0, "{told}");
}
