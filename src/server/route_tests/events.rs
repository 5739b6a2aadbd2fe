//! The live journal.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::super::fixture::{Fixture, USER};
use super::{problem, refused};

#[tokio::test]
async fn the_journal_is_streamed_to_its_end() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let uri = format!("/api/tasks/{}/events", task.id);
    let cancel = async {
        fixture.orchestrator.pause(task.id, USER).await.unwrap();
        fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    };
    let (reply, ()) = tokio::join!(fixture.get(&uri), cancel);
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    let ids: Vec<&str> = reply.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    let last = reply.text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("event: cancelled\n"), "{last}");
    let data: Value = serde_json::from_str(last.rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(
        (&data["seq"], &data["kind"], &data["data"]["by"]),
        (&json!(5), &json!("cancelled"), &json!(USER))
    );
}

#[tokio::test]
async fn a_reconnection_goes_on_behind_what_the_client_has() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    let ask = async |after: &str, header: Option<&str>| {
        let mut request = Request::get(format!("/api/tasks/{}/events{after}", task.id));
        if let Some(id) = header {
            request = request.header("Last-Event-ID", id);
        }
        fixture.ask(request.body(Body::empty()).unwrap()).await
    };
    assert!(ask("?after=2", None).await.text.starts_with("id: 3\n"));
    assert!(ask("?after=1", Some("3")).await.text.starts_with("id: 4\n"));
    assert_eq!(ask("", Some("4")).await.status, 204);
    assert_eq!(problem(&ask("", Some("four")).await), refused(400, "invalid_request"));
}
