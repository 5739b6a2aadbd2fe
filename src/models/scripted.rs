//! A deterministic model for tests: it answers by the rules of a JSON file.
//!
//! The format is documented in `docs/models.md`. The first rule that matches answers; a
//! request that no rule matches is refused with its role and last message, so that a test
//! shows what is missing from its script.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::task::{CUT_SHORT, ModelName, ToolRequest, Usage};

use super::{Answer, Chunk, Message, Model, ModelError, Request, Role};

/// A model that follows a script; named `scripted/NAME`.
#[derive(Debug)]
pub struct Scripted {
    name: ModelName,
    script: Script,
    /// How often each rule was used.
    used: Vec<AtomicU32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    /// One line of JSON per served request is appended here, before the answer.
    ledger: Option<PathBuf>,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    role: Option<Role>,
    goal_contains: Option<String>,
    contains: Option<String>,
    turn: Option<usize>,
    times: Option<u32>,
    #[serde(default)]
    delay_ms: u64,
    /// Milliseconds before each word of a streamed answer.
    #[serde(default)]
    word_ms: u64,
    reply: Reply,
}

/// Exactly one of text, JSON, tool calls (with text beside them if wanted) and error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Reply {
    text: Option<String>,
    /// Whether the limit of output tokens cuts the text where it ends.
    #[serde(default)]
    cut: bool,
    /// What is streamed before as the model's reasoning.
    #[serde(default)]
    reasoning: String,
    json: Option<Value>,
    #[serde(default)]
    tool_calls: Vec<ScriptedCall>,
    error: Option<ScriptedError>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptedCall {
    tool: String,
    #[serde(default = "no_arguments")]
    arguments: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ScriptedError {
    kind: ErrorKind,
    retry_after_ms: Option<u64>,
    message: Option<String>,
    /// What is on the bill all the same, in tokens of output.
    output_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ErrorKind {
    RateLimited,
    Unavailable,
    Timeout,
    Malformed,
    Rejected,
    Refused,
    Quota,
    Overflow,
}

fn no_arguments() -> Value {
    json!({})
}

impl Scripted {
    /// Reads the script of `scripted/NAME` from a file.
    pub fn open(name: &str, path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| unusable(name, &format!("{} cannot be read: {error}", path.display())))?;
        Self::parse(name, &text)
    }

    /// Reads the script of `scripted/NAME` from its text.
    pub fn parse(name: &str, script: &str) -> Result<Self, ModelError> {
        let script: Script =
            serde_json::from_str(script).map_err(|error| unusable(name, &error.to_string()))?;
        for (index, rule) in script.rules.iter().enumerate() {
            if !rule.reply.is_one_thing() {
                let problem = format!("the reply of rule {index} needs one of text, json, toolCalls, error");
                return Err(unusable(name, &problem));
            }
        }
        let used = script.rules.iter().map(|_| AtomicU32::new(0)).collect();
        let name = ModelName { provider: "scripted".to_owned(), model: name.to_owned() };
        Ok(Self { name, script, used })
    }

    async fn serve(&self, request: &Request) -> Result<(Answer, &Rule), ModelError> {
        let turn = turn(request);
        let last = &last_text(request);
        let found = (0..self.script.rules.len()).find(|index| self.takes(*index, request, turn, last));
        let Some((index, rule)) = found.and_then(|index| Some((index, self.script.rules.get(index)?))) else {
            return Err(self.rejected(format!(
                "no rule of the script matches role {:?}, turn {turn}, last message: {}",
                request.role,
                last.chars().take(200).collect::<String>()
            )));
        };
        self.record(request, turn, index)?;
        tokio::time::sleep(Duration::from_millis(rule.delay_ms)).await;
        Ok((self.answer(&rule.reply, request, turn)?, rule))
    }

    /// Whether the rule matches and may still be used; counts the use.
    fn takes(&self, index: usize, request: &Request, turn: usize, last: &str) -> bool {
        let (Some(rule), Some(used)) = (self.script.rules.get(index), self.used.get(index)) else {
            return false;
        };
        let may = rule.times.unwrap_or(u32::MAX);
        rule.matches(request, turn, last)
            && used
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| (count < may).then_some(count + 1))
                .is_ok()
    }

    fn answer(&self, reply: &Reply, request: &Request, turn: usize) -> Result<Answer, ModelError> {
        if let Some(error) = &reply.error {
            return Err(self.error(error));
        }
        let text = match (&reply.json, &reply.text) {
            (Some(json), _) => json.to_string(),
            (None, Some(text)) => text.replace("{{goal}}", &request.goal),
            (None, None) => String::new(),
        };
        let requests: Vec<_> =
            reply.tool_calls.iter().enumerate().map(|(n, call)| call.request(turn, n)).collect();
        let finish = match requests.is_empty() {
            true if reply.cut => CUT_SHORT,
            true => "stop",
            false => "tool-calls",
        };
        let usage = usage(request, &text, &requests);
        let finish = finish.to_owned();
        Ok(Answer { requests, finish, usage, ..Answer::text(text) })
    }

    fn error(&self, error: &ScriptedError) -> ModelError {
        let model = self.name.to_string();
        let detail = error.message.clone().unwrap_or_else(|| "the script says so".to_owned());
        let retry_after = error.retry_after_ms.map(Duration::from_millis);
        let why = match error.kind {
            ErrorKind::RateLimited => ModelError::RateLimited { model, retry_after },
            ErrorKind::Unavailable => ModelError::Unavailable { model, detail, retry_after, source: None },
            ErrorKind::Timeout => ModelError::Timeout { model, phase: "total" },
            ErrorKind::Malformed => ModelError::Malformed { model, detail },
            ErrorKind::Rejected => ModelError::Rejected { model, detail },
            ErrorKind::Refused => ModelError::Refused { model, detail },
            ErrorKind::Quota => ModelError::Quota { model, detail },
            ErrorKind::Overflow => ModelError::ContextOverflow { model, detail },
        };
        match error.output_tokens {
            Some(output_tokens) => {
                why.having_spent(Usage { output_tokens, model_calls: 1, ..Usage::default() })
            }
            None => why,
        }
    }

    /// Appends to the ledger with a single write, so that processes can share one.
    fn record(&self, request: &Request, turn: usize, rule: usize) -> Result<(), ModelError> {
        let Some(path) = &self.script.ledger else {
            return Ok(());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let entry =
            json!({"at_ms": now, "role": request.role, "goal": request.goal, "turn": turn, "rule": rule});
        let line = format!("{entry}\n");
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| self.rejected(format!("ledger {}: {error}", path.display())))
    }

    fn rejected(&self, detail: String) -> ModelError {
        ModelError::Rejected { model: self.name.to_string(), detail }
    }
}

#[async_trait]
impl Model for Scripted {
    fn name(&self) -> &ModelName {
        &self.name
    }

    async fn generate(&self, request: Request) -> Result<Answer, ModelError> {
        Ok(self.serve(&request).await?.0)
    }

    /// The text word by word.
    async fn stream(
        &self,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Chunk, ModelError>>, ModelError> {
        let (answer, rule) = self.serve(&request).await?;
        let words = |text: &str| text.split_inclusive(' ').map(str::to_owned).collect::<Vec<_>>();
        let thoughts = words(&rule.reply.reasoning).into_iter().map(Chunk::Reasoning);
        let said = words(&answer.text).into_iter().map(Chunk::Text);
        let pieces: Vec<_> = thoughts.chain(said).chain([Chunk::End(answer)]).map(Ok).collect();
        let (pieces, word) = (stream::iter(pieces), Duration::from_millis(rule.word_ms));
        if word.is_zero() {
            return Ok(pieces.boxed());
        }
        Ok(pieces
            .then(move |piece| async move {
                tokio::time::sleep(word).await;
                piece
            })
            .boxed())
    }
}

impl Rule {
    fn matches(&self, request: &Request, turn: usize, last: &str) -> bool {
        self.role.is_none_or(|role| role == request.role)
            && self.turn.is_none_or(|wanted| wanted == turn)
            && self.goal_contains.as_ref().is_none_or(|part| request.goal.contains(part))
            && self.contains.as_ref().is_none_or(|part| last.contains(part))
    }
}

impl Reply {
    fn is_one_thing(&self) -> bool {
        let calls = !self.tool_calls.is_empty();
        let text = self.text.is_some() && !calls;
        [text, self.json.is_some(), calls, self.error.is_some()].into_iter().filter(|given| *given).count()
            == 1
    }
}

impl ScriptedCall {
    fn request(&self, turn: usize, position: usize) -> ToolRequest {
        ToolRequest {
            id: format!("scripted-{turn}-{position}"),
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
        }
    }
}

fn unusable(name: &str, problem: &str) -> ModelError {
    ModelError::NotConfigured(format!("the script of scripted/{name} cannot be used: {problem}"))
}

/// How many times the model has already spoken in this conversation.
fn turn(request: &Request) -> usize {
    request.messages.iter().filter(|message| matches!(message, Message::Assistant { .. })).count()
}

/// The last message; the first one with what stands before it. What is shown with it is named behind it.
fn last_text(request: &Request) -> String {
    let is_picture = |message: &&Message| matches!(message, Message::Picture(_));
    let pictures = request.messages.iter().rev().take_while(is_picture).count();
    let (said, shown) = request.messages.split_at(request.messages.len() - pictures);
    let text = match said {
        [only] => format!("{}{}", request.background, text_of(only)),
        messages => messages.last().map(text_of).unwrap_or_default().into_owned(),
    };
    shown.iter().fold(text, |text, picture| format!("{text}\n{}", text_of(picture)))
}

fn text_of(message: &Message) -> Cow<'_, str> {
    match message {
        Message::User(text) | Message::Assistant { text, .. } => text.into(),
        Message::ToolResult { content, .. } => content.into(),
        Message::Picture(picture) => format!("[shown: {}]", picture.name).into(),
    }
}

/// Four characters count as one token.
fn usage(request: &Request, text: &str, requests: &[ToolRequest]) -> Usage {
    let tokens = |characters: usize| u64::try_from(characters.div_ceil(4)).unwrap_or(u64::MAX);
    let prompt = request.messages.iter().map(|message| text_of(message).chars().count()).sum::<usize>();
    let asked = requests.iter().map(|request| request.arguments.to_string().chars().count()).sum::<usize>();
    Usage {
        input_tokens: tokens(prompt + request.background.chars().count() + request.system.chars().count()),
        output_tokens: tokens(text.chars().count() + asked),
        model_calls: 1,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(role: Role, text: &str) -> Request {
        Request::new(role, "the goal", "", text)
    }

    async fn text(model: &Scripted, request: Request) -> String {
        model.generate(request).await.map_or_else(|error| error.to_string(), |answer| answer.text)
    }

    #[tokio::test]
    async fn the_first_matching_rule_answers() {
        let script = r#"{"rules":[
            {"role":"plan","reply":{"json":{"steps":[]}}},
            {"contains":"hello","goalContains":"goal","reply":{"text":"for {{goal}}"}},
            {"turn":1,"reply":{"text":"second"}}
        ]}"#;
        let model = Scripted::parse("m", script).unwrap();
        assert_eq!(text(&model, request(Role::Plan, "hello")).await, r#"{"steps":[]}"#);
        assert_eq!(text(&model, request(Role::Execute, "hello")).await, "for the goal");
        let mut later = request(Role::Execute, "x");
        later
            .messages
            .insert(0, Message::Assistant { text: String::new(), requests: Vec::new(), thinking: None });
        assert_eq!(text(&model, later).await, "second");
        let refusal = text(&model, request(Role::Evaluate, "something")).await;
        assert!(refusal.contains("Evaluate") && refusal.contains("something"), "{refusal}");
    }

    #[tokio::test]
    async fn a_rule_is_used_at_most_so_often() {
        let script = r#"{"rules":[
            {"times":1,"reply":{"error":{"kind":"rate-limited","retryAfterMs":9}}},
            {"reply":{"text":"ok"}}
        ]}"#;
        let model = Scripted::parse("m", script).unwrap();
        let error = model.generate(request(Role::Chat, "a")).await.unwrap_err();
        assert_eq!(error.fault().retry_after_ms, Some(9));
        assert_eq!(text(&model, request(Role::Chat, "a")).await, "ok");
    }

    #[tokio::test]
    async fn tool_calls_have_ids_by_turn_and_streams_come_in_words() {
        let script = r#"{"rules":[{"reply":{"text":"let me look","toolCalls":[{"tool":"read"}]}}]}"#;
        let model = Scripted::parse("m", script).unwrap();
        let pieces: Vec<_> = model.stream(request(Role::Execute, "abcdefgh")).await.unwrap().collect().await;
        let Some(Ok(Chunk::End(answer))) = pieces.last() else { panic!("no end") };
        assert_eq!(pieces.len(), 4);
        assert_eq!((answer.requests[0].id.as_str(), answer.finish.as_str()), ("scripted-0-0", "tool-calls"));
        assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (2, 4));
    }

    #[tokio::test]
    async fn the_ledger_has_a_line_per_served_request() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("ledger.jsonl");
        let script = json!({"ledger": ledger, "rules": [
            {"role": "execute", "reply": {"text": "x"}},
            {"role": "plan", "reply": {"error": {"kind": "unavailable"}}}
        ]});
        let model = Scripted::parse("m", &script.to_string()).unwrap();
        for role in [Role::Execute, Role::Plan, Role::Chat] {
            text(&model, request(role, "x")).await;
        }
        let lines = std::fs::read_to_string(ledger).unwrap();
        let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let rules: Vec<_> = entries.iter().map(|entry| entry["rule"].as_u64()).collect();
        assert_eq!(rules, [Some(0), Some(1)]);
        assert_eq!(entries[0]["goal"], "the goal");
    }

    #[test]
    fn a_faulty_script_is_refused() {
        for script in ["{", r#"{"rules":[{"reply":{}}]}"#, r#"{"rules":[{"repli":{"text":"x"}}]}"#] {
            assert_eq!(Scripted::parse("m", script).unwrap_err().code(), "model_not_configured");
        }
    }
}
