//! `/api/analytics`: what happened, as numbers for charts and tables; also as CSV.
//!
//! Everything is read from sums that a pass in the background keeps up with the journals, a few
//! seconds behind them; what waits now is read from the tasks themselves.

mod csv;
mod series;
mod tables;
mod window;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use self::series::{Overview, TaskSeries};
pub(super) use self::tables::{DurationTable, FailureTable, UsageTable};
pub(super) use self::window::Window;
use super::auth::Caller;
use super::error::ApiError;
use super::parse::Params;
use super::state::AppState;
use crate::repository::analytics::{Figure, FigureFilter, Measure, Span};

/// Groups of failures in one answer.
const MOST_FAILURES: u32 = 200;

/// What durations are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Timed {
    /// Steps, by type.
    Step,
    /// Tool calls, by tool.
    Tool,
    /// Model calls, by model.
    Model,
    /// Tasks from their creation to their end, by status.
    Task,
    /// Tasks from their creation to their first claim.
    Wait,
}

/// What usage is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Consumer {
    /// Each model.
    Model,
    /// Each template that tasks were made from.
    Template,
    /// The user: the caller.
    User,
    /// Each piece of the time.
    Time,
}

/// The query of durations.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ByTimed {
    /// Of what.
    by: Timed,
}

/// The query of usage.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ByConsumer {
    /// Of whom or what.
    by: Consumer,
}

/// Sums of the caller's tasks.
async fn figures(
    state: &AppState,
    caller: &Caller,
    span: Span,
    measures: &[Measure],
) -> Result<Vec<Figure>, ApiError> {
    let user_id = Some(caller.0.clone());
    let filter = FigureFilter { user_id, measures: measures.to_vec(), range: Some(span) };
    Ok(state.repository().analytics().figures(&filter).await?)
}

/// `GET /api/analytics/overview`: the counters of a time, and what waits now.
pub(super) async fn overview(
    State(state): State<AppState>,
    caller: Caller,
    Params(window): Params<Window>,
) -> Result<Json<Overview>, ApiError> {
    let span = window.whole(state.orchestrator.now())?;
    let figures = figures(&state, &caller, span, &Measure::ALL).await?;
    let line = state.repository().analytics().line(Some(&caller.0)).await?;
    Ok(Json(Overview::of(span, &figures, line)))
}

/// `GET /api/analytics/tasks`: throughput, success, durations and waits over time.
pub(super) async fn tasks(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Params(window): Params<Window>,
) -> Result<Response, ApiError> {
    let span = window.pieces(state.orchestrator.now())?;
    let measures = [Measure::Created, Measure::Ended, Measure::Wait];
    let series = TaskSeries::of(span, &figures(&state, &caller, span, &measures).await?);
    Ok(match window.wants_csv(&headers) {
        true => csv::reply(&series.points),
        false => Json(series).into_response(),
    })
}

/// `GET /api/analytics/durations`: how long things take, how often they fail and are retried.
pub(super) async fn durations(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Params(window): Params<Window>,
    Params(ByTimed { by }): Params<ByTimed>,
) -> Result<Response, ApiError> {
    let span = window.whole(state.orchestrator.now())?;
    let measures = tables::measures(by);
    let table = DurationTable::of(span, measures[0], &figures(&state, &caller, span, &measures).await?);
    Ok(match window.wants_csv(&headers) {
        true => csv::reply(&table.rows),
        false => Json(table).into_response(),
    })
}

/// `GET /api/analytics/usage`: tokens and what they cost.
pub(super) async fn usage(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Params(window): Params<Window>,
    Params(ByConsumer { by }): Params<ByConsumer>,
) -> Result<Response, ApiError> {
    let now = state.orchestrator.now();
    let span = if by == Consumer::Time { window.pieces(now)? } else { window.whole(now)? };
    let measure = if by == Consumer::Template { Measure::Template } else { Measure::Model };
    let figures = figures(&state, &caller, span, &[measure]).await?;
    let table = UsageTable::of(span, by, &caller.0, &figures);
    Ok(match window.wants_csv(&headers) {
        true => csv::reply(&table.rows),
        false => Json(table).into_response(),
    })
}

/// `GET /api/analytics/failures`: failures that are alike, the most frequent first.
pub(super) async fn failures(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Params(window): Params<Window>,
) -> Result<Response, ApiError> {
    let span = window.whole(state.orchestrator.now())?;
    let analytics = state.repository().analytics();
    let failures = analytics.failures(&caller.0, span.from, span.to, MOST_FAILURES).await?;
    let table = FailureTable { from: span.from, to: span.to, failures };
    Ok(match window.wants_csv(&headers) {
        true => csv::reply(&tables::flat(&table.failures)),
        false => Json(table).into_response(),
    })
}
