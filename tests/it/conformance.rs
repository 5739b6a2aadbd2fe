//! Every repository keeps the same promises, and every queue.

use std::sync::Arc;
use std::time::Duration;

use longhaul::queue::{BullQueue, DatabaseQueue, Doorbell, Queue};
use longhaul::repository::conformance::exercise;
use longhaul::repository::{Repository, SqliteDurability, SqliteRepository};

async fn holds(repository: Arc<dyn Repository>) {
    let outcomes = exercise(repository).await;
    let broken: Vec<_> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    assert!(broken.is_empty(), "{} of {} checks: {broken:#?}", broken.len(), outcomes.len());
    assert!(outcomes.len() > 20, "the suite has shrunk to {} checks", outcomes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    let repository =
        SqliteRepository::open(&directory.path().join("longhaul.db"), SqliteDurability::Full).await.unwrap();
    repository.prepare().await.unwrap();
    holds(Arc::new(repository)).await;
}

/// `LONGHAUL_TEST_POSTGRES` names an empty cluster; `scripts/test` starts one.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_its_promises() {
    let repository = crate::postgres::fresh_database().await;
    holds(Arc::new(repository)).await;
}

async fn leads(queue: Arc<dyn Queue>) {
    let outcomes = longhaul::queue::conformance::exercise(queue).await;
    let broken: Vec<_> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    assert!(broken.is_empty(), "{} of {} checks: {broken:#?}", broken.len(), outcomes.len());
    assert!(outcomes.len() >= 10, "the suite has shrunk to {} checks", outcomes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_queue_keeps_its_promises() {
    leads(Arc::new(DatabaseQueue::new(Doorbell::default(), Duration::from_millis(50)))).await;
}

/// `LONGHAUL_TEST_REDIS` names a Redis; `scripts/test` starts one.
#[tokio::test(flavor = "multi_thread")]
async fn bullmq_keeps_its_promises() {
    let config = crate::redis::config_of_its_own();
    leads(Arc::new(BullQueue::start(config, Doorbell::default()).unwrap())).await;
}
