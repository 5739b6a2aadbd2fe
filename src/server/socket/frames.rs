//! What is said on a WebSocket besides entries.

use axum::extract::ws::Utf8Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::orchestrator::Said;
use crate::repository::TaskSummary;
use crate::server::error::{ApiError, Problem};
use crate::server::feed::Note;
use crate::server::views::EntryView;
use crate::task::TaskId;

/// What a client says on `/api/ws`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SocketCommand")]
pub(in crate::server) enum Command {
    /// Follow a task.
    Subscribe {
        /// Which one.
        task_id: String,
        /// Only entries behind the one with this number; all if absent.
        after: Option<i64>,
    },
    /// Do not follow it any more.
    Unsubscribe {
        /// Which one.
        task_id: String,
    },
    /// Tell how all tasks of the caller stand: now, and whenever one changes.
    SubscribeTasks,
    /// Do not tell it any more.
    UnsubscribeTasks,
}

/// What a server says that is no entry. It has no number.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "control", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[schemars(rename = "SocketControl")]
pub(in crate::server) enum Control {
    /// A task is followed from now on.
    Subscribed {
        /// Which one.
        task_id: TaskId,
        /// Its newest entry: what follows up to it is old.
        seq: i64,
    },
    /// A task is not followed any more, for it has ended and all of it was told.
    Ended {
        /// Which one.
        task_id: TaskId,
        /// Its last entry.
        seq: i64,
    },
    /// A task is not followed any more, for its entries came faster than they were read.
    Resync {
        /// Which one.
        task_id: TaskId,
        /// Subscribe again behind this entry, and nothing is missing.
        seq: i64,
    },
    /// A task is not followed any more, for the server shuts down or cannot read its journal.
    Cut {
        /// Which one.
        task_id: TaskId,
        /// Subscribe again behind this entry.
        seq: i64,
    },
    /// How tasks stand: the newest ones and all that have not ended.
    Tasks {
        /// In no order.
        tasks: Vec<TaskSummary>,
    },
    /// How a task stands that has changed. Of two about one task, the one with the larger `seq`
    /// counts.
    Task {
        /// The task.
        task: Box<TaskSummary>,
    },
    /// A piece of what a model is saying. A hint: it may be missing, and what was said is in an entry
    /// once the answer is complete.
    Said(Said),
    /// Something that was said is not done.
    Refused {
        /// About which task, if about one.
        task_id: Option<String>,
        /// Why.
        problem: Problem,
    },
}

impl Control {
    /// A refusal in the terms of the routes.
    pub(super) fn refused(task_id: Option<String>, refusal: ApiError) -> Self {
        Self::Refused { task_id, problem: Problem::of(refusal) }
    }

    /// The frame as it is sent.
    pub(in crate::server) fn text(&self) -> Utf8Bytes {
        let text = serde_json::to_string(self).unwrap_or_else(|error| {
            tracing::error!(%error, "a frame cannot be written");
            "{}".to_owned()
        });
        text.into()
    }
}

/// An entry on `/api/ws`: with the task it belongs to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TaskEntry")]
pub(in crate::server) struct TaskFrame {
    task_id: TaskId,
    #[serde(flatten)]
    entry: EntryView,
}

impl TaskFrame {
    /// The frame as it is sent. The entry is written already: the name of its task goes before it.
    pub(super) fn text(task_id: TaskId, note: &Note) -> Utf8Bytes {
        match note.json.strip_prefix('{') {
            Some(rest) => format!("{{\"taskId\":\"{task_id}\",{rest}").into(),
            None => note.json.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::task::{Entry, Event, Timestamp};

    #[test]
    fn an_entry_is_told_with_its_task() {
        let entry =
            Entry { seq: 3, epoch: 1, at: Timestamp::default(), event: Event::Resumed { by: "b".into() } };
        let whole = TaskFrame { task_id: TaskId(Uuid::nil()), entry: EntryView::of(&entry) };
        let told: Value = serde_json::from_str(&TaskFrame::text(whole.task_id, &Note::of(entry))).unwrap();
        assert_eq!(told, json!(whole));
        assert_eq!(told["kind"], "resumed");
    }

    #[test]
    fn a_misspelt_command_is_no_command() {
        let read = |text: &str| serde_json::from_str::<Command>(text);
        assert!(read(r#"{"command": "subscribe", "taskId": "x", "after": 5}"#).is_ok());
        assert!(read(r#"{"command": "subscribe", "taskId": "x", "aftr": 5}"#).is_err());
        assert!(read(r#"{"command": "subscribe-tasks"}"#).is_ok());
    }
}
