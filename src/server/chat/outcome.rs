//! What became of the task that a message was answered with, as the last parts of that answer.

use serde_json::{Value, json};

use super::answer::ANSWERING;
use super::asked;
use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::repository::{Message, Repository, RepositoryError};
use crate::task::{Status, Task, TaskId, as_text};

/// The message as clients see it: with what its task came to, and of an answer that is being given only that it
/// is. How it is given is a matter of the processes that may have to give it.
pub(in crate::server) async fn shown(
    orchestrator: &Orchestrator,
    mut message: Message,
) -> Result<Message, OrchestratorError> {
    let parts = message.parts.as_array_mut().into_iter().flatten();
    for part in parts.filter(|part| part["type"] == ANSWERING) {
        part["data"] = json!({});
    }
    with_outcome(orchestrator, message).await
}

/// The answer with what its task came to, if it has one: the message was kept when the task began, and a
/// page that is opened later has no stream to read the end from.
async fn with_outcome(
    orchestrator: &Orchestrator,
    mut message: Message,
) -> Result<Message, OrchestratorError> {
    if let (Some(id), "assistant") = (message.task_id, message.role.as_str())
        && let Some(parts) = message.parts.as_array_mut()
    {
        parts.extend(outcome(orchestrator, id).await?);
    }
    Ok(message)
}

/// Where a task stands, what it asks people, and its answer or why there is none once it has ended. Nothing of a task that is
/// not there any more.
async fn outcome(orchestrator: &Orchestrator, id: TaskId) -> Result<Vec<Value>, OrchestratorError> {
    let repository = orchestrator.repository().as_ref();
    let Some(task) = repository.load(id).await? else { return Ok(Vec::new()) };
    let (state, status) = (task.state(), task.status());
    let mut parts = vec![json!({"type": "data-task", "data": {"taskId": id, "status": status}})];
    parts.extend(asked::parts(orchestrator, &task).await?);
    parts.extend(result(repository, &task).await?.map(|result| text(&result)));
    match (status, &state.fault) {
        (Status::Failed, Some(fault)) => {
            let error = json!({"code": fault.code, "message": fault.to_string()});
            parts.push(json!({"type": "data-error", "data": error}));
        }
        (Status::Cancelled, _) => parts.push(text("The task was cancelled.")),
        _ => {}
    }
    Ok(parts)
}

/// What a completed task has brought, as text.
pub(super) async fn result(
    repository: &dyn Repository,
    task: &Task,
) -> Result<Option<String>, RepositoryError> {
    let output = task.state().output.as_ref().filter(|_| task.status() == Status::Completed);
    let Some(output) = output else { return Ok(None) };
    Ok(Some(as_text(repository.content(output).await?)))
}

fn text(said: &str) -> Value {
    json!({"type": "text", "text": said})
}
