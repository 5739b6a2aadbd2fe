//! A recorded task goes the same way again where something depends on the order in which things came: steps
//! side by side, pauses in the middle of calls, and what is told at the last moment.

use std::time::Duration;

use longhaul::orchestrator::{Decision, RestoreWish, TaskRequest};
use longhaul::task::{Budget, Event, Fault, Limits, PauseReason, Plan, Status, StepType, TaskId, TopUp};
use serde_json::{Value, json};

use crate::replay::{again, folds_alike, is_the_same, recording};
use crate::world::{Setup, World, call, plan, request, step};

/// Steps that wait for none.
fn side_by_side(mut plan: Plan) -> Plan {
    plan.steps.iter_mut().for_each(|step| step.depends_on.clear());
    plan
}

/// It is the same, however often it is carried out again.
async fn stays_the_same(world: &World, id: TaskId) {
    let recording = recording(world, id).await;
    let first = again(&recording).await;
    assert!(first.is_same(), "{first:#?}");
    is_the_same(world, id, first.model_calls, first.tool_calls).await;
}

/// Models that think for different times, and look something up between.
fn thinkers(steps: usize) -> Value {
    let of = |index: usize| format!("Your step (step-{})", index + 1);
    let looks = (0..steps).map(|index| {
        json!({"role": "execute", "turn": 0, "contains": of(index), "delayMs": (index * 37) % 90,
            "reply": {"toolCalls": [{"tool": "slow_reading", "arguments": {"ms": (index * 23) % 60}},
                {"tool": "read", "arguments": {"n": index}}]}})
    });
    let answers = (0..steps).map(|index| {
        json!({"role": "execute", "contains": format!("\"n\":{index}}}"), "delayMs": (index * 53) % 110,
            "reply": {"text": format!("thought {index} {}", "word ".repeat(300 * (index % 3)))}})
    });
    let briefly = json!({"role": "execute", "reply": {"text": "thought"}});
    json!({"rules": looks.chain(answers).chain([briefly]).collect::<Vec<_>>()})
}

fn thinking(steps: usize, tokens: u64) -> TaskRequest {
    let steps = (0..steps).map(|_| step(StepType::ToolCall, "Think"));
    TaskRequest {
        plan: Some(side_by_side(plan(steps.collect()))),
        budget: Budget { tokens: Some(tokens), soft_percent: Some(30), ..Budget::default() },
        ..request("Do it")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_neighbours_had_used_of_the_budget_is_told_at_the_same_call() {
    let limits = Limits { max_parallel_steps: 10, ..Limits::default() };
    let world = World::new(Setup { script: thinkers(10), limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let task = world.orchestrator.start(thinking(10, 60_000)).await.unwrap();
    let (mut top_ups, mut ended) = (0, None);
    while ended.is_none() {
        let task = world.until(task.id, |task| task.status() != Status::Running).await;
        match task.status() {
            Status::Paused => {
                let add = TopUp { tokens: 20_000, ..TopUp::default() };
                world.orchestrator.raise_budget(task.id, add, "ada").await.unwrap();
                top_ups += 1;
            }
            status => ended = status.is_terminal().then_some(task),
        }
        assert!(top_ups < 50);
    }
    let ended = ended.unwrap();
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    let warned = |event: &Event| matches!(event, Event::ModelRequested { parts, .. } if parts.iter().any(|part| part.preview().contains("Wrap up")));
    assert!(world.journal(task.id).await.iter().any(|entry| warned(&entry.event)), "somebody was warned");
    stays_the_same(&world, task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_paused_for_its_budget_beside_others_pauses_at_the_same_place() {
    let limits = Limits { max_parallel_steps: 4, ..Limits::default() };
    let world = World::new(Setup { script: thinkers(4), limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let task = world.orchestrator.start(thinking(4, 9_000)).await.unwrap();
    let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
    assert_eq!(paused.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Budget));
    let add = TopUp { tokens: 100_000, ..TopUp::default() };
    world.orchestrator.raise_budget(task.id, add, "ada").await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    stays_the_same(&world, task.id).await;
}

/// A task that is paused while a read is in flight, which ends behind the pause.
async fn paused_while_reading(world: &World, after: Vec<longhaul::task::PlannedStep>) -> TaskId {
    let mut steps = vec![
        call("read", json!({})),
        step(StepType::Checkpoint, "Write down"),
        call("slow_reading", json!({"ms": 500})),
    ];
    steps.extend(after);
    let task = world.start(plan(steps)).await;
    world.until(task.id, |task| task.calls_in_flight().next().is_some()).await;
    world.orchestrator.pause(task.id, "ada").await.unwrap();
    let settled = |task: &longhaul::task::Task| task.step(2).is_some_and(|step| step.is_settled());
    world.until(task.id, settled).await;
    let kinds = world.kinds(task.id).await;
    let at = |kind| kinds.iter().rposition(|known| *known == kind).unwrap();
    assert!(at("paused") < at("tool_returned") && at("tool_returned") < at("step_completed"), "{kinds:?}");
    task.id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_brought_behind_a_pause_comes_behind_it_again() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let id = paused_while_reading(&world, vec![call("read", json!({"of": {"$output": "step-3"}}))]).await;
    world.orchestrator.resume(id, "ada").await.unwrap();
    assert_eq!(world.ended(id).await.status(), Status::Completed);
    is_the_same(&world, id, 0, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_was_called_off_by_a_pause_is_made_again_when_the_task_goes_on() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let task =
        world.start(plan(vec![call("slow_reading", json!({"ms": 3000})), call("read", json!({}))])).await;
    let hanging = world.start(plan(vec![call("hang_reading", json!({})), call("read", json!({}))])).await;
    for id in [task.id, hanging.id] {
        world.until(id, |task| task.calls_in_flight().next().is_some()).await;
        world.orchestrator.pause(id, "ada").await.unwrap();
    }
    world.until(hanging.id, |task| task.calls_in_flight().next().is_none()).await;
    world.until(task.id, |task| task.calls_in_flight().next().is_none()).await;
    world.orchestrator.resume(task.id, "ada").await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    stays_the_same(&world, task.id).await;
    world.orchestrator.cancel(hanging.id, "ada").await.unwrap();
    stays_the_same(&world, hanging.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_put_back_to_a_checkpoint_is_put_back_again() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let id = paused_while_reading(&world, vec![call("read", json!({"of": {"$output": "step-3"}}))]).await;
    let journal = world.journal(id).await;
    let checkpoint = journal.iter().find(|entry| entry.event.kind() == "checkpoint_taken").unwrap().seq;
    let back = RestoreWish { checkpoint, repeat_effects: false };
    world.orchestrator.restore(id, back, "ada").await.unwrap();
    assert_eq!(world.ended(id).await.status(), Status::Completed);
    stays_the_same(&world, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_beside_a_call_that_goes_out_is_known_at_the_same_moment() {
    for private_first in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let calls =
            |tool: &str, arguments: Value| json!({"toolCalls": [{"tool": tool, "arguments": arguments}]});
        let (reads, sends) = if private_first { (0, 150) } else { (150, 0) };
        let script = json!({"rules": [
            {"role": "execute", "turn": 0, "contains": "Your step (step-2)", "delayMs": reads,
                "reply": calls("workspace_read", json!({"path": "private.md"}))},
            {"role": "execute", "turn": 0, "contains": "Your step (step-3)", "delayMs": sends,
                "reply": calls("web_keyed", json!({"label": "out"}))},
            {"role": "execute", "reply": {"text": "done"}},
        ]});
        let tools = Some(crate::taint::tools(directory.path()).await);
        let world = World::new(Setup { script, tools, ..Setup::default() }).await;
        let mut steps = plan(vec![
            call("web_read", json!({"label": "a page"})),
            step(StepType::ToolCall, "Read the file"),
            step(StepType::ToolCall, "Send it out"),
        ]);
        steps.steps[2].depends_on = vec![0];
        let task = world.start(steps).await;
        let _worker = world.work("w");
        let stands =
            world.until(task.id, |task| task.status() == Status::Paused || task.status().is_terminal()).await;
        assert_eq!(stands.status() == Status::Paused, private_first, "{:?}", stands.state().pause);
        if private_first {
            let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
            world
                .orchestrator
                .decide(open[0].id.parse().unwrap(), Decision::Approve(None), "anna")
                .await
                .unwrap();
        }
        assert_eq!(world.ended(task.id).await.status(), Status::Completed);
        stays_the_same(&world, task.id).await;
        world.orchestrator.tools().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_was_longer_than_its_room_is_cut_at_the_same_place() {
    // Of every length, so that some cuts fall behind a word.
    for more in 0..6 {
        let text = format!("{}{}", "x".repeat(more), " and so on ".repeat(9_000));
        folds_alike(12, vec![json!({"role": "summarize", "reply": {"text": text}})]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ended_another_way_beside_others_is_found_where_it_did() {
    let world = World::new(Setup::default()).await;
    let worker = world.work("w");
    let steps = vec![
        call("slow_reading", json!({"ms": 60})),
        call("read", json!({})),
        call("slow_reading", json!({"ms": 30})),
    ];
    let task = world.start(side_by_side(plan(steps))).await;
    world.ended(task.id).await;
    worker.stop().await;
    let mut changed = recording(&world, task.id).await;
    let ends = |event: &Event| matches!(event, Event::StepCompleted { step: 1, .. });
    let at = changed.entries.iter().position(|entry| ends(&entry.event)).unwrap();
    let (seq, fault) = (changed.entries[at].seq, Fault::permanent("x", "it failed then"));
    changed.entries[at].event = Event::StepFailed { step: 1, fault, retry_at: None };
    changed.entries.retain(|entry| entry.event.kind() != "completed");
    let found = tokio::time::timeout(Duration::from_secs(20), again(&changed)).await.unwrap();
    let found = found.divergence.expect("it completes now");
    assert_eq!((found.place.seq, found.place.step), (seq, Some(1)), "{found:?}");
}
