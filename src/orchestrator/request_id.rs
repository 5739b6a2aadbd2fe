//! By what a request to people is known: it names the task, the step, the call and its attempt, so that a word
//! about one request never counts for another.

use std::fmt;
use std::str::FromStr;

use crate::task::TaskId;

/// Names one request to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Which task asks.
    pub task: TaskId,
    /// About what.
    pub about: About,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A call of a step.
    Call {
        /// The step's index.
        step: u32,
        /// The call's number within it.
        call: u32,
        /// Its attempt.
        attempt: u32,
    },
    /// A tool that has changed since the plan was made.
    Tool {
        /// The index of the step that calls it.
        step: u32,
        /// The number of the call that waits.
        call: u32,
        /// The entry that tells what became of it.
        entry: i64,
    },
    /// What a step brought, which did not pass its checks.
    Check {
        /// The step's index.
        step: u32,
        /// Its attempt.
        attempt: u32,
    },
    /// A revision of the plan.
    Plan(u32),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about {
            About::Call { step, call, attempt } => write!(f, "{}.{step}.{call}.{attempt}", self.task),
            About::Tool { step, call, entry } => write!(f, "{}.tool.{step}.{call}.{entry}", self.task),
            About::Check { step, attempt } => write!(f, "{}.check.{step}.{attempt}", self.task),
            About::Plan(revision) => write!(f, "{}.plan.{revision}", self.task),
        }
    }
}

impl FromStr for RequestId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "is not the id of a request: ids look like TASK.STEP.CALL.ATTEMPT, TASK.plan.REVISION, \
            TASK.check.STEP.ATTEMPT or TASK.tool.STEP.CALL.ENTRY";
        let parts: Vec<&str> = text.split('.').collect();
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong);
        let task = |text: &str| text.parse::<TaskId>().map_err(|_| wrong);
        match parts.as_slice() {
            [id, "plan", revision] => Ok(Self { task: task(id)?, about: About::Plan(number(revision)?) }),
            [id, "tool", step, call, entry] => {
                let entry = entry.parse().map_err(|_| wrong)?;
                let about = About::Tool { step: number(step)?, call: number(call)?, entry };
                Ok(Self { task: task(id)?, about })
            }
            [id, "check", step, attempt] => {
                let about = About::Check { step: number(step)?, attempt: number(attempt)? };
                Ok(Self { task: task(id)?, about })
            }
            [id, step, call, attempt] => {
                let about =
                    About::Call { step: number(step)?, call: number(call)?, attempt: number(attempt)? };
                Ok(Self { task: task(id)?, about })
            }
            _ => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_of_requests_survive_the_text_form() {
        let task = TaskId(Uuid::now_v7());
        let call = About::Call { step: 0, call: 3, attempt: 1 };
        let tool = About::Tool { step: 4, call: 2, entry: 17 };
        for about in [About::Plan(2), call, tool, About::Check { step: 4, attempt: 2 }] {
            let id = RequestId { task, about };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "x.1.2.3", "0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70.1.2", "a.plan.b"] {
            assert!(wrong.parse::<RequestId>().is_err(), "{wrong}");
        }
    }
}
