//! The engine in one process: a real database, a scripted model, and tools that count.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longhaul::models::{ModelError, Models, ModelsConfig, Scripted};
use longhaul::orchestrator::{Orchestrator, OrchestratorConfig, TaskRequest, system_clock};
use longhaul::queue::{DatabaseQueue, Doorbell, Queue};
use longhaul::repository::{Repository, SqliteDurability, SqliteRepository};
use longhaul::task::{
    Effect, Entry, Limits, Plan, PlannedStep, RetryPolicy, StepType, Task, TaskId, ToolUse,
};
use longhaul::tools::{CallContext, Origin, Probes, Tool, ToolDescription, ToolError, ToolOutput, Toolbox};
use longhaul::worker::{LimiterConfig, Worker, WorkerConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must happen. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the tools of a world were asked, by idempotency key, in order.
pub(crate) type Ledger = Arc<Mutex<Vec<(String, String)>>>;

/// An engine with everything around it.
pub(crate) struct World {
    pub(crate) repository: Arc<dyn Repository>,
    pub(crate) ledger: Ledger,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) worker_config: WorkerConfig,
    directory: Option<tempfile::TempDir>,
}

/// What may differ between worlds.
pub(crate) struct Setup {
    pub(crate) script: Value,
    pub(crate) repository: Option<Arc<dyn Repository>>,
    pub(crate) queue: Option<Arc<dyn Queue>>,
    pub(crate) limits: Limits,
    pub(crate) retry: RetryPolicy,
    pub(crate) ledger: Ledger,
    pub(crate) judge: bool,
    /// What a second model answers, which is asked after the first.
    pub(crate) second: Option<Value>,
    /// The tools instead of those that count.
    pub(crate) tools: Option<Toolbox>,
    /// The `[checks]` of the configuration.
    pub(crate) probes: Value,
    /// The models instead of the scripted ones.
    pub(crate) models: Option<Models>,
    /// Workflows and sub-tasks that every task is offered.
    pub(crate) offer: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            script: json!({"rules": []}),
            repository: None,
            queue: None,
            limits: Limits::default(),
            retry: RetryPolicy { max_attempts: 3, base_ms: 2, factor: 2.0, max_ms: 10 },
            ledger: Ledger::default(),
            judge: false,
            second: None,
            tools: None,
            probes: json!({}),
            models: None,
            offer: Vec::new(),
        }
    }
}

/// A database file that goes with the test.
pub(crate) async fn sqlite() -> (tempfile::TempDir, Arc<dyn Repository>) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("longhaul.db");
    let repository = SqliteRepository::open(&path, SqliteDurability::Relaxed).await.unwrap();
    repository.prepare().await.unwrap();
    (directory, Arc::new(repository))
}

/// A model with another one behind it.
async fn two_models(first: &Value, second: &Value) -> Result<Models, ModelError> {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, script: &Value| {
        let path = directory.path().join(name);
        std::fs::write(&path, script.to_string()).unwrap();
        (name.to_owned(), path)
    };
    let config = ModelsConfig {
        default: Some("scripted/first".parse().unwrap()),
        fallback: vec!["scripted/second".parse().unwrap()],
        scripted: [file("first", first), file("second", second)].into(),
        ..ModelsConfig::default()
    };
    Models::open(&config, &|_| None).await
}

impl World {
    pub(crate) async fn new(setup: Setup) -> Self {
        let (directory, repository) = match setup.repository {
            Some(repository) => (None, repository),
            None => {
                let (directory, repository) = sqlite().await;
                (Some(directory), repository)
            }
        };
        let models = match &setup.second {
            _ if setup.models.is_some() => Ok(setup.models.unwrap()),
            None => Models::with_model(Arc::new(Scripted::parse("test", &setup.script.to_string()).unwrap())),
            Some(second) => two_models(&setup.script, second).await,
        };
        let queue = setup
            .queue
            .unwrap_or_else(|| Arc::new(DatabaseQueue::new(Doorbell::default(), Duration::from_millis(5))));
        let tools =
            setup.tools.unwrap_or_else(|| Toolbox::with_tools(counting_tools(&setup.ledger)).unwrap());
        let orchestrator = Orchestrator::new(
            repository.clone(),
            queue.clone(),
            Arc::new(models.unwrap()),
            Arc::new(tools),
            OrchestratorConfig {
                limits: setup.limits,
                retry: setup.retry,
                judge: setup.judge,
                offer: setup.offer,
                ..OrchestratorConfig::default()
            },
            system_clock(),
        )
        .with_probes(Probes::open(&serde_json::from_value(setup.probes).unwrap()).unwrap());
        let worker_config = WorkerConfig {
            limiter: LimiterConfig { max: 0, ..LimiterConfig::default() },
            lease_ms: 400,
            heartbeat_ms: 100,
            poll_ms: 5,
            children_ms: 300,
            ..WorkerConfig::default()
        };
        Self { repository, ledger: setup.ledger, orchestrator, queue, worker_config, directory }
    }

    /// Starts a worker; it stops when the guard is dropped or asked to.
    pub(crate) fn work(&self, name: &str) -> Working {
        let worker = Worker::new(
            name.to_owned(),
            self.orchestrator.clone(),
            self.queue.clone(),
            self.worker_config.clone(),
        );
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        Working { stop, task: Some(tokio::spawn(async move { worker.run(stopped).await })) }
    }

    pub(crate) async fn start(&self, plan: Plan) -> Task {
        let request = TaskRequest { plan: Some(plan), ..request("Do it") };
        self.orchestrator.start(request).await.unwrap()
    }

    /// Waits until the task is as wanted.
    pub(crate) async fn until(&self, id: TaskId, wanted: impl Fn(&Task) -> bool) -> Task {
        let mut last = None;
        let waiting = async {
            loop {
                let loaded = self.repository.load(id).await.ok().flatten();
                if let Some(task) = loaded.clone().filter(|task| wanted(task)) {
                    return task;
                }
                last = loaded;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(task) => task,
            Err(_) => panic!("the task never became what was wanted: {last:#?}"),
        }
    }

    pub(crate) async fn ended(&self, id: TaskId) -> Task {
        self.until(id, |task| task.status().is_terminal()).await
    }

    /// The same, looking past a repository that misbehaves.
    pub(crate) async fn inner_ended(&self, inner: &Arc<dyn Repository>, id: TaskId) -> Task {
        let waiting = async {
            loop {
                let task = inner.load(id).await.unwrap().unwrap();
                if task.status().is_terminal() {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the task ends")
    }

    pub(crate) async fn journal(&self, id: TaskId) -> Vec<Entry> {
        self.repository.journal(id, 0, 100_000).await.unwrap()
    }

    /// The tags of the journal, in order.
    pub(crate) async fn kinds(&self, id: TaskId) -> Vec<&'static str> {
        self.journal(id).await.iter().map(|entry| entry.event.kind()).collect()
    }

    /// Waits until a tool was called so often. The intent of an unsafe call is on record by then, and that
    /// of a call which only reads soon after.
    pub(crate) async fn until_called(&self, tool: &str, times: usize) {
        let called = async {
            while self.calls_of(tool) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, called).await.expect("the tool is called");
    }

    /// How often a tool was called.
    pub(crate) fn calls_of(&self, tool: &str) -> usize {
        self.ledger.lock().unwrap().iter().filter(|(_, name)| name == tool).count()
    }

    /// How often each key was called.
    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for (key, _) in self.ledger.lock().unwrap().iter() {
            *calls.entry(key.clone()).or_default() += 1;
        }
        calls
    }

    /// The calls as a tool server writes them down.
    pub(crate) fn written_ledger(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ledger = self.ledger.lock().unwrap();
        let lines = ledger.iter().map(|(key, tool)| format!("{}\n", json!({"tool": tool, "key": key})));
        std::fs::write(file.path(), lines.collect::<String>()).unwrap();
        file
    }

    /// Every invariant holds, and the task is the fold of its journal.
    pub(crate) async fn is_sound(&self, id: TaskId) {
        let violations = self.repository.violations().await.unwrap();
        assert!(violations.is_empty(), "{violations:#?}");
        let loaded = self.repository.load(id).await.unwrap().unwrap();
        let mut entries = self.journal(id).await;
        // Somebody may be at work on it.
        entries.retain(|entry| entry.seq <= loaded.state().seq);
        let folded = Task::fold(id, &entries).unwrap();
        assert_eq!(loaded.state().seq, folded.state().seq);
        assert_eq!(loaded.steps(), folded.steps());
        if let Ok(directory) = std::env::var("RECORD_JOURNALS") {
            crate::folds::record(&directory, &folded, &entries);
        }
    }

    /// Keeps the directory for another world on the same files.
    pub(crate) fn into_directory(self) -> Option<tempfile::TempDir> {
        self.directory
    }
}

/// A running worker.
pub(crate) struct Working {
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Working {
    /// Lets it drain.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }

    /// Ends it in the middle of whatever it does, as a crash would.
    pub(crate) async fn kill(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

pub(crate) fn request(goal: &str) -> TaskRequest {
    TaskRequest {
        goal: goal.to_owned(),
        user_id: "user".to_owned(),
        thread_id: "thread".to_owned(),
        ..TaskRequest::default()
    }
}

/// Sequential steps.
pub(crate) fn plan(steps: Vec<PlannedStep>) -> Plan {
    let steps = (0u32..).zip(steps).map(|(index, step)| PlannedStep {
        id: format!("step-{}", index + 1),
        depends_on: index.checked_sub(1).into_iter().collect(),
        ..step
    });
    Plan { steps: steps.collect() }
}

pub(crate) fn step(kind: StepType, description: &str) -> PlannedStep {
    PlannedStep::new("", kind, description)
}

/// A step that is one call of a tool.
pub(crate) fn call(tool: &str, arguments: Value) -> PlannedStep {
    let tool = Some(ToolUse { name: tool.to_owned(), arguments });
    PlannedStep { tool, ..step(StepType::ToolCall, "Call a tool") }
}

/// `read`, `keyed` and `unsafe_effect` by effect class; `flaky` fails as often as it is told;
/// `hang` and `deadly` return only when cancelled, or the first `times`; `stubborn` is done when it is cancelled;
/// `slow` takes a while; `late` times out the first time.
fn counting_tools(ledger: &Ledger) -> Vec<Arc<dyn Tool>> {
    let tools = [
        ("read", Effect::ReadOnly),
        ("keyed", Effect::Idempotent),
        ("unsafe_effect", Effect::Unsafe),
        ("flaky", Effect::ReadOnly),
        ("hang", Effect::Unsafe),
        ("hang_reading", Effect::ReadOnly),
        ("deadly", Effect::ReadOnly),
        ("stubborn", Effect::Unsafe),
        ("slow_reading", Effect::ReadOnly),
        ("deep", Effect::ReadOnly),
        ("slow", Effect::Unsafe),
        ("broken", Effect::ReadOnly),
        ("late", Effect::Idempotent),
        ("ask_person", Effect::ReadOnly),
    ];
    tools
        .into_iter()
        .map(|(name, effect)| Arc::new(CountingTool::new(name, effect, ledger.clone())) as Arc<dyn Tool>)
        .collect()
}

struct CountingTool {
    description: ToolDescription,
    ledger: Ledger,
}

impl CountingTool {
    fn new(name: &str, effect: Effect, ledger: Ledger) -> Self {
        // The executor knows a question by its toolkit.
        let toolkit = if name == "ask_person" { "person" } else { "world" };
        let description = ToolDescription {
            name: name.to_owned(),
            description: format!("Counts its calls ({name})."),
            schema: json!({"type": "object"}).into(),
            effect,
            origin: Origin::App { toolkit: toolkit.to_owned() },
        };
        Self { description, ledger }
    }

    fn count(&self, context: &CallContext) -> usize {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.push((context.idempotency_key.clone(), self.description.name.clone()));
        ledger.iter().filter(|(_, name)| *name == self.description.name).count()
    }
}

#[async_trait]
impl Tool for CountingTool {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        let count = self.count(&context);
        match self.description.name.as_str() {
            "flaky" if (count as u64) <= arguments["failures"].as_u64().unwrap_or(1) => {
                Ok(ToolOutput::error(format!("failure {count}")))
            }
            "late" if count == 1 => Err(ToolError::Timeout(Duration::from_secs(1))),
            "broken" => Err(ToolError::Denied("it never works".to_owned())),
            "hang" | "hang_reading" | "deadly"
                if count as u64 <= arguments["times"].as_u64().unwrap_or(u64::MAX) =>
            {
                context.cancel.cancelled().await;
                Err(ToolError::Cancelled)
            }
            "stubborn" => {
                context.cancel.cancelled().await;
                Ok(ToolOutput::ok(json!({"count": count})))
            }
            "deep" => Ok(ToolOutput::ok((0..200).fold(json!("bottom"), |inner, _| json!([inner])))),
            "slow" | "slow_reading" => {
                tokio::time::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap_or(100))).await;
                Ok(ToolOutput::ok(json!({"count": count})))
            }
            _ => Ok(ToolOutput::ok(json!({"given": arguments, "count": count}))),
        }
    }
}
