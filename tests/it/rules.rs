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

/// What was printed as the answer: what stands between the progress and the files.
fn answer(printed: &str) -> String {
    let lines = printed.lines().skip_while(|line| !line.is_empty());
    let lines = lines.take_while(|line| !line.starts_with("Written:") && !line.starts_with("Used:"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[test]
fn an_answer_is_a_sentence_or_a_short_list() {
    let program = workspace(&[
        ("src/a.rs", "// TODO: one\nfn a() {}\n"),
        ("src/deep/b.rs", "fn b() {}\n"),
        ("a.txt", "one\ntwo\n"),
        ("b.txt", "one\n2\n"),
    ]);
    for (goal, expected) in [
        ("Count the files in src", "2 files in `src`"),
        ("Count the lines in src", "3 lines in 2 files in `src`"),
        ("How many lines does a.txt have?", "2 lines in `a.txt`"),
        ("How many TODOs are there?", "1 match in 1 file"),
        ("What is 2*(3+4)", "`2*(3+4) = 14`"),
        ("List the folders", "2 directories\n\n- `src/`\n- `src/deep/`"),
        ("Find 'fn b'", "1 match in 1 file\n\n**`src/deep/b.rs`** (1)\n\n- `src/deep/b.rs:1: fn b() {}`"),
        (
            "Compare a.txt and b.txt",
            "a.txt and b.txt differ: 1 line only in b.txt, 1 line only in a.txt.\n\n```diff\n- two\n+ 2\n```",
        ),
        (
            "Find TODO in src and write a report",
            "1 match in 1 file in `src`\n\nWritten to `todo-report.md` (190 bytes)",
        ),
    ] {
        let (code, printed, said) = run(&program, goal);
        assert_eq!((code, answer(&printed).as_str()), (0, expected), "{goal}: {printed}\n{said}");
    }
    let (_, printed, _) = run(&program, "What time is it?");
    assert!(answer(&printed).starts_with("It is ") && answer(&printed).ends_with(" UTC"), "{printed}");
}

#[test]
fn a_place_that_is_not_there_or_outside_is_a_failure_that_names_it() {
    let program = workspace(&[("src/a.rs", "// TODO: one\n")]);
    for (goal, words) in [
        ("count lines in nowhere/", "there is no 'nowhere' in the workspace"),
        ("Count the files in nowhere", "there is no 'nowhere' in the workspace"),
        ("Find every TODO comment in nowhere", "there is no 'nowhere' in the workspace"),
        ("List all Rust files in nowhere", "there is no 'nowhere' in the workspace"),
        ("List nowhere/*.rs", "there is no 'nowhere' in the workspace"),
        ("Find TODO in a.rs", "there is no 'a.rs' in the workspace, but there is 'src/a.rs'"),
        ("List the files in /etc", "'/etc' is outside of the workspace"),
        ("Find TODO in ../", "'..' is outside of the workspace"),
        ("Read /etc/passwd", "'/etc/passwd' is outside of the workspace"),
    ] {
        let (code, printed, said) = run(&program, goal);
        assert_eq!(code, 1, "{goal}: {printed}\n{said}");
        assert!(said.contains(words), "{goal}: {said}");
        assert!(!printed.contains("attempt 2"), "{goal}: nobody waits for it: {printed}");
    }
}

#[test]
fn what_is_cut_is_said_in_the_answer_and_in_the_report() {
    let many = "// TODO: again\n".repeat(10_005);
    let program = workspace(&[("many.rs", &many), ("some.rs", &many[..15 * 1_500])]);
    let cut = "10,000 matches in 1 file in `many.rs` (cut at 10,000: there are more)";
    let (code, printed, said) = run(&program, "Find every TODO comment in many.rs and write a report");
    assert_eq!(code, 0, "{printed}\n{said}");
    assert!(answer(&printed).starts_with(cut), "{printed}");
    let report = std::fs::read_to_string(program.directory.path().join("workspace/todo-report.md")).unwrap();
    assert!(report.contains(cut) && report.lines().count() > 10_000, "{}", &report[..200]);
    let (_, printed, _) = run(&program, "How many TODO comments are in some.rs?");
    assert_eq!(answer(&printed), "1,500 matches in 1 file in `some.rs`");
}

#[test]
fn a_comment_is_a_comment_and_no_prose() {
    let program = workspace(&[
        ("a.rs", "// TODO: one\nlet a = \"TODO\";\n"),
        ("notes.md", "My TODO list\n<!-- TODO: two -->\n"),
        ("list.txt", "TODO: buy milk\n"),
    ]);
    let (code, printed, said) = run(&program, "Find every TODO comment");
    assert_eq!(code, 0, "{printed}\n{said}");
    let found: Vec<_> = printed.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(found, ["- `a.rs:1: // TODO: one`", "- `notes.md:2: <!-- TODO: two -->`"]);
    let (_, printed, _) = run(&program, "How many TODOs are there?");
    assert_eq!(answer(&printed), "5 matches in 3 files", "wherever they are");
}
