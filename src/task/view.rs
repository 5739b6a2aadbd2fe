//! What the beginning of a conversation shows of what was known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BlobHash;

/// What a model was asked, in short: enough to notice that it would be asked something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prompt {
    /// The hash of instructions, background and messages.
    pub hash: BlobHash,
    /// Tokens of the window that it was made for.
    pub window: u64,
    /// Tokens that a thousand bytes were taken for.
    pub density: u64,
    /// Bytes of the tools that were offered.
    pub tools: u64,
}

/// Whose outputs a conversation began with: with them, what it began with can be told again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The step through which a summary stood for older outputs, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<u32>,
    /// Ranges of steps whose outputs are shown: the index of the first and of the last of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<(u32, u32)>,
    /// Pictures that are shown: the entry of the message that each goes with, and its place among those of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<(i64, u32)>,
    /// How many bytes there was room for.
    pub room: u64,
    /// How many bytes of one output were shown at most.
    pub share: u64,
}
