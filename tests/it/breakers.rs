//! Who is asked, and how often: breakers, and steps that differ from the others.

use std::path::Path;

use longhaul::models::{BreakerConfig, Models, ModelsConfig};
use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Event, PauseReason, RetryPolicy, Status, StepType};
use serde_json::{Value, json};

use crate::world::{Setup, World, plan, request, step};

/// A world whose models are scripts, asked one after the other, each behind its breaker.
async fn world(directory: &Path, breaker: BreakerConfig, scripts: &[(&str, Value)]) -> World {
    let mut config = ModelsConfig { breaker, ..ModelsConfig::default() };
    for (position, (name, script)) in scripts.iter().enumerate() {
        let path = directory.join(name);
        std::fs::write(&path, script.to_string()).unwrap();
        config.scripted.insert((*name).to_owned(), path);
        let name = format!("scripted/{name}").parse().unwrap();
        if position == 0 {
            config.default = Some(name);
        } else {
            config.fallback.push(name);
        }
    }
    config.allowed = config.fallback.clone();
    let models = Models::open(&config, &|_| None).await.unwrap();
    World::new(Setup { models: Some(models), ..Setup::default() }).await
}

fn thinking(steps: usize) -> longhaul::task::Plan {
    plan((0..steps).map(|index| step(StepType::LlmReasoning, &format!("think {index}"))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_an_open_breaker_and_burns_no_attempts() {
    let directory = tempfile::tempdir().unwrap();
    let breaker = BreakerConfig { failures: 2, open_ms: 200, max_open_ms: 200 };
    let script = json!({"rules": [
        {"times": 2, "reply": {"error": {"kind": "unavailable"}}},
        {"reply": {"text": "thought"}},
    ]});
    let world = world(directory.path(), breaker, &[("flaky", script)]).await;
    let task = world.start(thinking(1)).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!(task.step(0).unwrap().attempts, 3, "the policy allows three, and no more were counted");
    let codes: Vec<String> = world
        .journal(task.id)
        .await
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::StepFailed { fault, .. } => Some(fault.code),
            _ => None,
        })
        .collect();
    assert_eq!(codes[..3], ["provider_unavailable", "provider_unavailable", "provider_circuit_open"]);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_model_answers_while_the_first_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let asked = directory.path().join("asked.jsonl");
    let breaker = BreakerConfig { failures: 1, open_ms: 600_000, max_open_ms: 600_000 };
    let first = json!({"ledger": asked, "rules": [{"reply": {"error": {"kind": "unavailable"}}}]});
    let second = json!({"rules": [{"reply": {"text": "thought"}}]});
    let world = world(directory.path(), breaker, &[("first", first), ("second", second)]).await;
    let task = world.start(thinking(3)).await;
    let _worker = world.work("w");
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    assert_eq!(std::fs::read_to_string(asked).unwrap().lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_has_a_fallback_chain_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let asked = |name: &str| directory.path().join(format!("{name}.jsonl"));
    let planned = json!({"json": {"steps": [{"id": "a", "description": "think", "type": "llm-reasoning"}]}});
    let away = json!({"error": {"kind": "unavailable"}});
    let mut config = ModelsConfig::default();
    for (name, reply) in [
        ("planner", &away),
        ("second-planner", &planned),
        ("worker", &away),
        ("second-worker", &json!({"text": "thought"})),
        ("common", &json!({"text": "nobody should be asked for this"})),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, json!({"ledger": asked(name), "rules": [{"reply": reply}]}).to_string())
            .unwrap();
        config.scripted.insert(name.to_owned(), path);
    }
    config.default = Some("scripted/common".parse().unwrap());
    config.fallback = vec!["scripted/common".parse().unwrap()];
    let roles = json!({
        "plan": ["scripted/planner", "scripted/second-planner"],
        "execute": ["scripted/worker", "scripted/second-worker"],
    });
    config.roles = serde_json::from_value(roles).unwrap();
    let models = Models::open(&config, &|_| None).await.unwrap();
    let world = World::new(Setup { models: Some(models), ..Setup::default() }).await;
    let task = world.orchestrator.start(request("Do it")).await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.state().output.as_ref().unwrap().preview(), "thought");
    let journal = world.journal(task.id).await;
    let planner = journal.iter().find_map(|entry| match &entry.event {
        Event::Planned { by, .. } => by.model.as_ref().map(ToString::to_string),
        _ => None,
    });
    assert_eq!(planner.as_deref(), Some("scripted/second-planner"));
    let times = |name: &str| std::fs::read_to_string(asked(name)).map_or(0, |lines| lines.lines().count());
    let names = ["planner", "second-planner", "worker", "second-worker", "common"];
    assert_eq!(names.map(times), [1, 1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_credit_pauses_the_task_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let asked = directory.path().join("asked.jsonl");
    let script = json!({"ledger": asked, "rules": [
        {"times": 1, "reply": {"error": {"kind": "quota", "message": "no credit"}}},
        {"reply": {"text": "thought"}},
    ]});
    let world = world(directory.path(), BreakerConfig::default(), &[("poor", script)]).await;
    let task = world.start(thinking(1)).await;
    let _worker = world.work("w");
    let task = world.until(task.id, |task| task.status() == Status::Paused).await;
    assert_eq!(task.state().pause.as_ref().unwrap().reason, PauseReason::Provider);
    assert_eq!(std::fs::read_to_string(&asked).unwrap().lines().count(), 1, "nothing was asked again");
    world.orchestrator.resume(task.id, "ada").await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_pauses_the_task_and_no_other_plan_is_bought() {
    let directory = tempfile::tempdir().unwrap();
    let asked = directory.path().join("asked.jsonl");
    let script = json!({"ledger": asked, "rules": [
        {"times": 1, "reply": {"error": {"kind": "rejected", "message": "HTTP 404: no such model"}}},
        {"reply": {"text": "thought"}},
    ]});
    let world = world(directory.path(), BreakerConfig::default(), &[("misnamed", script)]).await;
    let task = world.start(thinking(1)).await;
    let _worker = world.work("w");
    let task = world.until(task.id, |task| !task.status().is_live() || task.state().pause.is_some()).await;
    let pause = task.state().pause.clone().unwrap();
    assert_eq!((pause.reason, task.state().revision), (PauseReason::Provider, 1), "{}", pause.detail);
    assert!(pause.detail.contains("no such model"), "{}", pause.detail);
    assert_eq!(std::fs::read_to_string(&asked).unwrap().lines().count(), 1, "nobody was asked again");
    world.orchestrator.resume(task.id, "ada").await.unwrap();
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_that_has_just_failed_is_not_begun_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let asked = directory.path().join("asked.jsonl");
    let same = json!({"json": {"steps": [{"id": "a", "description": "think 0", "type": "llm-reasoning"}]}});
    let script = json!({"ledger": asked, "rules": [
        {"role": "plan", "contains": "it is the plan that has just failed", "reply": same},
        {"role": "plan", "reply": same}, {"reply": {"error": {"kind": "overflow"}}},
    ]});
    let world = world(directory.path(), BreakerConfig::default(), &[("stubborn", script)]).await;
    let task = world.start(thinking(1)).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    let fault = task.state().fault.clone().unwrap();
    assert_eq!((task.state().revision, fault.code.as_str()), (1, "no_plan"), "{fault}");
    let asked = std::fs::read_to_string(&asked).unwrap();
    let told = |rule: &str| asked.lines().filter(|line| line.contains(rule)).count();
    assert_eq!((told("\"rule\":1"), told("\"rule\":0")), (1, 1), "the planner is told, once: {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_have_its_own_patience_and_its_own_model() {
    let directory = tempfile::tempdir().unwrap();
    let first = json!({"rules": [{"reply": {"error": {"kind": "rejected"}}}]});
    let second = json!({"rules": [
        {"times": 1, "reply": {"error": {"kind": "malformed"}}},
        {"reply": {"text": "thought by the second"}},
    ]});
    let world =
        world(directory.path(), BreakerConfig::default(), &[("first", first), ("second", second)]).await;
    let mut plan = thinking(1);
    plan.steps[0].model = Some("scripted/second".parse().unwrap());
    plan.steps[0].retry = Some(RetryPolicy { max_attempts: 2, base_ms: 1, ..RetryPolicy::default() });
    let task = world.start(plan.clone()).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!((task.status(), task.step(0).unwrap().attempts), (Status::Completed, 2));
    assert_eq!(task.state().output.as_ref().unwrap().preview(), "thought by the second");

    plan.steps[0].model = Some("scripted/first".parse().unwrap());
    let request = TaskRequest { plan: Some(plan.clone()), ..request("Do it") };
    let refused = world.orchestrator.start(request.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("models.allowed"), "{refused}");
    plan.steps[0].model = None;
    plan.steps[0].retry = Some(RetryPolicy { max_attempts: 0, ..RetryPolicy::default() });
    let request = TaskRequest { plan: Some(plan), ..request };
    let refused = world.orchestrator.start(request).await.unwrap_err().to_string();
    assert!(refused.contains("plan[0].retry.maxAttempts: must be at least 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_may_choose_among_the_allowed_models_only() {
    let directory = tempfile::tempdir().unwrap();
    let planned = json!({"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "think", "type": "llm-reasoning", "model": "scripted/second"},
        {"id": "b", "description": "think", "type": "llm-reasoning", "model": "openai/dearest"},
    ]}}});
    let first = json!({"rules": [planned]});
    let second = json!({"rules": [{"reply": {"text": "thought"}}]});
    let world =
        world(directory.path(), BreakerConfig::default(), &[("first", first), ("second", second)]).await;
    let task = world.orchestrator.start(request("Do it")).await.unwrap();
    let models: Vec<_> = task.steps().iter().map(|step| step.plan.model.clone()).collect();
    assert_eq!(models, [Some("scripted/second".parse().unwrap()), None]);
}
