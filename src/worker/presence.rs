//! Tells the others that this worker is there.

use crate::repository::{Beat, Repository, WorkerInfo};

use super::WorkerConfig;

/// This worker, as it introduces itself.
pub(super) fn introduce(name: &str, config: &WorkerConfig) -> WorkerInfo {
    WorkerInfo {
        name: name.to_owned(),
        host: host().unwrap_or_else(|| "unknown".to_owned()),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        concurrency: config.concurrency,
        lease_ms: config.lease_ms,
    }
}

/// Writes a sign of life down. Nothing is decided by it: a worker that cannot be seen works on.
pub(super) async fn tell(repository: &dyn Repository, worker: &WorkerInfo, beat: Beat) {
    if let Err(error) = repository.beat(worker, beat).await {
        error.tell("the list of workers does not know of this one's newest state");
    }
}

/// The name of this machine, if it has one.
pub fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
