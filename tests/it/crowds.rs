//! Many who write to one task at the same moment: whoever is told that it is written finds it written, and
//! whoever works on the task loses nothing by it.

use std::sync::Arc;
use std::time::Duration;

use longhaul::orchestrator::{Decision, Orchestrator, OrchestratorError, RequestId, TaskRequest};
use longhaul::repository::Repository;
use longhaul::task::{
    ApprovalWish, Budget, Event, Limits, Plan, PlannedStep, Status, StepStatus, Task, TopUp,
};
use serde_json::json;

use crate::postgres;
use crate::world::{Setup, World, call, request, sqlite};

/// Steps beside each other that each read something of their own.
fn reads(count: usize) -> Plan {
    let read = |number: usize| PlannedStep { id: format!("r{number}"), ..call("read", json!({"n": number})) };
    Plan { steps: (0..count).map(read).collect() }
}

/// An orchestrator for whom it is always the same moment.
fn at_one_moment(world: &World) -> Orchestrator {
    let now = world.orchestrator.now();
    world.orchestrator.clone().with_clock(Arc::new(move || now))
}

async fn all<T: Send + 'static>(
    many: impl Iterator<Item = impl Future<Output = Result<T, OrchestratorError>> + Send + 'static>,
) -> Vec<Result<T, OrchestratorError>> {
    let running: Vec<_> = many.map(tokio::spawn).collect();
    let mut outcomes = Vec::new();
    for one in running {
        outcomes.push(one.await.unwrap());
    }
    outcomes
}

async fn nobody_is_told_that_something_is_written_which_is_not(repository: Arc<dyn Repository>) {
    let setup = Setup { repository: Some(repository), ..Setup::default() };
    let world = World::new(setup).await;
    let orchestrator = at_one_moment(&world);
    let budget = Budget { tokens: Some(100), ..Budget::default() };
    let wish = TaskRequest { plan: Some(reads(1)), budget, ..request("Listen") };
    let id = orchestrator.start(wish).await.unwrap().id;

    let said = (0..30).map(|number| {
        let orchestrator = orchestrator.clone();
        async move { orchestrator.send_message(id, &format!("message {number}"), "ada").await }
    });
    let told = all(said).await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    let mut heard: Vec<String> = Vec::new();
    for entry in world.journal(id).await {
        if let Event::MessageReceived { text, .. } = &entry.event {
            heard.push(world.repository.content(text).await.unwrap().as_str().unwrap().to_owned());
        }
    }
    heard.sort_by_key(|text| (text.len(), text.clone()));
    assert_eq!(heard, (0..30).map(|number| format!("message {number}")).collect::<Vec<_>>());

    // All of them say the same.
    let added = (0..30).map(|_| {
        let orchestrator = orchestrator.clone();
        async move { orchestrator.raise_budget(id, TopUp { tokens: 1, ..TopUp::default() }, "ada").await }
    });
    assert!(all(added).await.iter().all(Result::is_ok));
    let task = world.repository.load(id).await.unwrap().unwrap();
    assert_eq!(task.budget().tokens, Some(130));
    world.is_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_that_something_is_written_which_is_not_on_sqlite() {
    let (_directory, repository) = sqlite().await;
    nobody_is_told_that_something_is_written_which_is_not(repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_that_something_is_written_which_is_not_on_postgres() {
    nobody_is_told_that_something_is_written_which_is_not(Arc::new(postgres::fresh_database().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_who_approve_a_call_with_other_arguments_is_told_that_it_was_too_late() {
    let world = World::new(Setup::default()).await;
    let approval: ApprovalWish = serde_json::from_value(json!({"classes": ["unsafe"]})).unwrap();
    let plan =
        Plan { steps: vec![PlannedStep { id: "pay".into(), ..call("unsafe_effect", json!({"to": "x"})) }] };
    let wish = TaskRequest { plan: Some(plan), approval: Some(approval), ..request("Pay") };
    let id = world.orchestrator.start(wish).await.unwrap().id;
    let _worker = world.work("w");
    world.until(id, |task| task.status() == Status::Paused).await;
    let asked = world.orchestrator.inbox(Some("user"), 10).await.unwrap().remove(0);
    let orchestrator = at_one_moment(&world);
    let approved = ["a", "b", "c", "d"].map(|to| {
        let (orchestrator, request) = (orchestrator.clone(), asked.id.parse::<RequestId>().unwrap());
        async move {
            orchestrator.decide(request, Decision::Approve(Some(json!({"to": to}))), to).await.map(|_| to)
        }
    });
    let outcomes = all(approved.into_iter()).await;
    let told: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    assert_eq!(told.len(), 1, "{outcomes:?}");
    world.ended(id).await;
    let mut paid = Vec::new();
    for entry in world.journal(id).await {
        if let Event::ToolDispatched { arguments, .. } = &entry.event {
            paid.push(world.repository.content(arguments).await.unwrap());
        }
    }
    assert_eq!(paid, [json!({"to": told[0]})]);
}

fn brought(task: &Task) -> usize {
    let brought =
        |step: &&longhaul::task::Step| step.status == StepStatus::Completed && step.output.is_some();
    task.steps().iter().filter(brought).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_paused_again_and_again_has_what_each_of_its_calls_brought() {
    let limits = Limits { max_parallel_steps: 16, ..Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    let id = world.start(reads(48)).await.id;
    let _worker = world.work("w");
    let mut pauses = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(pauses % 7)).await;
        match world.orchestrator.pause(id, "ada").await {
            Ok(_) => pauses += 1,
            Err(OrchestratorError::NotNow { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let task = world.repository.load(id).await.unwrap().unwrap();
        let done = task.steps().iter().filter(|step| step.status == StepStatus::Completed).count();
        assert_eq!(brought(&task), done, "after {pauses} pauses");
        if task.status().is_terminal() {
            break;
        }
        let _ = world.orchestrator.resume(id, "ada").await;
    }
    let task = world.ended(id).await;
    assert_eq!((task.status(), brought(&task)), (Status::Completed, 48), "after {pauses} pauses");
    world.is_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_side_by_side_that_run_out_of_their_budget_lose_nothing_they_brought() {
    let world = World::new(Setup::default()).await;
    let budget = Budget { tool_calls: Some(3), ..Budget::default() };
    let wish = TaskRequest { plan: Some(reads(6)), budget, ..request("Read") };
    let id = world.orchestrator.start(wish).await.unwrap().id;
    let _worker = world.work("w");
    let paused = world.until(id, |task| task.status() == Status::Paused).await;
    let done = paused.steps().iter().filter(|step| step.status == StepStatus::Completed).count();
    assert_eq!(brought(&paused), done);
    assert_eq!(paused.state().usage.tool_calls as usize, done, "what was called is on the account");
    world.orchestrator.raise_budget(id, TopUp { tool_calls: 3, ..TopUp::default() }, "ada").await.unwrap();
    let ended = world.ended(id).await;
    assert_eq!((ended.status(), brought(&ended)), (Status::Completed, 6), "{:?}", ended.state().fault);
    assert_eq!(ended.state().usage.tool_calls, 6);
    world.is_sound(id).await;
}
