//! Rows as the columns they consist of: each column is one array, and one parameter.
//!
//! PostgreSQL takes arrays apart as they come. The same rows as one JSON text would have to be
//! parsed, sorted by their names and looked through once for each column, which costs more than
//! writing them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Encode, Postgres, Type};

use super::sql::rows::{self, NewTask, StepRow, TaskMove, TraceRow, unwritable};
use crate::repository::RepositoryError;
use crate::task::Timestamp;

type Result<T> = std::result::Result<T, RepositoryError>;
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// A value that is JSON text already.
struct Json(String);

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        <sqlx::types::Json<()> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Json {
    fn array_type_info() -> PgTypeInfo {
        <sqlx::types::Json<()> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Json {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        // The version of the binary form of jsonb, which is the text.
        buffer.push(1);
        buffer.extend(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// The parameters of `move_tasks!`, in the order of its columns.
pub(super) fn bind_moves<'q>(query: Statement<'q>, rows: &[TaskMove<'_>]) -> Result<Statement<'q>> {
    Ok(query
        .bind(column(rows, |row| row.task_id.0))
        .bind(column(rows, |row| row.epoch))
        .bind(column(rows, |row| row.base_seq))
        .bind(column(rows, |row| row.seq))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.pause_reason.clone()))
        .bind(column(rows, |row| row.live))
        .bind(column(rows, |row| row.keep))
        .bind(column(rows, |row| row.due))
        .bind(column(rows, |row| row.wake_in))
        .bind(column(rows, |row| i64::from(row.priority)))
        .bind(column(rows, |row| i64::from(row.crashes)))
        .bind(column(rows, |row| i64::from(row.completed_steps)))
        .bind(column(rows, |row| i64::from(row.total_steps)))
        .bind(json_column(rows, |row| row.state)?)
        .bind(column(rows, |row| time(row.updated_at)))
        .bind(column(rows, |row| row.completed_at.map(time))))
}

/// The parameters of `add_task!`.
pub(super) fn bind_new_tasks<'q>(query: Statement<'q>, rows: &[NewTask<'_>]) -> Result<Statement<'q>> {
    Ok(query
        .bind(column(rows, |row| row.moved.task_id.0))
        .bind(column(rows, |row| rows::plain(row.user_id).into_owned()))
        .bind(column(rows, |row| rows::plain(row.thread_id).into_owned()))
        .bind(column(rows, |row| rows::plain(row.goal).into_owned()))
        .bind(column(rows, |row| row.moved.status))
        .bind(column(rows, |row| row.moved.pause_reason.clone()))
        .bind(column(rows, |row| row.moved.seq))
        .bind(column(rows, |row| row.moved.epoch))
        .bind(column(rows, |row| row.moved.live))
        .bind(column(rows, |row| i64::from(row.moved.priority)))
        .bind(column(rows, |row| i64::from(row.moved.crashes)))
        .bind(column(rows, |row| i64::from(row.moved.completed_steps)))
        .bind(column(rows, |row| i64::from(row.moved.total_steps)))
        .bind(json_column(rows, |row| row.moved.state)?)
        .bind(column(rows, |row| time(row.created_at)))
        .bind(column(rows, |row| time(row.moved.updated_at)))
        .bind(column(rows, |row| row.moved.completed_at.map(time)))
        .bind(column(rows, |row| row.parent_id.map(|parent| parent.0))))
}

/// The parameters of `add_entries!`.
pub(super) fn bind_entries<'q>(query: Statement<'q>, rows: &[TraceRow<'_>]) -> Result<Statement<'q>> {
    let data = rows.iter().map(|row| rows::content(row.event).map(Json)).collect::<Result<Vec<Json>>>()?;
    Ok(query
        .bind(column(rows, |row| row.task_id.0))
        .bind(column(rows, |row| row.seq))
        .bind(column(rows, |row| row.epoch))
        .bind(column(rows, |row| time(row.at)))
        .bind(column(rows, |row| row.step_index.map(i64::from)))
        .bind(column(rows, |row| row.r#type))
        .bind(column(rows, |row| row.event.kind()))
        .bind(data))
}

/// The parameters of `add_steps!`.
pub(super) fn bind_new_steps<'q>(query: Statement<'q>, rows: &[StepRow<'_>]) -> Result<Statement<'q>> {
    Ok(query
        .bind(column(rows, |row| row.task_id.0))
        .bind(column(rows, |row| i64::from(row.step_index)))
        .bind(column(rows, |row| rows::plain(row.step_id).into_owned()))
        .bind(column(rows, |row| i64::from(row.revision)))
        .bind(column(rows, |row| row.r#type))
        .bind(column(rows, |row| rows::plain(row.description).into_owned()))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.optional))
        .bind(column(rows, |row| row.replaced))
        .bind(json_column(rows, |row| row.depends_on)?)
        .bind(optional_json_column(rows, |row| row.input.as_ref())?)
        .bind(column(rows, |row| row.output_seq))
        .bind(optional_json_column(rows, |row| row.verification)?)
        .bind(optional_json_column(rows, |row| row.error)?)
        .bind(json_column(rows, |row| &row.usage)?)
        .bind(column(rows, |row| i64::from(row.attempts)))
        .bind(column(rows, |row| row.estimated_ms.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX))))
        .bind(column(rows, |row| row.first_seq))
        .bind(column(rows, |row| row.retry_at.map(time)))
        .bind(column(rows, |row| row.started_at.map(time)))
        .bind(column(rows, |row| row.completed_at.map(time))))
}

/// The parameters of `move_steps!`.
pub(super) fn bind_step_moves<'q>(query: Statement<'q>, rows: &[StepRow<'_>]) -> Result<Statement<'q>> {
    Ok(query
        .bind(column(rows, |row| row.task_id.0))
        .bind(column(rows, |row| i64::from(row.step_index)))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.replaced))
        .bind(column(rows, |row| row.output_seq))
        .bind(optional_json_column(rows, |row| row.verification)?)
        .bind(optional_json_column(rows, |row| row.error)?)
        .bind(json_column(rows, |row| &row.usage)?)
        .bind(column(rows, |row| i64::from(row.attempts)))
        .bind(column(rows, |row| row.first_seq))
        .bind(column(rows, |row| row.retry_at.map(time)))
        .bind(column(rows, |row| row.started_at.map(time)))
        .bind(column(rows, |row| row.completed_at.map(time))))
}

fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn json_column<'r, R, T: Serialize + ?Sized + 'r>(
    rows: &'r [R],
    value: impl Fn(&'r R) -> &'r T,
) -> Result<Vec<Json>> {
    rows.iter().map(|row| json(value(row))).collect()
}

fn optional_json_column<'r, R, T: Serialize + 'r>(
    rows: &'r [R],
    value: impl Fn(&'r R) -> Option<&'r T>,
) -> Result<Vec<Option<Json>>> {
    rows.iter().map(|row| value(row).map(json).transpose()).collect()
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Json> {
    rows::text(value).map(Json).map_err(unwritable)
}

fn time(at: Timestamp) -> DateTime<Utc> {
    at.to_datetime()
}
