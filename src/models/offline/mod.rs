//! What answers when there is no language model: rules, and they say so.
//!
//! The rules understand a documented family of goals (`docs/models.md`) and plan them over
//! the tools at hand. Everything else is refused with what to do about it; nothing is
//! pretended.

mod goal;
mod phrase;
mod plan;
mod scope;
mod search;
mod stuck;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::task::{ModelName, Usage};

use super::{Answer, Chunk, Model, ModelError, Request, Role};

/// What the rules can do, for people.
const FAMILY: &str = "find text, list files, count matches or lines, read files, fetch URLs, compare two \
     files or URLs, calculate, tell the time, and report any of it, for example: \
     \"Find every TODO comment in this repository and write a report\"";

/// How to get a language model.
const REMEDY: &str = "To use a language model, name one with --model provider/model and set its key \
     (ANTHROPIC_API_KEY, OPENAI_API_KEY, with OPENAI_BASE_URL for any compatible server, or \
     GEMINI_API_KEY), or start Ollama";

/// The model `offline/rules`.
#[derive(Debug)]
pub struct Offline {
    name: ModelName,
}

impl Offline {
    /// The provider part of its name.
    pub(super) const PROVIDER: &'static str = "offline";

    /// The rules; they need nothing.
    pub fn new() -> Self {
        Self { name: ModelName { provider: Self::PROVIDER.to_owned(), model: "rules".to_owned() } }
    }

    fn answer(request: &Request) -> Result<Answer, ModelError> {
        match request.role {
            Role::Plan => Self::plan(request),
            Role::Chat => Ok(by_rule(Self::chat(&request.goal))),
            Role::Evaluate => Ok(by_rule(
                r#"{"verdict":"done","reason":"Every planned step ran. No language model is in use, so nobody judged the result."}"#,
            )),
            Role::Detect | Role::Execute | Role::Summarize => {
                Err(refusal("this step needs a language model"))
            }
        }
    }

    fn plan(request: &Request) -> Result<Answer, ModelError> {
        let Some(wish) = goal::understand(&request.goal) else {
            let stuck = stuck::where_stuck(&request.goal);
            return Err(ModelError::NotUnderstood(remedied(&format!(
                "{stuck}. A language model would understand it"
            ))));
        };
        let plan = plan::for_wish(&wish);
        match plan.missing_tool(&request.tools) {
            Some(tool) => Err(refusal(&format!(
                "this goal needs the tool {tool}, which this task does not have, or a language model"
            ))),
            None => Ok(by_rule(plan.to_json().to_string())),
        }
    }

    fn chat(goal: &str) -> String {
        let start = "No language model is in use, so I cannot chat.";
        match goal::understand(goal) {
            Some(_) => format!("{start} But this can be done by rules: run it as a task. {REMEDY}."),
            None => format!("{start} Without one I can {FAMILY}. {REMEDY}."),
        }
    }
}

impl Default for Offline {
    fn default() -> Self {
        Self::new()
    }
}

/// An answer for which no language model was asked: nobody's budget has a call less.
fn by_rule(text: impl Into<String>) -> Answer {
    Answer { usage: Usage::default(), ..Answer::text(text) }
}

fn refusal(problem: &str) -> ModelError {
    ModelError::NotConfigured(remedied(problem))
}

fn remedied(problem: &str) -> String {
    format!("{problem}, and none is configured. {REMEDY}. Without one Longhaul can {FAMILY}")
}

#[async_trait]
impl Model for Offline {
    fn name(&self) -> &ModelName {
        &self.name
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        Self::answer(&request)
    }

    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let answer = Self::answer(&request)?;
        Ok(stream::iter([Ok(Chunk::Text(answer.text.clone())), Ok(Chunk::End(answer))]).boxed())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::ToolSpec;
    use super::*;

    fn request(role: Role, goal: &str) -> Request {
        let mut request = Request::new(role, goal, "", goal);
        request.tools = ["workspace_search", "report_compose", "workspace_write"]
            .map(|name| ToolSpec { name: name.to_owned(), description: String::new(), schema: json!({}) })
            .to_vec();
        request
    }

    #[tokio::test]
    async fn a_goal_of_the_family_is_planned_and_says_that_no_model_is_in_use() {
        let goal = "Find every TODO comment in this repository and write a report";
        let answer = Offline::new().generate(request(Role::Plan, goal)).await.unwrap();
        let plan: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(plan["steps"][0]["tool"]["name"], "workspace_search");
        assert!(answer.usage.is_nothing(), "no model was called: {:?}", answer.usage);
        assert!(plan["reason"].as_str().unwrap().contains("no language model"));
    }

    #[tokio::test]
    async fn other_goals_are_refused_with_the_remedy() {
        let error = Offline::new().generate(request(Role::Plan, "Write a poem")).await.unwrap_err();
        assert_eq!(error.code(), "model_not_configured");
        assert!(error.to_string().contains("\"write\" is nothing that the rules can do"), "{error}");
        for word in ["--model provider/model", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "Ollama", "find text"]
        {
            assert!(error.to_string().contains(word), "{word}");
        }
    }

    #[tokio::test]
    async fn a_plan_needs_its_tools() {
        let error = Offline::new().generate(request(Role::Plan, "Read README.md")).await.unwrap_err();
        assert!(error.to_string().contains("workspace_read"), "{error}");
    }

    #[tokio::test]
    async fn chat_is_honest_and_evaluation_is_json() {
        let text = |role, goal: &'static str| async move {
            Offline::new().generate(request(role, goal)).await.map(|answer| answer.text)
        };
        assert!(text(Role::Chat, "Hello").await.unwrap().contains("No language model is in use"));
        assert!(text(Role::Chat, "Read README.md").await.unwrap().contains("run it as a task"));
        let verdict: Value = serde_json::from_str(&text(Role::Evaluate, "x").await.unwrap()).unwrap();
        assert_eq!(verdict["verdict"], "done");
        for role in [Role::Summarize, Role::Execute, Role::Detect] {
            assert!(text(role, "Read README.md").await.is_err());
        }
    }
}
