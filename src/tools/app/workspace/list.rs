//! Which files there are.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Early, Operation, blocking};
use super::{Workspace, shown};
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
    for found in workspace.walk(selection) {
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
        entries.push(json!({"path": shown(&found.path), "kind": kind, "bytes": bytes}));
    }
    Ok(json!({"count": entries.len(), "entries": entries, "truncated": truncated}))
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
