//! Answers while they are given: what was said of each so far, for whoever reads it. A client that
//! lost its connection reads on where it was, and two clients may read one answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::ui_stream::UiChunk;
use super::request::Turn;
use super::task_stream;
use crate::server::state::AppState;
use crate::task::{Task, TaskId};

/// How long an answer that has ended can be read by its id, for a client that lost the end.
pub(super) const AFTERGLOW: Duration = Duration::from_secs(60);

/// The answers of this process that are being given, or were a moment ago.
#[derive(Clone, Default)]
pub(in crate::server) struct Answers(Arc<Mutex<HashMap<TaskId, Arc<Saying>>>>);

/// One answer.
pub(super) struct Saying {
    /// The name of the answer, and of the task that it may become.
    pub(super) id: TaskId,
    pub(super) user_id: String,
    pub(super) thread_id: String,
    /// The id of the message that is answered, and what it says.
    question: String,
    text: String,
    said: watch::Sender<Said>,
    /// Ends the answer where it is.
    pub(super) stop: CancellationToken,
    /// Ends it because another one is to take its place.
    anew: CancellationToken,
}

#[derive(Default)]
struct Said {
    chunks: Vec<UiChunk>,
    end: Option<End>,
}

/// How an answer goes on behind what was said.
#[derive(Clone)]
enum End {
    /// Not at all.
    Over,
    /// As this task.
    Task(Arc<Task>),
}

impl Answers {
    /// Makes an answer known that is about to be given.
    pub(super) fn begin(&self, saying: Saying) -> Arc<Saying> {
        let saying = Arc::new(saying);
        self.lock().insert(saying.id, saying.clone());
        saying
    }

    /// The answer of this name, also a moment after its end.
    pub(super) fn get(&self, id: TaskId) -> Option<Arc<Saying>> {
        self.lock().get(&id).cloned()
    }

    /// The newest answer that is being given in a thread.
    pub(super) fn in_thread(&self, thread_id: &str) -> Option<Arc<Saying>> {
        let answers = self.lock();
        let open = answers.values().filter(|saying| saying.thread_id == thread_id && saying.is_open());
        open.max_by_key(|saying| saying.id).cloned()
    }

    /// Ends the answers that are being given in a thread.
    pub(in crate::server) fn stop(&self, thread_id: &str) {
        while let Some(saying) = self.in_thread(thread_id).filter(|saying| !saying.stop.is_cancelled()) {
            saying.stop.cancel();
        }
    }

    /// Forgets an answer.
    pub(super) fn remove(&self, id: TaskId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, Arc<Saying>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Saying {
    pub(super) fn new(
        id: TaskId,
        user_id: String,
        thread_id: String,
        question: String,
        text: String,
    ) -> Self {
        let (said, _) = watch::channel(Said::default());
        let (stop, anew) = (CancellationToken::new(), CancellationToken::new());
        Self { id, user_id, thread_id, question, text, said, stop, anew }
    }

    /// Whether this is what the turn asks for.
    pub(super) fn is_for(&self, turn: &Turn) -> bool {
        self.question == turn.message_id && self.text == turn.text && !turn.is_repeated
    }

    /// Ends the answer, for another one is to take its place.
    pub(super) fn give_way(&self) {
        self.anew.cancel();
    }

    /// Until another answer is to take its place.
    pub(super) async fn gives_way(&self) {
        self.anew.cancelled().await;
    }

    /// Says more.
    pub(super) fn say(&self, chunks: impl IntoIterator<Item = UiChunk>) {
        self.said.send_modify(|said| said.chunks.extend(chunks));
    }

    /// Everything that was said so far.
    pub(super) fn said(&self) -> Vec<UiChunk> {
        self.said.borrow().chunks.clone()
    }

    /// Nothing more is said.
    pub(super) fn end(&self) {
        self.said.send_modify(|said| said.end = Some(End::Over));
    }

    /// Whoever reads goes on with the task.
    pub(super) fn becomes(&self, task: Task) {
        self.said.send_modify(|said| said.end = Some(End::Task(Arc::new(task))));
    }

    fn is_open(&self) -> bool {
        self.said.borrow().end.is_none()
    }

    /// Until nobody has read for as long as `patience`.
    pub(super) async fn abandoned(&self, patience: Duration) {
        loop {
            self.said.closed().await;
            tokio::time::sleep(patience).await;
            if self.said.is_closed() {
                return;
            }
        }
    }

    /// All chunks behind the first `has`, also those to come; of a task, if it becomes one, and then
    /// with the `words` of its models.
    pub(super) fn chunks(
        &self,
        state: AppState,
        has: usize,
        words: bool,
    ) -> impl Stream<Item = UiChunk> + Send + use<> {
        let reader = Reader { said: self.said.subscribe(), has };
        let pieces = stream::unfold((state, Some(reader)), move |(state, reader)| async move {
            let mut reader = reader?;
            Some(match reader.next().await? {
                Piece::Said(chunks) => (stream::iter(chunks).boxed(), (state, Some(reader))),
                Piece::Task(task) => {
                    (task_stream::whole(&state, &task, words).skip(reader.has).boxed(), (state, None))
                }
            })
        });
        pieces.flatten()
    }
}

/// Somebody who reads an answer.
struct Reader {
    said: watch::Receiver<Said>,
    has: usize,
}

enum Piece {
    Said(Vec<UiChunk>),
    Task(Arc<Task>),
}

impl Reader {
    async fn next(&mut self) -> Option<Piece> {
        loop {
            {
                let said = self.said.borrow_and_update();
                let new = said.chunks.get(self.has..).unwrap_or_default().to_vec();
                if !new.is_empty() {
                    self.has += new.len();
                    return Some(Piece::Said(new));
                }
                match &said.end {
                    Some(End::Over) => return None,
                    Some(End::Task(task)) => return Some(Piece::Task(task.clone())),
                    None => {}
                }
            }
            self.said.changed().await.ok()?;
        }
    }
}
