//! What went wrong between us and a server, in plain words: the client library's own name its types.

use std::error::Error as StdError;

use regex::Regex;
use rmcp::ServiceError;
use rmcp::service::ClientInitializeError;
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use crate::task::with_causes;
use crate::tools::text::without_nul;

/// What the library's words about a status begin with.
const HTTP: &str = "HTTP ";

/// How much of an answer is told, in characters.
const SAID: usize = 300;

/// Why no connection came to be.
pub(super) fn of_start(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => of_transport(error),
        // The older protocol is tried last, and what came of it counts.
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_start(fallback),
        ClientInitializeError::ExpectedInitResponse(_) | ClientInitializeError::ExpectedInitResult(_) => {
            "it answered, but not as an MCP server does".to_owned()
        }
        other => without_keys(&with_causes(other)),
    }
}

/// Why a request was not answered.
pub(super) fn of_service(error: &ServiceError) -> String {
    match error {
        ServiceError::TransportSend(error) => of_transport(error),
        other => without_keys(&with_causes(other)),
    }
}

/// Why a message did not get through.
pub(super) fn of_transport(error: &DynamicTransportError) -> String {
    match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::Client(error)) => of_client(error),
        Some(StreamableHttpError::AuthRequired(_)) => {
            "it asks who we are (401): give it a key in `headers`".to_owned()
        }
        Some(StreamableHttpError::HttpStatus(answer)) => match &answer.retry_after {
            Some(wait) => format!("it answered {answer} and asks to wait ({wait})"),
            None => format!("it answered {answer}"),
        },
        Some(StreamableHttpError::UnexpectedServerResponse(said)) if said.starts_with(HTTP) => {
            let said: String = without_keys(said).chars().take(SAID).collect();
            format!("it answered {said}")
        }
        Some(other) => without_keys(&with_causes(other)),
        None => without_keys(&with_causes(error.error.as_ref())),
    }
}

/// The status with which a server refused a request.
pub(super) fn status_of(error: &DynamicTransportError) -> Option<u16> {
    match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>()? {
        StreamableHttpError::AuthRequired(_) => Some(401),
        StreamableHttpError::InsufficientScope(_) => Some(403),
        StreamableHttpError::HttpStatus(answer) => Some(answer.status),
        // The library tells the others in words alone.
        StreamableHttpError::UnexpectedServerResponse(said) => {
            said.strip_prefix(HTTP)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        }
        _ => None,
    }
}

/// Of the causes of the HTTP client the last one is for people: `Connection refused`.
fn of_client(error: &reqwest::Error) -> String {
    let place = error.url().map_or_else(|| "its address".to_owned(), |url| without_keys(url.as_str()));
    let what = match (error.is_connect(), error.is_timeout()) {
        (true, _) => format!("no connection to {place}"),
        (false, true) => format!("no answer in time from {place}"),
        (false, false) => format!("the request to {place} failed"),
    };
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    match causes.last() {
        Some(cause) => format!("{what}: {}", without_keys(&cause.to_string())),
        None => what,
    }
}

/// A text without what is often a key in an address.
fn without_keys(message: &str) -> String {
    const KEYS: &str = r"(https?://)(?:[^/\s@]+@)?([^\s?)]+)(?:\?[^\s)]*)?";
    match Regex::new(KEYS) {
        Ok(keys) => without_nul(keys.replace_all(message, "$1$2").into_owned()),
        Err(_) => "the request failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_addresses_do_not_reach_the_journal() {
        assert_eq!(
            without_keys("sending to url (https://me:pw@host:1/mcp?key=secret): refused"),
            "sending to url (https://host:1/mcp): refused"
        );
    }

    #[tokio::test]
    async fn an_address_without_a_server_is_told_with_the_last_cause_alone() {
        // Whoever is given a port and does not listen leaves it free for nobody.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://me:pw@127.0.0.1:{port}/mcp?key=secret");
        let told = of_client(&reqwest::get(url).await.unwrap_err());
        let expected = format!("no connection to http://127.0.0.1:{port}/mcp: Connection refused");
        assert!(told.starts_with(&expected), "{told}");
    }
}
