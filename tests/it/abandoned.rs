//! Calls of the repository that nobody waits for any more, as when a client hangs up.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use longhaul::orchestrator::TaskRequest;
use longhaul::repository::{PostgresRepository, Repository};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::postgres;
use crate::world::{Setup, World, call, plan, request};

/// Calls are given up after they have gone on so often: each time they wait for the database.
const MOMENTS: usize = 12;

/// Drops a call once it has waited so many times.
async fn given_up_after(waits: usize, call: impl Future) {
    let mut call = std::pin::pin!(call);
    let mut left = waits;
    std::future::poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Pending if left > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

async fn no_transaction_is_open(url: &str) {
    patiently("no transaction is open", async || {
        let mut witness = PgConnection::connect(url).await.unwrap();
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND state LIKE 'idle in transaction%'";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&mut witness).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
}

/// A transaction that stays open swallows what is written next on its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_leaves_no_transaction_open() {
    let url = postgres::fresh_url().await;
    let repository: Arc<dyn Repository> = {
        let repository = PostgresRepository::connect(&url, 3, postgres::PATIENCE).await.unwrap();
        repository.prepare().await.unwrap();
        Arc::new(repository)
    };
    let world = World::new(Setup { repository: Some(repository.clone()), ..Setup::default() }).await;
    let id = world.start(plan(vec![call("read", json!({}))])).await.id;
    for waits in 1..=MOMENTS {
        given_up_after(waits, repository.load(id)).await;
        no_transaction_is_open(&url).await;
        // What is large is stored by name, in a transaction of several statements.
        let large = call("read", json!({"text": format!("{waits} ").repeat(1000)}));
        let another = TaskRequest { plan: Some(plan(vec![large])), ..request("Do it") };
        given_up_after(waits, world.orchestrator.start(another)).await;
        no_transaction_is_open(&url).await;
    }
    assert!(repository.load(id).await.unwrap().is_some());
}

/// Asks until it is so.
async fn patiently(what: &str, mut wanted: impl AsyncFnMut() -> Option<()>) {
    let asked = async {
        while wanted().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = tokio::time::timeout(Duration::from_secs(60), asked).await;
    limit.unwrap_or_else(|_| panic!("it never happened that {what}"));
}
