//! `GET /openapi.json`: the contract of this API, in OpenAPI 3.1.
//!
//! ```text
//! views ──derive──▶ schemas ─┐
//! operations (one table) ────┼─▶ document ─▶ /openapi.json, docs/openapi.json
//! examples.json ─────────────┘
//! ```
//!
//! Schemas are derived from the types that are written and read, by the rules by which those are
//! written and read; a test holds the table against the routes of the router.

mod examples;
mod operation;
mod operations;
mod refusals;
mod schemas;
#[cfg(test)]
mod tests;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use self::examples::Examples;
use self::schemas::Schemas;

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    let examples = Examples::read();
    let mut paths = Map::new();
    for operation in operations::all() {
        let described = operation.describe(&mut schemas, &examples);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    let readers = operations.filter_map(|operation| operation.get_mut("requestBody"));
    let components = json!({
        "schemas": schemas.name(readers),
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": KEY}},
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Longhaul",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Carries goals too big for one chat answer to their end.",
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {}],
        "tags": operations::tags(),
        "paths": paths,
        "components": components,
    })
}

/// What the handler of the route sends. Made once, for it never changes.
pub(super) fn route() -> impl IntoResponse + Clone {
    ([(CONTENT_TYPE, "application/json")], document().to_string())
}

const KEY: &str = "`CHAT_API_KEY`. Without one the server answers to its own machine only, and asks nobody.";

const ABOUT: &str = "Bodies and answers are JSON with camelCase names; times are UTC with milliseconds. Routes \
    under `/api/chat` refuse with `{\"error\"}`, all others with `application/problem+json` and a stable `code`. \
    Unknown fields of a body are ignored unless its schema says otherwise.";
