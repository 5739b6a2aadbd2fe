//! How two files differ, however long they are: nothing but what differs is told.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::report::compared;
use super::super::{Early, Operation, blocking};
use super::Workspace;
use super::read::{Text, text};
use crate::task::Effect;
use crate::tools::{CallContext, ToolError};

/// Both files are held in memory while they are compared.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How much of a differing line is told, in characters.
const SHOWN: usize = 400;

/// `workspace_compare`.
pub(super) struct Compare(pub(super) Arc<Workspace>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The one file, relative to the workspace.
    left: String,
    /// The other one.
    right: String,
}

#[async_trait]
impl Operation for Compare {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "workspace";
    const NAME: &'static str = "workspace_compare";
    const DESCRIPTION: &'static str = "Compares two text files of the workspace line by line, also such as are too \
        long to be read: which lines were `added` and which `removed`.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        let workspace = Arc::clone(&self.0);
        blocking(move || {
            let read = |path: &str| text(&workspace, path, MAX_BYTES).map_err(|early| in_words(path, early));
            let sides = [read(&arguments.left)?, read(&arguments.right)?];
            let lines = |side: &Text| side.text.lines().map(str::to_owned).collect::<Vec<_>>();
            Ok(compared(
                [(&sides[0].path, &lines(&sides[0])), (&sides[1].path, &lines(&sides[1]))],
                Some(SHOWN),
            ))
        })
        .await
    }
}

/// It is no result that is too large here.
fn in_words(path: &str, early: Early) -> Early {
    match early {
        Early::Failed(ToolError::OutputTooLarge { .. }) => {
            Early::Said(format!("'{path}' has more than 64 MiB, which is too much to compare"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::World;

    #[tokio::test]
    async fn files_that_are_too_long_to_be_read_are_compared() {
        let world = World::new(&[]);
        let lines = |from: u32| (from..from + 1_200_000).map(|n| format!("{n:08}\n")).collect::<String>();
        world.put("a.txt", lines(0).as_bytes());
        world.put("b.txt", (lines(0) + &"x".repeat(1000)).as_bytes());
        let compared = world.ok("workspace_compare", json!({"left": "./a.txt", "right": "b.txt"})).await;
        assert_eq!((&compared["equal"], &compared["removed"]), (&json!(false), &json!([])));
        assert_eq!(compared["added"], json!([format!("{}…", "x".repeat(400))]));
        assert_eq!(
            compared["summary"],
            "a.txt and b.txt differ: 1 line only in b.txt, 0 lines only in a.txt."
        );
    }

    #[tokio::test]
    async fn what_cannot_be_compared_is_said() {
        let world = World::new(&[("a.txt", "x")]);
        world.put("image", &[0]);
        for (right, expected) in [("none", "there is no 'none'"), ("image", "'image' is not a text")] {
            let output =
                world.call("workspace_compare", json!({"left": "a.txt", "right": right})).await.unwrap();
            assert!(output.is_error && output.content.as_str().unwrap().contains(expected), "{output:?}");
        }
    }
}
