//! How many tokens a text is: bytes by a ratio that is learnt from what providers report.
//!
//! No tokenizer is public for most models, and the ones that are weigh more than this program. A
//! ratio is all that a window needs, as long as it errs on the safe side: it starts low, follows a
//! prompt that had more tokens at once, and one that had fewer only slowly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::task::{ModelName, Usage, Usd};

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

/// About how many tokens so many bytes are for a model that nobody has asked yet.
pub(super) fn first_guess(bytes: u64) -> u64 {
    at(START, bytes)
}

fn at(per_thousand: u64, bytes: u64) -> u64 {
    bytes.saturating_mul(per_thousand).div_ceil(1000)
}

/// What was learnt of all models of this process. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges(Arc<Mutex<BTreeMap<ModelName, u64>>>);

impl Gauges {
    fn per_thousand(&self, model: &ModelName) -> u64 {
        // Whole after a panic elsewhere: every change is one call.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(model).copied().unwrap_or(START)
    }

    fn learn(&self, model: &ModelName, bytes: u64, tokens: u64) {
        if bytes < SHORT_BYTES || tokens == 0 {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ratio = known.entry(model.clone()).or_insert(START);
        *ratio = next(*ratio, bytes, tokens);
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

    fn cost(&self, usage: &Usage) -> Option<Usd> {
        self.model.cost(usage)
    }

    fn window(&self) -> Option<u64> {
        self.window.or_else(|| self.model.window())
    }

    fn tokens(&self, bytes: u64) -> u64 {
        at(self.gauges.per_thousand(self.name()), bytes)
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        let bytes = request.bytes();
        let answer = self.model.generate(request).await?;
        self.gauges.learn(self.name(), bytes, answer.usage.input_tokens);
        Ok(answer)
    }

    async fn speak(&self, request: Request, hear: Hear<'_>) -> Result<Answer, ModelError> {
        let bytes = request.bytes();
        let answer = self.model.speak(request, hear).await?;
        self.gauges.learn(self.name(), bytes, answer.usage.input_tokens);
        Ok(answer)
    }

    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let (bytes, name, gauges) = (request.bytes(), self.name().clone(), self.gauges.clone());
        let pieces = self.model.stream(request).await?;
        let heard = pieces.inspect(move |piece| {
            if let Ok(Chunk::End(answer)) = piece {
                gauges.learn(&name, bytes, answer.usage.input_tokens);
            }
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
        assert_eq!(gauges.per_thousand(&model), START);
        gauges.learn(&model, 4_000, 4_000);
        assert_eq!(gauges.per_thousand(&model), BOUNDS.1);
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
