//! Asks for what was counted, and for what waits.

use sqlx::Row as _;

use super::rows::{text, unwritable};
use super::{Conn, Key, Result, Row, task_id};
use crate::repository::RepositoryError;
use crate::repository::analytics::{
    FailureGroup, Figure, FigureFilter, HOUR, Line, MINUTE, Measure, Oldest, Sum,
};
use crate::task::Timestamp;

/// Takes a width, the beginning and the end of a time, the length of its pieces, measures and, for
/// one user, the user.
macro_rules! figures {
    ($whose:literal) => {
        concat!(
            "SELECT (at / $4) * $4 AS piece, measure, name, slot, ",
            "CAST(sum(events) AS bigint) AS events, CAST(sum(millis) AS bigint) AS millis, ",
            "CAST(sum(input_tokens) AS bigint) AS input_tokens, ",
            "CAST(sum(output_tokens) AS bigint) AS output_tokens, ",
            "CAST(sum(cached_tokens) AS bigint) AS cached_tokens, ",
            "CAST(sum(cost_nanos) AS bigint) AS cost_nanos, CAST(sum(unpriced) AS bigint) AS unpriced ",
            "FROM figure WHERE width = $1 AND at >= $2 AND at < $3 AND measure IN (SELECT r.word FROM ",
            rows!("$5"; word text),
            ")",
            $whose,
            " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        )
    };
}

/// Sums by time, measure, name and class.
pub(super) async fn figures(conn: &mut Conn, filter: &FigureFilter) -> Result<Vec<Figure>> {
    const OF_ALL: &str = figures!("");
    const OF_ONE: &str = figures!(" AND user_id = $6");
    #[derive(serde::Serialize)]
    struct Word {
        word: &'static str,
    }
    let words: Vec<Word> = filter.measures.iter().map(|measure| Word { word: measure.as_str() }).collect();
    let (width, from, to, piece) = match filter.range {
        None => (0, 0, 1, 1),
        Some(span) => {
            let width = if span.by_minute { MINUTE } else { HOUR };
            (width, span.from.as_millis(), span.to.as_millis(), span.piece.max(width))
        }
    };
    let query = sqlx::query(if filter.user_id.is_some() { OF_ONE } else { OF_ALL });
    let mut query = query.bind(width).bind(from).bind(to).bind(piece).bind(text(&words).map_err(unwritable)?);
    if let Some(user_id) = &filter.user_id {
        query = query.bind(user_id);
    }
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(figure).collect()
}

fn figure(row: &Row) -> Result<Figure> {
    let measure: String = row.try_get("measure")?;
    let measure = Measure::parse(&measure)
        .ok_or_else(|| RepositoryError::Corrupt { what: format!("a figure counts '{measure}'") })?;
    let number = |column: &str| -> Result<u64> { Ok(row.try_get::<i64, _>(column)?.unsigned_abs()) };
    Ok(Figure {
        at: Timestamp::from_millis(row.try_get("piece")?),
        measure,
        name: row.try_get("name")?,
        slot: u16::try_from(row.try_get::<i64, _>("slot")?).ok(),
        sum: Sum {
            events: number("events")?,
            millis: number("millis")?,
            input_tokens: number("input_tokens")?,
            output_tokens: number("output_tokens")?,
            cached_tokens: number("cached_tokens")?,
            cost_nanos: number("cost_nanos")?,
            unpriced: number("unpriced")?,
        },
    })
}

/// How often a failure was met at one place.
macro_rules! met {
    ($place:literal) => {
        concat!("CAST(sum(CASE WHEN place = '", $place, "' THEN events ELSE 0 END) OVER alike AS bigint)")
    };
}

/// Failures that are alike, the most frequent first.
pub(super) async fn failures(
    conn: &mut Conn,
    user_id: &str,
    from: Timestamp,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<FailureGroup>> {
    // The same failure is met by a call, its step and its task: the place that met it most often says how
    // often it was.
    const FAILURES: &str = concat!(
        "SELECT code, message, calls, steps, tasks, CASE WHEN calls >= steps AND calls >= tasks THEN calls ",
        "WHEN steps >= tasks THEN steps ELSE tasks END AS events, last_at, task_id FROM (SELECT code, message, ",
        met!("call"),
        " AS calls, ",
        met!("step"),
        " AS steps, ",
        met!("task"),
        " AS tasks, last_at, task_id, row_number() OVER (PARTITION BY code, message ORDER BY last_at DESC) AS newest ",
        "FROM failure WHERE user_id = $1 AND at >= $2 AND at < $3 WINDOW alike AS (PARTITION BY code, message)) AS f ",
        "WHERE newest = 1 ORDER BY events DESC, last_at DESC LIMIT $4"
    );
    let rows = sqlx::query(FAILURES)
        .bind(user_id)
        .bind(from.as_millis().div_euclid(HOUR) * HOUR)
        .bind(to.as_millis())
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(failure).collect()
}

fn failure(row: &Row) -> Result<FailureGroup> {
    let number = |column: &str| -> Result<u64> { Ok(row.try_get::<i64, _>(column)?.unsigned_abs()) };
    Ok(FailureGroup {
        code: row.try_get("code")?,
        message: row.try_get("message")?,
        count: number("events")?,
        calls: number("calls")?,
        steps: number("steps")?,
        tasks: number("tasks")?,
        last_at: Timestamp::from_millis(row.try_get("last_at")?),
        example_task_id: task_id(row.try_get::<Key, _>("task_id")?),
    })
}

/// What waits, runs and rests. A wake-up that has come is somebody's turn, or the lease of a worker
/// that is gone.
pub(super) async fn line(conn: &mut Conn, user_id: Option<&str>) -> Result<Line> {
    const LIVE: &str = concat!(
        "SELECT count(CASE WHEN wake_at <= ",
        now!(),
        " THEN 1 END), count(CASE WHEN wake_at > ",
        now!(),
        " AND lease_owner IS NULL THEN 1 END), count(CASE WHEN wake_at > ",
        now!(),
        " THEN lease_owner END) FROM task_execution WHERE wake_at IS NOT NULL AND ($1 IS NULL OR user_id = $1)"
    );
    const PAUSED: &str =
        "SELECT count(*) FROM task_execution WHERE status = 'paused' AND ($1 IS NULL OR user_id = $1)";
    const OLDEST: &str = concat!(
        "SELECT id, goal, 0 - (",
        ahead!("wake_at"),
        ") AS waited FROM task_execution WHERE wake_at IS NOT NULL AND wake_at <= ",
        now!(),
        " AND ($1 IS NULL OR user_id = $1) ORDER BY wake_at LIMIT 1"
    );
    let live = sqlx::query(LIVE).bind(user_id).fetch_one(&mut *conn).await?;
    let paused = sqlx::query(PAUSED).bind(user_id).fetch_one(&mut *conn).await?;
    let oldest = sqlx::query(OLDEST).bind(user_id).fetch_optional(conn).await?;
    let number = |row: &Row, at: usize| -> Result<u64> { Ok(row.try_get::<i64, _>(at)?.unsigned_abs()) };
    let oldest = match &oldest {
        None => None,
        Some(row) => Some(Oldest {
            task_id: task_id(row.try_get::<Key, _>("id")?),
            goal: row.try_get("goal")?,
            waited_ms: u64::try_from(row.try_get::<i64, _>("waited")?).unwrap_or(0),
        }),
    };
    Ok(Line {
        waiting: number(&live, 0)?,
        delayed: number(&live, 1)?,
        held: number(&live, 2)?,
        paused: number(&paused, 0)?,
        oldest,
    })
}
