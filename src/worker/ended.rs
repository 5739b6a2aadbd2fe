//! What is written when steps have ended.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drive::{Drive, EndedStep, RunningStep};
use crate::executor::{StepEnd, Stop};
use crate::task::Event;

/// The next step that has ended.
pub(super) async fn next_ended(
    early: &mut VecDeque<EndedStep>,
    running: &mut FuturesUnordered<RunningStep>,
) -> Option<EndedStep> {
    match early.pop_front() {
        Some(ended) => Some(ended),
        None => running.next().await,
    }
}

impl Drive {
    /// Steps that end at the same time are written with one commit.
    pub(super) fn all_ended(&mut self, first: EndedStep) {
        let mut next = Some(first);
        while let Some((index, end, events)) = next {
            self.ended(index, end, events);
            next = next_ended(&mut self.early, &mut self.running).now_or_never().flatten();
        }
    }

    /// Steps that have just begun look at the task, and most let go of it before they wait for anything. While one
    /// of them has it, whatever is noted next would copy all of it, and a plan may have ten thousand steps.
    pub(super) fn let_go_of_the_task(&mut self) {
        while let Some(ended) = self.running.next().now_or_never().flatten() {
            self.early.push_back(ended);
        }
    }

    fn ended(&mut self, index: u32, end: StepEnd, events: Vec<Event>) {
        // Where a task is carried out again nobody is called off: what came of it is told.
        let is_told = self.shared.orchestrator.rehearsal().is_some() && self.writer.task.is_stopped();
        let was_called_off = is_told || self.cancels.get(&index).is_some_and(CancellationToken::is_cancelled);
        for event in events {
            self.writer.note_of(index, event);
        }
        match end {
            Ok(output) => {
                self.writer.note_of(index, Event::StepCompleted { step: index, output });
                let delay = Duration::from_millis(self.shared.config.continuation_delay_ms);
                self.rests_until = (!delay.is_zero()).then(|| Instant::now() + delay);
            }
            Err(Stop::FannedOut(items)) => {
                self.writer.note_of(index, Event::FannedOut { step: index, items });
            }
            Err(Stop::Skipped(reason)) => {
                self.writer.note_of(index, Event::StepSkipped { step: index, reason });
            }
            Err(Stop::Failed(_)) if self.writer.is_cut_off(index) => {}
            // The step stays as it is, and makes its call again once the task goes on.
            Err(Stop::Failed(fault)) if was_called_off && fault.follows_a_stop() => {}
            // It keeps its place meanwhile: nobody else begins it.
            Err(Stop::Failed(fault)) if self.may_fit(index, &fault) => {
                return self.overflowed.push_back((index, fault));
            }
            Err(Stop::Failed(fault)) => self.failed(index, fault),
            Err(Stop::Unknown(detail)) => {
                self.ask_how_it_ended(index, &detail);
            }
            // The step stays as it is: it goes on from there when there is more.
            Err(Stop::Budget(exceeded)) => {
                self.pause_for_budget(&exceeded);
            }
            Err(Stop::Asking | Stop::Delegated | Stop::Interrupted) => {}
        }
        self.cancels.remove(&index);
    }
}
