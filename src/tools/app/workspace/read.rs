//! What is in a file.

use std::io::Read as _;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Early, Operation, blocking};
use super::{Workspace, refused, shown};
use crate::task::Effect;
use crate::tools::{CallContext, ToolError};

/// `workspace_read`.
pub(super) struct Read(pub(super) Arc<Workspace>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The file, relative to the workspace.
    path: String,
}

#[async_trait]
impl Operation for Read {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "workspace";
    const NAME: &'static str = "workspace_read";
    const DESCRIPTION: &'static str = "Reads one text file (UTF-8) of the workspace.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, context: CallContext) -> Result<Value, Early> {
        let workspace = Arc::clone(&self.0);
        blocking(move || read(&workspace, &arguments.path, context.max_output_bytes)).await
    }
}

fn read(workspace: &Workspace, path: &str, limit: u64) -> Result<Value, Early> {
    let Text { path, text } = text(workspace, path, limit)?;
    Ok(json!({"path": path, "bytes": text.len(), "lines": text.lines().count(), "text": text}))
}

/// A file and what is in it.
pub(super) struct Text {
    pub(super) path: String,
    pub(super) text: String,
}

/// What is in a text file of at most so many bytes.
pub(super) fn text(workspace: &Workspace, path: &str, limit: u64) -> Result<Text, Early> {
    let relative = workspace.relative(path)?;
    let metadata = workspace.dir.metadata(&relative).map_err(|error| workspace.refused(path, error))?;
    // Opening a pipe would wait for ever for somebody to write into it.
    if !metadata.is_file() {
        return Err(Early::Said(format!("'{path}' is not a file")));
    }
    if metadata.len() > limit {
        return Err(ToolError::OutputTooLarge { limit }.into());
    }
    let file = workspace.dir.open(&relative).map_err(|error| refused(path, error))?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| refused(path, error))?;
    if bytes.len() as u64 > limit {
        return Err(ToolError::OutputTooLarge { limit }.into());
    }
    let size = bytes.len();
    // UTF-8 knows NUL, but no text has it: shown as one, a picture or a program would be nonsense.
    if bytes.contains(&0) {
        return Err(Early::Said(format!("'{path}' is not a text: it has NUL bytes in it ({size} bytes)")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Early::Said(format!("'{path}' is not a text in UTF-8 ({size} bytes)")))?;
    Ok(Text { path: shown(&relative), text })
}

#[cfg(test)]
mod tests {
    use super::super::tests::World;
    use super::*;

    #[tokio::test]
    async fn a_text_is_read_with_its_size() {
        let world = World::new(&[("docs/a.md", "één\ntwo\n")]);
        let result = world.ok("workspace_read", json!({"path": "./docs/../docs/a.md"})).await;
        assert_eq!(result, json!({"path": "docs/a.md", "text": "één\ntwo\n", "bytes": 10, "lines": 2}));
    }

    #[tokio::test]
    async fn what_is_no_text_is_said() {
        let world = World::new(&[("dir/file", "")]);
        world.put("image", &[0xff, 0xfe, 0x01]);
        for (path, expected) in [("image", "UTF-8"), ("dir", "not a file"), ("none", "there is no 'none'")] {
            let output = world.call("workspace_read", json!({"path": path})).await.unwrap();
            assert!(output.is_error && output.content.as_str().unwrap().contains(expected), "{output:?}");
        }
    }

    #[tokio::test]
    async fn a_file_with_nul_bytes_is_no_text() {
        let world = World::new(&[]);
        world.put("program.bin", b"\0TODO binary");
        let output = world.call("workspace_read", json!({"path": "program.bin"})).await.unwrap();
        assert_eq!(output.content, json!("'program.bin' is not a text: it has NUL bytes in it (12 bytes)"));
        assert!(output.is_error);
    }

    #[tokio::test]
    async fn a_file_over_the_limit_is_refused() {
        let world = World::new(&[]);
        world.put("large", &vec![b'x'; 9 * 1024 * 1024]);
        let error = world.call("workspace_read", json!({"path": "large"})).await.unwrap_err();
        assert_eq!(error.code(), "tool_output_too_large");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_pipe_is_not_waited_for() {
        let world = World::new(&[]);
        let made = std::process::Command::new("mkfifo").arg(world.path("pipe")).status();
        if made.is_ok_and(|status| status.success()) {
            let output = world.call("workspace_read", json!({"path": "pipe"})).await.unwrap();
            assert_eq!(output.content, json!("'pipe' is not a file"));
        }
    }
}
