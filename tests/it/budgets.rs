//! What a task may consume: reserved before each call, settled after, topped up by a person.

use std::collections::BTreeMap;

use longhaul::models::{Models, ModelsConfig, Price, Request, Role};
use longhaul::orchestrator::TaskRequest;
use longhaul::task::{
    Budget, CallState, Event, Limits, PauseReason, Resource, Status, Step, StepStatus, StepType, Task,
    TaskId, TopUp, Usd,
};
use serde_json::{Value, json};

use crate::world::{Setup, World, call, plan, request, step};

const REASON: StepType = StepType::LlmReasoning;

async fn world(rules: Value) -> World {
    World::new(Setup { script: json!({"rules": rules}), ..Setup::default() }).await
}

fn wants(budget: Budget, steps: usize) -> TaskRequest {
    let steps = (0..steps).map(|index| step(REASON, &format!("think {index}"))).collect();
    TaskRequest { plan: Some(plan(steps)), budget, ..request("Do it") }
}

async fn paused(world: &World, id: TaskId) -> Task {
    let task = world.until(id, |task| task.status() == Status::Paused).await;
    assert_eq!(task.state().pause.as_ref().unwrap().reason, PauseReason::Budget);
    task
}

fn detail(task: &Task) -> &str {
    &task.state().pause.as_ref().unwrap().detail
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_fit_pauses_the_task_and_a_top_up_goes_on_at_the_same_step() {
    let world = world(json!([{"reply": {"text": "thought"}}])).await;
    // One call reserves 4096 tokens for its answer besides its prompt: after the first one, which
    // used far less, a second one does not fit any more.
    let budget = Budget { tokens: Some(4400), ..Budget::default() };
    let task = world.orchestrator.start(wants(budget, 2)).await.unwrap();
    let _worker = world.work("w");
    let task = paused(&world, task.id).await;
    assert!(detail(&task).starts_with("the budget of tokens is used up: "), "{}", detail(&task));
    let exceeded = task.state().pause.as_ref().unwrap().exceeded.expect("the limit is told as a fact");
    assert_eq!((exceeded.resource, exceeded.limit), (Resource::Tokens, 4400));
    assert!(exceeded.used + exceeded.wanted > exceeded.limit, "{exceeded:?}");
    assert_eq!(task.step(0).unwrap().status, StepStatus::Completed);
    assert_eq!((task.step(1).unwrap().status, task.step(1).unwrap().attempts), (StepStatus::Running, 1));
    let add = TopUp { tokens: 10_000, ..TopUp::default() };
    world.orchestrator.raise_budget(task.id, add, "ada").await.unwrap();
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!(task.step(1).unwrap().attempts, 1, "the step was not begun anew");
    assert_eq!(task.state().usage.model_calls, 2);
    assert!(task.state().spent.reserved.is_nothing());
    assert!(world.kinds(task.id).await.contains(&"budget_raised"));
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_for_a_prompt_is_as_much_as_its_model_may_count() {
    let world = world(json!([{"reply": {"text": "thought"}}])).await;
    let models = world.orchestrator.models();
    let model = models.for_role(Role::Execute, None).unwrap();
    let request = Request::new(Role::Execute, "Do it", "x".repeat(100_000), "y");
    let reserve = world.orchestrator.reserve_for(model.as_ref(), &request);
    let prompt = reserve.tokens - models.output_reserve();
    assert_eq!(prompt, model.tokens(request.bytes()));
    assert!(prompt > 30_000, "code and numbers have more than a token in four bytes: {prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_one_repetition_does_not_fail_the_first_call() {
    let setup = Setup {
        script: json!({"rules": [
            {"contains": "read 1", "reply": {"text": "seen"}},
            {"reply": {"toolCalls": [{"tool": "read", "arguments": {"of": "read 1"}}]}},
        ]}),
        limits: Limits { max_repeats: 1, ..Limits::default() },
        ..Setup::default()
    };
    let world = World::new(setup).await;
    let request =
        TaskRequest { plan: Some(plan(vec![step(StepType::ToolCall, "look around")])), ..request("Do it") };
    let task = world.orchestrator.start(request).await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    assert_eq!(task.state().usage.tool_calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_to_wrap_up_before_the_limit() {
    let setup = Setup {
        script: json!({"rules": [
            {"contains": "Wrap up", "reply": {"text": "what I have"}},
            {"reply": {"toolCalls": [{"tool": "read"}]}},
        ]}),
        limits: Limits { max_repeats: 100, ..Limits::default() },
        ..Setup::default()
    };
    let world = World::new(setup).await;
    let request = TaskRequest {
        plan: Some(plan(vec![step(StepType::ToolCall, "look around")])),
        budget: Budget { model_calls: Some(5), ..Budget::default() },
        ..request("Do it")
    };
    let task = world.orchestrator.start(request).await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!((task.status(), task.state().usage.model_calls), (Status::Completed, 5));
    let told = world.journal(task.id).await.into_iter().filter_map(|entry| match entry.event {
        Event::ModelRequested { parts, .. } => Some(
            parts.iter().any(|part| part.preview().contains("80 % of this task's budget of model calls")),
        ),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [false, false, false, false, true], "the prompt is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_call_reserved_stays_charged() {
    let rules =
        json!([{"times": 1, "delayMs": 600_000, "reply": {"text": "never"}}, {"reply": {"text": "thought"}}]);
    let world = world(rules).await;
    let task = world.orchestrator.start(wants(Budget::default(), 1)).await.unwrap();
    let worker = world.work("first");
    let in_flight = world.until(task.id, |task| !task.state().spent.reserved.is_nothing()).await;
    let reserved = in_flight.state().spent.reserved;
    worker.kill().await;
    let _worker = world.work("second");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!((task.state().spent.lost, task.state().usage.model_calls), (reserved, 1));
    assert_eq!(task.consumed(task.state().updated_at).model_calls, 2);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_side_by_side_share_one_budget() {
    let world = world(json!([{"delayMs": 5, "reply": {"text": "thought"}}])).await;
    let mut request = wants(Budget { model_calls: Some(3), ..Budget::default() }, 6);
    for step in &mut request.plan.as_mut().unwrap().steps {
        step.depends_on.clear();
    }
    let task = world.orchestrator.start(request).await.unwrap();
    let worker = world.work("w");
    let id = paused(&world, task.id).await.id;
    worker.stop().await;
    let task = world.repository.load(id).await.unwrap().unwrap();
    assert_eq!(task.state().usage.model_calls, 3);
    let add = TopUp { model_calls: 3, ..TopUp::default() };
    world.orchestrator.raise_budget(id, add, "ada").await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(id).await;
    assert_eq!((task.status(), task.state().usage.model_calls), (Status::Completed, 6));
    world.is_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_on_record_while_the_next_call_waits_for_its_neighbours() {
    let world = world(json!([
        {"times": 1, "delayMs": 600_000, "reply": {"text": "never"}},
        {"turn": 0, "reply": {"toolCalls": [{"tool": "slow_reading", "arguments": {"ms": 300}}]}},
        {"reply": {"text": "read"}},
    ]))
    .await;
    // Two calls fit: the second one of whoever reads waits for the end of the other step's, which never comes.
    let budget = Budget { model_calls: Some(2), ..Budget::default() };
    let mut both = plan(vec![step(StepType::ToolCall, "read"), step(StepType::ToolCall, "read, too")]);
    both.steps.iter_mut().for_each(|step| step.depends_on.clear());
    let request = TaskRequest { plan: Some(both), budget, ..request("Do it") };
    let task = world.orchestrator.start(request).await.unwrap();
    let worker = world.work("first");
    let has_read = |step: &Step| step.calls.len() == 2 && step.calls[1].state == CallState::Committed;
    world.until(task.id, |task| task.steps().iter().any(has_read)).await;
    worker.kill().await;
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_is_on_the_account_too() {
    let rules = json!([
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "think", "type": "llm-reasoning"},
        ]}}},
        {"reply": {"text": "thought"}},
    ]);
    let world = world(rules).await;
    let budget = Budget { model_calls: Some(1), ..Budget::default() };
    let request = TaskRequest { budget, ..request("Do it") };
    let task = world.orchestrator.start(request).await.unwrap();
    assert_eq!(task.state().usage.model_calls, 1);
    let _worker = world.work("w");
    let task = paused(&world, task.id).await;
    assert!(detail(&task).starts_with("the budget of model calls is used up: 1 of 1"), "{}", detail(&task));
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_and_a_planner_are_asked_only_if_the_call_fits() {
    // What a call reserves for its answer makes the second one too large, though hardly anything
    // of the budget is used.
    let budget = Budget { tokens: Some(4400), ..Budget::default() };
    let rules = json!([
        {"role": "evaluate", "reply": {"json": {"verdict": "done", "reason": "all there"}}},
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "b", "description": "think", "type": "llm-reasoning"},
        ]}}},
        {"reply": {"text": "thought"}},
    ]);
    let world = World::new(Setup { script: json!({"rules": rules}), judge: true, ..Setup::default() }).await;
    let _worker = world.work("w");
    let thinking = step(REASON, "think");
    for steps in [vec![thinking.clone()], vec![thinking, call("broken", json!({}))]] {
        let wanted = TaskRequest { plan: Some(plan(steps)), budget, ..request("Do it") };
        let task = world.orchestrator.start(wanted).await.unwrap();
        let task = paused(&world, task.id).await;
        assert_eq!(task.state().usage.model_calls, 1, "only the step was thought about");
        let add = TopUp { tokens: 100_000, ..TopUp::default() };
        world.orchestrator.raise_budget(task.id, add, "ada").await.unwrap();
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_calls_steps_and_time_run_out_too() {
    let world = world(json!([])).await;
    let tight = [
        (Budget { tool_calls: Some(1), ..Budget::default() }, TopUp { tool_calls: 1, ..TopUp::default() }),
        (Budget { steps: Some(1), ..Budget::default() }, TopUp { steps: 1, ..TopUp::default() }),
        (
            Budget { wall_time_ms: Some(1), ..Budget::default() },
            TopUp { wall_time_ms: 600_000, ..TopUp::default() },
        ),
    ];
    let _worker = world.work("w");
    for (budget, add) in tight {
        let steps = plan(vec![call("read", json!({"a": 1})), call("unsafe_effect", json!({"b": 2}))]);
        let request = TaskRequest { plan: Some(steps), budget, ..request("Do it") };
        let id = world.orchestrator.start(request).await.unwrap().id;
        paused(&world, id).await;
        world.orchestrator.raise_budget(id, add, "ada").await.unwrap();
        let task = world.ended(id).await;
        assert_eq!(task.status(), Status::Completed, "{budget:?}");
        assert_eq!(task.state().usage.tool_calls, 2);
        world.is_sound(id).await;
    }
    assert!(world.calls().values().all(|count| *count == 1), "{:?}", world.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_reckoned_by_the_price_of_the_model_and_runs_out() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script.json");
    std::fs::write(&script, json!({"rules": [{"reply": {"text": "four tokens here"}}]}).to_string()).unwrap();
    let price: Price = serde_json::from_value(json!({"input": 0, "output": 1000})).unwrap();
    let config = ModelsConfig {
        default: Some("scripted/priced".parse().unwrap()),
        scripted: BTreeMap::from([("priced".to_owned(), script)]),
        prices: BTreeMap::from([("scripted/priced".parse().unwrap(), price)]),
        output_reserve: 10,
        ..ModelsConfig::default()
    };
    let models = Models::open(&config, &|_| None).await.unwrap();
    let world = World::new(Setup { models: Some(models), ..Setup::default() }).await;
    let budget = Budget { cost_usd: Usd::from_dollars(0.012), ..Budget::default() };
    let task = world.orchestrator.start(wants(budget, 2)).await.unwrap();
    let _worker = world.work("w");
    let task = paused(&world, task.id).await;
    assert_eq!(task.state().usage.cost_usd, Usd::from_dollars(0.004).unwrap());
    let expected = "the budget of money is used up: $0.0040 of $0.0120, and the next call may take $0.0100";
    assert!(detail(&task).starts_with(expected), "{}", detail(&task));
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_has_to_add_something_that_is_limited() {
    let world = world(json!([])).await;
    let budget = Budget { tokens: Some(0), ..Budget::default() };
    let task = world.orchestrator.start(wants(budget, 1)).await.unwrap();
    assert_eq!(task.budget().tokens, None, "0 takes the usual limit away");
    for (add, word) in [
        (TopUp::default(), "nothing is added"),
        (TopUp { tokens: 5, ..TopUp::default() }, "no limit of tokens"),
    ] {
        let refused = world.orchestrator.raise_budget(task.id, add, "ada").await.unwrap_err();
        assert!(refused.to_string().contains(word), "{refused}");
    }
    world.orchestrator.cancel(task.id, "ada").await.unwrap();
    let add = TopUp { model_calls: 5, ..TopUp::default() };
    let refused = world.orchestrator.raise_budget(task.id, add, "ada").await.unwrap_err();
    assert_eq!(refused.code(), "task_status");
}
