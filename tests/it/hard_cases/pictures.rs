//! Pictures that a model does not take: it is asked without them, and the journal says so.

use longhaul::models::Picture;
use longhaul::orchestrator::{Decision, Files, TaskRequest};
use longhaul::task::{Event, Status, StepType};
use serde_json::json;

use super::provider::{Provider, Reply};
use super::wire::{FORMATS, call, text};
use crate::replay;
use crate::world::{Setup, plan, request, step};

const DATA: &str = "aGVsbG8=";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_that_refuses_pictures_was_shown_is_told_as_it_was() {
    for format in FORMATS {
        let provider = Provider::start(move |asked| match asked.has_tool_result() {
            _ if asked.says(DATA) => {
                Reply::json(400, &json!({"error": {"message": "this model takes text only"}}))
            }
            true => Reply::events(&format.events(text("I could not see it."))),
            false => Reply::events(&format.events(call("ask_person", &["{\"question\": \"What is it?\"}"]))),
        })
        .await;
        let models = Some(provider.models(format, "").await);
        let world = super::world(Setup { models, ..Setup::default() }).await;
        let cat = Picture { name: "cat.png".into(), media_type: "image/png".into(), data: DATA.into() };
        let asked = TaskRequest {
            plan: Some(plan(vec![step(StepType::ToolCall, "Look at it")])),
            files: Files { shown: vec![cat], ..Files::default() },
            ..request("See what it is")
        };
        let orchestrator = &world.orchestrator;
        let task = orchestrator.start(asked).await.unwrap();
        let pictures = async |task| {
            let view = orchestrator.context_view(task).await.unwrap();
            view.parts.into_iter().find(|part| part.name == "pictures").unwrap().text.unwrap()
        };
        assert_eq!(pictures(&task).await, "cat.png, image/png", "{format:?}: nobody was asked yet");
        let _worker = world.work("w");
        let task = world.until(task.id, |task| task.status() == Status::Paused).await;
        let told = pictures(&task).await;
        assert!(told.starts_with("The model refused them") && told.ends_with("cat.png, image/png"), "{told}");
        let open = orchestrator.open_requests(&task).await.unwrap();
        orchestrator
            .decide(open[0].id.parse().unwrap(), Decision::Answer(json!("a cat")), "me")
            .await
            .unwrap();
        assert_eq!(world.ended(task.id).await.status(), Status::Completed, "{format:?}");
        let journal = world.journal(task.id).await;
        let answers = journal.iter().filter_map(|entry| match entry.event {
            Event::ModelAnswered { without_pictures, .. } => Some(without_pictures),
            _ => None,
        });
        assert_eq!(answers.collect::<Vec<_>>(), [true, true], "{format:?}");
        let shown: Vec<bool> = provider.asked().iter().map(|asked| asked.says(DATA)).collect();
        assert_eq!(
            shown,
            [true, false, true, false],
            "{format:?}: each prompt has them, and each time it refuses"
        );
        let looked_at: Vec<String> = journal.iter().map(|entry| entry.event.data().to_string()).collect();
        assert!(!looked_at.concat().contains(DATA), "{format:?}: nobody reads letters for a picture");
        let recording = replay::recording(&world, task.id).await;
        let again = replay::again(&recording).await;
        assert!(again.is_same(), "{format:?}: {again:#?}");
    }
}
