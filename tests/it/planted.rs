//! Why the checker is trusted: defects are planted into the engine, one at a time, and it names
//! each of them. The same work without the defect is clean.
//!
//! A defect is planted between the engine and its repository, where it has the effect that the
//! missing safeguard would have; the program has no switch for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longhaul::orchestrator::OutcomeDecision;
use longhaul::repository::{
    Claim, Claimed, Commit, PostgresRepository, Renewal, Repository, RepositoryError,
};
use longhaul::task::{Effect, Event, Plan, Status, StepType, Task, TaskId};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::trap::{FIRST, Fate, Trap};
use crate::world::{Setup, World, call, plan, step};
use crate::wrapped::{Interference, Wrapped};
use crate::{judge, postgres};

/// A safeguard that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// A commit does not look at the epoch of the task.
    NoFence,
    /// An unsafe call is dispatched before its intent is durable.
    NoIntent,
    /// The journal is written after the transaction that changes the task.
    JournalApart,
    /// Whoever takes a task over does not look which calls were answered.
    NoLookBack,
}

/// A worker's process with a defect, which steps into a trap.
struct Planted {
    bug: Option<Bug>,
    trap: Trap,
    database: PgPool,
    /// Intents that are in memory only; they are lost with the process.
    unwritten: Mutex<Option<Commit>>,
}

impl Planted {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    async fn write(&self, inner: &dyn Repository, commit: Commit) -> Result<(), RepositoryError> {
        if !self.has(Bug::NoFence) {
            return inner.commit(commit).await;
        }
        // The condition on the epoch is part of the statement: it is met, whatever the epoch is.
        let (id, epoch) = (commit.id().0, commit.entries().first().map(|entry| entry.epoch));
        let current: i64 = sqlx::query_scalar("SELECT epoch FROM task_execution WHERE id = $1")
            .bind(id)
            .fetch_one(&self.database)
            .await
            .unwrap();
        self.set_epoch(id, epoch.unwrap_or(current)).await;
        let done = inner.commit(commit).await;
        self.set_epoch(id, current).await;
        done
    }

    async fn set_epoch(&self, id: uuid::Uuid, epoch: i64) {
        let query = sqlx::query("UPDATE task_execution SET epoch = $2 WHERE id = $1");
        query.bind(id).bind(epoch).execute(&self.database).await.unwrap();
    }

    /// The process dies after the transaction and before it has written the journal. What it
    /// writes without dying is the same in one transaction or in two.
    async fn lose_entries(&self, id: TaskId, first: i64) {
        let query = sqlx::query("DELETE FROM task_execution_trace WHERE task_id = $1 AND seq >= $2");
        query.bind(id.0).bind(first).execute(&self.database).await.unwrap();
    }
}

fn is_unsafe_intent(event: &Event) -> bool {
    matches!(event, Event::ToolDispatched { effect: Effect::Unsafe, .. })
}

#[async_trait]
impl Interference for Planted {
    async fn commit(&self, inner: &dyn Repository, commit: Commit) -> Result<(), RepositoryError> {
        let fate = self.trap.fate(&commit);
        if fate == Some(Fate::FrozenBefore) {
            self.trap.freeze().await;
        }
        let waiting = self.unwritten.lock().unwrap().take();
        if let Some(waiting) = waiting {
            inner.commit(waiting).await?;
        }
        if self.has(Bug::NoIntent) && commit.entries().iter().any(|entry| is_unsafe_intent(&entry.event)) {
            *self.unwritten.lock().unwrap() = Some(commit);
            return Ok(());
        }
        let (id, first) = (commit.id(), commit.entries().first().map_or(0, |entry| entry.seq));
        let done = self.write(inner, commit).await;
        if fate == Some(Fate::Dies) {
            if self.has(Bug::JournalApart) {
                self.lose_entries(id, first).await;
            }
            return self.trap.die().await;
        }
        done
    }

    async fn claim(&self, inner: &dyn Repository, claim: Claim<'_>) -> Result<Vec<Claimed>, RepositoryError> {
        let mut claimed = inner.claim(claim).await?;
        if self.has(Bug::NoLookBack) {
            for claimed in &mut claimed {
                claimed.task = without_results(inner, &claimed.task).await?;
            }
        }
        Ok(claimed)
    }

    async fn renew(
        &self,
        inner: &dyn Repository,
        worker: &str,
        leases: &[(TaskId, i64)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, RepositoryError> {
        if worker == FIRST {
            self.trap.while_frozen().await;
        }
        inner.renew(worker, leases, lease).await
    }
}

/// The task as somebody knows it who takes every tool call for cut off.
async fn without_results(inner: &dyn Repository, task: &Task) -> Result<Task, RepositoryError> {
    let mut journal = inner.journal(task.id, 0, 1000).await?;
    let mut lost = false;
    for entry in &mut journal {
        match entry.event {
            Event::ToolReturned { step, call, .. } => {
                entry.event = Event::CallLost { step, call, detail: "nobody looked".to_owned() };
                lost = true;
            }
            // No call follows one that was cut off.
            Event::ToolDispatched { .. } if lost => {
                entry.event = Event::Claimed { worker: FIRST.to_owned(), crashes: 0 };
            }
            _ => {}
        }
    }
    // Whoever comes later sees what was called behind a call that was taken for cut off: no such task
    // can be, and the defect has done what it does.
    let Ok(mut forgetful) = Task::fold(task.id, &journal) else { return Ok(task.clone()) };
    forgetful.enter_epoch(task.state().epoch);
    Ok(forgetful)
}

/// Work during which a safeguard is needed.
struct Scene {
    plan: Plan,
    /// Where the first worker steps into the trap; none if it is killed during an unsafe call.
    trap: (&'static str, Fate),
}

fn scene(bug: Bug) -> Scene {
    let agent = || plan(vec![step(StepType::ToolCall, "Use tools")]);
    match bug {
        Bug::NoFence => Scene {
            plan: plan(vec![call("read", json!({})), call("keyed", json!({}))]),
            trap: ("tool_returned", Fate::FrozenBefore),
        },
        Bug::NoIntent => {
            Scene { plan: plan(vec![call("slow", json!({"ms": 500}))]), trap: ("never", Fate::Dies) }
        }
        Bug::JournalApart => Scene {
            plan: plan(vec![call("keyed", json!({})), call("read", json!({}))]),
            trap: ("tool_dispatched", Fate::Dies),
        },
        Bug::NoLookBack => Scene { plan: agent(), trap: ("tool_returned", Fate::Dies) },
    }
}

/// A model that asks for two calls; the first one is answered when the worker dies.
fn script() -> Value {
    json!({"rules": [
        {"role": "execute", "turn": 0, "reply": {"toolCalls": [
            {"tool": "keyed", "arguments": {}}, {"tool": "slow_reading", "arguments": {"ms": 100}}]}},
        {"role": "execute", "reply": {"text": "done"}},
    ]})
}

/// Plays a scene, with a defect or without, and asks the checker.
async fn play(scene: Scene, bug: Option<Bug>) -> Result<String, String> {
    let url = postgres::fresh_url().await;
    let repository = PostgresRepository::connect(&url, 5, postgres::PATIENCE).await.unwrap();
    repository.prepare().await.unwrap();
    judge::witness(&url);
    let interference = Planted {
        bug,
        trap: Trap::new(scene.trap.0, scene.trap.1),
        database: PgPool::connect(&url).await.unwrap(),
        unwritten: Mutex::default(),
    };
    let wrapped = Arc::new(Wrapped { inner: Arc::new(repository), interference });
    let world =
        World::new(Setup { script: script(), repository: Some(wrapped.clone()), ..Setup::default() }).await;
    let id = world.start(scene.plan).await.id;
    let first = world.work(FIRST);
    match scene.trap {
        (_, Fate::Dies) => {
            tokio::select! {
                () = wrapped.interference.trap.caught() => {}
                () = world.until_called("slow", 1) => {}
            }
            first.kill().await;
            *wrapped.interference.unwritten.lock().unwrap() = None;
        }
        _ => {
            wrapped.interference.trap.caught().await;
            claim_for_another(wrapped.inner.as_ref(), id).await;
            wrapped.interference.trap.thaw();
            first.stop().await;
        }
    }
    let _second = world.work("second");
    finish(&world, id).await;
    let ledger = world.written_ledger();
    judge::verdict(&url, &[("--tools", ledger.path())])
}

/// A lease that somebody else takes as soon as it can be had, and does nothing with. On a slow machine the
/// frozen worker has taken the task over from itself, and whom no fence held back has ended it.
async fn claim_for_another(inner: &dyn Repository, id: TaskId) {
    let lease = Duration::from_millis(300);
    let claim = Claim { only: Some(id), ..Claim::by("another", lease) };
    let ended = async || inner.load(id).await.unwrap().is_some_and(|task| task.status().is_terminal());
    while inner.claim(claim).await.unwrap().is_empty() && !ended().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for the end, and answers for a call that was cut off: the ledger has it.
async fn finish(world: &World, id: TaskId) {
    let task = world.until(id, |task| task.status().is_terminal() || task.status() == Status::Paused).await;
    if task.status() == Status::Paused {
        let happened = OutcomeDecision::Happened(json!("seen in the ledger"));
        world.orchestrator.decide_outcome(id, None, happened, "a person").await.unwrap();
    }
    assert_eq!(world.ended(id).await.status(), Status::Completed);
}

async fn is_caught(bug: Bug, name: &str) {
    let clean = play(scene(bug), None).await;
    assert!(clean.is_ok(), "without the defect: {clean:?}");
    let caught = play(scene(bug), Some(bug)).await;
    let findings = caught.expect_err("the defect is not seen");
    assert!(findings.contains(&format!("\n{name}: task ")), "{bug:?} goes by another name: {findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_fence_is_caught() {
    is_caught(Bug::NoFence, "written by an old epoch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_intent_is_caught() {
    is_caught(Bug::NoIntent, "unsafe effect twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_outside_of_the_transaction_is_caught() {
    is_caught(Bug::JournalApart, "gap in the trace").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_look_back_is_caught() {
    is_caught(Bug::NoLookBack, "recorded call executed again").await;
}
