//! The SQL text on PostgreSQL: many processes may work on one database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Postgres, Transaction};
use tokio::sync::broadcast::{Sender, channel};
use uuid::Uuid;

use self::committer::{Committer, Work};
use super::commit::Creation;
use super::records::Leased;
use super::{CHANGES, Change, Claim, Commit, RepositoryError};
use crate::task::{TaskId, Timestamp};

type Conn = PgConnection;
type Row = PgRow;
type Key = Uuid;
type Time = DateTime<Utc>;

const BEGIN_WRITE: &str = "BEGIN";
/// Reads see one snapshot.
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
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
/// Rows that another claim is looking at are passed over.
macro_rules! skip_locked {
    () => {
        " FOR UPDATE SKIP LOCKED"
    };
}

#[macro_use]
#[path = "sql/texts.rs"]
mod texts;

mod commit;
mod committer;
mod lease;
mod values;

#[path = "sql/mod.rs"]
mod sql;

pub use sql::Store as PostgresRepository;

/// Connections for statements that look rows up by key, and connections for questions.
pub(crate) struct Pools {
    by_key: PgPool,
    asking: PgPool,
}

impl Pools {
    async fn writer(&self) -> Result<PoolConnection<Postgres>, RepositoryError> {
        Ok(self.by_key.acquire().await?)
    }

    /// Opens a transaction, to the end even if its caller is dropped meanwhile. The library takes
    /// note of a transaction only when the server has confirmed it: if nobody waited for that, the
    /// connection would go back with the transaction open, and whatever is written next on it
    /// would look durable and not be.
    async fn open(&self, begin: &'static str) -> Result<Transaction<'static, Postgres>, RepositoryError> {
        let pool = self.by_key.clone();
        let opened = tokio::spawn(async move { pool.begin_with(begin).await }).await;
        Ok(opened.map_err(|gone| RepositoryError::Unavailable(gone.into()))??)
    }
}

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

    async fn writer(&self) -> Result<PoolConnection<Postgres>, RepositoryError> {
        self.pools.writer().await
    }

    async fn by_key(&self) -> Result<PoolConnection<Postgres>, RepositoryError> {
        self.pools.writer().await
    }

    async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, RepositoryError> {
        self.pools.open(BEGIN_READ).await
    }

    async fn reader(&self) -> Result<PoolConnection<Postgres>, RepositoryError> {
        Ok(self.pools.asking.acquire().await?)
    }
}

impl PostgresRepository {
    /// Connects to `postgres://user:password@host/database` with at most `connections`.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, RepositoryError> {
        let options: PgConnectOptions =
            url.parse().map_err(|_| RepositoryError::Address("DATABASE_URL".to_owned()))?;
        let options = options.application_name("longhaul").disable_statement_logging().options(ALWAYS);
        let pool = |connections: u32| {
            PgPoolOptions::new()
                .max_connections(connections.max(1))
                .acquire_timeout(Duration::from_secs(10))
                // A check before each use would double every round trip; a dead connection is
                // noticed by its first statement all the same.
                .test_before_acquire(false)
        };
        // A pool only says that it waited in vain; one connection says what is wrong.
        let first = tokio::time::timeout(Duration::from_secs(10), options.connect()).await;
        first.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
        let by_key = (connections * 2 / 3).max(1);
        Ok(Self::over(Link::over(Pools {
            by_key: pool(by_key).connect_with(options.clone().options(BY_KEY)).await?,
            asking: pool(connections - by_key.min(connections)).connect_with(options).await?,
        })))
    }

    /// How many bytes the whole database has.
    pub async fn size(&self) -> Result<u64, RepositoryError> {
        let mut conn = self.link().reader().await?;
        let query = sqlx::query_scalar("SELECT pg_database_size(current_database())");
        let bytes: i64 = query.fetch_one(&mut *conn).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

/// A process that is frozen, or cut off, in the middle of a transaction keeps the rows of its tasks
/// locked, and nobody could take them over. No transaction here waits for anything but the database.
const ALWAYS: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "3000")];

/// A list of rows that is passed in has no statistics: PostgreSQL takes it for a hundred rows and
/// may read whole tables to join it, which costs more with every task that was ever run. These
/// statements always mean the index. And they are the same for any parameters: planning them
/// anew each time would cost more than running them.
///
/// An index could be read through, too, and of a table that was empty when the plan was made
/// PostgreSQL thinks that this is cheap: so each entry of an index that is read is made dear.
/// Helping processes and machine code are for statements that look dear; they would take longer to
/// come than any of these runs.
const BY_KEY: [(&str, &str); 7] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("cpu_index_tuple_cost", "1"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];
