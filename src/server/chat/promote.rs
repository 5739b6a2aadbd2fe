//! An answer that grew becomes a task: on the same stream and under the same message id.

use std::fmt::Write as _;

use super::answer::{Answering, Cut};
use super::live::Saying;
use super::task_frames::TaskFrames;
use super::turns::Work;
use crate::models::{Message as ModelMessage, Picture};
use crate::orchestrator::{Files, Grown, TaskRequest};
use crate::task::Task;

impl Answering {
    /// Makes the task. What was said is recorded with it, so that the stream over the task begins
    /// with exactly that, for whoever reads it and however often.
    pub(super) async fn promote(
        &self,
        saying: &Saying,
        work: &mut Work,
        reason: String,
    ) -> Result<Task, Cut> {
        saying.say(work.frames.close());
        let mut said = saying.said();
        said.extend(TaskFrames::promoted(self.id, &reason));
        let grown = Grown {
            request: self.with_its_model(),
            id: self.id,
            reason,
            before: self.before(),
            said: serde_json::to_value(&said).unwrap_or_default(),
            calls: std::mem::take(&mut work.calls),
        };
        let task = self.state.orchestrator.promote(grown).await.map_err(Cut::Engine)?;
        if let Err(error) = self.mention(&task, work).await {
            tracing::warn!(task = %task.id, %error, "the thread does not mention its task");
        }
        Ok(task)
    }

    /// The thread shows the task at the answer, and at the question: a client that repeats it
    /// because it heard nothing must not start the work twice.
    async fn mention(&self, task: &Task, work: &Work) -> Result<(), crate::repository::RepositoryError> {
        self.keep(&self.message(work.frames.kept().to_vec().into(), Some(task.id))).await?;
        if self.question.anew.is_some() {
            return Ok(());
        }
        let repository = self.state.repository();
        let said = repository.messages(&self.thread_id, super::history::LOOK_BACK).await?;
        let question = said.into_iter().find(|message| message.id == self.question.message_id);
        if let Some(mut question) = question {
            question.task_id = Some(task.id);
            repository.put_message(&question).await?;
        }
        Ok(())
    }

    /// The question as a request for a task that goes on with the model that has begun to answer, even
    /// where steps would be given to another one.
    fn with_its_model(&self) -> TaskRequest {
        let files = Files { shown: self.shown(), ..Files::default() };
        let mut request = TaskRequest { files, ..self.as_task() };
        let of_steps = self.state.orchestrator.models().for_step(request.chat_model.as_ref(), 0);
        if of_steps.is_ok_and(|model| model.name() != self.model.name()) {
            request.chat_model = Some(self.model.name().clone());
        }
        request
    }

    /// The question as a request for a task.
    pub(super) fn as_task(&self) -> TaskRequest {
        TaskRequest {
            goal: self.text.clone(),
            user_id: self.user_id.clone(),
            thread_id: self.thread_id.clone(),
            chat_model: self.question.chat_model.clone(),
            tools: self.question.tools.clone(),
            priority: self.question.priority,
            budget: self.question.budget,
            preset: self.question.preset.clone(),
            taint: self.read.clone(),
            ..TaskRequest::default()
        }
    }

    /// The pictures of the conversation and of the question.
    fn shown(&self) -> Vec<Picture> {
        let before = self.history.iter().filter_map(|message| match message {
            ModelMessage::Picture(picture) => Some(picture),
            _ => None,
        });
        before.chain(&self.pictures).cloned().collect()
    }

    /// What was said before, as one text.
    pub(super) fn before(&self) -> String {
        let mut text = String::new();
        for message in &self.history {
            let (who, said) = match message {
                ModelMessage::User(said) => ("User", said),
                ModelMessage::Assistant { text, .. } => ("Assistant", text),
                ModelMessage::ToolResult { .. } | ModelMessage::Picture(_) => continue,
            };
            let _ = writeln!(text, "{who}: {said}");
        }
        match text.is_empty() {
            true => self.files.trim_start().to_owned(),
            false => format!("Earlier in this conversation:\n{text}{}", self.files),
        }
    }
}
