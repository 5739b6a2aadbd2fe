//! Sends long texts compressed to clients that take them so.
//!
//! Only what is known to be whole text is touched. A stream must not wait until there is enough to
//! compress, and the files of the pages and packed recordings are compressed already.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate, SizeAbove};

/// Bytes up to which a reply is sent as it is: it fits into one packet anyway.
const SMALL: u64 = 1024;

/// What is compressed, without its parameters.
const TEXTS: [&str; 4] = ["application/json", "application/problem+json", "text/csv", "text/plain"];

/// Whether a reply may be compressed, by its headers.
type Wanted = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// The layer over all routes. What better compression would save costs more time than it does on the way.
pub(super) fn layer() -> CompressionLayer<And<SizeAbove, Wanted>> {
    let wanted = SizeAbove::new(SMALL).and(is_text as Wanted);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(wanted)
}

fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    TEXTS.contains(&media.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
    use reqwest::{Client, Response};
    use tokio::net::TcpListener;

    use crate::server::fixture::Fixture;
    use crate::server::serve;

    /// What comes over the wire, byte by byte as it was sent.
    struct Wire {
        address: String,
        client: Client,
    }

    impl Wire {
        async fn to(fixture: &Fixture) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(serve(listener, fixture.router(), fixture.shutdown.clone()));
            Self { address, client: Client::builder().no_proxy().no_gzip().build().unwrap() }
        }

        async fn get(&self, path: &str, encodings: &str) -> Response {
            let request = self.client.get(format!("{}{path}", self.address)).header(ACCEPT, "text/html, */*");
            request.header(ACCEPT_ENCODING, encodings).send().await.unwrap()
        }

        /// How the answer to `path` is encoded for a browser.
        async fn encoding(&self, path: &str) -> Option<String> {
            let reply = self.get(path, "gzip, deflate, br, zstd").await;
            reply.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
        }
    }

    #[tokio::test]
    async fn a_long_answer_is_compressed_for_those_who_take_it_so() {
        let fixture = Fixture::new().await;
        for number in 0..20 {
            fixture.task(&format!("look at module {number}")).await;
        }
        let wire = Wire::to(&fixture).await;
        let reply = wire.get("/api/tasks", "gzip, deflate, br").await;
        assert_eq!(reply.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(reply.headers()[VARY], "accept-encoding");
        let small = reply.bytes().await.unwrap();
        assert_eq!(small[..2], [0x1f, 0x8b], "gzip says so in its first bytes");

        let plain = wire.get("/api/tasks", "identity").await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let plain = plain.text().await.unwrap();
        assert!(small.len() * 4 < plain.len(), "{} of {}", small.len(), plain.len());
        let client = Client::builder().no_proxy().gzip(true).build().unwrap();
        let read = client.get(format!("{}/api/tasks", wire.address)).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), plain);
    }

    #[tokio::test]
    async fn what_is_short_streamed_or_compressed_already_is_sent_as_it_is() {
        let fixture = Fixture::new().await;
        let task = fixture.task(&"a goal of many words ".repeat(200)).await;
        let wire = Wire::to(&fixture).await;
        assert_eq!(wire.encoding(&format!("/api/tasks/{}", task.id)).await.as_deref(), Some("gzip"));
        for (path, why) in [
            ("/healthz".to_owned(), "is short"),
            ("/api/tasks?limit=x".to_owned(), "is short"),
            (format!("/api/tasks/{}/events", task.id), "is a stream"),
            (format!("/api/tasks/{}/export", task.id), "is written line by line"),
        ] {
            assert_eq!(wire.encoding(&path).await, None, "{path} {why}");
        }
    }

    #[tokio::test]
    async fn the_files_of_the_pages_are_compressed_once() {
        let fixture = Fixture::new().await;
        let wire = Wire::to(&fixture).await;
        let reply = wire.get("/", "gzip").await;
        let is_zipped = reply.headers().contains_key(CONTENT_ENCODING);
        let bytes = reply.bytes().await.unwrap();
        assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), is_zipped);
        let client = Client::builder().no_proxy().gzip(true).build().unwrap();
        let page = client.get(format!("{}/", wire.address)).header(ACCEPT, "text/html").send().await.unwrap();
        assert!(page.text().await.unwrap().to_lowercase().starts_with("<!doctype html>"));
    }
}
