//! Plans: lists that are found on the way, conditions, and what is left of a plan when it is revised.

use std::time::Duration;

use longhaul::orchestrator::{OrchestratorError, TaskRequest};
use longhaul::task::{Event, Limits, Payload, Plan, PlannedStep, Status, StepStatus, StepType, Task};
use serde_json::{Value, json};

use crate::world::{Setup, World, call, request, step};

/// A plan whose steps say themselves what they wait for.
fn free(steps: Vec<PlannedStep>) -> Plan {
    let steps = (1..).zip(steps).map(|(n, step)| PlannedStep { id: format!("step-{n}"), ..step });
    Plan { steps: steps.collect() }
}

fn for_each(for_each: Value, step: PlannedStep) -> PlannedStep {
    PlannedStep { for_each: Some(serde_json::from_value(for_each).unwrap()), ..step }
}

fn when(condition: Value, step: PlannedStep) -> PlannedStep {
    PlannedStep { when: Some(serde_json::from_value(condition).unwrap()), ..step }
}

/// A step that finds a list: `read` gives back what it was given.
fn finds(items: Value) -> PlannedStep {
    call("read", json!({"files": items}))
}

const FOUND: &str = "/given/files";

async fn output(world: &World, step: &longhaul::task::Step) -> Value {
    world.repository.content(step.output.as_ref().unwrap()).await.unwrap()
}

fn without_replans() -> Setup {
    Setup { limits: Limits { max_replans: 0, ..Limits::default() }, ..Setup::default() }
}

#[tokio::test]
async fn a_step_is_carried_out_for_each_item_that_an_earlier_one_found_and_those_behind_it_wait_for_all() {
    let world = World::new(Setup::default()).await;
    let list = for_each(
        json!({"items": {"$output": "step-1", "pointer": FOUND}}),
        PlannedStep {
            description: "Look at {{item}}".into(),
            ..call("keyed", json!({"path": {"$item": true}, "note": "it is {{item}}"}))
        },
    );
    let last = PlannedStep {
        depends_on: vec![1],
        ..call("read", json!({"all": {"$output": "step-2", "pointer": "/2/given/path"}}))
    };
    let task = world.start(free(vec![finds(json!(["a.rs", "b.rs", "c.rs"])), list, last])).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let ids: Vec<&str> = task.steps().iter().map(|step| step.plan.id.as_str()).collect();
    assert_eq!(ids, ["step-1", "step-2", "step-3", "step-2.1", "step-2.2", "step-2.3"]);
    assert_eq!(task.steps()[4].plan.description, "Look at b.rs");
    let joined = output(&world, &task.steps()[1]).await;
    let given: Vec<&Value> = joined.as_array().unwrap().iter().map(|one| &one["given"]).collect();
    assert_eq!(given[1], &json!({"path": "b.rs", "note": "it is b.rs"}));
    assert_eq!(output(&world, &task.steps()[2]).await["given"], json!({"all": "c.rs"}));
    assert_eq!(task.total_steps(), 6);
    assert_eq!(task.progress(), 100);
    assert_eq!(
        task.state().output,
        task.steps()[2].output,
        "the answer is that of the plan's last step, not that of an item"
    );
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn no_more_items_run_side_by_side_than_their_list_allows() {
    let limits = Limits { max_parallel_steps: 50, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let items: Vec<u32> = (0..12).collect();
    let list = for_each(json!({"items": items, "parallel": 3}), call("slow_reading", json!({"ms": 30})));
    let beside = call("slow_reading", json!({"ms": 30}));
    let task = world.start(free(vec![list, beside])).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    let (mut running, mut most) = (0_i32, 0);
    for entry in world.journal(task.id).await {
        match entry.event {
            Event::StepStarted { step: 2.., .. } => running += 1,
            Event::StepCompleted { step: 2.., .. } => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    assert_eq!(most, 3);
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_failing_item_does_not_stop_the_others_and_then_fails_its_list() {
    let world = World::new(without_replans()).await;
    let list = for_each(
        json!({"items": [{"tool": 0}, {"tool": 9}, {"tool": 0}]}),
        call("flaky", json!({"failures": {"$item": true, "pointer": "/tool"}})),
    );
    let task = world.start(free(vec![list, call("read", json!({}))])).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Failed);
    let statuses: Vec<StepStatus> = task.steps()[2..].iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Completed, StepStatus::Failed, StepStatus::Completed]);
    assert_eq!(task.steps()[3].attempts, 3, "its own attempts come first");
    let fault = task.steps()[0].fault.as_ref().unwrap();
    assert_eq!(fault.code, "items_failed");
    assert!(fault.message.contains("1 of 3 items failed: step-1.2"), "{fault}");
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_list_that_allows_failures_is_done_and_tells_them() {
    let world = World::new(without_replans()).await;
    let list = for_each(
        json!({"items": [0, 9], "allowFailures": true}),
        call("flaky", json!({"failures": {"$item": true}})),
    );
    let task = world.start(free(vec![list])).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let joined = output(&world, &task.steps()[0]).await;
    assert_eq!(joined[1]["$failed"], "step-1.2");
    assert_eq!(joined[1]["code"], "tool_reported_error");
    assert!(joined[0]["given"].is_object());
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused_with_its_plan_where_that_can_be_counted() {
    let world = World::new(without_replans()).await;
    let most = longhaul::task::Limits::default().max_items;
    for (list, problem) in [
        (
            json!({"items": [1, 2, 3], "maxItems": 2}),
            "plan[0].forEach.items: the list has 3 items, at most 2 are allowed".to_owned(),
        ),
        (json!({"items": vec![1; most as usize + 1]}), format!("at most {most} are allowed")),
        (
            json!({"items": [1], "maxItems": most + 1}),
            format!("plan[0].forEach.maxItems: is {}, at most {most}", most + 1),
        ),
    ] {
        let plan = free(vec![for_each(list, call("read", json!({})))]);
        let request = TaskRequest { plan: Some(plan), ..request("Go through a list") };
        let refused = world.orchestrator.start(request).await.unwrap_err().to_string();
        assert!(refused.contains(&problem), "{refused}");
    }
}

#[tokio::test]
async fn an_empty_list_is_done_at_once_and_a_long_one_is_refused() {
    let world = World::new(without_replans()).await;
    let over = |items: Value| {
        let list = for_each(json!({"items": items, "maxItems": 2}), call("read", json!({})));
        free(vec![list])
    };
    let _working = world.work("w");
    let none = world.start(over(json!([]))).await;
    let none = world.ended(none.id).await;
    assert_eq!(none.status(), Status::Completed);
    assert_eq!(output(&world, &none.steps()[0]).await, json!([]));
    let found = json!({"$output": "step-1", "pointer": FOUND});
    let mut plan = free(vec![finds(json!([1, 2, 3])), over(found).steps.remove(0)]);
    plan.steps[1].id = "each".to_owned();
    let long = world.start(plan).await;
    let long = world.ended(long.id).await;
    assert_eq!(long.state().fault.as_ref().unwrap().code, "too_many_items");
    let text = free(vec![
        call("read", json!({"files": "no list"})),
        for_each(json!({"items": {"$output": "step-1", "pointer": FOUND}}), call("read", json!({}))),
    ]);
    let text = world.start(text).await;
    assert_eq!(world.ended(text.id).await.state().fault.as_ref().unwrap().code, "not_a_list");
}

#[tokio::test]
async fn a_list_in_a_models_words_is_a_list_and_each_item_has_a_conversation_of_its_own() {
    let script = json!({"rules": [
        {"role": "execute", "contains": "):\nName the planets", "reply": {"text": "Sure:\n```json\n[\"Mars\", \"Venus\"]\n```"}},
        {"role": "execute", "contains": "):\nDescribe Mars", "reply": {"text": "red"}},
        {"role": "execute", "contains": "):\nDescribe Venus", "reply": {"text": "hot"}},
    ]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    let list =
        for_each(json!({"items": {"$output": "step-1"}}), step(StepType::LlmReasoning, "Describe {{item}}"));
    let task = world.start(free(vec![step(StepType::LlmReasoning, "Name the planets"), list])).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    assert_eq!(output(&world, &task.steps()[1]).await, json!(["red", "hot"]));
}

#[tokio::test]
async fn items_go_on_where_a_killed_worker_left_them_and_none_is_done_twice() {
    let world = World::new(Setup::default()).await;
    let items: Vec<u32> = (0..6).collect();
    let list = for_each(json!({"items": items}), call("slow_reading", json!({"ms": 40})));
    let task = world.start(free(vec![list])).await;
    let first = world.work("first");
    world.until(task.id, |task| task.state().completed >= 2).await;
    first.kill().await;
    let done: Vec<usize> = done(&world.repository.load(task.id).await.unwrap().unwrap());
    let _second = world.work("second");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    let calls = world.calls();
    for step in done {
        let key = Task::idempotency_key(task.id, step as u32, 1);
        assert_eq!(calls[&key], 1, "what was recorded is not done again");
    }
    let fanned = world.kinds(task.id).await.iter().filter(|kind| **kind == "fanned_out").count();
    assert_eq!(fanned, 1, "the list is found once");
    world.is_sound(task.id).await;
}

fn done(task: &Task) -> Vec<usize> {
    let steps = task.steps().iter().enumerate();
    steps.filter(|(_, step)| step.status == StepStatus::Completed).map(|(index, _)| index).collect()
}

#[tokio::test]
async fn a_step_whose_condition_does_not_hold_is_skipped_with_the_reason() {
    let world = World::new(Setup::default()).await;
    let count = json!({"$output": "step-1", "pointer": "/given/count"});
    let plan = free(vec![
        call("read", json!({"count": 3})),
        when(json!({"greaterThan": [count, 5]}), call("unsafe_effect", json!({"n": 1}))),
        when(json!({"lessThan": [count, 5]}), call("keyed", json!({"n": 2}))),
        when(json!({"exists": {"$output": "step-2"}}), call("unsafe_effect", json!({"n": 3}))),
    ]);
    let task = world.start(plan).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    let statuses: Vec<StepStatus> = task.steps().iter().map(|step| step.status).collect();
    use StepStatus::{Completed, Skipped};
    assert_eq!(statuses, [Completed, Skipped, Completed, Skipped]);
    assert_eq!(task.progress(), 100, "what was left out is no work that is missing");
    let journal = world.journal(task.id).await;
    let reason = journal.iter().find_map(|entry| match &entry.event {
        Event::StepSkipped { step: 1, reason } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.unwrap().contains("greaterThan"), "the condition is named");
    let tools: Vec<String> = world.ledger.lock().unwrap().iter().map(|(_, tool)| tool.clone()).collect();
    assert_eq!(tools, ["read", "keyed"], "what is skipped is not called");
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_plan_that_refers_to_nothing_is_refused_with_the_reason() {
    let world = World::new(Setup::default()).await;
    let ghost = json!({"$output": "ghost"});
    let long = json!({"items": "no list"});
    for (plan, words) in [
        (free(vec![when(json!({"exists": ghost}), call("read", json!({})))]), "'ghost'"),
        (free(vec![for_each(json!({"items": ghost}), call("read", json!({})))]), "'ghost'"),
        (free(vec![for_each(long, call("read", json!({})))]), "plan[0].forEach.items: must be a list"),
        (free(vec![when(json!({"all": []}), call("read", json!({})))]), "plan[0].when: 'all' and 'any' need"),
    ] {
        let wanted = TaskRequest { plan: Some(plan), ..request("Do it") };
        let refused = world.orchestrator.start(wanted).await.unwrap_err();
        assert!(matches!(refused, OrchestratorError::Plan { list: "plan", .. }), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

#[tokio::test]
async fn a_task_that_is_cancelled_has_no_list_that_waits_for_its_items() {
    let world = World::new(Setup::default()).await;
    let list = for_each(json!({"items": [1, 2]}), call("hang_reading", json!({})));
    let task = world.start(free(vec![list])).await;
    let _working = world.work("w");
    world.until(task.id, |task| task.steps().len() == 3 && task.steps()[2].attempts == 1).await;
    world.orchestrator.cancel(task.id, "somebody").await.unwrap();
    let task = world.ended(task.id).await;
    let is_open = |status| matches!(status, StepStatus::Running);
    assert!(!task.steps().iter().any(|step| is_open(step.status)), "{task:#?}");
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn large_items_are_stored_once_and_named_in_the_entry() {
    let world = World::new(Setup::default()).await;
    let large = "x".repeat(5000);
    let list = for_each(json!({"items": [large, "small"]}), call("read", json!({"it": {"$item": true}})));
    let task = world.start(free(vec![list])).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(output(&world, &task.steps()[0]).await[0]["given"]["it"], json!(large));
    let journal = world.journal(task.id).await;
    let items = journal.iter().find_map(|entry| match &entry.event {
        Event::FannedOut { items, .. } => Some(items.clone()),
        _ => None,
    });
    assert!(matches!(items.unwrap()[0].value, Payload::Blob { .. }));
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_revision_keeps_what_is_done_says_what_it_changes_and_asks_for_approval_too() {
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"reason": "another way", "steps": [
            {"id": "x", "description": "Go around", "type": "tool-call", "tool": {"name": "read", "arguments": {}}}]}}},
    ]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    let plan = free(vec![
        call("read", json!({})),
        PlannedStep { depends_on: vec![0], ..call("broken", json!({})) },
        PlannedStep { depends_on: vec![1], ..call("read", json!({})) },
    ]);
    let approval = serde_json::from_value(json!({"plan": true})).unwrap();
    let wanted = TaskRequest { plan: Some(plan), approval: Some(approval), ..request("Do it") };
    let task = world.orchestrator.start(wanted).await.unwrap();
    let approve = || async {
        let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
        let id = open[0].id.parse().unwrap();
        world.orchestrator.decide(id, longhaul::orchestrator::Decision::Approve(None), "p").await.unwrap();
        open[0].description.clone()
    };
    approve().await;
    let _working = world.work("w");
    let is_second = |task: &Task| task.state().revision == 2 && task.status() == Status::Paused;
    let waiting = world.until(task.id, is_second).await;
    let revisions = world.orchestrator.revisions(&waiting).await.unwrap();
    assert_eq!(revisions[0].added.steps.len(), 3);
    assert!(revisions[0].kept.is_empty() && revisions[0].dropped.is_empty());
    let second = &revisions[1];
    assert_eq!(
        (&second.kept[..], &second.dropped[..]),
        (&["step-1".to_owned()][..], &["step-2".to_owned(), "step-3".to_owned()][..])
    );
    assert_eq!(second.added.steps[0].id, "step-4");
    assert!(second.by.as_ref().unwrap().reason.contains("another way") && second.seq.is_some());
    let asked = approve().await;
    assert!(asked.contains("+ Go around") && asked.contains("- Call a tool"), "{asked}");
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    world.is_sound(task.id).await;
}
