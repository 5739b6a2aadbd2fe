//! What to type, behind `longhaul task`, so that a task goes on that waits for a person.

use std::fmt::Display;

use crate::orchestrator::{OpenRequest, RequestId, RequestKind};
use crate::task::{Pause, PauseReason, Resource, TaskId};

/// What lets a task go on that is paused like this, if need be for the sake of a call in `doubt`.
pub(super) fn for_pause(task: TaskId, pause: &Pause, doubt: Option<&RequestId>) -> String {
    match pause.reason {
        PauseReason::Approval => for_request(RequestKind::Approval, task),
        PauseReason::ToolChanged => for_request(RequestKind::Tool, task),
        PauseReason::Unverified => for_request(RequestKind::Check, task),
        PauseReason::Input => for_request(RequestKind::Input, task),
        PauseReason::UnknownOutcome => for_outcome(task, doubt.map(ToString::to_string).as_deref()),
        PauseReason::Budget => {
            let resource = pause.exceeded.map(|exceeded| exceeded.resource);
            format!("budget {task} {}", resource.map_or("--add-… NUMBER", more_of))
        }
        PauseReason::NoProgress => format!("tell {task} WHAT-TO-DO-OTHERWISE"),
        PauseReason::User | PauseReason::Provider | PauseReason::Poison | PauseReason::Parent => {
            format!("resume {task}")
        }
    }
}

/// What answers the requests there are, each kind once.
pub(super) fn for_requests(open: &[OpenRequest]) -> Vec<String> {
    let mut answers = Vec::new();
    for request in open {
        let answer = for_request(request.kind, "TASK");
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    answers
}

/// What ends the doubt about a call.
pub(super) fn for_outcome(task: impl Display, request: Option<&str>) -> String {
    let named = request.map(|id| format!(" --request {id}")).unwrap_or_default();
    format!("resume {task}{named} --outcome 'happened=JSON' (or did-not-happen, skip, fail)")
}

fn for_request(kind: RequestKind, task: impl Display) -> String {
    match kind {
        RequestKind::Approval | RequestKind::Plan => format!("approve {task} (or deny)"),
        RequestKind::Input => format!("answer {task} ANSWER"),
        RequestKind::Check => format!("verdict {task} accept (or retry, fail)"),
        RequestKind::Tool => format!("accept {task} (or deny)"),
        RequestKind::Outcome => for_outcome(task, Some("REQUEST")),
    }
}

fn more_of(resource: Resource) -> &'static str {
    match resource {
        Resource::Tokens => "--add-tokens NUMBER",
        Resource::CostUsd => "--add-cost USD",
        Resource::WallTimeMs => "--add-time SPAN",
        Resource::ModelCalls => "--add-model-calls NUMBER",
        Resource::ToolCalls => "--add-tool-calls NUMBER",
        Resource::Steps => "--add-steps NUMBER",
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use uuid::Uuid;

    use super::*;
    use crate::cli::args::CommandLine;
    use crate::task::Exceeded;

    #[test]
    fn each_limit_is_raised_by_an_option_that_there_is() {
        let command = CommandLine::command();
        let budget = command.find_subcommand("task").and_then(|task| task.find_subcommand("budget")).unwrap();
        let options: Vec<&str> = budget.get_arguments().filter_map(|option| option.get_long()).collect();
        use Resource::{CostUsd, ModelCalls, Steps, Tokens, ToolCalls, WallTimeMs};
        for resource in [Tokens, CostUsd, WallTimeMs, ModelCalls, ToolCalls, Steps] {
            let exceeded = Exceeded { resource, limit: 1, used: 1, wanted: 1 };
            let word = for_pause(TaskId(Uuid::nil()), &Pause::until_more(exceeded), None);
            let option = word.split(' ').find_map(|part| part.strip_prefix("--")).unwrap();
            assert!(options.contains(&option), "{word}: {options:?}");
        }
    }
}
