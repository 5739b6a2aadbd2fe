//! People and the real program: what waits for them survives `kill -9`, over API and command line.

use serde_json::{Value, json};

use crate::program::{Program, Server};

/// One planned call of a tool of the counting server.
fn script(tool: &str, arguments: Value) -> Value {
    json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [
        {"id": "a", "description": "Pay", "type": "tool-call",
         "tool": {"name": tool, "arguments": arguments}}]}}}]})
}

const CAUTIOUS: &str = r#"
tools = { count = { effect = "unsafe", reconcile = "world_outcome" } }

[orchestrator.approval]
tools = { world_count = true }
"#;

async fn inbox(program: &Program, server: &Server) -> Vec<Value> {
    let (status, reply) = program.get(server, "/api/inbox").await;
    assert_eq!(status, 200, "{reply}");
    reply["requests"].as_array().unwrap().clone()
}

fn calls(program: &Program, tool: &str) -> usize {
    program.ledger("tool-ledger.jsonl").iter().filter(|line| line["tool"] == tool).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_survives_kills_and_is_used_once() {
    let program = Program::on(None, &script("world_count", json!({"label": "money"})), CAUTIOUS);
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Pay").await.unwrap();
    program.until(&server, &id, &["paused"]).await;
    server.kill();
    let mut server = program.serve(&[]).await;
    let mut approvals = 0;
    while program.until(&server, &id, &["paused", "completed", "failed"]).await["status"] == "paused" {
        let open = inbox(&program, &server).await;
        assert_eq!(
            (open.len(), &open[0]["kind"], &open[0]["arguments"]),
            (1, &json!("approval"), &json!({"label": "money"}))
        );
        let path = format!("/api/inbox/{}", open[0]["id"].as_str().unwrap());
        let (status, reply) = program.post(&server, &path, &json!({"decision": "approve"})).await.unwrap();
        assert_eq!(status, 200, "{reply}");
        approvals += 1;
        if approvals == 1 {
            // The worker may or may not have dispatched the call by now.
            server.kill();
            server = program.serve(&[]).await;
        }
        let (status, reply) = program.post(&server, &path, &json!({"decision": "approve"})).await.unwrap();
        assert_eq!((status, &reply["code"]), (409, &json!("request_closed")), "{reply}");
    }
    let ended = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!(calls(&program, "count"), 1);
    let (_, effects) = program.get(&server, &format!("/api/tasks/{id}/effects")).await;
    assert_eq!(effects["effects"][0]["state"], "committed", "{effects}");
    server.terminate();
    let (code, printed, _) = program.run(&["doctor"]);
    assert_eq!(code, 0, "{printed}");
}

/// The parts of the newest message of a conversation that are requests, as a page that is loaded now has them.
async fn asked(program: &Program, server: &Server) -> Vec<Value> {
    let (_, kept) = program.get(server, "/api/chat/chat/messages").await;
    let last = kept["messages"].as_array().and_then(|all| all.last()).unwrap_or_else(|| panic!("{kept}"));
    let parts = last["parts"].as_array().unwrap().iter();
    parts.filter(|part| part["type"] == "data-request").cloned().collect()
}

/// The chunks of the stream of that conversation that are about requests.
fn told(stream: &str) -> Vec<Value> {
    let lines = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let chunks = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    chunks.filter(|chunk| chunk["type"] == "data-request").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_loaded_again_shows_what_its_task_asks_and_answers_it() {
    let steps = [("a", "money"), ("b", "more")].map(|(id, label)| {
        json!({"id": id, "description": "Pay", "type": "tool-call", "dependsOn": [],
            "tool": {"name": "world_count", "arguments": {"label": label}}})
    });
    let rules = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": steps}}}]});
    let program = Program::on(None, &rules, CAUTIOUS);
    let server = program.serve(&[]).await;
    let goal = "Read everything here and then pay for all of it, and for the rest";
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": goal}]});
    let body = json!({"id": "chat", "message": message});
    let request = program.request("POST", &server, "/api/chat").header("accept", "text/event-stream");
    let live = told(&request.json(&body).send().await.unwrap().text().await.unwrap());
    let open = asked(&program, &server).await;
    assert_eq!(live, open, "the stream and what is kept say the same");
    let fact = |at: usize, key: &str| open[at]["data"][key].clone();
    assert_eq!((open.len(), fact(0, "kind"), fact(0, "state")), (2, json!("approval"), json!("open")));
    assert_eq!((fact(1, "tool"), fact(1, "arguments")), (json!("world_count"), json!({"label": "more"})));
    assert!(fact(0, "expiresAt").is_string() && fact(0, "decisions")[0] == "approve", "{open:#?}");
    for (at, word) in
        [json!({"decision": "deny", "reason": "dear"}), json!({"decision": "skip"})].iter().enumerate()
    {
        let path = format!("/api/inbox/{}", open[at]["id"].as_str().unwrap());
        let (status, reply) = program.post(&server, &path, word).await.unwrap();
        assert_eq!(status, 200, "{reply}");
    }
    let id = open[0]["data"]["taskId"].as_str().unwrap();
    program.until(&server, id, &["completed", "failed", "paused"]).await;
    assert!(asked(&program, &server).await.iter().all(|part| part["id"] != open[0]["id"]), "it is answered");
    let again = program.request("GET", &server, &format!("/api/chat/{id}/stream")).send().await.unwrap();
    let again = told(&again.text().await.unwrap());
    assert_eq!(again[..2], live, "what was told is told again");
    let states = |at: usize| -> Value {
        let of_it = again.iter().filter(|chunk| chunk["id"] == open[at]["id"]);
        of_it.map(|chunk| chunk["data"]["state"].clone()).collect()
    };
    assert_eq!(
        (states(0), states(1)),
        (json!(["open", "answered"]), json!(["open", "closed"])),
        "{again:#?}"
    );
    let denied = again.iter().find(|chunk| chunk["data"]["state"] == "answered").unwrap();
    assert_eq!(denied["data"]["answer"]["reason"], "dear", "{denied}");
    assert_eq!(calls(&program, "count"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_the_inbox_and_answers() {
    let program = Program::on(None, &script("world_count", json!({"label": "money"})), CAUTIOUS);
    let (code, printed, errors) = program.run(&["run", "Pay"]);
    assert_eq!(code, 6, "{printed}{errors}");
    assert!(errors.contains("task approve"), "{errors}");
    let (code, printed, errors) = program.run(&["inbox"]);
    assert_eq!(code, 0, "{errors}");
    assert!(printed.contains("world_count") && printed.contains(r#"{"label":"money"}"#), "{printed}");
    let (_, printed, _) = program.run(&["inbox", "--json"]);
    let open: Value = serde_json::from_str(&printed).unwrap();
    let id = open[0]["taskId"].as_str().unwrap();
    program.run(&["run", "Pay again"]);
    let (_, printed, _) = program.run(&["inbox", "--task", id, "--json"]);
    let of_one: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(of_one, open, "what others ask is left out");
    let (code, _, errors) = program.run(&["task", "approve", id, "--arguments", r#"{"label": 7}"#]);
    assert!(code == 2 && errors.contains("do not fit world_count: at /label"), "{errors}");
    let (code, printed, errors) = program.run(&["task", "tell", id, "Hurry up"]);
    assert_eq!(code, 0, "{printed}{errors}");
    let (code, printed, errors) =
        program.run(&["task", "approve", id, "--arguments", r#"{"label": "less"}"#]);
    assert_eq!(code, 0, "{printed}{errors}");
    let (code, _, errors) = program.run(&["task", "deny", id, "--reason", "too late"]);
    assert!(code == 1 && errors.contains("request_closed"), "{errors}");
    let (code, printed, errors) = program.run(&["run", "--resume", id]);
    assert_eq!(code, 0, "{printed}{errors}");
    let ledger = program.ledger("tool-ledger.jsonl");
    assert_eq!((ledger.len(), &ledger[0]["label"]), (1, &json!("less")), "{ledger:?}");
    let (_, shown, _) = program.run(&["task", "show", id]);
    assert!(shown.contains("EFFECT") && shown.contains("committed"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_kill_cut_off_is_settled_by_the_reconciling_tool() {
    let more = "tools = { slow = { effect = \"unsafe\", reconcile = \"world_outcome\" } }\n";
    let program = Program::on(None, &script("world_slow", json!({"label": "long", "ms": 600_000})), more);
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Wait").await.unwrap();
    while calls(&program, "slow") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.kill();
    let server = program.serve(&[]).await;
    let ended = program.until(&server, &id, &["completed", "failed", "paused"]).await;
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", program.printed());
    assert_eq!(calls(&program, "slow"), 1);
    let traces = program.traces(&server, &id).await;
    let decided = traces.iter().find(|trace| trace["kind"] == "outcome_decided").expect("a decision");
    assert_eq!(decided["data"]["by"], "reconcile:world_outcome");
}

/// Two payments side by side, and nobody knows of either whether it was made.
fn two_in_doubt() -> Program {
    let call = |id: &str| {
        json!({"id": id, "description": format!("Pay {id}"), "type": "tool-call", "dependsOn": [],
            "tool": {"name": "world_slow", "arguments": {"label": id, "ms": 600_000}}})
    };
    let plan = json!({"rules": [{"role": "plan", "reply": {"json": {"steps": [call("a"), call("b")]}}}]});
    let program = Program::on(None, &plan, "tools = { slow = { effect = \"unsafe\" } }\n");
    program.reconfigure("pollMs = 50", "pollMs = 50\ntoolTimeoutMs = 1000");
    program
}

fn outcomes_asked(program: &Program) -> Vec<Value> {
    let (code, printed, errors) = program.run(&["inbox", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let open: Vec<Value> = serde_json::from_str(&printed).unwrap();
    open.into_iter().filter(|request| request["kind"] == "outcome").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_about_an_unknown_outcome_counts_for_the_call_that_it_names() {
    let program = two_in_doubt();
    let (code, printed, errors) = program.run(&["run", "Pay both"]);
    assert_eq!(code, 6, "{printed}{errors}");
    let asked = outcomes_asked(&program);
    let [a, b] = asked.as_slice() else { panic!("{asked:?}") };
    let name = |request: &Value| request["id"].as_str().unwrap().to_owned();
    let (task, a, b) = (a["taskId"].as_str().unwrap().to_owned(), name(a), name(b));
    assert!(
        errors.contains(&format!("resume {task} --request {task}.")),
        "the command names a call: {errors}"
    );
    let (_, _, hints) = program.run(&["inbox"]);
    assert!(hints.contains("--request REQUEST") && hints.contains(&a) && hints.contains(&b), "{hints}");

    let (code, _, errors) = program.run(&["task", "resume", &task, "--outcome", "did-not-happen"]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("request_ambiguous") && errors.contains(&a) && errors.contains(&b), "{errors}");
    assert_eq!(outcomes_asked(&program).len(), 2, "nothing was decided");

    let happened = "happened={\"paid\": \"b\"}";
    let (code, printed, errors) =
        program.run(&["task", "resume", &task, "--request", &b, "--outcome", happened]);
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("This was about call 1 of step 2 (world_slow)"), "{errors}");
    assert!(errors.contains(&format!("--request {a}")), "what is to be said next: {errors}");
    assert!(printed.contains("paused"), "it waits for the other word: {printed}");
    let left: Vec<String> = outcomes_asked(&program).iter().map(name).collect();
    assert_eq!(left, std::slice::from_ref(&a));
    let (_, shown, _) = program.run(&["task", "show", &task]);
    assert!(shown.contains("call 1 of step 1 may or may not have taken effect"), "{shown}");
    let (code, _, errors) = program.run(&["task", "resume", &task, "--request", &b, "--outcome", "skip"]);
    assert!(code == 1 && errors.contains("request_closed"), "{errors}");

    let (code, printed, errors) =
        program.run(&["task", "resume", &task, "--request", &a, "--outcome", "skip"]);
    assert!(code == 0 && printed.contains("running"), "{printed}{errors}");
    let (code, printed, errors) = program.run(&["run", "--resume", &task]);
    assert_eq!(code, 0, "{printed}{errors}");
    assert_eq!(calls(&program, "slow"), 2, "each was called once");
    let (_, shown, _) = program.run(&["task", "show", &task, "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["steps"][0]["status"], &shown["steps"][1]["status"]),
        (&json!("skipped"), &json!("completed"))
    );
    assert!(printed.contains("paid") || shown["output"].to_string().contains("paid"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_all_calls_that_were_in_flight_are_asked_about_at_once() {
    let program = two_in_doubt();
    program.reconfigure("toolTimeoutMs = 1000", "toolTimeoutMs = 600000");
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Pay both").await.unwrap();
    program.patiently("both are in flight", async || calls(&program, "slow") == 2).await;
    server.kill();
    // Only one of the steps is begun again before the task is paused.
    program.reconfigure("max = 0, duration = 1000", "max = 1, duration = 600000");
    let (code, printed, errors) = program.run(&["run", "--resume", &id]);
    assert_eq!(code, 6, "{printed}{errors}");
    program.reconfigure("max = 1, duration = 600000", "max = 0, duration = 1000");
    let asked = outcomes_asked(&program);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let first = asked[0]["id"].as_str().unwrap();
    let (code, printed, errors) =
        program.run(&["task", "resume", &id, "--request", first, "--outcome", "happened=1"]);
    assert!(code == 0 && printed.contains("paused"), "{printed}{errors}");
    assert_eq!(outcomes_asked(&program).len(), 1, "the other one is asked about still");
    let (code, _, errors) = program.run(&["task", "resume", &id, "--outcome", "happened=2"]);
    assert_eq!(code, 0, "{errors}");
    let (code, printed, errors) = program.run(&["run", "--resume", &id]);
    assert_eq!((code, calls(&program, "slow")), (0, 2), "{printed}{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_asks_which_call_a_word_is_about_and_says_which_one_it_counted_for() {
    let program = two_in_doubt();
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Pay both").await.unwrap();
    let open = loop {
        program.until(&server, &id, &["paused"]).await;
        let open = inbox(&program, &server).await;
        if open.len() == 2 {
            break open;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let second = open[1]["id"].as_str().unwrap();
    let path = format!("/api/tasks/{id}/resume");
    let (status, reply) = program.post(&server, &path, &json!({"outcome": "skip"})).await.unwrap();
    assert_eq!((status, &reply["code"]), (409, &json!("request_ambiguous")), "{reply}");
    assert!(reply["detail"].as_str().unwrap().contains(second), "{reply}");
    let (status, reply) = program.post(&server, &path, &json!({"request": second})).await.unwrap();
    assert_eq!(status, 400, "a name without a word: {reply}");
    let word = json!({"request": second, "outcome": "skip"});
    let (status, reply) = program.post(&server, &path, &word).await.unwrap();
    assert_eq!(
        (status, &reply["decided"], &reply["status"]),
        (200, &json!(second), &json!("paused")),
        "{reply}"
    );
    // The same in the inbox: the task stands still until the last word is said.
    let first = open[0]["id"].as_str().unwrap();
    let open: Vec<Value> = inbox(&program, &server).await;
    assert_eq!((open.len(), &open[0]["id"]), (1, &json!(first)));
    let word = json!({"decision": "skip"});
    let (status, reply) = program.post(&server, &format!("/api/inbox/{first}"), &word).await.unwrap();
    assert!(status == 200 && reply["status"] != "paused", "{reply}");
    program.until(&server, &id, &["completed"]).await;
}
