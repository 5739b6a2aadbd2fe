//! Reads a recording that anybody may have written: nothing in it is believed before it was checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::super::{BlobHash, Entry, Payload, Task, is_text_too_deep};
use super::{FORMAT, Header, LOCAL, Recording, RecordingError, VERSION, hash, named_in};

/// The line of a content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentLine {
    content: BlobHash,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    missing: bool,
}

/// The lines that are left, and the number of the next one.
struct Lines<'a> {
    left: std::str::Lines<'a>,
    next: u64,
    product: String,
}

impl Recording {
    /// Reads a recording, and checks that it is whole, as it was written, and of something that can
    /// have happened.
    ///
    /// # Errors
    /// [`RecordingError`] says what is wrong, and in which line.
    pub fn read(text: &str) -> Result<Self, RecordingError> {
        let mut lines = Lines { left: text.lines(), next: 1, product: String::new() };
        let header = lines.header()?;
        lines.product.clone_from(&header.product);
        let mut entries = Vec::new();
        let mut written = Vec::new();
        for _ in 0..header.entries {
            let line = lines.next()?;
            entries.push(lines.entry(line)?);
            written.push(line);
        }
        let contents = lines.contents(header.contents)?;
        if lines.left.any(|line| !line.trim().is_empty()) {
            return Err(RecordingError::Altered(format!("there is more behind line {}", lines.next - 1)));
        }
        if hash(header.task, written.into_iter(), contents.keys()) != header.sha256 {
            return Err(RecordingError::Altered("its entries are not those that the header tells of".into()));
        }
        let named: BTreeSet<BlobHash> = entries.iter().flat_map(named_in).collect();
        if let Some(foreign) = contents.keys().find(|name| !named.contains(name)) {
            return Err(RecordingError::Foreign(*foreign));
        }
        if let Some(absent) = named.iter().find(|name| !contents.contains_key(name)) {
            return Err(RecordingError::Altered(format!("content {absent} is not in it")));
        }
        let task = Task::fold(header.task, &entries).map_err(|why| RecordingError::Illegal { why })?;
        if task.status().as_str() != header.status {
            let problem = format!("the task is {} and not {}", task.status(), header.status);
            return Err(RecordingError::Altered(problem));
        }
        Ok(Self { id: header.task, product: header.product, entries, contents })
    }
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str, RecordingError> {
        let line = self.left.next().ok_or(RecordingError::Cut { line: self.next })?;
        if is_text_too_deep(line.as_bytes()) {
            return Err(RecordingError::TooDeep(self.next));
        }
        self.next += 1;
        Ok(line)
    }

    fn header(&mut self) -> Result<Header, RecordingError> {
        let unknown = || RecordingError::NoRecording;
        let line = self.next().map_err(|_| unknown())?;
        let said: Value = serde_json::from_str(line).map_err(|_| unknown())?;
        if said["format"] != FORMAT {
            return Err(unknown());
        }
        let version = said["version"].as_u64().and_then(|version| u32::try_from(version).ok());
        match version {
            Some(VERSION) => serde_json::from_value(said).map_err(|error| self.unreadable(&error)),
            Some(version) => {
                let product = said["product"].as_str().unwrap_or("of an unknown version");
                Err(RecordingError::TooNew { version, product: product.chars().take(40).collect() })
            }
            None => Err(unknown()),
        }
    }

    fn entry(&self, line: &str) -> Result<Entry, RecordingError> {
        let mut said: Value = serde_json::from_str(line).map_err(|error| self.unreadable(&error))?;
        if let Some(spec) = said.pointer_mut("/data/spec").and_then(Value::as_object_mut) {
            if let Some(local) = LOCAL.iter().find(|local| spec.contains_key(**local)) {
                return Err(RecordingError::Altered(format!("a recording has no {local}")));
            }
            spec.insert("userId".to_owned(), "".into());
            spec.insert("threadId".to_owned(), "".into());
        }
        serde_json::from_value(said).map_err(|error| self.unreadable(&error))
    }

    fn contents(&mut self, count: u64) -> Result<BTreeMap<BlobHash, Option<Value>>, RecordingError> {
        let mut contents = BTreeMap::new();
        for _ in 0..count {
            let line = self.next()?;
            let said: ContentLine = serde_json::from_str(line).map_err(|error| self.unreadable(&error))?;
            let value = said.value.filter(|_| !said.missing);
            if value.is_none() && !said.missing {
                return Err(RecordingError::Altered(format!("content {} says nothing", said.content)));
            }
            let is_its_own =
                value.as_ref().is_none_or(|value| Payload::Inline(value.clone()).hash() == said.content);
            if !is_its_own {
                return Err(RecordingError::Altered(format!(
                    "content {} is not what its name says",
                    said.content
                )));
            }
            if contents.insert(said.content, value).is_some() {
                return Err(RecordingError::Altered(format!("content {} is in it twice", said.content)));
            }
        }
        Ok(contents)
    }

    /// What is wrong with the line that was taken last: the last one there is may have been cut within.
    fn unreadable(&self, error: &serde_json::Error) -> RecordingError {
        if error.is_eof() && self.left.clone().next().is_none() {
            return RecordingError::Cut { line: self.next - 1 };
        }
        let problem: String = error.to_string().chars().take(300).collect();
        RecordingError::Line { line: self.next - 1, product: self.product.clone(), problem }
    }
}
