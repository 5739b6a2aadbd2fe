//! What the writing thread does: values bound to prepared statements.
//!
//! Handed to the thread of an asynchronous connection one by one, a commit of six rows would be
//! six trips there and back; passed as JSON it would be parsed again, which costs more than
//! writing it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, named_params, params};
use uuid::Uuid;

use super::sql::claim;
use super::sql::rows::{self, NewTask, StepRow, TaskMove, TraceRow};
use super::texts::{KEEP_ANSWER, PUT_BLOB, REFER_TO_BLOB, TOUCH_BLOB};
use super::written::{StepTexts, Texts, json};
use super::{CACHE_KIB, PATIENCE, SqliteDurability, WAL_PAGES};
use crate::repository::commit::Creation;
use crate::repository::records::Leased;
use crate::repository::{Answer, Claim, Commit, RepositoryError};
use crate::task::{self, TaskId, Timestamp};

type Result<T> = std::result::Result<T, RepositoryError>;

macro_rules! bound {
    ($name:ident) => {
        concat!(":", stringify!($name))
    };
}

const ADD_TASK: &str = add_task!(bound, "");
const MOVE_TASK: &str = move_tasks!(bound, "");
const ADD_ENTRY: &str = add_entries!(bound, "");
const ADD_STEP: &str = add_steps!(bound, "");
const MOVE_STEP: &str = move_steps!(bound, "");
/// The move of a task whose worker goes on with it. Columns that are not named here are in no
/// statement, so their indexes are left alone: SQLite writes an index whose column is set, also
/// to what it was.
const ADVANCE_TASK: &str = "UPDATE task_execution SET seq = :seq, status = :status, crashes = :crashes, \
    completed_steps = :completed_steps, total_steps = :total_steps, state = :state, \
    updated_at = :updated_at WHERE id = :task_id AND epoch = :epoch AND seq = :base_seq \
    AND lease_owner IS NOT NULL AND wake_at IS NOT NULL";
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
    // A plan does not depend on the values that are bound: else a claim would be prepared anew each time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// A statement that is always given the same names, whose places in its text are looked up once:
/// SQLite looks for a name by comparing it with all of them.
struct Named<'c> {
    statement: Statement<'c>,
    places: Vec<usize>,
}

impl<'c> Named<'c> {
    fn prepare(connection: &'c Connection, text: &str) -> Result<Self> {
        Ok(Self { statement: connection.prepare(text)?, places: Vec::new() })
    }

    fn execute(&mut self, values: &[(&str, &dyn ToSql)]) -> rusqlite::Result<usize> {
        if self.places.is_empty() {
            let place = |name: &str| {
                let unknown = || rusqlite::Error::InvalidParameterName(name.to_owned());
                self.statement.parameter_index(name)?.ok_or_else(unknown)
            };
            self.places = values.iter().map(|(name, _)| place(name)).collect::<rusqlite::Result<_>>()?;
        }
        for (place, (_, value)) in self.places.iter().zip(values) {
            self.statement.raw_bind_parameter(*place, value)?;
        }
        self.statement.raw_execute()
    }
}

/// What a commit is made of, prepared once.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    add_task: Named<'c>,
    advance_task: Named<'c>,
    move_task: Named<'c>,
    add_entry: Named<'c>,
    add_step: Named<'c>,
    move_step: Named<'c>,
    put_blob: Statement<'c>,
    refer_to_blob: Statement<'c>,
    keep_answer: Statement<'c>,
    epoch: Statement<'c>,
    /// There are four ways to claim; each is prepared when it is used first.
    leases: HashMap<&'static str, Statement<'c>>,
    /// The user who had the last turn where users have limits.
    turn: String,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            connection,
            add_task: Named::prepare(connection, ADD_TASK)?,
            advance_task: Named::prepare(connection, ADVANCE_TASK)?,
            move_task: Named::prepare(connection, MOVE_TASK)?,
            add_entry: Named::prepare(connection, ADD_ENTRY)?,
            add_step: Named::prepare(connection, ADD_STEP)?,
            move_step: Named::prepare(connection, MOVE_STEP)?,
            put_blob: connection.prepare(PUT_BLOB)?,
            refer_to_blob: connection.prepare(REFER_TO_BLOB)?,
            keep_answer: connection.prepare(KEEP_ANSWER)?,
            epoch: connection.prepare(EPOCH)?,
            leases: HashMap::new(),
            turn: String::new(),
        })
    }

    /// Writes a commit, or says what stands against it and writes nothing.
    pub(super) fn commit(&mut self, commit: &Commit, texts: &Texts) -> Result<Result<()>> {
        let (row, state) = (TaskMove::of(commit), texts.state.as_str());
        let is_moved =
            (commit.is_advance() && self.advance_task(&row, state)?) || self.move_task(&row, state)?;
        if !is_moved {
            return self.refusal(commit).map(Err);
        }
        self.add_parts(commit, texts)?;
        Ok(Ok(()))
    }

    /// Writes a new task, or says what stands against it and writes nothing.
    pub(super) fn create(&mut self, creation: &Creation, texts: &Texts) -> Result<Result<()>> {
        let Some(answer) = &creation.answer else {
            return refused(self.add(creation, texts));
        };
        // The answer is written before it is known whether the task can be.
        self.connection.execute_batch("SAVEPOINT creation")?;
        let created = refused(self.keep(answer).and_then(|()| self.add(creation, texts)))?;
        if created.is_err() {
            self.connection.execute_batch("ROLLBACK TO creation")?;
        }
        self.connection.execute_batch("RELEASE creation")?;
        Ok(created)
    }

    fn keep(&mut self, answer: &Answer) -> Result<()> {
        let task_id = answer.task_id.as_ref().map(|task| task.0.as_bytes());
        let kept = self.keep_answer.execute(params![
            answer.user_id,
            answer.key,
            answer.request_hash,
            task_id,
            answer.reply
        ])?;
        if kept == 0 { Err(RepositoryError::KeyTaken) } else { Ok(()) }
    }

    fn add(&mut self, creation: &Creation, texts: &Texts) -> Result<()> {
        self.add_task(&NewTask::of(creation), &texts.state)?;
        self.add_parts(&creation.commit, texts)
    }

    #[cfg(test)]
    pub(super) fn limit(&self, pages: u32) -> Result<()> {
        Ok(self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?)
    }

    /// Leases due tasks, and tells how often each of them lost its worker.
    pub(super) fn lease(&mut self, mut wish: Claim<'_>) -> Result<Vec<Leased>> {
        let mut leased = self.lease_once(&wish)?;
        // One statement looks at as many tasks as are wanted; if they are one user's and users have
        // limits, most of them have to wait, and the next statement looks behind them.
        let mut more = leased.len();
        while wish.per_user > 0 && more > 0 && leased.len() < wish.limit as usize {
            let whole = wish.limit;
            wish.limit = whole - u32::try_from(leased.len()).unwrap_or(whole);
            let behind = self.lease_once(&wish)?;
            wish.limit = whole;
            more = behind.len();
            leased.extend(behind);
        }
        Ok(leased)
    }

    fn lease_once(&mut self, wish: &Claim<'_>) -> Result<Vec<Leased>> {
        let text = claim::text(wish);
        let statement = match self.leases.entry(text) {
            Entry::Occupied(prepared) => prepared.into_mut(),
            Entry::Vacant(place) => place.insert(self.connection.prepare(text)?),
        };
        let (lease, overdue) = (claim::millis(wish.lease), claim::millis(wish.overdue));
        let only = wish.only.map(|id| *id.0.as_bytes());
        let mut values: Vec<&dyn ToSql> = vec![&wish.worker, &lease, &wish.limit, &overdue];
        values.extend(only.as_ref().map(|id| id as &dyn ToSql));
        let turn = std::mem::take(&mut self.turn);
        if wish.per_user > 0 {
            values.push(&wish.per_user);
            values.push(&turn);
        }
        // SQLite numbers parameters by where they stand in the text; their names say which they are.
        let names = (1..=statement.parameter_count()).map(|at| statement.parameter_name(at));
        let numbers: Vec<usize> =
            names.map(|name| name.and_then(|name| name[1..].parse().ok()).unwrap_or(0)).collect();
        let values = numbers.iter().filter_map(|number| values.get(number.wrapping_sub(1)).copied());
        let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
            let id = TaskId(Uuid::from_bytes(row.get(0)?));
            Ok((Leased { id, crashes: row.get(1)?, epoch: row.get(2)? }, row.get(3)?))
        })?;
        let (leased, mut users): (Vec<Leased>, Vec<String>) =
            rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().unzip();
        self.turn = users.pop().unwrap_or(turn);
        Ok(leased)
    }

    fn add_parts(&mut self, commit: &Commit, texts: &Texts) -> Result<()> {
        for (entry, data) in commit.entries.iter().zip(&texts.entries) {
            self.add_entry(commit.id, entry, data)?;
        }
        for ((index, step), texts) in commit.steps.iter().zip(&texts.steps) {
            let row = StepRow::of(commit.id, *index, step);
            if *index >= commit.planned_from {
                self.add_step(&row, texts)?;
            } else {
                self.move_step(&row, texts)?;
            }
        }
        for blob in &commit.blobs {
            self.put_blob.execute(params![blob.hash.0, blob.size, blob.bytes])?;
            self.refer_to_blob.execute(params![commit.id.0.as_bytes(), blob.hash.0])?;
        }
        for hash in &commit.shared {
            self.connection.execute(TOUCH_BLOB, params![hash.0])?;
            self.refer_to_blob.execute(params![commit.id.0.as_bytes(), hash.0])?;
        }
        Ok(())
    }

    fn advance_task(&mut self, row: &TaskMove<'_>, state: &str) -> Result<bool> {
        let moved = self.advance_task.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":epoch": row.epoch,
            ":base_seq": row.base_seq,
            ":seq": row.seq,
            ":status": row.status,
            ":crashes": row.crashes,
            ":completed_steps": row.completed_steps,
            ":total_steps": row.total_steps,
            ":state": state,
            ":updated_at": row.updated_at.as_millis(),
        })?;
        Ok(moved == 1)
    }

    fn add_task(&mut self, row: &NewTask<'_>, state: &str) -> Result<()> {
        let moved = &row.moved;
        let added = self.add_task.execute(named_params! {
            ":task_id": moved.task_id.0.as_bytes(),
            ":user_id": rows::plain(row.user_id),
            ":thread_id": rows::plain(row.thread_id),
            ":goal": rows::plain(row.goal),
            ":status": moved.status,
            ":pause_reason": moved.pause_reason,
            ":seq": moved.seq,
            ":epoch": moved.epoch,
            ":live": moved.live,
            ":priority": moved.priority,
            ":crashes": moved.crashes,
            ":completed_steps": moved.completed_steps,
            ":total_steps": moved.total_steps,
            ":state": state,
            ":created_at": row.created_at.as_millis(),
            ":updated_at": moved.updated_at.as_millis(),
            ":completed_at": moved.completed_at.map(Timestamp::as_millis),
            ":parent_id": row.parent_id.as_ref().map(|parent| parent.0.as_bytes()),
            ":forked_from": row.forked_from.as_ref().map(json).transpose()?,
            ":imported": row.imported,
        });
        match added {
            Err(rusqlite::Error::SqliteFailure(cause, _)) if is_taken(cause) => Err(RepositoryError::Exists),
            other => Ok(other.map(drop)?),
        }
    }

    fn move_task(&mut self, row: &TaskMove<'_>, state: &str) -> Result<bool> {
        let moved = self.move_task.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":epoch": row.epoch,
            ":base_seq": row.base_seq,
            ":seq": row.seq,
            ":status": row.status,
            ":pause_reason": row.pause_reason,
            ":live": row.live,
            ":keep": row.keep,
            ":due": row.due,
            ":wake_in": row.wake_in,
            ":priority": row.priority,
            ":crashes": row.crashes,
            ":completed_steps": row.completed_steps,
            ":total_steps": row.total_steps,
            ":state": state,
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

    fn add_entry(&mut self, id: TaskId, entry: &task::Entry, data: &str) -> Result<()> {
        let row = TraceRow::of(id, entry);
        self.add_entry.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":seq": row.seq,
            ":epoch": row.epoch,
            ":at": row.at.as_millis(),
            ":step_index": row.step_index,
            ":type": row.r#type,
            ":kind": row.event.kind(),
            ":data": data,
        })?;
        Ok(())
    }

    fn add_step(&mut self, row: &StepRow<'_>, texts: &StepTexts) -> Result<()> {
        self.add_step.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":step_index": row.step_index,
            ":step_id": rows::plain(row.step_id),
            ":revision": row.revision,
            ":type": row.r#type,
            ":description": rows::plain(row.description),
            ":status": row.status,
            ":optional": row.optional,
            ":replaced": row.replaced,
            ":depends_on": texts.depends_on,
            ":input": texts.input,
            ":output_seq": row.output_seq,
            ":verification": texts.verification,
            ":error": texts.error,
            ":usage": texts.usage,
            ":attempts": row.attempts,
            ":estimated_ms": row.estimated_ms.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX)),
            ":first_seq": row.first_seq,
            ":retry_at": row.retry_at.map(Timestamp::as_millis),
            ":started_at": row.started_at.map(Timestamp::as_millis),
            ":completed_at": row.completed_at.map(Timestamp::as_millis),
        })?;
        Ok(())
    }

    fn move_step(&mut self, row: &StepRow<'_>, texts: &StepTexts) -> Result<()> {
        self.move_step.execute(named_params! {
            ":task_id": row.task_id.0.as_bytes(),
            ":step_index": row.step_index,
            ":status": row.status,
            ":replaced": row.replaced,
            ":output_seq": row.output_seq,
            ":verification": texts.verification,
            ":error": texts.error,
            ":usage": texts.usage,
            ":attempts": row.attempts,
            ":first_seq": row.first_seq,
            ":retry_at": row.retry_at.map(Timestamp::as_millis),
            ":started_at": row.started_at.map(Timestamp::as_millis),
            ":completed_at": row.completed_at.map(Timestamp::as_millis),
        })?;
        Ok(())
    }
}

/// A refusal is an answer; anything else goes wrong for all that are written together.
fn refused(created: Result<()>) -> Result<Result<()>> {
    match created {
        Err(refused @ (RepositoryError::Exists | RepositoryError::KeyTaken)) => Ok(Err(refused)),
        other => other.map(Ok),
    }
}

/// Whether a row with this key exists: SQLITE_CONSTRAINT_PRIMARYKEY or SQLITE_CONSTRAINT_UNIQUE.
fn is_taken(cause: rusqlite::ffi::Error) -> bool {
    matches!(cause.extended_code, 1555 | 2067)
}
