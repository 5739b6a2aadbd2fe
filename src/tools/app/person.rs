//! Asks a person. The question waits in the inbox, and its answer is the result of the call: the
//! executor sees to that, so this tool itself is called only with questions that cannot be asked.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Early, Operation};
use crate::task::Effect;
use crate::tools::{CallContext, Origin, ToolDescription, ToolError, validator};

/// `ask_person`.
pub(super) struct Ask;

const TOOLKIT: &str = "person";

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The question, with everything a person has to know to answer it.
    question: String,
    /// The answers that are allowed; leave it out for a free answer.
    choices: Option<Vec<String>>,
    /// The JSON Schema of the answer; leave it out for a text.
    schema: Option<Map<String, Value>>,
}

#[async_trait]
impl Operation for Ask {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = TOOLKIT;
    const NAME: &'static str = "ask_person";
    const DESCRIPTION: &'static str = "Asks the person for whom you work and waits for the answer, which may take hours. \
        Only for what nothing else can tell you: a preference, a permission, a fact that only they know.";
    const EFFECT: Effect = Effect::ReadOnly;

    fn objection(arguments: &Arguments) -> Option<String> {
        arguments.problem()
    }

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        let problem = arguments.problem().unwrap_or_else(|| "nobody can be asked here".to_owned());
        Err(Early::Failed(ToolError::Arguments(problem)))
    }
}

impl Arguments {
    fn problem(&self) -> Option<String> {
        if self.question.trim().is_empty() {
            return Some("`question` is empty".to_owned());
        }
        if self.choices.as_ref().is_some_and(Vec::is_empty) {
            return Some("`choices` is empty: leave it out for a free answer".to_owned());
        }
        let schema = self.schema.as_ref()?;
        let checked = validator(&Value::Object(schema.clone()));
        checked.err().map(|error| format!("`schema` is no JSON Schema: {error}"))
    }
}

/// Whether calling the tool means to ask a person.
pub(crate) fn is_question(tool: &ToolDescription) -> bool {
    matches!(&tool.origin, Origin::App { toolkit } if toolkit == TOOLKIT)
}

/// Why these arguments are no question that can be put to a person.
pub(crate) fn question_problem(arguments: &Value) -> Option<String> {
    match serde_json::from_value::<Arguments>(arguments.clone()) {
        Ok(arguments) => arguments.problem(),
        Err(error) => Some(error.to_string()),
    }
}

/// Why this is no answer to that question.
pub(crate) fn answer_problem(question: &Value, answer: &Value) -> Option<String> {
    let question: Arguments = serde_json::from_value(question.clone()).ok()?;
    if let Some(choices) = &question.choices {
        let is_one = answer.as_str().is_some_and(|answer| choices.iter().any(|choice| choice == answer));
        return (!is_one).then(|| format!("must be one of {}", choices.join(", ")));
    }
    if let Some(schema) = question.schema {
        let validator = validator(&Value::Object(schema)).ok()?;
        return validator.validate(answer).err().map(|error| format!("does not fit what was asked: {error}"));
    }
    (!answer.is_string()).then(|| "must be a text".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A schema of 3 KB that takes days to judge by.
    fn endless() -> Value {
        let mut all = json!({"a40": {"type": "string"}});
        for at in 0..40 {
            let next = format!("#/$defs/a{}", at + 1);
            all[format!("a{at}")] = json!({"allOf": [{"$ref": next}, {"$ref": next}]});
        }
        json!({"$defs": all, "$ref": "#/$defs/a0"})
    }

    #[test]
    fn a_question_has_words_and_a_sensible_form() {
        assert_eq!(question_problem(&json!({"question": "Which city?"})), None);
        for bad in [
            json!({}),
            json!({"question": " "}),
            json!({"question": "q", "choices": []}),
            json!({"question": "q", "schema": {"type": 7}}),
            json!({"question": "q", "schema": endless()}),
            json!({"question": "q", "answers": ["a"]}),
        ] {
            assert!(question_problem(&bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn an_answer_fits_what_was_asked() {
        let number = json!({"question": "q", "schema": {"type": "integer", "minimum": 1}});
        let choice = json!({"question": "q", "choices": ["red", "blue"]});
        let free = json!({"question": "q"});
        for (question, answer, fits) in [
            (&number, json!(7), true),
            (&number, json!(0), false),
            (&number, json!("7"), false),
            (&choice, json!("red"), true),
            (&choice, json!("green"), false),
            (&free, json!("Paris"), true),
            (&free, json!({"city": "Paris"}), false),
        ] {
            assert_eq!(answer_problem(question, &answer).is_none(), fits, "{question} {answer}");
        }
    }
}
