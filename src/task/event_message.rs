//! What an event says to people, in one line.

use super::{
    CheckDecision, Event, Fault, ForkPoint, Payload, Plan, Planner, RecordedRequest, ShownPicture, Status,
    Timestamp, TopUp, counted,
};

/// Who wrote what is in a file that goes with a goal or a message: whoever sent it need not have.
pub const FROM_FILE: &str = "file";

impl Event {
    /// One line for people.
    pub fn message(&self) -> String {
        match self {
            Self::Created { spec } => format!("Task created: {}", Payload::text(&spec.goal).preview()),
            Self::Forked { from, by, .. } => forked_message(*from, by),
            Self::Detected { by, score, .. } => format!("Needs orchestration (score {score:.2}, by {by})"),
            Self::Promoted { reason, .. } => format!("A chat answer became this task: {reason}"),
            Self::Planned { revision, plan, by, .. } => planned_message(*revision, plan, by),
            Self::Claimed { worker, .. } => format!("Taken over by worker {worker}"),
            Self::StepStarted { step, attempt } => format!("Step {} started (attempt {attempt})", step + 1),
            Self::ModelRequested { model, .. } => format!("Asked model {model}"),
            Self::ModelAnswered { text, requests, without_pictures, .. } => {
                answered_message(text, requests, *without_pictures)
            }
            Self::ToolDispatched { tool, .. } => format!("Called tool: {tool}"),
            Self::ToolReturned { result, is_error, .. } => returned_message(result, *is_error),
            Self::ChildStarted { tool, child, .. } => format!("Task {child} carries out {tool}"),
            Self::ChildEnded { status, result, is_error, .. } => ended_message(*status, result, *is_error),
            Self::CallFailed { fault, .. } => format!("Call failed: {fault}"),
            Self::CallLost { detail, .. } => format!("Outcome of a call is not known: {detail}"),
            Self::OutcomeDecided { by, result: Some(_), .. } => format!("{by}: the call took effect"),
            Self::OutcomeDecided { by, .. } => format!("{by}: the call did not take effect"),
            Self::ApprovalRequested { tool, arguments, .. } => {
                format!("Approval needed: {tool} {}", arguments.preview())
            }
            Self::ApprovalGiven { arguments: None, by, .. } => format!("{by} approved the call"),
            Self::ApprovalGiven { arguments: Some(arguments), by, .. } => {
                format!("{by} approved the call with other arguments: {}", arguments.preview())
            }
            Self::ApprovalDenied { reason, by, .. } => denied_message("the call", reason, by),
            Self::ToolChanged(notice) => changed_message(&notice.tool),
            Self::ToolAccepted { by, .. } => format!("{by} accepted the tool as it is now"),
            Self::InputRequested { arguments, .. } => format!("Answer needed: {}", arguments.preview()),
            Self::InputGiven { answer, by, .. } => format!("{by} answered: {}", answer.preview()),
            Self::InputDeclined { reason, by, .. } => denied_message("an answer", reason, by),
            Self::PlanApproved { revision, by } => format!("{by} approved revision {revision} of the plan"),
            Self::PlanDenied { reason, by, .. } => denied_message("the plan", reason, by),
            Self::MessageReceived { text, pictures, by } => received_message(by, text, pictures),
            Self::StepCompleted { step, .. } => format!("Step {} completed", step + 1),
            Self::StepFailed { step, fault, retry_at } => failed_message(*step, fault, *retry_at),
            Self::FannedOut { step, items } => {
                format!("Step {} has {}", step + 1, counted(items.len() as u64, "item"))
            }
            Self::StepClaimed { step, .. } => format!("Step {} says that it is done", step + 1),
            Self::StepVerified { step, passed, evidence, by, .. } => {
                verified_message(*step, *passed, evidence, by)
            }
            Self::CheckDecided { step, decision, by } => decided_message(*step, *decision, by),
            Self::StepSkipped { step, reason } => format!("Step {} skipped: {reason}", step + 1),
            Self::CheckpointTaken { completed, .. } => checkpoint_message(*completed),
            Self::ContextSummarized { tokens_before, tokens_after, by, .. } => {
                format!("Context summarized from {tokens_before} to {tokens_after} tokens by {by}")
            }
            Self::ConversationSummarized { step, tokens_before, tokens_after, by, .. } => {
                folded_message(*step, *tokens_before, *tokens_after, by)
            }
            Self::Restored { checkpoint, revision, plan, by, .. } => format!(
                "{by} put the task back to checkpoint {checkpoint}: revision {revision} does {} again",
                counted(plan.steps.len() as u64, "step")
            ),
            Self::FactPinned { text, by, .. } => format!("{by} pinned: {}", text.preview()),
            Self::Evaluated { verdict, reason, .. } => format!("Progress evaluated: {verdict} ({reason})"),
            Self::Prioritized { priority, by } => format!("Priority set to {priority} by {by}"),
            Self::BudgetRaised { add, by, child } => raised_message(add, by, child.is_some()),
            Self::Paused { pause, .. } => format!("Paused: {}", pause.detail),
            Self::Resumed { by } => format!("Resumed by {by}"),
            Self::Completed { output } => format!("Task completed: {}", output.preview()),
            Self::Failed { fault } => format!("Task failed: {fault}"),
            Self::Cancelled { by } => format!("Task cancelled by {by}"),
        }
    }
}

fn forked_message(from: ForkPoint, by: &str) -> String {
    format!("{by} forked it from entry {} of task {}", from.seq, from.task)
}

fn raised_message(add: &TopUp, by: &str, is_for_child: bool) -> String {
    let whose = if is_for_child { " for a sub-task" } else { "" };
    format!("Budget raised by {by}{whose}: {add}")
}

fn ended_message(status: Status, result: &Payload, is_error: bool) -> String {
    let what = if is_error { "brought nothing".to_owned() } else { status.to_string() };
    format!("Sub-task {what}: {}", result.preview())
}

fn changed_message(tool: &str) -> String {
    format!("{tool} is not what it was when the plan was made: its call waits for a person")
}

fn checkpoint_message(completed: u32) -> String {
    format!("Checkpoint after {}", counted(completed, "completed step"))
}

fn folded_message(step: u32, before: u64, after: u64, by: &str) -> String {
    format!("Conversation of step {} summarized from {before} to {after} tokens by {by}", step + 1)
}

fn verified_message(step: u32, passed: bool, evidence: &Payload, by: &str) -> String {
    let held = if passed { "passed" } else { "did not pass" };
    format!("Step {} {held} its check ({by}): {}", step + 1, evidence.preview())
}

fn planned_message(revision: u32, plan: &Plan, by: &Planner) -> String {
    let degraded = if by.degraded { ", degraded" } else { "" };
    let steps = counted(plan.steps.len() as u64, "step");
    match revision {
        1 => format!("Planned {steps}{degraded}"),
        _ => format!("Plan revised (revision {revision}, {steps}{degraded}): {}", by.reason),
    }
}

fn answered_message(text: &Payload, requests: &[RecordedRequest], without_pictures: bool) -> String {
    let unseen = if without_pictures { " (it was not shown the pictures)" } else { "" };
    if requests.is_empty() {
        return format!("Model answered{unseen}: {}", text.preview());
    }
    let tools: Vec<&str> = requests.iter().map(|request| request.tool.as_str()).collect();
    format!("Model wants to call {}{unseen}", tools.join(", "))
}

fn returned_message(result: &Payload, is_error: bool) -> String {
    let how = if is_error { "Tool reported an error" } else { "Tool returned" };
    format!("{how}: {}", result.preview())
}

fn received_message(by: &str, text: &Payload, pictures: &[ShownPicture]) -> String {
    let shown: String = pictures.iter().map(|picture| format!(" {}", picture.in_short())).collect();
    let who = if by == FROM_FILE { "Goes with it".to_owned() } else { format!("{by} wrote") };
    format!("{who}: {}{shown}", text.preview())
}

fn denied_message(what: &str, reason: &str, by: &str) -> String {
    if reason.is_empty() { format!("{by} denied {what}") } else { format!("{by} denied {what}: {reason}") }
}

fn decided_message(step: u32, decision: CheckDecision, by: &str) -> String {
    match decision {
        CheckDecision::Accept => format!("{by} accepted what step {} brought", step + 1),
        CheckDecision::Retry => format!("{by} lets step {} try again", step + 1),
    }
}

fn failed_message(step: u32, fault: &Fault, retry_at: Option<Timestamp>) -> String {
    match retry_at {
        Some(at) => format!("Step {} failed, next attempt at {at}: {fault}", step + 1),
        None => format!("Step {} failed for good: {fault}", step + 1),
    }
}
