//! Sub-tasks: calls of workflows that are carried out by tasks of their own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longhaul::orchestrator::{Decision, ForkAt, ForkWish, OrchestratorError, TaskRequest, TemplateWish};
use longhaul::repository::{Commit, Lease, ListFilter, Repository, RepositoryError};
use longhaul::task::{
    Budget, Event, Limits, Mention, Pause, PauseReason, Payload, Plan, PlannedStep, Status, StepType, Task,
    TaskId, TopUp,
};
use longhaul::worker::WorkerConfig;
use serde_json::{Value, json};

use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, request, sqlite, step};
use crate::wrapped::{Interference, Wrapped};

/// A template with these steps, which takes one text.
async fn template(world: &World, name: &str, steps: Value) {
    let wish = json!({
        "name": name, "goal": "Say {{word}}", "steps": steps,
        "parameters": {"required": ["word"], "properties": {"word": {"type": "string"}}},
    });
    let wish: TemplateWish = serde_json::from_value(wish).unwrap();
    world.orchestrator.put_template("user", wish).await.unwrap();
}

fn tool(name: &str, arguments: Value) -> Value {
    json!({"description": format!("Call {name}"), "type": "tool-call", "tool": {"name": name, "arguments": arguments}})
}

/// A template whose one step gives back the word.
async fn echo(world: &World) {
    template(world, "echo", json!([tool("read", json!({"word": "{{word}}"}))])).await;
}

fn workflow(name: &str, word: &str) -> PlannedStep {
    call(&format!("workflow_{name}"), json!({"word": word}))
}

/// Steps beside each other.
fn beside(steps: Vec<PlannedStep>) -> Plan {
    let steps = (1..).zip(steps).map(|(n, step)| PlannedStep { id: format!("step-{n}"), ..step });
    Plan { steps: steps.collect() }
}

async fn children(world: &World, parent: TaskId) -> Vec<Task> {
    let filter = ListFilter { parent: Some(parent), ..ListFilter::default() };
    let mut children = Vec::new();
    for summary in world.repository.list(&filter).await.unwrap() {
        children.push(world.repository.load(summary.id).await.unwrap().unwrap());
    }
    children.reverse();
    children
}

/// The only child, once it is as wanted.
async fn child(world: &World, parent: TaskId, wanted: impl Fn(&Task) -> bool) -> Task {
    let known = world.until(parent, |task| task.children_at_work().next().is_some()).await;
    let id = known.children_at_work().next().map(|(_, _, child)| child.task).unwrap();
    world.until(id, wanted).await
}

async fn text(world: &World, payload: &Payload) -> Value {
    world.repository.content(payload).await.unwrap()
}

fn without_replans() -> Setup {
    Setup { limits: Limits { max_replans: 0, ..Limits::default() }, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_call_a_workflow_in_steps_beside_each_other_and_one_worker_with_one_place_is_enough() {
    let word = |word: &str| {
        json!({"contains": format!("):\ngo {word}"), "turn": 0, "reply": {"toolCalls": [
            {"tool": "workflow_echo", "arguments": {"word": word}}]}})
    };
    let script = json!({"rules": [word("left"), word("right"), {"turn": 1, "reply": {"text": "done"}}]});
    let mut world = World::new(Setup { script, ..Setup::default() }).await;
    world.worker_config = WorkerConfig { concurrency: 1, ..world.worker_config };
    echo(&world).await;
    let mention = json!({"type": "workflow", "name": "Echo", "workflowId": "echo"});
    let mut wish = request("Do both");
    wish.tools.mentions = vec![serde_json::from_value::<Mention>(mention).unwrap()];
    wish.plan = Some(beside(vec![step(StepType::ToolCall, "go left"), step(StepType::ToolCall, "go right")]));
    let task = world.orchestrator.start(wish).await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let born = children(&world, task.id).await;
    assert_eq!(born.len(), 2);
    let mut words = Vec::new();
    for entry in world.journal(task.id).await {
        if let Event::ChildEnded { result, is_error: false, .. } = &entry.event {
            words.push(text(&world, result).await["given"]["word"].clone());
        }
    }
    words.sort_by_key(ToString::to_string);
    assert_eq!(words, [json!("left"), json!("right")]);
    for child in &born {
        let of = child.spec().parent.unwrap();
        assert_eq!((of.task, of.root, of.depth), (task.id, task.id, 1));
        assert_eq!(
            child.spec().template.as_ref().map(|of| (of.name.as_str(), of.version)),
            Some(("echo", 1))
        );
        world.is_sound(child.id).await;
    }
    assert_eq!(task.state().usage.tool_calls, 4, "two calls, and one of each child");
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 4, 2).await;
    assert_eq!(children(&world, task.id).await.len(), 2, "a replay makes no task");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_side_by_side_share_the_budget_equally() {
    let limits = Limits { max_replans: 0, max_parallel_steps: 50, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    echo(&world).await;
    let items: Vec<String> = (0..12).map(|number| format!("w{number}")).collect();
    let each = PlannedStep {
        for_each: Some(serde_json::from_value(json!({"items": items})).unwrap()),
        ..call("workflow_echo", json!({"word": {"$item": true}}))
    };
    let budget = Budget { model_calls: Some(100), tokens: Some(13_000), ..Budget::default() };
    let asked = TaskRequest { plan: Some(plan(vec![each])), budget, ..request("All") };
    let task = world.orchestrator.start(asked).await.unwrap();
    let _worker = world.work("w");
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{:?}", ended.state().pause);
    let granted = world.journal(task.id).await.into_iter().filter_map(|entry| match entry.event {
        Event::ChildStarted { grant, .. } => Some((grant.model_calls.unwrap(), grant.tokens.unwrap())),
        _ => None,
    });
    let granted: Vec<(u32, u64)> = granted.collect();
    assert_eq!(granted.len(), 12);
    assert!(granted.iter().all(|(calls, tokens)| *calls >= 7 && *tokens >= 1000), "{granted:?}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_for_each_item_keeps_within_the_parallel_steps_and_joins() {
    let limits = Limits { max_parallel_steps: 2, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let slow = json!([tool("slow_reading", json!({"ms": 30})), tool("read", json!({"word": "{{word}}"}))]);
    template(&world, "slow", slow).await;
    let list = json!({"items": ["a", "b", "c", "d", "e"]});
    let each = PlannedStep {
        for_each: Some(serde_json::from_value(list).unwrap()),
        ..call("workflow_slow", json!({"word": {"$item": true}}))
    };
    let task = world.start(beside(vec![each])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let joined = text(&world, task.steps()[0].output.as_ref().unwrap()).await;
    let words: Vec<&Value> = joined.as_array().unwrap().iter().map(|one| &one["given"]["word"]).collect();
    assert_eq!(words, ["a", "b", "c", "d", "e"]);
    let (mut open, mut most) = (0_i32, 0);
    for entry in world.journal(task.id).await {
        match entry.event {
            Event::ChildStarted { .. } => open += 1,
            Event::ChildEnded { .. } => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    assert_eq!(most, 2);
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 0, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goal_without_a_template_makes_its_own_plan_where_that_was_opted_in() {
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [{"id": "a", "description": "think", "type": "llm-reasoning"}]}}},
        {"contains": "hand it over", "turn": 0, "reply": {"toolCalls": [
            {"tool": "sub_task", "arguments": {"goal": "Find the answer", "budget": {"tokens": 50_000}}}]}},
        {"goalContains": "Do it", "turn": 1, "reply": {"text": "it is known now"}},
        {"goalContains": "Find the answer", "reply": {"text": "42"}},
    ]});
    let start = async |offer: &[&str]| {
        let offer = offer.iter().map(|name| (*name).to_owned()).collect();
        let world = World::new(Setup { script: script.clone(), offer, ..Setup::default() }).await;
        let task = world.start(plan(vec![step(StepType::ToolCall, "hand it over")])).await;
        let _worker = world.work("w");
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), Status::Completed, "{task:#?}");
        let born = children(&world, task.id).await;
        world.is_sound(task.id).await;
        is_the_same(&world, task.id, 2, born.len() as u32).await;
        (born, task)
    };
    let (born, task) = start(&["sub_task"]).await;
    assert_eq!(born[0].spec().goal, "Find the answer");
    assert_eq!(born[0].spec().budget.tokens, Some(50_000));
    assert_eq!(born[0].state().output, Some(Payload::text("42")));
    assert_eq!(task.state().usage.model_calls, 4, "two of its own, and the plan and the step of its child");
    let (born, _) = start(&[]).await;
    assert!(born.is_empty(), "nobody offered it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_drafted_with_what_its_task_would_be_offered() {
    let script = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "hand it over", "type": "tool-call",
         "tool": {"name": "sub_task", "arguments": {"goal": "Find the answer"}}}]}}}]});
    let world = World::new(Setup { script, offer: vec!["sub_task".into()], ..Setup::default() }).await;
    let drafted = world.orchestrator.draft_plan(request("Do it")).await.unwrap();
    assert!(!drafted.1.degraded, "{:?}", drafted.1);
    let brought = TaskRequest { plan: Some(drafted.0.clone()), ..request("Do it") };
    assert_eq!(world.orchestrator.draft_plan(brought.clone()).await.unwrap().0, drafted.0);
    let started = world.orchestrator.start(brought).await.unwrap();
    assert_eq!(started.step(0).unwrap().plan, drafted.0.steps[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_fails_fails_the_planned_call_once_and_is_told_to_a_model() {
    let told = json!({"rules": [
        {"turn": 0, "reply": {"toolCalls": [{"tool": "workflow_bad", "arguments": {"word": "x"}}]}},
        {"turn": 1, "contains": "the sub-task failed", "reply": {"text": "it cannot be done"}},
    ]});
    let world = World::new(Setup { script: told, ..without_replans() }).await;
    template(&world, "bad", json!([tool("unsafe_effect", json!({})), tool("broken", json!({}))])).await;
    let _worker = world.work("w");
    let planned = world.start(plan(vec![workflow("bad", "x")])).await;
    let planned = world.ended(planned.id).await;
    let fault = planned.state().fault.as_ref().unwrap();
    assert_eq!((planned.status(), fault.code.as_str()), (Status::Failed, "child_failed"));
    assert!(fault.message.contains("it never works"), "{fault}");
    assert_eq!(children(&world, planned.id).await.len(), 1, "what it did is not done twice");
    let effects = world.orchestrator.effects(planned.id).await.unwrap();
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0].child, Some(children(&world, planned.id).await[0].id));
    is_the_same(&world, planned.id, 0, 1).await;

    let mention = json!({"type": "workflow", "name": "bad", "workflowId": "bad"});
    let mut wish = request("Try");
    wish.tools.mentions = vec![serde_json::from_value(mention).unwrap()];
    wish.plan = Some(plan(vec![step(StepType::ToolCall, "try it")]));
    let asked = world.orchestrator.start(wish).await.unwrap();
    let asked = world.ended(asked.id).await;
    assert_eq!(asked.state().output, Some(Payload::text("it cannot be done")), "{asked:#?}");
    world.is_sound(asked.id).await;
    is_the_same(&world, asked.id, 2, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_and_unknown_workflows_are_told_and_make_no_task() {
    let script = json!({"rules": [
        {"turn": 0, "reply": {"toolCalls": [{"tool": "workflow_echo", "arguments": {"wort": "x"}}]}},
        {"turn": 1, "reply": {"text": "I see"}},
    ]});
    let world = World::new(Setup { script, offer: vec!["workflow_*".into()], ..Setup::default() }).await;
    echo(&world).await;
    let _worker = world.work("w");
    let task = world.start(plan(vec![step(StepType::ToolCall, "try")])).await;
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    assert!(children(&world, task.id).await.is_empty());
    is_the_same(&world, task.id, 2, 0).await;
    let mention = json!({"type": "workflow", "name": "nobody", "workflowId": "nobody"});
    let mut wish = request("Do it");
    wish.tools.mentions = vec![serde_json::from_value(mention).unwrap()];
    let refused = world.orchestrator.start(wish).await.unwrap_err();
    assert!(matches!(refused, OrchestratorError::Invalid { field: "mentions", .. }), "{refused}");
    let refused = world
        .orchestrator
        .start(TaskRequest { plan: Some(plan(vec![workflow("nobody", "x")])), ..request("Do it") });
    assert!(refused.await.unwrap_err().to_string().contains("there is no tool workflow_nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_has_one_budget_and_a_top_up_of_a_child_raises_those_above_it() {
    let script = json!({"rules": [{"reply": {"text": "thought"}}]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    let thinks = json!({"description": "think", "type": "llm-reasoning"});
    template(&world, "think", json!([thinks, thinks])).await;
    // Half of it is granted: one call reserves 4096 tokens for its answer besides its prompt, so a second
    // one does not fit any more.
    let budget = Budget { tokens: Some(8700), ..Budget::default() };
    let wish = TaskRequest { plan: Some(plan(vec![workflow("think", "x")])), budget, ..request("Do it") };
    let task = world.orchestrator.start(wish).await.unwrap();
    let _worker = world.work("w");
    let paused = child(&world, task.id, |child| child.status() == Status::Paused).await;
    assert_eq!(paused.state().pause.as_ref().unwrap().reason, PauseReason::Budget);
    assert_eq!(paused.budget().tokens, Some(4350));
    let waiting = world.repository.load(task.id).await.unwrap().unwrap();
    assert_eq!((waiting.status(), waiting.state().spent.reserved.tokens), (Status::Running, 4350));
    let add = TopUp { tokens: 5000, ..TopUp::default() };
    world.orchestrator.raise_budget(paused.id, add, "ada").await.unwrap();
    let ended = world.ended(task.id).await;
    assert_eq!(ended.status(), Status::Completed, "{ended:#?}");
    assert_eq!(ended.budget().tokens, Some(13_700));
    let born = &children(&world, task.id).await[0];
    assert_eq!(ended.state().usage.model_calls, born.state().usage.model_calls);
    assert_eq!(ended.state().usage.input_tokens, born.state().usage.input_tokens);
    assert!(ended.state().spent.reserved.is_nothing());
    assert_eq!(ended.state().spent.beyond.tokens, 0);
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_tasks_stand_above_each_other_than_the_limit_allows() {
    let world = World::new(without_replans()).await;
    template(&world, "nest", json!([tool("workflow_nest", json!({"word": "{{word}}"}))])).await;
    let task = world.start(plan(vec![workflow("nest", "x")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    let fault = task.state().fault.as_ref().unwrap();
    assert!(fault.message.contains("3 tasks stand above this one already (limits.maxDepth)"), "{fault}");
    let (mut depth, mut last) = (0, task.id);
    while let Some(below) = children(&world, last).await.into_iter().next() {
        depth += 1;
        let of = below.spec().parent.unwrap();
        assert_eq!((of.depth, of.root, of.task), (depth, task.id, last));
        last = below.id;
    }
    assert_eq!(depth, 3);
    world.is_sound(task.id).await;
    is_the_same(&world, task.id, 0, 1).await;
    // The last of them was allowed no child of its own, and is told so again.
    is_the_same(&world, last, 0, 0).await;
}

/// A task whose child has changed the world and then hangs.
async fn hanging(world: &World) -> (Task, Task) {
    template(world, "hang", json!([tool("unsafe_effect", json!({})), tool("hang_reading", json!({}))])).await;
    let task = world.start(plan(vec![workflow("hang", "x")])).await;
    let at_hang = |child: &Task| child.step(1).is_some_and(|step| !step.calls.is_empty());
    let child = child(world, task.id, at_hang).await;
    (task, child)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_the_children_and_tells_what_they_did() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let (task, child) = hanging(&world).await;
    world.orchestrator.cancel(task.id, "ada").await.unwrap();
    let child = world.ended(child.id).await;
    assert_eq!(child.status(), Status::Cancelled);
    let ended = |task: &Task| task.children_at_work().next().is_none();
    let task = world.until(task.id, ended).await;
    assert_eq!((task.status(), task.state().usage.tool_calls), (Status::Cancelled, 3));
    let effects = world.orchestrator.effects(task.id).await.unwrap();
    let told: Vec<_> = effects.iter().map(|effect| (effect.tool.as_str(), effect.child)).collect();
    assert_eq!(told, [("unsafe_effect", Some(child.id))]);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_child_is_told_with_its_words_and_its_parent_goes_on() {
    let world = World::new(without_replans()).await;
    let _worker = world.work("w");
    let (task, child) = hanging(&world).await;
    world.orchestrator.cancel(child.id, "ada").await.unwrap();
    let task = world.ended(task.id).await;
    let fault = task.state().fault.as_ref().unwrap();
    assert!(fault.message.contains("the sub-task was cancelled by ada"), "{fault}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_reaches_the_children_and_so_does_going_on() {
    let world = World::new(Setup::default()).await;
    let limits = json!([tool("slow_reading", json!({"ms": 200})), tool("read", json!({"word": "{{word}}"}))]);
    template(&world, "slow", limits).await;
    template(&world, "above", json!([tool("workflow_slow", json!({"word": "{{word}}"}))])).await;
    let task = world.start(plan(vec![workflow("above", "deep")])).await;
    let _worker = world.work("w");
    let middle = child(&world, task.id, |child| child.children_at_work().next().is_some()).await;
    let lowest = child(&world, middle.id, |child| child.status() == Status::Running).await;
    world.orchestrator.pause(task.id, "ada").await.unwrap();
    for below in [middle.id, lowest.id] {
        let paused = world.until(below, |task| task.status() == Status::Paused).await;
        assert_eq!(paused.state().pause.as_ref().unwrap().reason, PauseReason::Parent);
    }
    let refused = world.orchestrator.resume(lowest.id, "ada").await.unwrap_err();
    assert!(refused.to_string().contains(&middle.id.to_string()), "{refused}");
    world.orchestrator.resume(task.id, "ada").await.unwrap();
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    assert_eq!(text(&world, task.state().output.as_ref().unwrap()).await["given"]["word"], "deep");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_priority_reaches_the_children_and_those_that_come_later_have_it_too() {
    let world = World::new(Setup::default()).await;
    template(&world, "slow", json!([tool("hang_reading", json!({}))])).await;
    template(&world, "above", json!([tool("workflow_slow", json!({"word": "{{word}}"}))])).await;
    let priority = |number: i64| longhaul::task::Priority::try_from(number).unwrap();
    let task = world.start(plan(vec![workflow("above", "deep")])).await;
    world.orchestrator.prioritize(task.id, priority(4), "ada").await.unwrap();
    let _worker = world.work("w");
    let middle = child(&world, task.id, |child| child.children_at_work().next().is_some()).await;
    let lowest = child(&world, middle.id, |child| child.status() == Status::Running).await;
    let of = async |id| world.repository.load(id).await.unwrap().unwrap().state().priority;
    assert_eq!((of(middle.id).await, of(lowest.id).await), (priority(4), priority(4)), "they came later");
    world.orchestrator.prioritize(lowest.id, priority(5), "ada").await.unwrap();
    assert_eq!((of(middle.id).await, of(lowest.id).await), (priority(4), priority(5)), "one of its own");
    world.orchestrator.prioritize(task.id, priority(1), "ada").await.unwrap();
    for below in [task.id, middle.id, lowest.id] {
        assert_eq!(of(below).await, priority(1));
        world.is_sound(below).await;
    }
    world.orchestrator.cancel(task.id, "ada").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_a_child_is_a_task_of_its_own() {
    let world = World::new(Setup::default()).await;
    echo(&world).await;
    let _worker = world.work("w");
    let task = world.start(plan(vec![workflow("echo", "once")])).await;
    let task = world.ended(task.id).await;
    let child = children(&world, task.id).await.remove(0);
    let fork = world.orchestrator.fork(child.id, ForkWish::at(ForkAt::Step(0)), "ada").await.unwrap();
    let fork = world.ended(fork.id).await;
    assert_eq!((fork.status(), fork.spec().parent), (Status::Completed, None));
    assert_eq!(children(&world, task.id).await.len(), 1, "it is nobody's child");
    assert_eq!(
        world.repository.load(task.id).await.unwrap().unwrap().state().usage,
        task.state().usage,
        "nobody else pays for it"
    );
    world.is_sound(fork.id).await;
}

/// Writes as a process would that dies before it has reached the children.
async fn write(world: &World, id: TaskId, event: Event) {
    loop {
        let mut task = world.repository.load(id).await.unwrap().unwrap();
        let entry = task.record(world.orchestrator.now(), event.clone()).unwrap();
        match world.repository.commit(Commit::new(&task, vec![entry], vec![], Lease::Keep)).await {
            Err(RepositoryError::Stale | RepositoryError::Fenced) => {}
            written => return written.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_a_lost_process_did_not_reach_are_found() {
    let world = World::new(Setup::default()).await;
    let _worker = world.work("w");
    let (task, child) = hanging(&world).await;
    let pause = Pause::new(PauseReason::User, "stop");
    write(&world, task.id, Event::Paused { pause, by: "ada".into() }).await;
    world.until(child.id, |child| child.status() == Status::Paused).await;
    write(&world, task.id, Event::Resumed { by: "ada".into() }).await;
    world.until(child.id, |child| child.status().is_live()).await;
    write(&world, task.id, Event::Cancelled { by: "ada".into() }).await;
    world.ended(child.id).await;
    world.until(task.id, |task| task.children_at_work().next().is_none()).await;
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_waits_for_a_child_at_work_and_keeps_what_one_brought() {
    let world = World::new(Setup::default()).await;
    echo(&world).await;
    let working = world.work("w");
    let (task, child) = hanging(&world).await;
    let refused = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::End), "ada").await.unwrap_err();
    assert!(refused.to_string().contains("has not ended"), "{refused}");
    let anew = world.orchestrator.fork(task.id, ForkWish::at(ForkAt::Step(0)), "ada").await.unwrap_err();
    assert!(matches!(anew, OrchestratorError::WouldRepeat(effects) if effects[0].child == Some(child.id)));
    world.orchestrator.cancel(task.id, "ada").await.unwrap();
    world.ended(child.id).await;

    let done = world.start(plan(vec![workflow("echo", "once"), call("read", json!({}))])).await;
    let done = world.ended(done.id).await;
    let fork = world.orchestrator.fork(done.id, ForkWish::at(ForkAt::Step(1)), "ada").await.unwrap();
    let fork = world.ended(fork.id).await;
    assert_eq!(fork.status(), Status::Completed);
    assert!(children(&world, fork.id).await.is_empty(), "it was not carried out again");
    assert_eq!(fork.steps()[0].output, done.steps()[0].output);
    world.is_sound(fork.id).await;
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_needs_approval_is_handed_over_with_the_arguments_that_were_approved() {
    let world = World::new(Setup::default()).await;
    echo(&world).await;
    let approval = serde_json::from_value(json!({"tools": {"workflow_echo": true}})).unwrap();
    let wish = TaskRequest {
        plan: Some(plan(vec![workflow("echo", "as asked")])),
        approval: Some(approval),
        ..request("Do it")
    };
    let task = world.orchestrator.start(wish).await.unwrap();
    let _worker = world.work("w");
    let paused = world.until(task.id, |task| task.status() == Status::Paused).await;
    assert!(children(&world, task.id).await.is_empty(), "nothing is created before that");
    let open = world.orchestrator.open_requests(&paused).await.unwrap().remove(0);
    let edited = Decision::Approve(Some(json!({"word": "as approved"})));
    world.orchestrator.decide(open.id.parse().unwrap(), edited, "ada").await.unwrap();
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    assert_eq!(text(&world, task.state().output.as_ref().unwrap()).await["given"]["word"], "as approved");
    assert_eq!(children(&world, task.id).await.len(), 1);
    world.is_sound(task.id).await;
}

/// Counts how often children are created.
struct Births(Arc<std::sync::Mutex<Vec<TaskId>>>);

#[async_trait]
impl Interference for Births {
    async fn create(
        &self,
        inner: &dyn Repository,
        task: &Task,
        entries: Vec<longhaul::task::Entry>,
        answer: Option<&longhaul::repository::Answer>,
    ) -> Result<(), RepositoryError> {
        let first = self.0.lock().unwrap().is_empty();
        if task.spec().parent.is_some() {
            self.0.lock().unwrap().push(task.id);
            if first {
                return Err(RepositoryError::Unavailable("not now".into()));
            }
        }
        inner.create(task, entries, answer).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_could_not_be_created_is_created_later_under_the_same_name() {
    let (_directory, inner) = sqlite().await;
    let births = Arc::default();
    let repository = Arc::new(Wrapped { inner, interference: Births(Arc::clone(&births)) });
    let world = World::new(Setup { repository: Some(repository), ..Setup::default() }).await;
    echo(&world).await;
    let task = world.start(plan(vec![workflow("echo", "late")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{task:#?}");
    let tried = births.lock().unwrap().clone();
    assert!(tried.len() >= 2 && tried.iter().all(|id| *id == tried[0]), "{tried:?}");
    assert_eq!(children(&world, task.id).await.len(), 1);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_long_for_its_child_tells_so_once() {
    let mut world = World::new(Setup::default()).await;
    world.worker_config = WorkerConfig { children_ms: 10, ..world.worker_config };
    let _worker = world.work("w");
    let (task, _) = hanging(&world).await;
    let epoch = world.repository.load(task.id).await.unwrap().unwrap().state().epoch;
    let looked = world.until(task.id, |task| task.state().epoch >= epoch + 5).await;
    let claims = world.kinds(task.id).await.iter().filter(|kind| **kind == "claimed").count();
    assert!(claims <= 2 && looked.state().crashes == 0, "{claims} entries about claims");
    tokio::time::timeout(Duration::from_secs(60), world.orchestrator.cancel(task.id, "ada"))
        .await
        .unwrap()
        .unwrap();
}
