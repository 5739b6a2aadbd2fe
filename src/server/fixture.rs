//! A server over a database in a temporary directory, for the tests of this room.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response};
use futures::FutureExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::follow::{Follower, Slow};
use super::replays::Replays;
use super::{Access, AppState, Replayer, ServerConfig, WorkerSnapshot, WorkerStatus, router};
use crate::models::{Models, Scripted};
use crate::orchestrator::{Orchestrator, OrchestratorConfig, TaskRequest, system_clock};
use crate::queue::{DatabaseQueue, Doorbell};
use crate::repository::{Repository, SqliteDurability, SqliteRepository};
use crate::task::{Plan, Replay, RetryPolicy, Task};
use crate::tools::Toolbox;

/// The user of a server without a key.
pub(super) const USER: &str = "local";

/// A worker that does nothing.
struct Idle;

impl WorkerStatus for Idle {
    fn snapshot(&self) -> WorkerSnapshot {
        WorkerSnapshot { name: "idle".into(), ..WorkerSnapshot::default() }
    }
}

/// Finds that whatever is recorded goes the same way.
fn agreeing() -> Replayer {
    Arc::new(|recording| {
        let last = recording.entries.last().map(|entry| entry.seq);
        let replay = Task::fold(recording.id, &recording.entries)
            .map(|task| Replay {
                task: task.id,
                recorded: task.status(),
                status: task.status(),
                model_calls: 0,
                tool_calls: 0,
                divergence: None,
                ends_at: last.filter(|_| !task.status().is_terminal()),
            })
            .map_err(|why| why.to_string());
        std::future::ready(replay).boxed()
    })
}

/// Everything around a router.
pub(super) struct Fixture {
    pub(super) orchestrator: Orchestrator,
    pub(super) shutdown: CancellationToken,
    pub(super) state: AppState,
    _directory: TempDir,
}

impl Fixture {
    /// A server without a key.
    pub(super) async fn new() -> Self {
        Self::with(Access::new(None, None), ServerConfig::default(), json!([])).await
    }

    /// A server whose model follows `rules`, in the form of `docs/models.md`.
    pub(super) async fn with(access: Access, config: ServerConfig, rules: Value) -> Self {
        let script = json!({"rules": rules}).to_string();
        let models = Models::with_model(Arc::new(Scripted::parse("test", &script).unwrap())).unwrap();
        let directory = TempDir::new().unwrap();
        let repository =
            SqliteRepository::open(&directory.path().join("db"), SqliteDurability::Relaxed).await.unwrap();
        repository.prepare().await.unwrap();
        // A model that does not answer is asked again, and nobody waits for that.
        let retry = RetryPolicy { base_ms: 1, max_ms: 5, ..RetryPolicy::default() };
        let orchestrator = Orchestrator::new(
            Arc::new(repository),
            Arc::new(DatabaseQueue::new(Doorbell::default(), Duration::from_secs(1))),
            Arc::new(models),
            Arc::new(Toolbox::default()),
            OrchestratorConfig { retry, ..OrchestratorConfig::default() },
            system_clock(),
        );
        let shutdown = CancellationToken::new();
        let state =
            AppState::new(orchestrator.clone(), access, config, Arc::new(Idle), agreeing(), shutdown.clone());
        Self { orchestrator, shutdown, state, _directory: directory }
    }

    /// A server without a key whose model follows `rules`.
    pub(super) async fn scripted(rules: Value) -> Self {
        Self::with(Access::new(None, None), ServerConfig::default(), rules).await
    }

    /// Replays tasks like this from now on, with little patience.
    pub(super) fn replays_with(&mut self, replayer: Replayer) {
        self.state.replays = Replays::within(Duration::from_secs(1), replayer);
    }

    pub(super) fn router(&self) -> Router {
        router(self.state.clone())
    }

    pub(super) fn repository(&self) -> &Arc<dyn Repository> {
        self.orchestrator.repository()
    }

    /// A task of three steps that belongs to [`USER`].
    pub(super) async fn task(&self, goal: &str) -> Task {
        self.task_of(USER, goal).await
    }

    pub(super) async fn task_of(&self, user: &str, goal: &str) -> Task {
        let steps: Vec<Value> = (1..=3)
            .map(|number| {
                json!({"id": format!("step-{number}"), "description": format!("part {number}"),
                       "type": "llm-reasoning", "estimatedDuration": 1500})
            })
            .collect();
        let plan: Plan = serde_json::from_value(json!(steps)).unwrap();
        let request = TaskRequest {
            goal: goal.into(),
            user_id: user.into(),
            thread_id: format!("thread of {user}"),
            plan: Some(plan),
            ..TaskRequest::default()
        };
        self.orchestrator.start(request).await.unwrap()
    }

    pub(super) fn follow(&self, task: &Task, after: i64) -> Follower {
        Follower::new(&self.state.feeds, task, after, Slow::MayRead)
    }

    /// Sends a request with a JSON body, or without one.
    pub(super) async fn send(&self, method: Method, uri: &str, body: Option<Value>) -> Reply {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.ask(Request::builder().method(method).uri(uri).body(body).unwrap()).await
    }

    pub(super) async fn get(&self, uri: &str) -> Reply {
        self.send(Method::GET, uri, None).await
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Reply {
        Reply::of(self.router().oneshot(request).await.unwrap()).await
    }
}

/// A response that was read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) text: String,
}

impl Reply {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The JSON of every `data:` line but the last, which ends the stream.
    pub(super) fn chunks(&self) -> Vec<Value> {
        let mut lines: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(lines.pop(), Some("[DONE]"), "{}", self.text);
        lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
