//! What the machine itself can do, measured in the same run.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::process::Command;
use url::Url;

use crate::cli::error::CliError;

/// How long to append.
const SPAN: Duration = Duration::from_secs(2);

/// What one durable step writes at least: a page.
const APPEND: [u8; 4096] = [7; 4096];

/// A million accounts: with `-N` nothing smaller than an account is fought over, so the scale
/// need not grow with the clients.
const PGBENCH_SCALE: &str = "10";

/// Seconds that pgbench runs.
const PGBENCH_SECONDS: &str = "10";

/// Something to compare with.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Baseline {
    /// What was measured.
    pub(super) what: String,
    /// How often per second.
    pub(super) per_second: f64,
    /// Whether each waited for the one before, as the steps of a task alone do.
    pub(super) one_by_one: bool,
}

/// Appends of 4 KiB to one file, each on the disk before the next.
pub(super) fn synced_appends(directory: &Path) -> io::Result<Baseline> {
    let path = directory.join("appends");
    let mut file = File::create(&path)?;
    let began = Instant::now();
    let mut appends = 0_u32;
    while began.elapsed() < SPAN {
        file.write_all(&APPEND)?;
        file.sync_data()?;
        appends += 1;
    }
    let per_second = f64::from(appends) / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(Baseline { what: "appends of 4 KiB, each synced".to_owned(), per_second, one_by_one: true })
}

/// `pgbench -N` on the same database with as many clients: one update and one insert per
/// transaction. Makes pgbench's four tables and removes them again.
pub(super) async fn pgbench(url: &Url, clients: u32) -> Result<Baseline, CliError> {
    let (count, threads) = (clients.to_string(), clients.min(2).to_string());
    pgbench_output(url, &["-i", "-q", "-s", PGBENCH_SCALE]).await?;
    let run = ["-N", "-n", "-c", &count, "-j", &threads, "-T", PGBENCH_SECONDS];
    let output = pgbench_output(url, &run).await;
    let removed = pgbench_output(url, &["-i", "-I", "d"]).await;
    let output = output?;
    removed?;
    let tps =
        output.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    let per_second = tps
        .ok_or_else(|| CliError::failed("pgbench_failed", format!("pgbench says no tps: {output}"), None))?;
    Ok(Baseline {
        what: format!("transactions of pgbench -N -c {clients}"),
        per_second,
        one_by_one: clients == 1,
    })
}

async fn pgbench_output(url: &Url, arguments: &[&str]) -> Result<String, CliError> {
    let failed = |what: String, source| CliError::failed("pgbench_failed", what, source);
    let mut command = Command::new("pgbench");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    // Arguments are seen by everybody on the machine; the environment is not.
    for (name, value) in connection(url) {
        command.env(name, value);
    }
    let output = command.output().await;
    let output = output
        .map_err(|error| failed("pgbench cannot be started: it comes with PostgreSQL".into(), Some(error)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr).trim()), None))
}

/// An address as the variables of PostgreSQL's own programs.
fn connection(url: &Url) -> Vec<(&'static str, String)> {
    let parameter =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let host = url.host_str().filter(|host| !host.is_empty()).map(decoded).or_else(|| parameter("host"));
    let user = Some(decoded(url.username())).filter(|user| !user.is_empty()).or_else(|| parameter("user"));
    let database = Some(decoded(url.path().trim_start_matches('/'))).filter(|name| !name.is_empty());
    let port = url.port().map(|port| port.to_string()).or_else(|| parameter("port"));
    [
        ("PGHOST", host),
        ("PGPORT", port),
        ("PGUSER", user),
        ("PGPASSWORD", url.password().map(decoded)),
        ("PGDATABASE", database),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    let value = url::form_urlencoded::parse(pair.as_bytes()).next();
    value.map_or_else(|| text.to_owned(), |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_variables() {
        let url = Url::parse("postgres://ada:p%40ss+word@db:5433/tasks").unwrap();
        let expected = [
            ("PGHOST", "db"),
            ("PGPORT", "5433"),
            ("PGUSER", "ada"),
            ("PGPASSWORD", "p@ss+word"),
            ("PGDATABASE", "tasks"),
        ];
        assert_eq!(connection(&url), expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_socket_directory_is_a_host() {
        let url = Url::parse("postgres:///tasks?host=/run/postgresql&user=ada").unwrap();
        let variables = connection(&url);
        assert!(variables.contains(&("PGHOST", "/run/postgresql".to_owned())), "{variables:?}");
    }
}
