//! Whose turn it is: priority, then first come; and nobody has more than a fair share.

use std::time::Duration;

use super::world::{LONG, WORKER, World, completed, started};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{Claim, Claimed, Lease, Place};
use crate::task::{Event, Priority, Task, TaskId};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("the most urgent task is claimed first, then the one that came first", |world| Box::pin(urgent(world))),
    ("a new priority counts at once and does not cost the place in the line", |world| {
        Box::pin(prioritized(world))
    }),
    ("the line shows who waits, and who of them goes before a newcomer", |world| Box::pin(line(world))),
    ("a look tells whether a task is due, and when the next schedule is", |world| Box::pin(looks(world))),
    ("nobody has more leases than allowed; others are found behind any number", |world| {
        Box::pin(per_user(world))
    }),
    ("behind a crowd of one user others are found, by priority and then first come", |world| {
        Box::pin(behind_a_crowd(world))
    }),
    ("behind a crowd nobody waits for ever, however many users wait", |world| Box::pin(turns(world))),
    ("claims that race do not give a user more than allowed", |world| Box::pin(racing_for_a_user(world))),
];

const ANY: Claim<'static> = Claim::by(WORKER, LONG);

fn priority(number: i64) -> Result<Priority, Broken> {
    Priority::try_from(number).map_err(|error| Broken(error.to_string()))
}

/// Whatever is due from other checks is taken out of the way.
async fn alone(world: &World) -> Verdict {
    world.repository.claim(Claim { limit: 100_000, ..ANY }).await?;
    Ok(())
}

fn ids(claimed: &[Claimed]) -> Vec<TaskId> {
    claimed.iter().map(|claimed| claimed.task.id).collect()
}

/// Tasks in the order in which they are claimed, one by one.
async fn order(world: &World, limit: usize) -> Result<Vec<TaskId>, Broken> {
    let mut order = Vec::new();
    for _ in 0..limit {
        order.extend(ids(&world.repository.claim(ANY).await?));
    }
    Ok(order)
}

async fn urgent(world: World) -> Verdict {
    alone(&world).await?;
    let mut expected = Vec::new();
    for number in [5, 1, 3, 1, 4, 2] {
        let task = world.urgent_task("Urgent", priority(number)?).await?;
        ensure!(world.load(task.id).await?.state().priority.number() == number as u8, "it was not kept");
        expected.push((number, task.id));
        // The next one comes later by the database's clock, too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    expected.sort_by_key(|(number, _)| *number);
    let expected: Vec<TaskId> = expected.into_iter().map(|(_, id)| id).collect();
    let order = order(&world, 7).await?;
    ensure!(order == expected, "{order:?} instead of {expected:?}");
    Ok(())
}

async fn prioritized(world: World) -> Verdict {
    alone(&world).await?;
    let said = |number| Ok::<_, Broken>(Event::Prioritized { priority: priority(number)?, by: "p".into() });
    let mut tasks: Vec<Task> = Vec::new();
    for name in ["First", "Second", "Third"] {
        tasks.push(world.task(name, 1).await?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.commit(&mut tasks[2], vec![said(1)?], Lease::Keep).await?;
    // Said of the first one last: if that made it a newcomer, it would be behind the second.
    world.commit(&mut tasks[0], vec![said(3)?], Lease::Keep).await?;
    let expected = [tasks[2].id, tasks[0].id, tasks[1].id];
    let order = order(&world, 3).await?;
    ensure!(order == expected, "{order:?} instead of {expected:?}");
    let mut held = world.load(tasks[1].id).await?;
    world.commit(&mut held, vec![started(0)], Lease::Release(LONG)).await?;
    world.commit(&mut held, vec![said(1)?], Lease::Keep).await?;
    ensure!(world.claim(held.id, WORKER, LONG).await?.is_none(), "a task that waits for its time became due");
    Ok(())
}

async fn line(world: World) -> Verdict {
    alone(&world).await?;
    ensure!(world.repository.waiting(10).await?.is_empty(), "somebody waits");
    for number in [4, 2, 4] {
        world.urgent_task("Line", priority(number)?).await?;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let places = world.repository.waiting(2).await?;
    let [first, second] = places[..] else { return Err(Broken(format!("{places:?}"))) };
    let newcomer = |number| Ok::<_, Broken>(Place::of_newcomer(priority(number)?));
    ensure!(newcomer(1)? < first && first < newcomer(2)?, "the first one is at {first:?}");
    ensure!(newcomer(3)? < second && second < newcomer(4)?, "the second one is at {second:?}");
    alone(&world).await
}

async fn looks(world: World) -> Verdict {
    alone(&world).await?;
    let repository = &world.repository;
    ensure!(!repository.due().await?.task, "nothing is due");
    let task = world.task("Due", 1).await?;
    ensure!(repository.due().await?.task, "a new task is due");
    let held = world.hold(task.id).await?;
    ensure!(!repository.due().await?.task, "what is leased is not due");
    world.claim(held.id, WORKER, LONG).await?;
    let coming = repository.due().await?.schedule;
    let schedule = super::schedules::schedule(&world, super::world::now().plus(LONG));
    repository.put_schedule(&schedule, 0).await?;
    let next = repository.due().await?.schedule;
    let is_next = next.is_some_and(|next| next <= LONG && (coming.is_some() || next > LONG / 2));
    ensure!(is_next, "the schedule comes in {next:?}, and before in {coming:?}");
    repository.delete_schedule(schedule.id).await?;
    let overdue = super::schedules::schedule(&world, crate::task::Timestamp::from_millis(1));
    repository.put_schedule(&overdue, 0).await?;
    let next = repository.due().await?.schedule;
    ensure!(next == Some(Duration::ZERO), "one that is due comes in {next:?}");
    repository.delete_schedule(overdue.id).await?;
    Ok(())
}

async fn per_user(world: World) -> Verdict {
    alone(&world).await?;
    let other = World::new(world.repository.clone());
    for number in 0..40 {
        world.task(&format!("Mine {number}"), 1).await?;
    }
    let others = [other.task("Other 1", 1).await?.id, other.task("Other 2", 1).await?.id];
    let claim = Claim { limit: 6, per_user: 3, ..ANY };
    let mut claimed = world.repository.claim(claim).await?;
    let mine = |claimed: &[Claimed]| {
        claimed.iter().filter(|claimed| claimed.task.spec().user_id == world.user).count()
    };
    let found = ids(&claimed).iter().filter(|id| others.contains(id)).count();
    ensure!((mine(&claimed), found) == (3, 2), "{} of mine and {found} of the other's", mine(&claimed));
    ensure!(world.repository.claim(claim).await?.is_empty(), "more than three are leased");
    let mut task = claimed.swap_remove(0).task;
    let is_mine = task.spec().user_id == world.user;
    let events = vec![started(0), completed(0, "x")];
    world.commit(&mut task, events, Lease::Release(Duration::ZERO)).await?;
    let named = world.repository.claim(Claim { only: Some(task.id), ..claim }).await?;
    ensure!(ids(&named) == [task.id], "a place was free (mine: {is_mine}): {:?}", ids(&named));
    alone(&world).await
}

/// More tasks of one user than a claim reads from the front of the line, one of which is leased.
async fn crowd(world: &World, claim: Claim<'_>) -> Result<(), Broken> {
    let tasks = (0..120).map(|number| {
        let world = world.clone();
        async move { world.task(&format!("Crowd {number}"), 1).await }
    });
    for task in futures::future::join_all(tasks).await {
        task?;
    }
    let first = world.repository.claim(claim).await?;
    ensure!(first.iter().all(|claimed| claimed.task.spec().user_id == world.user), "{:?}", ids(&first));
    ensure!(first.len() == claim.per_user as usize, "{} of the crowd", first.len());
    // Whoever comes now comes later by the database's clock, too.
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(())
}

async fn behind_a_crowd(world: World) -> Verdict {
    alone(&world).await?;
    let claim = Claim { per_user: 2, limit: 2, ..ANY };
    crowd(&world, claim).await?;
    let mut expected = Vec::new();
    for number in 0..10 {
        let other = World::new(world.repository.clone());
        // The last one is more urgent; every other one has more than it may have at a time.
        let level = if number == 9 { 2 } else { 3 };
        for nth in 0..(if number % 2 == 0 { 1 } else { 3 }) {
            let task = other.urgent_task("Behind", priority(level)?).await?;
            if nth < 2 {
                expected.push((level, expected.len(), task.id));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    expected.sort();
    let expected: Vec<TaskId> = expected.into_iter().map(|(_, _, id)| id).collect();
    let mut order = Vec::new();
    loop {
        let mut claimed = world.repository.claim(Claim { limit: 3, ..claim }).await?;
        // What is leased together comes in no order.
        claimed.sort_by_key(|claimed| expected.iter().position(|id| *id == claimed.task.id));
        match ids(&claimed) {
            none if none.is_empty() => break,
            some => order.extend(some),
        }
    }
    ensure!(order == expected, "{order:?} instead of {expected:?}");
    alone(&world).await
}

async fn turns(world: World) -> Verdict {
    alone(&world).await?;
    let claim = Claim { per_user: 1, ..ANY };
    crowd(&world, claim).await?;
    // More users than one claim looks at.
    let mut waiting = std::collections::HashSet::new();
    for _ in 0..80 {
        waiting.insert(World::new(world.repository.clone()).task("Turn", 1).await?.id);
    }
    while !waiting.is_empty() {
        let claimed = ids(&world.repository.claim(Claim { limit: 4, ..claim }).await?);
        ensure!(!claimed.is_empty(), "{} wait for ever", waiting.len());
        ensure!(claimed.iter().all(|id| waiting.remove(id)), "{claimed:?} were not to be claimed");
    }
    ensure!(world.repository.claim(claim).await?.is_empty(), "the crowd has more than it may have");
    alone(&world).await
}

async fn racing_for_a_user(world: World) -> Verdict {
    alone(&world).await?;
    for number in 0..20 {
        world.task(&format!("Race {number}"), 1).await?;
    }
    let claims = (0..8).map(|number| {
        let repository = world.repository.clone();
        tokio::spawn(async move {
            let worker = format!("worker-{number}");
            repository.claim(Claim { worker: &worker, limit: 2, per_user: 3, ..ANY }).await
        })
    });
    let mut all = 0;
    for claimed in futures::future::join_all(claims).await {
        all += claimed.map_err(|error| Broken(error.to_string()))??.len();
    }
    ensure!(all == 3, "{all} of three");
    alone(&world).await
}
