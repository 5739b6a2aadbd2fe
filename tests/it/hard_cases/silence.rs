//! Providers that are slow or say nothing: each deadline has its own code.

use std::time::Duration;

use longhaul::models::{Models, ModelsConfig};
use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Event, Fault, Limits, Payload, RetryPolicy, Status, StepType};
use tokio::net::{TcpSocket, TcpStream};

use super::provider::{Provider, Reply};
use super::wire::{FORMATS, text};
use crate::world::{Setup, plan, request, step};

/// Thinks once with these models; how the attempts failed and with what text, and whether the last
/// one did not.
async fn think(models: Models, attempts: u32) -> (Vec<(Fault, Option<Payload>)>, Status) {
    let retry = RetryPolicy { max_attempts: attempts, base_ms: 1, factor: 1.0, max_ms: 1 };
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let world = super::world(Setup { models: Some(models), retry, limits, ..Setup::default() }).await;
    let _worker = world.work("w");
    let steps = plan(vec![step(StepType::LlmReasoning, "Think")]);
    let task = world.orchestrator.start(TaskRequest { plan: Some(steps), ..request("Think") }).await.unwrap();
    let task = world.until(task.id, |task| !task.status().is_live()).await;
    let failed = world.journal(task.id).await.into_iter().filter_map(|entry| match entry.event {
        Event::CallFailed { fault, partial, .. } => Some((fault, partial)),
        _ => None,
    });
    (failed.collect(), task.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_silence_has_its_code_and_the_whole_request_is_repeated() {
    for format in FORMATS {
        let spoken = move || Reply::events(&format.events(text("One two three")));
        let drop = Duration::from_millis(30);
        let cases = [
            (Reply::never(), "firstByteMs = 150", "provider_timeout_first_byte", None),
            (spoken().hanging_after(0), "firstByteMs = 150", "provider_timeout_first_byte", None),
            (spoken().hanging_after(4), "betweenChunksMs = 150", "provider_timeout_chunk", Some("One two ")),
            (
                spoken().dripping(drop).hanging_after(6),
                "totalMs = 250",
                "provider_timeout_total",
                Some("One "),
            ),
        ];
        for (silent, timeouts, code, partial) in cases {
            let is_first = std::sync::atomic::AtomicBool::new(true);
            let provider =
                Provider::start(move |_| match is_first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    true => silent.clone(),
                    false => spoken(),
                })
                .await;
            let models = provider.models(format, &format!("timeouts = {{ {timeouts} }}")).await;
            let (failed, status) = think(models, 2).await;
            let seen: Vec<_> = failed.iter().map(|(fault, _)| fault.code.as_str()).collect();
            assert_eq!((seen.as_slice(), status), (&[code][..], Status::Completed), "{format:?} {code}");
            let told = failed[0].1.as_ref().map(|text| text.preview().clone());
            let is_kept = match partial {
                None => told.is_none(),
                Some(words) => told.is_some_and(|told| told.starts_with(words)),
            };
            assert!(is_kept, "{format:?} {code}: {:?}", failed[0].1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_within_the_deadlines_is_an_answer() {
    for format in FORMATS {
        let slow = Reply::events(&format.events(text("One two"))).dripping(Duration::from_millis(20));
        let provider = Provider::start(move |_| slow.clone()).await;
        let timeouts = "timeouts = { firstByteMs = 10000, betweenChunksMs = 10000 }";
        let (failed, status) = think(provider.models(format, timeouts).await, 1).await;
        assert_eq!((failed.len(), status), (0, Status::Completed), "{format:?}");
    }
}

/// An address at which connections are neither accepted nor refused, for as long as the rest lives.
async fn unreachable() -> (String, TcpListenerThatIsFull) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(connection) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        waiting.push(connection.unwrap());
        assert!(waiting.len() < 100, "the system takes every connection");
    }
    (format!("http://{address}/v1"), TcpListenerThatIsFull { _listener: listener, _waiting: waiting })
}

struct TcpListenerThatIsFull {
    _listener: tokio::net::TcpListener,
    _waiting: Vec<TcpStream>,
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_made_in_time_has_its_own_code() {
    let (url, _full) = unreachable().await;
    let config = format!(
        "default = 'own/first'\ntimeouts = {{ connectMs = 150 }}\n\
         [providers.own]\nkind = 'openai-compatible'\nbaseUrl = '{url}'\n"
    );
    let config: ModelsConfig = toml::from_str(&config).unwrap();
    let models = Models::open(&config, &|_| None).await.unwrap();
    let (failed, status) = think(models, 2).await;
    let codes: Vec<_> = failed.iter().map(|(fault, _)| fault.code.as_str()).collect();
    assert_eq!(codes, ["provider_timeout_connect"; 2]);
    assert_eq!(status, Status::Paused, "the plan is not at fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_falls_silent_in_the_middle_again_and_again_is_left_alone() {
    for format in FORMATS {
        let silent = Reply::events(&format.events(text("One two three"))).hanging_after(4);
        let provider = Provider::start(move |_| silent.clone()).await;
        let more = "timeouts = { betweenChunksMs = 100 }\nbreaker = { failures = 2, openMs = 3600000 }";
        let models = provider.models(format, more).await;
        let retry = RetryPolicy { max_attempts: 9, base_ms: 1, factor: 1.0, max_ms: 1 };
        let world = super::world(Setup { models: Some(models), retry, ..Setup::default() }).await;
        let _worker = world.work("w");
        let task = world.start(plan(vec![step(StepType::LlmReasoning, "Think")])).await;
        let is_left_alone =
            |fault: Option<&Fault>| fault.is_some_and(|fault| fault.code == "provider_circuit_open");
        world.until(task.id, |task| is_left_alone(task.steps()[0].fault.as_ref())).await;
        assert_eq!(provider.asked().len(), 2, "{format:?}");
    }
}
