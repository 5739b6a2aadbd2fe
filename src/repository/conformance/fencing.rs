//! Whoever lost the lease, or did not see the newest entry, writes nothing.

use std::time::Duration;

use super::world::{World, cancelled, completed, started};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{Lease, RepositoryError};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a writer with an old epoch is refused and leaves no trace", |world| Box::pin(old_epoch(world))),
    ("a writer that missed an entry is refused and leaves no trace", |world| Box::pin(stale(world))),
    ("a refused commit does not disturb those written with it", |world| Box::pin(refused_in_a_group(world))),
    ("an ended task takes no more events", |world| Box::pin(ended(world))),
];

async fn old_epoch(world: World) -> Verdict {
    let id = world.task("Fence", 2).await?.id;
    let first = world.claim(id, "worker-a", Duration::ZERO).await?;
    let mut late = first.ok_or_else(|| Broken("the task was due".into()))?.task;
    let mut current = world.hold(id).await?;
    ensure!(current.state().epoch == late.state().epoch + 1, "a claim did not advance the epoch by one");
    let refused = world.commit(&mut late, vec![started(0)], Lease::Keep).await;
    ensure!(matches!(refused, Err(RepositoryError::Fenced)), "the late writer: {refused:?}");
    ensure!(world.repository.journal(id, 2, 10).await?.is_empty(), "the late writer left a trace");
    world.commit(&mut current, vec![started(0), completed(0, "x")], Lease::Release(Duration::ZERO)).await?;
    Ok(())
}

async fn stale(world: World) -> Verdict {
    let id = world.task("Stale", 2).await?.id;
    let mut worker = world.hold(id).await?;
    let mut person = world.load(id).await?;
    world.commit(&mut person, vec![cancelled()], Lease::Keep).await?;
    let refused = world.commit(&mut worker, vec![started(0)], Lease::Keep).await;
    ensure!(matches!(refused, Err(RepositoryError::Stale)), "the worker: {refused:?}");
    let loaded = world.load(id).await?;
    ensure!(loaded == person, "{loaded:?} instead of {person:?}");
    Ok(())
}

async fn refused_in_a_group(world: World) -> Verdict {
    let mut writers = Vec::new();
    for number in 0..30 {
        let id = world.task(&format!("Group {number}"), 1).await?.id;
        let held = world.hold(id).await?;
        if number % 3 == 0 {
            let mut person = world.load(id).await?;
            world.commit(&mut person, vec![cancelled()], Lease::Keep).await?;
        }
        writers.push((number, held));
    }
    let commits = writers.into_iter().map(|(number, mut task)| {
        let world = world.clone();
        async move { (number, world.commit(&mut task, vec![started(0)], Lease::Keep).await) }
    });
    for (number, answer) in futures::future::join_all(commits).await {
        let expected = number % 3 != 0;
        ensure!(answer.is_ok() == expected, "commit {number}: {answer:?}");
    }
    Ok(())
}

async fn ended(world: World) -> Verdict {
    let id = world.task("End", 1).await?.id;
    let mut task = world.load(id).await?;
    world.commit(&mut task, vec![cancelled()], Lease::Keep).await?;
    let again = world.commit(&mut task.clone(), vec![cancelled()], Lease::Keep).await;
    ensure!(again.is_err(), "it was cancelled twice");
    ensure!(world.claim(id, "worker-a", Duration::from_secs(1)).await?.is_none(), "it was claimed");
    Ok(())
}
