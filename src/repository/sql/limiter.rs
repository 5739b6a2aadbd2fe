//! Limits that all processes share: the generic cell rate algorithm, by the database's clock.
//!
//! One number is kept: when the next permit would be due if every permit came exactly in its
//! time. Whoever takes a permit moves it on by one interval, and it may be ahead of the clock by
//! as many intervals as may happen at once.

use std::time::Duration;

use sqlx::Row as _;

use super::{Conn, Result, Row};
use crate::repository::{Grant, Rate};

/// When the next permit is due, but not before now: permits that nobody took are not saved up
/// beyond what may happen at once.
macro_rules! due {
    () => {
        concat!("CASE WHEN next_due > ", now_micros!(), " THEN next_due ELSE ", now_micros!(), " END")
    };
}
/// How many permits are free.
macro_rules! free {
    () => {
        concat!("((", now_micros!(), " + $3 * $2 - (", due!(), ")) / $2)")
    };
}
/// How many are granted: those that are free, at most as many as are wanted.
macro_rules! granted {
    () => {
        concat!("CASE WHEN ", free!(), " < 0 THEN 0 WHEN ", free!(), " < $4 THEN ", free!(), " ELSE $4 END")
    };
}

/// Takes permits: one statement, which locks one row.
pub(super) async fn permits(conn: &mut Conn, name: &str, rate: Rate, wanted: u32) -> Result<Grant> {
    const TAKE: &str = concat!(
        "UPDATE limiter SET granted = ",
        granted!(),
        ", next_due = ",
        due!(),
        " + (",
        granted!(),
        ") * $2 WHERE name = $1 RETURNING granted, next_due - ",
        now_micros!()
    );
    loop {
        let row = sqlx::query(TAKE)
            .bind(name)
            .bind(rate.interval())
            .bind(i64::from(rate.max))
            .bind(i64::from(wanted))
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = row {
            return grant(&row, rate);
        }
        sqlx::query("INSERT INTO limiter (name, next_due, granted) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING")
            .bind(name)
            .execute(&mut *conn)
            .await?;
    }
}

fn grant(row: &Row, rate: Rate) -> Result<Grant> {
    let (permits, ahead): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let at_once = rate.interval().saturating_mul(i64::from(rate.max));
    let wait = ahead.saturating_add(rate.interval()).saturating_sub(at_once);
    Ok(Grant {
        permits: u32::try_from(permits).unwrap_or(0),
        wait: Duration::from_micros(u64::try_from(wait).unwrap_or(0)),
    })
}
