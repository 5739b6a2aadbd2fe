//! The door to the database: what is known, and the only way to make more known.
//!
//! Every SQL word of Longhaul is in this room. One text serves both engines: the files under
//! `sql/` are compiled twice, once by `sqlite.rs` and once by `postgres.rs`, which differ in a
//! handful of fragments (how a list of rows is passed, how the time is asked for).
//!
//! ```text
//! Commit ──▶ a group of what waits ──▶ one transaction: task, steps, entries, wake-up
//! ```

/// What one level of priority is worth, in milliseconds of waiting: a task of priority 3 goes
/// before one of priority 2 that became due more than a minute after it. So whatever waits long
/// enough has its turn.
macro_rules! level_ms {
    () => {
        60000
    };
}

pub mod analytics;
mod commit;
pub mod conformance;
mod conversations;
mod error;
mod leases;
mod outage;
mod postgres;
mod records;
mod schedule;
mod sqlite;
mod tasks;
mod template;
mod upkeep;

use analytics::Analytics;
pub use commit::{Commit, Lease};
pub use conversations::{Conversations, Threads};
pub use error::{Cause, RepositoryError};
pub use leases::Leases;
pub use postgres::PostgresRepository;
pub use records::{
    Answer, Beat, Change, Claim, Claimed, Due, Fate, Grant, ListFilter, Message, Place, Presence, Pruned,
    Rate, Renewal, Requests, Retention, Stats, Stray, TaskSummary, Thread, Violation, WorkerInfo,
    WorkerSummary,
};
pub use schedule::{Overlap, Schedule, ScheduleId, ScheduledTask, Schedules, Timing};
pub use sqlite::{SqliteDurability, SqliteRepository};
pub use tasks::Tasks;
pub use template::{TemplateVersion, Templates};
pub use upkeep::Upkeep;

/// How many changes a slow listener may be behind before it misses some.
const CHANGES: usize = 4096;

/// Where tasks live, with all that belongs to them.
///
/// Every method that writes returns only after the write is durable, and then nothing less
/// than all of it is. A method that fails has written nothing, unless it fails with
/// [`RepositoryError::Unavailable`]: then the outcome of that one write is not known, and the
/// caller finds out by reading.
pub trait Repository: Tasks + Leases + Threads + Schedules + Upkeep {
    /// Finds and changes conversations as a whole.
    fn conversations(&self) -> &dyn Conversations;

    /// Strategies with parameters.
    fn templates(&self) -> &dyn Templates;

    /// Counts what happened, and tells it.
    fn analytics(&self) -> &dyn Analytics;
}
