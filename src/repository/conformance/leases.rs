//! Leases are exclusive, end by themselves, and every live task can be found by one.

use std::time::Duration;

use super::world::{LONG, WORKER, World, completed, started};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{Claim, Claimed, Lease};
use crate::task::{Event, Pause, PauseReason, Task, TaskId};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a held task is not claimed again, a released one is", |world| Box::pin(exclusive(world))),
    ("a task that waits is not claimed before its time", |world| Box::pin(waits(world))),
    ("claims that race get different tasks", |world| Box::pin(racing_claims(world))),
    ("the oldest wake-up is claimed first", |world| Box::pin(oldest_first(world))),
    ("what has just become due is left to others if that is wished", |world| Box::pin(overdue(world))),
    ("a lease that ended counts as a crash, a task given back does not", |world| Box::pin(crashes(world))),
    ("renewing extends only leases that are held", |world| Box::pin(renewal(world))),
    ("a paused task is not claimed; resumed, its worker still holds it", |world| Box::pin(paused(world))),
    ("expiring leases makes held tasks due", |world| Box::pin(expiry(world))),
];

async fn exclusive(world: World) -> Verdict {
    let id = world.task("Exclusive", 2).await?.id;
    let mut task = world.hold(id).await?;
    ensure!(world.claim(id, "worker-b", LONG).await?.is_none(), "it was claimed twice");
    world.commit(&mut task, vec![started(0), completed(0, "x")], Lease::Keep).await?;
    ensure!(world.claim(id, "worker-b", LONG).await?.is_none(), "a commit gave it up");
    world.commit(&mut task, Vec::new(), Lease::Release(Duration::ZERO)).await?;
    let next = world.claim(id, "worker-b", LONG).await?;
    ensure!(next.is_some_and(|claimed| claimed.task.state().completed == 1), "it was not given back");
    Ok(())
}

async fn waits(world: World) -> Verdict {
    let id = world.task("Wait", 1).await?.id;
    let mut task = world.hold(id).await?;
    world.commit(&mut task, vec![started(0)], Lease::Release(LONG)).await?;
    ensure!(world.claim(id, WORKER, LONG).await?.is_none(), "it was claimed too early");
    Ok(())
}

async fn racing_claims(world: World) -> Verdict {
    for number in 0..20 {
        world.task(&format!("Race {number}"), 1).await?;
    }
    let claims = (0..10).map(|number| {
        let repository = world.repository.clone();
        tokio::spawn(async move {
            let worker = format!("worker-{number}");
            let claim = Claim { limit: 4, ..Claim::by(&worker, LONG) };
            repository.claim(claim).await
        })
    });
    let mut ids = Vec::new();
    for claimed in futures::future::join_all(claims).await {
        let claimed = claimed.map_err(|error| Broken(error.to_string()))??;
        ids.extend(claimed.iter().map(|claimed| claimed.task.id));
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == all && all >= 20, "{all} claims of {} tasks", ids.len());
    Ok(())
}

async fn oldest_first(world: World) -> Verdict {
    // Whatever is due from other checks is taken out of the way first.
    let all = Claim { limit: 10_000, ..Claim::by(WORKER, LONG) };
    world.repository.claim(all).await?;
    let mut expected = Vec::new();
    for number in 0..3 {
        let id = world.task(&format!("Queue {number}"), 1).await?.id;
        expected.insert(0, world.hold(id).await?);
    }
    for task in &mut expected {
        world.commit(task, Vec::new(), Lease::Release(Duration::ZERO)).await?;
        // Whatever wakes up now does so later by the database's clock, too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let expected: Vec<TaskId> = expected.iter().map(|task| task.id).collect();
    let mut order = Vec::new();
    for _ in 0..3 {
        let one = Claim::by(WORKER, LONG);
        order.extend(world.repository.claim(one).await?.iter().map(|claimed| claimed.task.id));
    }
    ensure!(order == expected, "{order:?} instead of {expected:?}");
    Ok(())
}

async fn overdue(world: World) -> Verdict {
    let moment = Duration::from_millis(1);
    for per_user in [0, 1_000] {
        let id = world.task("Overdue", 1).await?.id;
        tokio::time::sleep(Duration::from_millis(5)).await;
        for only in [None, Some(id)] {
            let claim = Claim { limit: 10_000, only, per_user, ..Claim::by(WORKER, LONG) };
            let early = world.repository.claim(Claim { overdue: LONG, ..claim }).await?;
            ensure!(early.is_empty(), "{} tasks were claimed that became due just now", early.len());
            let late = world.repository.claim(Claim { overdue: moment, ..claim }).await?;
            ensure!(late.iter().any(|claimed| claimed.task.id == id), "it was left: {only:?}, {per_user}");
            for Claimed { mut task, .. } in late {
                world.commit(&mut task, Vec::new(), Lease::Release(Duration::ZERO)).await?;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

async fn crashes(world: World) -> Verdict {
    let id = world.task("Crash", 1).await?.id;
    let counted = |claimed: Option<Claimed>| claimed.map(|claimed| (claimed.crashes, claimed.task));
    let first = counted(world.claim(id, WORKER, Duration::ZERO).await?);
    let second = counted(world.claim(id, WORKER, Duration::ZERO).await?);
    let third = counted(world.claim(id, WORKER, LONG).await?);
    let Some((2, mut task)) = third else {
        return Err(Broken(format!("{first:?}, {second:?}, {third:?}")));
    };
    let claimed = Event::Claimed { worker: WORKER.into(), crashes: 2 };
    world.commit(&mut task, vec![claimed], Lease::Release(Duration::ZERO)).await?;
    let fourth = counted(world.claim(id, WORKER, LONG).await?);
    ensure!(fourth.as_ref().is_some_and(|(count, _)| *count == 2), "given back: {fourth:?}");
    let mut task = fourth.map_or(task, |(_, task)| task);
    world.commit(&mut task, vec![started(0), completed(0, "x")], Lease::Release(Duration::ZERO)).await?;
    let fifth = counted(world.claim(id, WORKER, LONG).await?);
    ensure!(fifth.is_some_and(|(count, _)| count == 0), "after a completed step it still counts");
    Ok(())
}

async fn renewal(world: World) -> Verdict {
    let id = world.task("Renew", 1).await?.id;
    let lost = world.task("Lost", 1).await?.id;
    let held = world.hold(id).await?;
    let late = world.claim(lost, WORKER, Duration::ZERO).await?;
    let late = late.ok_or_else(|| Broken("the task was due".into()))?.task;
    world.claim(lost, "worker-b", LONG).await?;
    let leases = [(id, held.state().epoch), (lost, late.state().epoch)];
    let renewed = world.repository.renew(WORKER, &leases, LONG).await?;
    let ids: Vec<_> = renewed.iter().map(|renewal| (renewal.id, renewal.seq)).collect();
    ensure!(ids == [(id, 2)], "{renewed:?}");
    Ok(())
}

async fn paused(world: World) -> Verdict {
    let id = world.task("Pause", 1).await?.id;
    let mut worker = world.hold(id).await?;
    world.commit(&mut worker, vec![started(0)], Lease::Keep).await?;
    let mut person = world.load(id).await?;
    let pause = Pause::new(PauseReason::User, "wait");
    world.commit(&mut person, vec![Event::Paused { pause, by: "p".into() }], Lease::Keep).await?;
    ensure!(world.claim(id, "worker-b", LONG).await?.is_none(), "a paused task was claimed");
    world.commit(&mut person, vec![Event::Resumed { by: "p".into() }], Lease::Keep).await?;
    ensure!(world.claim(id, "worker-b", LONG).await?.is_none(), "it was taken from its worker");
    let mut task: Task = world.load(id).await?;
    world.commit(&mut task, vec![completed(0, "x")], Lease::Release(Duration::ZERO)).await?;
    ensure!(world.claim(id, "worker-b", LONG).await?.is_some(), "it was not given back");
    Ok(())
}

async fn expiry(world: World) -> Verdict {
    let id = world.task("Expire", 1).await?.id;
    world.hold(id).await?;
    world.repository.expire_leases().await?;
    let again = world.claim(id, "worker-b", LONG).await?;
    ensure!(again.is_some_and(|claimed| claimed.crashes == 1), "it did not become due");
    Ok(())
}
