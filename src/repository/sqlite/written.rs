//! What the rows of a commit hold as JSON, written out by whoever hands the commit in.
//!
//! One thread writes all commits, so what it does not have to do itself is done before.

use serde::Serialize;

use super::sql::rows::{self, StepRow, TaskMove, unwritable};
use crate::repository::{Commit, RepositoryError};

type Result<T> = std::result::Result<T, RepositoryError>;

/// The texts of a commit, in the order of its rows.
pub(super) struct Texts {
    pub(super) state: String,
    pub(super) entries: Vec<String>,
    pub(super) steps: Vec<StepTexts>,
}

/// The texts of a step's row.
pub(super) struct StepTexts {
    /// Of a step that is new: its plan never changes.
    pub(super) depends_on: Option<String>,
    pub(super) input: Option<String>,
    pub(super) verification: Option<String>,
    pub(super) error: Option<String>,
    pub(super) usage: String,
}

impl Texts {
    pub(super) fn of(commit: &Commit) -> Result<Self> {
        let steps = commit.steps.iter().map(|(index, step)| {
            StepTexts::of(&StepRow::of(commit.id, *index, step), *index >= commit.planned_from)
        });
        Ok(Self {
            state: json(TaskMove::of(commit).state)?,
            entries: commit.entries.iter().map(|entry| rows::content(&entry.event)).collect::<Result<_>>()?,
            steps: steps.collect::<Result<_>>()?,
        })
    }
}

impl StepTexts {
    fn of(row: &StepRow<'_>, is_new: bool) -> Result<Self> {
        Ok(Self {
            depends_on: is_new.then(|| json(row.depends_on)).transpose()?,
            input: row.input.as_ref().filter(|_| is_new).map(json).transpose()?,
            verification: row.verification.map(json).transpose()?,
            error: row.error.map(json).transpose()?,
            usage: json(&row.usage)?,
        })
    }
}

/// A value as the tables keep it.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    rows::text(value).map_err(unwritable)
}
