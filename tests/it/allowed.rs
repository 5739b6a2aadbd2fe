//! A tool that is not allowed is called by nobody: whichever way a task comes to be, whoever names the
//! tool, the plan or a model.

use longhaul::orchestrator::{
    ForkAt, ForkWish, Orchestrator, OrchestratorConfig, RetryWish, ScheduleWish, TaskRequest, TemplateUse,
    TemplateWish, system_clock,
};
use longhaul::repository::ListFilter;
use longhaul::task::{
    Event, Limits, Mention, Plan, PlannedStep, Recording, Status, StepType, TaskId, ToolAllowance,
};
use serde_json::{Value, json};

use crate::program::Program;
use crate::recordings::exported;
use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, request, step};

/// The tool that nobody may call.
const BARRED: &str = "keyed";

/// A model that asks for the tool by its name wherever it may ask for any, and for a plan that has it.
fn insisting() -> Value {
    let barred = json!({"tool": BARRED, "arguments": {}});
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Insist", "type": "tool-call"}]}}},
        {"role": "execute", "contains": "Delegate", "turn": 0,
            "reply": {"toolCalls": [{"tool": "workflow_insist", "arguments": {}}]}},
        {"role": "execute", "contains": "Begin", "turn": 0, "reply": {"toolCalls": [{"tool": "read", "arguments": {}}]}},
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [barred.clone()]}},
        {"role": "execute", "turn": 1, "reply": {"toolCalls": [barred]}},
        {"role": "execute", "reply": {"text": "I could not."}},
    ]})
}

fn only_read() -> ToolAllowance {
    serde_json::from_value(json!({"allowedAppDefaultToolkit": ["read"]})).unwrap()
}

/// A step in which a model asks for the tool, and one that names it.
fn plans() -> [(&'static str, Plan); 2] {
    let named = PlannedStep { optional: true, ..call(BARRED, json!({})) };
    [("a model", plan(vec![step(StepType::ToolCall, "Insist")])), ("the plan", plan(vec![named]))]
}

/// A world with a preset and an agent that may only read.
async fn world() -> World {
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let mut world =
        World::new(Setup { script: insisting(), limits: limits.clone(), ..Setup::default() }).await;
    let config = OrchestratorConfig {
        limits,
        presets: serde_json::from_value(json!({"careful": {"tools": ["read"]}})).unwrap(),
        agents: serde_json::from_value(
            json!({"reader": {"instructions": "Read.", "tools": ["read", "slow*"]}}),
        )
        .unwrap(),
        ..OrchestratorConfig::default()
    };
    world.orchestrator = Orchestrator::new(
        world.repository.clone(),
        world.queue.clone(),
        world.orchestrator.models().clone(),
        world.orchestrator.tools().clone(),
        config,
        system_clock(),
    );
    world
}

/// A request, narrowed.
type Narrowed = fn(TaskRequest) -> TaskRequest;

/// Starts a task, unless its plan names the tool: that is refused with its name, and nothing is made.
async fn begun(world: &World, wish: TaskRequest, way: &str) -> Option<TaskId> {
    let names_it = wish
        .plan
        .iter()
        .flat_map(|plan| &plan.steps)
        .any(|step| step.tool.as_ref().is_some_and(|tool| tool.name == BARRED));
    match world.orchestrator.start(wish).await {
        Ok(task) => {
            assert!(!names_it, "{way}: such a plan is not taken");
            Some(task.id)
        }
        Err(refused) => {
            assert!(names_it && refused.to_string().contains(BARRED), "{way}: {refused}");
            None
        }
    }
}

/// Nobody called it, although somebody wanted to: in this task or in one of its children.
async fn is_barred(world: &World, id: TaskId, way: &str) {
    let ended = world.ended(id).await;
    let called: Vec<String> = world.ledger.lock().unwrap().iter().map(|(_, tool)| tool.clone()).collect();
    assert!(!called.iter().any(|tool| tool == BARRED), "{way}: {called:?}");
    let filter = ListFilter { parent: Some(id), ..ListFilter::default() };
    let children = world.repository.list(&filter).await.unwrap();
    let family = children.iter().map(|child| child.id).chain([id]);
    let mut refused = false;
    for member in family {
        refused |= world.journal(member).await.iter().any(|entry| match &entry.event {
            Event::CallFailed { fault, .. } | Event::StepFailed { fault, .. } => fault.code == "tool_unknown",
            _ => false,
        });
        world.is_sound(member).await;
    }
    assert!(refused, "{way}: the attempt is in the journal: {:?}", ended.state().fault);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_of_a_request_a_preset_or_an_agent_lets_a_model_or_a_plan_past_it() {
    let mentioned = json!({"mentions": [{"type": "defaultTool", "name": "read", "label": "Read"}]});
    let rows: [(&str, Narrowed); 3] = [
        ("a request", |wish| TaskRequest { tools: only_read(), ..wish }),
        ("a preset", |wish| TaskRequest { preset: Some("careful".into()), ..wish }),
        ("an agent", |wish| TaskRequest { agent_id: Some("reader".into()), ..wish }),
    ];
    let world = world().await;
    let _worker = world.work("w");
    for (who, plan) in plans() {
        for (list, narrowed) in &rows {
            let wish = narrowed(TaskRequest { plan: Some(plan.clone()), ..request("Insist") });
            let way = format!("{who}, list of {list}");
            if let Some(id) = begun(&world, wish, &way).await {
                is_barred(&world, id, &way).await;
            }
        }
        let tools: ToolAllowance = serde_json::from_value(mentioned.clone()).unwrap();
        let wish = TaskRequest { plan: Some(plan), tools, ..request("Insist") };
        let way = format!("{who}, mentions");
        if let Some(id) = begun(&world, wish, &way).await {
            is_barred(&world, id, &way).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_has_no_tools_calls_none_whatever_its_model_asks_for() {
    let with_tools = plan(vec![call("read", json!({})), step(StepType::LlmReasoning, "Insist")]);
    for (way, plan) in [
        ("a plan without tools", plan(vec![step(StepType::LlmReasoning, "Insist")])),
        ("beside a step with tools", with_tools),
    ] {
        let world = world().await;
        let wish = TaskRequest { plan: Some(plan), ..request("Insist") };
        let task = world.orchestrator.start(wish).await.unwrap();
        let _worker = world.work("w");
        is_barred(&world, task.id, way).await;
        let ended = world.ended(task.id).await;
        assert_eq!(ended.status(), Status::Completed, "{way}: the model went on without it");
        is_the_same(&world, task.id, 3, u32::from(way.starts_with("beside"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_has_no_tools_hands_nothing_over_to_a_task_of_its_own() {
    let world = world().await;
    template(&world, "insist", json!({"description": "Insist", "type": "tool-call"})).await;
    let mention = json!({"type": "workflow", "name": "Insist", "workflowId": "insist"});
    let plan = plan(vec![step(StepType::LlmReasoning, "Delegate")]);
    let mut wish = TaskRequest { plan: Some(plan), ..request("Delegate") };
    wish.tools.mentions = vec![serde_json::from_value(mention).unwrap()];
    let task = world.orchestrator.start(wish).await.unwrap();
    let _worker = world.work("w");
    is_barred(&world, task.id, "a template that was not offered").await;
    let filter = ListFilter { parent: Some(task.id), ..ListFilter::default() };
    assert!(world.repository.list(&filter).await.unwrap().is_empty(), "no task was made");
}

/// A task that may only read and has done so; whatever is made of it may not do more.
async fn reader(world: &World, plan: Plan) -> Option<TaskId> {
    let first = PlannedStep { id: "first".into(), ..step(StepType::ToolCall, "Begin") };
    let steps = std::iter::once(first)
        .chain(plan.steps.into_iter().map(|step| PlannedStep { depends_on: vec![0], ..step }));
    let wish =
        TaskRequest { plan: Some(Plan { steps: steps.collect() }), tools: only_read(), ..request("Insist") };
    begun(world, wish, "a reader").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_a_retry_and_a_recording_from_elsewhere_may_do_no_more_than_their_task() {
    for (who, plan) in plans() {
        let world = world().await;
        let _worker = world.work("w");
        let Some(id) = reader(&world, plan).await else { continue };
        is_barred(&world, id, who).await;
        let fork = world.orchestrator.fork(id, ForkWish::at(ForkAt::Step(1)), "anna").await.unwrap();
        is_barred(&world, fork.id, &format!("{who}, of a fork")).await;
        let again = world
            .orchestrator
            .retry(id, RetryWish { from_step: Some(1), ..RetryWish::default() }, "anna")
            .await
            .unwrap();
        is_barred(&world, again.id, &format!("{who}, of a retry")).await;
        let there = self::world().await;
        let _worker = there.work("w");
        let file = Recording::read(&exported(&world.orchestrator, id).await).unwrap();
        there.orchestrator.import(&file, "user", None).await.unwrap();
        let fork = there.orchestrator.fork(id, ForkWish::at(ForkAt::Step(1)), "user").await.unwrap();
        is_barred(&there, fork.id, &format!("{who}, of a fork of a recording")).await;
    }
}

/// A template that wants the tool: by its plan, or through a model.
async fn template(world: &World, name: &str, step: Value) {
    let wish = json!({"name": name, "goal": "Insist", "steps": [step]});
    let wish: TemplateWish = serde_json::from_value(wish).unwrap();
    world.orchestrator.put_template("user", wish).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_run_within_the_list_and_so_is_the_sub_task_that_carries_it_out() {
    let world = world().await;
    let _worker = world.work("w");
    template(&world, "insist", json!({"description": "Insist", "type": "tool-call"})).await;
    let names_it =
        json!({"description": "Call it", "type": "tool-call", "tool": {"name": BARRED, "arguments": {}}});
    template(&world, "naming", names_it).await;
    let run = |name: &str| {
        let run = TemplateUse { name: name.into(), version: None, parameters: Default::default() };
        TaskRequest { template: Some(run), tools: only_read(), ..request("") }
    };
    let task = world.orchestrator.start(run("insist")).await.unwrap();
    is_barred(&world, task.id, "a template").await;
    let refused = world.orchestrator.start(run("naming")).await.unwrap_err();
    assert!(refused.to_string().contains(BARRED), "{refused}");

    let mention = json!({"type": "workflow", "name": "Insist", "workflowId": "insist"});
    let mention = serde_json::from_value::<Mention>(mention).unwrap();
    for (way, steps) in [
        ("a sub-task that a model asked for", plan(vec![step(StepType::ToolCall, "Delegate")])),
        ("a sub-task that the plan names", plan(vec![call("workflow_insist", json!({}))])),
    ] {
        let mut wish = TaskRequest { plan: Some(steps), tools: only_read(), ..request("Delegate") };
        wish.tools.mentions = vec![mention.clone()];
        let task = world.orchestrator.start(wish).await.unwrap();
        is_barred(&world, task.id, way).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_fires_within_the_list() {
    let world = world().await;
    let wish = json!({"cron": "0 * * * *", "task": {
        "goal": "Insist", "allowedAppDefaultToolkit": ["read"]}});
    let wish: ScheduleWish = serde_json::from_value(wish).unwrap();
    let schedule = world.orchestrator.create_schedule("user", wish, None).await.unwrap();
    let mut due = schedule.clone();
    due.revision += 1;
    due.next_at = Some(due.created_at);
    due.wake_at = due.next_at;
    world.repository.put_schedule(&due, schedule.revision).await.unwrap();
    let _worker = world.work("w");
    let filter = ListFilter { thread_id: Some(schedule.thread_id()), ..ListFilter::default() };
    let fired = async {
        loop {
            if let Some(task) = world.repository.list(&filter).await.unwrap().first() {
                return task.id;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let id = tokio::time::timeout(std::time::Duration::from_secs(60), fired).await.expect("it fires");
    is_barred(&world, id, "a schedule").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_answer_calls_nothing_outside_the_list() {
    let script = json!({"rules": [
        {"role": "chat", "turn": 0, "reply": {"toolCalls": [
            {"tool": "workspace_read", "arguments": {"path": "secret.txt"}}]}},
        {"role": "chat", "reply": {"text": "I could not."}},
    ]});
    let program = Program::new(&script);
    program.file("secret.txt", "the recipe of the house");
    let server = program.serve(&[]).await;
    let message = json!({"role": "user", "parts": [{"type": "text", "text": "Hi"}]});
    for (allowed, is_read) in [(json!(["clock"]), false), (json!(["workspace"]), true)] {
        let body = json!({"id": format!("thread-{is_read}"), "message": message, "allowedAppDefaultToolkit": allowed});
        let reply = program.request("POST", &server, "/api/chat").json(&body).send().await.unwrap();
        let reply = reply.text().await.unwrap();
        assert_eq!(reply.contains("the recipe of the house"), is_read, "{reply}");
        assert_eq!(reply.contains("there is no tool workspace_read"), !is_read, "{reply}");
    }
}
