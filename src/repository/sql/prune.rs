//! Retention: removes what is older than asked, and nothing else.
//!
//! It works in batches, each in its own short transaction, so that commits of tasks at work get
//! in between.

use std::time::Duration;

use sqlx::Connection;

use super::{BEGIN_WRITE, Conn, Result};
use crate::repository::{Pruned, Retention};

/// Tasks, or contents, that one transaction removes at most. With everything that belongs to
/// them that takes tens of milliseconds, which a commit can wait.
pub(in crate::repository) const BATCH: u64 = 500;

/// A content may have been stored a moment before the commit that refers to it; so only those
/// that nobody touched for a day are looked at.
const BLOB_REST: Duration = Duration::from_secs(24 * 60 * 60);

const TASKS: &str = concat!(
    "DELETE FROM task_execution WHERE id IN (SELECT id FROM task_execution ",
    "WHERE completed_at IS NOT NULL AND completed_at < ",
    now_plus!("$1"),
    " ORDER BY completed_at LIMIT $2)"
);
/// The oldest ended tasks that have entries.
macro_rules! of_old_journals {
    () => {
        concat!(
            "IN (SELECT t.id FROM task_execution AS t ",
            "WHERE t.completed_at IS NOT NULL AND t.completed_at < ",
            now_plus!("$1"),
            " AND EXISTS (SELECT 1 FROM task_execution_trace AS e WHERE e.task_id = t.id) ",
            "ORDER BY t.completed_at, t.id LIMIT $2)"
        )
    };
}
const TRACES: &str = concat!("DELETE FROM task_execution_trace WHERE task_id ", of_old_journals!());
/// A text that has the name of a content in it.
macro_rules! names {
    ($text:literal) => {
        concat!("CAST(", $text, " AS text) LIKE '%' || ", hex!("task_execution_blob.hash"), " || '%'")
    };
}
/// The contents that steps hold there.
macro_rules! of_steps {
    ($payload:literal) => {
        concat!(
            "SELECT s.task_id, ",
            $payload,
            "->'blob'->>'hash' FROM task_execution_step AS s WHERE ",
            $payload,
            "->'blob'->>'hash' IS NOT NULL AND s.task_id ",
            of_old_journals!()
        )
    };
}
/// What the journal alone holds, and what a task is still looked at for. Then contents that
/// nothing but its entries refers to are not the task's any more.
const KEPT: [&str; 3] = [
    concat!(
        "UPDATE task_execution SET spec = (SELECT c.data->'spec' FROM task_execution_trace AS c ",
        "WHERE c.task_id = task_execution.id AND c.seq = 1) WHERE id ",
        of_old_journals!()
    ),
    concat!(
        "UPDATE task_execution_step SET output = (SELECT ",
        recorded_output!(),
        " FROM task_execution_trace AS o WHERE o.task_id = task_execution_step.task_id ",
        "AND o.seq = task_execution_step.output_seq) WHERE output_seq IS NOT NULL AND task_id ",
        of_old_journals!()
    ),
    concat!(
        "DELETE FROM task_execution_blob WHERE task_id ",
        of_old_journals!(),
        " AND (task_id, ",
        hex!("hash"),
        ") NOT IN (",
        of_steps!("s.output"),
        " UNION ALL ",
        of_steps!("s.input->'item'->'value'"),
        ") AND NOT EXISTS (SELECT 1 FROM task_execution AS t WHERE t.id = task_execution_blob.task_id AND (",
        names!("t.spec"),
        " OR ",
        names!("t.state"),
        "))"
    ),
];
const BLOBS: &str = concat!(
    "DELETE FROM blob WHERE hash IN (SELECT hash FROM blob WHERE touched_at < ",
    now_plus!("$1"),
    " AND NOT EXISTS (SELECT 1 FROM task_execution_blob AS b WHERE b.hash = blob.hash) LIMIT $2)"
);
/// Answers and workers of which nobody asks any more.
const REPLIES: &str = concat!(
    "DELETE FROM idempotency_key WHERE (user_id, key) IN (SELECT user_id, key FROM idempotency_key ",
    "WHERE created_at < ",
    now_plus!("$1"),
    " LIMIT $2)"
);
const WORKERS: &str = concat!(
    "DELETE FROM worker WHERE name IN (SELECT name FROM worker WHERE seen_at < ",
    now_plus!("$1"),
    " LIMIT $2)"
);
/// How long they are kept, and shown.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What there is to remove, in the order in which it is removed: the contents of a task are
/// free only once the task is gone.
pub(super) fn stages(retention: &Retention) -> Vec<Stage> {
    let tasks =
        retention.tasks.map(|age| Stage { kept: &[], text: TASKS, age, count: |pruned| &mut pruned.tasks });
    let traces = retention.traces.map(|age| Stage {
        kept: &KEPT,
        text: TRACES,
        age,
        count: |pruned| &mut pruned.traces,
    });
    let blobs = Stage { kept: &[], text: BLOBS, age: BLOB_REST, count: |pruned| &mut pruned.blobs };
    let replies = Stage { kept: &[], text: REPLIES, age: DAY, count: |pruned| &mut pruned.replies };
    let workers = Stage { kept: &[], text: WORKERS, age: DAY, count: |pruned| &mut pruned.workers };
    tasks.into_iter().chain(traces).chain([blobs, replies, workers]).collect()
}

/// One kind of rows to remove.
pub(super) struct Stage {
    /// What is written elsewhere first.
    kept: &'static [&'static str],
    text: &'static str,
    age: Duration,
    count: fn(&mut Pruned) -> &mut u64,
}

impl Stage {
    /// Removes one batch in a transaction. Returns whether there was anything to remove.
    pub(super) async fn batch(&self, conn: &mut Conn, pruned: &mut Pruned) -> Result<bool> {
        let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
        for text in self.kept {
            let kept = sqlx::query(*text).bind(before(self.age)).bind(BATCH as i64);
            kept.execute(&mut *transaction).await?;
        }
        let removed = sqlx::query(self.text)
            .bind(before(self.age))
            .bind(BATCH as i64)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        *(self.count)(pruned) += removed;
        Ok(removed > 0)
    }
}

/// An age as the database counts it: milliseconds from now, backwards.
fn before(age: Duration) -> i64 {
    i64::try_from(age.as_millis()).map_or(i64::MIN, |millis| -millis)
}
