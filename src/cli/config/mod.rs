//! Everything that can be set, from wherever it is set.
//!
//! ```text
//! flags  >  environment  >  longhaul.toml  >  defaults
//! ```
//!
//! Keys of providers and of the server come from the environment only; they are never in the
//! file and never printed. The environment is a function that is passed in, so that tests own
//! it.

mod check;
mod environment;
mod file;
mod tables;

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use thiserror::Error;

use crate::models::ModelsConfig;
use crate::orchestrator::{Agent, OrchestratorConfig, Preset};
use crate::server::ServerConfig;
use crate::tools::{McpJsonError, ProbeConfig, ProbeError, Probes, SecretConfig, ToolboxError, ToolsConfig};
use crate::worker::WorkerConfig;

pub(super) use tables::is_postgres;
pub use tables::{BudgetTable, DatabaseConfig, Durability, LogConfig, LogFormat, QueueTable};

pub(super) use environment::Environment;

/// What `longhaul.toml` may hold. Every key has a default; an empty file is valid.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The way in over HTTP.
    pub server: ServerConfig,
    /// Who works, and how fast.
    pub worker: WorkerConfig,
    /// How requests are judged, and the limits of new tasks.
    pub orchestrator: OrchestratorConfig,
    /// What new tasks may consume.
    pub budget: BudgetTable,
    /// Named terms that a task may begin from.
    pub presets: BTreeMap<String, Preset>,
    /// Who may do the work.
    pub agents: BTreeMap<String, Agent>,
    /// Which models there are.
    pub models: ModelsConfig,
    /// Which tools there are.
    pub tools: ToolsConfig,
    /// What tools may be given without anybody else knowing it.
    pub secrets: BTreeMap<String, SecretConfig>,
    /// Probes that steps may name as checks.
    pub checks: BTreeMap<String, ProbeConfig>,
    /// Where tasks are kept.
    pub database: DatabaseConfig,
    /// Where hints wait for workers.
    pub queue: QueueTable,
    /// What is logged.
    pub log: LogConfig,
}

/// The configuration with what only the environment can say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What can be in the file, after everything else had its word.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The bearer key of the server (`CHAT_API_KEY`).
    pub api_key: Option<SecretString>,
    /// Whose tasks those are that this process creates (`SYSTEM_USER_ID`).
    pub user: String,
    /// Whether `serve` works on tasks itself (`DISABLE_TASK_WORKER`).
    pub works: bool,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file to read, and no other.
    pub file: Option<PathBuf>,
    /// A SQLite file or a `postgres://` address.
    pub database: Option<String>,
    /// The model for everything.
    pub model: Option<crate::task::ModelName>,
    /// Where the workspace tools work.
    pub workspace: Option<PathBuf>,
    /// Lists of MCP servers as other programs keep them.
    pub mcp_files: Vec<PathBuf>,
    /// What is logged.
    pub log: Option<String>,
}

/// Why there is no configuration to work with.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or a value that nobody knows.
    #[error("{}:{line}:{column}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// Which key, and what would be right.
        message: String,
    },
    /// A value is of the right type and still makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key, the flag or the variable.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A list of MCP servers cannot be used.
    #[error("{} cannot be used", path.display())]
    McpFile {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: McpJsonError,
    },
    /// The tools contradict themselves.
    #[error("[tools] cannot be used")]
    Tools(#[from] ToolboxError),
    /// A probe is none.
    #[error(transparent)]
    Checks(#[from] ProbeError),
}

impl ConfigError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config_unreadable",
            Self::File { .. } => "config_invalid",
            Self::Value { .. } => "config_value",
            Self::McpFile { .. } => "config_mcp",
            Self::Tools(_) => "config_tools",
            Self::Checks(_) => "config_checks",
        }
    }

    fn value(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Value { key, problem: problem.into() }
    }
}

impl Settings {
    /// Puts the configuration together: file, then environment, then flags.
    pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Self, ConfigError> {
        let (mut config, file) = match file::find(overrides.file.as_deref(), environment)? {
            Some((path, text)) => (file::parse(&path, &text)?, Some(path)),
            None => (Config::default(), None),
        };
        environment.apply(&mut config)?;
        overrides.apply(&mut config)?;
        check::check(&config)?;
        config.tools.validate()?;
        Probes::open(&config.checks)?;
        Ok(Self {
            config,
            file,
            api_key: environment.get("CHAT_API_KEY").map(SecretString::from),
            user: environment.get("SYSTEM_USER_ID").unwrap_or_else(|| "local".to_owned()),
            works: environment.allows_worker()?,
        })
    }
}

impl Config {
    /// What the orchestrator is told, with the tables that stand beside its own.
    pub(super) fn of_orchestrator(&self) -> OrchestratorConfig {
        OrchestratorConfig {
            budget: self.budget.0,
            presets: self.presets.clone(),
            agents: self.agents.clone(),
            ..self.orchestrator.clone()
        }
    }
}

impl Overrides {
    fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        if let Some(address) = &self.database {
            config.database.set_address("--db", address)?;
        }
        if let Some(model) = &self.model {
            // "Use this model" means for everything, whatever the file says about roles.
            config.models.default = Some(model.clone());
            config.models.roles.clear();
        }
        if let Some(workspace) = &self.workspace {
            config.tools.workspace = Some(workspace.clone());
        }
        for path in &self.mcp_files {
            config.tools.mcp.extend(file::mcp_servers(path)?);
        }
        if let Some(filter) = &self.log {
            config.log.filter = Some(filter.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
