//! The SQL text on SQLite: one file, one process that works on it, nothing to set up.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, Sqlite, Transaction};
use tokio::sync::broadcast::{Sender, channel};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use self::thread::{Leasing, Work, Writer};
use super::commit::Creation;
use super::records::Leased;
use super::{CHANGES, Change, Claim, Commit, RepositoryError};
use crate::task::{TaskId, Timestamp};

type Conn = SqliteConnection;
type Row = SqliteRow;
type Key = Uuid;
type Time = i64;

/// Takes the write lock at once, so that a transaction cannot fail half-way for want of it.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// Reads see one snapshot.
const BEGIN_READ: &str = "BEGIN";
const IS_EMBEDDED: bool = true;
/// The write-ahead log is folded back in larger pieces than by default: each fold is two more
/// synced writes that some commit has to wait for.
const WAL_PAGES: &str = "4000";
/// 16 MB, as SQLite writes it.
const CACHE_KIB: &str = "-16000";
/// Rows that wait between the thread that reads and the task that asked: with few, both wait for each other.
const ROWS: usize = 1000;
/// How long another process may keep the write lock.
const PATIENCE: Duration = Duration::from_secs(5);
const VERSION: &str = "SELECT 'SQLite ' || sqlite_version()";

/// The types of the tables.
const TYPES: [(&str, &str); 7] = [
    ("{uuid}", "blob"),
    ("{json}", "text"),
    // Milliseconds since 1970-01-01T00:00:00Z.
    ("{time}", "integer"),
    ("{bytes}", "blob"),
    ("{clustered}", " WITHOUT ROWID"),
    ("{tuning}", ""),
    ("{row_types}", ""),
];

async fn begin_write(conn: &mut Conn) -> sqlx::Result<Transaction<'_, Sqlite>> {
    conn.begin_with(BEGIN_WRITE).await
}

fn key(id: TaskId) -> Key {
    id.0
}

fn task_id(key: Key) -> TaskId {
    TaskId(key)
}

fn moment(millis: Time) -> Result<Timestamp, String> {
    Ok(Timestamp::from_millis(millis))
}

/// Tasks by their ids, as a parameter of `among!`: a list of them in JSON.
type KeyList = String;

fn key_list(ids: &[TaskId]) -> Result<KeyList, RepositoryError> {
    sql::rows::text(ids).map_err(sql::rows::unwritable)
}

/// Is one of the ids that were passed in as a `KeyList`.
macro_rules! among {
    ($keys:literal) => {
        concat!(" IN (SELECT unhex(value, '-') FROM json_each(", $keys, "))")
    };
}
/// Is one of the ids that a question about the row beside it gives.
macro_rules! one_of {
    ($question:expr) => {
        concat!(" IN (", $question, ")")
    };
}
/// A list of rows as a table: `rows!("$1"; id uuid, data json)`.
macro_rules! rows {
    ($list:literal; $first:ident $type:ident $(, $more:ident $types:ident)* $(,)?) => {
        concat!(
            "(SELECT ", field!($first $type), $(", ", field!($more $types),)*
            " FROM jsonb_each(", $list, ")) AS r"
        )
    };
}
macro_rules! field {
    ($name:ident uuid) => {
        concat!("unhex(value->>'", stringify!($name), "', '-') AS ", stringify!($name))
    };
    ($name:ident time) => {
        concat!(
            "CAST(unixepoch(value->>'",
            stringify!($name),
            "', 'subsec') * 1000 + 0.5 AS integer) AS ",
            stringify!($name)
        )
    };
    ($name:ident json) => {
        concat!("value->'", stringify!($name), "' AS ", stringify!($name))
    };
    ($name:ident $type:ident) => {
        concat!("value->>'", stringify!($name), "' AS ", stringify!($name))
    };
}
/// The time by the database's clock.
macro_rules! now {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000 + 0.5 AS integer)"
    };
}
/// The same, so many milliseconds later or (negative) earlier.
macro_rules! now_plus {
    ($millis:expr) => {
        concat!("(", now!(), " + ", $millis, ")")
    };
}
/// Bytes as hexadecimal digits.
macro_rules! hex {
    ($bytes:literal) => {
        concat!("lower(hex(", $bytes, "))")
    };
}
/// The time by the database's clock in microseconds since 1970.
macro_rules! now_micros {
    () => {
        concat!("(", now!(), " * 1000)")
    };
}
/// A task's place in the line, in milliseconds: since when it is due, and what its priority is
/// worth.
macro_rules! place {
    () => {
        concat!("wake_at + priority * ", level_ms!())
    };
}
/// How far ahead of now a place is, in milliseconds; negative if it is behind.
macro_rules! ahead {
    ($place:literal) => {
        concat!($place, " - ", now!())
    };
}
/// Rows that another claim is looking at are passed over. SQLite has no other claim.
macro_rules! skip_locked {
    () => {
        ""
    };
}

#[macro_use]
#[path = "sql/texts.rs"]
mod texts;

mod commit;
mod thread;
mod written;

#[path = "sql/mod.rs"]
mod sql;

pub use sql::Store as SqliteRepository;

/// How durable a commit is when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SqliteDurability {
    /// Every commit is on the disk before it is acknowledged.
    #[default]
    Full,
    /// A power cut may lose the last moments; a crash of the process loses nothing.
    Relaxed,
}

/// One connection that writes and several that read.
pub(crate) struct Link {
    writer: Arc<Mutex<SqliteConnection>>,
    readers: SqlitePool,
    /// Writes tasks. It takes turns with `writer`, which writes everything else.
    tasks: Writer,
    changes: Sender<Change>,
    options: SqliteConnectOptions,
    path: PathBuf,
    /// Held for as long as this process may work on tasks; see [`SqliteRepository::lock`].
    lock: std::sync::Mutex<Option<File>>,
}

impl Link {
    async fn create(&self, creation: Creation) -> Result<(), RepositoryError> {
        self.tasks.write(Work::create(creation)?).await.map(drop)
    }

    async fn commit(&self, commit: Commit) -> Result<(), RepositoryError> {
        self.tasks.write(Work::commit(commit)?).await.map(drop)
    }

    async fn lease(&self, claim: Claim<'_>) -> Result<Vec<Leased>, RepositoryError> {
        self.tasks.write(Work::Lease(Leasing::of(claim))).await
    }

    async fn writer(&self) -> Result<OwnedMutexGuard<SqliteConnection>, RepositoryError> {
        let mut writer = self.writer.clone().lock_owned().await;
        // Where the disk is full SQLite has ended the transaction by itself, which the connection does not
        // know: it would refuse every transaction from now on. What a caller has dropped is taken back first.
        if writer.is_in_transaction() && (writer.ping().await.is_err() || writer.is_in_transaction()) {
            *writer = self.options.connect().await?;
        }
        Ok(writer)
    }

    /// For writes that take as long as they take, as all may here; `survey` is for reads that do.
    async fn unhurried(&self) -> Result<OwnedMutexGuard<SqliteConnection>, RepositoryError> {
        self.writer().await
    }

    async fn survey(&self) -> Result<PoolConnection<Sqlite>, RepositoryError> {
        self.reader().await
    }

    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, RepositoryError> {
        Ok(self.readers.begin_with(BEGIN_READ).await?)
    }

    async fn by_key(&self) -> Result<PoolConnection<Sqlite>, RepositoryError> {
        self.reader().await
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, RepositoryError> {
        Ok(self.readers.acquire().await?)
    }
}

impl SqliteRepository {
    /// Opens a database file; makes it, and its directory, if they are missing.
    pub async fn open(path: &Path, durability: SqliteDurability) -> Result<Self, RepositoryError> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)?;
        }
        let synchronous = match durability {
            SqliteDurability::Full => SqliteSynchronous::Full,
            SqliteDurability::Relaxed => SqliteSynchronous::Normal,
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", WAL_PAGES)
            .pragma("cache_size", CACHE_KIB)
            .row_buffer_size(ROWS)
            .disable_statement_logging();
        let writer = Arc::new(Mutex::new(options.connect().await?));
        let (changes, _) = channel(CHANGES);
        let tasks = Writer::start(commit::connect(path, durability)?, writer.clone(), changes.clone())?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .connect_with(options.clone().read_only(true).create_if_missing(false))
            .await?;
        let link = Link {
            writer,
            readers,
            tasks,
            changes,
            options,
            path: path.to_owned(),
            lock: std::sync::Mutex::default(),
        };
        Ok(Self::over(link))
    }

    /// Reserves the right to work on the tasks of this file for this process, until it ends.
    ///
    /// Reading and single writes (cancel, pause) stay possible from other processes. Fails
    /// with [`RepositoryError::InUse`] if another process has the right.
    ///
    /// Whoever comes second is told who works on the file, and in which `workspace`.
    pub fn lock(&self, workspace: Option<&Path>) -> Result<(), RepositoryError> {
        let path = self.link().path.with_added_extension("lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(&path).unwrap_or_default();
                let (pid, workspace) = holder.split_once('\n').unwrap_or((&holder, ""));
                let pid = u32::from_str(pid.trim()).map(|pid| format!(" (process {pid})"));
                let path = self.link().path.display().to_string();
                let workspace = Some(workspace.trim()).filter(|named| !named.is_empty()).map(PathBuf::from);
                return Err(RepositoryError::InUse { path, pid: pid.unwrap_or_default(), workspace });
            }
        }
        file.set_len(0)?;
        let workspace = workspace.map(|path| path.display().to_string()).unwrap_or_default();
        std::io::Write::write_all(&mut &file, format!("{}\n{workspace}", std::process::id()).as_bytes())?;
        if let Ok(mut held) = self.link().lock.lock() {
            *held = Some(file);
        }
        Ok(())
    }

    /// How many bytes the file has, after the write-ahead log was folded into it.
    pub async fn size(&self) -> Result<u64, RepositoryError> {
        let mut conn = self.link().writer().await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *conn).await?;
        Ok(std::fs::metadata(&self.link().path)?.len())
    }
}

#[cfg(test)]
mod line_tests;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::repository::analytics::Reach;
    use crate::repository::{ListFilter, Repository, Retention, Tasks as _, Upkeep as _};
    use crate::task::{Entry, Event, Task, TaskSpec};

    fn spec() -> TaskSpec {
        let goal = "fill the disk ".repeat(1000);
        serde_json::from_value(serde_json::json!({"goal": goal, "userId": "u", "threadId": "t"})).unwrap()
    }

    pub(super) async fn prepared() -> (tempfile::TempDir, SqliteRepository) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("longhaul.db");
        let repository = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
        repository.prepare().await.unwrap();
        (directory, repository)
    }

    fn task() -> (Task, Vec<Entry>) {
        let event = Event::Created { spec: Box::new(spec()) };
        let created = Entry { seq: 1, epoch: 0, at: Timestamp::from_millis(1), event };
        (Task::begin(TaskId(uuid::Uuid::now_v7()), &created).unwrap(), vec![created])
    }

    #[tokio::test]
    async fn a_full_database_says_so_and_keeps_what_it_has() {
        let (_directory, repository) = prepared().await;
        let limit = async |pages: u32| {
            repository.link().tasks.write(Work::Limit(pages)).await.unwrap();
            let mut writer = repository.link().writer().await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
                .execute(&mut *writer)
                .await
                .unwrap();
        };
        limit(60).await;
        let mut kept = 0;
        let refused = loop {
            let (task, entries) = task();
            match repository.create(&task, entries, None).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code(), "database_full");
        assert!(refused.is_passing());
        assert_eq!(repository.list(&ListFilter::default()).await.unwrap().len(), kept);
        assert_eq!(
            repository.ping().await.unwrap_err().code(),
            "database_full",
            "it is not ready for requests"
        );
        limit(100_000).await;
        repository.ping().await.expect("it is ready as soon as there is room, though nobody has written");
        let (task, entries) = task();
        repository.create(&task, entries, None).await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_the_database_has_ended_is_in_nobodys_way() {
        let (_directory, repository) = prepared().await;
        let mut writer = repository.link().writer().await.unwrap();
        let mut transaction = writer.begin_with(BEGIN_WRITE).await.unwrap();
        // As SQLite does when it cannot write.
        sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.unwrap();
        assert!(transaction.commit().await.is_err());
        drop(writer);
        repository.analytics().count(&Reach::All).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_cannot_be_read_is_listed_among_the_others_and_says_so() {
        let (_directory, repository) = prepared().await;
        let ids = [task(), task()].map(|(task, entries)| (task.id, task, entries));
        for (_, task, entries) in ids.clone() {
            repository.create(&task, entries, None).await.unwrap();
        }
        let mut writer = repository.link().writer().await.unwrap();
        sqlx::raw_sql(
            "UPDATE task_execution SET state = '{}' WHERE id = (SELECT min(id) FROM task_execution)",
        )
        .execute(&mut *writer)
        .await
        .unwrap();
        drop(writer);
        let listed = repository.list(&ListFilter::default()).await.unwrap();
        let told: Vec<_> = listed.iter().map(|task| task.fault.as_ref().map(|fault| &*fault.code)).collect();
        assert_eq!(told, [None, Some("database_corrupt")], "{listed:#?}");
        assert!(
            listed
                .iter()
                .all(|task| ids.iter().any(|(id, ..)| *id == task.id) && task.goal.starts_with("fill"))
        );
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_told_as_that() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "Buy bread. ".repeat(1000)).unwrap();
        let opened = SqliteRepository::open(&path, SqliteDurability::Relaxed).await;
        let error = opened.err().expect("it is no database");
        assert_eq!(error.code(), "database_corrupt");
        assert!(error.to_string().contains("no SQLite database"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("Buy bread."));
    }

    #[tokio::test]
    async fn much_that_is_old_is_removed_in_many_short_transactions() {
        let (_directory, repository) = prepared().await;
        for _ in 0..=2 * sql::prune::BATCH {
            let (task, entries) = task();
            repository.create(&task, entries, None).await.unwrap();
        }
        let commits = Arc::new(AtomicU64::new(0));
        {
            let mut writer = repository.link().writer().await.unwrap();
            let age = "UPDATE task_execution SET status = 'cancelled', wake_at = NULL, completed_at = '2000'";
            sqlx::raw_sql(age).execute(&mut *writer).await.unwrap();
            let seen = commits.clone();
            writer.lock_handle().await.unwrap().set_commit_hook(move || {
                seen.fetch_add(1, Ordering::Relaxed);
                true
            });
        }
        let hour = Some(Duration::from_secs(3600));
        let pruned = repository.prune(&Retention { tasks: hour, traces: None }).await.unwrap();
        assert_eq!(pruned.tasks, 2 * sql::prune::BATCH + 1);
        assert!(commits.load(Ordering::Relaxed) >= 3, "{commits:?} transactions");
    }

    #[tokio::test]
    async fn one_process_at_a_time_works_on_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.db");
        let first = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
        let second = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
        first.lock(Some(Path::new("/work"))).unwrap();
        let refused = second.lock(None).unwrap_err();
        assert_eq!(refused.code(), "database_in_use");
        let pid = format!("(process {})", std::process::id());
        assert!(refused.to_string().contains(&pid), "{refused}");
        let RepositoryError::InUse { workspace, .. } = refused else { panic!("{refused}") };
        assert_eq!(workspace.as_deref(), Some(Path::new("/work")));
        drop(first);
        // The lock goes with the last user of the repository, its writers among them.
        while second.lock(None).is_err() {
            tokio::task::yield_now().await;
        }
    }
}
