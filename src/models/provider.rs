//! Where a provider is reached and with which key: configuration over environment over the
//! provider's public address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use genai::adapter::AdapterKind;
use genai::resolver::{AuthData, Endpoint};
use genai::{ModelIden, ServiceTarget};
use secrecy::{ExposeSecret, SecretString};

use crate::task::ModelName;

use super::ModelError;
use super::config::{ProviderConfig, ProviderKind};
use super::streaming::Streaming;

/// Looks up an environment variable.
pub(super) type Environment<'a> = dyn Fn(&str) -> Option<String> + Sync + 'a;

const ANTHROPIC_URL: &str = "https://api.anthropic.com/v1/";
const OPENAI_URL: &str = "https://api.openai.com/v1/";
const GEMINI_URL: &str = "https://generativelanguage.googleapis.com/v1beta/";
const OLLAMA_URL: &str = "http://127.0.0.1:11434/";

/// Variables that say where a provider is reached.
const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";
const OLLAMA_HOST: &str = "OLLAMA_HOST";

/// The providers that need no configuration.
const BUILT_IN: [(&str, ProviderKind); 4] = [
    ("anthropic", ProviderKind::Anthropic),
    ("openai", ProviderKind::OpenAi),
    ("gemini", ProviderKind::Gemini),
    ("ollama", ProviderKind::Ollama),
];

/// A provider, ready to be called if it has the key it needs.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    kind: ProviderKind,
    /// Ends in `/`: the client library joins paths to it.
    base_url: String,
    /// The variable or the setting that has the address.
    address_in: String,
    key: Option<SecretString>,
    key_variable: String,
    /// Whether this server streams, as far as that was seen.
    pub(super) streaming: Arc<Streaming>,
    /// Whether this server was seen to refuse schemas, so that they are put into words.
    pub(super) refuses_schemas: Arc<AtomicBool>,
    /// Whether this server was seen to ask for what its models thought.
    pub(super) wants_thinking: Arc<AtomicBool>,
}

/// All providers by name.
pub(super) fn all(
    configured: &BTreeMap<String, ProviderConfig>,
    environment: &Environment<'_>,
) -> Result<BTreeMap<String, Provider>, ModelError> {
    let mut providers = BTreeMap::new();
    for (name, kind) in BUILT_IN {
        providers.insert(name.to_owned(), Provider::built_in(kind, environment));
    }
    for (name, config) in configured {
        providers.insert(name.to_lowercase(), Provider::configured(name, config, environment)?);
    }
    Ok(providers)
}

impl Provider {
    fn built_in(kind: ProviderKind, environment: &Environment<'_>) -> Self {
        let base_url = base_url_in(kind, environment).unwrap_or_else(|| public_url(kind).to_owned());
        let address_in = match kind {
            ProviderKind::OpenAi | ProviderKind::OpenAiCompatible => OPENAI_BASE_URL.to_owned(),
            ProviderKind::Ollama => OLLAMA_HOST.to_owned(),
            ProviderKind::Anthropic => setting("anthropic"),
            ProviderKind::Gemini => setting("gemini"),
        };
        Self::new(kind, &base_url, address_in, key_variable(kind), environment)
    }

    fn configured(
        name: &str,
        config: &ProviderConfig,
        environment: &Environment<'_>,
    ) -> Result<Self, ModelError> {
        let base_url = match (&config.base_url, config.kind) {
            (Some(url), _) => url.clone(),
            (None, ProviderKind::OpenAiCompatible) => {
                return Err(ModelError::NotConfigured(format!(
                    "models.providers.{name} is openai-compatible and needs a baseUrl, \
                     for example http://127.0.0.1:8080/v1"
                )));
            }
            (None, kind) => base_url_in(kind, environment).unwrap_or_else(|| public_url(kind).to_owned()),
        };
        if url::Url::parse(&base_url).is_err() {
            return Err(ModelError::NotConfigured(format!(
                "models.providers.{name}.baseUrl is not an address: {base_url}"
            )));
        }
        let variable = config.api_key_env.as_deref().unwrap_or(key_variable(config.kind));
        Ok(Self::new(config.kind, &base_url, setting(name), variable, environment))
    }

    fn new(
        kind: ProviderKind,
        base_url: &str,
        address_in: String,
        key_variable: &str,
        environment: &Environment<'_>,
    ) -> Self {
        let key = if key_variable.is_empty() { None } else { set(environment, key_variable) };
        Self {
            kind,
            base_url: api_root(kind, base_url),
            address_in,
            key: key.map(SecretString::from),
            key_variable: key_variable.to_owned(),
            streaming: Arc::default(),
            refuses_schemas: Arc::new(AtomicBool::new(false)),
            wants_thinking: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Whether a call can be tried: the key is there, or the server may do without.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some() || !self.needs_key()
    }

    /// Whether a model of this provider should be chosen by itself: only if the environment
    /// speaks of it.
    pub(super) fn is_chosen_by_environment(&self) -> bool {
        self.key.is_some() || (self.kind == ProviderKind::OpenAi && self.base_url != OPENAI_URL)
    }

    /// Whether it is asked at the address at which everybody asks it.
    pub(super) fn is_public(&self) -> bool {
        self.base_url == api_root(self.kind, public_url(self.kind))
            && self.kind != ProviderKind::OpenAiCompatible
    }

    /// Servers at an address of one's own often have no key at all.
    fn needs_key(&self) -> bool {
        match self.kind {
            ProviderKind::Anthropic | ProviderKind::Gemini => true,
            ProviderKind::OpenAi => self.base_url == OPENAI_URL,
            ProviderKind::Ollama | ProviderKind::OpenAiCompatible => false,
        }
    }

    /// The error for a call that cannot be tried without a key.
    pub(super) fn missing_key(&self, model: &ModelName) -> ModelError {
        ModelError::MissingKey { model: model.to_string(), variable: self.key_variable.clone() }
    }

    /// Where the model list of an Ollama is.
    pub(super) fn ollama_tags_url(&self) -> String {
        format!("{}api/tags", self.base_url.trim_end_matches("v1/"))
    }

    /// What has the address, for people: one of a variable may carry a secret, and is not told.
    pub(super) fn named_address(&self) -> &str {
        &self.address_in
    }

    /// The text without the key: providers quote it in their error messages.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.key {
            Some(key) if !key.expose_secret().is_empty() => text.replace(key.expose_secret(), "[key]"),
            _ => text.to_owned(),
        }
    }

    /// Which of the client library's adapters speaks to `model` here.
    pub(super) fn adapter(&self, model: &str) -> AdapterKind {
        match self.kind {
            ProviderKind::Anthropic => AdapterKind::Anthropic,
            ProviderKind::Gemini => AdapterKind::Gemini,
            ProviderKind::Ollama | ProviderKind::OpenAiCompatible => AdapterKind::OpenAI,
            // Servers at an OPENAI_BASE_URL speak chat completions, whatever the model is called.
            ProviderKind::OpenAi if self.base_url != OPENAI_URL => AdapterKind::OpenAI,
            ProviderKind::OpenAi => match AdapterKind::from_model(model) {
                Ok(AdapterKind::OpenAIResp) => AdapterKind::OpenAIResp,
                _ => AdapterKind::OpenAI,
            },
        }
    }

    /// The address, key and model of a call. The model always carries its adapter: the
    /// library sends bare names that it does not know to Ollama.
    pub(super) fn target(&self, model: &str) -> ServiceTarget {
        let adapter = self.adapter(model);
        // Servers without keys ignore this one; the library insists on some.
        let key = self.key.as_ref().map_or("none", |key| key.expose_secret());
        ServiceTarget {
            endpoint: Endpoint::from_owned(self.base_url.as_str()),
            auth: AuthData::from_single(key),
            model: ModelIden::new(adapter, format!("{}::{model}", adapter.as_lower_str())),
        }
    }
}

/// What has the address of a provider that the configuration tells.
fn setting(name: &str) -> String {
    format!("models.providers.{name}.baseUrl")
}

fn set(environment: &Environment<'_>, variable: &str) -> Option<String> {
    environment(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn public_url(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Anthropic => ANTHROPIC_URL,
        ProviderKind::OpenAi | ProviderKind::OpenAiCompatible => OPENAI_URL,
        ProviderKind::Gemini => GEMINI_URL,
        ProviderKind::Ollama => OLLAMA_URL,
    }
}

fn base_url_in(kind: ProviderKind, environment: &Environment<'_>) -> Option<String> {
    match kind {
        ProviderKind::OpenAi => set(environment, OPENAI_BASE_URL),
        ProviderKind::Ollama => set(environment, OLLAMA_HOST).map(|host| ollama_url(&host)),
        _ => None,
    }
}

fn key_variable(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Anthropic => "ANTHROPIC_API_KEY",
        ProviderKind::OpenAi => "OPENAI_API_KEY",
        ProviderKind::Gemini => "GEMINI_API_KEY",
        ProviderKind::Ollama | ProviderKind::OpenAiCompatible => "",
    }
}

/// `OLLAMA_HOST` as Ollama itself reads it: scheme and port may be missing, and the address
/// that a server listens on everywhere is called at loopback.
fn ollama_url(host: &str) -> String {
    let with_scheme = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    let with_host = with_scheme.replace("://:", "://127.0.0.1:").replace("://0.0.0.0", "://127.0.0.1");
    match url::Url::parse(&with_host) {
        Ok(url) if url.port().is_none() && !host.contains("://") => {
            format!("{}:11434/", with_host.trim_end_matches('/'))
        }
        _ => with_host,
    }
}

fn api_root(kind: ProviderKind, base_url: &str) -> String {
    let root = format!("{}/", base_url.trim_end_matches('/'));
    if kind == ProviderKind::Ollama && !root.ends_with("/v1/") { format!("{root}v1/") } else { root }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str, variables: &[(&str, &str)]) -> Provider {
        let environment = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        all(&BTreeMap::new(), &environment).unwrap().remove(name).unwrap()
    }

    #[test]
    fn ollama_host_is_read_as_ollama_reads_it() {
        for (host, url) in [
            ("127.0.0.1:9999", "http://127.0.0.1:9999/v1/"),
            ("0.0.0.0", "http://127.0.0.1:11434/v1/"),
            (":8000", "http://127.0.0.1:8000/v1/"),
            ("gpu.lan", "http://gpu.lan:11434/v1/"),
            ("https://ollama.example.org", "https://ollama.example.org/v1/"),
            ("http://box:1234/", "http://box:1234/v1/"),
        ] {
            assert_eq!(provider("ollama", &[("OLLAMA_HOST", host)]).base_url, url, "{host}");
        }
        assert_eq!(provider("ollama", &[]).ollama_tags_url(), "http://127.0.0.1:11434/api/tags");
    }

    #[test]
    fn a_base_url_of_ones_own_takes_any_model_name_and_needs_no_key() {
        let own = provider("openai", &[("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")]);
        assert!(own.has_key());
        assert_eq!(own.base_url, "http://127.0.0.1:8080/v1/");
        assert_eq!(own.adapter("gpt-5-mini"), AdapterKind::OpenAI);
        let public = provider("openai", &[]);
        assert!(!public.has_key());
        assert_eq!(public.adapter("gpt-5-mini"), AdapterKind::OpenAIResp);
        assert_eq!(public.adapter("some-other"), AdapterKind::OpenAI);
    }

    #[test]
    fn no_key_is_printed() {
        let provider = provider("anthropic", &[("ANTHROPIC_API_KEY", "sk-secret")]);
        assert!(!format!("{provider:?}").contains("sk-secret"));
        assert_eq!(provider.redact("bad key sk-secret!"), "bad key [key]!");
        assert!(!format!("{:?}", provider.target("m")).contains("sk-secret"));
    }
}
