//! What goes with a message besides its words.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Payload;

/// A picture that goes with a message to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownPicture {
    /// What its file is called; may be empty.
    pub name: String,
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    /// Its bytes in Base64.
    pub content: Payload,
}

/// A picture as people see it in a journal: what is in it would be a wall of letters.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PictureInShort {
    /// What its file is called; may be empty.
    pub name: String,
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    /// How large it is, in bytes; two more at most.
    pub bytes: u64,
}

impl ShownPicture {
    /// The same without what is in it.
    pub fn in_short(&self) -> PictureInShort {
        let padding = match &self.content {
            Payload::Inline(data) => {
                data.as_str().map_or(0, |data| data.len() - data.trim_end_matches('=').len())
            }
            Payload::Blob { .. } => 0,
        };
        // Four letters stand for three bytes, and quotes around them all.
        let letters = self.content.size().saturating_sub(2);
        let bytes = (letters / 4 * 3).saturating_sub(padding as u64);
        PictureInShort { name: self.name.clone(), media_type: self.media_type.clone(), bytes }
    }
}

/// Who looks at an entry sees the picture in short.
impl JsonSchema for ShownPicture {
    fn schema_name() -> Cow<'static, str> {
        PictureInShort::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        PictureInShort::json_schema(generator)
    }
}

impl fmt::Display for PictureInShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        write!(f, "[picture {name}, {}, {} bytes]", self.media_type, self.bytes)
    }
}
