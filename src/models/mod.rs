//! The door to language models: one narrow trait, and behind it whoever answers.
//!
//! What is stored in the journal are our own types; the client library's types never leave
//! this room.

mod error;
mod request;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::task::ModelName;

pub use error::ModelError;
pub use request::{Answer, Chunk, Message, Request, Role, ToolSpec};

/// A language model, or something that stands in for one.
#[async_trait]
pub trait Model: Send + Sync {
    /// Its name, as it is recorded in the journal.
    fn name(&self) -> &ModelName;

    /// Answers once, completely. Dropping the future cancels the call.
    async fn generate(&self, request: Request) -> Result<Answer, ModelError>;

    /// Answers piece by piece. The stream ends with [`Chunk::End`] or with an error, after
    /// which it yields nothing.
    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError>;
}
