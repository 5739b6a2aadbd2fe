//! How a planner is told of the tools: in full where that fits into its window, else ever shorter. A step that
//! uses one is told of it in full again.

use serde_json::{Map, Value, json};

use super::context::cut;
use crate::models::ToolSpec;

/// How much of what a tool is for stays where there is little room, in bytes.
const ABOUT_BYTES: usize = 120;

/// How much is told of each tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// What it is for, and the schema of its arguments.
    Whole,
    /// The beginning of that, and what arguments it has.
    Short,
    /// What it is called.
    Names,
}

impl Detail {
    /// From the most to the least.
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::Short, Self::Names];

    /// The tools as they are told.
    pub(super) fn of(self, tools: &[ToolSpec]) -> Vec<ToolSpec> {
        let told = |tool: &ToolSpec| match self {
            Self::Whole => tool.clone(),
            Self::Short => ToolSpec {
                name: tool.name.clone(),
                description: first_words(&tool.description),
                schema: outline(&tool.schema),
            },
            Self::Names => {
                ToolSpec { name: tool.name.clone(), description: String::new(), schema: json!({}) }
            }
        };
        tools.iter().map(told).collect()
    }
}

fn first_words(text: &str) -> String {
    match text.len() > ABOUT_BYTES {
        true => {
            let whole = cut(text, ABOUT_BYTES);
            format!("{}…", whole.lines().next().unwrap_or_default())
        }
        false => text.to_owned(),
    }
}

/// The names and types of arguments, and which are needed.
fn outline(schema: &Value) -> Value {
    let Some(Value::Object(properties)) = schema.get("properties") else { return json!({}) };
    let properties: Map<String, Value> = properties
        .iter()
        .map(|(name, of)| {
            let kind = of.get("type").map_or_else(|| json!({}), |kind| json!({"type": kind}));
            (name.clone(), kind)
        })
        .collect();
    match schema.get("required") {
        Some(required) => json!({"properties": properties, "required": required}),
        None => json!({"properties": properties}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_told_step_by_step_and_the_name_always() {
        let tool = ToolSpec {
            name: "pay".into(),
            description: "Pays. ".repeat(100),
            schema: json!({"type": "object", "required": ["to"], "properties": {
                "to": {"type": "string", "description": "Who gets it"}, "why": {"enum": ["a", "b"]}}}),
        };
        let told = Detail::ALL.map(|detail| detail.of(std::slice::from_ref(&tool)).remove(0));
        assert_eq!(told[0], tool);
        assert!(told[1].description.len() < ABOUT_BYTES + 10 && told[1].description.starts_with("Pays."));
        assert_eq!(
            told[1].schema,
            json!({"properties": {"to": {"type": "string"}, "why": {}}, "required": ["to"]})
        );
        assert_eq!((told[2].name.as_str(), told[2].bytes()), ("pay", "pay".len() + "{}".len()));
    }
}
