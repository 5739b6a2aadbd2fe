//! Who may come in: a bearer key, or nobody but this machine.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::error::ApiError;
use super::state::AppState;

/// Whose tasks they are when nobody says so.
const LOCAL_USER: &str = "local";

/// Who may come in, and as whom.
#[derive(Debug, Clone)]
pub struct Access {
    /// The bearer key (`CHAT_API_KEY`). Without one, only this machine may come in.
    pub key: Option<SecretString>,
    /// The user whom a caller acts as (`SYSTEM_USER_ID`).
    pub system_user: String,
}

/// The server would be open to the network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "refusing to listen on {0}: anybody who reaches it could use your models and tools. Set CHAT_API_KEY to a \
     long random text, or listen on 127.0.0.1 only"
)]
pub struct OpenBind(pub SocketAddr);

/// The user on whose behalf a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller(pub(super) String);

impl Access {
    /// Access by key, if there is one. Blank values count as absent, for that is what an empty
    /// line in an environment file means.
    pub fn new(key: Option<SecretString>, system_user: Option<String>) -> Self {
        Self {
            key: key.filter(|key| !key.expose_secret().trim().is_empty()),
            system_user: system_user
                .filter(|user| !user.trim().is_empty())
                .unwrap_or_else(|| LOCAL_USER.to_owned()),
        }
    }

    /// Whether a request has to bring a key.
    pub fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    fn admit(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if let Some(key) = &self.key {
            let given = bearer(headers).map(<[u8]>::to_vec).or_else(|| protocol(headers));
            let given = given.ok_or_else(|| ApiError::unauthorized("Unauthorized"))?;
            if !is_same(key.expose_secret().as_bytes(), &given) {
                return Err(ApiError::unauthorized("Invalid API key"));
            }
        }
        Ok(Caller(self.system_user.clone()))
    }
}

/// Refuses to listen beyond this machine without a key.
pub fn refuse_open_bind(address: SocketAddr, access: &Access) -> Result<(), OpenBind> {
    if access.needs_key() || address.ip().to_canonical().is_loopback() {
        Ok(())
    } else {
        Err(OpenBind(address))
    }
}

/// What follows `Bearer `.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

/// The key as a browser brings it, which cannot send a header with a WebSocket but can name
/// subprotocols: `bearer.` and the key in hexadecimal digits.
fn protocol(headers: &HeaderMap) -> Option<Vec<u8>> {
    headers.get(UPGRADE)?;
    let named = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let digits =
        named.flat_map(|names| names.split(',')).find_map(|name| name.trim().strip_prefix("bearer."))?;
    let digits = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

/// Compares the hashes, so that neither the time nor the length of the comparison says
/// anything about the key.
fn is_same(key: &[u8], given: &[u8]) -> bool {
    Sha256::digest(key).as_slice().ct_eq(Sha256::digest(given).as_slice()).into()
}

/// Lets a request through as somebody, or not at all.
pub(super) async fn authenticate(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    match state.access.admit(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::unauthorized("Unauthorized"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key() -> Access {
        Access::new(Some("s3cret".into()), Some("system".into()))
    }

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
    }

    fn refusal(authorization: &str) -> String {
        with_key().admit(&headers(authorization)).unwrap_err().message
    }

    #[test]
    fn only_the_key_opens() {
        assert_eq!(with_key().admit(&HeaderMap::new()).unwrap_err().message, "Unauthorized");
        assert_eq!(refusal("Basic s3cret"), "Unauthorized");
        assert_eq!(refusal("Bearer"), "Unauthorized");
        assert_eq!(refusal("Bearer s3cre"), "Invalid API key");
        assert_eq!(refusal("Bearer s3cret2"), "Invalid API key");
        assert_eq!(with_key().admit(&headers("bearer s3cret")).unwrap(), Caller("system".into()));
    }

    #[test]
    fn a_browser_names_the_key_among_the_subprotocols_of_a_websocket() {
        let named = |protocols: &'static str, is_upgrade: bool| {
            let mut headers =
                HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocols))]);
            if is_upgrade {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            }
            with_key().admit(&headers).map_err(|refusal| refusal.message)
        };
        let system = Ok(Caller("system".into()));
        assert_eq!(named("longhaul, bearer.733363726574", true), system);
        assert_eq!(named("bearer.733363726574", false), Err("Unauthorized".to_owned()));
        assert_eq!(named("bearer.7333637265", true), Err("Invalid API key".to_owned()));
        for broken in ["bearer.7", "bearer.zz", "longhaul"] {
            assert_eq!(named(broken, true), Err("Unauthorized".to_owned()), "{broken}");
        }
    }

    #[test]
    fn a_blank_key_is_no_key() {
        let access = Access::new(Some(" ".into()), Some(String::new()));
        assert!(!access.needs_key());
        assert_eq!(access.admit(&HeaderMap::new()).unwrap(), Caller("local".into()));
    }

    #[test]
    fn the_key_never_shows() {
        assert!(!format!("{:?}", with_key()).contains("s3cret"));
    }

    #[test]
    fn without_a_key_only_loopback_is_listened_on() {
        let open = Access::new(None, None);
        for inside in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(refuse_open_bind(inside.parse().unwrap(), &open), Ok(()), "{inside}");
        }
        for outside in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1"] {
            let refused = refuse_open_bind(outside.parse().unwrap(), &open).unwrap_err();
            assert!(refused.to_string().contains("CHAT_API_KEY"));
            assert_eq!(refuse_open_bind(outside.parse().unwrap(), &with_key()), Ok(()), "{outside}");
        }
    }
}
