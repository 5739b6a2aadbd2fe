//! Follows a task's journal: every entry after a number, in order, without gaps, until the
//! task has ended. Whatever streams about a task is built on this.
//!
//! What is old is read from the journal, page by page, at the pace of the reader; what is new comes
//! from the feed that all followers of the task share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::feed::{Feed, Feeds, Note, PAGE, Piece};
use crate::task::{Event, Task, TaskId};

/// How long to wait before a database that did not answer is asked again.
const REST: Duration = Duration::from_secs(1);

/// What becomes of those who do not keep up with what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slow {
    /// They read the journal at their own pace.
    MayRead,
    /// They are told where they are, and go.
    MustGo,
}

/// How a journal goes on.
#[derive(Debug)]
pub(super) enum Next {
    /// With this entry.
    Note(Arc<Note>),
    /// A model says something meanwhile. Whoever is not at the end of the journal does not hear it.
    Said(Arc<Piece>),
    /// The task has ended, and all of it was told.
    Ended,
    /// The reader does not keep up.
    Behind,
    /// The server shuts down, or the journal cannot be read.
    Cut,
}

/// What a follower listens to.
struct Listening {
    feed: Arc<Feed>,
    notes: Receiver<Arc<Note>>,
    said: Receiver<Arc<Piece>>,
}

/// A reader of one journal.
pub(super) struct Follower {
    feeds: Feeds,
    id: TaskId,
    after: i64,
    page: VecDeque<Arc<Note>>,
    /// What is new; none if nothing can be new, for the task had ended.
    feed: Option<Listening>,
    /// What was said before the reader came.
    said: VecDeque<Arc<Piece>>,
    /// Whether there may be entries in the journal that the feed does not tell.
    is_catching_up: bool,
    /// Whether anything came from the feed since: from then on it must not be missed.
    is_live: bool,
    has_ended: bool,
    slow: Slow,
}

impl Follower {
    /// A reader of the entries of `task` with a number above `after`. Whoever says to have more than there is
    /// has all there is: nothing that comes is kept from them until the journal is as long as they say.
    pub(super) fn new(feeds: &Feeds, task: &Task, after: i64, slow: Slow) -> Self {
        let has_ended = task.status().is_terminal();
        // Listened to before the journal is read, so that a commit in between is not missed.
        let feed = (!has_ended).then(|| feeds.feed(task)).map(|feed| {
            let (notes, said) = (feed.listen(), feed.hear());
            Listening { feed, notes, said }
        });
        let said = feed.iter().flat_map(|_| feeds.so_far(task.id)).collect();
        Self {
            feeds: feeds.clone(),
            id: task.id,
            after: after.min(task.state().seq),
            page: VecDeque::new(),
            feed,
            said,
            is_catching_up: true,
            is_live: false,
            has_ended,
            slow,
        }
    }

    /// Whose journal it is.
    pub(super) fn id(&self) -> TaskId {
        self.id
    }

    /// The number of the newest entry that was read.
    pub(super) fn after(&self) -> i64 {
        self.after
    }

    /// The next entry, as soon as there is one. May be dropped at any moment without losing one.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            if self.feeds.shutdown().is_cancelled() {
                return Next::Cut;
            }
            if let Some(note) = self.page.pop_front() {
                self.after = note.entry.seq;
                self.has_ended |= is_end(&note.entry.event);
                return Next::Note(note);
            }
            let end = match self.is_catching_up || self.has_ended {
                true => self.read().await,
                false => self.listen().await,
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Whether the end of the task was read: otherwise the stream was cut.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// A page of the journal.
    async fn read(&mut self) -> Option<Next> {
        match self.feeds.repository().journal(self.id, self.after, PAGE).await {
            Ok(page) if !page.is_empty() => {
                self.page = page.into_iter().map(|entry| Arc::new(Note::of(entry))).collect();
            }
            Ok(_) if self.has_ended => return Some(Next::Ended),
            Ok(_) => self.is_catching_up = false,
            Err(error) if error.is_passing() => {
                error.tell("the journal cannot be read, trying again");
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = self.feeds.shutdown().cancelled() => {}
                }
            }
            Err(error) => {
                tracing::error!(task = %self.id, %error, "the journal cannot be followed");
                return Some(Next::Cut);
            }
        }
        None
    }

    /// What is new.
    async fn listen(&mut self) -> Option<Next> {
        let Some(Listening { feed, notes, said }) = &mut self.feed else { return Some(Next::Ended) };
        if let Some(said) = self.said.pop_front() {
            return Some(Next::Said(said));
        }
        let told = tokio::select! {
            told = notes.recv() => told,
            // What is missed of it is missed.
            said = said.recv() => return said.ok().map(Next::Said),
            () = feed.cut.cancelled() => return Some(Next::Cut),
            () = self.feeds.shutdown().cancelled() => return Some(Next::Cut),
        };
        match told {
            Ok(note) if note.entry.seq <= self.after => {}
            Ok(note) if note.entry.seq == self.after + 1 => {
                self.is_live = true;
                self.page.push_back(note);
            }
            Err(RecvError::Lagged(_)) if self.is_live && self.slow == Slow::MustGo => {
                return Some(Next::Behind);
            }
            // Something is missing between: the journal has it.
            Ok(_) | Err(RecvError::Lagged(_)) => (self.is_catching_up, self.is_live) = (true, false),
            Err(RecvError::Closed) => return Some(Next::Cut),
        }
        None
    }
}

/// Whether a task has ended with this.
pub(super) fn is_end(event: &Event) -> bool {
    matches!(event, Event::Completed { .. } | Event::Failed { .. } | Event::Cancelled { .. })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, USER};
    use super::*;

    async fn numbers(follower: &mut Follower, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let Next::Note(note) = follower.next().await else { panic!("{numbers:?} and no more") };
            numbers.push(note.entry.seq);
        }
        numbers
    }

    #[tokio::test]
    async fn past_and_future_entries_come_in_one_row_until_the_end() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let mut follower = fixture.follow(&task, 1);
        assert_eq!(numbers(&mut follower, 2).await, [2, 3]);
        fixture.orchestrator.pause(task.id, USER).await.unwrap();
        assert_eq!(numbers(&mut follower, 1).await, [4]);
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        assert_eq!(numbers(&mut follower, 1).await, [5]);
        assert!(matches!(follower.next().await, Next::Ended));
        assert!(follower.has_ended());
    }

    #[tokio::test]
    async fn who_says_to_have_more_than_there_is_hears_what_is_new() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let mut follower = fixture.follow(&task, 1_000);
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(30), numbers(&mut follower, 1)).await;
        assert_eq!(heard.expect("silence"), [4]);
        assert!(matches!(follower.next().await, Next::Ended));
        assert_eq!(fixture.follow(&task, 1_000).after(), 3, "what is told on a socket is what there is");
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_wait_and_says_so() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let mut follower = fixture.follow(&task, 3);
        fixture.shutdown.cancel();
        assert!(matches!(follower.next().await, Next::Cut));
        assert!(!follower.has_ended());
    }

    #[tokio::test]
    async fn the_end_of_a_task_that_ended_long_ago_is_its_last_entry() {
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let task = fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        let mut follower = fixture.follow(&task, 4);
        assert!(matches!(follower.next().await, Next::Ended));
        assert!(follower.has_ended());
    }

    /// Two more entries.
    async fn turn(fixture: &Fixture, task: &Task) {
        fixture.orchestrator.pause(task.id, USER).await.unwrap();
        fixture.orchestrator.resume(task.id, USER).await.unwrap();
    }

    #[tokio::test]
    async fn all_who_follow_a_task_share_its_feed() {
        let fixture = Fixture::new().await;
        let (one, other) = (fixture.task("one").await, fixture.task("other").await);
        let mut followers: Vec<Follower> = (0..50).map(|_| fixture.follow(&one, 3)).collect();
        followers.push(fixture.follow(&other, 3));
        assert_eq!(fixture.state.feeds.count(), 2);
        fixture.orchestrator.cancel(one.id, USER).await.unwrap();
        followers.truncate(50);
        for follower in &mut followers {
            assert_eq!(numbers(follower, 1).await, [4]);
            assert!(matches!(follower.next().await, Next::Ended));
        }
        drop(followers);
        while fixture.state.feeds.count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_does_not_keep_up_goes_or_reads_the_journal() {
        const MANY: i64 = 300;
        let fixture = Fixture::new().await;
        let task = fixture.task("one").await;
        let mut strict = Follower::new(&fixture.state.feeds, &task, 0, Slow::MustGo);
        let mut patient = Follower::new(&fixture.state.feeds, &task, 0, Slow::MayRead);
        for follower in [&mut strict, &mut patient] {
            assert_eq!(numbers(follower, 3).await, [1, 2, 3]);
        }
        // Until an entry came from the feed: before that, a reader is still at the old ones.
        while !strict.is_live {
            let (_, ()) = tokio::join!(numbers(&mut strict, 2), turn(&fixture, &task));
        }
        let seen = strict.after();
        for _ in 0..MANY {
            turn(&fixture, &task).await;
        }
        // Until the feed has told so many that the first of them are gone.
        let listening = strict.feed.as_ref().unwrap();
        while listening.feed.told() < seen + MANY {
            tokio::task::yield_now().await;
        }
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        assert!(matches!(strict.next().await, Next::Behind));
        assert_eq!(strict.after(), seen);
        let all: Vec<i64> = (4..=seen + 2 * MANY + 1).collect();
        assert_eq!(numbers(&mut patient, all.len()).await, all);
        assert!(matches!(patient.next().await, Next::Ended));
    }
}
