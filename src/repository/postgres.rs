//! The SQL text on PostgreSQL: many processes may work on one database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use tokio::sync::broadcast::{Sender, channel};
use uuid::Uuid;

use self::committer::{Committer, Work};
use self::pools::Pools;
use self::session::{Session, Transaction};
use super::commit::Creation;
use super::records::Leased;
use super::{CHANGES, Change, Claim, Commit, RepositoryError};
use crate::task::{TaskId, Timestamp};

type Conn = Session;
type Row = PgRow;
type Key = Uuid;
type Time = DateTime<Utc>;

const BEGIN_WRITE: &str = "BEGIN";
/// Reads see one snapshot. It locks no rows, and a process with little CPU may take long over what it read before
/// it asks on.
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
    SET LOCAL idle_in_transaction_session_timeout = '60s'";
/// Groups that are written at the same time. PostgreSQL joins their trips to the disk; with
/// more writers the groups get smaller and cost more than they save.
const WRITERS: usize = 3;
const IS_EMBEDDED: bool = false;
const VERSION: &str = "SELECT 'PostgreSQL ' || current_setting('server_version')";

/// The types of the tables.
const TYPES: [(&str, &str); 7] = [
    ("{uuid}", "uuid"),
    ("{json}", "jsonb"),
    ("{time}", "timestamptz"),
    ("{bytes}", "bytea"),
    ("{clustered}", ""),
    // Every commit changes the task's row: room on its page lets the new version stay there
    // and leaves the indexes alone.
    ("{tuning}", " WITH (fillfactor = 50)"),
    ("{row_types}", include_str!("postgres/001_row_types.sql")),
];

async fn begin_write(conn: &mut Conn) -> sqlx::Result<Transaction<'_>> {
    conn.begin_with(BEGIN_WRITE).await
}

fn key(id: TaskId) -> Key {
    id.0
}

fn task_id(key: Key) -> TaskId {
    TaskId(key)
}

fn moment(time: Time) -> Result<Timestamp, String> {
    Ok(time.into())
}

/// Tasks by their ids, as a parameter of `among!`.
type KeyList = Vec<Uuid>;

fn key_list(ids: &[TaskId]) -> Result<KeyList, RepositoryError> {
    Ok(ids.iter().map(|id| id.0).collect())
}

/// Is one of the ids that were passed in as a `KeyList`. An array in the condition of an index is looked
/// up id by id, whatever the statistics say; rows that are joined are so only while the planner
/// thinks that it is cheap.
macro_rules! among {
    ($keys:literal) => {
        concat!(" = ANY (", $keys, ")")
    };
}
/// Is one of the ids that a question about the row beside it gives.
macro_rules! one_of {
    ($question:expr) => {
        concat!(" = ANY (ARRAY(", $question, "))")
    };
}
/// A list of rows as a table: `rows!("$1"; id uuid, data json)`.
macro_rules! rows {
    ($list:literal; $first:ident $type:ident $(, $more:ident $types:ident)* $(,)?) => {
        concat!(
            "jsonb_to_recordset(CAST(", $list, " AS jsonb)) AS r(",
            field!($first $type), $(", ", field!($more $types),)* ")"
        )
    };
}
macro_rules! field {
    ($name:ident json) => {
        concat!(stringify!($name), " jsonb")
    };
    ($name:ident time) => {
        concat!(stringify!($name), " timestamptz")
    };
    ($name:ident $type:ident) => {
        concat!(stringify!($name), " ", stringify!($type))
    };
}
/// The time by the database's clock.
macro_rules! now {
    () => {
        "now()"
    };
}
/// The same, so many milliseconds later or (negative) earlier.
macro_rules! now_plus {
    ($millis:expr) => {
        concat!("now() + ", $millis, " * interval '1 millisecond'")
    };
}
/// Bytes as hexadecimal digits.
macro_rules! hex {
    ($bytes:literal) => {
        concat!("encode(", $bytes, ", 'hex')")
    };
}
/// The time by the database's clock in microseconds since 1970.
macro_rules! now_micros {
    () => {
        "CAST(extract(epoch FROM now()) * 1000000 AS bigint)"
    };
}
/// A task's place in the line: since when it is due, and what its priority is worth.
macro_rules! place {
    () => {
        concat!("wake_at + priority * ", level_ms!(), " * interval '1 millisecond'")
    };
}
/// How far ahead of now a place is, in milliseconds; negative if it is behind.
macro_rules! ahead {
    ($place:literal) => {
        concat!("CAST(extract(epoch FROM ", $place, " - now()) * 1000 AS bigint)")
    };
}
/// Rows that another claim is looking at are passed over. Those that are only referred to are not: whoever
/// writes a row that names a task locks the key of that task for a moment.
macro_rules! skip_locked {
    () => {
        " FOR NO KEY UPDATE SKIP LOCKED"
    };
}

#[macro_use]
#[path = "sql/texts.rs"]
mod texts;

mod commit;
mod committer;
mod lease;
mod pools;
mod session;
mod values;

#[path = "sql/mod.rs"]
mod sql;

pub use sql::Store as PostgresRepository;

/// The way to the server.
pub(crate) struct Link {
    pools: Arc<Pools>,
    committer: Committer,
    changes: Sender<Change>,
    /// The user who had the last turn where users have limits.
    turn: Mutex<String>,
}

impl Link {
    fn over(pools: Pools) -> Self {
        let pools = Arc::new(pools);
        let (changes, _) = channel(CHANGES);
        let committer = Committer::start(pools.clone(), WRITERS, changes.clone());
        Self { pools, committer, changes, turn: Mutex::default() }
    }

    async fn create(&self, creation: Creation) -> Result<(), RepositoryError> {
        if creation.answer.is_none() {
            return self.committer.write(Work::Create(creation)).await;
        }
        let change = creation.commit.change();
        commit::create_once(&self.pools, creation).await?;
        // Nobody listening is fine: a change is a hint.
        let _ = self.changes.send(change);
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<(), RepositoryError> {
        self.committer.write(Work::Commit(commit)).await
    }

    async fn lease(&self, claim: Claim<'_>) -> Result<Vec<Leased>, RepositoryError> {
        lease::lease(&self.pools, &self.turn, claim).await
    }

    async fn writer(&self) -> Result<Session, RepositoryError> {
        self.pools.writer().await
    }

    async fn by_key(&self) -> Result<Session, RepositoryError> {
        self.pools.writer().await
    }

    async fn snapshot(&self) -> Result<Transaction<'static>, RepositoryError> {
        self.pools.open(BEGIN_READ).await
    }

    async fn reader(&self) -> Result<Session, RepositoryError> {
        self.pools.reader().await
    }

    /// For writes that take as long as they take; `survey` is for reads that do.
    async fn unhurried(&self) -> Result<Session, RepositoryError> {
        self.pools.unhurried().await
    }

    async fn survey(&self) -> Result<Session, RepositoryError> {
        self.pools.unhurried().await
    }
}

impl PostgresRepository {
    /// Connects to `postgres://user:password@host/database` with at most `connections`. A statement that takes
    /// longer than `timeout` fails, and so does one that nobody answers.
    pub async fn connect(url: &str, connections: u32, timeout: Duration) -> Result<Self, RepositoryError> {
        Ok(Self::over(Link::over(Pools::connect(url, connections, timeout).await?)))
    }

    /// How many bytes the whole database has.
    pub async fn size(&self) -> Result<u64, RepositoryError> {
        let mut conn = self.link().reader().await?;
        let query = sqlx::query_scalar("SELECT pg_database_size(current_database())");
        let bytes: i64 = query.fetch_one(&mut conn).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// What time it is by the clock of the database.
    pub async fn now(&self) -> Result<Timestamp, RepositoryError> {
        let mut conn = self.link().reader().await?;
        let query = sqlx::query_scalar("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)");
        Ok(Timestamp::from_millis(query.fetch_one(&mut conn).await?))
    }
}
