//! Does a message need a task? Rules decide the clear cases in microseconds; only for the
//! doubtful ones a model is asked.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::patience::ask;
use super::{Orchestrator, prompts};
use crate::models::{Request, Role};
use crate::task::{Event, ModelName, Usage};

/// Messages up to this many characters are never tasks: greetings and follow-ups.
const SHORT: usize = 20;

/// The decision about one message, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detection {
    /// Whether the message becomes a task.
    pub orchestrate: bool,
    /// 0 (simple) to 1 (complex).
    pub score: f64,
    /// From which score on a message becomes a task.
    pub threshold: f64,
    /// What was seen in it.
    pub features: Vec<String>,
    /// `rules`, `caller`, or the name of the model that decided.
    pub by: String,
    /// What deciding consumed.
    pub usage: Usage,
}

impl Detection {
    /// The decision of a caller who asks for a task outright.
    pub fn by_caller() -> Self {
        Self {
            orchestrate: true,
            score: 1.0,
            threshold: 0.0,
            features: Vec::new(),
            by: "caller".into(),
            usage: Usage::default(),
        }
    }

    pub(super) fn event(&self) -> Event {
        Event::Detected {
            by: self.by.clone(),
            score: self.score,
            threshold: self.threshold,
            features: self.features.clone(),
            usage: self.usage,
        }
    }
}

/// A sign of complexity (positive) or simplicity (negative) in a message.
struct Sign {
    name: &'static str,
    weight: f64,
    pattern: Regex,
}

/// The weights were set on the examples of the tests below: one strong sign alone is doubtful,
/// two make a task.
static SIGNS: LazyLock<Vec<Sign>> = LazyLock::new(|| {
    let signs: [(&'static str, f64, &'static str); 11] = [
        ("works on all of something", 0.3, r"\b(all|every|each|entire|whole|across)\b"),
        (
            "a large body of data",
            0.2,
            r"\b(repo|repository|repositories|codebase|files?|folder|directory|dataset|database|issues|tickets|documents|records|rows|logs|commits|pull requests|workspace|project)\b",
        ),
        (
            "a far-reaching action",
            0.3,
            r"\b(migrate|refactor|analy[sz]e|audit|investigate|review|crawl|scan|process|convert|translate|compare|research|implement|build|deploy|generate|compile|collect|gather|summari[sz]e|extract|scrape|benchmark)\b",
        ),
        ("steps in sequence", 0.3, r"\b(then|after that|afterwards|next|finally|step by step|first)\b"),
        (
            "something to deliver",
            0.25,
            r"\b(report|summary report|spreadsheet|csv|presentation|document|markdown|dashboard|plan)\b",
        ),
        (
            "several actions",
            0.2,
            r"\b(and|,)\s+(create|write|send|save|update|open|post|upload|publish|fix|run|make|produce|report|email|store)\b",
        ),
        ("a search over something", 0.2, r"\b(find|list|search|count|look up|check)\b"),
        (
            "takes time",
            0.35,
            r"\b(in the background|long[- ]running|overnight|take your time|monitor|keep (checking|watching)|until)\b",
        ),
        ("a numbered list", 0.3, r"(?m)^\s*(\d+[.)]|[-*])\s+\S.*\n\s*(\d+[.)]|[-*])\s+\S"),
        (
            "a plain question",
            -0.45,
            r"^\s*(what|who|when|where|why|how|which|is|are|was|were|does|do|did|can|could|would|should|will)\b[^\n]*\?\s*$",
        ),
        (
            "small talk or one short text",
            -0.35,
            r"^\s*(hi|hello|hey|thanks|thank you|explain|define|tell me|write (a|me a) (poem|joke|haiku|story|sentence))\b",
        ),
    ];
    signs
        .into_iter()
        .filter_map(|(name, weight, pattern)| {
            let pattern = Regex::new(&format!("(?i){pattern}")).ok()?;
            Some(Sign { name, weight, pattern })
        })
        .collect()
});

/// What the rules say, 0..1, and why.
fn score(message: &str) -> (f64, Vec<String>) {
    if message.trim().chars().count() <= SHORT {
        return (0.0, vec![format!("at most {SHORT} characters")]);
    }
    let seen: Vec<&Sign> = SIGNS.iter().filter(|sign| sign.pattern.is_match(message)).collect();
    let mut score: f64 = seen.iter().map(|sign| sign.weight).sum();
    let mut features: Vec<String> = seen.iter().map(|sign| sign.name.to_owned()).collect();
    if message.len() > 600 {
        score += 0.15;
        features.push("a long message".to_owned());
    }
    (score.clamp(0.0, 1.0), features)
}

impl Orchestrator {
    /// Decides whether a message needs a task. `tools_named` is how many tools or servers the
    /// user named with it. Never fails: without an answer from a model the rules stand.
    pub async fn should_orchestrate(
        &self,
        message: &str,
        tools_named: usize,
        model: Option<&ModelName>,
    ) -> Detection {
        let detection = self.detect_by_rules(message, tools_named);
        let (score, threshold) = (detection.score, detection.threshold);
        let is_short = message.trim().chars().count() <= SHORT;
        if is_short || (score - threshold).abs() > self.config.doubt || self.models.is_offline() {
            return detection;
        }
        self.ask_about(message, model, &detection).await.unwrap_or(detection)
    }

    /// The same by the rules alone: at once, and for nothing.
    pub fn detect_by_rules(&self, message: &str, tools_named: usize) -> Detection {
        let (mut score, mut features) = score(message);
        if tools_named > 1 && score > 0.0 {
            score = (score + 0.2).min(1.0);
            features.push("several tools were named".to_owned());
        }
        let threshold = self.config.threshold;
        Detection {
            orchestrate: score >= threshold,
            score,
            threshold,
            features,
            by: "rules".to_owned(),
            usage: Usage::default(),
        }
    }

    async fn ask_about(
        &self,
        message: &str,
        model: Option<&ModelName>,
        rules: &Detection,
    ) -> Option<Detection> {
        #[derive(Deserialize)]
        struct Verdict {
            complex: bool,
            #[serde(default)]
            reason: String,
        }
        let model = self.models.for_role(Role::Detect, model).ok()?;
        let mut request = Request::new(Role::Detect, message, prompts::DETECT, message);
        request.max_output_tokens = Some(200);
        request.schema = Some(serde_json::json!({
            "type": "object", "additionalProperties": false, "required": ["complex", "reason"],
            "properties": {"complex": {"type": "boolean"}, "reason": {"type": "string"}},
        }));
        let answer = match ask(model.as_ref(), &request, Some(self.short_patience())).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "no model decides about a doubtful message, the rules stand");
                return None;
            }
        };
        let verdict: Verdict = super::plan_text::read_json(&answer.text).ok()?;
        let mut features = rules.features.clone();
        features.push(format!("the model's reason: {}", verdict.reason));
        let by = model.name().to_string();
        Some(Detection { orchestrate: verdict.complex, features, by, usage: answer.usage, ..rules.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_goals_become_tasks() {
        for goal in [
            "Analyze all issues in my GitHub repo and create a summary report",
            "Migrate all TODO comments to GitHub issues",
            "Find every TODO comment in this repository and write a report",
            "First download the dataset, then clean each row, and finally write a csv",
            "Review the whole codebase, collect every unsafe block and produce a document",
            "1. fetch the page\n2. extract the links\n3. check each of them",
        ] {
            assert!(score(goal).0 >= 0.5, "{goal}: {:?}", score(goal));
        }
    }

    #[test]
    fn clear_questions_stay_answers() {
        for message in [
            "hi",
            "What is the capital of France?",
            "Can you explain what a monad is?",
            "Explain the difference between TCP and UDP to me",
            "Thanks, that helped me a lot today!",
            "Write a poem about the sea and the stars",
            "How do I list all files in a directory?",
        ] {
            assert!(score(message).0 < 0.35, "{message}: {:?}", score(message));
        }
    }

    #[test]
    fn twenty_characters_are_never_a_task() {
        assert_eq!(score("migrate all, then go").0, 0.0);
    }
}
