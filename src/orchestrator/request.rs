//! A request for a task, and what makes it acceptable.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{Detection, Files, OrchestratorConfig, OrchestratorError, TemplateUse};
use crate::repository::{Answer, Schedule};
use crate::task::{
    ApprovalWish, Budget, Limits, ModelName, Plan, Priority, Taint, Task, TaskId, TaskSpec, ToolAllowance,
};

/// Longest id of a user or a conversation, in bytes. They are keys of indexes.
pub(crate) const MAX_ID_BYTES: usize = 512;

/// What makes a request repeatable: the same key stands for the same task or schedule, and the reply to
/// the first request is the reply to all of them.
pub struct RequestKey<T = Task> {
    /// The key that the caller chose, 1 to 255 characters.
    pub key: String,
    /// What was asked, as a hash.
    pub request_hash: [u8; 32],
    /// What the caller is answered. It is kept in the transaction that creates what was asked for.
    pub reply: Arc<dyn Fn(&T) -> Value + Send + Sync>,
}

impl RequestKey {
    pub(super) fn answer(&self, task: &Task) -> Answer {
        self.kept(&task.spec().user_id, Some(task.id), task)
    }
}

impl RequestKey<Schedule> {
    pub(super) fn answer(&self, schedule: &Schedule) -> Answer {
        self.kept(&schedule.user_id, None, schedule)
    }
}

impl<T> RequestKey<T> {
    fn kept(&self, user_id: &str, task_id: Option<TaskId>, made: &T) -> Answer {
        Answer {
            user_id: user_id.to_owned(),
            key: self.key.clone(),
            request_hash: self.request_hash,
            task_id,
            reply: (self.reply)(made).to_string(),
        }
    }
}

impl<T> Clone for RequestKey<T> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), request_hash: self.request_hash, reply: self.reply.clone() }
    }
}

impl<T> fmt::Debug for RequestKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What a caller asks to be carried to its end.
#[derive(Debug, Clone, Default)]
pub struct TaskRequest {
    /// The goal in the user's words.
    pub goal: String,
    /// Whose task it will be.
    pub user_id: String,
    /// The conversation it belongs to.
    pub thread_id: String,
    /// The model to use instead of the configured ones.
    pub chat_model: Option<ModelName>,
    /// Which tools it may use.
    pub tools: ToolAllowance,
    /// Named instructions, model and tools to work with.
    pub agent_id: Option<String>,
    /// The preset of the configuration that it begins from.
    pub preset: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// Limits other than the configured ones.
    pub limits: Option<Limits>,
    /// What it may consume, where that differs from the configuration.
    pub budget: Budget,
    /// What needs approval beyond what the configuration says.
    pub approval: Option<ApprovalWish>,
    /// Why the request became a task, if it was detected rather than asked for.
    pub detection: Option<Detection>,
    /// The plan, if the caller brings one.
    pub plan: Option<Plan>,
    /// What goes with the goal besides: texts are told as messages, and of the pictures planners and steps are
    /// shown as many as there is room for.
    pub files: Files,
    /// What was read before, in the conversation that it goes on from.
    pub taint: Taint,
    /// The template that brings goal and plan, where the request itself says nothing of them.
    pub template: Option<TemplateUse>,
    /// The id it will have, if the caller has spoken of it already; a new one otherwise.
    pub id: Option<TaskId>,
    /// Makes the request repeatable. Starting fails with
    /// [`RepositoryError::KeyTaken`](crate::repository::RepositoryError::KeyTaken) if the key was
    /// used before; [`Tasks::answer`](crate::repository::Tasks::answer) has the reply
    /// then, and asking it first saves making a plan for nothing.
    pub key: Option<RequestKey>,
}

/// Whether a user and a conversation can be called so.
pub(super) fn check_ids(user_id: &str, thread_id: &str) -> Result<(), OrchestratorError> {
    for (field, id) in [("userId", user_id), ("threadId", thread_id)] {
        if id.trim().is_empty() || id.len() > MAX_ID_BYTES || id.contains('\0') {
            let problem = format!("must have 1 to {MAX_ID_BYTES} bytes and no NUL");
            return Err(OrchestratorError::Invalid { field, problem });
        }
    }
    Ok(())
}

impl OrchestratorConfig {
    /// A goal as a task has it, if it is acceptable.
    pub(super) fn goal(&self, goal: &str) -> Result<String, OrchestratorError> {
        let invalid = |problem| OrchestratorError::Invalid { field: "goal", problem };
        let goal = goal.trim();
        if goal.is_empty() {
            return Err(invalid("is empty: say what is to be reached".into()));
        }
        if goal.len() > self.max_goal_bytes {
            let (is, most) = (goal.len(), self.max_goal_bytes);
            return Err(invalid(format!(
                "has {is} bytes, at most {most} are allowed: put long material into a file and name it"
            )));
        }
        Ok(goal.replace('\0', "\u{fffd}"))
    }
}

impl TaskRequest {
    /// Checks the request and turns it into the part of a task that never changes.
    pub(super) fn spec(&self, config: &OrchestratorConfig) -> Result<TaskSpec, OrchestratorError> {
        let invalid = |field, problem: String| OrchestratorError::Invalid { field, problem };
        let goal = config.goal(&self.goal)?;
        check_ids(&self.user_id, &self.thread_id)?;
        let terms = config.terms(self.preset.as_deref(), self.agent())?;
        let approval = match &self.approval {
            None => terms.approval,
            Some(more) => terms.approval.and(more).map_err(|problem| invalid("approval", problem))?,
        };
        Ok(TaskSpec {
            goal,
            user_id: self.user_id.clone(),
            thread_id: self.thread_id.clone(),
            chat_model: self.chat_model.clone().or(terms.model),
            tools: ToolAllowance { only: terms.only, ..self.tools.clone() },
            agent_id: self.agent().map(str::to_owned),
            preset: terms.preset,
            instructions: terms.instructions,
            template: None,
            priority: self.priority,
            limits: self.limits.clone().unwrap_or(terms.limits),
            budget: self.budget.or(&terms.budget),
            retry: terms.retry,
            approval,
            taint: self.taint.clone(),
            forked_from: None,
            parent: None,
            imported: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(goal: &str) -> TaskRequest {
        TaskRequest {
            goal: goal.into(),
            user_id: "u".into(),
            thread_id: "t".into(),
            ..TaskRequest::default()
        }
    }

    #[test]
    fn a_goal_is_neither_empty_nor_endless() {
        let config = OrchestratorConfig::default();
        let refused = |goal: &str| request(goal).spec(&config).unwrap_err().to_string();
        assert!(refused("  \n ").contains("is empty"));
        assert!(refused(&"x".repeat(1_000_000)).contains("1000000 bytes"));
        assert_eq!(request("  do it ").spec(&config).unwrap().goal, "do it");
    }

    #[test]
    fn nul_characters_never_reach_the_store() {
        let config = OrchestratorConfig::default();
        assert_eq!(request("a\0b").spec(&config).unwrap().goal, "a\u{fffd}b");
        let mut bad = request("a");
        bad.thread_id = "t\0".into();
        assert!(bad.spec(&config).is_err());
    }
}
