//! A plan: steps with dependencies. Data, never code that is replayed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Limits, ModelName, RetryPolicy, StepType};

/// The steps that lead to a goal, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Plan {
    /// The steps; the position of a step is its index.
    pub steps: Vec<PlannedStep>,
}

/// One step as the plan describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// `step-1`, `step-2`, …: unique within the task over all revisions.
    pub id: String,
    /// What to do, for the model and for people.
    pub description: String,
    /// What kind of work it is.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// Indexes of the steps that must be settled first; each smaller than the step's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<u32>,
    /// The one tool call that the step is, if the plan already knows it. Otherwise a model
    /// chooses tools turn by turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolUse>,
    /// How long it will take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<u64>,
    /// Whether the goal can be reached although this step fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// When it is tried again, if otherwise than the task's other steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// The model that is asked in it, if another one than for the task's other steps. Counts only
    /// while the configuration allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
}

/// A tool call that the plan itself names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolUse {
    /// The tool's full name.
    pub name: String,
    /// The arguments. A value `{"$output": "step-1"}` anywhere within stands for the output
    /// of that step.
    pub arguments: Value,
}

/// Why a plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// There is nothing to do.
    #[error("the plan has no steps")]
    Empty,
    /// More steps than the task may have.
    #[error("the plan has {steps} steps, at most {limit} are allowed (limits.maxSteps)")]
    TooManySteps {
        /// How many the task would have, earlier revisions included.
        steps: usize,
        /// How many it may have.
        limit: u32,
    },
    /// A step waits for itself or a later one, so a cycle would be possible.
    #[error("step {step} depends on step {on}, which does not come before it")]
    ForwardDependency {
        /// The index of the step.
        step: u32,
        /// The index it names.
        on: u32,
    },
    /// Two steps have one id.
    #[error("two steps are called '{0}'")]
    DuplicateId(String),
    /// A step is to be tried again in a way that makes no sense.
    #[error("retry of step {step}: {problem}")]
    Retry {
        /// The index of the step.
        step: u32,
        /// What is wrong and what would be right.
        problem: &'static str,
    },
    /// A step says nothing.
    #[error("step {0} has no description")]
    NoDescription(u32),
}

impl Plan {
    /// Checks this plan as the continuation of `kept` steps that stay from before.
    pub fn validate(&self, kept: usize, limits: &Limits) -> Result<(), PlanError> {
        if self.steps.is_empty() {
            return Err(PlanError::Empty);
        }
        let total = kept + self.steps.len();
        if total > limits.max_steps as usize {
            return Err(PlanError::TooManySteps { steps: total, limit: limits.max_steps });
        }
        let mut ids = std::collections::HashSet::new();
        for (position, step) in self.steps.iter().enumerate() {
            step.validate((kept + position) as u32)?;
            if !ids.insert(step.id.as_str()) {
                return Err(PlanError::DuplicateId(step.id.clone()));
            }
        }
        Ok(())
    }

    /// How long the whole plan will take, in milliseconds: the sum of its estimates, with
    /// the seed's 30,000 ms for a step that has none.
    pub fn estimated_millis(&self) -> u64 {
        self.steps.iter().map(|step| step.estimated_duration.unwrap_or(30_000)).sum()
    }
}

impl PlannedStep {
    fn validate(&self, index: u32) -> Result<(), PlanError> {
        if self.description.trim().is_empty() {
            return Err(PlanError::NoDescription(index));
        }
        if let Some(problem) = self.retry.as_ref().and_then(RetryPolicy::problem) {
            return Err(PlanError::Retry { step: index, problem });
        }
        match self.depends_on.iter().find(|on| **on >= index) {
            Some(on) => Err(PlanError::ForwardDependency { step: index, on: *on }),
            None => Ok(()),
        }
    }
}
