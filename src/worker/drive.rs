//! Drives one task for as long as this worker holds it: starts steps, writes what they note,
//! decides what follows, and gives the task back.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ended::next_ended;
use super::leases::{Arriving, Signals, Taken};
use super::writer::{Lost, Writer};
use super::{Shared, until};
use crate::executor::{CallAllowance, Interrupted, Journal, Mailbox, Note, StepEnd, Stop};
use crate::task::{
    CallState, Event, Fault, FaultClass, Next, Pause, PauseReason, Status, Step, StepStatus, StepType, Task,
    TaskId, Timestamp,
};
use crate::tools::Fence;

/// Notes that may wait while others are written: each running step has at most one on its way, and
/// those that wait are written together.
const NOTES: usize = 64;

/// How long a suspect rests if another one has its place.
const SUSPECT_REST: Duration = Duration::from_millis(500);

/// A step that has ended, and the events that belong into the commit of its end.
pub(super) type EndedStep = (u32, StepEnd, Vec<Event>);

pub(super) type RunningStep = BoxFuture<'static, EndedStep>;

/// One task in the hands of this worker.
pub(super) struct Drive {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    signals: Arc<Signals>,
    pub(super) running: FuturesUnordered<RunningStep>,
    /// Those of them that have ended already, until what they noted is taken.
    pub(super) early: VecDeque<EndedStep>,
    /// Steps whose context was too large, until it is smaller.
    pub(super) overflowed: VecDeque<(u32, Fault)>,
    /// The steps in `running` and `overflowed`, with the signal that ends each.
    pub(super) cancels: HashMap<u32, CancellationToken>,
    /// What all attempts of this drive may still call and consume.
    pub(super) allowance: CallAllowance,
    /// What people wrote to the task.
    mailbox: Mailbox,
    notes: mpsc::Receiver<Note>,
    notes_in: mpsc::Sender<Note>,
    /// The place of a suspect, until it has made progress.
    suspected: Option<OwnedSemaphorePermit>,
    /// Of a suspect that has no place yet.
    arriving: Option<Arriving>,
    /// Before this moment no other step begins.
    pub(super) rests_until: Option<Instant>,
    /// When the lease began.
    began: Instant,
    /// Whether it starts nothing more, because others wait.
    steps_back: bool,
    /// Whether it was said that its steps wait for their turn.
    pub(super) was_in_line: bool,
    /// Since when the task has ended while steps still run.
    over_since: Option<Instant>,
    /// Since when somebody wants it to stand still.
    pub(super) stopped_since: Option<Instant>,
    /// How often the task had lost its worker, until it is written who has taken it over.
    taken_over: Option<u32>,
}

/// What to do after looking at the task.
pub(super) enum Turn {
    /// Steps are running: wait for them.
    Wait,
    /// Look again: something was decided.
    Again,
    /// Nothing to do before this moment, or at all.
    Leave(Timestamp),
}

/// Drives a claimed task until it is given back or lost, and returns it as it was given back.
pub(super) async fn drive(shared: Arc<Shared>, taken: Taken) -> Option<Arc<Task>> {
    let signals = shared.leases.add(&taken);
    let claimed = taken.claimed;
    let (id, epoch) = (claimed.task.id, claimed.task.state().epoch);
    // Also after a panic: a lease that nobody drives must end.
    let _held = Held { shared: shared.clone(), id, epoch };
    let mut drive = Drive::new(shared.clone(), claimed.task, signals);
    drive.arriving = taken.arriving;
    match drive.run(claimed.crashes).await {
        Ok(()) => {
            tracing::debug!(task = %id, "task given back");
            shared.orchestrator.after_end(&drive.writer.task).await;
            Some(drive.writer.task)
        }
        Err(Lost) => {
            tracing::warn!(task = %id, "the lease was lost, another worker goes on");
            None
        }
    }
}

/// A lease for as long as somebody drives the task.
struct Held {
    shared: Arc<Shared>,
    id: TaskId,
    epoch: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.leases.remove(self.id, self.epoch);
    }
}

impl Drive {
    fn new(shared: Arc<Shared>, task: Task, signals: Arc<Signals>) -> Self {
        let (notes_in, notes) = mpsc::channel(NOTES);
        let orchestrator = &shared.orchestrator;
        let allowance = CallAllowance::of(&task);
        let writer =
            Writer::new(task, orchestrator.repository().clone(), shared.clock.clone(), signals.clone())
                .rehearsing(orchestrator.rehearsal().cloned());
        Self {
            shared,
            writer,
            signals,
            running: FuturesUnordered::new(),
            early: VecDeque::new(),
            overflowed: VecDeque::new(),
            cancels: HashMap::new(),
            allowance,
            mailbox: Mailbox::default(),
            notes,
            notes_in,
            suspected: None,
            arriving: None,
            rests_until: None,
            began: Instant::now(),
            steps_back: false,
            was_in_line: false,
            over_since: None,
            stopped_since: None,
            taken_over: None,
        }
    }

    async fn run(&mut self, crashes: u32) -> Result<(), Lost> {
        if is_suspect(&self.writer.task, crashes) && !self.take_place().await {
            return self.rest(crashes).await;
        }
        self.taken_over = Some(crashes);
        if crashes > 0 {
            self.say_who();
        }
        self.stop_poison(crashes);
        loop {
            if self.writer.task.state().crashes == 0 && self.writer.is_written() {
                self.suspected = None;
            }
            self.mailbox.put(&self.writer.task.state().messages);
            match self.turn().await? {
                Turn::Again => {}
                Turn::Wait => self.wait().await?,
                Turn::Leave(wake) if self.cancels.is_empty() => return self.writer.release(wake).await,
                Turn::Leave(_) => self.wait().await?,
            }
        }
    }

    /// Notes once who has taken the task over. Not for a look at children that brings nothing: a task that
    /// waits for them for days would tell of nothing else.
    pub(super) fn say_who(&mut self) {
        if let Some(crashes) = self.taken_over.take() {
            self.writer.note(Event::Claimed { worker: self.shared.name.clone(), crashes });
        }
    }

    /// Whoever dies takes all its tasks along, and each of them counts a crash. So a task that one
    /// more crash would make poison is driven only while no other such task is: the one that kills
    /// its worker again does not take its neighbours of the times before along. Nor those that were
    /// claimed together with it: they are given back first.
    async fn take_place(&mut self) -> bool {
        self.suspected = self.shared.suspects.clone().try_acquire_owned().ok();
        if self.suspected.is_none() {
            return false;
        }
        self.arriving = None;
        drop(self.shared.arriving.write().await);
        true
    }

    /// Gives a suspect back untouched until the place may be free, for a lease that nobody holds
    /// counts no crash. That it was claimed is written once, or it would be every time it rests.
    async fn rest(&mut self, crashes: u32) -> Result<(), Lost> {
        if self.writer.task.state().crashes != crashes {
            self.writer.note(Event::Claimed { worker: self.shared.name.clone(), crashes });
        }
        self.writer.release((self.shared.clock)().plus(SUSPECT_REST)).await
    }

    /// A step that keeps killing its workers is taken out of the plan, or shown to a person.
    fn stop_poison(&mut self, crashes: u32) {
        let task = self.writer.task.clone();
        if crashes < task.spec().limits.max_crashes.max(1) {
            return;
        }
        let message = format!("{crashes} workers were lost while they worked on it");
        tracing::warn!(task = %task.id, crashes, "poison");
        let running: Vec<u32> =
            task.frontier().iter().copied().filter(|index| is_at_work(&task, *index)).collect();
        if self.ask_about_calls_in_flight(&task, &running) {
            return;
        }
        let can_replan = self.shared.orchestrator.may_replan(&task);
        if can_replan && !running.is_empty() {
            for step in running {
                let fault = Fault::new(FaultClass::Poison, "poison", message.clone());
                self.writer.note(Event::StepFailed { step, fault, retry_at: None });
            }
            return;
        }
        self.pause(PauseReason::Poison, message);
    }

    /// A step is not given up while nobody knows whether one of its calls took effect.
    fn ask_about_calls_in_flight(&mut self, task: &Task, running: &[u32]) -> bool {
        let mut asked = None;
        for index in running {
            let calls = task.step(*index).map_or(&[][..], |step| &step.calls);
            for call in calls.iter().filter(|call| !call.may_repeat()) {
                let lost = "its worker was lost".to_owned();
                let is_in_flight = call.state == CallState::Dispatched
                    && self.writer.note(Event::CallLost { step: *index, call: call.number, detail: lost });
                if is_in_flight || call.state == CallState::Unknown {
                    asked = asked.or(Some(*index));
                }
            }
        }
        asked.is_some_and(|index| self.ask_how_it_ended(index, "its worker was lost"))
    }

    pub(super) fn pause(&mut self, reason: PauseReason, detail: impl Into<String>) -> bool {
        self.rest_with(Pause::new(reason, detail))
    }

    pub(super) fn rest_with(&mut self, pause: Pause) -> bool {
        let by = self.shared.name.clone();
        self.writer.note(Event::Paused { pause, by })
    }

    /// Looks at the task and does what it wants next.
    async fn turn(&mut self) -> Result<Turn, Lost> {
        let now = (self.shared.clock)();
        let next = self.writer.task.next(now);
        if let Next::Run(steps) = &next
            && (self.shared.draining.is_cancelled() || self.lets_others_go_first(steps))
        {
            self.say_who();
            return Ok(Turn::Leave(now));
        }
        if !matches!(next, Next::Children(_)) {
            self.say_who();
        }
        match next {
            Next::Run(steps) => self.start(steps).await,
            Next::WaitUntil(at) => Ok(Turn::Leave(at)),
            Next::Rest => {
                if self.writer.task.status().is_terminal() {
                    self.cancel_running();
                }
                Ok(Turn::Leave(now))
            }
            _ if !self.cancels.is_empty() => Ok(Turn::Wait),
            Next::Children(_) => self.look_after_children().await,
            Next::Ask if self.shared.orchestrator.rehearsal().is_some_and(|known| !known.may_rest()) => {
                Ok(Turn::Wait)
            }
            Next::Ask => {
                self.wait_for_people();
                Ok(Turn::Again)
            }
            Next::Revise(_) | Next::Conclude => self.conclude().await,
        }
    }

    /// A task that has had its slice steps back, between two steps, if others wait.
    fn lets_others_go_first(&mut self, steps: &[u32]) -> bool {
        let slice = Duration::from_millis(self.shared.config.slice_ms);
        let is_between = steps.iter().any(|index| !self.cancels.contains_key(index));
        if !self.steps_back && is_between && !slice.is_zero() && self.began.elapsed() >= slice {
            self.steps_back = self.shared.line.steps_back(self.writer.task.state().priority);
        }
        self.steps_back
    }

    fn cancel_running(&self) {
        self.cancels.values().for_each(CancellationToken::cancel);
    }

    /// Starts those of the steps that are not running yet.
    async fn start(&mut self, steps: Vec<u32>) -> Result<Turn, Lost> {
        let mut new: Vec<u32> = steps.into_iter().filter(|index| !self.cancels.contains_key(index)).collect();
        if let Some(rehearsal) = self.shared.orchestrator.rehearsal() {
            new = rehearsal.begins(new);
        }
        if new.is_empty() {
            return Ok(Turn::Wait);
        }
        if let Some(rested) = self.rests_until.take() {
            self.writer.flush().await?;
            if self.unless_called_off(tokio::time::sleep_until(rested)).await?.is_none() {
                return Ok(Turn::Again);
            }
        }
        if self.is_out_of_budget(&new) {
            return Ok(Turn::Again);
        }
        if self.write_down_context(&new).await?.is_none() {
            return Ok(Turn::Again);
        }
        let mut begun = Vec::new();
        for index in new {
            if !self.shared.limiter.admits_now().await {
                // Those that were let in do not wait for the next one.
                self.spawn_all(std::mem::take(&mut begun)).await?;
                let shared = self.shared.clone();
                let _place = self.stand_in_line(&shared);
                if self.unless_called_off(shared.limiter.admit()).await?.is_none() {
                    return Ok(Turn::Again);
                }
            }
            let task = &self.writer.task;
            if let Some(step) = task.step(index).filter(|step| step.status != StepStatus::Running) {
                let attempt = step.attempts + 1;
                self.writer.note(Event::StepStarted { step: index, attempt });
            }
            begun.push(index);
        }
        let all_kept = self.spawn_all(begun).await?;
        // If a pause or a cancel came first, the task wants something else now.
        Ok(if all_kept && !self.cancels.is_empty() { Turn::Wait } else { Turn::Again })
    }

    /// Waits for something that is no step, such as a turn of the limiter or a model's verdict. Steps that
    /// run go on meanwhile, and what they bring is written.
    ///
    /// `None` if the task was paused or has ended meanwhile, or if this worker drains: what was
    /// waited for is dropped then. None of it is in the journal, so whoever goes on begins it anew.
    pub(super) async fn unless_called_off<T>(
        &mut self,
        wait: impl Future<Output = T>,
    ) -> Result<Option<T>, Lost> {
        let draining = self.shared.draining.clone();
        let mut wait = std::pin::pin!(wait);
        while self.writer.task.status().is_live() {
            tokio::select! {
                biased;
                done = &mut wait => return Ok(Some(done)),
                () = self.signals.changed.notified() => {
                    self.writer.refresh().await?;
                    self.mailbox.put(&self.writer.task.state().messages);
                }
                () = draining.cancelled() => break,
                Some(note) = self.notes.recv() => self.take(note).await?,
                Some(ended) = next_ended(&mut self.early, &mut self.running) => {
                    self.all_ended(ended);
                    self.writer.flush().await?;
                }
            }
        }
        Ok(None)
    }

    /// A checkpoint every so many steps, and a summary before the window overflows. `None` if the
    /// task does not want the steps any more.
    async fn write_down_context(&mut self, steps: &[u32]) -> Result<Option<()>, Lost> {
        let task = &self.writer.task;
        let (interval, state) = (task.spec().limits.checkpoint_interval, task.state());
        let since = state.completed - state.checkpointed.min(state.completed);
        if interval > 0 && since >= interval {
            let checkpoint = task.checkpoint(None, None);
            self.writer.note(checkpoint);
        }
        let task = &self.writer.task;
        let asks_model = |index: &u32| task.step(*index).is_some_and(asks_model);
        if steps.iter().any(asks_model) && self.shared.orchestrator.needs_summary(task) {
            self.writer.flush().await?;
            // Where there is no room for it, the step may still fit without.
            return Ok(self.summarize().await?.map(drop));
        }
        Ok(Some(()))
    }

    /// Writes that these steps have begun, and begins them. False if not all that was noted was kept.
    async fn spawn_all(&mut self, begun: Vec<u32>) -> Result<bool, Lost> {
        let all_kept = self.writer.flush().await?;
        for index in begun {
            if is_running(&self.writer.task, index) {
                self.spawn(index);
            }
        }
        self.let_go_of_the_task();
        Ok(all_kept)
    }

    fn spawn(&mut self, index: u32) {
        self.writer.goes_on(index);
        let cancel = CancellationToken::new();
        self.cancels.insert(index, cancel.clone());
        let (signals, lease) = (self.signals.clone(), self.lease());
        let journal = Journal::new(self.notes_in.clone(), Fence::new(move || signals.is_in_doubt(lease)));
        let (executor, task) = (self.shared.executor.clone(), self.writer.task.clone());
        let (allowance, mailbox) = (self.allowance.clone(), self.mailbox.clone());
        let attempt = async move {
            let attempt = executor.execute(task, index, journal, cancel, allowance, mailbox);
            let attempt = AssertUnwindSafe(attempt).catch_unwind();
            // A panic is a defect; it ends the step and not the worker.
            let (end, events) = attempt.await.unwrap_or_else(|_| {
                let fault =
                    Fault::permanent("step_panicked", "the step hit a defect of the program: see the log");
                (Err(Stop::Failed(fault)), Vec::new())
            });
            (index, end, events)
        };
        self.running.push(attempt.boxed());
    }

    /// Waits for whatever comes first: a note, the end of a step, or news from outside.
    async fn wait(&mut self) -> Result<(), Lost> {
        if let Some((index, fault)) = self.overflowed.pop_front() {
            return self.overflowed(index, fault).await;
        }
        // What a step brought does not wait for another step. After a start this is nothing.
        self.writer.flush().await?;
        let is_over = self.writer.task.status().is_terminal();
        let patience = Duration::from_millis(self.shared.config.cancel_ms);
        let deadline = is_over.then(|| *self.over_since.get_or_insert_with(Instant::now) + patience);
        let retry = self.next_retry();
        let calls_off = self.calls_off_at();
        tokio::select! {
            biased;
            Some(note) = self.notes.recv() => self.take(note).await,
            Some(ended) = next_ended(&mut self.early, &mut self.running) => {
                self.all_ended(ended);
                Ok(())
            }
            () = self.signals.changed.notified() => self.writer.refresh().await,
            // Whoever does not obey a cancel in time is left behind; its outcome stays open.
            () = until(deadline), if is_over => {
                self.leave_behind();
                Ok(())
            }
            () = until(calls_off), if calls_off.is_some() => {
                self.call_off();
                Ok(())
            }
            // A step beside those that run is due again: look at the task.
            () = until(retry), if !is_over => Ok(()),
        }
    }

    /// When the next attempt of a step is due, while others run.
    fn next_retry(&self) -> Option<Instant> {
        let task = &self.writer.task;
        let now = (self.shared.clock)();
        let waiting = task.frontier().iter().filter_map(|index| task.step(*index)?.retry_at);
        waiting.filter(|at| *at > now).min().map(|at| Instant::now() + at.since(now))
    }

    /// Gives up steps that do not obey a cancel, and records that their calls were in flight.
    fn leave_behind(&mut self) {
        self.running.clear();
        self.overflowed.clear();
        let task = self.writer.task.clone();
        for index in std::mem::take(&mut self.cancels).into_keys() {
            let calls = task.step(index).map_or(&[][..], |step| &step.calls);
            for call in calls.iter().filter(|call| call.state == CallState::Dispatched) {
                let detail = "it did not end in time after the cancel".to_owned();
                self.writer.note(Event::CallLost { step: index, call: call.number, detail });
            }
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.shared.config.lease_ms)
    }

    async fn take(&mut self, note: Note) -> Result<(), Lost> {
        let mut answers = Vec::new();
        let mut dispatches = false;
        let mut next = Some(note);
        // Steps side by side have one commit together, and not one each.
        while let Some(note) = next.take() {
            let mut accepted = true;
            let rests_on = RestsOn::of(&note.events);
            for event in note.events {
                let step = event.step();
                dispatches |= event.is_dispatch();
                if self.writer.task.wants_checkpoint_before(&event) {
                    let checkpoint = self.writer.task.checkpoint(None, None);
                    self.writer.note(checkpoint);
                }
                // Who drains starts nothing new: the next worker continues inside the step.
                let starts_anew = self.shared.draining.is_cancelled() && event.is_dispatch();
                accepted &= !starts_anew
                    && match step {
                        Some(step) => self.writer.note_of(step, event),
                        None => self.writer.note(event),
                    };
            }
            answers.push((note.answer, accepted, rests_on));
            next = self.notes.try_recv().ok();
        }
        let all_kept = self.writer.flush().await?;
        // A process that was frozen hears of a commit long after it was made. By now somebody else
        // may have made the call, and recorded it.
        if dispatches && self.signals.is_in_doubt(self.lease()) {
            self.writer.refresh().await?;
        }
        for (answer, accepted, rests_on) in answers {
            let is_kept = accepted && (all_kept || self.is_kept(rests_on));
            let _ = answer.send(if is_kept { Ok(()) } else { Err(Interrupted) });
        }
        Ok(())
    }

    /// Whether a note is in the journal although another one of its commit is not: a call whose dispatch is
    /// recorded is made.
    fn is_kept(&self, note: RestsOn) -> bool {
        match note {
            RestsOn::Step(step) => !self.writer.is_cut_off(step),
            RestsOn::All => false,
        }
    }
}

/// What has to be in the journal for a note to be.
#[derive(Clone, Copy)]
enum RestsOn {
    /// What its step noted: a step is cut off with the first event that did not happen.
    Step(u32),
    /// All that is written with it. What is lost of a call, or is about no step, cuts nothing off.
    All,
}

impl RestsOn {
    fn of(events: &[Event]) -> Self {
        let step = |event: &Event| event.step().filter(|_| !matches!(event, Event::CallLost { .. }));
        let Some(first) = events.first().and_then(step) else { return Self::All };
        if events.iter().all(|event| step(event) == Some(first)) { Self::Step(first) } else { Self::All }
    }
}

/// Whether one more crash would make a task poison.
pub(super) fn is_suspect(task: &Task, crashes: u32) -> bool {
    crashes > 0 && crashes + 1 == task.spec().limits.max_crashes.max(1)
}

fn is_running(task: &Task, index: u32) -> bool {
    task.status() == Status::Running
        && task.step(index).is_some_and(|step| step.status == StepStatus::Running)
}

/// Whether this worker, and no task of its own, is at work on a step.
fn is_at_work(task: &Task, index: u32) -> bool {
    is_running(task, index) && task.step(index).is_some_and(|step| step.child_at_work().is_none())
}

fn asks_model(step: &Step) -> bool {
    match step.plan.kind {
        StepType::LlmReasoning => true,
        StepType::ToolCall => step.plan.tool.is_none(),
        StepType::Checkpoint | StepType::Summarization => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Payload;

    #[test]
    fn a_note_of_one_step_rests_on_that_step_alone() {
        let pinned = |step| Event::FactPinned { step, text: Payload::text("f"), by: "the model".into() };
        let lost = Event::CallLost { step: 1, call: 1, detail: String::new() };
        let rests_on_all = |events: &[Event]| matches!(RestsOn::of(events), RestsOn::All);
        assert!(matches!(RestsOn::of(&[pinned(Some(1)), pinned(Some(1))]), RestsOn::Step(1)));
        assert!(rests_on_all(&[pinned(Some(1)), pinned(Some(2))]));
        assert!(rests_on_all(&[pinned(Some(1)), lost]), "it may be refused without cutting its step off");
        assert!(rests_on_all(&[pinned(None)]) && rests_on_all(&[]));
    }
}
