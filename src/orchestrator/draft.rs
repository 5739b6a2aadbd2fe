//! Plans that nobody carries out yet.

use super::decompose::Again;
use super::{Orchestrator, OrchestratorError, TaskRequest};
use crate::task::{Plan, Planner};

impl Orchestrator {
    /// The plan that a request would be started with, made now: asking again may bring another one.
    pub async fn draft_plan(&self, request: TaskRequest) -> Result<(Plan, Planner), OrchestratorError> {
        let (request, spec, _) = self.prepared(request).await?;
        self.plan_of(&spec, request.plan, &request.files, Again::Here).await
    }
}
