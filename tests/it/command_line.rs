//! The command line as a person meets it: no key, no service, real work.

use serde_json::{Value, json};

use crate::program::Program;

const GOAL: &str = "Find every TODO comment in this repository and write a report";

fn workspace() -> Program {
    let program = Program::new(&json!({"rules": []}));
    program.file("one.rs", "fn main() {} // TODO: name it\n");
    program.file("two.md", "nothing to do\n<!-- TODO <script>alert(1)</script> -->\n");
    program
}

fn offline<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--model", "offline/rules"], more].concat()
}

#[test]
fn a_goal_is_carried_out_without_any_model() {
    let program = workspace();
    let (code, printed, said) = program.run(&offline(&["run", GOAL]));
    assert_eq!(code, 0, "{printed}\n{said}");
    let report = std::fs::read_to_string(program.directory.path().join("workspace/todo-report.md")).unwrap();
    assert!(report.contains("one.rs:1: fn main() {} // TODO: name it"), "{report}");
    assert!(report.contains("two.md:2:"), "{report}");
    assert!(printed.contains("todo-report.md"), "{printed}");
    // What is printed works as it stands, wherever the database is.
    let hint =
        printed.lines().find_map(|line| line.strip_prefix("Look at the trace: ")).expect("a way to look");
    let typed = std::process::Command::new("sh").args(["-c", hint]).env_clear().output().unwrap();
    let shown = String::from_utf8_lossy(&typed.stdout);
    assert!(typed.status.success() && shown.contains("completed"), "{hint}: {shown}");
    assert!(format!("{printed}{said}").to_lowercase().contains("no language model"), "{printed}\n{said}");
    let (code, again, _) = program.run(&offline(&["run", GOAL]));
    assert_eq!(code, 0, "the report is not found again: {again}");
    let second = std::fs::read_to_string(program.directory.path().join("workspace/todo-report.md")).unwrap();
    assert_eq!(report, second);
}

#[test]
fn every_entry_is_a_line_of_json_and_the_trace_has_no_gaps() {
    let program = workspace();
    let (code, printed, said) = program.run(&offline(&["run", "--json", GOAL]));
    assert_eq!(code, 0, "{said}");
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (result, entries) = lines.split_last().unwrap();
    assert_eq!(result["status"], "completed", "{result}");
    let numbers: Vec<i64> = entries.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    let id = result["taskId"].as_str().unwrap();
    let (code, trace, _) = program.run(&["task", "trace", id, "--json"]);
    assert_eq!(code, 0);
    let seqs = |text: &str| -> Vec<i64> {
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["seq"].as_i64()).collect()
    };
    assert_eq!(seqs(&trace), numbers, "{trace}");
    for command in [vec!["task", "show", id], vec!["task", "list"], vec!["doctor"]] {
        let (code, printed, said) = program.run(&command);
        assert_eq!(code, 0, "{command:?}: {printed}\n{said}");
        assert!(!printed.is_empty(), "{command:?}");
    }
}

/// What a command prints that ended well: one JSON object.
fn object(program: &Program, arguments: &[&str]) -> Value {
    let (code, text, errors) = program.run(&[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {text}{errors}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

#[test]
fn whoever_steers_a_task_by_a_program_reads_how_it_stands_as_the_api_tells_it() {
    let program = workspace();
    let (code, text, errors) = program.run(&offline(&["run", GOAL, "--json"]));
    assert_eq!(code, 0, "{text}{errors}");
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let first = result["taskId"].as_str().unwrap();
    let fork = object(&program, &["task", "fork", first, "--at-step", "1", "--repeat-effects"]);
    assert_eq!((&fork["status"], &fork["forkedFrom"]["task"]), (&json!("pending"), &json!(first)));
    let unknown = ["task", "fork", first, "--at-step", "1", "--repeat-effects", "--model", "nobody/x"];
    let (code, _, errors) = program.run(&unknown);
    assert!(code == 5 && errors.contains("model_not_configured"), "{code} {errors}");
    let id = fork["id"].as_str().unwrap();
    assert_eq!(object(&program, &["task", "prioritize", id, "1"])["priority"], 1);
    assert_eq!(object(&program, &["task", "tell", id, "Be quick"])["id"], id);
    let paused = object(&program, &["task", "pause", id]);
    assert_eq!((&paused["status"], &paused["pause"]["reason"]), (&json!("paused"), &json!("user")));
    assert_eq!(object(&program, &["task", "resume", id])["status"], "pending");
    let cancelled = object(&program, &["task", "cancel", id]);
    assert_eq!((&cancelled["status"], &cancelled["effects"]), (&json!("cancelled"), &json!([])));
    let retried = object(&program, &["task", "retry", id]);
    assert_eq!((&retried["status"], &retried["forkedFrom"]["task"]), (&json!("pending"), &json!(id)));
    let file = program.directory.path().join("task.jsonl").display().to_string();
    assert_eq!(program.run(&["task", "export", first, "-o", &file]).0, 0);
    let imported = object(&workspace(), &["task", "import", &file]);
    assert_eq!((&imported["status"], &imported["imported"]), (&json!("completed"), &json!(true)));
    assert!(object(&program, &["migrate"])["schemaVersion"].as_i64() >= Some(1));
    assert_eq!(object(&program, &["prune", "--tasks", "30d"])["tasks"], 0);
}

#[test]
fn a_schedule_is_changed_in_what_is_said_of_it() {
    let program = workspace();
    let made = object(&program, &["schedule", "add", GOAL, "--cron", "@daily", "--name", "todo"]);
    let changed = object(&program, &["schedule", "change", "todo", "--cron", "0 9 * * 1", "--priority", "2"]);
    assert_eq!((&changed["cron"], &changed["task"]["priority"]), (&json!("0 9 * * 1"), &json!(2)));
    assert_eq!((&changed["id"], &changed["task"]["goal"]), (&made["id"], &json!(GOAL)));
    let renamed =
        object(&program, &["schedule", "change", "todo", "--name", "files", "--goal", "List the files"]);
    assert_eq!((&renamed["cron"], &renamed["task"]["priority"]), (&json!("0 9 * * 1"), &json!(2)));
    assert_eq!(renamed["task"]["goal"], "List the files");
    let (code, _, errors) =
        program.run(&["schedule", "add", "List files", "--cron", "@daily", "--name", "files"]);
    assert!(code == 1 && errors.contains("schedule_exists"), "{code} {errors}");
    let (code, _, errors) = program.run(&["schedule", "change", "files", "--model", "nobody/x"]);
    assert!(code == 5 && errors.contains("model_not_configured"), "{code} {errors}");
    assert_eq!(object(&program, &["schedule", "pause", "files"])["paused"], true);
    assert_eq!(object(&program, &["schedule", "resume", "files"])["paused"], false);
    let (code, _, errors) = program.run(&["schedule", "change", "files", "--param", "term=x"]);
    assert!(code == 2 && errors.contains("template_missing"), "{code} {errors}");
    assert_eq!(object(&program, &["schedule", "remove", "files"])["removed"], true);
    let (code, ..) = program.run(&["schedule", "show", "files"]);
    assert_ne!(code, 0, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_other_tasks_alone_and_names_the_one_that_waits() {
    let plan = json!({"json": {"steps": [{"id": "a", "description": "Think", "type": "llm-reasoning"}]}});
    let program = Program::new(&json!({"rules": [{"role": "plan", "reply": plan}]}));
    program.file("one.rs", "// TODO: name it\n");
    let server = program.serve(&["--no-worker"]).await;
    let other = program.orchestrate(&server, "Something else").await.unwrap();
    drop(server);
    let (code, printed, said) = program.run(&offline(&["run", GOAL]));
    assert_eq!(code, 0, "{printed}\n{said}");
    assert!(said.contains(&format!("run --resume {other}")), "{said}");
    let (_, shown, _) = program.run(&["task", "show", &other, "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["state"]["status"], &shown["state"]["seq"]),
        (&json!("pending"), &json!(3)),
        "untouched: {shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_done_with_the_files_of_another_directory() {
    let program = workspace();
    let _server = program.serve(&[]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().display().to_string();
    let (code, printed, said) = program.run(&offline(&["run", "--workspace", &place, GOAL]));
    assert_eq!(code, 1, "{printed}\n{said}");
    assert!(said.contains("database_in_use") && said.contains("--db"), "{said}");
    let (code, printed, said) = program.run(&offline(&["run", GOAL]));
    assert_eq!(code, 0, "in the same directory the server does it: {printed}\n{said}");
}

#[test]
fn a_file_that_is_not_there_is_not_waited_for() {
    let program = workspace();
    let (code, printed, _) = program.run(&offline(&["run", "--json", "Read missing.txt"]));
    assert_eq!(code, 1, "{printed}");
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["kind"] == "step_started").count(), 1, "{printed}");
    let fault = lines.last().unwrap()["fault"]["message"].to_string();
    assert!(fault.contains("there is no 'missing.txt'"), "{fault}");
}

#[test]
fn who_asks_for_json_reads_a_failure_as_json() {
    let program = workspace();
    for (arguments, code, name) in [
        (vec!["run", "--json", "Migrate the billing system to Stripe"], 5, "model_not_configured"),
        (vec!["task", "show", "--json", "00000000-0000-0000-0000-000000000000"], 1, "task_not_found"),
    ] {
        let (got, printed, said) = program.run(&offline(&arguments));
        assert_eq!(got, code, "{printed}\n{said}");
        let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], name, "{last}");
    }
}

#[test]
fn who_looks_at_a_database_that_is_not_there_makes_none() {
    let program = workspace();
    let typo = std::path::PathBuf::from(&program.database);
    for arguments in [
        &["task", "list"][..],
        &["task", "show", "0190a5e4"],
        &["task", "trace", "0190a5e4", "--json"],
        &["task", "cancel", "0190a5e4"],
        &["inbox"],
        &["schedule", "list"],
        &["schedule", "trigger", "0190a5e4"],
        &["template", "list"],
        &["template", "run", "report"],
        &["run", "--resume", "0190a5e4"],
        &["prune", "--tasks", "1d"],
        &["doctor"],
    ] {
        let (code, printed, said) = program.run(arguments);
        assert!(!typo.exists(), "{arguments:?} made one: {said}");
        if arguments != ["doctor"] {
            assert_eq!(code, 4, "{arguments:?}: {said}");
            let place = format!("there is no database at {}: longhaul run, serve", typo.display());
            assert!(said.contains(&place) && said.contains("code: database_missing"), "{said}");
            assert_eq!(printed.contains("\"database_missing\""), arguments.contains(&"--json"), "{printed}");
        }
    }
    let (code, _, said) = program.run(&["migrate"]);
    assert!(code == 0 && typo.exists(), "{said}");
    let (code, printed, said) = program.run(&["task", "list"]);
    assert_eq!(code, 0, "{printed}{said}");
}

#[test]
fn an_mcp_server_that_hangs_is_waited_for_aloud_and_gone_on_without() {
    let hangs = |name: &str| {
        format!("\n[tools.mcp.{name}]\ncommand = 'sleep'\nargs = ['60']\nconnectTimeoutMs = 3000\n")
    };
    let steps = json!([{"id": "a", "description": "Answer", "type": "llm-reasoning"}]);
    let script = json!({"rules": [
        {"role": "plan", "reply": {"json": {"steps": steps}}},
        {"role": "execute", "reply": {"text": "Done."}},
    ]});
    let program = Program::on(None, &script, &(hangs("slow") + &hangs("too")));
    let began = std::time::Instant::now();
    let (code, printed, said) = program.run(&["run", "Answer me with all the tools there are"]);
    assert_eq!(code, 0, "{printed}\n{said}");
    assert!(began.elapsed().as_millis() < 6000, "they are not waited for one after the other: {said}");
    let waiting = said.find("Waiting for MCP servers: slow (up to 3 s), too (up to 3 s).").expect(&said);
    let without = said.find("the MCP server is down").expect(&said);
    assert!(waiting < without, "{said}");
}

#[test]
fn a_goal_beyond_the_rules_is_refused_with_the_way_to_a_model() {
    let program = workspace();
    let (code, _, said) = program.run(&offline(&["run", "Migrate the billing system to Stripe"]));
    assert_eq!(code, 5, "{said}");
    for word in ["--model", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"] {
        assert!(said.contains(word), "'{word}' is missing: {said}");
    }
}

#[test]
fn the_example_with_a_server_from_npm_does_what_its_page_says() {
    let directory = tempfile::tempdir().unwrap();
    let goal = "Use the everything server to add 19 and 23, echo the sum back, and write it to sums.md";
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_longhaul"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--config", "examples/mcp-everything/longhaul.toml", "--db"])
        .arg(directory.path().join("longhaul.db"))
        .arg("--workspace")
        .arg(directory.path())
        .args(["run", goal])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    let sums = std::fs::read_to_string(directory.path().join("sums.md")).unwrap();
    assert!(sums.contains("42"), "{sums}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_server_that_hangs_stops_nobody_who_does_not_need_it() {
    let hung = "[tools.mcp.hung]\ncommand = \"sleep\"\nargs = [\"1000\"]\nconnectTimeoutMs = 600000\n";
    let program = Program::on(None, &json!({"rules": []}), hung);
    program.file("one.rs", "fn main() {} // TODO: name it\n");
    let (code, _, said) = program.run(&offline(&["run", GOAL]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("have not answered yet: hung"), "{said}");
    let server = program.serve(&[]).await;
    let plan = json!([{"id": "a", "description": "Read", "type": "tool-call",
        "tool": {"name": "world_read", "arguments": {"label": "x"}}}]);
    let body = json!({"goal": "Read", "threadId": "thread", "plan": plan});
    let (status, reply) = program.post(&server, "/api/chat/orchestrate", &body).await.unwrap();
    assert_eq!(status, 200, "{reply}");
    program.until(&server, reply["taskId"].as_str().unwrap(), &["completed"]).await;
    assert_eq!(program.get(&server, "/readyz").await.0, 200);
}

#[test]
fn a_plan_that_is_only_the_best_that_could_be_done_is_said_to_be_so() {
    let hopeless = json!({"rules": [
        {"role": "plan", "reply": {"text": "I would rather not."}},
        {"reply": {"text": "done"}},
    ]});
    let program = Program::new(&hopeless);
    let (code, printed, said) = program.run(&["--log", "off", "run", "Do what nobody can plan"]);
    assert_eq!(code, 0, "{printed}\n{said}");
    assert!(
        said.contains("This plan is only the best that could be done: the planner gave no usable"),
        "{said}"
    );
    let (code, printed, said) = program.run(&["run", "--json", "Do what nobody can plan"]);
    assert_eq!(code, 0, "{printed}\n{said}");
    let result: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(result["degraded"], true, "{result}");
    let id = result["taskId"].as_str().unwrap();
    let (_, plan, _) = program.run(&["task", "plan", id]);
    assert!(plan.contains("only the best that could be done: the planner gave no usable plan"), "{plan}");
}

/// Runs the program with a standard output that takes nothing: exit code and what was said.
#[cfg(target_os = "linux")]
fn into_a_full_disk(program: &Program, arguments: &[&str]) -> (Option<i32>, String) {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program.command().args(arguments).stdout(full).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn what_could_not_be_written_is_not_said_to_be_done() {
    let program = workspace();
    let (code, printed, said) = program.run(&offline(&["run", "--json", GOAL]));
    assert_eq!(code, 0, "{said}");
    let result: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let id = result["taskId"].as_str().unwrap();
    for (arguments, why) in [
        (vec!["task", "export", id], "file_unwritable"),
        (vec!["task", "list", "--json"], "output_unwritable"),
        (vec!["task", "show", id], "output_unwritable"),
    ] {
        let (code, said) = into_a_full_disk(&program, &arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains("No space left on device") && said.contains(why), "{arguments:?}: {said}");
    }
    // Whoever hangs up, as `head` does, has heard enough.
    let mut child =
        program.command().args(["task", "export", id]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_export_that_fails_leaves_no_half_a_file_behind() {
    let program = workspace();
    let (code, printed, said) = program.run(&offline(&["run", "--json", GOAL]));
    assert_eq!(code, 0, "{said}");
    let result: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let directory = program.directory.path().join("workspace");
    // A file cannot take the name of a directory that is not empty.
    std::fs::create_dir_all(directory.join("taken/by")).unwrap();
    let id = result["taskId"].as_str().unwrap();
    let (code, _, said) = program.run(&["task", "export", id, "--output", "taken"]);
    assert!(code == 1 && said.contains("file_unwritable"), "{code} {said}");
    assert!(!directory.join("taken.part").exists());
}

#[test]
fn a_tool_server_out_of_reach_is_told_in_plain_words() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let more = format!("[tools.mcp.web]\nurl = \"http://{address}/mcp?key=k3y\"");
    let program = Program::on(None, &json!({"rules": []}), &more);
    let (_, printed, said) = program.run(&["doctor"]);
    let told = format!("'web' over http: no connection to http://{address}/mcp: Connection refused");
    assert!(printed.contains(&told), "{printed}\n{said}");
    assert!(!said.contains("rmcp") && !said.contains("k3y"), "{said}");
}
