//! What the tasks below a task ask people, for whoever hears its stream as it comes. Each has a journal of its own;
//! how they lie between the entries of the task above is nobody's promise, so a stream that is counted has none of it.

use std::time::Duration;

use futures::future::select_all;

use super::super::feed::Feeds;
use super::super::follow::{Follower, Next, Slow};
use super::super::ui_stream::UiChunk;
use super::asked::Asked;
use crate::orchestrator::Orchestrator;
use crate::task::{Entry, Event, TaskId};

/// How long to wait before a task that is being created is looked for once more.
const REST: Duration = Duration::from_millis(500);

/// The tasks below one, at whatever depth, for as long as they go on.
pub(super) struct Below {
    feeds: Feeds,
    orchestrator: Orchestrator,
    /// Those that were named, and were not looked for yet or are not there yet.
    named: Vec<Named>,
    followed: Vec<Followed>,
    /// What was read and not told yet, and of which of the followed.
    read: Option<(usize, Next)>,
}

/// A task below, by the call of another one that it carries out.
struct Named {
    by: (TaskId, u32, u32),
    child: TaskId,
}

/// A task below, and what it asks.
struct Followed {
    follower: Follower,
    asked: Asked,
}

impl Below {
    pub(super) fn of(feeds: &Feeds, orchestrator: &Orchestrator) -> Self {
        let (feeds, orchestrator) = (feeds.clone(), orchestrator.clone());
        Self { feeds, orchestrator, named: Vec::new(), followed: Vec::new(), read: None }
    }

    /// Notes which task an entry of another one begins or ends.
    pub(super) fn note(&mut self, of: TaskId, event: &Event) {
        match event {
            Event::ChildStarted { step, call, child, .. } => {
                self.named.push(Named { by: (of, *step, *call), child: *child });
            }
            Event::ChildEnded { step, call, .. } => self.named.retain(|named| named.by != (of, *step, *call)),
            _ => {}
        }
    }

    /// Waits until one of them goes on. May be dropped at any moment without losing anything.
    pub(super) async fn wait(&mut self) {
        while self.read.is_none() {
            self.meet().await;
            let is_awaited = !self.named.is_empty();
            let looks_again = async {
                match is_awaited {
                    true => tokio::time::sleep(REST).await,
                    false => std::future::pending().await,
                }
            };
            if self.followed.is_empty() {
                looks_again.await;
                continue;
            }
            let nexts = self.followed.iter_mut().map(|one| Box::pin(one.follower.next()));
            tokio::select! {
                (next, which, _) = select_all(nexts) => self.read = Some((which, next)),
                () = looks_again => {}
            }
        }
    }

    /// Begins to follow those that are there. One that has ended asks nothing any more.
    async fn meet(&mut self) {
        let mut at = 0;
        while let Some(id) = self.named.get(at).map(|named| named.child) {
            match self.orchestrator.repository().load(id).await {
                Ok(Some(task)) => {
                    self.named.remove(at);
                    if !task.status().is_terminal() {
                        let follower = Follower::new(&self.feeds, &task, 0, Slow::MayRead);
                        self.followed.push(Followed { follower, asked: Asked::by(id) });
                    }
                }
                Ok(None) => at += 1,
                Err(error) => {
                    tracing::warn!(task = %id, %error, "a chat is told later what a sub-task asks");
                    at += 1;
                }
            }
        }
    }

    /// What was waited for, as parts of the message.
    pub(super) async fn told(&mut self) -> Vec<UiChunk> {
        let Some((which, next)) = self.read.take() else { return Vec::new() };
        match next {
            Next::Note(note) => self.take(which, &note.entry).await,
            Next::Said(_) => Vec::new(),
            Next::Ended | Next::Behind | Next::Cut => {
                self.followed.swap_remove(which);
                Vec::new()
            }
        }
    }

    async fn take(&mut self, which: usize, entry: &Entry) -> Vec<UiChunk> {
        let Some(one) = self.followed.get_mut(which) else { return Vec::new() };
        let (id, told) = (one.follower.id(), one.asked.take(&self.orchestrator, entry).await);
        self.note(id, &entry.event);
        told
    }

    /// What is open nowhere any more once the task above has ended: it takes them along.
    pub(super) fn close(&mut self) -> Vec<UiChunk> {
        self.followed.drain(..).flat_map(|one| one.asked.close()).collect()
    }
}
