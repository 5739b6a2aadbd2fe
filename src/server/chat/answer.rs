//! A simple answer: streamed from a model to the client, and kept in the thread.

use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::error::model_message;
use super::super::state::AppState;
use super::super::ui_stream::UiChunk;
use super::answer_frames::AnswerFrames;
use crate::models::{Message as ModelMessage, Model, ModelError, Request, Role};
use crate::repository::Message;

/// What the model is told about itself.
const INSTRUCTIONS: &str = include_str!("../prompts/chat.md");

/// Chunks that may wait for a slow client, before the model has to.
const WAITING: usize = 64;

/// An answer that is to be given.
pub(super) struct Answering {
    pub(super) state: AppState,
    pub(super) model: std::sync::Arc<dyn Model>,
    pub(super) thread_id: String,
    /// What was said before.
    pub(super) history: Vec<ModelMessage>,
    /// What is to be answered.
    pub(super) text: String,
}

/// How an answer ended before its end.
enum Cut {
    Model(ModelError),
    /// The client went away, which is how it says stop.
    Client,
    Shutdown,
}

impl Answering {
    /// The chunks of the answer.
    ///
    /// A task of its own gives the answer, so that what was said is kept in the thread even if
    /// nobody is left to read it. The stream ends only after the answer is kept.
    pub(super) fn chunks(self) -> impl Stream<Item = UiChunk> + Send {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(self.give(sender));
        stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
    }

    async fn give(self, client: mpsc::Sender<UiChunk>) {
        let message_id = format!("msg-{}", Uuid::now_v7());
        let mut frames = AnswerFrames::default();
        let outcome = tokio::select! {
            outcome = self.pump(&message_id, &client, &mut frames) => outcome,
            () = client.closed() => Err(Cut::Client),
            () = self.state.shutdown.cancelled() => Err(Cut::Shutdown),
        };
        let error = outcome.err().map(|cut| cut.described());
        self.keep(message_id, frames.text(), error.as_ref()).await;
        let message = error.and_then(|error| error["message"].as_str().map(str::to_owned));
        for chunk in frames.end(message) {
            // Nobody is left to read it: it is kept.
            let _ = client.send(chunk).await;
        }
    }

    async fn pump(
        &self,
        message_id: &str,
        client: &mpsc::Sender<UiChunk>,
        frames: &mut AnswerFrames,
    ) -> Result<(), Cut> {
        for chunk in AnswerFrames::begin(message_id) {
            client.send(chunk).await.map_err(|_| Cut::Client)?;
        }
        let mut pieces = self.model.stream(self.request()).await.map_err(Cut::Model)?;
        while let Some(piece) = pieces.next().await {
            for chunk in frames.frames(&piece.map_err(Cut::Model)?) {
                client.send(chunk).await.map_err(|_| Cut::Client)?;
            }
        }
        Ok(())
    }

    fn request(&self) -> Request {
        let mut request = Request::new(Role::Chat, &self.text, INSTRUCTIONS, &self.text);
        request.messages.splice(0..0, self.history.iter().cloned());
        request
    }

    /// Stores what was said, and why it ends if it was cut.
    async fn keep(&self, id: String, text: &str, error: Option<&Value>) {
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(json!({"type": "text", "text": text}));
        }
        parts.extend(error.map(|error| json!({"type": "data-error", "data": error})));
        let message = Message {
            id,
            thread_id: self.thread_id.clone(),
            role: "assistant".to_owned(),
            parts: Value::Array(parts),
            task_id: None,
            created_at: self.state.orchestrator.now(),
        };
        if let Err(error) = self.state.repository().put_message(&message).await {
            tracing::error!(thread = %self.thread_id, %error, "an answer cannot be kept");
        }
    }
}

impl Cut {
    fn described(self) -> Value {
        match self {
            Self::Model(error) => {
                tracing::warn!(%error, code = error.code(), "an answer was cut");
                json!({"code": error.code(), "message": model_message(&error)})
            }
            Self::Client => json!({"code": "stopped", "message": "stopped by the client"}),
            Self::Shutdown => {
                json!({"code": "shutdown", "message": "the server is shutting down: ask again"})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures::stream::BoxStream;

    use super::super::super::fixture::{Fixture, USER};
    use super::*;
    use crate::models::{Answer, Chunk};
    use crate::task::ModelName;

    /// Says one word and then nothing more, without ever ending.
    struct Hanging(ModelName);

    #[async_trait]
    impl Model for Hanging {
        fn name(&self) -> &ModelName {
            &self.0
        }

        async fn generate(&self, _: Request) -> Result<Answer, ModelError> {
            std::future::pending().await
        }

        async fn stream(
            &self,
            _: Request,
        ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
            let word = stream::iter([Ok(Chunk::Text("Well".to_owned()))]);
            Ok(word.chain(stream::pending()).boxed())
        }
    }

    async fn answering(fixture: &Fixture) -> Answering {
        fixture.repository().open_thread("t", USER, "title").await.unwrap();
        Answering {
            state: fixture.state.clone(),
            model: Arc::new(Hanging("test/hanging".parse().unwrap())),
            thread_id: "t".into(),
            history: Vec::new(),
            text: "?".into(),
        }
    }

    async fn kept(fixture: &Fixture) -> Value {
        let mut messages = fixture.repository().messages("t", 10).await.unwrap();
        assert_eq!(messages.len(), 1);
        messages.remove(0).parts
    }

    #[tokio::test]
    async fn what_was_said_before_the_client_left_is_kept() {
        let fixture = Fixture::new().await;
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let client = async {
            while !matches!(receiver.recv().await.unwrap(), UiChunk::TextDelta { .. }) {}
            drop(receiver);
        };
        tokio::join!(answering(&fixture).await.give(sender), client);
        let kept = kept(&fixture).await;
        assert_eq!(kept[0], json!({"type": "text", "text": "Well"}));
        assert_eq!(kept[1]["data"]["code"], "stopped");
    }

    #[tokio::test]
    async fn a_shutdown_ends_an_answer_with_an_error() {
        let fixture = Fixture::new().await;
        let mut chunks = Box::pin(answering(&fixture).await.chunks());
        while !matches!(chunks.next().await.unwrap(), UiChunk::TextDelta { .. }) {}
        fixture.shutdown.cancel();
        let rest: Vec<UiChunk> = chunks.collect().await;
        assert!(matches!(
            rest[..],
            [UiChunk::TextEnd { .. }, UiChunk::FinishStep, UiChunk::Error { .. }, UiChunk::Finish]
        ));
        assert_eq!(kept(&fixture).await[1]["data"]["code"], "shutdown");
    }
}
