//! People: approvals, questions, messages; what waits for them survives everything but an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use longhaul::orchestrator::{
    Decision, OpenRequest, OrchestratorError, OutcomeDecision, RequestId, RequestKind, TaskRequest,
};
use longhaul::task::{
    ApprovalWish, Budget, Event, Limits, OnExpiry, PauseReason, Payload, Plan, PlannedStep, Status,
    StepStatus, StepType, Task, TaskId,
};
use serde_json::{Value, json};

use crate::world::{Setup, World, call, plan, request, step};

/// Every unsafe call needs approval.
fn cautious() -> ApprovalWish {
    serde_json::from_value(json!({"classes": ["unsafe"]})).unwrap()
}

async fn start(world: &World, plan: Plan, approval: ApprovalWish) -> Task {
    let request = TaskRequest { plan: Some(plan), approval: Some(approval), ..request("Do it") };
    world.orchestrator.start(request).await.unwrap()
}

async fn scripted(rules: Value) -> World {
    World::new(Setup { script: json!({"rules": rules}), ..Setup::default() }).await
}

async fn paused(world: &World, id: TaskId, reason: PauseReason) -> Task {
    world.until(id, |task| task.state().pause.as_ref().is_some_and(|pause| pause.reason == reason)).await
}

async fn inbox(world: &World) -> Vec<OpenRequest> {
    world.orchestrator.inbox(Some("user"), 100).await.unwrap()
}

async fn decide(world: &World, id: &str, decision: Decision) -> Result<Task, OrchestratorError> {
    world.orchestrator.decide(id.parse::<RequestId>().unwrap(), decision, "anna").await
}

/// The arguments with which a tool was dispatched, in order.
async fn dispatched(world: &World, id: TaskId, name: &str) -> Vec<Value> {
    let journal = world.journal(id).await;
    let arguments = journal.into_iter().filter_map(|entry| match entry.event {
        Event::ToolDispatched { tool, arguments: Payload::Inline(arguments), .. } if tool == name => {
            Some(arguments)
        }
        _ => None,
    });
    arguments.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_approval_and_an_approval_is_used_once() {
    let world = World::new(Setup::default()).await;
    let steps = vec![call("read", json!({})), call("unsafe_effect", json!({"amount": 7}))];
    let task = start(&world, plan(steps), cautious()).await;
    let _worker = world.work("w");
    let waiting = paused(&world, task.id, PauseReason::Approval).await;
    assert!(
        waiting
            .state()
            .pause
            .as_ref()
            .unwrap()
            .detail
            .contains(r#"unsafe_effect {"amount":7} needs approval"#)
    );
    assert!(dispatched(&world, task.id, "unsafe_effect").await.is_empty());
    let open = inbox(&world).await;
    let [asked] = open.as_slice() else { panic!("{open:?}") };
    assert_eq!(
        (asked.kind, asked.step, asked.tool.as_deref()),
        (RequestKind::Approval, Some(1), Some("unsafe_effect"))
    );
    assert_eq!(asked.arguments, Some(json!({"amount": 7})));
    assert!(matches!(
        world.orchestrator.resume(task.id, "anna").await,
        Err(OrchestratorError::Invalid { .. })
    ));
    let wrong = decide(&world, &asked.id, Decision::Answer(json!("yes"))).await;
    assert!(matches!(wrong, Err(OrchestratorError::Invalid { .. })));
    decide(&world, &asked.id, Decision::Approve(None)).await.unwrap();
    let again = decide(&world, &asked.id, Decision::Approve(None)).await;
    assert!(matches!(again, Err(OrchestratorError::Closed)), "{again:?}");
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(dispatched(&world, task.id, "unsafe_effect").await, [json!({"amount": 7})]);
    assert!(inbox(&world).await.is_empty());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_arguments_and_the_same_ones_again_need_a_new_approval() {
    let call =
        |amount: u32| json!({"toolCalls": [{"tool": "unsafe_effect", "arguments": {"amount": amount}}]});
    let world = scripted(json!([
        {"role": "execute", "turn": 0, "reply": call(1)},
        {"role": "execute", "turn": 1, "reply": call(2)},
        {"role": "execute", "turn": 2, "reply": call(1)},
        {"role": "execute", "reply": {"text": "done"}},
    ]))
    .await;
    let task = start(&world, plan(vec![step(StepType::ToolCall, "Pay")]), cautious()).await;
    let _worker = world.work("w");
    let mut asked = Vec::new();
    for _ in 0..3 {
        let known = asked.len();
        world
            .until(task.id, |task| {
                task.status() == Status::Paused
                    && task.asks().next().is_some_and(|(_, call, _)| call.number as usize > known * 2)
            })
            .await;
        let open = inbox(&world).await;
        asked.push(open[0].arguments.clone().unwrap()["amount"].as_u64().unwrap());
        decide(&world, &open[0].id, Decision::Approve(None)).await.unwrap();
    }
    world.ended(task.id).await;
    assert_eq!(asked, [1, 2, 1]);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_told_to_the_model_and_fails_a_planned_call() {
    let world = scripted(json!([
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [{"tool": "unsafe_effect", "arguments": {}}]}},
        {"role": "execute", "contains": "denied by anna: not today", "reply": {"text": "I was not allowed to."}},
    ]))
    .await;
    let task = start(&world, plan(vec![step(StepType::ToolCall, "Pay")]), cautious()).await;
    let _worker = world.work("w");
    paused(&world, task.id, PauseReason::Approval).await;
    let open = inbox(&world).await;
    decide(&world, &open[0].id, Decision::Deny("not today".into())).await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(
        ended.state().output,
        Some(Payload::text("I was not allowed to.")),
        "{:?}",
        ended.state().fault
    );

    let optional = PlannedStep { optional: true, ..call("unsafe_effect", json!({})) };
    let task = start(&world, plan(vec![optional, call("read", json!({}))]), cautious()).await;
    paused(&world, task.id, PauseReason::Approval).await;
    let open = inbox(&world).await;
    decide(&world, &open[0].id, Decision::Deny(String::new())).await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    let fault = ended.steps()[0].fault.clone().unwrap();
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("approval_denied", "denied by anna"));
    assert!(world.calls().len() == 1, "only the read was called: {:?}", world.calls());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_change_the_arguments_and_the_model_is_told() {
    let world = scripted(json!([
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [{"tool": "unsafe_effect", "arguments": {"amount": 700}}]}},
        {"role": "execute", "contains": "changed the arguments to {\"amount\":7}", "reply": {"text": "Paid 7."}},
    ]))
    .await;
    let task = start(&world, plan(vec![step(StepType::ToolCall, "Pay")]), cautious()).await;
    let _worker = world.work("w");
    paused(&world, task.id, PauseReason::Approval).await;
    let open = inbox(&world).await;
    let text = decide(&world, &open[0].id, Decision::Approve(Some(json!("7")))).await;
    assert!(matches!(text, Err(OrchestratorError::Invalid { field: "arguments", .. })));
    decide(&world, &open[0].id, Decision::Approve(Some(json!({"amount": 7})))).await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(dispatched(&world, task.id, "unsafe_effect").await, [json!({"amount": 7})]);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_steps_go_on_while_one_waits_for_approval() {
    let world = World::new(Setup::default()).await;
    let beside = PlannedStep { id: "b".into(), ..call("keyed", json!({})) };
    let steps = vec![PlannedStep { id: "a".into(), ..call("unsafe_effect", json!({})) }, beside];
    let task = start(&world, Plan { steps }, cautious()).await;
    let _worker = world.work("w");
    let waiting = paused(&world, task.id, PauseReason::Approval).await;
    let states: Vec<StepStatus> = waiting.steps().iter().map(|step| step.status).collect();
    assert_eq!(states, [StepStatus::Running, StepStatus::Completed]);
    let open = inbox(&world).await;
    decide(&world, &open[0].id, Decision::Outcome(OutcomeDecision::Skip)).await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_waits_for_approval_before_its_first_step() {
    let world = World::new(Setup::default()).await;
    let wish = || ApprovalWish { plan: true, ..ApprovalWish::default() };
    let task = start(&world, plan(vec![call("read", json!({}))]), wish()).await;
    assert_eq!(task.status(), Status::Paused, "before any worker looked at it");
    let _worker = world.work("w");
    let open = inbox(&world).await;
    assert_eq!((open[0].kind, open[0].step), (RequestKind::Plan, None));
    decide(&world, &open[0].id, Decision::Approve(None)).await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    world.is_sound(task.id).await;

    let task = start(&world, plan(vec![call("read", json!({}))]), wish()).await;
    let open = inbox(&world).await;
    let denied = decide(&world, &open[0].id, Decision::Deny("too expensive".into())).await.unwrap();
    assert_eq!(denied.status(), Status::Failed);
    assert!(denied.state().fault.clone().unwrap().message.contains("too expensive"));
    world.is_sound(task.id).await;
    assert_eq!(world.calls().len(), 1);
    assert_eq!(task.status(), Status::Paused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_asks_a_person_and_goes_on_with_the_answer() {
    let question = json!({"question": "Which colour?", "choices": ["red", "blue"]});
    let world = scripted(json!([
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [{"tool": "ask_person", "arguments": question}]}},
        {"role": "execute", "contains": "blue", "reply": {"text": "Blue it is."}},
    ]))
    .await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Ask")])).await;
    let _worker = world.work("w");
    paused(&world, task.id, PauseReason::Input).await;
    let open = inbox(&world).await;
    assert_eq!((open[0].kind, &open[0].arguments), (RequestKind::Input, &Some(question)));
    let green = decide(&world, &open[0].id, Decision::Answer(json!("green"))).await;
    assert!(matches!(green, Err(OrchestratorError::Invalid { field: "answer", .. })), "{green:?}");
    decide(&world, &open[0].id, Decision::Answer(json!("blue"))).await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.state().output, Some(Payload::text("Blue it is.")), "{:?}", ended.state().fault);
    world.is_sound(task.id).await;
}

/// A clock that a test moves.
fn moved_clock(world: &World) -> (Arc<AtomicI64>, longhaul::orchestrator::Orchestrator) {
    let ahead = Arc::new(AtomicI64::new(0));
    let (seen, real) = (ahead.clone(), world.orchestrator.clock());
    let clock =
        Arc::new(move || real().plus(Duration::from_millis(seen.load(Ordering::SeqCst).unsigned_abs())));
    let orchestrator = world.orchestrator.clone().with_clock(clock);
    (ahead, orchestrator)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_approves_expires_as_was_agreed() {
    // A failed step ends the task here, for nobody makes another plan.
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let (ahead, later) = moved_clock(&world);
    let _worker = world.work("w");
    for (on_expiry, status, code) in [
        (OnExpiry::Deny, Status::Failed, "approval_denied"),
        (OnExpiry::Fail, Status::Failed, "approval_expired"),
        (OnExpiry::Cancel, Status::Cancelled, ""),
    ] {
        ahead.store(0, Ordering::SeqCst);
        let wish = ApprovalWish { on_expiry: Some(on_expiry), ..cautious() };
        let task = start(&world, plan(vec![call("unsafe_effect", json!({}))]), wish).await;
        paused(&world, task.id, PauseReason::Approval).await;
        let open = inbox(&world).await;
        assert_eq!(later.expire_requests().await.unwrap(), 0, "it has a day");
        ahead.store(25 * 3600 * 1000, Ordering::SeqCst);
        let id = open[0].id.parse().unwrap();
        let late = later.decide(id, Decision::Approve(None), "anna").await;
        assert!(matches!(late, Err(OrchestratorError::Closed)), "{late:?}");
        assert_eq!(later.expire_requests().await.unwrap(), 1);
        assert_eq!(later.expire_requests().await.unwrap(), 0, "once");
        let ended = world.ended(task.id).await;
        assert_eq!(ended.status(), status);
        assert_eq!(ended.state().fault.as_ref().map_or("", |fault| fault.code.as_str()), code);
        world.is_sound(task.id).await;
    }
    assert!(world.calls().is_empty(), "nothing was dispatched");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_behind_a_task_that_cannot_be_read_expires_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longhaul.db");
    let repository = longhaul::repository::SqliteRepository::open(&path, Default::default()).await.unwrap();
    repository.prepare().await.unwrap();
    let world = World::new(Setup { repository: Some(Arc::new(repository)), ..Setup::default() }).await;
    let (ahead, later) = moved_clock(&world);
    let worker = world.work("w");
    let wish = || ApprovalWish { on_expiry: Some(OnExpiry::Cancel), ..cautious() };
    let waits = async || {
        let task = start(&world, plan(vec![call("unsafe_effect", json!({}))]), wish()).await;
        paused(&world, task.id, PauseReason::Approval).await.id
    };
    let (behind, broken) = (waits().await, waits().await);
    worker.kill().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut raw = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let unreadable = "UPDATE task_execution_step SET depends_on = '\"x\"' WHERE task_id = $1";
    sqlx::query(unreadable).bind(broken.0).execute(&mut raw).await.unwrap();
    assert!(world.repository.load(broken).await.is_err());
    ahead.store(25 * 3600 * 1000, Ordering::SeqCst);
    // The newest task is looked at first, so the broken one is met before the other.
    assert_eq!(later.expire_requests().await.unwrap(), 1);
    assert_eq!(world.ended(behind).await.status(), Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_people_take_is_not_on_the_budget() {
    const HOUR_MS: u64 = 3_600_000;
    let mut world = World::new(Setup::default()).await;
    let (ahead, later) = moved_clock(&world);
    world.orchestrator = later;
    let most_of_a_day_later = || ahead.fetch_add(20 * HOUR_MS as i64, Ordering::SeqCst);
    let request = TaskRequest {
        plan: Some(plan(vec![call("unsafe_effect", json!({})), call("read", json!({}))])),
        approval: Some(cautious()),
        budget: Budget { wall_time_ms: Some(HOUR_MS), ..Budget::default() },
        ..request("Do it")
    };
    let id = world.orchestrator.start(request).await.unwrap().id;
    world.orchestrator.pause(id, "anna").await.unwrap();
    most_of_a_day_later();
    world.orchestrator.resume(id, "anna").await.unwrap();
    let _worker = world.work("w");
    let waiting = paused(&world, id, PauseReason::Approval).await;
    most_of_a_day_later();
    assert!(waiting.consumed(world.orchestrator.now()).wall_time_ms < HOUR_MS, "while it waits");
    let open = inbox(&world).await;
    decide(&world, &open[0].id, Decision::Approve(None)).await.unwrap();
    let ended = world.ended(id).await;
    assert_eq!(ended.status(), Status::Completed);
    assert!(ended.consumed(world.orchestrator.now()).wall_time_ms < HOUR_MS);
    world.is_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_read_at_the_next_turn_and_by_later_steps() {
    let world = scripted(json!([
        {"role": "execute", "contains": "Your step (step-1)", "turn": 0, "reply":
            {"toolCalls": [{"tool": "slow_reading", "arguments": {"ms": 300}}]}},
        {"role": "execute", "contains": "Write in French", "turn": 1, "reply": {"text": "Bonjour"}},
        {"role": "execute", "contains": "- Write in French", "turn": 0, "reply": {"text": "Au revoir"}},
    ]))
    .await;
    let steps = vec![step(StepType::ToolCall, "Greet"), step(StepType::LlmReasoning, "Say goodbye")];
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    world.until(task.id, |task| task.steps()[0].calls.len() == 2).await;
    world.orchestrator.send_message(task.id, " Write in French ", "anna").await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(ended.steps()[0].output, Some(Payload::text("Bonjour")));
    assert_eq!(ended.state().output, Some(Payload::text("Au revoir")));
    let too_late = world.orchestrator.send_message(task.id, "Thanks", "anna").await;
    assert!(matches!(too_late, Err(OrchestratorError::NotNow { .. })), "{too_late:?}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_during_the_last_turn_is_answered_too_and_after_a_crash_read_once() {
    let world = scripted(json!([
        {"role": "execute", "turn": 0, "delayMs": 300, "reply": {"text": "Too long a story"}},
        {"role": "execute", "turn": 1, "contains": "Shorter", "reply": {"toolCalls": [
            {"tool": "unsafe_effect", "arguments": {}}]}},
        {"role": "execute", "turn": 2, "reply": {"text": "Short"}},
    ]))
    .await;
    let task = start(&world, plan(vec![step(StepType::ToolCall, "Tell")]), cautious()).await;
    let worker = world.work("w");
    world.until(task.id, |task| task.steps()[0].calls.len() == 1).await;
    world.orchestrator.send_message(task.id, "Shorter", "anna").await.unwrap();
    paused(&world, task.id, PauseReason::Approval).await;
    worker.kill().await;
    let _second = world.work("x");
    let open = inbox(&world).await;
    decide(&world, &open[0].id, Decision::Approve(None)).await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.state().output, Some(Payload::text("Short")), "{:?}", ended.state().fault);
    let heard: Vec<Option<i64>> = world
        .journal(task.id)
        .await
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::ModelRequested { heard, .. } => Some(*heard),
            _ => None,
        })
        .collect();
    assert_eq!(heard[0], None);
    assert!(heard[1].is_some() && heard[1] == heard[2], "{heard:?}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_the_call_in_flight_and_tells_which_effects_did_happen() {
    let world = World::new(Setup::default()).await;
    let steps = vec![
        call("read", json!({})),
        call("keyed", json!({"n": 1})),
        call("unsafe_effect", json!({"n": 2})),
        call("hang", json!({})),
    ];
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    world.until(task.id, |task| task.steps()[3].calls.len() == 1).await;
    world.orchestrator.cancel(task.id, "anna").await.unwrap();
    // The call obeys the cancel; that nobody knows its outcome is recorded behind the end.
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while world.kinds(task.id).await.last() != Some(&"call_lost") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    patience.await.unwrap();
    let effects = world.orchestrator.effects(task.id).await.unwrap();
    let seen: Vec<(&str, Value)> =
        effects.iter().map(|effect| (effect.tool.as_str(), json!(effect.state))).collect();
    let expected =
        [("keyed", json!("committed")), ("unsafe_effect", json!("committed")), ("hang", json!("unknown"))];
    assert_eq!(seen, expected);
    assert_eq!(effects[1].key, Task::idempotency_key(task.id, 2, 1));
    world.is_sound(task.id).await;
}
