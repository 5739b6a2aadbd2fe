//! Checks: that a step ran, that it says it is done, and that this is so are three facts.

use longhaul::orchestrator::{Decision, OpenRequest, OutcomeDecision, RequestId, RequestKind};
use longhaul::task::{
    CheckDecision, Event, Limits, PauseReason, Plan, PlannedStep, Status, StepStatus, StepType, Task, TaskId,
};
use serde_json::{Value, json};

use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, step};

fn checked(checks: Value, step: PlannedStep) -> PlannedStep {
    PlannedStep { checks: serde_json::from_value(checks).unwrap(), ..step }
}

fn writes(checks: Value) -> Plan {
    plan(vec![checked(checks, step(StepType::LlmReasoning, "Write it"))])
}

/// A schema that wants an object with a number.
fn numbered() -> Value {
    json!([{"schema": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}}])
}

async fn scripted(rules: Value, limits: Limits) -> World {
    World::new(Setup { script: json!({"rules": rules}), limits, ..Setup::default() }).await
}

fn no_replans() -> Limits {
    Limits { max_replans: 0, ..Limits::default() }
}

async fn inbox(world: &World) -> Vec<OpenRequest> {
    world.orchestrator.inbox(Some("user"), 100).await.unwrap()
}

async fn answer(world: &World, request: &OpenRequest, decision: Decision) -> Task {
    let id: RequestId = request.id.parse().unwrap();
    world.orchestrator.decide(id, decision, "somebody").await.unwrap()
}

/// What the checks said, in order: the position and whether it held.
async fn verdicts(world: &World, id: TaskId) -> Vec<(u32, bool)> {
    let said = world.journal(id).await.into_iter().filter_map(|entry| match entry.event {
        Event::StepVerified { check, passed, .. } => Some((check, passed)),
        _ => None,
    });
    said.collect()
}

async fn unverified(world: &World, id: TaskId) -> Task {
    let is_paused = |task: &Task| {
        task.state().pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Unverified)
    };
    world.until(id, is_paused).await
}

#[tokio::test]
async fn a_step_is_done_only_when_what_it_claims_is_verified_and_the_answer_names_its_evidence() {
    let rules = json!([
        {"role": "evaluate", "contains": "is polite", "reply": {"json": {"passed": true, "reason": "it greets"}}},
        {"role": "execute", "contains": "is polite", "reply": {"text": "{\"n\": 7}"}},
    ]);
    let world = scripted(rules, Limits::default()).await;
    let mut checks = numbered();
    checks.as_array_mut().unwrap().push(json!({"judge": "it is polite"}));
    let task = world.start(writes(checks)).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let kinds = world.kinds(task.id).await;
    let about = kinds.iter().filter(|kind| kind.starts_with("step_") || kind.starts_with("model_"));
    let expected = [
        "step_started",
        "model_requested",
        "model_answered",
        "step_claimed",
        "step_verified",
        "step_verified",
        "step_completed",
    ];
    assert_eq!(about.copied().collect::<Vec<_>>(), expected);
    let journal = world.journal(task.id).await;
    let evidence = task.evidence();
    assert_eq!(evidence.iter().map(|made| made.check.as_str()).collect::<Vec<_>>(), ["schema", "judge"]);
    for made in &evidence {
        assert!(made.passed && made.required);
        assert_eq!(journal[made.seq as usize - 1].event.kind(), "step_verified");
    }
    assert_eq!(task.state().usage.model_calls, 2, "the judge's call is on the account");
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_model_is_told_what_did_not_pass_and_mends_it_in_the_same_conversation() {
    let rules = json!([
        {"role": "execute", "contains": "does not stand", "reply": {"text": "```json\n{\"n\": 7}\n```"}},
        {"role": "execute", "contains": "Write it", "reply": {"text": "{\"m\": 7}"}},
    ]);
    let world = scripted(rules, Limits::default()).await;
    let task = world.start(writes(numbered())).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    assert_eq!(task.steps()[0].attempts, 1, "a repair is no new attempt");
    assert_eq!(verdicts(&world, task.id).await, [(0, false), (0, true)]);
    let base = world.journal(task.id).await.into_iter().filter_map(|entry| match entry.event {
        Event::ModelRequested { base, .. } => Some(base),
        _ => None,
    });
    assert_eq!(base.collect::<Vec<_>>(), [None, Some(1)], "it goes on in the same conversation");
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_revision_cannot_leave_out_what_has_to_hold() {
    let without = json!([{"id": "a", "description": "Write it anew", "type": "llm-reasoning"}]);
    let mut with = without.clone();
    with[0]["checks"] = numbered();
    let plan = |steps: &Value| json!({"json": {"reason": "again", "steps": steps}});
    let limits = || Limits { max_replans: 1, max_repairs: 0, ..Limits::default() };

    // A planner that left it out is told, and does better.
    let told = json!({"role": "plan", "contains": "has still to be met, and no step", "reply": plan(&with)});
    let rules = json!([
        told,
        {"role": "plan", "contains": "have still to be met: give each", "reply": plan(&without)},
        {"role": "execute", "contains": "Write it anew", "reply": {"text": "{\"n\": 7}"}},
        {"role": "execute", "reply": {"text": "no"}},
    ]);
    let world = scripted(rules, limits()).await;
    let task = world.start(writes(numbered())).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    assert_eq!(verdicts(&world, task.id).await, [(0, false), (0, true)]);
    assert!(task.evidence().iter().filter(|made| made.step == 1).all(|made| made.required && made.passed));
    world.is_sound(task.id).await;

    // One that leaves it out again has made no plan: the task does not complete without.
    let rules = json!([
        {"role": "plan", "reply": plan(&without)},
        {"role": "execute", "reply": {"text": "no"}},
    ]);
    let world = scripted(rules, limits()).await;
    let task = world.start(writes(numbered())).await;
    let _working = world.work("w");
    let task = world.until(task.id, |task| !task.status().is_live()).await;
    assert!(task.status() != Status::Completed, "{task:#?}");
    assert_eq!(task.state().revision, 1);
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn repairs_are_bounded_then_the_plan_is_revised_and_then_a_person_is_asked() {
    let rules = json!([
        {"role": "plan", "reply": {"json": {"reason": "again", "steps": [{"id": "a", "description": "Write it anew",
            "type": "llm-reasoning", "checks": numbered()}]}}},
        {"role": "execute", "reply": {"text": "no"}},
    ]);
    let world = scripted(rules, Limits { max_replans: 1, max_repairs: 1, ..Limits::default() }).await;
    let task = world.start(writes(numbered())).await;
    let _working = world.work("w");
    let task = unverified(&world, task.id).await;
    assert_eq!(verdicts(&world, task.id).await, [(0, false); 4], "two tries for each of two plans");
    assert_eq!(task.state().revision, 2);
    assert_eq!(task.steps()[1].fault.as_ref().unwrap().code, "unverified");
    let open = inbox(&world).await;
    assert_eq!((open.len(), open[0].kind, open[0].step), (1, RequestKind::Check, Some(1)));
    assert_eq!(open[0].arguments.as_ref().unwrap()["output"], "no");
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_person_is_asked_also_where_the_planner_finds_no_other_plan() {
    let rules = json!([
        {"role": "plan", "reply": {"text": "I cannot think of another way."}},
        {"role": "execute", "reply": {"text": "no"}},
    ]);
    let world = scripted(rules, Limits { max_repairs: 0, ..Limits::default() }).await;
    let task = world.start(writes(numbered())).await;
    let _working = world.work("w");
    let task = world.until(task.id, |task| !matches!(task.status(), Status::Pending | Status::Running)).await;
    let pause = task.state().pause.as_ref().expect("it waits for a person");
    assert_eq!(pause.reason, PauseReason::Unverified);
    assert!(pause.detail.contains("no other plan was found"), "{}", pause.detail);
    let open = inbox(&world).await;
    assert_eq!((open.len(), open[0].kind), (1, RequestKind::Check));
    answer(&world, &open[0], Decision::Check(CheckDecision::Accept)).await;
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_person_accepts_what_the_checks_refused_or_lets_the_step_try_again_or_fails_the_task() {
    let rules = json!([
        {"role": "execute", "times": 3, "reply": {"text": "no"}},
        {"role": "execute", "reply": {"text": "{\"n\": 7}"}},
    ]);
    let limits = || Limits { max_repairs: 0, ..no_replans() };
    let world = scripted(rules, limits()).await;
    let _working = world.work("w");

    let accepted = world.start(writes(numbered())).await;
    unverified(&world, accepted.id).await;
    assert!(world.orchestrator.resume(accepted.id, "p").await.is_err(), "a resume is no word about it");
    let open = inbox(&world).await;
    answer(&world, &open[0], Decision::Check(CheckDecision::Accept)).await;
    let accepted = world.ended(accepted.id).await;
    assert_eq!(accepted.status(), Status::Completed);
    assert_eq!(
        world.repository.content(accepted.state().output.as_ref().unwrap()).await.unwrap(),
        json!("no")
    );
    let evidence = accepted.evidence();
    assert_eq!((evidence[0].passed, evidence[1].check.as_str()), (false, "person"));
    world.is_sound(accepted.id).await;
    let id: RequestId = open[0].id.parse().unwrap();
    let twice = world.orchestrator.decide(id, Decision::Check(CheckDecision::Accept), "p").await;
    assert!(twice.is_err(), "a request is answered once");

    let failed = world.start(writes(numbered())).await;
    unverified(&world, failed.id).await;
    let open = inbox(&world).await;
    answer(&world, &open[0], Decision::Outcome(OutcomeDecision::Fail)).await;
    assert_eq!(world.ended(failed.id).await.state().fault.as_ref().unwrap().code, "unverified");

    let retried = world.start(writes(numbered())).await;
    unverified(&world, retried.id).await;
    let open = inbox(&world).await;
    answer(&world, &open[0], Decision::Check(CheckDecision::Retry)).await;
    let retried = world.ended(retried.id).await;
    assert_eq!(retried.status(), Status::Completed);
    assert_eq!(retried.steps()[0].attempts, 2);
    assert_eq!(verdicts(&world, retried.id).await, [(0, false), (0, true)]);
    world.is_sound(retried.id).await;
}

#[tokio::test]
async fn a_check_that_is_not_required_is_recorded_and_stands_in_nobodys_way() {
    let world = scripted(json!([{"role": "execute", "reply": {"text": "no"}}]), Limits::default()).await;
    let mut checks = numbered();
    checks[0]["required"] = json!(false);
    let task = world.start(writes(checks)).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed);
    assert_eq!(verdicts(&world, task.id).await, [(0, false)]);
    assert!(!task.evidence()[0].required);
}

#[tokio::test]
async fn a_probe_reads_what_the_step_brought_and_is_asked_again_where_only_time_can_mend_it() {
    let probes = json!({
        "holds": {"command": "/bin/sh", "args": ["-c", "grep -q '\"count\":1'"]},
        "later": {"command": "/bin/sh", "args": ["-c", "test -e \"$SEEN\" || { touch \"$SEEN\"; exit 1; }"],
            "env": {"SEEN": std::env::temp_dir().join(format!("seen-{}", uuid::Uuid::now_v7()))}},
        "never": {"command": "/bin/false"},
    });
    let world = World::new(Setup { probes, limits: no_replans(), ..Setup::default() }).await;
    let _working = world.work("w");
    let with = |probe: &str| plan(vec![checked(json!([{"probe": probe}]), call("unsafe_effect", json!({})))]);
    let holds = world.start(with("holds")).await;
    assert_eq!(world.ended(holds.id).await.status(), Status::Completed);
    let later = world.start(with("later")).await;
    let later = world.ended(later.id).await;
    assert_eq!(later.status(), Status::Completed, "{later:#?}");
    assert_eq!(verdicts(&world, later.id).await, [(0, false), (0, true)]);
    let never = world.start(with("never")).await;
    let never = unverified(&world, never.id).await;
    assert_eq!(verdicts(&world, never.id).await, [(0, false); 3]);
    for (key, count) in world.calls() {
        assert_eq!(count, 1, "{key}: what has taken effect is not done again for a check");
    }
    world.is_sound(never.id).await;
}

#[tokio::test]
async fn a_plan_names_only_probes_that_are_declared_and_schemas_that_can_be_used() {
    let world = World::new(Setup::default()).await;
    for (checks, words) in [
        (json!([{"probe": "ghost"}]), "[checks.ghost]"),
        (json!([{"schema": {"type": 7}}]), "cannot be used"),
        (json!([{"judge": "  "}]), "says nothing"),
    ] {
        let request = longhaul::orchestrator::TaskRequest {
            plan: Some(writes(checks)),
            ..crate::world::request("Do it")
        };
        let refused = world.orchestrator.start(request).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[tokio::test]
async fn each_item_of_a_list_is_checked_and_a_person_may_accept_those_that_did_not_pass() {
    let rules = json!([
        {"role": "execute", "contains": "):\nWrite good", "reply": {"text": "{\"n\": 1}"}},
        {"role": "execute", "reply": {"text": "no"}},
    ]);
    let world = scripted(rules, Limits { max_repairs: 0, ..no_replans() }).await;
    let list = PlannedStep {
        for_each: Some(serde_json::from_value(json!({"items": ["good", "bad"]})).unwrap()),
        ..checked(numbered(), step(StepType::LlmReasoning, "Write {{item}}"))
    };
    let task = world.start(plan(vec![list])).await;
    let _working = world.work("w");
    let task = unverified(&world, task.id).await;
    assert_eq!(task.steps()[0].fault.as_ref().unwrap().code, "items_failed");
    let open = inbox(&world).await;
    assert_eq!((open.len(), open[0].step), (1, Some(2)));
    answer(&world, &open[0], Decision::Check(CheckDecision::Accept)).await;
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let output = world.repository.content(task.state().output.as_ref().unwrap()).await.unwrap();
    assert_eq!(output, json!(["{\"n\": 1}", "no"]));
    world.is_sound(task.id).await;
}

#[tokio::test]
async fn a_claim_survives_its_worker_and_is_not_made_again() {
    let rules = json!([
        {"role": "evaluate", "delayMs": 20_000, "reply": {"json": {"passed": false, "reason": "too short"}}, "times": 1},
        {"role": "evaluate", "reply": {"json": {"passed": true, "reason": "long"}}},
        {"role": "execute", "contains": "too short", "reply": {"text": "long"}},
        {"role": "execute", "reply": {"text": "short"}, "times": 1},
    ]);
    let world = scripted(rules, Limits::default()).await;
    let task = world.start(writes(json!([{"judge": "it is long"}]))).await;
    let first = world.work("first");
    world.until(task.id, |task| task.steps()[0].verification.is_some()).await;
    first.kill().await;
    let _second = world.work("second");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let kinds = world.kinds(task.id).await;
    let claims = kinds.iter().filter(|kind| **kind == "step_claimed").count();
    assert_eq!(claims, 1, "the second worker judges the claim of the first one");
    assert_eq!(task.steps()[0].status, StepStatus::Completed);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_judge_took_is_paid_for_though_nobody_can_use_it() {
    let unusable = json!({"error": {"kind": "malformed", "outputTokens": 50}});
    let rules = json!([
        {"role": "evaluate", "times": 1, "reply": unusable},
        {"role": "evaluate", "reply": {"json": {"passed": true, "reason": "long"}}},
        {"role": "execute", "reply": {"text": "long"}},
    ]);
    let world = scripted(rules, Limits::default()).await;
    let task = world.start(writes(json!([{"judge": "it is long"}]))).await;
    let _working = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let failed = world.journal(task.id).await.into_iter().find_map(|entry| match entry.event {
        Event::StepFailed { fault, .. } => Some(fault),
        _ => None,
    });
    let failed = failed.expect("nobody judged");
    assert_eq!(
        (failed.code.as_str(), failed.model),
        ("model_malformed", Some(Box::new("scripted/test".parse().unwrap())))
    );
    let answers = world.kinds(task.id).await.iter().filter(|kind| **kind == "model_answered").count() as u32;
    let usage = task.state().usage;
    assert_eq!(usage.model_calls, answers + 2, "the judge was asked twice");
    let verdict = "{\"passed\":true,\"reason\":\"long\"}".len().div_ceil(4) as u64;
    assert_eq!(usage.output_tokens, 50 + verdict + u64::from(answers));
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, answers + 2, 0).await;
}
