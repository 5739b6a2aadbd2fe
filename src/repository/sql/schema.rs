//! The tables and how they come to be.

use sqlx::{AssertSqlSafe, Connection};

use super::{BEGIN_WRITE, Conn, Result, Row, TYPES};
use crate::repository::RepositoryError;

/// Each text brings the tables from the version before to its own; the first one is 1. A text
/// that was released is never edited: a change of the tables is a new text.
const MIGRATIONS: [&str; 2] = [include_str!("001_tables.sql"), include_str!("002_analytics.sql")];

const NEWEST: i64 = MIGRATIONS.len() as i64;

/// The version of the tables; 0 if there are none.
pub(super) async fn version(conn: &mut Conn) -> Result<i64> {
    sqlx::query("CREATE TABLE IF NOT EXISTS longhaul_schema (version bigint NOT NULL PRIMARY KEY)")
        .execute(&mut *conn)
        .await?;
    let row: Row = sqlx::query("SELECT CAST(COALESCE(max(version), 0) AS bigint) FROM longhaul_schema")
        .fetch_one(conn)
        .await?;
    Ok(sqlx::Row::try_get(&row, 0)?)
}

/// Says what to do if the tables are not those of this program.
pub(super) fn check(found: i64) -> Result<()> {
    let advice = match found {
        NEWEST => return Ok(()),
        older if older < NEWEST => "run `longhaul migrate`",
        _ => "run a newer longhaul",
    };
    Err(RepositoryError::Schema { found, needed: NEWEST, advice })
}

/// Brings the tables up to date, each version in its own transaction.
pub(super) async fn migrate(conn: &mut Conn) -> Result<i64> {
    loop {
        let found = version(conn).await?;
        if found >= NEWEST {
            return check(found).map(|()| found);
        }
        let text = TYPES
            .iter()
            .fold(MIGRATIONS[found as usize].to_owned(), |text, (name, word)| text.replace(name, word));
        let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
        // The row that says so comes first: of two processes that migrate at once, one fails
        // on it before it has touched a table, and looks again.
        let first = sqlx::query("INSERT INTO longhaul_schema (version) VALUES ($1)")
            .bind(found + 1)
            .execute(&mut *transaction)
            .await;
        if first.as_ref().is_err_and(is_taken) {
            transaction.rollback().await?;
            continue;
        }
        first?;
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|cause| cause.is_unique_violation())
}
