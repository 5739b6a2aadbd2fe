//! `/api/tasks`: what there is to know of tasks, and what may be done with them.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::auth::Caller;
use super::error::ApiError;
use super::own::Own;
use super::page::{self, Limit, MOST};
use super::parse::{JsonBody, OptionalBody, Params};
use super::state::AppState;
use super::views::{self, EntryView, JobList, StepDetail, StepList, TaskDetail, TaskList, TraceList};
use crate::orchestrator::{OutcomeDecision, RequestId};
use crate::repository::ListFilter;
use crate::task::{Payload, Priority, Status, Task, TaskId};

/// Characters of what is searched for, at most.
const LONGEST: usize = 200;

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Which {
    /// Only tasks in one of these states: words with commas between them.
    #[schemars(regex(pattern = "^(,|pending|running|paused|completed|failed|cancelled)*$"), extend("example" = "running,paused"))]
    status: Option<String>,
    /// Only tasks of this conversation.
    thread_id: Option<String>,
    /// Only tasks that are nobody's sub-tasks.
    roots: Option<bool>,
    /// Only tasks whose goal has all of these words in it, in capitals or not.
    #[schemars(length(max = LONGEST), extend("example" = "compare modules"))]
    q: Option<String>,
    /// At most so many; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
    /// Only tasks created before the one with this id.
    #[schemars(with = "Option<TaskId>")]
    before: Option<String>,
}

/// The query of a list of sub-tasks.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Children {
    /// At most so many; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
    /// Only tasks created before the one with this id.
    #[schemars(with = "Option<TaskId>")]
    before: Option<String>,
}

/// The query of a journal.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Range {
    /// Only entries behind the one with this number.
    after: Option<i64>,
    /// At most so many; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
}

/// What may be changed of a task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TaskChange")]
pub(super) struct Change {
    priority: Priority,
}

/// The body of a resume: a person's word about a call whose outcome nobody knows.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    outcome: Option<Outcome>,
    /// The request of the inbox that asks about the call, if the outcome of several is unknown.
    request: Option<String>,
}

/// How a call ended whose outcome nobody knew.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It took effect: this is its result.
    Happened(Value),
    /// It took no effect and may run again.
    DidNotHappen,
    /// The task goes on without the step.
    Skip,
    /// The step has failed.
    Fail,
}

impl From<Outcome> for OutcomeDecision {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Happened(result) => Self::Happened(result),
            Outcome::DidNotHappen => Self::DidNotHappen,
            Outcome::Skip => Self::Skip,
            Outcome::Fail => Self::Fail,
        }
    }
}

/// `GET /api/tasks`: the caller's tasks, newest first.
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(which): Params<Which>,
) -> Result<Json<TaskList>, ApiError> {
    let filter = which.filter(caller)?;
    let tasks = state.repository().list(&filter).await?;
    let next = Limit(filter.limit).end_of(&tasks).map(|last| last.id);
    Ok(Json(TaskList { tasks, next_before: next }))
}

impl Which {
    fn filter(self, caller: Caller) -> Result<ListFilter, ApiError> {
        let before = page::before(self.before, "task")?;
        let words = self.status.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty());
        let statuses: Option<Vec<Status>> = words.map(Status::parse).collect();
        let statuses = statuses.ok_or_else(|| {
            let known: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
            ApiError::invalid("status", &format!("is a list, with commas, of {}", known.join(", ")))
        })?;
        let query = self.q.unwrap_or_default();
        if query.chars().count() > LONGEST {
            return Err(ApiError::invalid("q", &format!("has at most {LONGEST} characters")));
        }
        Ok(ListFilter {
            user_id: Some(caller.0),
            thread_id: self.thread_id,
            statuses,
            requests: None,
            parent: None,
            roots: self.roots.unwrap_or(false),
            words: query.split_whitespace().map(str::to_owned).collect(),
            before,
            limit: Limit::of(self.limit)?.0,
        })
    }
}

/// `GET /api/tasks/{id}`.
pub(super) async fn show(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<TaskDetail>, ApiError> {
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

/// `PATCH /api/tasks/{id}`.
pub(super) async fn change(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    JsonBody(change): JsonBody<Change>,
) -> Result<Json<TaskDetail>, ApiError> {
    let task = state.orchestrator.prioritize(task.id, change.priority, &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

/// `GET /api/tasks/{id}/children`: the tasks that carry out calls of a task, newest first.
pub(super) async fn children(
    State(state): State<AppState>,
    Own(task): Own<Task>,
    Params(piece): Params<Children>,
) -> Result<Json<TaskList>, ApiError> {
    let (before, limit) = (page::before(piece.before, "task")?, Limit::of(piece.limit)?);
    let filter = ListFilter { parent: Some(task.id), before, limit: limit.0, ..ListFilter::default() };
    let tasks = state.repository().list(&filter).await?;
    let next = limit.end_of(&tasks).map(|last| last.id);
    Ok(Json(TaskList { tasks, next_before: next }))
}

/// `GET /api/tasks/{id}/steps`: every step of every revision, in order.
pub(super) async fn steps(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<StepList>, ApiError> {
    let mut steps: Vec<StepDetail> = Vec::new();
    for (index, step) in task.steps().iter().enumerate() {
        steps.push(views::step(state.repository().as_ref(), index, step).await?);
    }
    Ok(Json(StepList { steps }))
}

/// `GET /api/tasks/{id}/traces`: a piece of the journal.
pub(super) async fn traces(
    State(state): State<AppState>,
    Own(task): Own<Task>,
    Params(range): Params<Range>,
) -> Result<Json<TraceList>, ApiError> {
    let limit = Limit::of(range.limit)?;
    let entries = state.repository().journal(task.id, range.after.unwrap_or(0), limit.0).await?;
    let next = limit.end_of(&entries).map(|last| last.seq);
    let traces: Vec<EntryView> = entries.iter().map(EntryView::of).collect();
    Ok(Json(TraceList { traces, next_after: next }))
}

/// `GET /api/tasks/{id}/traces/{seq}`: one entry with its contents in full.
pub(super) async fn entry(
    State(state): State<AppState>,
    Own(task): Own<Task>,
    Path((_, seq)): Path<(String, String)>,
) -> Result<Json<EntryView>, ApiError> {
    let seq: i64 = seq.parse().map_err(|_| ApiError::invalid("seq", "is the number of an entry"))?;
    let entries = state.repository().journal(task.id, seq.saturating_sub(1), 1).await?;
    let mut entry =
        entries.into_iter().find(|entry| entry.seq == seq).ok_or_else(ApiError::entry_not_found)?;
    for payload in entry.event.payloads_mut() {
        *payload = Payload::Inline(state.repository().content(payload).await?);
    }
    Ok(Json(EntryView::of(&entry)))
}

/// `GET /api/tasks/{id}/jobs`: the hints about a task that wait or waited in the queue.
pub(super) async fn jobs(
    State(state): State<AppState>,
    Own(task): Own<Task>,
) -> Result<Json<JobList>, ApiError> {
    let jobs = state.orchestrator.queue().get_task_jobs(task.id).await?;
    Ok(Json(JobList { jobs }))
}

/// `POST /api/tasks/{id}/pause`.
pub(super) async fn pause(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
) -> Result<Json<TaskDetail>, ApiError> {
    let task = state.orchestrator.pause(task.id, &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

/// `POST /api/tasks/{id}/resume`.
pub(super) async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
    OptionalBody(body): OptionalBody<Resume>,
) -> Result<Json<TaskDetail>, ApiError> {
    let Resume { outcome, request } = body.unwrap_or_default();
    let request = request.map(|id| id.parse::<RequestId>()).transpose();
    let request = request.map_err(|problem| ApiError::invalid("request", problem))?;
    let Some(outcome) = outcome else {
        if request.is_some() {
            return Err(ApiError::invalid("outcome", "is missing: say how the call of this request ended"));
        }
        let task = state.orchestrator.resume(task.id, &caller.0).await?;
        return Ok(Json(views::task(&state.orchestrator, &task).await?));
    };
    let decided = state.orchestrator.decide_outcome(task.id, request, outcome.into(), &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &decided.0).await?.with_decided(decided.1)))
}

/// `POST /api/tasks/{id}/cancel`.
pub(super) async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Own(task): Own<Task>,
) -> Result<Json<TaskDetail>, ApiError> {
    let task = state.orchestrator.cancel(task.id, &caller.0).await?;
    Ok(Json(views::task(&state.orchestrator, &task).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outcomes_are_words_or_a_result() {
        let read = |body: Value| serde_json::from_value::<Resume>(body).map(|resume| resume.outcome);
        assert_eq!(read(json!({"outcome": "did-not-happen"})).unwrap(), Some(Outcome::DidNotHappen));
        let happened = Outcome::Happened(json!({"id": 7}));
        assert_eq!(read(json!({"outcome": {"happened": {"id": 7}}})).unwrap(), Some(happened));
        assert_eq!(read(json!({})).unwrap(), None);
        assert!(read(json!({"outcome": "maybe"})).is_err());
        assert!(read(json!({"outcom": "skip"})).is_err(), "a misspelt word must not resume without it");
    }
}
