//! A database that fails, and a worker that dies, at every single call: the task always ends
//! in the same journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use longhaul::orchestrator::TemplateWish;
use longhaul::repository::{Answer, Commit, ListFilter, Repository, RepositoryError};
use longhaul::task::{Entry, Event, Payload, Status, StepType, Task, TaskId};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::{Setup, World, call, plan, sqlite, step};
use crate::wrapped::{Interference, Wrapped};

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails and nothing was done.
    FailBefore,
    /// The call is done and its answer is lost.
    FailAfter,
    /// The worker dies before the call.
    DieBefore,
    /// The worker dies after the call, before it hears of it.
    DieAfter,
}

/// Lets a repository misbehave once.
pub(crate) struct Faulty {
    pub(crate) fault: Fault,
    /// Calls left until the fault.
    pub(crate) left: AtomicUsize,
    pub(crate) died: Arc<Notify>,
}

/// Which of the calls of a person's word writes it: the one before reads the task.
const COMMIT: usize = 2;

impl Faulty {
    async fn pass<T>(
        &self,
        call: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, RepositoryError> {
        let is_now =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1);
        if !is_now {
            return call.await;
        }
        let lost = || RepositoryError::Unavailable("the answer was lost".into());
        match self.fault {
            Fault::FailBefore => Err(lost()),
            Fault::FailAfter => call.await.and_then(|_| Err(lost())),
            Fault::DieBefore => self.die().await,
            Fault::DieAfter => {
                let _ = call.await;
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Interference for Faulty {
    /// Of a child: that its parent is created is no call of a worker.
    async fn create(
        &self,
        inner: &dyn Repository,
        task: &Task,
        entries: Vec<Entry>,
        answer: Option<&Answer>,
    ) -> Result<(), RepositoryError> {
        match task.spec().parent {
            Some(_) => self.pass(inner.create(task, entries, answer)).await,
            None => inner.create(task, entries, answer).await,
        }
    }
    async fn load(&self, inner: &dyn Repository, id: TaskId) -> Result<Option<Task>, RepositoryError> {
        self.pass(inner.load(id)).await
    }
    async fn commit(&self, inner: &dyn Repository, commit: Commit) -> Result<(), RepositoryError> {
        self.pass(inner.commit(commit)).await
    }
    async fn journal(
        &self,
        inner: &dyn Repository,
        id: TaskId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, RepositoryError> {
        self.pass(inner.journal(id, after, limit)).await
    }
    async fn content(&self, inner: &dyn Repository, payload: &Payload) -> Result<Value, RepositoryError> {
        self.pass(inner.content(payload)).await
    }
}

fn script() -> Value {
    json!({"rules": [
        {"role": "execute", "contains": "Your step (step-3)", "turn": 0, "reply": {"toolCalls": [
            {"tool": "read", "arguments": {"q": 1}}, {"tool": "keyed", "arguments": {"q": 2}}]}},
        {"role": "execute", "contains": "):\nUse a workflow", "turn": 0, "reply": {"toolCalls": [
            {"tool": "workflow_echo", "arguments": {"text": "short"}}]}},
        {"role": "execute", "turn": 1, "reply": {"text": "agent done"}},
        {"role": "execute", "contains": "Your step (step-4)", "reply": {"text": "the answer"}},
    ]})
}

fn steps() -> longhaul::task::Plan {
    plan(vec![
        call("read", json!({"text": "long ".repeat(1000)})),
        call("keyed", json!({"before": {"$output": "step-1"}})),
        step(StepType::ToolCall, "Use tools"),
        step(StepType::LlmReasoning, "Answer"),
        step(StepType::Checkpoint, "Write down"),
    ])
}

/// What happened, without how often somebody had to begin again.
fn essence(journal: &[Entry]) -> Vec<(&'static str, Option<u32>)> {
    let is_essential = |entry: &&Entry| match &entry.event {
        Event::Claimed { .. } | Event::CallLost { .. } => false,
        Event::ModelRequested { attempt, .. }
        | Event::ToolDispatched { attempt, .. }
        | Event::ChildStarted { attempt, .. } => *attempt == 1,
        Event::StepStarted { attempt, .. } => *attempt == 1,
        // A passing failure to read a stored content fails an attempt, not the step.
        Event::StepFailed { retry_at, .. } => retry_at.is_none(),
        _ => true,
    };
    journal.iter().filter(is_essential).map(|entry| (entry.event.kind(), entry.event.step())).collect()
}

/// A planned call of a workflow, and one that a model makes beside it.
fn family() -> longhaul::task::Plan {
    let mut beside = plan(vec![
        call("workflow_echo", json!({"text": "long ".repeat(1000)})),
        step(StepType::ToolCall, "Use a workflow"),
    ]);
    beside.steps[1].depends_on = Vec::new();
    beside
}

/// The template of the workflow: its one step gives back what it was given.
async fn echo(world: &World) {
    let wish = json!({
        "name": "echo", "goal": "Say it", "parameters": {"properties": {"text": {"type": "string"}}},
        "steps": [{"description": "Say it", "type": "tool-call",
            "tool": {"name": "keyed", "arguments": {"text": "{{text}}"}}}],
    });
    let wish: TemplateWish = serde_json::from_value(wish).unwrap();
    world.orchestrator.put_template("user", wish).await.unwrap();
}

/// Runs the task with a fault at the n-th call. `None` if it ended before that call.
async fn run(
    steps: fn() -> longhaul::task::Plan,
    fault: Fault,
    at: usize,
) -> (Option<usize>, Vec<(&'static str, Option<u32>)>) {
    let (_directory, inner) = sqlite().await;
    let died = Arc::new(Notify::new());
    let interference = Faulty { fault, left: AtomicUsize::new(at), died: died.clone() };
    let faulty = Arc::new(Wrapped { inner, interference });
    let world =
        World::new(Setup { script: script(), repository: Some(faulty.clone()), ..Setup::default() }).await;
    echo(&world).await;
    let task = world.start(steps()).await;
    let worker = world.work("first");
    let ended = tokio::select! {
        () = died.notified() => None,
        task = world.inner_ended(&faulty.inner, task.id) => Some(task),
    };
    if ended.is_none() {
        worker.kill().await;
        let _second = world.work("second");
        world.inner_ended(&faulty.inner, task.id).await;
    }
    let left = faulty.interference.left.load(Ordering::SeqCst);
    let task = faulty.inner.load(task.id).await.unwrap().unwrap();
    assert_eq!(task.status(), Status::Completed, "{fault:?} at {at}: {:?}", task.state().fault);
    let violations = faulty.inner.violations().await.unwrap();
    assert!(violations.is_empty(), "{fault:?} at {at}: {violations:#?}");
    let journal = faulty.inner.journal(task.id, 0, 1000).await.unwrap();
    assert!(world.calls().values().all(|calls| *calls <= 2), "{fault:?} at {at}: {:?}", world.calls());
    let called = journal.iter().filter(|entry| matches!(entry.event, Event::ChildStarted { .. })).count();
    let children = ListFilter { parent: Some(task.id), ..ListFilter::default() };
    let children = faulty.inner.list(&children).await.unwrap();
    assert_eq!(children.len(), called, "{fault:?} at {at}");
    assert!(children.iter().all(|child| child.status == Status::Completed), "{fault:?} at {at}");
    ((left == 0).then_some(at), essence(&journal))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_or_dies_the_journal_ends_the_same() {
    always_ends_the_same(steps, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_or_dies_children_are_neither_doubled_nor_lost() {
    always_ends_the_same(family, 20).await;
}

async fn always_ends_the_same(steps: fn() -> longhaul::task::Plan, least: usize) {
    // Steps beside each other are written in any order.
    let sorted = |mut essence: Vec<(&'static str, Option<u32>)>| {
        essence.sort_by_key(|(kind, step)| (*step, *kind));
        essence
    };
    let (_, expected) = run(steps, Fault::FailBefore, 100_000).await;
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::DieBefore, Fault::DieAfter] {
        let mut at = 1;
        loop {
            let (hit, essence) = run(steps, fault, at).await;
            assert_eq!(sorted(essence), sorted(expected.clone()), "{fault:?} at call {at}");
            if hit.is_none() {
                break;
            }
            at += 1;
        }
        assert!(at > least, "{fault:?}: only {at} calls were tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_said_is_found_although_the_answer_was_lost() {
    for fault in [Fault::FailAfter, Fault::FailBefore] {
        let (_directory, inner) = sqlite().await;
        let interference = Faulty { fault, left: AtomicUsize::new(0), died: Arc::default() };
        let faulty = Arc::new(Wrapped { inner, interference });
        let world = World::new(Setup { repository: Some(faulty.clone()), ..Setup::default() }).await;
        let (id, brain) = (world.start(steps()).await.id, &world.orchestrator);
        let mut expected = Status::Pending;
        for said in [Status::Paused, Status::Pending, Status::Cancelled] {
            faulty.interference.left.store(COMMIT, Ordering::SeqCst);
            let answer = match said {
                Status::Paused => brain.pause(id, "a person").await,
                Status::Cancelled => brain.cancel(id, "a person").await,
                _ => brain.resume(id, "a person").await,
            };
            if fault == Fault::FailBefore {
                // Nothing was written, and so nothing is claimed to be.
                let code = answer.map(drop).map_err(|error| error.code());
                assert!(said == expected || code == Err("database_unavailable"), "{said}: {code:?}");
            } else {
                expected = said;
                assert_eq!(answer.unwrap().status(), said, "{fault:?}");
            }
            faulty.interference.left.store(0, Ordering::SeqCst);
            assert_eq!(world.repository.load(id).await.unwrap().unwrap().status(), expected, "{fault:?}");
        }
        world.is_sound(id).await;
    }
}
