//! The family of goals as a table, and what is outside of it.

use super::super::goal::understand;
use super::*;

/// The plan as `tool(arguments) …`, one step per item.
fn steps(goal: &str) -> Option<Vec<String>> {
    let plan = for_wish(&understand(goal)?);
    Some(plan.steps.iter().map(|step| step.tool.to_owned()).collect())
}

fn argument(goal: &str, step: usize, pointer: &str) -> Value {
    let wish = understand(goal).unwrap_or_else(|| panic!("not understood: {goal}"));
    for_wish(&wish).steps[step].arguments.pointer(pointer).cloned().unwrap_or(Value::Null)
}

const SEARCH: &str = "workspace_search";
const LIST: &str = "workspace_list";
const READ: &str = "workspace_read";
const WRITE: &str = "workspace_write";
const FETCH: &str = "http_fetch";
const COMPOSE: &str = "report_compose";
const COUNT: &str = "report_count";

#[test]
fn goals_of_the_family_become_these_steps() {
    for (goal, expected) in [
        ("Find every TODO comment in this repository and write a report", vec![SEARCH, COMPOSE, WRITE]),
        ("find all TODOs", vec![SEARCH, COMPOSE]),
        (
            "Please find all TODO and FIXME comments in src, and save them to notes.md.",
            vec![SEARCH, COMPOSE, WRITE],
        ),
        ("Find 'fn main' in src and report", vec![SEARCH, COMPOSE]),
        ("Search the code for \"unsafe\"", vec![SEARCH, COMPOSE]),
        ("Where is ModelError in Rust files?", vec![SEARCH, COMPOSE]),
        ("find occurrences of panic in src", vec![SEARCH, COMPOSE]),
        ("How many TODOs are there?", vec![SEARCH, COUNT]),
        ("Find all FIXME comments and count them", vec![SEARCH, COUNT]),
        ("Write a report of all TODO comments to todos.md", vec![SEARCH, COMPOSE, WRITE]),
        ("List all Rust files", vec![LIST, COMPOSE]),
        ("List the files in docs and write a report", vec![LIST, COMPOSE, WRITE]),
        ("Show me all *.toml files", vec![LIST, COMPOSE]),
        ("list files", vec![LIST, COMPOSE]),
        ("Find Cargo.toml", vec![LIST, COMPOSE]),
        ("How many Markdown files are in docs?", vec![LIST, COUNT]),
        ("Count the files", vec![LIST, COUNT]),
        ("Count the lines in Cargo.toml", vec![READ, COUNT]),
        ("Count the number of lines in README.md", vec![READ, COUNT]),
        ("List all files in the workspace and save the list to files.md", vec![LIST, COMPOSE, WRITE]),
        ("How many lines does src/main.rs have?", vec![READ, COUNT]),
        ("Read README.md", vec![READ, COMPOSE]),
        ("Show me the contents of 'my notes.txt'", vec![READ, COMPOSE]),
        ("Read a.txt and b.txt and write a report to both.md", vec![READ, READ, COMPOSE, WRITE]),
        ("Fetch https://example.org/page and save it to page.html", vec![FETCH, WRITE]),
        ("Fetch https://example.org/ and write a report", vec![FETCH, COMPOSE, WRITE]),
        ("Download https://example.org/a.json to a.json", vec![FETCH, WRITE]),
        ("Fetch https://example.org and https://example.com", vec![FETCH, FETCH, COMPOSE]),
        ("Compare a.txt and b.txt", vec![READ, READ, "report_compare", COMPOSE]),
        (
            "What is the difference between a.txt and https://example.org/a.txt?",
            vec![READ, FETCH, "report_compare", COMPOSE],
        ),
        ("What is 2*(3+4)", vec!["calculation_evaluate"]),
        ("Calculate 7 / 2 and save the result to result.md", vec!["calculation_evaluate", COMPOSE, WRITE]),
        ("What time is it?", vec!["clock_now"]),
        ("what's the current date", vec!["clock_now"]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(steps(goal), Some(expected), "{goal}");
    }
}

#[test]
fn other_goals_are_not_understood() {
    for goal in [
        "",
        "Hello",
        "Migrate the billing system to Stripe",
        "Write a poem",
        "Write a report about climate change",
        "Find the best restaurant in Paris",
        "Find bugs in the code",
        "Find every TODO comment and fix them",
        "Find every TODO comment in this repository and open a pull request",
        "Read README.md and translate it into French",
        "Fetch https://example.org and summarize it",
        "Compare apples and oranges",
        "Compare Rust and Go",
        "List the pros and cons of microservices",
        "List three ideas for a startup",
        "How many people live in Berlin?",
        "How many lines of poetry did Goethe write?",
        "What is love?",
        "What is the capital of France",
        "Refactor src/main.rs",
        "Delete all Rust files",
        "Count to ten",
        "Read my mind",
        "Show me how to write a parser",
    ] {
        assert_eq!(steps(goal), None, "{goal}");
    }
}

#[test]
fn patterns_and_places_are_exact() {
    let goal = "Find every TODO comment in this repository and write a report";
    assert_eq!(argument(goal, 0, "/pattern"), r"\bTODO\b");
    assert_eq!(argument(goal, 0, "/regex"), true);
    assert_eq!(argument(goal, 0, "/glob"), "!todo-report.md");
    assert_eq!(argument(goal, 2, "/path"), "todo-report.md");
    assert_eq!(argument(goal, 2, "/content/$output"), "step-2");
    let two = "find TODO and FIXME comments in src and save them to notes.md";
    assert_eq!(argument(two, 0, "/pattern"), r"\b(?:TODO|FIXME)\b");
    assert_eq!(argument(two, 0, "/glob"), "src/**");
    assert_eq!(argument(two, 2, "/path"), "notes.md");
    let deep = "Find every TODO comment in this repository, then write a report to reports/todo.md";
    assert_eq!(argument(deep, 2, "/path"), "reports/todo.md");
    assert_eq!(argument(deep, 0, "/glob"), "!reports/todo.md");
    let quoted = "Find 'fn main' in src and report";
    assert_eq!(argument(quoted, 0, "/pattern"), "fn main");
    assert_eq!(argument(quoted, 0, "/regex"), Value::Null);
    assert_eq!(argument("Find `Longhaul` ignoring case in *.md", 0, "/caseSensitive"), false);
    assert_eq!(argument("Find the regex '/fn \\w+/' in src", 0, "/pattern"), r"fn \w+");
}

#[test]
fn listings_and_pages_are_exact() {
    assert_eq!(argument("List all Rust files in src", 0, "/glob"), "**/*.rs");
    assert_eq!(argument("List all Rust files in src", 0, "/path"), "src");
    assert_eq!(argument("Find Cargo.toml", 0, "/glob"), "**/Cargo.toml");
    let page = "Fetch https://example.org/page and save it to page.html";
    assert_eq!(argument(page, 0, "/url"), "https://example.org/page");
    assert_eq!(argument(page, 0, "/mustSucceed"), true, "a page that says 404 is not the page");
    assert_eq!(argument(page, 1, "/content/pointer"), "/body");
    assert_eq!(argument("What is 2*(3+4)?", 0, "/expression"), "2*(3+4)");
    assert_eq!(argument("find all TODOs in md files and write a report", 2, "/path"), "todo-report.txt");
}

#[test]
fn the_plan_is_json_with_dependencies_and_honest_words() {
    let plan = for_wish(&understand("Compare a.txt and b.txt").unwrap()).to_json();
    assert_eq!(plan["steps"][2]["dependsOn"], json!(["step-1", "step-2"]));
    assert_eq!(plan["steps"][3]["id"], "step-4");
    assert_eq!(
        plan.to_string().matches(NO_MODEL).count(),
        2,
        "once in the plan and once in the report: {plan}"
    );
    assert!(plan["reason"].as_str().unwrap().contains(NO_MODEL));
    let about = &plan["steps"][3]["tool"]["arguments"]["sections"][1]["content"];
    assert!(about.as_str().unwrap().contains(NO_MODEL));
}
