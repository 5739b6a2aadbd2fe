//! New tasks and their contents. How a commit to a known task is written is each engine's own.

use std::time::Duration;

use sqlx::Connection;

use super::rows::{self, NewTask, StepRow, TraceRow, unwritable};
use super::{BEGIN_WRITE, Conn, Result, answers, key};
use crate::repository::{Answer, Commit, Lease, RepositoryError};
use crate::task::{Blob, Entry, Task};

macro_rules! add_task {
    () => {
        concat!(
            "INSERT INTO task_execution (id, user_id, thread_id, goal, status, pause_reason, seq, epoch, ",
            "wake_at, crashes, completed_steps, total_steps, state, created_at, updated_at, ",
            "completed_at) SELECT task_id, user_id, thread_id, goal, status, pause_reason, seq, epoch, ",
            "CASE WHEN live THEN ",
            now!(),
            " END, crashes, completed_steps, total_steps, state, ",
            "created_at, updated_at, completed_at FROM ",
            rows!("$1"; task_id uuid, user_id text, thread_id text, goal text, status text,
                pause_reason text, seq bigint, epoch bigint, live boolean, crashes bigint,
                completed_steps bigint, total_steps bigint, state json, created_at time,
                updated_at time, completed_at time),
            " WHERE true"
        )
    };
}

const ADD_ENTRIES: &str = add_entries!(listed, listed_rows "$1");
const ADD_STEPS: &str = add_steps!(listed, listed_rows "$1");

/// Takes a content's hash, its length, and its compressed bytes.
pub(in crate::repository) const PUT_BLOB: &str = concat!(
    "INSERT INTO blob (hash, size, bytes, touched_at) VALUES ($1, $2, $3, ",
    now!(),
    ") ON CONFLICT (hash) DO UPDATE SET touched_at = excluded.touched_at"
);

/// Takes a task's id and a content's hash.
pub(in crate::repository) const REFER_TO_BLOB: &str =
    "INSERT INTO task_execution_blob (task_id, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// Writes a new task with everything that belongs to it.
pub(super) async fn create(
    conn: &mut Conn,
    task: &Task,
    mut entries: Vec<Entry>,
    answer: Option<&Answer>,
) -> Result<()> {
    let blobs =
        entries.iter_mut().flat_map(|entry| entry.event.payloads_mut()).filter_map(|part| part.seal());
    let blobs: Vec<Blob> = blobs.collect();
    let mut commit = Commit::new(task, entries, blobs, Lease::Release(Duration::ZERO));
    commit.pack()?;
    let row = rows::text(&[NewTask::of(&commit, task.spec())]).map_err(unwritable)?;
    let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
    if let Some(answer) = answer {
        answers::keep(&mut transaction, answer).await?;
    }
    let added = sqlx::query(add_task!()).bind(row).execute(&mut *transaction).await;
    if let Err(sqlx::Error::Database(cause)) = &added
        && cause.is_unique_violation()
    {
        return Err(RepositoryError::Exists);
    }
    added?;
    sqlx::query(ADD_ENTRIES).bind(entries_of(&[&commit])?).execute(&mut *transaction).await?;
    let steps = steps_of(&[&commit], |_, _| true)?;
    sqlx::query(ADD_STEPS).bind(steps).execute(&mut *transaction).await?;
    put_blobs(&mut transaction, &commit).await?;
    transaction.commit().await?;
    Ok(())
}

/// The entries of commits as a list.
pub(in crate::repository) fn entries_of(group: &[&Commit]) -> Result<String> {
    let rows: Vec<TraceRow<'_>> = group
        .iter()
        .flat_map(|commit| commit.entries.iter().map(|entry| TraceRow::of(commit.id, entry)))
        .collect();
    rows::text(&rows).map_err(unwritable)
}

/// Those of the steps of commits as a list that are wanted.
pub(in crate::repository) fn steps_of(
    group: &[&Commit],
    wanted: impl Fn(&Commit, u32) -> bool,
) -> Result<String> {
    let mut rows = Vec::new();
    for commit in group {
        let steps = commit.steps.iter().filter(|(index, _)| wanted(commit, *index));
        rows.extend(steps.map(|(index, step)| StepRow::of(commit.id, *index, step)));
    }
    rows::text(&rows).map_err(unwritable)
}

pub(in crate::repository) async fn put_blobs(conn: &mut Conn, commit: &Commit) -> Result<()> {
    for blob in &commit.blobs {
        sqlx::query(PUT_BLOB)
            .bind(blob.hash.0.to_vec())
            .bind(blob.size)
            .bind(blob.bytes.as_slice())
            .execute(&mut *conn)
            .await?;
        sqlx::query(REFER_TO_BLOB)
            .bind(key(commit.id))
            .bind(blob.hash.0.to_vec())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
