//! Keeps the sums up with the journals, in the background of a process.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Reach;
use crate::repository::{Change, Repository};
use crate::task::TaskId;

/// How far the sums may be behind what this process writes.
const PAUSE: Duration = Duration::from_secs(3);

/// How often it looks for what others wrote and did not count: each counts its own, but for those that
/// end with their one write, and those that died.
const SWEEP: Duration = Duration::from_secs(60);

/// After so many of these looks, all tasks are looked at: one may have waited for a person, or ended,
/// while nobody counted.
const ROUNDS: u32 = 10;

/// Counts what is committed through the repository until `shutdown` is cancelled, and then what is left.
/// Where nothing is committed nothing is asked, but for a sweep each minute. Any number of processes
/// may do so at once.
pub async fn keep_up(repository: Arc<dyn Repository>, shutdown: CancellationToken) {
    let mut changes = repository.changes();
    let mut rounds = (0..ROUNDS).cycle();
    let mut sweep = Instant::now();
    loop {
        let mut tasks = HashSet::new();
        let first = tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep_until(sweep) => {
                let reach = if rounds.next() == Some(0) { Reach::All } else { Reach::Recent };
                catch_up(repository.as_ref(), reach).await;
                sweep = Instant::now() + SWEEP;
                continue;
            }
            first = changes.recv() => first,
        };
        match first {
            Ok(change) => drop(tasks.insert(change.id)),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        let was_missed = first.is_err();
        // Many commits are one look.
        let _ = shutdown.run_until_cancelled(sleep(PAUSE)).await;
        catch_up(repository.as_ref(), written(&mut changes, tasks, was_missed)).await;
    }
    catch_up(repository.as_ref(), written(&mut changes, HashSet::new(), false)).await;
}

/// The tasks that were written to so far: all that are under way, if some were missed.
fn written(changes: &mut Receiver<Change>, mut tasks: HashSet<TaskId>, mut was_missed: bool) -> Reach {
    loop {
        match changes.try_recv() {
            Ok(change) => drop(tasks.insert(change.id)),
            Err(TryRecvError::Lagged(_)) => was_missed = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) if was_missed => return Reach::Recent,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Reach::Of(tasks.into_iter().collect()),
        }
    }
}

/// Counts until there is nothing left, or something is in the way: then the next sweep goes on.
async fn catch_up(repository: &dyn Repository, reach: Reach) {
    if matches!(&reach, Reach::Of(tasks) if tasks.is_empty()) {
        return;
    }
    // Nothing counted may mean that somebody else was quicker, who has not seen the newest entries. Others
    // are looked for again soon; those that this process wrote are left to nobody.
    let tries = if matches!(reach, Reach::Of(_)) { 2 } else { 1 };
    let mut in_vain = 0;
    loop {
        match repository.analytics().count(&reach).await {
            Ok(0) => {
                in_vain += 1;
                if in_vain == tries {
                    return;
                }
            }
            // Whoever commits goes first.
            Ok(_) => {
                in_vain = 0;
                tokio::task::yield_now().await;
            }
            Err(error) => {
                error.tell("what happened cannot be counted, trying again");
                return;
            }
        }
    }
}
