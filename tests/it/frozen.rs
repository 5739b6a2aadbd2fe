//! A worker that was frozen beyond its lease wakes up and believes that nothing happened.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longhaul::repository::{Commit, Renewal, Repository, RepositoryError};
use longhaul::task::{Plan, Status, TaskId};
use serde_json::json;

use crate::postgres;
use crate::trap::{FIRST, Fate, Trap};
use crate::world::{Setup, World, call, plan};
use crate::wrapped::{Interference, Wrapped};

#[async_trait]
impl Interference for Trap {
    async fn commit(&self, inner: &dyn Repository, commit: Commit) -> Result<(), RepositoryError> {
        let fate = self.fate(&commit);
        let done = inner.commit(commit).await;
        if fate == Some(Fate::FrozenAfter) {
            self.freeze().await;
        }
        done
    }

    async fn renew(
        &self,
        inner: &dyn Repository,
        worker: &str,
        leases: &[(TaskId, i64)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, RepositoryError> {
        if worker == FIRST {
            self.while_frozen().await;
        }
        inner.renew(worker, leases, lease).await
    }
}

/// Freezes the first worker in the commit of an entry of this kind until a second one has done all
/// of the work.
async fn wakes_up_late(kind: &'static str, plan: Plan) {
    let inner = Arc::new(postgres::fresh_database().await);
    let wrapped = Arc::new(Wrapped { inner, interference: Trap::new(kind, Fate::FrozenAfter) });
    let world = World::new(Setup { repository: Some(wrapped.clone()), ..Setup::default() }).await;
    let task = world.start(plan).await;
    let first = world.work(FIRST);
    wrapped.interference.caught().await;
    let second = world.work("second");
    assert_eq!(world.ended(task.id).await.status(), Status::Completed);
    wrapped.interference.thaw();
    // It ends only when whatever it was about to do is done.
    first.stop().await;
    second.stop().await;
    assert!(world.calls().values().all(|count| *count == 1), "{kind}: {:?}", world.calls());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_late_that_an_intent_was_recorded_does_not_act_on_it() {
    wakes_up_late("tool_dispatched", plan(vec![call("keyed", json!({}))])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_late_that_a_step_has_begun_does_not_even_read() {
    wakes_up_late("step_started", plan(vec![call("read", json!({}))])).await;
}
