//! The connections to the server.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};

use super::session::{Line, Session, Transaction};
use crate::repository::RepositoryError;

type Result<T> = std::result::Result<T, RepositoryError>;

/// How long a connection is waited for.
const CONNECTING: Duration = Duration::from_secs(10);

/// Connections for statements that look rows up by key, for questions, and for what takes as long as it
/// takes.
pub(crate) struct Pools {
    by_key: PgPool,
    asking: PgPool,
    unhurried: PgPool,
    line: Arc<Line>,
    patience: Duration,
}

impl Pools {
    /// Connects with at most `connections`. The server gives a statement up after `timeout`; if it says nothing
    /// at all for a quarter longer, the connection is taken for dead.
    pub(super) async fn connect(url: &str, connections: u32, timeout: Duration) -> Result<Self> {
        let options: PgConnectOptions =
            url.parse().map_err(|_| RepositoryError::Address("DATABASE_URL".to_owned()))?;
        // Poolers refuse whoever asks for digits, and floats do not come as text here.
        let options =
            options.application_name("longhaul").extra_float_digits(None).disable_statement_logging();
        // A pool only says that it waited in vain; one connection says what is wrong.
        let first = tokio::time::timeout(CONNECTING, options.connect()).await;
        first.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
        let line = Arc::new(Line::default());
        let by_key = (connections * 2 / 3).max(1);
        let asking = connections.saturating_sub(by_key + 1).max(1);
        let pool = |connections, settings: String| pool(connections, settings, line.clone());
        let limited = settings(&[("statement_timeout", &timeout.as_millis().to_string())]);
        Ok(Self {
            by_key: pool(by_key, limited.clone() + &settings(&BY_KEY)).connect_with(options.clone()).await?,
            asking: pool(asking, limited).connect_with(options.clone()).await?,
            unhurried: pool(1, String::new()).connect_lazy_with(options),
            line,
            patience: timeout + timeout / 4,
        })
    }

    pub(super) async fn writer(&self) -> Result<Session> {
        self.session(&self.by_key, Some(self.patience)).await
    }

    pub(super) async fn reader(&self) -> Result<Session> {
        self.session(&self.asking, Some(self.patience)).await
    }

    /// For new tables, looks at everything, and what retention removes.
    pub(super) async fn unhurried(&self) -> Result<Session> {
        self.session(&self.unhurried, None).await
    }

    async fn session(&self, pool: &PgPool, patience: Option<Duration>) -> Result<Session> {
        Ok(Session::new(pool.acquire().await?, patience, self.line.clone()))
    }

    pub(super) async fn open(&self, begin: &'static str) -> Result<Transaction<'static>> {
        Ok(self.writer().await?.into_transaction(begin).await?)
    }
}

fn pool(connections: u32, settings: String, line: Arc<Line>) -> PgPoolOptions {
    let settings: Arc<str> = (self::settings(&ALWAYS) + &settings).into();
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECTING)
        // A check before each use would double every round trip; a dead connection is
        // noticed by its first statement all the same.
        .test_before_acquire(false)
        .before_acquire(move |_, known| {
            let is_well = !line.is_in_doubt(known.age);
            Box::pin(async move { Ok(is_well) })
        })
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move { set(connection, &settings).await })
        })
}

/// By a statement and not with the request for the connection: poolers pass on few of those.
async fn set(connection: &mut PgConnection, settings: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(settings.to_owned())).execute(connection).await.map(drop)
}

fn settings(of: &[(&str, &str)]) -> String {
    of.iter().map(|(name, value)| format!("SET {name} = '{value}';")).collect()
}

/// A process that is frozen, or cut off, in the middle of a transaction keeps the rows of its tasks
/// locked, and nobody could take them over. No transaction here waits for anything but the database.
/// And the server finds out within two minutes that nobody is at the other end any more.
const ALWAYS: [(&str, &str); 4] = [
    ("idle_in_transaction_session_timeout", "3000"),
    ("tcp_keepalives_idle", "60"),
    ("tcp_keepalives_interval", "15"),
    ("tcp_keepalives_count", "4"),
];

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
