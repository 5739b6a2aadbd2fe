//! Who works on what. Safety never depends on a clock: the epoch of a lease does.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Beat, Claim, Claimed, Due, Grant, Place, Rate, Renewal, RepositoryError, WorkerInfo, WorkerSummary,
};
use crate::task::TaskId;

/// Who works on what: leases, and the workers that hold them.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Leases due tasks to a worker: by priority, then first come, see [`Place`]. Each claim
    /// makes the epoch one larger, whether or not anything is ever written under it.
    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, RepositoryError>;

    /// Whether anything is due: one question that locks and changes nothing, and costs the same however
    /// much waits. It is all that an idle worker asks.
    async fn due(&self) -> Result<Due, RepositoryError>;

    /// The places of the first due tasks in the line, at most `limit`. It costs no more than a
    /// claim however many wait.
    async fn waiting(&self, limit: u32) -> Result<Vec<Place>, RepositoryError>;

    /// Extends leases. A lease that is missing from the answer is lost.
    async fn renew(
        &self,
        worker: &str,
        leases: &[(TaskId, i64)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, RepositoryError>;

    /// Makes every leased task due at once. For the start of a process that is the only
    /// worker of its database: whoever held these leases is dead.
    async fn expire_leases(&self) -> Result<u64, RepositoryError>;

    /// Writes down that a worker is there, in one statement.
    async fn beat(&self, worker: &WorkerInfo, beat: Beat) -> Result<(), RepositoryError>;

    /// Who works, oldest first. Whoever has been gone for a day is forgotten.
    async fn workers(&self) -> Result<Vec<WorkerSummary>, RepositoryError>;

    /// Takes up to `wanted` permits of a limiter that all processes share, by the database's
    /// clock. Permits are for now: one that is kept for later breaks the rate.
    async fn permits(&self, limiter: &str, rate: Rate, wanted: u32) -> Result<Grant, RepositoryError>;
}
