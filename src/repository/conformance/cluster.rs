//! What processes share: answers to repeated requests, the list of workers, limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::world::{LONG, World, cancelled};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::{
    Answer, Beat, Lease, Presence, Rate, RepositoryError, Retention, WorkerInfo, WorkerSummary,
};
use crate::task::Task;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("an answer is kept with its task, once per user and key, and outlives it", |world| {
        Box::pin(answers(world))
    }),
    ("of requests that race with one key, one creates its task", |world| Box::pin(racing_answers(world))),
    ("workers are listed with what they hold until they end", |world| Box::pin(workers(world))),
    ("a worker that is silent for longer than its lease is gone", |world| Box::pin(silent_worker(world))),
    ("permits never exceed their rate, whoever asks", |world| Box::pin(permits(world))),
];

fn answer(world: &World, key: &str, task: &Task) -> Answer {
    Answer {
        user_id: world.user.clone(),
        key: key.to_owned(),
        request_hash: [7; 32],
        task_id: Some(task.id),
        reply: r#"{"b":"é\u0000","a":1}"#.to_owned(),
    }
}

async fn answers(world: World) -> Verdict {
    let (mut task, entries) = world.draft("Answered", 1)?;
    let first = answer(&world, "key", &task);
    world.repository.create(&task, entries, Some(&first)).await?;
    ensure!(world.repository.answer(&world.user, "key").await? == Some(first.clone()), "it was not kept");
    ensure!(world.repository.answer(&world.user, "other").await?.is_none(), "another key has an answer");
    ensure!(world.repository.answer("somebody else", "key").await?.is_none(), "another user has it too");
    let (second, entries) = world.draft("Again", 1)?;
    let taken = world.repository.create(&second, entries, Some(&answer(&world, "key", &second))).await;
    ensure!(matches!(taken, Err(RepositoryError::KeyTaken)), "the second time: {taken:?}");
    ensure!(world.repository.load(second.id).await?.is_none(), "the second task was created all the same");
    world.commit(&mut task, vec![cancelled()], Lease::Keep).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.repository.prune(&Retention { tasks: Some(Duration::ZERO), traces: None }).await?;
    ensure!(world.repository.load(task.id).await?.is_none(), "the task is still there");
    let kept = world.repository.answer(&world.user, "key").await?;
    ensure!(kept == Some(first), "the answer went with its task: {kept:?}");
    Ok(())
}

async fn racing_answers(world: World) -> Verdict {
    let world = Arc::new(world);
    let requests = (0..8).map(|number| {
        let world = world.clone();
        tokio::spawn(async move {
            let (task, entries) = world.draft(&format!("Race {number}"), 1)?;
            match world.repository.create(&task, entries, Some(&answer(&world, "race", &task))).await {
                Ok(()) => Ok(Some(task.id)),
                Err(RepositoryError::KeyTaken) => Ok(None),
                Err(error) => Err(Broken::from(error)),
            }
        })
    });
    let mut created = Vec::new();
    for request in futures::future::join_all(requests).await {
        created.extend(request.map_err(|error| Broken(error.to_string()))??);
    }
    let kept = world.repository.answer(&world.user, "race").await?.and_then(|answer| answer.task_id);
    ensure!(created.len() == 1 && kept == created.first().copied(), "{created:?}, and {kept:?} is kept");
    Ok(())
}

fn worker(world: &World, lease_ms: u64) -> WorkerInfo {
    WorkerInfo {
        name: format!("worker of {}", world.user),
        host: "host".to_owned(),
        pid: 4_000_000_000,
        version: "1.2.3".to_owned(),
        concurrency: 7,
        lease_ms,
    }
}

async fn listed(world: &World, worker: &WorkerInfo) -> Result<Option<WorkerSummary>, Broken> {
    let workers = world.repository.workers().await?;
    Ok(workers.into_iter().find(|listed| listed.info.name == worker.name))
}

async fn workers(world: World) -> Verdict {
    let mut worker = worker(&world, 15_000);
    world.repository.beat(&worker, Beat::Begin).await?;
    let first = listed(&world, &worker).await?.ok_or_else(|| Broken("it is not listed".into()))?;
    ensure!((&first.info, first.presence) == (&worker, Presence::Working), "{first:?}");
    let task = world.task("Held", 1).await?.id;
    world.claim(task, &worker.name, LONG).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    worker.concurrency = 8;
    world.repository.beat(&worker, Beat::Drain).await?;
    let second = listed(&world, &worker).await?.ok_or_else(|| Broken("it is not listed".into()))?;
    ensure!(second.presence == Presence::Draining && second.info == worker, "{second:?}");
    ensure!(second.tasks == [task], "it holds {:?}", second.tasks);
    ensure!(second.started_at == first.started_at && second.seen_at > first.seen_at, "{first:?}, {second:?}");
    world.repository.beat(&worker, Beat::End).await?;
    ensure!(listed(&world, &worker).await?.is_none(), "it has ended and is listed");
    Ok(())
}

async fn silent_worker(world: World) -> Verdict {
    // The seconds that others have to take its tasks over are part of the wait.
    let worker = worker(&world, 1);
    world.repository.beat(&worker, Beat::Work).await?;
    let presence = |listed: Option<WorkerSummary>| listed.map(|listed| listed.presence);
    let seen = presence(listed(&world, &worker).await?);
    ensure!(seen == Some(Presence::Working), "{seen:?}");
    tokio::time::sleep(Duration::from_millis(5_050)).await;
    let seen = presence(listed(&world, &worker).await?);
    ensure!(seen == Some(Presence::Gone), "{seen:?}");
    world.repository.beat(&worker, Beat::Work).await?;
    let seen = presence(listed(&world, &worker).await?);
    ensure!(seen == Some(Presence::Working), "heard of again: {seen:?}");
    Ok(())
}

async fn permits(world: World) -> Verdict {
    const RATE: Rate = Rate { max: 5, duration: Duration::from_millis(50) };
    const ALL: u32 = 40;
    let limiter = format!("limiter of {}", world.user);
    let began = Instant::now();
    let first = world.repository.permits(&limiter, RATE, 100).await?;
    ensure!(first.permits == RATE.max, "{first:?} at once");
    let takers = (0..4).map(|_| {
        let (repository, limiter) = (world.repository.clone(), limiter.clone());
        tokio::spawn(async move {
            let mut taken = 0;
            while taken < ALL / 4 {
                let grant = repository.permits(&limiter, RATE, 3).await?;
                taken += grant.permits;
                if grant.permits == 0 {
                    tokio::time::sleep(grant.wait).await;
                }
            }
            Ok::<u32, RepositoryError>(taken)
        })
    });
    let mut taken = first.permits;
    for taker in futures::future::join_all(takers).await {
        taken += taker.map_err(|error| Broken(error.to_string()))??;
    }
    // The first permits were granted after the clock here was started and the last ones before it
    // is read, so between them lies less time than this. One millisecond is how finely the clock of
    // SQLite counts.
    let elapsed = began.elapsed() + Duration::from_millis(1);
    let needed = RATE.duration * (taken - RATE.max) / RATE.max;
    ensure!(elapsed >= needed, "{taken} permits within {elapsed:?}, which is worth {needed:?}");
    Ok(())
}
