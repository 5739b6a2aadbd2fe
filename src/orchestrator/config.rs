//! What can be set about thinking and deciding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Agent, Preset};
use crate::task::{ApprovalPolicy, Budget, Limits, RetryPolicy};

/// The `[orchestrator]` table of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OrchestratorConfig {
    /// From which score (0..1) on a message becomes a task.
    pub threshold: f64,
    /// A score this close to the threshold is doubtful: a model is asked, if there is one.
    pub doubt: f64,
    /// Whether a model judges at the end of the plan whether the goal is reached, and may
    /// revise the plan if it is not.
    pub judge: bool,
    /// Bytes of a goal at most.
    pub max_goal_bytes: usize,
    /// The limits of new tasks.
    pub limits: Limits,
    /// What new tasks may consume; the `[budget]` table of the configuration.
    #[serde(skip)]
    pub budget: Budget,
    /// When failed steps of new tasks are tried again.
    pub retry: RetryPolicy,
    /// What needs a person's approval in new tasks.
    pub approval: ApprovalPolicy,
    /// Workflows (`workflow_NAME`, or `workflow_*` for all) and `sub_task`, offered to every task: their
    /// calls are carried out by tasks of their own.
    pub offer: Vec<String>,
    /// Named terms that requests may begin from; the `[presets]` tables of the configuration.
    #[serde(skip)]
    pub presets: BTreeMap<String, Preset>,
    /// Who may do the work; the `[agents]` tables of the configuration.
    #[serde(skip)]
    pub agents: BTreeMap<String, Agent>,
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            doubt: 0.15,
            judge: false,
            max_goal_bytes: 64 * 1024,
            limits: Limits::default(),
            budget: Budget::usual(),
            retry: RetryPolicy::default(),
            approval: ApprovalPolicy::default(),
            offer: Vec::new(),
            presets: BTreeMap::new(),
            agents: BTreeMap::new(),
        }
    }
}
