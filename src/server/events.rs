//! `GET /api/tasks/{id}/events`: the journal of one task, live, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::ApiError;
use super::feed::Note;
use super::follow::{Follower, Next, Slow};
use super::own::Own;
use super::parse::Params;
use super::state::AppState;
use super::ui_stream::event_stream;
use crate::task::Task;

/// The header with which a client that was cut off says what it has.
const LAST_EVENT_ID: &str = "last-event-id";

/// Where to begin.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct From {
    /// Only entries behind the one with this number; `Last-Event-ID` counts more.
    pub(super) after: Option<i64>,
}

/// Every entry after the one the client has, then those to come, until the task has ended.
///
/// A client that has everything of a task that has ended gets 204, which tells an
/// `EventSource` not to come back.
pub(super) async fn follow(
    State(state): State<AppState>,
    Own(task): Own<Task>,
    Params(from): Params<From>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = last_event_id(&headers)?.or(from.after).unwrap_or(0);
    if task.status().is_terminal() && after >= task.state().seq {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let follower = Follower::new(&state.feeds, &task, after, Slow::MayRead);
    let events = stream::unfold(follower, |mut follower| async {
        let event = match follower.next().await {
            Next::Note(note) => frame(&note),
            // Without an id: it is no entry, and nobody can come back to it.
            Next::Said(piece) => Event::default().event("said").data(piece.json.as_str()),
            Next::Ended | Next::Behind | Next::Cut => return None,
        };
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(event_stream(events, Duration::from_millis(state.config.heartbeat_ms)))
}

/// What the client has already. It says so again with each reconnection, which makes the
/// header newer than the query.
fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| ApiError::invalid("Last-Event-ID", "is the number of an entry"))
}

/// An entry as one event.
fn frame(note: &Note) -> Event {
    let (seq, kind) = (note.entry.seq.to_string(), note.entry.event.kind());
    Event::default().id(seq).event(kind).data(note.json.as_str())
}
