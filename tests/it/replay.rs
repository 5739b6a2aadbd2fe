//! A recorded task goes the same way again without anybody to ask; and where it would not, that is found.

use std::time::Duration;

use longhaul::orchestrator::{Decision, ForkAt, ForkWish, TaskRequest};
use longhaul::task::{Event, Limits, Payload, PlannedStep, Recording, Replay, Status, StepType, TaskId};
use longhaul::worker::replay;
use serde_json::{Value, json};

use crate::recordings::exported;
use crate::world::{Setup, World, call, plan, request, step};

pub(crate) async fn recording(world: &World, id: TaskId) -> Recording {
    Recording::read(&exported(&world.orchestrator, id).await).unwrap()
}

pub(crate) async fn again(recording: &Recording) -> Replay {
    tokio::time::timeout(Duration::from_secs(60), replay(recording))
        .await
        .expect("a replay waits for nothing")
        .unwrap()
}

/// It is the same, and nobody was called for it.
pub(crate) async fn is_the_same(world: &World, id: TaskId, models: u32, tools: u32) -> Recording {
    let calls = world.ledger.lock().unwrap().len();
    let recording = recording(world, id).await;
    for _ in 0..3 {
        let found = again(&recording).await;
        assert!(found.is_same(), "{found:#?}");
        assert_eq!((found.status, found.ends_at), (found.recorded, None));
        assert_eq!((found.model_calls, found.tool_calls), (models, tools));
    }
    assert_eq!(world.ledger.lock().unwrap().len(), calls, "no tool ran");
    recording
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_calls_lists_and_branches_side_by_side_go_the_same_way() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let list = PlannedStep {
        for_each: Some(serde_json::from_value(json!({"items": [1, 2, 3, 4], "parallel": 3})).unwrap()),
        ..call("read", json!({"n": {"$item": true}}))
    };
    let mut side = plan(vec![
        call("read", json!({"text": "x".repeat(4000)})),
        call("slow_reading", json!({})),
        call("keyed", json!({"of": {"$output": "step-1"}})),
        list,
        call("unsafe_effect", json!({"n": {"$output": "step-4"}})),
    ]);
    side.steps[1].depends_on = vec![];
    side.steps[2].depends_on = vec![0];
    side.steps[3].depends_on = vec![1, 2];
    let task = world.start(side).await;
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    is_the_same(&world, task.id, 0, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_not_waited_for_and_failures_are_failures_again() {
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let steps = vec![call("flaky", json!({"failures": 2})), call("flaky", json!({"failures": 9}))];
    let task = world.start(plan(steps)).await;
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Failed);
    is_the_same(&world, task.id, 0, 6).await;
}

fn talker() -> Value {
    json!({"rules": [
        {"role": "execute", "turn": 0, "contains": "Your step (step-1)", "reply": {"text": "I look", "toolCalls": [
            {"tool": "read", "arguments": {"n": 1}}, {"tool": "unsafe_effect", "arguments": {"n": 2}}]}},
        {"role": "execute", "contains": "does not stand", "reply": {"text": "the whole answer"}},
        {"role": "execute", "turn": 1, "reply": {"toolCalls": [
            {"tool": "context_pin", "arguments": {"text": "it is blue"}},
            {"tool": "no_such_tool", "arguments": {}}, {"tool": "keyed", "arguments": {"n": 3}}]}},
        {"role": "execute", "contains": "Your step (step-2)", "times": 1, "reply": {"error": {"kind": "rate-limited", "retryAfterMs": 5}}},
        {"role": "execute", "contains": "Your step (step-3)", "turn": 0, "reply": {"text": "a first answer"}},
        {"role": "evaluate", "times": 1, "reply": {"json": {"passed": false, "reason": "say more"}}},
        {"role": "evaluate", "reply": {"json": {"passed": true, "reason": "it will do"}}},
        {"reply": {"text": "the whole answer"}},
    ]})
}

fn conversations() -> longhaul::task::Plan {
    let judged = PlannedStep {
        checks: serde_json::from_value(json!([
            {"schema": {"type": "string"}}, {"judge": "it is whole"}, {"probe": "yes"}]))
        .unwrap(),
        ..step(StepType::LlmReasoning, "Judge me")
    };
    plan(vec![step(StepType::ToolCall, "Look"), step(StepType::LlmReasoning, "Stumble"), judged])
}

async fn conversed() -> (World, TaskId) {
    let probes = json!({"yes": {"command": "/bin/true"}});
    let world = World::new(Setup { script: talker(), probes, ..Setup::default() }).await;
    let approval = serde_json::from_value(json!({"tools": {"unsafe_effect": true}})).unwrap();
    let request =
        TaskRequest { plan: Some(conversations()), approval: Some(approval), ..request("Do it all") };
    let task = world.orchestrator.start(request).await.unwrap();
    let worker = world.work("w");
    world.until(task.id, |task| task.status() == Status::Paused).await;
    world.orchestrator.send_message(task.id, "PIN: hurry", "anna").await.unwrap();
    world.orchestrator.send_message(task.id, "Be quick", "anna").await.unwrap();
    let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
    let edited = Decision::Approve(Some(json!({"n": 99})));
    world.orchestrator.decide(open[0].id.parse().unwrap(), edited, "anna").await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    worker.stop().await;
    (world, task.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_checks_and_the_words_of_people_go_the_same_way() {
    let (world, id) = conversed().await;
    let found = again(&recording(&world, id).await).await;
    assert!(found.is_same(), "{found:#?}");
    let (models, tools) = (found.model_calls, found.tool_calls);
    assert!(models >= 8 && tools == 3, "{found:?}");
    is_the_same(&world, id, models, tools).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_is_told_before_a_call_and_during_one_is_heard_at_the_same_call() {
    let script = json!({"rules": [
        {"role": "execute", "delayMs": 1000, "turn": 0, "reply": {"toolCalls": [{"tool": "read", "arguments": {}}]}},
        {"role": "execute", "reply": {"text": "done"}},
    ]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    for is_asked in [false, true] {
        let task = world.start(plan(vec![step(StepType::ToolCall, "Look")])).await;
        let worker = is_asked.then(|| world.work("w"));
        while is_asked && !world.kinds(task.id).await.contains(&"model_requested") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.orchestrator.send_message(task.id, "Be quick", "anna").await.unwrap();
        world.orchestrator.send_message(task.id, "PIN: it is blue", "anna").await.unwrap();
        let worker = worker.unwrap_or_else(|| world.work("w"));
        let ended = world.ended(task.id).await;
        assert_eq!(ended.status(), Status::Completed);
        is_the_same(&world, task.id, ended.state().usage.model_calls, 1).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_with_other_words_and_a_planned_question_go_the_same_way() {
    let script = json!({"rules": [{"role": "execute", "reply": {"text": "thought"}}]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    let _worker = world.work("w");
    let asks = call("ask_person", json!({"question": "Which one?", "choices": ["red", "blue"]}));
    let uses = call("read", json!({"said": {"$output": "step-2"}}));
    let task = world.start(plan(vec![step(StepType::LlmReasoning, "Think"), asks, uses])).await;
    let answered = async |id: TaskId| {
        world.until(id, |task| task.status() == Status::Paused).await;
        let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
        let answer = Decision::Answer(json!("blue"));
        world.orchestrator.decide(open[0].id.parse().unwrap(), answer, "anna").await.unwrap();
        let ended = world.ended(id).await;
        assert_eq!(
            (ended.status(), &ended.steps()[1].output),
            (Status::Completed, &Some(Payload::text("blue")))
        );
        is_the_same(&world, id, 1, 1).await;
    };
    answered(task.id).await;
    let wish = ForkWish { prompt: Some("Think twice".to_owned()), ..ForkWish::at(ForkAt::Step(0)) };
    let fork = world.orchestrator.fork(task.id, wish, "anna").await.unwrap();
    answered(fork.id).await;
}

/// The place of the first call of a step for which `is` holds.
fn position(recording: &Recording, is: impl Fn(&Event) -> bool) -> usize {
    recording.entries.iter().position(|entry| is(&entry.event)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_result_and_another_prompt_are_found_where_they_first_matter() {
    let (world, id) = conversed().await;
    let whole = recording(&world, id).await;

    let mut changed = whole.clone();
    let at = position(&changed, |event| matches!(event, Event::ToolReturned { step: 0, call: 2, .. }));
    if let Event::ToolReturned { result, .. } = &mut changed.entries[at].event {
        *result = Payload::text("something else");
    }
    let found = again(&changed).await.divergence.expect("the next prompt has another result in it");
    assert_eq!((found.place.step, found.place.call), (Some(0), Some(4)), "{found:?}");

    let mut changed = whole.clone();
    if let Event::Created { spec } = &mut changed.entries[0].event {
        spec.instructions = Some("Speak like a pirate".to_owned());
    }
    let found = again(&changed).await.divergence.expect("the first prompt has other instructions");
    assert_eq!((found.place.step, found.place.call), (Some(0), Some(1)), "{found:?}");
    assert!(found.came.contains("pirate"), "{found:?}");

    let mut changed = whole.clone();
    if let Event::Planned { plan, .. } = &mut changed.entries[2].event {
        plan.steps[1].description = "Stumble over another stone".to_owned();
    }
    let found = again(&changed).await.divergence.expect("the plan is in every prompt");
    assert_eq!((found.place.step, found.place.call), (Some(0), Some(1)), "{found:?}");
    assert!(found.came.contains("another stone") && found.expected.starts_with("plan"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_arguments_of_a_planned_call_are_found() {
    let world = World::new(Setup::default()).await;
    let worker = world.work("w");
    let task =
        world.start(plan(vec![call("read", json!({"n": 1})), call("unsafe_effect", json!({"n": 2}))])).await;
    world.ended(task.id).await;
    worker.stop().await;
    let mut changed = recording(&world, task.id).await;
    if let Event::Planned { plan, .. } = &mut changed.entries[2].event {
        plan.steps[1].tool.as_mut().unwrap().arguments = json!({"n": 3});
    }
    let found = again(&changed).await;
    assert_eq!(found.tool_calls, 1);
    let found = found.divergence.unwrap();
    assert_eq!((found.place.step, found.place.call), (Some(1), Some(1)));
    assert!(found.expected.contains("\"n\":2") && found.came.contains("\"n\":3"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_of_a_task_that_had_not_ended_says_how_far_it_goes() {
    let (world, id) = conversed().await;
    let mut cut = recording(&world, id).await;
    let at = position(&cut, |event| matches!(event, Event::StepCompleted { step: 0, .. }));
    cut.entries.truncate(at + 1);
    let found = again(&cut).await;
    assert!(found.is_same() && found.ends_at.is_some(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revised_plan_and_a_judge_go_the_same_way() {
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"reason": "another way", "steps": [
            {"id": "a", "description": "Read instead", "type": "tool-call", "tool": {"name": "read", "arguments": {"n": 5}}},
            {"id": "b", "description": "Answer", "type": "llm-reasoning", "dependsOn": ["a"]}]}}},
        {"role": "evaluate", "reply": {"json": {"verdict": "done", "reason": "reached"}}},
        {"reply": {"text": "answered"}},
    ]});
    let world = World::new(Setup { script, judge: true, ..Setup::default() }).await;
    let _worker = world.work("w");
    let task = world.start(plan(vec![call("read", json!({})), call("broken", json!({}))])).await;
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(ended.state().revision, 2);
    let found = again(&recording(&world, task.id).await).await;
    assert!(found.is_same(), "{found:#?}");
}

/// A conversation of so many turns is folded on its way, with these answers of summarizers, and folded again
/// at the same places.
pub(crate) async fn folds_alike(turns: usize, summarizers: Vec<Value>) {
    let rules: Vec<Value> = (0..turns)
        .map(|turn| {
            json!({"role": "execute", "turn": turn, "reply": {"toolCalls": [
                {"tool": "read", "arguments": {"turn": turn, "text": format!("{turn} ").repeat(300)}}]}})
        })
        .chain(summarizers)
        .chain([json!({"reply": {"text": "all is read"}})])
        .collect();
    let limits = Limits { context_window_limit: 2500, max_turns: 40, ..Limits::default() };
    let world = World::new(Setup { script: json!({"rules": rules}), limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let task = world.start(plan(vec![step(StepType::ToolCall, "Read it all")])).await;
    let ended = world.ended(task.id).await;
    let kinds = world.kinds(task.id).await;
    assert!(kinds.contains(&"conversation_summarized"), "{kinds:?} {:?}", ended.state().fault);
    let found = again(&recording(&world, task.id).await).await;
    assert!(found.is_same(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_was_folded_is_folded_again_at_the_same_place() {
    let once = json!({"role": "summarize", "times": 1, "reply": {"text": "what was read, in short"}});
    let then = json!({"role": "summarize", "reply": {"error": {"kind": "unavailable"}}});
    folds_alike(8, vec![once, then]).await;
}

#[test]
fn a_replay_needs_neither_configuration_nor_network_nor_database() {
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [{"id": "a", "description": "Think", "type": "llm-reasoning"}]}}},
        {"reply": {"text": "thought"}},
    ]});
    let program = crate::program::Program::new(&script);
    let (code, printed, said) = program.run(&["run", "--json", "Think about it for a long while"]);
    assert_eq!(code, 0, "{printed}\n{said}");
    let result: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let id = result["taskId"].as_str().unwrap();
    let file = program.directory.path().join("task.jsonl.zst");
    let (code, printed, said) = program.run(&["task", "export", id, "-o", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{printed}\n{said}");
    let (code, printed, _) = program.run(&["task", "replay", id]);
    assert!(code == 0 && printed.contains("is the same, completed: 1 model call and "), "{printed}");

    let elsewhere = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_longhaul"));
        let output = command.args(arguments).env_clear().current_dir(elsewhere.path()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, printed) = run(&["task", "replay", file.to_str().unwrap(), "--json"]);
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &found["modelCalls"], found.get("divergence")), (Some(0), &json!(1), None));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is left behind");

    let text = longhaul::task::unpack_recording(std::fs::read(&file).unwrap(), 1 << 20).unwrap();
    let altered = elsewhere.path().join("altered.jsonl");
    std::fs::write(&altered, text.replace("thought", "taught")).unwrap();
    assert_eq!(run(&["task", "replay", "altered.jsonl"]).0, Some(2), "an altered file is refused");
}
