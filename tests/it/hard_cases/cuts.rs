//! Answers that are cut.

use std::collections::BTreeMap;
use std::sync::Mutex;

use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Event, Payload, Status, StepType, Task, TaskId};
use serde_json::json;

use super::provider::{Provider, Reply};
use super::wire::{FORMATS, Format, call, text};
use crate::world::{Setup, World, plan, request, step};

const ARGUMENTS: [&str; 2] = ["{\"sum\": 7, \"to\":", " \"Zoë\"}"];

/// A provider that cuts the first answer to the goal `cut-at-N` after N bytes, every second one so
/// that the end of the connection looks like the end of the answer.
async fn cutting(format: Format) -> (Provider, usize) {
    let events = format.events(call("unsafe_effect", &ARGUMENTS));
    let length = events.concat().len();
    let asked: Mutex<BTreeMap<usize, usize>> = Mutex::default();
    let provider = Provider::start(move |request| {
        let at = request.number("cut-at-").unwrap_or(usize::MAX);
        if request.has_tool_result() {
            return Reply::events(&format.events(text("Paid.")));
        }
        let times = {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(at).or_default();
            *times += 1;
            *times
        };
        match times {
            1 => Reply::cut(&events, at).until_close(at % 2 == 0),
            _ => Reply::events(&events),
        }
    })
    .await;
    (provider, length)
}

async fn start(world: &World, goal: &str) -> TaskId {
    let steps = plan(vec![step(StepType::ToolCall, "Pay")]);
    let request = TaskRequest { plan: Some(steps), ..request(goal) };
    world.orchestrator.start(request).await.unwrap().id
}

/// The texts of answers that broke off.
async fn partial_texts(world: &World, task: &Task) -> Vec<Payload> {
    let failed = |event| match event {
        Event::CallFailed { partial, .. } => partial,
        _ => None,
    };
    world.journal(task.id).await.into_iter().filter_map(|entry| failed(entry.event)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_at_any_byte_is_asked_for_again_and_no_half_call_is_made() {
    for format in FORMATS {
        let (provider, length) = cutting(format).await;
        let models = provider.models(format, "").await;
        let mut world = super::world(Setup { models: Some(models), ..Setup::default() }).await;
        world.worker_config.concurrency = 32;
        let _worker = world.work("w");
        // From now on it is known that this server streams.
        let first = start(&world, &format!("cut-at-{length}")).await;
        assert_eq!(world.ended(first).await.status(), Status::Completed);
        let mut ids = Vec::new();
        for at in 0..length {
            ids.push(start(&world, &format!("cut-at-{at} of {length}")).await);
        }
        for (at, id) in ids.into_iter().enumerate() {
            let task = world.ended(id).await;
            let state = task.state();
            assert_eq!(task.status(), Status::Completed, "{format:?} cut at {at}: {:?}", state.fault);
            assert_eq!(state.output, Some(Payload::text("Paid.")), "{format:?} cut at {at}");
            for entry in world.journal(id).await {
                if let Event::ToolDispatched { arguments, .. } = entry.event {
                    let whole = Payload::Inline(json!({"sum": 7, "to": "Zoë"}));
                    assert_eq!(arguments, whole, "{format:?} cut at {at}");
                }
            }
            for partial in partial_texts(&world, &task).await {
                let whole = "Well – now.";
                assert!(whole.starts_with(partial.preview().as_str()), "{format:?} cut at {at}: {partial:?}");
            }
        }
        let calls = world.calls();
        assert_eq!(calls.len(), length + 1, "{format:?}: a call for each task");
        assert!(calls.values().all(|times| *times == 1), "{format:?}: {calls:?}");
        assert!(provider.asked().iter().all(|asked| asked.wants_stream()), "{format:?} is known to stream");
        let violations = world.repository.violations().await.unwrap();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_said_before_it_was_cut_is_a_trace() {
    for format in FORMATS {
        let (provider, length) = cutting(format).await;
        let models = provider.models(format, "").await;
        let world = super::world(Setup { models: Some(models), ..Setup::default() }).await;
        let _worker = world.work("w");
        let id = start(&world, &format!("cut-at-{}", length - 60)).await;
        let task = world.ended(id).await;
        assert_eq!(partial_texts(&world, &task).await, [Payload::text("Well – now.")], "{format:?}");
        world.is_sound(id).await;
    }
}
