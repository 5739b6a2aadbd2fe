//! Retention removes what is older than asked, and never more.

use std::time::Duration;

use super::world::{World, cancelled, completed, started};
use super::{Check, Verdict, ensure};
use crate::repository::{Lease, Retention};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("nothing that is younger than asked, and no live task, is removed", |world| {
        Box::pin(nothing_young(world))
    }),
    ("old traces go and their tasks stay", |world| Box::pin(traces(world))),
    ("more old tasks than one transaction removes all go", |world| Box::pin(many(world))),
    ("old tasks go with all that belongs to them", |world| Box::pin(tasks(world))),
];

async fn nothing_young(world: World) -> Verdict {
    let live = world.task("Live", 1).await?;
    let mut ended = world.task("Ended", 1).await?;
    world.commit(&mut ended, vec![cancelled()], Lease::Keep).await?;
    let hour = Some(Duration::from_secs(3600));
    let pruned = world.repository.prune(&Retention { tasks: hour, traces: hour }).await?;
    ensure!((pruned.tasks, pruned.traces) == (0, 0), "{pruned:?}");
    ensure!(world.load(ended.id).await? == ended, "the ended task was changed");
    world.repository.prune(&Retention { tasks: Some(Duration::ZERO), traces: None }).await?;
    ensure!(world.load(live.id).await? == live, "the live task was changed");
    Ok(())
}

async fn traces(world: World) -> Verdict {
    let live = world.task("Live", 1).await?;
    let id = world.task("Ended", 2).await?.id;
    let mut ended = world.hold(id).await?;
    let events = vec![started(0), completed(0, "is looked at later"), cancelled()];
    world.commit(&mut ended, events, Lease::Keep).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.repository.prune(&Retention { tasks: None, traces: Some(Duration::ZERO) }).await?;
    ensure!(world.repository.journal(ended.id, 0, 10).await?.is_empty(), "old entries are still there");
    ensure!(world.repository.journal(live.id, 0, 10).await?.len() == 2, "entries of a live task went");
    ensure!(world.load(ended.id).await? == ended, "the task went with its entries");
    Ok(())
}

async fn many(world: World) -> Verdict {
    const MANY: u64 = 1100;
    let live = world.task("Live", 1).await?;
    for _ in 0..MANY {
        let mut ended = world.task("Ended", 1).await?;
        world.commit(&mut ended, vec![cancelled()], Lease::Keep).await?;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let now = Some(Duration::ZERO);
    let pruned = world.repository.prune(&Retention { tasks: None, traces: now }).await?;
    ensure!(pruned.tasks == 0 && pruned.traces >= 3 * MANY, "{pruned:?}");
    let pruned = world.repository.prune(&Retention { tasks: now, traces: None }).await?;
    ensure!(pruned.tasks >= MANY, "{pruned:?}");
    let again = world.repository.prune(&Retention { tasks: now, traces: now }).await?;
    ensure!((again.tasks, again.traces) == (0, 0), "{again:?}");
    ensure!(world.load(live.id).await? == live, "the live task was changed");
    Ok(())
}

async fn tasks(world: World) -> Verdict {
    let mut ended = world.task(&"Ended ".repeat(1000), 2).await?;
    world.commit(&mut ended, vec![cancelled()], Lease::Keep).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let pruned = world.repository.prune(&Retention { tasks: Some(Duration::ZERO), traces: None }).await?;
    ensure!(pruned.tasks >= 1 && pruned.traces >= ended.state().seq as u64, "{pruned:?}");
    ensure!(world.repository.load(ended.id).await?.is_none(), "the task is still there");
    ensure!(world.repository.journal(ended.id, 0, 10).await?.is_empty(), "its entries are still there");
    let violations = world.repository.violations().await?;
    let left = violations.iter().find(|violation| violation.examples.contains(&ended.id.to_string()));
    ensure!(left.is_none(), "something of it is still there: {left:?}");
    Ok(())
}
