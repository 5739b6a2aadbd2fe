//! The clients that people build chats with read the chat truly: the AI SDK in its major versions
//! 5, 6 and 7, and the transport of its workflows. Also when the server is killed meanwhile.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::node_packages::Packages;
use crate::program::{Program, Server};

const PACKAGES: Packages = Packages {
    manifest: &[
        ("package.json", include_str!("../node/chat/package.json")),
        ("package-lock.json", include_str!("../node/chat/package-lock.json")),
        (".npmrc", include_str!("../node/chat/.npmrc")),
    ],
    programs: &[
        ("chat.mjs", include_str!("../node/chat/chat.mjs")),
        ("talk.mjs", include_str!("../node/chat/talk.mjs")),
        ("killed.mjs", include_str!("../node/chat/killed.mjs")),
    ],
};

const VERSIONS: [&str; 3] = ["five", "six", "seven"];

/// A plan of a tool call and a text.
fn plan() -> Value {
    json!({"role": "plan", "reply": {"json": {"reason": "", "steps": [
        {"id": "a", "description": "Read it", "type": "tool-call",
         "tool": {"name": "world_read", "arguments": {"label": "a"}}},
        {"id": "b", "description": "Write it", "type": "llm-reasoning", "dependsOn": ["a"]},
    ]}}})
}

fn call(tool: &str, label: &str) -> Value {
    json!({"toolCalls": [{"tool": tool, "arguments": {"label": label}}], "text": ""})
}

fn script(delay: u64) -> Value {
    let slowly = "one two three four five six seven eight nine ten";
    json!({"rules": [
        plan(),
        {"role": "execute", "contains": "blue", "reply": {"text": "It is blue."}},
        {"role": "execute", "contains": "grown", "delayMs": delay, "reply": {"text": "It is counted."}},
        {"role": "execute", "delayMs": delay, "reply": {"text": "The report."}},
        {"role": "chat", "contains": "capital", "reply": {"text": "It is Paris."}},
        {"role": "chat", "contains": "once more", "times": 1, "reply": {"text": "No."}},
        {"role": "chat", "contains": "once more", "reply": {"text": "Still Paris."}},
        {"role": "chat", "contains": "Think", "reply": {"reasoning": "hm hm", "text": "So it is."}},
        {"role": "chat", "contains": "Look it up", "reply": call("world_read", "looked")},
        {"role": "chat", "contains": "looked", "reply": {"text": "I looked."}},
        {"role": "chat", "contains": "Choose a color", "reply": {"toolCalls": [{"tool": "ask_person",
            "arguments": {"question": "Which color?", "choices": ["red", "blue"]}}]}},
        {"role": "chat", "contains": "Break", "reply": {"error": {"kind": "quota"}}},
        {"role": "chat", "contains": "Count this", "reply": call("world_read", "first")},
        {"role": "chat", "contains": "first", "reply": call("world_count", "grown")},
        {"role": "chat", "contains": "slowly", "wordMs": 150, "reply": {"text": slowly}},
    ]})
}

/// A Node program, and what it says.
struct Client {
    child: Running,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

/// A process that goes with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Client {
    fn start(program: &str, server: &Server, arguments: &[&str]) -> Self {
        let url = format!("http://{}", server.address);
        let mut command = PACKAGES.node();
        let mut child = command.arg(program).arg(url).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child: Running(child), lines }
    }

    /// The next line that it prints.
    async fn line(mut self) -> (Self, String) {
        let reading = tokio::task::spawn_blocking(move || {
            let line = self.lines.next().expect("the client says something").unwrap();
            (self, line)
        });
        tokio::time::timeout(Duration::from_secs(120), reading).await.expect("in time").unwrap()
    }

    async fn told(self) -> Value {
        let (mut client, line) = self.line().await;
        client.child.0.wait().unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn last(chat: &Value) -> &Value {
    chat["messages"].as_array().unwrap().last().unwrap()
}

fn text(message: &Value) -> String {
    let parts = message["parts"].as_array().unwrap().iter().filter(|part| part["type"] == "text");
    parts.map(|part| part["text"].as_str().unwrap()).collect()
}

fn part<'a>(message: &'a Value, kind: &str) -> &'a Value {
    let mut parts = message["parts"].as_array().unwrap().iter();
    parts.find(|part| part["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {message:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_the_clients_reads_the_chat_truly() {
    let program = Program::on(None, &script(0), "[server.chat]\nreturnMs = 0\n");
    let server = program.serve(&[]).await;
    let told = Client::start("talk.mjs", &server, &[]).told().await;
    for name in VERSIONS {
        reads_truly(name, &told[name]);
        asks_truly(name, &told[name]["asked"]);
    }
    let workflow = &told["workflow"];
    assert_eq!(workflow["ended"]["chunkIndex"], workflow["types"].as_array().unwrap().len(), "{workflow}");
    let stopped = program.get(&server, "/api/chat/seven-stop/messages").await.1;
    let (said, cut) = (&stopped["messages"][1]["parts"][0], &stopped["messages"][1]["parts"][1]);
    assert!(said["text"].as_str().unwrap().starts_with("one "), "{stopped}");
    assert_eq!(cut["data"]["code"], "stopped", "{stopped}");
    // What the chat read is not read again by its task.
    let labels = program.ledger("tool-ledger.jsonl").into_iter().map(|call| call["label"].clone());
    assert_eq!(labels.filter(|label| label == "first").count(), VERSIONS.len());
}

fn reads_truly(name: &str, told: &Value) {
    let simple = last(&told["simple"]);
    assert_eq!((text(simple), &told["simple"]["status"]), ("It is Paris.".into(), &json!("ready")));
    assert!(simple["id"].as_str().unwrap().starts_with("msg-"), "{simple}");
    assert_eq!(part(last(&told["reasoning"]), "reasoning")["text"], "hm hm", "{name}");
    let tool = part(last(&told["tool"]), "tool-world_read");
    assert_eq!((&tool["state"], &tool["output"]["label"]), (&json!("output-available"), &json!("looked")));
    assert_eq!(text(last(&told["tool"])), "I looked.");
    assert_eq!(told["error"]["status"], "error", "{name}");
    assert!(told["error"]["error"].as_str().unwrap().contains("quota"), "{}", told["error"]);
    let stop = &told["stop"];
    assert!(stop["status"] == "ready" && stop["text"].as_str().unwrap().starts_with("one"), "{stop}");
    let talk = &told["conversation"];
    assert_eq!(talk["after"], talk["kept"], "the page and the server have the same messages");
    assert_eq!(
        (&talk["text"], &talk["again"], &talk["status"]),
        (&json!("Still Paris."), &json!(4), &json!("ready"))
    );
    assert_ne!(talk["before"][3], talk["after"][3], "another answer is another message");
    let task = &told["task"];
    assert_eq!(task["types"].as_array().unwrap().last().unwrap(), "finish", "{name}");
    assert!(task["message"]["metadata"]["taskId"].is_string(), "{task}");
    assert!(text(&task["message"]).ends_with("The report."), "{task}");
    assert_eq!(part(&task["message"], "tool-world_read")["state"], "output-available");
    let words = last(&told["words"]);
    assert_eq!(
        (&told["words"]["status"], &part(words, "reasoning")["text"]),
        (&json!("ready"), &json!("The report."))
    );
    assert_eq!(part(words, "reasoning")["state"], "done", "{name}");
    assert_eq!(
        text(words).replace(told["words"]["messages"][1]["metadata"]["taskId"].as_str().unwrap(), ""),
        text(&task["message"]).replace(task["message"]["metadata"]["taskId"].as_str().unwrap(), ""),
        "{name}: all else is the same"
    );
    let grown = last(&told["grown"]);
    assert_eq!(part(grown, "tool-world_read")["output"]["label"], "first", "{name}: before it was a task");
    assert_eq!(part(grown, "tool-world_count")["output"]["label"], "grown", "{name}: by the task");
    assert_eq!(grown["id"], format!("msg-{}", grown["metadata"]["taskId"].as_str().unwrap()), "{name}");
    assert!(text(grown).ends_with("It is counted."), "{name}: {grown}");
}

/// What a task asks is a part of its message, live and after the page was loaded again, and one part it stays.
fn asks_truly(name: &str, told: &Value) {
    let (open, live) = (&told["open"], &told["live"]);
    assert_eq!(
        (&open["data"]["state"], &open["data"]["kind"], &open["data"]["decisions"][0]),
        (&json!("open"), &json!("input"), &json!("answer")),
        "{name}: {told:#}"
    );
    assert_eq!(open["data"]["arguments"]["choices"], json!(["red", "blue"]), "{name}");
    assert_eq!((&live[0]["id"], &live[0]["data"]), (&open["id"], &open["data"]), "{name}: {told:#}");
    let said = told["said"].as_str().unwrap();
    assert!(said.contains("Which color? (red, blue)") && !said.contains("longhaul"), "{name}: {said}");
    assert_eq!(told["answered"], 200, "{name}");
    let then = told["then"].as_array().unwrap();
    assert_eq!((then.len(), &then[0]["id"]), (1, &open["id"]), "{name}: {told:#}");
    assert_eq!(then[0]["data"]["state"], "answered", "{name}: {told:#}");
    assert_eq!(then[0]["data"]["answer"]["answer"], "blue", "{name}: {told:#}");
    let later = &told["later"];
    assert!(text(later).ends_with("It is blue."), "{name}: {later:#}");
    assert!(
        later["parts"].as_array().unwrap().iter().all(|part| part["type"] != "data-request"),
        "{later:#}"
    );
}

/// Lets the clients read until they have so many chunks of this type, kills the server, starts it again, and
/// returns what the clients got in the end.
async fn killed(message: &str, chunk: &str, times: u32) -> (Value, Program) {
    let program = Program::new(&script(3000));
    // All of them at once.
    program.reconfigure("pollMs = 50", "pollMs = 50\nconcurrency = 10");
    let server = program.serve(&[]).await;
    let address = server.address.clone();
    let (client, line) =
        Client::start("killed.mjs", &server, &[message, chunk, &times.to_string()]).line().await;
    assert_eq!(line, "kill");
    server.kill();
    let _server = program.serve_at(address, &[]).await;
    (client.told().await, program)
}

/// Nothing doubled and nothing lost, under one id.
fn is_whole(name: &str, told: &Value, end: &str) {
    let chunks = |key: &str| told["transport"][key].as_array().unwrap_or_else(|| panic!("{told:#}")).clone();
    let (before, after) = (chunks("before"), chunks("after"));
    assert_eq!(before[..], after[..before.len()], "{name}");
    assert_eq!(after.last().unwrap()["type"], "finish", "{name}");
    let hook = &told["hook"];
    assert_eq!((&hook["cut"]["status"], &hook["status"]), (&json!("error"), &json!("ready")), "{name}");
    assert_eq!(hook["messages"].as_array().unwrap().len(), 2, "{name}: {hook:#}");
    assert_eq!(hook["cut"]["message"]["id"], last(hook)["id"], "{name}");
    let said = text(last(hook));
    assert_eq!(said.matches(end).count(), 1, "{name}: {said}");
    assert!(said.ends_with(end), "{name}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_task_survives_its_server() {
    let (told, _) =
        killed("Read everything here and then write a report about all of it", "tool-output-available", 1)
            .await;
    for name in VERSIONS {
        is_whole(name, &told[name], "The report.");
    }
    let types = |chunks: &Value| -> Vec<String> {
        let chunks = chunks.as_array().unwrap_or_else(|| panic!("{chunks}"));
        chunks.iter().map(|chunk| chunk["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types(&told["workflow"]), types(&told["seven"]["transport"]["after"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_an_answer_that_grew_survives_its_server() {
    let (told, program) = killed("Count this for me", "tool-output-available", 2).await;
    for name in VERSIONS {
        is_whole(name, &told[name], "It is counted.");
    }
    let workflow = told["workflow"].as_array().unwrap_or_else(|| panic!("{}", told["workflow"]));
    let starts = workflow.iter().filter(|chunk| chunk["type"] == "start").count();
    assert_eq!((starts, &workflow.last().unwrap()["type"]), (1, &json!("finish")));
    let calls = program.ledger("tool-ledger.jsonl");
    let count = |label: &str| calls.iter().filter(|call| call["label"] == label).count();
    assert_eq!((count("first"), count("grown")), (7, 7), "each of seven answers called each tool once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_with_its_server_is_given_under_its_id() {
    let (told, _) = killed("Count very slowly", "text-delta", 1).await;
    for name in VERSIONS {
        is_whole(name, &told[name], "nine ten");
    }
    // It cannot be told which chunks of another answer this client has: it is told that.
    let workflow = told["workflow"].as_array().unwrap_or_else(|| panic!("{}", told["workflow"]));
    assert_eq!(workflow.iter().filter(|chunk| chunk["type"] == "error").count(), 1);
}
