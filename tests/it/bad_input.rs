//! Bad input gets a clear, coded error, and nothing is lost by it.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::postgres;
use crate::program::{Program, Server};

/// One planned call of a tool of the counting server.
fn one_call(tool: &str, arguments: &Value) -> Value {
    json!({"rules": [
        {"role": "plan", "contains": "has to be revised", "reply": {"text": "I have no other plan."}},
        {"role": "plan", "contains": "cannot be used", "reply": {"text": "I have no other plan."}},
        {"role": "plan", "reply": {"json": {"steps": [
            {"id": "a", "description": "Call it", "type": "tool-call",
             "tool": {"name": tool, "arguments": arguments}}]}}},
        {"role": "execute", "reply": {"text": "done"}},
    ]})
}

fn good() -> Value {
    one_call("world_read", &json!({"label": "x"}))
}

/// Asks for something that is refused; the message.
async fn refused(program: &Program, server: &Server, body: &Value, status: u16) -> String {
    let (got, reply) = program.post(server, "/api/chat/orchestrate", body).await.unwrap();
    assert_eq!(got, status, "{body}: {reply}");
    reply["error"].as_str().unwrap_or_else(|| panic!("no message: {reply}")).to_owned()
}

fn joined(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nothing_has_are_refused_with_those_there_are() {
    let program = Program::new(&good());
    let server = program.serve(&[]).await;
    let says = async |body: Value, words: &str| {
        let message = refused(&program, &server, &body, 400).await;
        assert!(message.contains(words), "'{message}' does not say '{words}'");
    };
    let mention = |mention: Value| json!({"goal": "x", "threadId": "t", "mentions": [mention]});
    let server_of = |id: &str| json!({"type": "mcpServer", "name": "W", "serverId": id});
    let tool_of = |name: &str| json!({"type": "mcpTool", "name": name, "serverId": "world"});
    let built_in = |name: &str| json!({"type": "defaultTool", "name": name, "label": "T"});
    says(mention(server_of("wrld")), "mentions: there is no MCP server 'wrld': world").await;
    says(mention(tool_of("raed")), "mentions: the MCP server 'world' has no tool 'raed': ").await;
    says(mention(built_in("clock")), "mentions: there is no built-in tool 'clock': ask_person").await;
    says(mention(built_in("workflow_x")), "mentions: there is no workflow 'x': there are none").await;
    let allowed = json!({"goal": "x", "threadId": "t", "allowedMcpServers": {"wrld": {"tools": []}}});
    says(allowed, "allowedMcpServers: there is no MCP server 'wrld': world").await;
    let unknown = json!({"allowedAppDefaultToolkit": ["clock", "workspce"]});
    let words =
        "allowedAppDefaultToolkit: there is no built-in toolkit or tool 'workspce': calculation, clock";
    says(joined(json!({"goal": "x", "threadId": "t"}), &unknown), words).await;
    let message = json!({"role": "user", "parts": [{"type": "text", "text": "hello"}]});
    let schedule = json!({"cron": "0 9 * * *", "task": joined(json!({"goal": "x"}), &unknown)});
    for (route, body) in [
        ("/api/chat", joined(json!({"id": "t", "message": message}), &unknown)),
        ("/api/chat/plan", joined(json!({"goal": "x", "threadId": "t"}), &unknown)),
        ("/api/schedules", schedule),
    ] {
        let (status, reply) = program.post(&server, route, &body).await.unwrap();
        assert!(status == 400 && reply.to_string().contains(words), "{route}: {status} {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_refused_and_leave_nothing_behind() {
    let program = Program::new(&good());
    let server = program.serve(&[]).await;
    let says = async |body: Value, status: u16, words: &str| {
        let message = refused(&program, &server, &body, status).await;
        assert!(message.contains(words), "'{message}' does not say '{words}'");
    };
    says(json!({"threadId": "t"}), 400, "Missing required fields: goal, threadId").await;
    says(json!({"goal": "", "threadId": "t"}), 400, "Missing required fields: goal, threadId").await;
    says(json!({"goal": 7, "threadId": "t"}), 400, "goal").await;
    says(json!({"goal": "x", "threadId": "t", "mentions": "all"}), 400, "mentions").await;
    says(
        json!({"goal": "x", "threadId": "t", "chatModel": {"provider": "nobody", "model": "x"}}),
        422,
        "nobody",
    )
    .await;
    says(json!({"goal": "x".repeat(900_000), "threadId": "t"}), 400, "at most").await;
    let malformed = program.request("POST", &server, "/api/chat/orchestrate");
    let malformed =
        malformed.header("content-type", "application/json").body("{\"goal\": ").send().await.unwrap();
    assert_eq!(malformed.status(), 400);
    for id in ["", "x", "../../etc/passwd", "01a2046d-f1fb-74f0-877e"] {
        let (status, reply) = program.get(&server, &format!("/api/chat/orchestrate?taskId={id}")).await;
        assert!(status == 400 || status == 404, "{id}: {status} {reply}");
        assert!(reply["error"].is_string(), "{reply}");
    }
    let (_, list) = program.get(&server, "/api/tasks").await;
    assert_eq!(list["tasks"], json!([]));
    // The server answers before it has read such a body, and hangs up: a client that still
    // writes may see the broken pipe instead of the answer, so it asks until it sees it.
    for (route, bytes) in [("/api/chat/detect", 3_000_000), ("/api/chat/orchestrate", 17_000_000)] {
        let endless = json!({"text": "x".repeat(bytes), "goal": "x", "threadId": "t"});
        let mut seen = None;
        while seen.is_none() {
            seen = program.post(&server, route, &endless).await;
        }
        assert_eq!(seen.map(|(status, _)| status), Some(413), "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_characters_are_taken_by_both_engines() {
    for database in [None, Some(postgres::fresh_url().await)] {
        let program = Program::on(database, &one_call("world_read", &json!({"label": "a\0b"})), "");
        let server = program.serve(&[]).await;
        let id = program.orchestrate(&server, "Read\0 this").await.unwrap();
        let task = program.until(&server, &id, &["completed", "failed"]).await;
        assert_eq!(task["status"], "completed", "{task:#}");
        assert_eq!(task["goal"], "Read\u{fffd} this");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_cannot_be_carried_out_become_one_honest_step() {
    let step = |number: usize| json!({"id": number.to_string(), "description": "x", "type": "llm-reasoning"});
    let too_long: Vec<Value> = (0..10_000).map(step).collect();
    let cycle = json!([
        {"id": "a", "description": "x", "type": "llm-reasoning", "dependsOn": ["b"]},
        {"id": "b", "description": "y", "type": "llm-reasoning", "dependsOn": ["a"]},
    ]);
    let unknown = json!([{"id": "a", "description": "x", "type": "tool-call",
        "tool": {"name": "rm_rf", "arguments": {}}}]);
    for (steps, planned) in [(json!(too_long), 1), (cycle, 1), (unknown, 1)] {
        let program = Program::new(&json!({"rules": [
            {"role": "plan", "reply": {"json": {"steps": steps}}},
            {"role": "execute", "reply": {"text": "done"}}]}));
        let server = program.serve(&[]).await;
        let id = program.orchestrate(&server, "Carry this out").await.unwrap();
        let task = program.until(&server, &id, &["completed"]).await;
        assert_eq!(task["totalSteps"], planned, "{task:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_misbehaves_is_told_apart_by_what_it_may_have_done() {
    let cases = [
        ("world_huge", json!({"bytes": 50_000_000}), "failed", "tool_output_too_large"),
        ("world_hang", json!({}), "paused", "may or may not"),
        ("world_die", json!({}), "paused", "connection was lost"),
        ("world_fail", json!({"message": "no such thing"}), "failed", "no such thing"),
    ];
    for (tool, arguments, status, words) in cases {
        let timeout = if tool == "world_hang" { "callTimeoutMs = 500\n" } else { "" };
        let program = Program::on(None, &one_call(tool, &arguments), timeout);
        let server = program.serve(&[]).await;
        let id = program.orchestrate(&server, "Call the tool").await.unwrap();
        let task = program.until(&server, &id, &["completed", "failed", "paused"]).await;
        assert_eq!(task["status"], status, "{tool}: {task:#}");
        let said =
            program.traces(&server, &id).await.iter().map(|trace| trace.to_string()).collect::<String>();
        let is_told = said.contains(words) || tool == "world_hang" && said.contains("no answer within");
        assert!(is_told, "{tool}: nobody says '{words}': {said}");
        let is_call = |line: &&Value| tool == format!("world_{}", line["tool"].as_str().unwrap_or_default());
        let calls = program.ledger("tool-ledger.jsonl").iter().filter(is_call).count();
        assert!(calls <= 1, "{tool} was called {calls} times");
        assert_eq!(program.run(&["doctor"]).0, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_and_a_taken_file_have_codes_of_their_own() {
    let program = Program::on(Some("postgres://nobody@127.0.0.1:1/none".to_owned()), &good(), "");
    let (code, _, said) = program.run(&["task", "list"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("database_unavailable"), "{said}");
    let program = Program::new(&good());
    let _server = program.serve(&[]).await;
    let (code, _, said) = program.run(&["worker"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("database_in_use") && said.contains("DATABASE_URL"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_program_or_build_are_left_alone_and_it_says_so() {
    const OTHERS: &str = "CREATE TABLE task_execution (id text)";
    const EDITED: &str = "UPDATE longhaul_migration SET text_hash = 'of another text' WHERE version = 1";
    for foreign in [true, false] {
        let embedded = Program::new(&good());
        let clustered = Program::on(Some(postgres::fresh_url().await), &good(), "");
        for program in [&embedded, &clustered] {
            if !foreign {
                assert_eq!(program.run(&["migrate"]).0, 0);
            }
        }
        let change = if foreign { OTHERS } else { EDITED };
        let url = format!("sqlite://{}?mode=rwc", embedded.database);
        let mut file = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(change).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
        let mut cluster = PgConnection::connect(&clustered.database).await.unwrap();
        sqlx::raw_sql(change).execute(&mut cluster).await.unwrap();
        for program in [&embedded, &clustered] {
            for command in [&["run", "Count the files"][..], &["migrate"], &["serve"], &["task", "list"]] {
                let (code, _, said) = program.run(command);
                assert_eq!(code, 4, "{command:?}: {said}");
                assert!(said.contains("database_schema") && said.contains("--db"), "{command:?}: {said}");
            }
        }
        let table = "SELECT count(*) FROM task_execution_trace";
        let touched = sqlx::query(table).fetch_one(&mut cluster).await.is_ok();
        assert_eq!(touched, !foreign, "no table was added to those of another program");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_is_wrong() {
    let program = Program::new(&good());
    let says = |arguments: &[&str], code: i32, words: &str| {
        let (got, _, said) = program.run(arguments);
        assert_eq!(got, code, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: '{said}' does not say '{words}'");
    };
    says(&["run", ""], 2, "goal");
    says(&["run", "--model", "nonsense", "Do it"], 2, "provider/model");
    says(&["run", "--model", "anthropic/x", "Do it"], 5, "ANTHROPIC_API_KEY");
    says(&["task", "show", "zz"], 2, "");
    says(&["task", "show", "00000000-0000-0000-0000-000000000000"], 1, "longhaul task list");
    says(&["task", "show", "00000000-0000-0000-0000-000000000000"], 1, "task_not_found");
    says(&["task", "replay", "nowhere.json"], 1, "nowhere.json cannot be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_there_already_is_left_as_it_is() {
    let program = Program::new(&good());
    let (code, printed, said) = program.run(&["run", "--json", "Call the tool of the world once"]);
    assert_eq!(code, 0, "{said}");
    let end: Value =
        printed.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let id = end["taskId"].as_str().expect("its id");
    let file = program.directory.path().join("task.json").display().to_string();
    let file = file.as_str();
    assert_eq!(program.run(&["task", "export", id, "--output", file]).0, 0);
    let (code, _, said) = program.run(&["task", "import", file]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("task_exists") && said.contains("longhaul task show"), "{said}");
}
