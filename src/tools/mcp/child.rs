//! Starts a server's program and makes sure that nothing of it stays behind.
//!
//! The program gets a process group of its own. Beside it runs a guardian, a shell that waits
//! on a pipe which only this process holds open: when this process ends, however it ends, the
//! pipe closes and the guardian kills the group. Servers started through `npx` and the like are
//! several processes deep, so a signal to the first of them would not do.

use std::collections::VecDeque;
use std::env;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::tools::text::{shortened, without_nul};
use crate::tools::{McpServerConfig, Secrets};

/// A server that is asked to end by closing its input gets so long, and again after SIGTERM.
const GRACE: Duration = Duration::from_millis(1500);
/// What the guardian runs: signals on request, and the last one when the pipe closes.
const GUARDIAN: &str =
    r#"while read -r s; do kill -"$s" "-$1"; done 2>/dev/null; kill -KILL "-$1" 2>/dev/null"#;
/// Where programs are found if our own environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How many of the last lines of a server's diagnostics are kept, and how long they may be.
const KEPT_LINES: usize = 5;
const KEPT_CHARACTERS: usize = 300;
const MAX_DIAGNOSTIC_BYTES: u64 = 16 * 1024;

/// The last lines a server wrote to its standard error.
#[derive(Clone, Default)]
pub(super) struct Diagnostics(Arc<Mutex<VecDeque<String>>>);

/// A running server program.
pub(super) struct ServerProcess {
    process: Child,
    guardian: Option<Child>,
}

/// A started program with the ends of its pipes.
pub(super) struct Started {
    pub(super) process: ServerProcess,
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) diagnostics: Diagnostics,
}

/// Starts the program of this configuration.
pub(super) fn start(
    name: &str,
    program: &str,
    config: &McpServerConfig,
    secrets: &Secrets,
) -> io::Result<Started> {
    let mut command = Command::new(program);
    command.args(&config.args).env_clear().envs(environment(config));
    if let Some(directory) = &config.cwd {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut process = command.spawn()?;
    let guardian = process.id().and_then(|id| guard(name, id));
    let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
    let (Some(input), Some(output), Some(errors)) = pipes else {
        return Err(io::Error::other("the program has no pipes"));
    };
    let diagnostics = Diagnostics::default();
    tokio::spawn(follow(name.to_owned(), errors, diagnostics.clone(), secrets.clone()));
    Ok(Started { process: ServerProcess { process, guardian }, input, output, diagnostics })
}

/// What is configured, beside what every program gets.
fn environment(config: &McpServerConfig) -> Vec<(String, String)> {
    let mut variables = usual_environment();
    variables.extend(config.env.clone());
    variables
}

/// The little without which hardly any program runs.
pub(in crate::tools) fn usual_environment() -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, default) in [("PATH", Some(DEFAULT_PATH)), ("HOME", None), ("LANG", None)] {
        let value = env::var(name).ok().or_else(|| default.map(str::to_owned));
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    variables
}

/// Starts the guardian. Without one the server still works, it only may outlive a crash.
pub(in crate::tools) fn guard(name: &str, group: u32) -> Option<Child> {
    if !cfg!(unix) {
        return None;
    }
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", GUARDIAN, "longhaul-guardian", &group.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // An interrupt from the terminal must not take the guardian away before its time.
    #[cfg(unix)]
    command.process_group(0);
    command
        .spawn()
        .inspect_err(|error| tracing::warn!(server = name, %error, "the MCP server runs without a guardian"))
        .ok()
}

impl ServerProcess {
    /// Ends the program and everything it started. Its input must be closed already: that is
    /// how a server is asked to end.
    pub(super) async fn end(mut self) -> io::Result<()> {
        if timeout(GRACE, self.process.wait()).await.is_err() {
            self.signal("TERM").await;
            let _ = timeout(GRACE, self.process.wait()).await;
        }
        if let Some(mut guardian) = self.guardian.take() {
            drop(guardian.stdin.take());
            guardian.wait().await?;
        }
        self.process.kill().await
    }

    async fn signal(&mut self, signal: &str) {
        if let Some(pipe) = self.guardian.as_mut().and_then(|guardian| guardian.stdin.as_mut()) {
            // A guardian that is gone cannot be helped; the last resort follows anyway.
            let _ = pipe.write_all(format!("{signal}\n").as_bytes()).await;
            let _ = pipe.flush().await;
        }
    }
}

impl Diagnostics {
    /// The last lines as one text; empty if there are none.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect::<Vec<_>>().join(" | ")
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(shortened(line, KEPT_CHARACTERS));
    }
}

/// Reads a server's diagnostics to the end: a full pipe would stop it.
async fn follow(name: String, errors: ChildStderr, diagnostics: Diagnostics, secrets: Secrets) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    while (&mut reader)
        .take(MAX_DIAGNOSTIC_BYTES)
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let text = without_nul(String::from_utf8_lossy(&line).trim_end().to_owned());
        // Programs like to say what they were started with.
        let text = secrets.redacted(text);
        if !text.is_empty() {
            tracing::debug!(server = name, "{text}");
            diagnostics.push(&text);
        }
        line.clear();
    }
}
