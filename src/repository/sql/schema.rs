//! The tables and how they come to be.

use sqlx::{AssertSqlSafe, Connection, Row as _};

use super::{BEGIN_WRITE, Conn, Result, TYPES};
use crate::repository::RepositoryError;
use crate::task::BlobHash;

/// Each text brings the tables from the version before to its own; the first one is 1. A text
/// that was released is never edited: a change of the tables is a new text.
const MIGRATIONS: [&str; 2] = [include_str!("001_tables.sql"), include_str!("002_analytics.sql")];

const NEWEST: i64 = MIGRATIONS.len() as i64;

/// The version of the tables; 0 if there are none. Each version was written down with the hash of
/// its text, by which tables are told from those of a build that nobody released.
pub(super) async fn version(conn: &mut Conn) -> Result<i64> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS longhaul_migration (version bigint NOT NULL PRIMARY KEY, text_hash text NOT NULL)",
    )
    .execute(&mut *conn)
    .await?;
    // Who asks for a table that is not there gets an error on both engines. This comes first: who looks
    // afterwards may see what another process has just made.
    let tables = sqlx::query("SELECT 1 FROM task_execution LIMIT 1").fetch_optional(&mut *conn).await.is_ok();
    let rows = sqlx::query("SELECT version, text_hash FROM longhaul_migration ORDER BY version")
        .fetch_all(conn)
        .await?;
    let mut found = 0;
    for row in rows {
        let (version, hash): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if text(version - 1).is_some_and(|text| hash_of(&text) != hash) {
            return Err(RepositoryError::OtherTables);
        }
        found = version;
    }
    if found == 0 && tables {
        return Err(RepositoryError::OtherTables);
    }
    Ok(found)
}

/// The text that brings tables of this version to the next one.
fn text(version: i64) -> Option<String> {
    let text = usize::try_from(version).ok().and_then(|at| MIGRATIONS.get(at))?;
    Some(TYPES.iter().fold((*text).to_owned(), |text, (name, word)| text.replace(name, word)))
}

fn hash_of(text: &str) -> String {
    BlobHash::of(text.as_bytes()).to_string()
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
        let Some(text) = text(found) else {
            return check(found).map(|()| found);
        };
        let mut transaction = conn.begin_with(BEGIN_WRITE).await?;
        // The row that says so comes first: of two processes that migrate at once, one fails
        // on it before it has touched a table, and looks again.
        let first = sqlx::query("INSERT INTO longhaul_migration (version, text_hash) VALUES ($1, $2)")
            .bind(found + 1)
            .bind(hash_of(&text))
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
