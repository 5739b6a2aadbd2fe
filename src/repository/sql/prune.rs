//! Retention: removes what is older than asked, and nothing else.
//!
//! It works in batches, each in its own short transaction, so that commits of tasks at work get
//! in between.

use std::time::Duration;

use sqlx::Row as _;

use super::{Conn, Result, begin_write, key_list, task_id};
use crate::repository::{Pruned, Retention};
use crate::task::TaskId;

/// Tasks, or contents, that one transaction removes at most. With everything that belongs to
/// them that takes tens of milliseconds, which a commit can wait.
pub(in crate::repository) const BATCH: u64 = 500;

/// A content may have been stored a moment before the commit that refers to it; so only those
/// that nobody touched for a day are looked at.
const BLOB_REST: Duration = Duration::from_secs(24 * 60 * 60);

/// One that somebody takes up again meanwhile has not ended any more, and stays.
const TASKS: &str = concat!(
    "DELETE FROM task_execution WHERE id IN (SELECT id FROM task_execution ",
    "WHERE completed_at IS NOT NULL AND completed_at < ",
    now_plus!("$1"),
    " ORDER BY completed_at LIMIT $2) AND completed_at IS NOT NULL RETURNING id"
);
/// What removed tasks leave behind. Nobody adds to it: whoever writes entries or steps changes the row of
/// their task first, and that is gone.
const STEPS_LEFT: &str = concat!("DELETE FROM task_execution_step WHERE task_id", among!("$1"));
const TRACES_LEFT: &str = concat!("DELETE FROM task_execution_trace WHERE task_id", among!("$1"));
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
/// A content that a commit holds is in use again, or is about to be: it is left alone, and not waited for. Commits
/// hold several and wait for each other, so whoever waited among them with some in its hands might never end.
const BLOBS: &str = concat!(
    "DELETE FROM blob WHERE hash IN (SELECT hash FROM blob WHERE touched_at < ",
    now_plus!("$1"),
    " AND NOT EXISTS (SELECT 1 FROM task_execution_blob AS b WHERE b.hash = blob.hash) LIMIT $2",
    skip_locked!(),
    ")"
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
    let of = |remove, age| Stage { remove, age };
    let tasks = retention.tasks.map(|age| of(Remove::Tasks, age));
    let traces = retention.traces.map(|age| of(Remove::Traces, age));
    let blobs = of(Remove::Rows(BLOBS, |pruned| &mut pruned.blobs), BLOB_REST);
    let replies = of(Remove::Rows(REPLIES, |pruned| &mut pruned.replies), DAY);
    let workers = of(Remove::Rows(WORKERS, |pruned| &mut pruned.workers), DAY);
    tasks.into_iter().chain(traces).chain([blobs, replies, workers]).collect()
}

/// One kind of rows to remove.
pub(super) struct Stage {
    remove: Remove,
    age: Duration,
}

enum Remove {
    /// Whole tasks.
    Tasks,
    /// The entries of tasks that stay.
    Traces,
    /// Whatever a statement removes, and where it is counted.
    Rows(&'static str, fn(&mut Pruned) -> &mut u64),
}

impl Stage {
    /// Removes one batch in a transaction. Returns whether there was anything to remove.
    pub(super) async fn batch(&self, conn: &mut Conn, pruned: &mut Pruned) -> Result<bool> {
        let mut transaction = begin_write(conn).await?;
        let before = i64::try_from(self.age.as_millis()).map_or(i64::MIN, |millis| -millis);
        let batch = |text: &'static str| sqlx::query(text).bind(before).bind(BATCH as i64);
        let mut removed = Pruned::default();
        match &self.remove {
            Remove::Tasks => {
                let rows = batch(TASKS).fetch_all(&mut *transaction).await?;
                let tasks: Vec<TaskId> =
                    rows.iter().map(|row| Ok(task_id(row.try_get(0)?))).collect::<Result<_>>()?;
                sqlx::query(STEPS_LEFT).bind(key_list(&tasks)?).execute(&mut *transaction).await?;
                let traces = sqlx::query(TRACES_LEFT).bind(key_list(&tasks)?);
                removed.traces = traces.execute(&mut *transaction).await?.rows_affected();
                removed.tasks = tasks.len() as u64;
            }
            Remove::Traces => {
                for text in KEPT {
                    batch(text).execute(&mut *transaction).await?;
                }
                removed.traces = batch(TRACES).execute(&mut *transaction).await?.rows_affected();
            }
            Remove::Rows(text, count) => {
                *count(&mut removed) = batch(text).execute(&mut *transaction).await?.rows_affected();
            }
        }
        transaction.commit().await?;
        *pruned += removed;
        Ok(removed != Pruned::default())
    }
}
