//! How the database can fail.

use std::path::PathBuf;

use thiserror::Error;

use crate::task::with_causes;

/// What a driver of a database said. Which driver it was is nobody's business above this room.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why nothing was read or written.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// Somebody else wrote to the task first. Load it again and decide again.
    #[error("the task was changed by somebody else meanwhile")]
    Stale,
    /// A newer lease was granted: this writer must stop.
    #[error("the lease on the task was lost to a newer one")]
    Fenced,
    /// No such task.
    #[error("there is no such task")]
    NotFound,
    /// A task with this id exists.
    #[error("the task exists already")]
    Exists,
    /// Another schedule of this user has the name.
    #[error("there is a schedule of this name already")]
    NameTaken,
    /// An answer is kept under this idempotency key already.
    #[error("a request with this idempotency key was answered already")]
    KeyTaken,
    /// Another process works on this database file.
    #[error(
        "another process{pid} works on {path}: stop it, or choose another file with --db, or use PostgreSQL \
         (DATABASE_URL) for several workers"
    )]
    InUse {
        /// The database file.
        path: String,
        /// ` (process 123)`, if it said who it is.
        pid: String,
        /// The directory that its tools work in, if it said so.
        workspace: Option<PathBuf>,
    },
    /// The disk or the quota is full. Nothing was lost: what was recorded stays.
    #[error("the database is full: free space, then resume")]
    Full(#[source] Cause),
    /// The tables are older or newer than this program.
    #[error("the database has schema version {found}, this program needs {needed}: {advice}")]
    Schema {
        /// What is there.
        found: i64,
        /// What is needed.
        needed: i64,
        /// What to do.
        advice: &'static str,
    },
    /// The tables have our names and are not ours. Nothing was changed.
    #[error(
        "the tables in this database were made by another program or by a development build of this one: choose \
         another database with --db (or DATABASE_URL), or move this one away"
    )]
    OtherTables,
    /// Stored data cannot be read: `what` says which.
    #[error("stored data cannot be read: {what}")]
    Corrupt {
        /// Which data, and what is wrong with it.
        what: String,
    },
    /// The address or the options are wrong.
    #[error("'{0}' is not a database this program knows: give a file, or postgres://…")]
    Address(String),
    /// The database is out of reach or refuses.
    #[error("the database is unavailable")]
    Unavailable(#[source] Cause),
}

impl RepositoryError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stale => "task_stale",
            Self::Fenced => "lease_lost",
            Self::NotFound => "task_not_found",
            Self::Exists => "task_exists",
            Self::NameTaken => "schedule_exists",
            Self::KeyTaken => "idempotency_key_taken",
            Self::InUse { .. } => "database_in_use",
            Self::Full(_) => "database_full",
            Self::Schema { .. } | Self::OtherTables => "database_schema",
            Self::Corrupt { .. } => "database_corrupt",
            Self::Address(_) => "database_address",
            Self::Unavailable(_) => "database_unavailable",
        }
    }

    /// That the database is out of reach, for each part of a group that was handed in together.
    pub(super) fn unavailable_to_all(cause: &Cause, parts: usize) -> impl Iterator<Item = Self> {
        let words = with_causes(cause.as_ref());
        (0..parts).map(move |_| Self::Unavailable(words.as_str().into()))
    }

    fn damaged(error: &dyn std::error::Error) -> Self {
        let what = format!(
            "the file is no SQLite database, or a damaged one ({error}): choose another one with --db, or bring back \
             a copy of it"
        );
        Self::Corrupt { what }
    }

    /// Says in the log what was not done. That the database is out of reach is told once for everybody.
    pub(crate) fn tell(&self, not_done: &str) {
        match self.is_passing() {
            true => tracing::debug!(error = with_causes(self), "{not_done}"),
            false => tracing::warn!(error = with_causes(self), "{not_done}"),
        }
    }

    /// What a person can do about a database that is out of reach.
    pub fn advice(&self) -> Option<&'static str> {
        let Self::Unavailable(cause) = self else { return None };
        let refusal = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        let advice = match refusal.and_then(|refusal| refusal.code()).as_deref() {
            Some("53300") => {
                "PostgreSQL has no connection left: raise its max_connections, or let each process have fewer \
                 (`connections` in [database])"
            }
            // A statement that another client prepared on the same connection, or did not.
            Some("42P05" | "26000") => {
                "a pooler in front of PostgreSQL hands each transaction another connection: let it work by session \
                 (pgbouncer: pool_mode = session), or connect without it"
            }
            Some("25006") => {
                "PostgreSQL only reads: is the address that of a standby, or default_transaction_read_only on?"
            }
            Some("28P01" | "28000") => "PostgreSQL does not let this user in: are name and password right?",
            _ => "is the server running, the address right, the directory writable? `longhaul doctor` looks",
        };
        Some(advice)
    }

    /// Whether the same call can succeed a little later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}

impl From<sqlx::Error> for RepositoryError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if is_full(cause.code().as_deref()) => Self::Full(error.into()),
            sqlx::Error::Database(cause) if is_damaged(cause.code().as_deref()) => Self::damaged(&error),
            sqlx::Error::Database(cause) if is_refused(cause.as_ref()) => {
                Self::Corrupt { what: error.to_string() }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Corrupt { what: error.to_string() }
            }
            _ => Self::Unavailable(error.into()),
        }
    }
}

impl From<rusqlite::Error> for RepositoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(error.into()),
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                Self::damaged(&error)
            }
            Some(
                rusqlite::ErrorCode::ConstraintViolation
                | rusqlite::ErrorCode::TypeMismatch
                | rusqlite::ErrorCode::TooBig,
            ) => Self::Corrupt { what: error.to_string() },
            _ => Self::Unavailable(error.into()),
        }
    }
}

impl From<std::io::Error> for RepositoryError {
    /// The file of an embedded database could not be used.
    fn from(error: std::io::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Whether the database will not take these data, now or later: a constraint is against them, or
/// they do not fit a type (PostgreSQL's class 22).
fn is_refused(cause: &dyn sqlx::error::DatabaseError) -> bool {
    !matches!(cause.kind(), sqlx::error::ErrorKind::Other)
        || cause.code().is_some_and(|code| code.len() == 5 && code.starts_with("22"))
}

/// SQLITE_FULL is 13, and SQLITE_IOERR_SHMSIZE, that there is no room for the index of the write-ahead log,
/// 4874; PostgreSQL's `disk_full` is 53100.
fn is_full(code: Option<&str>) -> bool {
    matches!(code, Some("13" | "4874" | "53100"))
}

/// SQLITE_CORRUPT is 11, SQLITE_NOTADB 26.
fn is_damaged(code: Option<&str>) -> bool {
    matches!(code, Some("11" | "26"))
}
