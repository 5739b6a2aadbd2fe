//! Conversations and their messages.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;

use super::{Conn, Key, Result, Row, read, rows, task_id};
use crate::repository::{Message, RepositoryError, Thread};

/// Makes a conversation known, or returns it as it is.
pub(super) async fn open_thread(conn: &mut Conn, id: &str, user_id: &str, title: &str) -> Result<Thread> {
    const OPEN: &str = concat!(
        "INSERT INTO chat_thread (id, user_id, title, created_at, updated_at) VALUES ($1, $2, $3, ",
        now!(),
        ", ",
        now!(),
        ") ON CONFLICT (id) DO NOTHING"
    );
    sqlx::query(OPEN).bind(id).bind(user_id).bind(title).execute(&mut *conn).await?;
    thread(conn, id).await?.ok_or(RepositoryError::NotFound)
}

/// The columns of a conversation.
macro_rules! thread_columns {
    () => {
        "id, user_id, title, created_at, updated_at"
    };
}

/// The columns of a message.
macro_rules! message_columns {
    () => {
        "thread_id, id, role, parts, task_id, created_at"
    };
}

/// The conversation with this id.
pub(super) async fn thread(conn: &mut Conn, id: &str) -> Result<Option<Thread>> {
    const ONE: &str = concat!("SELECT ", thread_columns!(), " FROM chat_thread WHERE id = $1");
    let row = sqlx::query(ONE).bind(id).fetch_optional(conn).await?;
    row.as_ref().map(thread_of).transpose()
}

fn thread_of(row: &Row) -> Result<Thread> {
    Ok(Thread {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        title: row.try_get("title")?,
        created_at: read::time_in(row, "created_at")?.unwrap_or_default(),
        updated_at: read::time_in(row, "updated_at")?.unwrap_or_default(),
    })
}

/// Conversations of a user, the one that was written to last first.
pub(super) async fn threads(
    conn: &mut Conn,
    user_id: &str,
    behind: Option<&str>,
    limit: u32,
) -> Result<Vec<Thread>> {
    const FIRST: &str = concat!(
        "SELECT ",
        thread_columns!(),
        " FROM chat_thread WHERE user_id = $1 ORDER BY updated_at DESC, id DESC LIMIT $2"
    );
    const BEHIND: &str = concat!(
        "SELECT ",
        thread_columns!(),
        " FROM chat_thread WHERE user_id = $1 AND (updated_at, id) < ",
        "(SELECT b.updated_at, b.id FROM chat_thread AS b WHERE b.id = $3) ",
        "ORDER BY updated_at DESC, id DESC LIMIT $2"
    );
    let query = match behind {
        None => sqlx::query(FIRST).bind(user_id).bind(i64::from(limit)),
        Some(behind) => sqlx::query(BEHIND).bind(user_id).bind(i64::from(limit)).bind(behind),
    };
    query.fetch_all(conn).await?.iter().map(thread_of).collect()
}

/// Gives a conversation another title; whether there is one.
pub(super) async fn rename(conn: &mut Conn, id: &str, title: &str) -> Result<bool> {
    let renamed = sqlx::query("UPDATE chat_thread SET title = $2 WHERE id = $1").bind(id).bind(title);
    Ok(renamed.execute(conn).await?.rows_affected() > 0)
}

/// Forgets a conversation; whether there was one.
pub(super) async fn forget(conn: &mut Conn, id: &str) -> Result<bool> {
    let forgotten = sqlx::query("DELETE FROM chat_thread WHERE id = $1").bind(id);
    Ok(forgotten.execute(conn).await?.rows_affected() > 0)
}

/// Takes the messages behind one out of its conversation.
pub(super) async fn replace_behind(conn: &mut Conn, thread_id: &str, message_id: &str) -> Result<u64> {
    const REPLACE: &str = "UPDATE chat_message SET replaced = true WHERE thread_id = $1 AND NOT replaced \
         AND position > (SELECT m.position FROM chat_message AS m WHERE m.thread_id = $1 AND m.id = $2)";
    let replaced = sqlx::query(REPLACE).bind(thread_id).bind(message_id);
    Ok(replaced.execute(conn).await?.rows_affected())
}

/// Stores a message behind those that are there; the same id again changes its parts.
pub(super) async fn put_message(conn: &mut Conn, message: &Message) -> Result<()> {
    const PUT: &str = concat!(
        "INSERT INTO chat_message (thread_id, id, position, role, parts, task_id, created_at, replaced) ",
        "SELECT r.thread_id, r.id, ",
        "(SELECT COALESCE(max(m.position), 0) + 1 FROM chat_message AS m WHERE m.thread_id = r.thread_id), ",
        "r.role, r.parts, r.task_id, r.created_at, false FROM ",
        rows!("$1"; thread_id text, id text, role text, parts json, task_id uuid, created_at time),
        " WHERE true ON CONFLICT (thread_id, id) DO UPDATE SET parts = excluded.parts, ",
        "task_id = COALESCE(excluded.task_id, chat_message.task_id)"
    );
    const TOUCH: &str = concat!("UPDATE chat_thread SET updated_at = ", now!(), " WHERE id = $1");
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
            other => {
                other?;
                sqlx::query(TOUCH).bind(&message.thread_id).execute(conn).await?;
                return Ok(());
            }
        }
    }
    Err(RepositoryError::Stale)
}

/// The newest messages, oldest of them first.
pub(super) async fn messages(conn: &mut Conn, thread_id: &str, limit: u32) -> Result<Vec<Message>> {
    const NEWEST: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM chat_message WHERE thread_id = $1 AND NOT replaced ORDER BY position DESC LIMIT $2"
    );
    let rows = sqlx::query(NEWEST).bind(thread_id).bind(i64::from(limit)).fetch_all(conn).await?;
    rows.iter().rev().map(message).collect()
}

/// The newest message with this id.
pub(super) async fn message_with(conn: &mut Conn, id: &str) -> Result<Option<Message>> {
    const ONE: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM chat_message WHERE id = $1 ORDER BY created_at DESC LIMIT 1"
    );
    let row = sqlx::query(ONE).bind(id).fetch_optional(conn).await?;
    row.as_ref().map(message).transpose()
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
