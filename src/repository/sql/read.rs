//! The reads: tasks, journals, lists, contents.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Column as _, Row as _};

use super::rows::{StoredInput, text as row_list};
use super::{Conn, Key, Result, Row, Time, key, key_list, moment, task_id};
use crate::repository::{ListFilter, RepositoryError, Requests, Stats, TaskSummary};
use crate::task::{
    BlobHash, Entry, Event, Fault, ForkPoint, PlannedStep, Priority, State, Status, Step, Task, TaskId,
    TaskSpec, Timestamp, TraceType, Usage,
};

/// How many tasks a list has if nobody says.
const LIST_LIMIT: u32 = 100;

/// One task; call within a snapshot.
pub(super) async fn task(conn: &mut Conn, id: TaskId) -> Result<Option<Task>> {
    Ok(tasks(conn, &[id]).await?.pop())
}

/// Several tasks; call within a snapshot. Reads their rows, their steps, and of their journals
/// only what steps that have not ended did so far.
pub(super) async fn tasks(conn: &mut Conn, ids: &[TaskId]) -> Result<Vec<Task>> {
    let mut tasks = without_calls(conn, ids).await?;
    for task in &mut tasks {
        recall(conn, task).await?;
    }
    Ok(tasks)
}

/// The same without a snapshot, for tasks that are between two steps: nothing else is to be known of
/// them than what one statement reads. `None` if one of them is in the midst of a step.
pub(super) async fn tasks_between_steps(conn: &mut Conn, ids: &[TaskId]) -> Result<Option<Vec<Task>>> {
    let tasks = without_calls(conn, ids).await?;
    let between = tasks.iter().all(|task| task.calls_after().is_none());
    Ok(between.then_some(tasks))
}

/// What the tables of tasks and steps know of a task.
#[derive(Default)]
struct Parts {
    whole: Option<(TaskSpec, State, i64)>,
    steps: Vec<(i64, Step)>,
}

impl Parts {
    fn add(&mut self, row: &Row) -> Result<()> {
        let index: Option<i64> = row.try_get(4)?;
        if index.unwrap_or(0) == 0 {
            let (Json(spec), Json(state)) = (row.try_get(1)?, row.try_get(2)?);
            self.whole = Some((spec, state, row.try_get(3)?));
        }
        if let Some(index) = index {
            self.steps.push((index, step(row, 5)?));
        }
        Ok(())
    }

    fn into_task(mut self, id: TaskId) -> Result<Task> {
        let missing = || RepositoryError::Corrupt { what: format!("the first step of task {id} is missing") };
        let (spec, state, epoch) = self.whole.ok_or_else(missing)?;
        self.steps.sort_unstable_by_key(|(index, _)| *index);
        let steps = self.steps.into_iter().map(|(_, step)| step).collect();
        let mut task = Task::restore(id, spec, state, steps, &[]);
        task.enter_epoch(epoch);
        Ok(task)
    }
}

/// A row for each step, or one for a task without any; what there is of the task itself comes with that or
/// with the first step.
///
/// They come in any order: a database that has to sort them sends nothing before it has read the last.
async fn without_calls(conn: &mut Conn, ids: &[TaskId]) -> Result<Vec<Task>> {
    const PARTS: &str = concat!(
        "SELECT t.id, CASE WHEN COALESCE(s.step_index, 0) = 0 THEN COALESCE(t.spec, c.data->'spec') END AS spec, ",
        "CASE WHEN COALESCE(s.step_index, 0) = 0 THEN t.state END AS state, t.epoch, s.step_index, ",
        "s.step_id, s.revision, s.type, s.description, s.status, s.optional, s.replaced, ",
        "s.depends_on, s.input, s.output_seq, COALESCE(s.output, ",
        recorded_output!(),
        ") AS output, s.verification, s.error, s.usage, s.attempts, s.estimated_ms, s.first_seq, ",
        "s.retry_at, s.started_at, s.completed_at FROM task_execution AS t ",
        "LEFT JOIN task_execution_trace AS c ON c.task_id = t.id AND c.seq = 1 ",
        "LEFT JOIN task_execution_step AS s ON s.task_id = t.id ",
        "LEFT JOIN task_execution_trace AS o ON o.task_id = s.task_id AND o.seq = s.output_seq ",
        "WHERE t.id",
        among!("$1")
    );
    // Row by row: a task may have ten thousand steps.
    let keys = key_list(ids)?;
    let mut rows = sqlx::query(PARTS).bind(keys).fetch(conn);
    let mut tasks: BTreeMap<Key, Parts> = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        tasks.entry(row.try_get(0)?).or_default().add(&row)?;
    }
    tasks.into_iter().map(|(id, parts)| parts.into_task(task_id(id))).collect()
}

/// The columns of a row one after another. To find twenty of them by their names takes longer than to read
/// them.
struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

type Database = <Row as sqlx::Row>::Database;

impl<'r> Columns<'r> {
    fn take<T: sqlx::Decode<'r, Database> + sqlx::Type<Database>>(&mut self) -> Result<T> {
        self.next += 1;
        Ok(self.row.try_get(self.next - 1)?)
    }

    fn json<T: DeserializeOwned + 'r>(&mut self) -> Result<T> {
        self.take::<Json<T>>().map(|json| json.0)
    }

    fn json_if_any<T: DeserializeOwned + 'r>(&mut self) -> Result<Option<T>> {
        Ok(self.take::<Option<Json<T>>>()?.map(|json| json.0))
    }

    fn word<T: DeserializeOwned>(&mut self) -> Result<T> {
        word_of(self.take()?, self.taken())
    }

    fn count(&mut self) -> Result<u32> {
        count_of(self.take()?, self.taken())
    }

    fn time(&mut self) -> Result<Option<Timestamp>> {
        time_of(self.take()?, self.taken())
    }

    /// The name of the column that was taken last.
    fn taken(&self) -> &'r str {
        self.row.column(self.next - 1).name()
    }
}

/// A step, whose columns begin at `first` in the order in which they are taken here.
fn step(row: &Row, first: usize) -> Result<Step> {
    let mut columns = Columns { row, next: first };
    let (id, revision) = (columns.take()?, columns.count()?);
    let (kind, description, status) = (columns.word()?, columns.take()?, columns.word()?);
    let (optional, replaced) = (columns.take()?, columns.take()?);
    let depends_on = columns.json()?;
    let StoredInput { tool, retry, model, for_each, when, checks, item } =
        columns.json_if_any()?.unwrap_or_default();
    let (output_seq, output) = (columns.take()?, columns.json_if_any()?);
    let verification = columns.json_if_any()?.map(Box::new);
    let (fault, usage, attempts) = (columns.json_if_any()?, columns.json()?, columns.count()?);
    let estimated_duration = columns.take::<Option<i64>>()?.map(i64::unsigned_abs);
    let plan = PlannedStep {
        id,
        description,
        kind,
        depends_on,
        tool,
        retry,
        model,
        for_each,
        when,
        checks,
        estimated_duration,
        optional,
    };
    Ok(Step {
        plan,
        item,
        revision,
        status,
        replaced,
        attempts,
        output_seq,
        output,
        verification,
        fault,
        usage,
        first_seq: columns.take()?,
        retry_at: columns.time()?,
        started_at: columns.time()?,
        completed_at: columns.time()?,
        calls: Vec::new(),
        digest: None,
    })
}

/// Lets a task know what was recorded of the calls of steps that were started and have not brought a
/// result. Steps that were given up are not among them: what lies between is not read.
async fn recall(conn: &mut Conn, task: &mut Task) -> Result<()> {
    const CALLS: &str = "SELECT seq, epoch, at, kind, data FROM task_execution_trace \
         WHERE task_id = $1 AND seq > $2 AND step_index IS NOT NULL AND kind IN ('model_requested', \
         'model_answered', 'tool_dispatched', 'tool_returned', 'call_failed', 'call_lost', \
         'outcome_decided', 'approval_requested', 'approval_given', 'approval_denied', \
         'tool_changed', 'tool_accepted', 'input_requested', 'input_given', 'input_declined', \
         'conversation_summarized', 'child_started', 'child_ended', 'budget_raised') ORDER BY seq";
    let Some(first) = task.calls_after() else { return Ok(()) };
    let rows = sqlx::query(CALLS).bind(key(task.id)).bind(first).fetch_all(conn).await?;
    let entries = rows.iter().map(entry).collect::<Result<Vec<Entry>>>()?;
    task.recall_all(&entries);
    Ok(())
}

/// Entries after a number.
pub(super) async fn journal(conn: &mut Conn, id: TaskId, after: i64, limit: u32) -> Result<Vec<Entry>> {
    let rows = sqlx::query(
        "SELECT task_id, seq, epoch, at, kind, data FROM task_execution_trace \
         WHERE task_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(key(id))
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().map(entry).collect()
}

/// The newest entries, oldest of them first.
pub(super) async fn latest(conn: &mut Conn, id: TaskId, limit: u32) -> Result<Vec<Entry>> {
    let rows = sqlx::query(
        "SELECT task_id, seq, epoch, at, kind, data FROM task_execution_trace \
         WHERE task_id = $1 ORDER BY seq DESC LIMIT $2",
    )
    .bind(key(id))
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().rev().map(entry).collect()
}

/// The same, of one type only.
pub(super) async fn latest_of(
    conn: &mut Conn,
    id: TaskId,
    kind: TraceType,
    limit: u32,
) -> Result<Vec<Entry>> {
    let rows = sqlx::query(
        "SELECT task_id, seq, epoch, at, kind, data FROM task_execution_trace \
         WHERE task_id = $1 AND type = $2 ORDER BY seq DESC LIMIT $3",
    )
    .bind(key(id))
    .bind(kind.as_str())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().rev().map(entry).collect()
}

pub(super) fn entry(row: &Row) -> Result<Entry> {
    let seq: i64 = row.try_get("seq")?;
    let kind: String = row.try_get("kind")?;
    let Json(data): Json<Value> = row.try_get("data")?;
    let event: Event = serde_json::from_value(serde_json::json!({"kind": kind, "data": data}))
        .map_err(|error| RepositoryError::Corrupt { what: format!("entry {seq} ({kind}): {error}") })?;
    let at = time_in(row, "at")?.unwrap_or_default();
    Ok(Entry { seq, epoch: row.try_get("epoch")?, at, event })
}

/// The beginning of a query for summaries. Only of tasks that go on somebody wants to know what they are at.
macro_rules! summaries {
    () => {
        concat!(
            "SELECT id, user_id, thread_id, goal, status, priority, seq, state, completed_steps, total_steps, ",
            "lease_owner, wake_at, created_at, updated_at, completed_at, parent_id, forked_from, imported, ",
            "CASE WHEN wake_at IS NOT NULL THEN (SELECT s.description FROM task_execution_step s ",
            "WHERE s.task_id = task_execution.id AND NOT s.replaced ",
            "AND (s.status = 'running' OR s.retry_at IS NOT NULL) ORDER BY s.step_index LIMIT 1) END AS at_work ",
            "FROM task_execution "
        )
    };
}

/// Tasks by filter, newest first.
pub(super) async fn list(conn: &mut Conn, filter: &ListFilter) -> Result<Vec<TaskSummary>> {
    if let Some(requests) = filter.requests {
        return asking(conn, filter, requests).await;
    }
    // An absent restriction is NULL, which every row passes: one text for all filters.
    const LIST: &str = concat!(
        summaries!(),
        "WHERE ($1 IS NULL OR user_id = $1) AND ($2 IS NULL OR thread_id = $2) ",
        "AND ($3 IS NULL OR id < $3) AND ($4 IS NULL OR status IN (SELECT r.word FROM ",
        rows!("$4"; word text),
        ")) AND ($6 IS NULL OR parent_id = $6) AND ($7 IS NULL OR parent_id IS NULL) AND NOT EXISTS (SELECT 1 FROM ",
        rows!("$8"; small text, capital text, large text),
        " WHERE lower(goal) NOT LIKE lower(r.small) ESCAPE '\\' AND lower(goal) NOT LIKE lower(r.capital) ESCAPE '\\' ",
        "AND lower(goal) NOT LIKE lower(r.large) ESCAPE '\\') ORDER BY id DESC LIMIT $5"
    );
    #[derive(serde::Serialize)]
    struct Word {
        word: &'static str,
    }
    let words: Vec<Word> = filter.statuses.iter().map(|status| Word { word: status.as_str() }).collect();
    let words = if words.is_empty() { None } else { Some(row_list(&words).map_err(unlistable)?) };
    let words_of_goal: Vec<Spellings> = filter.words.iter().map(|word| Spellings::of(word)).collect();
    let words_of_goal = row_list(&words_of_goal).map_err(unlistable)?;
    let limit = if filter.limit == 0 { LIST_LIMIT } else { filter.limit };
    let rows = sqlx::query(LIST)
        .bind(filter.user_id.as_deref())
        .bind(filter.thread_id.as_deref())
        .bind(filter.before.map(key))
        .bind(words)
        .bind(i64::from(limit))
        .bind(filter.parent.map(key))
        .bind(filter.roots.then_some(1_i64))
        .bind(words_of_goal)
        .fetch_all(conn)
        .await?;
    rows.iter().map(summary).collect()
}

/// A word as it may stand in a goal, as patterns: not every database knows capitals beyond those of English.
#[derive(serde::Serialize)]
struct Spellings {
    small: String,
    capital: String,
    large: String,
}

impl Spellings {
    fn of(word: &str) -> Self {
        let (small, large) = (word.to_lowercase(), word.to_uppercase());
        let mut letters = small.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string());
        let capital = first.unwrap_or_default() + letters.as_str();
        Self { small: anywhere(&small), capital: anywhere(&capital), large: anywhere(&large) }
    }
}

/// The pattern for a text that has `part` in it, where nothing of `part` stands for something else.
fn anywhere(part: &str) -> String {
    let escaped = part.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    format!("%{escaped}%")
}

/// Tasks that wait for a person, newest first. Paused ones have an index of their own; of the live
/// ones only those count that are at work on something else meanwhile.
async fn asking(conn: &mut Conn, filter: &ListFilter, requests: Requests) -> Result<Vec<TaskSummary>> {
    const ASKING: &str = concat!(
        summaries!(),
        "WHERE status = 'paused' AND ($1 IS NULL OR user_id = $1) ",
        "AND ($2 IS NULL OR id < $2) AND ($3 IS NULL OR state->'asking'->>'expiresAt' <= $3) ",
        "AND (state->'asking' IS NOT NULL OR state->'pause'->>'reason' = 'unknown-outcome' ",
        "OR state->'pause'->>'reason' = 'unverified') ",
        "UNION ALL ",
        summaries!(),
        "WHERE wake_at IS NOT NULL AND status = 'running' AND $3 IS NULL ",
        "AND ($1 IS NULL OR user_id = $1) AND ($2 IS NULL OR id < $2) AND state->'asking' IS NOT NULL ",
        "ORDER BY 1 DESC LIMIT $4"
    );
    let by = match requests {
        Requests::Open => None,
        Requests::ExpiredBy(moment) => Some(moment.to_string()),
    };
    let rows = sqlx::query(ASKING)
        .bind(filter.user_id.as_deref())
        .bind(filter.before.map(key))
        .bind(by)
        .bind(i64::from(if filter.limit == 0 { LIST_LIMIT } else { filter.limit }))
        .fetch_all(conn)
        .await?;
    rows.iter().map(summary).collect()
}

/// A task whose state cannot be read is shown by its columns, and says so of itself: it must not keep the others
/// from being shown.
fn summary(row: &Row) -> Result<TaskSummary> {
    let worker: Option<String> = row.try_get("lease_owner")?;
    let status: Status = word(row, "status")?;
    let rests = worker.is_none() && status == Status::Running;
    let shown = TaskSummary {
        id: task_id(row.try_get::<Key, _>("id")?),
        user_id: row.try_get("user_id")?,
        thread_id: row.try_get("thread_id")?,
        goal: row.try_get("goal")?,
        status,
        priority: priority(row.try_get("priority")?)?,
        pause: None,
        completed_steps: count(row, "completed_steps")?,
        total_steps: count(row, "total_steps")?,
        usage: Usage::default(),
        fault: None,
        seq: row.try_get("seq")?,
        created_at: time_in(row, "created_at")?.unwrap_or_default(),
        updated_at: time_in(row, "updated_at")?.unwrap_or_default(),
        completed_at: time_in(row, "completed_at")?,
        worker,
        parent_id: row.try_get::<Option<Key>, _>("parent_id")?.map(task_id),
        forked_from: row.try_get::<Option<Json<ForkPoint>>, _>("forked_from")?.map(|from| from.0),
        imported: row.try_get("imported")?,
        wake_at: if rests { time_in(row, "wake_at")? } else { None },
        current_step: row.try_get("at_work")?,
    };
    let state: std::result::Result<Json<State>, sqlx::Error> = row.try_get("state");
    Ok(match state {
        Ok(Json(state)) => {
            TaskSummary { pause: state.pause, usage: state.usage, fault: state.fault, ..shown }
        }
        Err(error) => {
            let error = RepositoryError::from(error);
            tracing::error!(task = %shown.id, %error, "the task cannot be read");
            TaskSummary { fault: Some(Fault::permanent(error.code(), error.to_string())), ..shown }
        }
    })
}

/// A large content.
pub(super) async fn blob(conn: &mut Conn, hash: BlobHash) -> Result<Value> {
    let broken = |what: String| RepositoryError::Corrupt { what: format!("content {hash}: {what}") };
    let row = sqlx::query("SELECT size, bytes FROM blob WHERE hash = $1")
        .bind(hash.0.to_vec())
        .fetch_optional(conn)
        .await?
        .ok_or_else(|| broken("missing".into()))?;
    let size: i64 = row.try_get(0)?;
    let bytes: Vec<u8> = row.try_get(1)?;
    let json = zstd::bulk::decompress(&bytes, usize::try_from(size).unwrap_or(0))
        .map_err(|error| broken(error.to_string()))?;
    if BlobHash::of(&json) != hash {
        return Err(broken("it is not what its name says".into()));
    }
    serde_json::from_slice(&json).map_err(|error| broken(error.to_string()))
}

/// Tasks by status, due and leased.
pub(super) async fn stats(conn: &mut Conn) -> Result<Stats> {
    let rows = sqlx::query("SELECT status, count(*) FROM task_execution GROUP BY status")
        .fetch_all(&mut *conn)
        .await?;
    let mut tasks = BTreeMap::new();
    for row in &rows {
        tasks.insert(row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs());
    }
    const DUE: &str = concat!(
        "SELECT count(CASE WHEN wake_at <= ",
        now!(),
        " THEN 1 END), count(CASE WHEN wake_at > ",
        now!(),
        " THEN lease_owner END) FROM task_execution WHERE wake_at IS NOT NULL"
    );
    let row = sqlx::query(DUE).fetch_one(conn).await?;
    let due = row.try_get::<i64, _>(0)?.unsigned_abs();
    Ok(Stats { tasks, due, leased: row.try_get::<i64, _>(1)?.unsigned_abs() })
}

fn unlistable(error: serde_json::Error) -> RepositoryError {
    RepositoryError::Corrupt { what: format!("a list cannot be written as JSON: {error}") }
}

pub(super) fn word<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    word_of(row.try_get(column)?, column)
}

fn word_of<T: DeserializeOwned>(word: &str, what: &str) -> Result<T> {
    let word: StrDeserializer<'_, serde_json::Error> = word.into_deserializer();
    T::deserialize(word).map_err(|error| RepositoryError::Corrupt { what: format!("{what}: {error}") })
}

fn priority(number: i64) -> Result<Priority> {
    Priority::try_from(number)
        .map_err(|error| RepositoryError::Corrupt { what: format!("priority: {error}") })
}

fn count(row: &Row, column: &str) -> Result<u32> {
    count_of(row.try_get(column)?, column)
}

fn count_of(count: i64, what: &str) -> Result<u32> {
    u32::try_from(count).map_err(|error| RepositoryError::Corrupt { what: format!("{what}: {error}") })
}

/// A moment in a column, if there is one.
pub(super) fn time_in(row: &Row, column: &str) -> Result<Option<Timestamp>> {
    time_of(row.try_get(column)?, column)
}

fn time_of(time: Option<Time>, what: &str) -> Result<Option<Timestamp>> {
    time.map(moment)
        .transpose()
        .map_err(|problem| RepositoryError::Corrupt { what: format!("{what}: {problem}") })
}
