//! From a wish to a plan over the built-in tools.

use serde_json::{Value, json};

use super::super::ToolSpec;
use super::goal::{Outcome, Subject, Wish};
use super::phrase::slug;
use super::scope::Scope;
use super::search::Search;

/// Said once in every plan, as its reason, and in every report.
const NO_MODEL: &str = "no language model is in use";

/// As many as the search gives; what is cut all the same is said in the answer and in the report.
const MOST_MATCHES: u32 = 10_000;

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

/// The plan that fulfils `wish`. Its last step puts the answer into words.
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
            let title = format!("{} in {}", search.words(), scope.words());
            plan.conclude(&title, vec![part("Matches", found, *count)], Some(found), report);
        }
        Subject::List { scope, only, lines, count } => {
            let listed = plan.list(scope, only, *lines);
            let title = format!("{} in {}", capital(only), scope.words());
            let heading = if *lines { "Lines" } else { capital(only) };
            plan.conclude(&title, vec![part(heading, listed, *count)], Some(listed), report);
        }
        Subject::Lines { path } => {
            let counted = plan.count_lines(path);
            plan.conclude(
                &format!("Lines in {path}"),
                vec![part("Lines", counted, true)],
                Some(counted),
                report,
            );
        }
        Subject::Read { paths } => {
            let parts = paths.iter().map(|path| part(path, plan.read(path), false)).collect();
            plan.conclude(&paths.join(", "), parts, None, report);
        }
        Subject::Fetch { urls } => plan.fetch_all(urls, report),
        Subject::Compare { left, right } => {
            let compared = plan.compare(left, right);
            let parts = vec![part("Comparison", compared, false)];
            plan.conclude(&format!("{left} and {right}"), parts, Some(compared), report);
        }
        Subject::Calculate { expression } => {
            let arguments = json!({"expression": expression});
            let value = plan.step(format!("Calculate {expression}"), "calculation_evaluate", arguments, &[]);
            plan.conclude(expression, vec![part("Result", value, false)], None, report);
        }
        Subject::Clock => {
            let now = plan.step("Read the clock".to_owned(), "clock_now", json!({}), &[]);
            plan.conclude("The time", vec![part("Now", now, false)], None, report);
        }
    }
    plan
}

/// A part of an answer or a report: what a step brought, or what that says of itself.
struct Part<'a> {
    heading: &'a str,
    step: usize,
    in_short: bool,
}

fn part(heading: &str, step: usize, in_short: bool) -> Part<'_> {
    Part { heading, step, in_short }
}

impl Part<'_> {
    fn content(&self) -> Value {
        if self.in_short { summary(self.step) } else { output(self.step) }
    }
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
        json!({"steps": steps, "reason": NO_MODEL})
    }

    fn step(&mut self, description: String, tool: &'static str, arguments: Value, needs: &[usize]) -> usize {
        self.steps.push(RuleStep { description, tool, arguments, needs: needs.to_vec() });
        self.steps.len() - 1
    }

    fn find(&mut self, search: &Search, scope: &Scope, report: &str) -> usize {
        let mut arguments = json!({"pattern": search.pattern, "maxMatches": MOST_MATCHES});
        // The report of an earlier run must not be found again.
        let glob = scope.files.clone().unwrap_or_else(|| format!("!{report}"));
        for (name, value) in [
            ("path", scope.directory.clone().map(Value::String)),
            ("glob", Some(Value::String(glob))),
            ("regex", search.is_regex.then_some(Value::Bool(true))),
            ("caseSensitive", search.ignores_case.then_some(Value::Bool(false))),
            ("commentsOnly", search.comments.then_some(Value::Bool(true))),
        ] {
            if let Some(value) = value {
                arguments[name] = value;
            }
        }
        let what = format!("Search {} for {}", scope.words(), search.words());
        self.step(what, "workspace_search", arguments, &[])
    }

    fn list(&mut self, scope: &Scope, only: &'static str, lines: bool) -> usize {
        let mut arguments = json!({"path": scope.directory.as_deref().unwrap_or("."), "only": only});
        if let Some(files) = &scope.files {
            arguments["glob"] = json!(files);
        }
        if lines {
            arguments["countLines"] = json!(true);
        }
        let verb = if lines { "Count the lines of the" } else { "List the" };
        let what = if only == "both" { "files and directories" } else { only };
        self.step(format!("{verb} {what} in {}", scope.words()), "workspace_list", arguments, &[])
    }

    fn read(&mut self, path: &str) -> usize {
        self.step(format!("Read {path}"), "workspace_read", json!({"path": path}), &[])
    }

    fn fetch(&mut self, url: &str) -> usize {
        self.step(format!("Fetch {url}"), "http_fetch", json!({"url": url, "mustSucceed": true}), &[])
    }

    fn read_or_fetch(&mut self, source: &str) -> usize {
        if source.contains("://") { self.fetch(source) } else { self.read(source) }
    }

    /// However long the file is: nothing of it is told.
    fn count_lines(&mut self, path: &str) -> usize {
        let arguments = json!({"path": path, "only": "files", "countLines": true});
        self.step(format!("Count the lines of {path}"), "workspace_list", arguments, &[])
    }

    fn compare(&mut self, left: &str, right: &str) -> usize {
        if ![left, right].iter().any(|side| side.contains("://")) {
            let arguments = json!({"left": left, "right": right});
            return self.step(format!("Compare {left} and {right}"), "workspace_compare", arguments, &[]);
        }
        let sources = [self.read_or_fetch(left), self.read_or_fetch(right)];
        let arguments = json!({"left": output(sources[0]), "right": output(sources[1]),
            "leftName": left, "rightName": right});
        self.step(format!("Compare {left} and {right}"), "report_compare", arguments, &sources)
    }

    fn fetch_all(&mut self, urls: &[String], report: Option<String>) {
        let parts: Vec<_> = urls.iter().map(|url| part(url, self.fetch(url), false)).collect();
        match (parts.as_slice(), report) {
            // A page goes into a file as it is; only Markdown is a report about it.
            ([page], Some(path)) if !path.ends_with(".md") => {
                let body = json!({"$output": step_id(page.step), "pointer": "/body"});
                let written = self.write(&path, body, page.step);
                self.answer(vec![summary(page.step), output(written)], &[page.step, written]);
            }
            (&[Part { step, .. }], report) => self.conclude(&urls.join(", "), parts, Some(step), report),
            (_, report) => self.conclude(&urls.join(", "), parts, None, report),
        }
    }

    /// Ends the plan. What is asked for is the answer, or goes into a report; then the answer says
    /// how much it is, if `in_short` knows, and where it is.
    fn conclude(&mut self, title: &str, parts: Vec<Part<'_>>, in_short: Option<usize>, file: Option<String>) {
        let mut needs: Vec<_> = parts.iter().map(|part| part.step).collect();
        let Some(path) = file else {
            let contents = parts.iter().map(Part::content).collect();
            return self.answer(contents, &needs);
        };
        let mut sections: Vec<_> =
            parts.iter().map(|part| json!({"heading": part.heading, "content": part.content()})).collect();
        let note = format!("Made by Longhaul's offline rules: {NO_MODEL}.");
        sections.push(json!({"heading": "About this report", "content": note}));
        let arguments = json!({"title": title, "sections": sections});
        let report = self.step("Compose the report".to_owned(), "report_compose", arguments, &needs);
        let written = self.write(&path, output(report), report);
        needs = in_short.into_iter().chain([written]).collect();
        self.answer(in_short.map(summary).into_iter().chain([output(written)]).collect(), &needs);
    }

    fn answer(&mut self, contents: Vec<Value>, needs: &[usize]) {
        let sections: Vec<_> = contents.into_iter().map(|content| json!({"content": content})).collect();
        let arguments = json!({"sections": sections});
        self.step("Put the answer into words".to_owned(), "report_compose", arguments, needs);
    }

    fn write(&mut self, path: &str, content: Value, needs: usize) -> usize {
        let arguments = json!({"path": path, "content": content});
        self.step(format!("Write {path}"), "workspace_write", arguments, &[needs])
    }
}

impl RuleStep {
    fn to_json(&self, index: usize) -> Value {
        json!({
            "id": step_id(index),
            "description": self.description,
            "type": "tool-call",
            "dependsOn": self.needs.iter().map(|index| step_id(*index)).collect::<Vec<_>>(),
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

/// Stands for what the output of a step says of itself, in a sentence.
fn summary(index: usize) -> Value {
    json!({"$output": step_id(index), "pointer": "/summary"})
}

fn capital(only: &str) -> &'static str {
    match only {
        "files" => "Files",
        "directories" => "Directories",
        _ => "Files and directories",
    }
}

/// The report's name if the goal gives none. It never lies within what was searched: a search
/// of Markdown files is reported as text.
fn default_file(subject: &Subject) -> String {
    let (name, searched) = match subject {
        Subject::Find { search, scope, .. } => (search.label.as_str(), Some(scope)),
        Subject::List { only: "directories", .. } => ("directories", None),
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
    let ending = if searched.is_some_and(Scope::is_markdown) { "txt" } else { "md" };
    format!("{stem}-report.{ending}")
}

/// The address without its scheme.
fn address(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
