//! What holds of every budget after every sequence of events.

use proptest::prelude::*;
use uuid::Uuid;

use super::properties::{any_event, at, live_within};
use super::*;

fn tight() -> Budget {
    Budget {
        tokens: Some(30),
        model_calls: Some(5),
        tool_calls: Some(4),
        steps: Some(3),
        wall_time_ms: Some(60_000),
        ..Budget::default()
    }
}

/// All that counts against the tokens and the model calls.
fn charged(task: &Task) -> Reserve {
    let spent = &task.state().spent;
    Reserve::of(&task.state().usage).plus(spent.lost).plus(spent.reserved)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_call_is_made_only_if_what_it_may_consume_fits(events in prop::collection::vec(any_event(), 0..100)) {
        live_within(tight(), events, |_, after, event, accepted| {
            let budget = after.budget();
            if accepted && matches!(event, Event::ModelRequested { .. }) {
                assert!(charged(after).tokens <= budget.tokens.unwrap(), "{:?}", after.state());
                assert!(charged(after).model_calls <= budget.model_calls.unwrap());
            }
            // What a child did beyond its grant was not for this task to stop.
            let beyond = after.state().spent.beyond.tool_calls;
            assert!(after.state().usage.tool_calls - beyond <= budget.tool_calls.unwrap());
        });
    }

    #[test]
    fn only_what_was_not_reserved_exceeds_the_budget(events in prop::collection::vec(any_event(), 0..100)) {
        live_within(tight(), events, |_, after, _, _| {
            let within = charged(after).minus(after.state().spent.beyond);
            assert!(within.tokens <= after.budget().tokens.unwrap(), "{:?}", after.state());
            assert!(within.model_calls <= after.budget().model_calls.unwrap());
        });
    }

    #[test]
    fn nothing_that_was_charged_is_forgotten_unless_it_cost_nothing(
        events in prop::collection::vec(any_event(), 0..100),
    ) {
        live_within(tight(), events, |before, after, event, accepted| {
            let falls = charged(after).tokens < charged(before).tokens;
            let may_fall = match event {
                Event::ModelAnswered { .. } | Event::ChildEnded { .. } => true,
                Event::CallFailed { fault, .. } => fault.usage.is_some() || !fault.may_have_cost(),
                _ => false,
            };
            assert!(!falls || (accepted && may_fall), "{event:?}");
        });
    }

    #[test]
    fn no_more_steps_begin_than_the_budget_has(events in prop::collection::vec(any_event(), 0..100)) {
        let (task, _) = live_within(tight(), events, |_, _, _, _| {});
        let begun = task.steps().iter().filter(|step| step.attempts > 0).count();
        prop_assert!(begun <= 3);
    }

    #[test]
    fn what_the_tables_keep_of_an_account_is_all_of_it(events in prop::collection::vec(any_event(), 0..100)) {
        let (task, journal) = live_within(tight(), events, |_, _, _, _| {});
        let folded = Task::fold(task.id, &journal).unwrap();
        prop_assert_eq!(folded.state(), task.state());
        let stored = serde_json::to_string(task.state()).unwrap();
        let read: State = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(Ledger::of(&task), Ledger::of(&Task::restore(
            task.id, task.spec().clone(), read, task.steps().to_vec(), &[],
        )));
    }
}

fn task_with(budget: Budget) -> Task {
    let spec = serde_json::json!({"goal": "g", "userId": "u", "threadId": "t", "budget": budget});
    let spec: TaskSpec = serde_json::from_value(spec).unwrap();
    let first = Entry { seq: 1, epoch: 0, at: at(1), event: Event::Created { spec: Box::new(spec) } };
    Task::begin(TaskId(Uuid::nil()), &first).unwrap()
}

#[test]
fn the_time_of_a_pause_does_not_count() {
    let mut task = task_with(Budget { wall_time_ms: Some(10_000), ..Budget::default() });
    let pause = Pause::new(PauseReason::User, "d");
    task.record(at(5), Event::Paused { pause, by: "p".into() }).unwrap();
    task.record(at(105), Event::Resumed { by: "p".into() }).unwrap();
    assert_eq!(Ledger::of(&task).has_time(at(110)), Ok(()));
    let over = Ledger::of(&task).has_time(at(111)).unwrap_err();
    assert_eq!((over.resource, over.limit), (Resource::WallTimeMs, 10_000));
}

#[test]
fn a_model_is_warned_from_the_soft_limit_on() {
    let task = task_with(Budget { tokens: Some(100), ..Budget::default() });
    let mut ledger = Ledger::of(&task);
    ledger.charge(&Usage { input_tokens: 79, ..Usage::default() });
    assert_eq!(ledger.nearly_used_up(at(2)), None);
    ledger.charge(&Usage { output_tokens: 1, ..Usage::default() });
    assert_eq!(ledger.nearly_used_up(at(2)), Some((Resource::Tokens, 80)));
}

#[test]
fn what_has_no_limit_is_never_used_up() {
    let mut ledger = Ledger::of(&task_with(Budget::default()));
    let much = Reserve {
        tokens: u64::MAX,
        cost_usd: Usd::from_nanos(u64::MAX),
        model_calls: u32::MAX,
        ..Reserve::default()
    };
    assert_eq!(ledger.reserve(much, at(1_000_000)), Ok(()));
    assert_eq!(ledger.reserve(much, at(1_000_000)), Ok(()));
    assert_eq!(ledger.nearly_used_up(at(1_000_000)), None);
}

#[test]
fn people_read_what_is_used_up() {
    let mut ledger = Ledger::of(&task_with(Budget {
        cost_usd: Usd::from_dollars(0.5),
        tokens: Some(1000),
        ..Budget::default()
    }));
    let much =
        Reserve { tokens: 900, cost_usd: Usd::from_nanos(10_000_000), model_calls: 1, ..Reserve::default() };
    ledger.reserve(much, at(2)).unwrap();
    let text = ledger.reserve(much, at(2)).unwrap_err().to_string();
    assert_eq!(text, "the budget of tokens is used up: 900 of 1000, and the next call may take 900");
    let dear = Reserve { cost_usd: Usd::from_nanos(600_000_000), ..Reserve::default() };
    assert!(
        ledger.reserve(dear, at(2)).unwrap_err().to_string().contains("money is used up: $0.0100 of $0.5000")
    );
}
