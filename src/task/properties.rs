//! What holds after every sequence of events, legal or not.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;

const STEPS: u32 = 4;

fn spec() -> TaskSpec {
    TaskSpec {
        goal: "goal".into(),
        user_id: "user".into(),
        thread_id: "thread".into(),
        chat_model: None,
        tools: ToolAllowance::default(),
        agent_id: None,
        preset: None,
        instructions: None,
        template: None,
        priority: Priority::default(),
        limits: Limits::default(),
        budget: Budget::default(),
        retry: RetryPolicy::default(),
        approval: ApprovalPolicy::default(),
        taint: Taint::default(),
        forked_from: None,
        parent: None,
        imported: false,
    }
}

fn plan(first: u32, steps: u32) -> Plan {
    let step = |index: u32| PlannedStep {
        // Every third step may run beside the one before it.
        depends_on: if index % 3 == 2 { vec![] } else { index.checked_sub(1).into_iter().collect() },
        optional: index % 4 == 3,
        for_each: (index == 1)
            .then(|| serde_json::from_value(json!({"items": [1, 2], "parallel": 1})).unwrap()),
        checks: if index == 2 { checks() } else { vec![] },
        ..PlannedStep::new(format!("step-{}", index + 1), StepType::ToolCall, "do")
    };
    Plan { steps: (first..first + steps).map(step).collect() }
}

fn checks() -> Vec<Check> {
    serde_json::from_value(json!([{"judge": "good", "required": false}, {"schema": {}}])).unwrap()
}

pub(super) fn at(seq: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seq)
}

fn new_task(spec: TaskSpec) -> (Task, Vec<Entry>) {
    let created = Entry { seq: 1, epoch: 0, at: at(1), event: Event::Created { spec: Box::new(spec) } };
    let mut task = Task::begin(TaskId(Uuid::nil()), &created).unwrap();
    let (plan, tools) = (plan(0, STEPS), Some(Payload::Inline(json!([]))));
    let planned = Event::Planned { revision: 1, plan, by: Planner::default(), tools };
    let planned = task.record(at(2), planned).unwrap();
    (task, vec![created, planned])
}

fn requested(step: u32, call: u32, attempt: u32, begins: bool) -> Event {
    Event::ModelRequested {
        step,
        call,
        attempt,
        model: "scripted/x".parse().unwrap(),
        base: None,
        heard: None,
        shows: begins.then(View::default),
        parts: vec![],
        prompt: None,
        reserve: Reserve { tokens: 2 + 2 * u64::from(attempt), model_calls: 1, ..Reserve::default() },
    }
}

/// Any event, about any step and call, sensible or not.
pub(super) fn any_event() -> impl Strategy<Value = Event> {
    let numbers = (0..STEPS + 2, 1..4u32, 1..4u32, any::<bool>());
    (0..59u8, numbers).prop_map(|(kind, (step, call, attempt, flag))| match kind {
        0..=3 => Event::StepStarted { step, attempt },
        4 | 5 => Event::StepCompleted { step, output: flag.then(|| Payload::text("done")) },
        6 => Event::StepFailed {
            step,
            fault: Fault::transient(if attempt == 2 { CIRCUIT_OPEN } else { "x" }, "x"),
            retry_at: flag.then(|| Timestamp::from_millis(5)),
        },
        7 => Event::StepSkipped { step, reason: "r".into() },
        8 | 9 => requested(step, call, attempt, flag),
        10 => Event::ModelAnswered {
            step,
            call,
            text: Payload::text("t"),
            requests: vec![],
            thinking: None,
            finish: "stop".into(),
            usage: Usage { input_tokens: 3, output_tokens: 2, model_calls: 1, ..Usage::default() },
            model: None,
            without_pictures: flag,
        },
        11 | 12 => dispatched(step, call, attempt, flag),
        13 | 14 => Event::ToolReturned { step, call, result: Payload::text("r"), is_error: flag },
        15 => {
            let class = if flag { FaultClass::Malformed } else { FaultClass::Transient };
            let usage = Usage { input_tokens: 3, output_tokens: 1, model_calls: 1, ..Usage::default() };
            let usage = (attempt % 2 == 0).then(|| Box::new(usage));
            let fault = Fault { usage, ..Fault::new(class, "x", "x") };
            Event::CallFailed { step, call, fault, partial: None }
        }
        16 => Event::CallLost { step, call, detail: "d".into() },
        17 => Event::OutcomeDecided { step, call, result: flag.then(|| Payload::text("r")), by: "p".into() },
        18 => Event::Paused { pause: Pause::new(PauseReason::User, "d"), by: "p".into() },
        19 => Event::Resumed { by: "p".into() },
        20 => planned(attempt, flag),
        21 => Event::Completed { output: Payload::text("o") },
        22 if attempt == 3 => Event::Failed { fault: Fault::permanent("x", "x") },
        23 if attempt == 3 => Event::Cancelled { by: "p".into() },
        24 => Event::Prioritized {
            priority: if flag { Priority::HIGHEST } else { Priority::LOWEST },
            by: "p".into(),
        },
        25..=35 => people_event(kind, step, call, attempt, flag),
        56..=58 => tool_event(kind, step, call, attempt, flag),
        50 => Event::Promoted { said: Payload::text("s"), through: 5, reason: "r".into() },
        37..=45 => plan_event(kind, step, attempt, flag),
        36 if attempt == 3 => {
            Event::BudgetRaised { add: TopUp { tokens: 5, ..TopUp::default() }, by: "p".into(), child: None }
        }
        51..=55 => child_event(kind, step, call, attempt, flag),
        46..=49 => context_event(kind, step, call, attempt, flag),
        _ => Event::StepCompleted { step, output: None },
    })
}

fn dispatched(step: u32, call: u32, attempt: u32, flag: bool) -> Event {
    Event::ToolDispatched {
        step,
        call,
        attempt,
        tool: "t".into(),
        arguments: Payload::Inline(json!({"n": attempt % 2})),
        effect: if flag { Effect::Unsafe } else { Effect::ReadOnly },
        labels: labels(attempt),
        request_id: None,
    }
}

/// Tools of each kind.
fn labels(number: u32) -> Labels {
    Labels { untrusted: number == 1, private: number != 1, outward: number != 2, secret: number == 2 }
}

fn planned(revision: u32, has_tools: bool) -> Event {
    let tools = has_tools.then(|| Payload::Inline(json!([{"name": "t"}])));
    Event::Planned { revision, plan: plan(STEPS, 2), by: Planner::default(), tools }
}

/// Any event about lists and checks.
fn plan_event(kind: u8, step: u32, attempt: u32, flag: bool) -> Event {
    match kind {
        37 | 38 => {
            let item =
                |n: u32| FannedItem { description: format!("do {n}"), value: Payload::Inline(json!(n)) };
            Event::FannedOut { step: 1, items: (0..attempt).map(item).collect() }
        }
        39 | 40 => Event::StepClaimed { step: 2, output: flag.then(|| Payload::text("o")) },
        41..=43 => Event::StepVerified {
            step: 2,
            check: u32::from(kind != 41),
            passed: flag,
            evidence: Payload::text("e"),
            by: "b".into(),
            usage: Usage::default(),
        },
        _ => {
            let decision = if flag { CheckDecision::Accept } else { CheckDecision::Retry };
            Event::CheckDecided { step, decision, by: "p".into() }
        }
    }
}

/// Any event about a tool that has changed.
fn tool_event(kind: u8, step: u32, call: u32, attempt: u32, flag: bool) -> Event {
    let tools = |name: &str| Payload::Inline(json!([{"name": name}]));
    if kind == 58 {
        return Event::ToolAccepted { step, call, tools: tools("changed"), by: "p".into() };
    }
    Event::ToolChanged(Box::new(ToolNotice {
        step,
        call,
        attempt,
        tool: "t".into(),
        arguments: Payload::Inline(json!({"n": attempt % 2})),
        effect: if flag { Effect::Unsafe } else { Effect::ReadOnly },
        request_id: None,
        change: ToolChange { before: tools("t"), now: tools("changed") },
        expires_at: at(attempt.into()),
        on_expiry: OnExpiry::Deny,
    }))
}

/// Any event about what models are told of the past.
fn context_event(kind: u8, step: u32, call: u32, attempt: u32, flag: bool) -> Event {
    match kind {
        46 => Event::ConversationSummarized {
            step,
            from: 1,
            through: call,
            summary: Payload::text("s"),
            by: "scripted/x".into(),
            prompt: "p".into(),
            input: BlobHash::of(b"i"),
            tokens_before: 9,
            tokens_after: 1,
            usage: Usage { input_tokens: 3, output_tokens: 2, model_calls: 1, ..Usage::default() },
        },
        47 => Event::FactPinned { step: Some(step), text: Payload::text("f"), by: "p".into() },
        _ => Event::Restored {
            checkpoint: 2,
            revision: attempt + 1,
            undone: vec![(if flag { 0 } else { step }, STEPS - 1)],
            plan: plan(STEPS, 1 + call),
            summary: None,
            notice: Payload::text("n"),
            by: "p".into(),
        },
    }
}

/// Any event about tasks that carry out calls.
fn child_event(kind: u8, step: u32, call: u32, attempt: u32, flag: bool) -> Event {
    match kind {
        51..=53 => Event::ChildStarted {
            step,
            call,
            attempt,
            tool: "t".into(),
            arguments: Payload::Inline(json!({"n": attempt % 2})),
            request_id: None,
            child: TaskId(Uuid::from_u128(attempt.into())),
            template: None,
            grant: Budget {
                tokens: Some(2 * u64::from(attempt)),
                tool_calls: Some(1),
                steps: flag.then_some(1),
                ..Budget::default()
            },
        },
        54 => Event::ChildEnded {
            step,
            call,
            status: Status::Completed,
            result: Payload::text("r"),
            is_error: flag,
            usage: Usage { input_tokens: 3, model_calls: 1, tool_calls: attempt, ..Usage::default() },
            taint: Taint::default(),
            besides: Reserve { tokens: 1, steps: 1, ..Reserve::default() },
        },
        _ => {
            let add = TopUp { tokens: 5, ..TopUp::default() };
            Event::BudgetRaised { add, by: "p".into(), child: Some(CallAt { step, call }) }
        }
    }
}

/// Any event about what people are asked and what they say.
fn people_event(kind: u8, step: u32, call: u32, attempt: u32, flag: bool) -> Event {
    match kind {
        25..=27 => Event::ApprovalRequested {
            step,
            call,
            attempt,
            tool: "t".into(),
            arguments: Payload::Inline(json!({"n": attempt % 2})),
            effect: if flag { Effect::Unsafe } else { Effect::ReadOnly },
            request_id: None,
            expires_at: at(attempt.into()),
            on_expiry: OnExpiry::Deny,
            because: None,
        },
        28 | 29 => Event::ApprovalGiven {
            step,
            call,
            arguments: (attempt == 2).then(|| Payload::Inline(json!({"n": 1}))),
            by: "p".into(),
        },
        30 => Event::ApprovalDenied { step, call, reason: "r".into(), by: "p".into() },
        31 => Event::InputRequested {
            step,
            call,
            attempt,
            tool: "t".into(),
            arguments: Payload::Inline(json!({})),
            request_id: None,
            expires_at: at(attempt.into()),
            on_expiry: OnExpiry::Deny,
        },
        32 => Event::InputGiven { step, call, answer: Payload::text("a"), by: "p".into() },
        33 => Event::InputDeclined { step, call, reason: String::new(), by: "p".into() },
        34 => Event::MessageReceived { text: Payload::text("m"), pictures: Vec::new(), by: "p".into() },
        _ => Event::Paused { pause: Pause::new(PauseReason::Approval, "d"), by: "p".into() },
    }
}

/// Applies what can be applied; returns the journal.
pub(super) fn live(events: Vec<Event>, look: impl FnMut(&Task, &Task, &Event, bool)) -> (Task, Vec<Entry>) {
    live_within(Budget::default(), events, look)
}

/// The same within a budget.
pub(super) fn live_within(
    budget: Budget,
    events: Vec<Event>,
    mut look: impl FnMut(&Task, &Task, &Event, bool),
) -> (Task, Vec<Entry>) {
    let (mut task, mut journal) = new_task(TaskSpec { budget, ..spec() });
    for event in events {
        let before = task.clone();
        let accepted =
            task.record(at(task.state().seq + 1), event.clone()).map(|entry| journal.push(entry)).is_ok();
        look(&before, &task, &event, accepted);
    }
    (task, journal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_changes_nothing(events in prop::collection::vec(any_event(), 0..80)) {
        live(events, |before, after, event, accepted| {
            if !accepted {
                assert_eq!(before, after, "{event:?}");
            }
        });
    }

    #[test]
    fn an_end_is_never_left(events in prop::collection::vec(any_event(), 0..80)) {
        live(events, |before, after, event, accepted| {
            if before.status().is_terminal() {
                assert_eq!(before.status(), after.status());
                assert!(!accepted || event.may_come_late(), "{event:?}");
            }
        });
    }

    #[test]
    fn a_completed_task_has_no_required_step_that_failed(events in prop::collection::vec(any_event(), 0..80)) {
        let (task, _) = live(events, |_, _, _, _| {});
        if task.status() == Status::Completed {
            for step in task.steps().iter().filter(|step| step.is_required()) {
                assert!(matches!(step.status, StepStatus::Completed | StepStatus::Skipped), "{step:?}");
                if step.status == StepStatus::Completed && !step.checks().is_empty() {
                    assert_eq!(step.standing(), Standing::Met);
                }
            }
        }
    }

    #[test]
    fn folding_and_restoring_give_the_same_task(events in prop::collection::vec(any_event(), 0..80)) {
        let (task, journal) = live(events, |_, _, _, _| {});
        let folded = Task::fold(task.id, &journal).unwrap();
        prop_assert_eq!(&folded, &task);
        // What the tables keep: everything but the calls, which come from the journal.
        let rows: Vec<Step> = task.steps().iter().map(|step| Step { calls: vec![], digest: None, ..step.clone() }).collect();
        // Of a step that was put back or given up nothing is read: its calls are of interest to nobody.
        let begin = task.calls_after().unwrap_or(i64::MAX);
        let calls: Vec<Entry> = journal
            .iter()
            .filter(|entry| entry.seq > begin && entry.event.is_about_call())
            .filter(|entry| entry.event.step().is_some_and(|step| task.recalls(step)))
            .cloned()
            .collect();
        let restored = Task::restore(task.id, task.spec().clone(), task.state().clone(), rows, &calls);
        prop_assert_eq!(&restored, &task);
        prop_assert_eq!(restored.frontier(), task.frontier());
        prop_assert_eq!(&restored.fan_outs, &task.fan_outs);
    }

    #[test]
    fn of_a_live_task_calls_are_known_only_where_something_is_left_to_do_or_to_end(
        events in prop::collection::vec(any_event(), 0..120),
    ) {
        live(events, |_, after, event, _| {
            for (index, step) in (0u32..).zip(after.steps()).filter(|(_, step)| !step.calls.is_empty()) {
                let may_end = step.calls.iter().any(|call| call.state.is_open());
                let is_left = !step.is_settled() || may_end || step.is_unverified();
                assert!(after.status().is_terminal() || is_left, "{event:?}: step {index}: {step:?}");
                assert!(after.recalls(index), "{event:?}: step {index} is not read: {step:?}");
            }
        });
    }

    #[test]
    fn the_frontier_and_the_counts_are_those_of_the_steps(events in prop::collection::vec(any_event(), 0..80)) {
        let (task, _) = live(events, |_, _, _, _| {});
        let frontier: Vec<u32> = (0..task.steps().len() as u32)
            .filter(|_| !task.status().is_terminal())
            .filter(|index| {
                let step = task.step(*index).unwrap();
                let items = task.items_of(*index).all(|item| task.step(item).is_some_and(Step::is_settled));
                !step.is_settled() && items && task.dependencies_settled(step)
            })
            .collect();
        prop_assert_eq!(task.frontier().iter().copied().collect::<Vec<_>>(), frontier);
        let count = |keep: fn(&Step) -> bool| task.steps().iter().filter(|step| keep(step)).count() as u32;
        prop_assert_eq!(task.state().completed, count(|step| step.status == StepStatus::Completed));
        prop_assert_eq!(task.state().replaced, count(|step| step.replaced));
        prop_assert!(task.progress() <= 100);
        prop_assert!(task.progress() == 100 || task.status() != Status::Completed);
    }

    #[test]
    fn the_tables_take_every_step(events in prop::collection::vec(any_event(), 0..80)) {
        live(events, |_, after, event, _| {
            for step in after.steps() {
                assert_eq!(step.attempts > 0, step.started_at.is_some(), "{event:?}: {step:?}");
                assert!(step.retry_at.is_none() || step.status == StepStatus::Failed, "{event:?}: {step:?}");
                let is_done = matches!(step.status, StepStatus::Completed | StepStatus::Skipped);
                assert!(!is_done || step.completed_at.is_some(), "{event:?}: {step:?}");
            }
        });
    }

    #[test]
    fn an_unsafe_call_is_dispatched_again_only_if_it_had_no_effect(
        events in prop::collection::vec(any_event(), 0..120),
    ) {
        live(events, |before, _, event, accepted| {
            let Event::ToolDispatched { step, call, attempt: 2.., .. } = event else { return };
            if !accepted {
                return;
            }
            let last = before.step(*step).and_then(|step| step.call(*call)).unwrap();
            if let CallSubject::Tool { effect: Effect::Unsafe, .. } = last.subject {
                assert!(matches!(last.state, CallState::Failed(_)), "{last:?}");
            }
        });
    }

    #[test]
    fn a_call_that_was_asked_for_is_dispatched_only_as_approved_and_once(
        events in prop::collection::vec(any_event(), 0..160),
    ) {
        let mut approved: std::collections::HashMap<(u32, u32), u32> = Default::default();
        live(events, |before, _, event, accepted| {
            match event {
                Event::ApprovalGiven { step, call, .. } if accepted => {
                    approved.entry((*step, *call)).and_modify(|count| *count += 1).or_insert(1);
                }
                Event::ToolDispatched { step, call, arguments, .. } if accepted => {
                    let Some(last) = before.step(*step).and_then(|step| step.call(*call)) else { return };
                    assert!(!matches!(last.state, CallState::Asked(_) | CallState::Denied(_)), "{last:?}");
                    let CallSubject::Tool { arguments: known, .. } = &last.subject else { return };
                    if last.is_approved {
                        assert_eq!(known.hash(), arguments.hash(), "other arguments than were approved");
                    }
                    if last.state == CallState::Approved {
                        let left = approved.get_mut(&(*step, *call)).expect("an approval");
                        assert!(*left > 0, "an approval was used twice");
                        *left -= 1;
                    } else if last.is_approved {
                        assert!(last.may_repeat(), "an unsafe call used an approval twice: {last:?}");
                    }
                }
                _ => {}
            }
        });
    }

    #[test]
    fn what_was_read_is_never_forgotten_and_nothing_goes_outward_behind_both_without_approval(
        events in prop::collection::vec(any_event(), 0..160),
    ) {
        live(events, |before, after, event, accepted| {
            let (was, is) = (&before.state().taint, &after.state().taint);
            assert!(was.untrusted.is_none() || was.untrusted == is.untrusted, "{event:?}");
            assert!(was.private.is_none() || was.private == is.private, "{event:?}");
            let Event::ToolDispatched { step, call, labels, .. } = event else { return };
            let asks_for_a_secret = labels.secret && was.untrusted.is_some();
            if accepted && (labels.outward && was.is_both() || asks_for_a_secret) {
                let known = before.step(*step).and_then(|step| step.call(*call)).unwrap();
                assert!(known.is_approved, "{known:?}");
            }
        });
    }

    #[test]
    fn the_open_requests_are_counted(events in prop::collection::vec(any_event(), 0..120)) {
        let (task, _) = live(events, |_, _, _, _| {});
        let expiries: Vec<Timestamp> = task.asks().map(|(_, _, ask)| ask.expires_at).collect();
        let counted = task.state().asking.map(|asking| (asking.open as usize, asking.expires_at));
        prop_assert_eq!(counted, expiries.iter().min().map(|first| (expiries.len(), *first)));
        if let Some(pause) = &task.state().pause && pause.reason == PauseReason::Approval {
            prop_assert!(task.status() == Status::Paused);
        }
    }

    #[test]
    fn a_live_task_always_wants_something(events in prop::collection::vec(any_event(), 0..80)) {
        let (task, _) = live(events, |_, _, _, _| {});
        let rests = task.next(at(1_000_000)) == Next::Rest;
        prop_assert_eq!(rests, !task.status().is_live());
    }
}

#[test]
fn of_a_step_that_a_person_accepts_no_summary_of_its_calls_is_kept() {
    let (mut task, _) = new_task(spec());
    let answered = Event::ModelAnswered {
        step: 2,
        call: 1,
        text: Payload::text("t"),
        requests: vec![],
        thinking: None,
        finish: "stop".into(),
        usage: Usage::default(),
        model: None,
        without_pictures: false,
    };
    let verified = |check, passed| Event::StepVerified {
        step: 2,
        check,
        passed,
        evidence: Payload::text("e"),
        by: "b".into(),
        usage: Usage::default(),
    };
    let events = vec![
        Event::StepStarted { step: 2, attempt: 1 },
        requested(2, 1, 1, true),
        answered,
        context_event(46, 2, 1, 1, false),
        Event::StepClaimed { step: 2, output: Some(Payload::text("o")) },
        verified(0, true),
        verified(1, false),
        Event::StepFailed { step: 2, fault: Fault::permanent("x", "x"), retry_at: None },
    ];
    let record = |task: &mut Task, event| task.record(at(task.state().seq + 1), event).unwrap();
    for event in events {
        record(&mut task, event);
    }
    assert!(task.step(2).is_some_and(|step| step.digest.is_some() && !step.calls.is_empty()));
    record(&mut task, Event::CheckDecided { step: 2, decision: CheckDecision::Accept, by: "p".into() });
    assert!(task.step(2).is_some_and(|step| step.digest.is_none() && step.calls.is_empty()));
}
