//! What a crash may lose, and what a late answer may not change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use longhaul::repository::{Commit, Repository, RepositoryError};
use longhaul::task::{Event, Status, StepType};
use serde_json::json;
use tokio::sync::Notify;

use crate::world::{Setup, World, call, plan, sqlite, step};
use crate::wrapped::{Interference, Wrapped};

/// Never writes the first answer of a model: whoever waits for that has died.
#[derive(Default)]
struct DiesBeforeTheJournal {
    has_died: AtomicBool,
    died: Notify,
}

#[async_trait]
impl Interference for DiesBeforeTheJournal {
    async fn commit(&self, inner: &dyn Repository, commit: Commit) -> Result<(), RepositoryError> {
        let is_answer = commit.entries().iter().any(|entry| entry.event.kind() == "model_answered");
        if is_answer && !self.has_died.swap(true, Ordering::SeqCst) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        inner.commit(commit).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_crash_kept_from_the_journal_is_asked_for_again_and_none_of_its_tools_was_called() {
    let (_directory, inner) = sqlite().await;
    let wrapped = Arc::new(Wrapped { inner, interference: DiesBeforeTheJournal::default() });
    let script = json!({"rules": [
        {"turn": 0, "reply": {"toolCalls": [{"tool": "unsafe_effect", "arguments": {"sum": 7}}]}},
        {"turn": 1, "reply": {"text": "paid"}},
    ]});
    let world = World::new(Setup { script, repository: Some(wrapped.clone()), ..Setup::default() }).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Pay")])).await;
    let first = world.work("first");
    wrapped.interference.died.notified().await;
    first.kill().await;
    assert!(world.calls().is_empty(), "a tool of an answer that nobody recorded was called");
    let _second = world.work("second");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    assert_eq!(world.calls().values().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(task.state().spent.lost.model_calls, 1, "the answer that was lost stays charged");
    let attempts: Vec<u32> = world
        .journal(task.id)
        .await
        .iter()
        .filter_map(|entry| match entry.event {
            Event::ModelRequested { call: 1, attempt, .. } => Some(attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2]);
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_comes_after_the_cancel_is_journaled_and_the_status_stays() {
    let world = super::world(Setup::default()).await;
    let task = world.start(plan(vec![call("stubborn", json!({})), call("keyed", json!({}))])).await;
    let worker = world.work("w");
    world.until_called("stubborn", 1).await;
    world.orchestrator.cancel(task.id, "a person").await.unwrap();
    worker.stop().await;
    let kinds = world.kinds(task.id).await;
    let end = kinds.iter().position(|kind| *kind == "cancelled").unwrap();
    assert_eq!(kinds[end..], ["cancelled", "tool_returned"], "{kinds:?}");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Cancelled);
    assert_eq!(world.calls().len(), 1, "nothing else was dispatched");
    let effects = world.orchestrator.effects(task.id).await.unwrap();
    assert_eq!((effects.len(), json!(effects[0].state)), (1, json!("committed")));
    world.is_sound(task.id).await;
}
