//! What the exit code of the process says. Documented in `docs/cli.md` and in `--help`.

use std::io;
use std::process::ExitCode;

use super::CliError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// The task failed or was cancelled, a check failed, or the command could not do its work.
    Failed,
    /// The command line or the request makes no sense.
    Usage,
    /// The configuration makes no sense.
    Configuration,
    /// The database is out of reach, in use, full, or of another version.
    Database,
    /// No model that could do it is configured or answers.
    NoModel,
    /// The task is paused: it waits for a person.
    Paused,
    /// Ctrl-C. The task, if there is one, goes on when it is resumed.
    Interrupted,
}

/// The table below the `--help` text.
pub(super) const HELP: &str = "\
Exit codes:
  0    done
  1    the task failed or was cancelled, or a check failed
  2    the command line or the request makes no sense
  3    the configuration makes no sense
  4    the database is unavailable, in use, full, or of another version
  5    no model that could do it is configured or answers
  6    the task is paused: it waits for a person
  130  interrupted; the task goes on when it is resumed

Configuration: flags, then the environment, then longhaul.toml, then defaults; see
docs/configuration.md.";

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            Self::Database => 4,
            Self::NoModel => 5,
            Self::Paused => 6,
            Self::Interrupted => 130,
        }
    }
}

impl Exit {
    /// The same, unless what was to be told of it could not be written.
    pub(super) fn unless(self, unprinted: Option<io::Error>) -> Result<Self, CliError> {
        match (self, unprinted) {
            (Self::Done, Some(error)) => {
                let what = "what was done is done, but the result could not be written to standard output";
                Err(CliError::failed("output_unwritable", what, Some(error)))
            }
            (other, _) => Ok(other),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        use Exit::{Configuration, Database, Done, Failed, Interrupted, NoModel, Paused, Usage};
        for exit in [Done, Failed, Usage, Configuration, Database, NoModel, Paused, Interrupted] {
            let line = format!("\n  {:<4} ", exit.code());
            assert!(HELP.contains(&line), "{exit:?}");
        }
    }
}
