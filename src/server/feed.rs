//! What is new in the journals of tasks that somebody follows: read once per task, however many
//! follow it.
//!
//! ```text
//! commits ─hint─▶ bell ─▶ pump of a task ─reads─▶ journal
//!                              └──▶ every follower of the task
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::socket::Control;
use super::views::EntryView;
use crate::orchestrator::{Said, Speech};
use crate::repository::{Change, Repository};
use crate::task::{Entry, Task, TaskId};

/// Entries read at once: bounds the memory of a reader that starts at the beginning of a long
/// journal.
pub(super) const PAGE: u32 = 200;

/// How long a lost hint may delay an entry. Commits of other processes are never hinted here.
const POLL: Duration = Duration::from_secs(1);

/// Entries that a follower may be behind the pump before it misses some.
const WAITING: usize = 256;

/// An entry as it is told, written once for all who follow.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) entry: Entry,
    /// The entry as JSON.
    pub(super) json: Utf8Bytes,
}

impl Note {
    pub(super) fn of(entry: Entry) -> Self {
        let json = serde_json::to_string(&EntryView::of(&entry)).unwrap_or_else(|error| {
            tracing::error!(%error, seq = entry.seq, "an entry cannot be written");
            "null".to_owned()
        });
        Self { entry, json: json.into() }
    }
}

/// A piece of what a model says, written once for all who follow.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) said: Said,
    /// The piece as JSON.
    pub(super) json: Utf8Bytes,
}

impl Piece {
    fn of(said: Said) -> Arc<Self> {
        let json = Control::Said(said.clone()).text();
        Arc::new(Self { said, json })
    }
}

/// The feeds of a process.
#[derive(Clone)]
pub(super) struct Feeds(Arc<Inner>);

struct Inner {
    repository: Arc<dyn Repository>,
    speech: Speech,
    shutdown: CancellationToken,
    feeds: Mutex<HashMap<TaskId, Weak<Feed>>>,
    has_ringer: AtomicBool,
}

/// What is new of one task. It lives as long as somebody follows.
pub(super) struct Feed {
    id: TaskId,
    /// The number of the newest entry that was told.
    head: AtomicI64,
    notes: Sender<Arc<Note>>,
    /// What models are saying.
    said: Sender<Arc<Piece>>,
    bell: Arc<Notify>,
    /// Cancelled when the journal cannot be read any more.
    pub(super) cut: CancellationToken,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl Feed {
    /// The number of the newest entry that was told.
    #[cfg(test)]
    pub(super) fn told(&self) -> i64 {
        self.head.load(Ordering::Acquire)
    }

    /// Everything that is told from now on.
    pub(super) fn listen(&self) -> Receiver<Arc<Note>> {
        self.notes.subscribe()
    }

    /// Everything that models say from now on.
    pub(super) fn hear(&self) -> Receiver<Arc<Piece>> {
        self.said.subscribe()
    }
}

impl Feeds {
    pub(super) fn new(repository: Arc<dyn Repository>, speech: Speech, shutdown: CancellationToken) -> Self {
        let (feeds, has_ringer) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { repository, speech, shutdown, feeds, has_ringer }))
    }

    pub(super) fn repository(&self) -> &Arc<dyn Repository> {
        &self.0.repository
    }

    /// What was said of answers that are not complete.
    pub(super) fn so_far(&self, task: TaskId) -> impl Iterator<Item = Arc<Piece>> {
        self.0.speech.so_far(task).into_iter().map(Piece::of)
    }

    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// The feed of a task, which begins behind the newest entry of `task` if nobody follows yet.
    pub(super) fn feed(&self, task: &Task) -> Arc<Feed> {
        if !self.0.has_ringer.swap(true, Ordering::AcqRel) {
            // Registered before anything is read, so that a commit in between is not missed.
            tokio::spawn(ring(Arc::downgrade(&self.0), self.0.repository.changes()));
        }
        let mut feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(&task.id).and_then(Weak::upgrade) {
            return feed;
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let ((notes, _), (said, _)) = (channel(WAITING), channel(WAITING));
        let (head, bell) = (AtomicI64::new(task.state().seq), Arc::new(Notify::new()));
        let feed = Arc::new(Feed { id: task.id, head, notes, said, bell, cut: CancellationToken::new() });
        feeds.insert(task.id, Arc::downgrade(&feed));
        tokio::spawn(relay(self.0.speech.listen(task.id), Arc::downgrade(&feed), feed.cut.clone()));
        tokio::spawn(pump(self.clone(), Arc::downgrade(&feed), feed.bell.clone()));
        feed
    }

    /// How many tasks are followed.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.values().filter(|feed| feed.strong_count() > 0).count()
    }
}

impl Inner {
    fn ring(&self, id: Option<TaskId>) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let rung = feeds.iter().filter(|(other, _)| id.is_none_or(|id| id == **other));
        rung.filter_map(|(_, feed)| feed.upgrade()).for_each(|feed| feed.bell.notify_one());
    }
}

/// Passes hints on to those whom they concern; to all, if some were missed.
async fn ring(inner: Weak<Inner>, mut changes: Receiver<Change>) {
    loop {
        let concerns = match changes.recv().await {
            Ok(change) => Some(change.id),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        let Some(inner) = inner.upgrade() else { return };
        match concerns {
            // Most changes are of tasks that nobody follows.
            Some(id) => {
                let feed = {
                    let feeds = inner.feeds.lock().unwrap_or_else(PoisonError::into_inner);
                    feeds.get(&id).and_then(Weak::upgrade)
                };
                feed.into_iter().for_each(|feed| feed.bell.notify_one());
            }
            None => inner.ring(None),
        }
    }
}

/// Tells what is new of a task, until nobody follows any more.
async fn pump(feeds: Feeds, feed: Weak<Feed>, bell: Arc<Notify>) {
    let shutdown = feeds.shutdown();
    loop {
        let Some(strong) = feed.upgrade() else { return };
        let is_full = tell(&feeds, &strong).await;
        // Only those who follow keep a feed alive.
        drop(strong);
        if is_full {
            continue;
        }
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Passes on what models say, until nobody follows any more.
async fn relay(mut heard: Receiver<Said>, feed: Weak<Feed>, gone: CancellationToken) {
    loop {
        let said = tokio::select! {
            said = heard.recv() => said,
            () = gone.cancelled() => return,
        };
        let Some(feed) = feed.upgrade() else { return };
        match said {
            // Nobody listening is fine.
            Ok(said) => drop(feed.said.send(Piece::of(said))),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells a page of what is new. Returns whether there may be more at once.
async fn tell(feeds: &Feeds, feed: &Feed) -> bool {
    let after = feed.head.load(Ordering::Acquire);
    match feeds.repository().journal(feed.id, after, PAGE).await {
        Ok(page) => {
            let is_full = page.len() == PAGE as usize;
            for entry in page {
                feed.head.store(entry.seq, Ordering::Release);
                // Nobody listening is fine.
                let _ = feed.notes.send(Arc::new(Note::of(entry)));
            }
            is_full
        }
        Err(error) if error.is_passing() => {
            error.tell("the journal cannot be read, trying again");
            false
        }
        Err(error) => {
            tracing::error!(task = %feed.id, %error, "the journal cannot be followed");
            feed.cut.cancel();
            false
        }
    }
}
