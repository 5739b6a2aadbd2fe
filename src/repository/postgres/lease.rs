//! Leases on PostgreSQL, where several processes claim at once.

use std::sync::{Mutex, PoisonError};

use sqlx::Row as _;

use super::sql::claim::{millis, text};
use super::{BEGIN_WRITE, Conn, Key, Pools, Row, key, task_id};
use crate::repository::records::Leased;
use crate::repository::{Claim, RepositoryError};

type Result<T> = std::result::Result<T, RepositoryError>;

/// Claims that count what others hold come one after another.
const ONE_AFTER_ANOTHER: &str = "SELECT pg_advisory_xact_lock(5077164923018422867)";

/// Leases due tasks, and tells how often each of them lost its worker. `turn` is the user who had the last
/// turn where users have limits.
pub(super) async fn lease(pools: &Pools, turn: &Mutex<String>, claim: Claim<'_>) -> Result<Vec<Leased>> {
    if claim.per_user == 0 {
        let (leased, _) = once(&mut pools.writer().await?, claim, "").await?;
        return Ok(leased);
    }
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    let mut last = turn.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let leased = within(&mut transaction, claim, &mut last).await?;
    transaction.commit().await?;
    *turn.lock().unwrap_or_else(PoisonError::into_inner) = last;
    Ok(leased)
}

/// Also tells whose the last of them is.
async fn once(conn: &mut Conn, claim: Claim<'_>, turn: &str) -> Result<(Vec<Leased>, Option<String>)> {
    let mut leased = sqlx::query(text(&claim))
        .bind(claim.worker)
        .bind(millis(claim.lease))
        .bind(i64::from(claim.limit))
        .bind(millis(claim.overdue));
    if let Some(only) = claim.only {
        leased = leased.bind(key(only));
    }
    if claim.per_user > 0 {
        leased = leased.bind(i64::from(claim.per_user));
        if claim.only.is_none() {
            leased = leased.bind(turn.to_owned());
        }
    }
    let rows = leased.fetch_all(conn).await?;
    let leased = |row: &Row| {
        let id = task_id(row.try_get::<Key, _>(0)?);
        Ok(Leased { id, crashes: row.try_get(1)?, epoch: row.try_get(2)? })
    };
    let user = rows.last().map(|row| row.try_get(3)).transpose()?;
    Ok((rows.iter().map(leased).collect::<Result<_>>()?, user))
}

/// The same where users have limits. One statement looks at as many tasks as are wanted; if they
/// are one user's, most of them have to wait, and the next statement looks behind them.
async fn within(conn: &mut Conn, mut claim: Claim<'_>, turn: &mut String) -> Result<Vec<Leased>> {
    sqlx::query(ONE_AFTER_ANOTHER).execute(&mut *conn).await?;
    let mut leased = Vec::new();
    while claim.limit > 0 {
        let (more, user) = once(conn, claim, turn).await?;
        let Some(user) = user else { break };
        *turn = user;
        claim.limit = claim.limit.saturating_sub(u32::try_from(more.len()).unwrap_or(u32::MAX));
        leased.extend(more);
    }
    Ok(leased)
}
