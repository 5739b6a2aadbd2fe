//! How an operation may be refused.

use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::schemas::{SchemaOf, Schemas};
use crate::server::error::{Problem, Refusal, is_original};

/// Adds the refusals of an operation to its replies: those that follow from what it takes, and
/// those that it names.
pub(super) fn add(operation: &Operation, schemas: &mut Schemas, replies: &mut Map<String, Value>) {
    let (media, schema): (&str, SchemaOf) = match is_original(operation.path) {
        true => ("application/json", |generator| generator.subschema_for::<Refusal>()),
        false => ("application/problem+json", |generator| generator.subschema_for::<Problem>()),
    };
    for status in statuses(operation) {
        let mut reply = json!({
            "description": meaning(status),
            "content": {media: {"schema": schemas.written(schema), "example": example(operation, status)}},
        });
        reply["headers"] = headers(status);
        replies.insert(status.to_string(), reply);
    }
}

fn statuses(operation: &Operation) -> Vec<u16> {
    // A web page of another origin is kept away from every route of a server without a key.
    let mut statuses = vec![403, 500];
    if operation.needs_key {
        statuses.push(401);
    }
    if operation.asks_database {
        statuses.push(503);
    }
    if operation.takes_anything() {
        statuses.push(400);
    }
    if operation.has_body() {
        statuses.push(413);
    }
    statuses.extend(operation.refusals);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Something about the request is wrong; the text names the field.",
        401 => "No key, or the wrong one.",
        403 => "It is somebody else's, or the request comes from a web page of another origin.",
        404 => "There is no such thing.",
        409 => "Not as things stand; the text says why.",
        413 => "The body is too large.",
        422 => "It cannot be carried out as things stand; the text says what to do.",
        426 => "Only a WebSocket is served here.",
        500 => "Something went wrong inside; the log has the details.",
        502 => "The provider of the model refuses, or answers nonsense.",
        503 => "The database, the queue or a provider does not answer.",
        504 => "The provider of the model took too long.",
        _ => "Refused.",
    }
}

fn headers(status: u16) -> Value {
    let text =
        |description: &str, r#type: &str| json!({"description": description, "schema": {"type": r#type}});
    let mut headers = json!({"X-Error-Code": text("The code, for programs; it never changes.", "string")});
    match status {
        401 => headers["WWW-Authenticate"] = text("`Bearer`", "string"),
        503 => headers["Retry-After"] = text("Seconds, if a provider names a wait.", "integer"),
        _ => {}
    }
    headers
}

fn example(operation: &Operation, status: u16) -> Value {
    let (title, code, detail) = match status {
        400 => ("Bad Request", "invalid_request", "limit: is a number from 1 to 1000"),
        401 => ("Unauthorized", "unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden", "Forbidden"),
        404 => ("Not Found", "task_not_found", "Task not found"),
        409 => ("Conflict", "task_status", "Cannot pause task with status: completed"),
        413 => (
            "Payload Too Large",
            "body_too_large",
            "the body is larger than 1114112 bytes (server.maxBodyBytes)",
        ),
        422 => {
            ("Unprocessable Entity", "model_not_configured", "no model is configured: set ANTHROPIC_API_KEY")
        }
        426 => ("Upgrade Required", "upgrade_required", "this path serves WebSockets only"),
        502 => (
            "Bad Gateway",
            "provider_unauthorized",
            "the provider of openai/gpt-5 does not accept the API key",
        ),
        503 => ("Service Unavailable", "database_unavailable", "the database does not answer"),
        504 => ("Gateway Timeout", "provider_timeout_total", "the model took too long"),
        _ => (
            "Internal Server Error",
            "internal",
            "something went wrong inside: the log of the server has the details",
        ),
    };
    if is_original(operation.path) {
        return json!({"error": detail});
    }
    let r#type = format!("urn:longhaul:error:{code}");
    json!({"type": r#type, "title": title, "status": status, "code": code, "detail": detail})
}
