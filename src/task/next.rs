//! What a task wants next: a pure question to its state.

use super::child::is_delegated;
use super::{Step, StepStatus, Task, Timestamp};

/// The next thing to do for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Start, retry or continue these steps; they may run side by side.
    Run(Vec<u32>),
    /// Nothing before this moment: every step that could run waits for its next attempt.
    WaitUntil(Timestamp),
    /// Nothing before a task ends that works for this one; or before this moment, if a step is tried
    /// again then.
    Children(Option<Timestamp>),
    /// Nothing before a person answers: a plan waits for approval, or every step that could go on
    /// waits for somebody's word.
    Ask,
    /// This step failed for good and is in the way: revise the plan or fail.
    Revise(u32),
    /// Every step is settled: decide whether the goal is reached.
    Conclude,
    /// The task has ended or waits for a person.
    Rest,
}

impl Task {
    /// What to do at `now`. Steps that run already are named again, up to the limit of
    /// parallel steps: whoever drives the task knows which of them it drives.
    pub fn next(&self, now: Timestamp) -> Next {
        if !self.status().is_live() {
            return Next::Rest;
        }
        if self.plan_ask().is_some() {
            return Next::Ask;
        }
        let among = |wanted: fn(&Step, Timestamp) -> bool| {
            let of = move |index: &u32| self.step(*index).is_some_and(|step| wanted(step, now));
            self.frontier().iter().copied().filter(of)
        };
        // Those that run already count first: a step that becomes due must not make one too many.
        // So do those that wait for their children, which would be without number otherwise.
        let waiting: Vec<u32> = among(is_delegated).collect();
        let most = self.spec().limits.max_parallel_steps.max(1) as usize;
        let most = most.saturating_sub(waiting.len());
        let mut runnable: Vec<u32> = among(is_running).take(most).collect();
        let room = most - runnable.len();
        let busy = [runnable.as_slice(), &waiting].concat();
        let told = self.state().messages.last().copied();
        let is_ready = |index: &u32| {
            self.step(*index).is_some_and(|step| is_ready(step, now) || step.is_told_otherwise(told))
        };
        let ready = self.frontier().iter().copied().filter(is_ready);
        let ready: Vec<u32> = self.within_lists(&busy, ready).take(room).collect();
        runnable.extend(ready);
        if !runnable.is_empty() {
            return Next::Run(runnable);
        }
        let open = || self.frontier().iter().filter_map(|index| Some((*index, self.step(*index)?)));
        let retry_at = open().filter_map(|(_, step)| step.retry_at).min();
        if !waiting.is_empty() {
            return Next::Children(retry_at);
        }
        if let Some(at) = retry_at {
            return Next::WaitUntil(at);
        }
        if self.asks().next().is_some() {
            return Next::Ask;
        }
        match open().find(|(_, step)| step.is_dead_end()) {
            Some((index, _)) => Next::Revise(index),
            None => Next::Conclude,
        }
    }
}

fn is_running(step: &Step, _: Timestamp) -> bool {
    step.status == StepStatus::Running && !step.is_asking() && step.child_at_work().is_none()
}

fn is_ready(step: &Step, now: Timestamp) -> bool {
    match step.status {
        StepStatus::Pending => true,
        StepStatus::Failed => step.retry_at.is_some_and(|at| at <= now),
        StepStatus::Running | StepStatus::Completed | StepStatus::Skipped => false,
    }
}
