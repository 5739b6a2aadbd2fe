//! Tasks as files: what is exported here is imported there, and is the same task; nothing else is.

use futures::TryStreamExt;
use longhaul::orchestrator::{
    Decision, ForkAt, ForkWish, Orchestrator, OrchestratorConfig, TaskRequest, system_clock,
};
use longhaul::repository::{Claim, ListFilter, Retention};
use longhaul::task::{Event, PlannedStep, Recording, Status, StepType, Task, TaskId};
use serde_json::{Value, json};
use std::time::Duration;

use crate::world::{Setup, World, call, plan, request, step};

/// What `longhaul task export` writes.
pub(crate) async fn exported(orchestrator: &Orchestrator, id: TaskId) -> String {
    let lines: Vec<String> = orchestrator.export(id).await.unwrap().try_collect().await.unwrap();
    lines.join("\n") + "\n"
}

/// A model that calls tools and answers.
fn script() -> Value {
    json!({"rules": [
        {"role": "execute", "turn": 0, "contains": "Look", "reply": {"toolCalls": [
            {"tool": "read", "arguments": {"n": 1}}, {"tool": "read", "arguments": {"text": "x".repeat(3000)}}]}},
        {"role": "execute", "contains": "Look", "reply": {"text": "looked"}},
        {"role": "evaluate", "reply": {"json": {"passed": true, "reason": "it will do"}}},
        {"reply": {"text": "a long answer, ".repeat(300)}},
    ]})
}

fn rich_plan() -> longhaul::task::Plan {
    let listed = PlannedStep {
        for_each: Some(serde_json::from_value(json!({"items": [1, 2, 3], "parallel": 2})).unwrap()),
        ..call("keyed", json!({"n": {"$item": true}}))
    };
    let judged = PlannedStep {
        checks: serde_json::from_value(json!([{"judge": "it is an answer"}])).unwrap(),
        ..step(StepType::LlmReasoning, "Answer")
    };
    plan(vec![step(StepType::ToolCall, "Look"), listed, call("unsafe_effect", json!({})), judged])
}

async fn rich(world: &World) -> Task {
    let approval = serde_json::from_value(json!({"tools": {"unsafe_effect": true}})).unwrap();
    let request = TaskRequest { plan: Some(rich_plan()), approval: Some(approval), ..request("Do it all") };
    let task = world.orchestrator.start(request).await.unwrap();
    let _worker = world.work("w");
    world.until(task.id, |task| task.status() == Status::Paused).await;
    world.orchestrator.send_message(task.id, "Hurry", "anna").await.unwrap();
    let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
    let id = open[0].id.parse().unwrap();
    world.orchestrator.decide(id, Decision::Approve(None), "anna").await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_comes_as_a_file_is_the_same_task_and_can_be_forked() {
    let here = World::new(Setup { script: script(), ..Setup::default() }).await;
    let task = rich(&here).await;
    let file = exported(&here.orchestrator, task.id).await;
    assert_eq!(file, exported(&here.orchestrator, task.id).await);

    let there = World::new(Setup { script: script(), ..Setup::default() }).await;
    let recording = Recording::read(&file).unwrap();
    let imported = there.orchestrator.import(&recording, "bert", None).await.unwrap();
    assert_eq!((imported.id, imported.status()), (task.id, Status::Completed));
    assert_eq!(exported(&there.orchestrator, task.id).await, file, "byte for byte");
    there.is_sound(task.id).await;
    let loaded = there.repository.load(task.id).await.unwrap().unwrap();
    assert_eq!((loaded.state(), loaded.steps()), (task.state(), task.steps()));
    assert_eq!(loaded.spec().user_id, "bert");
    assert!(loaded.spec().imported);
    for (one, other) in here.journal(task.id).await.iter().zip(&there.journal(task.id).await).skip(1) {
        assert_eq!(one, other);
    }
    for mut entry in there.journal(task.id).await {
        for payload in entry.event.payloads_mut() {
            there.repository.content(payload).await.unwrap();
        }
    }
    assert!(!there.orchestrator.effects(task.id).await.unwrap().is_empty());
    there.orchestrator.context_view(&loaded).await.unwrap();

    let mut wish = ForkWish::at(ForkAt::Step(2));
    wish.repeat_effects = true;
    let fork = there.orchestrator.fork(task.id, wish, "bert").await.unwrap();
    assert!(!fork.spec().imported);
    let _worker = there.work("w");
    there.until(fork.id, |task| task.status() == Status::Paused).await;
    let open = there.orchestrator.inbox(Some("bert"), 10).await.unwrap();
    assert_eq!(open.len(), 1, "what its file asks approval for needs approval");
    there.orchestrator.decide(open[0].id.parse().unwrap(), Decision::Approve(None), "bert").await.unwrap();
    assert_eq!(there.ended(fork.id).await.status(), Status::Completed);
    let diff = there.orchestrator.compare(task.id, fork.id).await.unwrap();
    assert!(diff.steps.iter().all(|step| step.same), "{diff:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_here_is_not_imported_again() {
    let here = World::new(Setup { script: script(), ..Setup::default() }).await;
    let task = rich(&here).await;
    let recording = Recording::read(&exported(&here.orchestrator, task.id).await).unwrap();
    let refused = here.orchestrator.import(&recording, "user", None).await.unwrap_err();
    assert_eq!(refused.code(), "task_exists");
    let there = World::new(Setup::default()).await;
    there.orchestrator.import(&recording, "user", Some("my thread")).await.unwrap();
    let refused = there.orchestrator.import(&recording, "other", None).await.unwrap_err();
    assert_eq!(refused.code(), "task_exists");
    let all = there.repository.list(&ListFilter::default()).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].user_id.as_str(), all[0].thread_id.as_str()), ("user", "my thread"));
    assert!(there.repository.thread(&task.id.to_string()).await.unwrap().is_none(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_had_not_ended_is_imported_as_cancelled_and_no_worker_takes_it() {
    let here = World::new(Setup::default()).await;
    let task = here.start(plan(vec![call("read", json!({}))])).await;
    let recording = Recording::read(&exported(&here.orchestrator, task.id).await).unwrap();
    let there = World::new(Setup::default()).await;
    let imported = there.orchestrator.import(&recording, "bert", None).await.unwrap();
    assert_eq!(imported.status(), Status::Cancelled);
    let claim = Claim { limit: 9, ..Claim::by("w", Duration::from_secs(9)) };
    assert!(there.repository.claim(claim).await.unwrap().is_empty());
    there.is_sound(task.id).await;
    assert_eq!(there.kinds(task.id).await.last(), Some(&"cancelled"));
    assert_eq!(there.orchestrator.resume(task.id, "bert").await.unwrap_err().code(), "task_status");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_an_imported_task_goes_by_the_limits_and_approvals_of_this_installation() {
    let here = World::new(Setup::default()).await;
    let _worker = here.work("w");
    let task = here.start(plan(vec![call("read", json!({})), call("unsafe_effect", json!({}))])).await;
    here.ended(task.id).await;
    let recording = Recording::read(&exported(&here.orchestrator, task.id).await).unwrap();
    let there = World::new(Setup::default()).await;
    let config: OrchestratorConfig = serde_json::from_value(json!({
        "approval": {"classes": ["unsafe"]}, "limits": {"maxToolCalls": 7}, "retry": {"maxAttempts": 1},
    }))
    .unwrap();
    let careful = Orchestrator::new(
        there.repository.clone(),
        there.queue.clone(),
        there.orchestrator.models().clone(),
        there.orchestrator.tools().clone(),
        config,
        system_clock(),
    );
    careful.import(&recording, "bert", None).await.unwrap();
    let mut wish = ForkWish::at(ForkAt::Step(1));
    wish.repeat_effects = true;
    let fork = careful.fork(task.id, wish, "bert").await.unwrap();
    let spec = fork.spec();
    assert_eq!((spec.limits.max_tool_calls, spec.retry.max_attempts), (7, 1));
    assert!(spec.approval.needs("unsafe_effect", longhaul::task::Effect::Unsafe));
    let _worker = there.work("w");
    there.until(fork.id, |task| task.status() == Status::Paused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_carried_out_elsewhere_is_not_counted_here() {
    use longhaul::repository::analytics::Reach;
    let here = World::new(Setup { script: script(), ..Setup::default() }).await;
    let task = rich(&here).await;
    let recording = Recording::read(&exported(&here.orchestrator, task.id).await).unwrap();
    let there = World::new(Setup::default()).await;
    there.orchestrator.import(&recording, "bert", None).await.unwrap();
    for world in [&here, &there] {
        while world.repository.analytics().count(&Reach::All).await.unwrap() > 0 {}
    }
    let counted = async |world: &World| {
        let filter = longhaul::repository::analytics::FigureFilter {
            user_id: None,
            measures: longhaul::repository::analytics::Measure::ALL.to_vec(),
            range: None,
        };
        world.repository.analytics().figures(&filter).await.unwrap().len()
    };
    assert!(counted(&here).await > 0);
    assert_eq!(counted(&there).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_removed_is_not_exported() {
    let world = World::new(Setup::default()).await;
    let worker = world.work("w");
    let task = world.start(plan(vec![call("read", json!({}))])).await;
    world.ended(task.id).await;
    worker.stop().await;
    world.repository.prune(&Retention { tasks: None, traces: Some(Duration::ZERO) }).await.unwrap();
    let refused = world.orchestrator.export(task.id).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), "journal_removed");
    let nobody = TaskId(uuid::Uuid::nil());
    assert_eq!(world.orchestrator.export(nobody).await.map(drop).unwrap_err().code(), "task_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_with_what_its_origin_verified_keeps_the_verdicts() {
    let world = World::new(Setup { script: script(), ..Setup::default() }).await;
    let task = rich(&world).await;
    let mut wish = ForkWish::at(ForkAt::End);
    wish.prompt = Some("Well done".to_owned());
    let fork = world.orchestrator.fork(task.id, wish, "anna").await.unwrap();
    world.is_sound(fork.id).await;
    let loaded = world.repository.load(fork.id).await.unwrap().unwrap();
    assert!(loaded.evidence().iter().any(|made| made.step == 3), "{:?}", loaded.evidence());
    let journal = world.journal(fork.id).await;
    assert!(journal.iter().any(|entry| matches!(entry.event, Event::Forked { .. })));
}

/// The same recording with another request, as only a forger writes it.
fn forged(recording: &Recording, field: &str, value: &Value) -> Recording {
    let mut recording = recording.clone();
    let Event::Created { spec } = &mut recording.entries[0].event else { panic!() };
    let mut changed = serde_json::to_value(&*spec).unwrap();
    changed[field] = value.clone();
    **spec = serde_json::from_value(changed).unwrap();
    recording
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_names_a_task_of_somebody_else_as_its_parent_or_origin_is_refused() {
    let elsewhere = World::new(Setup::default()).await;
    let task = elsewhere.start(plan(vec![call("read", json!({}))])).await;
    let recording = Recording::read(&exported(&elsewhere.orchestrator, task.id).await).unwrap();
    let here = World::new(Setup::default()).await;
    let victim = here.start(plan(vec![call("unsafe_effect", json!({}))])).await;
    let before = here.repository.load(victim.id).await.unwrap();
    let parent = json!({"task": victim.id, "step": 0, "call": 1, "root": victim.id, "depth": 1});
    let below = json!({"task": task.id, "step": 0, "call": 1, "root": victim.id, "depth": 2});
    let origin = json!({"task": victim.id, "seq": 1});
    for (field, value) in [("parent", &parent), ("parent", &below), ("forkedFrom", &origin)] {
        let forged = forged(&recording, field, value);
        let refused = here.orchestrator.import(&forged, "mallory", None).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request", "{field}: {refused}");
        assert!(refused.to_string().contains(&victim.id.to_string()), "{refused}");
        assert!(here.repository.load(task.id).await.unwrap().is_none(), "{field}: nothing is left behind");
    }
    // Whoever owns the other task may have its family here.
    here.orchestrator.import(&forged(&recording, "forkedFrom", &origin), "user", None).await.unwrap();
    assert_eq!(here.repository.load(victim.id).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_names_a_task_of_somebody_else_as_its_child_is_refused() {
    let elsewhere = World::new(Setup::default()).await;
    let wish = json!({"name": "echo", "goal": "Echo", "steps": [
        {"description": "Read", "type": "tool-call", "tool": {"name": "read", "arguments": {}}}]});
    elsewhere.orchestrator.put_template("user", serde_json::from_value(wish).unwrap()).await.unwrap();
    let mut wish =
        TaskRequest { plan: Some(plan(vec![call("workflow_echo", json!({}))])), ..request("Do it") };
    let mention = json!({"type": "workflow", "name": "Echo", "workflowId": "echo"});
    wish.tools.mentions = vec![serde_json::from_value(mention).unwrap()];
    let task = elsewhere.orchestrator.start(wish).await.unwrap();
    let _worker = elsewhere.work("w");
    assert_eq!(elsewhere.ended(task.id).await.status(), Status::Completed);
    let recording = Recording::read(&exported(&elsewhere.orchestrator, task.id).await).unwrap();

    let here = World::new(Setup::default()).await;
    let victim = here.start(plan(vec![call("unsafe_effect", json!({}))])).await;
    let mut forged = recording.clone();
    for entry in &mut forged.entries {
        if let Event::ChildStarted { child, .. } = &mut entry.event {
            *child = victim.id;
        }
    }
    let refused = here.orchestrator.import(&forged, "mallory", None).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_request", "{refused}");
    assert!(here.repository.load(task.id).await.unwrap().is_none());
    // As it was exported it is what it says.
    here.orchestrator.import(&recording, "mallory", None).await.unwrap();
}
