//! Whether what a step brought will do: the model that judges it, and what the step is told of its
//! checks beforehand.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;

use super::context::{cut, marked};
use super::{Orchestrator, OrchestratorError, prompts};
use crate::models::{Model, Request, Role};
use crate::task::{CheckKind, Step, TaskSpec, json_in};
use crate::tools::Probes;

/// How much of an output a judge reads, in bytes and in percent of its window; and of the step and of the criteria.
const READ_BYTES: usize = 96 * 1024;
const READ_PERCENT: u64 = 40;
const WORDS_PERCENT: u64 = 10;

/// How much of a schema a step is shown, in bytes.
const SCHEMA_BYTES: usize = 8 * 1024;

/// What a judge found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Judgement {
    /// Whether the criteria are met.
    pub passed: bool,
    /// Why, or what is missing.
    #[serde(default)]
    pub reason: String,
}

impl Judgement {
    /// Reads a judge's answer. One that nobody can read is no approval.
    pub fn read(answer: &str) -> Self {
        json_in(answer).unwrap_or_else(|_| {
            let shown = answer.chars().take(200).collect::<String>();
            Self { passed: false, reason: format!("the judge gave no verdict: {shown}") }
        })
    }
}

impl Orchestrator {
    /// The same brain with probes that it may ask.
    pub fn with_probes(self, probes: Probes) -> Self {
        Self { probes: Arc::new(probes), ..self }
    }

    /// The probes that a plan may name.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The model that judges, and what it is asked.
    pub fn judge_of(
        &self,
        spec: &TaskSpec,
        step: &Step,
        criteria: &str,
        output: &str,
    ) -> Result<(Arc<dyn Model>, Request), OrchestratorError> {
        let model = self.models.for_role(Role::Evaluate, spec.chat_model.as_ref())?;
        let window = self.window(model.as_ref(), spec);
        let words = window.bytes(WORDS_PERCENT);
        let user = format!(
            "The step:\n{}\n\nThe criteria:\n{}\n\nWhat was brought:\n{}",
            cut(&step.plan.description, words),
            cut(criteria, words),
            // Whoever made it may have read anything.
            marked(&step.plan.id, &cut(output, READ_BYTES.min(window.bytes(READ_PERCENT))))
        );
        let mut request = Request::new(Role::Evaluate, &spec.goal, prompts::JUDGE, user);
        request.schema = Some(serde_json::json!({
            "type": "object", "additionalProperties": false, "required": ["passed", "reason"],
            "properties": {"passed": {"type": "boolean"}, "reason": {"type": "string"}},
        }));
        Ok((model, request))
    }
}

/// What a step is told of its checks, for whoever does not know the measure cannot meet it.
pub(super) fn told_of_checks(step: &Step) -> String {
    let mut told = String::new();
    for check in step.checks() {
        let _ = match &check.kind {
            CheckKind::Schema(schema) => {
                writeln!(told, "- it fits this JSON Schema: {}", cut(&schema.to_string(), SCHEMA_BYTES))
            }
            CheckKind::Probe(name) => writeln!(told, "- the probe '{name}' finds that it is so"),
            CheckKind::Judge(criteria) => writeln!(told, "- it meets these criteria: {criteria}"),
        };
    }
    if told.is_empty() {
        told
    } else {
        format!("\n\nYour last answer is what the step brings. It is checked:\n{told}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_nobody_can_read_is_no_approval() {
        let read = Judgement::read;
        assert!(read("```json\n{\"passed\": true}\n```").passed);
        assert_eq!(read("{\"passed\": false, \"reason\": \"no\"}").reason, "no");
        let unread = read("It looks fine to me.");
        assert!(!unread.passed && unread.reason.contains("no verdict"));
    }
}
