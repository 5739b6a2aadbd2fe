//! One message is one task, also if it is sent again while its plan is still being made.
//!
//! The task has an id that is made of the message and of when it was said first: whoever starts it once more is
//! told that it exists, in whatever process. Within one process the second one waits, so that no plan is made for nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as Turnstile, OwnedMutexGuard};
use uuid::Builder;

use super::request::Turn;
use crate::repository::Message;
use crate::task::TaskId;

/// A thread and a message of it.
type Said = (String, String);

/// The messages that this process is beginning to answer, or starting tasks for.
#[derive(Clone, Default)]
pub(in crate::server) struct Starts(Arc<Mutex<HashMap<Said, Weak<Turnstile<()>>>>>);

impl Starts {
    /// Waits until nobody else begins to answer the message, or starts a task for it. It is free again when this is
    /// dropped.
    pub(super) async fn alone(&self, turn: &Turn) -> OwnedMutexGuard<()> {
        self.alone_with(&turn.thread_id, &turn.message_id).await
    }

    /// The same for a message by its name.
    pub(super) async fn alone_with(&self, thread_id: &str, message_id: &str) -> OwnedMutexGuard<()> {
        let turnstile = {
            let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            starts.retain(|_, turnstile| turnstile.strong_count() > 0);
            let said = (thread_id.to_owned(), message_id.to_owned());
            let known = starts.get(&said).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Arc::default();
                starts.insert(said, Arc::downgrade(&new));
                new
            })
        };
        turnstile.lock_owned().await
    }
}

/// The id of the task that a message becomes when it is sent for the first time, and of no other.
pub(super) fn task_id(turn: &Turn, stored: &Message) -> TaskId {
    let mut hash = Sha256::new();
    for part in [&turn.thread_id, &turn.message_id, &turn.text] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let millis = u64::try_from(stored.created_at.as_millis()).unwrap_or(0);
    TaskId(Builder::from_unix_timestamp_millis(millis, &std::array::from_fn(|at| hash[at])).into_uuid())
}
