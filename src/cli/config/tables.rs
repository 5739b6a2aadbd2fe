//! The tables of the configuration that belong to no other room.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use crate::task::Budget;

/// The `[database]` table.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct DatabaseConfig {
    /// The SQLite file; `longhaul/longhaul.db` in the user's data directory if absent.
    pub path: Option<PathBuf>,
    /// A PostgreSQL address, `postgres://user:password@host/database`. It wins over `path`.
    pub url: Option<String>,
    /// Connections to PostgreSQL at most. SQLite always has one that writes and four that read.
    pub connections: u32,
    /// How long PostgreSQL may take for a statement, in milliseconds.
    pub timeout_ms: u64,
    /// What a power cut may cost on SQLite.
    pub durability: Durability,
}

/// The `[budget]` table: the usual limits where it says nothing, and none where it says 0.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "Budget")]
pub struct BudgetTable(pub Budget);

impl From<Budget> for BudgetTable {
    fn from(said: Budget) -> Self {
        Self(said.or(&Budget::usual()))
    }
}

impl Default for BudgetTable {
    fn default() -> Self {
        Budget::default().into()
    }
}

/// The `[queue]` table.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct QueueTable {
    /// The address of a Redis, `redis://` or `rediss://user:password@host:port/0`. Without it
    /// the database is the queue.
    pub url: Option<String>,
    /// A file with the certificate of the only authority to trust, as PEM, for `rediss://`.
    pub ca_file: Option<PathBuf>,
    /// What the keys of the queue begin with.
    pub prefix: String,
    /// The name of the queue. One queue belongs to one database.
    pub name: String,
}

/// When a write counts as done on SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When it is on the disk.
    #[default]
    Full,
    /// When the operating system has it: a power cut may lose the last moments.
    Relaxed,
}

/// The `[log]` table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged, as `tracing` filters are written: `info`, `longhaul=debug,warn`. By
    /// default `info` for `serve` and `worker` and `warn` for everything else.
    pub filter: Option<String>,
    /// How it is written.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { path: None, url: None, connections: 10, timeout_ms: 12_000, durability: Durability::Full }
    }
}

impl Default for QueueTable {
    fn default() -> Self {
        Self { url: None, ca_file: None, prefix: "bull".to_owned(), name: "chat-tasks".to_owned() }
    }
}

impl DatabaseConfig {
    /// Takes an address from the environment or the command line: it replaces both keys, for
    /// whoever names a database means that one and no other.
    pub(super) fn set_address(&mut self, key: &'static str, address: &str) -> Result<(), ConfigError> {
        let file = address.strip_prefix("sqlite://").or_else(|| address.strip_prefix("sqlite:"));
        (self.url, self.path) = match file {
            Some(file) => (None, Some(PathBuf::from(file))),
            None if is_postgres(address) => (Some(address.to_owned()), None),
            None if address.contains("://") => {
                let problem = "names an engine this program does not know: give postgres://… or a file";
                return Err(ConfigError::value(key, problem));
            }
            // Other programs mean an address of a server by it: a word that is none is a mistake.
            None if key == "DATABASE_URL" => {
                let problem = "is no address: give postgres://… or sqlite:FILE (a bare path goes into LONGHAUL_DB or --db)";
                return Err(ConfigError::value(key, problem));
            }
            None => (None, Some(PathBuf::from(address))),
        };
        Ok(())
    }
}

/// Whether an address is one of Redis.
pub(super) fn is_redis(address: &str) -> bool {
    let rest = address.strip_prefix("redis://").or_else(|| address.strip_prefix("rediss://"));
    rest.is_some() && url::Url::parse(address).is_ok_and(|url| url.has_host())
}

/// Whether an address is one of PostgreSQL.
pub(in crate::cli) fn is_postgres(address: &str) -> bool {
    address.starts_with("postgres://") || address.starts_with("postgresql://")
}

impl fmt::Debug for DatabaseConfig {
    // The address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("path", &self.path)
            .field("url", &self.url.as_deref().map(|_| "[hidden]"))
            .field("connections", &self.connections)
            .field("timeout_ms", &self.timeout_ms)
            .field("durability", &self.durability)
            .finish()
    }
}

impl fmt::Debug for QueueTable {
    // The address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueTable")
            .field("url", &self.url.as_deref().map(|_| "[hidden]"))
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("name", &self.name)
            .finish()
    }
}
