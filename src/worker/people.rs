//! Pauses a task that waits for people, with the question in words.

use super::drive::Drive;
use crate::task::{
    AskKind, CallState, CallSubject, Event, PauseReason, Payload, Task, ToolAllowance, outcome_question,
};

impl Drive {
    /// Nothing goes on without somebody's word.
    pub(super) fn wait_for_people(&mut self) {
        let task = self.writer.task.clone();
        if let Some(reason) = task.pause_for_people() {
            self.pause(reason, people_question(&task));
        }
    }

    /// Nobody knows whether a call of this step took effect, and nothing goes on without a word about it.
    pub(super) fn ask_how_it_ended(&mut self, index: u32, why: &str) -> bool {
        self.doubt_what_was_left();
        let task = &self.writer.task;
        let asked = task.unknown_calls().find(|(step, _)| *step == index);
        let question = asked.map(|(step, call)| outcome_question(step, call, why));
        self.pause(PauseReason::UnknownOutcome, question.unwrap_or_else(|| why.to_owned()))
    }
}

impl Drive {
    /// Calls that an earlier worker left in flight, in steps that are not begun again before the task is
    /// paused: a person is asked about all of them at once, but for those that a tool can tell of.
    fn doubt_what_was_left(&mut self) {
        let task = self.writer.task.clone();
        let tools = self.shared.orchestrator.tools();
        let can_be_told = |tool: &str| {
            let known = tools.find(tool, &ToolAllowance::default());
            known.is_some_and(|known| known.reconciler().is_some())
        };
        let mut left = Vec::new();
        for index in task.frontier().iter().filter(|index| !self.cancels.contains_key(index)) {
            for call in task.step(*index).map_or(&[][..], |step| &step.calls) {
                let CallSubject::Tool { tool, .. } = &call.subject else { continue };
                let is_left = call.state == CallState::Dispatched && !call.may_repeat();
                if is_left && !can_be_told(tool) {
                    left.push((*index, call.number));
                }
            }
        }
        for (step, call) in left {
            let detail = "its worker was lost while the call was in flight".to_owned();
            self.writer.note(Event::CallLost { step, call, detail });
        }
    }
}

fn people_question(task: &Task) -> String {
    if let Some(ask) = task.plan_ask() {
        return format!("revision {} of the plan waits for approval", ask.revision);
    }
    let mut asks = task.asks();
    let Some((_, call, ask)) = asks.next() else { return String::new() };
    let what = match (&ask.kind, &call.subject) {
        (AskKind::Approval, CallSubject::Tool { tool, arguments, .. }) if call.because.is_some() => {
            let because = call.because.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{tool} {} needs approval, for {because}", arguments.preview())
        }
        (AskKind::Approval, CallSubject::Tool { tool, arguments, .. }) => {
            format!("{tool} {} needs approval", arguments.preview())
        }
        (AskKind::Change, CallSubject::Tool { tool, .. }) => {
            format!("{tool} is not what it was when the plan was made")
        }
        (_, CallSubject::Tool { arguments, .. }) => format!("a person is asked: {}", question(arguments)),
        (_, CallSubject::Model { model, .. }) => format!("{model} waits"),
    };
    match asks.count() {
        0 => what,
        more => format!("{what}, and {more} more"),
    }
}

/// What is asked, as one would ask it: the question, and between which answers one has the choice.
fn question(arguments: &Payload) -> String {
    let Payload::Inline(asked) = arguments else { return arguments.preview() };
    let Some(question) = asked["question"].as_str() else { return arguments.preview() };
    let choices = asked["choices"].as_array().into_iter().flatten().filter_map(|choice| choice.as_str());
    match choices.collect::<Vec<_>>().as_slice() {
        [] => question.to_owned(),
        choices => format!("{question} ({})", choices.join(", ")),
    }
}
