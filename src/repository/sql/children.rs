//! Children that do not stand as their parents do.

use sqlx::Row as _;

use super::{Conn, Key, Result, task_id};
use crate::repository::{Fate, Stray};

/// Strays that are seen to at once; the next look finds the others.
const MOST: i64 = 1000;

/// A pause that reaches the children: somebody's, or that of the parent's own parent.
macro_rules! is_stopped {
    () => {
        "(p.status = 'paused' AND (p.pause_reason = 'user' OR p.pause_reason = 'parent'))"
    };
}

/// Reads the index of the children that have not ended, and their parents by key.
const STRAYS: &str = concat!(
    "SELECT c.id, c.parent_id, CASE WHEN p.id IS NULL OR p.completed_at IS NOT NULL THEN 'end' ",
    "WHEN c.wake_at IS NOT NULL THEN 'pause' ELSE 'resume' END AS fate ",
    "FROM task_execution AS c LEFT JOIN task_execution AS p ON p.id = c.parent_id ",
    "WHERE c.parent_id IS NOT NULL AND c.completed_at IS NULL AND (p.id IS NULL OR p.completed_at IS NOT NULL ",
    "OR (c.wake_at IS NOT NULL AND ",
    is_stopped!(),
    ") OR (c.pause_reason = 'parent' AND NOT ",
    is_stopped!(),
    ")) LIMIT $1"
);

pub(super) async fn strays(conn: &mut Conn) -> Result<Vec<Stray>> {
    let rows = sqlx::query(STRAYS).bind(MOST).fetch_all(conn).await?;
    let stray = |row| {
        let fate: String = sqlx::Row::try_get(row, "fate")?;
        let fate = match fate.as_str() {
            "end" => Fate::End,
            "pause" => Fate::Pause,
            _ => Fate::Resume,
        };
        let row: &super::Row = row;
        let (id, parent) = (row.try_get::<Key, _>("id")?, row.try_get::<Key, _>("parent_id")?);
        Ok(Stray { id: task_id(id), parent: task_id(parent), fate })
    };
    rows.iter().map(stray).collect()
}
