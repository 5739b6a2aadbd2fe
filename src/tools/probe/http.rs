//! The probe that is an address.

use regex::Regex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use url::Url;

use super::{Finding, ProbeConfig, tail};

/// What is read of a body at most.
const BODY_BYTES: usize = 1024 * 1024;

/// An address, and the answer that says yes.
#[derive(Debug, Clone)]
pub(super) struct Address {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    status: Option<u16>,
    pattern: Option<Regex>,
}

impl Address {
    pub(super) fn of(url: &Url, table: &ProbeConfig, pattern: Option<Regex>) -> Result<Self, String> {
        let headers = table.headers.iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).map_err(|error| format!("headers: {error}"))?;
            let value = HeaderValue::try_from(value).map_err(|error| format!("headers: {error}"))?;
            Ok((name, value))
        });
        // Whoever declares an address means this one, and not where it sends people.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            url: url.clone(),
            headers: headers.collect::<Result<_, String>>()?,
            status: table.status,
            pattern,
        })
    }

    pub(super) async fn get(&self) -> Finding {
        let asked = self.client.get(self.url.clone()).headers(self.headers.clone()).send().await;
        let mut response = match asked {
            Ok(response) => response,
            Err(error) => return Finding::error(crate::task::with_causes(&error)),
        };
        let status = response.status();
        let mut body = Vec::new();
        while body.len() < BODY_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Finding::error(crate::task::with_causes(&error)),
            }
        }
        body.truncate(BODY_BYTES);
        let is_wanted = self.status.map_or(status.is_success(), |wanted| status.as_u16() == wanted);
        let is_found =
            self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&String::from_utf8_lossy(&body)));
        let evidence = json!({"status": status.as_u16(), "body": tail(&body)});
        Finding { passed: is_wanted && is_found, evidence }
    }
}
