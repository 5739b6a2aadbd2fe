//! Files that are given to a task over the API and on the command line, with the real program.

use serde_json::{Value, json};

use crate::program::{Program, Server};

/// Enough of a picture to be taken for one.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nhello";

fn step() -> Value {
    json!({"steps": [{"id": "a", "description": "Look at it", "type": "tool-call"}]})
}

#[test]
fn a_run_is_given_texts_and_pictures() {
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "contains": "The file notes.md:\nWho writes?\n[shown: cat.png]", "reply": {"json": step()}},
        {"role": "execute", "contains": "[shown: cat.png]", "reply": {"text": "A cat that writes."}},
        {"role": "execute", "reply": {"text": "I see nothing."}},
    ]}));
    program.file("notes.md", "Who writes?");
    std::fs::write(program.directory.path().join("workspace/cat.png"), PNG).unwrap();
    let run = ["run", "See who writes", "--attach", "notes.md", "--attach", "cat.png", "--json"];
    let (code, printed, errors) = program.run(&run);
    assert_eq!(code, 0, "{printed}\n{errors}");
    let result: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(result["output"], "A cat that writes.", "{printed}");
    let id = result["taskId"].as_str().unwrap();
    let (code, printed, errors) = program.run(&["task", "replay", id]);
    assert!(code == 0 && printed.contains("is the same, completed"), "{printed}\n{errors}");

    program.file("a.bin", "\0");
    let (code, _, errors) = program.run(&["run", "See", "--attach", "a.bin"]);
    assert!(code == 2 && errors.contains("a.bin: is neither text"), "{errors}");
}

async fn answer(program: &Program, server: &Server, id: &str) {
    program.until(server, id, &["paused"]).await;
    let (_, inbox) = program.get(server, "/api/inbox").await;
    let uri = format!("/api/inbox/{}", inbox["requests"][0]["id"].as_str().unwrap());
    let (status, reply) =
        program.post(server, &uri, &json!({"decision": "answer", "answer": "go on"})).await.unwrap();
    assert_eq!(status, 200, "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_a_task_is_told_of_while_it_works_is_shown_and_still_there_after_a_kill() {
    let ask = json!({"toolCalls": [{"tool": "ask_person", "arguments": {"question": "What now?"}}]});
    let program = Program::new(&json!({"rules": [
        {"role": "plan", "reply": {"json": step()}},
        {"role": "execute", "turn": 0, "reply": ask},
        {"role": "execute", "turn": 1, "contains": "Look at this\n[shown: cat.png]", "reply": ask},
        {"role": "execute", "turn": 2, "reply": {"text": "I have seen it."}},
    ]}));
    let server = program.serve(&[]).await;
    let id = program.orchestrate(&server, "Look").await.unwrap();
    program.until(&server, &id, &["paused"]).await;
    let cat = json!({"text": "Look at this", "attachments": [
        {"filename": "cat.png", "mediaType": "image/png", "url": "data:image/png;base64,aGVsbG8="}]});
    let (status, reply) = program.post(&server, &format!("/api/tasks/{id}/messages"), &cat).await.unwrap();
    assert_eq!(status, 200, "{reply}");
    answer(&program, &server, &id).await;
    program
        .patiently("it asks once more", async || {
            let asked = program.traces(&server, &id).await;
            asked.iter().filter(|trace| trace["kind"] == "input_requested").count() == 2
        })
        .await;
    server.kill();
    let server = program.serve(&[]).await;
    answer(&program, &server, &id).await;
    let ended = program.until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let (status, found) =
        program.post(&server, &format!("/api/tasks/{id}/replay"), &Value::Null).await.unwrap();
    assert_eq!((status, found.get("divergence")), (200, None), "{found}");
}
