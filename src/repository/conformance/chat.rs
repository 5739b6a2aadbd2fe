//! Conversations keep their messages in order.

use serde_json::json;

use super::world::{World, now};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::Message;
use crate::task::TaskId;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a thread is opened once and stays its first owner's", |world| Box::pin(threads(world))),
    ("messages keep their order; the same id again changes the parts", |world| Box::pin(messages(world))),
    ("a message is found by its id in whatever thread", |world| Box::pin(found(world))),
    ("an answer given anew takes the place of what followed, all at once", |world| Box::pin(anew(world))),
    ("threads are listed by when they were written to, renamed and forgotten", |world| {
        Box::pin(listed(world))
    }),
    ("messages written at the same moment are all kept", |world| Box::pin(at_once(world))),
];

fn message(thread: &str, id: &str, text: &str) -> Message {
    Message {
        id: id.to_owned(),
        thread_id: thread.to_owned(),
        role: "user".to_owned(),
        parts: json!([{"type": "text", "text": text}]),
        task_id: None,
        created_at: now(),
    }
}

async fn threads(world: World) -> Verdict {
    let id = format!("any text / of {}", world.user);
    let opened = world.repository.open_thread(&id, &world.user, "Title").await?;
    let again = world.repository.open_thread(&id, "somebody else", "Other").await?;
    ensure!(opened == again && again.title == "Title", "{again:?}");
    ensure!(world.repository.thread(&id).await? == Some(opened), "it is not found");
    ensure!(world.repository.thread("no such thread").await?.is_none(), "something was found");
    Ok(())
}

async fn messages(world: World) -> Verdict {
    let thread = world.repository.open_thread(&world.user, &world.user, "t").await?.id;
    for (id, text) in [("b", "first"), ("a", "second"), ("c", "third"), ("a", "second, changed")] {
        world.repository.put_message(&message(&thread, id, text)).await?;
    }
    let read = world.repository.messages(&thread, 2).await?;
    let read: Vec<_> =
        read.iter().map(|message| (message.id.as_str(), message.parts[0]["text"].clone())).collect();
    ensure!(read == [("a", json!("second, changed")), ("c", json!("third"))], "{read:?}");
    Ok(())
}

async fn found(world: World) -> Verdict {
    let thread = world.repository.open_thread(&world.user, &world.user, "t").await?.id;
    let id = |number: u32| format!("{thread}-{number}");
    for number in 1..=3 {
        world.repository.put_message(&message(&thread, &id(number), "x")).await?;
    }
    let conversations = world.repository.conversations();
    let found = conversations.message(&id(2)).await?;
    ensure!(found.is_some_and(|message| message.thread_id == thread), "it is not found");
    ensure!(conversations.message("no such message").await?.is_none(), "something was found");
    Ok(())
}

async fn anew(world: World) -> Verdict {
    let thread = world.repository.open_thread(&world.user, &world.user, "t").await?.id;
    let id = |name: &str| format!("{thread}-{name}");
    let text = |message: &Message| message.parts[0]["text"].as_str().unwrap_or_default().to_owned();
    let (old, new) = (TaskId(uuid::Uuid::now_v7()), TaskId(uuid::Uuid::now_v7()));
    for name in ["question", "old answer", "more"] {
        let message = Message { task_id: Some(old), ..message(&thread, &id(name), name) };
        world.repository.put_message(&message).await?;
    }
    let conversations = world.repository.conversations();
    let read = async || -> Result<Vec<(String, Option<TaskId>)>, Broken> {
        let messages = world.repository.messages(&thread, 9).await?;
        Ok(messages.iter().map(|message| (text(message), message.task_id)).collect())
    };
    // While it is answered, the conversation is as it was, and it may go on.
    let answer = |text| Message { role: "assistant".to_owned(), ..message(&thread, &id("answer"), text) };
    conversations.put_aside(&answer("half")).await?;
    world.repository.put_message(&answer("nearly")).await?;
    let before = read().await?;
    let was = ["question", "old answer", "more"].map(|name| (name.to_owned(), Some(old)));
    ensure!(before == was, "{before:?}");
    let taskless = conversations.without_task(&thread, 9).await?;
    let taskless: Vec<String> = taskless.iter().map(text).collect();
    ensure!(taskless == ["nearly"], "what is aside names no task: {taskless:?}");
    let aside = conversations.message(&id("answer")).await?;
    ensure!(aside.as_ref().map(text).as_deref() == Some("nearly"), "what is aside is found: {aside:?}");
    world.repository.put_message(&message(&thread, &id("later"), "later")).await?;
    // What took its place is what was said between, and the task that was named.
    let (asked, answered) =
        (message(&thread, &id("question"), "other"), message(&thread, &id("answer"), "new"));
    ensure!(conversations.answer_anew(&asked, &answered).await? == 2, "two are replaced");
    let after = read().await?;
    ensure!(after == ["other", "new", "later"].map(|name| (name.to_owned(), None)), "{after:?}");
    ensure!(conversations.message(&id("more")).await?.is_some(), "what was replaced is gone");
    // An answer that nobody put aside replaces everything behind the question.
    let asked = Message { task_id: Some(new), ..asked };
    let answered = Message { task_id: Some(new), ..message(&thread, &id("next"), "task") };
    ensure!(conversations.answer_anew(&asked, &answered).await? == 2, "two are replaced");
    let after = read().await?;
    ensure!(after == ["other", "task"].map(|name| (name.to_owned(), Some(new))), "{after:?}");
    Ok(())
}

async fn listed(world: World) -> Verdict {
    let conversations = world.repository.conversations();
    let id = |number: u32| format!("{}-{number}", world.user);
    for number in [1, 2, 3, 1] {
        let thread = world.repository.open_thread(&id(number), &world.user, "t").await?.id;
        world.repository.put_message(&message(&thread, "m", "x")).await?;
        // A moment has a millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let read = |threads: Vec<crate::repository::Thread>| -> Vec<String> {
        threads.into_iter().map(|thread| thread.id).collect()
    };
    let first = read(conversations.threads(&world.user, None, 2).await?);
    ensure!(first == [id(1), id(3)], "{first:?}");
    let rest = read(conversations.threads(&world.user, Some(&id(3)), 2).await?);
    ensure!(rest == [id(2)], "{rest:?}");
    ensure!(conversations.rename(&id(2), "Other").await?, "it is renamed");
    let renamed = world.repository.thread(&id(2)).await?;
    ensure!(renamed.is_some_and(|thread| thread.title == "Other"), "it has another title");
    ensure!(conversations.forget(&id(2)).await? && !conversations.forget(&id(2)).await?, "it goes once");
    ensure!(world.repository.messages(&id(2), 9).await?.is_empty(), "its messages are there");
    ensure!(!conversations.rename(&id(2), "x").await?, "it is not there");
    Ok(())
}

async fn at_once(world: World) -> Verdict {
    let thread = world.repository.open_thread(&world.user, &world.user, "t").await?.id;
    let writers = (0..8).map(|number| {
        let (repository, message) = (world.repository.clone(), message(&thread, &number.to_string(), "x"));
        tokio::spawn(async move { repository.put_message(&message).await })
    });
    for writer in futures::future::join_all(writers).await {
        writer.map_err(|error| Broken(error.to_string()))??;
    }
    let count = world.repository.messages(&thread, 100).await?.len();
    ensure!(count == 8, "{count} of 8 messages are there");
    Ok(())
}
