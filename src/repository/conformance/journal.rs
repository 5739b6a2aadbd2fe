//! The journal has no gaps, no order but its own, and no end to how old an entry may be read.

use std::sync::Arc;

use super::world::{World, completed, started};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{Lease, RepositoryError};
use crate::task::{Event, Pause, PauseReason, Payload, TraceType};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("entries are numbered 1..n and read in pages from any number", |world| Box::pin(pages(world))),
    ("the newest entries come oldest first", |world| Box::pin(newest(world))),
    ("writers that race leave a journal without gaps, one winner each time", |world| Box::pin(races(world))),
    ("commits of many tasks at once are all kept", |world| Box::pin(many_at_once(world))),
    ("a change tells of every commit after it is durable", |world| Box::pin(changes(world))),
];

async fn pages(world: World) -> Verdict {
    let id = world.task("Pages", 3).await?.id;
    let mut task = world.hold(id).await?;
    for step in 0..3 {
        world.commit(&mut task, vec![started(step), completed(step, "x")], Lease::Keep).await?;
    }
    let mut seen = Vec::new();
    loop {
        let page = world.repository.journal(id, seen.last().copied().unwrap_or(0), 3).await?;
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|entry| entry.seq));
    }
    ensure!(seen == (1..=8).collect::<Vec<i64>>(), "{seen:?}");
    Ok(())
}

async fn newest(world: World) -> Verdict {
    let id = world.task("Newest", 12).await?.id;
    let mut task = world.hold(id).await?;
    for step in 0..12 {
        world.commit(&mut task, vec![started(step), completed(step, "x")], Lease::Keep).await?;
    }
    let numbers: Vec<i64> = world.repository.latest(id, 10).await?.iter().map(|entry| entry.seq).collect();
    ensure!(numbers == (17..=26).collect::<Vec<i64>>(), "{numbers:?}");
    for completed in [3, 9] {
        let context = Payload::text("where it stands");
        let taken = Event::CheckpointTaken { step: None, completed, context, by: None };
        world.commit(&mut task, vec![taken], Lease::Keep).await?;
    }
    let of_type = world.repository.latest_of(id, TraceType::Checkpoint, 5).await?;
    let numbers: Vec<i64> = of_type.iter().map(|entry| entry.seq).collect();
    ensure!(numbers == [27, 28], "{numbers:?}");
    let one = world.repository.latest_of(id, TraceType::Checkpoint, 1).await?;
    ensure!(one.first().is_some_and(|entry| entry.seq == 28), "{one:?}");
    Ok(())
}

async fn races(world: World) -> Verdict {
    let id = world.task("Race", 1).await?.id;
    let writers = (0..16).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move { toggle(world, id, writer).await })
    });
    let mut won = 0;
    for writer in futures::future::join_all(writers).await {
        won += writer.map_err(|error| Broken(error.to_string()))??;
    }
    let journal = world.repository.journal(id, 0, 10_000).await?;
    ensure!(journal.len() == won + 2, "{won} commits were acknowledged, {} entries are there", journal.len());
    Ok(())
}

/// Pauses and resumes the task until five of the writes were accepted.
async fn toggle(world: World, id: crate::task::TaskId, writer: usize) -> Result<usize, Broken> {
    let mut won = 0;
    while won < 5 {
        let mut task = world.load(id).await?;
        let by = format!("writer {writer}");
        let event = if task.status().is_live() {
            Event::Paused { pause: Pause::new(PauseReason::User, by.clone()), by }
        } else {
            Event::Resumed { by }
        };
        match world.commit(&mut task, vec![event], Lease::Keep).await {
            Ok(()) => won += 1,
            Err(RepositoryError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(won)
}

async fn many_at_once(world: World) -> Verdict {
    let world = Arc::new(world);
    let drivers = (0..40).map(|number| {
        let world = world.clone();
        tokio::spawn(async move {
            let id = world.task(&format!("Many {number}"), 5).await?.id;
            let mut task = world.hold(id).await?;
            for step in 0..5 {
                world.commit(&mut task, vec![started(step), completed(step, "x")], Lease::Keep).await?;
            }
            let loaded = world.load(id).await?;
            ensure!(loaded == task, "{loaded:?} instead of {task:?}");
            Ok(())
        })
    });
    for driver in futures::future::join_all(drivers).await {
        driver.map_err(|error| Broken(error.to_string()))??;
    }
    Ok(())
}

async fn changes(world: World) -> Verdict {
    let mut changes = world.repository.changes();
    let id = world.task("Watch", 1).await?.id;
    let mut task = world.hold(id).await?;
    world.commit(&mut task, vec![started(0)], Lease::Keep).await?;
    let mut told = Vec::new();
    while told.last() != Some(&3) {
        let change = changes.recv().await.map_err(|error| Broken(error.to_string()))?;
        if change.id == id {
            told.push(change.seq);
        }
    }
    ensure!(told == [2, 3], "{told:?}");
    Ok(())
}
