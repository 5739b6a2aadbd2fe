//! The log: to stderr, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::config::{ConfigError, LogConfig, LogFormat};
use super::terminal::Terminal;

/// Begins to log. `default` is the filter where none is configured.
pub(super) fn start(config: &LogConfig, default: &str, terminal: &Terminal) -> Result<(), ConfigError> {
    let filter = config.filter.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter).map_err(|error| ConfigError::Value {
        key: "log.filter",
        problem: format!("'{filter}' is no filter ({error}): write for example info or longhaul=debug,warn"),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(terminal.clone())
        .with_ansi(std::io::stderr().is_terminal());
    // A second start in one process keeps the first log: only tests do that.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
