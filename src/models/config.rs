//! The `[models]` table of `longhaul.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::ModelName;

use super::{BreakerConfig, Price, Role, RoleModels};

/// Which models there are and which of them does what. Every key has a default; an empty
/// table is valid. Keys of providers are never in the file: the file names the environment
/// variable that holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelsConfig {
    /// The model for every role that has none of its own. Without it: a key found in the
    /// environment, else a running Ollama, else the offline rules.
    pub default: Option<ModelName>,
    /// A model for one role: `chat`, `detect`, `plan`, `execute`, `evaluate`, `summarize`; or a
    /// list, which is a fallback chain of its own.
    pub roles: BTreeMap<Role, RoleModels>,
    /// Asked in this order when a call fails in a way that another model may not: provider in
    /// trouble, timeout, rate limit, unusable answer. Roles with a list are not asked of these.
    pub fallback: Vec<ModelName>,
    /// The models that a step of a plan may name instead of the usual one; none by default.
    pub allowed: Vec<ModelName>,
    /// What models cost, by their names; before the list prices that come with the program.
    pub prices: BTreeMap<ModelName, Price>,
    /// How many tokens fit into one call, by the names of the models; before the list that comes
    /// with the program.
    pub windows: BTreeMap<ModelName, u64>,
    /// Tokens that are reserved for an answer whose length nobody limits. Decides when a budget is
    /// used up; the answer is not cut there.
    pub output_reserve: u64,
    /// When a model that keeps failing is not asked for a while.
    pub breaker: BreakerConfig,
    /// How long to wait for a provider.
    pub timeouts: Timeouts,
    /// Further providers by name, or other settings for the built-in ones (`anthropic`,
    /// `openai`, `gemini`, `ollama`). A model of the provider `NAME` is called `NAME/MODEL`.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Scripted models for tests by name: `scripted/NAME` answers from this JSON file.
    /// Relative paths start at the working directory.
    pub scripted: BTreeMap<String, PathBuf>,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            default: None,
            roles: BTreeMap::new(),
            fallback: Vec::new(),
            allowed: Vec::new(),
            prices: BTreeMap::new(),
            windows: BTreeMap::new(),
            output_reserve: 4096,
            breaker: BreakerConfig::default(),
            timeouts: Timeouts::default(),
            providers: BTreeMap::new(),
            scripted: BTreeMap::new(),
        }
    }
}

/// How long to wait for a provider, in milliseconds. Each deadline has its own error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeouts {
    /// For the connection (`provider_timeout_connect`).
    pub connect_ms: u64,
    /// From sending the request to the first piece of the answer
    /// (`provider_timeout_first_byte`). A cold local model can take a minute and more.
    pub first_byte_ms: u64,
    /// Between two pieces of the answer (`provider_timeout_chunk`).
    pub between_chunks_ms: u64,
    /// For the whole answer (`provider_timeout_total`).
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 10_000, first_byte_ms: 60_000, between_chunks_ms: 60_000, total_ms: 900_000 }
    }
}

impl Timeouts {
    pub(super) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(super) fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms)
    }

    pub(super) fn between_chunks(&self) -> Duration {
        Duration::from_millis(self.between_chunks_ms)
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }
}

/// How one provider is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProviderConfig {
    /// Which wire format it speaks.
    pub kind: ProviderKind,
    /// Where its API begins, version included: `https://llm.example.org/v1`. Required for
    /// `openai-compatible`; the others have their public address.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The environment variable that holds the key. The kind's usual one by default;
    /// `openai-compatible` needs none.
    #[serde(default)]
    pub api_key_env: Option<String>,
}

/// The wire format of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Anthropic's messages API.
    Anthropic,
    /// OpenAI itself: the responses API for models that need it, else chat completions.
    #[serde(rename = "openai")]
    OpenAi,
    /// Google's Gemini API.
    Gemini,
    /// An Ollama server, through its OpenAI-compatible interface.
    Ollama,
    /// Any server with OpenAI's chat completions: llama.cpp, vLLM, LM Studio, OpenRouter, …
    #[serde(rename = "openai-compatible")]
    OpenAiCompatible,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_has_the_documented_defaults() {
        let config: ModelsConfig = toml::from_str("").unwrap();
        assert_eq!(config, ModelsConfig::default());
        assert_eq!(config.timeouts.first_byte_ms, 60_000);
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            default = "openai/gpt-5.6-luna"
            fallback = ["ollama/qwen3:8b"]
            [roles]
            plan = "anthropic/claude-sonnet-5-5"
            chat = ["openai/gpt-x", "local/small"]
            [prices]
            "openai/gpt-x" = { input = 1.5, cached = 0.15, output = 6 }
            [windows]
            "openai/gpt-x" = 64000
            [timeouts]
            totalMs = 1000
            [providers.local]
            kind = "openai-compatible"
            baseUrl = "http://127.0.0.1:8080/v1"
            apiKeyEnv = "LOCAL_KEY"
            [scripted]
            demo = "demo.json"
        "#;
        let config: ModelsConfig = toml::from_str(text).unwrap();
        assert_eq!(config.roles[&Role::Plan].first.provider, "anthropic");
        assert_eq!(config.roles[&Role::Chat].names().count(), 2);
        assert_eq!(config.timeouts, Timeouts { total_ms: 1000, ..Timeouts::default() });
        assert_eq!(config.providers["local"].kind, ProviderKind::OpenAiCompatible);
        let again: ModelsConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        let error = toml::from_str::<ModelsConfig>("defualt = 'openai/x'").unwrap_err();
        assert!(error.to_string().contains("defualt"), "{error}");
    }
}
