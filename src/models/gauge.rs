//! How many tokens a text is: bytes by a ratio that is learnt from what providers report.
//!
//! No tokenizer is public for most models, and the library that counts those of OpenAI without a flaw
//! weighs as much as this program (docs/context.md). A ratio is all that a window needs, as long as it errs on the safe side: it starts low, follows a
//! prompt that had more tokens at once, and one that had fewer only slowly.
//!
//! A provider that finds a prompt too long has a smaller window than was said: from then on the model has
//! less room than that prompt took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::task::ModelName;

use super::{Answer, Chunk, Hear, Model, ModelError, Request};

/// Tokens per 1,000 bytes before a model was heard of: English prose has about 230, code and JSON up
/// to 330.
const START: u64 = 340;

/// What no text is: a token has at least one byte, and hardly more than eight.
const BOUNDS: (u64, u64) = (125, 1000);

/// Shorter prompts say more about what a provider adds to each call than about its tokenizer.
const SHORT_BYTES: u64 = 2048;

/// What is added to what was measured, in percent: the next text may be denser than the last.
const MARGIN_PERCENT: u64 = 5;

/// What a model is believed to have room for, in percent of a prompt that was too long for it: the prompt
/// was reckoned and not counted, and the answer has to fit in as well.
const LEFT_PERCENT: u64 = 75;

/// No window is believed to be smaller than this because of what a provider said: an error that only
/// sounds like it must not make a model useless.
const LEAST_WINDOW: u64 = 4096;

/// About how many tokens so many bytes are for a model that nobody has asked yet.
pub(super) fn first_guess(bytes: u64) -> u64 {
    at(START, bytes)
}

fn at(per_thousand: u64, bytes: u64) -> u64 {
    bytes.saturating_mul(per_thousand).div_ceil(1000)
}

/// What was learnt of one model.
#[derive(Debug, Clone, Copy)]
struct Learnt {
    /// Tokens per 1,000 bytes.
    ratio: u64,
    /// Whether its provider has reported any.
    is_heard: bool,
    /// Tokens that it has room for, if it was found to have less than was said.
    window: Option<u64>,
}

impl Default for Learnt {
    fn default() -> Self {
        Self { ratio: START, is_heard: false, window: None }
    }
}

/// What was learnt of all models of this process. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges(Arc<Mutex<BTreeMap<ModelName, Learnt>>>);

impl Gauges {
    fn of(&self, model: &ModelName) -> Learnt {
        // Whole after a panic elsewhere: every change is one call.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(model).copied().unwrap_or_default()
    }

    fn per_thousand(&self, model: &ModelName) -> u64 {
        self.of(model).ratio
    }

    fn learn(&self, model: &ModelName, bytes: u64, tokens: u64) {
        if bytes < SHORT_BYTES || tokens == 0 {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = known.entry(model.clone()).or_default();
        learnt.ratio = next(learnt.ratio, bytes, tokens);
        learnt.is_heard = true;
    }

    /// A prompt of so many bytes did not fit, if that is what the error says.
    fn heed(&self, model: &ModelName, bytes: u64, error: &ModelError) {
        if !matches!(error.why(), ModelError::ContextOverflow { .. }) {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = known.entry(model.clone()).or_default();
        let left = (at(learnt.ratio, bytes) * LEFT_PERCENT / 100).max(LEAST_WINDOW);
        learnt.window = Some(learnt.window.map_or(left, |window| window.min(left)));
        tracing::warn!(%model, bytes, window = learnt.window, "a prompt was too long: the model has less room than was said");
    }
}

/// The ratio after a prompt of so many bytes turned out to have so many tokens.
fn next(ratio: u64, bytes: u64, tokens: u64) -> u64 {
    let seen = tokens.saturating_mul(1000).div_ceil(bytes.max(1));
    let seen = (seen + seen * MARGIN_PERCENT / 100).clamp(BOUNDS.0, BOUNDS.1);
    if seen >= ratio { seen } else { ratio - (ratio - seen).div_ceil(8) }
}

/// A model that knows its window, and learns how many tokens its prompts have.
pub(super) struct Gauged {
    model: Arc<dyn Model>,
    window: Option<u64>,
    gauges: Gauges,
}

impl Gauged {
    pub(super) fn new(model: Arc<dyn Model>, window: Option<u64>, gauges: Gauges) -> Self {
        Self { model, window, gauges }
    }
}

#[async_trait]
impl Model for Gauged {
    fn name(&self) -> &ModelName {
        self.model.name()
    }

    fn behind(&self) -> Option<&dyn Model> {
        Some(self.model.as_ref())
    }

    fn window(&self) -> Option<u64> {
        let told = self.window.or_else(|| self.model.window());
        let found = self.gauges.of(self.name()).window;
        told.into_iter().chain(found).min()
    }

    fn tokens(&self, bytes: u64) -> u64 {
        at(self.gauges.per_thousand(self.name()), bytes)
    }

    fn is_calibrated(&self) -> bool {
        self.gauges.of(self.name()).is_heard
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        let bytes = request.bytes();
        let answer = self.model.generate(request).await;
        let answer = answer.inspect_err(|error| self.gauges.heed(self.name(), bytes, error))?;
        self.gauges.learn(self.name(), bytes, answer.usage.input_tokens);
        Ok(answer)
    }

    async fn speak(&self, request: Request, hear: Hear<'_>) -> Result<Answer, ModelError> {
        let bytes = request.bytes();
        let answer = self.model.speak(request, hear).await;
        let answer = answer.inspect_err(|error| self.gauges.heed(self.name(), bytes, error))?;
        self.gauges.learn(self.name(), bytes, answer.usage.input_tokens);
        Ok(answer)
    }

    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let (bytes, name, gauges) = (request.bytes(), self.name().clone(), self.gauges.clone());
        let pieces = self.model.stream(request).await;
        let pieces = pieces.inspect_err(|error| gauges.heed(&name, bytes, error))?;
        let heard = pieces.inspect(move |piece| match piece {
            Ok(Chunk::End(answer)) => gauges.learn(&name, bytes, answer.usage.input_tokens),
            Err(error) => gauges.heed(&name, bytes, error),
            Ok(_) => {}
        });
        Ok(heard.boxed())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dense_text_is_believed_at_once_and_a_light_one_slowly() {
        assert_eq!(next(340, 10_000, 5_000), 525);
        let lighter = next(525, 10_000, 2_000);
        assert!((480..525).contains(&lighter), "{lighter}");
        let settled = (0..100).fold(525, |ratio, _| next(ratio, 10_000, 2_000));
        assert_eq!(settled, 210, "what was seen, and a twentieth");
    }

    #[test]
    fn short_prompts_and_providers_that_report_nothing_teach_nothing() {
        let (gauges, model) = (Gauges::default(), "scripted/x".parse().unwrap());
        gauges.learn(&model, 100, 90);
        gauges.learn(&model, 100_000, 0);
        assert_eq!((gauges.per_thousand(&model), gauges.of(&model).is_heard), (START, false));
        gauges.learn(&model, 4_000, 4_000);
        assert_eq!((gauges.per_thousand(&model), gauges.of(&model).is_heard), (BOUNDS.1, true));
    }

    #[test]
    fn a_prompt_that_was_too_long_teaches_a_smaller_window_and_none_that_is_useless() {
        let (gauges, model) = (Gauges::default(), "scripted/x".parse().unwrap());
        let too_long =
            || ModelError::ContextOverflow { model: "scripted/x".to_owned(), detail: String::new() };
        gauges.heed(&model, 100_000, &ModelError::NotConfigured("something else".to_owned()));
        assert_eq!(gauges.of(&model).window, None);
        gauges.heed(&model, 100_000, &too_long());
        assert_eq!(gauges.of(&model).window, Some(25_500), "three quarters of 34,000");
        gauges.heed(&model, 200_000, &too_long());
        assert_eq!(gauges.of(&model).window, Some(25_500), "a longer one says nothing new");
        let broken_off = ModelError::BrokenOff { partial: "So".to_owned(), why: Box::new(too_long()) };
        gauges.heed(&model, 50_000, &broken_off);
        assert_eq!(gauges.of(&model).window, Some(12_750));
        gauges.heed(&model, 10, &too_long());
        assert_eq!(gauges.of(&model).window, Some(LEAST_WINDOW));
    }

    proptest! {
        #[test]
        fn a_text_like_the_last_is_never_underestimated(
            seen in prop::collection::vec((2_048_u64..1_000_000, 125_u64..=950), 1..40),
        ) {
            let mut ratio = START;
            for (bytes, density) in seen {
                let tokens = bytes * density / 1000;
                ratio = next(ratio, bytes, tokens);
                prop_assert!(at(ratio, bytes) >= tokens, "{ratio} {bytes} {tokens}");
            }
        }
    }
}
