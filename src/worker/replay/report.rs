//! Compares a task that was carried out again with what is recorded of it.

use super::script::Script;
use super::stage::Stage;
use crate::task::{CallAt, Divergence, Payload, Place, Replay, Step, Task};

/// Compares how a task stands with how it stood.
pub(super) fn compared(then: &Task, now: &Task, stage: &Stage) -> Replay {
    let (model_calls, tool_calls) = stage.counted();
    let found = stage.divergence();
    let ended_early = found.as_ref().filter(|found| found.ends).map(|found| found.place.seq);
    let divergence = match found {
        Some(found) if found.ends => None,
        Some(found) => Some(found),
        None => difference(then, now).or_else(|| stage.script(left_over)),
    };
    Replay {
        task: then.id,
        recorded: then.status(),
        status: now.status(),
        model_calls,
        tool_calls,
        divergence,
        ends_at: ended_early.or_else(|| (!then.status().is_terminal()).then_some(then.state().seq)),
    }
}

fn difference(then: &Task, now: &Task) -> Option<Divergence> {
    if !then.status().is_terminal() {
        return None;
    }
    let differs = |step, expected: String, came: String| Divergence {
        place: Place { seq: then.state().seq, step, call: None },
        expected,
        came,
        ends: false,
    };
    for index in 0..then.steps().len().max(now.steps().len()) as u32 {
        let (one, other) = (then.step(index), now.step(index));
        let is_same = one.zip(other).is_some_and(|(one, other)| shape(one) == shape(other));
        if !is_same {
            let mut found = differs(Some(index), told(one), told(other));
            found.place.seq =
                one.and_then(|step| step.output_seq.or(step.first_seq)).unwrap_or(found.place.seq);
            return Some(found);
        }
    }
    let end = |task: &Task| (task.status(), task.state().output.as_ref().map(Payload::hash));
    (end(then) != end(now)).then(|| differs(None, told_end(then), told_end(now)))
}

fn shape(step: &Step) -> (crate::task::StepStatus, &str, Option<crate::task::BlobHash>, Option<&str>) {
    let fault = step.fault.as_ref().map(|fault| fault.code.as_str());
    (step.status, &step.plan.id, step.output.as_ref().map(Payload::hash), fault)
}

fn told(step: Option<&Step>) -> String {
    let Some(step) = step else { return "no such step".to_owned() };
    let fault = step.fault.as_ref().map(|fault| format!(", {fault}")).unwrap_or_default();
    let output = step.output.as_ref().map(|output| format!(", {}", output.preview())).unwrap_or_default();
    format!("step '{}' is {}{fault}{output}", step.plan.id, step.status)
}

fn told_end(task: &Task) -> String {
    let state = task.state();
    let output = state.output.as_ref().map(|output| format!(": {}", output.preview())).unwrap_or_default();
    let fault = state.fault.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default();
    format!("the task is {}{fault}{output}", task.status())
}

/// The first call that is recorded and was never made.
fn left_over(script: &mut Script) -> Option<Divergence> {
    let left = script.calls.iter().filter_map(|(at, attempts)| Some((attempts.front()?.asked, *at)));
    let (asked, (step, call)) = left.min()?;
    let entry = script.journal.get(asked)?;
    Some(Divergence {
        place: Place::of(entry.seq, CallAt { step, call }),
        expected: entry.event.message(),
        came: "it was never asked for".to_owned(),
        ends: false,
    })
}
