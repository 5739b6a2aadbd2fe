//! What goes with a message besides its words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Payload;

/// A picture that goes with a message to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownPicture {
    /// What its file is called; may be empty.
    pub name: String,
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    /// Its bytes in Base64.
    pub content: Payload,
}
