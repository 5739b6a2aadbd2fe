//! Finds and reads `longhaul.toml`, and lists of MCP servers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Environment};
use crate::tools::{McpServerConfig, read_mcp_json};

/// The name of the file.
const NAME: &str = "longhaul.toml";

/// The file that counts, with its text: the one that was named, else the one in the working
/// directory, else the one in the user's configuration directory, else none.
pub(super) fn find(
    named: Option<&Path>,
    environment: &Environment,
) -> Result<Option<(PathBuf, String)>, ConfigError> {
    if let Some(path) = named {
        return read(path).map(|text| Some((path.to_owned(), text)));
    }
    let places = [Some(PathBuf::new()), environment.config_directory()];
    for place in places.into_iter().flatten() {
        let path = place.join(NAME);
        match read(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

/// Reads the text of a file. An error says where it is and which key it is about.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        ConfigError::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().to_owned(),
        }
    })
}

/// The servers of an `mcpServers` file.
pub(super) fn mcp_servers(path: &Path) -> Result<BTreeMap<String, McpServerConfig>, ConfigError> {
    let text = read(path)?;
    read_mcp_json(&text).map_err(|source| ConfigError::McpFile { path: path.to_owned(), source })
}
