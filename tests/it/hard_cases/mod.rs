//! The hard cases of docs/reliability.md, each in a test of its own. That page names for each row the
//! tests that prove it; rows that were proved before these tests are in `engine` (crashes in the middle
//! of calls, poison, loops), `budgets`, `people` (approvals), `mcp` (servers as processes), `defects`
//! (the summariser), `waits` and `faults`.

mod answers;
mod bounds;
mod caches;
mod cuts;
mod injections;
mod lost;
mod noise;
mod pictures;
mod provider;
mod requests;
mod servers;
mod silence;
mod storms;
mod wire;

use crate::world::{Setup, World};

/// A world whose leases do not end because the machine is busy: that would look like a death.
async fn world(setup: Setup) -> World {
    let mut world = World::new(setup).await;
    (world.worker_config.lease_ms, world.worker_config.heartbeat_ms) = (20_000, 2_000);
    world
}
