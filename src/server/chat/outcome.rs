//! What became of the task that a message was answered with, as the last parts of that answer.

use serde_json::{Value, json};

use crate::repository::{Message, Repository, RepositoryError};
use crate::task::{Status, TaskId};

/// The answer with what its task came to, if it has one: the message was kept when the task began, and a
/// page that is opened later has no stream to read the end from.
pub(in crate::server) async fn with_outcome(
    repository: &dyn Repository,
    mut message: Message,
) -> Result<Message, RepositoryError> {
    if let (Some(id), "assistant") = (message.task_id, message.role.as_str())
        && let Some(parts) = message.parts.as_array_mut()
    {
        parts.extend(outcome(repository, id).await?);
    }
    Ok(message)
}

/// Where a task stands, and its answer or why there is none once it has ended. Nothing of a task that is
/// not there any more.
async fn outcome(repository: &dyn Repository, id: TaskId) -> Result<Vec<Value>, RepositoryError> {
    let Some(task) = repository.load(id).await? else { return Ok(Vec::new()) };
    let (state, status) = (task.state(), task.status());
    let mut parts = vec![json!({"type": "data-task", "data": {"taskId": id, "status": status}})];
    match (status, &state.output, &state.fault) {
        (Status::Completed, Some(output), _) => {
            let answer = repository.content(output).await?;
            let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
            parts.push(text(&answer));
        }
        (Status::Failed, _, Some(fault)) => {
            let error = json!({"code": fault.code, "message": fault.to_string()});
            parts.push(json!({"type": "data-error", "data": error}));
        }
        (Status::Cancelled, ..) => parts.push(text("The task was cancelled.")),
        _ => {}
    }
    Ok(parts)
}

fn text(said: &str) -> Value {
    json!({"type": "text", "text": said})
}
