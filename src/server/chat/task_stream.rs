//! The UI message stream that stays open over a task.

use std::sync::Arc;

use futures::{Stream, stream};

use super::super::follow::{Follower, Next, is_end};
use super::super::ui_stream::UiChunk;
use super::task_frames::TaskFrames;
use crate::repository::Repository;
use crate::task::{Entry, Event, Payload, Status, TaskId};

/// Larger contents of tool calls are shown by their beginning: a chat is no place for them,
/// and the task's own routes have them.
const SHOWN_BYTES: u64 = 64 * 1024;

/// What is said when the server stops before the task.
const GOES_ON: &str =
    "\nThe server is shutting down. The task is recorded and goes on with the next start.\n";

struct TaskStream {
    id: TaskId,
    repository: Arc<dyn Repository>,
    follower: Follower,
    frames: TaskFrames,
    is_over: bool,
}

/// The chunks of a message about a task: `opening`, then what its journal brings, until it
/// ends or waits for somebody.
pub(super) fn chunks(
    opening: Vec<UiChunk>,
    id: TaskId,
    repository: Arc<dyn Repository>,
    follower: Follower,
) -> impl Stream<Item = UiChunk> + Send {
    let stream = TaskStream { id, repository, follower, frames: TaskFrames::default(), is_over: false };
    let rest = stream::unfold(stream, |mut stream| async {
        let chunks = stream.next().await?;
        Some((stream::iter(chunks), stream))
    });
    use futures::StreamExt as _;
    stream::iter(opening).chain(rest.flatten())
}

impl TaskStream {
    async fn next(&mut self) -> Option<Vec<UiChunk>> {
        if self.is_over {
            return None;
        }
        let next = loop {
            match self.follower.next().await {
                // The stream is the same each time it is read, so it has no room for hints.
                Next::Said(_) => {}
                next => break next,
            }
        };
        let Next::Note(note) = next else {
            self.is_over = true;
            let mut chunks = Vec::new();
            if !self.follower.has_ended() {
                chunks.extend(UiChunk::text("shutdown", GOES_ON.to_owned()));
            }
            chunks.extend(TaskFrames::end(None));
            return Some(chunks);
        };
        let mut entry = note.entry.clone();
        self.put_contents_back(&mut entry).await;
        let mut chunks = self.frames.frames(&entry);
        if is_end(&entry.event) || self.waits_for_somebody(&entry).await {
            self.is_over = true;
            chunks.extend(TaskFrames::end(failure(&entry.event)));
        }
        Some(chunks)
    }

    /// Whether the task rests with this pause. One that was resumed since is history.
    async fn waits_for_somebody(&self, entry: &Entry) -> bool {
        if !matches!(entry.event, Event::Paused { .. }) {
            return false;
        }
        let task = self.repository.load(self.id).await;
        !matches!(task, Ok(Some(task)) if task.status() != Status::Paused)
    }

    /// Replaces names of contents by the contents, where those are shown. One that cannot be
    /// read is shown by its beginning.
    async fn put_contents_back(&self, entry: &mut Entry) {
        let is_answer = matches!(entry.event, Event::Completed { .. });
        for payload in entry.event.payloads_mut() {
            let Payload::Blob { size, .. } = payload else { continue };
            if !is_answer && *size > SHOWN_BYTES {
                continue;
            }
            match self.repository.content(payload).await {
                Ok(content) => *payload = Payload::Inline(content),
                Err(error) => tracing::warn!(task = %self.id, %error, "a content is shown by its beginning"),
            }
        }
    }
}

fn failure(event: &Event) -> Option<String> {
    match event {
        Event::Failed { fault } => Some(fault.to_string()),
        _ => None,
    }
}
