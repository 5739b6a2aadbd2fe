//! Leases: who may work on which task, and until when.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Connection, Row as _};

use super::{BEGIN_WRITE, Conn, Key, Result, key, read, task_id};
use crate::repository::{Claim, Claimed, Renewal, RepositoryError};
use crate::task::{Task, TaskId};

/// A wake-up that has passed is either due work or the lease of a worker that is gone. The
/// epoch grows with every claim, so whatever the one before still writes is refused; a lease
/// that was not given back counts as a crash.
macro_rules! lease {
    ($due:expr) => {
        concat!(
            "UPDATE task_execution SET epoch = epoch + 1, ",
            "crashes = crashes + CASE WHEN lease_owner IS NULL THEN 0 ELSE 1 END, ",
            "lease_owner = $1, wake_at = ",
            now_plus!("$2"),
            " WHERE id IN (SELECT id FROM task_execution WHERE wake_at <= ",
            now!(),
            $due,
            " ORDER BY wake_at LIMIT $3",
            skip_locked!(),
            ") RETURNING id, crashes"
        )
    };
}

const CLAIM_DUE: &str = lease!("");
const CLAIM_ONE: &str = lease!(" AND id = $4");

/// Leases due tasks and loads them.
pub(super) async fn claim(conn: &mut Conn, claim: Claim<'_>) -> Result<Vec<Claimed>> {
    let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
    let leased = match claim.only {
        None => sqlx::query(CLAIM_DUE),
        Some(_) => sqlx::query(CLAIM_ONE),
    };
    let mut leased = leased.bind(claim.worker).bind(millis(claim.lease)).bind(i64::from(claim.limit));
    if let Some(only) = claim.only {
        leased = leased.bind(key(only));
    }
    let rows = leased.fetch_all(&mut *transaction).await?;
    let mut crashes: HashMap<TaskId, i64> = HashMap::new();
    for row in &rows {
        crashes.insert(task_id(row.try_get::<Key, _>(0)?), row.try_get(1)?);
    }
    let ids: Vec<TaskId> = crashes.keys().copied().collect();
    let tasks = match read::tasks(&mut transaction, &ids).await {
        Err(RepositoryError::Corrupt { .. }) => readable(&mut transaction, &ids).await?,
        read => read?,
    };
    transaction.commit().await?;
    let count = |id| crashes.get(&id).map_or(0, |count| u32::try_from(*count).unwrap_or(u32::MAX));
    Ok(tasks.into_iter().map(|task| Claimed { crashes: count(task.id), task }).collect())
}

/// Those of the tasks that can be read. One that cannot stays leased and comes back when the
/// lease ends: it must not keep the others from being worked on.
async fn readable(conn: &mut Conn, ids: &[TaskId]) -> Result<Vec<Task>> {
    let mut tasks = Vec::with_capacity(ids.len());
    for id in ids {
        match read::task(conn, *id).await {
            Ok(task) => tasks.extend(task),
            Err(error @ RepositoryError::Corrupt { .. }) => {
                tracing::error!(task = %id, %error, "the task is passed over");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tasks)
}

/// Extends leases, and tells what the newest entries are. One by one: a statement over many
/// tasks would lock them in another order than a group of commits, and one would have to die.
pub(super) async fn renew(
    conn: &mut Conn,
    worker: &str,
    leases: &[(TaskId, i64)],
    lease: Duration,
) -> Result<Vec<Renewal>> {
    const RENEW: &str = concat!(
        "UPDATE task_execution SET wake_at = CASE WHEN wake_at IS NULL THEN NULL ELSE ",
        now_plus!("$2"),
        " END WHERE id = $3 AND epoch = $4 AND lease_owner = $1 RETURNING seq"
    );
    let mut renewed = Vec::with_capacity(leases.len());
    for (id, epoch) in leases {
        let row = sqlx::query(RENEW)
            .bind(worker)
            .bind(millis(lease))
            .bind(key(*id))
            .bind(epoch)
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = row {
            renewed.push(Renewal { id: *id, seq: row.try_get(0)? });
        }
    }
    Ok(renewed)
}

/// Makes every leased task due at once.
pub(super) async fn expire_leases(conn: &mut Conn) -> Result<u64> {
    // A paused task has no wake-up to end: it is only nobody's any more.
    const EXPIRE: &str = concat!(
        "UPDATE task_execution SET wake_at = CASE WHEN wake_at IS NULL THEN NULL ELSE ",
        now!(),
        " END, lease_owner = CASE WHEN wake_at IS NULL THEN NULL ELSE lease_owner END ",
        "WHERE lease_owner IS NOT NULL"
    );
    Ok(sqlx::query(EXPIRE).execute(conn).await?.rows_affected())
}

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}
