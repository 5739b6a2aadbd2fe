//! Tools that change under a task: the plan holds those that it was made with, and a person looks at
//! whatever became of them before it is called.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longhaul::orchestrator::{Decision, ForkAt, ForkWish, OpenRequest, RequestId, RequestKind, TaskRequest};
use longhaul::repository::Repository;
use longhaul::task::{
    ApprovalWish, CheckDecision, Effect, Event, OnExpiry, PauseReason, Payload, Plan, Status, StepType, Task,
    TaskId, ToolAllowance,
};
use longhaul::tools::{CallContext, Fence, McpServerConfig, Toolbox, ToolsConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::mcp::server_program;
use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, request, sqlite, step};

/// The tools of the counting server, whose word on effects is believed.
async fn tools(directory: &Path) -> Toolbox {
    let server = McpServerConfig {
        command: Some(server_program().display().to_string()),
        env: BTreeMap::from([("LEDGER".to_owned(), directory.join("ledger").display().to_string())]),
        trusted: true,
        ..McpServerConfig::default()
    };
    let config = ToolsConfig {
        workspace: Some(directory.to_owned()),
        mcp: BTreeMap::from([("test".to_owned(), server)]),
        ..ToolsConfig::default()
    };
    Toolbox::open(&config).await.unwrap()
}

/// An engine with the tools of a server, and the directory of its ledger.
async fn world(directory: &Path, repository: &Arc<dyn Repository>, mut rules: Value) -> World {
    let none =
        |words: &str| json!({"role": "plan", "contains": words, "reply": {"text": "I have no other plan."}});
    rules.as_array_mut().unwrap().extend([none("has to be revised"), none("cannot be used")]);
    World::new(Setup {
        script: json!({"rules": rules}),
        repository: Some(repository.clone()),
        tools: Some(tools(directory).await),
        ..Setup::default()
    })
    .await
}

/// What was called on the server, in order.
fn called(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("ledger")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let tools = lines.map(|line| line["tool"].as_str().unwrap().to_owned());
    tools.filter(|tool| tool != "change").collect()
}

/// Makes another tool of `shifty`, while nobody looks.
fn changed_while_down(directory: &Path, label: &str) {
    let mut ledger = OpenOptions::new().create(true).append(true).open(directory.join("ledger")).unwrap();
    writeln!(ledger, "{}", json!({"tool": "change", "label": label, "key": null})).unwrap();
}

/// Lets the server make another tool of `shifty` and say so, and waits until that was heard.
async fn changed(world: &World, label: &str) {
    let toolbox = world.orchestrator.tools();
    let known = || {
        format!(
            "{:?}",
            toolbox
                .offered(&ToolAllowance::default())
                .unwrap()
                .iter()
                .map(|tool| tool.description().clone())
                .collect::<Vec<_>>()
        )
    };
    let before = known();
    let change = toolbox.find("test_change", &ToolAllowance::default()).unwrap();
    let context = CallContext {
        idempotency_key: "change".to_owned(),
        timeout: Duration::from_secs(60),
        cancel: CancellationToken::new(),
        max_output_bytes: 10_000,
        fence: Fence::default(),
        is_confidential: false,
    };
    change.call(json!({"label": label}), context).await.unwrap();
    let heard = async {
        while known() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("the change is heard");
}

fn shifty(label: &str) -> Plan {
    plan(vec![call("test_shifty", json!({"label": label}))])
}

async fn paused(world: &World, id: TaskId) -> Task {
    let is_paused =
        |task: &Task| task.state().pause.as_ref().map(|pause| pause.reason) == Some(PauseReason::ToolChanged);
    world.until(id, is_paused).await
}

async fn only_request(world: &World) -> OpenRequest {
    let mut open = world.orchestrator.inbox(Some("user"), 100).await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0)
}

async fn decide(world: &World, request: &OpenRequest, decision: Decision) -> Task {
    let id: RequestId = request.id.parse().unwrap();
    world.orchestrator.decide(id, decision, "anna").await.unwrap()
}

const ACCEPT: Decision = Decision::Check(CheckDecision::Accept);

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tool_waits_for_a_person_who_sees_what_became_of_it() {
    for what in ["description", "schema", "effect"] {
        let (directory, repository) = sqlite().await;
        let world = world(directory.path(), &repository, json!([])).await;
        let task = world.start(shifty("a")).await;
        changed(&world, what).await;
        let _worker = world.work("w");
        let waiting = paused(&world, task.id).await;
        let detail = &waiting.state().pause.as_ref().unwrap().detail;
        assert!(detail.contains("test_shifty is not what it was when the plan was made"), "{detail}");
        let asked = only_request(&world).await;
        assert_eq!((asked.kind, asked.tool.as_deref()), (RequestKind::Tool, Some("test_shifty")));
        assert_eq!(asked.arguments, Some(json!({"label": "a"})));
        let change = asked.change.clone().unwrap();
        assert_eq!(change.before.description, "Counts a call, and is what it seems.");
        match what {
            "description" => assert!(change.now.description.contains("First read all files")),
            "schema" => assert!(change.now.schema["properties"]["password"].is_object()),
            _ => assert_eq!((change.before.effect, change.now.effect), (Effect::Unsafe, Effect::Idempotent)),
        }
        assert!(called(directory.path()).is_empty(), "{what}: nothing was called");
        assert!(world.orchestrator.resume(task.id, "anna").await.is_err(), "an answer is needed");
        decide(&world, &asked, ACCEPT).await;
        let ended = world.ended(task.id).await;
        assert_eq!(ended.status(), Status::Completed, "{what}: {:?}", ended.state().fault);
        assert_eq!(called(directory.path()), ["shifty"], "{what}");
        world.is_sound(task.id).await;
        is_the_same(&world, task.id, 0, 1).await;
        world.orchestrator.tools().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_changes_across_a_restart_is_noticed_and_a_denial_ends_its_call() {
    let (directory, repository) = sqlite().await;
    let steps = [("test_shifty", "a"), ("test_keyed", "b"), ("test_shifty", "c")];
    let steps = plan(steps.map(|(tool, label)| call(tool, json!({"label": label}))).into());
    let approval: ApprovalWish = serde_json::from_value(json!({"tools": {"test_keyed": true}})).unwrap();
    let first = world(directory.path(), &repository, json!([])).await;
    let request = TaskRequest { plan: Some(steps), approval: Some(approval), ..request("Do it") };
    let task = first.orchestrator.start(request).await.unwrap();
    let worker = first.work("first");
    first.until(task.id, |task| task.status() == Status::Paused).await;
    worker.stop().await;
    first.orchestrator.tools().close().await;
    changed_while_down(directory.path(), "description");

    let second = world(directory.path(), &repository, json!([])).await;
    let approval = only_request(&second).await;
    assert_eq!(approval.kind, RequestKind::Approval);
    decide(&second, &approval, Decision::Approve(None)).await;
    let _worker = second.work("second");
    paused(&second, task.id).await;
    let asked = only_request(&second).await;
    assert_eq!((asked.kind, asked.step), (RequestKind::Tool, Some(2)));
    decide(&second, &asked, Decision::Deny("it lies".to_owned())).await;
    let ended = second.ended(task.id).await;
    assert_eq!(ended.status(), Status::Failed);
    assert_eq!(called(directory.path()), ["shifty", "keyed"]);
    let effects = second.orchestrator.effects(task.id).await.unwrap();
    let denied = effects.iter().find(|effect| effect.step == 2).unwrap();
    assert!(!denied.may_have_happened() && denied.detail.as_deref() == Some("denied by anna"), "{denied:?}");
    second.is_sound(task.id).await;
    is_the_same(&second, task.id, 0, 2).await;
    second.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_of_a_denial_and_a_second_change_needs_a_second_look() {
    let turn = |turn: u32| {
        json!({"role": "execute", "turn": turn, "reply": {"toolCalls": [
            {"tool": "test_shifty", "arguments": {"label": turn.to_string()}}]}})
    };
    let (directory, repository) = sqlite().await;
    let rules =
        json!([turn(0), turn(1), {"role": "execute", "turn": 2, "reply": {"text": "It may not be."}}]);
    let world = world(directory.path(), &repository, rules).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Use it")])).await;
    changed(&world, "description").await;
    let worker = world.work("w");
    paused(&world, task.id).await;
    let first = only_request(&world).await;
    worker.stop().await;
    changed(&world, "schema").await;
    decide(&world, &first, ACCEPT).await;
    let _worker = world.work("w");
    paused(&world, task.id).await;
    // What was accepted is not what is there: the word about it counts for nothing else.
    let second = only_request(&world).await;
    assert_ne!(first.id, second.id);
    assert!(called(directory.path()).is_empty());
    assert!(second.change.as_ref().unwrap().before.description.contains("First read all files"));
    decide(&world, &second, ACCEPT).await;
    // The second call of the tool needs no look any more.
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(called(directory.path()), ["shifty", "shifty"]);
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 3, 2).await;
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_call_is_told_to_the_model_which_goes_on_without_it() {
    let (directory, repository) = sqlite().await;
    let rules = json!([
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [{"tool": "test_shifty", "arguments": {"label": "a"}}]}},
        {"role": "execute", "contains": "denied by anna: it lies", "reply": {"text": "Then without it."}},
    ]);
    let world = world(directory.path(), &repository, rules).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Use it")])).await;
    changed(&world, "description").await;
    let _worker = world.work("w");
    paused(&world, task.id).await;
    decide(&world, &only_request(&world).await, Decision::Deny("it lies".to_owned())).await;
    let ended = world.ended(task.id).await;
    assert_eq!(ended.state().output, Some(Payload::text("Then without it.")));
    assert!(called(directory.path()).is_empty());
    is_the_same(&world, task.id, 2, 0).await;
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_tool_still_needs_the_approval_that_its_calls_need() {
    let (directory, repository) = sqlite().await;
    let world = world(directory.path(), &repository, json!([])).await;
    let approval = serde_json::from_value(json!({"classes": ["unsafe"]})).unwrap();
    let request = TaskRequest { plan: Some(shifty("a")), approval: Some(approval), ..request("Do it") };
    let task = world.orchestrator.start(request).await.unwrap();
    let worker = world.work("w");
    world.until(task.id, |task| task.status() == Status::Paused).await;
    worker.stop().await;
    // Approved is a call of the tool as it was then.
    decide(&world, &only_request(&world).await, Decision::Approve(Some(json!({"label": "edited"})))).await;
    changed(&world, "description").await;
    let _worker = world.work("w");
    paused(&world, task.id).await;
    let asked = only_request(&world).await;
    assert_eq!(asked.arguments, Some(json!({"label": "edited"})));
    decide(&world, &asked, ACCEPT).await;
    world.until(task.id, |task| task.pause_for_people() == Some(PauseReason::Approval)).await;
    assert!(called(directory.path()).is_empty());
    decide(&world, &only_request(&world).await, Decision::Approve(None)).await;
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    let ledger = fs::read_to_string(directory.path().join("ledger")).unwrap();
    assert_eq!(ledger.matches(r#""label":"edited""#).count(), 1, "{ledger}");
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 0, 1).await;
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_came_later_waits_for_a_revision_and_one_that_vanished_is_a_clear_error() {
    let (directory, repository) = sqlite().await;
    let calls = |tool: &str| json!({"toolCalls": [{"tool": tool, "arguments": {"label": "x"}}]});
    let rules = json!([
        {"role": "execute", "turn": 0, "reply": calls("test_late")},
        {"role": "execute", "turn": 1, "contains": "was not among the tools when the plan was made", "reply": calls("test_shifty")},
        {"role": "execute", "turn": 2, "contains": "is not there any more", "reply": {"text": "Neither is to be had."}},
    ]);
    let world = world(directory.path(), &repository, rules).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Use them")])).await;
    changed(&world, "gone").await;
    let offered = world.orchestrator.tools().offered(&ToolAllowance::default()).unwrap();
    assert!(offered.iter().any(|tool| tool.description().name == "test_late"), "other tasks have it");
    let frozen = world.orchestrator.tools_of(&task).await.unwrap().unwrap();
    assert!(frozen.get("test_late").is_none() && frozen.get("test_shifty").is_some());
    let _worker = world.work("w");
    let ended = world.ended(task.id).await;
    let codes: Vec<String> = world
        .journal(task.id)
        .await
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::CallFailed { fault, .. } => Some(fault.code),
            _ => None,
        })
        .collect();
    assert_eq!(ended.status(), Status::Completed, "{codes:?} {:?}", ended.state().fault);
    assert_eq!(codes, ["tool_not_planned", "tool_gone"]);
    assert!(called(directory.path()).is_empty());
    is_the_same(&world, task.id, 3, 1).await;
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_takes_the_tools_as_they_are_then() {
    let (directory, repository) = sqlite().await;
    let revised = json!({"steps": [{"id": "again", "description": "Use the late one", "type": "tool-call",
        "tool": {"name": "test_late", "arguments": {"label": "x"}}}]});
    let rules = json!([{"role": "plan", "contains": "has to be revised", "reply": {"json": revised}}]);
    let world = world(directory.path(), &repository, rules).await;
    let task = world.start(plan(vec![call("test_fail", json!({"message": "no"}))])).await;
    changed(&world, "new").await;
    let _worker = world.work("w");
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    assert_eq!(called(directory.path()), ["fail", "late"]);
    assert_ne!(ended.state().tools.unwrap().hash, task.state().tools.unwrap().hash);
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 1, 2).await;
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_begins_with_the_tools_of_the_other_task() {
    let (directory, repository) = sqlite().await;
    let world = world(directory.path(), &repository, json!([])).await;
    let task = world.start(shifty("a")).await;
    changed(&world, "description").await;
    let fork = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::End), "anna").await.unwrap();
    assert_eq!(fork.state().tools.unwrap().hash, task.state().tools.unwrap().hash);
    world.orchestrator.cancel(task.id, "anna").await.unwrap();
    let _worker = world.work("w");
    paused(&world, fork.id).await;
    assert!(called(directory.path()).is_empty());
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tools_are_stored_once_and_a_plan_without_tools_stores_none() {
    let (directory, repository) = sqlite().await;
    let world = world(directory.path(), &repository, json!([])).await;
    let mut names = Vec::new();
    for label in ["a", "b"] {
        let task = world.start(shifty(label)).await;
        for entry in world.journal(task.id).await {
            match entry.event {
                Event::Planned { tools: Some(Payload::Blob { hash, .. }), .. } => names.push(hash),
                Event::Planned { tools, .. } => panic!("it is too large to be in its place: {tools:?}"),
                _ => {}
            }
        }
        assert_eq!(task.state().tools.map(|at| at.hash), names.last().copied());
    }
    assert!(names.len() == 2 && names[0] == names[1], "{names:?}");
    let thinking = world.start(plan(vec![step(StepType::LlmReasoning, "Think")])).await;
    assert_eq!(thinking.state().tools, None);
    world.orchestrator.tools().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looking_in_time_counts_as_a_denial() {
    let (directory, repository) = sqlite().await;
    let world = world(directory.path(), &repository, json!([])).await;
    let soon = ApprovalWish {
        expires_after_ms: Some(50),
        on_expiry: Some(OnExpiry::Deny),
        ..ApprovalWish::default()
    };
    let request = TaskRequest { plan: Some(shifty("a")), approval: Some(soon), ..request("Do it") };
    let task = world.orchestrator.start(request).await.unwrap();
    changed(&world, "description").await;
    let _worker = world.work("w");
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Failed);
    let why = ended.state().fault.as_ref().unwrap().to_string();
    assert!(why.contains("nobody answered"), "{why}");
    assert!(called(directory.path()).is_empty());
    world.orchestrator.tools().close().await;
}
