//! A task as one file: its journal, and the contents that the journal names.
//!
//! ```text
//! header                 format, version, task, how much follows, and the hash of it
//! entry 1 … entry n      the journal, in its order
//! content, …             what entries name by hash, in the order of the names
//! ```
//!
//! One line of JSON each, with sorted keys, so that equal recordings are equal byte for byte. Whose
//! task it is and which conversation it belongs to is not in it: that is for whoever reads it to say.

mod error;
mod pack;
mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::payload::canonical;
use super::{BlobHash, Entry, Payload, Task, TaskId};

pub use error::RecordingError;
pub use pack::unpack_recording;

/// What a header says that it is one.
const FORMAT: &str = "longhaul/recording";

/// The version of the format.
const VERSION: u32 = 1;

/// Parts of the request that are true only where the task was carried out.
const LOCAL: [&str; 4] = ["userId", "threadId", "parent", "imported"];

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    /// The version of the program that wrote it.
    product: String,
    task: TaskId,
    status: String,
    entries: u64,
    contents: u64,
    /// Over the task's id, the lines of all entries, and the names of all contents.
    sha256: BlobHash,
}

/// A recording that was read, and is whole.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Which task it is of.
    pub id: TaskId,
    /// The version of the program that wrote it.
    pub product: String,
    /// The journal. Large contents are named in it; the request names no user and no conversation.
    pub entries: Vec<Entry>,
    /// The contents by name; `None` where one was missing when the recording was written.
    pub contents: BTreeMap<BlobHash, Option<Value>>,
}

/// A recording as it is written: all but the contents, which are written one by one.
#[derive(Debug, Clone)]
pub struct RecordingText {
    /// The lines of header and journal.
    pub lines: Vec<String>,
    /// The names of the contents that follow, in this order.
    pub contents: Vec<BlobHash>,
}

impl RecordingText {
    /// The recording of a whole journal.
    ///
    /// # Errors
    /// [`RecordingError::NoJournal`] if it does not begin with its first entry.
    pub fn of(id: TaskId, entries: &[Entry]) -> Result<Self, RecordingError> {
        if entries.first().is_none_or(|first| first.seq != 1) {
            return Err(RecordingError::NoJournal);
        }
        let task = Task::fold(id, entries).map_err(|why| RecordingError::Illegal { why })?;
        let named: BTreeSet<BlobHash> = entries.iter().flat_map(named_in).collect();
        let mut lines = vec![String::new()];
        lines.extend(entries.iter().map(entry_line));
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            product: env!("CARGO_PKG_VERSION").to_owned(),
            task: id,
            status: task.status().to_string(),
            entries: entries.len() as u64,
            contents: named.len() as u64,
            sha256: hash(id, lines.iter().skip(1).map(String::as_str), named.iter()),
        };
        lines[0] = line(&json!(header));
        Ok(Self { lines, contents: named.into_iter().collect() })
    }

    /// The line of a content; one that is missing is said to be.
    pub fn content_line(name: BlobHash, content: Option<&Value>) -> String {
        line(&match content {
            Some(value) => json!({"content": name, "value": value}),
            None => json!({"content": name, "missing": true}),
        })
    }
}

impl Recording {
    /// The journal with its contents in their places. One that is missing says so.
    pub fn opened(&self) -> Vec<Entry> {
        let mut entries = self.entries.clone();
        for payload in entries.iter_mut().flat_map(|entry| entry.event.payloads_mut()) {
            if let Payload::Blob { hash, .. } = payload {
                let content = self.contents.get(hash).cloned().flatten();
                let content = content.unwrap_or_else(|| json!(format!("[content {hash} is missing]")));
                *payload = Payload::Inline(content);
            }
        }
        entries
    }

    /// How many contents are missing.
    pub fn missing(&self) -> usize {
        self.contents.values().filter(|content| content.is_none()).count()
    }
}

/// The contents that an entry names.
fn named_in(entry: &Entry) -> Vec<BlobHash> {
    let mut event = entry.event.clone();
    let payloads = event.payloads_mut().into_iter();
    let named = payloads.filter_map(|payload| match payload {
        Payload::Blob { hash, .. } => Some(*hash),
        Payload::Inline(_) => None,
    });
    named.collect()
}

fn entry_line(entry: &Entry) -> String {
    let mut written = json!(entry);
    if let Some(spec) = written.pointer_mut("/data/spec").and_then(Value::as_object_mut) {
        LOCAL.iter().for_each(|local| drop(spec.remove(*local)));
    }
    line(&written)
}

fn line(value: &Value) -> String {
    String::from_utf8_lossy(&canonical(value)).into_owned()
}

/// What the header says of everything that follows. The contents are part of it by their names.
fn hash<'a>(
    id: TaskId,
    entries: impl Iterator<Item = &'a str>,
    contents: impl Iterator<Item = &'a BlobHash>,
) -> BlobHash {
    let mut hash = Sha256::new().chain_update(format!("{FORMAT} {VERSION} {id}\n"));
    for entry in entries {
        hash.update(entry);
        hash.update("\n");
    }
    for name in contents {
        hash.update(name.to_string());
        hash.update("\n");
    }
    BlobHash(hash.finalize().into())
}
