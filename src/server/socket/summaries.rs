//! How all tasks of a user stand, live: read once per user, however many follow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::frames::Control;
use crate::repository::{Change, ListFilter, Repository, RepositoryError, TaskSummary};
use crate::task::{Status, Task, TaskId};

/// Tasks that are looked at: the newest ones, and as many that have not ended.
const LOOKED_AT: u32 = 200;

/// The least time between two looks: a busy server changes tasks thousands of times a second, and
/// nobody reads faster.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a lost hint may delay a change. Commits of other processes are never hinted here.
const POLL: Duration = Duration::from_secs(1);

/// Changes that a client may be behind before it misses some.
const WAITING: usize = 512;

/// What is told to one who follows.
pub(super) enum Told {
    /// A change.
    Frame(Utf8Bytes),
    /// Changes were missed.
    Lost,
}

/// Those who are followed, by user.
#[derive(Clone)]
pub(in crate::server) struct Summaries(Arc<Inner>);

struct Inner {
    repository: Arc<dyn Repository>,
    shutdown: CancellationToken,
    users: Mutex<HashMap<String, Weak<Sender<Utf8Bytes>>>>,
}

/// One who follows. The last one who goes ends the looking.
pub(super) struct Following {
    alive: Arc<Sender<Utf8Bytes>>,
    frames: Receiver<Utf8Bytes>,
}

impl Following {
    /// The next change.
    pub(super) async fn next(&mut self) -> Told {
        match self.frames.recv().await {
            Ok(frame) => Told::Frame(frame),
            Err(RecvError::Lagged(_)) => Told::Lost,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Summaries {
    pub(in crate::server) fn new(repository: Arc<dyn Repository>, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Inner { repository, shutdown, users: Mutex::default() }))
    }

    /// How the tasks of a user stand, and whatever changes from now on.
    pub(super) async fn follow(&self, user: &str) -> Result<(Vec<TaskSummary>, Following), RepositoryError> {
        // Listened to before the tasks are read, so that a change in between is not missed.
        let (following, is_first) = self.listen(user);
        let tasks = tasks(self.0.repository.as_ref(), user).await;
        if is_first {
            // The looking begins with what the first one is told: whatever differs from that later
            // is a change. Without it, everything is one.
            let known = tasks.iter().flatten().map(|task| (task.id, task.seq)).collect();
            let told = Arc::downgrade(&following.alive);
            tokio::spawn(look(self.0.clone(), user.to_owned(), told, known));
        }
        Ok((tasks?, following))
    }

    /// One who follows, and whether it is the first.
    fn listen(&self, user: &str) -> (Following, bool) {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alive) = users.get(user).and_then(Weak::upgrade) {
            return (Following { frames: alive.subscribe(), alive }, false);
        }
        users.retain(|_, sender| sender.strong_count() > 0);
        let (sender, frames) = channel(WAITING);
        let alive = Arc::new(sender);
        users.insert(user.to_owned(), Arc::downgrade(&alive));
        (Following { frames, alive }, true)
    }
}

/// Looks whenever something may have changed, and tells what has.
async fn look(
    inner: Arc<Inner>,
    user: String,
    told: Weak<Sender<Utf8Bytes>>,
    mut known: HashMap<TaskId, i64>,
) {
    let mut changes = inner.repository.changes();
    loop {
        {
            let Some(told) = told.upgrade() else { return };
            match tasks(inner.repository.as_ref(), &user).await {
                Ok(tasks) => {
                    let changed = changed(inner.repository.as_ref(), &mut known, tasks).await;
                    for task in changed {
                        // Nobody listening is fine.
                        let _ = told.send(Control::Task { task: Box::new(task) }.text());
                    }
                }
                Err(error) => error.tell("tasks cannot be told, trying again"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = inner.shutdown.cancelled() => return,
        }
        tokio::select! {
            () = any(&mut changes) => {}
            () = tokio::time::sleep(POLL) => {}
            () = inner.shutdown.cancelled() => return,
        }
    }
}

/// Until anything changed since this was asked last.
async fn any(changes: &mut Receiver<Change>) {
    let first = changes.recv().await;
    if matches!(first, Err(RecvError::Closed)) {
        return std::future::pending().await;
    }
    // All that came meanwhile is answered by the same look.
    while !matches!(changes.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Empty)) {}
}

/// The newest tasks of a user, and those that have not ended.
async fn tasks(repository: &dyn Repository, user: &str) -> Result<Vec<TaskSummary>, RepositoryError> {
    let mut filter = ListFilter { user_id: Some(user.to_owned()), limit: LOOKED_AT, ..ListFilter::default() };
    let mut tasks = repository.list(&filter).await?;
    if tasks.len() == LOOKED_AT as usize {
        filter.statuses = vec![Status::Pending, Status::Running, Status::Paused];
        let open = repository.list(&filter).await?;
        let older = open.into_iter().filter(|task| tasks.iter().all(|known| known.id != task.id));
        let older: Vec<TaskSummary> = older.collect();
        tasks.extend(older);
    }
    Ok(tasks)
}

/// Those that are new or have new entries.
async fn changed(
    repository: &dyn Repository,
    known: &mut HashMap<TaskId, i64>,
    tasks: Vec<TaskSummary>,
) -> Vec<TaskSummary> {
    let now: HashMap<TaskId, i64> = tasks.iter().map(|task| (task.id, task.seq)).collect();
    let before = std::mem::replace(known, now);
    // One that is no longer among them has ended, or is older than all that are looked at.
    let left = before.keys().filter(|id| !known.contains_key(id));
    let mut changed: Vec<TaskSummary> =
        tasks.into_iter().filter(|task| before.get(&task.id).is_none_or(|seq| *seq < task.seq)).collect();
    for id in left {
        if let Ok(Some(task)) = repository.load(*id).await {
            changed.push(summary(&task));
        }
    }
    changed
}

fn summary(task: &Task) -> TaskSummary {
    let (spec, state) = (task.spec(), task.state());
    TaskSummary {
        id: task.id,
        user_id: spec.user_id.clone(),
        thread_id: spec.thread_id.clone(),
        goal: spec.goal.clone(),
        status: state.status,
        priority: state.priority,
        pause: state.pause.clone(),
        completed_steps: state.completed,
        total_steps: task.total_steps(),
        usage: state.usage,
        fault: state.fault.clone(),
        seq: state.seq,
        created_at: state.created_at,
        updated_at: state.updated_at,
        completed_at: state.completed_at,
        worker: None,
        parent_id: spec.parent.map(|parent| parent.task),
        forked_from: spec.forked_from,
        imported: spec.imported,
        wake_at: None,
        current_step: None,
    }
}
