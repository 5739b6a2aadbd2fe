//! Files that go with the goal of a task or with a message: what is in those with text is told, and pictures
//! are shown.

use crate::models::Picture;

/// Files that a task is told of one by one; what more there are is told in one piece.
const TOLD: usize = 20;

/// What a task is told and shown of files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Files {
    /// What is in the text files, each with its name, and the names of those that cannot be told or shown.
    pub told: Vec<String>,
    /// The pictures.
    pub shown: Vec<Picture>,
}

impl Files {
    /// Adds a text file, all of it: what is too long for a prompt can be read from there.
    pub fn tell(&mut self, name: &str, text: &str) {
        let file = format!("The file {name}:\n{}", text.replace('\0', "\u{fffd}"));
        let is_full = self.told.len() == TOLD;
        match self.told.last_mut() {
            Some(last) if is_full => last.extend(["\n\n", &file]),
            _ => self.told.push(file),
        }
    }
}
