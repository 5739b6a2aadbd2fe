//! What happened, as numbers, as CSV and for Prometheus.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::super::fixture::{Fixture, USER};
use super::{problem, refused};
use crate::repository::analytics::Reach;

/// Two tasks, one of which was cancelled, and one of somebody else; all of it counted.
async fn counted() -> Fixture {
    let fixture = Fixture::new().await;
    let task = fixture.task("one").await;
    fixture.task("two").await;
    fixture.task_of("somebody", "three").await;
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    while fixture.repository().analytics().count(&Reach::All).await.unwrap() > 0 {}
    fixture
}

#[tokio::test]
async fn the_counters_are_those_of_the_caller() {
    let fixture = counted().await;
    let overview = fixture.get("/api/analytics/overview").await.json();
    assert_eq!(
        overview["tasks"],
        json!({"created": 2, "completed": 0, "failed": 0, "cancelled": 1, "successRate": null})
    );
    assert_eq!(overview["now"]["waiting"], 1);
    assert_eq!(overview["now"]["oldest"]["goal"], "two");
    assert_eq!(overview["duration"]["p50Ms"].as_u64(), overview["duration"]["p99Ms"].as_u64());
}

#[tokio::test]
async fn a_series_has_every_piece_of_its_time() {
    let fixture = counted().await;
    let series = fixture.get("/api/analytics/tasks?bucket=1h").await.json();
    let points = series["points"].as_array().unwrap();
    assert_eq!(points.len(), 25, "a day, and the hour it began in");
    let sum = |field: &str| points.iter().map(|point| point[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("created"), sum("cancelled")), (2, 1));
    assert_eq!(series["bucketMs"], 3_600_000);
}

#[tokio::test]
async fn tables_are_told_as_csv_to_whoever_wants_that() {
    let fixture = counted().await;
    let durations = fixture.get("/api/analytics/durations?by=task&format=csv").await;
    assert_eq!(durations.headers["content-type"], "text/csv; charset=utf-8");
    let lines: Vec<&str> = durations.text.lines().collect();
    assert_eq!(lines[0], "name,count,failed,retried,meanMs,p50Ms,p95Ms,p99Ms");
    assert!(lines[1].starts_with("cancelled,1,0,0,"), "{lines:?}");
    let request = Request::get("/api/analytics/usage?by=model").header("accept", "text/csv");
    let usage = fixture.ask(request.body(Body::empty()).unwrap()).await;
    let head = "name,calls,inputTokens,outputTokens,cachedTokens,costUsd,unpricedCalls\r\n";
    assert_eq!(usage.text, head, "columns stand without rows, too");
    let json = fixture.get("/api/analytics/usage?by=time&bucket=6h").await.json();
    assert!(json["rows"].as_array().unwrap().len() >= 4, "{json}");
}

#[tokio::test]
async fn failures_are_told_with_a_task_that_met_them() {
    let fixture = counted().await;
    let failures = fixture.get("/api/analytics/failures").await.json();
    assert_eq!(failures["failures"], json!([]));
    let csv = fixture.get("/api/analytics/failures?format=csv").await;
    assert_eq!(csv.text, "code,message,count,calls,steps,tasks,lastAt,exampleTaskId\r\n");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    for query in ["overview?from=now", "durations", "durations?by=moon", "usage?by=time&bucket=2h"] {
        let reply = fixture.get(&format!("/api/analytics/{query}")).await;
        assert_eq!(problem(&reply), refused(400, "invalid_request"), "{query}");
    }
    let day = fixture.get("/api/analytics/tasks?bucket=1m").await;
    assert_eq!(day.status, 200, "a day by the minute is not too much");
}

#[tokio::test]
async fn prometheus_reads_the_same_figures_over_all_users() {
    let fixture = counted().await;
    let page = fixture.get("/metrics").await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "longhaul_tasks_created_total 3",
        "longhaul_tasks_ended_total{status=\"cancelled\"} 1",
        "longhaul_tasks{state=\"waiting\"} 2",
        "longhaul_workers{presence=\"working\"} 0",
    ] {
        assert!(page.text.lines().any(|known| known == line), "{line} is not in\n{}", page.text);
    }
    let value = |name: &str| {
        let line = page.text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<f64>().unwrap()
    };
    assert!(value("longhaul_oldest_waiting_seconds ") >= 0.0);
    let names: Vec<&str> = page.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let families: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(families.len(), names.len(), "a family is told once");
    assert!(matches!(page.text.chars().last(), Some('\n')));
}
