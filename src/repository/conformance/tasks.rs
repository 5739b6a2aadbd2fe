//! Tasks are kept whole and found again.

use std::time::Duration;

use serde_json::json;

use super::world::{LONG, World, cancelled, completed, dispatched, now, returned, started};
use super::{Check, Verdict, ensure};
use crate::repository::{Lease, ListFilter, RepositoryError};
use crate::task::{
    CIRCUIT_OPEN, Effect, Event, Fault, ForkPoint, Payload, Plan, PlannedStep, Planner, Status, StepType,
    Task, TaskSpec,
};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a created task is read back as it was created", |world| Box::pin(read_back(world))),
    ("a task can be created once", |world| Box::pin(created_once(world))),
    ("a loaded task equals the fold of its journal, calls included", |world| Box::pin(equals_fold(world))),
    ("what a step did that was given up is not read again with each load", |world| Box::pin(given_up(world))),
    ("the end of a task closes a step whose only attempt did not count", |world| Box::pin(uncounted(world))),
    ("large contents are stored by name and read back", |world| Box::pin(large_contents(world))),
    ("NUL characters are stored as replacement characters", |world| Box::pin(nul_characters(world))),
    ("lists are by user, thread and status, newest first, in pages", |world| Box::pin(lists(world))),
    ("lists have the tasks whose goals have all words in them", |world| Box::pin(searched(world))),
    ("lists say where tasks come from", |world| Box::pin(origins(world))),
    ("lists say what tasks are at, and until when they rest", |world| Box::pin(at_work(world))),
    ("a plan of ten thousand steps is kept", |world| Box::pin(long_plan(world))),
    ("a task that is not there is not found", |world| Box::pin(not_found(world))),
];

async fn read_back(world: World) -> Verdict {
    let task = world.task("Read me back: é 漢字 🚚 '\"\\", 3).await?;
    let loaded = world.load(task.id).await?;
    ensure!(loaded == task, "{loaded:?} instead of {task:?}");
    Ok(())
}

async fn created_once(world: World) -> Verdict {
    let (task, entries) = world.draft("Once", 1)?;
    world.repository.create(&task, entries.clone(), None).await?;
    let again = world.repository.create(&task, entries, None).await;
    ensure!(matches!(again, Err(RepositoryError::Exists)), "the second time: {again:?}");
    Ok(())
}

async fn equals_fold(world: World) -> Verdict {
    let id = world.task("Fold me", 4).await?.id;
    let mut task = world.hold(id).await?;
    let claimed = Event::Claimed { worker: "w".into(), crashes: 0 };
    world.commit(&mut task, vec![claimed, started(0)], Lease::Keep).await?;
    let first = vec![dispatched(0, 1, Effect::ReadOnly), returned(0, 1, json!({"a": [1, 2.5, null]}))];
    world.commit(&mut task, first, Lease::Keep).await?;
    world.commit(&mut task, vec![completed(0, "one"), started(1)], Lease::Keep).await?;
    let open =
        vec![dispatched(1, 1, Effect::Unsafe), returned(1, 1, json!("x")), dispatched(1, 2, Effect::Unsafe)];
    world.commit(&mut task, open, Lease::Keep).await?;
    let loaded = world.load(id).await?;
    let journal = world.repository.journal(id, 0, 1000).await?;
    let folded = Task::fold(id, &journal)?;
    ensure!(loaded == task, "loaded {loaded:?} instead of {task:?}");
    ensure!(folded == task, "folded {folded:?} instead of {task:?}");
    Ok(())
}

async fn given_up(world: World) -> Verdict {
    const AGAIN: u32 = 20;
    let id = world.task("Give up", 1).await?.id;
    let mut task = world.hold(id).await?;
    let fault = Fault::permanent("x", "It does not work.");
    let failed = Event::StepFailed { step: 0, fault, retry_at: None };
    let called = |step| vec![started(step), dispatched(step, 1, Effect::ReadOnly)];
    let events = [called(0), vec![returned(0, 1, json!("no")), failed]].concat();
    world.commit(&mut task, events, Lease::Keep).await?;
    let loaded = world.load(id).await?;
    ensure!(loaded == task, "loaded {loaded:?} instead of {task:?}");
    ensure!(loaded.calls_after() == Some(3), "it may go on: {:?}", loaded.calls_after());
    let step = |number| PlannedStep::new(format!("again-{number}"), StepType::ToolCall, "Do it otherwise");
    let plan = Plan { steps: (0..=AGAIN).map(step).collect() };
    let planned = Event::Planned { revision: 2, plan, by: Planner::default(), tools: None };
    world.commit(&mut task, vec![planned], Lease::Keep).await?;
    for step in 1..=AGAIN {
        world.commit(&mut task, vec![started(step), completed(step, "x")], Lease::Keep).await?;
    }
    let loaded = world.load(id).await?;
    ensure!(loaded == task, "loaded {loaded:?} instead of {task:?}");
    ensure!(loaded.calls_after().is_none(), "all is read since {:?}", loaded.calls_after());
    // One that is skipped while a call is on its way is read until that has ended.
    let (last, began) = (AGAIN + 1, task.state().seq + 1);
    let skipped = Event::StepSkipped { step: last, reason: "not needed".to_owned() };
    world.commit(&mut task, [called(last), vec![skipped]].concat(), Lease::Keep).await?;
    let loaded = world.load(id).await?;
    ensure!(loaded == task && loaded.calls_after() == Some(began), "{:?}", loaded.step(last));
    world.commit(&mut task, vec![returned(last, 1, json!("late"))], Lease::Keep).await?;
    let loaded = world.load(id).await?;
    ensure!(loaded == task && loaded.calls_after().is_none(), "{:?}", loaded.step(last));
    Ok(())
}

async fn uncounted(world: World) -> Verdict {
    let id = world.task("Nobody was asked", 1).await?.id;
    let mut task = world.hold(id).await?;
    let fault = Fault::transient(CIRCUIT_OPEN, "Nobody was asked.");
    let failed = Event::StepFailed { step: 0, fault, retry_at: Some(now()) };
    world.commit(&mut task, vec![started(0), failed], Lease::Keep).await?;
    world.commit(&mut task, vec![cancelled()], Lease::Keep).await?;
    let loaded = world.load(id).await?;
    ensure!(loaded == task, "loaded {loaded:?} instead of {task:?}");
    Ok(())
}

async fn large_contents(world: World) -> Verdict {
    let id = world.task("Large", 1).await?.id;
    let mut task = world.hold(id).await?;
    let content = json!({"text": "long ".repeat(50_000), "z": 1, "a": 2});
    let events = vec![started(0), dispatched(0, 1, Effect::ReadOnly), returned(0, 1, content.clone())];
    world.commit(&mut task, events, Lease::Keep).await?;
    let loaded = world.load(id).await?;
    let call = loaded.step(0).and_then(|step| step.call(1));
    let Some(result) = call.and_then(|call| call.result.clone()) else {
        return Err(super::Broken("the result is not there".into()));
    };
    ensure!(matches!(result, Payload::Blob { .. }), "stored inline: {} bytes", result.preview().len());
    let read = world.repository.content(&result).await?;
    ensure!(read == content, "another content came back");
    Ok(())
}

async fn nul_characters(world: World) -> Verdict {
    let id = world.task("Nul \0 here", 1).await?.id;
    let mut task = world.hold(id).await?;
    let events = vec![started(0), dispatched(0, 1, Effect::ReadOnly), returned(0, 1, json!({"k\0": "v\0"}))];
    world.commit(&mut task, events, Lease::Keep).await?;
    let loaded = world.load(id).await?;
    ensure!(loaded.spec().goal == "Nul \u{fffd} here", "{:?}", loaded.spec().goal);
    let result = loaded.step(0).and_then(|step| step.call(1)).and_then(|call| call.result.clone());
    let expected = Payload::Inline(json!({"k\u{fffd}": "v\u{fffd}"}));
    ensure!(result == Some(expected), "{result:?}");
    Ok(())
}

async fn lists(world: World) -> Verdict {
    let (first, second) = (world.task("First", 1).await?, world.task("Second", 1).await?);
    let mut third = world.task("Third", 1).await?;
    world.commit(&mut third, vec![cancelled()], Lease::Keep).await?;
    let mine = ListFilter { user_id: Some(world.user.clone()), ..ListFilter::default() };
    let ids =
        |tasks: Vec<crate::repository::TaskSummary>| tasks.iter().map(|task| task.id).collect::<Vec<_>>();
    let all = ids(world.repository.list(&mine).await?);
    ensure!(all == [third.id, second.id, first.id], "all: {all:?}");
    let ended = ListFilter { statuses: vec![Status::Cancelled, Status::Failed], ..mine.clone() };
    ensure!(ids(world.repository.list(&ended).await?) == [third.id], "by status");
    let thread = ListFilter { thread_id: Some("another".into()), ..mine.clone() };
    ensure!(world.repository.list(&thread).await?.is_empty(), "by thread");
    let page = ListFilter { before: Some(third.id), limit: 1, ..mine };
    ensure!(ids(world.repository.list(&page).await?) == [second.id], "by page");
    Ok(())
}

async fn searched(world: World) -> Verdict {
    let plain = world.task("Compare all modules", 1).await?.id;
    let percent = world.task("Find 100% of the MODULES in a_b", 1).await?.id;
    let abroad = world.task("Übersetze die Bücher aus Ústí", 1).await?.id;
    let backslash = world.task(r"Look into C:\temp", 1).await?.id;
    for (query, expected) in [
        ("modules", vec![percent, plain]),
        ("MODULES compare", vec![plain]),
        ("ödules", vec![]),
        ("%", vec![percent]),
        ("a_b", vec![percent]),
        ("axb", vec![]),
        ("übersetze bÜcher", vec![abroad]),
        ("ústí", vec![abroad]),
        (r"c:\temp", vec![backslash]),
        ("\0", vec![]),
        ("", vec![backslash, abroad, percent, plain]),
    ] {
        let words = query.split_whitespace().map(str::to_owned).collect();
        let filter = ListFilter { user_id: Some(world.user.clone()), words, ..ListFilter::default() };
        let found: Vec<_> = world.repository.list(&filter).await?.iter().map(|task| task.id).collect();
        ensure!(found == expected, "{query:?}: {found:?} instead of {expected:?}");
        let page = ListFilter { limit: 1, before: Some(backslash), ..filter };
        let found: Vec<_> = world.repository.list(&page).await?.iter().map(|task| task.id).collect();
        let first: Vec<_> = expected.into_iter().filter(|id| *id < backslash).take(1).collect();
        ensure!(found == first, "the page of {query:?}: {found:?} instead of {first:?}");
    }
    Ok(())
}

async fn origins(world: World) -> Verdict {
    let origin = world.task("Begin", 1).await?.id;
    let from = ForkPoint { task: origin, seq: 2 };
    let forked = world.task_of(TaskSpec { forked_from: Some(from), ..world.spec("Fork") }, 1).await?.id;
    let imported = world.task_of(TaskSpec { imported: true, ..world.spec("Import") }, 1).await?.id;
    let mine = ListFilter { user_id: Some(world.user.clone()), ..ListFilter::default() };
    let listed = world.repository.list(&mine).await?;
    let seen: Vec<_> = listed.iter().map(|task| (task.id, task.forked_from, task.imported)).collect();
    let expected = [(imported, None, true), (forked, Some(from), false), (origin, None, false)];
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}

async fn at_work(world: World) -> Verdict {
    let mine = ListFilter { user_id: Some(world.user.clone()), ..ListFilter::default() };
    let task = world.task("At work", 2).await?;
    let mut held = world.hold(task.id).await?;
    world.commit(&mut held, vec![started(0)], Lease::Keep).await?;
    let listed = world.repository.list(&mine).await?;
    let [at] = &listed[..] else { return Err(super::Broken(format!("{listed:?}"))) };
    let first = held.step(0).map(|step| step.plan.description.clone());
    ensure!(at.current_step == first && at.worker.is_some() && at.wake_at.is_none(), "held: {at:?}");
    world.commit(&mut held, vec![], Lease::Release(LONG)).await?;
    let listed = world.repository.list(&mine).await?;
    let [at] = &listed[..] else { return Err(super::Broken(format!("{listed:?}"))) };
    ensure!(at.worker.is_none() && at.wake_at > Some(at.updated_at), "given back: {at:?}");
    let mut held = world.load(task.id).await?;
    world.commit(&mut held, vec![cancelled()], Lease::Keep).await?;
    let listed = world.repository.list(&mine).await?;
    let [at] = &listed[..] else { return Err(super::Broken(format!("{listed:?}"))) };
    ensure!(at.current_step.is_none() && at.wake_at.is_none(), "ended: {at:?}");
    Ok(())
}

async fn long_plan(world: World) -> Verdict {
    let task = world.task("Long", 10_000).await?;
    let loaded = world.load(task.id).await?;
    ensure!(loaded == task, "another task came back");
    let mut held = world.hold(task.id).await?;
    world.commit(&mut held, vec![started(0), completed(0, "x")], Lease::Release(Duration::ZERO)).await?;
    let loaded = world.load(task.id).await?;
    ensure!(loaded.state().completed == 1 && loaded.total_steps() == 10_000, "{:?}", loaded.state());
    world.commit(&mut held, vec![cancelled()], Lease::Keep).await?;
    Ok(())
}

async fn not_found(world: World) -> Verdict {
    let (mut task, _) = world.draft("Never stored", 1)?;
    ensure!(world.repository.load(task.id).await?.is_none(), "something was loaded");
    ensure!(world.repository.journal(task.id, 0, 10).await?.is_empty(), "it has entries");
    let refused = world.commit(&mut task, vec![cancelled()], Lease::Keep).await;
    ensure!(matches!(refused, Err(RepositoryError::NotFound)), "the commit: {refused:?}");
    Ok(())
}
