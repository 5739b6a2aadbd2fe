//! Keeps foreign web pages away from a server that asks for no key.
//!
//! Such a server listens on loopback only, but every page that is open in a browser on the
//! same machine can send requests there. A page of another origin is known by its `Origin`
//! header; one that made its own host name point here (DNS rebinding) by its `Host` header.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::state::AppState;

/// Turns foreign pages away where no key does.
pub(super) async fn keep_foreign_pages_out(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    if !state.access.needs_key()
        && let Some(refusal) = foreign(request.headers(), request.uri().authority().map(|host| host.as_str()))
    {
        return refusal.into_response();
    }
    next.run(request).await
}

/// Why a request is taken for that of a foreign page. Programs that are no browsers send
/// neither header, or send a loopback host.
fn foreign(headers: &HeaderMap, authority: Option<&str>) -> Option<ApiError> {
    let host = text(headers, &HOST).or_else(|| authority.map(str::to_owned));
    if host.as_deref().is_some_and(|host| !is_loopback(host)) {
        return Some(ApiError::foreign(
            "without CHAT_API_KEY this server answers to loopback host names only",
        ));
    }
    let origin = text(headers, &ORIGIN)?;
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match (own, host) {
        (Some(origin), Some(host)) if origin == host => None,
        _ => Some(ApiError::foreign("without CHAT_API_KEY this server refuses requests of other web pages")),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    // Bytes that are no text must not pass for an absent header.
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_foreign(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap())));
        foreign(&headers, None).is_some()
    }

    #[test]
    fn programs_and_our_own_page_come_in() {
        assert!(foreign(&HeaderMap::new(), None).is_none());
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "[::1]:8080", "ui.localhost:1"] {
            assert!(!is_foreign(host, None), "{host}");
            assert!(!is_foreign(host, Some(&format!("http://{host}"))), "{host}");
        }
    }

    #[test]
    fn foreign_pages_stay_out() {
        for origin in [
            "https://evil.example",
            "http://localhost:9999",
            "null",
            "file://",
            "http://localhost:8080.evil.example",
        ] {
            assert!(is_foreign("localhost:8080", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn rebound_names_stay_out() {
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "[fe80::1]:80",
            "127.0.0.1.evil.example:1",
        ] {
            assert!(is_foreign(host, None), "{host}");
        }
    }
}
