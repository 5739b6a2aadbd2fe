//! Rows as values of the composite types that `001_row_types.sql` declares, field by field.
//!
//! PostgreSQL takes them apart as they come, all rows of a table with one function. With an array for each
//! column there would be one function for each, which has to be made ready for every statement; as
//! JSON the rows would have to be parsed and looked through once for each column.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::PgRecordEncoder;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

use super::sql::rows::{self, NewTask, StepRow, TaskMove, TraceRow};
use crate::task::Timestamp;

type Encoded = Result<(), BoxDynError>;

/// Names the type of a row, and writes its fields in their order there.
macro_rules! composite {
    ($row:ident, $name:literal, $fields:ident) => {
        impl Type<Postgres> for $row<'_> {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_name($name)
            }
        }

        impl PgHasArrayType for $row<'_> {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::array_of($name)
            }
        }

        impl Encode<'_, Postgres> for $row<'_> {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let mut record = PgRecordEncoder::new(buffer);
                $fields(self, &mut record)?;
                record.finish();
                Ok(IsNull::No)
            }
        }
    };
}

/// What changes of a step.
pub(super) struct StepMove<'a>(pub(super) StepRow<'a>);

composite!(TaskMove, "task_move", task_move);
composite!(NewTask, "new_task", new_task);
composite!(TraceRow, "new_entry", new_entry);
composite!(StepRow, "new_step", new_step);
composite!(StepMove, "step_move", step_move);

fn task_move(row: &TaskMove<'_>, record: &mut PgRecordEncoder<'_>) -> Encoded {
    record
        .encode(row.task_id.0)?
        .encode(row.epoch)?
        .encode(row.base_seq)?
        .encode(row.seq)?
        .encode(row.status)?
        .encode(row.pause_reason.as_deref())?
        .encode(row.live)?
        .encode(row.keep)?
        .encode(row.due)?
        .encode(row.wake_in)?
        .encode(i64::from(row.priority))?
        .encode(i64::from(row.crashes))?
        .encode(i64::from(row.completed_steps))?
        .encode(i64::from(row.total_steps))?
        .encode(json(row.state)?)?
        .encode(row.updated_at.to_datetime())?
        .encode(time(row.completed_at))?;
    Ok(())
}

fn new_task(row: &NewTask<'_>, record: &mut PgRecordEncoder<'_>) -> Encoded {
    let moved = &row.moved;
    record
        .encode(moved.task_id.0)?
        .encode(rows::plain(row.user_id).as_ref())?
        .encode(rows::plain(row.thread_id).as_ref())?
        .encode(rows::plain(row.goal).as_ref())?
        .encode(moved.status)?
        .encode(moved.pause_reason.as_deref())?
        .encode(moved.seq)?
        .encode(moved.epoch)?
        .encode(moved.live)?
        .encode(i64::from(moved.priority))?
        .encode(i64::from(moved.crashes))?
        .encode(i64::from(moved.completed_steps))?
        .encode(i64::from(moved.total_steps))?
        .encode(json(moved.state)?)?
        .encode(row.created_at.to_datetime())?
        .encode(moved.updated_at.to_datetime())?
        .encode(time(moved.completed_at))?
        .encode(row.parent_id.map(|parent| parent.0))?
        .encode(row.forked_from.as_ref().map(json).transpose()?)?
        .encode(row.imported)?;
    Ok(())
}

fn new_entry(row: &TraceRow<'_>, record: &mut PgRecordEncoder<'_>) -> Encoded {
    record
        .encode(row.task_id.0)?
        .encode(row.seq)?
        .encode(row.epoch)?
        .encode(row.at.to_datetime())?
        .encode(row.step_index.map(i64::from))?
        .encode(row.r#type)?
        .encode(row.event.kind())?
        .encode(Json(rows::content(row.event)?))?;
    Ok(())
}

fn new_step(row: &StepRow<'_>, record: &mut PgRecordEncoder<'_>) -> Encoded {
    record
        .encode(row.task_id.0)?
        .encode(i64::from(row.step_index))?
        .encode(rows::plain(row.step_id).as_ref())?
        .encode(i64::from(row.revision))?
        .encode(row.r#type)?
        .encode(rows::plain(row.description).as_ref())?
        .encode(row.status)?
        .encode(row.optional)?
        .encode(row.replaced)?
        .encode(json(row.depends_on)?)?
        .encode(row.input.as_ref().map(json).transpose()?)?
        .encode(row.output_seq)?
        .encode(row.verification.map(json).transpose()?)?
        .encode(row.error.map(json).transpose()?)?
        .encode(json(&row.usage)?)?
        .encode(i64::from(row.attempts))?
        .encode(row.estimated_ms.map(|millis| i64::try_from(millis).unwrap_or(i64::MAX)))?
        .encode(row.first_seq)?
        .encode(time(row.retry_at))?
        .encode(time(row.started_at))?
        .encode(time(row.completed_at))?;
    Ok(())
}

fn step_move(StepMove(row): &StepMove<'_>, record: &mut PgRecordEncoder<'_>) -> Encoded {
    record
        .encode(row.task_id.0)?
        .encode(i64::from(row.step_index))?
        .encode(row.status)?
        .encode(row.replaced)?
        .encode(row.output_seq)?
        .encode(row.verification.map(json).transpose()?)?
        .encode(row.error.map(json).transpose()?)?
        .encode(json(&row.usage)?)?
        .encode(i64::from(row.attempts))?
        .encode(row.first_seq)?
        .encode(time(row.retry_at))?
        .encode(time(row.started_at))?
        .encode(time(row.completed_at))?;
    Ok(())
}

/// A value that is JSON text already.
struct Json(String);

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        <sqlx::types::Json<()> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Json {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // The version of the binary form of jsonb, which is the text.
        buffer.push(1);
        buffer.extend(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Json, serde_json::Error> {
    rows::text(value).map(Json)
}

fn time(at: Option<Timestamp>) -> Option<DateTime<Utc>> {
    at.map(Timestamp::to_datetime)
}
