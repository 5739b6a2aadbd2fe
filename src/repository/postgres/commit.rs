//! A group of commits as one statement, and so in one round trip.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{Connection, Row as _};

use super::sql::rows::{self, TaskMove, unwritable};
use super::sql::write::{entries_of, put_blobs, steps_of};
use super::{BEGIN_WRITE, Conn, Key, Link, key, task_id};
use crate::repository::committer::WriteGroup;
use crate::repository::{Commit, RepositoryError};
use crate::task::TaskId;

type Result<T> = std::result::Result<T, RepositoryError>;

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

#[async_trait]
impl WriteGroup for Link {
    async fn write_group(&self, group: &[Commit]) -> Result<Vec<Result<()>>> {
        let mut conn = self.writer().await?;
        let moved = write(&mut conn, group).await?;
        let mut answers = Vec::with_capacity(group.len());
        for commit in group {
            let is_moved = moved.contains(&commit.id);
            answers.push(if is_moved { Ok(()) } else { Err(refusal(&mut conn, commit).await?) });
        }
        Ok(answers)
    }
}

async fn write(conn: &mut Conn, group: &[Commit]) -> Result<HashSet<TaskId>> {
    if group.iter().all(|commit| commit.blobs.is_empty()) {
        return at_once(conn, group).await;
    }
    let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
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

async fn refusal(conn: &mut Conn, commit: &Commit) -> Result<RepositoryError> {
    let row = sqlx::query("SELECT epoch FROM task_execution WHERE id = $1")
        .bind(key(commit.id))
        .fetch_optional(conn)
        .await?;
    Ok(commit.refusal(row.map(|row| row.try_get(0)).transpose()?))
}
