//! The pages fold journals by themselves (`ui/src/state/journal.ts`). Both folds are held against the same
//! recorded journals, with what has to come of them: here the engine's, in `ui/tests/journal.test.mjs` theirs.
//!
//! `RECORD_JOURNALS=DIRECTORY` writes down each journal that a test of the engine looks through; those that tell
//! something new belong into `ui/tests/journals/`.

use std::path::Path;

use longhaul::task::{Entry, Task, TaskId};
use serde_json::{Value, json};
use uuid::Uuid;

const JOURNALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/tests/journals");

/// Where a task and its steps stand, in the words of both folds.
fn told(task: &Task) -> Value {
    let steps = task.steps().iter().map(|step| json!({"status": step.status, "replaced": step.replaced}));
    let (state, steps) = (task.state(), steps.collect::<Vec<_>>());
    json!({"status": state.status, "revision": state.revision, "steps": steps})
}

/// Writes down a journal and what comes of it, named after the test that made it.
pub(crate) fn record(directory: &str, task: &Task, entries: &[Entry]) {
    let lines = entries.iter().map(|entry| {
        let mut line = json!(entry);
        line["step"] = json!(entry.event.step());
        line.to_string()
    });
    let lines = lines.collect::<Vec<_>>().join(",\n");
    let test = std::thread::current().name().unwrap_or_default().replace("::", "-");
    let path = Path::new(directory).join(format!("{test}.{}.json", task.id));
    std::fs::write(path, format!("{{\"told\": {},\n\"entries\": [\n{lines}\n]}}\n", told(task))).unwrap();
}

#[test]
fn what_the_engine_folds_of_recorded_journals_is_what_the_pages_are_held_against() {
    let mut files = 0;
    for file in std::fs::read_dir(JOURNALS).unwrap() {
        let path = file.unwrap().path();
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let entries: Vec<Entry> = serde_json::from_value(recorded["entries"].clone()).unwrap();
        let task = Task::fold(TaskId(Uuid::nil()), &entries).unwrap();
        assert_eq!(told(&task), recorded["told"], "{}: if that is meant, record it anew", path.display());
        files += 1;
    }
    assert!(files > 10, "only {files} journals are recorded");
}
