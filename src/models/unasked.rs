//! A model that is only looked at: whoever wants to know what it would be told needs no key for it.

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::{Answer, Chunk, Model, ModelError, Request};
use crate::task::ModelName;

/// A model by its name alone.
pub(super) struct Unasked(pub(super) ModelName);

impl Unasked {
    fn refused(&self) -> ModelError {
        ModelError::NotConfigured(format!("{} is looked at and not asked", self.0))
    }
}

#[async_trait]
impl Model for Unasked {
    fn name(&self) -> &ModelName {
        &self.0
    }

    async fn generate(&self, _: Request) -> Result<Answer, ModelError> {
        Err(self.refused())
    }

    async fn stream(&self, _: Request) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        Err(self.refused())
    }
}
