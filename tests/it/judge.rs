//! The checker, asked by tests: a program of its own that reads a database and ledgers.

use std::path::Path;
use std::process::Command;

use crate::program::example;

/// Has the claims on a database noted from now on.
pub(crate) fn witness(database: &str) {
    let output = Command::new(example("checker")).args(["witness", database]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What the checker printed: a summary, and a line for each finding. Whether it found any is its
/// exit code's to say.
pub(crate) fn verdict(database: &str, files: &[(&str, &Path)]) -> Result<String, String> {
    let mut command = Command::new(example("checker"));
    command.args(["check", database]);
    for (flag, file) in files {
        command.arg(flag).arg(file);
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    match output.status.code() {
        Some(0) => Ok(printed),
        Some(1) => Err(printed),
        _ => panic!("the checker could not look: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
