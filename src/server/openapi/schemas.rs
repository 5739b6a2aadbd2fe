//! The schemas of everything that is written and read, each under its name.
//!
//! One type may be read otherwise than it is written: a field that has a default may be left out
//! of a body but is never missing from an answer. Such a type has two schemas, and the one that is
//! read is called `…Input`.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value};

const PLACE: &str = "#/components/schemas/";

/// Makes a type's schema known and says how it is referred to.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Collects schemas.
pub(super) struct Schemas {
    written: SchemaGenerator,
    read: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            written: settings().for_serialize().into_generator(),
            read: settings().for_deserialize().into_generator(),
        }
    }

    /// The schema of what the server writes.
    pub(super) fn written(&mut self, schema: SchemaOf) -> Value {
        tidied(schema(&mut self.written).to_value())
    }

    /// The schema of what the server reads. What it refers to may get another name in the end.
    pub(super) fn read(&mut self, schema: SchemaOf) -> Value {
        tidied(schema(&mut self.read).to_value())
    }

    /// All schemas by name. Those to which `readers` refer get the names of what is read.
    pub(super) fn name<'a>(mut self, readers: impl Iterator<Item = &'a mut Value>) -> Value {
        let written = self.written.take_definitions(true);
        let read = self.read.take_definitions(true);
        let differing = differing(&written, &read);
        readers.for_each(|reader| rename(reader, &differing));
        let mut all: Vec<(String, Value)> = written.into_iter().collect();
        for (name, mut schema) in read {
            rename(&mut schema, &differing);
            match differing.contains(&name) {
                true => all.push((format!("{name}Input"), schema)),
                false if all.iter().any(|(known, _)| *known == name) => {}
                false => all.push((name, schema)),
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Value::Object(all.into_iter().map(|(name, schema)| (name, tidied(schema))).collect())
    }
}

/// The names of the types that are read otherwise than they are written, because they say so
/// themselves or because they refer to one that does.
fn differing(written: &Map<String, Value>, read: &Map<String, Value>) -> BTreeSet<String> {
    let both = || read.iter().filter_map(|(name, schema)| Some((name, schema, written.get(name)?)));
    let mut differing: BTreeSet<String> =
        both().filter(|(_, read, written)| read != written).map(|(name, ..)| name.clone()).collect();
    loop {
        let more: Vec<String> = both()
            .filter(|(name, schema, _)| !differing.contains(*name) && refers(schema, &differing))
            .map(|(name, ..)| name.clone())
            .collect();
        if more.is_empty() {
            return differing;
        }
        differing.extend(more);
    }
}

fn refers(schema: &Value, names: &BTreeSet<String>) -> bool {
    match schema {
        Value::String(text) => text.strip_prefix(PLACE).is_some_and(|name| names.contains(name)),
        Value::Array(items) => items.iter().any(|item| refers(item, names)),
        Value::Object(fields) => fields.values().any(|value| refers(value, names)),
        _ => false,
    }
}

fn rename(schema: &mut Value, names: &BTreeSet<String>) {
    match schema {
        Value::String(text) if text.strip_prefix(PLACE).is_some_and(|name| names.contains(name)) => {
            text.push_str("Input");
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

/// Descriptions are documentation comments, whose links lead nowhere here. A default of null says
/// only that a field may be left out, which its absence from `required` says already.
fn tidied(mut schema: Value) -> Value {
    tidy(&mut schema);
    schema
}

fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|key, value| !(key == "default" && value.is_null()));
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
