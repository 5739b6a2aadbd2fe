//! The probe that is a command.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{EVIDENCE_BYTES, Finding, ProbeConfig, tail};
use crate::tools::mcp::{guard, usual_environment};

/// What is read of each stream at a time.
const PIECE: usize = 16 * 1024;

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Program {
    command: String,
    args: Vec<String>,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
}

impl Program {
    pub(super) fn of(command: &str, table: &ProbeConfig) -> Self {
        let mut env = usual_environment();
        env.extend(table.env.clone());
        Self { command: command.to_owned(), args: table.args.clone(), cwd: table.cwd.clone(), env }
    }

    /// Runs it. Dropped before its end, it is killed with everything that it has started.
    pub(super) async fn run(&self, input: &Value) -> Finding {
        match self.outcome(input).await {
            Ok(finding) => finding,
            Err(error) => Finding::error(format!("{} cannot be run: {}", self.command, self.why_not(&error))),
        }
    }

    /// A system that looks for a program in several places says of one that is in none of them that it may
    /// not be run, if it may not look into one of the places.
    fn why_not(&self, error: &io::Error) -> String {
        let is_path = self.command.contains(std::path::MAIN_SEPARATOR);
        let path = self.cwd.clone().unwrap_or_default().join(&self.command);
        match self.cwd.as_ref().filter(|directory| !directory.is_dir()) {
            Some(directory) => format!("its directory {} is not there", directory.display()),
            None if is_path && !path.exists() => "there is no such file".to_owned(),
            None => error.to_string(),
        }
    }

    async fn outcome(&self, input: &Value) -> io::Result<Finding> {
        let mut command = Command::new(&self.command);
        command.args(&self.args).env_clear().envs(self.env.clone());
        if let Some(directory) = &self.cwd {
            command.current_dir(directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command.spawn()?;
        // Its pipe closes with this function, whichever way that ends.
        let _guardian = process.id().and_then(|id| guard("probe", id));
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let text = input.to_string();
        let told = async {
            // A program need not read what it is told.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let ((), out, err, status) = tokio::join!(told, last(stdout), last(stderr), process.wait());
        let status = status?;
        let said = [out, err].into_iter().map(|said| tail(&said)).filter(|said| !said.is_empty());
        let said = said.collect::<Vec<_>>().join("\n");
        let evidence = json!({"exit": status.code(), "output": tail(said.as_bytes())});
        Ok(Finding { passed: status.success(), evidence })
    }
}

/// Reads to the end and keeps the last of it: a full pipe would stop the program.
async fn last(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(2 * EVIDENCE_BYTES);
        kept.drain(..surplus);
    }
    kept
}
