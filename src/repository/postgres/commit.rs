//! A group of new tasks and commits as one statement, and so in one round trip.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row as _;

use super::columns;
use super::committer::{Work, WriteGroup};
use super::sql::rows::{NewTask, StepRow, TaskMove, TraceRow};
use super::texts::{KEEP_ANSWER, PUT_BLOB, REFER_TO_BLOB, TOUCH_BLOB};
use super::{BEGIN_WRITE, Conn, Key, Pools, key, task_id};
use crate::repository::commit::Creation;
use crate::repository::{Answer, Commit, RepositoryError};
use crate::task::TaskId;

type Result<T> = std::result::Result<T, RepositoryError>;

/// Values that come as rows of arrays.
macro_rules! listed {
    ($name:ident) => {
        concat!("r.", stringify!($name))
    };
}
/// Takes the parameters of the columns, one array each.
macro_rules! listed_rows {
    (
        [$first_array:literal $($array:literal)*];
        $first:ident $first_type:ident $(, $name:ident $type:ident)* $(,)?
    ) => {
        concat!(
            " FROM unnest(", array!($first_array $first_type), $(", ", array!($array $type),)*
            ") AS r(", stringify!($first), $(", ", stringify!($name),)* ")"
        )
    };
}
macro_rules! array {
    ($array:literal json) => {
        concat!("CAST(", $array, " AS jsonb[])")
    };
    ($array:literal time) => {
        concat!("CAST(", $array, " AS timestamptz[])")
    };
    ($array:literal $type:ident) => {
        concat!("CAST(", $array, " AS ", stringify!($type), "[])")
    };
}
/// Only what belongs to tasks that were written.
///
/// Their ids are gathered into an array first: joined to them, the rows that were passed in would
/// be read anew for each task of the group.
macro_rules! written {
    ($and:literal) => {
        concat!($and, " r.task_id = ANY (ARRAY(SELECT id FROM moved UNION ALL SELECT id FROM born))")
    };
}

/// Of a group, those tasks are written that have not moved on, and those that did not exist.
#[rustfmt::skip]
const WRITE: &str = concat!(
    "WITH moved AS (",
    move_tasks!(listed, listed_rows ["$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$10" "$11" "$12" "$13" "$14" "$15" "$16" "$17"]),
    " RETURNING id), born AS (",
    add_task!(listed, listed_rows ["$18" "$19" "$20" "$21" "$22" "$23" "$24" "$25" "$26" "$27" "$28" "$29" "$30" "$31" "$32" "$33"
        "$34" "$35"]),
    " ON CONFLICT (id) DO NOTHING RETURNING id), added AS (",
    add_entries!(listed, listed_rows ["$36" "$37" "$38" "$39" "$40" "$41" "$42" "$43"]),
    written!(" WHERE"),
    "), planned AS (",
    add_steps!(listed, listed_rows ["$44" "$45" "$46" "$47" "$48" "$49" "$50" "$51" "$52" "$53" "$54" "$55" "$56" "$57" "$58" "$59"
        "$60" "$61" "$62" "$63" "$64"]),
    written!(" WHERE"),
    "), advanced AS (",
    move_steps!(listed, listed_rows ["$65" "$66" "$67" "$68" "$69" "$70" "$71" "$72" "$73" "$74" "$75" "$76" "$77"]),
    written!(" AND"),
    ") SELECT id FROM moved UNION ALL SELECT id FROM born"
);

/// Writes a new task whose reply is kept. Such a one is not part of a group, for it may have to
/// wait for another one with the same key.
pub(super) async fn create_once(pools: &Pools, creation: Creation) -> Result<()> {
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    if let Some(answer) = &creation.answer {
        keep(&mut transaction, answer).await?;
    }
    let work = Work::Create(creation);
    if at_once(&mut transaction, std::slice::from_ref(&work)).await?.is_empty() {
        return Err(RepositoryError::Exists);
    }
    put_blobs(&mut transaction, work.commit()).await?;
    transaction.commit().await?;
    Ok(())
}

/// Of two answers that race, the second one waits here until the first one's transaction has
/// ended.
async fn keep(conn: &mut Conn, answer: &Answer) -> Result<()> {
    let kept = sqlx::query(KEEP_ANSWER)
        .bind(&answer.user_id)
        .bind(&answer.key)
        .bind(answer.request_hash.to_vec())
        .bind(key(answer.task_id))
        .bind(&answer.reply)
        .execute(conn)
        .await?;
    if kept.rows_affected() == 0 { Err(RepositoryError::KeyTaken) } else { Ok(()) }
}

#[async_trait]
impl WriteGroup for Pools {
    async fn write_group(&self, group: &[Work]) -> Result<Vec<Result<()>>> {
        let written = write(self, group).await?;
        let mut answers = Vec::with_capacity(group.len());
        for work in group {
            answers.push(match work {
                _ if written.contains(&work.commit().id) => Ok(()),
                Work::Create(_) => Err(RepositoryError::Exists),
                Work::Commit(commit) => Err(refusal(self, commit).await?),
            });
        }
        Ok(answers)
    }
}

async fn write(pools: &Pools, group: &[Work]) -> Result<HashSet<TaskId>> {
    if group.iter().all(|work| work.commit().has_no_contents()) {
        return at_once(&mut *pools.writer().await?, group).await;
    }
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    let written = at_once(&mut transaction, group).await?;
    for commit in group.iter().map(Work::commit).filter(|commit| written.contains(&commit.id)) {
        put_blobs(&mut transaction, commit).await?;
    }
    transaction.commit().await?;
    Ok(written)
}

async fn at_once(conn: &mut Conn, group: &[Work]) -> Result<HashSet<TaskId>> {
    let (mut moves, mut births) = (Vec::new(), Vec::new());
    let (mut entries, mut planned, mut advanced) = (Vec::new(), Vec::new(), Vec::new());
    for work in group {
        match work {
            Work::Commit(commit) => moves.push(TaskMove::of(commit)),
            Work::Create(creation) => births.push(NewTask::of(creation)),
        }
        let commit = work.commit();
        entries.extend(commit.entries.iter().map(|entry| TraceRow::of(commit.id, entry)));
        for (index, step) in &commit.steps {
            let rows = if *index >= commit.planned_from { &mut planned } else { &mut advanced };
            rows.push(StepRow::of(commit.id, *index, step));
        }
    }
    let statement = columns::bind_moves(sqlx::query(WRITE), &moves)?;
    let statement = columns::bind_new_tasks(statement, &births)?;
    let statement = columns::bind_entries(statement, &entries)?;
    let statement = columns::bind_new_steps(statement, &planned)?;
    let statement = columns::bind_step_moves(statement, &advanced)?;
    let rows = statement.fetch_all(conn).await?;
    rows.iter().map(|row| Ok(task_id(row.try_get::<Key, _>(0)?))).collect()
}

async fn refusal(pools: &Pools, commit: &Commit) -> Result<RepositoryError> {
    let row = sqlx::query("SELECT epoch FROM task_execution WHERE id = $1")
        .bind(key(commit.id))
        .fetch_optional(&mut *pools.writer().await?)
        .await?;
    Ok(commit.refusal(row.map(|row| row.try_get(0)).transpose()?))
}

async fn put_blobs(conn: &mut Conn, commit: &Commit) -> Result<()> {
    for blob in &commit.blobs {
        sqlx::query(PUT_BLOB)
            .bind(blob.hash.0.to_vec())
            .bind(blob.size)
            .bind(blob.bytes.as_slice())
            .execute(&mut *conn)
            .await?;
        let refer = sqlx::query(REFER_TO_BLOB).bind(key(commit.id)).bind(blob.hash.0.to_vec());
        refer.execute(&mut *conn).await?;
    }
    for hash in &commit.shared {
        sqlx::query(TOUCH_BLOB).bind(hash.0.to_vec()).execute(&mut *conn).await?;
        let refer = sqlx::query(REFER_TO_BLOB).bind(key(commit.id)).bind(hash.0.to_vec());
        refer.execute(&mut *conn).await?;
    }
    Ok(())
}
