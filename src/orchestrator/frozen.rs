//! The tools of a plan: taken down when it is made, looked up when its steps call, and exchanged when a
//! person accepts a tool that has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::inbox::open_kind;
use super::{About, Decision, Orchestrator, OrchestratorError, RequestId};
use crate::models::ToolSpec;
use crate::repository::RepositoryError;
use crate::task::{BlobHash, Call, CheckDecision, Event, FrozenAt, FrozenTool, FrozenTools, Plan, Task};
use crate::tools::Tool;

/// Sets that are kept in memory at most. Tasks share them: there are about as many as there are
/// allowances.
const KEPT: usize = 256;

/// A tool as it was when the plan was made, and as it is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ShownChange {
    /// As it was.
    pub before: FrozenTool,
    /// As it is.
    pub now: FrozenTool,
}

/// The sets that this process has seen, by their names: a step costs no query for them.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownTools(Arc<Mutex<HashMap<BlobHash, FrozenTools>>>);

impl KnownTools {
    fn get(&self, at: FrozenAt) -> Option<FrozenTools> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&at.hash).cloned()
    }

    fn put(&self, at: FrozenAt, tools: FrozenTools) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(at.hash, tools);
    }
}

impl Orchestrator {
    /// Keeps at hand what a new plan took down.
    pub(crate) fn know_tools(&self, task: &Task, tools: Option<FrozenTools>) {
        if let (Some(at), Some(tools)) = (task.state().tools, tools) {
            self.known_tools.put(at, tools);
        }
    }

    /// The tools that a task may use: those that its plan was made with. `None` if its plan needs none.
    pub async fn tools_of(&self, task: &Task) -> Result<Option<FrozenTools>, OrchestratorError> {
        let Some(at) = task.state().tools else { return Ok(None) };
        if let Some(known) = self.known_tools.get(at) {
            return Ok(Some(known));
        }
        let entries = self.repository.journal(task.id, at.seq - 1, 1).await?;
        let content = match entries.first().map(|entry| &entry.event) {
            Some(Event::Planned { tools: Some(tools), .. } | Event::ToolAccepted { tools, .. }) => {
                self.repository.content(tools).await?
            }
            // Retention takes the journal of what has ended; nothing is called for it any more.
            _ if task.status().is_terminal() => return Ok(None),
            _ => {
                let what = format!("the tools of task {}: they are not in entry {}", task.id, at.seq);
                return Err(RepositoryError::Corrupt { what }.into());
            }
        };
        let tools = read(content, FrozenTools::read)?;
        self.known_tools.put(at, tools.clone());
        Ok(Some(tools))
    }

    /// The tools of a task, as a model sees them: an MCP tool as it was when the plan was made, for
    /// what a server says of it since is nothing that a model should read before a person has.
    pub(crate) async fn tool_specs_of(&self, task: &Task) -> Result<Vec<ToolSpec>, OrchestratorError> {
        let Some(frozen) = self.tools_of(task).await? else { return self.tool_specs(task.spec()).await };
        let now = self.tools.offered(&task.spec().tools)?;
        let own = |tool: &FrozenTool| {
            let mut own = now.iter().map(|now| now.description()).filter(|now| now.server().is_none());
            own.find(|now| tool.server.is_none() && now.name == tool.name)
        };
        let shown = |tool: &FrozenTool| {
            let own = own(tool).map(|own| (&own.description, own.schema.value()));
            let (description, schema) = own.unwrap_or((&tool.description, &tool.schema));
            ToolSpec { name: tool.name.clone(), description: description.clone(), schema: schema.clone() }
        };
        let mut specs: Vec<ToolSpec> = frozen.iter().map(shown).collect();
        // Templates are offered in the version that was the newest when the task was created.
        specs.extend(self.delegate_specs(task.spec()).await?);
        Ok(specs)
    }

    /// The tool as a person accepts it, if that is what the decision says; with what the task knows at
    /// hand.
    pub(super) async fn acceptance(
        &self,
        id: RequestId,
        decision: &Decision,
    ) -> Result<Option<FrozenTool>, OrchestratorError> {
        let (Decision::Check(CheckDecision::Accept), About::Tool { step, call, .. }) = (decision, id.about)
        else {
            return Ok(None);
        };
        let task = self.repository.load(id.task).await?.ok_or(OrchestratorError::NotFound)?;
        let call = task.step(step).and_then(|step| step.call(call));
        let noticed = call.and_then(|call| call.change.as_ref()).ok_or(OrchestratorError::Closed)?;
        self.tools_of(&task).await?;
        read(self.repository.content(&noticed.change.now).await?, serde_json::from_value).map(Some)
    }

    /// The fact that a tool was accepted, if that is still asked for.
    pub(super) fn accepted(
        &self,
        task: &Task,
        about: About,
        tool: &FrozenTool,
        by: &str,
    ) -> Result<Event, OrchestratorError> {
        let About::Tool { step, call, .. } = about else { return Err(OrchestratorError::Closed) };
        open_kind(task, about, self.now())?;
        let known = task.state().tools.and_then(|at| self.known_tools.get(at));
        // Somebody accepted another tool of the task in the same moment, elsewhere.
        let tools = known.ok_or(OrchestratorError::Closed)?.with(tool.clone()).content();
        Ok(Event::ToolAccepted { step, call, tools, by: by.to_owned() })
    }

    /// What a person is shown of a tool that has changed, if that is why the call waits.
    pub(super) async fn shown_change(&self, call: &Call) -> Result<Option<ShownChange>, OrchestratorError> {
        let Some(noticed) = &call.change else { return Ok(None) };
        let change = &noticed.change;
        let before = read(self.repository.content(&change.before).await?, serde_json::from_value)?;
        let now = read(self.repository.content(&change.now).await?, serde_json::from_value)?;
        Ok(Some(ShownChange { before, now }))
    }
}

/// The tools that a plan is made with, if it needs any.
pub(super) fn frozen(offered: &[Arc<dyn Tool>], plan: &Plan) -> Option<FrozenTools> {
    plan.calls_tools().then(|| FrozenTools::new(offered.iter().map(|tool| tool.description().frozen())))
}

fn read<T>(
    content: Value,
    read: impl FnOnce(Value) -> Result<T, serde_json::Error>,
) -> Result<T, OrchestratorError> {
    read(content)
        .map_err(|error| RepositoryError::Corrupt { what: format!("the tools of a plan: {error}") }.into())
}
