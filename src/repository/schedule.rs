//! Schedules: what is to be started when, and what became of it so far.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Answer, RepositoryError};
use crate::task::{
    AllowedTools, ApprovalWish, Budget, Mention, ModelName, Plan, Priority, TaskId, Timestamp, ToolAllowance,
};

/// Names one schedule: a UUID, version 7, so ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleId(pub Uuid);

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ScheduleId {
    type Err = uuid::Error;

    /// Reads the hyphenated or the plain form.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

impl JsonSchema for ScheduleId {
    fn schema_name() -> Cow<'static, str> {
        "ScheduleId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uuid", "description": "Names one schedule."})
    }
}

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Timing {
    /// Again and again.
    Cron {
        /// Five fields (minute, hour, day of the month, month, day of the week), or `@daily` and the like.
        cron: String,
        /// Whose clock they are about: the IANA name of a time zone.
        time_zone: String,
    },
    /// Once.
    At {
        /// Then.
        at: Timestamp,
    },
}

/// What happens at a fire time while the task of the one before has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Nothing is started; it is counted.
    #[default]
    Skip,
    /// Another task is started.
    Allow,
}

impl Overlap {
    /// The word for it, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
        }
    }
}

impl FromStr for Overlap {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "skip" => Ok(Self::Skip),
            "allow" => Ok(Self::Allow),
            _ => Err("skip or allow is needed"),
        }
    }
}

/// What each task of a schedule is asked for, in the words of the request that starts a task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScheduledTask {
    /// The goal in the user's words; may be left out where a template brings it.
    #[serde(default)]
    pub goal: String,
    /// The template that brings goal and steps, in its newest version at each fire time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The parameters of the template.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The conversation its tasks belong to; one of their own, `schedule-<id>`, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// The model to use instead of the configured ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_model: Option<ModelName>,
    /// Tools, servers, workflows and agents that the user named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention>,
    /// MCP tools by server id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_mcp_servers: Option<BTreeMap<String, AllowedTools>>,
    /// Names of built-in toolkits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_app_default_toolkit: Option<Vec<String>>,
    /// Named instructions, model and tools to work with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The preset of the configuration that its tasks begin from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What each task may consume, where that differs from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::task::object")]
    pub budget: Option<Budget>,
    /// What needs approval beyond what the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::task::object")]
    pub approval: Option<ApprovalWish>,
    /// The steps to carry out; a plan is made at each fire time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

impl ScheduledTask {
    /// Which tools its tasks may use.
    pub fn tools(&self) -> ToolAllowance {
        ToolAllowance {
            mentions: self.mentions.clone(),
            allowed_mcp_servers: self.allowed_mcp_servers.clone(),
            allowed_app_default_toolkit: self.allowed_app_default_toolkit.clone(),
            ..ToolAllowance::default()
        }
    }
}

/// A schedule, as it was last written.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Its name for programs.
    pub id: ScheduleId,
    /// Whose it is.
    pub user_id: String,
    /// Its name for people.
    pub name: String,
    /// When it fires.
    #[serde(flatten)]
    pub timing: Timing,
    /// What happens while the task before has not ended.
    pub overlap: Overlap,
    /// What is started.
    pub task: ScheduledTask,
    /// One more with each write; 1 is the first.
    #[serde(skip)]
    pub revision: i64,
    /// Whether it fires at all.
    pub paused: bool,
    /// The fire time that comes next, or that is being dealt with; none if there is none any more.
    pub next_at: Option<Timestamp>,
    /// When a worker looks at it; none exactly if it is paused or nothing comes.
    #[serde(skip)]
    pub wake_at: Option<Timestamp>,
    /// The fire time of its last task; the moment, if somebody triggered it.
    pub fired_at: Option<Timestamp>,
    /// Its last task.
    pub task_id: Option<TaskId>,
    /// Tasks it has started.
    pub runs: u64,
    /// Fire times for which nothing was started, though a worker was there.
    pub skipped: u64,
    /// Why its task could not be started, if that is how things stand.
    pub fault: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Schedule {
    /// The conversation that its tasks belong to.
    pub fn thread_id(&self) -> String {
        self.task.thread_id.clone().unwrap_or_else(|| format!("schedule-{}", self.id))
    }
}

/// What is to be started when.
#[async_trait]
pub trait Schedules: Send + Sync {
    /// Writes a schedule, as it stands. `base_revision` is the revision it was made from, 0 for a new
    /// one. Fails with [`RepositoryError::Stale`] if somebody wrote since, or if it is gone.
    async fn put_schedule(&self, schedule: &Schedule, base_revision: i64) -> Result<(), RepositoryError>;

    /// Writes a new schedule, and keeps an answer in the same transaction, for a day. Fails with
    /// [`RepositoryError::KeyTaken`] if there is an answer under its key.
    async fn begin_schedule(&self, schedule: &Schedule, answer: &Answer) -> Result<(), RepositoryError>;

    /// Leases the schedule that has been due the longest, by the database's clock: its `wake_at` becomes
    /// the end of the lease, and only one caller is given it until then. Its revision stays.
    async fn claim_schedule(&self, lease: Duration) -> Result<Option<Schedule>, RepositoryError>;

    /// Extends the lease on a schedule; false if somebody wrote to it since this revision.
    async fn keep_schedule(
        &self,
        id: ScheduleId,
        revision: i64,
        lease: Duration,
    ) -> Result<bool, RepositoryError>;

    /// The schedule with this id.
    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, RepositoryError>;

    /// Schedules with an id before that one, newest first, at most `limit`; of all users if none is
    /// named.
    async fn schedules(
        &self,
        user_id: Option<&str>,
        before: Option<ScheduleId>,
        limit: u32,
    ) -> Result<Vec<Schedule>, RepositoryError>;

    /// Forgets a schedule; its tasks stay. False if there is none.
    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool, RepositoryError>;
}
