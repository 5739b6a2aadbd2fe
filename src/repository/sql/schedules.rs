//! Schedules: written against a revision, claimed by the database's clock.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::types::Json;

use super::{Conn, Key, Result, Row, is_taken, read, rows, task_id};
use crate::repository::{Overlap, RepositoryError, Schedule, ScheduleId, ScheduledTask, Timing};

/// The columns that are read.
macro_rules! columns {
    () => {
        concat!(
            "id, user_id, name, cron, time_zone, at, overlap, task, revision, paused, next_at, wake_at, ",
            "fired_at, task_id, runs, skipped, fault, created_at, updated_at"
        )
    };
}
/// A schedule as it is passed in.
macro_rules! given {
    () => {
        rows!("$1"; id uuid, user_id text, name text, cron text, time_zone text, at time, overlap text, task json,
            revision bigint, paused boolean, next_at time, wake_at time, fired_at time, task_id uuid, runs bigint,
            skipped bigint, fault text, created_at time, updated_at time)
    };
}

/// Writes a schedule if nobody wrote since `base` was read; 0 is a new one. That its user has no other of
/// this name is for the database to say: two may be made at once.
pub(super) async fn put(conn: &mut Conn, schedule: &Schedule, base: i64) -> Result<()> {
    const ADD: &str = concat!(
        "INSERT INTO schedule (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM ",
        given!(),
        " WHERE true ON CONFLICT (id) DO NOTHING"
    );
    const CHANGE: &str = concat!(
        "UPDATE schedule SET name = r.name, cron = r.cron, time_zone = r.time_zone, at = r.at, ",
        "overlap = r.overlap, task = r.task, revision = r.revision, paused = r.paused, next_at = r.next_at, ",
        "wake_at = r.wake_at, fired_at = r.fired_at, task_id = r.task_id, runs = r.runs, skipped = r.skipped, ",
        "fault = r.fault, updated_at = r.updated_at FROM ",
        given!(),
        " WHERE schedule.id = r.id AND schedule.revision = $2"
    );
    let row = rows::text(&[row(schedule)]).map_err(rows::unwritable)?;
    let written = match base {
        0 => sqlx::query(ADD).bind(row.as_str()).execute(conn).await,
        base => sqlx::query(CHANGE).bind(row.as_str()).bind(base).execute(conn).await,
    };
    let written = match written {
        Err(error) if is_taken(&error) => return Err(RepositoryError::NameTaken),
        written => written?,
    };
    if written.rows_affected() == 1 { Ok(()) } else { Err(RepositoryError::Stale) }
}

fn row(schedule: &Schedule) -> Value {
    let (cron, time_zone, at) = match &schedule.timing {
        Timing::Cron { cron, time_zone } => (Some(cron), Some(time_zone), None),
        Timing::At { at } => (None, None, Some(at)),
    };
    json!({
        "id": schedule.id, "user_id": schedule.user_id, "name": schedule.name, "cron": cron,
        "time_zone": time_zone, "at": at, "overlap": schedule.overlap.as_str(), "task": schedule.task,
        "revision": schedule.revision, "paused": schedule.paused, "next_at": schedule.next_at,
        "wake_at": schedule.wake_at, "fired_at": schedule.fired_at, "task_id": schedule.task_id,
        "runs": schedule.runs, "skipped": schedule.skipped, "fault": schedule.fault,
        "created_at": schedule.created_at, "updated_at": schedule.updated_at,
    })
}

/// Takes the schedule that has been due the longest.
pub(super) async fn claim(conn: &mut Conn, lease: Duration) -> Result<Option<Schedule>> {
    const CLAIM: &str = concat!(
        "WITH due AS MATERIALIZED (SELECT id FROM schedule WHERE wake_at <= ",
        now!(),
        " ORDER BY wake_at LIMIT 1",
        skip_locked!(),
        ") UPDATE schedule SET wake_at = ",
        now_plus!("$1"),
        " WHERE id IN (SELECT id FROM due) RETURNING ",
        columns!()
    );
    let row = sqlx::query(CLAIM).bind(millis(lease)).fetch_optional(conn).await?;
    row.as_ref().map(schedule).transpose()
}

/// Extends the lease on a schedule that nobody wrote to since it was claimed.
pub(super) async fn keep(conn: &mut Conn, id: ScheduleId, revision: i64, lease: Duration) -> Result<bool> {
    const KEEP: &str = concat!(
        "UPDATE schedule SET wake_at = ",
        now_plus!("$1"),
        " WHERE id = $2 AND revision = $3 AND wake_at IS NOT NULL"
    );
    let kept = sqlx::query(KEEP).bind(millis(lease)).bind(id.0).bind(revision).execute(conn).await?;
    Ok(kept.rows_affected() == 1)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// One schedule.
pub(super) async fn one(conn: &mut Conn, id: ScheduleId) -> Result<Option<Schedule>> {
    const ONE: &str = concat!("SELECT ", columns!(), " FROM schedule WHERE id = $1");
    let row = sqlx::query(ONE).bind(id.0).fetch_optional(conn).await?;
    row.as_ref().map(schedule).transpose()
}

/// Schedules, newest first; of all users if none is named.
pub(super) async fn list(
    conn: &mut Conn,
    user_id: Option<&str>,
    before: Option<ScheduleId>,
    limit: u32,
) -> Result<Vec<Schedule>> {
    const OF_ONE: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM schedule WHERE user_id = $3 AND id < $1 ORDER BY id DESC LIMIT $2"
    );
    const OF_ALL: &str =
        concat!("SELECT ", columns!(), " FROM schedule WHERE id < $1 ORDER BY id DESC LIMIT $2");
    let before = before.map_or(Key::max(), |id| id.0);
    let query = match user_id {
        Some(user) => sqlx::query(OF_ONE).bind(before).bind(i64::from(limit)).bind(user),
        None => sqlx::query(OF_ALL).bind(before).bind(i64::from(limit)),
    };
    query.fetch_all(conn).await?.iter().map(schedule).collect()
}

/// Forgets a schedule; whether there was one.
pub(super) async fn delete(conn: &mut Conn, id: ScheduleId) -> Result<bool> {
    let gone = sqlx::query("DELETE FROM schedule WHERE id = $1").bind(id.0).execute(conn).await?;
    Ok(gone.rows_affected() == 1)
}

fn schedule(row: &Row) -> Result<Schedule> {
    let count = |column: &str| Ok::<_, RepositoryError>(row.try_get::<i64, _>(column)?.unsigned_abs());
    let overlap: String = row.try_get("overlap")?;
    Ok(Schedule {
        id: ScheduleId(row.try_get::<Key, _>("id")?),
        user_id: row.try_get("user_id")?,
        name: row.try_get("name")?,
        timing: timing(row)?,
        overlap: overlap.parse::<Overlap>().map_err(corrupt)?,
        task: row.try_get::<Json<ScheduledTask>, _>("task")?.0,
        revision: row.try_get("revision")?,
        paused: row.try_get("paused")?,
        next_at: read::time_in(row, "next_at")?,
        wake_at: read::time_in(row, "wake_at")?,
        fired_at: read::time_in(row, "fired_at")?,
        task_id: row.try_get::<Option<Key>, _>("task_id")?.map(task_id),
        runs: count("runs")?,
        skipped: count("skipped")?,
        fault: row.try_get("fault")?,
        created_at: read::time_in(row, "created_at")?.unwrap_or_default(),
        updated_at: read::time_in(row, "updated_at")?.unwrap_or_default(),
    })
}

fn timing(row: &Row) -> Result<Timing> {
    let (cron, time_zone): (Option<String>, Option<String>) =
        (row.try_get("cron")?, row.try_get("time_zone")?);
    match (cron.zip(time_zone), read::time_in(row, "at")?) {
        (Some((cron, time_zone)), _) => Ok(Timing::Cron { cron, time_zone }),
        (None, Some(at)) => Ok(Timing::At { at }),
        (None, None) => Err(corrupt("neither cron nor at")),
    }
}

fn corrupt(what: &str) -> RepositoryError {
    RepositoryError::Corrupt { what: format!("a schedule: {what}") }
}
