//! A simple answer: streamed from a model to the client, and kept in the thread.
//!
//! ```text
//! question ─▶ model turn ─▶ tools that only read ─▶ model turn ─▶ … ─▶ kept
//!                  └─ grows, or wants to change something ─▶ task, on the same stream
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::super::error::model_message;
use super::super::state::AppState;
use super::super::ui_stream::UiChunk;
use super::answer_frames::AnswerFrames;
use super::history::read_part;
use super::live::{AFTERGLOW, Saying};
use super::message_id;
use super::place;
use super::request::{ToolChoice, Turn};
use super::turns::Work;
use crate::models::{Message as ModelMessage, Model, ModelError, Picture};
use crate::orchestrator::{OrchestratorError, Window};
use crate::repository::{Message, RepositoryError};
use crate::task::{Budget, ModelName, Priority, Taint, TaskId, ToolAllowance};

/// The part of a stored message that says that its answer is being given.
pub(super) const ANSWERING: &str = "data-answering";

/// What is answered, and how. It is kept with the answer while that is being given: if the process
/// is lost meanwhile, another one can answer in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question {
    /// The id of the message.
    pub(super) message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chat_model: Option<ModelName>,
    #[serde(default)]
    pub(super) tool_choice: ToolChoice,
    #[serde(default)]
    pub(super) tools: ToolAllowance,
    #[serde(default)]
    pub(super) priority: Priority,
    #[serde(default)]
    pub(super) budget: Budget,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) preset: Option<String>,
    /// What the message says from now on, if it is answered anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) anew: Option<Vec<Value>>,
    /// The process that answers.
    #[serde(default)]
    pub(super) by: String,
}

impl Question {
    pub(super) fn of(state: &AppState, turn: &Turn) -> Self {
        Self {
            message_id: turn.message_id.clone(),
            chat_model: turn.model.clone(),
            tool_choice: turn.tool_choice,
            tools: turn.tools.clone(),
            priority: turn.priority,
            budget: turn.budget,
            preset: turn.preset.clone(),
            anew: turn.is_anew.then(|| turn.parts.clone()),
            by: state.worker.snapshot().name,
        }
    }

    /// The parts of an answer that is about to be given.
    pub(super) fn marked(&self) -> Value {
        json!([{"type": ANSWERING, "data": self}])
    }
}

/// An answer that is to be given.
pub(super) struct Answering {
    pub(super) state: AppState,
    pub(super) model: Arc<dyn Model>,
    pub(super) id: TaskId,
    pub(super) user_id: String,
    pub(super) thread_id: String,
    pub(super) question: Question,
    /// The room that the model has.
    pub(super) window: Window,
    /// What was said before.
    pub(super) history: Vec<ModelMessage>,
    /// What was read for that.
    pub(super) read: Taint,
    /// What is to be answered.
    pub(super) text: String,
    /// What is in the files that go with it.
    pub(super) files: String,
    /// What is shown with it.
    pub(super) pictures: Vec<Picture>,
}

/// How an answer ended before its end.
pub(super) enum Cut {
    Model(ModelError),
    Engine(OrchestratorError),
    /// Nobody reads it any more, or the client said stop.
    Client,
    /// The message is answered anew by now.
    Anew,
    Shutdown,
    /// It could not go on for another reason.
    Panic,
}

impl Answering {
    /// Begins to answer, and returns the chunks; of the task that it may become, with its words.
    ///
    /// A task of its own gives the answer, so that what was said is kept in the thread even if
    /// nobody is left to read it. The stream ends only after the answer is kept. That task stores the
    /// mark as well: the request may be dropped at any moment, and what is known has to have a giver.
    pub(super) async fn begin(
        self,
        words: bool,
    ) -> Result<impl Stream<Item = UiChunk> + Send + use<>, RepositoryError> {
        let (question, text) = (self.question.message_id.clone(), self.text.clone());
        let saying = Saying::new(self.id, self.user_id.clone(), self.thread_id.clone(), question, text);
        // Known before it is stored: whoever sees it may stop it.
        let saying = self.state.answers.begin(saying);
        // Somebody reads before anything is said: nobody reading ends the answer.
        let chunks = saying.chunks(self.state.clone(), 0, words);
        let (begun, is_begun) = oneshot::channel();
        tokio::spawn(self.begin_and_give(saying, begun));
        let broken = || RepositoryError::from(io::Error::other("the answer could not be begun"));
        is_begun.await.unwrap_or_else(|_| Err(broken())).map(|()| chunks)
    }

    /// Marks in the thread that the answer is being given, and gives it.
    async fn begin_and_give(self, saying: Arc<Saying>, begun: oneshot::Sender<Result<(), RepositoryError>>) {
        let marked = self.message(self.question.marked(), None);
        let put = place::put(&self.state, &marked, self.question.anew.is_some()).await;
        let is_put = put.is_ok();
        // Whether anybody waits for that still is no matter of the answer.
        let _ = begun.send(put);
        if is_put {
            return self.give(saying).await;
        }
        self.state.answers.remove(self.id);
        saying.end();
    }

    async fn give(self, saying: Arc<Saying>) {
        let mut work = Work::behind(self.read.clone());
        // A reader must not wait for ever for an answer whose giver is gone.
        let given = std::panic::AssertUnwindSafe(self.give_or_cut(&saying, &mut work)).catch_unwind().await;
        if let Err(cut) = given.unwrap_or(Err(Cut::Panic)) {
            self.end(&saying, &mut work, Some(cut)).await;
        }
        tokio::time::sleep(AFTERGLOW).await;
        self.state.answers.remove(self.id);
    }

    async fn give_or_cut(&self, saying: &Saying, work: &mut Work) -> Result<(), Cut> {
        saying.say(AnswerFrames::begin(&message_id(self.id)));
        let patience = Duration::from_millis(self.state.config.chat.return_ms);
        let grown = tokio::select! {
            turns = self.turns(saying, work) => turns?,
            () = saying.abandoned(patience) => return Err(Cut::Client),
            () = saying.gives_way() => return Err(Cut::Anew),
            () = saying.stop.cancelled() => return Err(Cut::Client),
            () = self.state.shutdown.cancelled() => return Err(Cut::Shutdown),
        };
        match grown {
            Some(reason) => {
                let task = self.promote(saying, work, reason).await?;
                saying.becomes(task);
            }
            None => self.end(saying, work, None).await,
        }
        Ok(())
    }

    /// Keeps what was said, and says that it is all.
    async fn end(&self, saying: &Saying, work: &mut Work, cut: Option<Cut>) {
        let has_place = cut.as_ref().is_none_or(|cut| cut.leaves_an_answer(work));
        let error = cut.map(Cut::described);
        let mut parts = work.frames.kept().to_vec();
        parts.extend(error.as_ref().map(|error| json!({"type": "data-error", "data": error})));
        parts.extend(read_part(&work.taint));
        let answer = self.message(Value::Array(parts), None);
        let kept = match has_place {
            true => self.keep(&answer).await,
            false => place::put(&self.state, &answer, self.question.anew.is_some()).await,
        };
        if let Err(error) = kept {
            tracing::error!(thread = %self.thread_id, %error, "an answer cannot be kept");
        }
        let message = error.and_then(|error| error["message"].as_str().map(str::to_owned));
        saying.say(work.frames.end(message));
        saying.end();
    }

    /// The answer as a message of the thread.
    pub(super) fn message(&self, parts: Value, task_id: Option<TaskId>) -> Message {
        place::answer(&self.state, &self.thread_id, self.id, parts, task_id)
    }

    /// Stores the answer at its place: where the message was answered anew, that of what followed it.
    pub(super) async fn keep(&self, answer: &Message) -> Result<(), RepositoryError> {
        let repository = self.state.repository();
        let Some(parts) = &self.question.anew else { return repository.put_message(answer).await };
        let question = Message {
            id: self.question.message_id.clone(),
            role: "user".to_owned(),
            parts: Value::Array(parts.clone()),
            ..answer.clone()
        };
        repository.conversations().answer_anew(&question, answer).await.map(drop)
    }
}

impl Cut {
    /// Whether what was said until then is an answer: whoever stopped it has seen it.
    fn leaves_an_answer(&self, work: &Work) -> bool {
        matches!(self, Self::Client) && !work.frames.kept().is_empty()
    }

    fn described(self) -> Value {
        match self {
            Self::Model(error) => {
                tracing::warn!(%error, code = error.code(), "an answer was cut");
                json!({"code": error.code(), "message": model_message(&error)})
            }
            Self::Engine(error) => {
                tracing::warn!(%error, code = error.code(), "an answer could not become a task");
                json!({"code": error.code(), "message": error.to_string()})
            }
            Self::Client | Self::Anew => json!({"code": "stopped", "message": "stopped by the client"}),
            Self::Shutdown => {
                json!({"code": "shutdown", "message": "the server is shutting down: ask again"})
            }
            Self::Panic => {
                json!({"code": "internal", "message": "something went wrong inside: the log has the details"})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::time::Duration;

    use async_trait::async_trait;
    use futures::StreamExt;
    use futures::stream::{self, BoxStream};
    use uuid::Uuid;

    use super::super::super::fixture::{Fixture, USER};
    use super::super::super::{Access, ChatConfig, ServerConfig};
    use super::*;
    use crate::models::{Answer, Chunk, Request};

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

    async fn fixture(return_ms: u64) -> Fixture {
        let chat = ChatConfig { return_ms, ..ChatConfig::default() };
        let config = ServerConfig { chat, ..ServerConfig::default() };
        let fixture = Fixture::with(Access::new(None, None), config, json!([])).await;
        fixture.repository().open_thread("t", USER, "title").await.unwrap();
        fixture
    }

    fn answering(fixture: &Fixture) -> Answering {
        Answering {
            state: fixture.state.clone(),
            model: Arc::new(Hanging("test/hanging".parse().unwrap())),
            id: TaskId(Uuid::now_v7()),
            user_id: USER.into(),
            thread_id: "t".into(),
            question: Question {
                message_id: "m".into(),
                chat_model: None,
                tool_choice: ToolChoice::Auto,
                tools: ToolAllowance::default(),
                priority: Priority::default(),
                budget: Budget::default(),
                preset: None,
                anew: None,
                by: String::new(),
            },
            window: fixture.orchestrator.chat_window(&Hanging("test/hanging".parse().unwrap())),
            history: Vec::new(),
            read: Taint::default(),
            text: "?".into(),
            files: String::new(),
            pictures: Vec::new(),
        }
    }

    async fn kept(fixture: &Fixture) -> Value {
        loop {
            let messages = fixture.repository().messages("t", 10).await.unwrap();
            assert_eq!(messages.len(), 1);
            if messages[0].parts[0]["type"] != ANSWERING {
                return messages[0].parts.clone();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_it_speaks(chunks: &mut (impl Stream<Item = UiChunk> + Unpin)) {
        while !matches!(chunks.next().await.unwrap(), UiChunk::TextDelta { .. }) {}
    }

    #[tokio::test]
    async fn what_was_said_before_the_client_left_is_kept() {
        let fixture = fixture(0).await;
        let mut chunks = Box::pin(answering(&fixture).begin(false).await.unwrap());
        until_it_speaks(&mut chunks).await;
        drop(chunks);
        let kept = kept(&fixture).await;
        assert_eq!(kept[0], json!({"type": "text", "text": "Well"}));
        assert_eq!(kept[1]["data"]["code"], "stopped");
    }

    /// Answers the only message of the thread anew, until it has said a word.
    async fn until_it_speaks_anew(fixture: &Fixture) -> Pin<Box<impl Stream<Item = UiChunk>>> {
        let mut answering = answering(fixture);
        let old = place::answer(&fixture.state, "t", answering.id, json!([]), None);
        let old = Message { id: "m".into(), role: "user".into(), ..old };
        fixture.repository().put_message(&old).await.unwrap();
        answering.question.anew = Some(vec![json!({"type": "text", "text": "?"})]);
        let mut chunks = Box::pin(answering.begin(false).await.unwrap());
        until_it_speaks(&mut chunks).await;
        chunks
    }

    #[tokio::test]
    async fn an_answer_given_anew_keeps_what_its_reader_has_seen_when_it_is_stopped() {
        let fixture = fixture(3_600_000).await;
        let chunks = until_it_speaks_anew(&fixture).await;
        let said = fixture.repository().messages("t", 10).await.unwrap();
        assert_eq!(said.iter().map(|message| &message.parts).collect::<Vec<_>>(), [&json!([])]);
        fixture.state.answers.in_thread("t").unwrap().stop.cancel();
        chunks.collect::<Vec<_>>().await;
        let said = fixture.repository().messages("t", 10).await.unwrap();
        assert_eq!((said.len(), &said[0].parts[0]["text"]), (2, &json!("?")), "{said:?}");
        assert_eq!(
            (&said[1].parts[0]["text"], &said[1].parts[1]["data"]["code"]),
            (&json!("Well"), &json!("stopped"))
        );
    }

    #[tokio::test]
    async fn an_answer_gives_way_to_the_next_one_and_takes_no_place() {
        let fixture = fixture(3_600_000).await;
        let chunks = until_it_speaks_anew(&fixture).await;
        fixture.state.answers.in_thread("t").unwrap().give_way();
        chunks.collect::<Vec<_>>().await;
        let said = fixture.repository().messages("t", 10).await.unwrap();
        assert_eq!((said.len(), &said[0].parts), (1, &json!([])), "{said:?}");
    }

    #[tokio::test]
    async fn a_client_that_comes_back_in_time_hears_the_whole_answer() {
        let fixture = fixture(3_600_000).await;
        let answering = answering(&fixture);
        let id = answering.id;
        let mut first = Box::pin(answering.begin(false).await.unwrap());
        until_it_speaks(&mut first).await;
        drop(first);
        let saying = fixture.state.answers.in_thread("t").unwrap();
        assert_eq!(saying.id, id);
        let mut again = Box::pin(saying.chunks(fixture.state.clone(), 0, false));
        assert!(matches!(again.next().await.unwrap(), UiChunk::Start { .. }));
        let mut rest = Box::pin(saying.chunks(fixture.state.clone(), 3, false));
        assert!(matches!(rest.next().await.unwrap(), UiChunk::TextDelta { .. }));
        saying.stop.cancel();
        assert_eq!(again.collect::<Vec<_>>().await.len(), 5 + 2, "what was said, and the end");
        assert_eq!(kept(&fixture).await[1]["data"]["code"], "stopped");
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_while_it_is_stored_leaves_no_answer_without_a_giver() {
        let fixture = fixture(0).await;
        let begun = answering(&fixture).begin(false).now_or_never();
        assert!(begun.is_none(), "the thread was not written to yet");
        let over = async {
            while fixture.state.answers.in_thread("t").is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), over).await.expect("nobody ends the answer");
        let kept = kept(&fixture).await;
        assert_eq!(
            kept.as_array().and_then(|parts| parts.last()).unwrap()["data"]["code"],
            "stopped",
            "{kept}"
        );
    }

    #[tokio::test]
    async fn a_shutdown_ends_an_answer_with_an_error() {
        let fixture = fixture(0).await;
        let mut chunks = Box::pin(answering(&fixture).begin(false).await.unwrap());
        until_it_speaks(&mut chunks).await;
        fixture.shutdown.cancel();
        let rest: Vec<UiChunk> = chunks.collect().await;
        assert!(matches!(
            rest[..],
            [UiChunk::TextEnd { .. }, UiChunk::FinishStep, UiChunk::Error { .. }, UiChunk::Finish]
        ));
        assert_eq!(kept(&fixture).await[1]["data"]["code"], "shutdown");
    }
}
