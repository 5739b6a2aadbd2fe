//! The HTTP client that all providers share.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use super::ModelError;

/// Builds the client. On a machine without CA certificates it can still reach plain-HTTP
/// servers such as a local Ollama; only HTTPS then fails, call by call and with a reason.
pub(super) fn http_client(connect: Duration) -> Result<Client, ModelError> {
    builder(connect).build().or_else(|_| builder(connect).tls_certs_only([]).build()).map_err(|error| {
        ModelError::NotConfigured(format!("no HTTP client can be made on this machine: {error}"))
    })
}

fn builder(connect: Duration) -> ClientBuilder {
    // A redirect would carry the key in a header of the provider's own to wherever it points.
    Client::builder().connect_timeout(connect).redirect(Policy::none()).tcp_nodelay(true)
}
