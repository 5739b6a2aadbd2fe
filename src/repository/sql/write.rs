//! The writes: a new task, and groups of commits.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::{Connection, Row as _};

use super::rows::{NewTask, StepRow, TaskMove, TraceRow, list};
use super::{BEGIN_WRITE, COMMIT_AT_ONCE, Conn, Key, MOVED_ON, Result, WRITES_WHOLE_GROUPS, key, task_id};
use crate::repository::{Commit, Lease, RepositoryError};
use crate::task::{Blob, Entry, Task, TaskId};

/// A whole new task.
macro_rules! add_task {
    () => {
        concat!(
            "INSERT INTO task_execution (id, user_id, thread_id, goal, status, pause_reason, seq, epoch, ",
            "wake_at, crashes, completed_steps, total_steps, spec, state, created_at, updated_at, ",
            "completed_at) SELECT task_id, user_id, thread_id, goal, status, pause_reason, seq, epoch, ",
            "CASE WHEN live THEN ",
            now!(),
            " END, crashes, completed_steps, total_steps, spec, state, ",
            "created_at, updated_at, completed_at FROM ",
            rows!("$1"; task_id uuid, user_id text, thread_id text, goal text, status text,
                pause_reason text, seq bigint, epoch bigint, live boolean, crashes bigint,
                completed_steps bigint, total_steps bigint, spec json, state json, created_at time,
                updated_at time, completed_at time),
            " WHERE true"
        )
    };
}

const MOVE_TASKS: &str = concat!(move_tasks!("$1"), " RETURNING id");
const ADD_ENTRIES: &str = add_entries!("$1", " WHERE true");
const PUT_STEPS: &str = put_steps!("$1", " WHERE true");

/// The parts of a group as the lists the statements take.
struct Lists {
    tasks: String,
    entries: String,
    steps: String,
}

impl Lists {
    fn of(group: &[&Commit]) -> Result<Self> {
        let entries: Vec<TraceRow<'_>> = group
            .iter()
            .flat_map(|commit| commit.entries.iter().map(|entry| TraceRow::of(commit.id, entry)))
            .collect();
        let steps: Vec<StepRow<'_>> = group
            .iter()
            .flat_map(|commit| commit.steps.iter().map(|(index, step)| StepRow::of(commit.id, *index, step)))
            .collect();
        let tasks: Vec<TaskMove<'_>> = group.iter().map(|commit| TaskMove::of(commit)).collect();
        Ok(Self {
            tasks: list(&tasks).map_err(unwritable)?,
            entries: list(&entries).map_err(unwritable)?,
            steps: list(&steps).map_err(unwritable)?,
        })
    }
}

/// Writes a group of commits in one transaction: those whose writers knew the newest state
/// and epoch. The others are told what stands against them.
pub(super) async fn commit_group(
    conn: &mut Conn,
    group: &[Commit],
) -> Result<Vec<std::result::Result<(), RepositoryError>>> {
    let moved = write(conn, group).await?;
    let mut answers = Vec::with_capacity(group.len());
    for commit in group {
        answers.push(if moved.contains(&commit.id) { Ok(()) } else { Err(refusal(conn, commit).await?) });
    }
    Ok(answers)
}

async fn write(conn: &mut Conn, group: &[Commit]) -> Result<HashSet<TaskId>> {
    let group: Vec<&Commit> = group.iter().collect();
    let has_blobs = group.iter().any(|commit| !commit.blobs.is_empty());
    if !has_blobs && let Some(moved) = at_once(conn, &group).await? {
        return Ok(moved);
    }
    let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
    let moved = one_by_one(&mut transaction, &group).await?;
    let moved_commits: Vec<&Commit> = group.into_iter().filter(|commit| moved.contains(&commit.id)).collect();
    put_blobs(&mut transaction, &moved_commits).await?;
    transaction.commit().await?;
    Ok(moved)
}

/// One statement, and so one round trip. `None` if the engine writes only whole groups that
/// way and some task has moved on.
async fn at_once(conn: &mut Conn, group: &[&Commit]) -> Result<Option<HashSet<TaskId>>> {
    let lists = Lists::of(group)?;
    let written = sqlx::query(COMMIT_AT_ONCE)
        .bind(lists.tasks)
        .bind(lists.entries)
        .bind(lists.steps)
        .fetch_all(conn)
        .await;
    match written {
        Ok(_) if WRITES_WHOLE_GROUPS => Ok(Some(group.iter().map(|commit| commit.id).collect())),
        Ok(rows) => moved_ids(&rows).map(Some),
        Err(sqlx::Error::Database(cause)) if cause.message() == MOVED_ON => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn one_by_one(conn: &mut Conn, group: &[&Commit]) -> Result<HashSet<TaskId>> {
    let mut lists = Lists::of(group)?;
    let rows = sqlx::query(MOVE_TASKS).bind(std::mem::take(&mut lists.tasks)).fetch_all(&mut *conn).await?;
    let moved = moved_ids(&rows)?;
    if moved.len() < group.len() {
        let moved_commits: Vec<&Commit> =
            group.iter().copied().filter(|commit| moved.contains(&commit.id)).collect();
        lists = Lists::of(&moved_commits)?;
    }
    add_parts(conn, lists).await?;
    Ok(moved)
}

async fn add_parts(conn: &mut Conn, lists: Lists) -> Result<()> {
    sqlx::query(ADD_ENTRIES).bind(lists.entries).execute(&mut *conn).await?;
    if lists.steps != "[]" {
        sqlx::query(PUT_STEPS).bind(lists.steps).execute(conn).await?;
    }
    Ok(())
}

async fn refusal(conn: &mut Conn, commit: &Commit) -> Result<RepositoryError> {
    let row = sqlx::query("SELECT epoch FROM task_execution WHERE id = $1")
        .bind(key(commit.id))
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(RepositoryError::NotFound) };
    let epoch: i64 = row.try_get(0)?;
    Ok(if epoch == commit.state.epoch { RepositoryError::Stale } else { RepositoryError::Fenced })
}

/// Writes a new task with everything that belongs to it.
pub(super) async fn create(conn: &mut Conn, task: &Task, mut entries: Vec<Entry>) -> Result<()> {
    let blobs =
        entries.iter_mut().flat_map(|entry| entry.event.payloads_mut()).filter_map(|part| part.seal());
    let blobs: Vec<Blob> = blobs.collect();
    let lease = Lease::Release(Duration::ZERO);
    let commit = Commit::new(task, entries, blobs, lease);
    let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
    let row = list(&[NewTask::of(&commit, task.spec())]).map_err(unwritable)?;
    let added = sqlx::query(add_task!()).bind(row).execute(&mut *transaction).await;
    if let Err(sqlx::Error::Database(cause)) = &added
        && cause.is_unique_violation()
    {
        return Err(RepositoryError::Exists);
    }
    added?;
    add_parts(&mut transaction, Lists::of(&[&commit])?).await?;
    put_blobs(&mut transaction, &[&commit]).await?;
    transaction.commit().await?;
    Ok(())
}

async fn put_blobs(conn: &mut Conn, group: &[&Commit]) -> Result<()> {
    for commit in group {
        for blob in &commit.blobs {
            put_blob(conn, commit.id, blob).await?;
        }
    }
    Ok(())
}

async fn put_blob(conn: &mut Conn, id: TaskId, blob: &Blob) -> Result<()> {
    const PUT: &str = concat!(
        "INSERT INTO blob (hash, size, bytes, touched_at) VALUES ($1, $2, $3, ",
        now!(),
        ") ON CONFLICT (hash) DO UPDATE SET touched_at = excluded.touched_at"
    );
    let bytes = zstd::bulk::compress(&blob.bytes, 3)
        .map_err(|error| RepositoryError::Unavailable(sqlx::Error::Io(error)))?;
    sqlx::query(PUT)
        .bind(blob.hash.0.to_vec())
        .bind(blob.bytes.len() as i64)
        .bind(bytes)
        .execute(&mut *conn)
        .await?;
    sqlx::query("INSERT INTO task_execution_blob (task_id, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(key(id))
        .bind(blob.hash.0.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

fn moved_ids(rows: &[super::Row]) -> Result<HashSet<TaskId>> {
    rows.iter().map(|row| Ok(task_id(row.try_get::<Key, _>(0)?))).collect()
}

fn unwritable(error: serde_json::Error) -> RepositoryError {
    RepositoryError::Corrupt { what: format!("a row cannot be written as JSON: {error}") }
}
