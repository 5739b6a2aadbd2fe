//! Which model answers for which role.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::task::ModelName;

use super::breaker::Breakers;
use super::client::ProviderModel;
use super::config::{ModelsConfig, Timeouts};
use super::fallback::Fallback;
use super::gauge::{Gauged, Gauges};
use super::price::{Priced, Prices};
use super::provider::{self, Provider};
use super::unasked::Unasked;
use super::windows::Windows;
use super::{Model, ModelError, Offline, Role, RoleModels, Scripted, discovery, transport};

/// The model of a provider that is chosen by its key alone: the small or middle model of the
/// provider's current family, as the test suite of genai 0.7.2 calls them live
/// (`tests/tests_p_anthropic.rs`, `tests_p_openai_resp.rs`, `tests_p_gemini.rs`).
pub(super) const DEFAULTS: [(&str, &str); 3] =
    [("anthropic", "claude-sonnet-5-5"), ("openai", "gpt-5.6-luna"), ("gemini", "gemini-3.8-flash")];

const OLLAMA: &str = "ollama";

/// Answers in the place of all models.
pub trait Understudy: Send + Sync {
    /// The model for a role, and for a step if it is asked in one.
    fn model(&self, role: Role, wanted: Option<&ModelName>, step: Option<u32>) -> Arc<dyn Model>;
}

/// All models that can be asked, and which of them is asked for what.
///
/// The default is, in this order: the one configured, that of the first provider the
/// environment has a key for (Anthropic, OpenAI, Gemini), one of a running Ollama, the
/// offline rules.
pub struct Models {
    default: ModelName,
    roles: BTreeMap<Role, RoleModels>,
    fallback: Vec<ModelName>,
    /// Those that a step of a plan may name.
    allowed: Vec<ModelName>,
    prices: Prices,
    windows: Windows,
    gauges: Gauges,
    breakers: Breakers,
    output_reserve: u64,
    timeouts: Timeouts,
    providers: BTreeMap<String, Provider>,
    /// Models that are there already: scripted ones, the offline rules, a caller's own.
    ready: BTreeMap<ModelName, Arc<dyn Model>>,
    http: reqwest::Client,
    /// Who is asked instead of all of them.
    understudy: Option<Arc<dyn Understudy>>,
}

impl Models {
    /// Opens what the configuration names. `environment` looks a variable up; keys come from
    /// there and nowhere else. Asks the network only if no default is configured and there is
    /// no key: then a local Ollama has 300 ms to answer.
    ///
    /// Fails with [`ModelError::NotConfigured`] for unknown providers and unusable scripts,
    /// and with [`ModelError::MissingKey`] for a fallback model without a key.
    pub async fn open(
        config: &ModelsConfig,
        environment: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Models, ModelError> {
        let mut models = Self::empty(config, provider::all(&config.providers, environment)?)?;
        for (name, path) in &config.scripted {
            models.add(Arc::new(Scripted::open(name, path)?));
        }
        models.default = match &config.default {
            Some(name) => name.clone(),
            None => models.choose().await,
        };
        let firsts = models.roles.values().map(|role| &role.first);
        for name in std::iter::once(&models.default).chain(firsts) {
            models.check_known(name)?;
        }
        let behind = models.roles.values().filter_map(|role| role.then.as_ref()).flatten();
        for name in models.fallback.iter().chain(&models.allowed).chain(behind) {
            models.model(name)?;
        }
        Ok(models)
    }

    /// One model for every role; for tests and for programs that bring their own. The offline
    /// rules can still be asked for by name.
    pub fn with_model(model: Arc<dyn Model>) -> Result<Models, ModelError> {
        let mut models = Self::empty(&ModelsConfig::default(), BTreeMap::new())?;
        models.default = model.name().clone();
        models.add(model);
        Ok(models)
    }

    /// The rules for everything, and the configuration's models by name: for whoever decides about tasks and
    /// leaves it to others to ask.
    ///
    /// # Errors
    /// As for [`Models::open`], but for scripts that cannot be used: those are not known here.
    pub fn to_name(
        config: &ModelsConfig,
        environment: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Models, ModelError> {
        let providers = provider::all(&config.providers, environment)?;
        let config = ModelsConfig { roles: BTreeMap::new(), fallback: Vec::new(), ..config.clone() };
        let mut models = Self::empty(&config, providers)?;
        for (name, path) in &config.scripted {
            if let Ok(script) = Scripted::open(name, path) {
                models.add(Arc::new(script));
            }
        }
        Ok(models)
    }

    /// Nobody but an understudy is asked. It is `default` by name, and steps may name these.
    pub fn instead(
        understudy: Arc<dyn Understudy>,
        default: ModelName,
        allowed: Vec<ModelName>,
    ) -> Result<Models, ModelError> {
        let models = Self::empty(&ModelsConfig::default(), BTreeMap::new())?;
        Ok(Self { default, allowed, understudy: Some(understudy), ..models })
    }

    /// The model for a step: see [`Models::for_role`].
    pub fn for_step(&self, wanted: Option<&ModelName>, step: u32) -> Result<Arc<dyn Model>, ModelError> {
        match &self.understudy {
            Some(understudy) => Ok(understudy.model(Role::Execute, wanted, Some(step))),
            None => self.for_role(Role::Execute, wanted),
        }
    }

    /// The model for `role`: the `wanted` one if there is a wish, else the role's first, else the
    /// default; with the fallback chain of the role behind it, or the common one.
    ///
    /// Fails with [`ModelError::NotConfigured`] if nothing of that name can be asked and with
    /// [`ModelError::MissingKey`] if its key is missing; both say what to do.
    pub fn for_role(&self, role: Role, wanted: Option<&ModelName>) -> Result<Arc<dyn Model>, ModelError> {
        if let Some(understudy) = &self.understudy {
            return Ok(understudy.model(role, wanted, None));
        }
        let name = self.name_for(role, wanted);
        Ok(Fallback::chain(self.model(name)?, self.behind(role, name)?))
    }

    /// The same to be looked at: what it is called, how much it takes, and what is known of that. It need not be
    /// there, and there need be no key.
    pub fn to_look_at(&self, role: Role, wanted: Option<&ModelName>) -> Arc<dyn Model> {
        self.for_role(role, wanted).unwrap_or_else(|_| {
            let name = self.name_for(role, wanted);
            let is_public = self.providers.get(&name.provider).is_some_and(Provider::is_public);
            let window = self.windows.find(name, is_public);
            Arc::new(Gauged::new(Arc::new(Unasked(name.clone())), window, self.gauges.clone()))
        })
    }

    /// What is left of the fallback chain behind the first model for `role`: for an answer that
    /// did come and is of no use. `None` if there is no other model.
    pub fn another_for_role(
        &self,
        role: Role,
        wanted: Option<&ModelName>,
    ) -> Result<Option<Arc<dyn Model>>, ModelError> {
        let mut others = self.behind(role, self.name_for(role, wanted))?;
        if others.is_empty() {
            return Ok(None);
        }
        let first = others.remove(0);
        Ok(Some(Fallback::chain(first, others)))
    }

    fn name_for<'a>(&'a self, role: Role, wanted: Option<&'a ModelName>) -> &'a ModelName {
        wanted.or_else(|| self.roles.get(&role).map(|role| &role.first)).unwrap_or(&self.default)
    }

    /// The fallback chain of a role behind the model that is asked first in it.
    fn behind(&self, role: Role, name: &ModelName) -> Result<Vec<Arc<dyn Model>>, ModelError> {
        let own = self.roles.get(&role).and_then(|role| role.then.as_ref());
        let chain = own.unwrap_or(&self.fallback);
        chain.iter().filter(|other| *other != name).map(|other| self.model(other)).collect()
    }

    /// The model for every role that has none of its own.
    pub fn default_name(&self) -> &ModelName {
        &self.default
    }

    /// Whether no language model is in use for anything.
    pub fn is_offline(&self) -> bool {
        is_rules(&self.default) && self.roles.values().flat_map(RoleModels::names).all(is_rules)
    }

    /// Whether no language model is in use for a task that wishes for this one.
    pub fn is_offline_for(&self, wanted: Option<&ModelName>) -> bool {
        wanted.map_or_else(|| self.is_offline(), is_rules)
    }

    /// All models that are known by name, sorted. Others of a known provider can be asked for
    /// all the same.
    pub fn known(&self) -> Vec<ModelName> {
        let with_key = DEFAULTS.iter().filter(|(provider, _)| {
            self.providers.get(*provider).is_some_and(Provider::is_chosen_by_environment)
        });
        let names: BTreeSet<_> = std::iter::once(&self.default)
            .chain(self.roles.values().flat_map(RoleModels::names))
            .chain(&self.fallback)
            .chain(self.ready.keys())
            .cloned()
            .chain(with_key.map(|(provider, model)| model_name(provider, model)))
            .collect();
        names.into_iter().collect()
    }

    fn empty(config: &ModelsConfig, providers: BTreeMap<String, Provider>) -> Result<Self, ModelError> {
        let offline: Arc<dyn Model> = Arc::new(Offline::new());
        let mut models = Self {
            default: offline.name().clone(),
            roles: config.roles.clone(),
            fallback: config.fallback.clone(),
            allowed: config.allowed.clone(),
            prices: Prices::new(&config.prices)?,
            windows: Windows::new(&config.windows)?,
            gauges: Gauges::default(),
            breakers: Breakers::new(config.breaker),
            output_reserve: config.output_reserve,
            timeouts: config.timeouts,
            providers,
            ready: BTreeMap::new(),
            http: transport::http_client(config.timeouts.connect())?,
            understudy: None,
        };
        models.add(offline);
        Ok(models)
    }

    fn add(&mut self, model: Arc<dyn Model>) {
        self.ready.insert(model.name().clone(), model);
    }

    async fn choose(&self) -> ModelName {
        for (provider, model) in DEFAULTS {
            if self.providers.get(provider).is_some_and(Provider::is_chosen_by_environment) {
                return model_name(provider, model);
            }
        }
        let Some(ollama) = self.providers.get(OLLAMA) else {
            return self.default.clone();
        };
        match discovery::first_model(&self.http, &ollama.ollama_tags_url()).await {
            Some(model) => model_name(OLLAMA, &model),
            None => self.default.clone(),
        }
    }

    /// The models that a step of a plan may name.
    pub fn allowed(&self) -> &[ModelName] {
        &self.allowed
    }

    /// Tokens that are reserved for an answer whose length nobody limits.
    pub fn output_reserve(&self) -> u64 {
        self.output_reserve
    }

    fn model(&self, name: &ModelName) -> Result<Arc<dyn Model>, ModelError> {
        let is_public = self.providers.get(&name.provider).is_some_and(Provider::is_public);
        let price = self.prices.find(name, is_public);
        let window = self.windows.find(name, is_public);
        let guarded = self.breakers.guard(self.bare(name, window)?);
        let priced = Priced::new(Arc::new(guarded), price);
        Ok(Arc::new(Gauged::new(Arc::new(priced), window, self.gauges.clone())))
    }

    /// A model that does not know what it costs.
    fn bare(&self, name: &ModelName, window: Option<u64>) -> Result<Arc<dyn Model>, ModelError> {
        if let Some(model) = self.ready.get(name) {
            return Ok(model.clone());
        }
        let provider = self.providers.get(&name.provider).ok_or_else(|| self.unknown(name))?;
        if !provider.has_key() {
            return Err(provider.missing_key(name));
        }
        let (provider, http) = (provider.clone(), self.http.clone());
        let model = ProviderModel::new(name.clone(), provider, http, self.timeouts, window)?;
        Ok(Arc::new(model))
    }

    /// Whether a model of this name may be there: its provider is known. Whether there is a key for it is
    /// the business of whoever asks it.
    ///
    /// # Errors
    /// [`ModelError::NotConfigured`], which says what is known.
    pub fn check_known(&self, name: &ModelName) -> Result<(), ModelError> {
        match self.understudy.is_some()
            || self.ready.contains_key(name)
            || self.providers.contains_key(&name.provider)
        {
            true => Ok(()),
            false => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &ModelName) -> ModelError {
        let ready: Vec<_> = self.ready.keys().map(ToString::to_string).collect();
        let providers: Vec<_> = self.providers.keys().map(|name| format!("{name}/MODEL")).collect();
        ModelError::NotConfigured(format!(
            "there is no model '{name}'; known are {}. Other servers are added under \
             [models.providers.NAME] in longhaul.toml, scripts under [models.scripted]",
            [ready, providers].concat().join(", ")
        ))
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models")
            .field("default", &self.default)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

fn model_name(provider: &str, model: &str) -> ModelName {
    ModelName { provider: provider.to_owned(), model: model.to_owned() }
}

fn is_rules(name: &ModelName) -> bool {
    name.provider == Offline::PROVIDER
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use serde_json::json;

    use super::*;

    /// No Ollama answers at the discard port.
    const NO_OLLAMA: (&str, &str) = ("OLLAMA_HOST", "127.0.0.1:9");

    async fn open(config: &str, variables: &[(&str, &str)]) -> Result<Models, ModelError> {
        let config: ModelsConfig = toml::from_str(config).unwrap();
        let environment = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        Models::open(&config, &environment).await
    }

    async fn default_of(config: &str, variables: &[(&str, &str)]) -> String {
        open(config, variables).await.unwrap().default_name().to_string()
    }

    #[tokio::test]
    async fn the_default_is_configured_then_by_key_then_offline() {
        let keys = [("OPENAI_API_KEY", "a"), ("ANTHROPIC_API_KEY", "b"), NO_OLLAMA];
        assert_eq!(default_of("default = 'openai/x'", &keys).await, "openai/x");
        assert_eq!(default_of("", &keys).await, "anthropic/claude-sonnet-5-5");
        assert_eq!(default_of("", &[("GEMINI_API_KEY", "c")]).await, "gemini/gemini-3.8-flash");
        let models = open("", &[("ANTHROPIC_API_KEY", " "), NO_OLLAMA]).await.unwrap();
        assert_eq!(models.default_name().to_string(), "offline/rules");
        assert!(models.is_offline() && models.is_offline_for(None));
    }

    #[tokio::test]
    async fn a_running_ollama_is_found() {
        let tags = json!({"models": [{"name": "nomic-embed-text"}, {"name": "qwen3:8b"}]});
        let app = Router::new().route("/api/tags", get(move || async move { Json(tags) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        assert_eq!(default_of("", &[("OLLAMA_HOST", &host)]).await, "ollama/qwen3:8b");
    }

    #[tokio::test]
    async fn a_wish_comes_before_the_role_and_the_role_before_the_default() {
        let config = "default = 'ollama/a'\n[roles]\nplan = 'ollama/b'";
        let models = open(config, &[]).await.unwrap();
        let name = |role, wanted: Option<&str>| {
            let wanted = wanted.map(|name| name.parse().unwrap());
            models.for_role(role, wanted.as_ref()).unwrap().name().to_string()
        };
        assert_eq!(name(Role::Plan, None), "ollama/b");
        assert_eq!(name(Role::Execute, None), "ollama/a");
        assert_eq!(name(Role::Plan, Some("ollama/c")), "ollama/c");
        assert_eq!(name(Role::Plan, Some("offline/rules")), "offline/rules");
        assert!(!models.is_offline());
    }

    /// Who is asked for a role, one after the other.
    fn chain(models: &Models, role: Role, wanted: Option<&str>) -> Vec<String> {
        let wanted = wanted.map(|name| name.parse().unwrap());
        let name = models.name_for(role, wanted.as_ref());
        let behind = models.behind(role, name).unwrap();
        std::iter::once(name)
            .chain(behind.iter().map(|model| model.name()))
            .map(ToString::to_string)
            .collect()
    }

    #[tokio::test]
    async fn a_list_is_the_chain_of_its_role_and_a_text_has_the_common_one_behind_it() {
        let config = "default = 'ollama/a'\nfallback = ['ollama/f']\n\
                      [roles]\nplan = ['ollama/p', 'ollama/q']\nchat = 'ollama/c'\ndetect = ['ollama/d']";
        let models = open(config, &[]).await.unwrap();
        assert_eq!(chain(&models, Role::Plan, None), ["ollama/p", "ollama/q"]);
        assert_eq!(chain(&models, Role::Chat, None), ["ollama/c", "ollama/f"]);
        assert_eq!(chain(&models, Role::Execute, None), ["ollama/a", "ollama/f"]);
        assert_eq!(chain(&models, Role::Detect, None), ["ollama/d"]);
        assert!(models.another_for_role(Role::Detect, None).unwrap().is_none());
        // A wish takes the first place, and is asked once.
        assert_eq!(chain(&models, Role::Plan, Some("ollama/w")), ["ollama/w", "ollama/q"]);
        assert_eq!(chain(&models, Role::Plan, Some("ollama/q")), ["ollama/q"]);
        assert!(models.known().iter().any(|name| name.model == "q"));
    }

    #[tokio::test]
    async fn what_cannot_be_asked_says_what_to_do() {
        let models = open("", &[NO_OLLAMA]).await.unwrap();
        let error = |name: &str| match models.for_role(Role::Chat, Some(&name.parse().unwrap())) {
            Ok(_) => panic!("{name} can be asked"),
            Err(error) => error,
        };
        let no_key = error("anthropic/claude");
        assert_eq!(no_key.code(), "provider_key_missing");
        assert!(no_key.to_string().contains("ANTHROPIC_API_KEY"), "{no_key}");
        let unknown = error("nobody/x");
        assert_eq!(unknown.code(), "model_not_configured");
        assert!(unknown.to_string().contains("models.providers"), "{unknown}");
        assert_eq!(error("scripted/missing").code(), "model_not_configured");
    }

    #[tokio::test]
    async fn misconfiguration_is_found_when_opening() {
        for config in [
            "default = 'nobody/x'",
            "fallback = ['anthropic/x']",
            "[roles]\nchat = 'nobody/x'",
            "[roles]\nchat = ['ollama/a', 'nobody/x']",
            "[roles]\nchat = ['ollama/a', 'anthropic/x']",
            "[providers.own]\nkind = 'openai-compatible'",
            "[providers.own]\nkind = 'openai-compatible'\nbaseUrl = 'nonsense'",
            "[scripted]\ndemo = 'no/such/file.json'",
        ] {
            assert!(open(config, &[NO_OLLAMA]).await.is_err(), "{config}");
        }
    }

    #[tokio::test]
    async fn a_model_of_ones_own_answers_for_all_roles() {
        let own = Scripted::parse("own", r#"{"rules":[{"reply":{"text":"hi"}}]}"#).unwrap();
        let models = Models::with_model(Arc::new(own)).unwrap();
        let model = models.for_role(Role::Summarize, None).unwrap();
        assert_eq!(model.name().to_string(), "scripted/own");
        assert_eq!(models.known().len(), 2);
    }
}
