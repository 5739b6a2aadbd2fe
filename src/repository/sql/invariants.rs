//! The promises as queries: each finds the rows that break one.

use sqlx::Row as _;

use super::{Conn, Key, Result, Row, task_id};
use crate::repository::Violation;

/// How many of the tasks that break an invariant are named.
const EXAMPLES: usize = 5;

/// Each text selects the ids of the tasks that break the invariant. Tasks whose entries went
/// by retention are passed over where the entries are needed.
const INVARIANTS: [(&str, &str); 14] = [
    (
        "entries are numbered 1..n without gaps, and n is what the task says",
        "SELECT t.id FROM task_execution AS t JOIN (SELECT task_id, min(seq) AS low, max(seq) AS high, \
         count(*) AS entries FROM task_execution_trace GROUP BY task_id) AS e ON e.task_id = t.id \
         WHERE e.low <> 1 OR e.high <> e.entries OR e.high <> t.seq",
    ),
    (
        "every live or paused task has entries",
        "SELECT t.id FROM task_execution AS t WHERE t.completed_at IS NULL AND NOT EXISTS \
         (SELECT 1 FROM task_execution_trace AS e WHERE e.task_id = t.id)",
    ),
    (
        "no entry of an older epoch follows a newer one, and none is newer than its task",
        "SELECT e.task_id FROM task_execution_trace AS e JOIN task_execution AS t ON t.id = e.task_id \
         LEFT JOIN task_execution_trace AS n ON n.task_id = e.task_id AND n.seq = e.seq + 1 \
         WHERE e.epoch > t.epoch OR n.epoch < e.epoch",
    ),
    (
        "one terminal entry exactly if the task has ended, and it says how",
        "SELECT t.id FROM task_execution AS t JOIN (SELECT task_id, \
         count(CASE WHEN kind IN ('completed', 'failed', 'cancelled') THEN 1 END) AS ends, \
         max(CASE WHEN kind IN ('completed', 'failed', 'cancelled') THEN kind END) AS how \
         FROM task_execution_trace GROUP BY task_id) AS e ON e.task_id = t.id \
         WHERE (t.completed_at IS NOT NULL AND (e.ends <> 1 OR e.how <> t.status)) \
         OR (t.completed_at IS NULL AND e.ends <> 0)",
    ),
    (
        "no orphans: every live task has a wake-up or a lease, every paused one a reason",
        "SELECT id FROM task_execution WHERE (status IN ('pending', 'running') AND wake_at IS NULL) \
         OR (status = 'paused' AND pause_reason IS NULL)",
    ),
    (
        "a completed task has all required steps completed",
        "SELECT t.id FROM task_execution AS t JOIN task_execution_step AS s ON s.task_id = t.id \
         WHERE t.status = 'completed' AND NOT s.optional AND NOT s.replaced \
         AND s.status NOT IN ('completed', 'skipped')",
    ),
    (
        "the counts of a task are those of its steps",
        "SELECT t.id FROM task_execution AS t JOIN (SELECT task_id, \
         count(CASE WHEN status = 'completed' THEN 1 END) AS completed, \
         count(CASE WHEN NOT replaced THEN 1 END) AS total \
         FROM task_execution_step GROUP BY task_id) AS s ON s.task_id = t.id \
         WHERE s.completed <> t.completed_steps OR s.total <> t.total_steps",
    ),
    (
        "every entry and every step is of a task that is there",
        "SELECT e.task_id FROM task_execution_trace AS e WHERE NOT EXISTS \
         (SELECT 1 FROM task_execution AS t WHERE t.id = e.task_id) UNION \
         SELECT s.task_id FROM task_execution_step AS s WHERE NOT EXISTS \
         (SELECT 1 FROM task_execution AS t WHERE t.id = s.task_id)",
    ),
    ("no model call was made that did not fit: spent + reserved <= budget", OVER_BUDGET),
    ("an unsafe call is dispatched again only after it is known to have had no outcome", UNSAFE_TWICE),
    ("what was dispatched after an approval are the arguments that were approved", NOT_AS_APPROVED),
    ("whatever waited for a person was dispatched only after an approval of its own", NOT_APPROVED),
    ("a task has no more children than it called", CHILD_TWICE),
    ("every child that is at work has a parent that has not ended", LEFT_ALONE),
];

/// A number within a task's state, 0 if it is not there.
macro_rules! state_number {
    ($path:literal) => {
        concat!("COALESCE(CAST(t.state->", $path, " AS numeric), 0)")
    };
}

/// A number within the budget a task was created with; NULL if it has no such limit.
macro_rules! limit_of {
    ($key:literal) => {
        concat!("CAST(COALESCE(t.spec, c.data->'spec')->'budget'->>'", $key, "' AS numeric)")
    };
}

/// What was consumed beyond a reserve (an answer that was longer than expected, a planner's call)
/// is part of what is spent and was not for the budget to stop. The tolerance is half of the
/// smallest amount of money: SQLite sums it as floating point numbers.
const OVER_BUDGET: &str = concat!(
    "SELECT t.id FROM task_execution AS t LEFT JOIN task_execution_trace AS c ON c.task_id = t.id AND c.seq = 1 ",
    "WHERE ",
    state_number!("'usage'->>'inputTokens'"),
    " + ",
    state_number!("'usage'->>'outputTokens'"),
    " + ",
    state_number!("'spent'->'lost'->>'tokens'"),
    " + ",
    state_number!("'spent'->'reserved'->>'tokens'"),
    " - ",
    state_number!("'spent'->'beyond'->>'tokens'"),
    " > ",
    limit_of!("tokens"),
    " + ",
    state_number!("'raised'->>'tokens'"),
    " OR ",
    state_number!("'usage'->>'costUsd'"),
    " + ",
    state_number!("'spent'->'lost'->>'costUsd'"),
    " + ",
    state_number!("'spent'->'reserved'->>'costUsd'"),
    " - ",
    state_number!("'spent'->'beyond'->>'costUsd'"),
    " > ",
    limit_of!("costUsd"),
    " + ",
    state_number!("'raised'->>'costUsd'"),
    " + 0.0000000005"
);

const UNSAFE_TWICE: &str = concat!(
    "SELECT d.task_id FROM task_execution_trace AS d WHERE d.kind = 'tool_dispatched' ",
    "AND d.data->>'effect' = 'unsafe' AND CAST(d.data->>'attempt' AS bigint) > 1 AND NOT EXISTS ",
    "(SELECT 1 FROM task_execution_trace AS f WHERE f.task_id = d.task_id AND f.seq < d.seq ",
    "AND f.step_index = d.step_index AND f.kind IN ('call_failed', 'outcome_decided') ",
    "AND f.data->>'call' = d.data->>'call')"
);

/// A dispatch whose arguments are neither those that were asked for last nor those that the person
/// who approved them put in their place. The requests come first in these joins, for they are few.
const NOT_AS_APPROVED: &str = concat!(
    "SELECT a.task_id FROM task_execution_trace AS a CROSS JOIN task_execution_trace AS g ",
    "CROSS JOIN task_execution_trace AS d WHERE a.kind = 'approval_requested' ",
    "AND g.task_id = a.task_id AND g.seq > a.seq AND g.kind = 'approval_given' ",
    "AND g.step_index = a.step_index AND g.data->>'call' = a.data->>'call' ",
    "AND d.task_id = a.task_id AND d.seq > g.seq AND d.kind = 'tool_dispatched' ",
    "AND d.step_index = a.step_index AND d.data->>'call' = a.data->>'call' ",
    "AND COALESCE(g.data->'arguments', a.data->'arguments') <> d.data->'arguments' ",
    "AND NOT EXISTS (SELECT 1 FROM task_execution_trace AS n WHERE n.task_id = a.task_id AND n.seq > a.seq ",
    "AND n.seq < d.seq AND n.kind = 'approval_requested' AND n.step_index = a.step_index ",
    "AND n.data->>'call' = a.data->>'call')"
);

/// A dispatch of an attempt that was asked for and has no word of approval in between.
const NOT_APPROVED: &str = concat!(
    "SELECT a.task_id FROM task_execution_trace AS a CROSS JOIN task_execution_trace AS d ",
    "WHERE a.kind = 'approval_requested' AND d.task_id = a.task_id AND d.seq > a.seq ",
    "AND d.kind = 'tool_dispatched' AND d.step_index = a.step_index ",
    "AND d.data->>'call' = a.data->>'call' AND d.data->>'attempt' = a.data->>'attempt' AND NOT EXISTS ",
    "(SELECT 1 FROM task_execution_trace AS g WHERE g.task_id = a.task_id AND g.seq > a.seq ",
    "AND g.seq < d.seq AND g.kind = 'approval_given' AND g.step_index = a.step_index ",
    "AND g.data->>'call' = a.data->>'call')"
);

const CHILD_TWICE: &str = "SELECT c.parent_id FROM (SELECT parent_id, count(*) AS children FROM task_execution \
     WHERE parent_id IS NOT NULL GROUP BY parent_id) AS c JOIN (SELECT task_id, \
     count(CASE WHEN kind = 'child_started' THEN 1 END) AS called FROM task_execution_trace GROUP BY task_id) AS e \
     ON e.task_id = c.parent_id WHERE c.children > e.called";

/// The workers see to that every few seconds; a minute is long enough for any of them.
const LEFT_ALONE: &str = concat!(
    "SELECT c.id FROM task_execution AS c LEFT JOIN task_execution AS p ON p.id = c.parent_id ",
    "WHERE c.parent_id IS NOT NULL AND c.wake_at IS NOT NULL AND (p.id IS NULL OR p.completed_at < ",
    now_plus!("-60000"),
    ")"
);

/// The invariants that do not hold.
pub(super) async fn violations(conn: &mut Conn) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for (invariant, query) in INVARIANTS {
        let rows: Vec<Row> = sqlx::query(query).fetch_all(&mut *conn).await?;
        if rows.is_empty() {
            continue;
        }
        let ids = rows.iter().take(EXAMPLES).map(|row| Ok(task_id(row.try_get::<Key, _>(0)?).to_string()));
        violations.push(Violation {
            invariant,
            rows: rows.len() as u64,
            examples: ids.collect::<Result<_>>()?,
        });
    }
    Ok(violations)
}
