//! Examples of bodies and replies, by the id of the operation.

use serde_json::{Map, Value};

/// Read from `examples.json`: `{operationId: {"request": …, "reply": …}}`.
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

    /// What a reply of the operation looks like.
    pub(super) fn reply(&self, operation: &str) -> Option<Value> {
        self.0.get(operation)?.get("reply").cloned()
    }
}
