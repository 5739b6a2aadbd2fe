//! What may be fetched, from whom, and how much of it. All servers are on loopback.

use axum::Router;
use axum::http::Uri;
use axum::response::Redirect;
use axum::routing::get;
use serde_json::json;

use super::super::{built_in, tests::context};
use super::*;
use crate::task::FaultClass;
use crate::tools::ToolOutput;

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn fetch(url: &str, allow_private: bool) -> Result<ToolOutput, ToolError> {
    built_in(Fetch::new(allow_private)).call(json!({"url": url}), context()).await
}

#[tokio::test]
async fn a_page_is_read_with_its_status_and_type() {
    let base = serve(Router::new().route("/a", get(|| async { "hello, world\0" }))).await;
    let output = fetch(&format!("{base}/a"), true).await.unwrap();
    assert_eq!(
        output.content,
        json!({"url": format!("{base}/a"), "status": 200, "contentType": "text/plain; charset=utf-8",
               "body": "hello, world\u{fffd}", "truncated": false,
               "summary": format!("`{base}/a`: status 200, `text/plain; charset=utf-8`, 13 bytes")})
    );
    let missing = fetch(&format!("{base}/none"), true).await.unwrap();
    assert_eq!((missing.content["status"].clone(), missing.is_error), (json!(404), false));
}

#[tokio::test]
async fn who_needs_the_page_itself_is_told_that_it_is_not_there() {
    use axum::http::{StatusCode, header};
    let busy = async || (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "7")], "later");
    let router = Router::new()
        .route("/busy", get(busy))
        .route("/many", get(async || StatusCode::TOO_MANY_REQUESTS))
        .route("/a", get(async || "here"));
    let base = serve(router).await;
    let fetch = async |path: &str| {
        let arguments = json!({"url": format!("{base}{path}"), "mustSucceed": true});
        built_in(Fetch::new(true)).call(arguments, context()).await
    };
    assert_eq!(fetch("/a").await.unwrap().content["body"], json!("here"));
    let missing = fetch("/none").await.unwrap_err().fault();
    assert_eq!((missing.code.as_str(), missing.class), ("http_status", FaultClass::Permanent));
    assert_eq!(missing.message, format!("{base}/none answered 404 Not Found"));
    let busy = fetch("/busy").await.unwrap_err().fault();
    assert_eq!((busy.class, busy.retry_after_ms), (FaultClass::Transient, Some(7_000)));
    assert_eq!(fetch("/many").await.unwrap_err().fault().class, FaultClass::RateLimited);
}

#[tokio::test]
async fn what_is_no_text_is_refused_whatever_it_is_called() {
    use axum::http::header;
    let typed =
        |kind: &'static str, body: &'static [u8]| get(async move || ([(header::CONTENT_TYPE, kind)], body));
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0\xe9\x8a\x1d\x57\xb1\xff\xfe\x9c";
    let router = Router::new()
        .route("/image", typed("image/png", b"\x89PNG"))
        .route("/zip", typed("application/octet-stream", zip))
        .route("/liar", typed("text/html", zip))
        .route("/drawing", typed("image/svg+xml", b"<svg/>"))
        .route("/unnamed", typed("application/octet-stream", b"a text"));
    let base = serve(router).await;
    for (path, kind) in [("image", "image/png"), ("zip", "application/octet-stream"), ("liar", "text/html")] {
        let output = fetch(&format!("{base}/{path}"), true).await.unwrap();
        let said = format!("{base}/{path} answered 200 OK with {kind}, which is no text");
        assert_eq!((output.is_error, output.content), (true, json!(said)));
    }
    for path in ["drawing", "unnamed"] {
        assert!(!fetch(&format!("{base}/{path}"), true).await.unwrap().is_error, "{path}");
    }
}

#[tokio::test]
async fn a_long_page_is_cut() {
    let base = serve(Router::new().route("/", get(|| async { "x".repeat(3 * MAX_BODY_BYTES) }))).await;
    let content = fetch(&base, true).await.unwrap().content;
    assert_eq!(content["truncated"], json!(true));
    assert_eq!(content["body"].as_str().unwrap().len(), MAX_BODY_BYTES);
}

#[tokio::test]
async fn private_addresses_are_refused_before_anything_is_sent() {
    let base = serve(Router::new().route("/", get(|| async { "secret" }))).await;
    let port = base.rsplit(':').next().unwrap();
    for url in [
        base.clone(),
        format!("http://localhost:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://user:pass@127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://100.64.0.1/".to_owned(),
    ] {
        let error = fetch(&url, false).await.unwrap_err();
        assert_eq!(error.code(), "tool_denied", "{url}: {error:?}");
        assert!(!error.may_have_taken_effect());
    }
}

#[tokio::test]
async fn only_the_web_is_fetched() {
    for url in ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "data:text/plain,x"] {
        assert_eq!(fetch(url, true).await.unwrap_err().code(), "tool_denied", "{url}");
    }
    assert_eq!(fetch("not an address", true).await.unwrap_err().code(), "tool_arguments");
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let router = Router::new()
        .route("/from", get(|| async { Redirect::temporary("/to") }))
        .route("/to", get(|| async { "arrived" }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/out", get(|| async { Redirect::temporary("file:///etc/passwd") }));
    let base = serve(router).await;
    let content = fetch(&format!("{base}/from"), true).await.unwrap().content;
    assert_eq!((&content["body"], &content["url"]), (&json!("arrived"), &json!(format!("{base}/to"))));
    let endless = fetch(&format!("{base}/loop"), true).await.unwrap_err();
    assert!(endless.to_string().contains("more than 5 redirects"), "{endless:?}");
    assert_ne!(
        fetch(&format!("{base}/out"), true).await.ok().map(|o| o.content["status"].clone()),
        Some(json!(200))
    );
}

#[tokio::test]
async fn what_an_address_confides_to_a_host_is_redirected_to_no_other() {
    let other = serve(Router::new().fallback(|| async { "got it" })).await;
    let router = Router::new()
        .route("/there", get(move |uri: Uri| async move { Redirect::temporary(&format!("{other}{uri}")) }))
        .route("/here", get(|| async { Redirect::temporary("/end") }))
        .route("/end", get(|| async { "arrived" }));
    let base = serve(router).await;
    let confided = async |path: &str| {
        let tool = built_in(Fetch::new(true));
        let context = CallContext { is_confidential: true, ..context() };
        tool.call(json!({"url": format!("{base}{path}")}), context).await
    };
    assert_eq!(confided("/here?key=value").await.unwrap().content["body"], "arrived");
    let refused = confided("/there?key=value").await.unwrap_err();
    assert!(refused.to_string().contains("may not be given a secret"), "{refused}");
    assert_eq!(fetch(&format!("{base}/there"), true).await.unwrap().content["body"], "got it");
}

#[tokio::test]
async fn the_guard_stands_at_every_redirect() {
    // The policy itself is asked, because no public server may be used here to redirect inwards.
    for url in ["http://127.0.0.1/", "http://[::1]/", "file:///etc/passwd"] {
        assert!(check_url(&Url::parse(url).unwrap(), false).is_err(), "{url}");
    }
    let base =
        serve(Router::new().route("/", get(|| async { Redirect::temporary("http://10.0.0.1/") }))).await;
    let client =
        Client::builder().redirect(Policy::custom(|attempt| follow(attempt, false, false))).build().unwrap();
    let url = Url::parse(&base).unwrap();
    let error = client.get(url.clone()).send().await.map_err(|error| failed(&url, error)).err().unwrap();
    assert!(matches!(error, Early::Failed(ToolError::Denied(_))));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = fetch(&format!("http://{address}/"), true).await.unwrap_err();
    assert_eq!(error.code(), "tool_unreachable");
}

#[tokio::test]
async fn a_request_carries_its_key_and_stays_where_it_was_sent() {
    use axum::http::HeaderMap;
    use axum::routing::post;
    let echo = async |headers: HeaderMap, body: String| {
        let text =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        axum::Json(
            json!({"key": text("idempotency-key"), "own": text("x-own"), "type": text("content-type"), "body": body}),
        )
    };
    let router =
        Router::new().route("/", post(echo)).route("/away", post(|| async { Redirect::temporary("/") }));
    let base = serve(router).await;
    let send = async |arguments: serde_json::Value, hosts: &[&str], allow_private: bool| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let config = crate::tools::HttpRequestConfig { hosts, ..Default::default() };
        built_in(Submit::new(allow_private, config)).call(arguments, context()).await
    };
    let arguments = json!({"method": "POST", "url": base, "headers": {"X-Own": "7"}, "body": {"amount": 7}});
    let answer = send(arguments.clone(), &["127.0.0.1"], true).await.unwrap().content;
    let seen: serde_json::Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(seen["key"], json!(context().idempotency_key));
    assert_eq!(
        (&seen["own"], &seen["type"], &seen["body"]),
        (&json!("7"), &json!("application/json"), &json!(r#"{"amount":7}"#))
    );
    let away = json!({"method": "POST", "url": format!("{base}/away")});
    assert_eq!(send(away, &[], true).await.unwrap().content["status"], json!(307), "nobody is followed");
    for (arguments, hosts, allow_private) in [
        (arguments.clone(), &["api.example.com"][..], true),
        (arguments, &[], false),
        (json!({"method": "POST", "url": base, "headers": {"Idempotency-Key": "mine"}}), &[], true),
    ] {
        assert_eq!(send(arguments, hosts, allow_private).await.unwrap_err().code(), "tool_denied");
    }
    let get = json!({"method": "GET", "url": base});
    assert_eq!(send(get, &[], true).await.unwrap_err().code(), "tool_arguments");
}
