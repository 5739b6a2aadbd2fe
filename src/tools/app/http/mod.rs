//! Reads from the web, and only from the web.

mod address;
mod page;
mod request;

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::address::{Refused, check_address, check_url};
use self::page::Page;
use super::{Early, Operation};
use crate::task::Effect;
use crate::tools::{CallContext, ToolError};

/// A page that is longer is cut: no model reads more, and the journal keeps every byte.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Real sites need two or three.
const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("longhaul/", env!("CARGO_PKG_VERSION"));

pub(super) use request::Submit;

/// `http_fetch`.
pub(super) struct Fetch {
    allow_private: bool,
    /// Built at the first call, because building needs certificates and may fail where nobody
    /// ever fetches anything. The second one stays with the host that it was told.
    clients: [OnceLock<Client>; 2],
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The address, beginning with http:// or https://.
    url: String,
    /// Whether a status of 400 or more is a failure instead of a result. 5xx and 429 are then tried
    /// again, anything else fails at once.
    #[serde(default)]
    must_succeed: bool,
}

impl Fetch {
    pub(super) fn new(allow_private: bool) -> Self {
        Self { allow_private, clients: Default::default() }
    }

    fn client(&self, stays: bool) -> Result<Client, ToolError> {
        let kept = &self.clients[usize::from(stays)];
        if let Some(client) = kept.get() {
            return Ok(client.clone());
        }
        let client = build_client(self.allow_private, stays).map_err(|error| ToolError::Unreachable {
            server: "http".to_owned(),
            detail: "no HTTP client can be made on this machine".to_owned(),
            source: Some(Box::new(error)),
        })?;
        Ok(kept.get_or_init(|| client).clone())
    }
}

#[async_trait]
impl Operation for Fetch {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "http";
    const NAME: &'static str = "http_fetch";
    const DESCRIPTION: &'static str =
        "Reads a page or file from the web (GET) and returns its status, content type and text.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, context: CallContext) -> Result<Value, Early> {
        let url = Url::parse(arguments.url.trim()).map_err(|error| {
            ToolError::Arguments(format!("'{}' is not an address: {error}", arguments.url))
        })?;
        check_url(&url, self.allow_private).map_err(denied)?;
        let client = self.client(context.is_confidential)?;
        let response = client.get(url.clone()).send().await.map_err(|error| failed(&url, error))?;
        if arguments.must_succeed {
            page::check_status(&response)?;
        }
        let page = Page::read(response, context.max_output_bytes).await?;
        match page.text() {
            Some(text) => Ok(page.with_body(&text)),
            None => Err(Early::Said(page.is_no_text())),
        }
    }
}

fn build_client(allow_private: bool, stays: bool) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        // An address may hold a secret, which is not for whoever it redirects to.
        .referer(false)
        .redirect(Policy::custom(move |attempt| follow(attempt, allow_private, stays)));
    if allow_private {
        return builder.build();
    }
    // A proxy would resolve names where the guard below cannot see the addresses.
    builder.no_proxy().dns_resolver(GuardedResolver).build()
}

fn follow(attempt: Attempt<'_>, allow_private: bool, stays: bool) -> reqwest::redirect::Action {
    // Whoever answers may put into the new address what stood in the old one.
    let first = attempt.previous().first().map(Url::origin);
    if stays && first.is_some_and(|first| first != attempt.url().origin()) {
        return attempt
            .error(Refused("it leads to another host, which may not be given a secret".to_owned()));
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(Refused(format!("more than {MAX_REDIRECTS} redirects")));
    }
    match check_url(attempt.url(), allow_private) {
        Ok(()) => attempt.follow(),
        Err(refused) => attempt.error(refused),
    }
}

/// Resolves names as the system does, and forgets the addresses that must not be reached. The
/// connection is made to exactly the addresses that were checked.
struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|address| check_address(address.ip()).is_ok()).collect();
            if allowed.is_empty() && !found.is_empty() {
                let refused = Refused(format!("'{}' is a private or reserved address", name.as_str()));
                return Err(Box::new(refused) as Box<dyn StdError + Send + Sync>);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn denied(refused: Refused) -> ToolError {
    ToolError::Denied(format!("{refused}; set tools.allowPrivateAddresses to reach it"))
}

/// What a failed request means. The guard's refusal travels as a cause of it.
fn failed(url: &Url, error: reqwest::Error) -> Early {
    let mut cause: Option<&dyn StdError> = Some(&error);
    while let Some(current) = cause {
        if let Some(Refused(reason)) = current.downcast_ref::<Refused>() {
            return Early::Failed(ToolError::Denied(reason.clone()));
        }
        cause = current.source();
    }
    Early::Failed(ToolError::Unreachable {
        server: url.host_str().unwrap_or_default().to_owned(),
        detail: if error.is_timeout() { "no connection in time" } else { "the request failed" }.to_owned(),
        source: Some(Box::new(Arc::new(error.without_url()))),
    })
}

#[cfg(test)]
mod tests;
