//! What a task has read: content from outside, which may hold instructions, and content that is nobody
//! else's business. Whoever has read both could carry the one to where the other says.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::Verdict;
use super::secret_reference::secrets_in;
use super::{ApprovalPolicy, CallSubject, Event, Step, Task, TaskId};

/// What is to be known of a tool besides its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Labels {
    /// What it returns comes from outside, and may try to instruct whoever reads it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
    /// What it returns is confidential.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// What it is told leaves the house.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outward: bool,
    /// Of a call: a model wrote its arguments, and they refer to a secret.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

impl Labels {
    /// Whether nothing is to be known.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a task has read of each kind, by the first call that brought it. It never becomes less.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Taint {
    /// Where untrusted content came from first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untrusted: Option<Source>,
    /// Where private content came from first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<Source>,
}

/// A call that brought content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The tool.
    pub tool: String,
    /// The index of the step that called it.
    pub step: u32,
    /// The number of the call within the step.
    pub call: u32,
    /// The task that called it, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// What happens to a call that goes outward when its task has read both kinds of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenTainted {
    /// It is made like any other.
    Off,
    /// It needs approval, whatever its effect.
    #[default]
    Ask,
    /// It is refused.
    Deny,
}

impl Taint {
    /// Whether nothing of either kind was read.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether both kinds were read.
    pub fn is_both(&self) -> bool {
        self.untrusted.is_some() && self.private.is_some()
    }

    /// This, and what a call brought.
    pub fn take(&mut self, labels: Labels, source: &Source) {
        if labels.untrusted {
            self.untrusted.get_or_insert_with(|| source.clone());
        }
        if labels.private {
            self.private.get_or_insert_with(|| source.clone());
        }
    }

    /// This, and what another task has read.
    pub fn join(&mut self, other: &Self, task: TaskId) {
        let of = |source: &Source| Source { task: source.task.or(Some(task)), ..source.clone() };
        self.untrusted = self.untrusted.take().or_else(|| other.untrusted.as_ref().map(of));
        self.private = self.private.take().or_else(|| other.private.as_ref().map(of));
    }

    /// This, and what is known besides, whoever read it.
    pub fn add(&mut self, other: &Self) {
        self.untrusted = self.untrusted.take().or_else(|| other.untrusted.clone());
        self.private = self.private.take().or_else(|| other.private.clone());
    }

    /// Whether a call is held back because of it.
    pub fn holds_back(&self, labels: Labels, policy: &ApprovalPolicy) -> bool {
        let tells = labels.outward && self.is_both();
        // Whoever wrote what was read may have chosen which secret, and for what.
        let is_talked_into = labels.secret && self.untrusted.is_some();
        (tells || is_talked_into) && policy.when_tainted != WhenTainted::Off
    }

    /// Why a call with these arguments is held back.
    pub fn reason(&self, arguments: &Value) -> String {
        let secrets: Vec<String> = secrets_in(arguments).into_iter().collect();
        match secrets.as_slice() {
            [] => self.to_string(),
            secrets => format!("{self}; the arguments refer to a secret: {}", secrets.join(", ")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (call {} of step {}", self.tool, self.call, self.step + 1)?;
        match self.task {
            Some(task) => write!(f, " of task {task})"),
            None => f.write_str(")"),
        }
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task has read ")?;
        match (&self.untrusted, &self.private) {
            (Some(untrusted), Some(private)) => {
                write!(f, "untrusted content from {untrusted} and private content from {private}")
            }
            (Some(untrusted), None) => write!(f, "untrusted content from {untrusted}"),
            (None, Some(private)) => write!(f, "private content from {private}"),
            (None, None) => f.write_str("nothing that had to be noted"),
        }
    }
}

impl Task {
    /// Whether what an entry records may hold untrusted content, or what a model made of some: whatever
    /// the task brought since it read any.
    pub fn is_untrusted(&self, seq: i64) -> bool {
        self.state.untrusted_from.is_some_and(|from| seq >= from)
    }

    /// Whether the output of a step may hold untrusted content.
    pub fn is_untrusted_output(&self, step: &Step) -> bool {
        step.output_seq.is_some_and(|seq| self.is_untrusted(seq))
    }

    /// Takes what an outcome brought. A failure may carry words of whoever failed, and no more.
    pub(super) fn taint(&mut self, outcome: &Event) {
        if let Event::ChildEnded { taint, .. } = outcome {
            // Whose reading it was is part of what it tells.
            self.state.taint.add(taint);
            return;
        }
        let (step, call, is_result) = match outcome {
            Event::ToolReturned { step, call, .. }
            | Event::OutcomeDecided { step, call, result: Some(_), .. } => (*step, *call, true),
            Event::CallFailed { step, call, .. } => (*step, *call, false),
            _ => return,
        };
        let known = self.step(step).and_then(|step| step.call(call));
        let Some(CallSubject::Tool { tool, labels, .. }) = known.map(|call| &call.subject) else { return };
        let labels = Labels { private: labels.private && is_result, ..*labels };
        let source = Source { tool: tool.clone(), step, call, task: None };
        self.state.taint.take(labels, &source);
    }

    /// Whether a dispatch is one that the policy lets out: a person has approved it, or nothing holds it
    /// back.
    pub(super) fn is_let_out(&self, dispatch: &Event) -> Verdict {
        let Event::ToolDispatched { step, call, labels, .. } = dispatch else { return Ok(()) };
        if !self.state.taint.holds_back(*labels, &self.spec.approval) {
            return Ok(());
        }
        let is_approved =
            self.step(*step).and_then(|step| step.call(*call)).is_some_and(|call| call.is_approved);
        if is_approved { Ok(()) } else { Err(format!("{}, and nobody approved the call", self.state.taint)) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn source(tool: &str) -> Source {
        Source { tool: tool.into(), step: 0, call: 2, task: None }
    }

    const NONE: Labels = Labels { untrusted: false, private: false, outward: false, secret: false };
    const UNTRUSTED: Labels = Labels { untrusted: true, ..NONE };
    const PRIVATE: Labels = Labels { private: true, ..NONE };
    const OUTWARD: Labels = Labels { outward: true, ..NONE };
    const SECRET: Labels = Labels { secret: true, ..NONE };

    #[test]
    fn only_both_kinds_hold_back_and_only_what_goes_outward() {
        let usual = ApprovalPolicy::default();
        let mut taint = Taint::default();
        taint.take(UNTRUSTED, &source("fetch"));
        assert!(!taint.holds_back(OUTWARD, &usual));
        taint.take(PRIVATE, &source("read"));
        assert!(taint.holds_back(OUTWARD, &usual) && !taint.holds_back(PRIVATE, &usual));
        assert!(!taint.holds_back(OUTWARD, &ApprovalPolicy { when_tainted: WhenTainted::Off, ..usual }));
        assert_eq!(
            taint.to_string(),
            "the task has read untrusted content from fetch (call 2 of step 1) and private content from read (call 2 of \
             step 1)"
        );
    }

    #[test]
    fn a_secret_that_a_model_asks_for_is_held_back_once_it_has_read_something_untrusted() {
        let usual = ApprovalPolicy::default();
        let mut taint = Taint::default();
        taint.take(PRIVATE, &source("read"));
        assert!(!taint.holds_back(SECRET, &usual));
        taint.take(UNTRUSTED, &source("fetch"));
        assert!(taint.holds_back(SECRET, &usual));
        assert!(!taint.holds_back(SECRET, &ApprovalPolicy { when_tainted: WhenTainted::Off, ..usual }));
        let reason = taint.reason(&serde_json::json!({"key": "{{secret:b}}{{secret:a}}"}));
        assert!(reason.ends_with("; the arguments refer to a secret: a, b"), "{reason}");
    }

    #[test]
    fn the_first_source_is_named_and_that_of_another_task_with_its_name() {
        let mut taint = Taint::default();
        taint.take(UNTRUSTED, &source("first"));
        taint.take(UNTRUSTED, &source("second"));
        let mut heir = Taint::default();
        heir.join(&taint, TaskId(Uuid::nil()));
        let known = heir.untrusted.unwrap();
        assert_eq!((known.tool.as_str(), known.task), ("first", Some(TaskId(Uuid::nil()))));
    }
}
