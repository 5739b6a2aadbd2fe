//! From what a provider or the network says to a [`ModelError`].

use std::time::Duration;

use chrono::{DateTime, Utc};
use genai::webc;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::task::ModelName;

use super::ModelError;
use super::provider::Provider;

/// The words of a provider that are kept in an error, in characters.
const DETAIL_LIMIT: usize = 500;

/// Codes and phrases after which waiting never helps.
const NO_CREDIT: [&str; 7] = [
    "insufficient_quota",
    "billing_hard_limit",
    "billing_not_active",
    "credit balance",
    "insufficient credit",
    "insufficient balance",
    "payment required",
];

/// Words that mean the same unless the provider says how long to wait: Gemini speaks of the
/// quota and of billing when a limit per minute is reached.
const MAYBE_NO_CREDIT: [&str; 2] = ["quota", "billing"];

const TOO_LONG: [&str; 10] = [
    "exceed context limit",
    "context_length",
    "context length",
    "context window",
    "context size",
    "maximum context",
    "prompt is too long",
    "too many tokens",
    "input token count",
    "request_too_large",
];

/// Tells failures of calls to one model apart.
pub(super) struct Diagnosis<'a> {
    pub(super) model: &'a ModelName,
    pub(super) provider: &'a Provider,
}

impl Diagnosis<'_> {
    /// What a failure reported by the client library means.
    pub(super) fn of(&self, error: genai::Error) -> ModelError {
        match error {
            genai::Error::HttpError { status, body, headers, .. } => {
                self.of_status(status.as_u16(), &body, &headers)
            }
            genai::Error::WebModelCall { webc_error, .. }
            | genai::Error::WebAdapterCall { webc_error, .. } => self.of_web(webc_error),
            genai::Error::WebStream { error, cause, .. } => self.of_stream(error, &cause),
            genai::Error::ChatResponse { body, .. } => self.of_event(&body),
            // Its own text would repeat the whole prompt.
            genai::Error::ChatResponseGeneration { cause, .. } => self.malformed(&cause),
            genai::Error::StreamParse { serde_error, .. } => self.malformed(&serde_error.to_string()),
            error @ (genai::Error::NoChatResponse { .. }
            | genai::Error::InvalidJsonResponseElement { .. }
            | genai::Error::JsonValueExt(_)
            | genai::Error::SerdeJson(_)) => self.malformed(&error.to_string()),
            genai::Error::RequiresApiKey { .. }
            | genai::Error::NoAuthResolver { .. }
            | genai::Error::NoAuthData { .. }
            | genai::Error::Resolver { .. } => self.provider.missing_key(self.model),
            error => self.rejected(self.detail(&error.to_string())),
        }
    }

    /// The answer cannot be used.
    pub(super) fn malformed(&self, detail: &str) -> ModelError {
        ModelError::Malformed { model: self.model.to_string(), detail: self.detail(detail) }
    }

    /// The model, or a filter of its provider, did not want to answer.
    pub(super) fn refused(&self, finish: &str, said: &str) -> ModelError {
        let said = if said.trim().is_empty() { String::new() } else { format!(": {}", said.trim()) };
        let detail = self.detail(&format!("finish reason {finish}{said}"));
        ModelError::Refused { model: self.model.to_string(), detail }
    }

    /// A deadline passed.
    pub(super) fn timeout(&self, phase: &'static str) -> ModelError {
        ModelError::Timeout { model: self.model.to_string(), phase }
    }

    fn of_web(&self, error: webc::Error) -> ModelError {
        match error {
            webc::Error::ResponseFailedStatus { status, body, headers } => {
                self.of_status(status.as_u16(), &body, &headers)
            }
            webc::Error::Reqwest(error) => self.of_network(error),
            // No provider does that: asking again brings the same page.
            webc::Error::ResponseFailedNotJson { content_type, .. }
                if content_type.starts_with("text/html") =>
            {
                let address = self.provider.named_address();
                self.rejected(format!("it answers with a web page ('{content_type}'): is {address} right?"))
            }
            webc::Error::ResponseFailedNotJson { content_type, .. } => {
                self.malformed(&format!("it is '{content_type}' instead of JSON"))
            }
            webc::Error::ResponseFailedInvalidJson { cause, .. } => self.malformed(&cause),
            webc::Error::JsonValueExt(error) => self.malformed(&error.to_string()),
        }
    }

    fn of_stream(&self, error: genai::BoxError, cause: &str) -> ModelError {
        match error.downcast::<genai::Error>() {
            Ok(inner) => self.of(*inner),
            Err(error) => match error.downcast::<reqwest::Error>() {
                Ok(network) => self.of_network(*network),
                Err(_) => self.malformed(cause),
            },
        }
    }

    /// The address is left out of network errors: it may carry a secret of the user's own.
    fn of_network(&self, error: reqwest::Error) -> ModelError {
        if error.is_timeout() {
            return self.timeout(if error.is_connect() { "connect" } else { "total" });
        }
        if error.is_body() || error.is_decode() {
            return self.malformed("the connection broke in the middle of it");
        }
        let detail = if error.is_connect() { "it cannot be reached" } else { "the connection failed" };
        ModelError::Unavailable {
            model: self.model.to_string(),
            detail: detail.to_owned(),
            retry_after: None,
            source: Some(Box::new(error.without_url())),
        }
    }

    /// What an HTTP status with this body and these headers means.
    pub(super) fn of_status(&self, status: u16, body: &str, headers: &HeaderMap) -> ModelError {
        let words = body.to_lowercase();
        let wait = retry_after(headers, body);
        let detail = format!("HTTP {status}: {}", self.detail(&message_in(body)));
        let model = self.model.to_string();
        let soft_quota = status == 429 && wait.is_none() && contains(&words, &MAYBE_NO_CREDIT);
        match status {
            402 => ModelError::Quota { model, detail },
            400..=499 if contains(&words, &NO_CREDIT) || soft_quota => ModelError::Quota { model, detail },
            401 | 403 => ModelError::Unauthorized { model, detail },
            429 => ModelError::RateLimited { model, retry_after: wait },
            408 | 425 | 500.. => ModelError::Unavailable { model, detail, retry_after: wait, source: None },
            400 | 413 | 422 if contains(&words, &TOO_LONG) => ModelError::ContextOverflow { model, detail },
            300..=399 => {
                self.rejected(format!("{detail} (redirects are not followed; correct the base URL)"))
            }
            _ => self.rejected(detail),
        }
    }

    /// What an error inside of a stream means: it has no status, or one in its body.
    pub(super) fn of_event(&self, body: &Value) -> ModelError {
        let text = body.to_string();
        let inner = body.get("error").unwrap_or(body);
        let status = ["code", "status"].iter().find_map(|key| inner.get(*key)?.as_u64());
        let words = text.to_lowercase();
        let status = match status.and_then(|status| u16::try_from(status).ok()) {
            Some(status) => status,
            None if contains(&words, &["rate_limit", "rate limit", "insufficient_quota"]) => 429,
            None if contains(&words, &TOO_LONG) || words.contains("invalid_request") => 400,
            None if body.get("finishReason").is_some() => return self.malformed(&text),
            None => 503,
        };
        self.of_status(status, &text, &HeaderMap::new())
    }

    fn rejected(&self, detail: String) -> ModelError {
        ModelError::Rejected { model: self.model.to_string(), detail }
    }

    fn detail(&self, text: &str) -> String {
        let text = self.provider.redact(text.trim());
        match text.char_indices().nth(DETAIL_LIMIT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

fn contains(words: &str, any: &[&str]) -> bool {
    any.iter().any(|word| words.contains(word))
}

/// The message inside of an error body, wherever the provider puts it; else the body.
fn message_in(body: &str) -> String {
    let Ok(json) = serde_json::from_str::<Value>(body) else {
        return body.to_owned();
    };
    let json = json.get(0).unwrap_or(&json);
    let found = ["/error/message", "/message", "/error", "/detail"]
        .iter()
        .find_map(|pointer| json.pointer(pointer)?.as_str());
    found.map_or_else(|| body.to_owned(), str::to_owned)
}

/// How long the provider asks to wait: in a header, or as Gemini does in the body.
fn retry_after(headers: &HeaderMap, body: &str) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = header("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    if let Some(text) = header("retry-after") {
        return match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => until(DateTime::parse_from_rfc2822(text).ok()?.to_utc()),
        };
    }
    let (_, after) = body.split_once("\"retryDelay\"")?;
    let text = after.trim_start_matches([':', ' ', '"']).split('s').next()?;
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn until(moment: DateTime<Utc>) -> Option<Duration> {
    Some((moment - Utc::now()).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn code(status: u16, body: &str) -> &'static str {
        error(status, body, &HeaderMap::new()).code()
    }

    fn error(status: u16, body: &str, headers: &HeaderMap) -> ModelError {
        let key = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-secret".to_owned());
        let provider = super::super::provider::all(&BTreeMap::new(), &key).unwrap().remove("openai").unwrap();
        let model = "openai/x".parse().unwrap();
        Diagnosis { model: &model, provider: &provider }.of_status(status, body, headers)
    }

    #[test]
    fn statuses_and_words_decide_what_helps() {
        for (status, body, expected) in [
            (401, "no", "provider_unauthorized"),
            (403, "no", "provider_unauthorized"),
            (402, "pay", "provider_quota"),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, "provider_quota"),
            (429, "You exceeded your current quota, check your plan and billing", "provider_quota"),
            (
                429,
                r#"{"error":{"message":"quota","details":[{"retryDelay": "20s"}]}}"#,
                "provider_rate_limited",
            ),
            (429, "slow down", "provider_rate_limited"),
            (400, "Your credit balance is too low", "provider_quota"),
            (400, "maximum context length is 8192 tokens", "context_overflow"),
            (400, "prompt is too long: 210000 tokens", "context_overflow"),
            (400, "the request exceeds the available context size", "context_overflow"),
            (400, "unknown field", "provider_rejected"),
            (404, "no such model", "provider_rejected"),
            (308, "", "provider_rejected"),
            (500, "", "provider_unavailable"),
            (529, "overloaded", "provider_unavailable"),
        ] {
            assert_eq!(code(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_wait_comes_from_header_or_body() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let seven = error(429, "", &headers).fault().retry_after_ms;
        let twenty = error(429, r#"{"retryDelay": "20.5s"}"#, &HeaderMap::new()).fault().retry_after_ms;
        headers.insert("retry-after-ms", "30".parse().unwrap());
        let thirty = error(429, "", &headers).fault().retry_after_ms;
        assert_eq!((seven, twenty, thirty), (Some(7000), Some(20_500), Some(30)));
        headers.remove("retry-after-ms");
        headers.insert("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        assert_eq!(error(429, "", &headers).fault().retry_after_ms, Some(0));
    }

    #[test]
    fn a_provider_in_trouble_may_ask_for_a_wait_too() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        for status in [503, 529] {
            assert_eq!(error(status, "overloaded", &headers).fault().retry_after_ms, Some(7000), "{status}");
            assert_eq!(error(status, "overloaded", &HeaderMap::new()).fault().retry_after_ms, None);
        }
    }

    #[test]
    fn the_message_is_kept_and_the_key_is_not() {
        let text = error(401, r#"{"error":{"message":"bad key sk-secret"}}"#, &HeaderMap::new()).to_string();
        assert!(text.contains("bad key [key]"), "{text}");
    }
}
