//! Writes to the web, where the operator allows it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::address::check_url;
use super::page::Page;
use super::{CONNECT_TIMEOUT, GuardedResolver, USER_AGENT, denied, failed};
use crate::task::Effect;
use crate::tools::app::{Early, Operation};
use crate::tools::{CallContext, HttpRequestConfig, ToolError};

/// The header that tells one request from another, over all attempts of a call.
const KEY: &str = "idempotency-key";

/// `http_request`.
pub(in crate::tools::app) struct Submit {
    allow_private: bool,
    config: HttpRequestConfig,
    client: OnceLock<Client>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::tools::app) struct Arguments {
    /// What is done with what is at the address.
    method: Verb,
    /// The address, beginning with http:// or https://.
    url: String,
    /// Headers by name.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text, or JSON, which is sent as such.
    #[serde(default)]
    body: Option<Value>,
}

#[derive(Deserialize, JsonSchema)]
enum Verb {
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "PATCH")]
    Patch,
    #[serde(rename = "DELETE")]
    Delete,
}

impl Submit {
    pub(in crate::tools::app) fn new(allow_private: bool, config: HttpRequestConfig) -> Self {
        Self { allow_private, config, client: OnceLock::new() }
    }

    fn client(&self) -> Result<Client, ToolError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        // A redirect would carry body and headers, which may be secrets, to somebody else.
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none());
        let builder = match self.allow_private {
            true => builder,
            false => builder.no_proxy().dns_resolver(GuardedResolver),
        };
        let client = builder.build().map_err(|error| ToolError::Unreachable {
            server: "http".to_owned(),
            detail: "no HTTP client can be made on this machine".to_owned(),
            source: Some(Box::new(error)),
        })?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    fn check(&self, url: &Url) -> Result<(), ToolError> {
        check_url(url, self.allow_private).map_err(denied)?;
        let host = url.host_str().unwrap_or_default();
        if self.config.allows(host) {
            return Ok(());
        }
        Err(ToolError::Denied(format!("{host} is not written to (tools.httpRequest.hosts)")))
    }
}

#[async_trait]
impl Operation for Submit {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "http";
    const NAME: &'static str = "http_request";
    const DESCRIPTION: &'static str = "Sends a request that changes something on the web (POST, PUT, PATCH, DELETE) and returns the status, \
         content type and text of the answer.";
    const EFFECT: Effect = Effect::Unsafe;

    async fn run(&self, arguments: Arguments, context: CallContext) -> Result<Value, Early> {
        let url = Url::parse(arguments.url.trim()).map_err(|error| {
            ToolError::Arguments(format!("'{}' is not an address: {error}", arguments.url))
        })?;
        self.check(&url)?;
        let mut request = self.client()?.request(arguments.method.method(), url.clone());
        for (name, value) in &arguments.headers {
            let (name, value) = header(name, value)?;
            request = request.header(name, value);
        }
        request = request.header(KEY, context.idempotency_key.as_str());
        request = match arguments.body {
            None | Some(Value::Null) => request,
            Some(Value::String(text)) => request.body(text),
            Some(json) => request.json(&json),
        };
        context.may_be_sent()?;
        let response = request.send().await.map_err(|error| match error.is_connect() {
            true => failed(&url, error),
            // It may have arrived.
            false => Early::Failed(ToolError::Interrupted {
                detail: "the request was sent and not answered".to_owned(),
                source: Some(Box::new(error.without_url())),
            }),
        })?;
        let read = Page::read(response, context.max_output_bytes).await;
        let page = read.map_err(|early| match early {
            Early::Failed(ToolError::Unreachable { detail, source, .. }) => {
                Early::Failed(ToolError::Interrupted { detail, source })
            }
            other => other,
        })?;
        // It was done: a body that nobody can read makes no failure of it.
        Ok(page.with_body(&page.text().unwrap_or_else(|| page.is_no_text())))
    }
}

impl Verb {
    fn method(&self) -> Method {
        match self {
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ToolError> {
    if name.eq_ignore_ascii_case(KEY) || name.eq_ignore_ascii_case("host") {
        return Err(ToolError::Denied(format!("the header '{name}' is not the caller's to set")));
    }
    let wrong = || ToolError::Arguments(format!("the header '{name}' cannot be sent"));
    Ok((HeaderName::try_from(name).map_err(|_| wrong())?, HeaderValue::try_from(value).map_err(|_| wrong())?))
}
