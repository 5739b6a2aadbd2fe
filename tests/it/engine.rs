//! A goal is carried to its end: plans, agents, retries, revisions, people.

use longhaul::orchestrator::OutcomeDecision;
use longhaul::task::{Event, PauseReason, Payload, Plan, Status, StepStatus, StepType, Task};
use serde_json::json;

use crate::world::{Setup, World, call, plan, request, step};

async fn world(script: serde_json::Value) -> World {
    World::new(Setup { script, ..Setup::default() }).await
}

async fn bare() -> World {
    World::new(Setup::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_carried_out_step_by_step_one_commit_each() {
    let world = bare().await;
    let task = world.start(plan(vec![call("read", json!({"a": 1})), call("keyed", json!({"b": 2}))])).await;
    let worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!(task.progress(), 100);
    let kinds = world.kinds(task.id).await;
    let expected = [
        "created",
        "detected",
        "planned",
        "claimed",
        "step_started",
        "tool_dispatched",
        "tool_returned",
        "step_completed",
        "step_started",
        "tool_dispatched",
        "tool_returned",
        "step_completed",
        "completed",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(world.calls().values().copied().collect::<Vec<_>>(), [1, 1]);
    world.is_sound(task.id).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_use_the_output_of_an_earlier_one() {
    let world = bare().await;
    let second = call("read", json!({"before": {"$output": "step-1", "pointer": "/given/x"}}));
    let task = world.start(plan(vec![call("read", json!({"x": "from one"})), second])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    let output = world.repository.content(&task.state().output.clone().unwrap()).await.unwrap();
    assert_eq!(output["given"]["before"], "from one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goal_is_planned_and_carried_out_by_a_model_with_tools() {
    let world = world(json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "look", "description": "Look", "type": "tool-call"},
            {"id": "answer", "description": "Answer", "type": "llm-reasoning"},
        ]}}},
        {"role": "execute", "contains": "Your step (step-1)", "turn": 0, "reply": {"toolCalls": [
            {"tool": "read", "arguments": {"q": 1}}, {"tool": "keyed", "arguments": {"q": 2}}]}},
        {"role": "execute", "turn": 1, "reply": {"text": "Looked: 2 things"}},
        {"role": "execute", "contains": "Looked: 2 things", "reply": {"text": "There are 2 things."}},
    ]}))
    .await;
    let task = world.orchestrator.start(request("Look and answer")).await.unwrap();
    assert_eq!(task.total_steps(), 2);
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    assert_eq!(task.state().output, Some(Payload::text("There are 2 things.")));
    assert_eq!(task.state().usage.model_calls, 4, "one to plan, three to carry out");
    assert_eq!(task.state().usage.tool_calls, 2);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_plan_is_mended_once_and_otherwise_becomes_one_honest_step() {
    let cycle = json!({"steps": [{"id": "a", "description": "x", "type": "tool-call",
        "tool": {"name": "no_such_tool", "arguments": {}}}]});
    let good = json!({"steps": [{"id": "a", "description": "x", "type": "llm-reasoning"}]});
    let mended = world(json!({"rules": [
        {"role": "plan", "contains": "cannot be used: steps[0].tool.name: there is no tool no_such_tool", "reply": {"json": good}},
        {"role": "plan", "reply": {"json": cycle}},
    ]}))
    .await;
    let task = mended.orchestrator.start(request("Mend the plan")).await.unwrap();
    assert_eq!(task.steps()[0].plan.kind, StepType::LlmReasoning);
    let hopeless =
        world(json!({"rules": [{"role": "plan", "reply": {"text": "I would rather not."}}]})).await;
    let task = hopeless.orchestrator.start(request("Hopeless")).await.unwrap();
    let degraded = hopeless.journal(task.id).await.into_iter().any(|entry| match entry.event {
        Event::Planned { by, plan, .. } => by.degraded && plan.steps.len() == 1,
        _ => false,
    });
    assert!(degraded, "{:?}", hopeless.kinds(task.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_retried_with_backoff_and_then_goes_on() {
    let world = bare().await;
    let task = world.start(plan(vec![call("flaky", json!({"failures": 2})), call("read", json!({}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!(task.steps()[0].attempts, 3);
    let failures = world.kinds(task.id).await.iter().filter(|kind| **kind == "step_failed").count();
    assert_eq!(failures, 2);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_end_leads_to_a_revised_plan_that_keeps_what_is_done() {
    let world = world(json!({"rules": [
        {"role": "plan", "contains": "has to be revised", "reply": {"json": {"reason": "another way", "steps": [
            {"id": "other", "description": "Go around", "type": "tool-call",
             "tool": {"name": "keyed", "arguments": {}}}]}}},
    ]}))
    .await;
    let task = world
        .start(plan(vec![call("read", json!({})), call("broken", json!({})), call("read", json!({}))]))
        .await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    assert_eq!(task.state().revision, 2);
    let states: Vec<_> = task.steps().iter().map(|step| (step.status, step.replaced)).collect();
    let expected = [
        (StepStatus::Completed, false),
        (StepStatus::Failed, true),
        (StepStatus::Skipped, true),
        (StepStatus::Completed, false),
    ];
    assert_eq!(states, expected);
    assert_eq!((task.total_steps(), task.progress()), (2, 100));
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_reach_its_goal_fails_and_says_why() {
    let hopeless = |number: u32| {
        let step = json!({"id": "again", "description": format!("Try it in way {number}"), "type": "tool-call",
            "tool": {"name": "broken", "arguments": {}}});
        json!({"role": "plan", "times": 1, "reply": {"json": {"reason": "x", "steps": [step]}}})
    };
    let world = world(json!({"rules": [hopeless(1), hopeless(2), hopeless(3)]})).await;
    let task = world.start(plan(vec![call("broken", json!({}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Failed);
    assert_eq!(task.state().revision, 4, "three revisions are allowed");
    let fault = task.state().fault.clone().unwrap();
    assert_eq!(fault.code, "tool_denied");
    assert!(fault.message.contains("it never works"), "{fault}");
    assert_eq!(fault.to_string().matches("tool_denied").count(), 1, "{fault}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_repeats_itself_is_stopped() {
    let world = world(json!({"rules": [
        {"role": "execute", "reply": {"toolCalls": [{"tool": "broken", "arguments": {}}]}},
        {"role": "plan", "reply": {"text": "no plan"}},
    ]}))
    .await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Loop")])).await;
    let _worker = world.work("w");
    let task = world.until(task.id, rests).await;
    assert_eq!(task.steps()[0].fault.as_ref().map(|fault| fault.code.as_str()), Some("no_progress"));
    assert_eq!(task.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::NoProgress));
    let planner = world.journal(task.id).await.into_iter().find_map(|entry| match entry.event {
        Event::Evaluated { usage, .. } => Some(usage.model_calls),
        _ => None,
    });
    assert_eq!(planner, Some(1), "who says in prose that there is no other way is not asked once more");
    world.is_sound(task.id).await;
}

fn rests(task: &Task) -> bool {
    !matches!(task.status(), Status::Pending | Status::Running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_repeats_itself_goes_on_when_it_is_told_what_to_do_otherwise() {
    // With revisions left, too: the planner finds no other way, and is not asked again for what the step is told.
    for max_replans in [0, 3] {
        let limits = longhaul::task::Limits { max_replans, ..Default::default() };
        let script = json!({"rules": [
            {"role": "plan", "times": 1, "reply": {"text": "I know no other way."}},
            {"role": "execute", "contains": "Just answer", "reply": {"text": "as told"}},
            {"role": "execute", "reply": {"toolCalls": [{"tool": "broken", "arguments": {}}]}},
        ]});
        let world = World::new(Setup { script, limits, ..Setup::default() }).await;
        let task = world.start(plan(vec![step(StepType::ToolCall, "Loop")])).await;
        let _worker = world.work("w");
        let task = world.until(task.id, rests).await;
        let pause = task.state().pause.clone().expect("it waits for a person");
        assert_eq!(pause.reason, PauseReason::NoProgress);
        assert!(
            !pause.detail.contains("longhaul"),
            "what can be done is not for the journal to say: {}",
            pause.detail
        );
        world.orchestrator.send_message(task.id, "Just answer", "p").await.unwrap();
        world.orchestrator.resume(task.id, "p").await.unwrap();
        let task = world.ended(task.id).await;
        assert_eq!(
            (task.status(), task.state().output.clone()),
            (Status::Completed, Some(Payload::text("as told"))),
            "{max_replans} revisions"
        );
        assert_eq!(
            task.steps().len(),
            1,
            "{max_replans} revisions: it is the same step, which knows what it did"
        );
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_task_rests_until_it_is_resumed() {
    let world = bare().await;
    let steps = (0..20).map(|_| call("slow", json!({"ms": 20}))).collect();
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    world.until(task.id, |task| task.state().completed >= 2).await;
    let paused = world.orchestrator.pause(task.id, "a person").await.unwrap();
    assert_eq!(paused.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::User));
    // The call in flight ends and is recorded; after that nothing happens.
    let rests = |task: &longhaul::task::Task| {
        task.frontier().iter().all(|at| task.steps()[*at as usize].calls.is_empty())
    };
    let resting = world.until(task.id, rests).await;
    let seq = resting.state().seq;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(world.repository.load(task.id).await.unwrap().unwrap().state().seq <= seq + 2);
    world.orchestrator.resume(task.id, "a person").await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    assert!(world.calls().values().all(|calls| *calls == 1), "{:?}", world.calls());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_a_hanging_call_and_nothing_follows() {
    let world = bare().await;
    let task = world.start(plan(vec![call("hang", json!({})), call("read", json!({}))])).await;
    let _worker = world.work("w");
    world.until_called("hang", 1).await;
    world.orchestrator.cancel(task.id, "a person").await.unwrap();
    let task = world.until(task.id, |task| task.state().seq >= 8).await;
    assert_eq!(task.status(), Status::Cancelled);
    assert_eq!(world.calls().len(), 1);
    let again = world.orchestrator.cancel(task.id, "a person").await.unwrap_err();
    assert_eq!(again.to_string(), "Cannot cancel task with status: cancelled");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_call_that_a_crash_cut_off_waits_for_a_person() {
    for (decision, calls, end) in [
        (OutcomeDecision::Happened(json!("it is done")), 1, Status::Completed),
        (OutcomeDecision::DidNotHappen, 2, Status::Completed),
        (OutcomeDecision::Skip, 1, Status::Completed),
        (OutcomeDecision::Fail, 1, Status::Failed),
    ] {
        let world = world(json!({"rules": [{"role": "plan", "reply": {"text": "no plan"}}]})).await;
        let task = world.start(plan(vec![call("hang", json!({"times": 1})), call("read", json!({}))])).await;
        let worker = world.work("first");
        world.until_called("hang", 1).await;
        worker.kill().await;
        let _worker = world.work("second");
        let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
        assert_eq!(
            paused.state().pause.as_ref().map(|pause| pause.reason),
            Some(PauseReason::UnknownOutcome)
        );
        assert!(
            world.orchestrator.resume(task.id, "p").await.is_err(),
            "resumed without a word about the outcome"
        );
        world.orchestrator.decide_outcome(task.id, None, decision.clone(), "p").await.unwrap();
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), end, "{decision:?}: {:?}", world.kinds(task.id).await);
        assert_eq!(world.calls_of("hang"), calls, "{decision:?}");
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_what_the_last_step_brought_and_no_checkpoint_behind_it() {
    let world = bare().await;
    let steps = plan(vec![call("read", json!({"a": 1})), step(StepType::Checkpoint, "Write it down")]);
    let task = world.start(steps).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert!(task.steps()[1].output.is_some(), "the checkpoint brings something of its own");
    assert_eq!(task.state().output, task.steps()[0].output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeatable_call_that_a_crash_cut_off_is_repeated_with_its_key() {
    let world = bare().await;
    let task = world.start(plan(vec![call("hang_reading", json!({}))])).await;
    let worker = world.work("first");
    world.until(task.id, |task| !task.steps()[0].calls.is_empty()).await;
    world.until_called("hang_reading", 1).await;
    worker.kill().await;
    let _worker = world.work("second");
    let task = world.until(task.id, |task| task.steps()[0].calls.iter().any(|call| call.attempt == 2)).await;
    world.until_called("hang_reading", 2).await;
    assert_eq!(world.calls().values().copied().collect::<Vec<_>>(), [2], "one key, called twice");
    world.orchestrator.cancel(task.id, "p").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_gives_its_tasks_back_unharmed() {
    let world = bare().await;
    let task = world.start(plan((0..10).map(|_| call("slow", json!({"ms": 30}))).collect())).await;
    let worker = world.work("first");
    world.until(task.id, |task| task.state().completed >= 2).await;
    worker.stop().await;
    let drained = world.repository.load(task.id).await.unwrap().unwrap();
    assert!(drained.status().is_live());
    let worker = world.work("second");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!(task.state().crashes, 0);
    assert!(world.calls().values().all(|calls| *calls == 1), "{:?}", world.calls());
    worker.stop().await;
    drop(world.into_directory());
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_steps_run_side_by_side_and_join() {
    let world = bare().await;
    let mut steps =
        plan(vec![call("slow", json!({"ms": 50})), call("slow", json!({"ms": 50})), call("read", json!({}))]);
    steps.steps[1].depends_on = vec![];
    steps.steps[2].depends_on = vec![0, 1];
    let task = world.start(Plan { steps: steps.steps }).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    let kinds = world.kinds(task.id).await;
    let started = kinds.iter().position(|kind| *kind == "step_started").unwrap();
    assert_eq!(kinds[started + 1], "step_started", "{kinds:?}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_call_that_timed_out_is_repeated_under_its_key_and_not_asked_anew() {
    let world = world(json!({"rules": [
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [{"tool": "late", "arguments": {}}]}},
        {"role": "execute", "turn": 1, "reply": {"text": "done"}},
    ]}))
    .await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Use it")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    assert_eq!(world.calls().values().copied().collect::<Vec<_>>(), [2], "one key, called twice");
    assert_eq!(task.state().usage.model_calls, 2, "what the model answered is not asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_away_pauses_the_task_and_spares_the_plan() {
    let world = world(json!({"rules": [
        {"role": "execute", "times": 3, "reply": {"error": {"kind": "unavailable"}}},
        {"role": "execute", "reply": {"text": "back again"}},
    ]}))
    .await;
    let task = world.start(plan(vec![step(StepType::LlmReasoning, "Think")])).await;
    let _worker = world.work("w");
    let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
    assert_eq!(paused.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Provider));
    assert_eq!(paused.state().revision, 1);
    world.orchestrator.resume(task.id, "p").await.unwrap();
    let task = world.ended(task.id).await;
    assert_eq!(task.state().output, Some(Payload::text("back again")));
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_branch_brought_is_durable_while_another_still_runs() {
    let world = bare().await;
    let mut branches = plan(vec![call("read", json!({})), call("hang", json!({}))]);
    branches.steps[1].depends_on = vec![];
    let task = world.start(branches).await;
    let _worker = world.work("w");
    let task = world.until(task.id, |task| task.state().completed == 1).await;
    assert_eq!(task.steps()[1].status, StepStatus::Running);
    world.orchestrator.cancel(task.id, "p").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_run_side_by_side_share_one_limit_of_tool_calls() {
    let limits = longhaul::task::Limits { max_tool_calls: 2, max_replans: 0, ..Default::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let mut side_by_side = plan((0..4).map(|_| call("slow", json!({"ms": 20}))).collect());
    side_by_side.steps.iter_mut().for_each(|step| step.depends_on.clear());
    let task = world.start(side_by_side).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(world.calls().len(), 2);
    assert_eq!(task.state().fault.as_ref().map(|fault| fault.code.as_str()), Some("too_many_tool_calls"));
    assert_eq!(task.state().usage.tool_calls, 2);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unreadable_task_does_not_stop_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longhaul.db");
    let repository = longhaul::repository::SqliteRepository::open(&path, Default::default()).await.unwrap();
    repository.prepare().await.unwrap();
    let world =
        World::new(Setup { repository: Some(std::sync::Arc::new(repository)), ..Setup::default() }).await;
    let broken = world.start(plan(vec![call("read", json!({}))])).await;
    let healthy = world.start(plan(vec![call("read", json!({}))])).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut raw = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("UPDATE task_execution SET state = '{}' WHERE id = $1")
        .bind(broken.id.0)
        .execute(&mut raw)
        .await
        .unwrap();
    let _worker = world.work("w");
    assert_eq!(world.ended(healthy.id).await.status(), Status::Completed);
    let error = world.repository.load(broken.id).await.unwrap_err();
    assert_eq!(error.code(), "database_corrupt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_step_is_shown_to_a_person_and_an_unsafe_call_in_it_is_asked_about() {
    for (tool, reason) in [("hang_reading", PauseReason::Poison), ("hang", PauseReason::UnknownOutcome)] {
        let limits = longhaul::task::Limits { max_crashes: 1, max_replans: 0, ..Default::default() };
        let world = World::new(Setup { limits, ..Setup::default() }).await;
        let task = world.start(plan(vec![call(tool, json!({}))])).await;
        let worker = world.work("dies");
        world.until(task.id, |task| !task.steps()[0].calls.is_empty()).await;
        world.until_called(tool, 1).await;
        worker.kill().await;
        let _worker = world.work("finds it");
        let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
        assert_eq!(paused.state().pause.as_ref().map(|pause| pause.reason), Some(reason), "{tool}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_outlasts_the_drain_is_given_back_and_is_no_crash() {
    let mut world = bare().await;
    world.worker_config.drain_ms = 20;
    let task = world.start(plan(vec![call("hang_reading", json!({}))])).await;
    for attempt in 1..=3 {
        let worker = world.work("stops");
        world.until(task.id, |task| task.steps()[0].calls.iter().any(|call| call.attempt == attempt)).await;
        worker.stop().await;
    }
    let crashes: Vec<u32> = world
        .journal(task.id)
        .await
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Claimed { crashes, .. } => Some(*crashes),
            _ => None,
        })
        .collect();
    assert_eq!(crashes, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_kills_its_workers_is_found_and_its_neighbours_are_not_blamed() {
    let limits = longhaul::task::Limits { max_replans: 0, ..Default::default() };
    let mut world = World::new(Setup { limits, ..Setup::default() }).await;
    world.worker_config.concurrency = 11;
    // A lease that ends because the machine is busy looks like another death.
    world.worker_config.lease_ms = 4_000;
    let mut innocent = Vec::new();
    for _ in 0..10 {
        innocent.push(world.start(plan(vec![call("slow_reading", json!({"ms": 400}))])).await.id);
    }
    let deadly = world.start(plan(vec![call("deadly", json!({}))])).await.id;
    let is_found = |task: &longhaul::task::Task| task.status() == Status::Paused;
    for death in 1.. {
        let worker = world.work(&format!("worker-{death}"));
        tokio::select! {
            () = world.until_called("deadly", death) => worker.kill().await,
            task = world.until(deadly, is_found) => {
                assert_eq!(task.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Poison));
                assert_eq!(world.calls_of("deadly"), 3, "it was found after other than three deaths");
                for id in &innocent {
                    let rests = |task: &longhaul::task::Task| !task.status().is_live();
                    assert_eq!(world.until(*id, rests).await.status(), Status::Completed);
                }
                world.is_sound(deadly).await;
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_without_a_bottom_is_kept_as_text_and_the_task_stays_readable() {
    let world = bare().await;
    let second = call("read", json!({"before": {"$output": "step-1"}}));
    let task = world.start(plan(vec![call("deep", json!({})), second])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let output = world.repository.content(&task.state().output.clone().unwrap()).await.unwrap();
    let text = output["given"]["before"].as_str().unwrap();
    assert_eq!(text, format!("{}\"bottom\"{}", "[".repeat(200), "]".repeat(200)));
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_without_a_bottom_are_refused_wherever_they_come_from() {
    let deep = || (0..110).fold(json!("bottom"), |inner, _| json!([inner]));
    let limits = longhaul::task::Limits { max_replans: 0, ..Default::default() };
    let asks = json!([{"tool": "read", "arguments": {"a": deep()}}]);
    let script = json!({"rules": [{"role": "execute", "reply": {"toolCalls": asks}}]});
    let world = World::new(Setup { script, limits, ..Setup::default() }).await;
    let by_caller = longhaul::orchestrator::TaskRequest {
        plan: Some(plan(vec![call("read", deep())])),
        ..request("Do it")
    };
    let refused = world.orchestrator.start(by_caller).await.unwrap_err();
    assert!(refused.to_string().contains("nested deeper than 100 levels"), "{refused}");
    let by_model = world.start(plan(vec![step(StepType::ToolCall, "Use a tool")])).await;
    let _worker = world.work("w");
    let task = world.ended(by_model.id).await;
    assert_eq!(task.state().fault.as_ref().map(|fault| fault.code.as_str()), Some("json_too_deep"));
    assert!(world.calls().is_empty());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_is_asked_for_a_plan_before_there_is_none() {
    let babbles = json!({"rules": [{"role": "plan", "reply": {"text": "I would rather not."}}]});
    let plans = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "x", "type": "llm-reasoning"},
        {"id": "b", "description": "y", "type": "llm-reasoning"}]}}}]});
    let fails = json!({"rules": [{"role": "plan", "reply": {"error": {"kind": "unavailable"}}}]});
    for (second, steps, model, asked) in [
        (&plans, 2, "scripted/second", 3),
        (&babbles, 1, "scripted/first", 3),
        (&fails, 1, "scripted/first", 2),
    ] {
        let setup = Setup { script: babbles.clone(), second: Some(second.clone()), ..Setup::default() };
        let world = World::new(setup).await;
        let task = world.orchestrator.start(request("Plan it")).await.unwrap();
        assert_eq!(task.steps().len(), steps);
        assert_eq!(task.state().usage.model_calls, asked);
        let planned = world.journal(task.id).await.into_iter().find_map(|entry| match entry.event {
            Event::Planned { by, .. } => Some(by),
            _ => None,
        });
        let by = planned.unwrap();
        assert_eq!((by.model.unwrap().to_string().as_str(), by.degraded), (model, steps == 1));
    }
}
