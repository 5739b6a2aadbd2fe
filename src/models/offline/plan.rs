//! From a wish to a plan over the built-in tools.

use serde_json::{Value, json};

use super::super::ToolSpec;
use super::goal::{Outcome, Search, Subject, Wish};
use super::phrase::slug;
use super::scope::Scope;

/// Said in every plan and every report.
const NO_MODEL: &str = "no language model is in use";

/// Steps that each are one tool call.
pub(super) struct RulePlan {
    steps: Vec<RuleStep>,
}

struct RuleStep {
    description: String,
    tool: &'static str,
    arguments: Value,
    /// Indexes of the steps whose output it needs.
    needs: Vec<usize>,
}

/// The plan that fulfils `wish`. The output of its last step is the answer.
pub(super) fn for_wish(wish: &Wish) -> RulePlan {
    let mut plan = RulePlan { steps: Vec::new() };
    let report = match &wish.outcome {
        Outcome::Answer => None,
        Outcome::Report(path) => Some(path.clone().unwrap_or_else(|| default_file(&wish.subject))),
    };
    match &wish.subject {
        Subject::Find { search, scope, count } => {
            let avoid = report.clone().unwrap_or_else(|| default_file(&wish.subject));
            let found = plan.find(search, scope, &avoid);
            let title = format!("{} in the workspace", search.label);
            let result = if *count { plan.count(found) } else { found };
            let heading = if *count { "Count" } else { "Matches" };
            plan.conclude(&title, vec![(heading, result)], *count, report);
        }
        Subject::List { scope, count } => {
            let listed = plan.list(scope);
            let result = if *count { plan.count(listed) } else { listed };
            let heading = if *count { "Count" } else { "Files" };
            plan.conclude("Files in the workspace", vec![(heading, result)], *count, report);
        }
        Subject::Lines { path } => {
            let read = plan.read(path);
            let counted = plan.count(read);
            plan.conclude(&format!("Lines in {path}"), vec![("Count", counted)], true, report);
        }
        Subject::Read { paths } => {
            let parts: Vec<_> = paths.iter().map(|path| (path.as_str(), plan.read(path))).collect();
            plan.conclude(&paths.join(", "), parts, false, report);
        }
        Subject::Fetch { urls } => plan.fetch_all(urls, report),
        Subject::Compare { left, right } => {
            let compared = plan.compare(left, right);
            plan.conclude(&format!("{left} and {right}"), vec![("Comparison", compared)], false, report);
        }
        Subject::Calculate { expression } => {
            let arguments = json!({"expression": expression});
            let value = plan.step(format!("Calculate {expression}"), "calculation_evaluate", arguments, &[]);
            plan.conclude(expression, vec![("Result", value)], true, report);
        }
        Subject::Clock => {
            let now = plan.step("Read the clock".to_owned(), "clock_now", json!({}), &[]);
            plan.conclude("The time", vec![("Now", now)], true, report);
        }
    }
    plan
}

impl RulePlan {
    /// The first tool of the plan that is not at hand.
    pub(super) fn missing_tool(&self, tools: &[ToolSpec]) -> Option<&'static str> {
        let missing = |tool: &str| !tools.iter().any(|known| known.name == tool);
        self.steps.iter().map(|step| step.tool).find(|tool| missing(tool))
    }

    /// The plan as a language model would write it.
    pub(super) fn to_json(&self) -> Value {
        let steps: Vec<_> = self.steps.iter().enumerate().map(|(index, step)| step.to_json(index)).collect();
        json!({"steps": steps, "reason": format!("Planned by rules: {NO_MODEL}.")})
    }

    fn step(&mut self, description: String, tool: &'static str, arguments: Value, needs: &[usize]) -> usize {
        self.steps.push(RuleStep { description, tool, arguments, needs: needs.to_vec() });
        self.steps.len() - 1
    }

    fn find(&mut self, search: &Search, scope: &Scope, report: &str) -> usize {
        // The report of an earlier run must not be found again.
        let glob = scope.glob().unwrap_or_else(|| format!("!{report}"));
        let mut arguments = json!({"pattern": search.pattern, "glob": glob});
        if search.is_regex {
            arguments["regex"] = json!(true);
        }
        if search.ignores_case {
            arguments["caseSensitive"] = json!(false);
        }
        self.step(format!("Search the workspace for {}", search.label), "workspace_search", arguments, &[])
    }

    fn list(&mut self, scope: &Scope) -> usize {
        let mut arguments = json!({"path": scope.directory.as_deref().unwrap_or(".")});
        if let Some(files) = &scope.files {
            arguments["glob"] = json!(files);
        }
        self.step("List the files of the workspace".to_owned(), "workspace_list", arguments, &[])
    }

    fn read(&mut self, path: &str) -> usize {
        self.step(format!("Read {path}"), "workspace_read", json!({"path": path}), &[])
    }

    fn fetch(&mut self, url: &str) -> usize {
        self.step(format!("Fetch {url}"), "http_fetch", json!({"url": url}), &[])
    }

    fn read_or_fetch(&mut self, source: &str) -> usize {
        if source.contains("://") { self.fetch(source) } else { self.read(source) }
    }

    fn count(&mut self, of: usize) -> usize {
        self.step("Count the results".to_owned(), "report_count", json!({"content": output(of)}), &[of])
    }

    fn compare(&mut self, left: &str, right: &str) -> usize {
        let sources = [self.read_or_fetch(left), self.read_or_fetch(right)];
        let arguments = json!({"left": output(sources[0]), "right": output(sources[1]),
            "leftName": left, "rightName": right});
        self.step(format!("Compare {left} and {right}"), "report_compare", arguments, &sources)
    }

    fn fetch_all(&mut self, urls: &[String], report: Option<String>) {
        let parts: Vec<_> = urls.iter().map(|url| (url.as_str(), self.fetch(url))).collect();
        match (parts.as_slice(), report) {
            // A page goes into a file as it is; only Markdown is a report about it.
            ([(_, page)], Some(path)) if !path.ends_with(".md") => {
                let body = json!({"$output": step_id(*page), "pointer": "/body"});
                self.write(&path, body, *page);
            }
            (_, report) => self.conclude(&urls.join(", "), parts, false, report),
        }
    }

    /// Ends the plan: a result that is small and clear is the answer itself, others are put
    /// into a report, which is written to a file if one is wanted.
    fn conclude(&mut self, title: &str, parts: Vec<(&str, usize)>, is_clear: bool, file: Option<String>) {
        if is_clear && file.is_none() {
            return;
        }
        let needs: Vec<_> = parts.iter().map(|(_, index)| *index).collect();
        let mut sections: Vec<_> = parts
            .iter()
            .map(|(heading, index)| json!({"heading": heading, "content": output(*index)}))
            .collect();
        let note = format!("Made by Longhaul's offline rules: {NO_MODEL}.");
        sections.push(json!({"heading": "About this report", "content": note}));
        let arguments = json!({"title": title, "sections": sections});
        let report = self.step("Compose the report".to_owned(), "report_compose", arguments, &needs);
        if let Some(path) = file {
            self.write(&path, output(report), report);
        }
    }

    fn write(&mut self, path: &str, content: Value, needs: usize) {
        let arguments = json!({"path": path, "content": content});
        self.step(format!("Write {path}"), "workspace_write", arguments, &[needs]);
    }
}

impl RuleStep {
    fn to_json(&self, index: usize) -> Value {
        json!({
            "id": step_id(index),
            "description": format!("{} (by rule; {NO_MODEL})", self.description),
            "type": "tool-call",
            "dependsOn": self.needs,
            "tool": {"name": self.tool, "arguments": self.arguments},
            "estimatedDuration": if self.tool == "http_fetch" { 3000 } else { 500 },
        })
    }
}

fn step_id(index: usize) -> String {
    format!("step-{}", index + 1)
}

/// Stands for the output of a step.
fn output(index: usize) -> Value {
    json!({"$output": step_id(index)})
}

/// The report's name if the goal gives none. It never lies within what was searched: a search
/// of Markdown files is reported as text.
fn default_file(subject: &Subject) -> String {
    let (name, searched) = match subject {
        Subject::Find { search, scope, .. } => (search.label.as_str(), scope.glob()),
        Subject::List { .. } => ("files", None),
        Subject::Lines { .. } => ("lines", None),
        Subject::Read { paths } => (paths.first().map_or("files", String::as_str), None),
        Subject::Fetch { urls } => (urls.first().map_or("pages", |url| address(url)), None),
        Subject::Compare { .. } => ("comparison", None),
        Subject::Calculate { .. } => ("calculation", None),
        Subject::Clock => ("time", None),
    };
    let stem = match slug(name) {
        stem if stem.is_empty() => "search".to_owned(),
        stem => stem,
    };
    let ending = if searched.is_some_and(|glob| glob.ends_with(".md")) { "txt" } else { "md" };
    format!("{stem}-report.{ending}")
}

/// The address without its scheme.
fn address(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
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
            (
                "Calculate 7 / 2 and save the result to result.md",
                vec!["calculation_evaluate", COMPOSE, WRITE],
            ),
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
        assert_eq!(argument(page, 1, "/content/pointer"), "/body");
        assert_eq!(argument("What is 2*(3+4)?", 0, "/expression"), "2*(3+4)");
        assert_eq!(argument("find all TODOs in md files and write a report", 2, "/path"), "todo-report.txt");
    }

    #[test]
    fn the_plan_is_json_with_dependencies_and_honest_words() {
        let plan = for_wish(&understand("Compare a.txt and b.txt").unwrap()).to_json();
        assert_eq!(plan["steps"][2]["dependsOn"], json!([0, 1]));
        assert_eq!(plan["steps"][3]["id"], "step-4");
        assert!(plan["steps"][0]["description"].as_str().unwrap().contains(NO_MODEL));
        let about = &plan["steps"][3]["tool"]["arguments"]["sections"][1]["content"];
        assert!(about.as_str().unwrap().contains(NO_MODEL));
    }
}
