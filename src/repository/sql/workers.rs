//! Who works, and on what.

use std::collections::HashMap;

use sqlx::Row as _;

use super::{Conn, Key, Result, Row, read, task_id};
use crate::repository::{Beat, Presence, RepositoryError, WorkerInfo, WorkerSummary};
use crate::task::TaskId;

/// Writes a sign of life down.
pub(super) async fn beat(conn: &mut Conn, worker: &WorkerInfo, beat: Beat) -> Result<()> {
    const BEAT: &str = concat!(
        "INSERT INTO worker (name, host, pid, version, concurrency, lease_ms, draining, started_at, seen_at) ",
        "VALUES ($1, $2, $3, $4, $5, $6, $7, ",
        now!(),
        ", ",
        now!(),
        ") ON CONFLICT (name) DO UPDATE SET host = excluded.host, pid = excluded.pid, ",
        "version = excluded.version, concurrency = excluded.concurrency, lease_ms = excluded.lease_ms, ",
        "draining = excluded.draining, seen_at = excluded.seen_at, ",
        "started_at = CASE WHEN $8 THEN excluded.started_at ELSE worker.started_at END"
    );
    if beat == Beat::End {
        sqlx::query("DELETE FROM worker WHERE name = $1").bind(&worker.name).execute(conn).await?;
        return Ok(());
    }
    sqlx::query(BEAT)
        .bind(&worker.name)
        .bind(&worker.host)
        .bind(i64::from(worker.pid))
        .bind(&worker.version)
        .bind(i64::from(worker.concurrency))
        .bind(i64::try_from(worker.lease_ms).unwrap_or(i64::MAX))
        .bind(beat == Beat::Drain)
        .bind(beat == Beat::Begin)
        .execute(conn)
        .await?;
    Ok(())
}

/// All workers of the last day with the tasks they hold.
pub(super) async fn workers(conn: &mut Conn) -> Result<Vec<WorkerSummary>> {
    // A worker that is late by more than its leases last has lost what it held; the few seconds
    // on top are those within which its tasks are taken over.
    const WORKERS: &str = concat!(
        "SELECT name, host, pid, version, concurrency, lease_ms, draining, started_at, seen_at, ",
        "seen_at < ",
        now_plus!("(0 - lease_ms - 5000)"),
        " AS gone FROM worker WHERE seen_at >= ",
        now_plus!("-86400000"),
        " ORDER BY started_at, name"
    );
    let mut held = held(conn).await?;
    let rows = sqlx::query(WORKERS).fetch_all(conn).await?;
    rows.iter().map(|row| summary(row, &mut held)).collect()
}

async fn held(conn: &mut Conn) -> Result<HashMap<String, Vec<TaskId>>> {
    const HELD: &str = concat!(
        "SELECT lease_owner, id FROM task_execution WHERE lease_owner IS NOT NULL AND wake_at > ",
        now!(),
        " ORDER BY id"
    );
    let rows = sqlx::query(HELD).fetch_all(conn).await?;
    let mut held: HashMap<String, Vec<TaskId>> = HashMap::new();
    for row in &rows {
        held.entry(row.try_get(0)?).or_default().push(task_id(row.try_get::<Key, _>(1)?));
    }
    Ok(held)
}

fn summary(row: &Row, held: &mut HashMap<String, Vec<TaskId>>) -> Result<WorkerSummary> {
    let count = |column: &str| -> Result<u32> {
        let count: i64 = row.try_get(column)?;
        u32::try_from(count).map_err(|error| RepositoryError::Corrupt { what: format!("{column}: {error}") })
    };
    let name: String = row.try_get("name")?;
    let presence = match (row.try_get("gone")?, row.try_get("draining")?) {
        (true, _) => Presence::Gone,
        (false, true) => Presence::Draining,
        (false, false) => Presence::Working,
    };
    Ok(WorkerSummary {
        tasks: held.remove(&name).unwrap_or_default(),
        presence,
        started_at: read::time_in(row, "started_at")?.unwrap_or_default(),
        seen_at: read::time_in(row, "seen_at")?.unwrap_or_default(),
        info: WorkerInfo {
            name,
            host: row.try_get("host")?,
            pid: count("pid")?,
            version: row.try_get("version")?,
            concurrency: count("concurrency")?,
            lease_ms: row.try_get::<i64, _>("lease_ms")?.unsigned_abs(),
        },
    })
}
