//! The tables and how they come to be.

use sqlx::{AssertSqlSafe, Row as _};

use super::{Conn, Result, Row, TYPES, begin_write, is_taken};
use crate::repository::RepositoryError;
use crate::task::BlobHash;

/// Each text brings the tables from the version before to its own; the first one is 1. A text
/// that was released is never edited: a change of the tables is a new text.
const MIGRATIONS: [&str; 2] = [include_str!("001_tables.sql"), include_str!("002_analytics.sql")];

const NEWEST: i64 = MIGRATIONS.len() as i64;

/// The version of the tables; 0 if there are none. Each version was written down with the hash of
/// its text, by which tables are told from those of a build that nobody released.
pub(super) async fn version(conn: &mut Conn) -> Result<i64> {
    // Who asks for a table that is not there gets an error on both engines. This comes first: who looks
    // afterwards may see what another process has just made.
    let tables = sqlx::query("SELECT 1 FROM task_execution LIMIT 1").fetch_optional(&mut *conn).await.is_ok();
    let mut found = 0;
    for row in written(conn).await? {
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

/// What was written down of each version. Makes the table for it if there is none.
async fn written(conn: &mut Conn) -> Result<Vec<Row>> {
    const WRITTEN: &str = "SELECT version, text_hash FROM longhaul_migration ORDER BY version";
    if let Ok(rows) = sqlx::query(WRITTEN).fetch_all(&mut *conn).await {
        return Ok(rows);
    }
    let made = sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS longhaul_migration (version bigint NOT NULL PRIMARY KEY, text_hash text NOT NULL)",
    )
    .execute(&mut *conn)
    .await;
    // Of several processes that make it at once PostgreSQL lets one succeed, and fails the others
    // once it is there, in one of several ways. Whether it is there is what counts.
    match sqlx::query(WRITTEN).fetch_all(conn).await {
        Ok(rows) => Ok(rows),
        Err(missing) => Err(made.err().unwrap_or(missing).into()),
    }
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

/// Brings the tables up to date, all versions in one transaction: who looks meanwhile sees the tables
/// as they were or as they are to be, and never an older version that nobody would bring further.
pub(super) async fn migrate(conn: &mut Conn) -> Result<i64> {
    loop {
        let found = version(conn).await?;
        if text(found).is_none() {
            return check(found).map(|()| found);
        }
        let mut transaction = begin_write(conn).await?;
        match bring_further(&mut transaction, found).await {
            // Another process was faster: it is looked what it made.
            Err(error) if is_taken(&error) => transaction.rollback().await?,
            brought => {
                brought?;
                transaction.commit().await?;
            }
        }
    }
}

async fn bring_further(conn: &mut Conn, found: i64) -> sqlx::Result<()> {
    for (version, text) in (found..).map_while(|version| Some((version + 1, text(version)?))) {
        // The row that says so comes first: of two processes that migrate at once, one fails
        // on it before it has touched a table.
        sqlx::query("INSERT INTO longhaul_migration (version, text_hash) VALUES ($1, $2)")
            .bind(version)
            .bind(hash_of(&text))
            .execute(&mut *conn)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *conn).await?;
    }
    Ok(())
}
