//! What a server answered, read as text or refused.

use reqwest::{Response, StatusCode, Url, header};
use serde_json::{Value, json};

use super::{MAX_BODY_BYTES, failed};
use crate::tools::ToolError;
use crate::tools::app::Early;
use crate::tools::app::report::code_span;
use crate::tools::app::words::counted;

/// So much of a body tells whether it is text, in bytes.
const SAMPLE: usize = 4096;

/// An answer with its body, as far as it was read.
pub(super) struct Page {
    url: Url,
    status: StatusCode,
    content_type: String,
    body: Vec<u8>,
    truncated: bool,
}

/// Refuses an answer that is not what was asked for.
pub(super) fn check_status(response: &Response) -> Result<(), ToolError> {
    let status = response.status();
    if status.as_u16() < 400 {
        return Ok(());
    }
    let seconds =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(ToolError::Status {
        url: without_credentials(response.url().clone()).to_string(),
        status: status.to_string(),
        number: status.as_u16(),
        retry_after_ms: seconds.map(|seconds: u64| seconds.saturating_mul(1000)),
    })
}

impl Page {
    /// Reads an answer, up to half of the bytes that the whole result may have.
    pub(super) async fn read(mut response: Response, max_output_bytes: u64) -> Result<Self, Early> {
        let limit = MAX_BODY_BYTES.min(usize::try_from(max_output_bytes / 2).unwrap_or(usize::MAX));
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut page = Self {
            url: without_credentials(response.url().clone()),
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: Vec::new(),
            truncated: false,
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&page.url, error))? {
            let room = limit - page.body.len();
            page.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            // Of what is no text one piece is enough to say so.
            if chunk.len() > room || page.is_declared_binary() {
                page.truncated = true;
                break;
            }
        }
        Ok(page)
    }

    /// The body as text; `None` if it is none, whatever it is called.
    pub(super) fn text(&self) -> Option<String> {
        if self.is_declared_binary() && !self.body.is_empty() {
            return None;
        }
        let text = decode(&self.body, &self.content_type);
        let mut seen = 0_usize;
        let strange = text.chars().take(SAMPLE).inspect(|_| seen += 1).filter(is_strange).count();
        // A stray byte is a fault in a text; many of them are an image or an archive.
        (strange * 5 <= seen).then_some(text)
    }

    /// The result of a tool, with this for a body.
    pub(super) fn with_body(&self, body: &str) -> Value {
        json!({
            "url": self.url.as_str(), "status": self.status.as_u16(), "contentType": self.content_type,
            "body": body, "truncated": self.truncated, "summary": self.summary(),
        })
    }

    fn summary(&self) -> String {
        let kind = match self.content_type.as_str() {
            "" => String::new(),
            kind => format!(", {}", code_span(kind)),
        };
        let size = counted(self.body.len(), "byte", "bytes");
        let status = self.status.as_u16();
        let more = if self.truncated { " (cut: there is more)" } else { "" };
        format!("{}: status {status}{kind}, {size}{more}", code_span(self.url.as_str()))
    }

    /// Why there is no text.
    pub(super) fn is_no_text(&self) -> String {
        let kind = match self.content_type.as_str() {
            "" => "data of an unknown kind",
            kind => kind,
        };
        format!("{} answered {} with {kind}, which is no text", self.url, self.status)
    }

    fn is_declared_binary(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let by_family = ["image/", "audio/", "video/", "font/"].iter().any(|family| kind.starts_with(family));
        let by_name = ["application/pdf", "application/zip", "application/gzip", "application/wasm"];
        (by_family && !kind.ends_with("+xml")) || by_name.contains(&kind.as_str())
    }
}

/// A character that text has no use for.
fn is_strange(character: &char) -> bool {
    *character == char::REPLACEMENT_CHARACTER
        || (character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}'))
}

fn without_credentials(mut url: Url) -> Url {
    // Both fail only for addresses without a host, which were refused before.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// The text of a body. Latin-1 is decoded where it is declared; anything else is read as UTF-8.
fn decode(body: &[u8], content_type: &str) -> String {
    let declared = content_type.to_ascii_lowercase();
    if declared.contains("charset=iso-8859-1") || declared.contains("charset=latin1") {
        return body.iter().copied().map(char::from).collect();
    }
    String::from_utf8_lossy(body).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_latin_1_is_decoded() {
        assert_eq!(decode(b"caf\xe9", "text/html; charset=ISO-8859-1"), "café");
        assert_eq!(decode("café".as_bytes(), "text/html"), "café");
    }
}
