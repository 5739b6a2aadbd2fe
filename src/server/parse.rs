//! Reads bodies and query strings; whatever is wrong with them is named by its field.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::error::ApiError;
use super::state::AppState;
use crate::task::{is_text_too_deep, plainly};

/// A JSON body. The content type is not looked at, as in the original system.
pub(super) struct JsonBody<T>(pub(super) T);

/// A JSON body that may be missing.
pub(super) struct OptionalBody<T>(pub(super) Option<T>);

/// The query string.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<AppState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        json(&bytes(request, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let bytes = bytes(request, state).await?;
        if bytes.trim_ascii().is_empty() { Ok(Self(None)) } else { json(&bytes).map(|body| Self(Some(body))) }
    }
}

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(refused) => {
                let problem = plainly(&after_prefix(&refused.body_text()));
                let wrong = problem.split_once(": ").map_or("", |(field, _)| field);
                match wanted::<T>(wrong) {
                    Some(wanted) => Err(ApiError::invalid(wrong, &wanted)),
                    None => Err(ApiError::bad_request(problem)),
                }
            }
        }
    }
}

/// What a parameter that is a number, or true or false, has to be: what is described of it is what is told to
/// whoever sends something else.
fn wanted<T: JsonSchema>(parameter: &str) -> Option<String> {
    let schema = schemars::schema_for!(T);
    let described = schema.get("properties")?.get(parameter)?;
    let types = described.get("type")?;
    let is =
        |name: &str| types == name || types.as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let bound = |name: &str| described.get(name).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        _ if is("boolean") => Some("is true or false".to_owned()),
        _ if !is("integer") => None,
        (Some(least), Some(most)) => Some(format!("is a number from {least} to {most}")),
        (Some(least), None) => Some(format!("is a whole number of {least} or more")),
        _ => Some("is a whole number".to_owned()),
    }
}

/// Whether the body of this route may be as large as files are.
fn takes_files(path: &str) -> bool {
    let of_task = || path.starts_with("/api/tasks/") && path.ends_with("/messages");
    matches!(path, "/api/chat" | "/api/chat/orchestrate" | "/api/chat/plan") || of_task()
}

pub(super) async fn bytes(request: Request, state: &AppState) -> Result<Bytes, ApiError> {
    let (limit, key) = match request.uri().path() {
        path if takes_files(path) => (state.config.chat.max_body_bytes, "server.chat.maxBodyBytes"),
        _ => (state.config.max_body_bytes, "server.maxBodyBytes"),
    };
    Bytes::from_request(request, state).await.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(limit, key),
        _ => ApiError::bad_request("the body cannot be read to its end"),
    })
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    use axum::extract::rejection::JsonRejection;
    if is_text_too_deep(bytes) {
        return Err(ApiError::too_deep());
    }
    // A list would do for an object, its items taken for the fields in their order.
    let other = match bytes.trim_ascii() {
        [b'[', ..] => Some("a list"),
        [b'"', ..] => Some("a text"),
        b"null" => Some("null"),
        b"true" | b"false" => Some("true or false"),
        [b'-' | b'0'..=b'9', ..] => Some("a number"),
        _ => None,
    };
    if let Some(other) = other.filter(|_| serde_json::from_slice::<IgnoredAny>(bytes).is_ok()) {
        return Err(ApiError::bad_request(format!("the body is {other}: send an object")));
    }
    match Json::from_bytes(bytes) {
        Ok(Json(body)) => Ok(body),
        Err(JsonRejection::JsonDataError(refused)) => {
            Err(ApiError::bad_request(plainly(&after_prefix(&refused.body_text()))))
        }
        Err(refused) => {
            let problem = after_prefix(&refused.body_text());
            let problem = problem.replace("EOF while parsing", "it ends in the middle of");
            Err(ApiError::bad_request(format!("the body is not JSON: {problem}")))
        }
    }
}

/// axum says first what it could not do and then, behind a colon, which field is why.
fn after_prefix(text: &str) -> String {
    text.split_once(": ").map_or(text, |(_, problem)| problem).to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::task::{Mention, ModelName};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only what is refused is looked at")]
    struct Body {
        goal: String,
        chat_model: Option<ModelName>,
        mentions: Option<Vec<Mention>>,
    }

    fn refusal(body: &[u8]) -> String {
        json::<Body>(body).unwrap_err().message
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        assert!(refusal(br#"{"goal": 5}"#).starts_with("goal: must be a text, not the number 5"));
        assert!(
            refusal(br#"{"goal": "g", "chatModel": "gpt"}"#).starts_with("chatModel: 'gpt' does not name")
        );
        let mentions = refusal(br#"{"goal": "g", "mentions": [{"type": "agent", "name": "n"}]}"#);
        assert!(mentions.starts_with("mentions[0].agentId: is missing"), "{mentions}");
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for body in
            [&b""[..], b"{", b"{\"goal\": ", b"{\"goal\": \"\xff\"}", b"{\"goal\": \"g\"} x", b"hello"]
        {
            let message = refusal(body);
            assert!(message.starts_with("the body is not JSON: "), "{message}");
        }
        assert!(refusal(b"{\"goal\": ").contains("line 1"));
    }

    #[test]
    fn what_is_no_object_is_told_in_one_way() {
        for (body, is) in [
            ("[]", "a list"),
            ("null", "null"),
            ("\"g\"", "a text"),
            ("5", "a number"),
            ("true", "true or false"),
        ] {
            assert_eq!(refusal(body.as_bytes()), format!("the body is {is}: send an object"));
        }
    }

    #[test]
    fn bottomless_nesting_is_refused() {
        let deep = "[".repeat(100_000);
        let refused = json::<serde_json::Value>(deep.as_bytes()).unwrap_err();
        assert_eq!(refused.code, "json_too_deep", "{}", refused.message);
    }

    /// A query string, as lists have it.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only what is refused is looked at")]
    struct Query {
        #[schemars(range(min = 1, max = 1000))]
        limit: Option<u32>,
        #[schemars(range(min = 1))]
        version: Option<u32>,
        start_index: Option<i64>,
        roots: Option<bool>,
        by: Option<By>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum By {
        Tool,
        Model,
    }

    #[tokio::test]
    async fn a_parameter_that_is_wrong_is_named_with_what_it_has_to_be() {
        for (query, problem) in [
            ("limit=abc", "limit: is a number from 1 to 1000"),
            ("limit=", "limit: is a number from 1 to 1000"),
            ("limit=-1", "limit: is a number from 1 to 1000"),
            ("limit=99999999999", "limit: is a number from 1 to 1000"),
            ("version=x", "version: is a whole number of 1 or more"),
            ("startIndex=1.5", "startIndex: is a whole number"),
            ("roots=yes", "roots: is true or false"),
            ("by=step", "by: 'step' is none of tool, model"),
        ] {
            let request =
                Request::builder().uri(format!("/?{query}")).body(axum::body::Body::empty()).unwrap();
            let (mut parts, _) = request.into_parts();
            let refused = Params::<Query>::from_request_parts(&mut parts, &()).await.err().unwrap();
            assert_eq!((refused.code, refused.message.as_str()), ("invalid_request", problem), "{query}");
        }
    }
}
