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
/// The last step of each: the same tool as for a report.
const ANSWER: &str = COMPOSE;

#[test]
fn goals_of_the_family_become_these_steps() {
    for (goal, expected) in [
        (
            "Find every TODO comment in this repository and write a report",
            vec![SEARCH, COMPOSE, WRITE, ANSWER],
        ),
        ("find all TODOs", vec![SEARCH, ANSWER]),
        (
            "Please find all TODO and FIXME comments in src, and save them to notes.md.",
            vec![SEARCH, COMPOSE, WRITE, ANSWER],
        ),
        ("Find 'fn main' in src and report", vec![SEARCH, ANSWER]),
        ("Search the code for \"unsafe\"", vec![SEARCH, ANSWER]),
        ("Where is ModelError in Rust files?", vec![SEARCH, ANSWER]),
        ("find occurrences of panic in src", vec![SEARCH, ANSWER]),
        ("How many TODOs are there?", vec![SEARCH, ANSWER]),
        ("Find all FIXME comments and count them", vec![SEARCH, ANSWER]),
        ("Write a report of all TODO comments to todos.md", vec![SEARCH, COMPOSE, WRITE, ANSWER]),
        ("List all Rust files", vec![LIST, ANSWER]),
        ("List the files in docs and write a report", vec![LIST, COMPOSE, WRITE, ANSWER]),
        ("Show me all *.toml files", vec![LIST, ANSWER]),
        ("list files", vec![LIST, ANSWER]),
        ("Find Cargo.toml", vec![LIST, ANSWER]),
        ("How many Markdown files are in docs?", vec![LIST, ANSWER]),
        ("Count the files", vec![LIST, ANSWER]),
        ("Count the lines in Cargo.toml", vec![LIST, ANSWER]),
        ("Count the number of lines in README.md", vec![LIST, ANSWER]),
        ("List all files in the workspace and save the list to files.md", vec![LIST, COMPOSE, WRITE, ANSWER]),
        ("How many lines does src/main.rs have?", vec![LIST, ANSWER]),
        ("Count the lines of code in src", vec![LIST, ANSWER]),
        ("How many lines of Rust code are in src/deep?", vec![LIST, ANSWER]),
        ("How many lines does this repository have?", vec![LIST, ANSWER]),
        ("count lines in nowhere/", vec![LIST, ANSWER]),
        ("List the directories in src", vec![LIST, ANSWER]),
        ("List everything", vec![LIST, ANSWER]),
        ("What is in this directory?", vec![LIST, ANSWER]),
        ("Which files mention main?", vec![SEARCH, ANSWER]),
        ("Find all files that contain 'fn main' in src", vec![SEARCH, ANSWER]),
        ("grep main src", vec![SEARCH, ANSWER]),
        ("Report on all TODO comments", vec![SEARCH, ANSWER]),
        ("How many folders are there?", vec![LIST, ANSWER]),
        ("Find all comments that mention 'unsafe' in src", vec![SEARCH, ANSWER]),
        ("Read README.md", vec![READ, ANSWER]),
        ("Show me the contents of 'my notes.txt'", vec![READ, ANSWER]),
        ("Read a.txt and b.txt and write a report to both.md", vec![READ, READ, COMPOSE, WRITE, ANSWER]),
        ("Fetch https://example.org/page and save it to page.html", vec![FETCH, WRITE, ANSWER]),
        ("Fetch https://example.org/ and write a report", vec![FETCH, COMPOSE, WRITE, ANSWER]),
        ("Download https://example.org/a.json to a.json", vec![FETCH, WRITE, ANSWER]),
        ("Fetch https://example.org and https://example.com", vec![FETCH, FETCH, ANSWER]),
        ("Compare a.txt and b.txt", vec!["workspace_compare", ANSWER]),
        (
            "What is the difference between a.txt and https://example.org/a.txt?",
            vec![READ, FETCH, "report_compare", ANSWER],
        ),
        ("What is 2*(3+4)", vec!["calculation_evaluate", ANSWER]),
        (
            "Calculate 7 / 2 and save the result to result.md",
            vec!["calculation_evaluate", COMPOSE, WRITE, ANSWER],
        ),
        ("What time is it?", vec!["clock_now", ANSWER]),
        ("what's the current date", vec!["clock_now", ANSWER]),
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
        "What is in this for me?",
        "Search for bugs",
        "Find duplicate files",
        "List the largest files",
        "Find functions in src",
        "How many words are in a.txt?",
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
    assert_eq!(argument(goal, 0, "/commentsOnly"), true);
    assert_eq!(argument(goal, 0, "/maxMatches"), 10_000);
    assert_eq!(argument(goal, 0, "/glob"), "!todo-report.md");
    assert_eq!(argument(goal, 2, "/path"), "todo-report.md");
    assert_eq!(argument(goal, 2, "/content/$output"), "step-2");
    assert_eq!(argument("find all TODOs", 0, "/commentsOnly"), Value::Null, "wherever they are");
    let two = "find TODO and FIXME comments in src and save them to notes.md";
    assert_eq!(argument(two, 0, "/pattern"), r"\b(?:TODO|FIXME)\b");
    assert_eq!(argument(two, 0, "/path"), "src");
    assert_eq!(argument(two, 2, "/path"), "notes.md");
    let deep = "Find every TODO comment in this repository, then write a report to reports/todo.md";
    assert_eq!(argument(deep, 2, "/path"), "reports/todo.md");
    assert_eq!(argument(deep, 0, "/glob"), "!reports/todo.md");
    let quoted = "Find 'fn main' in src and report";
    assert_eq!(argument(quoted, 0, "/pattern"), "fn main");
    assert_eq!(argument(quoted, 0, "/regex"), Value::Null);
    assert_eq!(argument("Find `Longhaul` ignoring case in *.md", 0, "/caseSensitive"), false);
    assert_eq!(argument("Find the regex '/fn \\w+/' in src", 0, "/pattern"), r"fn \w+");
    assert_eq!(argument("Find TODO in todo-report.md", 0, "/path"), "todo-report.md");
    let comments = "Find all comments that mention 'unsafe' in src";
    assert_eq!(
        (argument(comments, 0, "/commentsOnly"), argument(comments, 0, "/pattern")),
        (true.into(), "unsafe".into())
    );
}

#[test]
fn listings_and_pages_are_exact() {
    assert_eq!(argument("List all Rust files in src", 0, "/glob"), "**/*.rs");
    assert_eq!(argument("List all Rust files in src", 0, "/path"), "src");
    assert_eq!(argument("Count the files in src", 0, "/only"), "files", "a directory is no file");
    assert_eq!(argument("List the folders", 0, "/only"), "directories");
    assert_eq!(argument("Find Cargo.toml", 0, "/glob"), "**/Cargo.toml");
    let lines = "How many lines of Rust code are in src/deep?";
    assert_eq!(argument(lines, 0, "/countLines"), true);
    assert_eq!(
        (argument(lines, 0, "/path"), argument(lines, 0, "/glob")),
        ("src/deep".into(), "**/*.rs".into())
    );
    let page = "Fetch https://example.org/page and save it to page.html";
    assert_eq!(argument(page, 0, "/url"), "https://example.org/page");
    assert_eq!(argument(page, 0, "/mustSucceed"), true, "a page that says 404 is not the page");
    assert_eq!(argument(page, 1, "/content/pointer"), "/body");
    assert_eq!(argument("What is 2*(3+4)?", 0, "/expression"), "2*(3+4)");
    assert_eq!(argument("find all TODOs in md files and write a report", 2, "/path"), "todo-report.txt");
    assert_eq!(argument("How many TODOs are there?", 1, "/sections/0/content/pointer"), "/summary");
}

#[test]
fn the_plan_is_json_with_dependencies_and_honest_words() {
    let plan = for_wish(&understand("Compare a.txt and https://example.org/b").unwrap()).to_json();
    assert_eq!(plan["steps"][2]["dependsOn"], json!(["step-1", "step-2"]));
    assert_eq!(plan["steps"][3]["id"], "step-4");
    assert_eq!(plan["reason"], NO_MODEL);
    assert_eq!(plan.to_string().matches(NO_MODEL).count(), 1, "said once: {plan}");
    let plan = for_wish(&understand("Compare a.txt and b.txt and write a report").unwrap()).to_json();
    let about = &plan["steps"][1]["tool"]["arguments"]["sections"][1]["content"];
    assert!(about.as_str().unwrap().contains(NO_MODEL), "a file goes its own way: {plan}");
}
