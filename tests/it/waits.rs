//! Whatever a worker waits for, it hears that somebody cancels and that it has to drain.

use std::time::Duration;

use longhaul::task::{Limits, Plan, Status, StepStatus, StepType, Task};
use longhaul::worker::LimiterConfig;
use serde_json::{Value, json};

use crate::program::Program;
use crate::world::{Setup, World, call, plan, step};

/// Longer than any test runs: what waits for this waits for ever.
const EVER_MS: u64 = 3_600_000;

/// What a worker can wait for besides a step.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Limiter,
    Delay,
    Summary,
    Judge,
    Revision,
}

const ALL: [Wait; 5] = [Wait::Limiter, Wait::Delay, Wait::Summary, Wait::Judge, Wait::Revision];

impl Wait {
    /// A world in which a task gets stuck in this wait, and whose workers hold one task each.
    async fn world(self) -> World {
        let slow =
            |role: &str| json!({"rules": [{"role": role, "delayMs": EVER_MS, "reply": {"text": "x"}}]});
        let script = match self {
            Self::Limiter | Self::Delay => json!({"rules": [
                {"role": "execute", "turn": 0, "delayMs": 50,
                    "reply": {"toolCalls": [{"tool": "read", "arguments": {}}]}},
                {"role": "execute", "turn": 1, "reply": {"text": "done"}},
            ]}),
            Self::Summary => slow("summarize"),
            Self::Judge => slow("evaluate"),
            Self::Revision => slow("plan"),
        };
        let usual = Limits::default();
        let limits = match self {
            Self::Summary => Limits { context_window_limit: 200, ..usual },
            _ => usual,
        };
        let judge = matches!(self, Self::Judge);
        let mut world = World::new(Setup { script, limits, judge, ..Setup::default() }).await;
        world.worker_config.concurrency = 1;
        world.worker_config.drain_ms = EVER_MS;
        match self {
            Self::Limiter => {
                world.worker_config.limiter =
                    LimiterConfig { max: 1, duration: EVER_MS, ..LimiterConfig::default() }
            }
            Self::Delay => world.worker_config.continuation_delay_ms = EVER_MS,
            _ => {}
        }
        world
    }

    fn plan(self) -> Plan {
        let long = call("read", json!({"text": "long ".repeat(1000)}));
        plan(match self {
            Self::Limiter | Self::Delay => vec![call("read", json!({})), call("read", json!({}))],
            Self::Summary => vec![long.clone(), long, step(StepType::LlmReasoning, "Think")],
            Self::Judge => vec![call("read", json!({}))],
            Self::Revision => vec![call("broken", json!({}))],
        })
    }

    /// Whether the task has come to the wait: everything before it is recorded.
    fn is_reached(self, task: &Task) -> bool {
        match self {
            Self::Revision => task.steps()[0].is_dead_end(),
            Self::Summary => task.state().completed == 2,
            _ => task.state().completed == 1,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_heard_whatever_the_worker_waits_for() {
    for wait in ALL {
        let world = wait.world().await;
        let task = world.start(wait.plan()).await;
        let _worker = world.work("w");
        world.until(task.id, |task| wait.is_reached(task)).await;
        world.orchestrator.cancel(task.id, "a person").await.unwrap();
        // Its only place is free again: the next task is claimed.
        let next = world.start(wait.plan()).await;
        world.until(next.id, |task| task.state().epoch == 1).await;
        assert_eq!(world.ended(task.id).await.status(), Status::Cancelled, "{wait:?}");
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_gives_the_task_back_whatever_the_worker_waits_for() {
    for wait in ALL {
        let world = wait.world().await;
        let task = world.start(wait.plan()).await;
        let worker = world.work("w");
        world.until(task.id, |task| wait.is_reached(task)).await;
        let stopped = tokio::time::timeout(Duration::from_secs(30), worker.stop()).await;
        assert!(stopped.is_ok(), "{wait:?}: the worker does not drain");
        let given_back = world.repository.load(task.id).await.unwrap().unwrap();
        assert!(given_back.status().is_live(), "{wait:?}");
        let _next = world.work("next");
        let taken = world.until(task.id, |task| task.state().epoch == 2).await;
        assert_eq!(taken.state().crashes, 0, "{wait:?}: a drain is no crash");
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_run_go_on_whatever_the_worker_waits_for_beside_them() {
    for wait in [Wait::Limiter, Wait::Delay] {
        let mut world = wait.world().await;
        world.worker_config.limiter.max *= 2;
        let mut plan = plan(vec![
            call("read", json!({})),
            step(StepType::ToolCall, "Look before you call"),
            call("read", json!({})),
        ]);
        for (step, depends_on) in plan.steps.iter_mut().zip([vec![], vec![], vec![0]]) {
            step.depends_on = depends_on;
        }
        let task = world.start(plan).await;
        let _worker = world.work("w");
        let task = world.until(task.id, |task| task.state().completed == 2).await;
        assert_eq!(task.step(2).map(|step| step.status), Some(StepStatus::Pending), "{wait:?}");
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_wait_for_the_limiter_are_told_wherever_a_person_looks() {
    let call = |id: &str| {
        json!({"id": id, "description": format!("Look at {id}"), "type": "tool-call", "dependsOn": [],
            "tool": {"name": "world_read", "arguments": {"label": id}}})
    };
    let steps = [call("a"), call("b"), call("c")];
    let program = Program::new(&json!({"rules": [{"role": "plan", "reply": {"json": {"steps": steps}}}]}));
    program.reconfigure("max = 0, duration = 1000", "max = 1, duration = 600000");
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Look around").await.unwrap();
    let shown = program.until(&server, &id, &["running"]).await;
    let path = format!("/api/tasks/{id}");
    let mut line = shown["inLine"].clone();
    while line != json!(2) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        line = program.get(&server, &path).await.1["inLine"].clone();
    }
    let (_, shown, _) = program.run(&["task", "show", &id]);
    assert!(shown.contains("2 ready steps for their turn: [worker.limiter]"), "{shown}");
    let said = program.printed().lines().filter(|line| line.contains("[worker.limiter]")).count();
    assert_eq!(said, 1, "{}", program.printed());
    let metrics = program.request("GET", &server, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nlonghaul_tasks_in_line 1\n"), "{metrics}");
    let (_, paused) = program.post(&server, &format!("{path}/pause"), &json!({})).await.unwrap();
    assert_eq!((&paused["status"], &paused["inLine"]), (&json!("paused"), &Value::Null));
}
