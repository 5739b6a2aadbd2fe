//! The thread that writes commits to a SQLite file.
//!
//! It binds values to prepared statements of its own: handed to the thread of an asynchronous
//! connection one by one, a commit of six rows would be six trips there and back, and passed as
//! JSON it would be parsed again, which costs more than writing it.

use std::borrow::Cow;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior};
use rusqlite::{named_params, params};
use serde::Serialize;
use serde_json::Value;

use super::sql::rows::{self, StepRow, TaskMove, TraceRow, unwritable};
use super::sql::write::{PUT_BLOB, REFER_TO_BLOB};
use super::{CACHE_KIB, PATIENCE, SqliteDurability, WAL_PAGES};
use crate::repository::committer::Groups;
use crate::repository::{Commit, RepositoryError};
use crate::task::{Entry, Event, TaskId, Timestamp};

type Result<T> = std::result::Result<T, RepositoryError>;

macro_rules! bound {
    ($name:ident) => {
        concat!(":", stringify!($name))
    };
}
macro_rules! no_rows {
    ($list:literal; $($columns:tt)*) => {
        ""
    };
}

const MOVE_TASK: &str = move_tasks!(bound, no_rows "");
const ADD_ENTRY: &str = add_entries!(bound, no_rows "");
const ADD_STEP: &str = add_steps!(bound, no_rows "");
const MOVE_STEP: &str = move_steps!(bound, no_rows "");
const EPOCH: &str = "SELECT epoch FROM task_execution WHERE id = :task_id";

/// The connection that commits are written through.
pub(super) fn connect(path: &Path, durability: SqliteDurability) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    let synchronous = match durability {
        SqliteDurability::Full => "FULL",
        SqliteDurability::Relaxed => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    // All rows of a commit belong to the task that its first statement has found.
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

/// Writes groups of commits until nobody can hand one in any more.
///
/// `others` is held while a group is written: the writes of this process take turns in the
/// order they came, which SQLite's own lock between connections does not know.
pub(super) fn write_groups(
    connection: &Connection,
    others: &tokio::sync::Mutex<sqlx::SqliteConnection>,
    mut groups: Groups,
) {
    let mut statements = None;
    while let Some(group) = groups.next() {
        let turn = others.blocking_lock();
        let answers = write_or_isolate(connection, &mut statements, group.commits());
        drop(turn);
        group.answer(answers);
    }
}

/// Writes a group; if it is refused as a whole, writes each commit alone, so that one commit
/// the database does not accept fails alone.
fn write_or_isolate<'c>(
    connection: &'c Connection,
    statements: &mut Option<Statements<'c>>,
    group: &[Commit],
) -> Vec<Result<()>> {
    match write(connection, statements, group) {
        Ok(answers) => answers,
        Err(error) if group.len() == 1 => vec![Err(error)],
        Err(_) => group
            .iter()
            .flat_map(|commit| write_or_isolate(connection, statements, std::slice::from_ref(commit)))
            .collect(),
    }
}

fn write<'c>(
    connection: &'c Connection,
    statements: &mut Option<Statements<'c>>,
    group: &[Commit],
) -> Result<Vec<Result<()>>> {
    let statements = match statements {
        Some(statements) => statements,
        // Not before there are tables.
        None => statements.insert(Statements::prepare(connection)?),
    };
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let answers: Vec<_> = group.iter().map(|commit| statements.write(commit)).collect::<Result<_>>()?;
    transaction.commit()?;
    Ok(answers)
}

/// What a commit is made of, prepared once.
struct Statements<'c> {
    move_task: Statement<'c>,
    add_entry: Statement<'c>,
    add_step: Statement<'c>,
    move_step: Statement<'c>,
    put_blob: Statement<'c>,
    refer_to_blob: Statement<'c>,
    epoch: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            move_task: connection.prepare(MOVE_TASK)?,
            add_entry: connection.prepare(ADD_ENTRY)?,
            add_step: connection.prepare(ADD_STEP)?,
            move_step: connection.prepare(MOVE_STEP)?,
            put_blob: connection.prepare(PUT_BLOB)?,
            refer_to_blob: connection.prepare(REFER_TO_BLOB)?,
            epoch: connection.prepare(EPOCH)?,
        })
    }

    /// Writes a commit, or says what stands against it and writes nothing.
    fn write(&mut self, commit: &Commit) -> Result<Result<()>> {
        if !self.move_task(commit)? {
            return self.refusal(commit).map(Err);
        }
        for entry in &commit.entries {
            self.add_entry(commit.id, entry)?;
        }
        for (index, step) in &commit.steps {
            let row = StepRow::of(commit.id, *index, step);
            if *index >= commit.planned_from { self.add_step(&row)? } else { self.move_step(&row)? }
        }
        for blob in &commit.blobs {
            self.put_blob.execute(params![blob.hash.0, blob.size, blob.bytes])?;
            self.refer_to_blob.execute(params![commit.id.0.as_bytes(), blob.hash.0])?;
        }
        Ok(Ok(()))
    }

    fn move_task(&mut self, commit: &Commit) -> Result<bool> {
        let row = TaskMove::of(commit);
        let moved = self.move_task.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":epoch": row.epoch,
            ":base_seq": row.base_seq,
            ":seq": row.seq,
            ":status": row.status,
            ":pause_reason": row.pause_reason.as_ref().and_then(Value::as_str),
            ":live": row.live,
            ":keep": row.keep,
            ":wake_in": row.wake_in,
            ":crashes": row.crashes,
            ":completed_steps": row.completed_steps,
            ":total_steps": row.total_steps,
            ":state": json(row.state)?,
            ":updated_at": row.updated_at.as_millis(),
            ":completed_at": row.completed_at.map(Timestamp::as_millis),
        })?;
        Ok(moved == 1)
    }

    fn refusal(&mut self, commit: &Commit) -> Result<RepositoryError> {
        let epoch =
            self.epoch.query_row(params![commit.id.0.as_bytes()], |row| row.get::<_, i64>(0)).optional()?;
        Ok(commit.refusal(epoch))
    }

    fn add_entry(&mut self, id: TaskId, entry: &Entry) -> Result<()> {
        let row = TraceRow::of(id, entry);
        self.add_entry.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":seq": row.seq,
            ":epoch": row.epoch,
            ":at": row.at.as_millis(),
            ":step_index": row.step_index,
            ":type": row.r#type,
            ":kind": entry.event.kind(),
            ":data": data(&entry.event)?,
        })?;
        Ok(())
    }

    fn add_step(&mut self, row: &StepRow<'_>) -> Result<()> {
        self.add_step.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":step_index": row.step_index,
            ":step_id": plain(row.step_id),
            ":revision": row.revision,
            ":type": row.r#type,
            ":description": plain(row.description),
            ":status": row.status,
            ":optional": row.optional,
            ":replaced": row.replaced,
            ":depends_on": json(&row.depends_on)?,
            ":input": row.input.map(json).transpose()?,
            ":output_seq": row.output_seq,
            ":error": row.error.map(json).transpose()?,
            ":usage": json(&row.usage)?,
            ":attempts": row.attempts,
            ":estimated_ms": row.estimated_ms.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX)),
            ":first_seq": row.first_seq,
            ":retry_at": row.retry_at.map(Timestamp::as_millis),
            ":started_at": row.started_at.map(Timestamp::as_millis),
            ":completed_at": row.completed_at.map(Timestamp::as_millis),
        })?;
        Ok(())
    }

    fn move_step(&mut self, row: &StepRow<'_>) -> Result<()> {
        self.move_step.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":step_index": row.step_index,
            ":status": row.status,
            ":replaced": row.replaced,
            ":output_seq": row.output_seq,
            ":error": row.error.map(json).transpose()?,
            ":usage": json(&row.usage)?,
            ":attempts": row.attempts,
            ":first_seq": row.first_seq,
            ":retry_at": row.retry_at.map(Timestamp::as_millis),
            ":started_at": row.started_at.map(Timestamp::as_millis),
            ":completed_at": row.completed_at.map(Timestamp::as_millis),
        })?;
        Ok(())
    }
}

/// A value as the tables keep it.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    rows::text(value).map_err(unwritable)
}

/// A text as the tables keep it: `rows::text` says why.
fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The content of an event without its tag, which has a column of its own.
fn data(event: &Event) -> Result<String> {
    let tagged = json(event)?;
    let content = tagged.split_once(r#","data":"#).and_then(|(_, content)| content.strip_suffix('}'));
    content.map(str::to_owned).ok_or_else(|| RepositoryError::Corrupt {
        what: format!("an entry '{}' has no content", event.kind()),
    })
}
