//! Retention: removes what is older than asked, and nothing else.

use std::time::Duration;

use sqlx::Connection;

use super::{BEGIN_WRITE, Conn, Result};
use crate::repository::{Pruned, Retention};

/// A content may have been stored a moment before the commit that refers to it; so only those
/// that nobody touched for a day are looked at.
const BLOB_REST: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes in one transaction.
pub(super) async fn prune(conn: &mut Conn, retention: &Retention) -> Result<Pruned> {
    const TRACES: &str = concat!(
        "DELETE FROM task_execution_trace WHERE task_id IN ",
        "(SELECT id FROM task_execution WHERE completed_at IS NOT NULL AND completed_at < ",
        now_plus!("$1"),
        ")"
    );
    // What the journal alone held, and what the task is still looked at for.
    const KEEP_SPECS: &str = concat!(
        "UPDATE task_execution SET spec = (SELECT c.data->'spec' FROM task_execution_trace AS c ",
        "WHERE c.task_id = task_execution.id AND c.seq = 1) ",
        "WHERE spec IS NULL AND completed_at IS NOT NULL AND completed_at < ",
        now_plus!("$1")
    );
    const KEEP_OUTPUTS: &str = concat!(
        "UPDATE task_execution_step SET output = (SELECT ",
        recorded_output!(),
        " FROM task_execution_trace AS o WHERE o.task_id = task_execution_step.task_id ",
        "AND o.seq = task_execution_step.output_seq) WHERE output IS NULL AND output_seq IS NOT NULL ",
        "AND task_id IN ",
        "(SELECT id FROM task_execution WHERE completed_at IS NOT NULL AND completed_at < ",
        now_plus!("$1"),
        ")"
    );
    const TASKS: &str = concat!(
        "DELETE FROM task_execution WHERE completed_at IS NOT NULL AND completed_at < ",
        now_plus!("$1")
    );
    const BLOBS: &str = concat!(
        "DELETE FROM blob WHERE touched_at < ",
        now_plus!("$1"),
        " AND NOT EXISTS (SELECT 1 FROM task_execution_blob AS b WHERE b.hash = blob.hash)"
    );
    let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
    let mut pruned = Pruned::default();
    if let Some(age) = retention.tasks {
        let removed = sqlx::query(TASKS).bind(before(age)).execute(&mut *transaction).await?;
        pruned.tasks = removed.rows_affected();
    }
    if let Some(age) = retention.traces {
        sqlx::query(KEEP_SPECS).bind(before(age)).execute(&mut *transaction).await?;
        sqlx::query(KEEP_OUTPUTS).bind(before(age)).execute(&mut *transaction).await?;
        let removed = sqlx::query(TRACES).bind(before(age)).execute(&mut *transaction).await?;
        pruned.traces = removed.rows_affected();
    }
    let removed = sqlx::query(BLOBS).bind(before(BLOB_REST)).execute(&mut *transaction).await?;
    pruned.blobs = removed.rows_affected();
    transaction.commit().await?;
    Ok(pruned)
}

/// An age as the database counts it: milliseconds from now, backwards.
fn before(age: Duration) -> i64 {
    i64::try_from(age.as_millis()).map_or(i64::MIN, |millis| -millis)
}
