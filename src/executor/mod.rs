//! Does one step. It sees models, tools and a narrow journal; it cannot change a task.
//!
//! Whatever a step did before a crash is in its calls: an executor starts by looking at them,
//! repeats what may be repeated, and never asks again for what was answered.

mod agent;
mod allowance;
mod calls;
mod changed;
mod checkpoint;
mod checks;
mod compaction;
mod conversation;
mod delegation;
mod fan_out;
mod journal;
mod mailbox;
mod outputs;
mod people;
mod recollection;
mod reconcile;
mod summarization;
mod taint;
mod tool_call;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::task::{
    Event, Exceeded, FannedItem, Fault, FrozenTools, Payload, Step, StepType, Taint, Task, TaskId, TaskSpec,
};

pub use allowance::CallAllowance;
pub use journal::{Interrupted, Journal, Note};
pub use mailbox::Mailbox;
pub(crate) use recollection::own_tools_bytes;

/// How one attempt of a step ended: done, or why it stopped before that. Without an output, the result of the
/// last call is the output.
pub type StepEnd = Result<Option<Payload>, Stop>;

/// Why an attempt stops before it is done; what `?` carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// It is to be carried out for each of these.
    FannedOut(Vec<FannedItem>),
    /// It is not wanted, for this reason.
    Skipped(String),
    /// The attempt failed.
    Failed(Fault),
    /// A call was in flight and must not be repeated: a person has to say how it ended.
    Unknown(String),
    /// The next call does not fit into the budget: it was not made, and the step goes on from
    /// there once there is more.
    Budget(Exceeded),
    /// A person has to say a word first; what is asked is among the events.
    Asking,
    /// A task of its own carries out the last call; the step goes on when that has ended.
    Delegated,
    /// The journal took no more entries: the task was paused, ended, or taken over.
    Interrupted,
}

/// Executes steps. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Executor {
    orchestrator: Orchestrator,
    tool_timeout: Duration,
}

/// One attempt of one step, as the code that does it sees it.
///
/// It does not hold the task: whoever writes the task changes it in place only while nobody
/// else looks at it, and would have to copy a long plan otherwise.
struct Attempt {
    orchestrator: Orchestrator,
    tool_timeout: Duration,
    task_id: TaskId,
    spec: Arc<TaskSpec>,
    /// The step as it was when the attempt began.
    step: Step,
    index: u32,
    journal: Journal,
    cancel: CancellationToken,
    allowance: CallAllowance,
    /// Steps that may still be begun, if that is limited.
    steps_left: Option<u32>,
    /// Steps that may be at work on the list of this one, itself included.
    side_by_side: u32,
    mailbox: Mailbox,
    /// The tools that the plan was made with; none where the step calls none.
    frozen: Option<FrozenTools>,
    /// What the task had read when the attempt began, and what this attempt has read since.
    taint: Taint,
}

impl Executor {
    /// An executor whose tool calls end after `tool_timeout`.
    pub fn new(orchestrator: Orchestrator, tool_timeout: Duration) -> Self {
        Self { orchestrator, tool_timeout }
    }

    /// Does a step of a task. Returns how it ended, and the events that were noted since the
    /// last commit: they belong into the commit that records the end.
    ///
    /// `cancel` ends the call in flight; its outcome is still among the events. All attempts of
    /// one task that run at once share one `allowance` and one `mailbox`.
    pub async fn execute(
        &self,
        task: Arc<Task>,
        index: u32,
        journal: Journal,
        cancel: CancellationToken,
        allowance: CallAllowance,
        mailbox: Mailbox,
    ) -> (StepEnd, Vec<Event>) {
        let Some(step) = task.step(index).cloned() else {
            let fault = Fault::permanent("step_unknown", format!("there is no step with index {index}"));
            return (Err(Stop::Failed(fault)), Vec::new());
        };
        let mut attempt = Attempt {
            orchestrator: self.orchestrator.clone(),
            tool_timeout: self.tool_timeout,
            task_id: task.id,
            spec: task.shared_spec(),
            step,
            index,
            journal,
            cancel,
            allowance,
            steps_left: task.steps_left(),
            side_by_side: task.side_by_side(index),
            mailbox,
            frozen: None,
            taint: task.state().taint.clone(),
        };
        let end = attempt.run(task).await;
        (end, attempt.journal.into_events())
    }
}

impl Attempt {
    async fn run(&mut self, task: Arc<Task>) -> StepEnd {
        if self.step.plan.kind == StepType::ToolCall {
            self.frozen = self.orchestrator.tools_of(&task).await?;
        }
        self.recover().await?;
        if let Some(last) = self.step.calls.last() {
            self.allowance.child_ended(self.index, last);
        }
        let plan = &self.step.plan;
        if let (Some(condition), true) = (&plan.when, self.step.calls.is_empty())
            && let Some(reason) = self.unmet(&task, condition).await?
        {
            return Err(Stop::Skipped(reason));
        }
        if let Some(for_each) = &plan.for_each {
            return self.fan_out(&task, for_each).await.map(Some);
        }
        match self.step.plan.kind {
            StepType::ToolCall if self.step.plan.tool.is_some() => self.planned_call(task).await,
            StepType::ToolCall => self.converse(task, true).await,
            StepType::LlmReasoning => self.converse(task, false).await,
            StepType::Checkpoint => {
                let output = self.checkpoint(&task);
                self.brought(output).await
            }
            StepType::Summarization => {
                let output = self.summarize(&task).await?;
                self.brought(output).await
            }
        }
    }
}

impl Attempt {
    /// Where a recorded task is carried out again, waits until what comes next is this step's; what it has in
    /// its hands others may wait for, so that is written first.
    async fn wait_for_turn(&mut self) -> Result<(), Stop> {
        let Some(rehearsal) = self.orchestrator.rehearsal().cloned() else { return Ok(()) };
        if rehearsal.is_turn(self.index) {
            return Ok(());
        }
        self.journal.flush().await?;
        let goes_on = tokio::select! {
            goes_on = rehearsal.turn(self.index) => goes_on,
            () = self.cancel.cancelled() => false,
        };
        if goes_on { Ok(()) } else { Err(Stop::Interrupted) }
    }
}

impl From<Interrupted> for Stop {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl From<OrchestratorError> for Stop {
    /// What fails below a step fails the attempt; whether it is tried again is the retry
    /// policy's to say.
    fn from(error: OrchestratorError) -> Self {
        Self::Failed(match error {
            OrchestratorError::OutOfBudget(exceeded) => return Self::Budget(exceeded),
            OrchestratorError::Model(error) => error.fault(),
            OrchestratorError::Repository(error) => Fault::transient(error.code(), error.to_string()),
            other => Fault::permanent(other.code(), other.to_string()),
        })
    }
}
