//! Providers that refuse: too many requests, overload, no credit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul::models::Models;
use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Event, Fault, PauseReason, RetryPolicy, Status, StepType, TaskId, Timestamp};

use super::provider::{Provider, Reply};
use super::wire::{FORMATS, Format, text};
use crate::world::{Setup, World, plan, request, step};

/// A provider that answers the first request about each goal that contains `patient` with this, and
/// says that it thought about everything else.
async fn refusing_once(format: Format, refusal: Reply) -> Provider {
    let refused: Mutex<Vec<usize>> = Mutex::default();
    Provider::start(move |asked| {
        let is_new = asked.number("patient-").is_some_and(|number| {
            let mut refused = refused.lock().unwrap();
            let is_new = !refused.contains(&number);
            refused.push(number);
            is_new
        });
        if is_new { refusal.clone() } else { Reply::events(&format.events(text("thought"))) }
    })
    .await
}

async fn world(models: Models, concurrency: u32) -> World {
    let mut world = super::world(Setup { models: Some(models), ..Setup::default() }).await;
    world.worker_config.concurrency = concurrency;
    world
}

async fn start(world: &World, goal: &str) -> TaskId {
    let steps = plan(vec![step(StepType::LlmReasoning, "Think")]);
    let request = TaskRequest { plan: Some(steps), ..request(goal) };
    world.orchestrator.start(request).await.unwrap().id
}

/// The failures of steps: when, why, and when they are tried again.
async fn failures(world: &World, id: TaskId) -> Vec<(Timestamp, Fault, Option<Timestamp>)> {
    let journal = world.journal(id).await.into_iter();
    let failed = journal.filter_map(|entry| match entry.event {
        Event::StepFailed { fault, retry_at, .. } => Some((entry.at, fault, retry_at)),
        _ => None,
    });
    failed.collect()
}

fn too_many(format: Format) -> Reply {
    Reply::json(429, &format.error("rate_limit_error", "slow down"))
}

fn overloaded(format: Format) -> Reply {
    Reply::json(529, &format.error("overloaded_error", "Overloaded"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_that_a_429_asks_for_is_the_least_and_holds_no_place() {
    for format in FORMATS {
        let provider = refusing_once(format, too_many(format).header("retry-after", "3600")).await;
        let world = world(provider.models(format, "").await, 1).await;
        let _worker = world.work("w");
        let patient = start(&world, "patient-1").await;
        world.until(patient, |task| task.steps()[0].fault.is_some()).await;
        // The only place is free for others meanwhile.
        let other = start(&world, "another").await;
        assert_eq!(world.ended(other).await.status(), Status::Completed, "{format:?}");
        let failures = failures(&world, patient).await;
        let [(at, fault, Some(again))] = failures.as_slice() else { panic!("{format:?}: {failures:?}") };
        assert_eq!(fault.code, "provider_rate_limited");
        let wait = again.since(*at);
        assert!(wait >= Duration::from_secs(3600), "{format:?}: asked again after {wait:?}");
        world.orchestrator.cancel(patient, "a person").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_asked_again_after_the_wait_and_without_one_after_our_own() {
    for format in FORMATS {
        for (header, least) in [(Some("120"), 120), (None, 1)] {
            let refusal = too_many(format);
            let refusal = match header {
                Some(millis) => refusal.header("retry-after-ms", millis),
                None => refusal,
            };
            let provider = refusing_once(format, refusal).await;
            let world = world(provider.models(format, "").await, 1).await;
            let _worker = world.work("w");
            let id = start(&world, "patient-1").await;
            assert_eq!(world.ended(id).await.status(), Status::Completed, "{format:?}");
            let asked = provider.asked();
            assert_eq!(asked.len(), 2, "{format:?}");
            let waited = asked[1].at - asked[0].at;
            assert!(waited >= Duration::from_millis(least), "{format:?}: {waited:?} is less than {least} ms");
            world.is_sound(id).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_not_asked_again_but_shown_to_a_person() {
    let openai = Format::OpenAi.error("insufficient_quota", "You exceeded your current quota");
    let anthropic = Format::Anthropic.error("invalid_request_error", "Your credit balance is too low");
    let cases = [
        (Format::OpenAi, Reply::json(429, &openai)),
        (Format::OpenAi, Reply::json(402, &openai)),
        (Format::Anthropic, Reply::json(400, &anthropic)),
    ];
    for (format, refusal) in cases {
        let provider = refusing_once(format, refusal).await;
        let world = world(provider.models(format, "").await, 1).await;
        let _worker = world.work("w");
        let id = start(&world, "patient-1").await;
        let task = world.until(id, |task| task.status() == Status::Paused).await;
        assert_eq!(task.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Provider));
        assert_eq!(provider.asked().len(), 1, "{format:?}: nothing was asked again");
        world.orchestrator.resume(id, "ada").await.unwrap();
        assert_eq!(world.ended(id).await.status(), Status::Completed, "{format:?}");
    }
}

/// So many tasks are hit by a storm.
const TASKS: usize = 24;
/// So many of them are worked on at once.
const PLACES: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_of_529_the_provider_is_left_alone_and_no_attempt_is_burnt() {
    for format in FORMATS {
        let provider = Provider::start(move |_| overloaded(format)).await;
        let models = provider.models(format, "breaker = { failures = 5, openMs = 3600000 }").await;
        // One task alone may be asked for until the breaker opens.
        let retry = RetryPolicy { max_attempts: 6, base_ms: 2, factor: 1.0, max_ms: 10 };
        let mut world = super::world(Setup { models: Some(models), retry, ..Setup::default() }).await;
        world.worker_config.concurrency = PLACES;
        let _worker = world.work("w");
        let mut ids = Vec::new();
        for _ in 0..TASKS {
            ids.push(start(&world, "weather the storm").await);
        }
        let mut spared = 0;
        for id in &ids {
            // All of them wait in the end, and none has failed.
            world.until(*id, |task| waits_for_breaker(task.steps()[0].fault.as_ref())).await;
            spared += usize::from(failures(&world, *id).await.len() == 1);
        }
        let asked = provider.asked().len();
        assert!(asked <= 5 + PLACES as usize, "{format:?}: asked {asked} times");
        assert!(spared >= TASKS - asked, "{format:?}: only {spared} were spared");
        let violations = world.repository.violations().await.unwrap();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

fn waits_for_breaker(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| fault.code == "provider_circuit_open")
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_storm_all_tasks_go_on_by_themselves() {
    for format in FORMATS {
        let is_storm = Arc::new(AtomicBool::new(true));
        let weather = is_storm.clone();
        let provider = Provider::start(move |_| match weather.load(Ordering::SeqCst) {
            true => overloaded(format),
            false => Reply::events(&format.events(text("thought"))),
        })
        .await;
        let models =
            provider.models(format, "breaker = { failures = 3, openMs = 50, maxOpenMs = 100 }").await;
        let retry = RetryPolicy { max_attempts: 100, base_ms: 2, factor: 1.0, max_ms: 10 };
        let mut world = super::world(Setup { models: Some(models), retry, ..Setup::default() }).await;
        world.worker_config.concurrency = PLACES;
        let _worker = world.work("w");
        let mut ids = Vec::new();
        for _ in 0..TASKS {
            ids.push(start(&world, "weather the storm").await);
        }
        for id in &ids {
            world.until(*id, |task| task.steps()[0].fault.is_some()).await;
        }
        is_storm.store(false, Ordering::SeqCst);
        for id in &ids {
            assert_eq!(world.ended(*id).await.status(), Status::Completed, "{format:?}");
        }
        world.is_sound(ids[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_the_next_model_answers() {
    for format in FORMATS {
        let provider = Provider::start(move |asked| match asked.body["model"].as_str() {
            Some("first") => overloaded(format),
            _ => Reply::events(&format.events(text("thought by the second"))),
        })
        .await;
        let more = "fallback = ['own/second']\nbreaker = { failures = 3, openMs = 3600000 }";
        let world = world(provider.models(format, more).await, PLACES).await;
        let _worker = world.work("w");
        let mut ids = Vec::new();
        for _ in 0..TASKS {
            ids.push(start(&world, "weather the storm").await);
        }
        for id in &ids {
            let task = world.ended(*id).await;
            assert_eq!(task.status(), Status::Completed, "{format:?}");
            assert_eq!(task.step(0).unwrap().attempts, 1, "{format:?}: the step did not fail");
            let by = world.journal(*id).await.into_iter().find_map(|entry| match entry.event {
                Event::ModelAnswered { model, .. } => model,
                _ => None,
            });
            assert_eq!(by, Some("own/second".parse().unwrap()), "{format:?}: it is told who answered");
        }
        let asked = provider.asked();
        let first = asked.iter().filter(|asked| asked.body["model"] == "first").count();
        assert!(first <= 3 + PLACES as usize, "{format:?}: the first was asked {first} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_away_pauses_the_task_over_http_too() {
    for format in FORMATS {
        let provider = Provider::start(move |_| overloaded(format)).await;
        let models = provider.models(format, "breaker = { failures = 0 }").await;
        let world = world(models, 1).await;
        let _worker = world.work("w");
        let id = start(&world, "wait for it").await;
        let task = world.until(id, |task| task.status() == Status::Paused).await;
        let pause = task.state().pause.clone().unwrap();
        assert_eq!(pause.reason, PauseReason::Provider, "{format:?}");
        assert!(pause.detail.contains("529"), "{}", pause.detail);
        assert_eq!(provider.asked().len(), 3, "{format:?}: the policy allows three attempts");
        world.is_sound(id).await;
    }
}
