//! The hard limits of one task: promise G8, everything is bounded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far one task may go. Copied into the task when it is created, so that a later change
/// of the configuration does not change a running task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Steps of the plan over all revisions. The seed's `maxSteps`.
    pub max_steps: u32,
    /// Tokens of context before older content is summarised. The seed's `contextWindowLimit`.
    pub context_window_limit: u64,
    /// Finished steps between two automatic checkpoints; 0 turns them off. The seed's
    /// `checkpointInterval`.
    pub checkpoint_interval: u32,
    /// Tokens that a model call may consume from which on a checkpoint is taken before it; 0 turns that
    /// off.
    pub checkpoint_reserve: u64,
    /// Revisions of the plan after the first one.
    pub max_replans: u32,
    /// Tool calls of all steps together.
    pub max_tool_calls: u32,
    /// Model turns within one step.
    pub max_turns: u32,
    /// Steps that may run side by side where the plan allows it.
    pub max_parallel_steps: u32,
    /// Items of one list that a step is carried out for.
    pub max_items: u32,
    /// How often a step may mend what did not pass its checks.
    pub max_repairs: u32,
    /// Tasks that may stand above a task: its calls of workflows and sub-tasks are refused from there on.
    pub max_depth: u32,
    /// Worker deaths during one step before it is taken for poison.
    pub max_crashes: u32,
    /// The same tool with the same arguments and the same result, this often in one step,
    /// counts as no progress.
    pub max_repeats: u32,
    /// Bytes of one tool result.
    pub max_output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 50,
            context_window_limit: 100_000,
            checkpoint_interval: 5,
            checkpoint_reserve: 50_000,
            max_replans: 3,
            max_tool_calls: 200,
            max_turns: 20,
            max_parallel_steps: 4,
            max_items: 200,
            max_repairs: 2,
            max_depth: 3,
            max_crashes: 3,
            max_repeats: 3,
            max_output_bytes: 8 * 1024 * 1024,
        }
    }
}
