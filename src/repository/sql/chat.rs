//! Conversations and their messages.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;

use super::{Conn, Key, Result, Row, begin_write, is_taken, read, rows, task_id};
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

/// A message as it is passed in.
macro_rules! given {
    () => {
        rows!("$1"; thread_id text, id text, role text, parts json, task_id uuid, created_at time)
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

/// How often a message is stored: two at the same moment may take the same position, and the second one
/// tries again.
const TRIES: u32 = 8;

/// Stores a message behind those that are there; the same id again changes its parts.
pub(super) async fn put_message(conn: &mut Conn, message: &Message) -> Result<()> {
    put(conn, message, false).await
}

/// Stores a message that is none of its conversation's yet.
pub(super) async fn put_aside(conn: &mut Conn, message: &Message) -> Result<()> {
    put(conn, message, true).await
}

async fn put(conn: &mut Conn, message: &Message, aside: bool) -> Result<()> {
    let row = row(message)?;
    for _ in 0..TRIES {
        match put_once(conn, &row, aside).await {
            Err(error) if is_taken(&error) => {}
            other => {
                other?;
                return touch(conn, &message.thread_id).await;
            }
        }
    }
    Err(RepositoryError::Stale)
}

/// Gives an answer the place of what followed its question.
pub(super) async fn answer_anew(conn: &mut Conn, question: &Message, answer: &Message) -> Result<u64> {
    const ASK: &str = concat!(
        "UPDATE chat_message SET parts = r.parts, task_id = r.task_id FROM ",
        given!(),
        " WHERE chat_message.thread_id = r.thread_id AND chat_message.id = r.id"
    );
    // What was said behind the answer while it was given is not what it replaces.
    const REPLACE: &str = "UPDATE chat_message SET replaced = true WHERE thread_id = $1 AND NOT replaced \
         AND position > (SELECT m.position FROM chat_message AS m WHERE m.thread_id = $1 AND m.id = $2) \
         AND position < (SELECT m.position FROM chat_message AS m WHERE m.thread_id = $1 AND m.id = $3)";
    const SHOW: &str = "UPDATE chat_message SET replaced = false WHERE thread_id = $1 AND id = $2";
    let (asked, answered) = (row(question)?, row(answer)?);
    for _ in 0..TRIES {
        let mut transaction = begin_write(conn).await?;
        sqlx::query(ASK).bind(asked.as_str()).execute(&mut *transaction).await?;
        match put_once(&mut transaction, &answered, true).await {
            Err(error) if is_taken(&error) => {
                transaction.rollback().await?;
                continue;
            }
            put => put?,
        }
        let replace = sqlx::query(REPLACE).bind(&answer.thread_id).bind(&question.id).bind(&answer.id);
        let replaced = replace.execute(&mut *transaction).await?.rows_affected();
        sqlx::query(SHOW).bind(&answer.thread_id).bind(&answer.id).execute(&mut *transaction).await?;
        touch(&mut transaction, &answer.thread_id).await?;
        transaction.commit().await?;
        return Ok(replaced);
    }
    Err(RepositoryError::Stale)
}

async fn put_once(conn: &mut Conn, row: &str, aside: bool) -> std::result::Result<(), sqlx::Error> {
    const PUT: &str = concat!(
        "INSERT INTO chat_message (thread_id, id, position, role, parts, task_id, created_at, replaced) ",
        "SELECT r.thread_id, r.id, ",
        "(SELECT COALESCE(max(m.position), 0) + 1 FROM chat_message AS m WHERE m.thread_id = r.thread_id), ",
        "r.role, r.parts, r.task_id, r.created_at, $2 FROM ",
        given!(),
        " WHERE true ON CONFLICT (thread_id, id) DO UPDATE SET parts = excluded.parts, ",
        "task_id = COALESCE(excluded.task_id, chat_message.task_id)"
    );
    sqlx::query(PUT).bind(row).bind(aside).execute(conn).await.map(drop)
}

/// Notes that a conversation was written to.
async fn touch(conn: &mut Conn, thread_id: &str) -> Result<()> {
    const TOUCH: &str = concat!("UPDATE chat_thread SET updated_at = ", now!(), " WHERE id = $1");
    sqlx::query(TOUCH).bind(thread_id).execute(conn).await?;
    Ok(())
}

fn row(message: &Message) -> Result<String> {
    let row = serde_json::json!([{
        "thread_id": message.thread_id, "id": message.id, "role": message.role, "parts": message.parts,
        "task_id": message.task_id, "created_at": message.created_at,
    }]);
    let row: Vec<Value> = serde_json::from_value(row).map_err(unwritable)?;
    rows::text(&row).map_err(unwritable)
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

/// The newest answers that name no task, those that were put aside or replaced too, oldest of them first.
pub(super) async fn without_task(conn: &mut Conn, thread_id: &str, limit: u32) -> Result<Vec<Message>> {
    const NEWEST: &str = concat!(
        "SELECT ",
        message_columns!(),
        " FROM chat_message WHERE thread_id = $1 AND role = 'assistant' AND task_id IS NULL ",
        "ORDER BY position DESC LIMIT $2"
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
