//! The line of those that wait: it is read by index, and time moves everybody in it on.

use std::time::Duration;

use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

use super::sql::{CLAIM_DUE, CLAIM_DUE_WITHIN};
use super::tests::prepared;
use super::*;
use crate::repository::{Claim, Leases as _, Tasks as _};
use crate::task::{Entry, Event, Task};

async fn task(repository: &SqliteRepository, priority: u8) -> TaskId {
    let spec = json!({"goal": "g", "userId": "u", "threadId": "t", "priority": priority});
    let event = Event::Created { spec: serde_json::from_value(spec).unwrap() };
    let created = Entry { seq: 1, epoch: 0, at: Timestamp::from_millis(1), event };
    let task = Task::begin(TaskId(Uuid::now_v7()), &created).unwrap();
    repository.create(&task, vec![created], None).await.unwrap();
    task.id
}

#[tokio::test]
async fn whoever_waits_long_enough_has_its_turn() {
    let (_directory, repository) = prepared().await;
    let least = task(&repository, 5).await;
    const LATER: &str =
        concat!("UPDATE task_execution SET wake_at = ", now_plus!("-239000"), " WHERE wake_at IS NOT NULL");
    const LATE: &str =
        concat!("UPDATE task_execution SET wake_at = ", now_plus!("-241000"), " WHERE lease_owner IS NULL");
    let claim = Claim::by("w", Duration::from_secs(60));
    for (waited, least_is_first) in [(LATER, false), (LATE, true)] {
        sqlx::query(waited).execute(&mut *repository.link().writer().await.unwrap()).await.unwrap();
        let most = task(&repository, 1).await;
        let first = repository.claim(claim).await.unwrap()[0].task.id;
        assert_eq!(first, if least_is_first { least } else { most }, "four levels are four minutes");
    }
}

#[tokio::test]
async fn who_reads_a_leased_task_too_late_does_not_get_it() {
    let (_directory, repository) = prepared().await;
    let id = task(&repository, 3).await;
    let claim = |worker| Claim::by(worker, Duration::ZERO);
    // Frozen between the lease and the look at the task, for longer than the lease.
    let frozen = repository.link().lease(claim("frozen")).await.unwrap();
    let other = repository.claim(claim("other")).await.unwrap();
    assert_eq!((frozen[0].id, frozen[0].epoch, other[0].task.state().epoch), (id, 1, 2));
    let mut snapshot = repository.link().snapshot().await.unwrap();
    let late = super::sql::claim::load(&mut snapshot, &frozen).await.unwrap();
    assert!(late.is_empty(), "two workers in one epoch: {late:#?}");
}

#[tokio::test]
async fn what_was_leased_and_cannot_be_read_is_handed_back_and_no_crash() {
    let (_directory, repository) = prepared().await;
    let id = task(&repository, 3).await;
    let change = async |text: &'static str| {
        sqlx::query(text).execute(&mut *repository.link().writer().await.unwrap()).await.unwrap();
    };
    let claim = Claim::by("w", Duration::from_secs(60));
    change("ALTER TABLE task_execution_step RENAME TO away").await;
    let error = repository.claim(claim).await.unwrap_err();
    assert_eq!(error.code(), "database_unavailable");
    change("ALTER TABLE away RENAME TO task_execution_step").await;
    let claimed = repository.claim(claim).await.unwrap();
    assert_eq!((claimed[0].task.id, claimed[0].crashes), (id, 0));
}

#[tokio::test]
async fn a_claim_reads_five_ranges_of_the_index_and_nothing_else() {
    let (_directory, repository) = prepared().await;
    for (text, bound) in [(CLAIM_DUE, 4), (CLAIM_DUE_WITHIN, 6)] {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
        for _ in 0..bound {
            query = query.bind(5_i64);
        }
        let rows = query.fetch_all(&mut *repository.link().writer().await.unwrap()).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let ranges = plan.iter().filter(|step| {
            step.contains("SEARCH task_execution USING INDEX task_execution_due (priority=? AND wake_at<?)")
        });
        assert_eq!(ranges.count(), 5, "{plan:#?}");
        let scans_all =
            |step: &&String| step.starts_with("SCAN task_execution") && !step.contains("task_execution_held");
        assert_eq!(plan.iter().find(scans_all), None, "{plan:#?}");
    }
}
