//! Goals without a language model, as a newcomer meets them: what is said, and what is honest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use serde_json::json;

use crate::program::Program;

/// A workspace with these files; what is fetched may be on loopback.
fn workspace(files: &[(&str, &str)]) -> Program {
    let program = Program::new(&json!({"rules": []}));
    program.reconfigure("[tools]\n", "[tools]\nallowPrivateAddresses = true\n");
    for (path, text) in files {
        let path = program.directory.path().join("workspace").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    program
}

/// Runs a goal: exit code, what was printed, what was said besides.
fn run(program: &Program, goal: &str) -> (i32, String, String) {
    program.run(&["--model", "offline/rules", "run", goal])
}

/// What `task show` prints about the newest task.
fn shown(program: &Program, command: &str) -> String {
    let (_, list, _) = program.run(&["task", "list"]);
    let id =
        list.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned();
    let (code, printed, said) = program.run(&["task", command, &id]);
    assert_eq!(code, 0, "{printed}\n{said}");
    printed
}

#[test]
fn that_no_model_is_in_use_is_said_once_and_no_call_of_one_is_counted() {
    let program = workspace(&[("one.rs", "// TODO: name it\n")]);
    let (code, printed, said) = run(&program, "Find every TODO comment and write a report");
    assert_eq!(code, 0, "{printed}\n{said}");
    let all = format!("{printed}{said}");
    assert_eq!(all.to_lowercase().matches("no language model is in use").count(), 1, "{all}");
    let used = printed.lines().find(|line| line.starts_with("Used:")).unwrap_or_default();
    assert!(used.ends_with("tool calls") && !used.contains("model"), "{printed}");
    let task = shown(&program, "show");
    let budget = task.lines().find(|line| line.starts_with("Budget")).unwrap_or_default();
    assert!(budget.contains("0 of 5,000,000 tokens, $0 of $10.00, "), "{budget}");
    assert!(budget.contains(" of 24 h, 0 of 1,000 model calls"), "{budget}");
    let plan = shown(&program, "plan");
    assert!(plan.starts_with("Revision 1 by offline/rules: no language model is in use\n"), "{plan}");
}

#[test]
fn a_plan_that_is_brought_is_not_called_planned_by_rules() {
    let program = workspace(&[]);
    let plan = json!([{"id": "a", "type": "tool-call", "description": "Look at the clock",
        "tool": {"name": "clock_now", "arguments": {}}}]);
    let file = program.directory.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let arguments = ["--model", "offline/rules", "run", "Tell the time", "--plan"];
    let (code, printed, said) = program.run(&[&arguments[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{printed}\n{said}");
    assert!(said.contains("No language model is in use: steps that need one fail."), "{said}");
    assert!(!format!("{printed}{said}").contains("by rules"), "{printed}\n{said}");
    assert!(shown(&program, "plan").starts_with("Revision 1, as it was given\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_there_fails_at_once_and_one_that_is_away_is_asked_for_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&asked);
    let busy = async move || match seen.fetch_add(1, Ordering::Relaxed) {
        0 => (StatusCode::BAD_GATEWAY, "not now"),
        _ => (StatusCode::OK, "the page"),
    };
    let image = ([(header::CONTENT_TYPE, "image/png")], "\u{89}PNG");
    let router = Router::new().route("/busy", get(busy)).route("/image", get(async move || image));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let program = workspace(&[]);
    let fetched = |path: &str| run(&program, &format!("Fetch {base}/{path} and write a report to page.md"));
    let (code, printed, said) = tokio::task::block_in_place(|| fetched("none"));
    assert_eq!(code, 1, "{printed}");
    assert!(said.contains(&format!("{base}/none answered 404 Not Found (http_status)")), "{said}");
    assert!(!printed.contains("attempt 2"), "nobody waits for it: {printed}");
    let (code, printed, said) = tokio::task::block_in_place(|| fetched("image"));
    assert_eq!(code, 1, "{printed}");
    assert!(said.contains("image/png, which is no text") && !printed.contains("attempt 2"), "{said}");
    assert!(!program.directory.path().join("workspace/page.md").exists(), "nothing is reported");
    let (code, printed, said) = tokio::task::block_in_place(|| fetched("busy"));
    assert_eq!(code, 0, "{printed}\n{said}");
    assert!(printed.contains("attempt 2") && asked.load(Ordering::Relaxed) == 2, "{printed}");
    let report = std::fs::read_to_string(program.directory.path().join("workspace/page.md")).unwrap();
    assert!(report.contains("the page"), "{report}");
}
