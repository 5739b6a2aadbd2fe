//! Examples of bodies and replies, by the id of the operation.

use serde_json::{Map, Value};

/// The operation whose reply shows what a task looks like, for all that answer with one.
const TASK: &str = "getTask";

/// Read from `examples.json`: `{operationId: {"request": …, "reply": …, mediaType: …}}`. What is no JSON stands under
/// its media type; of events, one is shown.
pub(super) struct Examples(Map<String, Value>);

impl Examples {
    pub(super) fn read() -> Self {
        // A test reads it, too: it cannot fail in a program that was built.
        Self(serde_json::from_str(include_str!("examples.json")).unwrap_or_default())
    }

    /// What a body of the operation looks like.
    pub(super) fn request(&self, operation: &str) -> Option<Value> {
        self.0.get(operation)?.get("request").cloned()
    }

    /// What a reply of the operation looks like, which has this schema.
    pub(super) fn reply(&self, operation: &str, schema: &Value) -> Option<Value> {
        let own = self.0.get(operation).and_then(|examples| examples.get("reply"));
        let is_task = schema["$ref"] == "#/components/schemas/Task";
        own.or_else(|| self.0.get(TASK).filter(|_| is_task)?.get("reply")).cloned()
    }

    /// What a body or a reply of the operation looks like that is of this media type.
    pub(super) fn text(&self, operation: &str, media: &str) -> Option<Value> {
        self.0.get(operation)?.get(media).cloned()
    }
}
