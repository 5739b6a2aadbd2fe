//! How many tokens fit into one call of a model: what is published, and what the configuration says.

use std::collections::BTreeMap;

use crate::task::ModelName;

use super::ModelError;
use super::price::is_edition;

/// The published windows by provider and model.
const LIST: &str = include_str!("windows.toml");

/// All windows that are known.
#[derive(Debug)]
pub(super) struct Windows {
    listed: BTreeMap<String, BTreeMap<String, u64>>,
    configured: BTreeMap<ModelName, u64>,
}

impl Windows {
    /// The list, and before it what the configuration says.
    pub(super) fn new(configured: &BTreeMap<ModelName, u64>) -> Result<Self, ModelError> {
        let unusable = |problem: String| ModelError::NotConfigured(problem);
        if let Some((name, _)) = configured.iter().find(|(_, tokens)| **tokens == 0) {
            return Err(unusable(format!("models.windows.\"{name}\": a window has at least one token")));
        }
        let listed =
            toml::from_str(LIST).map_err(|error| unusable(format!("the list of windows: {error}")))?;
        Ok(Self { listed, configured: configured.clone() })
    }

    /// The window of a model. The list counts only where its provider is asked at its public
    /// address: another server may have given the same model less room.
    pub(super) fn find(&self, name: &ModelName, at_public_address: bool) -> Option<u64> {
        if let Some(tokens) = self.configured.get(name) {
            return Some(*tokens);
        }
        let listed = self.listed.get(&name.provider).filter(|_| at_public_address)?;
        let known = listed.iter().filter(|(known, _)| is_edition(&name.model, known));
        known.max_by_key(|(known, _)| known.len()).map(|(_, tokens)| *tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_comes_before_the_list_and_the_list_counts_at_public_addresses() {
        let configured = [("ollama/qwen3:8b".parse().unwrap(), 32_768)].into();
        let windows = Windows::new(&configured).unwrap();
        let find = |name: &str, public| windows.find(&name.parse().unwrap(), public);
        assert_eq!(find("ollama/qwen3:8b", false), Some(32_768));
        assert_eq!(find("openai/gpt-4o-2024-08-06", true), Some(128_000));
        assert_eq!(find("openai/gpt-4o", false), None);
        assert_eq!(find("nobody/x", true), None);
        assert!(Windows::new(&[("a/b".parse().unwrap(), 0)].into()).is_err());
    }
}
