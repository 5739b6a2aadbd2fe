//! What goes in and out of the repository besides tasks and entries.

use std::ops::AddAssign;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::task::{Fault, ForkPoint, Pause, Priority, Status, Task, TaskId, Timestamp, Usage};

/// A worker's wish for work.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The worker's name.
    pub worker: &'a str,
    /// At most so many tasks.
    pub limit: u32,
    /// For how long, unless renewed.
    pub lease: Duration,
    /// Only what has been due for so long.
    pub overdue: Duration,
    /// Only this task, if it is due.
    pub only: Option<TaskId>,
    /// So many tasks of one user are leased at a time, over all workers; 0 is without limit.
    pub per_user: u32,
}

impl<'a> Claim<'a> {
    /// One task, whichever is due and first.
    pub const fn by(worker: &'a str, lease: Duration) -> Self {
        Self { worker, limit: 1, lease, overdue: Duration::ZERO, only: None, per_user: 0 }
    }
}

/// Where a due task stands in the line: the smaller, the sooner its turn comes.
///
/// A level of priority is worth a minute of waiting. The place of a task of priority `p` that
/// becomes due now is `p` minutes; it falls by a minute in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub(super) i64);

impl Place {
    /// Where a task stands that becomes due now.
    pub fn of_newcomer(priority: Priority) -> Self {
        Self(i64::from(priority.number()) * level_ms!())
    }
}

/// A lease that was granted.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The task, in its new epoch.
    pub task: Task,
    /// How many workers lost it since it last made progress.
    pub crashes: u32,
}

/// A lease that was granted, before its task is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leased {
    pub(super) id: TaskId,
    pub(super) crashes: i64,
    pub(super) epoch: i64,
}

/// A lease that was extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Which task.
    pub id: TaskId,
    /// Its newest entry: larger than the worker knows if somebody else wrote.
    pub seq: i64,
}

/// The reply that a request was given, kept under the key that the request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whose key it is: two users may choose the same one.
    pub user_id: String,
    /// The key, 1 to 255 characters.
    pub key: String,
    /// What was asked, as a hash: the same key with another request is a mistake.
    pub request_hash: [u8; 32],
    /// The task that the request started, if it started one.
    pub task_id: Option<TaskId>,
    /// The body of the reply.
    pub reply: String,
}

/// A worker, as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// The name under which it takes leases.
    pub name: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// Tasks it works on side by side, at most.
    pub concurrency: u32,
    /// For how long it takes leases, in milliseconds.
    pub lease_ms: u64,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It takes tasks.
    Working,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It was not heard of for longer than its leases last.
    Gone,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// It begins.
    Begin,
    /// It works.
    Work,
    /// It finishes what it has.
    Drain,
    /// It has ended and is not missed.
    End,
}

/// A worker in the list of workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSummary {
    /// Who it is.
    #[serde(flatten)]
    pub info: WorkerInfo,
    /// What it does.
    pub presence: Presence,
    /// Since when.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// The tasks it holds.
    pub tasks: Vec<TaskId>,
}

/// How much may happen in how much time, over all workers.
///
/// `max` at once, and from then on one every `duration / max`: in a span of time `t` never more
/// than `max + t · max / duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub max: u32,
    /// In which time.
    pub duration: Duration,
}

impl Rate {
    /// Microseconds from one permit to the next, rounded up so that the rate is never exceeded.
    pub(super) fn interval(self) -> i64 {
        let micros = self.duration.as_micros().div_ceil(u128::from(self.max.max(1)));
        i64::try_from(micros).unwrap_or(i64::MAX).max(1)
    }
}

/// What a limiter allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// So much may happen now.
    pub permits: u32,
    /// If that is nothing: when asking again is worth while.
    pub wait: Duration,
}

/// A hint that a task has new entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Which task.
    pub id: TaskId,
    /// Its newest entry.
    pub seq: i64,
    /// Where it stands.
    pub status: Status,
    /// Steps that are completed.
    pub completed_steps: u32,
    /// Steps of the plan.
    pub total_steps: u32,
    /// Whether it wants a worker that it does not have.
    pub is_due: bool,
}

/// Which tasks to list; empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only of this conversation.
    pub thread_id: Option<String>,
    /// Only in one of these states.
    pub statuses: Vec<Status>,
    /// Only those that wait for a person, live or paused.
    pub requests: Option<Requests>,
    /// Only the children of this task.
    pub parent: Option<TaskId>,
    /// Only those that are nobody's children.
    pub roots: bool,
    /// Only those whose goal has all of these words in it, in capitals or not.
    pub words: Vec<String>,
    /// Only those created before this one.
    pub before: Option<TaskId>,
    /// At most so many; 0 means 100.
    pub limit: u32,
}

/// Tasks that wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// Those with an open request, or with a call whose outcome nobody knows.
    Open,
    /// Paused ones with a request that expired at this moment or before.
    ExpiredBy(Timestamp),
}

/// A task in a list.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    /// Its name.
    pub id: TaskId,
    /// Whose it is.
    pub user_id: String,
    /// The conversation it belongs to.
    pub thread_id: String,
    /// The goal.
    pub goal: String,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// Why it is paused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Steps that are completed.
    pub completed_steps: u32,
    /// Steps of the plan.
    pub total_steps: u32,
    /// What it has consumed.
    pub usage: Usage,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The number of its newest entry.
    pub seq: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its newest entry was written.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Which worker holds it.
    pub worker: Option<String>,
    /// The task that it works for, if it is a child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TaskId>,
    /// The task whose facts it began with, if it is a fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// Whether it was carried out elsewhere and is here as a recording.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// When it is looked at again, while it runs and no worker holds it: if that lies ahead, it waits for
    /// the next attempt of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
    /// What it is at: the description of the first step that runs, or waits for its next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
}

/// A child that does not stand as its parent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// The child.
    pub id: TaskId,
    /// Its parent.
    pub parent: TaskId,
    /// What has to become of the child.
    pub fate: Fate,
}

/// What has to become of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its parent has ended: it is cancelled.
    End,
    /// Its parent is paused: so is it.
    Pause,
    /// Its parent goes on: so does it.
    Resume,
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Any text.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// For people.
    pub title: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was written to last.
    pub updated_at: Timestamp,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Unique within the conversation; any text.
    pub id: String,
    /// The conversation.
    pub thread_id: String,
    /// `user` or `assistant`; `system` for what the engine notes for itself.
    pub role: String,
    /// The parts of a UI message.
    pub parts: Value,
    /// The task it started, if it did.
    pub task_id: Option<TaskId>,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Tasks that ended longer ago than this go as a whole; `None` keeps them.
    pub tasks: Option<Duration>,
    /// Entries of tasks that ended longer ago than this go, their tasks stay; `None` keeps
    /// them. A task without its entries can be looked at but no longer be audited.
    pub traces: Option<Duration>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Whole tasks.
    pub tasks: u64,
    /// Entries, of these tasks and of such that stay.
    pub traces: u64,
    /// Contents that nothing referred to any more.
    pub blobs: u64,
    /// Replies that were kept under idempotency keys.
    pub replies: u64,
    /// Workers that had been gone for a day.
    pub workers: u64,
}

impl AddAssign for Pruned {
    fn add_assign(&mut self, more: Self) {
        self.tasks += more.tasks;
        self.traces += more.traces;
        self.blobs += more.blobs;
        self.replies += more.replies;
        self.workers += more.workers;
    }
}

/// What there is to do, for a worker that nobody told of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whether a task is.
    pub task: bool,
    /// How long until the next schedule is: nothing if one is, none if there is none.
    pub schedule: Option<Duration>,
}

/// What is in the database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Tasks by status.
    pub tasks: std::collections::BTreeMap<String, u64>,
    /// Live tasks that wait for a worker now.
    pub due: u64,
    /// Live tasks that a worker holds.
    pub leased: u64,
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant, in words.
    pub invariant: &'static str,
    /// How many rows break it.
    pub rows: u64,
    /// Some of the tasks.
    pub examples: Vec<String>,
}
