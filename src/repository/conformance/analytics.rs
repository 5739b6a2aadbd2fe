//! What happened is counted once, whoever counts it and whenever.

use std::time::Duration;

use serde_json::json;

use super::world::{World, cancelled, completed, dispatched, now, returned, started};
use super::{Check, Verdict, ensure};
use crate::repository::Lease;
use crate::repository::RepositoryError;
use crate::repository::analytics::{Figure, FigureFilter, HOUR, Measure, Reach, Span};
use crate::task::{Effect, Event, Fault, Payload, Reserve, Timestamp, Usage};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("every entry is counted once, whatever is counted at the same time", |world| Box::pin(once(world))),
    ("a pass over named tasks counts these and no others", |world| Box::pin(of_these(world))),
    ("a call that began in an earlier pass is counted with its name and its time", |world| {
        Box::pin(across(world))
    }),
    ("models count with what they consumed", |world| Box::pin(models(world))),
    ("figures are told by time, and by user", |world| Box::pin(by_time(world))),
    ("failures that are alike are told together, the newest with its task", |world| {
        Box::pin(failures(world))
    }),
    ("what waits, runs and rests is told, and who has waited longest", |world| Box::pin(line(world))),
];

/// Counts until there is nothing left.
async fn count(world: &World) -> Result<(), RepositoryError> {
    for reach in [Reach::Recent, Reach::All] {
        while world.repository.analytics().count(&reach).await? > 0 {}
    }
    Ok(())
}

async fn ever(world: &World, measure: Measure) -> Result<Vec<Figure>, RepositoryError> {
    let filter = FigureFilter { user_id: Some(world.user.clone()), measures: vec![measure], range: None };
    world.repository.analytics().figures(&filter).await
}

/// How often each name was counted.
async fn events(world: &World, measure: Measure) -> Result<Vec<(String, u64)>, RepositoryError> {
    let figures = ever(world, measure).await?;
    Ok(figures.into_iter().map(|figure| (figure.name, figure.sum.events)).collect())
}

fn named(name: &str, events: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), events)]
}

async fn once(world: World) -> Verdict {
    for _ in 0..5 {
        let mut task = world.task("Counted", 1).await?;
        world.commit(&mut task, vec![cancelled()], Lease::Keep).await?;
    }
    let counting = (0..4).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { count(&world).await })
    });
    for counted in futures::future::join_all(counting).await {
        counted.map_err(|error| super::Broken(error.to_string()))??;
    }
    count(&world).await?;
    let created = events(&world, Measure::Created).await?;
    ensure!(created == named("", 5), "created: {created:?}");
    let ended: u64 = ever(&world, Measure::Ended).await?.iter().map(|figure| figure.sum.events).sum();
    ensure!(ended == 5, "{ended} of 5 tasks have ended");
    Ok(())
}

async fn of_these(world: World) -> Verdict {
    let (named_task, other) = (world.task("Named", 1).await?, World::new(world.repository.clone()));
    let passed_over = other.task("Passed over", 1).await?;
    let analytics = world.repository.analytics();
    let counted = analytics.count(&Reach::Of(vec![named_task.id])).await?;
    ensure!(counted == 2, "{counted} of two entries");
    let (mine, others) = (events(&world, Measure::Created).await?, events(&other, Measure::Created).await?);
    ensure!(mine == named("", 1) && others.is_empty(), "{mine:?} and {others:?}");
    let again = analytics.count(&Reach::Of(vec![named_task.id, passed_over.id])).await?;
    ensure!(again == 2, "{again} of the two entries that were left");
    Ok(())
}

async fn across(world: World) -> Verdict {
    let id = world.task("Two passes", 1).await?.id;
    let mut task = world.hold(id).await?;
    let begin = vec![started(0), dispatched(0, 1, Effect::ReadOnly)];
    world.commit(&mut task, begin, Lease::Keep).await?;
    count(&world).await?;
    ensure!(events(&world, Measure::Tool).await?.is_empty(), "a call counts before it returned");
    world.commit(&mut task, vec![returned(0, 1, json!("r")), completed(0, "o")], Lease::Keep).await?;
    count(&world).await?;
    let tools = events(&world, Measure::Tool).await?;
    ensure!(tools == named("tool", 1), "{tools:?}");
    let timed = ever(&world, Measure::Tool).await?.iter().all(|figure| figure.slot.is_some());
    ensure!(timed, "the call has no time");
    let steps = events(&world, Measure::Step).await?;
    ensure!(steps == named("tool-call", 1), "{steps:?}");
    Ok(())
}

async fn models(world: World) -> Verdict {
    let id = world.task("Models", 1).await?.id;
    let mut task = world.hold(id).await?;
    let Ok(model) = "a/b".parse() else { return Err(super::Broken("'a/b' names a model".to_owned())) };
    let requested = Event::ModelRequested {
        step: 0,
        call: 1,
        attempt: 1,
        model,
        base: None,
        parts: Vec::new(),
        heard: None,
        shows: None,
        prompt: None,
        reserve: Reserve::default(),
    };
    let usage =
        Usage { input_tokens: 70, output_tokens: 5, cached_tokens: 3, model_calls: 1, ..Usage::default() };
    let (text, finish) = (Payload::text("t"), "stop".to_owned());
    let answered = Event::ModelAnswered {
        step: 0,
        call: 1,
        text,
        requests: Vec::new(),
        thinking: None,
        finish,
        usage,
        model: None,
        without_pictures: false,
    };
    world.commit(&mut task, vec![started(0), requested, answered], Lease::Keep).await?;
    count(&world).await?;
    let figures = ever(&world, Measure::Model).await?;
    let sum = figures.first().map(|figure| (figure.name.as_str(), figure.sum)).unwrap_or_default();
    ensure!(figures.len() == 1 && sum.0 == "a/b", "{figures:?}");
    let consumed = (sum.1.events, sum.1.input_tokens, sum.1.output_tokens, sum.1.cached_tokens);
    ensure!(consumed == (1, 70, 5, 3), "{figures:?}");
    Ok(())
}

async fn by_time(world: World) -> Verdict {
    for _ in 0..3 {
        world.task("Counted", 1).await?;
    }
    count(&world).await?;
    let hour = Duration::from_secs(3600);
    let begin = Timestamp::from_millis((now().as_millis() / HOUR - 1) * HOUR);
    for by_minute in [true, false] {
        let range = Span { from: begin, to: now().plus(hour), piece: HOUR, by_minute };
        let measures = vec![Measure::Created, Measure::Ended];
        let mut filter = FigureFilter { user_id: Some(world.user.clone()), measures, range: Some(range) };
        let figures = world.repository.analytics().figures(&filter).await?;
        let events: u64 = figures.iter().map(|figure| figure.sum.events).sum();
        ensure!(events == 3, "by minute ({by_minute}): {figures:?}");
        ensure!(figures.iter().all(|figure| figure.at.as_millis() % HOUR == 0), "{figures:?}");
        filter.user_id = Some("nobody".to_owned());
        let figures = world.repository.analytics().figures(&filter).await?;
        ensure!(figures.is_empty(), "of nobody: {figures:?}");
        filter.user_id = None;
        let figures = world.repository.analytics().figures(&filter).await?;
        ensure!(!figures.is_empty(), "of everybody there is nothing");
    }
    Ok(())
}

async fn failures(world: World) -> Verdict {
    let mut last = None;
    for number in 0..3 {
        let id = world.task("Fails", 1).await?.id;
        let mut task = world.hold(id).await?;
        let fault = Fault::permanent("tool_denied", format!("no file number {number}"));
        let call = Event::CallFailed { step: 0, call: 1, fault: fault.clone(), partial: None };
        let ended = Event::Failed { fault: Fault::for_good("step-1", &fault) };
        let failed = Event::StepFailed { step: 0, fault, retry_at: None };
        let mut events = vec![started(0), dispatched(0, 1, Effect::ReadOnly), call, failed];
        events.extend((number == 0).then_some(ended));
        world.commit(&mut task, events, Lease::Keep).await?;
        last = Some(task.id);
    }
    count(&world).await?;
    let (from, to) = (Timestamp::default(), now().plus(Duration::from_secs(60)));
    let groups = world.repository.analytics().failures(&world.user, from, to, 10).await?;
    ensure!(groups.len() == 1, "{groups:?}");
    let group = groups.first().map(|group| (group.code.as_str(), group.message.as_str(), group.count));
    ensure!(group == Some(("tool_denied", "no file number #", 3)), "{groups:?}");
    let places = groups.first().map(|group| (group.calls, group.steps, group.tasks));
    ensure!(places == Some((3, 3, 1)), "one failure is one, wherever it is met: {groups:?}");
    let tools = events(&world, Measure::Tool).await?;
    ensure!(tools == named("tool", 3), "calls that failed were calls: {tools:?}");
    ensure!(groups.first().map(|group| group.example_task_id) == last, "the newest is {last:?}: {groups:?}");
    let later = to.plus(Duration::from_secs(3600));
    let none = world.repository.analytics().failures(&world.user, later, later, 10).await?;
    ensure!(none.is_empty(), "later: {none:?}");
    Ok(())
}

async fn line(world: World) -> Verdict {
    let first = world.task("Waits longest", 1).await?;
    let held = world.task("Is held", 1).await?;
    world.hold(held.id).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.task("Waits", 1).await?;
    let line = world.repository.analytics().line(Some(&world.user)).await?;
    ensure!((line.waiting, line.delayed, line.held, line.paused) == (2, 0, 1, 0), "{line:?}");
    let oldest = line.oldest.as_ref();
    ensure!(oldest.is_some_and(|oldest| oldest.task_id == first.id && oldest.waited_ms >= 5), "{line:?}");
    let all = world.repository.analytics().line(None).await?;
    ensure!(all.waiting >= line.waiting && all.held >= line.held, "{all:?}");
    Ok(())
}
