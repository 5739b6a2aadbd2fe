//! Checkpoints that people ask for, and the way back to one.

use std::fmt::Write as _;
use std::time::Duration;

use super::lifecycle::{expect, unknown_call};
use super::{Orchestrator, OrchestratorError};
use crate::queue::Wake;
use crate::task::{
    EffectRecord, EffectState, Entry, Event, Payload, Return, Status, Task, TaskId, TraceType,
};

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// Checkpoints that are listed at most. Summaries are between them.
const LISTED: u32 = 500;

/// Effects that models are told of at most; all of them are listed elsewhere.
const TOLD: usize = 50;

impl Orchestrator {
    /// Writes down where a task stands.
    pub async fn take_checkpoint(&self, id: TaskId, by: &str) -> Result<Task, OrchestratorError> {
        self.record(id, |task| {
            expect(task, "checkpoint", &[Status::Pending, Status::Running, Status::Paused])?;
            Ok(vec![task.checkpoint(None, Some(by))])
        })
        .await
    }

    /// The checkpoints of a task, oldest first.
    pub async fn checkpoints(&self, id: TaskId) -> Result<Vec<Entry>, OrchestratorError> {
        let mut entries = self.repository.latest_of(id, TraceType::Checkpoint, LISTED).await?;
        entries.retain(|entry| matches!(entry.event, Event::CheckpointTaken { .. }));
        Ok(entries)
    }

    /// A task as an entry of its journal left it. Reads the journal up to there.
    pub async fn task_at(&self, id: TaskId, seq: i64) -> Result<Task, OrchestratorError> {
        let mut task: Option<Task> = None;
        let mut after = 0;
        while after < seq {
            let entries = self.repository.journal(id, after, PAGE).await?;
            let Some(last) = entries.last() else { break };
            after = last.seq;
            for entry in entries.iter().filter(|entry| entry.seq <= seq) {
                match &mut task {
                    None => task = Some(Task::begin(id, entry)?),
                    Some(task) => task.apply(entry)?,
                }
            }
        }
        task.filter(|task| task.state().seq == seq).ok_or_else(no_checkpoint)
    }

    /// Puts a task back to a checkpoint and lets it go on from there: the steps since are undone, and
    /// what was open then is done anew. Effects that happened stay on record, and the models are told
    /// of them. Nothing is deleted.
    pub async fn restore(&self, id: TaskId, checkpoint: i64, by: &str) -> Result<Task, OrchestratorError> {
        let entries = self.repository.journal(id, checkpoint.saturating_sub(1), 1).await?;
        match entries.first() {
            Some(Entry { seq, event: Event::CheckpointTaken { .. }, .. }) if *seq == checkpoint => {}
            _ => return Err(no_checkpoint()),
        }
        let then = self.task_at(id, checkpoint).await?;
        let effects: Vec<EffectRecord> = self.effects(id).await?.into_iter().filter(happened).collect();
        let task = self
            .record(id, |task| {
                expect(task, "restore", &[Status::Pending, Status::Paused])?;
                may_go_back(task)?;
                let back = task.way_back(&then).ok_or_else(|| {
                    let problem = format!("nothing was left to do at checkpoint {checkpoint}");
                    OrchestratorError::Invalid { field: "checkpoint", problem }
                })?;
                let undone = |effect: &&EffectRecord| {
                    back.undone.iter().any(|(first, last)| (*first..=*last).contains(&effect.step))
                };
                let notice = notice(checkpoint, &effects.iter().filter(undone).collect::<Vec<_>>());
                let mut events = vec![restored(task, checkpoint, back, &notice, by)];
                if task.status() == Status::Paused {
                    events.push(Event::Resumed { by: by.to_owned() });
                }
                Ok(events)
            })
            .await?;
        self.wake(Wake::again(&task, Duration::ZERO)).await;
        Ok(task)
    }
}

fn restored(task: &Task, checkpoint: i64, back: Return, notice: &str, by: &str) -> Event {
    let Return { undone, plan, summary } = back;
    let revision = task.state().revision + 1;
    Event::Restored {
        checkpoint,
        revision,
        undone,
        plan,
        summary,
        notice: Payload::text(notice),
        by: by.to_owned(),
    }
}

/// A call of which nobody knows whether it took effect has to be decided about first.
fn may_go_back(task: &Task) -> Result<(), OrchestratorError> {
    match unknown_call(task) {
        None => Ok(()),
        Some((step, call)) => {
            let problem = format!(
                "nobody knows whether call {call} of step {} took effect: say how it ended first \
                 (longhaul task resume --outcome)",
                step + 1
            );
            Err(OrchestratorError::Invalid { field: "outcome", problem })
        }
    }
}

/// Whether it did happen, as far as anybody knows.
fn happened(effect: &EffectRecord) -> bool {
    !matches!(effect.state, EffectState::Prepared | EffectState::Failed)
}

/// What models are told: what happened since has happened, although its step is done again.
fn notice(checkpoint: i64, since: &[&EffectRecord]) -> String {
    let mut notice =
        format!("The task was put back to its checkpoint {checkpoint}: the steps since are done again.");
    if since.is_empty() {
        notice.push_str(" None of them had changed anything outside of the task.");
        return notice;
    }
    notice.push_str(
        " These calls of theirs have happened and are not undone; do not repeat what is done already:",
    );
    for effect in since.iter().take(TOLD) {
        let _ = write!(notice, "\n- {} {}", effect.tool, effect.arguments.preview());
    }
    if since.len() > TOLD {
        let _ = write!(notice, "\n- and {} more", since.len() - TOLD);
    }
    notice
}

fn no_checkpoint() -> OrchestratorError {
    let problem = "is not the number of a checkpoint: longhaul task checkpoint --list shows them".to_owned();
    OrchestratorError::Invalid { field: "checkpoint", problem }
}
