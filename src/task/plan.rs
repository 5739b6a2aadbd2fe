//! A plan: steps with dependencies. Data, never code that is replayed.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan_error::{PlanError, StepProblem};
use super::reference::outputs_in;
use super::{Check, CheckKind, Condition, ForEach, Limits, ModelName, RetryPolicy, StepType, Task, Usage};

/// What a step takes if its plan does not say, in milliseconds; the seed's.
const USUAL_MILLIS: u64 = 30_000;

/// Checks of one step at most.
const MAX_CHECKS: usize = 16;

/// The steps that lead to a goal, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Plan {
    /// The steps; the position of a step is its index.
    pub steps: Vec<PlannedStep>,
}

/// One step as the plan describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// `step-1`, `step-2`, …: unique within the task over all revisions.
    pub id: String,
    /// What to do, for the model and for people.
    pub description: String,
    /// What kind of work it is.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// Indexes of the steps that must be settled first; each smaller than the step's own. Always written: who
    /// writes a plan and leaves it out means the step before.
    #[serde(default)]
    pub depends_on: Vec<u32>,
    /// The one tool call that the step is, if the plan already knows it. Otherwise a model
    /// chooses tools turn by turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolUse>,
    /// How long it will take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_duration: Option<u64>,
    /// Whether the goal can be reached although this step fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// When it is tried again, if otherwise than the task's other steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// The model that is asked in it, if another one than for the task's other steps. Counts only
    /// while the configuration allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Carries the step out once for each item of a list that is found on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// The step is skipped unless this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// What has to hold of what it brings before it counts as done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// A tool call that the plan itself names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolUse {
    /// The tool's full name.
    pub name: String,
    /// The arguments. A value `{"$output": "step-1"}` anywhere within stands for the output
    /// of that step.
    pub arguments: Value,
}

/// What a plan continues: the steps of earlier revisions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ground<'a> {
    /// Their ids, in order.
    pub ids: Vec<&'a str>,
    /// How many of them plans brought: the steps of items do not count.
    pub planned: usize,
    /// The required checks of those that are not done. A revision may go another way to the goal; what has to
    /// hold is not its to choose.
    pub owed: Vec<&'a Check>,
}

impl Task {
    /// What the next revision of its plan continues.
    pub fn ground(&self) -> Ground<'_> {
        let ids = self.steps().iter().map(|step| step.plan.id.as_str()).collect();
        let open = self.steps().iter().filter(|step| !step.is_settled() && step.plan.binds());
        let mut owed: Vec<&Check> = Vec::new();
        for check in open.flat_map(|step| &step.plan.checks).filter(|check| check.required) {
            if !owed.contains(&check) {
                owed.push(check);
            }
        }
        Ground { ids, planned: self.planned_steps(), owed }
    }
}

/// Who made a plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Planner {
    /// The model, or none where the caller brought the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Whether this is only the best that could be done: the model gave no usable plan.
    #[serde(default)]
    pub degraded: bool,
    /// What making it consumed.
    #[serde(default)]
    pub usage: Usage,
    /// Why the plan is as it is, or why it was revised.
    #[serde(default)]
    pub reason: String,
    /// Whether the model was shown none of the pictures that go with the goal: it refused them, and was told their
    /// names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_pictures: bool,
}

impl Plan {
    /// Whether one of its steps may call tools.
    pub fn calls_tools(&self) -> bool {
        self.steps.iter().any(|step| step.kind == StepType::ToolCall)
    }

    /// Checks this plan as the continuation of what stays from before.
    pub fn validate(&self, ground: &Ground<'_>, limits: &Limits) -> Result<(), PlanError> {
        if self.steps.is_empty() {
            return Err(PlanError::Empty);
        }
        let kept = ground.ids.len();
        let total = ground.planned + self.steps.len();
        if total > limits.max_steps as usize {
            return Err(PlanError::TooManySteps { steps: total, limit: limits.max_steps });
        }
        let bound = || self.steps.iter().filter(|step| step.binds());
        if let Some(dropped) = ground.owed.iter().find(|owed| !bound().any(|step| step.checks.contains(owed)))
        {
            return Err(PlanError::DropsCheck(serde_json::json!(dropped).to_string()));
        }
        let mut ids = HashSet::new();
        for (position, step) in self.steps.iter().enumerate() {
            step.validate(position, (kept + position) as u32)?;
            if !ids.insert(step.id.as_str()) {
                return Err(StepProblem::new(position, "id", is_taken(&step.id)).into());
            }
        }
        self.validate_references(ground)
    }

    /// What a list, a condition or a call looks at is there when the step is ready.
    fn validate_references(&self, ground: &Ground<'_>) -> Result<(), PlanError> {
        let looks = |step: &PlannedStep| !step.outputs_used().is_empty();
        if !self.steps.iter().any(looks) {
            return Ok(());
        }
        let kept = ground.ids.len() as u32;
        let before: HashSet<&str> = ground.ids.iter().copied().collect();
        let own: HashMap<&str, u32> =
            (kept..).zip(&self.steps).map(|(at, step)| (step.id.as_str(), at)).collect();
        for (position, step) in self.steps.iter().enumerate() {
            let is_there = |id: &str| match own.get(id) {
                Some(on) => step.depends_on.contains(on),
                None => before.contains(id),
            };
            if let Some((field, id)) = step.outputs_used().into_iter().find(|(_, id)| !is_there(id)) {
                let words = format!("refers to the output of '{id}', which is no step that it waits for");
                return Err(StepProblem::new(position, field, words).into());
            }
        }
        Ok(())
    }

    /// Lets each step wait for the steps of this plan whose outputs it uses, whether or not it says
    /// so: without them it could only fail.
    pub fn wait_for_outputs(&mut self) {
        let own: HashMap<String, u32> =
            (0u32..).zip(&self.steps).map(|(at, step)| (step.id.clone(), at)).collect();
        for (index, step) in (0u32..).zip(&mut self.steps) {
            let used: Vec<u32> =
                step.outputs_used().into_iter().filter_map(|(_, id)| own.get(id).copied()).collect();
            for on in used.into_iter().filter(|on| *on < index) {
                if !step.depends_on.contains(&on) {
                    step.depends_on.push(on);
                }
            }
        }
    }

    /// How long the whole plan will take, in milliseconds: the sum of its estimates.
    pub fn estimated_millis(&self) -> u64 {
        self.steps.iter().map(PlannedStep::estimated_millis).sum()
    }
}

impl PlannedStep {
    /// How long it will take, in milliseconds: 30 seconds if nobody says otherwise.
    pub fn estimated_millis(&self) -> u64 {
        self.estimated_duration.unwrap_or(USUAL_MILLIS)
    }

    /// Whether its checks have to be met whatever happens: it is neither optional nor under a condition.
    fn binds(&self) -> bool {
        !self.optional && self.when.is_none()
    }

    /// A step that waits for nothing and has nothing but this.
    pub fn new(id: impl Into<String>, kind: StepType, description: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            description: description.into(),
            kind,
            depends_on: Vec::new(),
            tool: None,
            estimated_duration: None,
            optional: false,
            retry: None,
            model: None,
            for_each: None,
            when: None,
            checks: Vec::new(),
        }
    }

    /// Ids of the steps whose outputs decide whether, for what and with what it is carried out, each with the
    /// field that refers to it.
    fn outputs_used(&self) -> Vec<(&'static str, &str)> {
        outputs_used(self.tool.as_ref(), self.when.as_ref(), self.for_each.as_ref())
    }

    /// What is wrong with its list, its condition and its checks: the field, and the words.
    fn part_problem(&self) -> Option<(String, String)> {
        if let Some((part, problem)) = self.for_each.as_ref().and_then(ForEach::problem) {
            return Some((format!("forEach.{part}"), problem.to_owned()));
        }
        if let Some(problem) = self.when.as_ref().and_then(Condition::problem) {
            return Some(("when".to_owned(), problem));
        }
        if self.checks.len() > MAX_CHECKS {
            let problem = format!("has {} checks, at most {MAX_CHECKS} are allowed", self.checks.len());
            return Some(("checks".to_owned(), problem));
        }
        let nothing = |(at, check): (usize, &Check)| {
            let (kind, text) = match &check.kind {
                CheckKind::Schema(_) => return None,
                CheckKind::Probe(text) => ("probe", text),
                CheckKind::Judge(text) => ("judge", text),
            };
            let problem = || (format!("checks[{at}].{kind}"), "says nothing".to_owned());
            text.trim().is_empty().then(problem)
        };
        self.checks.iter().enumerate().find_map(nothing)
    }

    /// Checks the step at this place of its plan, which is the one with this index of its task.
    fn validate(&self, position: usize, index: u32) -> Result<(), StepProblem> {
        if let Some((field, problem)) = self.part_problem() {
            return Err(StepProblem::new(position, field, problem));
        }
        if self.description.trim().is_empty() {
            let problem = "is empty: say what is to be done";
            return Err(StepProblem::new(position, "description", problem));
        }
        if let Some((part, problem)) = self.retry.as_ref().and_then(RetryPolicy::problem) {
            return Err(StepProblem::new(position, format!("retry.{part}"), problem));
        }
        match self.depends_on.iter().find(|on| **on >= index) {
            Some(on) => {
                let problem = format!("step {on}, counted from 0, does not come before it");
                Err(StepProblem::new(position, "dependsOn", problem))
            }
            None => Ok(()),
        }
    }
}

/// What is said of an id that another step has.
pub(crate) fn is_taken(id: &str) -> String {
    format!("there is a step '{id}' already")
}

/// Ids of the steps whose outputs these parts of a step refer to, each with its field.
pub(crate) fn outputs_used<'a>(
    tool: Option<&'a ToolUse>,
    when: Option<&'a Condition>,
    for_each: Option<&'a ForEach>,
) -> Vec<(&'static str, &'a str)> {
    let (mut called, mut compared, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    tool.into_iter().for_each(|tool| outputs_in(&tool.arguments, &mut called));
    when.into_iter().for_each(|when| when.outputs(&mut compared));
    for_each.into_iter().for_each(|for_each| outputs_in(&for_each.items, &mut listed));
    let named = [("tool.arguments", called), ("when", compared), ("forEach.items", listed)];
    named.into_iter().flat_map(|(field, ids)| ids.into_iter().map(move |id| (field, id))).collect()
}
