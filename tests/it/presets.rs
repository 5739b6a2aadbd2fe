//! Presets and agents of the configuration, over the real program.

use serde_json::{Value, json};

use crate::program::Program;

const TABLES: &str = r#"
[presets.small]
description = "Little of everything"
budget = { tokens = 50000 }
limits = { maxSteps = 3 }
tools = ["world_*"]

[agents.reader]
instructions = "You read and never write."
model = "scripted/agent"
tools = ["world_read", "workspace_read"]
preset = "small"
"#;

/// A model that says who answers; the agent has one of its own.
fn script(who: &str) -> Value {
    json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": [{"id": "a", "description": "Look", "type": "tool-call"}]}}},
        {"role": "execute", "reply": {"text": format!("done by {who}")}},
        {"role": "chat", "reply": {"text": format!("said by {who}")}},
    ]})
}

fn program() -> Program {
    let program = Program::on(None, &script("nobody"), TABLES);
    let path = program.directory.path().join("agent.json");
    std::fs::write(&path, script("the reader").to_string()).unwrap();
    program.reconfigure(
        "scripted = { test",
        &format!("scripted = {{ agent = {:?}, test", path.display().to_string()),
    );
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_brings_its_instructions_its_tools_and_its_preset() {
    let program = program();
    let server = program.serve(&[]).await;
    let (_, agents) = program.get(&server, "/api/agents").await;
    assert_eq!(
        (&agents["agents"][0]["id"], &agents["agents"][0]["preset"]),
        (&json!("reader"), &json!("small"))
    );
    let (_, presets) = program.get(&server, "/api/presets").await;
    assert_eq!(presets["presets"][0]["limits"], json!({"maxSteps": 3}));

    let mention = json!([{"type": "agent", "name": "Reader", "agentId": "reader"}]);
    for more in [json!({"agentId": "reader"}), json!({"mentions": mention})] {
        let mut body = json!({"goal": "Look around", "threadId": "t"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, started) = program.post(&server, "/api/chat/orchestrate", &body).await.unwrap();
        assert_eq!(status, 200, "{started}");
        let id = started["taskId"].as_str().unwrap();
        let task = program.until(&server, id, &["completed"]).await;
        assert_eq!(task["status"], json!("completed"));
        let (_, task) = program.get(&server, &format!("/api/tasks/{id}")).await;
        assert_eq!((&task["agentId"], &task["preset"]), (&json!("reader"), &json!("small")));
        assert_eq!((&task["output"], &task["limits"]["maxSteps"]), (&json!("done by the reader"), &json!(3)));
        assert_eq!(task["budget"]["limits"]["tokens"], json!(50_000));
        let asked = program.traces(&server, id).await;
        let asked = asked.iter().find(|entry| entry["kind"] == "model_requested").unwrap();
        let (_, asked) = program.get(&server, &format!("/api/tasks/{id}/traces/{}", asked["seq"])).await;
        assert!(asked["data"]["parts"][0].to_string().contains("You read and never write."), "{asked}");
    }
    let message = |text: &str| json!({"role": "user", "parts": [{"type": "text", "text": text}]});
    let chat = json!({"id": "c", "message": message("Hi"), "agentId": "reader", "toolChoice": "none"});
    let reply =
        program.request("POST", &server, "/api/chat").json(&chat).send().await.unwrap().text().await.unwrap();
    assert!(reply.contains("reader") && !reply.contains("nobody"), "{reply}");
    for (path, body, said) in [
        (
            "/api/chat/orchestrate",
            json!({"goal": "g", "threadId": "t", "agentId": "ghost"}),
            "'ghost': reader",
        ),
        ("/api/chat/orchestrate", json!({"goal": "g", "threadId": "t", "preset": "big"}), "'big': small"),
        ("/api/chat", json!({"id": "c", "message": message("Hi"), "agentId": "ghost"}), "'ghost': reader"),
    ] {
        let (status, refusal) = program.post(&server, path, &body).await.unwrap();
        assert_eq!(status, 400, "{refusal}");
        assert!(refusal["error"].as_str().unwrap().ends_with(said), "{refusal}");
    }
}

#[test]
fn the_command_line_takes_presets_and_agents_and_refuses_unknown_ones() {
    let program = program();
    let (code, text, errors) = program.run(&["run", "Look around", "--agent", "reader", "--preset", "small"]);
    assert!(code == 0 && text.contains("done by the reader"), "{code} {text} {errors}");
    let (code, _, errors) = program.run(&["run", "Look around", "--preset", "big"]);
    assert!(code == 2 && errors.contains("there is no preset 'big': small"), "{code} {errors}");
    let (code, _, errors) =
        program.run(&["schedule", "add", "Look around", "--cron", "@daily", "--preset", "big"]);
    assert!(code == 2 && errors.contains("there is no preset"), "{code} {errors}");
    program.reconfigure("preset = \"small\"", "preset = \"large\"");
    let (code, _, errors) = program.run(&["template", "list"]);
    assert!(code == 3 && errors.contains("there is no preset 'large'"), "{code} {errors}");
}
