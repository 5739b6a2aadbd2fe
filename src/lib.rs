//! Longhaul carries a goal that is too big for one chat answer to its end.
//!
//! The program is `longhaul` (see [`cli`]); this library is what it is made of, for products that
//! want the engine inside their own process. `ARCHITECTURE.md` tells how the rooms fit together.
//!
//! # A task in your own process
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use longhaul::models::{Models, Offline};
//! use longhaul::orchestrator::{Orchestrator, OrchestratorConfig, TaskRequest, system_clock};
//! use longhaul::queue::{DatabaseQueue, Doorbell};
//! use longhaul::repository::{Repository, SqliteDurability, SqliteRepository};
//! use longhaul::tools::{Toolbox, ToolsConfig};
//! use longhaul::worker::{Worker, WorkerConfig};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("longhaul.db");
//! let repository = SqliteRepository::open(&path, SqliteDurability::Full).await?;
//! repository.prepare().await?;
//! let repository: Arc<dyn Repository> = Arc::new(repository);
//! let queue = Arc::new(DatabaseQueue::new(Doorbell::default(), Duration::from_secs(1)));
//! let orchestrator = Orchestrator::new(
//!     repository.clone(),
//!     queue.clone(),
//!     Arc::new(Models::with_model(Arc::new(Offline::new()))?),
//!     Arc::new(Toolbox::open(&ToolsConfig::default()).await?),
//!     OrchestratorConfig::default(),
//!     system_clock(),
//! );
//! let task = orchestrator
//!     .start(TaskRequest {
//!         goal: "What is 6 * 7".into(),
//!         user_id: "me".into(),
//!         thread_id: "a conversation".into(),
//!         ..TaskRequest::default()
//!     })
//!     .await?;
//!
//! let stop = CancellationToken::new();
//! let worker = Worker::new("worker-1".into(), orchestrator, queue, WorkerConfig::default());
//! let working = tokio::spawn({
//!     let stop = stop.clone();
//!     async move { worker.run(stop).await }
//! });
//! let mut changes = repository.changes();
//! loop {
//!     let now = repository.load(task.id).await?.ok_or("the task is there")?;
//!     if now.status().is_terminal() {
//!         println!("{}: {:?}", now.status(), now.state().output);
//!         break;
//!     }
//!     // A hint that something happened; whoever misses it looks a little later.
//!     let _ = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await;
//! }
//! stop.cancel();
//! working.await?;
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod executor;
pub mod models;
pub mod orchestrator;
pub mod queue;
pub mod repository;
pub mod server;
pub mod task;
pub mod tools;
pub mod worker;
