//! What people said, at its place: behind all that had happened before, and before all that came after.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::script::Script;
use super::stage::Stage;
use crate::repository::{Commit, Lease, Repository, RepositoryError};
use crate::task::{Divergence, Entry, Event, Payload, Place, Status, Task, TaskId};
use crate::worker::Shared;

/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_millis(1);

/// Looks without anything happening after which the next thing that is recorded will not come.
const STANDSTILL: u32 = 2_000;

/// Looks without anything happening after which nothing will.
const PATIENCE: u32 = 10_000;

/// Says what people said while the task is at work, until `stop`. What is being said then is said to its
/// end: nothing is said twice.
pub(super) async fn speak(stage: Arc<Stage>, shared: Arc<Shared>, id: TaskId, stop: CancellationToken) {
    let (mut looks, mut moved) = (0, stage.moved());
    while !stop.is_cancelled() {
        tokio::time::sleep(LOOK).await;
        let has_said = stage.script(|script| script.is_due()) && say(&stage, &shared, id, false).await;
        looks = if stage.moved() == moved && !has_said { looks + 1 } else { 0 };
        moved = stage.moved();
        // What does not come is not waited for: what follows from that is compared.
        if looks > STANDSTILL && stage.script(|script| script.order.give_up()) {
            stage.stir();
            shared.leases.told(id, i64::MAX);
        }
        if looks > PATIENCE {
            return stand_still(&stage);
        }
    }
}

fn stand_still(stage: &Stage) {
    let waits = stage.script(|script| {
        let next = script.outside.front()?;
        let entry = script.journal.get(next.at)?;
        Some((entry.seq, entry.event.message()))
    });
    let (seq, expected) = waits.unwrap_or((0, "the task goes on".to_owned()));
    let place = Place { seq, step: None, call: None };
    let came = "nothing happened any more".to_owned();
    stage.diverge(Divergence { place, expected, came, ends: false });
}

/// Says what comes next. False if there is nothing, or if it is not its time: what was said of a task
/// that was paused is said once it is, and an answer when it is asked for. A task at rest will not ask
/// for it any more.
pub(super) async fn say(stage: &Stage, shared: &Shared, id: TaskId, at_rest: bool) -> bool {
    let repository = shared.orchestrator.repository();
    let Some((said, rests)) = stage.script(next_words) else { return false };
    match write(repository.as_ref(), id, &said, rests && !at_rest).await {
        Ok(None) => return false,
        Ok(Some(task)) => {
            if let Some(first) = said.first() {
                stage.it_is(first.at);
            }
            // Whoever is to read it in the next prompt waits until it is taken off: not before it is known.
            heard(shared, &task).await;
            stage.script(|script| drop(script.outside.drain(..said.len())));
            stage.stir();
            // Who waits for these words looks again.
            shared.leases.told(id, i64::MAX);
        }
        Err(Unsaid::Illegal(_)) if !at_rest => return false,
        Err(Unsaid::Illegal(divergence) | Unsaid::Failed(divergence)) => {
            stage.diverge(divergence);
            stage.script(|script| drop(script.outside.drain(..said.len())));
        }
    }
    true
}

/// What was said together, and whether the task was paused then.
fn next_words(script: &mut Script) -> Option<(Vec<Entry>, bool)> {
    let first = *script.outside.front()?;
    let at = script.journal.get(first.at)?.at;
    let together = script.outside.iter().enumerate().take_while(|(offset, next)| {
        next.at == first.at + offset && script.journal.get(next.at).is_some_and(|entry| entry.at == at)
    });
    let said = together.filter_map(|(_, next)| script.journal.get(next.at).cloned());
    Some((said.collect(), first.rests))
}

/// Why something was not said.
enum Unsaid {
    /// The task is not in a state in which it can be.
    Illegal(Divergence),
    /// It could not be written.
    Failed(Divergence),
}

/// Waits until whoever drives the task knows it, too.
async fn heard(shared: &Shared, task: &Task) {
    let (id, seq) = (task.id, task.state().seq);
    shared.leases.told(id, seq);
    while shared.leases.known(id).is_some_and(|known| known < seq) && !task.status().is_terminal() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes what was said; `None` if it waits for a pause that has not come.
async fn write(
    repository: &dyn Repository,
    id: TaskId,
    said: &[Entry],
    waits: bool,
) -> Result<Option<Task>, Unsaid> {
    let differs = |entry: &Entry, came: String| Divergence {
        place: Place { seq: entry.seq, step: entry.event.step(), call: None },
        expected: entry.event.message(),
        came,
        ends: false,
    };
    loop {
        let first = &said[0];
        let loaded =
            repository.load(id).await.map_err(|error| Unsaid::Failed(differs(first, error.to_string())))?;
        let Some(mut task) = loaded else {
            return Err(Unsaid::Failed(differs(first, "the task is gone".to_owned())));
        };
        if waits && task.status() != Status::Paused {
            return Ok(None);
        }
        let (mut entries, mut blobs) = (Vec::new(), Vec::new());
        for entry in said {
            if is_settled(entry, task.status()) {
                continue;
            }
            let mut event = entry.event.clone();
            blobs.extend(event.payloads_mut().into_iter().filter_map(Payload::seal));
            match task.record(entry.at, event) {
                Ok(entry) => entries.push(entry),
                Err(why) => return Err(Unsaid::Illegal(differs(entry, why.to_string()))),
            }
        }
        if entries.is_empty() {
            return Ok(Some(task));
        }
        let ends_a_wait = entries.iter().any(|entry| matches!(entry.event, Event::ChildEnded { .. }));
        let lease = if ends_a_wait { Lease::Due } else { Lease::Keep };
        match repository.commit(Commit::new(&task, entries, blobs, lease)).await {
            Ok(()) => return Ok(Some(task)),
            Err(RepositoryError::Stale | RepositoryError::Fenced) => {}
            Err(error) => return Err(Unsaid::Failed(differs(first, error.to_string()))),
        }
    }
}

/// Whether what somebody said is so already.
fn is_settled(entry: &Entry, status: Status) -> bool {
    match entry.event {
        Event::Resumed { .. } => status.is_live(),
        Event::Paused { .. } => status == Status::Paused,
        _ => false,
    }
}
