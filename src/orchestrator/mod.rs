//! Thinks and decides: which requests become tasks, which steps lead to a goal, how far the
//! goal is, what may be forgotten; and the life cycle that server, command line and library
//! users share.
//!
//! ```text
//! message ─▶ should_orchestrate ─▶ decompose_goal ─▶ start ═▶ (worker) ─▶ evaluate_progress
//! ```
//!
//! Nothing here executes a step: that is the executor's, one floor up.

mod answers;
mod birth;
mod budget;
mod checkpoint;
mod compare;
mod config;
mod context;
mod decompose;
mod detect;
mod digest;
mod draft;
mod error;
mod evaluate;
mod expiry;
mod family;
mod files;
mod firing;
mod fork;
mod frozen;
mod inbox;
mod judge;
mod lifecycle;
mod messages;
mod misfit;
mod outcome;
mod patience;
mod plan_text;
mod preset;
mod promote;
mod prompts;
mod recording;
mod recurrence;
mod rehearsal;
mod request;
mod request_id;
mod revisions;
mod schedule;
mod signs;
mod speech;
mod summarize;
mod template;
mod template_steps;
mod told_tools;
mod unverified;
mod waits;
mod workflow;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::models::Models;
use crate::queue::Queue;
use crate::repository::Repository;
use crate::task::Timestamp;
use crate::tools::{Probes, Toolbox};

pub use answers::Decision;
pub(crate) use birth::{Calling, Unborn};
pub(crate) use budget::wrap_up;
pub use checkpoint::RestoreWish;
pub use compare::{StepDiff, StepSide, TaskDiff, TaskSide};
pub use config::OrchestratorConfig;
#[cfg(test)]
pub(crate) use context::fold_point;
pub use context::{ContextPart, ContextView, FoldedRange, Recorded, StepContext, StepOutput, Window};
pub(crate) use context::{PIN_TOOL, beside, cut, excerpt, marked, marks_of, prose_of, room_within};
pub use detect::Detection;
pub use error::OrchestratorError;
pub use evaluate::{Evaluation, Revised};
pub(crate) use expiry::BY_EXPIRY;
pub use files::Files;
pub use fork::{ForkAt, ForkWish, RetryWish};
pub use frozen::ShownChange;
pub use inbox::{OpenRequest, RequestKind};
pub use judge::Judgement;
pub use messages::Written;
pub use outcome::{OutcomeDecision, requests_about_outcomes};
pub use patience::Patience;
pub(crate) use patience::dice;
pub use preset::{Agent, Preset};
pub use promote::{Called, Grown, GrownCall};
pub(crate) use prompts::GO_ON;
pub(crate) use rehearsal::{RecordedDelegate, Rehearsal};
pub(crate) use request::MAX_ID_BYTES;
pub use request::{RequestKey, TaskRequest};
pub use request_id::{About, RequestId};
pub use revisions::Revision;
pub use schedule::ScheduleWish;
pub use speech::{Part, Said, Speaking, Speech};
#[cfg(test)]
pub(crate) use summarize::by_rules;
pub use summarize::{Compression, Folded, Summary};
pub use template::{TemplateUse, TemplateWish};
pub use waits::{Below, WaitsFor};
pub(crate) use workflow::{Delegate, is_delegate};

/// Reads the wall clock. Passed in at the wiring, so that tests can own the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| chrono::Utc::now().into())
}

/// The brain. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Orchestrator {
    repository: Arc<dyn Repository>,
    queue: Arc<dyn Queue>,
    models: Arc<Models>,
    tools: Arc<Toolbox>,
    config: Arc<OrchestratorConfig>,
    clock: Clock,
    speech: Speech,
    probes: Arc<Probes>,
    known_tools: frozen::KnownTools,
    rehearsal: Option<Arc<dyn Rehearsal>>,
    scheduled: Arc<Notify>,
}

impl Orchestrator {
    /// Puts the brain over its doors to the world.
    pub fn new(
        repository: Arc<dyn Repository>,
        queue: Arc<dyn Queue>,
        models: Arc<Models>,
        tools: Arc<Toolbox>,
        config: OrchestratorConfig,
        clock: Clock,
    ) -> Self {
        let (config, speech) = (Arc::new(config), Speech::default());
        Self {
            repository,
            queue,
            models,
            tools,
            config,
            clock,
            speech,
            probes: Arc::default(),
            known_tools: frozen::KnownTools::default(),
            rehearsal: None,
            scheduled: Arc::default(),
        }
    }

    /// Where the tasks live.
    pub fn repository(&self) -> &Arc<dyn Repository> {
        &self.repository
    }

    /// Where hints wait for a worker.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }

    /// The models at hand.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// The tools at hand.
    pub fn tools(&self) -> &Arc<Toolbox> {
        &self.tools
    }

    /// What models are saying at this moment.
    pub fn speech(&self) -> &Speech {
        &self.speech
    }

    /// Waits until a schedule is written here, or was since the last wait. Those of other processes are
    /// found by looking.
    pub async fn scheduled(&self) {
        self.scheduled.notified().await;
    }

    /// The same brain with another clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The clock it reads.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// The moment it is.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}
