//! Arguments that do not fit a tool: whoever wrote them is told before anything is sent, and may do better.

use std::sync::Arc;

use async_trait::async_trait;
use longhaul::orchestrator::{Decision, OrchestratorError, RequestId, TaskRequest};
use longhaul::repository::{Commit, Lease};
use longhaul::task::{ApprovalWish, Effect, Event, PauseReason, Payload, Status, StepType, Task, TaskId};
use longhaul::tools::{CallContext, Origin, Tool, ToolDescription, ToolError, ToolOutput, Toolbox};
use serde_json::{Value, json};

use crate::replay::is_the_same;
use crate::world::{Ledger, Setup, World, call, plan, request, step};

/// Files an issue, which cannot be taken back; it takes whatever reaches it.
struct FileIssue {
    description: ToolDescription,
    ledger: Ledger,
}

#[async_trait]
impl Tool for FileIssue {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        self.ledger.lock().unwrap().push((context.idempotency_key, arguments.to_string()));
        Ok(ToolOutput::ok(json!({"title": arguments["title"], "votes": 7})))
    }
}

fn issue_schema() -> Value {
    json!({"type": "object", "required": ["title"], "additionalProperties": false,
        "properties": {"title": {"type": "string", "maxLength": 10}, "votes": {"type": "integer"}}})
}

/// An engine with `issue`, and with `vague`, of which nobody can tell what it takes.
async fn world(rules: Value) -> World {
    let ledger = Ledger::default();
    let tool = |name: &str, schema: Value| {
        Arc::new(FileIssue {
            description: ToolDescription {
                name: name.to_owned(),
                description: "Files an issue.".to_owned(),
                schema: schema.into(),
                effect: Effect::Unsafe,
                origin: Origin::Mcp { server: "tracker".to_owned(), tool: name.to_owned() },
            },
            ledger: ledger.clone(),
        }) as Arc<dyn Tool>
    };
    let vague = json!({"properties": {"title": {"$ref": "https://127.0.0.1:1/title.json"}}});
    let tools = Toolbox::with_tools(vec![tool("issue", issue_schema()), tool("vague", vague)]).unwrap();
    let script = json!({"rules": rules});
    World::new(Setup { script, ledger, tools: Some(tools), ..Setup::default() }).await
}

fn cautious() -> ApprovalWish {
    serde_json::from_value(json!({"classes": ["unsafe"]})).unwrap()
}

/// What reached the tools.
fn filed(world: &World) -> Vec<Value> {
    let ledger = world.ledger.lock().unwrap();
    ledger.iter().map(|(_, arguments)| serde_json::from_str(arguments).unwrap()).collect()
}

/// Why calls failed.
async fn faults(world: &World, id: TaskId) -> Vec<(String, String)> {
    let journal = world.journal(id).await.into_iter();
    let faults = journal.filter_map(|entry| match entry.event {
        Event::CallFailed { fault, .. } => Some((fault.code, fault.message)),
        _ => None,
    });
    faults.collect()
}

async fn is_done(world: &World, task: &Task) {
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().fault);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_calls_do_not_fit_is_refused_with_step_tool_place_and_what_is_expected() {
    let world = world(json!([])).await;
    let refused = |steps| async {
        let request = TaskRequest { plan: Some(plan(steps)), ..request("File it") };
        match world.orchestrator.start(request).await {
            Err(refused @ OrchestratorError::Plan { .. }) => refused.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let title = json!({"$output": "step-1", "pointer": "/title"});
    let both = vec![call("issue", json!({"title": 7})), call("issue", json!({"votes": 1}))];
    assert_eq!(
        refused(both).await,
        "plan[0].tool.arguments: do not fit issue: at /title: value is not of type \"string\"; \
         plan[1].tool.arguments: do not fit issue: \"title\" is a required property"
    );
    // What is not there yet is judged when it is there; what is missing beside it is missing already.
    let open = vec![call("issue", json!({"title": "a"})), call("issue", json!({"title": title, "note": 1}))];
    let problem = refused(open).await;
    assert!(problem.ends_with("Additional properties are not allowed ('note' was unexpected)"), "{problem}");
    assert!(filed(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_is_told_and_mends_its_plan() {
    let steps = |arguments: Value| {
        json!({"steps": [{"id": "file", "description": "File it", "type": "tool-call",
            "tool": {"name": "issue", "arguments": arguments}}]})
    };
    let told =
        "This cannot be used: steps[0].tool.arguments: do not fit issue: \"title\" is a required property";
    let world = world(json!([
        {"role": "plan", "contains": told, "reply": {"json": steps(json!({"title": "It leaks"}))}},
        {"role": "plan", "reply": {"json": steps(json!({"votes": 3}))}},
    ]))
    .await;
    let task = world.orchestrator.start(request("File an issue")).await.unwrap();
    let _worker = world.work("w");
    is_done(&world, &task).await;
    assert_eq!(filed(&world), [json!({"title": "It leaks"})]);
    is_the_same(&world, task.id, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_gives_a_tool_to_a_step_that_thinks_is_told_what_to_do() {
    let steps = |kind: &str| {
        json!({"steps": [{"id": "file", "description": "File it", "type": kind,
            "tool": {"name": "issue", "arguments": {"title": "It leaks"}}}]})
    };
    let told = "cannot be used: steps[0].tool: names 'issue' in a step of type llm-reasoning, which calls no tools and asks \
                nobody: make it a step of type tool-call";
    let world = world(json!([
        {"role": "plan", "contains": told, "reply": {"json": steps("tool-call")}},
        {"role": "plan", "reply": {"json": steps("llm-reasoning")}},
    ]))
    .await;
    let task = world.orchestrator.start(request("File an issue")).await.unwrap();
    let _worker = world.work("w");
    is_done(&world, &task).await;
    assert_eq!(filed(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_before_anything_is_sent_or_anybody_is_asked_and_does_better() {
    let calls = |arguments: Value| json!({"toolCalls": [{"tool": "issue", "arguments": arguments}]});
    let world = world(json!([
        {"role": "execute", "turn": 0, "reply": calls(json!({"title": "far too long a title"}))},
        {"role": "execute", "turn": 1, "contains": "at /title: value is longer than 10 characters",
         "reply": calls(json!({"title": "short"}))},
        {"role": "execute", "turn": 2, "reply": {"text": "It is filed."}},
    ]))
    .await;
    let steps = plan(vec![step(StepType::ToolCall, "File an issue")]);
    let asked = TaskRequest { plan: Some(steps), approval: Some(cautious()), ..request("File it") };
    let task = world.orchestrator.start(asked).await.unwrap();
    let _worker = world.work("w");
    world.until(task.id, |task| task.pause_for_people() == Some(PauseReason::Approval)).await;
    let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap();
    assert_eq!(open.len(), 1, "nobody is asked about a call that cannot be made");
    assert_eq!(open[0].arguments, Some(json!({"title": "short"})));
    let id: RequestId = open[0].id.parse().unwrap();
    world.orchestrator.decide(id, Decision::Approve(None), "anna").await.unwrap();
    is_done(&world, &task).await;
    assert_eq!(filed(&world), [json!({"title": "short"})]);
    let [(code, message)] = &faults(&world, task.id).await[..] else { panic!() };
    assert_eq!(code, "tool_arguments");
    assert!(message.starts_with("the arguments do not fit: issue: at /title: "), "{message}");
    let effects = world.orchestrator.effects(task.id).await.unwrap();
    let happened: Vec<bool> = effects.iter().map(|effect| effect.may_have_happened()).collect();
    assert_eq!(happened, [false, true], "what was not sent had no effect: {effects:?}");
    is_the_same(&world, task.id, 3, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_call_that_turns_out_not_to_fit_is_not_tried_again_but_planned_anew() {
    let again = json!({"steps": [{"id": "again", "description": "File it otherwise", "type": "tool-call",
        "tool": {"name": "issue", "arguments": {"title": "b"}}}]});
    let told = "at /title: value is not of type";
    let world = world(json!([{"role": "plan", "contains": told, "reply": {"json": again}}])).await;
    let votes = json!({"$output": "step-1", "pointer": "/votes"});
    let steps = vec![call("issue", json!({"title": "a"})), call("issue", json!({"title": votes}))];
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    is_done(&world, &task).await;
    assert_eq!(filed(&world), [json!({"title": "a"}), json!({"title": "b"})]);
    assert_eq!(faults(&world, task.id).await.len(), 1, "it would not fit any better");
    is_the_same(&world, task.id, 1, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_a_person_changes_have_to_fit_and_a_mistake_costs_nothing() {
    let world = world(json!([])).await;
    let steps = plan(vec![call("issue", json!({"title": "a"}))]);
    let asked = TaskRequest { plan: Some(steps), approval: Some(cautious()), ..request("File it") };
    let task = world.orchestrator.start(asked).await.unwrap();
    let _worker = world.work("w");
    world.until(task.id, |task| task.pause_for_people() == Some(PauseReason::Approval)).await;
    let open = world.orchestrator.inbox(Some("user"), 10).await.unwrap().remove(0);
    let decide = |arguments: Value| {
        let id: RequestId = open.id.parse().unwrap();
        world.orchestrator.decide(id, Decision::Approve(Some(arguments)), "anna")
    };
    let wrong = decide(json!({"title": "a", "votes": "many"})).await.unwrap_err();
    assert_eq!(wrong.code(), "invalid_request");
    let expected = "arguments: do not fit issue: at /votes: value is not of type \"integer\"";
    assert_eq!(wrong.to_string(), expected);
    assert_eq!(world.orchestrator.inbox(Some("user"), 10).await.unwrap(), std::slice::from_ref(&open));
    decide(json!({"title": "b", "votes": 3})).await.unwrap();
    is_done(&world, &task).await;
    assert_eq!(filed(&world), [json!({"title": "b", "votes": 3})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_arguments_that_nobody_could_check_are_checked_before_they_are_sent() {
    let world = world(json!([{"role": "plan", "reply": {"text": "no plan"}}])).await;
    let steps = plan(vec![call("issue", json!({"title": "a"}))]);
    let asked = TaskRequest { plan: Some(steps), approval: Some(cautious()), ..request("File it") };
    let task = world.orchestrator.start(asked).await.unwrap();
    let worker = world.work("w");
    world.until(task.id, |task| task.status() == Status::Paused).await;
    worker.stop().await;
    // As another writer would, which does not know the tool.
    let mut task = world.repository.load(task.id).await.unwrap().unwrap();
    let arguments = Some(Payload::Inline(json!({"title": 7})));
    let given = Event::ApprovalGiven { step: 0, call: 1, arguments, by: "anna".into() };
    let at = task.state().updated_at;
    let entries = [given, Event::Resumed { by: "anna".into() }].map(|event| task.record(at, event).unwrap());
    world.repository.commit(Commit::new(&task, entries.into(), Vec::new(), Lease::Keep)).await.unwrap();
    let _worker = world.work("v");
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Failed);
    let (code, message) = &faults(&world, task.id).await[0];
    assert!(code == "tool_arguments" && message.contains("at /title"), "{code}: {message}");
    assert_eq!(filed(&world), Vec::<Value>::new(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_uses_what_no_step_before_brings_is_refused() {
    let world = world(json!([])).await;
    let user = |of: &str| call("issue", json!({"title": {"$output": of}}));
    for (steps, id) in [
        (vec![user("step-2"), call("issue", json!({"title": "a"}))], "step-2"),
        (vec![user("nope")], "nope"),
        (vec![user("step-1")], "step-1"),
        (vec![user("step-2"), user("step-1")], "step-2"),
    ] {
        let asked = TaskRequest { plan: Some(plan(steps)), ..request("File it") };
        let refused = world.orchestrator.start(asked).await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("plan[0].tool.arguments: refers to the output of '{id}'")),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_uses_what_no_step_before_brings_is_told() {
    let step = |id: &str, title: Value| {
        json!({"id": id, "description": "File it", "type": "tool-call",
            "tool": {"name": "issue", "arguments": {"title": title}}})
    };
    let forward = json!({"steps": [step("f", json!({"$output": "g"})), step("g", json!("a"))]});
    let mended = json!({"steps": [step("g", json!("a")), step("h", json!("b"))]});
    let told = "steps[0].tool.arguments: step 'f' uses the output of 'g', which does not come before it";
    let world = world(json!([
        {"role": "plan", "contains": told, "reply": {"json": mended}},
        {"role": "plan", "reply": {"json": forward}},
    ]))
    .await;
    let task = world.orchestrator.start(request("File it")).await.unwrap();
    let _worker = world.work("w");
    is_done(&world, &task).await;
    assert_eq!(filed(&world), [json!({"title": "a"}), json!({"title": "b"})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_whose_schema_cannot_be_used_is_called_with_what_there_is() {
    let world = world(json!([])).await;
    let task = world.start(plan(vec![call("vague", json!({"title": [7]}))])).await;
    let _worker = world.work("w");
    is_done(&world, &task).await;
    assert_eq!(filed(&world), [json!({"title": [7]})]);
}
