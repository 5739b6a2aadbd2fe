//! The document against the router, against itself, and against the one that was agreed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use axum::http::Method;

use super::*;
use crate::server::fixture::Fixture;

/// Where the agreed document is; clients are generated from it.
const AGREED: &str = "docs/openapi.json";

/// Every operation as `(method, path)` with its description.
fn operations() -> BTreeMap<(String, String), Value> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().clone();
    let all = paths.into_iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().clone();
        operations
            .into_iter()
            .map(move |(method, described)| ((method.to_uppercase(), path.clone()), described))
    });
    all.collect()
}

/// The paths in the source of the router, which is the only place where routes are made.
fn routes() -> Vec<String> {
    let source = include_str!("../mod.rs");
    let calls = source.split(".route(").skip(1);
    calls.map(|call| call.split('"').nth(1).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else_is() {
    let fixture = Fixture::new().await;
    let mut served = BTreeSet::new();
    for path in routes() {
        let uri = path
            .replace("{id}", "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70")
            .replace("{seq}", "1")
            .replace("{name}", "clock_now");
        let refused = fixture.send(Method::TRACE, &uri, None).await;
        assert_eq!(refused.status, 405, "{path}");
        let methods = refused.headers["allow"].to_str().unwrap().to_owned();
        let methods = methods.split(',').map(str::trim).filter(|method| *method != "HEAD");
        served.extend(methods.map(|method| (method.to_owned(), path.clone())));
    }
    let described: BTreeSet<_> = operations().into_keys().collect();
    assert_eq!(described, served, "described (left) and served (right)");
}

#[test]
fn operations_have_names_of_their_own() {
    let all = operations();
    let names: BTreeSet<&str> =
        all.values().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), all.len());
}

#[test]
fn every_body_and_every_reply_has_an_example() {
    let all = operations();
    let written: Map<String, Value> = serde_json::from_str(include_str!("examples.json")).unwrap();
    for operation in all.values() {
        let id = operation["operationId"].as_str().unwrap();
        let replies = operation["responses"].as_object().unwrap().values();
        for place in replies.chain(operation.get("requestBody")) {
            for (media, content) in place["content"].as_object().into_iter().flatten() {
                assert!(content.get("example").is_some(), "{id} has no example of {media}");
            }
        }
    }
    let ids: BTreeSet<&str> =
        all.values().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let unused: Vec<&String> = written.keys().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(unused.is_empty(), "examples of no operation: {unused:?}");
}

#[test]
fn every_schema_that_is_referred_to_is_there_and_the_other_way_round() {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                let place = fields.get("$ref").and_then(Value::as_str);
                names.extend(
                    place.and_then(|place| place.strip_prefix("#/components/schemas/")).map(str::to_owned),
                );
                fields.values().for_each(|value| collect(value, names));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
            _ => {}
        }
    }
    let document = document();
    let mut used = BTreeSet::new();
    collect(&document, &mut used);
    let known: BTreeSet<String> =
        document["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(used, known);
}

#[test]
fn the_document_is_what_was_agreed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(AGREED);
    let written = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, &written).unwrap();
    }
    let agreed = fs::read_to_string(&path).unwrap_or_default();
    let differing = written
        .lines()
        .zip(agreed.lines().chain(std::iter::repeat("")))
        .position(|(one, other)| one != other);
    assert!(
        written == agreed,
        "{AGREED} differs from line {:?} on. Clients are generated from it: if the change is wanted, accept it with \
         INSTA_UPDATE=always cargo test openapi, and look at the difference before you commit it.",
        differing.map(|line| line + 1)
    );
}

#[tokio::test]
async fn anybody_may_read_it() {
    use crate::server::{Access, ServerConfig};
    let access = Access::new(Some("s3cret".into()), None);
    let fixture = Fixture::with(access, ServerConfig::default(), json!([])).await;
    let reply = fixture.get("/openapi.json").await;
    assert_eq!((reply.status, reply.json()), (200, document()));
    assert_eq!(reply.headers["content-type"], "application/json");
}
