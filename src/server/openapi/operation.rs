//! One operation of the API, and how the document describes it.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::examples::Examples;
use super::refusals;
use super::schemas::{SchemaOf, Schemas};
use crate::repository::ScheduleId;
use crate::task::TaskId;

/// What an operation may answer with when it succeeds.
enum Reply {
    /// JSON of this schema.
    Json(SchemaOf),
    /// Text of this media type; what each piece of it is, where that has a schema.
    Text { media: &'static str, item: Option<SchemaOf>, description: &'static str },
    /// Nothing but its status.
    Empty(&'static str),
    /// Frames of a WebSocket, each of one of these kinds, and what a client may send on it.
    Frames { sent: Vec<SchemaOf>, read: Option<SchemaOf>, description: &'static str },
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The name by which generated clients call it; unique.
    pub(super) id: &'static str,
    /// What it does, in a sentence.
    summary: &'static str,
    /// More about it.
    description: Option<&'static str>,
    tag: &'static str,
    queries: Vec<SchemaOf>,
    headers: Vec<(&'static str, &'static str, Value)>,
    body: Option<(SchemaOf, bool)>,
    /// Takes a file of this media type, described so.
    file: Option<(&'static str, &'static str)>,
    replies: Vec<(u16, Reply)>,
    links: &'static [(&'static str, &'static str)],
    /// Refusals besides those that follow from the rest.
    pub(super) refusals: &'static [u16],
    pub(super) needs_key: bool,
    pub(super) asks_database: bool,
}

impl Operation {
    pub(super) fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            description: None,
            tag: "",
            queries: Vec::new(),
            headers: Vec::new(),
            body: None,
            file: None,
            replies: Vec::new(),
            links: &[],
            refusals: &[],
            needs_key: true,
            asks_database: true,
        }
    }

    pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, id, summary)
    }

    pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, id, summary)
    }

    /// More than fits into a sentence.
    pub(super) fn about(self, description: &'static str) -> Self {
        Self { description: Some(description), ..self }
    }

    pub(super) fn tagged(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    /// Anybody may ask.
    pub(super) fn open(self) -> Self {
        Self { needs_key: false, ..self }
    }

    /// Nothing is read for the answer, so nothing can be unavailable.
    pub(super) fn without_database(self) -> Self {
        Self { asks_database: false, ..self }
    }

    /// Takes the fields of `T` from the query string.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        // Not referred to, for every field becomes a parameter.
        self.queries.push(T::json_schema);
        self
    }

    pub(super) fn header(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.headers.push((name, description, schema));
        self
    }

    /// Takes a `T` as its body.
    pub(super) fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some((|generator| generator.subschema_for::<T>(), true)), ..self }
    }

    /// Takes a `T` as its body, or none.
    pub(super) fn optional_body<T: JsonSchema>(self) -> Self {
        Self { body: Some((|generator| generator.subschema_for::<T>(), false)), ..self }
    }

    /// Takes a file as its body.
    pub(super) fn file(self, media: &'static str, description: &'static str) -> Self {
        Self { file: Some((media, description)), ..self }
    }

    /// Answers with a `T`.
    pub(super) fn reply<T: JsonSchema>(mut self) -> Self {
        self.replies.push((200, Reply::Json(|generator| generator.subschema_for::<T>())));
        self
    }

    /// Answers with a text.
    pub(super) fn text(mut self, media: &'static str, description: &'static str) -> Self {
        self.replies.push((200, Reply::Text { media, item: None, description }));
        self
    }

    /// Answers with server-sent events whose data are `T`s.
    pub(super) fn events<T: JsonSchema>(mut self, description: &'static str) -> Self {
        let item: Option<SchemaOf> = Some(|generator| generator.subschema_for::<T>());
        self.replies.push((200, Reply::Text { media: "text/event-stream", item, description }));
        self
    }

    /// Becomes a WebSocket on which frames of these kinds are sent.
    pub(super) fn frames(mut self, sent: Vec<SchemaOf>, description: &'static str) -> Self {
        self.replies.push((101, Reply::Frames { sent, read: None, description }));
        self
    }

    /// Becomes a WebSocket on which frames of these kinds are sent, and these are read.
    pub(super) fn dialogue(mut self, sent: Vec<SchemaOf>, read: SchemaOf, description: &'static str) -> Self {
        self.replies.push((101, Reply::Frames { sent, read: Some(read), description }));
        self
    }

    /// Answers with a status alone.
    pub(super) fn empty(mut self, status: u16, description: &'static str) -> Self {
        self.replies.push((status, Reply::Empty(description)));
        self
    }

    /// Answers with a `taskId` that these operations take, each under the name that follows.
    pub(super) fn links(self, links: &'static [(&'static str, &'static str)]) -> Self {
        Self { links, ..self }
    }

    pub(super) fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some() || self.file.is_some()
    }

    /// Whether there is anything about a request that can be wrong.
    pub(super) fn takes_anything(&self) -> bool {
        self.has_body() || !self.queries.is_empty() || !self.headers.is_empty() || self.path.contains('{')
    }

    /// The operation as the document has it.
    pub(super) fn describe(&self, schemas: &mut Schemas, examples: &Examples) -> Value {
        let mut described = json!({"operationId": self.id, "summary": self.summary, "tags": [self.tag]});
        if let Some(description) = self.description {
            described["description"] = description.into();
        }
        let parameters = self.parameters(schemas);
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some((schema, is_required)) = self.body {
            let mut media = json!({"schema": schemas.read(schema)});
            if let Some(example) = examples.request(self.id) {
                media["example"] = example;
            }
            described["requestBody"] =
                json!({"required": is_required, "content": {"application/json": media}});
        }
        if let Some((media, description)) = self.file {
            let schema = json!({"type": "string", "description": description});
            let mut content = json!({"schema": schema});
            if let Some(example) = examples.text(self.id, media) {
                content["example"] = example;
            }
            described["requestBody"] = json!({"required": true, "content": {media: content}});
        }
        let mut replies = self.successes(schemas, examples);
        refusals::add(self, schemas, &mut replies);
        described["responses"] = Value::Object(replies);
        if !self.needs_key {
            described["security"] = json!([]);
        }
        described
    }

    fn parameters(&self, schemas: &mut Schemas) -> Vec<Value> {
        let mut parameters = Vec::new();
        for name in self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let (schema, description) = path_parameter(self.path, name, schemas);
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "description": description, "schema": schema,
            }));
        }
        for query in &self.queries {
            parameters.extend(query_parameters(schemas.read(*query)));
        }
        for (name, description, schema) in &self.headers {
            parameters
                .push(json!({"name": name, "in": "header", "description": description, "schema": schema}));
        }
        parameters
    }

    fn successes(&self, schemas: &mut Schemas, examples: &Examples) -> Map<String, Value> {
        let mut replies: Map<String, Value> = Map::new();
        for (status, reply) in &self.replies {
            let entry = replies.entry(status.to_string()).or_insert_with(|| json!({"description": ""}));
            let (media, mut content) = match reply {
                Reply::Empty(description) => {
                    entry["description"] = (*description).into();
                    continue;
                }
                Reply::Frames { sent, read, description } => {
                    let sent: Vec<Value> = sent.iter().map(|kind| schemas.written(*kind)).collect();
                    *entry = json!({"description": description, "x-frames": {"anyOf": sent}});
                    if let Some(read) = read {
                        entry["x-commands"] = schemas.read(*read);
                    }
                    continue;
                }
                Reply::Json(schema) => ("application/json", json!({"schema": schemas.written(*schema)})),
                Reply::Text { media, item, description } => {
                    let schema = match (*media, item) {
                        ("text/event-stream", item) => {
                            event(description, item.map(|item| schemas.written(item)))
                        }
                        _ => json!({"type": "string", "description": description}),
                    };
                    (*media, json!({"schema": schema}))
                }
            };
            let example = match reply {
                Reply::Json(_) => examples.reply(self.id, &content["schema"]),
                _ => examples.text(self.id, media),
            };
            if let Some(example) = example {
                content["example"] = example;
            }
            entry["content"][media] = content;
            entry["description"] = "Done.".into();
        }
        for (operation, parameter) in self.links {
            replies["200"]["links"][*operation] =
                json!({"operationId": operation, "parameters": {*parameter: "$response.body#/taskId"}});
        }
        replies
    }
}

/// One server-sent event, with what its data are if those are of one kind.
fn event(description: &str, data: Option<Value>) -> Value {
    let mut text = json!({"type": "string", "contentMediaType": "application/json"});
    if let Some(data) = data {
        text["contentSchema"] = data;
    }
    json!({"type": "object", "description": description, "properties": {"data": text}})
}

/// What a `{…}` in a path stands for.
fn path_parameter(path: &str, name: &str, schemas: &mut Schemas) -> (Value, &'static str) {
    if name == "seq" {
        return (json!({"type": "integer", "format": "int64"}), "The number of an entry.");
    }
    match path.split('/').nth(2) {
        Some("chat") => {
            (json!({"type": "string", "minLength": 1, "maxLength": 512}), "The thread; or a task.")
        }
        Some("schedules") => {
            (schemas.read(|generator| generator.subschema_for::<ScheduleId>()), "The schedule.")
        }
        Some("tools") => (json!({"type": "string", "minLength": 1}), "The tool's full name."),
        Some("templates") => (json!({"type": "string", "pattern": "^[a-z0-9_-]{1,50}$"}), "Its name."),
        Some("inbox") => (json!({"type": "string", "minLength": 1}), "The request."),
        _ => (schemas.read(|generator| generator.subschema_for::<TaskId>()), "The task."),
    }
}

/// The fields of a schema as parameters.
fn query_parameters(schema: Value) -> Vec<Value> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object();
    let parameters = fields.into_iter().flatten().map(|(name, field)| {
        let mut field = without_null(field.clone());
        let description = field.as_object_mut().and_then(|field| field.remove("description"));
        let mut parameter = json!({
            "name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": field,
        });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    });
    parameters.collect()
}

/// A query string has no null: what may be absent is left out.
fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = choices.as_slice() {
            let mut only = only.clone();
            if let Some(description) = schema.get("description") {
                only["description"] = description.clone();
            }
            return only;
        }
    }
    schema
}
