//! The replies to requests with an idempotency key.

use sqlx::Row as _;
use uuid::Uuid;

use super::super::texts::KEEP_ANSWER;
use super::{Conn, Key, Result, key, task_id};
use crate::repository::{Answer, RepositoryError};

/// How much is written to find out whether anything can be.
const TRIED_BYTES: usize = 64 * 1024;

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
        task_id: row.try_get::<Option<Key>, _>("task_id")?.map(task_id),
        reply: row.try_get("reply")?,
    }))
}

/// Keeps an answer, unless its key is taken. Of two that race, the second one waits here until the first one's
/// transaction has ended.
pub(in crate::repository) async fn keep(conn: &mut Conn, answer: &Answer) -> Result<()> {
    let kept = sqlx::query(KEEP_ANSWER)
        .bind(&answer.user_id)
        .bind(&answer.key)
        .bind(answer.request_hash.to_vec())
        .bind(answer.task_id.map(key))
        .bind(&answer.reply)
        .execute(conn)
        .await?;
    if kept.rows_affected() == 0 { Err(RepositoryError::KeyTaken) } else { Ok(()) }
}

/// Writes as much as a larger commit has, and takes it away again.
pub(super) async fn try_to_keep(conn: &mut Conn) -> Result<()> {
    const FORGET: &str = "DELETE FROM idempotency_key WHERE user_id = '' AND key = 'a try'";
    let tried = Answer {
        user_id: String::new(),
        key: "a try".to_owned(),
        request_hash: [0; 32],
        task_id: None,
        reply: Uuid::now_v7().to_string().repeat(TRIED_BYTES / 36),
    };
    // One may have been left behind by a process that was lost here.
    sqlx::query(FORGET).execute(&mut *conn).await?;
    keep(conn, &tried).await?;
    sqlx::query(FORGET).execute(conn).await?;
    Ok(())
}
