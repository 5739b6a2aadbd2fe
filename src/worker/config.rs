//! What can be set about a worker.

use serde::{Deserialize, Serialize};

/// The `[worker]` table of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct WorkerConfig {
    /// Tasks that are worked on at the same time.
    pub concurrency: u32,
    /// Tasks of one user that all workers together work on at the same time; 0 is without limit.
    pub per_user: u32,
    /// For how long a task may keep others waiting, in milliseconds: after a step that ends
    /// later than that it is given back, behind those that wait. 0 lets nobody go first.
    pub slice_ms: u64,
    /// How many steps may start in how much time.
    pub limiter: LimiterConfig,
    /// How long a worker may be silent before its tasks go to another one, in milliseconds.
    pub lease_ms: u64,
    /// How often it says that it is alive, in milliseconds.
    pub heartbeat_ms: u64,
    /// How often it looks for work that no hint told of, in milliseconds.
    pub poll_ms: u64,
    /// How long running steps may take to end after a request to stop, in milliseconds.
    pub drain_ms: u64,
    /// How long a cancelled call may take to end, in milliseconds.
    pub cancel_ms: u64,
    /// How long one tool call may take, in milliseconds.
    pub tool_timeout_ms: u64,
    /// How often a task that waits for its sub-tasks looks how they are, in milliseconds. They tell it
    /// when they end, so this is for what was lost.
    pub children_ms: u64,
    /// Pause between two steps of a task, in milliseconds. The original waited 1000.
    pub continuation_delay_ms: u64,
}

/// The seed's limiter: at most `max` steps start within `duration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimiterConfig {
    /// Steps; 0 turns the limiter off.
    pub max: u32,
    /// Milliseconds.
    pub duration: u64,
    /// Whose steps are counted.
    pub scope: LimiterScope,
}

/// Whose steps a limiter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimiterScope {
    /// Those of one process.
    #[default]
    Process,
    /// Those of all workers on the same database, by its clock.
    Cluster,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            concurrency: 5,
            per_user: 0,
            slice_ms: 2_000,
            limiter: LimiterConfig::default(),
            lease_ms: 15_000,
            heartbeat_ms: 5_000,
            poll_ms: 1_000,
            drain_ms: 30_000,
            cancel_ms: 5_000,
            tool_timeout_ms: 120_000,
            children_ms: 60_000,
            continuation_delay_ms: 0,
        }
    }
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self { max: 10, duration: 1_000, scope: LimiterScope::Process }
    }
}
