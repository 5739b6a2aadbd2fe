//! `/api/schedules`: what is to be started when.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::Caller;
use super::error::ApiError;
use super::idempotency::{self, Keyed, KeyedOrBare, begun};
use super::own::Own;
use super::page::{self, Limit, MOST};
use super::parse::{JsonBody, Params};
use super::state::AppState;
use crate::orchestrator::ScheduleWish;
use crate::repository::{Schedule, ScheduleId};
use crate::task::Timestamp;

/// Fire times that are told in advance.
const UPCOMING: usize = 5;

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Range {
    /// At most so many; 100 if absent.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<u32>,
    /// Only schedules made before the one with this id.
    #[schemars(with = "Option<ScheduleId>")]
    before: Option<String>,
}

/// Schedules, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScheduleList {
    schedules: Vec<Schedule>,
    /// What to give as `before` to get those behind these, if there may be any.
    next_before: Option<ScheduleId>,
}

/// A schedule with its next fire times.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ScheduleDetail")]
pub(super) struct ScheduleView {
    #[serde(flatten)]
    schedule: Schedule,
    /// The next fire times, at most five; none while it is paused.
    upcoming: Vec<Timestamp>,
}

impl ScheduleView {
    fn of(state: &AppState, schedule: Schedule) -> Json<Self> {
        let upcoming = state.orchestrator.upcoming(&schedule, UPCOMING);
        Json(Self { schedule, upcoming })
    }
}

/// `GET /api/schedules`: the caller's schedules, newest first.
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(range): Params<Range>,
) -> Result<Json<ScheduleList>, ApiError> {
    let limit = Limit::of(range.limit)?;
    let before = page::before(range.before, "schedule")?;
    let schedules = state.repository().schedules(Some(&caller.0), before, limit.0).await?;
    let next_before = limit.end_of(&schedules).map(|last| last.id);
    Ok(Json(ScheduleList { schedules, next_before }))
}

/// A pattern that somebody thinks of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pattern {
    /// Five fields, or `@daily` and the like.
    cron: String,
    /// Whose clock it is about; UTC if absent.
    time_zone: Option<String>,
}

/// When a pattern would fire.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FireTimes {
    /// The next fire times, at most five.
    upcoming: Vec<Timestamp>,
}

/// `GET /api/schedules/preview`: what a pattern means, before there is a schedule.
pub(super) async fn preview(
    State(state): State<AppState>,
    Params(pattern): Params<Pattern>,
) -> Result<Json<FireTimes>, ApiError> {
    let zone = pattern.time_zone.as_deref().unwrap_or("UTC");
    Ok(Json(FireTimes { upcoming: state.orchestrator.fire_times(&pattern.cron, zone, UPCOMING)? }))
}

/// `POST /api/schedules`.
pub(super) async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Keyed { body: wish, key }: Keyed<ScheduleWish>,
) -> Result<Response, ApiError> {
    let shown = state.clone();
    let reply = move |schedule: &Schedule| json!(ScheduleView::of(&shown, schedule.clone()).0);
    let make = |key| state.orchestrator.create_schedule(&caller.0, wish, key);
    idempotency::once(&state, &caller, key, reply, make).await
}

/// `GET /api/schedules/{id}`.
pub(super) async fn show(
    State(state): State<AppState>,
    Own(schedule): Own<Schedule>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(ScheduleView::of(&state, schedule))
}

/// `PATCH /api/schedules/{id}`: what is missing stays as it is.
pub(super) async fn change(
    State(state): State<AppState>,
    Own(Schedule { id, .. }): Own<Schedule>,
    JsonBody(wish): JsonBody<ScheduleWish>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(ScheduleView::of(&state, state.orchestrator.change_schedule(id, wish).await?))
}

/// `DELETE /api/schedules/{id}`: its tasks stay.
pub(super) async fn delete(
    State(state): State<AppState>,
    Own(Schedule { id, .. }): Own<Schedule>,
) -> Result<StatusCode, ApiError> {
    state.orchestrator.delete_schedule(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/schedules/{id}/pause`.
pub(super) async fn pause(
    State(state): State<AppState>,
    Own(Schedule { id, .. }): Own<Schedule>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(ScheduleView::of(&state, state.orchestrator.pause_schedule(id).await?))
}

/// `POST /api/schedules/{id}/resume`.
pub(super) async fn resume(
    State(state): State<AppState>,
    Own(Schedule { id, .. }): Own<Schedule>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(ScheduleView::of(&state, state.orchestrator.resume_schedule(id).await?))
}

/// A body that has nothing to say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Nothing {}

/// `POST /api/schedules/{id}/trigger`: starts its task now, and answers with the task.
pub(super) async fn trigger(
    State(state): State<AppState>,
    caller: Caller,
    Own(Schedule { id, .. }): Own<Schedule>,
    KeyedOrBare(Keyed { body: Nothing {}, key }): KeyedOrBare<Nothing>,
) -> Result<Response, ApiError> {
    let start = |key| state.orchestrator.trigger_schedule(id, key);
    idempotency::once(&state, &caller, key, begun, start).await
}
