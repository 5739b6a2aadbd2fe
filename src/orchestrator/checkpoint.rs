//! Checkpoints that people ask for, and the way back to one.

use std::fmt::Write as _;
use std::time::Duration;

use super::lifecycle::{expect, open_call};
use super::outcome::unknown_call;
use super::{Orchestrator, OrchestratorError};
use crate::queue::Wake;
use crate::task::{CallState, EffectRecord, Entry, Event, Payload, Return, Status, Task, TaskId, TraceType};

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// Checkpoints that are listed at most. Summaries are between them.
const LISTED: u32 = 500;

/// Effects that models are told of at most; all of them are listed elsewhere.
const TOLD: usize = 50;

/// Which checkpoint a task is to go back to.
#[derive(Debug, Clone, Copy)]
pub struct RestoreWish {
    /// The number of the checkpoint's entry.
    pub checkpoint: i64,
    /// Whether what the task did to the world since then may be done once more.
    pub repeat_effects: bool,
}

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
    ///
    /// # Errors
    /// [`OrchestratorError::WouldRepeat`] if the task changed the world since, and the wish does not say that
    /// this may be done once more.
    pub async fn restore(&self, id: TaskId, wish: RestoreWish, by: &str) -> Result<Task, OrchestratorError> {
        let checkpoint = wish.checkpoint;
        let entries = self.repository.journal(id, checkpoint.saturating_sub(1), 1).await?;
        match entries.first() {
            Some(Entry { seq, event: Event::CheckpointTaken { .. }, .. }) if *seq == checkpoint => {}
            _ => return Err(no_checkpoint()),
        }
        let then = self.task_at(id, checkpoint).await?;
        let mut effects = self.effects_by_step(id).await?;
        effects.retain(|(_, effect)| effect.may_have_happened());
        let task = self
            .record(id, |task| {
                expect(task, "restore", &[Status::Pending, Status::Paused])?;
                may_go_back(task)?;
                let back = task.way_back(&then).ok_or_else(|| {
                    let problem = format!("nothing was left to do at checkpoint {checkpoint}");
                    OrchestratorError::Invalid { field: "checkpoint", problem }
                })?;
                let is_undone =
                    |step: &u32| back.undone.iter().any(|(first, last)| (*first..=*last).contains(step));
                let undone = effects.iter().filter(|(step, _)| is_undone(step)).map(|(_, effect)| effect);
                let undone: Vec<&EffectRecord> = undone.collect();
                if !undone.is_empty() && !wish.repeat_effects {
                    return Err(OrchestratorError::WouldRepeat(undone.into_iter().cloned().collect()));
                }
                let notice = notice(checkpoint, &undone);
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

/// A call of which nobody knows whether it took effect has to end, or be decided about, first.
fn may_go_back(task: &Task) -> Result<(), OrchestratorError> {
    let problem = if let Some((step, call)) = unknown_call(task) {
        format!(
            "nobody knows whether call {call} of step {} took effect: say how it ended (longhaul task resume \
             --outcome), pause the task again, and then go back",
            step + 1
        )
    } else if let Some((step, call)) = call_in_flight(task) {
        format!(
            "call {call} of step {} has not ended: let the task go on (longhaul task resume) until it has ended, or \
             until you are asked how it did; then pause the task again, and go back",
            step + 1
        )
    } else {
        return Ok(());
    };
    Err(OrchestratorError::Invalid { field: "outcome", problem })
}

/// A call that was dispatched, may have taken effect, and is not known to have ended.
fn call_in_flight(task: &Task) -> Option<(u32, u32)> {
    open_call(task, |call| call.state == CallState::Dispatched && !call.may_repeat())
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
