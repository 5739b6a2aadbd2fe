//! The rules of ARCHITECTURE.md, checked on the text of the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by floor. A room uses only rooms on lower floors.
const FLOORS: [(u8, &[&str]); 6] = [
    (0, &["task"]),
    (1, &["repository", "queue", "models", "tools"]),
    (2, &["orchestrator"]),
    (3, &["executor"]),
    (4, &["server", "worker"]),
    (5, &["cli"]),
];

/// A file with more lines holds more than one idea.
const FILE_LINES: usize = 600;
/// Half of the files are at most this long.
const MEDIAN_LINES: usize = 150;
/// A function with more lines does not fit on a screen.
const FUNCTION_LINES: usize = 70;

/// Words that name nothing of what Longhaul does.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "manager", "common", "misc", "shared"];

struct Source {
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(Path::new("src"), &mut sources);
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    sources
}

fn collect(directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source { text: fs::read_to_string(&path).unwrap(), path });
        }
    }
}

impl Source {
    fn room(&self) -> Option<&str> {
        self.path.components().nth(1)?.as_os_str().to_str().map(|name| name.trim_end_matches(".rs"))
    }

    /// The lines before the tests of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str().to_string_lossy().contains("test"))
            || self.path.ends_with("properties.rs")
            || self.path.ends_with("fixture.rs")
    }
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

#[test]
fn arrows_point_downwards_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((room, own)) = source.room().and_then(|room| Some((room, floor(room)?))) else { continue };
        for (at, line) in source.code() {
            for name in upward(room, own, line) {
                wrong.push(format!("{}:{at}: {room} uses {name}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a line of a room uses that is not below it. Several rooms in one pair of braces hide their names
/// from this, so that is wrong whatever they are.
fn upward(room: &str, own: u8, line: &str) -> Vec<String> {
    let used = line.match_indices("crate::").map(|(from, _)| &line[from + "crate::".len()..]);
    let names = used.map(|used| match used.starts_with('{') {
        true => "crate::{: name one room in each line".to_owned(),
        false => used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
    });
    let is_wrong = |name: &String| {
        name.starts_with("crate") || (name != room && floor(name).is_some_and(|other| other >= own))
    };
    names.filter(is_wrong).collect()
}

#[test]
fn no_way_of_writing_an_arrow_hides_it() {
    let of_worker = |line: &str| upward("worker", 4, line).len();
    assert_eq!(of_worker("use crate::task::{Task, TaskId};"), 0);
    assert_eq!(of_worker("use crate::worker::drive;"), 0);
    assert_eq!(of_worker("use crate::server::Server;"), 1);
    assert_eq!(of_worker("use crate::{server::Server, task::Task};"), 1);
    assert_eq!(of_worker("pub use crate::{"), 1);
}

#[test]
fn every_room_has_a_floor() {
    for source in sources() {
        let room = source.room().unwrap();
        assert!(["lib", "main"].contains(&room) || floor(room).is_some(), "{room} is on no floor");
    }
}

#[test]
fn the_task_room_is_pure() {
    for source in sources().iter().filter(|source| source.room() == Some("task")) {
        for (at, line) in source.code() {
            for word in
                ["async ", "tokio", "Utc::now", "SystemTime", "Instant", "std::fs", "std::env", "rand::"]
            {
                let is_comment = line.trim_start().starts_with("//");
                assert!(is_comment || !line.contains(word), "{}:{at}: {word}", source.path.display());
            }
        }
    }
}

#[test]
fn sql_stays_in_the_repository() {
    for source in sources().iter().filter(|source| source.room() != Some("repository") && !source.is_test()) {
        for (at, line) in source.code() {
            let speaks_sql = line.contains("sqlx::query") || line.contains("sqlx::raw_sql");
            assert!(!speaks_sql, "{}:{at} speaks SQL", source.path.display());
        }
    }
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    let mut lengths = Vec::new();
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} does not say what it is for", source.path.display());
        let lines = source.code().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines", source.path.display());
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN_LINES, "half of the files have more than {median} lines");
}

#[test]
fn functions_fit_on_a_screen() {
    let mut long = BTreeMap::new();
    for source in sources() {
        let mut open: Option<(usize, usize, String)> = None;
        for (at, line) in source.code() {
            let indent = line.len() - line.trim_start().len();
            let opens = line.trim_start().split(' ').take_while(|word| *word != "=").any(|word| word == "fn");
            if open.is_none() && opens && !line.trim_start().starts_with("//") {
                open = Some((at, indent, line.trim().to_owned()));
            }
            if let Some((from, depth, name)) = &open
                && indent == *depth
                && (line.trim() == "}" || line.trim_end().ends_with(';'))
            {
                if at - from > FUNCTION_LINES {
                    long.insert(format!("{}:{from} {name}", source.path.display()), at - from);
                }
                open = None;
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn names_say_something() {
    for source in sources() {
        let stem = source.path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!EMPTY_NAMES.contains(&stem.as_str()), "{} names nothing", source.path.display());
        for (at, line) in source.code() {
            let words = line.split(|c: char| !c.is_alphanumeric());
            for word in words.filter(|word| ["TODO", "FIXME", "XXX", "HACK"].contains(word)) {
                let quoted = line.contains('"') || line.contains('`') || line.contains("TODO comment");
                assert!(quoted, "{}:{at}: {word} is never merged", source.path.display());
            }
        }
    }
}

#[test]
fn the_root_is_small() {
    let names: Vec<String> = fs::read_dir(".")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert!(names.len() <= 15, "{} names at the root: {names:?}", names.len());
}
