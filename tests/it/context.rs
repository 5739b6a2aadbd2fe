//! What models are told: within the window whatever happens, from the same beginning call after
//! call, and the same again after a crash.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use longhaul::models::{
    Answer, Chunk, Message, Model, ModelError, Models, Picture, Request, Role, Thinking, Thought,
};
use longhaul::orchestrator::{Files, ForkAt, ForkWish, RestoreWish, TaskRequest};
use longhaul::repository::Repository;
use longhaul::task::{Event, Limits, ModelName, Payload, Status, StepType, Task, TaskId, ToolRequest, Usage};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::faults::{Fault, Faulty};
use crate::replay::is_the_same;
use crate::world::{Setup, World, call, plan, request, sqlite, step};
use crate::wrapped::Wrapped;

/// What a model does at its n-th turn in a step: text and tools.
pub(crate) type Turns = Box<dyn Fn(usize) -> (String, Vec<(&'static str, Value)>) + Send + Sync>;

/// A model that keeps what it was asked.
pub(crate) struct Recording {
    name: ModelName,
    asked: Mutex<Vec<Request>>,
    turns: Turns,
    /// What it says as a summarizer; without it, it refuses.
    summary: Option<String>,
    thinks: bool,
}

impl Recording {
    pub(crate) fn new(summary: Option<&str>, turns: Turns) -> Arc<Self> {
        Arc::new(Self::of(summary, turns, true))
    }

    /// One that says what it says and nothing besides.
    pub(crate) fn without_thoughts(summary: Option<&str>, turns: Turns) -> Arc<Self> {
        Arc::new(Self::of(summary, turns, false))
    }

    fn of(summary: Option<&str>, turns: Turns, thinks: bool) -> Self {
        Self {
            name: "scripted/recording".parse().unwrap(),
            asked: Mutex::default(),
            turns,
            summary: summary.map(str::to_owned),
            thinks,
        }
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// How many turns came before: the tools are told which one they are called in.
fn turn_of(request: &Request) -> usize {
    let calls = request.messages.iter().rev().find_map(|message| match message {
        Message::Assistant { requests, .. } => requests.first().map(|request| request.id.clone()),
        _ => None,
    });
    let in_digest = || {
        let Some(Message::User(first)) = request.messages.first() else { return None };
        let (_, after) = first.rsplit_once("turn=")?;
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    match calls.and_then(|id| id.strip_prefix("turn-")?.split('-').next()?.parse::<usize>().ok()) {
        Some(last) => last + 1,
        None => in_digest().map_or(0, |last| last + 1),
    }
}

#[async_trait]
impl Model for Recording {
    fn name(&self) -> &ModelName {
        &self.name
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        if request.role == Role::Summarize {
            let detail = "no summaries today".to_owned();
            let model = self.name.to_string();
            // The last turn that is folded, so that this model knows where it is.
            let Some(Message::User(notes)) = request.messages.first() else { panic!() };
            let last = notes
                .rsplit_once("\"turn\":")
                .map(|(_, after)| after.chars().take_while(char::is_ascii_digit).collect::<String>());
            return match &self.summary {
                Some(text) => Ok(Answer::text(format!("{text} turn={}", last.unwrap_or_default()))),
                None => Err(ModelError::Rejected { model, detail }),
            };
        }
        let turn = turn_of(&request);
        self.asked.lock().unwrap().push(request);
        let (text, calls) = (self.turns)(turn);
        let requests = calls.into_iter().enumerate().map(|(at, (tool, arguments))| ToolRequest {
            id: format!("turn-{turn}-{at}"),
            tool: tool.to_owned(),
            arguments,
        });
        // Without a count of tokens nothing is learnt, so that every run is the same.
        let usage = Usage { model_calls: 1, ..Usage::default() };
        let requests: Vec<_> = requests.collect();
        let thoughts = vec![Thought::Words(format!("It is turn {turn}.")), Thought::Seal("s".repeat(2_000))];
        let thinking = (self.thinks && !requests.is_empty())
            .then(|| Box::new(Thinking { model: self.name.clone(), thoughts }));
        Ok(Answer { text, requests, thinking, finish: "stop".to_owned(), usage, ..Answer::text("") })
    }

    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let answer = self.generate(request).await?;
        Ok(stream::iter([Ok(Chunk::End(answer))]).boxed())
    }
}

fn limits(window: u64) -> Limits {
    Limits {
        context_window_limit: window,
        max_turns: 1000,
        max_tool_calls: 5000,
        max_steps: 500,
        ..Limits::default()
    }
}

async fn world(model: &Arc<Recording>, window: u64, repository: Option<Arc<dyn Repository>>) -> World {
    let models = Models::with_model(model.clone()).unwrap();
    World::new(Setup { models: Some(models), limits: limits(window), repository, ..Setup::default() }).await
}

/// A turn that reads something long, and the answer after so many of them.
fn reads(turns: usize, bytes: usize) -> Turns {
    Box::new(move |turn| match turn {
        turn if turn >= turns => ("That was all.".to_owned(), Vec::new()),
        turn => {
            let text = format!("part {turn} ").repeat(bytes / 8);
            (format!("Looking at part {turn}."), vec![("read", json!({"turn": turn, "text": text}))])
        }
    })
}

fn text_of(request: &Request) -> String {
    let tools: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    format!("{}\n{tools:?}\n{}\n{}", request.system, request.background, json!(request.messages))
}

fn tokens(request: &Request) -> u64 {
    (request.bytes() * 340).div_ceil(1000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_conversation_is_folded_before_the_call_that_would_overflow() {
    let window = 8_000;
    let model = Recording::new(Some("So far so good."), reads(60, 2_000));
    let world = world(&model, window, None).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Read it all")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let largest = model.asked().iter().map(tokens).max().unwrap();
    assert!(largest <= window * 80 / 100, "{largest}");
    let folded: Vec<(u32, u32)> = world
        .journal(task.id)
        .await
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::ConversationSummarized { from, through, tokens_before, tokens_after, prompt, .. } => {
                assert!(tokens_after < tokens_before / 2, "{tokens_before} to {tokens_after}");
                assert_eq!(prompt.len(), 12);
                Some((from, through))
            }
            _ => None,
        })
        .collect();
    assert!(folded.len() >= 5, "{folded:?}");
    // Each begins where the one before ends: no turn is lost, and none is read twice.
    assert!(folded.windows(2).all(|two| two[1].0 == two[0].1 + 1), "{folded:?}");
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_hands_to_a_tool_is_stored_once() {
    let model = Recording::new(None, reads(1, 5_000));
    let world = world(&model, 100_000, None).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Read it")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let (mut asked, mut dispatched) = (Vec::new(), Vec::new());
    for entry in world.journal(task.id).await {
        match entry.event {
            Event::ModelAnswered { requests, .. } => {
                asked.extend(requests.into_iter().map(|request| request.arguments));
            }
            Event::ToolDispatched { arguments, .. } => dispatched.push(arguments),
            _ => {}
        }
    }
    assert!(matches!(asked[..], [Payload::Blob { .. }]), "{asked:?}");
    assert_eq!(asked, dispatched);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_even_alone_says_so() {
    let model = Recording::new(None, reads(0, 0));
    let world = world(&model, 300, None).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Read")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    let fault = task.steps()[0].fault.clone().unwrap();
    assert_eq!(fault.code, "context_full");
    assert!(fault.message.contains("contextWindowLimit"), "{fault}");
}

/// Without how often a tool was called: a read that was lost is repeated.
fn uncounted(text: &str) -> String {
    let text = text.replace("\\\"", "\"");
    let mut parts = text.split("\"count\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn picture(name: &str) -> Picture {
    Picture { name: name.into(), media_type: "image/png".into(), data: "aGVsbG8=".into() }
}

/// The requests of a run in which a call of the database fails or kills the worker.
async fn asked_with(fault: Fault, at: usize) -> (bool, Vec<String>) {
    let (_directory, inner) = sqlite().await;
    let died = Arc::new(Notify::new());
    let interference = Faulty { fault, left: AtomicUsize::new(at), died: died.clone() };
    let faulty = Arc::new(Wrapped { inner, interference });
    let model = Recording::new(Some("So far so good."), reads(7, 9_000));
    let world = world(&model, 24_000, Some(faulty.clone())).await;
    let steps = plan(vec![call("read", json!({})), step(StepType::ToolCall, "Read it all")]);
    let shown = vec![picture("cat.png"), picture("dog.png")];
    let wanted =
        TaskRequest { plan: Some(steps), files: Files { shown, ..Files::default() }, ..request("Do it") };
    let task = world.orchestrator.start(wanted).await.unwrap();
    let worker = world.work("first");
    let ended = tokio::select! {
        () = died.notified() => false,
        _ = world.inner_ended(&faulty.inner, task.id) => true,
    };
    if !ended {
        worker.kill().await;
        let _second = world.work("second");
        world.inner_ended(&faulty.inner, task.id).await;
    }
    let task = faulty.inner.load(task.id).await.unwrap().unwrap();
    assert_eq!(task.status(), Status::Completed, "{fault:?} at {at}: {:?}", task.state().fault);
    let hit = faulty.interference.left.load(Ordering::SeqCst) == 0;
    let mut asked: Vec<String> = model.asked().iter().map(|asked| uncounted(&text_of(asked))).collect();
    // A call that was lost is asked again, and it is the same question.
    asked.dedup();
    (hit, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_anywhere_the_conversation_is_the_same_folded_or_not() {
    let (_, expected) = asked_with(Fault::FailBefore, 100_000).await;
    assert!(expected.iter().any(|asked| asked.contains("So far so good.")), "nothing was folded");
    for asked in &expected {
        assert!(asked.contains("cat.png, shown below") && asked.contains("\"name\":\"cat.png\""), "{asked}");
    }
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        let mut at = 1;
        loop {
            let (hit, asked) = asked_with(fault, at).await;
            assert_eq!(asked.len(), expected.len(), "{fault:?} at call {at}");
            for (asked, expected) in asked.iter().zip(&expected) {
                let same =
                    asked.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count();
                let around =
                    |text: &str| text.chars().skip(same.saturating_sub(100)).take(200).collect::<String>();
                assert_eq!(around(asked), around(expected), "{fault:?} at call {at}");
            }
            if !hit {
                break;
            }
            at += 1;
        }
        assert!(at > 10, "{fault:?}: only {at} calls were tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planners_and_steps_are_shown_what_goes_with_the_goal_and_so_are_those_of_a_fork() {
    let think = |id: &str| json!({"id": id, "description": "Look at it", "type": "llm-reasoning"});
    let rules = json!([
        {"role": "plan", "contains": "[shown: cat.png]", "reply": {"json": {"steps": [think("a"), think("b")]}}},
        {"role": "execute", "contains": "[shown: cat.png]", "reply": {"text": "A cat."}},
    ]);
    let world = World::new(Setup { script: json!({"rules": rules}), ..Setup::default() }).await;
    let wanted = TaskRequest {
        files: Files { shown: vec![picture("cat.png")], ..Files::default() },
        ..request("What is it?")
    };
    let task = world.orchestrator.start(wanted).await.unwrap();
    let view = world.orchestrator.context_view(&task).await.unwrap();
    let part = view.parts.iter().find(|part| part.name == "pictures").expect("it is in the window");
    assert!(part.tokens > 1_000 && part.text.as_deref() == Some("cat.png, image/png"), "{part:?}");
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    is_the_same(&world, task.id, 2, 0).await;
    let wish = ForkWish::at(ForkAt::Step(0));
    let fork = world.orchestrator.fork(task.id, wish, "ada").await.unwrap();
    let fork = world.ended(fork.id).await;
    assert_eq!(fork.status(), Status::Completed, "{:?}", fork.state().fault);
    assert_eq!(fork.state().messages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn consecutive_prompts_share_their_beginning() {
    let turns: Turns = Box::new(|turn| match turn {
        8 => ("A finding of this part. ".repeat(120), Vec::new()),
        turn => (String::new(), vec![("read", json!({"turn": turn, "text": "some words ".repeat(60)}))]),
    });
    let model = Recording::new(Some("So far so good."), turns);
    let world = world(&model, 100_000, None).await;
    let steps = (1..=20).map(|part| step(StepType::ToolCall, &format!("Look at part {part} of the papers")));
    let task = world.start(plan(steps.collect())).await;
    let _worker = world.work("w");
    world.ended(task.id).await;
    let asked: Vec<String> = model.asked().iter().map(text_of).collect();
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let (mut shared, mut whole) = (0, 0);
    for two in asked.windows(2) {
        shared += common(&two[0], &two[1]);
        whole += two[0].len();
    }
    println!(
        "{} calls, {} % of the bytes of a prompt are the beginning of the next",
        asked.len(),
        100 * shared / whole
    );
    assert!(shared * 100 >= whole * 90, "{shared} of {whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_in_part_can_be_read_to_its_end() {
    let secret = format!("{} the word is heliotrope", "noise ".repeat(20_000));
    let at = secret.len() - 10;
    let first = call("read", json!({"text": secret}));
    let turns: Turns = Box::new(move |turn| match turn {
        0 => (String::new(), vec![("context_read", json!({"handle": "step-1"}))]),
        1 => (String::new(), vec![("context_read", json!({"handle": "step-1/1", "offset": at}))]),
        2 => (String::new(), vec![("context_read", json!({"handle": "step-9/2"}))]),
        _ => ("done".to_owned(), Vec::new()),
    });
    let model = Recording::new(None, turns);
    let world = world(&model, 20_000, None).await;
    let task = world.start(plan(vec![first, step(StepType::ToolCall, "Find the word")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let asked = model.asked();
    let contents: Vec<String> = asked
        .last()
        .unwrap()
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::ToolResult { content, .. } => Some(content.clone()),
            _ => None,
        })
        .collect();
    assert!(asked[0].background.contains("context_read"), "{}", asked[0].background.len());
    assert!(contents[0].len() < 8_000 && contents[0].contains("step-2/2"), "{}", contents[0]);
    assert!(contents[1].contains("heliotrope"), "{}", contents[1]);
    assert!(contents[2].contains("nothing is recorded under"), "{}", contents[2]);
}

/// Facts that are planted in a long conversation: half of them pinned.
const FACTS: usize = 60;

fn fact(number: usize) -> String {
    let subject = ["harbour", "mill", "chapel", "bridge", "orchard"][number % 5];
    match number % 4 {
        0 => format!("the {subject} keeper of row {number} prefers tea without sugar"),
        1 => format!("ticket ROW-{number:03} belongs to the {subject}"),
        2 => format!("the {subject} of row {number} costs {}.50 a day", 1000 + number),
        _ => format!("we decided to paint the {subject} of row {number} green"),
    }
}

/// 300 turns, a fact in every fifth: the pinned ones and the others take turns.
async fn survivors(summary: Option<&str>) -> (usize, usize, usize) {
    let turns: Turns = Box::new(|turn| {
        if turn >= 300 {
            return ("That was all.".to_owned(), Vec::new());
        }
        let filler = "the weather was as it had been the day before and nobody minded; ".repeat(12);
        let number = turn / 5;
        let mut calls = vec![("read", json!({"turn": turn, "text": filler}))];
        let mut text = String::new();
        match (turn % 5, number % 2) {
            (2, 0) => calls.push(("context_pin", json!({"text": fact(number)}))),
            (2, _) => text = format!("I found this: {}.", fact(number)),
            _ => {}
        }
        (text, calls)
    });
    let model = Recording::new(summary, turns);
    let world = world(&model, 12_000, None).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Walk along the rows")])).await;
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.status(), Status::Completed, "{:?}", task.state().fault);
    let kinds = world.kinds(task.id).await;
    let folded = kinds.iter().filter(|kind| **kind == "conversation_summarized").count();
    let last = text_of(model.asked().last().unwrap());
    let kept = |pinned: bool| {
        (0..FACTS).filter(|number| (number % 2 == 0) == pinned && last.contains(&fact(*number))).count()
    };
    (folded, kept(true), kept(false))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pinned_fact_is_kept_word_for_word_through_all_compactions() {
    println!("| summarizer | compactions | pinned kept | others kept |");
    for (name, summary) in [("scripted", Some("The rows were walked.")), ("none: rules alone", None)] {
        let (folded, pinned, others) = survivors(summary).await;
        println!("| {name} | {folded} | {pinned} of {} | {others} of {} |", FACTS / 2, FACTS / 2);
        assert!(folded >= 5, "{folded} compactions");
        assert_eq!(pinned, FACTS / 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_for_which_there_is_no_room_is_not_said_to_be_pinned() {
    const MOST: usize = 100;
    let turns: Turns = Box::new(move |turn| match turn {
        0 => (
            String::new(),
            vec![("context_pin", json!({"text": "one"})), ("context_pin", json!({"text": "two"}))],
        ),
        _ => ("done".to_owned(), Vec::new()),
    });
    let model = Recording::new(None, turns);
    let world = world(&model, 50_000, None).await;
    let task = world.start(plan(vec![step(StepType::ToolCall, "Look")])).await;
    for number in 1..MOST {
        world.orchestrator.send_message(task.id, &format!("pin: fact {number}"), "ada").await.unwrap();
    }
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!((task.status(), task.state().pins.len()), (Status::Completed, MOST));
    let asked = model.asked();
    let told = asked.last().unwrap().messages.iter().filter_map(|message| match message {
        Message::ToolResult { content, .. } => Some(content.as_str()),
        _ => None,
    });
    let told: Vec<&str> = told.collect();
    assert!(told[0].contains("Pinned.") && told[1].contains("Not pinned"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_pins_is_in_every_later_prompt() {
    let model = Recording::new(None, Box::new(|_| ("done".to_owned(), Vec::new())));
    let world = world(&model, 50_000, None).await;
    let mut steps = vec![call("read", json!({}))];
    steps.extend((0..2).map(|_| step(StepType::LlmReasoning, "Think")));
    let task = world.start(plan(steps)).await;
    world.orchestrator.send_message(task.id, "pin: the colour is mauve", "ada").await.unwrap();
    let _worker = world.work("w");
    let task = world.ended(task.id).await;
    assert_eq!(task.state().pins.len(), 1);
    let asked = model.asked();
    assert_eq!(asked.len(), 2);
    for request in &asked {
        let Some(Message::User(first)) = request.messages.first() else { panic!() };
        assert!(first.contains("word for word:\n- the colour is mauve"), "{first}");
        assert_eq!(first.matches("mauve").count(), 1, "{first}");
    }
    assert_eq!(task.state().output, Some(Payload::text("done")));
}

/// The numbers of the checkpoints of a task, and how large each is.
async fn checkpoints(world: &World, id: TaskId) -> Vec<(i64, usize)> {
    let entries = world.orchestrator.checkpoints(id).await.unwrap();
    entries.iter().map(|entry| (entry.seq, entry.event.data().to_string().len())).collect()
}

fn back_to(checkpoint: i64, repeat_effects: bool) -> RestoreWish {
    RestoreWish { checkpoint, repeat_effects }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_changed_nothing_since_goes_back_without_a_question() {
    let model = Recording::new(None, Box::new(|_| ("written".to_owned(), Vec::new())));
    let world = world(&model, 50_000, None).await;
    let steps = vec![
        call("unsafe_effect", json!({})),
        step(StepType::Checkpoint, "Write down"),
        call("read", json!({})),
        call("ask_person", json!({"question": "Is it good?"})),
    ];
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    world.until(task.id, |task| task.status() == Status::Paused).await;
    let (checkpoint, _) = checkpoints(&world, task.id).await[0];
    world.orchestrator.restore(task.id, back_to(checkpoint, false), "ada").await.unwrap();
    world.until(task.id, |task| task.status() == Status::Paused && task.state().revision == 2).await;
    assert_eq!(
        world.orchestrator.effects(task.id).await.unwrap().len(),
        1,
        "what was done before it stays done"
    );
    world.is_sound(task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_back_is_a_revision_that_says_whose_it_is_and_what_it_dropped() {
    let model = Recording::new(None, Box::new(|_| ("written".to_owned(), Vec::new())));
    let world = world(&model, 50_000, None).await;
    let steps = vec![
        call("read", json!({})),
        step(StepType::Checkpoint, "Write down"),
        call("read", json!({})),
        step(StepType::Checkpoint, "Write down again"),
        call("ask_person", json!({"question": "Is it good?"})),
    ];
    let task = world.start(plan(steps)).await;
    let _worker = world.work("w");
    let rests = |task: &Task, revision| task.status() == Status::Paused && task.state().revision == revision;
    world.until(task.id, |task| rests(task, 1)).await;
    let [(early, _), (late, _)] = checkpoints(&world, task.id).await[..] else { panic!("two checkpoints") };
    world.orchestrator.restore(task.id, back_to(late, false), "ada").await.unwrap();
    world.until(task.id, |task| rests(task, 2)).await;
    world.orchestrator.restore(task.id, back_to(early, false), "bea").await.unwrap();
    let task = world.until(task.id, |task| rests(task, 3)).await;
    let revisions = world.orchestrator.revisions(&task).await.unwrap();
    let told: Vec<_> = revisions
        .iter()
        .map(|revision| (revision.kept.len(), revision.dropped.len(), revision.added.steps.len()))
        .collect();
    assert_eq!(told, [(0, 0, 5), (3, 2, 2), (1, 4, 4)], "{revisions:#?}");
    assert!(revisions.iter().all(|revision| revision.seq.is_some() && revision.at.is_some()));
    let why = |revision: usize| revisions[revision].by.as_ref().unwrap().reason.clone();
    assert_eq!(why(1), format!("ada put the task back to checkpoint {late}"));
    assert_eq!(why(2), format!("bea put the task back to checkpoint {early}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_back_to_a_checkpoint_and_its_effects_stay_on_record() {
    let model = Recording::new(None, Box::new(|_| ("written".to_owned(), Vec::new())));
    let world = world(&model, 50_000, None).await;
    let steps = vec![
        call("read", json!({})),
        step(StepType::Checkpoint, "Write down"),
        call("unsafe_effect", json!({"mail": "to ada"})),
        step(StepType::LlmReasoning, "Write"),
        call("ask_person", json!({"question": "Is it good?"})),
    ];
    let task = world.start(plan(steps)).await;
    let refused = world.orchestrator.restore(task.id, back_to(1, false), "ada").await;
    assert_eq!(refused.map(drop).map_err(|error| error.code()), Err("invalid_request"));
    let _worker = world.work("w");
    let is_at_rest =
        |task: &Task, revision| task.status() == Status::Paused && task.state().revision == revision;
    let before = world.until(task.id, |task| is_at_rest(task, 1)).await;
    assert_eq!(before.state().completed, 4);
    let (checkpoint, _) = checkpoints(&world, task.id).await[0];
    let refused = world.orchestrator.restore(task.id, back_to(checkpoint, false), "ada").await.unwrap_err();
    assert_eq!(refused.code(), "effects_would_repeat", "{refused}");
    assert!(refused.to_string().contains("unsafe_effect (step 3)"), "{refused}");
    let untouched = world.repository.load(task.id).await.unwrap().unwrap();
    assert_eq!(untouched.state(), before.state(), "nobody said that it may be done once more");
    let restored = world.orchestrator.restore(task.id, back_to(checkpoint, true), "ada").await.unwrap();
    // The checkpoint is taken by a step, which was open then.
    assert_eq!((restored.state().completed, restored.state().replaced, restored.steps().len()), (1, 4, 9));
    let after = world.until(task.id, |task| is_at_rest(task, 2)).await;
    assert_eq!((after.state().completed, after.total_steps()), (4, 5));
    let effects = world.orchestrator.effects(task.id).await.unwrap();
    let of: Vec<u32> = effects.iter().map(|effect| effect.step).collect();
    assert_eq!(of, [2, 6], "what happened stays on record, and happened again as somebody had said");
    let asked = model.asked();
    assert_eq!(asked.len(), 2);
    let told = text_of(&asked[1]);
    assert!(told.contains("put back to its checkpoint") && told.contains("unsafe_effect"), "{told}");
    assert!(!told.contains("## step-4"), "an output that was undone is told: {told}");
    world.is_sound(task.id).await;
    let folded = Task::fold(task.id, &world.journal(task.id).await).unwrap();
    assert_eq!(folded.state(), world.repository.load(task.id).await.unwrap().unwrap().state());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_as_large_after_many_steps_as_after_few() {
    let model = Recording::new(None, Box::new(|_| ("written".to_owned(), Vec::new())));
    let world = world(&model, 50_000, None).await;
    let task = world.start(plan((0..60).map(|_| call("read", json!({}))).collect())).await;
    let taken = world.orchestrator.take_checkpoint(task.id, "ada").await.unwrap();
    assert_eq!(taken.state().status, Status::Pending);
    let _worker = world.work("w");
    world.ended(task.id).await;
    let taken = checkpoints(&world, task.id).await;
    let (first, last) = (taken[1].1, taken[taken.len() - 1].1);
    assert!(taken.len() > 10 && last < first + 40, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_a_guess_until_the_provider_has_reported_and_says_so() {
    let script = json!({"rules": [{"role": "execute", "reply": {"text": "thought"}}]});
    let world = World::new(Setup { script, ..Setup::default() }).await;
    let task = world.start(plan(vec![step(StepType::LlmReasoning, &"word ".repeat(1000))])).await;
    let guessed = world.orchestrator.context_view(&task).await.unwrap();
    assert_eq!((guessed.density, guessed.calibrated), (340, false));
    let _worker = world.work("w");
    let ended = world.ended(task.id).await;
    let known = world.orchestrator.context_view(&ended).await.unwrap();
    assert!(known.calibrated && known.density < guessed.density, "{}", known.density);
}
