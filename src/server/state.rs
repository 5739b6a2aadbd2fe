//! What the handlers work with.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::auth::{Access, Caller};
use super::chat::{Answers, Starts};
use super::config::ServerConfig;
use super::error::ApiError;
use super::feed::Feeds;
use super::metrics::Names;
use super::replays::{Replayer, Replays};
use super::socket::Summaries;
use super::trials::Trials;
use crate::orchestrator::Orchestrator;
use crate::repository::Repository;
use crate::task::{Task, TaskId};

/// Tells how the worker of this process stands. The worker lives on the same floor, so whoever
/// wires both together passes this in.
pub trait WorkerStatus: Send + Sync {
    /// How it stands now.
    fn snapshot(&self) -> WorkerSnapshot;
}

/// How a worker stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSnapshot {
    /// Whether this process works on tasks at all.
    pub enabled: bool,
    /// The name under which it takes leases.
    pub name: String,
    /// Tasks it works on side by side, at most.
    pub concurrency: u32,
    /// Tasks it works on now.
    pub active: Vec<TaskId>,
    /// How many steps it starts per time, if that is limited.
    pub limiter: Option<LimiterSnapshot>,
    /// How many of its tasks have a step that waits until the limiter lets it start.
    pub in_line: u32,
    /// Whether it finishes what it has and takes nothing new.
    pub draining: bool,
}

/// At most `max` steps per `duration_ms` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimiterSnapshot {
    /// So many steps …
    pub max: u32,
    /// … in so many milliseconds.
    pub duration_ms: u64,
}

/// What the handlers work with. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct AppState {
    /// Decides, and keeps the tasks.
    pub orchestrator: Orchestrator,
    /// Who may come in.
    pub access: Arc<Access>,
    /// What was set.
    pub config: Arc<ServerConfig>,
    /// The worker of this process.
    pub worker: Arc<dyn WorkerStatus>,
    /// What is new of the tasks that somebody follows.
    pub(super) feeds: Feeds,
    /// How the tasks stand of the users who are followed.
    pub(super) summaries: Summaries,
    pub(super) trials: Trials,
    pub(super) replays: Replays,
    /// Chat answers that are being given.
    pub(super) answers: Answers,
    /// Messages that are becoming tasks.
    pub(super) starts: Starts,
    /// Which models and tools the metrics tell by name.
    pub(super) names: Names,
    /// Ends open streams when it is cancelled; the same one that [`super::serve`] is given.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// Puts the parts together.
    pub fn new(
        orchestrator: Orchestrator,
        access: Access,
        config: ServerConfig,
        worker: Arc<dyn WorkerStatus>,
        replayer: Replayer,
        shutdown: CancellationToken,
    ) -> Self {
        let feeds =
            Feeds::new(orchestrator.repository().clone(), orchestrator.speech().clone(), shutdown.clone());
        let summaries = Summaries::new(orchestrator.repository().clone(), shutdown.clone());
        let (access, config) = (Arc::new(access), Arc::new(config));
        Self {
            orchestrator,
            access,
            config,
            worker,
            feeds,
            summaries,
            trials: Trials::default(),
            replays: Replays::new(replayer),
            answers: Answers::default(),
            starts: Starts::default(),
            names: Names::default(),
            shutdown,
        }
    }

    pub(super) fn repository(&self) -> &Arc<dyn Repository> {
        self.orchestrator.repository()
    }

    /// The caller's task with this id: 404 if there is none, 403 if it is somebody else's.
    pub(super) async fn task_of(&self, caller: &Caller, id: &str) -> Result<Task, ApiError> {
        // What cannot be an id is the id of no task.
        let id = id.parse::<TaskId>().map_err(|_| ApiError::task_not_found())?;
        let task = self.repository().load(id).await?.ok_or_else(ApiError::task_not_found)?;
        if task.spec().user_id == caller.0 { Ok(task) } else { Err(ApiError::forbidden()) }
    }
}
