//! The two tools that every step has for its own context: one reads what prompts show only in part,
//! the other pins a fact. They reach nothing but the task itself, so no allowance restricts them.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::models::ToolSpec;
use crate::orchestrator::{Orchestrator, OrchestratorError, PIN_TOOL};
use crate::task::{Effect, TaskId};
use crate::tools::{CallContext, Origin, Tool, ToolDescription, ToolError, ToolOutput};

/// The tool that reads.
pub(super) const READ_TOOL: &str = "context_read";

/// The toolkit that they are.
const TOOLKIT: &str = "context";

/// A pinned fact has at most so many bytes: all of them are in every prompt.
const PIN_BYTES: usize = 500;

/// How both are offered to a model.
pub(super) fn specs() -> [ToolSpec; 2] {
    [READ_TOOL, PIN_TOOL].map(|name| {
        let ToolDescription { name, description, schema, .. } = description(name);
        ToolSpec { name, description, schema: schema.value().clone() }
    })
}

/// How many bytes of a prompt they take.
pub(crate) fn own_tools_bytes() -> usize {
    specs().iter().map(ToolSpec::bytes).sum()
}

/// The tool of this name, for one task.
pub(super) fn tool(name: &str, orchestrator: &Orchestrator, task: TaskId) -> Option<Arc<dyn Tool>> {
    [READ_TOOL, PIN_TOOL].contains(&name).then(|| {
        let description = description(name);
        Arc::new(Recollection { description, orchestrator: orchestrator.clone(), task }) as Arc<dyn Tool>
    })
}

/// The fact in the arguments of a pin, or what is wrong with them.
pub(super) fn fact(arguments: &Value) -> Result<&str, String> {
    let text = arguments["text"].as_str().map(str::trim).unwrap_or_default();
    match text.len() {
        0 => Err("`text` is missing: the fact in one sentence".to_owned()),
        1..=PIN_BYTES => Ok(text),
        bytes => {
            Err(format!("`text` has {bytes} bytes, at most {PIN_BYTES} are allowed: pin what matters of it"))
        }
    }
}

/// Whether it is one of the two.
pub(super) fn is_of_context(tool: &ToolDescription) -> bool {
    matches!(&tool.origin, Origin::App { toolkit } if toolkit == TOOLKIT)
}

fn description(name: &str) -> ToolDescription {
    let (about, schema) = match name {
        PIN_TOOL => (
            "Pins a fact: every later prompt of this task holds it word for word, whatever is compressed.",
            json!({"type": "object", "additionalProperties": false, "required": ["text"], "properties": {
                "text": {"type": "string", "description": "The fact in one sentence, at most 500 bytes."}}}),
        ),
        _ => (
            "Reads what this task has recorded and a prompt shows only in part. Where something was left out, the \
             prompt names the handle and the offset.",
            json!({"type": "object", "additionalProperties": false, "required": ["handle"], "properties": {
                "handle": {"type": "string", "description":
                    "The id of a step for its output, with /N behind it for the result of its call N; or goal, summary, message-N."},
                "offset": {"type": "integer", "minimum": 0, "description": "Where to begin, in bytes."},
                "length": {"type": "integer", "minimum": 1, "description": "How many bytes at most."}}}),
        ),
    };
    ToolDescription {
        name: name.to_owned(),
        description: about.to_owned(),
        schema: schema.into(),
        effect: Effect::ReadOnly,
        origin: Origin::App { toolkit: TOOLKIT.to_owned() },
    }
}

struct Recollection {
    description: ToolDescription,
    orchestrator: Orchestrator,
    task: TaskId,
}

impl Recollection {
    /// Says whether the fact can be pinned. Whoever called records it then: one that would not be taken must
    /// not be told as pinned.
    async fn pin(&self, arguments: &Value) -> Result<ToolOutput, ToolError> {
        if let Err(problem) = fact(arguments) {
            return Ok(ToolOutput::error(problem));
        }
        match self.orchestrator.room_for_pin(self.task).await.map_err(|error| unreadable(&error))? {
            Ok(()) => Ok(ToolOutput::ok("Pinned.")),
            Err(full) => Ok(ToolOutput::error(format!("Not pinned: {full}. Go on with those."))),
        }
    }
}

fn unreadable(error: &OrchestratorError) -> ToolError {
    ToolError::Unreachable { server: "the journal".to_owned(), detail: error.to_string(), source: None }
}

#[async_trait]
impl Tool for Recollection {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    /// It says by itself what it cannot do with them.
    fn problem(&self, _: &Value) -> Option<String> {
        None
    }

    async fn call(&self, arguments: Value, _: CallContext) -> Result<ToolOutput, ToolError> {
        if self.description.name == PIN_TOOL {
            return self.pin(&arguments).await;
        }
        let number = |name: &str| arguments[name].as_u64().and_then(|number| usize::try_from(number).ok());
        let (handle, offset) = (arguments["handle"].as_str().unwrap_or_default(), number("offset"));
        let read = self.orchestrator.read_recorded(self.task, handle, offset.unwrap_or(0), number("length"));
        match read.await {
            Ok(read) => {
                let end = read.offset + read.text.len();
                let rest = match read.total - end {
                    0 => String::new(),
                    left => format!("\n[{left} more bytes: go on at offset {end}]"),
                };
                Ok(ToolOutput::ok(format!("{}{rest}", read.text)))
            }
            Err(OrchestratorError::Invalid { problem, .. }) => Ok(ToolOutput::error(problem)),
            Err(error) => Err(unreadable(&error)),
        }
    }
}
