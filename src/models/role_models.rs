//! Which models a role has: one with the common fallback behind it, or a chain of its own.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::task::ModelName;

/// The models of one role. Written as a text it is one model, and the common fallback stands
/// behind it; written as a list it is a chain of its own, asked in this order, and nothing else is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleModels {
    /// The one that is asked first.
    pub first: ModelName,
    /// Those that are asked in its place when it fails; without them the common fallback.
    pub then: Option<Vec<ModelName>>,
}

impl RoleModels {
    /// All that are named, in their order.
    pub fn names(&self) -> impl Iterator<Item = &ModelName> {
        std::iter::once(&self.first).chain(self.then.iter().flatten())
    }
}

impl From<ModelName> for RoleModels {
    fn from(first: ModelName) -> Self {
        Self { first, then: None }
    }
}

impl Serialize for RoleModels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(then) = &self.then else { return self.first.serialize(serializer) };
        let mut list = serializer.serialize_seq(Some(then.len() + 1))?;
        for name in self.names() {
            list.serialize_element(name)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for RoleModels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = RoleModels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"provider/model\", or a list of such names")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RoleModels, E> {
        text.parse().map(|name: ModelName| name.into()).map_err(E::custom)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<RoleModels, A::Error> {
        ModelName::deserialize(MapAccessDeserializer::new(map)).map(RoleModels::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RoleModels, A::Error> {
        let nobody = || A::Error::custom("a list of models must not be empty: who would be asked?");
        let first: ModelName = list.next_element()?.ok_or_else(nobody)?;
        let mut then: Vec<ModelName> = Vec::new();
        while let Some(name) = list.next_element()? {
            if name == first || then.contains(&name) {
                return Err(A::Error::custom(format!("{name} is named twice: each model is asked once")));
            }
            then.push(name);
        }
        Ok(RoleModels { first, then: Some(then) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_and_a_list_are_read_and_written_as_they_were() {
        for written in [json!("a/1"), json!(["a/1"]), json!(["a/1", "b/2"])] {
            let read: RoleModels = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), written);
        }
    }

    #[test]
    fn what_cannot_be_asked_in_turn_is_refused_with_the_reason() {
        for (written, reason) in [
            (json!([]), "must not be empty"),
            (json!(["a/1", "b/2", "a/1"]), "a/1 is named twice"),
            (json!(["gpt-5"]), "provider/model"),
            (json!(7), "a list of such names"),
        ] {
            let error = serde_json::from_value::<RoleModels>(written).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
