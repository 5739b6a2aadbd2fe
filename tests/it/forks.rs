//! Forks and retries: what is recorded is never done again, not even by another task.

use longhaul::models::{Models, ModelsConfig};
use longhaul::orchestrator::{ForkAt, ForkWish, OrchestratorError, RetryWish, TaskRequest};
use longhaul::repository::Retention;
use longhaul::task::{CallAt, Event, Limits, Payload, PlannedStep, Status, StepStatus, StepType, Task};
use serde_json::{Value, json};

use crate::world::{Setup, World, call, plan, request, step};

async fn content(world: &World, payload: &Payload) -> Value {
    world.repository.content(payload).await.unwrap()
}

fn from_first() -> RetryWish {
    RetryWish { from_step: Some(0), ..RetryWish::default() }
}

/// The names of the tools that were called, in order.
fn called(world: &World) -> Vec<String> {
    world.ledger.lock().unwrap().iter().map(|(_, tool)| tool.clone()).collect()
}

/// A task of three calls that is done: reads, changes the world, reads.
async fn done(world: &World) -> Task {
    let steps = vec![
        call("read", json!({"n": 1})),
        call("unsafe_effect", json!({"amount": 7})),
        call("keyed", json!({"after": {"$output": "step-2"}})),
    ];
    let task = world.start(plan(steps)).await;
    world.ended(task.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_completed_stays_completed_and_no_tool_is_called_for_it() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let task = done(&world).await;
    let fork = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::Entry(9)), "anna").await;
    let refused = fork.unwrap_err();
    let OrchestratorError::WouldRepeat(effects) = &refused else { panic!("{refused}") };
    assert_eq!(effects.iter().map(|effect| effect.step).collect::<Vec<_>>(), [1, 2], "{refused}");

    let mut wish = ForkWish::at(ForkAt::Step(2));
    wish.repeat_effects = true;
    let fork = world.orchestrator.fork(task.id, wish, "anna").await.unwrap();
    assert_eq!(fork.spec().forked_from.map(|from| from.task), Some(task.id));
    let ended = world.ended(fork.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(called(&world), ["read", "unsafe_effect", "keyed", "keyed"]);
    for index in [0, 1] {
        assert_eq!(ended.step(index).unwrap().output, task.step(index).unwrap().output);
    }
    assert_eq!(ended.state().usage.tool_calls, 1, "the others were the other task's");
    let kinds = world.kinds(fork.id).await;
    let forked = kinds.iter().position(|kind| *kind == "forked").unwrap();
    assert!(kinds[..forked].contains(&"step_completed") && kinds[forked..].contains(&"claimed"), "{kinds:?}");
    world.is_sound(fork.id).await;

    let diff = world.orchestrator.compare(task.id, fork.id).await.unwrap();
    let inherited: Vec<bool> = diff.steps.iter().map(|step| step.b.as_ref().unwrap().inherited).collect();
    assert_eq!(inherited, [true, true, false]);
    assert_eq!(diff.steps.iter().map(|step| step.same).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_a_new_task_that_does_the_failed_step_anew() {
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let steps = vec![
        call("unsafe_effect", json!({})),
        call("flaky", json!({"failures": 3})),
        call("read", json!({})),
    ];
    let task = world.start(plan(steps)).await;
    let failed = world.ended(task.id).await;
    assert_eq!(failed.status(), Status::Failed);
    let again = world.orchestrator.retry(task.id, RetryWish::default(), "anna").await.unwrap();
    let ended = world.ended(again.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(called(&world).iter().filter(|tool| *tool == "unsafe_effect").count(), 1);
    assert_eq!(ended.step(1).unwrap().attempts, 1);
    assert_eq!(world.repository.load(task.id).await.unwrap().unwrap(), failed, "the end is never left");
    world.is_sound(again.id).await;

    let refused = world.orchestrator.retry(ended.id, RetryWish::default(), "anna").await.unwrap_err();
    assert!(matches!(refused, OrchestratorError::Invalid { field: "step", .. }), "{refused}");
    let refused = world.orchestrator.retry(ended.id, from_first(), "anna").await.unwrap_err();
    assert_eq!(refused.code(), "effects_would_repeat", "{refused}");
    let running = world.start(plan(vec![call("hang", json!({}))])).await;
    world.until(running.id, |task| task.status() == Status::Running).await;
    let refused = world.orchestrator.retry(running.id, RetryWish::default(), "anna").await.unwrap_err();
    assert_eq!(refused.to_string(), format!("Cannot retry task with status: {}", Status::Running));
}

/// A model that makes two calls and answers with what it read last.
fn payments(name: &str) -> Value {
    json!({"rules": [
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [{"tool": "unsafe_effect", "arguments": {"n": 1}}]}},
        {"role": "execute", "turn": 1, "reply": {"toolCalls": [{"tool": "read", "arguments": {"by": name}}]}},
        {"role": "execute", "contains": "INSTEAD", "reply": {"text": format!("{name} read what was put there")}},
        {"role": "execute", "reply": {"text": format!("{name} is done")}},
    ]})
}

async fn two_models() -> (tempfile::TempDir, Models) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, payments(name).to_string()).unwrap();
        (name.to_owned(), path)
    };
    let config = ModelsConfig {
        default: Some("scripted/first".parse().unwrap()),
        scripted: [file("first"), file("second")].into(),
        ..ModelsConfig::default()
    };
    let models = Models::open(&config, &|_| None).await.unwrap();
    (directory, models)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_goes_on_in_the_middle_of_a_step() {
    let (_scripts, models) = two_models().await;
    let world = World::new(Setup { models: Some(models), ..Setup::default() }).await;
    let _worker = world.work("w");
    let task = world.start(plan(vec![step(StepType::ToolCall, "Pay")])).await;
    let first = world.ended(task.id).await;
    assert_eq!(content(&world, first.state().output.as_ref().unwrap()).await, json!("first is done"));
    let journal = world.journal(task.id).await;
    let paid = journal.iter().find(|entry| entry.event.kind() == "tool_returned").unwrap().seq;

    let wish = ForkWish {
        chat_model: Some("scripted/second".parse().unwrap()),
        ..ForkWish::at(ForkAt::Entry(paid))
    };
    let fork = world.orchestrator.fork(task.id, wish, "anna").await.unwrap();
    let ended = world.ended(fork.id).await;
    assert_eq!(content(&world, ended.state().output.as_ref().unwrap()).await, json!("second is done"));
    assert_eq!(called(&world), ["unsafe_effect", "read", "read"], "the payment is not made again");
    assert_eq!(ended.state().usage.model_calls, 2, "the first turn was the other task's");
    world.is_sound(fork.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_result_and_another_prompt_lead_elsewhere() {
    let (_scripts, models) = two_models().await;
    let world = World::new(Setup { models: Some(models), ..Setup::default() }).await;
    let _worker = world.work("w");
    let task = world.start(plan(vec![step(StepType::ToolCall, "Pay")])).await;
    world.ended(task.id).await;
    let call = CallAt { step: 0, call: 4 };
    let wish = ForkWish {
        prompt: Some("Be brief".to_owned()),
        ..ForkWish::at(ForkAt::Result { call, value: json!("INSTEAD") })
    };
    let fork = world.orchestrator.fork(task.id, wish, "anna").await.unwrap();
    let journal = world.journal(fork.id).await;
    let replaced = journal.iter().find_map(|entry| match &entry.event {
        Event::Forked { replaced, .. } => *replaced,
        _ => None,
    });
    assert_eq!(replaced, Some(call));
    let ended = world.ended(fork.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(called(&world), ["unsafe_effect", "read"], "both results are recorded");
    assert_eq!(ended.state().messages.len(), 1);
    assert_eq!(ended.step(0).unwrap().status, StepStatus::Completed);
    world.is_sound(fork.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_contents_are_shared_and_a_journal_that_was_removed_is_not_forked() {
    let world = World::new(Setup::default()).await;
    let worker = world.work("w");
    let text = "x".repeat(5000);
    let task = world.start(plan(vec![call("read", json!({"text": text})), call("read", json!({}))])).await;
    world.ended(task.id).await;
    let fork = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::Step(1)), "anna").await.unwrap();
    let ended = world.ended(fork.id).await;
    worker.stop().await;
    let output = ended.step(0).unwrap().output.clone().unwrap();
    assert!(matches!(output, Payload::Blob { .. }));
    let (a, b) = (world.journal(task.id).await, world.journal(fork.id).await);
    let hash = |entries: &[longhaul::task::Entry]| {
        entries.iter().find_map(|entry| match &entry.event {
            Event::ToolReturned { result, .. } => Some(result.hash()),
            _ => None,
        })
    };
    assert_eq!(hash(&a), hash(&b));
    let everything = Retention { tasks: None, traces: Some(std::time::Duration::ZERO) };
    world.repository.prune(&everything).await.unwrap();
    let refused = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::End), "anna").await.unwrap_err();
    assert!(refused.to_string().contains("its journal was removed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_not_inherited_before_it_is_used() {
    let world = World::new(Setup::default()).await;
    let approval = serde_json::from_value(json!({"classes": ["unsafe"]})).unwrap();
    let plan = plan(vec![call("read", json!({})), call("unsafe_effect", json!({}))]);
    let request = TaskRequest { plan: Some(plan), approval: Some(approval), ..request("Do it") };
    let task = world.orchestrator.start(request).await.unwrap();
    let worker = world.work("w");
    world.until(task.id, |task| task.status() == Status::Paused).await;
    worker.stop().await;
    let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
    let id = open[0].id.parse().unwrap();
    world.orchestrator.decide(id, longhaul::orchestrator::Decision::Approve(None), "anna").await.unwrap();
    let fork = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::End), "anna").await.unwrap();
    let _worker = world.work("w");
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    world.until(fork.id, |task| task.status() == Status::Paused).await;
    assert_eq!(called(&world), ["read", "unsafe_effect"]);
    world.is_sound(fork.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_that_changes_the_world_is_no_place_to_fork() {
    let world = World::new(Setup::default()).await;
    let worker = world.work("w");
    let task = world.start(plan(vec![call("hang", json!({}))])).await;
    world.until(task.id, |task| task.step(0).is_some_and(|step| !step.calls.is_empty())).await;
    let refused = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::End), "anna").await.unwrap_err();
    assert!(refused.to_string().contains("call 1 of step 1 was in flight there"), "{refused}");
    world.orchestrator.cancel(task.id, "anna").await.unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_only_the_items_that_failed_are_done_anew() {
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let list = PlannedStep {
        for_each: Some(serde_json::from_value(json!({"items": [0, 6], "parallel": 1})).unwrap()),
        ..call("flaky", json!({"failures": {"$item": true}}))
    };
    let task = world.start(plan(vec![list, call("read", json!({}))])).await;
    assert_eq!(world.ended(task.id).await.status(), Status::Failed);
    let calls = called(&world).len();
    let again = world.orchestrator.retry(task.id, RetryWish::default(), "anna").await.unwrap();
    let ended = world.ended(again.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(
        called(&world)[calls..],
        ["flaky", "flaky", "flaky", "read"],
        "the first item is not called again"
    );
    world.is_sound(again.id).await;
    let whole = world.orchestrator.retry(again.id, from_first(), "anna").await.unwrap();
    assert_eq!(whole.steps().len(), 2, "the list is found anew");
    assert_eq!(world.ended(whole.id).await.status(), Status::Completed);
    world.is_sound(whole.id).await;
}
