//! What a provider keeps of a prompt: told where to, if it wants that, and reckoned when it did.

use longhaul::orchestrator::TaskRequest;
use longhaul::task::{Status, StepType, Task};
use serde_json::{Value, json};

use super::provider::{Asked, Provider, Reply};
use super::wire::{FORMATS, Format, call, text};
use crate::world::{Setup, World, plan, request, step};

/// The events of an answer whose prompt of 9 tokens has 6 in the provider's cache.
fn cached(format: Format, events: Vec<String>) -> Vec<String> {
    let (plain, cached) = match format {
        Format::OpenAi => {
            ("\"prompt_tokens\":9", "\"prompt_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":6}")
        }
        Format::Anthropic => ("\"input_tokens\":9", "\"input_tokens\":3,\"cache_read_input_tokens\":6"),
    };
    events.into_iter().map(|event| event.replace(plain, cached)).collect()
}

/// A step that thinks, and one that uses a tool over two turns.
async fn run(format: Format) -> (World, Provider, Task) {
    let provider = Provider::start(move |asked| {
        let said = match asked.body.get("tools").is_some() && !asked.has_tool_result() {
            true => call("read", &["{\"n\":", "7}"]),
            false => text("Thought about it."),
        };
        Reply::events(&cached(format, format.events(said)))
    })
    .await;
    let models = Some(provider.models(format, "").await);
    let world = super::world(Setup { models, ..Setup::default() }).await;
    let steps = plan(vec![step(StepType::LlmReasoning, "Think"), step(StepType::ToolCall, "Use tools")]);
    let task = TaskRequest { plan: Some(steps), ..request("Think, then act") };
    let task = world.orchestrator.start(task).await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{format:?}: {:?}", task.state().fault);
    (world, provider, task)
}

/// The positions of the messages that carry a marker, and how many there are.
fn marked(asked: &Asked) -> (Vec<usize>, usize) {
    let messages = asked.body["messages"].as_array().unwrap();
    let is_marked = |message: &Value| message.to_string().contains("cache_control");
    let marked = messages.iter().enumerate().filter(|(_, message)| is_marked(message));
    (marked.map(|(position, _)| position).collect(), messages.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_a_cache_had_are_told_apart_in_the_usage() {
    for format in FORMATS {
        let (world, _provider, task) = run(format).await;
        let usage = task.state().usage;
        assert_eq!((usage.model_calls, usage.input_tokens, usage.cached_tokens), (3, 27, 18), "{format:?}");
        world.is_sound(task.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_is_told_how_far_a_prompt_stays_the_same_and_others_are_not() {
    let (_, provider, _) = run(Format::Anthropic).await;
    let asked = provider.asked();
    let with_tools: Vec<&Asked> = asked.iter().filter(|asked| asked.body.get("tools").is_some()).collect();
    assert_eq!(with_tools.len(), 2);
    for asked in &with_tools {
        let (marked, messages) = marked(asked);
        assert_eq!(
            marked,
            [0, messages - 1],
            "the background, and all that the next turn repeats: {asked:?}"
        );
        assert!(asked.says(&json!({"type": "ephemeral"}).to_string()), "{asked:?}");
    }
    let background = |asked: &Asked| asked.body["messages"][0].clone();
    assert_eq!(background(with_tools[0]), background(with_tools[1]), "what is marked stays the same");
    let (_, provider, _) = run(Format::OpenAi).await;
    assert!(provider.asked().iter().all(|asked| !asked.says("cache_control")));
}
