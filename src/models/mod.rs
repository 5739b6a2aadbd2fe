//! The door to language models: one narrow trait, and behind it whoever answers.
//!
//! What is stored in the journal are our own types; the client library's types never leave
//! this room. [`Models`] knows which model answers for which [`Role`].

mod breaker;
mod call_ids;
mod client;
#[cfg(test)]
mod client_tests;
mod config;
mod deadline;
mod discovery;
mod error;
mod failure;
mod fallback;
mod gauge;
mod offline;
mod pieces;
mod price;
mod provider;
mod request;
mod role_models;
mod router;
mod scripted;
mod streaming;
mod thinking;
mod tool_text;
mod translate;
mod transport;
mod unasked;
mod windows;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::task::{ModelName, Reserve, Usage, Usd};

pub use breaker::BreakerConfig;
pub use config::{ModelsConfig, ProviderConfig, ProviderKind, Timeouts};
pub use error::ModelError;
pub use offline::Offline;
pub use price::Price;
pub use request::{Answer, Chunk, Hear, Heard, Message, PICTURE_BYTES, Picture, Request, Role, ToolSpec};
pub use role_models::RoleModels;
pub use router::{Models, Understudy};
pub use scripted::Scripted;
pub use thinking::{Thinking, Thought};

/// A language model, or something that stands in for one.
#[async_trait]
pub trait Model: Send + Sync {
    /// Its name, as it is recorded in the journal.
    fn name(&self) -> &ModelName;

    /// The model that answers behind this one, if this one adds something to it: that says whatever this one
    /// does not say.
    fn behind(&self) -> Option<&dyn Model> {
        None
    }

    /// What such a call costs; `None` if nobody told the price of this model.
    fn cost(&self, usage: &Usage) -> Option<Usd> {
        self.behind()?.cost(usage)
    }

    /// What such a call is to be charged with until it has ended; `None` leaves that to an estimate.
    fn reserve(&self, request: &Request) -> Option<Reserve> {
        self.behind()?.reserve(request)
    }

    /// How many tokens fit into one call, prompt and answer together; `None` if nobody told.
    fn window(&self) -> Option<u64> {
        self.behind()?.window()
    }

    /// About how many tokens a prompt of so many bytes has for this model: rather too many than
    /// too few.
    fn tokens(&self, bytes: u64) -> u64 {
        self.behind().map_or_else(|| gauge::first_guess(bytes), |model| model.tokens(bytes))
    }

    /// Whether that follows from what its provider reported, since this process began; until then it is a first
    /// guess.
    fn is_calibrated(&self) -> bool {
        self.behind().is_some_and(|model| model.is_calibrated())
    }

    /// Answers once, completely. Dropping the future cancels the call.
    async fn generate(&self, request: Request) -> Result<Answer, ModelError>;

    /// Answers piece by piece. The stream ends with [`Chunk::End`] or with an error, after
    /// which it yields nothing.
    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError>;

    /// Answers like [`Self::generate`], and lets somebody hear it meanwhile. What was heard of an
    /// answer that broke off is in the error.
    async fn speak(&self, request: Request, hear: Hear<'_>) -> Result<Answer, ModelError> {
        let mut pieces = self.stream(request).await?;
        let mut partial = String::new();
        let why = loop {
            match pieces.next().await {
                Some(Ok(Chunk::Text(text))) => {
                    hear(Heard::Text(&text));
                    partial.push_str(&text);
                }
                Some(Ok(Chunk::Reasoning(text))) => hear(Heard::Reasoning(&text)),
                Some(Ok(Chunk::End(answer))) => return Ok(answer),
                Some(Err(error)) => break error,
                None => {
                    let detail = "the stream ended before the answer did".to_owned();
                    break ModelError::Malformed { model: self.name().to_string(), detail };
                }
            }
        };
        match partial.is_empty() {
            true => Err(why),
            false => Err(ModelError::BrokenOff { partial, why: Box::new(why) }),
        }
    }
}
