//! Which files there are.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::words::{counted, cut};
use super::super::{Early, Operation, blocking};
use super::walk::Found;
use super::{Workspace, place, shown};
use crate::task::Effect;
use crate::tools::{CallContext, ToolError};

/// A longer list helps nobody, and no model can read it.
const MAX_ENTRIES: usize = 10_000;

/// `workspace_list`.
pub(super) struct List(pub(super) Arc<Workspace>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The directory to list, relative to the workspace.
    #[serde(default = "here")]
    path: String,
    /// Only what matches this glob, such as `*.rs` or `docs/**/*.md`; `!` in front excludes.
    #[serde(default)]
    glob: Option<String>,
    /// Whether to list directories within directories.
    #[serde(default = "yes")]
    recursive: bool,
    /// Whether files, directories or both are wanted.
    #[serde(default)]
    only: Kind,
    /// Whether the lines of text files are counted as well.
    #[serde(default)]
    count_lines: bool,
}

#[derive(Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Both,
    Files,
    Directories,
}

fn here() -> String {
    ".".to_owned()
}

fn yes() -> bool {
    true
}

#[async_trait]
impl Operation for List {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "workspace";
    const NAME: &'static str = "workspace_list";
    const DESCRIPTION: &'static str = "Lists files and directories of the workspace with their sizes in bytes. \
        Leaves out `.git`, symbolic links and what git ignores.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, context: CallContext) -> Result<Value, Early> {
        let workspace = Arc::clone(&self.0);
        blocking(move || list(&workspace, &arguments, &context)).await
    }
}

fn list(workspace: &Workspace, arguments: &Arguments, context: &CallContext) -> Result<Value, Early> {
    let selection = workspace.selection(&arguments.path, arguments.glob.as_deref(), arguments.recursive)?;
    let mut entries = Vec::new();
    let mut truncated = false;
    let mut sum = Sum::default();
    for found in workspace.walk(selection).filter(|found| arguments.only.keeps(found)) {
        if context.cancel.is_cancelled() {
            return Err(ToolError::Cancelled.into());
        }
        if entries.len() == MAX_ENTRIES {
            truncated = true;
            break;
        }
        let (kind, bytes) = match found.is_directory {
            true => ("directory", 0),
            false => ("file", workspace.dir.symlink_metadata(&found.path).map_or(0, |data| data.len())),
        };
        let mut entry = json!({"path": shown(&found.path), "kind": kind, "bytes": bytes});
        // What is no text has no lines; a file that vanished has none either.
        let is_counted = arguments.count_lines && !found.is_directory;
        let lines = is_counted.then(|| lines(workspace, &found, context).ok().flatten()).flatten();
        if let Some(lines) = lines {
            entry["lines"] = json!(lines);
        }
        sum.add(&found, lines);
        entries.push(entry);
    }
    let place = place(&arguments.path, arguments.glob.as_deref());
    let one_file = only_file(&entries, &arguments.path);
    if one_file && arguments.count_lines && entries[0]["lines"].is_null() {
        return Err(Early::Said(format!("'{}' is not a text: it has no lines", arguments.path)));
    }
    let words = match one_file && arguments.count_lines {
        true => sum.lines(),
        false => sum.words(arguments),
    };
    let summary = format!("{words}{place}{}", cut(truncated, entries.len()));
    let mut listed = json!({
        "count": entries.len(), "summary": summary, "entries": entries, "truncated": truncated,
    });
    if arguments.count_lines {
        listed["lines"] = json!(sum.lines);
    }
    Ok(listed)
}

/// Whether what was listed is the one file that was named.
fn only_file(entries: &[Value], named: &str) -> bool {
    matches!(entries, [one] if one["kind"] == "file" && one["path"] == shown(Path::new(named)))
}

impl Kind {
    fn keeps(self, found: &Found) -> bool {
        match self {
            Self::Both => true,
            Self::Files => !found.is_directory,
            Self::Directories => found.is_directory,
        }
    }
}

/// What the entries come to.
#[derive(Default)]
struct Sum {
    files: usize,
    directories: usize,
    lines: u64,
}

impl Sum {
    fn add(&mut self, found: &Found, lines: Option<u64>) {
        self.files += usize::from(!found.is_directory);
        self.directories += usize::from(found.is_directory);
        self.lines += lines.unwrap_or(0);
    }

    fn words(&self, arguments: &Arguments) -> String {
        let directories = counted(self.directories, "directory", "directories");
        if arguments.only == Kind::Directories {
            return directories;
        }
        let mut words = counted(self.files, "file", "files");
        if self.directories > 0 {
            words = format!("{words} and {directories}");
        }
        if arguments.count_lines {
            words = format!("{} in {words}", self.lines());
        }
        words
    }

    fn lines(&self) -> String {
        counted(usize::try_from(self.lines).unwrap_or(usize::MAX), "line", "lines")
    }
}

/// How many lines a text file has; nothing for a file that is no text.
fn lines(workspace: &Workspace, found: &Found, context: &CallContext) -> io::Result<Option<u64>> {
    let mut reader = BufReader::with_capacity(64 * 1024, workspace.dir.open(&found.path)?);
    let (mut lines, mut is_open, mut is_first) = (0_u64, false, true);
    loop {
        let piece = reader.fill_buf()?;
        let Some(last) = piece.last() else { return Ok(Some(lines + u64::from(is_open))) };
        if (is_first && piece.contains(&0)) || context.cancel.is_cancelled() {
            return Ok(None);
        }
        // A line that no break ends is one all the same.
        (is_open, is_first) = (*last != b'\n', false);
        lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = piece.len();
        reader.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::World;
    use super::*;

    fn paths(result: &Value) -> Vec<&str> {
        result["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect()
    }

    fn world() -> World {
        World::new(&[
            ("README.md", "hello"),
            ("src/main.rs", "fn main() {}"),
            ("src/deep/lib.rs", ""),
            ("target/out.rs", ""),
            (".gitignore", "target/\n"),
            (".git/config", ""),
            (".github/ci.yml", ""),
        ])
    }

    #[tokio::test]
    async fn everything_is_listed_but_what_git_ignores() {
        let result = world().ok("workspace_list", json!({})).await;
        assert_eq!(
            paths(&result),
            [
                ".github",
                ".github/ci.yml",
                ".gitignore",
                "README.md",
                "src",
                "src/deep",
                "src/deep/lib.rs",
                "src/main.rs"
            ]
        );
        assert_eq!((&result["count"], &result["truncated"]), (&json!(8), &json!(false)));
        assert_eq!(result["entries"][3], json!({"path": "README.md", "kind": "file", "bytes": 5}));
        assert_eq!(result["entries"][4], json!({"path": "src", "kind": "directory", "bytes": 0}));
    }

    #[tokio::test]
    async fn directories_are_no_files_and_lines_are_counted_on_demand() {
        let world = World::new(&[("src/a.rs", "one\ntwo"), ("src/deep/b.rs", "\n"), ("src/empty.rs", "")]);
        world.put("src/image", b"\0\n\n");
        let files = world.ok("workspace_list", json!({"path": "src", "only": "files"})).await;
        assert_eq!(paths(&files), ["src/a.rs", "src/deep/b.rs", "src/empty.rs", "src/image"]);
        let lines =
            world.ok("workspace_list", json!({"path": "src", "only": "files", "countLines": true})).await;
        assert_eq!((&lines["count"], &lines["lines"]), (&json!(4), &json!(3)));
        let each: Vec<_> =
            lines["entries"].as_array().unwrap().iter().map(|entry| entry["lines"].as_u64()).collect();
        assert_eq!(each, [Some(2), Some(1), Some(0), None], "an image has no lines");
        for (arguments, summary) in [
            (json!({"path": "src"}), "4 files and 1 directory in `src`"),
            (json!({"path": "src/", "only": "files", "countLines": true}), "3 lines in 4 files in `src`"),
            (json!({"only": "directories"}), "2 directories"),
            (json!({"glob": "*.rs", "only": "files"}), "3 files (`*.rs`)"),
        ] {
            let result = world.ok("workspace_list", arguments.clone()).await;
            assert_eq!(result["summary"], json!(summary), "{arguments}");
        }
    }

    #[tokio::test]
    async fn the_lines_of_one_file_are_counted_however_long_it_is() {
        let world = World::new(&[("docs/a.md", "one\ntwo\n")]);
        world.put("large.txt", &b"a line of ten\n".repeat(700_000));
        world.put("image", b"\0\n");
        let counted = async |path: &str| {
            world
                .call("workspace_list", json!({"path": path, "only": "files", "countLines": true}))
                .await
                .unwrap()
        };
        assert_eq!(counted("./docs/a.md").await.content["summary"], "2 lines in `docs/a.md`");
        assert_eq!(counted("large.txt").await.content["summary"], "700,000 lines in `large.txt`");
        assert_eq!(counted("image").await.content, json!("'image' is not a text: it has no lines"));
    }

    #[tokio::test]
    async fn a_directory_can_be_listed_alone_and_flat() {
        let world = world();
        let flat = world.ok("workspace_list", json!({"path": "src", "recursive": false})).await;
        assert_eq!(paths(&flat), ["src/deep", "src/main.rs"]);
        let file = world.ok("workspace_list", json!({"path": "src/main.rs"})).await;
        assert_eq!(paths(&file), ["src/main.rs"]);
    }

    #[tokio::test]
    async fn globs_include_and_exclude() {
        let world = world();
        for (glob, expected) in [
            ("*.rs", vec!["src/deep/lib.rs", "src/main.rs"]),
            ("src/*.rs", vec!["src/main.rs"]),
            ("src/deep", vec!["src/deep", "src/deep/lib.rs"]),
            ("!src/", vec![".github", ".github/ci.yml", ".gitignore", "README.md"]),
        ] {
            let result = world.ok("workspace_list", json!({"glob": glob})).await;
            assert_eq!(paths(&result), expected, "{glob}");
        }
        let error = world.call("workspace_list", json!({"glob": "a{"})).await.unwrap_err();
        assert_eq!(error.code(), "tool_arguments");
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let output = world().call("workspace_list", json!({"path": "nowhere"})).await.unwrap();
        assert!(output.is_error);
        assert_eq!(output.content, json!("there is no 'nowhere' in the workspace"));
    }
}
