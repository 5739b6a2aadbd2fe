//! The real program: started, asked over HTTP, killed, looked at.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends a process a signal. A stop is obeyed when the process is scheduled the next time, and is waited for.
pub(crate) fn signal(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
    while signal == "-STOP" && !is_stopped(process) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether it does nothing, because it was stopped or is gone.
fn is_stopped(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 'Z']))
}

/// A directory with a configuration, a database, a workspace, a script and ledgers.
pub(crate) struct Program {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) database: String,
    client: reqwest::Client,
    key: Option<String>,
    environment: Vec<(String, String)>,
}

/// A server that was started.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Program {
    /// A program on SQLite with a scripted model and the counting tool server.
    pub(crate) fn new(script: &Value) -> Self {
        Self::on(None, script, "")
    }

    /// The same on the given database, with more configuration.
    pub(crate) fn on(database: Option<String>, script: &Value, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut script = script.clone();
        script["ledger"] = json!(path("model-ledger.jsonl"));
        std::fs::write(directory.path().join("script.json"), script.to_string()).unwrap();
        std::fs::create_dir(directory.path().join("workspace")).unwrap();
        let config = format!(
            r#"
[models]
default = "scripted/test"
scripted = {{ test = {script:?} }}

[worker]
limiter = {{ max = 0, duration = 1000 }}
pollMs = 50

[orchestrator.limits]
maxCrashes = 10000

[orchestrator.retry]
baseMs = 50
maxMs = 500
maxAttempts = 50

[tools]
workspace = {workspace:?}

[tools.mcp.world]
command = {server:?}
trusted = true
env = {{ LEDGER = {ledger:?} }}
{more}
"#,
            script = path("script.json"),
            workspace = path("workspace"),
            server = example("counting_mcp_server").display().to_string(),
            ledger = path("tool-ledger.jsonl"),
        );
        std::fs::write(directory.path().join("longhaul.toml"), config).unwrap();
        let database = database.unwrap_or_else(|| path("longhaul.db"));
        Self { directory, database, client: reqwest::Client::new(), key: None, environment: Vec::new() }
    }

    /// Changes a line of the configuration for whatever starts from now on.
    pub(crate) fn reconfigure(&self, line: &str, other: &str) {
        let path = self.directory.path().join("longhaul.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        assert!(config.contains(line), "{config}");
        std::fs::write(path, config.replacen(line, other, 1)).unwrap();
    }

    /// Asks with a key from now on, and starts servers with it.
    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Whatever starts from now on has this in its environment.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The program with its configuration, and nothing of this process's environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhaul"));
        command
            .env_clear()
            .envs(
                ["PATH", "HOME", "TMPDIR"]
                    .into_iter()
                    .filter_map(|name| Some((name, std::env::var(name).ok()?))),
            )
            .envs(self.key.iter().map(|key| ("CHAT_API_KEY", key)))
            .envs(self.environment.iter().cloned())
            .arg("--config")
            .arg(self.directory.path().join("longhaul.toml"))
            .arg("--db")
            .arg(&self.database)
            .current_dir(self.directory.path().join("workspace"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end: exit code and what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command().args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// Starts a server and waits until it is ready.
    pub(crate) async fn serve(&self, arguments: &[&str]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.serve_at(format!("127.0.0.1:{port}"), arguments).await
    }

    /// The same at an address, where another one was before.
    pub(crate) async fn serve_at(&self, address: String, arguments: &[&str]) -> Server {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command();
        command.args(["serve", "--bind", &address]).args(arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = Server { child: command.spawn().unwrap(), address };
        let ready = format!("http://{}/readyz", server.address);
        self.patiently("the server is ready", async || {
            let exited = server.child.try_wait().unwrap();
            assert!(exited.is_none(), "the server ended: {}", self.printed());
            self.client.get(&ready).send().await.is_ok_and(|reply| reply.status().is_success())
        })
        .await;
        server
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// What the servers printed so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// A request with the key, if there is one.
    pub(crate) fn request(&self, method: &str, server: &Server, path: &str) -> reqwest::RequestBuilder {
        let request =
            self.client.request(method.parse().unwrap(), format!("http://{}{path}", server.address));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Status and body of a GET.
    pub(crate) async fn get(&self, server: &Server, path: &str) -> (u16, Value) {
        answer(self.request("GET", server, path)).await.expect("the server answers")
    }

    /// Status and body of a POST; none if the server does not answer.
    pub(crate) async fn post(&self, server: &Server, path: &str, body: &Value) -> Option<(u16, Value)> {
        answer(self.request("POST", server, path).json(body)).await
    }

    /// Creates a task; its id.
    pub(crate) async fn orchestrate(&self, server: &Server, goal: &str) -> Option<String> {
        let body = json!({"goal": goal, "threadId": "thread"});
        let (status, reply) = self.post(server, "/api/chat/orchestrate", &body).await?;
        assert_eq!(status, 200, "{reply}");
        Some(reply["taskId"].as_str().unwrap().to_owned())
    }

    /// Waits until a task has one of the states.
    pub(crate) async fn until(&self, server: &Server, id: &str, states: &[&str]) -> Value {
        let mut last = Value::Null;
        self.patiently(&format!("task {id} is {states:?}"), async || {
            let (_, reply) = self.get(server, &format!("/api/chat/orchestrate?taskId={id}")).await;
            last = reply;
            last["status"].as_str().is_some_and(|status| states.contains(&status))
        })
        .await;
        last
    }

    /// All entries of a task's journal.
    pub(crate) async fn traces(&self, server: &Server, id: &str) -> Vec<Value> {
        let mut traces: Vec<Value> = Vec::new();
        loop {
            let after = traces.last().map_or(0, |trace| trace["seq"].as_i64().unwrap());
            let (_, page) =
                self.get(server, &format!("/api/tasks/{id}/traces?after={after}&limit=500")).await;
            let page = page["traces"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
            if page.is_empty() {
                return traces;
            }
            traces.extend(page);
        }
    }

    /// The lines of one of the ledgers.
    pub(crate) fn ledger(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Puts a file into the workspace.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let mut file = std::fs::File::create(self.directory.path().join("workspace").join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) async fn patiently(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "not in time: {what}\n{}", self.printed());
    }
}

impl Server {
    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        signal("-TERM", self.child.id());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let reply = request.send().await.ok()?;
    let status = reply.status().as_u16();
    Some((status, reply.json().await.unwrap_or(Value::Null)))
}

/// A program that `cargo test` built beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let debug = program.ancestors().find(|path| path.join("examples").is_dir()).map(Path::to_owned);
    debug.expect("cargo test builds the examples").join("examples").join(name)
}
