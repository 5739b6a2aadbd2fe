//! What models cost: list prices that come with the program, and those of the configuration.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::task::{ModelName, Usage, Usd};

use super::{Answer, Chunk, Hear, Model, ModelError, Request};

/// The list prices by provider and model.
const LIST: &str = include_str!("prices.toml");

/// Providers whose models run where nobody sends a bill.
const FREE: [&str; 3] = ["offline", "ollama", "scripted"];

/// What a model costs, in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Price {
    /// Tokens of prompts.
    pub input: f64,
    /// Tokens of prompts that the provider's cache had; as `input` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// Tokens of answers.
    pub output: f64,
    /// From this length of the prompt on, in tokens, the `long` prices count for the whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_from: Option<u64>,
    /// As `input`, for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_input: Option<f64>,
    /// As `cached`, for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_cached: Option<f64>,
    /// As `output`, for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_output: Option<f64>,
}

impl Price {
    const NOTHING: Self = Self {
        input: 0.0,
        cached: None,
        output: 0.0,
        long_from: None,
        long_input: None,
        long_cached: None,
        long_output: None,
    };

    /// What a call cost. Each kind of token is rounded to a thousand-millionth of a dollar.
    pub(super) fn of(&self, usage: &Usage) -> Usd {
        let is_long = self.long_from.is_some_and(|from| usage.input_tokens >= from);
        let long = |price: Option<f64>, short: f64| price.filter(|_| is_long).unwrap_or(short);
        let input = long(self.long_input, self.input);
        let cached = long(self.long_cached, self.cached.unwrap_or(self.input));
        let output = long(self.long_output, self.output);
        let fresh = usage.input_tokens.saturating_sub(usage.cached_tokens);
        cost(fresh, input) + cost(usage.cached_tokens, cached) + cost(usage.output_tokens, output)
    }

    /// Whether all of it are amounts of money.
    pub(super) fn is_sensible(&self) -> bool {
        let rest = [self.cached, self.long_input, self.long_cached, self.long_output];
        let all = [Some(self.input), Some(self.output)].into_iter().chain(rest).flatten();
        all.into_iter().all(|price| price.is_finite() && price >= 0.0)
    }
}

fn cost(tokens: u64, per_million: f64) -> Usd {
    Usd::from_dollars(tokens as f64 * per_million / 1e6).unwrap_or_default()
}

/// All prices that are known.
#[derive(Debug)]
pub(super) struct Prices {
    listed: BTreeMap<String, BTreeMap<String, Price>>,
    configured: BTreeMap<ModelName, Price>,
}

impl Prices {
    /// The list, and before it what the configuration says.
    pub(super) fn new(configured: &BTreeMap<ModelName, Price>) -> Result<Self, ModelError> {
        let unusable = |problem: String| ModelError::NotConfigured(problem);
        if let Some((name, _)) = configured.iter().find(|(_, price)| !price.is_sensible()) {
            return Err(unusable(format!("models.prices.\"{name}\": prices are numbers from 0 on")));
        }
        let listed =
            toml::from_str(LIST).map_err(|error| unusable(format!("the list of prices: {error}")))?;
        Ok(Self { listed, configured: configured.clone() })
    }

    /// The price of a model, if anybody told it. The list counts only where its provider is asked
    /// at its public address: what another server bills is its own affair.
    pub(super) fn find(&self, name: &ModelName, at_public_address: bool) -> Option<Price> {
        if let Some(price) = self.configured.get(name) {
            return Some(*price);
        }
        if FREE.contains(&name.provider.as_str()) {
            return Some(Price::NOTHING);
        }
        let listed = self.listed.get(&name.provider).filter(|_| at_public_address)?;
        let longest = listed.iter().filter(|(known, _)| is_edition(&name.model, known));
        longest.max_by_key(|(known, _)| known.len()).map(|(_, price)| *price)
    }
}

/// Whether a name is that of a known model, or of a dated edition of it: `gpt-5-2025-08-07`.
pub(super) fn is_edition(name: &str, known: &str) -> bool {
    let Some(rest) = name.strip_prefix(known) else { return false };
    let is_date = rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    rest.is_empty() || rest == "-latest" || rest == "-preview" || (rest.starts_with('-') && is_date)
}

/// A model whose answers say what they cost.
pub(super) struct Priced {
    model: Arc<dyn Model>,
    price: Option<Price>,
}

impl Priced {
    pub(super) fn new(model: Arc<dyn Model>, price: Option<Price>) -> Self {
        Self { model, price }
    }
}

/// An answer that cannot be used is paid for, too.
fn with_cost(answer: Result<Answer, ModelError>, price: Option<Price>) -> Result<Answer, ModelError> {
    match answer {
        Ok(answer) => Ok(Answer { usage: priced(answer.usage, price), ..answer }),
        Err(error) => Err(failed_with_cost(error, price)),
    }
}

fn failed_with_cost(error: ModelError, price: Option<Price>) -> ModelError {
    match error.usage() {
        Some(usage) => error.having_spent(priced(usage, price)),
        None => error,
    }
}

fn priced(usage: Usage, price: Option<Price>) -> Usage {
    match price {
        Some(price) => Usage { cost_usd: price.of(&usage), ..usage },
        None => Usage { unpriced_calls: usage.model_calls, ..usage },
    }
}

#[async_trait]
impl Model for Priced {
    fn name(&self) -> &ModelName {
        self.model.name()
    }

    fn behind(&self) -> Option<&dyn Model> {
        Some(self.model.as_ref())
    }

    fn cost(&self, usage: &Usage) -> Option<Usd> {
        self.price.map(|price| price.of(usage))
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        with_cost(self.model.generate(request).await, self.price)
    }

    async fn speak(&self, request: Request, hear: Hear<'_>) -> Result<Answer, ModelError> {
        with_cost(self.model.speak(request, hear).await, self.price)
    }

    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let price = self.price;
        let pieces = self.model.stream(request).await.map_err(|error| failed_with_cost(error, price))?;
        let priced = pieces.map(move |piece| match piece {
            Ok(Chunk::End(answer)) => with_cost(Ok(answer), price).map(Chunk::End),
            Ok(piece) => Ok(piece),
            Err(error) => Err(failed_with_cost(error, price)),
        });
        Ok(priced.boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Reserve;

    fn prices(configured: &str) -> Prices {
        Prices::new(&toml::from_str(configured).unwrap()).unwrap()
    }

    fn price(name: &str) -> Option<Price> {
        prices("").find(&name.parse().unwrap(), true)
    }

    #[test]
    fn the_list_has_sensible_prices_of_every_model_that_is_chosen_by_itself() {
        let prices = prices("");
        for listed in prices.listed.values().flat_map(BTreeMap::values) {
            assert!(listed.is_sensible() && listed.cached.unwrap() <= listed.input, "{listed:?}");
        }
        for (provider, model) in super::super::router::DEFAULTS {
            assert!(price(&format!("{provider}/{model}")).is_some(), "{provider}/{model}");
        }
    }

    #[test]
    fn a_dated_edition_costs_what_its_model_costs_and_another_model_does_not() {
        assert_eq!(price("openai/gpt-5-2025-08-07"), price("openai/gpt-5"));
        assert_eq!(price("anthropic/claude-haiku-4-5-20251001"), price("anthropic/claude-haiku-4-5"));
        assert_eq!(price("openai/gpt-5-ultra"), None);
        assert_eq!(price("nobody/gpt-5"), None);
        assert_eq!(prices("").find(&"openai/gpt-5".parse().unwrap(), false), None);
    }

    #[test]
    fn cached_tokens_cost_less_and_long_prompts_more() {
        let price = price("anthropic/claude-sonnet-4-5").unwrap();
        let usage = |input_tokens, cached_tokens| Usage {
            input_tokens,
            cached_tokens,
            output_tokens: 1000,
            ..Usage::default()
        };
        assert_eq!(price.of(&usage(10_000, 0)), Usd::from_dollars(0.03 + 0.015).unwrap());
        assert_eq!(price.of(&usage(10_000, 9_000)), Usd::from_dollars(0.003 + 0.0027 + 0.015).unwrap());
        assert_eq!(price.of(&usage(300_000, 0)), Usd::from_dollars(1.8 + 0.0225).unwrap());
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        let own = prices("\"openai/gpt-5\" = { input = 7, output = 8 }");
        assert_eq!(own.find(&"openai/gpt-5".parse().unwrap(), false).unwrap().input, 7.0);
        let wrong: BTreeMap<ModelName, Price> =
            toml::from_str("\"a/b\" = { input = -1, output = 8 }").unwrap();
        assert!(Prices::new(&wrong).unwrap_err().to_string().contains("a/b"));
    }

    /// A model that reckons for itself.
    struct Own(ModelName);

    #[async_trait]
    impl Model for Own {
        fn name(&self) -> &ModelName {
            &self.0
        }

        fn reserve(&self, _: &Request) -> Option<Reserve> {
            Some(Reserve { tokens: 7, ..Reserve::default() })
        }

        fn window(&self) -> Option<u64> {
            Some(1_000)
        }

        fn tokens(&self, bytes: u64) -> u64 {
            bytes * 9
        }

        fn is_calibrated(&self) -> bool {
            true
        }

        async fn generate(&self, _: Request) -> Result<Answer, super::super::ModelError> {
            Err(super::super::ModelError::NotConfigured("nobody asks it".to_owned()))
        }

        async fn stream(
            &self,
            request: Request,
        ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
            Err(self.generate(request).await.unwrap_err())
        }
    }

    #[test]
    fn what_a_model_reckons_for_itself_counts_behind_its_price_and_its_breaker() {
        let own = || Arc::new(Own("a/own".parse().unwrap())) as Arc<dyn Model>;
        let breakers = super::super::breaker::Breakers::new(super::super::BreakerConfig::default());
        let wrapped: [Box<dyn Model>; 2] =
            [Box::new(Priced::new(own(), None)), Box::new(breakers.guard(own()))];
        for model in wrapped {
            let reserve = model.reserve(&Request::new(super::super::Role::Chat, "g", "", "hi"));
            assert_eq!(reserve.map(|reserve| reserve.tokens), Some(7));
            assert_eq!((model.tokens(10), model.window()), (90, Some(1_000)));
            assert!(model.is_calibrated());
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_price_says_so() {
        let model = |price| {
            let script = r#"{"rules":[{"reply":{"text":"hello you"}}]}"#;
            Priced::new(Arc::new(super::super::Scripted::parse("m", script).unwrap()), price)
        };
        let request = || Request::new(super::super::Role::Chat, "g", "", "hi");
        let unknown = model(None).generate(request()).await.unwrap().usage;
        assert_eq!((unknown.unpriced_calls, unknown.cost_usd), (1, Usd::default()));
        let known = model(Some(Price { output: 1.0, ..Price::NOTHING }));
        let mut pieces = known.stream(request()).await.unwrap();
        let mut last = None;
        while let Some(piece) = pieces.next().await {
            last = Some(piece.unwrap());
        }
        let Some(Chunk::End(answer)) = last else { panic!("no end") };
        assert_eq!((answer.usage.unpriced_calls, answer.usage.cost_usd), (0, Usd::from_nanos(3_000)));
    }
}
