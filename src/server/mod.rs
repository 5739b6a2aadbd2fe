//! The way in over HTTP: the routes of the original system, those of Longhaul, and the streams
//! over both. Owns the wire, and nothing else.
//!
//! ```text
//! request ─▶ render errors ─▶ guard ─▶ key ─▶ handler: parse → one call → reply
//! journal ─▶ Follower ─▶ frames (pure) ─▶ SSE
//! ```
//!
//! Nothing here decides about tasks: handlers ask the orchestrator, and read the repository.

mod about;
mod analytics;
mod auth;
mod budget;
mod chat;
mod compress;
mod config;
mod context;
mod drafts;
mod error;
mod events;
mod feed;
#[cfg(test)]
mod fixture;
mod follow;
mod forks;
mod guard;
mod idempotency;
mod inbox;
mod metrics;
mod openapi;
mod orchestrate;
mod own;
mod page;
mod parse;
mod plans;
mod presets;
mod recordings;
mod replays;
#[cfg(test)]
mod route_tests;
mod schedules;
mod socket;
mod state;
mod status;
mod tasks;
mod templates;
mod threads;
mod trials;
mod ui;
mod ui_stream;
mod views;

use std::io;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub use auth::{Access, OpenBind, refuse_open_bind};
pub use config::{ChatConfig, ChatReply, ServerConfig};
pub use replays::Replayer;
pub use state::{AppState, LimiterSnapshot, WorkerSnapshot, WorkerStatus};
pub use trials::ToolTrials;
pub use views::task_as_shown;

use error::ApiError;

/// How long requests in flight may take after the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// All routes.
pub fn router(state: AppState) -> Router {
    // Bodies with files may be larger than others.
    let with_files = || DefaultBodyLimit::max(state.config.chat.max_body_bytes);
    let start = post(orchestrate::start).layer(with_files());
    let with_key = Router::new()
        .route("/api/chat", post(chat::post).layer(with_files()))
        .route("/api/chat/orchestrate", start.get(orchestrate::status).delete(orchestrate::cancel))
        .route("/api/chat/detect", post(threads::detect))
        .route("/api/chat/plan", post(drafts::plan).layer(with_files()))
        .route("/api/chat/{id}/messages", get(threads::messages))
        .route("/api/chat/{id}/stream", get(chat::resume).delete(chat::stop))
        .route("/api/threads", get(threads::list))
        .route("/api/threads/{id}", get(threads::show).patch(threads::change).delete(threads::delete))
        .route("/api/ws", get(socket::all))
        .merge(of_tasks())
        .route("/api/tasks/{id}/messages", post(inbox::tell).layer(with_files()))
        .route(
            "/api/tasks/import",
            post(recordings::import).layer(DefaultBodyLimit::max(state.config.max_recording_bytes)),
        )
        .route("/api/inbox", get(inbox::list))
        .route("/api/inbox/{id}", post(inbox::decide))
        .route("/api/schedules", get(schedules::list).post(schedules::create))
        .route("/api/schedules/preview", get(schedules::preview))
        .route("/api/schedules/{id}", get(schedules::show).patch(schedules::change).delete(schedules::delete))
        .route("/api/schedules/{id}/pause", post(schedules::pause))
        .route("/api/schedules/{id}/resume", post(schedules::resume))
        .route("/api/schedules/{id}/trigger", post(schedules::trigger))
        .route("/api/templates", get(templates::list).post(templates::create))
        .route("/api/templates/{id}", get(templates::show).delete(templates::delete))
        .route("/api/templates/{id}/run", post(templates::run))
        .route("/api/presets", get(presets::presets))
        .route("/api/agents", get(presets::agents))
        .route("/api/worker", get(about::worker))
        .route("/api/workers", get(about::workers))
        .route("/api/tools", get(about::tools))
        .route("/api/tools/{name}/call", post(trials::call))
        .route("/api/models", get(about::models))
        .route("/api/analytics/overview", get(analytics::overview))
        .route("/api/analytics/tasks", get(analytics::tasks))
        .route("/api/analytics/durations", get(analytics::durations))
        .route("/api/analytics/usage", get(analytics::usage))
        .route("/api/analytics/failures", get(analytics::failures))
        .route("/metrics", get(metrics::show))
        .route_layer(from_fn_with_state(state.clone(), auth::authenticate));
    Router::new()
        .route("/healthz", get(about::health))
        .route("/readyz", get(about::ready))
        .route("/openapi.json", get(openapi::route()))
        .merge(with_key)
        .fallback(ui::page)
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(DefaultBodyLimit::max(state.config.max_body_bytes))
        .layer(CatchPanicLayer::custom(ApiError::panicked))
        .layer(from_fn_with_state(state.clone(), guard::keep_foreign_pages_out))
        .layer(from_fn(error::render))
        .layer(compress::layer())
        .layer(from_fn(report))
        .with_state(state)
}

/// The routes of tasks.
fn of_tasks() -> Router<AppState> {
    Router::new()
        .route("/api/tasks", get(tasks::list))
        .route("/api/tasks/{id}", get(tasks::show).patch(tasks::change))
        .route("/api/tasks/{id}/steps", get(tasks::steps))
        .route("/api/tasks/{id}/children", get(tasks::children))
        .route("/api/tasks/{id}/traces", get(tasks::traces))
        .route("/api/tasks/{id}/traces/{seq}", get(tasks::entry))
        .route("/api/tasks/{id}/jobs", get(tasks::jobs))
        .route("/api/tasks/{id}/events", get(events::follow))
        .route("/api/tasks/{id}/ws", get(socket::task))
        .route("/api/tasks/{id}/pause", post(tasks::pause))
        .route("/api/tasks/{id}/resume", post(tasks::resume))
        .route("/api/tasks/{id}/cancel", post(tasks::cancel))
        .route("/api/tasks/{id}/fork", post(forks::fork))
        .route("/api/tasks/{id}/retry", post(forks::retry))
        .route("/api/tasks/{id}/export", get(recordings::export))
        .route("/api/tasks/{id}/replay", post(replays::replay))
        .route("/api/tasks/{id}/diff/{other}", get(forks::diff))
        .route("/api/tasks/{id}/budget", post(budget::raise))
        .route("/api/tasks/{id}/context", get(context::show))
        .route("/api/tasks/{id}/checkpoints", get(context::list).post(context::take))
        .route("/api/tasks/{id}/restore", post(context::restore))
        .route("/api/tasks/{id}/effects", get(inbox::effects))
        .route("/api/tasks/{id}/plan", get(plans::show))
}

/// Serves until `shutdown` is cancelled; open streams end then, and other requests in flight
/// have ten seconds. The state of the router must have been given the same token.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving => served,
        () = too_late => {
            tracing::warn!("some requests did not end in time and were cut");
            Ok(())
        }
    }
}

/// One line per request: neither headers nor query, which may hold secrets. Reads that succeed come by the
/// thousands from whoever polls, and would hide the rest.
async fn report(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let (status, millis) = (response.status().as_u16(), began.elapsed().as_millis());
    if method.is_safe() && status < 400 {
        tracing::debug!(%method, path, status, millis, "answered");
    } else {
        tracing::info!(%method, path, status, millis, "answered");
    }
    response
}
