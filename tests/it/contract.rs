//! The server keeps its contract: `docs/openapi.json` is valid OpenAPI, its examples are what its
//! schemas say, and schemathesis, which makes requests of it, good and bad ones, finds no answer
//! that it does not describe. The Python programs are installed from PyPI into the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::program::Program;

const PACKAGES: &str = include_str!("../python/requirements.txt");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/examples.py");
const LINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/lines.py");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

/// A virtual environment with the packages. Its name says which, so that others are installed
/// anew.
fn installed() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    let digest = PACKAGES.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let directory = cache.unwrap_or_else(home).join("longhaul/python").join(format!("{digest:016x}"));
    std::fs::create_dir_all(&directory).unwrap();
    // Two tests of one run must not install at once.
    let lock = std::fs::File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let (environment, complete) = (directory.join("environment"), directory.join("complete"));
    if !complete.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        std::fs::write(directory.join("requirements.txt"), PACKAGES).unwrap();
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet", "-r", "requirements.txt"]).current_dir(&directory));
        // Written last, for an installation may be cut off.
        std::fs::write(complete, "").unwrap();
    }
    environment.join("bin")
}

/// Runs a program that must succeed.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: run scripts/test, which installs what is missing")
    });
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", told(&output.stdout), told(&output.stderr));
}

#[test]
fn the_document_is_valid_and_its_examples_are_too() {
    let programs = installed();
    run(Command::new(programs.join("openapi-spec-validator")).arg(DOCUMENT));
    run(Command::new(programs.join("python")).args([EXAMPLES, DOCUMENT]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_describes() {
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Think", "type": "llm-reasoning"}]}}},
        {"role": "detect", "reply": {"json": {"orchestrate": false, "score": 0.1, "reason": "simple"}}},
        {"reply": {"text": "done"}},
    ]}));
    let server = program.serve(&[]).await;
    let url = format!("http://{}", server.address);
    let directory: &Path = program.directory.path();
    let asking = Command::new(installed().join("schemathesis"))
        .arg("run")
        .args([DOCUMENT, "--url", &url, "--max-examples", "10", "--request-timeout", "10", "--no-color"])
        // A run can be repeated; what it finds by chance belongs into a longer one.
        .args(["--seed", "1", "--generation-deterministic"])
        // JSON Schema takes 5.0 for an integer and cannot tell which texts make sense together.
        .args(["--exclude-checks", "positive_data_acceptance"])
        // Streams end with their tasks, and these may be paused.
        .args(["--exclude-operation-id", "followTask"])
        .env("NO_PROXY", "127.0.0.1")
        .env("SCHEMATHESIS_HOOKS", LINES)
        .current_dir(directory)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&asking.stdout);
    assert!(asking.status.success(), "{told}\n{}", String::from_utf8_lossy(&asking.stderr));
}
