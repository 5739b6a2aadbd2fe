//! Limits that are reached: budgets over branches, plans that are too long, depths of answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Budget, Event, Limits, PauseReason, Plan, Status, StepType};
use serde_json::{Value, json};

use super::provider::{Asked, Provider, Reply};
use super::wire::{self, FORMATS, Format, text};
use crate::world::{Setup, call, plan, request, step};

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_exceeded_by_no_more_than_one_call_in_flight_per_branch() {
    const BRANCHES: u32 = 4;
    const LIMIT: u64 = 60_000;
    /// What each call consumes, five times what is reserved for it.
    const CALL: u64 = 20_000;
    // Four characters are a token.
    let long = "four".repeat(CALL as usize);
    let script = json!({"rules": [{"delayMs": 10, "reply": {"text": long}}]});
    let limits = Limits { max_parallel_steps: BRANCHES, ..Limits::default() };
    let world = super::world(Setup { script, limits, ..Setup::default() }).await;
    let thinking = |index: usize| step(StepType::LlmReasoning, &format!("think {index}"));
    let mut steps: Plan = plan((0..40).map(thinking).collect());
    steps.steps.iter_mut().for_each(|step| step.depends_on.clear());
    let budget = Budget { tokens: Some(LIMIT), ..Budget::default() };
    let request = TaskRequest { plan: Some(steps), budget, ..request("Think a lot") };
    let id = world.orchestrator.start(request).await.unwrap().id;
    let worker = world.work("w");
    world.until(id, |task| task.status() == Status::Paused).await;
    worker.stop().await;
    let task = world.repository.load(id).await.unwrap().unwrap();
    assert_eq!(task.state().pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Budget));
    let used = task.consumed(task.state().updated_at).tokens;
    let most = LIMIT + u64::from(BRANCHES) * (CALL + 1_000);
    assert!(used >= CALL && used <= most, "{used} tokens of {LIMIT} were used");
    assert!(task.state().spent.reserved.is_nothing(), "nothing is in flight any more");
    world.is_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_would_make_the_plan_too_long_is_not_taken() {
    let revised: Vec<_> =
        (0..20).map(|n| json!({"id": n.to_string(), "description": "x", "type": "llm-reasoning"})).collect();
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"reason": "more", "steps": revised}}},
        {"reply": {"text": "thought"}},
    ]});
    let limits = Limits { max_steps: 10, ..Limits::default() };
    let world = super::world(Setup { script, limits, ..Setup::default() }).await;
    let task = world.start(plan(vec![call("broken", json!({}))])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert!(task.steps().len() <= 10, "{} steps", task.steps().len());
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_the_provider_finds_too_long_is_summarised_once_and_asked_once_more() {
    let overflows =
        |times: u32| json!({"role": "execute", "times": times, "reply": {"error": {"kind": "overflow"}}});
    let rules = |overflow: Value| {
        json!({"rules": [
            {"role": "summarize", "reply": {"text": "In short."}},
            overflow,
            {"role": "execute", "reply": {"text": "done"}},
        ]})
    };
    for (times, status) in [(1, Status::Completed), (2, Status::Failed)] {
        let limits = Limits { max_replans: 0, ..Limits::default() };
        let world = super::world(Setup { script: rules(overflows(times)), limits, ..Setup::default() }).await;
        let read = call("read", json!({"text": "a long story ".repeat(2_000)}));
        let task = world.start(plan(vec![read, step(StepType::LlmReasoning, "Write")])).await;
        let _worker = world.work("w");
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), status, "{times} times: {:?}", task.state().fault);
        let journal = world.journal(task.id).await;
        let summaries = journal.iter().filter(|entry| entry.event.kind() == "context_summarized").count();
        let asked =
            journal.iter().filter(|entry| matches!(entry.event, Event::ModelRequested { .. })).count();
        assert_eq!((summaries, asked), (1, 2), "{times} times: one summary, and one more call behind it");
        world.is_sound(task.id).await;
    }
}

/// A provider that takes no more than so many bytes, whatever is configured, and reads on for so many turns.
async fn narrow(format: Format, most: usize, turns: usize) -> Provider {
    reading(format, most, turns, 250).await
}

/// The same, which counts so many tokens for a thousand bytes.
async fn reading(format: Format, most: usize, turns: usize, density: usize) -> Provider {
    let answered = AtomicUsize::new(0);
    Provider::start(move |asked| {
        let bytes = asked.body.to_string().len();
        if bytes > most {
            let words = "This model's maximum context length is 8192 tokens";
            return Reply::json(400, &format.error("context_length_exceeded", words));
        }
        let whole = |said| {
            let reported = |event: String| {
                let count = |name: &str| format!("\"{name}\":{}", bytes * density / 1000);
                let event = event.replace("\"prompt_tokens\":9", &count("prompt_tokens"));
                event.replace("\"input_tokens\":9", &count("input_tokens"))
            };
            match asked.wants_stream() {
                true => Reply::events(&format.events(said).into_iter().map(reported).collect::<Vec<_>>()),
                false => Reply::json(200, &format.whole(said)),
            }
        };
        if asked.body.get("tools").is_none() {
            return whole(text("In short: much was read."));
        }
        let turn = answered.fetch_add(1, Ordering::SeqCst);
        let arguments = format!("{{\"text\": \"page {turn} {}\"}}", "a long story ".repeat(250));
        match turn < turns {
            true => whole(wire::call("read", &[&arguments])),
            false => whole(text("All was read.")),
        }
    })
    .await
}

fn is_too_long(asked: &Asked, most: usize) -> bool {
    asked.body.to_string().len() > most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_the_provider_finds_too_long_is_folded_and_the_smaller_window_is_remembered() {
    const MOST: usize = 40_000;
    for format in FORMATS {
        let provider = narrow(format, MOST, 14).await;
        let models = Some(provider.models(format, "").await);
        let limits = Limits { max_replans: 0, ..Limits::default() };
        let world = super::world(Setup { models, limits, ..Setup::default() }).await;
        let reading = || plan(vec![step(StepType::ToolCall, "Read it all")]);
        let task = world.start(reading()).await;
        let _worker = world.work("w");
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
        assert_eq!(task.steps()[0].attempts, 1, "{format:?}: the step went on, and did not begin anew");
        assert_eq!(world.calls().len(), 14, "{format:?}: no call was made twice for it");
        let refused = provider.asked().iter().filter(|asked| is_too_long(asked, MOST)).count();
        assert_eq!(refused, 1, "{format:?}: it is told once, and remembered");
        let journal = world.journal(task.id).await;
        let at = |kind: &str| journal.iter().position(|entry| entry.event.kind() == kind);
        assert!(
            at("call_failed") < at("conversation_summarized"),
            "{format:?}: {:?}",
            world.kinds(task.id).await
        );
        let prompts: Vec<u64> = journal
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::ModelRequested { prompt, .. } => prompt.map(|prompt| prompt.window),
                _ => None,
            })
            .collect();
        let (first, last) = (prompts[0], prompts[prompts.len() - 1]);
        assert!(last < first / 4, "{format:?}: {first} became {last}");
        world.is_sound(task.id).await;

        // The next task of this process knows it from the start.
        let next = world.start(reading()).await;
        let next = world.ended(next.id).await;
        assert_eq!(next.status(), Status::Completed, "{format:?}: {:?}", next.state().fault);
        let kinds = world.kinds(next.id).await;
        assert!(!kinds.contains(&"call_failed"), "{format:?}: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_counts_holds_for_the_next_turn_of_the_same_step() {
    const LIMIT: u64 = 16_000;
    /// Nearly twice the first guess.
    const DENSITY: usize = 600;
    for format in FORMATS {
        let provider = reading(format, usize::MAX, 30, DENSITY).await;
        let models = Some(provider.models(format, "").await);
        let limits = Limits { max_turns: 40, context_window_limit: LIMIT, ..Limits::default() };
        let world = super::world(Setup { models, limits, ..Setup::default() }).await;
        let task = world.start(plan(vec![step(StepType::ToolCall, "Read it all")])).await;
        let _worker = world.work("w");
        let task = world.ended(task.id).await;
        assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
        let asked = provider.asked();
        let tokens = asked.iter().map(|asked| asked.body.to_string().len() * DENSITY / 1000);
        let largest = tokens.max().unwrap_or_default();
        assert!(largest as u64 <= LIMIT, "{format:?}: {largest} tokens were sent");
        let kinds = world.kinds(task.id).await;
        let folds = kinds.iter().filter(|kind| **kind == "conversation_summarized").count();
        assert!(folds > 2, "{format:?}: {folds} folds");
        let recording = crate::replay::recording(&world, task.id).await;
        let found = crate::replay::again(&recording).await;
        assert!(found.is_same(), "{format:?}: {found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_judges_goals_and_messages_is_asked_within_the_window_too() {
    const LIMIT: u64 = 8_000;
    let verdicts = |asked: &Asked| match asked.body.to_string().contains("complex") {
        true => text("{\"complex\": false, \"reason\": \"no\"}"),
        false => text("{\"verdict\": \"done\", \"reason\": \"yes\"}"),
    };
    let provider = Provider::start(move |asked| Reply::events(&Format::OpenAi.events(verdicts(asked)))).await;
    let models = Some(provider.models(Format::OpenAi, "").await);
    let limits = Limits { context_window_limit: LIMIT, ..Limits::default() };
    let world = super::world(Setup { models, limits, judge: true, ..Setup::default() }).await;
    let goal = "Look at it from every side. ".repeat(2_000);
    let steps = plan(vec![call("read", json!({}))]);
    let request = TaskRequest { plan: Some(steps), ..request(&goal) };
    let id = world.orchestrator.start(request).await.unwrap().id;
    let _worker = world.work("w");
    assert_eq!(world.ended(id).await.status(), Status::Completed);
    // The rules do not know the language, so a model is asked about the message.
    let foreign = "Сравни это и напиши, что ты нашёл. ".repeat(1_000);
    world.orchestrator.should_orchestrate(&foreign, 0, None).await;
    let asked = provider.asked();
    assert_eq!(asked.len(), 2, "the judge and the detector");
    for asked in asked {
        // As it is counted before anything is known of a model.
        let tokens = asked.body.to_string().len() as u64 * 340 / 1000;
        assert!(tokens <= LIMIT, "{tokens} tokens were sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_stays_too_long_is_given_up() {
    let answered = AtomicUsize::new(0);
    let provider = Provider::start(move |asked| {
        if asked.body.get("tools").is_none() {
            return Reply::json(200, &Format::OpenAi.whole(text("In short: one page.")));
        }
        match answered.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::events(&Format::OpenAi.events(wire::call("read", &["{\"page\": 1}"]))),
            _ => Reply::json(400, &Format::OpenAi.error("context_length_exceeded", "maximum context length")),
        }
    })
    .await;
    let models = Some(provider.models(Format::OpenAi, "").await);
    let limits = Limits { max_replans: 0, ..Limits::default() };
    let world = super::world(Setup { models, limits, ..Setup::default() }).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Read it")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.state().fault.as_ref().map(|fault| fault.code.as_str()), Some("context_overflow"));
    let refused = task.steps()[0].calls.last().map(|call| call.attempt);
    assert!(refused.is_some_and(|attempts| attempts <= 4), "{refused:?} tries");
    world.is_sound(task.id).await;
}
