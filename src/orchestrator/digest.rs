//! A conversation in short, so that it goes on within the window of its model.

use super::{Orchestrator, cut, marked, prompts};
use crate::models::{Request, Role};
use crate::task::ModelName;

impl Orchestrator {
    /// What was said, in about `most` bytes and never more, and who made it short: the name of a model, or
    /// `truncation` where none answered. The question to the model has at most four times as many.
    pub async fn digest(&self, said: &str, most: usize, wanted: Option<&ModelName>) -> (String, String) {
        let said = cut(said, most.saturating_mul(4));
        let truncated = |said: &str| (cut(said, most.saturating_sub(100)), "truncation".to_owned());
        let Ok(model) = self.models.for_role(Role::Summarize, wanted) else { return truncated(&said) };
        let user =
            format!("Goal of the task:\nGo on with this conversation.\n\nNotes:\n{}", marked("notes", &said));
        let mut request = Request::new(Role::Summarize, "", prompts::SUMMARIZE, user);
        request.max_output_tokens = u32::try_from(most / 4).ok();
        match model.generate(request).await {
            Ok(answer) if !answer.text.trim().is_empty() => {
                (cut(&answer.text, most.saturating_sub(100)), model.name().to_string())
            }
            Ok(_) => truncated(&said),
            Err(error) => {
                tracing::warn!(%error, "no model summarises, the conversation is cut");
                truncated(&said)
            }
        }
    }
}
