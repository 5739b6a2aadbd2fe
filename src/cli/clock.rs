//! One time for all machines: that of the database they share. What one of them notes for later is read by
//! another one, whose clock may be an hour behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::wiring::Database;
use crate::orchestrator::{Clock, system_clock};
use crate::repository::PostgresRepository;
use crate::task::Timestamp;

/// How far a clock may be off, in milliseconds, before the database's is used: by as much as it takes to ask.
const TOLERATED: i64 = 250;
/// From where on people are told.
const TOLD: i64 = 1_000;
/// How often it is looked again: clocks are set, and drift.
const AGAIN: Duration = Duration::from_secs(300);

/// The clock that counts. A file belongs to one machine, whose clock is as good as any.
pub(super) async fn clock_of(database: &Database) -> Clock {
    let Database::Postgres(repository, _) = database else { return system_clock() };
    let ahead = Arc::new(AtomicI64::new(0));
    look(repository, &ahead).await;
    let (watched, weak) = (Arc::downgrade(repository), Arc::downgrade(&ahead));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(AGAIN).await;
            let (Some(repository), Some(ahead)) = (watched.upgrade(), weak.upgrade()) else { return };
            look(&repository, &ahead).await;
        }
    });
    let here = system_clock();
    Arc::new(move || shifted(here(), ahead.load(Ordering::Relaxed)))
}

fn shifted(time: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(millis))
}

/// A database that does not answer leaves the clock as it is.
async fn look(repository: &PostgresRepository, ahead: &AtomicI64) {
    let here = system_clock();
    let before = here().as_millis();
    let there = match repository.now().await {
        Ok(there) => there.as_millis(),
        Err(error) => return tracing::debug!(%error, "the clock of the database is not known"),
    };
    let found = difference(before, there, here().as_millis());
    let known = ahead.swap(found, Ordering::Relaxed);
    if found.abs() >= TOLD && (found - known).abs() >= TOLD {
        tracing::warn!(
            millis = found.abs(),
            "the clock of this machine is {} that of the database, which is used",
            if found > 0 { "behind" } else { "ahead of" }
        );
    }
}

/// How far the clock there is ahead, if it is by more than can be explained by how long it took to ask.
fn difference(before: i64, there: i64, after: i64) -> i64 {
    let (middle, doubt) = (i64::midpoint(before, after), (after - before).max(0) / 2);
    let found = there - middle;
    if found.abs() > TOLERATED + doubt { found } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_only_by_more_than_it_takes_to_ask() {
        assert_eq!(difference(1_000, 1_100, 1_010), 0);
        assert_eq!(difference(1_000, 1_700, 2_000), 0, "the answer took a second");
        assert_eq!(difference(1_000, 3_601_005, 1_010), 3_600_000);
        assert_eq!(difference(3_601_000, 1_005, 3_601_010), -3_600_000);
    }
}
