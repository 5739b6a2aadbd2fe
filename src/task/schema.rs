//! The JSON Schemas of what is written as a single word or number. All others are derived.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{BlobHash, ModelName, Priority, TaskId, Timestamp, Usd};

/// A schema under a name of its own.
macro_rules! named {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        }
    };
}

named!(TaskId, "TaskId", |_| json_schema!({
    "type": "string",
    "format": "uuid",
    "description": "Names one task. Ids sort by creation.",
}));

named!(Timestamp, "Timestamp", |_| json_schema!({
    "type": "string",
    "format": "date-time",
    "description": "A moment in UTC with milliseconds: 2026-11-22T16:41:41.123Z.",
}));

named!(Priority, "Priority", |_| json_schema!({
    "type": "integer",
    "minimum": Priority::HIGHEST.number(),
    "maximum": Priority::LOWEST.number(),
    "description": "1 (most urgent) to 5 (least); 3 where nobody says. A level is worth a minute of waiting.",
}));

named!(BlobHash, "BlobHash", |_| json_schema!({
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "The SHA-256 of a content's canonical JSON.",
}));

named!(Usd, "Usd", |_| json_schema!({
    "type": "number",
    "minimum": 0,
    "description": "US dollars, exact to a thousand-millionth.",
}));

// Two forms are read and one is written.
named!(ModelName, "ModelName", |generator| {
    let text = json_schema!({"type": "string", "pattern": "^[^/]+/.+$"});
    let description = "A model by provider and name, for example openai/gpt-5-mini.";
    if generator.contract().is_serialize() {
        return json_schema!({"type": "string", "pattern": "^[^/]+/.+$", "description": description});
    }
    let name = json_schema!({"type": "string", "minLength": 1});
    let pair = json_schema!({
        "type": "object",
        "properties": {"provider": name, "model": name},
        "required": ["provider", "model"],
    });
    json_schema!({"anyOf": [text, pair], "description": description})
});
