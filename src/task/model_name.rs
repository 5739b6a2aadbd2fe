//! `provider/model`: how every model is named, in flags, files, requests and journal entries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A model by provider and name, written `anthropic/claude-sonnet-4-5`.
///
/// Reads both the text form and the seed's `{"provider": …, "model": …}`; writes the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    /// Which provider serves it: `anthropic`, `openai`, `gemini`, `ollama`, `scripted`, …
    pub provider: String,
    /// The provider's own name for it; may contain further slashes.
    pub model: String,
}

/// A text that does not name a model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' does not name a model: write provider/model, for example openai/gpt-5-mini")]
pub struct InvalidModelName(pub String);

impl FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
                Ok(Self { provider: provider.to_lowercase(), model: model.to_owned() })
            }
            _ => Err(InvalidModelName(text.to_owned())),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl Serialize for ModelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> serde::de::Visitor<'de> for NameVisitor {
    type Value = ModelName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"provider/model\" or {\"provider\": …, \"model\": …}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ModelName, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<ModelName, A::Error> {
        #[derive(Deserialize)]
        struct Pair {
            provider: String,
            model: String,
        }
        let pair = Pair::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        format!("{}/{}", pair.provider, pair.model).parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let pair = r#"{"provider":"openrouter","model":"meta/llama"}"#;
        let name: ModelName = serde_json::from_str(pair).unwrap();
        assert_eq!(name, "openrouter/meta/llama".parse().unwrap());
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""openrouter/meta/llama""#);
    }

    #[test]
    fn a_bare_name_is_refused_with_an_example() {
        let error = "gpt-5".parse::<ModelName>().unwrap_err();
        assert!(error.to_string().contains("provider/model"));
    }
}
