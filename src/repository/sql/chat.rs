//! Conversations and their messages.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;

use super::{Conn, Key, Result, Row, read, rows, task_id};
use crate::repository::{Message, RepositoryError, Thread};

/// Makes a conversation known, or returns it as it is.
pub(super) async fn open_thread(conn: &mut Conn, id: &str, user_id: &str, title: &str) -> Result<Thread> {
    const OPEN: &str = concat!(
        "INSERT INTO chat_thread (id, user_id, title, created_at) VALUES ($1, $2, $3, ",
        now!(),
        ") ON CONFLICT (id) DO NOTHING"
    );
    sqlx::query(OPEN).bind(id).bind(user_id).bind(title).execute(&mut *conn).await?;
    thread(conn, id).await?.ok_or(RepositoryError::NotFound)
}

/// The conversation with this id.
pub(super) async fn thread(conn: &mut Conn, id: &str) -> Result<Option<Thread>> {
    let row = sqlx::query("SELECT id, user_id, title, created_at FROM chat_thread WHERE id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Thread {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            title: row.try_get("title")?,
            created_at: read::time_in(&row, "created_at")?.unwrap_or_default(),
        })
    })
    .transpose()
}

/// Stores a message behind those that are there; the same id again changes its parts.
pub(super) async fn put_message(conn: &mut Conn, message: &Message) -> Result<()> {
    const PUT: &str = concat!(
        "INSERT INTO chat_message (thread_id, id, position, role, parts, task_id, created_at) ",
        "SELECT r.thread_id, r.id, ",
        "(SELECT COALESCE(max(m.position), 0) + 1 FROM chat_message AS m WHERE m.thread_id = r.thread_id), ",
        "r.role, r.parts, r.task_id, r.created_at FROM ",
        rows!("$1"; thread_id text, id text, role text, parts json, task_id uuid, created_at time),
        " WHERE true ON CONFLICT (thread_id, id) DO UPDATE SET parts = excluded.parts, ",
        "task_id = COALESCE(excluded.task_id, chat_message.task_id)"
    );
    let row = serde_json::json!([{
        "thread_id": message.thread_id, "id": message.id, "role": message.role, "parts": message.parts,
        "task_id": message.task_id, "created_at": message.created_at,
    }]);
    let row: Vec<Value> = serde_json::from_value(row).map_err(unwritable)?;
    let row = rows::text(&row).map_err(unwritable)?;
    // Two messages at the same moment may take the same position; the second one tries again.
    for _ in 0..8 {
        match sqlx::query(PUT).bind(row.as_str()).execute(&mut *conn).await {
            Err(sqlx::Error::Database(cause)) if cause.is_unique_violation() => {}
            other => return Ok(other.map(drop)?),
        }
    }
    Err(RepositoryError::Stale)
}

/// The newest messages, oldest of them first.
pub(super) async fn messages(conn: &mut Conn, thread_id: &str, limit: u32) -> Result<Vec<Message>> {
    let rows = sqlx::query(
        "SELECT thread_id, id, role, parts, task_id, created_at FROM chat_message \
         WHERE thread_id = $1 ORDER BY position DESC LIMIT $2",
    )
    .bind(thread_id)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().rev().map(message).collect()
}

fn message(row: &Row) -> Result<Message> {
    Ok(Message {
        id: row.try_get("id")?,
        thread_id: row.try_get("thread_id")?,
        role: row.try_get("role")?,
        parts: row.try_get::<Json<Value>, _>("parts")?.0,
        task_id: row.try_get::<Option<Key>, _>("task_id")?.map(task_id),
        created_at: read::time_in(row, "created_at")?.unwrap_or_default(),
    })
}

fn unwritable(error: serde_json::Error) -> RepositoryError {
    RepositoryError::Corrupt { what: format!("a message cannot be written as JSON: {error}") }
}
