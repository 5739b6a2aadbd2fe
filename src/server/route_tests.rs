//! The routes, from the request to the reply, over a real database.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::fixture::{Fixture, Reply, USER};
use super::{Access, ServerConfig};
use crate::task::TaskId;

const UNKNOWN: &str = "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70";

fn error(reply: &Reply) -> (u16, String) {
    assert_eq!(reply.headers["content-type"], "application/json");
    (reply.status, reply.json()["error"].as_str().unwrap().to_owned())
}

fn refused(status: u16, message: &str) -> (u16, String) {
    (status, message.to_owned())
}

fn problem(reply: &Reply) -> (u16, String) {
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status);
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:longhaul:error:{code}"));
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    (reply.status, code.to_owned())
}

fn status_of(id: TaskId) -> String {
    format!("/api/chat/orchestrate?taskId={id}")
}

fn plan_rule() -> Value {
    json!({"role": "plan", "reply": {"json": {"reason": "", "steps": [
        {"id": "a", "description": "look", "type": "llm-reasoning", "estimatedDuration": 1500},
        {"id": "b", "description": "write", "type": "llm-reasoning"},
    ]}}})
}

mod orchestrate {
    use super::*;

    #[tokio::test]
    async fn a_start_is_answered_with_the_plan() {
        let fixture = Fixture::scripted(json!([plan_rule()])).await;
        let body =
            json!({"goal": "Migrate all TODOs", "threadId": "thread-123", "mentions": [], "agentId": null});
        let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let mut started = reply.json();
        let id: TaskId = serde_json::from_value(started["taskId"].take()).unwrap();
        let expected = json!({
            "taskId": null,
            "status": "queued",
            "strategy": {"steps": [
                {"id": "step-1", "description": "look", "type": "llm-reasoning", "status": "pending", "estimatedDuration": 1500},
                {"id": "step-2", "description": "write", "type": "llm-reasoning", "status": "pending"},
            ], "totalSteps": 2},
            "estimatedDuration": 31.5,
            "message": "Task queued for execution. 2 steps planned.",
        });
        assert_eq!(started, expected);
        assert!(fixture.repository().load(id).await.unwrap().is_some());
        assert_eq!(
            fixture.repository().thread("thread-123").await.unwrap().unwrap().title,
            "Migrate all TODOs"
        );
    }

    #[tokio::test]
    async fn a_start_without_its_fields_is_refused() {
        let fixture = Fixture::new().await;
        for body in
            [json!({}), json!({"goal": "g"}), json!({"goal": "", "threadId": "t"}), json!({"goal": null})]
        {
            let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
            assert_eq!(error(&reply), refused(400, "Missing required fields: goal, threadId"));
        }
    }

    #[tokio::test]
    async fn bad_starts_name_what_is_bad() {
        let fixture = Fixture::new().await;
        for (body, begins) in [
            (json!({"goal": 5, "threadId": "t"}), "goal: invalid type"),
            (json!({"goal": "g", "threadId": ["t"]}), "threadId: invalid type"),
            (json!({"goal": "g", "threadId": "t\u{0}"}), "threadId: must have"),
            (json!({"goal": "x".repeat(100_000), "threadId": "t"}), "goal: has 100000 bytes"),
            (json!({"goal": " ", "threadId": "t"}), "goal: is empty"),
            (
                json!({"goal": "g", "threadId": "t", "allowedMcpServers": {"s": 1}}),
                "allowedMcpServers.s: invalid type",
            ),
        ] {
            let (status, message) =
                error(&fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await);
            assert_eq!(status, 400);
            assert!(message.starts_with(begins), "{message}");
        }
        let request = Request::post("/api/chat/orchestrate").body(Body::from("{\"goal\": ")).unwrap();
        assert_eq!(error(&fixture.ask(request).await).0, 400);
    }

    #[tokio::test]
    async fn a_large_body_is_refused_as_such() {
        let fixture = Fixture::new().await;
        let body = json!({"goal": "x".repeat(2_000_000), "threadId": "t"});
        let (status, message) = error(&fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await);
        assert_eq!(status, 413);
        assert!(message.contains("server.maxBodyBytes"));
    }

    #[tokio::test]
    async fn a_model_that_cannot_be_asked_is_told_with_what_to_do() {
        let fixture = Fixture::new().await;
        let body = json!({"goal": "g", "threadId": "t", "chatModel": {"provider": "nobody", "model": "m"}});
        let (status, message) = error(&fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await);
        assert_eq!(status, 422, "{message}");
        assert!(message.contains("nobody"), "{message}");
    }

    #[tokio::test]
    async fn the_thread_of_somebody_else_is_forbidden() {
        let fixture = Fixture::scripted(json!([plan_rule()])).await;
        fixture.repository().open_thread("t", "somebody", "title").await.unwrap();
        let body = json!({"goal": "g", "threadId": "t"});
        let reply = fixture.send(Method::POST, "/api/chat/orchestrate", Some(body)).await;
        assert_eq!(error(&reply), refused(403, "Forbidden"));
    }

    #[tokio::test]
    async fn a_task_is_shown_in_the_original_fields() {
        let fixture = Fixture::new().await;
        let task = fixture.task("the goal").await;
        let reply = fixture.get(&status_of(task.id)).await;
        assert_eq!(reply.status, 200);
        let status = reply.json();
        let fields: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "taskId",
            "status",
            "goal",
            "progress",
            "currentStep",
            "totalSteps",
            "steps",
            "latestTraces",
            "context",
            "lastError",
            "createdAt",
            "updatedAt",
            "completedAt",
        ];
        assert_eq!(fields, expected);
        assert_eq!((&status["status"], &status["totalSteps"]), (&json!("pending"), &json!(3)));
        assert_eq!(status["latestTraces"][2]["message"], "Planned 3 steps");
    }

    #[tokio::test]
    async fn status_and_cancel_refuse_in_the_original_words() {
        let fixture = Fixture::new().await;
        let foreign = fixture.task_of("somebody", "g").await;
        for method in [Method::GET, Method::DELETE] {
            let ask = async |uri: &str| error(&fixture.send(method.clone(), uri, None).await);
            assert_eq!(ask("/api/chat/orchestrate").await, refused(400, "Missing taskId parameter"));
            assert_eq!(ask("/api/chat/orchestrate?taskId=").await, refused(400, "Missing taskId parameter"));
            assert_eq!(
                ask(&format!("/api/chat/orchestrate?taskId={UNKNOWN}")).await,
                refused(404, "Task not found")
            );
            assert_eq!(ask(&status_of(foreign.id)).await, refused(403, "Forbidden"));
            let (status, message) = ask("/api/chat/orchestrate?taskId=task-789").await;
            assert_eq!(status, 400);
            assert!(message.starts_with("taskId: "));
        }
    }

    #[tokio::test]
    async fn defect_4_cancelled_is_shown_as_cancelled_and_only_once() {
        let fixture = Fixture::new().await;
        let task = fixture.task("g").await;
        let reply = fixture.send(Method::DELETE, &status_of(task.id), None).await;
        let expected =
            json!({"taskId": task.id, "status": "cancelled", "message": "Task cancelled successfully"});
        assert_eq!((reply.status, reply.json()), (200, expected));
        let again = fixture.send(Method::DELETE, &status_of(task.id), None).await;
        assert_eq!(error(&again), refused(400, "Cannot cancel task with status: cancelled"));
        assert_eq!(fixture.get(&status_of(task.id)).await.json()["status"], "cancelled");
    }
}

mod access {
    use super::*;

    async fn guarded() -> Fixture {
        let access = Access::new(Some("s3cret".into()), Some("system".into()));
        Fixture::with(access, ServerConfig::default(), json!([])).await
    }

    async fn get(fixture: &Fixture, uri: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        fixture.ask(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn the_key_opens_and_nothing_else_does() {
        let fixture = guarded().await;
        let uri = "/api/chat/orchestrate";
        assert_eq!(error(&get(&fixture, uri, &[]).await), refused(401, "Unauthorized"));
        let wrong = get(&fixture, uri, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(wrong.headers["www-authenticate"], "Bearer");
        assert_eq!(error(&wrong), refused(401, "Invalid API key"));
        let right = get(&fixture, uri, &[("authorization", "Bearer s3cret"), ("host", "example.com")]).await;
        assert_eq!(error(&right), refused(400, "Missing taskId parameter"));
        assert_eq!(problem(&get(&fixture, "/api/tasks", &[]).await), refused(401, "unauthorized"));
    }

    #[tokio::test]
    async fn a_caller_with_the_key_is_the_system_user() {
        let fixture = guarded().await;
        fixture.task_of("system", "mine").await;
        fixture.task_of("somebody", "theirs").await;
        let tasks = get(&fixture, "/api/tasks", &[("authorization", "Bearer s3cret")]).await.json();
        assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1);
        assert_eq!(tasks["tasks"][0]["goal"], "mine");
    }

    #[tokio::test]
    async fn health_needs_no_key() {
        let fixture = guarded().await;
        let health = get(&fixture, "/healthz", &[]).await;
        assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
        assert_eq!(get(&fixture, "/readyz", &[]).await.status, 200);
    }

    #[tokio::test]
    async fn without_a_key_foreign_pages_are_turned_away() {
        let fixture = Fixture::new().await;
        let rebound = get(&fixture, "/api/tasks", &[("host", "evil.example:8080")]).await;
        assert_eq!(problem(&rebound), refused(403, "foreign_origin"));
        let page = [("host", "localhost:8080"), ("origin", "https://evil.example")];
        assert_eq!(error(&get(&fixture, "/api/chat", &page).await).0, 403);
        let own = [("host", "localhost:8080"), ("origin", "http://localhost:8080")];
        assert_eq!(get(&fixture, "/api/tasks", &own).await.status, 200);
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_json_too() {
        let fixture = Fixture::new().await;
        assert_eq!(problem(&get(&fixture, "/nowhere", &[]).await), refused(404, "route_not_found"));
        assert_eq!(error(&get(&fixture, "/api/chat/nowhere", &[]).await).0, 404);
        let wrong = get(&fixture, "/api/chat", &[]).await;
        assert_eq!(wrong.headers["allow"], "POST");
        assert_eq!(error(&wrong).0, 405);
        let wrong = fixture.send(Method::PUT, "/api/tasks", Some(json!({}))).await;
        assert_eq!(problem(&wrong), refused(405, "method_not_allowed"));
    }
}

mod tasks {
    use super::*;

    #[tokio::test]
    async fn a_list_is_filtered_and_paged() {
        let fixture = Fixture::new().await;
        let first = fixture.task("one").await;
        let second = fixture.task("two").await;
        fixture.orchestrator.cancel(first.id, USER).await.unwrap();
        let page = fixture.get("/api/tasks?limit=1").await.json();
        assert_eq!(page["tasks"][0]["id"], json!(second.id));
        assert_eq!(page["nextBefore"], json!(second.id));
        let rest = fixture.get(&format!("/api/tasks?before={}", second.id)).await.json();
        assert_eq!(rest["tasks"][0]["id"], json!(first.id));
        assert_eq!(rest["nextBefore"], Value::Null);
        let live = fixture.get("/api/tasks?status=pending,running&threadId=thread+of+local").await.json();
        assert_eq!(live["tasks"].as_array().unwrap().len(), 1);
        for bad in ["status=done", "limit=0", "limit=x", "before=task-1"] {
            assert_eq!(
                problem(&fixture.get(&format!("/api/tasks?{bad}")).await),
                refused(400, "invalid_request"),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn a_task_its_steps_and_its_journal_are_shown() {
        let fixture = Fixture::new().await;
        let task = fixture.task("the goal").await;
        let base = format!("/api/tasks/{}", task.id);
        let shown = fixture.get(&base).await.json();
        assert_eq!(
            (&shown["goal"], &shown["seq"], &shown["status"]),
            (&json!("the goal"), &json!(3), &json!("pending"))
        );
        let steps = fixture.get(&format!("{base}/steps")).await.json();
        assert_eq!(steps["steps"].as_array().unwrap().len(), 3);
        assert_eq!((&steps["steps"][1]["id"], &steps["steps"][1]["index"]), (&json!("step-2"), &json!(1)));
        let traces = fixture.get(&format!("{base}/traces?after=1&limit=1")).await.json();
        assert_eq!(traces["nextAfter"], 2);
        let fields: Vec<&String> = traces["traces"][0].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["seq", "at", "epoch", "type", "kind", "message", "step", "data"]);
        assert_eq!(
            (&traces["traces"][0]["seq"], &traces["traces"][0]["kind"]),
            (&json!(2), &json!("detected"))
        );
    }

    #[tokio::test]
    async fn a_task_is_paused_resumed_and_cancelled() {
        let fixture = Fixture::new().await;
        let task = fixture.task("g").await;
        let act = async |verb: &str, body: Option<Value>| {
            fixture.send(Method::POST, &format!("/api/tasks/{}/{verb}", task.id), body).await
        };
        let paused = act("pause", None).await.json();
        assert_eq!((&paused["status"], &paused["pause"]["reason"]), (&json!("paused"), &json!("user")));
        assert_eq!(problem(&act("pause", None).await), refused(409, "task_status"));
        let skip = act("resume", Some(json!({"outcome": "skip"}))).await;
        assert_eq!(problem(&skip), refused(400, "invalid_request"), "no call has an unknown outcome");
        assert_eq!(
            problem(&act("resume", Some(json!({"outcome": "perhaps"}))).await),
            refused(400, "invalid_request")
        );
        assert_eq!(act("resume", None).await.json()["status"], "pending");
        assert_eq!(act("cancel", None).await.json()["status"], "cancelled");
        assert_eq!(problem(&act("cancel", None).await), refused(409, "task_status"));
    }

    #[tokio::test]
    async fn foreign_unknown_and_bad_ids_are_told_apart() {
        let fixture = Fixture::new().await;
        let foreign = fixture.task_of("somebody", "g").await.id.to_string();
        for (id, expected) in [
            (foreign.as_str(), refused(403, "forbidden")),
            (UNKNOWN, refused(404, "task_not_found")),
            ("x", refused(400, "invalid_request")),
        ] {
            for rest in ["", "/steps", "/traces", "/events"] {
                assert_eq!(problem(&fixture.get(&format!("/api/tasks/{id}{rest}")).await), expected);
            }
            for verb in ["pause", "resume", "cancel"] {
                let reply = fixture.send(Method::POST, &format!("/api/tasks/{id}/{verb}"), None).await;
                assert_eq!(problem(&reply), expected);
            }
        }
    }

    #[tokio::test]
    async fn worker_tools_and_models_are_shown() {
        let fixture = Fixture::new().await;
        fixture.task("g").await;
        let worker = fixture.get("/api/worker").await.json();
        assert_eq!(worker["worker"]["name"], "idle");
        assert_eq!((&worker["stats"]["due"], &worker["database"]["embedded"]), (&json!(1), &json!(true)));
        assert_eq!(fixture.get("/api/tools").await.json(), json!({"tools": [], "mcpServers": []}));
        let models = fixture.get("/api/models").await.json();
        assert_eq!((&models["default"], &models["offline"]), (&json!("scripted/test"), &json!(false)));
    }
}

mod events {
    use super::*;

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
}

mod chat {
    use super::*;

    const COMPLEX: &str = "Find every TODO comment in this repository and write a report";

    fn body(id: &str, text: &str) -> Value {
        json!({"id": "thread", "message": {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}})
    }

    fn rules() -> Value {
        json!([plan_rule(), {"role": "chat", "reply": {"text": "It is Paris."}}])
    }

    async fn post(fixture: &Fixture, body: Value) -> Reply {
        fixture.send(Method::POST, "/api/chat", Some(body)).await
    }

    async fn kept(fixture: &Fixture) -> Vec<(String, String)> {
        let messages = fixture.repository().messages("thread", 100).await.unwrap();
        messages.iter().map(|message| (message.role.clone(), message.parts.to_string())).collect()
    }

    fn types(chunks: &[Value]) -> Vec<&str> {
        chunks.iter().map(|chunk| chunk["type"].as_str().unwrap()).collect()
    }

    fn texts(chunks: &[Value]) -> String {
        chunks
            .iter()
            .filter_map(|chunk| (chunk["type"] == "text-delta").then(|| chunk["delta"].as_str().unwrap()))
            .collect()
    }

    #[tokio::test]
    async fn a_simple_message_is_answered_as_a_stream_and_kept() {
        let fixture = Fixture::scripted(rules()).await;
        let reply = post(&fixture, body("m1", "What is the capital of France?")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.headers["x-vercel-ai-ui-message-stream"], "v1");
        let chunks = reply.chunks();
        assert_eq!(types(&chunks)[..3], ["start", "start-step", "text-start"]);
        assert!(types(&chunks).ends_with(&["text-end", "finish-step", "finish"]));
        assert_eq!(texts(&chunks), "It is Paris.");
        let kept = kept(&fixture).await;
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[1], ("assistant".into(), r#"[{"type":"text","text":"It is Paris."}]"#.into()));
    }

    #[tokio::test]
    async fn what_was_said_before_is_told_to_the_model() {
        let rules = json!([
            {"role": "chat", "turn": 0, "contains": "capital of France", "reply": {"text": "Paris"}},
            {"role": "chat", "contains": "And of Italy", "reply": {"text": "Rome"}},
        ]);
        let fixture = Fixture::scripted(rules).await;
        post(&fixture, body("m1", "What is the capital of France?")).await;
        let reply = post(&fixture, body("m2", "And of Italy?")).await;
        assert_eq!(texts(&reply.chunks()), "Rome");
        assert_eq!(kept(&fixture).await.len(), 4);
    }

    #[tokio::test]
    async fn a_failing_model_ends_the_stream_with_an_error_that_is_kept() {
        let fixture =
            Fixture::scripted(json!([{"role": "chat", "reply": {"error": {"kind": "quota"}}}])).await;
        let chunks = post(&fixture, body("m1", "What is the capital of France?")).await.chunks();
        assert_eq!(types(&chunks), ["start", "start-step", "finish-step", "error", "finish"]);
        let kept = kept(&fixture).await;
        assert!(kept[1].1.contains("data-error") && kept[1].1.contains("provider_quota"), "{kept:?}");
    }

    #[tokio::test]
    async fn defect_13_a_complex_message_is_kept_and_becomes_a_task() {
        let fixture = Fixture::scripted(rules()).await;
        let reply = post(&fixture, body("msg-456", COMPLEX)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let answer = reply.json();
        assert_eq!(
            (&answer["id"], &answer["role"], &answer["orchestrated"]),
            (&json!("msg-456"), &json!("assistant"), &json!(true))
        );
        assert!(
            answer["content"].as_str().unwrap().starts_with("I'll work on this as a long-running task. ")
        );
        let kept = kept(&fixture).await;
        assert_eq!((kept[0].0.as_str(), kept[1].0.as_str()), ("user", "assistant"));
        let id: TaskId = serde_json::from_value(answer["taskId"].clone()).unwrap();
        assert_eq!(fixture.repository().load(id).await.unwrap().unwrap().spec().goal, COMPLEX);
    }

    #[tokio::test]
    async fn the_message_is_kept_even_if_no_task_comes_of_it() {
        let fixture =
            Fixture::scripted(json!([{"role": "plan", "reply": {"error": {"kind": "unavailable"}}}])).await;
        assert_eq!(error(&post(&fixture, body("m", COMPLEX)).await).0, 503);
        assert_eq!(kept(&fixture).await.len(), 1);
    }

    #[tokio::test]
    async fn a_repeated_request_does_not_start_the_work_twice() {
        let fixture = Fixture::scripted(rules()).await;
        let first = post(&fixture, body("m", COMPLEX)).await.json();
        let second = post(&fixture, body("m", COMPLEX)).await.json();
        assert_eq!(first, second);
        assert_eq!(kept(&fixture).await.len(), 2);
        let edited = post(&fixture, body("m", &format!("{COMPLEX}, and a summary"))).await.json();
        assert_ne!(first["taskId"], edited["taskId"]);
    }

    #[tokio::test]
    async fn without_automatic_tools_nothing_becomes_a_task() {
        let fixture = Fixture::scripted(rules()).await;
        for choice in ["none", "manual"] {
            let mut body = body("m", COMPLEX);
            body["toolChoice"] = json!(choice);
            assert_eq!(texts(&post(&fixture, body).await.chunks()), "It is Paris.");
        }
    }

    #[tokio::test]
    async fn use_chat_gets_a_stream_that_stays_open_over_the_task() {
        let fixture = Fixture::scripted(rules()).await;
        let mut message = body("m", COMPLEX)["message"].take();
        message["metadata"] = json!({"any": 1});
        let body = json!({"id": "thread", "trigger": "submit-message", "messages": [message]});
        let end = async {
            let mut changes = fixture.repository().changes();
            let task = changes.recv().await.unwrap();
            fixture.orchestrator.cancel(task.id, USER).await.unwrap();
        };
        let (reply, ()) = tokio::join!(post(&fixture, body), end);
        let chunks = reply.chunks();
        assert_eq!(chunks[0]["messageMetadata"]["orchestrated"], true);
        assert!(types(&chunks).ends_with(&["finish-step", "finish"]));
        let said = texts(&chunks);
        assert!(
            said.contains("I'll work on this")
                && said.contains("2. write")
                && said.contains("Task cancelled by local")
        );
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_task_waits_for_somebody() {
        let fixture = Fixture::scripted(rules()).await;
        let mut changes = fixture.repository().changes();
        post(&fixture, body("m", COMPLEX)).await;
        let task = changes.recv().await.unwrap();
        fixture.orchestrator.pause(task.id, USER).await.unwrap();
        let request = Request::post("/api/chat").header("accept", "text/event-stream");
        let request = request.body(Body::from(body("m", COMPLEX).to_string())).unwrap();
        let chunks = fixture.ask(request).await.chunks();
        assert!(texts(&chunks).contains("Paused: paused by local"));
        assert!(types(&chunks).ends_with(&["finish-step", "finish"]));
    }

    #[tokio::test]
    async fn a_shutdown_ends_open_streams_and_says_that_the_task_goes_on() {
        let fixture = Fixture::scripted(rules()).await;
        post(&fixture, body("m", COMPLEX)).await;
        fixture.shutdown.cancel();
        let request = Request::post("/api/chat").header("accept", "text/event-stream");
        let request = request.body(Body::from(body("m", COMPLEX).to_string())).unwrap();
        let chunks = fixture.ask(request).await.chunks();
        assert!(texts(&chunks).contains("goes on with the next start"));
        assert!(types(&chunks).ends_with(&["finish-step", "finish"]));
    }

    #[tokio::test]
    async fn the_thread_of_somebody_else_is_forbidden() {
        let fixture = Fixture::scripted(rules()).await;
        fixture.repository().open_thread("thread", "somebody", "title").await.unwrap();
        let reply = post(&fixture, body("m", "What is the capital of France?")).await;
        assert_eq!(error(&reply), refused(403, "Forbidden"));
        assert!(kept(&fixture).await.is_empty());
    }

    #[tokio::test]
    async fn nul_characters_do_no_harm() {
        let fixture = Fixture::scripted(rules()).await;
        let reply = post(&fixture, body("m", "What is the \u{0} capital of France?")).await;
        assert_eq!(texts(&reply.chunks()), "It is Paris.");
        assert!(kept(&fixture).await[0].1.contains('\u{fffd}'));
    }
}

#[tokio::test]
async fn serving_ends_with_its_streams() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(super::serve(listener, fixture.router(), fixture.shutdown.clone()));
    let uri = format!("http://{address}/api/tasks/{}/events?after=2", task.id);
    let mut response = reqwest::Client::builder().no_proxy().build().unwrap().get(uri).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 3\n"));
    fixture.shutdown.cancel();
    assert_eq!(response.chunk().await.unwrap(), None, "the stream ends properly");
    serving.await.unwrap().unwrap();
}
