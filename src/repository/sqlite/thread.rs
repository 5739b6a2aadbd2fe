//! The one thread that writes tasks to a SQLite file.
//!
//! One durable transaction costs one trip to the disk, whether it holds one write or two hundred:
//! the thread takes whatever waits, writes it in one transaction, and answers everybody. A write
//! that is alone waits for nobody.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sqlx::SqliteConnection;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};

use super::commit::Statements;
use super::written::Texts;
use crate::repository::commit::Creation;
use crate::repository::records::Leased;
use crate::repository::{Change, Claim, Commit, RepositoryError};
use crate::task::TaskId;

/// Writes in one transaction at most. Larger groups make the first one wait for the last
/// without saving anything measurable.
const GROUP: usize = 256;

/// Writes that may wait before their writers have to: bounds the memory, and a disk that is too
/// slow slows its callers down instead of growing a queue.
const WAITING: usize = 1024;

type Result<T> = std::result::Result<T, RepositoryError>;

/// The tasks a claim has leased, each with how often it lost its worker; empty for other writes.
type Leases = Vec<Leased>;

/// What the thread does.
pub(super) enum Work {
    Commit(Commit, Texts),
    Create(Creation, Texts),
    Lease(Leasing),
    /// Lets the file grow to so many pages, for the connection of the thread.
    #[cfg(test)]
    Limit(u32),
}

impl Work {
    pub(super) fn commit(commit: Commit) -> Result<Self> {
        let texts = Texts::of(&commit)?;
        Ok(Self::Commit(commit, texts))
    }

    pub(super) fn create(creation: Creation) -> Result<Self> {
        let texts = Texts::of(&creation.commit)?;
        Ok(Self::Create(creation, texts))
    }
}

/// A claim that outlives its caller.
pub(super) struct Leasing {
    worker: String,
    limit: u32,
    lease: Duration,
    overdue: Duration,
    only: Option<TaskId>,
    per_user: u32,
}

impl Leasing {
    pub(super) fn of(claim: Claim<'_>) -> Self {
        let Claim { worker, limit, lease, overdue, only, per_user } = claim;
        Self { worker: worker.to_owned(), limit, lease, overdue, only, per_user }
    }

    pub(super) fn claim(&self) -> Claim<'_> {
        let Self { worker, limit, lease, overdue, only, per_user } = self;
        let (limit, lease, overdue) = (*limit, *lease, *overdue);
        Claim { worker, limit, lease, overdue, only: *only, per_user: *per_user }
    }
}

struct Pending {
    work: Work,
    /// Takes back the work, too: whoever handed it in lets go of it, so that the thread does not have to.
    reply: oneshot::Sender<(Result<Leases>, Work)>,
}

/// The way to the thread, which ends when this is dropped.
pub(super) struct Writer {
    pending: mpsc::Sender<Pending>,
}

impl Writer {
    /// Starts the thread with a connection of its own.
    ///
    /// `others` is held while a group is written: the writes of this process take turns in the
    /// order they came, which SQLite's own lock between connections does not know.
    pub(super) fn start(
        connection: Connection,
        others: Arc<Mutex<SqliteConnection>>,
        changes: broadcast::Sender<Change>,
    ) -> Result<Self> {
        let (pending, waiting) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("longhaul-commit".to_owned());
        thread.spawn(move || write_groups(&connection, &others, waiting, &changes))?;
        Ok(Self { pending })
    }

    /// Hands work in and waits until it is durable or refused.
    pub(super) async fn write(&self, work: Work) -> Result<Leases> {
        let (reply, answer) = oneshot::channel();
        let gone = || RepositoryError::Unavailable("the database is being closed".into());
        self.pending.send(Pending { work, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.0
    }
}

/// Writes until nobody can hand work in any more.
fn write_groups(
    connection: &Connection,
    others: &Mutex<SqliteConnection>,
    mut waiting: mpsc::Receiver<Pending>,
    changes: &broadcast::Sender<Change>,
) {
    let mut statements = None;
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let turn = others.blocking_lock();
        let answers = write_or_isolate(connection, &mut statements, &group);
        drop(turn);
        for (Pending { work, reply }, answer) in group.drain(..).zip(answers) {
            if answer.is_ok()
                && let Some(change) = change(&work)
            {
                // Nobody listening is fine: a change is a hint.
                let _ = changes.send(change);
            }
            // A caller that gave up finds out by reading.
            let _ = reply.send((answer, work));
        }
    }
}

/// Writes a group; if the database refuses it as a whole, writes each part alone, so that one that it
/// does not accept fails alone. If the file cannot be used, nobody knows whether the group was written, and
/// none of it is tried again here: what was written would be told that somebody else was quicker.
fn write_or_isolate<'c>(
    connection: &'c Connection,
    statements: &mut Option<Statements<'c>>,
    group: &[Pending],
) -> Vec<Result<Leases>> {
    match write(connection, statements, group) {
        Ok(answers) => answers,
        Err(error) if group.len() == 1 => vec![Err(error)],
        Err(RepositoryError::Unavailable(cause)) => {
            RepositoryError::unavailable_to_all(&cause, group.len()).map(Err).collect()
        }
        Err(_) => {
            let alone = group.chunks(1);
            alone.flat_map(|pending| write_or_isolate(connection, statements, pending)).collect()
        }
    }
}

fn write<'c>(
    connection: &'c Connection,
    statements: &mut Option<Statements<'c>>,
    group: &[Pending],
) -> Result<Vec<Result<Leases>>> {
    let statements = match statements {
        Some(statements) => statements,
        // Not before there are tables.
        None => statements.insert(Statements::prepare(connection)?),
    };
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let done = group.iter().map(|pending| perform(statements, &pending.work));
    let answers: Vec<_> = done.collect::<Result<_>>()?;
    transaction.commit()?;
    Ok(answers)
}

/// The inner error is an answer: that work is refused and has written nothing. The outer one
/// takes the whole group back.
fn perform(statements: &mut Statements<'_>, work: &Work) -> Result<Result<Leases>> {
    match work {
        Work::Commit(commit, texts) => Ok(statements.commit(commit, texts)?.map(|()| Leases::new())),
        Work::Create(creation, texts) => Ok(statements.create(creation, texts)?.map(|()| Leases::new())),
        Work::Lease(leasing) => statements.lease(leasing.claim()).map(Ok),
        #[cfg(test)]
        Work::Limit(pages) => statements.limit(*pages).map(|()| Ok(Leases::new())),
    }
}

/// The hint that goes out once the work is durable.
fn change(work: &Work) -> Option<Change> {
    match work {
        Work::Commit(commit, _) => Some(commit.change()),
        Work::Create(creation, _) => Some(creation.commit.change()),
        Work::Lease(_) => None,
        #[cfg(test)]
        Work::Limit(_) => None,
    }
}
