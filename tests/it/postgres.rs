//! A database of its own for each test, in the cluster that `scripts/test` starts.

use std::sync::Arc;
use std::time::Duration;

use longhaul::repository::{Claim, Leases, PostgresRepository, RepositoryError, Upkeep};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::program::Program;
use crate::world::{Setup, World, call, plan};

/// How long a statement of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The address of a new, empty database. `LONGHAUL_TEST_POSTGRES` names the cluster.
pub(crate) async fn fresh_url() -> String {
    let cluster = std::env::var("LONGHAUL_TEST_POSTGRES").expect(
        "LONGHAUL_TEST_POSTGRES names a PostgreSQL cluster for tests: run scripts/test, which starts one",
    );
    let name = format!("longhaul_{}", uuid::Uuid::now_v7().simple());
    let mut admin = PgConnection::connect(&cluster).await.expect("the test cluster answers");
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let mut url = url::Url::parse(&cluster).unwrap();
    url.set_path(&name);
    url.to_string()
}

/// A repository on such a database.
pub(crate) async fn fresh_database() -> PostgresRepository {
    let repository = PostgresRepository::connect(&fresh_url().await, 10, PATIENCE).await.unwrap();
    repository.prepare().await.unwrap();
    repository
}

/// Six processes that start at once on an empty database all find the tables made, however their
/// first statements fall.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_on_an_empty_database_all_start() {
    for round in 0..8 {
        let url = fresh_url().await;
        let mut processes = Vec::new();
        for _ in 0..6 {
            processes.push(PostgresRepository::connect(&url, 2, PATIENCE).await.unwrap());
        }
        let starts = processes.iter().map(PostgresRepository::prepare);
        for started in futures::future::join_all(starts).await {
            assert!(started.is_ok(), "round {round}: {started:?}");
        }
    }
}

/// As behind a failover that left the address of the standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_only_reads_is_not_well() {
    let url = fresh_url().await;
    let program = Program::on(Some(url.clone()), &json!({"rules": []}), "");
    assert_eq!(program.run(&["migrate"]).0, 0);
    assert_eq!(program.run(&["doctor"]).0, 0);
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let name = url::Url::parse(&url).unwrap().path().trim_start_matches('/').to_owned();
    let only_reads = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    sqlx::raw_sql(AssertSqlSafe(only_reads)).execute(&mut admin).await.unwrap();
    let (exit, printed, _) = program.run(&["doctor"]);
    assert!(exit == 1 && printed.contains("takes no writes") && printed.contains("a standby"), "{printed}");
    let fresh = PostgresRepository::connect(&url, 2, PATIENCE).await.unwrap();
    let error = fresh.ping().await.expect_err("a process that has written nothing knows it, too");
    assert_eq!(error.code(), "database_unavailable");
}

/// What two clients of a pooler that works by transaction meet on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_by_transaction_is_named() {
    let mut shared = PgConnection::connect(&fresh_url().await).await.unwrap();
    for (statement, advised) in
        [("PREPARE s AS SELECT 1", false), ("PREPARE s AS SELECT 1", true), ("EXECUTE t", true)]
    {
        let told = sqlx::raw_sql(statement).execute(&mut shared).await.map_err(RepositoryError::from);
        let advice = told.as_ref().err().and_then(RepositoryError::advice);
        assert_eq!(
            advice.is_some_and(|advice| advice.contains("by session")),
            advised,
            "{statement}: {told:?}"
        );
    }
}

/// Whoever counts what happened writes rows that name the task, in a transaction of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_only_referred_to_can_be_claimed() {
    let url = fresh_url().await;
    let repository = Arc::new(PostgresRepository::connect(&url, 10, PATIENCE).await.unwrap());
    repository.prepare().await.unwrap();
    let world = World::new(Setup { repository: Some(repository.clone()), ..Setup::default() }).await;
    let task = world.start(plan(vec![call("read", json!({}))])).await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut counting = other.begin().await.unwrap();
    let refer = "INSERT INTO counted (task_id, seq) SELECT id, 1 FROM task_execution";
    let referred = sqlx::raw_sql(refer).execute(&mut *counting).await.unwrap();
    assert_eq!(referred.rows_affected(), 1);
    let lease = Duration::from_secs(15);
    let claim = Claim { only: Some(task.id), ..Claim::by("w", lease) };
    assert_eq!(repository.claim(claim).await.unwrap().len(), 1);
    counting.commit().await.unwrap();
}
