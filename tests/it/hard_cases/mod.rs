//! The hard cases of docs/reliability.md, each in a test of its own.

mod answers;
mod cuts;
mod provider;
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
