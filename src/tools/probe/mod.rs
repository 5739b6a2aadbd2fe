//! Probes: commands and addresses that say whether what a step did is so.
//!
//! They are declared in the configuration, by name, and nowhere else: a plan or a request can name
//! one and can never say what it runs. What the step brought comes on standard input.

mod command;
mod http;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use url::Url;

/// How long a probe may take if nobody says.
const USUAL_TIMEOUT_MS: u64 = 60_000;

/// How much of what a probe says is kept as evidence, in bytes: the end of it, for there the
/// outcome is.
const EVIDENCE_BYTES: usize = 8 * 1024;

/// One `[checks.NAME]` table: a command or an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ProbeConfig {
    /// The program to run; it says yes by ending with 0.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory it runs in.
    pub cwd: Option<PathBuf>,
    /// What it gets in its environment besides `PATH`, `HOME` and `LANG`.
    pub env: BTreeMap<String, String>,
    /// The address to ask with GET.
    pub url: Option<Url>,
    /// Headers to send.
    pub headers: BTreeMap<String, String>,
    /// The status that says yes; any 2xx if absent.
    pub status: Option<u16>,
    /// A regular expression that has to be found in the body.
    pub body_matches: Option<String>,
    /// How long it may take.
    pub timeout_ms: u64,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            command: None,
            args: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            url: None,
            headers: BTreeMap::new(),
            status: None,
            body_matches: None,
            timeout_ms: USUAL_TIMEOUT_MS,
        }
    }
}

/// A table that declares no probe.
#[derive(Debug, Error)]
#[error("checks.{name}: {problem}")]
pub struct ProbeError {
    name: String,
    problem: String,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Whether it says yes.
    pub passed: bool,
    /// What was seen.
    pub evidence: Value,
}

/// The probes of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    by_name: BTreeMap<String, Probe>,
}

/// Says what a probe finds, by its name and what it is told.
pub type Finder = Arc<dyn Fn(&str, &Value) -> Option<Finding> + Send + Sync>;

#[derive(Debug, Clone)]
struct Probe {
    kind: Kind,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Kind {
    Told(Told),
    Command(command::Program),
    Http(http::Address),
}

/// A probe that is told what it finds.
#[derive(Clone)]
struct Told(Finder);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Probes {
    /// Probes of these names that are never asked: somebody says what they find.
    pub fn told(names: impl IntoIterator<Item = String>, finder: &Finder) -> Self {
        let timeout = Duration::from_millis(USUAL_TIMEOUT_MS);
        let probe = |name| (name, Probe { kind: Kind::Told(Told(finder.clone())), timeout });
        Self { by_name: names.into_iter().map(probe).collect() }
    }

    /// Reads the tables.
    pub fn open(tables: &BTreeMap<String, ProbeConfig>) -> Result<Self, ProbeError> {
        let by_name = tables.iter().map(|(name, table)| {
            let kind = kind(table).map_err(|problem| ProbeError { name: name.clone(), problem })?;
            let timeout = Duration::from_millis(table.timeout_ms);
            Ok((name.clone(), Probe { kind, timeout }))
        });
        Ok(Self { by_name: by_name.collect::<Result<_, _>>()? })
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Asks one, with what the step brought. `None` if there is no such probe. One that cannot be
    /// asked, or does not answer in time, says no.
    pub async fn ask(&self, name: &str, input: &Value) -> Option<Finding> {
        let probe = self.by_name.get(name)?;
        let asking = async {
            match &probe.kind {
                Kind::Told(Told(finder)) => finder(name, input)
                    .unwrap_or_else(|| Finding::error("it is not recorded what the probe found")),
                Kind::Command(program) => program.run(input).await,
                Kind::Http(address) => address.get().await,
            }
        };
        Some(tokio::time::timeout(probe.timeout, asking).await.unwrap_or_else(|_| {
            let seen = format!("no answer within {} ms", probe.timeout.as_millis());
            Finding { passed: false, evidence: json!({"error": seen}) }
        }))
    }
}

impl Finding {
    fn error(problem: impl std::fmt::Display) -> Self {
        Self { passed: false, evidence: json!({"error": problem.to_string()}) }
    }
}

fn kind(table: &ProbeConfig) -> Result<Kind, String> {
    if table.timeout_ms == 0 {
        return Err("timeoutMs must be at least 1".into());
    }
    match (&table.command, &table.url) {
        (Some(command), None) if !command.trim().is_empty() => {
            if table.status.is_some() || table.body_matches.is_some() || !table.headers.is_empty() {
                return Err("status, bodyMatches and headers belong to a url".into());
            }
            Ok(Kind::Command(command::Program::of(command, table)))
        }
        (None, Some(url)) if matches!(url.scheme(), "http" | "https") => {
            if !table.args.is_empty() || !table.env.is_empty() || table.cwd.is_some() {
                return Err("args, env and cwd belong to a command".into());
            }
            let pattern = table.body_matches.as_deref().map(Regex::new).transpose();
            let pattern = pattern.map_err(|error| format!("bodyMatches: {error}"))?;
            Ok(Kind::Http(http::Address::of(url, table, pattern)?))
        }
        _ => Err("needs either a command, or a url that begins with http:// or https://".into()),
    }
}

/// The end of what was said, as text.
fn tail(bytes: &[u8]) -> String {
    let text = crate::tools::text::without_nul(String::from_utf8_lossy(bytes).trim().to_owned());
    let from = text.len().saturating_sub(EVIDENCE_BYTES);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if from == 0 { text } else { format!("…{}", &text[from..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(tables: Value) -> Result<Probes, ProbeError> {
        Probes::open(&serde_json::from_value(tables).unwrap())
    }

    #[test]
    fn a_table_is_a_command_or_an_address() {
        for (table, words) in [
            (json!({}), "needs either"),
            (json!({"command": "true", "url": "http://localhost/"}), "needs either"),
            (json!({"url": "ftp://localhost/"}), "needs either"),
            (json!({"command": "true", "status": 200}), "belong to a url"),
            (json!({"url": "http://localhost/", "args": ["x"]}), "belong to a command"),
            (json!({"url": "http://localhost/", "bodyMatches": "("}), "bodyMatches"),
            (json!({"command": "true", "timeoutMs": 0}), "timeoutMs"),
        ] {
            let error = probes(json!({"x": table})).unwrap_err().to_string();
            assert!(error.contains("checks.x") && error.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_says_yes_by_ending_with_zero_and_reads_what_the_step_brought() {
        let probes = probes(json!({
            "has": {"command": "/bin/sh", "args": ["-c", "grep -q needle && echo found"]},
            "slow": {"command": "/bin/sleep", "args": ["60"], "timeoutMs": 50},
            "none": {"command": "/nowhere/to/be/found"},
            "loud": {"command": "/bin/sh", "args": ["-c", "head -c 300000 /dev/zero | tr '\\0' x; exit 3"]},
        }))
        .unwrap();
        let found = probes.ask("has", &json!({"output": "a needle"})).await.unwrap();
        assert_eq!(found, Finding { passed: true, evidence: json!({"exit": 0, "output": "found"}) });
        assert!(!probes.ask("has", &json!({"output": "hay"})).await.unwrap().passed);
        let slow = probes.ask("slow", &json!({})).await.unwrap();
        assert!(!slow.passed && slow.evidence["error"].as_str().unwrap().contains("50 ms"));
        let none = probes.ask("none", &json!({})).await.unwrap();
        assert!(!none.passed && none.evidence["error"].as_str().unwrap().contains("there is no such file"));
        let loud = probes.ask("loud", &json!({})).await.unwrap();
        assert_eq!(loud.evidence["exit"], 3);
        assert!(loud.evidence["output"].as_str().unwrap().len() <= EVIDENCE_BYTES + 3);
        assert_eq!(probes.ask("ghost", &json!({})).await, None);
    }

    #[tokio::test]
    async fn an_address_says_yes_by_its_status_and_its_body() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = axum::Router::new()
            .route("/good", axum::routing::get(|| async { "all is well" }))
            .route("/bad", axum::routing::get(|| async { (axum::http::StatusCode::BAD_GATEWAY, "no") }));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        let probes = probes(json!({
            "good": {"url": url("/good"), "bodyMatches": "all is (well|fine)"},
            "wrong": {"url": url("/good"), "bodyMatches": "on fire"},
            "bad": {"url": url("/bad")},
            "wanted": {"url": url("/bad"), "status": 502},
            "away": {"url": "http://127.0.0.1:1/"},
        }))
        .unwrap();
        for (name, passed) in
            [("good", true), ("wrong", false), ("bad", false), ("wanted", true), ("away", false)]
        {
            assert_eq!(probes.ask(name, &json!({})).await.unwrap().passed, passed, "{name}");
        }
        let bad = probes.ask("bad", &json!({})).await.unwrap();
        assert_eq!(bad.evidence, json!({"status": 502, "body": "no"}));
    }
}
