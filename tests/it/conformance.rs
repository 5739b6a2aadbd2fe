//! Every repository keeps the same promises.

use std::sync::Arc;

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
