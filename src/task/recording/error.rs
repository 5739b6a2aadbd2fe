//! Why something cannot be written or read as a recording.

use thiserror::Error;

use super::super::{BlobHash, Illegal, MAX_DEPTH};

/// Why a recording is refused. Nothing of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordingError {
    /// Retention has removed the journal of the task.
    #[error("its journal was removed (longhaul prune): nothing is left that could be exported")]
    NoJournal,
    /// It is something else.
    #[error("this is no recording of a task: `longhaul task export` writes them")]
    NoRecording,
    /// A newer program wrote it.
    #[error(
        "the recording has format {version} and was written by Longhaul {product}: this is Longhaul {} and knows \
         format 1 only, so use a newer one", env!("CARGO_PKG_VERSION")
    )]
    TooNew {
        /// Its format.
        version: u32,
        /// Who wrote it.
        product: String,
    },
    /// It ends too early.
    #[error("the recording is cut: line {line} is missing, or not whole")]
    Cut {
        /// The first line that is not there, from 1.
        line: u64,
    },
    /// A line cannot be read.
    #[error("line {line} of the recording (written by Longhaul {product}) cannot be read: {problem}")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// Who wrote it.
        product: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A line is nested deeper than can be kept.
    #[error("line {0} of the recording is nested deeper than {MAX_DEPTH} levels")]
    TooDeep(u64),
    /// It is not what was written.
    #[error("the recording was altered since it was written: {0}")]
    Altered(String),
    /// It has a content that nothing in it refers to.
    #[error("the recording brings content {0}, which nothing in it refers to")]
    Foreign(BlobHash),
    /// Its entries contradict each other.
    #[error("the recording is of nothing that can have happened")]
    Illegal {
        /// Which entry contradicts those before it.
        #[source]
        why: Illegal,
    },
    /// It is larger than may be read here.
    #[error("the recording has more than {0} bytes, which is more than is read")]
    TooLarge(u64),
}

impl RecordingError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoJournal => "journal_removed",
            Self::NoRecording => "recording_unknown",
            Self::TooNew { .. } => "recording_too_new",
            Self::Cut { .. } => "recording_cut",
            Self::Line { .. } | Self::TooDeep(_) => "recording_unreadable",
            Self::Altered(_) | Self::Foreign(_) => "recording_altered",
            Self::Illegal { .. } => "recording_illegal",
            Self::TooLarge(_) => "recording_too_large",
        }
    }
}
