//! A database of its own for each test, in the cluster that `scripts/test` starts.

use std::time::Duration;

use longhaul::repository::PostgresRepository;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

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
