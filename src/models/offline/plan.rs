//! From a wish to a plan over the built-in tools.

use serde_json::{Value, json};

use super::super::ToolSpec;
use super::goal::{Outcome, Subject, Wish};
use super::phrase::slug;
use super::scope::Scope;
use super::search::Search;

/// Said once in every plan, as its reason, and in every report.
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
        json!({"steps": steps, "reason": NO_MODEL})
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
        self.step(format!("Fetch {url}"), "http_fetch", json!({"url": url, "mustSucceed": true}), &[])
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
#[path = "plan_tests.rs"]
mod tests;
