//! How a command can fail, and the one place where that is printed.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Exit;
use super::config::ConfigError;
use crate::models::ModelError;
use crate::orchestrator::OrchestratorError;
use crate::repository::RepositoryError;
use crate::task::words_of;
use crate::tools::ToolboxError;

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub enum CliError {
    /// The configuration makes no sense.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The database refuses.
    #[error("the database cannot be used")]
    Database(#[source] RepositoryError),
    /// The database does what it should: the task is not there, or is there already.
    #[error(transparent)]
    Task(RepositoryError),
    /// There is no database where one was looked for.
    #[error("there is no database at {}: longhaul run, serve, worker and migrate make one", path.display())]
    NoDatabase {
        /// Where.
        path: PathBuf,
    },
    /// The models cannot be used as they are configured.
    #[error("no model can be used")]
    Models(#[source] ModelError),
    /// There is no language model, and the rules do not understand the goal.
    #[error("this goal is not understood without a language model")]
    NotUnderstood(#[source] ModelError),
    /// The models can be used, and do not answer at this moment.
    #[error("no model answers at this moment")]
    NoAnswer(#[source] ModelError),
    /// The tools cannot be used as they are configured.
    #[error("the tools cannot be used")]
    Tools(#[from] ToolboxError),
    /// The engine refuses.
    #[error(transparent)]
    Refused(OrchestratorError),
    /// The request names nothing, or too much.
    #[error("{message}")]
    Usage {
        /// The stable code.
        code: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Something that is no fault of the request did not work.
    #[error("{what}")]
    Failed {
        /// The stable code.
        code: &'static str,
        /// What did not work, and what helps.
        what: String,
        /// The cause.
        #[source]
        source: Option<io::Error>,
    },
}

impl From<RepositoryError> for CliError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::NotFound | RepositoryError::Exists => Self::Task(error),
            other => Self::Database(other),
        }
    }
}

impl From<ModelError> for CliError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::NotUnderstood(_) => Self::NotUnderstood(error),
            error if error.fault().is_retryable() => Self::NoAnswer(error),
            error => Self::Models(error),
        }
    }
}

impl From<OrchestratorError> for CliError {
    fn from(error: OrchestratorError) -> Self {
        match error {
            OrchestratorError::Repository(error) => error.into(),
            OrchestratorError::Model(error) => error.into(),
            OrchestratorError::Tools(error) => Self::Tools(error),
            other => Self::Refused(other),
        }
    }
}

impl CliError {
    /// A request that makes no sense.
    pub(super) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::Usage { code, message: message.into() }
    }

    /// Something that did not work.
    pub(super) fn failed(code: &'static str, what: impl Into<String>, source: Option<io::Error>) -> Self {
        Self::Failed { code, what: what.into(), source }
    }

    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Database(error) | Self::Task(error) => error.code(),
            Self::NoDatabase { .. } => "database_missing",
            Self::Models(error) | Self::NotUnderstood(error) | Self::NoAnswer(error) => error.code(),
            Self::Tools(ToolboxError::Collision(_)) => "tools_collision",
            Self::Tools(_) => "tools_config",
            Self::Refused(error) => error.code(),
            Self::Usage { code, .. } | Self::Failed { code, .. } => code,
        }
    }

    /// What the exit code says.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Tools(_) => Exit::Configuration,
            Self::Database(_) | Self::NoDatabase { .. } => Exit::Database,
            Self::Models(_) | Self::NotUnderstood(_) | Self::NoAnswer(_) => Exit::NoModel,
            Self::Refused(
                OrchestratorError::Invalid { .. }
                | OrchestratorError::Plan { .. }
                | OrchestratorError::Ambiguous(_)
                | OrchestratorError::Recording(_),
            )
            | Self::Usage { .. } => Exit::Usage,
            Self::Refused(_) | Self::Failed { .. } | Self::Task(_) => Exit::Failed,
        }
    }

    /// What a person can do about it, where the message does not say it already.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Config(ConfigError::File { .. }) => Some("every key is described in docs/configuration.md"),
            Self::Database(error @ RepositoryError::Unavailable(_)) => error.advice(),
            Self::NoDatabase { .. } => {
                Some("--db, DATABASE_URL or [database] in longhaul.toml name another one")
            }
            Self::NoAnswer(_) => Some(
                "nothing was started: the same again in a while, or another model (--model, or `fallback` in [models])",
            ),
            Self::Models(ModelError::Quota { .. }) => {
                Some("top the account up, or name another model (--model, or `fallback` in [models])")
            }
            Self::Models(_) => Some("docs/models.md tells how a model is named and where its key comes from"),
            Self::Task(RepositoryError::NotFound) | Self::Refused(OrchestratorError::NotFound) => {
                Some("`longhaul task list` shows the tasks")
            }
            Self::Task(RepositoryError::Exists) => Some(
                "it is left as it is: `longhaul task show ID` shows it, `longhaul task fork ID` goes on from it",
            ),
            Self::Refused(OrchestratorError::ScheduleExists(_)) => {
                Some("`longhaul schedule change NAME …` changes the one that is there")
            }
            Self::Refused(OrchestratorError::NoSchedule) => {
                Some("`longhaul schedule list` shows the schedules")
            }
            Self::Refused(OrchestratorError::NoTemplate(_)) => {
                Some("`longhaul template list` shows the templates")
            }
            Self::Refused(OrchestratorError::Closed) => Some("`longhaul inbox` shows what is open"),
            _ => None,
        }
    }

    /// The same for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let mut words = words_of(self).into_iter();
        let message = words.next().unwrap_or_default();
        serde_json::json!({
            "error": {"code": self.code(), "message": message, "causes": words.collect::<Vec<_>>()},
        })
    }

    /// The text for people: the message with its causes, the code, and what to do.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", words_of(self).join("\n  because: "));
        if let Some(advice) = self.advice() {
            let _ = write!(text, "\n  help: {advice}");
        }
        let _ = write!(text, "\n  code: {}", self.code());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_causes_code_and_help() {
        let io = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let error = CliError::from(RepositoryError::from(io));
        let text = error.render();
        assert!(text.starts_with("error: the database cannot be used\n  because: "), "{text}");
        assert!(text.contains("connection refused"), "{text}");
        assert!(text.contains("  help: is the server running"), "{text}");
        assert!(text.ends_with("code: database_unavailable"), "{text}");
    }

    #[test]
    fn a_model_that_is_busy_is_not_said_to_be_named_wrongly() {
        let busy = ModelError::RateLimited { model: "openai/x".into(), retry_after: None };
        let text = CliError::from(OrchestratorError::from(busy)).render();
        assert!(text.starts_with("error: no model answers at this moment\n  because: "), "{text}");
        assert!(text.contains("help: nothing was started: the same again in a while"), "{text}");
        assert!(text.ends_with("code: provider_rate_limited"), "{text}");
        let strange = CliError::from(ModelError::NotUnderstood("\"write\" is nothing".into())).render();
        assert!(
            strange.starts_with("error: this goal is not understood without a language model\n"),
            "{strange}"
        );
        let wrong = CliError::from(ModelError::NotConfigured("no such model".into())).render();
        assert!(wrong.contains("docs/models.md tells how a model is named"), "{wrong}");
    }

    #[test]
    fn causes_are_not_told_twice() {
        let cause = crate::task::PlanError::Empty;
        let error = CliError::Refused(OrchestratorError::Plan { list: "plan", error: cause });
        assert_eq!(error.render().matches("no steps").count(), 1, "{}", error.render());
    }

    #[test]
    fn every_kind_of_failure_has_its_exit_code() {
        let invalid = OrchestratorError::Invalid { field: "goal", problem: String::new() };
        let cases = [
            (CliError::from(invalid), Exit::Usage),
            (CliError::from(OrchestratorError::NotFound), Exit::Failed),
            (
                CliError::from(OrchestratorError::Model(ModelError::NotConfigured(String::new()))),
                Exit::NoModel,
            ),
            (CliError::from(ModelError::RateLimited { model: "m".into(), retry_after: None }), Exit::NoModel),
            (CliError::from(RepositoryError::Address(String::new())), Exit::Database),
            (CliError::from(ToolboxError::Collision(Vec::new())), Exit::Configuration),
            (CliError::usage("x", ""), Exit::Usage),
            (CliError::failed("x", "", None), Exit::Failed),
        ];
        for (error, exit) in cases {
            assert_eq!(error.exit(), exit, "{error:?}");
        }
    }
}
