//! Composes a Markdown report from the results of other steps.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::{Early, Operation, blocking};
use super::markdown::heading;
use super::render::render;
use crate::task::Effect;
use crate::tools::CallContext;

/// `report_compose`.
pub(super) struct Compose;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The report's title. Without one it is an answer: a few sentences or a list.
    #[serde(default)]
    title: Option<String>,
    /// Its sections, in order.
    sections: Vec<Section>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Section {
    /// The section's heading, if it needs one.
    #[serde(default)]
    heading: Option<String>,
    /// What it shows: a text in Markdown, or the result of another tool as it is.
    #[serde(default)]
    content: Value,
}

#[async_trait]
impl Operation for Compose {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "report";
    const NAME: &'static str = "report_compose";
    const DESCRIPTION: &'static str = "Composes a report in Markdown from a title and sections. A section's content \
        may be text or the result of another tool: searches, lists, files, pages, comparisons and counts are laid out.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        blocking(move || Ok(Value::String(compose(&arguments)))).await
    }
}

fn compose(arguments: &Arguments) -> String {
    let mut parts: Vec<String> =
        arguments.title.iter().map(|title| format!("# {}", heading(title))).collect();
    for section in &arguments.sections {
        parts.extend(section.heading.iter().map(|words| format!("## {}", heading(words))));
        parts.push(render(&section.content));
    }
    parts.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::{built_in, tests::context};
    use super::*;

    #[tokio::test]
    async fn a_report_has_a_title_and_its_sections_in_order() {
        let arguments = json!({"title": "TODOs", "sections": [
            {"heading": "Summary", "content": "Two are *open*."},
            {"heading": "Findings", "content": {"matches": [
                {"path": "a.rs", "line": 3, "text": "// TODO: `x`"},
                {"path": "a.rs", "line": 9, "text": "// TODO: y"},
                {"path": "b.rs", "line": 1, "text": "TODO"}], "count": 3, "files": 2, "truncated": false}},
        ]});
        let report = built_in(Compose).call(arguments, context()).await.unwrap().content;
        insta::assert_snapshot!(report.as_str().unwrap(), @r"
        # TODOs

        ## Summary

        Two are *open*.

        ## Findings

        3 matches in 2 files

        **`a.rs`** (2)

        - `` a.rs:3: // TODO: `x` ``
        - `a.rs:9: // TODO: y`

        **`b.rs`** (1)

        - `b.rs:1: TODO`
        ");
    }

    #[tokio::test]
    async fn an_answer_has_neither_title_nor_headings() {
        let arguments = json!({"sections": [
            {"content": "3 matches in 2 files"},
            {"content": {"path": "todo.md", "bytes": 1200}}]});
        let answer = built_in(Compose).call(arguments, context()).await.unwrap().content;
        assert_eq!(answer, json!("3 matches in 2 files\n\nWritten to `todo.md` (1,200 bytes)\n"));
    }
}
