//! What is wrong with a plan, in the one form in which everybody is told: people, programs and the model that
//! made it. `plan[1].retry.maxAttempts: must be at most 100`: the list as it is called where it was sent, the
//! place of the step in it, counted from 0 as in every path, the field, and what would be right.

use thiserror::Error;

/// Why a plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// It is no list.
    #[error("must be a list of steps, or an object with it under 'steps'")]
    NoList,
    /// A check that has to be met is in none of its steps.
    #[error(
        "the check {0} has still to be met, and no step of the plan that has to be done is checked by it: give it to \
         the step that brings what it looks at"
    )]
    DropsCheck(String),
    /// There is nothing to do.
    #[error("the plan has no steps")]
    Empty,
    /// More steps than the task may have.
    #[error("the plan has {steps} steps, at most {limit} are allowed (limits.maxSteps)")]
    TooManySteps {
        /// How many the task would have, earlier revisions included.
        steps: usize,
        /// How many it may have.
        limit: u32,
    },
    /// Some of its steps are wrong; there is at least one problem.
    #[error("{}", told(.0, "plan"))]
    Steps(Vec<StepProblem>),
}

impl PlanError {
    /// The same with the list under the name by which it was sent: `plan`, `steps`.
    pub fn told(&self, list: &str) -> String {
        match self {
            Self::Steps(problems) => told(problems, list),
            whole => format!("{list}: {whole}"),
        }
    }
}

impl From<StepProblem> for PlanError {
    fn from(problem: StepProblem) -> Self {
        Self::Steps(vec![problem])
    }
}

fn told(problems: &[StepProblem], list: &str) -> String {
    problems.iter().map(|problem| problem.told(list)).collect::<Vec<_>>().join("; ")
}

/// What is wrong with one step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepProblem {
    /// Where the step stands in the list that was sent, from 0.
    step: usize,
    /// The path of its field, as `retry.maxAttempts`; empty if it is about the whole step.
    field: String,
    /// What is wrong and what would be right.
    words: String,
}

impl StepProblem {
    /// A problem with a field of the step at this place of the list, from 0.
    pub fn new(step: usize, field: impl Into<String>, words: impl Into<String>) -> Self {
        Self { step, field: field.into(), words: words.into() }
    }

    /// What was said when the step was read: with the path of a field before it, or of the whole step.
    pub(crate) fn of_reading(step: usize, said: &str) -> Self {
        match said.split_once(": ") {
            Some((field, words)) if !field.contains(' ') => Self::new(step, field, words),
            _ => Self::new(step, "", said),
        }
    }

    /// A key that no step has.
    pub(crate) fn unknown_key<'a>(step: usize, key: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let known: Vec<&str> = known.map(String::as_str).collect();
        Self::new(step, key, format!("there is no such field; there is {}", known.join(", ")))
    }

    /// Whether it is about this field, or a part of it.
    pub fn is_about(&self, field: &str) -> bool {
        self.field.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// The problem with its place, in the list by this name.
    fn told(&self, list: &str) -> String {
        let Self { step, field, words } = self;
        let dot = if field.is_empty() { "" } else { "." };
        format!("{list}[{step}]{dot}{field}: {words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_the_place_that_it_is_about() {
        let field = StepProblem::new(1, "retry.maxAttempts", "must be at most 100");
        let whole = StepProblem::of_reading(2, "must be an object, not the number 1");
        let both = PlanError::Steps(vec![field.clone(), whole]);
        assert_eq!(
            both.told("steps"),
            "steps[1].retry.maxAttempts: must be at most 100; steps[2]: must be an object, not the number 1"
        );
        assert_eq!(PlanError::from(field).to_string(), "plan[1].retry.maxAttempts: must be at most 100");
        assert_eq!(PlanError::Empty.told("plan"), "plan: the plan has no steps");
        let read = StepProblem::of_reading(0, "type: 'magic' is none of: a, b");
        assert_eq!(read, StepProblem::new(0, "type", "'magic' is none of: a, b"));
    }

    #[test]
    fn a_problem_is_about_its_field_and_what_that_is_a_part_of() {
        let problem = StepProblem::new(0, "checks[1].judge", "says nothing");
        assert!(problem.is_about("checks") && problem.is_about("checks[1]"));
        assert!(!problem.is_about("check") && !problem.is_about("when"));
    }
}
