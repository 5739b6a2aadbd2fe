//! The replies to requests with an idempotency key.

use sqlx::Row as _;

use super::{Conn, Key, Result, key, task_id};
use crate::repository::{Answer, RepositoryError};

/// Keeps an answer; call within the transaction that creates its task. Of two that race, the
/// second one waits here until the first one's transaction has ended.
pub(super) async fn keep(conn: &mut Conn, answer: &Answer) -> Result<()> {
    // A key that is older than a day is free again, whether or not it has been removed yet.
    const KEEP: &str = concat!(
        "INSERT INTO idempotency_key (user_id, key, request_hash, task_id, reply, created_at) ",
        "VALUES ($1, $2, $3, $4, $5, ",
        now!(),
        ") ON CONFLICT (user_id, key) DO UPDATE SET request_hash = excluded.request_hash, ",
        "task_id = excluded.task_id, reply = excluded.reply, created_at = excluded.created_at ",
        "WHERE idempotency_key.created_at < ",
        now_plus!("-86400000")
    );
    let kept = sqlx::query(KEEP)
        .bind(&answer.user_id)
        .bind(&answer.key)
        .bind(answer.request_hash.to_vec())
        .bind(key(answer.task_id))
        .bind(&answer.reply)
        .execute(conn)
        .await?;
    if kept.rows_affected() == 0 { Err(RepositoryError::KeyTaken) } else { Ok(()) }
}

/// What a request with this key was answered, within the day.
pub(super) async fn answer(conn: &mut Conn, user_id: &str, name: &str) -> Result<Option<Answer>> {
    const ANSWER: &str = concat!(
        "SELECT request_hash, task_id, reply FROM idempotency_key ",
        "WHERE user_id = $1 AND key = $2 AND created_at >= ",
        now_plus!("-86400000")
    );
    let row = sqlx::query(ANSWER).bind(user_id).bind(name).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    let hash: Vec<u8> = row.try_get("request_hash")?;
    let request_hash = hash.try_into().map_err(|_| RepositoryError::Corrupt {
        what: format!("the request hash of the idempotency key '{name}'"),
    })?;
    Ok(Some(Answer {
        user_id: user_id.to_owned(),
        key: name.to_owned(),
        request_hash,
        task_id: task_id(row.try_get::<Key, _>("task_id")?),
        reply: row.try_get("reply")?,
    }))
}
