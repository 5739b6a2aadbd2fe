//! Counts what was added to journals: reads it, and writes the sums beside how far they go.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;

use super::rows::{text, unwritable};
use super::{Conn, Key, KeyList, Result, Row, begin_write, key_list, read, task_id};
use crate::repository::RepositoryError;
use crate::repository::analytics::{Counted, Intent, Reach, StepFacts, Tally};
use crate::task::{Entry, Event, TaskId};

/// Tasks and entries that are counted at once: some ten milliseconds of work, which a writer can
/// wait for.
const TASKS: i64 = 500;
const ENTRIES: i64 = 2000;

/// How long sums by the minute are kept, in milliseconds.
const MINUTES_KEPT: i64 = 2 * 24 * 60 * 60 * 1000;

/// A task with entries that are not counted: how far it is counted, and how far it goes.
#[derive(Debug, Serialize)]
pub(super) struct Behind {
    task_id: TaskId,
    #[serde(skip)]
    task: Counted,
    done: i64,
    seq: i64,
}

/// What one pass has read and counted.
#[derive(Debug, Default)]
pub(super) struct Pass {
    tasks: Vec<Behind>,
    tally: Tally,
    pub(super) entries: u64,
}

macro_rules! behind {
    ($which:expr) => {
        concat!(
            "SELECT t.id, t.user_id, t.created_at, t.seq, COALESCE(c.seq, 0) AS done, ",
            "COALESCE(t.spec, f.data->'spec')->'template'->>'name' AS template, ",
            "t.imported FROM task_execution AS t ",
            "LEFT JOIN counted AS c ON c.task_id = t.id ",
            "LEFT JOIN task_execution_trace AS f ON f.task_id = t.id AND f.seq = 1 WHERE ",
            $which,
            " AND t.seq > COALESCE(c.seq, 0) LIMIT $1"
        )
    };
}

/// Those that live, those that wait for somebody, and those that ended a moment ago: each kind has an
/// index of its own.
const RECENT: [&str; 3] = [
    behind!("t.wake_at IS NOT NULL"),
    behind!("t.status = 'paused'"),
    behind!(concat!("t.completed_at IS NOT NULL AND t.completed_at > ", now_plus!("-600000"))),
];
const ALL: [&str; 1] = [behind!("t.seq > 0")];
const OF: [&str; 1] = [behind!(concat!("t.id", among!("$2")))];

/// Reads what was added and counts it; call within a snapshot.
pub(super) async fn read(conn: &mut Conn, reach: &Reach) -> Result<Pass> {
    let (texts, named): (&[&'static str], Option<KeyList>) = match reach {
        Reach::Of(tasks) => (&OF, Some(key_list(tasks)?)),
        Reach::Recent => (&RECENT, None),
        Reach::All => (&ALL, None),
    };
    let mut tasks = Vec::new();
    for text in texts {
        let query = sqlx::query(*text).bind(TASKS);
        let query = match &named {
            Some(tasks) => query.bind(tasks.clone()),
            None => query,
        };
        let rows = query.fetch_all(&mut *conn).await?;
        for row in &rows {
            tasks.push(behind(row)?);
        }
    }
    if tasks.is_empty() {
        return Ok(Pass::default());
    }
    let mut tasks = within(tasks);
    let mut entries = entries(conn, &tasks).await?;
    let read = entries.values().map(|entries| entries.len() as u64).sum();
    let steps = steps(conn, &entries).await?;
    let mut intents = intents(conn, &entries).await?;
    let mut tally = Tally::default();
    tasks.retain_mut(|behind| {
        let Some(new) = entries.remove(&behind.task_id) else { return false };
        behind.seq = new.last().map_or(behind.done, |(seq, ..)| *seq);
        let new: Vec<(Entry, Value)> =
            new.into_iter().filter_map(|(_, entry, data)| Some((entry?, data))).collect();
        let none = HashMap::new();
        let steps = steps.get(&behind.task_id).unwrap_or(&none);
        tally.count(&behind.task, &new, intents.remove(&behind.task_id).unwrap_or_default(), steps);
        true
    });
    Ok(Pass { tasks, tally, entries: read })
}

/// The first tasks, and so much of their journals as is counted at once: what is asked for is all that
/// is read.
fn within(tasks: Vec<Behind>) -> Vec<Behind> {
    let mut room = ENTRIES;
    let taken = tasks.into_iter().map_while(|behind| {
        let seq = behind.seq.min(behind.done + room);
        room -= seq - behind.done;
        (seq > behind.done).then_some(Behind { seq, ..behind })
    });
    taken.collect()
}

fn behind(row: &Row) -> Result<Behind> {
    let id = task_id(row.try_get::<Key, _>("id")?);
    let created_at = read::time_in(row, "created_at")?.unwrap_or_default();
    let task = Counted {
        id,
        user_id: row.try_get("user_id")?,
        created_at,
        template: row.try_get("template")?,
        imported: row.try_get("imported")?,
    };
    Ok(Behind { task_id: id, task, done: row.try_get("done")?, seq: row.try_get("seq")? })
}

/// New entries of each task with their numbers and data. One that cannot be read is passed over:
/// it must not keep the others from being counted.
type Entries = HashMap<TaskId, Vec<(i64, Option<Entry>, Value)>>;

async fn entries(conn: &mut Conn, tasks: &[Behind]) -> Result<Entries> {
    const NEW: &str = concat!(
        "SELECT e.task_id, e.seq, e.epoch, e.at, e.kind, e.data FROM ",
        rows!("$1"; task_id uuid, done bigint, seq bigint),
        " JOIN task_execution_trace AS e ON e.task_id = r.task_id AND e.seq > r.done AND e.seq <= r.seq ",
        "ORDER BY e.task_id, e.seq"
    );
    let list = text(tasks).map_err(unwritable)?;
    let rows = sqlx::query(NEW).bind(list).fetch_all(conn).await?;
    let mut entries: Entries = HashMap::new();
    for row in &rows {
        let entry = match read::entry(row) {
            Ok(entry) => Some(entry),
            Err(error @ RepositoryError::Corrupt { .. }) => {
                tracing::warn!(%error, "an entry is not counted");
                None
            }
            Err(error) => return Err(error),
        };
        let Json(data): Json<Value> = row.try_get("data")?;
        let of_task = entries.entry(task_id(row.try_get::<Key, _>("task_id")?)).or_default();
        of_task.push((row.try_get("seq")?, entry, data));
    }
    Ok(entries)
}

/// The steps whose ends are among the entries.
async fn steps(conn: &mut Conn, entries: &Entries) -> Result<HashMap<TaskId, HashMap<u32, StepFacts>>> {
    const STEPS: &str = concat!(
        "SELECT s.task_id, s.step_index, s.type, s.started_at FROM ",
        rows!("$1"; task_id uuid, step_index bigint),
        " JOIN task_execution_step AS s ON s.task_id = r.task_id AND s.step_index = r.step_index"
    );
    #[derive(Serialize)]
    struct Ended {
        task_id: TaskId,
        step_index: u32,
    }
    let ended = each(entries, |event| match event {
        Event::StepCompleted { step, .. } | Event::StepFailed { step, .. } => Some(*step),
        _ => None,
    });
    let ended: Vec<Ended> = ended.map(|(task_id, _, step_index)| Ended { task_id, step_index }).collect();
    let rows = sqlx::query(STEPS).bind(text(&ended).map_err(unwritable)?).fetch_all(conn).await?;
    let mut steps: HashMap<TaskId, HashMap<u32, StepFacts>> = HashMap::new();
    for row in &rows {
        let index: i64 = row.try_get("step_index")?;
        let facts =
            StepFacts { kind: read::word(row, "type")?, started_at: read::time_in(row, "started_at")? };
        let of_task = steps.entry(task_id(row.try_get::<Key, _>("task_id")?)).or_default();
        of_task.insert(u32::try_from(index).unwrap_or(u32::MAX), facts);
    }
    Ok(steps)
}

/// The intents of calls whose outcomes are among the entries and which began before.
async fn intents(conn: &mut Conn, entries: &Entries) -> Result<HashMap<TaskId, HashMap<(u32, u32), Intent>>> {
    // Read backwards from the outcome: the intent is a few entries before it.
    const INTENTS: &str = concat!(
        "SELECT d.task_id, d.seq, d.epoch, d.at, d.kind, d.data FROM ",
        rows!("$1"; task_id uuid, seq bigint, step bigint, call bigint),
        " JOIN task_execution_trace AS d ON d.task_id = r.task_id AND d.seq = (SELECT x.seq ",
        "FROM task_execution_trace AS x WHERE x.task_id = r.task_id AND x.seq < r.seq ",
        "AND x.step_index = r.step AND x.kind IN ('model_requested', 'tool_dispatched') ",
        "AND CAST(x.data->>'call' AS bigint) = r.call ORDER BY x.seq DESC LIMIT 1)"
    );
    #[derive(Serialize)]
    struct Outcome {
        task_id: TaskId,
        seq: i64,
        step: u32,
        call: u32,
    }
    let mut outcomes = Vec::new();
    for (task_id, seq, (step, call)) in each(entries, call_that_ends) {
        let began = entries[&task_id].iter().take_while(|(other, ..)| *other < seq).any(|(_, entry, _)| {
            entry.as_ref().and_then(Intent::of).is_some_and(|(named, _)| named == (step, call))
        });
        if !began {
            outcomes.push(Outcome { task_id, seq, step, call });
        }
    }
    let mut intents: HashMap<TaskId, HashMap<(u32, u32), Intent>> = HashMap::new();
    if outcomes.is_empty() {
        return Ok(intents);
    }
    let rows = sqlx::query(INTENTS).bind(text(&outcomes).map_err(unwritable)?).fetch_all(conn).await?;
    for row in &rows {
        let id = task_id(row.try_get::<Key, _>("task_id")?);
        intents.entry(id).or_default().extend(Intent::of(&read::entry(row)?));
    }
    Ok(intents)
}

/// What `of` sees in the entries, with the tasks and the numbers of the entries.
fn each<T>(entries: &Entries, of: fn(&Event) -> Option<T>) -> impl Iterator<Item = (TaskId, i64, T)> {
    let all = entries.iter().flat_map(|(id, entries)| entries.iter().map(move |entry| (*id, entry)));
    all.filter_map(move |(id, (seq, entry, _))| Some((id, *seq, of(&entry.as_ref()?.event)?)))
}

fn call_that_ends(event: &Event) -> Option<(u32, u32)> {
    match event {
        Event::ModelAnswered { step, call, .. }
        | Event::ToolReturned { step, call, .. }
        | Event::CallFailed { step, call, .. }
        | Event::CallLost { step, call, .. } => Some((*step, *call)),
        _ => None,
    }
}

const ADD_FIGURES: &str = concat!(
    "INSERT INTO figure (width, user_id, at, measure, name, slot, events, millis, input_tokens, ",
    "output_tokens, cached_tokens, cost_nanos, unpriced) SELECT width, user_id, at, measure, name, slot, ",
    "events, millis, input_tokens, output_tokens, cached_tokens, cost_nanos, unpriced FROM ",
    rows!("$1"; width bigint, user_id text, at bigint, measure text, name text, slot bigint, events bigint,
        millis bigint, input_tokens bigint, output_tokens bigint, cached_tokens bigint,
        cost_nanos bigint, unpriced bigint),
    " WHERE true ON CONFLICT (width, user_id, at, measure, name, slot) DO UPDATE SET ",
    "events = figure.events + excluded.events, millis = figure.millis + excluded.millis, ",
    "input_tokens = figure.input_tokens + excluded.input_tokens, ",
    "output_tokens = figure.output_tokens + excluded.output_tokens, ",
    "cached_tokens = figure.cached_tokens + excluded.cached_tokens, ",
    "cost_nanos = figure.cost_nanos + excluded.cost_nanos, unpriced = figure.unpriced + excluded.unpriced"
);

const ADD_FAILURES: &str = concat!(
    "INSERT INTO failure (user_id, at, place, code, message, events, last_at, task_id) ",
    "SELECT user_id, at, place, code, message, events, last_at, task_id FROM ",
    rows!("$1"; user_id text, at bigint, place text, code text, message text, events bigint,
        last_at bigint, task_id uuid),
    " WHERE true ON CONFLICT (user_id, at, place, code, message) DO UPDATE SET ",
    "events = failure.events + excluded.events, task_id = CASE WHEN excluded.last_at >= failure.last_at ",
    "THEN excluded.task_id ELSE failure.task_id END, last_at = CASE WHEN excluded.last_at >= failure.last_at ",
    "THEN excluded.last_at ELSE failure.last_at END"
);

/// Writes what a pass has counted, unless somebody else has counted any of it meanwhile. Returns
/// how many entries that were.
pub(super) async fn write(conn: &mut Conn, pass: &Pass) -> Result<u64> {
    // How far was counted is stated with how far it was before: of two passes that read the same
    // entries, the second one changes fewer rows than it has and is taken back.
    const MOVE_ON: &str = concat!(
        "INSERT INTO counted (task_id, seq) SELECT r.task_id, r.seq FROM ",
        rows!("$1"; task_id uuid, done bigint, seq bigint),
        " JOIN task_execution AS t ON t.id = r.task_id WHERE r.done = ",
        "COALESCE((SELECT c.seq FROM counted AS c WHERE c.task_id = r.task_id), 0) ",
        "ON CONFLICT (task_id) DO UPDATE SET seq = excluded.seq"
    );
    // A transaction waits for nothing but the database.
    let tasks = text(&pass.tasks).map_err(unwritable)?;
    let figures = text(&pass.tally.rows()).map_err(unwritable)?;
    let failures = pass.tally.failure_rows();
    let failures = (!failures.is_empty()).then(|| text(&failures)).transpose().map_err(unwritable)?;
    let mut transaction = begin_write(conn).await?;
    sqlx::query("UPDATE counting SET passes = passes + 1").execute(&mut *transaction).await?;
    let moved = sqlx::query(MOVE_ON).bind(tasks).execute(&mut *transaction).await?.rows_affected();
    if moved != pass.tasks.len() as u64 {
        transaction.rollback().await?;
        return Ok(0);
    }
    sqlx::query(ADD_FIGURES).bind(figures).execute(&mut *transaction).await?;
    if let Some(failures) = failures {
        sqlx::query(ADD_FAILURES).bind(failures).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(pass.entries)
}

/// Removes the sums by the minute that are older than anybody looks at by the minute.
pub(super) async fn forget(conn: &mut Conn) -> Result<()> {
    let before = chrono::Utc::now().timestamp_millis() - MINUTES_KEPT;
    // By user, for that is how the rows are ordered.
    const OLD: &str = "DELETE FROM figure WHERE width = 60000 AND at < $1 \
         AND user_id IN (SELECT DISTINCT user_id FROM figure WHERE width = 0)";
    sqlx::query(OLD).bind(before).execute(conn).await?;
    Ok(())
}
