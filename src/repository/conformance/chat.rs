//! Conversations keep their messages in order.

use serde_json::json;

use super::world::{World, now};
use super::{Broken, Check, Verdict, ensure};
use crate::repository::Message;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a thread is opened once and stays its first owner's", |world| Box::pin(threads(world))),
    ("messages keep their order; the same id again changes the parts", |world| Box::pin(messages(world))),
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
