//! Leases: who may work on which task, and until when.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row as _;

use super::{Conn, Result, key, read};
use crate::repository::records::Leased;
use crate::repository::{Claim, Claimed, Due, Place, Renewal, RepositoryError};
use crate::task::{Task, TaskId};

/// Until when a task that is claimed became due.
macro_rules! until {
    () => {
        now_plus!("-$4")
    };
}

/// The first due tasks of one priority, read from its own range of the index: what waits behind
/// them is not looked at, however much it is.
macro_rules! level {
    ($level:literal, $limit:literal, $until:expr, $lock:expr) => {
        concat!(
            "SELECT id, user_id, place FROM (SELECT id, user_id, ",
            place!(),
            " AS place FROM task_execution WHERE priority = ",
            $level,
            " AND wake_at <= ",
            $until,
            " ORDER BY wake_at LIMIT ",
            $limit,
            $lock,
            ") AS level_",
            $level
        )
    };
}

/// The first due tasks of every priority. Whoever is first in the line is among them.
macro_rules! line {
    ($limit:literal, $until:expr, $lock:expr) => {
        concat!(
            level!(1, $limit, $until, $lock),
            " UNION ALL ",
            level!(2, $limit, $until, $lock),
            " UNION ALL ",
            level!(3, $limit, $until, $lock),
            " UNION ALL ",
            level!(4, $limit, $until, $lock),
            " UNION ALL ",
            level!(5, $limit, $until, $lock)
        )
    };
}

/// One task, if it is due.
macro_rules! one {
    () => {
        concat!(
            "SELECT id, user_id, ",
            place!(),
            " AS place FROM task_execution WHERE id = $5 AND wake_at <= ",
            until!(),
            skip_locked!()
        )
    };
}

/// How many tasks of each user are leased.
macro_rules! held {
    () => {
        concat!(
            "held AS MATERIALIZED (SELECT user_id, count(*) AS tasks FROM task_execution ",
            "WHERE lease_owner IS NOT NULL AND wake_at > ",
            now!(),
            " GROUP BY user_id), "
        )
    };
}

/// Those of the tasks with which nobody has more leased than is allowed.
macro_rules! within {
    ($tasks:literal, $cap:literal) => {
        concat!(
            "(SELECT id, place, row_number() OVER (PARTITION BY user_id ORDER BY place, id) + ",
            "COALESCE((SELECT tasks FROM held WHERE held.user_id = ",
            $tasks,
            ".user_id), 0) AS nth FROM ",
            $tasks,
            ") AS d WHERE nth <= ",
            $cap
        )
    };
}

/// The front of the line of one priority, whosever the tasks are.
macro_rules! front {
    ($level:literal) => {
        concat!(
            "SELECT level, id, user_id, place FROM (SELECT priority AS level, id, user_id, ",
            place!(),
            " AS place FROM task_execution WHERE priority = ",
            $level,
            " AND wake_at <= ",
            until!(),
            " ORDER BY wake_at LIMIT $3 + 100) AS level_",
            $level
        )
    };
}

/// The next user of one priority in the order of the index, from there on or from the beginning.
macro_rules! next_user {
    ($behind:literal) => {
        concat!(
            "(SELECT t.user_id FROM task_execution AS t WHERE t.priority = users.level AND t.wake_at IS NOT NULL",
            $behind,
            " ORDER BY t.user_id LIMIT 1)"
        )
    };
}

/// A user who has enough may have any number of tasks at the front of the line, and a claim must not
/// read through them under a lock that all claims take. So it reads the front only. A level whose front
/// is crowded with such tasks is looked at user by user: the first tasks of each are a range of an
/// index, which is skipped for those who have enough. It looks at 64 users, beginning behind the one who
/// had the last turn, so that it costs the same however many there are and nobody is passed over for ever;
/// of these, whoever came first is first.
macro_rules! candidates {
    () => {
        concat!(
            "served AS MATERIALIZED (SELECT user_id FROM held WHERE tasks >= $5), front AS MATERIALIZED (",
            front!(1),
            " UNION ALL ",
            front!(2),
            " UNION ALL ",
            front!(3),
            " UNION ALL ",
            front!(4),
            " UNION ALL ",
            front!(5),
            "), crowded AS MATERIALIZED (SELECT level FROM front GROUP BY level HAVING count(*) >= $3 + 100 AND ",
            "sum(CASE WHEN user_id IN (SELECT user_id FROM served) THEN 0 ELSE 1 END) < $3), ",
            // A row without a user is the end of the index: it goes on from the beginning, once.
            "users (level, user_id, wrapped, looked) AS (SELECT level, CAST($6 AS text), 0, 0 FROM crowded UNION ALL ",
            "SELECT users.level, CASE WHEN users.user_id IS NULL THEN ",
            next_user!(""),
            " ELSE ",
            next_user!(" AND t.user_id > users.user_id"),
            " END, CASE WHEN users.user_id IS NULL THEN 1 ELSE users.wrapped END, users.looked + 1 FROM users ",
            "WHERE users.looked < 64 AND ((users.wrapped = 0 AND (users.user_id IS NOT NULL OR users.looked > 0)) ",
            "OR users.user_id <= $6)), ",
            "candidates AS MATERIALIZED (SELECT id, user_id, place FROM front ",
            "WHERE user_id NOT IN (SELECT user_id FROM served) UNION SELECT t.id, t.user_id, ",
            place!(),
            " FROM users CROSS JOIN task_execution AS t WHERE users.looked > 0 ",
            "AND (users.wrapped = 0 OR users.user_id <= $6) ",
            "AND users.user_id NOT IN (SELECT user_id FROM served) AND t.id",
            one_of!(concat!(
                "SELECT h.id FROM task_execution AS h WHERE h.priority = users.level ",
                "AND h.user_id = users.user_id AND h.wake_at <= ",
                until!(),
                " ORDER BY h.wake_at LIMIT CASE WHEN $3 < $5 THEN $3 ELSE $5 END"
            )),
            "), "
        )
    };
}

/// The first of the candidates, and some more: those that another one writes to are passed over.
macro_rules! first_candidates {
    () => {
        concat!(
            "SELECT id, ",
            place!(),
            " AS place FROM task_execution WHERE id IN (SELECT id FROM ",
            within!("candidates", "$5"),
            " ORDER BY place, id LIMIT $3 + 10) AND wake_at <= ",
            until!(),
            skip_locked!()
        )
    };
}

/// A wake-up that has passed is either due work or the lease of a worker that is gone. The
/// epoch grows with every claim, so whatever the one before still writes is refused; a lease
/// that was not given back counts as a crash.
macro_rules! lease {
    ($before:expr, $due:expr, $among:expr) => {
        concat!(
            "WITH ",
            $before,
            "due AS MATERIALIZED (",
            $due,
            "), chosen AS MATERIALIZED (SELECT id FROM ",
            $among,
            " ORDER BY place, id LIMIT $3) ",
            "UPDATE task_execution SET epoch = epoch + 1, ",
            "crashes = crashes + CASE WHEN lease_owner IS NULL THEN 0 ELSE 1 END, ",
            "lease_owner = $1, wake_at = ",
            now_plus!("$2"),
            " WHERE id IN (SELECT id FROM chosen) RETURNING id, crashes, epoch, user_id"
        )
    };
}

pub(in crate::repository) const CLAIM_DUE: &str = lease!("", line!("$3", until!(), skip_locked!()), "due");
const CLAIM_ONE: &str = lease!("", one!(), "due");
pub(in crate::repository) const CLAIM_DUE_WITHIN: &str =
    lease!(concat!("RECURSIVE ", held!(), candidates!()), first_candidates!(), "due");
const CLAIM_ONE_WITHIN: &str = lease!(held!(), one!(), within!("due", "$6"));

/// The statement that leases: takes the worker, the lease in milliseconds, the limit, for how many
/// milliseconds tasks have been due, then the one task if it is for one, then how many a user may have if
/// that is limited, and who had the last turn if it is for whatever is due then. Gives the ids of the
/// tasks, how often each lost its worker, its epoch and its user.
pub(in crate::repository) fn text(claim: &Claim<'_>) -> &'static str {
    match (claim.only, claim.per_user) {
        (None, 0) => CLAIM_DUE,
        (Some(_), 0) => CLAIM_ONE,
        (None, _) => CLAIM_DUE_WITHIN,
        (Some(_), _) => CLAIM_ONE_WITHIN,
    }
}

/// Whether a task of one priority is due.
macro_rules! is_due {
    ($level:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM task_execution WHERE priority = ",
            $level,
            " AND wake_at <= ",
            now!(),
            ")"
        )
    };
}

/// Whether a task is due, and when the next schedule is.
pub(super) async fn due(conn: &mut Conn) -> Result<Due> {
    const DUE: &str = concat!(
        "SELECT ",
        is_due!(1),
        " OR ",
        is_due!(2),
        " OR ",
        is_due!(3),
        " OR ",
        is_due!(4),
        " OR ",
        is_due!(5),
        ", (SELECT ",
        ahead!("wake_at"),
        " FROM schedule WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1)"
    );
    let row = sqlx::query(DUE).fetch_one(conn).await?;
    let wait = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    Ok(Due { task: row.try_get(0)?, schedule: row.try_get::<Option<i64>, _>(1)?.map(wait) })
}

/// The ids of what was leased.
pub(super) fn ids(leased: &[Leased]) -> Vec<TaskId> {
    leased.iter().map(|leased| leased.id).collect()
}

/// Loads what was leased; call within a snapshot.
pub(in crate::repository) async fn load(conn: &mut Conn, leased: &[Leased]) -> Result<Vec<Claimed>> {
    let ids = ids(leased);
    let tasks = match read::tasks(conn, &ids).await {
        Err(RepositoryError::Corrupt { .. }) => readable(conn, &ids).await?,
        read => read?,
    };
    Ok(still_leased(tasks, leased))
}

/// A process that was frozen since has lost its lease. The task is in the epoch of another one by
/// now: whoever worked on it as it is would write with the other one's right.
pub(super) fn still_leased(tasks: Vec<Task>, leased: &[Leased]) -> Vec<Claimed> {
    let leases: HashMap<TaskId, &Leased> = leased.iter().map(|leased| (leased.id, leased)).collect();
    let claimed = tasks.into_iter().filter_map(|task| {
        let lease = leases.get(&task.id)?;
        if lease.epoch != task.state().epoch {
            tracing::warn!(task = %task.id, "the lease was lost before the task was read");
            return None;
        }
        Some(Claimed { crashes: u32::try_from(lease.crashes).unwrap_or(u32::MAX), task })
    });
    claimed.collect()
}

/// The first places of the line.
pub(super) async fn waiting(conn: &mut Conn, limit: u32) -> Result<Vec<Place>> {
    const LINE: &str = concat!(
        "SELECT ",
        ahead!("place"),
        " FROM (",
        line!("$1", now!(), ""),
        ") AS due ORDER BY place LIMIT $1"
    );
    let rows = sqlx::query(LINE).bind(i64::from(limit)).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(Place(row.try_get(0)?))).collect()
}

/// Those of the tasks that can be read. One that cannot stays leased and comes back when the
/// lease ends: it must not keep the others from being worked on.
async fn readable(conn: &mut Conn, ids: &[TaskId]) -> Result<Vec<Task>> {
    let mut tasks = Vec::with_capacity(ids.len());
    for id in ids {
        match read::task(conn, *id).await {
            Ok(task) => tasks.extend(task),
            Err(error @ RepositoryError::Corrupt { .. }) => {
                tracing::error!(task = %id, %error, "the task is passed over");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tasks)
}

/// Extends leases, and tells what the newest entries are. One by one: a statement over many
/// tasks would lock them in another order than a group of commits, and one would have to die.
pub(super) async fn renew(
    conn: &mut Conn,
    worker: &str,
    leases: &[(TaskId, i64)],
    lease: Duration,
) -> Result<Vec<Renewal>> {
    const RENEW: &str = concat!(
        "UPDATE task_execution SET wake_at = CASE WHEN wake_at IS NULL THEN NULL ELSE ",
        now_plus!("$2"),
        " END WHERE id = $3 AND epoch = $4 AND lease_owner = $1 RETURNING seq"
    );
    let mut renewed = Vec::with_capacity(leases.len());
    for (id, epoch) in leases {
        let row = sqlx::query(RENEW)
            .bind(worker)
            .bind(millis(lease))
            .bind(key(*id))
            .bind(epoch)
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = row {
            renewed.push(Renewal { id: *id, seq: row.try_get(0)? });
        }
    }
    Ok(renewed)
}

/// Ends leases as if they had not been granted, but for the epoch.
pub(super) async fn hand_back(conn: &mut Conn, leased: &[Leased]) -> Result<()> {
    const HAND_BACK: &str = concat!(
        "UPDATE task_execution SET lease_owner = NULL, wake_at = CASE WHEN wake_at IS NULL THEN NULL ELSE ",
        now!(),
        " END WHERE id = $1 AND epoch = $2"
    );
    for lease in leased {
        sqlx::query(HAND_BACK).bind(key(lease.id)).bind(lease.epoch).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Makes every leased task due at once.
pub(super) async fn expire_leases(conn: &mut Conn) -> Result<u64> {
    // A paused task has no wake-up to end: it is only nobody's any more.
    const EXPIRE: &str = concat!(
        "UPDATE task_execution SET wake_at = CASE WHEN wake_at IS NULL THEN NULL ELSE ",
        now!(),
        " END, lease_owner = CASE WHEN wake_at IS NULL THEN NULL ELSE lease_owner END ",
        "WHERE lease_owner IS NOT NULL"
    );
    Ok(sqlx::query(EXPIRE).execute(conn).await?.rows_affected())
}

pub(in crate::repository) fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}
