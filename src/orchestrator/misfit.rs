//! Whether what a plan calls its tools with fits them, as far as that is known when the plan is made.

use std::sync::Arc;

use serde_json::Value;

use super::{Orchestrator, OrchestratorError};
use crate::task::{Plan, PlanError, StepProblem, Task, TaskSpec, ToolUse, is_open, secrets_in};
use crate::tools::{ArgumentSchema, Tool};

/// Problems that a planner is told at once: it has one round to mend them.
const PROBLEMS: usize = 5;

impl Orchestrator {
    /// What is wrong with the arguments of the calls that a plan names: each with its step, its tool, the place
    /// and what is expected there. `offered` are the tools of the task, sorted by name.
    pub(super) async fn misfits(
        &self,
        plan: &Plan,
        spec: &TaskSpec,
        offered: &[Arc<dyn Tool>],
    ) -> Result<Option<PlanError>, OrchestratorError> {
        let mut problems = Vec::new();
        for (place, step) in plan.steps.iter().enumerate() {
            let Some(call) = &step.tool else { continue };
            if let Some(problem) = self.misfit(call, spec, offered).await? {
                let words = format!("do not fit {}: {problem}", call.name);
                problems.push(StepProblem::new(place, "tool.arguments", words));
            }
            if problems.len() == PROBLEMS {
                break;
            }
        }
        Ok((!problems.is_empty()).then_some(PlanError::Steps(problems)))
    }

    /// What is wrong with the arguments to which a person changed those of a call, if anything is.
    pub(super) async fn change_misfits(
        &self,
        task: &Task,
        tool: &str,
        changed: &Value,
    ) -> Result<Option<String>, OrchestratorError> {
        let spec = task.spec();
        let problem = match self.tools.find(tool, &spec.tools) {
            Some(known) => known.problem(changed),
            None => match self.delegate(spec, tool, None).await? {
                Some(delegate) => delegate.problem(changed),
                None => self.frozen_problem(task, tool, changed).await?,
            },
        };
        Ok(problem.map(|problem| format!("do not fit {tool}: {problem}")))
    }

    /// The same where the server of the tool is not connected, as on the command line: by what the plan took
    /// down of it. A secret is judged by its value, which only the call has.
    async fn frozen_problem(
        &self,
        task: &Task,
        tool: &str,
        changed: &Value,
    ) -> Result<Option<String>, OrchestratorError> {
        if !secrets_in(changed).is_empty() {
            return Ok(None);
        }
        let frozen = self.tools_of(task).await?;
        let schema = frozen.as_ref().and_then(|tools| tools.get(tool)).map(|tool| tool.schema.clone());
        Ok(schema.and_then(|schema| ArgumentSchema::from(schema).problem(changed)))
    }

    async fn misfit(
        &self,
        call: &ToolUse,
        spec: &TaskSpec,
        offered: &[Arc<dyn Tool>],
    ) -> Result<Option<String>, OrchestratorError> {
        let known = offered.binary_search_by(|tool| tool.description().name.as_str().cmp(&call.name));
        if let Some(tool) = known.ok().and_then(|at| offered.get(at)) {
            return Ok(tool.problem_in_plan(&call.arguments));
        }
        // A task of its own carries it out.
        if is_open(&call.arguments) || !spec.tools.delegates(&call.name) {
            return Ok(None);
        }
        let delegate = self.delegate(spec, &call.name, None).await?;
        Ok(delegate.and_then(|delegate| delegate.problem(&call.arguments)))
    }
}
