//! A group of commits as one statement, and so in one round trip.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row as _;

use super::committer::WriteGroup;
use super::sql::rows::{self, NewTask, StepRow, TaskMove, TraceRow, unwritable};
use super::texts::{KEEP_ANSWER, PUT_BLOB, REFER_TO_BLOB};
use super::{BEGIN_WRITE, Conn, Key, Pools, key, task_id};
use crate::repository::commit::Creation;
use crate::repository::{Answer, Commit, RepositoryError};
use crate::task::TaskId;

type Result<T> = std::result::Result<T, RepositoryError>;

/// Values that come as rows of a list.
macro_rules! listed {
    ($name:ident) => {
        concat!("r.", stringify!($name))
    };
}
macro_rules! listed_rows {
    ($list:literal; $($columns:tt)*) => {
        concat!(" FROM ", rows!($list; $($columns)*))
    };
}

/// Of a group, those tasks are written that have not moved on.
///
/// Their ids are gathered into an array first: joined to them, the rows that were passed in would
/// be read anew for each task of the group.
const COMMIT: &str = concat!(
    "WITH moved AS (",
    move_tasks!(listed, listed_rows "$1"),
    " RETURNING id), added AS (",
    add_entries!(listed, listed_rows "$2"),
    " WHERE r.task_id = ANY (ARRAY(SELECT id FROM moved))), planned AS (",
    add_steps!(listed, listed_rows "$3"),
    " WHERE r.task_id = ANY (ARRAY(SELECT id FROM moved))), advanced AS (",
    move_steps!(listed, listed_rows "$4"),
    " AND r.task_id = ANY (ARRAY(SELECT id FROM moved))) SELECT id FROM moved"
);

/// A new task in one round trip.
const CREATE: &str = concat!(
    "WITH created AS (",
    add_task!(listed, listed_rows "$1"),
    "), added AS (",
    add_entries!(listed, listed_rows "$2"),
    ") ",
    add_steps!(listed, listed_rows "$3")
);

/// Writes a new task with everything that belongs to it.
pub(super) async fn create(pools: &Pools, creation: &Creation) -> Result<()> {
    let commit = &creation.commit;
    if creation.answer.is_none() && commit.blobs.is_empty() {
        return add(&mut *pools.writer().await?, creation).await;
    }
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    if let Some(answer) = &creation.answer {
        keep(&mut transaction, answer).await?;
    }
    add(&mut transaction, creation).await?;
    put_blobs(&mut transaction, commit).await?;
    transaction.commit().await?;
    Ok(())
}

async fn add(conn: &mut Conn, creation: &Creation) -> Result<()> {
    let group = [&creation.commit];
    let added = sqlx::query(CREATE)
        .bind(rows::text(&[NewTask::of(creation)]).map_err(unwritable)?)
        .bind(entries_of(&group)?)
        .bind(steps_of(&group, |_, _| true)?)
        .execute(conn)
        .await;
    match added {
        Err(sqlx::Error::Database(cause)) if cause.is_unique_violation() => Err(RepositoryError::Exists),
        other => Ok(other.map(drop)?),
    }
}

/// Of two answers that race, the second one waits here until the first one's transaction has
/// ended.
async fn keep(conn: &mut Conn, answer: &Answer) -> Result<()> {
    let kept = sqlx::query(KEEP_ANSWER)
        .bind(&answer.user_id)
        .bind(&answer.key)
        .bind(answer.request_hash.to_vec())
        .bind(key(answer.task_id))
        .bind(&answer.reply)
        .execute(conn)
        .await?;
    if kept.rows_affected() == 0 { Err(RepositoryError::KeyTaken) } else { Ok(()) }
}

#[async_trait]
impl WriteGroup for Pools {
    async fn write_group(&self, group: &[Commit]) -> Result<Vec<Result<()>>> {
        let moved = write(self, group).await?;
        let mut answers = Vec::with_capacity(group.len());
        for commit in group {
            let is_moved = moved.contains(&commit.id);
            answers.push(if is_moved { Ok(()) } else { Err(refusal(self, commit).await?) });
        }
        Ok(answers)
    }
}

async fn write(pools: &Pools, group: &[Commit]) -> Result<HashSet<TaskId>> {
    if group.iter().all(|commit| commit.blobs.is_empty()) {
        return at_once(&mut *pools.writer().await?, group).await;
    }
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    let moved = at_once(&mut transaction, group).await?;
    for commit in group.iter().filter(|commit| moved.contains(&commit.id)) {
        put_blobs(&mut transaction, commit).await?;
    }
    transaction.commit().await?;
    Ok(moved)
}

async fn at_once(conn: &mut Conn, group: &[Commit]) -> Result<HashSet<TaskId>> {
    let tasks: Vec<TaskMove<'_>> = group.iter().map(TaskMove::of).collect();
    let group: Vec<&Commit> = group.iter().collect();
    let rows = sqlx::query(COMMIT)
        .bind(rows::text(&tasks).map_err(unwritable)?)
        .bind(entries_of(&group)?)
        .bind(steps_of(&group, |commit, index| index >= commit.planned_from)?)
        .bind(steps_of(&group, |commit, index| index < commit.planned_from)?)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(task_id(row.try_get::<Key, _>(0)?))).collect()
}

async fn refusal(pools: &Pools, commit: &Commit) -> Result<RepositoryError> {
    let row = sqlx::query("SELECT epoch FROM task_execution WHERE id = $1")
        .bind(key(commit.id))
        .fetch_optional(&mut *pools.writer().await?)
        .await?;
    Ok(commit.refusal(row.map(|row| row.try_get(0)).transpose()?))
}

/// The entries of commits as a list.
fn entries_of(group: &[&Commit]) -> Result<String> {
    let rows: Vec<TraceRow<'_>> = group
        .iter()
        .flat_map(|commit| commit.entries.iter().map(|entry| TraceRow::of(commit.id, entry)))
        .collect();
    rows::text(&rows).map_err(unwritable)
}

/// Those of the steps of commits as a list that are wanted.
fn steps_of(group: &[&Commit], wanted: impl Fn(&Commit, u32) -> bool) -> Result<String> {
    let mut rows = Vec::new();
    for commit in group {
        let steps = commit.steps.iter().filter(|(index, _)| wanted(commit, *index));
        rows.extend(steps.map(|(index, step)| StepRow::of(commit.id, *index, step)));
    }
    rows::text(&rows).map_err(unwritable)
}

async fn put_blobs(conn: &mut Conn, commit: &Commit) -> Result<()> {
    for blob in &commit.blobs {
        sqlx::query(PUT_BLOB)
            .bind(blob.hash.0.to_vec())
            .bind(blob.size)
            .bind(blob.bytes.as_slice())
            .execute(&mut *conn)
            .await?;
        let refer = sqlx::query(REFER_TO_BLOB).bind(key(commit.id)).bind(blob.hash.0.to_vec());
        refer.execute(&mut *conn).await?;
    }
    Ok(())
}
