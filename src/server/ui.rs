//! The web pages: the files that `ui/build.rs` put into the program, and the one page behind
//! every address of theirs.
//!
//! The files hold nothing secret and need no key; what they show, they ask the API for.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

/// A file of the pages.
#[derive(Debug)]
struct Asset {
    /// As it is asked for, without the first slash.
    path: &'static str,
    /// Changes with the contents.
    tag: &'static str,
    bytes: &'static [u8],
    /// The same, compressed, where that is smaller.
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/ui_assets.rs"));

/// The page that every address of the pages is answered with.
const INDEX: &str = "index.html";

/// Scripts and styles only from here, nothing inline, nothing from elsewhere, and no text that
/// becomes markup: what models and tools say is shown, never carried out.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Answers whatever no route does: with a file, or with the page if a browser wants to show
/// something. Programs that ask for a path that is not there are told so.
pub(super) async fn page(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return ApiError::no_route().into_response();
    }
    match find(path) {
        Some(asset) => reply(asset, request.headers()),
        None if is_address_of_pages(path) && wants_html(request.headers()) => match find(INDEX) {
            Some(index) => reply(index, request.headers()),
            None => ApiError::no_route().into_response(),
        },
        None => ApiError::no_route().into_response(),
    }
}

fn find(path: &str) -> Option<&'static Asset> {
    let path = if path.is_empty() { INDEX } else { path };
    ASSETS.iter().find(|asset| asset.path == path)
}

/// An old page that asks for a file of an old version must not get a page instead of it.
fn is_address_of_pages(path: &str) -> bool {
    !["api", "assets"].contains(&path.split('/').next().unwrap_or_default())
}

fn wants_html(headers: &HeaderMap) -> bool {
    text(headers, ACCEPT).is_some_and(|accept| accept.contains("text/html"))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn reply(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let takes_gzip = text(headers, ACCEPT_ENCODING).is_some_and(|known| known.contains("gzip"));
    let (bytes, gzip) = match asset.gzip {
        Some(small) if takes_gzip => (small, "-gzip"),
        _ => (asset.bytes, ""),
    };
    let tag = format!("\"{}{gzip}\"", asset.tag);
    let is_known =
        text(headers, IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(bytes).into_response(),
    };
    let mut set = |name, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, media_type(asset.path));
    set(VARY, "accept-encoding");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    // The names of these files change with their contents.
    let is_hashed = asset.path.starts_with("assets/");
    set(CACHE_CONTROL, if is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" });
    if asset.path == INDEX {
        set(CONTENT_SECURITY_POLICY, POLICY);
        set(X_FRAME_OPTIONS, "DENY");
    }
    if !gzip.is_empty() && !is_known {
        set(CONTENT_ENCODING, "gzip");
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::request::Builder;

    use super::*;
    use crate::server::fixture::{Fixture, Reply};

    async fn ask(path: &str, more: impl Fn(Builder) -> Builder) -> Reply {
        let request = more(Request::builder().uri(path)).body(Body::empty()).unwrap();
        Fixture::new().await.ask(request).await
    }

    fn for_a_browser(request: Builder) -> Builder {
        request.header(ACCEPT, "text/html,application/xhtml+xml")
    }

    #[tokio::test]
    async fn every_address_of_the_pages_is_the_page() {
        for path in ["/", "/tasks", "/tasks/0190a5e4/trace?seq=3"] {
            let reply = ask(path, for_a_browser).await;
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.headers["content-type"], "text/html; charset=utf-8");
            assert_eq!(reply.headers["cache-control"], "no-cache");
            let policy = reply.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
        }
    }

    #[tokio::test]
    async fn programs_and_missing_files_get_no_page() {
        for path in ["/api/nothing", "/api", "/assets/of-an-old-version.js"] {
            assert_eq!(ask(path, for_a_browser).await.status, 404, "{path}");
        }
        let json = ask("/tasks", |request| request.header(ACCEPT, "application/json")).await;
        assert_eq!(json.json()["code"], "route_not_found");
        assert_eq!(ask("/tasks", |request| for_a_browser(request).method("POST")).await.status, 404);
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let first = ask("/", for_a_browser).await;
        let tag = first.headers["etag"].clone();
        let again = ask("/", |request| for_a_browser(request).header(IF_NONE_MATCH, &tag)).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
        let zipped = ask("/", |request| for_a_browser(request).header(ACCEPT_ENCODING, "gzip, br")).await;
        let is_zipped = zipped.headers.get(CONTENT_ENCODING).is_some();
        assert_eq!(is_zipped, zipped.headers["etag"] != tag, "each form has a tag of its own");
    }
}
