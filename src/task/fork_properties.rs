//! What holds for a fork of any journal, at any place.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::properties::{any_event, at, live};
use super::*;

/// The fork, if there is one to be had.
fn forked(journal: &[Entry], cut: &Cut) -> Option<(Task, Inheritance)> {
    let inherited = inherit(journal, cut).ok()?;
    let Event::Created { spec } = &journal[0].event else { panic!("a journal begins with its task") };
    let from = ForkPoint { task: TaskId(Uuid::nil()), seq: inherited.seq };
    let spec = Box::new(TaskSpec { forked_from: Some(from), ..(**spec).clone() });
    let created = Entry { seq: 1, epoch: 0, at: at(1), event: Event::Created { spec } };
    let mut task = Task::begin(TaskId(Uuid::max()), &created).unwrap();
    for entry in &inherited.entries {
        task.record(entry.at, entry.event.clone()).unwrap_or_else(|illegal| panic!("{illegal}: {entry:#?}"));
    }
    let event = Event::Forked { from, steps: Vec::new(), replaced: None, by: "p".into() };
    task.record(at(1000), event).unwrap();
    Some((task, inherited))
}

fn any_cut() -> impl Strategy<Value = Cut> {
    let call = (0..4u32, 1..4u32).prop_map(|(step, call)| CallAt { step, call });
    prop_oneof![
        Just(Cut::End),
        (2..60i64).prop_map(Cut::Entry),
        (0..5u32).prop_map(|step| Cut::Steps([step].into())),
        call.prop_map(|call| Cut::Result(call, json!("instead"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_journal_can_be_gone_on_from(
        events in prop::collection::vec(any_event(), 0..120),
        cut in any_cut(),
    ) {
        let (other, journal) = live(events, |_, _, _, _| {});
        let Some((task, inherited)) = forked(&journal, &cut) else { return Ok(()) };
        prop_assert!(task.status().is_live());
        prop_assert!(task.state().usage.is_nothing(), "nothing was consumed yet");
        prop_assert!(inherited.entries.iter().all(|entry| !entry.event.is_dispatch() || entry.seq <= inherited.seq));
        // What is completed here was completed there, with the same output.
        for (index, step) in (0u32..).zip(task.steps()).filter(|(_, step)| step.status == StepStatus::Completed) {
            let there = other.step(index).unwrap();
            if !matches!(cut, Cut::Result(..)) {
                prop_assert_eq!(&there.output, &step.output);
            }
        }
        // No call that changes the world hangs over the cut, and nobody is asked for the other task.
        for call in task.steps().iter().flat_map(|step| &step.calls) {
            if call.state == CallState::Dispatched {
                prop_assert!(call.may_repeat(), "{call:?}");
            }
            prop_assert!(!matches!(call.state, CallState::Asked(_) | CallState::Approved), "{call:?}");
        }
    }

    #[test]
    fn steps_that_are_done_anew_are_as_new(
        events in prop::collection::vec(any_event(), 0..120),
        step in 0..4u32,
    ) {
        let (_, journal) = live(events, |_, _, _, _| {});
        let Some((task, _)) = forked(&journal, &Cut::Steps([step].into())) else { return Ok(()) };
        let again = task.step(step).unwrap();
        prop_assert_eq!((again.status, again.attempts, again.calls.len()), (StepStatus::Pending, 0, 0));
    }
}

#[test]
fn a_fork_needs_a_journal_and_a_place_in_it() {
    let (_, journal) = live(vec![Event::StepStarted { step: 0, attempt: 1 }], |_, _, _, _| {});
    assert_eq!(inherit(&journal[1..], &Cut::End), Err(ForkError::NoJournal));
    assert_eq!(inherit(&journal, &Cut::Entry(9)), Err(ForkError::NoEntry(9, 2, 3)));
    assert_eq!(inherit(&journal, &Cut::Entry(1)), Err(ForkError::NoEntry(1, 2, 3)));
    assert_eq!(inherit(&journal, &Cut::Steps([7].into())), Err(ForkError::NoStep(7)));
    let call = CallAt { step: 0, call: 1 };
    assert_eq!(inherit(&journal, &Cut::Result(call, json!(1))), Err(ForkError::NoResult(call)));
}
