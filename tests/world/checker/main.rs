//! Says whether a database and the ledgers of those whom its tasks called tell the same story.
//!
//! ```text
//! checker witness DATABASE                                   before the work: notes every claim
//! checker check DATABASE [--tools F] [--models F] [--promised F]     after it
//! ```
//!
//! It knows nothing of the engine: it reads the tables through SQL and the ledgers that the
//! counting tool server and the scripted model wrote. `--promised` is a file with a task id in each
//! line. It prints what it looked at, and a line for each finding, `RULE: task ID: what was seen`.
//! Exit code 0 if there is none, 1 if there is one, 2 if it could not look.

mod facts;
mod rules;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use facts::{Facts, Files};

const USAGE: &str =
    "usage: checker witness DATABASE | checker check DATABASE [--tools F] [--models F] [--promised F]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
async fn run(arguments: Vec<String>) -> Result<bool, Box<dyn Error>> {
    let mut arguments = arguments.into_iter();
    let (Some(command), Some(database)) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.into());
    };
    if command == "witness" {
        facts::install_witness(&database).await?;
        return Ok(true);
    }
    let mut files = Files::default();
    while let Some(flag) = arguments.next() {
        let file = arguments.next().map(PathBuf::from);
        match flag.as_str() {
            "--tools" => files.tools = file,
            "--models" => files.models = file,
            "--promised" => files.promised = file,
            _ => return Err(USAGE.into()),
        }
    }
    let facts = Facts::read(&database, &files).await?;
    println!("{}", facts.summary());
    let findings = rules::findings(&facts);
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.is_empty())
}
