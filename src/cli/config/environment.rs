//! What the environment says: the names of the seed, and the providers' own.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Config, ConfigError};

/// Looks variables up. Blank values count as absent, for that is what an empty line in an
/// environment file means.
#[derive(Clone)]
pub struct Environment(Arc<LookUp>);

/// The value of a variable, if it is set.
type LookUp = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// The environment of this process.
    pub(in crate::cli) fn of_process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    /// An environment of exactly these variables.
    #[cfg(test)]
    pub(in crate::cli) fn of(variables: &[(&str, &str)]) -> Self {
        let variables: std::collections::HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self(Arc::new(move |name| variables.get(name).cloned()))
    }

    /// The value of a variable.
    pub(in crate::cli) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// `longhaul` in the user's configuration directory.
    pub(super) fn config_directory(&self) -> Option<PathBuf> {
        self.directory("XDG_CONFIG_HOME", ".config")
    }

    /// `longhaul` in the user's data directory.
    pub(in crate::cli) fn data_directory(&self) -> Option<PathBuf> {
        self.directory("XDG_DATA_HOME", ".local/share")
    }

    fn directory(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        // The specification of these variables says that relative paths are to be ignored.
        let named = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || self.get("HOME").map(|home| PathBuf::from(home).join(below_home));
        named.or_else(home).map(|directory| directory.join("longhaul"))
    }

    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        // Other programs read DATABASE_URL too; the name that is only ours is the clearer word.
        for name in ["DATABASE_URL", "LONGHAUL_DB"] {
            if let Some(address) = self.get(name) {
                config.database.set_address(name, &address)?;
            }
        }
        if let Some(address) = self.get("REDIS_URL") {
            config.queue.url = Some(address);
        }
        if let Some(filter) = self.get("LONGHAUL_LOG") {
            config.log.filter = Some(filter);
        }
        Ok(())
    }

    pub(super) fn allows_worker(&self) -> Result<bool, ConfigError> {
        const NAME: &str = "DISABLE_TASK_WORKER";
        match self.get(NAME).map(|value| value.trim().to_lowercase()).as_deref() {
            None | Some("false" | "0") => Ok(true),
            Some("true" | "1") => Ok(false),
            Some(other) => Err(ConfigError::value(NAME, format!("'{other}' is neither true nor false"))),
        }
    }
}

impl std::fmt::Debug for Environment {
    // It holds keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}
