//! Every route is asked things that make no sense: it refuses them, and nothing breaks inside.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::program::{Program, Server};

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Values that are hard to take wherever they come.
fn nasty() -> Vec<Value> {
    let deep = (0..120).fold(json!("bottom"), |inner, _| json!([inner]));
    let big = (0..120).fold(json!({}), |inner, _| json!({"a": inner}));
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(0.5),
        json!(""),
        json!("\0"),
        json!("\u{feff}\u{202e}x"),
        json!("../../etc/passwd"),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("9999-12-31T23:59:59.999Z"),
        json!("* * * * * *"),
        json!("x".repeat(10_000)),
        json!([]),
        json!([null, [], {}]),
        json!({}),
        json!({"": null, "$ref": "#", "__proto__": {}, "type": "object"}),
        deep,
        big,
    ]
}

/// What may stand in a path or a query.
fn nasty_texts() -> Vec<String> {
    let texts =
        ["", "x", "%00", "%ff", "-1", "18446744073709551616", "1e308", "..%2f..%2fetc", "%F0%9F%92%A9"];
    let id = "00000000-0000-0000-0000-000000000000";
    texts.into_iter().chain([id]).map(str::to_owned).chain(["9".repeat(2_000)]).collect()
}

/// The names of what a schema describes, as far as it says.
fn fields(document: &Value, schema: &Value, names: &mut Vec<String>, depth: u32) {
    if let Some(target) = schema["$ref"].as_str().filter(|_| depth > 0) {
        let target = document.pointer(target.trim_start_matches('#')).cloned().unwrap_or_default();
        fields(document, &target, names, depth - 1);
    }
    names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    for key in ["anyOf", "oneOf", "allOf"] {
        for part in schema[key].as_array().into_iter().flatten() {
            fields(document, part, names, depth);
        }
    }
}

/// Bodies for an operation: nasty ones, and objects in which one field is nasty.
fn bodies(document: &Value, operation: &Value, example: &Value) -> Vec<Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if schema.is_null() {
        return vec![Value::Null];
    }
    let mut names = Vec::new();
    fields(document, schema, &mut names, 3);
    let mut bodies = nasty();
    for name in names {
        for value in nasty() {
            let mut body = example.as_object().cloned().unwrap_or_else(Map::new);
            body.insert(name.clone(), value);
            bodies.push(Value::Object(body));
        }
    }
    bodies
}

/// A body that is as it should be, if the document shows one.
fn example(operation: &Value) -> Value {
    let content = &operation["requestBody"]["content"]["application/json"];
    let examples = content["examples"].as_object().and_then(|all| all.values().next()).cloned();
    examples.map_or_else(|| content["example"].clone(), |example| example["value"].clone())
}

/// Sends it; the status, and what was answered if that is worth showing.
async fn ask(program: &Program, server: &Server, method: &str, path: &str, body: &Value) -> (u16, String) {
    let request = program.request(&method.to_uppercase(), server, path);
    let request = if body.is_null() { request } else { request.json(body) };
    // Streams answer at once and go on: their end is not waited for.
    let reply = request.timeout(Duration::from_secs(30)).send().await;
    let reply =
        reply.unwrap_or_else(|error| panic!("{method} {path} {body}: {error}\n{}", program.printed()));
    let status = reply.status().as_u16();
    let words = if status >= 500 { reply.text().await.unwrap_or_default() } else { String::new() };
    (status, words)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_route_is_asked_it_does_not_break() {
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Think", "type": "llm-reasoning"}]}}},
        {"role": "detect", "reply": {"json": {"orchestrate": false, "score": 0.1, "reason": "simple"}}},
        {"reply": {"text": "done"}},
    ]}));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "A task to be asked about").await.unwrap();
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut broken = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in METHODS.into_iter().filter(|method| operations.get(method).is_some()) {
            let operation = &operations[method];
            let known = path.replace("{id}", &id).replace("{seq}", "1").replace("{name}", "clock_now");
            let example = example(operation);
            let mut asked: Vec<(String, Value)> = bodies(&document, operation, &example)
                .into_iter()
                .map(|body| (known.clone(), body))
                .collect();
            for text in nasty_texts() {
                if path.contains('{') {
                    let path = path.replace("{id}", &text).replace("{seq}", &text).replace("{name}", &text);
                    asked.push((path, example.clone()));
                }
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    if parameter["in"] == "query" {
                        let name = parameter["name"].as_str().unwrap();
                        asked.push((format!("{known}?{name}={text}"), example.clone()));
                    }
                }
            }
            for (path, body) in asked {
                let (status, words) = ask(&program, &server, method, &path, &body).await;
                // 501 and 503 are answers: what was asked for is not there.
                if status >= 500 && status != 501 && status != 503 {
                    let body: String = body.to_string().chars().take(200).collect();
                    broken.push(format!("{method} {path} {body}: {status} {words}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}\n{}", broken.join("\n"), program.printed());
    let (status, _) = program.get(&server, "/readyz").await;
    assert_eq!(status, 200, "it is as well as before");
    assert_eq!(program.run(&["doctor"]).0, 0);
}
