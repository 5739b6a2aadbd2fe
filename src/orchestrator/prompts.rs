//! The prompts: Markdown files with placeholders, so that they read as what they are.

use minijinja::{Environment, UndefinedBehavior, context};

use crate::models::ToolSpec;
use crate::task::{BlobHash, ModelName};
use crate::tools::Probes;

/// Decides about doubtful messages.
pub(super) const DETECT: &str = include_str!("prompts/detect.md");
/// Compresses a context.
pub(super) const SUMMARIZE: &str = include_str!("prompts/summarize.md");
/// Judges whether the goal is reached.
pub(super) const EVALUATE: &str = include_str!("prompts/evaluate.md");

/// Judges whether what a step brought meets its criteria.
pub(super) const JUDGE: &str = include_str!("prompts/judge.md");

/// Tells a model that the limit of output tokens cut its answer. What it says then is put behind it.
pub(crate) const GO_ON: &str = "Your answer was cut by the limit of output tokens. Go on exactly where it ended, \
    in the middle of a word if need be: repeat nothing of it, and say nothing about this.";

const PLAN: &str = include_str!("prompts/plan.md");
const STEP: &str = include_str!("prompts/step.md");

/// The instructions of the planner.
pub(super) fn plan(tools: &[ToolSpec], models: &[ModelName], probes: &Probes, max_steps: u32) -> String {
    let tools: Vec<_> = tools
        .iter()
        .map(|tool| context! { name => &tool.name, about => &tool.description, schema => tool.schema.to_string() })
        .collect();
    let models: Vec<String> = models.iter().map(ToString::to_string).collect();
    let probes: Vec<String> = probes.names().map(str::to_owned).collect();
    render(PLAN, context! { tools, models, probes, max_steps })
}

/// The instructions of a step.
pub(super) fn step(has_tools: bool) -> String {
    render(STEP, context! { has_tools })
}

/// Which version of a prompt it is: the beginning of its hash.
pub(super) fn version(text: &str) -> String {
    BlobHash::of(text.as_bytes()).to_string().chars().take(12).collect()
}

/// The texts are part of the program, and a test renders each of them: what could fail here
/// fails there.
fn render(text: &str, values: minijinja::Value) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.render_str(text, values).unwrap_or_else(|error| {
        tracing::error!(%error, "a prompt cannot be rendered");
        text.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::ProbeConfig;

    #[test]
    fn the_planner_is_told_of_every_tool_and_the_limit() {
        let tool = ToolSpec {
            name: "workspace_read".into(),
            description: "Reads a file.".into(),
            schema: serde_json::json!({"type": "object"}),
        };
        let models = ["openai/gpt-5.6-luna".parse().unwrap()];
        let none = Probes::default();
        let tests: std::collections::BTreeMap<String, ProbeConfig> =
            serde_json::from_value(serde_json::json!({"tests": {"command": "make"}})).unwrap();
        let probes = Probes::open(&tests).unwrap();
        assert!(plan(&[], &models, &none, 3).contains("`model`"));
        assert!(plan(&[], &[], &probes, 3).contains("\"probe\": one of tests"));
        insta::assert_snapshot!("plan", plan(&[tool], &[], &none, 50));
        insta::assert_snapshot!("plan_without_tools", plan(&[], &[], &none, 3));
    }

    #[test]
    fn a_step_is_told_whether_it_has_tools() {
        insta::assert_snapshot!("step", step(true));
        assert_ne!(step(true), step(false));
    }
}
