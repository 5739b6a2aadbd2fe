//! Contents of any size: small ones travel inside their entry, large ones by name.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Longer JSON than this is stored once under its hash. Below it the hash, the row and the
/// second look-up would cost more than the bytes they save.
const INLINE_BYTES: usize = 1024;

/// How much of a large content stays readable in its place, in bytes.
const PREVIEW_BYTES: usize = 160;

/// The SHA-256 of a content's canonical JSON; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

/// A large content, ready to be stored under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The name: the hash of `bytes`.
    pub hash: BlobHash,
    /// Canonical JSON, not compressed.
    pub bytes: Vec<u8>,
}

/// A prompt part, message, argument list or result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// The content itself.
    Inline(Value),
    /// The name of a content in the blob table.
    Blob {
        /// Under which name it is stored.
        hash: BlobHash,
        /// Its length as canonical JSON, in bytes.
        size: u64,
        /// Its beginning, for people who read the journal.
        preview: String,
    },
}

impl Payload {
    /// A text content.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Inline(Value::String(text.into()))
    }

    /// Moves a large inline content out into a blob and leaves its name behind.
    pub fn seal(&mut self) -> Option<Blob> {
        let Self::Inline(value) = self else { return None };
        let bytes = canonical(value);
        if bytes.len() <= INLINE_BYTES {
            return None;
        }
        let hash = BlobHash::of(&bytes);
        *self = Self::Blob { hash, size: bytes.len() as u64, preview: preview(value) };
        Some(Blob { hash, bytes })
    }

    /// The hash of the content, wherever it is.
    pub fn hash(&self) -> BlobHash {
        match self {
            Self::Inline(value) => BlobHash::of(&canonical(value)),
            Self::Blob { hash, .. } => *hash,
        }
    }

    /// Its length as JSON, in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(value) => value.to_string().len() as u64,
            Self::Blob { size, .. } => *size,
        }
    }

    /// A short text for people: the content, or the beginning of it.
    pub fn preview(&self) -> String {
        match self {
            Self::Inline(value) => preview(value),
            Self::Blob { preview, .. } => preview.clone(),
        }
    }
}

impl BlobHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// JSON with sorted keys, so that equal contents have equal names whatever wrote them.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    sorted.to_string().into_bytes()
}

/// A content as a model reads it: a text as it is, everything else as JSON with sorted keys, so that it
/// reads the same before it is stored and after it was read again.
pub fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        mut other => {
            other.sort_all_objects();
            other.to_string()
        }
    }
}

fn preview(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        // As it reads once it is stored.
        other => String::from_utf8_lossy(&canonical(other)).into_owned(),
    };
    match text.char_indices().map(|(at, _)| at).find(|at| *at >= PREVIEW_BYTES) {
        Some(end) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "a blob is named by 64 hexadecimal digits";
        if text.len() != 64 || !text.is_ascii() {
            return Err(SHAPE);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| SHAPE)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for BlobHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_order_does_not_change_the_name() {
        let one = Payload::Inline(json!({"a": 1, "b": {"c": 2, "d": 3}}));
        let other = Payload::Inline(json!({"b": {"d": 3, "c": 2}, "a": 1}));
        assert_eq!(one.hash(), other.hash());
    }

    #[test]
    fn small_contents_stay_and_large_ones_move_out() {
        let mut small = Payload::text("short");
        assert_eq!(small.seal(), None);
        let mut large = Payload::text("é".repeat(2000));
        let name = large.hash();
        let blob = large.seal().unwrap();
        assert_eq!(blob.hash, name);
        assert_eq!(large.hash(), name);
        assert!(large.preview().ends_with('…'));
        assert_eq!(large.seal(), None, "a sealed content is not stored again");
    }

    #[test]
    fn names_survive_the_text_form() {
        let name = BlobHash::of(b"x");
        assert_eq!(name.to_string().parse(), Ok(name));
        assert!("zz".parse::<BlobHash>().is_err());
    }
}
