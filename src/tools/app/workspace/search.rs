//! Where a text or a pattern occurs.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::words::{counted, cut};
use super::super::{Early, Operation, blocking};
use super::comments::Comments;
use super::walk::Found;
use super::{Workspace, place, shown};
use crate::task::Effect;
use crate::tools::text::shortened;
use crate::tools::{CallContext, ToolError};

/// Longer lines (minified code, data) are searched in pieces, so that memory stays bounded.
const MAX_LINE_BYTES: u64 = 1024 * 1024;
/// How much of a matching line is shown, in characters.
const SHOWN_CHARACTERS: usize = 300;
/// How much of a long line is shown before the match, in bytes.
const SHOWN_BEFORE: usize = 100;
/// Whoever wants more should narrow the pattern.
const MAX_MATCHES: usize = 10_000;
/// A compiled pattern may take so much memory, in bytes.
const MAX_PATTERN_BYTES: usize = 4 * 1024 * 1024;

/// `workspace_search`.
pub(super) struct Search(pub(super) Arc<Workspace>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The text to find.
    pattern: String,
    /// Whether the pattern is a regular expression.
    #[serde(default)]
    regex: bool,
    /// Only in files that match this glob, such as `*.rs` or `src/**`; `!` in front excludes.
    #[serde(default)]
    glob: Option<String>,
    /// Whether upper and lower case differ.
    #[serde(default = "yes")]
    case_sensitive: bool,
    /// The directory or file to search, relative to the workspace.
    #[serde(default = "here")]
    path: String,
    /// Stop after so many matching lines.
    #[serde(default = "thousand")]
    max_matches: usize,
    /// Only what stands in comments, as far as the kind of the file tells them from code and prose.
    #[serde(default)]
    comments_only: bool,
}

fn yes() -> bool {
    true
}

fn here() -> String {
    ".".to_owned()
}

fn thousand() -> usize {
    1000
}

#[async_trait]
impl Operation for Search {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "workspace";
    const NAME: &'static str = "workspace_search";
    const DESCRIPTION: &'static str = "Finds the lines of the workspace's text files that contain a text or match a \
        regular expression. Leaves out binary files, `.git` and what git ignores.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, context: CallContext) -> Result<Value, Early> {
        let regex = compile(&arguments)?;
        let workspace = Arc::clone(&self.0);
        blocking(move || search(&workspace, &arguments, &regex, &context)).await
    }
}

fn compile(arguments: &Arguments) -> Result<Regex, ToolError> {
    if arguments.pattern.is_empty() {
        return Err(ToolError::Arguments("the pattern is empty".to_owned()));
    }
    let pattern = if arguments.regex { arguments.pattern.clone() } else { regex::escape(&arguments.pattern) };
    RegexBuilder::new(&pattern)
        .case_insensitive(!arguments.case_sensitive)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map_err(|error| ToolError::Arguments(format!("the pattern is wrong: {error}")))
}

fn search(
    workspace: &Workspace,
    arguments: &Arguments,
    regex: &Regex,
    context: &CallContext,
) -> Result<Value, Early> {
    let selection = workspace.selection(&arguments.path, arguments.glob.as_deref(), true)?;
    let mut hits = Hits {
        matches: Vec::new(),
        limit: arguments.max_matches.min(MAX_MATCHES),
        // Half of the limit leaves room for what JSON adds to a text.
        bytes_left: usize::try_from(context.max_output_bytes / 2).unwrap_or(usize::MAX),
        truncated: false,
    };
    let mut files = 0;
    for found in workspace.walk(selection).filter(|found| !found.is_directory) {
        let before = hits.matches.len();
        // A file that vanished or cannot be read is left out, as in every search.
        let comments = arguments.comments_only.then(|| Comments::of(&found.path));
        let _ = search_file(workspace, &found, regex, comments, &mut hits, context);
        files += usize::from(hits.matches.len() > before);
        if context.cancel.is_cancelled() {
            return Err(ToolError::Cancelled.into());
        }
        if hits.truncated {
            break;
        }
    }
    let Hits { matches, truncated, .. } = hits;
    let count = matches.len();
    let place = place(&arguments.path, arguments.glob.as_deref());
    let found = match count {
        0 => "no matches".to_owned(),
        _ => format!("{} in {}", counted(count, "match", "matches"), counted(files, "file", "files")),
    };
    let summary = format!("{found}{place}{}", cut(truncated, count));
    Ok(json!({
        "count": count, "files": files, "truncated": truncated, "summary": summary, "matches": matches,
    }))
}

struct Hits {
    matches: Vec<Value>,
    limit: usize,
    bytes_left: usize,
    truncated: bool,
}

impl Hits {
    /// Takes one more match, or notes that there was no room for it.
    fn take(&mut self, path: &str, line: u64, text: String) {
        let bytes = path.len() + text.len() + 40;
        if self.matches.len() >= self.limit || bytes > self.bytes_left {
            self.truncated = true;
            return;
        }
        self.bytes_left -= bytes;
        self.matches.push(json!({"path": path, "line": line, "text": text}));
    }
}

fn search_file(
    workspace: &Workspace,
    found: &Found,
    regex: &Regex,
    mut comments: Option<Comments>,
    hits: &mut Hits,
    context: &CallContext,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, workspace.dir.open(&found.path)?);
    if reader.fill_buf()?.contains(&0) {
        return Ok(());
    }
    let path = shown(&found.path);
    let (mut line, mut number, mut last_matched) = (Vec::new(), 1_u64, 0_u64);
    while reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? > 0 {
        let complete = line.last() == Some(&b'\n');
        let text = trimmed(&line);
        let found = match comments.as_mut().map(|comments| comments.next_line(text)) {
            None => regex.find(text),
            Some(parts) => regex.find_iter(text).find(|found| is_within(&parts, found.start())),
        };
        if let Some(found) = found
            && last_matched != number
        {
            last_matched = number;
            hits.take(&path, number, excerpt(&line, found.start()));
        }
        // A line may be as long as its file: each piece of it is worth a look.
        let looks = number.is_multiple_of(4096) || !complete;
        if hits.truncated || (looks && context.cancel.is_cancelled()) {
            return Ok(());
        }
        number += u64::from(complete);
        line.clear();
    }
    Ok(())
}

fn is_within(parts: &[Range<usize>], at: usize) -> bool {
    parts.iter().any(|part| part.contains(&at))
}

/// The line without its end, so that `$` and `\s` mean what people expect.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The line, or the part of a long one around the match.
fn excerpt(line: &[u8], at: usize) -> String {
    let text = String::from_utf8_lossy(trimmed(line));
    if text.len() <= SHOWN_CHARACTERS {
        return text.trim().to_owned();
    }
    let from = at.saturating_sub(SHOWN_BEFORE).min(line.len());
    let window = &line[from..line.len().min(from + 4 * SHOWN_CHARACTERS)];
    let text = String::from_utf8_lossy(trimmed(window));
    let cut = if from > 0 && text.trim_start().len() == text.len() { "…" } else { "" };
    format!("{cut}{}", shortened(text.trim_matches(['\u{fffd}', ' ', '\t']), SHOWN_CHARACTERS))
}

#[cfg(test)]
mod tests {
    use super::super::tests::World;
    use super::*;

    fn lines(result: &Value) -> Vec<String> {
        let shown = |hit: &Value| {
            format!("{}:{}: {}", hit["path"].as_str().unwrap(), hit["line"], hit["text"].as_str().unwrap())
        };
        result["matches"].as_array().unwrap().iter().map(shown).collect()
    }

    fn world() -> World {
        let world = World::new(&[
            ("b.rs", "// TODO: second\r\nfn main() {}\n    // todo: third\n"),
            ("a/x.md", "nothing\nTODO first TODO\n"),
            ("target/gen.rs", "TODO ignored"),
            (".gitignore", "target\n"),
            (".git/HEAD", "TODO"),
            (".github/ci.yml", "# TODO hidden"),
        ]);
        world.put("image.bin", b"\x89\0TODO\n");
        world
    }

    #[tokio::test]
    async fn lines_are_found_in_order_with_their_place() {
        let result = world().ok("workspace_search", json!({"pattern": "TODO"})).await;
        assert_eq!(
            lines(&result),
            [".github/ci.yml:1: # TODO hidden", "a/x.md:2: TODO first TODO", "b.rs:1: // TODO: second"]
        );
        assert_eq!(
            (&result["count"], &result["files"], &result["truncated"]),
            (&json!(3), &json!(3), &json!(false))
        );
    }

    #[tokio::test]
    async fn case_regex_glob_and_path_narrow_the_search() {
        let world = world();
        for (arguments, expected) in [
            (
                json!({"pattern": "todo", "caseSensitive": false, "glob": "*.rs"}),
                vec!["b.rs:1: // TODO: second", "b.rs:3: // todo: third"],
            ),
            (
                json!({"pattern": r"TODO:?\s+\w+$", "regex": true, "glob": "!a/"}),
                vec![".github/ci.yml:1: # TODO hidden", "b.rs:1: // TODO: second"],
            ),
            (json!({"pattern": "TODO", "path": "a"}), vec!["a/x.md:2: TODO first TODO"]),
            (json!({"pattern": "main()", "path": "b.rs"}), vec!["b.rs:2: fn main() {}"]),
            (json!({"pattern": "no such thing"}), vec![]),
        ] {
            let result = world.ok("workspace_search", arguments.clone()).await;
            assert_eq!(lines(&result), expected, "{arguments}");
        }
    }

    #[tokio::test]
    async fn only_comments_are_searched_on_demand() {
        let world = World::new(&[
            ("a.rs", "// TODO: one\nlet a = \"TODO\"; // and TODO\nlet todo = \"TODO\";\n"),
            ("b.md", "The TODO list\n<!-- TODO: two -->\n"),
        ]);
        let result = world.ok("workspace_search", json!({"pattern": "TODO", "commentsOnly": true})).await;
        assert_eq!(
            lines(&result),
            ["a.rs:1: // TODO: one", "a.rs:2: let a = \"TODO\"; // and TODO", "b.md:2: <!-- TODO: two -->"]
        );
    }

    #[tokio::test]
    async fn what_was_found_where_is_summed_up() {
        let world = world();
        for (arguments, summary) in [
            (json!({"pattern": "TODO"}), "3 matches in 3 files"),
            (json!({"pattern": "TODO", "path": "a"}), "1 match in 1 file in `a`"),
            (json!({"pattern": "x", "glob": "*.py"}), "no matches (`*.py`)"),
            (
                json!({"pattern": "TODO", "glob": "!a/", "maxMatches": 1}),
                "1 match in 1 file (cut at 1: there are more)",
            ),
        ] {
            let result = world.ok("workspace_search", arguments.clone()).await;
            assert_eq!(result["summary"], json!(summary), "{arguments}");
        }
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_named_with_what_may_be_meant() {
        let world = world();
        for (path, said) in [
            ("nowhere/", "there is no 'nowhere/' in the workspace"),
            ("x.md", "there is no 'x.md' in the workspace, but there is 'a/x.md'"),
            ("B", "there is no 'B' in the workspace, but there is 'b.rs'"),
        ] {
            let output =
                world.call("workspace_search", json!({"pattern": "TODO", "path": path})).await.unwrap();
            assert_eq!((output.is_error, output.content), (true, json!(said)));
        }
        let error =
            world.call("workspace_search", json!({"pattern": "TODO", "path": "/etc"})).await.unwrap_err();
        assert_eq!(error.to_string(), "'/etc' is outside of the workspace");
    }

    #[tokio::test]
    async fn more_matches_than_asked_for_are_announced() {
        let result = world().ok("workspace_search", json!({"pattern": "TODO", "maxMatches": 2})).await;
        assert_eq!((&result["count"], &result["truncated"]), (&json!(2), &json!(true)));
        let exact = world().ok("workspace_search", json!({"pattern": "TODO", "maxMatches": 3})).await;
        assert_eq!(exact["truncated"], json!(false));
    }

    #[tokio::test]
    async fn a_long_line_shows_the_part_around_the_match() {
        let long = format!("{}NEEDLE{}", "é".repeat(5000), "y".repeat(5000));
        let world = World::new(&[("long.js", &long)]);
        let result = world.ok("workspace_search", json!({"pattern": "NEEDLE"})).await;
        let text = result["matches"][0]["text"].as_str().unwrap();
        assert!(
            text.contains("NEEDLE") && text.chars().count() <= 302 && !text.contains('\u{fffd}'),
            "{text}"
        );
    }

    #[test]
    fn a_search_within_one_huge_line_ends_when_it_is_cancelled() {
        let outer = tempfile::tempdir().unwrap();
        let huge = format!("{}NEEDLE", "x".repeat(3 * MAX_LINE_BYTES as usize));
        std::fs::write(outer.path().join("huge.json"), huge).unwrap();
        let workspace = Workspace::open(Some(outer.path())).unwrap();
        let found = Found { path: "huge.json".into(), is_directory: false };
        let context = super::super::super::tests::context();
        let search = || {
            let mut hits = Hits { matches: Vec::new(), limit: 10, bytes_left: 10_000, truncated: false };
            let regex = Regex::new("NEEDLE").unwrap();
            search_file(&workspace, &found, &regex, None, &mut hits, &context).unwrap();
            hits.matches.len()
        };
        assert_eq!(search(), 1);
        context.cancel.cancel();
        assert_eq!(search(), 0, "the end of the line was read all the same");
    }

    #[tokio::test]
    async fn a_wrong_pattern_is_refused_before_anything_is_read() {
        for arguments in [
            json!({"pattern": ""}),
            json!({"pattern": "(", "regex": true}),
            json!({"pattern": r"(\w{1000}){1000}", "regex": true}),
        ] {
            let error = world().call("workspace_search", arguments).await.unwrap_err();
            assert_eq!(error.code(), "tool_arguments");
        }
    }
}
