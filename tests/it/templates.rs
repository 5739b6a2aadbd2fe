//! Templates as a user meets them: written from a file, run, made from what was done.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::Program;

fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/templates").join(name);
    file.display().to_string()
}

#[test]
fn a_template_calls_another_one_for_each_item_of_a_list() {
    let program = Program::new(&json!({"rules": []}));
    program.file("a.txt", "one FIXME\nand another TODO");
    for name in ["todo-report.toml", "todo-reports.toml"] {
        let (code, _, errors) = program.run(&["template", "add", &example(name)]);
        assert_eq!(code, 0, "{errors}");
    }
    let (code, text, errors) = program.run(&["template", "run", "todo-reports"]);
    assert_eq!(code, 0, "{text}{errors}");
    let workspace = program.directory.path().join("workspace");
    for term in ["TODO", "FIXME"] {
        let report = std::fs::read_to_string(workspace.join(format!("{term}.md"))).unwrap();
        assert!(report.contains("a.txt") && report.contains(term), "{report}");
    }
    let (_, text, _) = program.run(&["task", "list", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_array().map(Vec::len), Some(3), "{text}");
}

#[test]
fn a_template_is_added_run_and_made_again_from_the_task() {
    // Nothing is planned: no rule of the script is ever used.
    let program = Program::new(&json!({"rules": []}));
    program.file("a.txt", "one FIXME\nand another TODO");
    let (code, text, errors) = program.run(&["template", "add", &example("todo-report.toml")]);
    assert_eq!((code, text.trim()), (0, "todo-report version 1"), "{errors}");
    let (code, text, _) = program.run(&["template", "add", &example("todo-report.toml")]);
    assert_eq!((code, text.trim()), (0, "todo-report version 1"), "the same file is the same version");
    let run =
        ["template", "run", "todo-report", "--param", "term=FIXME", "--param", "file=found.md", "--json"];
    let (code, text, errors) = program.run(&run);
    assert_eq!(code, 0, "{text}{errors}");
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let workspace = program.directory.path().join("workspace");
    let report = std::fs::read_to_string(workspace.join("found.md")).unwrap();
    assert!(report.contains("a.txt") && report.contains("FIXME") && !report.contains("TODO"), "{report}");
    let (code, _, errors) = program.run(&["template", "run", "todo-report", "--param", "trem=FIXME"]);
    assert!(code == 2 && errors.contains("trem"), "{code} {errors}");

    let id = result["taskId"].as_str().or(result["id"].as_str()).unwrap_or_default().to_owned();
    let from =
        ["template", "from", &id, "--name", "again", "--param", "term=FIXME", "--param", "file=found.md"];
    let (code, _, errors) = program.run(&from);
    assert_eq!(code, 0, "{errors}");
    let (code, text, _) = program.run(&["template", "show", "again", "--json"]);
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &shown["steps"][0]["tool"]["arguments"]["pattern"]), (0, &json!("{{term}}")));
    assert_eq!(shown["goal"], json!("Find every {{term}} in the workspace and write {{file}}"));
    let (code, text, errors) =
        program.run(&["run", "--template", "again", "--param", "term=TODO", "--param", "file=more.md"]);
    assert_eq!(code, 0, "{text}{errors}");
    let report = std::fs::read_to_string(workspace.join("more.md")).unwrap();
    assert!(report.contains("and another TODO"), "{report}");

    let (_, text, _) = program.run(&["template", "list"]);
    assert!(text.contains("again") && text.contains("todo-report"), "{text}");
    assert_eq!(program.run(&["template", "remove", "again"]).0, 0);
    let (code, _, errors) = program.run(&["template", "show", "again"]);
    assert!(code == 1 && errors.contains("template_not_found"), "{code} {errors}");
    let (code, text, errors) = program.run(&from);
    assert!(code == 0 && text.contains("again version 2"), "a number was given twice: {text}{errors}");

    let add =
        ["schedule", "add", "--cron", "@daily", "--template", "again", "--param", "term=FIXME", "--param"];
    let add = [&add[..], &["file=daily.md", "--json"]].concat();
    let (code, text, errors) = program.run(&add);
    assert_eq!(code, 0, "{text}{errors}");
    let schedule: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&schedule["task"]["template"], &schedule["task"]["parameters"]),
        (&json!("again"), &json!({"term": "FIXME", "file": "daily.md"}))
    );
    let (code, text, errors) =
        program.run(&["schedule", "trigger", schedule["id"].as_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{text}{errors}");
    let task: Value = serde_json::from_str(&text).unwrap();
    let (code, text, errors) = program.run(&["run", "--resume", task["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{text}{errors}");
    assert!(workspace.join("daily.md").exists());
}
