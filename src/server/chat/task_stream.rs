//! The UI message stream that stays open over a task.

use futures::{Stream, StreamExt, stream};

use super::super::follow::{Follower, Next, Slow, is_end};
use super::super::state::AppState;
use super::super::ui_stream::UiChunk;
use super::asked::Asked;
use super::below::Below;
use super::message_id;
use super::task_frames::TaskFrames;
use crate::orchestrator::Orchestrator;
use crate::task::{Entry, Event, Payload, Status, Task, TaskId};

/// Larger contents of tool calls are shown by their beginning: a chat is no place for them,
/// and the task's own routes have them.
const SHOWN_BYTES: u64 = 64 * 1024;

struct TaskStream {
    id: TaskId,
    orchestrator: Orchestrator,
    follower: Follower,
    frames: TaskFrames,
    asked: Asked,
    /// What the tasks below it ask, where words are told.
    below: Option<Below>,
    /// The beginning of the message, until it was told.
    beginning: Vec<UiChunk>,
    is_over: bool,
}

/// All chunks of a message about a task, until the task ends or waits for somebody. They are made
/// from its journal, and so they are the same whenever and wherever they are asked for.
///
/// If the server stops before, they stop without an end: whoever reads them comes back for the rest.
///
/// With `words`, what models say is between them as it comes, and what sub-tasks ask. How many chunks that takes
/// depends on who hears it when.
pub(super) fn whole(
    state: &AppState,
    task: &Task,
    words: bool,
) -> impl Stream<Item = UiChunk> + Send + use<> {
    chunks(state, task, words, TaskFrames::begin(&message_id(task.id)))
}

/// The same for a client that has the beginning.
pub(super) fn behind_beginning(
    state: &AppState,
    task: &Task,
    words: bool,
) -> impl Stream<Item = UiChunk> + Send + use<> {
    chunks(state, task, words, Vec::new())
}

fn chunks(
    state: &AppState,
    task: &Task,
    words: bool,
    beginning: Vec<UiChunk>,
) -> impl Stream<Item = UiChunk> + Send + use<> {
    let stream = TaskStream {
        id: task.id,
        orchestrator: state.orchestrator.clone(),
        follower: Follower::new(&state.feeds, task, 0, Slow::MayRead),
        frames: TaskFrames::of_task(task.id, words),
        asked: Asked::by(task.id),
        below: words.then(|| Below::of(&state.feeds, &state.orchestrator)),
        beginning,
        is_over: false,
    };
    let pieces = stream::unfold(stream, |mut stream| async {
        let chunks = stream.next().await?;
        Some((stream::iter(chunks), stream))
    });
    pieces.flatten()
}

impl TaskStream {
    async fn next(&mut self) -> Option<Vec<UiChunk>> {
        if self.is_over {
            return None;
        }
        let next = match self.next_entry().await {
            Ok(next) => next,
            Err(asked_below) => return Some(asked_below),
        };
        let note = match next {
            Next::Note(note) => Some(note),
            // Whoever hears it is at the end of the journal, so the beginning of the message was told.
            Next::Said(piece) => return Some(self.frames.said(&piece.said)),
            Next::Ended | Next::Behind | Next::Cut => None,
        };
        let Some(note) = note else {
            self.is_over = true;
            let mut chunks = std::mem::take(&mut self.beginning);
            if self.follower.has_ended() {
                chunks.extend(self.frames.close());
                chunks.extend(TaskFrames::end(None));
            }
            return Some(chunks);
        };
        let mut asked = self.asked.take(&self.orchestrator, &note.entry).await;
        if let Some(below) = &mut self.below {
            below.note(self.id, &note.entry.event);
            if is_end(&note.entry.event) {
                asked.extend(below.close());
            }
        }
        // A task that was an answer begins with what was said of that.
        let mut chunks = match &note.entry.event {
            Event::Created { .. } => return Some(Vec::new()),
            Event::Promoted { .. } => Vec::new(),
            _ => std::mem::take(&mut self.beginning),
        };
        if matches!(note.entry.event, Event::Promoted { .. }) {
            self.beginning.clear();
        }
        let mut entry = note.entry.clone();
        self.put_contents_back(&mut entry).await;
        chunks.extend(self.frames.frames(&entry));
        chunks.extend(asked);
        if is_end(&entry.event) || self.waits_for_somebody(&entry).await {
            self.is_over = true;
            chunks.extend(self.frames.close());
            chunks.extend(TaskFrames::end(failure(&entry.event)));
        }
        Some(chunks)
    }

    /// How the journal goes on; or what a task below it asks meanwhile.
    async fn next_entry(&mut self) -> Result<Next, Vec<UiChunk>> {
        let Some(below) = &mut self.below else { return Ok(self.follower.next().await) };
        loop {
            tokio::select! {
                biased;
                next = self.follower.next() => return Ok(next),
                () = below.wait() => {}
            }
            let chunks = below.told().await;
            if !chunks.is_empty() {
                return Err(chunks);
            }
        }
    }

    /// Whether the task rests with this pause. One that was resumed since is history, also if another one
    /// followed.
    async fn waits_for_somebody(&self, entry: &Entry) -> bool {
        if !matches!(entry.event, Event::Paused { .. }) {
            return false;
        }
        match self.orchestrator.repository().load(self.id).await {
            Ok(Some(task)) => {
                task.status() == Status::Paused && task.state().spent.paused_at == Some(entry.at)
            }
            _ => true,
        }
    }

    /// Replaces names of contents by the contents, where those are shown. One that cannot be
    /// read is shown by its beginning.
    async fn put_contents_back(&self, entry: &mut Entry) {
        let is_answer = matches!(entry.event, Event::Completed { .. } | Event::Promoted { .. });
        for payload in entry.event.payloads_mut() {
            let Payload::Blob { size, .. } = payload else { continue };
            if !is_answer && *size > SHOWN_BYTES {
                continue;
            }
            match self.orchestrator.repository().content(payload).await {
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
