//! The built-in toolkits: what Longhaul can do without any server.
//!
//! One file per tool. A tool is an [`Operation`]: its argument type gives the schema, its
//! constants the description, its `run` does the work. What all of them need — reading the
//! arguments, the deadline, the cancel signal, the size limit — is done once, here.

mod calculation;
mod clock;
mod http;
mod person;
mod report;
mod words;
mod workspace;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::text::{json_bytes, value_without_nul, without_nul};
use super::{CallContext, Origin, Tool, ToolDescription, ToolError, ToolOutput, ToolboxError, ToolsConfig};
use crate::task::{Effect, read_json};

pub(crate) use person::{answer_problem, is_question, question_problem};

/// All built-in tools for this configuration.
pub(super) fn tools(config: &ToolsConfig) -> Result<Vec<Arc<dyn Tool>>, ToolboxError> {
    let mut tools = workspace::tools(config.workspace.as_deref())?;
    let private = config.allow_private_addresses;
    tools.push(built_in(http::Fetch::new(private)));
    if let Some(config) = &config.http_request {
        let submit = http::Submit::new(private, config.clone());
        tools.push(built_in_with(submit, config.effect));
    }
    tools.push(built_in(clock::Now));
    tools.push(built_in(calculation::Evaluate));
    tools.push(built_in(person::Ask));
    tools.extend(report::tools());
    Ok(tools)
}

/// Whether a tool that reports an error would report it again: what these say is about what they were
/// asked for, and a file that is not there will not be there in a second.
pub(crate) fn repeats_itself(tool: &str) -> bool {
    ["workspace_", "http_", "report_", "calculation_"].iter().any(|toolkit| tool.starts_with(toolkit))
}

/// One built-in tool.
#[async_trait]
trait Operation: Send + Sync + 'static {
    /// What it is called with.
    type Arguments: DeserializeOwned + JsonSchema + Send;
    const TOOLKIT: &'static str;
    const NAME: &'static str;
    const DESCRIPTION: &'static str;
    const EFFECT: Effect;

    /// What is wrong with arguments that have the form of some.
    fn objection(arguments: &Self::Arguments) -> Option<String> {
        let _ = arguments;
        None
    }

    /// Does the work. The context's cancel signal is also given when the time is up, so that
    /// work on blocking threads can end.
    async fn run(&self, arguments: Self::Arguments, context: CallContext) -> Result<Value, Early>;
}

/// How an operation ends without a result.
enum Early {
    /// The call failed.
    Failed(ToolError),
    /// The tool's answer is an error that the model should read: there is no such file.
    Said(String),
}

impl From<ToolError> for Early {
    fn from(error: ToolError) -> Self {
        Self::Failed(error)
    }
}

struct BuiltIn<O> {
    description: ToolDescription,
    operation: O,
}

fn built_in<O: Operation>(operation: O) -> Arc<dyn Tool> {
    built_in_with(operation, O::EFFECT)
}

/// One of which the operator says what it does to the world.
fn built_in_with<O: Operation>(operation: O, effect: Effect) -> Arc<dyn Tool> {
    let description = ToolDescription {
        name: O::NAME.to_owned(),
        description: O::DESCRIPTION.to_owned(),
        schema: schema::<O::Arguments>().into(),
        effect,
        origin: Origin::App { toolkit: O::TOOLKIT.to_owned() },
    };
    Arc::new(BuiltIn { description, operation })
}

/// The schema in the plain form that all providers accept: without references, and with an
/// argument that may be left out described as what it is when it is given.
fn schema<T: JsonSchema>() -> Value {
    let inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = inline.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        for key in ["$schema", "title", "description"] {
            fields.remove(key);
        }
    }
    simplify(&mut schema);
    schema
}

fn simplify(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|key, value| !(key == "default" && value.is_null() || key == "format"));
        if let Some(Value::Array(types)) = fields.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                fields.insert("type".to_owned(), only);
            }
        }
        fields.values_mut().for_each(simplify);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(simplify);
    }
}

#[async_trait]
impl<O: Operation> Tool for BuiltIn<O> {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    /// As the call reads them, so that neither refuses what the other one takes.
    fn problem(&self, arguments: &Value) -> Option<String> {
        let read = match arguments {
            Value::Null => read_json::<O::Arguments>(Value::Object(serde_json::Map::new())),
            other => read_json::<O::Arguments>(other),
        };
        match read {
            Ok(read) => O::objection(&read),
            Err(problem) => Some(problem),
        }
    }

    async fn call(&self, arguments: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        let arguments = match arguments {
            Value::Null => Value::Object(serde_json::Map::new()),
            other => other,
        };
        let arguments = serde_json::from_value(value_without_nul(arguments))
            .map_err(|error| ToolError::Arguments(error.to_string()))?;
        if context.cancel.is_cancelled() {
            return Err(ToolError::HeldBack);
        }
        let limit = context.max_output_bytes;
        let stop = context.cancel.child_token();
        let _stop_on_return = stop.clone().drop_guard();
        let inner = CallContext { cancel: stop, ..context.clone() };
        let outcome = tokio::select! {
            biased;
            outcome = self.operation.run(arguments, inner) => outcome,
            () = context.cancel.cancelled() => return Err(ToolError::Cancelled),
            () = tokio::time::sleep(context.timeout) => return Err(ToolError::Timeout(context.timeout)),
        };
        match outcome {
            Ok(value) => limited(value_without_nul(value), limit),
            Err(Early::Said(message)) => Ok(ToolOutput::error(without_nul(message))),
            Err(Early::Failed(error)) => Err(error),
        }
    }
}

fn limited(value: Value, limit: u64) -> Result<ToolOutput, ToolError> {
    if json_bytes(&value) > limit {
        return Err(ToolError::OutputTooLarge { limit });
    }
    Ok(ToolOutput::ok(value))
}

/// Runs file work or long computation where it cannot hold up other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Early> + Send + 'static,
) -> Result<T, Early> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Early::Failed(ToolError::Interrupted {
            detail: "the tool's thread ended early".to_owned(),
            source: Some(Box::new(error)),
        })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn context() -> CallContext {
        CallContext::of_test()
    }

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Text {
        #[serde(default)]
        the_text: String,
    }

    /// Gives its argument back; waits for ever if there is none.
    struct Echo;

    #[async_trait]
    impl Operation for Echo {
        type Arguments = Text;
        const TOOLKIT: &'static str = "test";
        const NAME: &'static str = "test_echo";
        const DESCRIPTION: &'static str = "Echoes.";
        const EFFECT: Effect = Effect::ReadOnly;

        async fn run(&self, arguments: Text, _: CallContext) -> Result<Value, Early> {
            match arguments.the_text.as_str() {
                "" => std::future::pending().await,
                "missing" => Err(Early::Said("there is\0no such thing".to_owned())),
                text => Ok(json!(text)),
            }
        }
    }

    #[tokio::test]
    async fn arguments_must_fit_the_schema_that_is_shown() {
        let tool = built_in(Echo);
        assert_eq!(tool.description().schema.value()["additionalProperties"], json!(false));
        for wrong in [json!({"theTxt": "x"}), json!({"theText": 1}), json!("x")] {
            assert!(tool.problem(&wrong).is_some(), "{wrong}");
            let error = tool.call(wrong, context()).await.unwrap_err();
            assert_eq!(error.code(), "tool_arguments");
            assert!(!error.may_have_taken_effect());
        }
    }

    #[test]
    fn arguments_are_judged_as_the_call_reads_them() {
        let tools = super::tools(&ToolsConfig::default()).unwrap();
        let search = tools.iter().find(|tool| tool.description().name == "workspace_search").unwrap();
        // Models write null for what they leave out.
        assert_eq!(search.problem(&json!({"pattern": "TODO", "glob": null})), None);
        assert_eq!(search.problem(&json!({"glob": "*"})).as_deref(), Some("pattern: is missing"));
        let output = json!({"$output": "step-1"});
        assert_eq!(search.problem_in_plan(&json!({"pattern": output, "glob": null})), None);
        assert!(search.problem_in_plan(&json!({"patern": output})).is_some());
    }

    #[test]
    fn schemas_are_plain() {
        let tools = super::tools(&ToolsConfig::default()).unwrap();
        assert_eq!(tools.len(), 12);
        for tool in tools {
            let schema = tool.description().schema.value();
            assert_eq!(schema["type"], json!("object"), "{schema}");
            let text = schema.to_string();
            assert!(!["$ref", "$defs", "null", "format"].iter().any(|word| text.contains(word)), "{text}");
        }
        assert_eq!(
            schema::<Text>(),
            json!({"type": "object", "properties": {"theText": {"type": "string", "default": ""}}, "additionalProperties": false})
        );
    }

    #[tokio::test]
    async fn results_never_contain_nul() {
        let tool = built_in(Echo);
        let output = tool.call(json!({"theText": "a\0b"}), context()).await.unwrap();
        assert_eq!(output, ToolOutput::ok("a\u{fffd}b"));
        let output = tool.call(json!({"theText": "missing"}), context()).await.unwrap();
        assert_eq!(output, ToolOutput::error("there is\u{fffd}no such thing"));
    }

    #[tokio::test]
    async fn a_result_over_the_limit_is_an_error() {
        let small = CallContext { max_output_bytes: 10, ..context() };
        let error = built_in(Echo).call(json!({"theText": "0123456789"}), small).await.unwrap_err();
        assert!(matches!(error, ToolError::OutputTooLarge { limit: 10 }));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_and_the_cancel_signal_end_a_call() {
        let late = built_in(Echo).call(json!({}), context()).await.unwrap_err();
        assert!(matches!(late, ToolError::Timeout(_)));
        let cancelled = context();
        let tool = built_in(Echo);
        let (call, ()) = tokio::join!(tool.call(json!({}), cancelled.clone()), async {
            cancelled.cancel.cancel();
        });
        assert!(matches!(call.unwrap_err(), ToolError::Cancelled));
    }

    #[tokio::test]
    async fn what_was_cancelled_before_it_began_has_certainly_not_taken_effect() {
        let cancelled = context();
        cancelled.cancel.cancel();
        let error = built_in(Echo).call(json!({"theText": "x"}), cancelled).await.unwrap_err();
        assert!(matches!(error, ToolError::HeldBack) && !error.may_have_taken_effect(), "{error:?}");
    }
}
