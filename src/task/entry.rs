//! One line of a journal: an event with its number, its epoch and its time.

use serde::{Deserialize, Serialize};

use super::{Event, Timestamp};

/// One line of a task's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number within the task: 1, 2, 3, … in commit order, without gaps.
    pub seq: i64,
    /// The epoch of the lease under which it was written; never falls.
    pub epoch: i64,
    /// When it was written, by the clock of its writer.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// Whether two entries of one task are the same one. Nobody else writes in one epoch under one
    /// number at the same millisecond with the same tag; the contents are not compared, for a
    /// database may write a number differently.
    pub fn is_same(&self, other: &Self) -> bool {
        let shape = |entry: &Self| (entry.seq, entry.epoch, entry.at, entry.event.kind());
        shape(self) == shape(other)
    }
}
