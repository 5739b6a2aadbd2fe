//! A group of new tasks and commits as one statement, and so in one round trip.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::error::BoxDynError;

use super::committer::{Work, WriteGroup};
use super::sql::rows::{NewTask, StepRow, TaskMove, TraceRow};
use super::texts::{PUT_BLOB, REFER_TO_BLOB, TOUCH_BLOB};
use super::values::StepMove;
use super::{BEGIN_WRITE, Conn, Key, Pools, key, task_id};
use crate::repository::commit::{Creation, Packed};
use crate::repository::{Commit, RepositoryError};
use crate::task::{BlobHash, TaskId};

type Result<T> = std::result::Result<T, RepositoryError>;

/// Values that come as rows.
macro_rules! listed {
    ($name:ident) => {
        concat!("r.", stringify!($name))
    };
}
/// Of tasks whose writers knew how they are, those that have not moved on; then what belongs to the
/// tasks that were written.
///
/// Their ids are gathered into an array first: joined to them, the rows that were passed in would
/// be read anew for each task of the group.
macro_rules! write_group {
    ($born:expr, $written:expr, $planned:expr) => {
        concat!(
            "WITH moved AS (",
            move_tasks!(listed, " FROM unnest($1) AS r"),
            " RETURNING id), ",
            $born,
            "added AS (",
            add_entries!(listed, " FROM unnest($2) AS r"),
            " WHERE r.task_id = ANY (ARRAY(",
            $written,
            "))), ",
            $planned,
            "advanced AS (",
            move_steps!(listed, " FROM unnest($3) AS r"),
            " AND r.task_id = ANY (ARRAY(",
            $written,
            "))) ",
            $written
        )
    };
}

/// Tasks go on. Most groups are nothing else, and each part of a statement is made ready by the database
/// whether or not it has rows.
const ADVANCE: &str = write_group!("", "SELECT id FROM moved", "");

/// The same with new tasks, of which those are written that did not exist, and new steps.
const WRITE: &str = write_group!(
    concat!(
        "born AS (",
        add_task!(listed, " FROM unnest($4) AS r"),
        " ON CONFLICT (id) DO NOTHING RETURNING id), "
    ),
    "SELECT id FROM moved UNION ALL SELECT id FROM born",
    concat!(
        "planned AS (",
        add_steps!(listed, " FROM unnest($5) AS r"),
        " WHERE r.task_id = ANY (ARRAY(SELECT id FROM moved UNION ALL SELECT id FROM born))), "
    )
);

/// Writes a new task whose reply is kept. Such a one is not part of a group, for it may have to
/// wait for another one with the same key.
pub(super) async fn create_once(pools: &Pools, creation: Creation) -> Result<()> {
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    if let Some(answer) = &creation.answer {
        super::sql::answers::keep(&mut transaction, answer).await?;
    }
    let work = Work::Create(creation);
    if at_once(&mut transaction, std::slice::from_ref(&work)).await?.is_empty() {
        return Err(RepositoryError::Exists);
    }
    put_contents(&mut transaction, &[work.commit()]).await?;
    transaction.commit().await?;
    Ok(())
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
                // What was written stays so, whether or not it is known why the others were not.
                Work::Commit(commit) => Err(refusal(self, commit).await.unwrap_or_else(|error| error)),
            });
        }
        Ok(answers)
    }
}

async fn write(pools: &Pools, group: &[Work]) -> Result<HashSet<TaskId>> {
    if group.iter().all(|work| work.commit().has_no_contents()) {
        return at_once(&mut pools.writer().await?, group).await;
    }
    let mut transaction = pools.open(BEGIN_WRITE).await?;
    let written = at_once(&mut transaction, group).await?;
    let commits = group.iter().map(Work::commit).filter(|commit| written.contains(&commit.id));
    put_contents(&mut transaction, &commits.collect::<Vec<_>>()).await?;
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
            let row = StepRow::of(commit.id, *index, step);
            if *index >= commit.planned_from { planned.push(row) } else { advanced.push(StepMove(row)) }
        }
    }
    let is_advance = births.is_empty() && planned.is_empty();
    let mut statement = sqlx::query(if is_advance { ADVANCE } else { WRITE });
    statement.try_bind(moves).map_err(unwritable)?;
    statement.try_bind(entries).map_err(unwritable)?;
    statement.try_bind(advanced).map_err(unwritable)?;
    if !is_advance {
        statement.try_bind(births).map_err(unwritable)?;
        statement.try_bind(planned).map_err(unwritable)?;
    }
    let rows = statement.fetch_all(conn).await?;
    rows.iter().map(|row| Ok(task_id(row.try_get::<Key, _>(0)?))).collect()
}

/// A row of ours cannot be written as it is.
fn unwritable(error: BoxDynError) -> RepositoryError {
    RepositoryError::Corrupt { what: format!("a row cannot be written: {error}") }
}

async fn refusal(pools: &Pools, commit: &Commit) -> Result<RepositoryError> {
    let row = sqlx::query("SELECT epoch FROM task_execution WHERE id = $1")
        .bind(key(commit.id))
        .fetch_optional(&mut pools.writer().await?)
        .await?;
    Ok(commit.refusal(row.map(|row| row.try_get(0)).transpose()?))
}

/// Writes the contents that tasks bring or refer to.
///
/// Tasks share contents, so another group may want the same rows at the same time: all groups take them in
/// one order, after the rows of their tasks. In the order of the tasks two groups could wait for each other.
async fn put_contents(conn: &mut Conn, commits: &[&Commit]) -> Result<()> {
    for (hash, packed) in in_order(commits) {
        let put = match packed {
            Some(blob) => {
                let put = sqlx::query(PUT_BLOB).bind(hash.0.to_vec());
                put.bind(blob.size).bind(blob.bytes.as_slice())
            }
            None => sqlx::query(TOUCH_BLOB).bind(hash.0.to_vec()),
        };
        put.execute(&mut *conn).await?;
    }
    for commit in commits {
        for hash in commit.blobs.iter().map(|blob| &blob.hash).chain(&commit.shared) {
            let refer = sqlx::query(REFER_TO_BLOB).bind(key(commit.id)).bind(hash.0.to_vec());
            refer.execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Every content once, by its name; without bytes if it is stored already.
fn in_order<'a>(commits: &[&'a Commit]) -> BTreeMap<BlobHash, Option<&'a Packed>> {
    let shared = commits.iter().flat_map(|commit| &commit.shared).map(|hash| (*hash, None));
    let brought = commits.iter().flat_map(|commit| &commit.blobs).map(|blob| (blob.hash, Some(blob)));
    shared.chain(brought).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Lease;
    use crate::task::{Entry, Event, Payload, Task, Timestamp};

    fn commit(contents: &[&str], shared: &[&str]) -> Commit {
        let spec = serde_json::json!({"goal": "g", "userId": "u", "threadId": "t"});
        let event = Event::Created { spec: serde_json::from_value(spec).unwrap() };
        let created = Entry { seq: 1, epoch: 0, at: Timestamp::from_millis(1), event };
        let task = Task::begin(TaskId(uuid::Uuid::now_v7()), &created).unwrap();
        let sealed = |text: &&str| Payload::text(text.repeat(100_000)).seal().unwrap();
        let blobs = contents.iter().map(sealed).collect();
        let mut commit = Commit::new(&task, vec![created], blobs, Lease::Keep);
        commit.shared = shared.iter().map(|text| sealed(text).hash).collect();
        commit.pack().unwrap();
        commit
    }

    #[test]
    fn groups_that_share_contents_take_them_in_one_order_and_each_once() {
        let tasks = [commit(&["a", "b"], &[]), commit(&["b"], &["c"]), commit(&["c"], &["a"])];
        let forth: Vec<&Commit> = tasks.iter().collect();
        let back: Vec<&Commit> = tasks.iter().rev().collect();
        let names = |group: &[&Commit]| in_order(group).into_keys().collect::<Vec<_>>();
        assert_eq!(names(&forth), names(&back));
        assert_eq!(names(&forth).len(), 3);
        assert!(in_order(&forth).values().all(Option::is_some), "what one of them brings is written");
    }
}
