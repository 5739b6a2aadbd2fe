//! Limits that are reached: budgets over branches, plans that are too long, depths of answers.

use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Budget, Event, Limits, PauseReason, Plan, Status, StepType};
use serde_json::{Value, json};

use crate::world::{Setup, call, plan, request, step};

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_exceeded_by_no_more_than_one_call_in_flight_per_branch() {
    const BRANCHES: u32 = 4;
    const LIMIT: u64 = 60_000;
    /// What each call consumes, five times what is reserved for it.
    const CALL: u64 = 20_000;
    // Four characters are a token.
    let long = "four".repeat(CALL as usize);
    let script = json!({"rules": [{"delayMs": 10, "reply": {"text": long}}]});
    let limits = Limits { max_parallel_steps: BRANCHES, ..Limits::default() };
    let world = super::world(Setup { script, limits, ..Setup::default() }).await;
    let thinking = |index: usize| step(StepType::LlmReasoning, &format!("think {index}"));
    let mut steps: Plan = plan((0..40).map(thinking).collect());
    steps.steps.iter_mut().for_each(|step| step.depends_on.clear());
    let budget = Budget { tokens: Some(LIMIT), ..Budget::default() };
    let request = TaskRequest { plan: Some(steps), budget, ..request("Think a lot") };
    let id = world.orchestrator.start(request).await.unwrap().id;
    let worker = world.work("w");
    world.until(id, |task| task.status() == Status::Paused).await;
    worker.stop().await;
    let task = world.repository.load(id).await.unwrap().unwrap();
    assert_eq!(task.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Budget));
    let used = task.consumed(task.state().updated_at).tokens;
    let most = LIMIT + u64::from(BRANCHES) * (CALL + 1_000);
    assert!(used >= CALL && used <= most, "{used} tokens of {LIMIT} were used");
    assert!(task.state().spent.reserved.is_nothing(), "nothing is in flight any more");
    world.is_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_would_make_the_plan_too_long_is_not_taken() {
    let revised: Vec<_> =
        (0..20).map(|n| json!({"id": n.to_string(), "description": "x", "type": "llm-reasoning"})).collect();
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"reason": "more", "steps": revised}}},
        {"reply": {"text": "thought"}},
    ]});
    let limits = Limits { max_steps: 10, ..Limits::default() };
    let world = super::world(Setup { script, limits, ..Setup::default() }).await;
    let task = world.start(plan(vec![call("broken", json!({}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert!(task.steps().len() <= 10, "{} steps", task.steps().len());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_the_provider_finds_too_long_is_summarised_once_and_asked_once_more() {
    let overflows =
        |times: u32| json!({"role": "execute", "times": times, "reply": {"error": {"kind": "overflow"}}});
    let rules = |overflow: Value| {
        json!({"rules": [
            {"role": "summarize", "reply": {"text": "In short."}},
            overflow,
            {"role": "execute", "reply": {"text": "done"}},
        ]})
    };
    for (times, status) in [(1, Status::Completed), (2, Status::Failed)] {
        let limits = Limits { max_replans: 0, ..Limits::default() };
        let world = super::world(Setup { script: rules(overflows(times)), limits, ..Setup::default() }).await;
        let read = call("read", json!({"text": "a long story ".repeat(2_000)}));
        let task = world.start(plan(vec![read, step(StepType::LlmReasoning, "Write")])).await;
        let _worker = world.work("w");
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), status, "{times} times: {:?}", task.state().fault);
        let journal = world.journal(task.id).await;
        let summaries = journal.iter().filter(|entry| entry.event.kind() == "context_summarized").count();
        let asked =
            journal.iter().filter(|entry| matches!(entry.event, Event::ModelRequested { .. })).count();
        assert_eq!((summaries, asked), (1, 2), "{times} times: one summary, and one more call behind it");
        world.is_sound(task.id).await;
    }
}
