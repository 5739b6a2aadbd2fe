//! Answers that are no answers: not JSON, too long, cut by the limit of tokens, calls written as text.

use std::sync::Mutex;

use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Event, Limits, Payload, Plan, Status, StepType, Task};
use serde_json::{Value, json};

use super::provider::{Provider, Reply};
use super::wire::{FORMATS, Format, Said, call, openai_event, text};
use crate::world::{Setup, World, plan, request, step};

/// A provider that gives these answers, one after the other, and says `Done.` from then on.
async fn saying(format: Format, replies: Vec<Reply>) -> Provider {
    let replies = Mutex::new(replies.into_iter());
    Provider::start(move |_| {
        let next = replies.lock().unwrap().next();
        next.unwrap_or_else(|| Reply::events(&format.events(text("Done."))))
    })
    .await
}

async fn world(format: Format, replies: Vec<Reply>) -> (World, Provider) {
    let provider = saying(format, replies).await;
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let models = Some(provider.models(format, "").await);
    (super::world(Setup { models, limits, ..Setup::default() }).await, provider)
}

async fn run(world: &World, plan: Option<Plan>) -> Task {
    let task = world.orchestrator.start(TaskRequest { plan, ..request("Do it") }).await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    world.is_sound(task.id).await;
    task
}

fn with_tools() -> Option<Plan> {
    Some(plan(vec![step(StepType::ToolCall, "Use tools")]))
}

async fn failed_calls(world: &World, task: &Task) -> Vec<String> {
    let journal = world.journal(task.id).await.into_iter();
    let failed = journal.filter_map(|entry| match entry.event {
        Event::CallFailed { fault, .. } => Some(fault.message),
        _ => None,
    });
    failed.collect()
}

fn steps(count: usize) -> String {
    let step = |n: usize| json!({"id": n.to_string(), "description": "Think", "type": "llm-reasoning"});
    json!({"steps": (0..count).map(step).collect::<Vec<Value>>()}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_in_a_fence_is_a_plan() {
    for format in FORMATS {
        let fenced = format!("Here you are:\n```json\n{}\n```\nGood luck!", steps(2));
        let (world, _provider) = world(format, vec![Reply::events(&format.events(text(&fenced)))]).await;
        let task = run(&world, None).await;
        assert_eq!((task.status(), task.total_steps()), (Status::Completed, 2), "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_the_limit_of_tokens_cut_is_asked_for_once_more() {
    for format in FORMATS {
        let whole = steps(2);
        let half = Said { finish: "length", ..text(&whole[..whole.len() / 2]) };
        let replies = [half, text(&whole)].map(|said| Reply::events(&format.events(said)));
        let (world, provider) = world(format, replies.to_vec()).await;
        let task = run(&world, None).await;
        assert_eq!((task.status(), task.total_steps()), (Status::Completed, 2), "{format:?}");
        assert!(provider.asked()[1].says("This cannot be used"), "{format:?}");
        let degraded = world.journal(task.id).await.into_iter().any(|entry| match entry.event {
            Event::Planned { by, .. } => by.degraded,
            _ => false,
        });
        assert!(!degraded, "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_no_json_makes_the_whole_request_be_repeated() {
    for format in FORMATS {
        let mut events = format.events(call("unsafe_effect", &["{\"sum\":", "7}"]));
        let broken = events.len() - 4;
        events[broken] = events[broken].replacen("{", "{{", 1);
        let whole = format.events(call("unsafe_effect", &["{\"sum\":7}"]));
        let replies = vec![Reply::events(&events), Reply::events(&whole)];
        let (world, _provider) = world(format, replies).await;
        let task = run(&world, with_tools()).await;
        assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
        assert_eq!(world.calls().values().sum::<usize>(), 1, "{format:?}");
        assert_eq!(failed_calls(&world, &task).await.len(), 1, "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_arguments_the_limit_of_tokens_cut_is_not_made() {
    for format in FORMATS {
        // In the middle of them, and before they began, which looks like a call without any.
        for pieces in [&["{\"sum\": 7, \"to\": \"A"][..], &[]] {
            let cut = Said { finish: "length", ..call("unsafe_effect", pieces) };
            let (world, _provider) = world(format, vec![Reply::events(&format.events(cut))]).await;
            let task = run(&world, with_tools()).await;
            assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
            assert!(world.calls().is_empty(), "{format:?}: half a call was made");
            let usage = task.state().usage;
            assert_eq!((usage.output_tokens, usage.model_calls), (10, 2), "{format:?}: both are on the bill");
            assert_eq!(failed_calls(&world, &task).await.len(), 1, "{format:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_limit_of_tokens_cut_goes_on_where_it_ended() {
    for format in FORMATS {
        let cut = |said| Reply::events(&format.events(Said { finish: "length", ..text(said) }));
        let last = Reply::events(&format.events(text("e and four.")));
        let (world, provider) = world(format, vec![cut("One, tw"), cut("o, thre"), last]).await;
        let task = run(&world, with_tools()).await;
        assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
        let output = world.repository.content(task.state().output.as_ref().unwrap()).await.unwrap();
        assert_eq!(output, json!("One, two, three and four."), "{format:?}");
        assert!(failed_calls(&world, &task).await.is_empty(), "{format:?}: what was said is not lost");
        let asked = provider.asked();
        assert_eq!(asked.len(), 3, "{format:?}");
        assert!(!asked[0].says("Go on exactly") && asked[2].says("Go on exactly"), "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_ends_is_given_up_with_the_turns_of_its_step() {
    let cut = || Reply::events(&Format::OpenAi.events(Said { finish: "length", ..text("and so on ") }));
    let provider = Provider::start(move |_| cut()).await;
    let limits = Limits { max_replans: 0, max_turns: 4, ..Limits::default() };
    let models = Some(provider.models(Format::OpenAi, "").await);
    let world = super::world(Setup { models, limits, ..Setup::default() }).await;
    let task = run(&world, with_tools()).await;
    assert_eq!(task.steps()[0].fault.as_ref().unwrap().code, "too_many_turns");
    assert_eq!(provider.asked().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_cut_is_whole_although_its_worker_died_between_the_pieces() {
    let script = json!({"rules": [
        {"contains": "Go on exactly", "times": 1, "delayMs": 600_000, "reply": {"text": "never heard"}},
        {"contains": "Go on exactly", "reply": {"text": "o."}},
        {"reply": {"text": "One, tw", "cut": true}},
    ]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    let task = world.start(with_tools().unwrap()).await;
    let first = world.work("first");
    world.until(task.id, |task| task.steps()[0].calls.len() == 2).await;
    first.kill().await;
    let _second = world.work("second");
    let task = world.ended(task.id).await;
    assert_eq!(task.state().output, Some(Payload::text("One, two.")));
    let answered = world.kinds(task.id).await.into_iter().filter(|kind| *kind == "model_answered").count();
    assert_eq!(answered, 2, "the first piece is not asked for again");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_number_of_its_own_is_made_once_and_whole() {
    for number in [1_u64, 5, u64::from(u32::MAX)] {
        let piece = |function: Value, id: Option<&str>| {
            let piece = json!({"index": number, "id": id, "function": function});
            openai_event(&json!({"tool_calls": [piece]}), None)
        };
        let events = vec![
            piece(json!({"name": "unsafe_effect", "arguments": ""}), Some("call_1")),
            piece(json!({"arguments": "{\"sum\": 7}"}), None),
            openai_event(&json!({}), Some("tool_calls")),
            "data: [DONE]\n\n".to_owned(),
        ];
        let (world, _provider) = world(Format::OpenAi, vec![Reply::events(&events)]).await;
        let task = run(&world, with_tools()).await;
        assert_eq!(task.status(), Status::Completed, "{number}: {:?}", task.state().fault);
        assert_eq!(world.calls().values().copied().collect::<Vec<_>>(), [1], "{number}");
        let arguments = world.journal(task.id).await.into_iter().find_map(|entry| match entry.event {
            Event::ToolDispatched { arguments, .. } => Some(arguments),
            _ => None,
        });
        assert_eq!(arguments, Some(Payload::Inline(json!({"sum": 7}))), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_written_as_text_is_made_for_small_models_and_is_text_where_calls_are_proper() {
    let written = [
        "<tool_call>{\"name\": \"unsafe_effect\", \"arguments\": {\"sum\": 7}}</tool_call>",
        "```json\n{\"name\": \"unsafe_effect\", \"arguments\": {\"sum\": 7}}\n```",
    ];
    for words in written {
        for (format, calls) in [(Format::OpenAi, 1), (Format::Anthropic, 0)] {
            let (world, _provider) = world(format, vec![Reply::events(&format.events(text(words)))]).await;
            let task = run(&world, with_tools()).await;
            assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
            assert_eq!(world.calls().len(), calls, "{format:?}: {words}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_given_up_and_asked_for_again() {
    for format in FORMATS {
        let said = "word ".repeat(20_000);
        let events = format.events(text(&said));
        let event = events.iter().find(|event| event.contains("word")).unwrap();
        let large = event.replace("word ", &said);
        let mut endless = events[..2].concat();
        endless.push_str(&large.repeat(100));
        let (world, _provider) = world(format, vec![Reply::many(&endless, 1)]).await;
        let task = run(&world, with_tools()).await;
        assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
        let failed = failed_calls(&world, &task).await;
        assert!(failed.len() == 1 && failed[0].contains("longer than"), "{format:?}: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_stream_is_understood_too() {
    for format in FORMATS {
        let provider = Provider::start(move |asked| {
            let said = match asked.has_tool_result() {
                true => text("Done."),
                false => call("unsafe_effect", &["{\"sum\":", "7}"]),
            };
            Reply::json(200, &format.whole(said))
        })
        .await;
        let models = Some(provider.models(format, "").await);
        let world = super::world(Setup { models, ..Setup::default() }).await;
        let task = run(&world, with_tools()).await;
        assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
        assert_eq!(world.calls().values().copied().collect::<Vec<_>>(), [1], "{format:?}");
        let streams: Vec<bool> = provider.asked().iter().map(|asked| asked.wants_stream()).collect();
        assert_eq!(streams, [true, false, false], "{format:?}: it is remembered");
    }
}
