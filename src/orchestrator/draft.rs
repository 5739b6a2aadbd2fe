//! Plans that nobody carries out yet.

use super::{Orchestrator, OrchestratorError, TaskRequest};
use crate::task::{Plan, Planner};

impl Orchestrator {
    /// The plan that a request would be started with, made now: asking again may bring another one.
    pub async fn draft_plan(&self, request: &TaskRequest) -> Result<(Plan, Planner), OrchestratorError> {
        let spec = request.spec(&self.config)?;
        self.check_names(&request.user_id, &request.tools).await?;
        self.tools.offered(&spec.tools)?;
        match &request.plan {
            Some(plan) => Ok((self.accept_plan(&spec, plan.clone()).await?, Planner::default())),
            None => self.decompose_goal(&spec).await,
        }
    }
}
