//! Schedules are written against a revision, and only one claim gets a due one.

use std::time::Duration;

use futures::FutureExt;
use uuid::Uuid;

use super::world::{LONG, World, now};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{Answer, Overlap, RepositoryError, Schedule, ScheduleId, ScheduledTask, Timing};
use crate::task::{TaskId, Timestamp, Usd};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a schedule is read as it was written", |world| read(world).boxed()),
    ("a schedule is written against its newest revision", |world| stale(world).boxed()),
    ("a user has one schedule of a name", |world| named(world).boxed()),
    ("of claims that race one gets a due schedule", |world| claimed(world).boxed()),
    ("a schedule and the answer to its request are there together or not at all", |world| {
        answered(world).boxed()
    }),
    ("schedules are listed by user, newest first", |world| listed(world).boxed()),
];

pub(super) fn schedule(world: &World, next_at: Timestamp) -> Schedule {
    let at = now();
    Schedule {
        id: ScheduleId(Uuid::now_v7()),
        user_id: world.user.clone(),
        name: format!("Every morning {}", Uuid::now_v7()),
        timing: Timing::Cron { cron: "0 9 * * *".to_owned(), time_zone: "Europe/Berlin".to_owned() },
        overlap: Overlap::Skip,
        task: ScheduledTask { goal: "Look\0".to_owned(), ..ScheduledTask::default() },
        revision: 1,
        paused: false,
        next_at: Some(next_at),
        wake_at: Some(next_at),
        fired_at: None,
        task_id: None,
        runs: 0,
        skipped: 0,
        fault: None,
        created_at: at,
        updated_at: at,
    }
}

async fn load(world: &World, id: ScheduleId) -> Result<Schedule, Broken> {
    world.repository.schedule(id).await?.ok_or_else(|| Broken(format!("schedule {id} is not there")))
}

async fn read(world: World) -> Verdict {
    let later = now().plus(LONG);
    let mut written = schedule(&world, later);
    world.repository.put_schedule(&written, 0).await?;
    let found = load(&world, written.id).await?;
    ensure!(found.task.goal == "Look\u{fffd}", "NUL became {:?}", found.task.goal);
    written.task = found.task.clone();
    ensure!(found == written, "{found:?} instead of {written:?}");
    written = Schedule {
        name: "Once".to_owned(),
        timing: Timing::At { at: later },
        overlap: Overlap::Allow,
        task: ScheduledTask {
            goal: "Pay".to_owned(),
            thread_id: Some("t".to_owned()),
            approval: Some(crate::task::ApprovalWish { plan: true, ..Default::default() }),
            budget: Some(crate::task::Budget { cost_usd: Usd::from_dollars(0.5), ..Default::default() }),
            ..ScheduledTask::default()
        },
        revision: 2,
        paused: true,
        wake_at: None,
        fired_at: Some(now()),
        task_id: Some(TaskId(Uuid::now_v7())),
        runs: 3,
        skipped: 2,
        fault: Some("no model".to_owned()),
        ..written
    };
    world.repository.put_schedule(&written, 1).await?;
    let found = load(&world, written.id).await?;
    ensure!(found == written, "{found:?} instead of {written:?}");
    Ok(())
}

async fn stale(world: World) -> Verdict {
    let first = schedule(&world, now().plus(LONG));
    world.repository.put_schedule(&first, 0).await?;
    let again = world.repository.put_schedule(&first, 0).await;
    ensure!(matches!(again, Err(RepositoryError::Stale)), "made twice: {again:?}");
    let second = Schedule { revision: 2, runs: 1, ..first.clone() };
    world.repository.put_schedule(&second, 1).await?;
    let late = world.repository.put_schedule(&Schedule { revision: 2, runs: 7, ..first.clone() }, 1).await;
    ensure!(matches!(late, Err(RepositoryError::Stale)), "written over: {late:?}");
    ensure!(load(&world, first.id).await?.runs == 1, "the first write does not stand");
    ensure!(world.repository.delete_schedule(first.id).await?, "it was not there");
    ensure!(!world.repository.delete_schedule(first.id).await?, "it was there still");
    let gone = world.repository.put_schedule(&Schedule { revision: 3, ..second }, 2).await;
    ensure!(matches!(gone, Err(RepositoryError::Stale)), "written though it is gone: {gone:?}");
    Ok(())
}

async fn named(world: World) -> Verdict {
    let later = now().plus(LONG);
    let first = schedule(&world, later);
    let again = || Schedule { name: first.name.clone(), ..schedule(&world, later) };
    world.repository.put_schedule(&first, 0).await?;
    let made = futures::future::join_all((0..4).map(|_| {
        let same = again();
        let repository = world.repository.clone();
        async move { repository.put_schedule(&same, 0).await }
    }));
    for second in made.await {
        ensure!(matches!(second, Err(RepositoryError::NameTaken)), "made twice: {second:?}");
    }
    let other = schedule(&world, later);
    world.repository.put_schedule(&other, 0).await?;
    let renamed = Schedule { revision: 2, ..Schedule { name: first.name.clone(), ..other.clone() } };
    let taken = world.repository.put_schedule(&renamed, 1).await;
    ensure!(matches!(taken, Err(RepositoryError::NameTaken)), "called like another one: {taken:?}");
    ensure!(load(&world, other.id).await?.revision == 1, "it was written all the same");
    let elsewhere = World::new(world.repository.clone());
    world.repository.put_schedule(&Schedule { user_id: elsewhere.user.clone(), ..again() }, 0).await?;
    world.repository.delete_schedule(first.id).await?;
    world.repository.put_schedule(&again(), 0).await?;
    Ok(())
}

async fn answered(world: World) -> Verdict {
    let first = schedule(&world, now().plus(LONG));
    let answer = Answer {
        user_id: world.user.clone(),
        key: "schedule".to_owned(),
        request_hash: [7; 32],
        task_id: None,
        reply: r#"{"name":"Every morning"}"#.to_owned(),
    };
    world.repository.begin_schedule(&first, &answer).await?;
    load(&world, first.id).await?;
    let kept = world.repository.answer(&world.user, "schedule").await?;
    ensure!(kept.as_ref() == Some(&answer), "{kept:?} is kept");
    let second = schedule(&world, now().plus(LONG));
    let taken = world.repository.begin_schedule(&second, &answer).await;
    ensure!(matches!(taken, Err(RepositoryError::KeyTaken)), "the second time: {taken:?}");
    ensure!(world.repository.schedule(second.id).await?.is_none(), "the second one was made all the same");
    let other = Answer { key: "another".to_owned(), ..answer };
    let twice = world.repository.begin_schedule(&first, &other).await;
    ensure!(matches!(twice, Err(RepositoryError::Stale)), "made twice: {twice:?}");
    let kept = world.repository.answer(&world.user, "another").await?;
    ensure!(kept.is_none(), "the answer of what was not made is kept: {kept:?}");
    Ok(())
}

async fn claimed(world: World) -> Verdict {
    let due = schedule(&world, Timestamp::from_millis(now().as_millis() - 1_000));
    let waiting = schedule(&world, now().plus(LONG));
    let paused =
        Schedule { paused: true, wake_at: None, ..schedule(&world, due.next_at.unwrap_or_default()) };
    for schedule in [&due, &waiting, &paused] {
        world.repository.put_schedule(schedule, 0).await?;
    }
    let claims = (0..8).map(|_| world.repository.claim_schedule(LONG));
    let mut given = Vec::new();
    for claim in futures::future::join_all(claims).await {
        given.extend(claim?);
    }
    let ids: Vec<ScheduleId> = given.iter().map(|schedule| schedule.id).collect();
    ensure!(ids == [due.id], "{ids:?} instead of {}", due.id);
    let lease = given.first().and_then(|schedule| schedule.wake_at);
    ensure!(lease > due.wake_at && given.iter().all(|one| one.revision == 1), "no lease: {given:?}");
    let repository = &world.repository;
    ensure!(repository.keep_schedule(due.id, 1, Duration::ZERO).await?, "the lease was not found");
    ensure!(!repository.keep_schedule(due.id, 2, LONG).await?, "another revision's lease was extended");
    let next = repository.claim_schedule(LONG).await?;
    ensure!(next.is_some_and(|next| next.id == due.id), "a lease that ended was not passed on");
    let done = Schedule { revision: 2, next_at: None, wake_at: None, ..due.clone() };
    repository.put_schedule(&done, 1).await?;
    ensure!(!repository.keep_schedule(due.id, 2, LONG).await?, "what never comes was leased");
    ensure!(repository.claim_schedule(LONG).await?.is_none(), "what is over was claimed");
    Ok(())
}

async fn listed(world: World) -> Verdict {
    let other = World::new(world.repository.clone());
    let mut ids = Vec::new();
    for world in [&world, &other, &world, &world] {
        let schedule = schedule(world, now().plus(LONG));
        world.repository.put_schedule(&schedule, 0).await?;
        ids.push(schedule.id);
    }
    let page = async |user: Option<&str>, before, limit| -> Result<Vec<ScheduleId>, Broken> {
        let page = world.repository.schedules(user, before, limit).await?;
        Ok(page.iter().map(|schedule| schedule.id).collect())
    };
    let mine = page(Some(&world.user), None, 2).await?;
    ensure!(mine == [ids[3], ids[2]], "{mine:?}");
    let rest = page(Some(&world.user), Some(ids[2]), 2).await?;
    ensure!(rest == [ids[0]], "{rest:?}");
    let all = page(None, None, 3).await?;
    ensure!(all == [ids[3], ids[2], ids[1]], "{all:?}");
    Ok(())
}
