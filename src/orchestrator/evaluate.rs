//! How far is the goal? Rules answer after every step; at the end of the plan, and when a
//! step is in the way, a model may be asked.

use serde::Deserialize;

use super::decompose::{Again, Planning, describe_fault};
use super::frozen::frozen;
use super::messages::Written;
use super::{Orchestrator, OrchestratorError, Window, cut, marked, plan_text, prompts};
use crate::models::{Request, Role};
use crate::task::{
    Event, Exceeded, Fault, FaultClass, FrozenTools, Ledger, Next, Payload, Plan, Planner, Step, StepStatus,
    StepType, Task,
};

/// Of the planner's window, in percent, for each of the goal, the plan so far and why it is revised: what was
/// brought needs the rest.
const BRIEF_PERCENT: u64 = 5;

/// Of the judge's window, in percent, for the goal.
const GOAL_PERCENT: u64 = 10;

/// How a task goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Evaluation {
    /// Steps are left to do.
    Continue,
    /// The plan has to be revised, for this reason.
    Replan(String),
    /// The goal is reached.
    Done,
    /// The goal cannot be reached.
    Fail(Fault),
    /// What a step brought did not pass its checks, and only a person can say whether it will do.
    Unverified(String),
    /// A model has to judge, and the budget has no room for that call.
    OutOfBudget(Exceeded),
}

/// What asking for another plan led to.
#[derive(Debug)]
pub struct Revised {
    /// The plan. `None` if the planner had no usable answer, which leaves nothing to try; an error
    /// if no model answers or the budget has no room.
    pub plan: Result<Option<Plan>, OrchestratorError>,
    /// The tools that it was made with, where it needs any.
    pub tools: Option<FrozenTools>,
    /// Who was asked, and what that consumed, whatever came of it.
    pub by: Planner,
}

impl Orchestrator {
    /// Judges a task. The second value is the fact to record where a model was asked.
    pub async fn evaluate_progress(&self, task: &Task) -> (Evaluation, Option<Event>) {
        match task.next(self.now()) {
            Next::Run(_) | Next::WaitUntil(_) | Next::Children(_) | Next::Ask | Next::Rest => {
                (Evaluation::Continue, None)
            }
            Next::Revise(index) => (self.after_dead_end(task, index), None),
            Next::Conclude if self.judges() => self.judge(task).await,
            Next::Conclude => (Evaluation::Done, None),
        }
    }

    /// Whether a model is asked at the end of a plan.
    pub fn judges(&self) -> bool {
        self.config.judge && !self.models.is_offline()
    }

    fn after_dead_end(&self, task: &Task, index: u32) -> Evaluation {
        let Some(step) = task.step(index) else { return Evaluation::Continue };
        let described = describe_fault(&step.plan.id, step.fault.as_ref());
        if self.may_replan(task) {
            return Evaluation::Replan(described);
        }
        if !task.unverified().is_empty() {
            return Evaluation::Unverified(described);
        }
        // The code goes with the fault, and is not said twice.
        Evaluation::Fail(match &step.fault {
            Some(fault) => Fault::for_good(&step.plan.id, fault),
            None => Fault::permanent("step_failed", described),
        })
    }

    /// Whether another revision is within the limits and anybody could make one.
    pub fn may_replan(&self, task: &Task) -> bool {
        let limits = &task.spec().limits;
        let replans = task.state().revision.saturating_sub(1);
        let room = task.planned_steps() < limits.max_steps as usize;
        let is_offline = self.models.is_offline_for(task.spec().chat_model.as_ref());
        replans < limits.max_replans && room && !is_offline
    }

    async fn judge(&self, task: &Task) -> (Evaluation, Option<Event>) {
        #[derive(Deserialize)]
        struct Verdict {
            verdict: String,
            #[serde(default)]
            reason: String,
        }
        let spec = task.spec();
        let Ok(model) = self.models.for_role(Role::Evaluate, spec.chat_model.as_ref()) else {
            return (Evaluation::Done, None);
        };
        let window = self.window(model.as_ref(), spec);
        let notes = self.notes(task, &window).await.unwrap_or_default();
        let goal = cut(&spec.goal, window.bytes(GOAL_PERCENT));
        let user = format!("Goal:\n{goal}\n\nWhat the steps brought:\n{notes}");
        let mut request = Request::new(Role::Evaluate, &spec.goal, prompts::EVALUATE, user);
        request.schema = Some(serde_json::json!({
            "type": "object", "additionalProperties": false, "required": ["verdict", "reason"],
            "properties": {"verdict": {"enum": ["done", "replan", "fail"]}, "reason": {"type": "string"}},
        }));
        if window.of_request(&request) > window.room() {
            tracing::warn!(task = %task.id, "the judge's window has no room for it, the plan's end stands");
            return (Evaluation::Done, None);
        }
        let reserve = self.reserve_for(model.as_ref(), &request);
        if let Err(exceeded) = Ledger::of(task).reserve(reserve, self.now()) {
            return (Evaluation::OutOfBudget(exceeded), None);
        }
        let (verdict, usage) = match model.generate(request).await {
            Ok(answer) => (plan_text::read_json::<Verdict>(&answer.text).ok(), answer.usage),
            Err(error) => {
                tracing::warn!(task = %task.id, %error, "no model judges the result, the plan's end stands");
                (None, error.usage().unwrap_or_default())
            }
        };
        let by = model.name().to_string();
        let Some(verdict) = verdict else {
            // What nobody can read was paid for all the same.
            let reason = "no verdict: the plan's end stands".to_owned();
            let fact = Event::Evaluated { verdict: "done".to_owned(), reason, by, usage };
            return (Evaluation::Done, (usage.model_calls > 0).then_some(fact));
        };
        let reason = verdict.reason;
        let evaluation = match verdict.verdict.as_str() {
            "replan" if self.may_replan(task) => Evaluation::Replan(reason.clone()),
            "replan" | "fail" => {
                Evaluation::Fail(Fault::new(FaultClass::Permanent, "goal_not_reached", reason.clone()))
            }
            _ => Evaluation::Done,
        };
        (evaluation, Some(Event::Evaluated { verdict: verdict.verdict, reason, by, usage }))
    }

    /// Makes the next revision of a plan. No step of the task may be running: its calls would not
    /// be on the account that this looks at.
    pub async fn revise(&self, task: &Task, reason: &str) -> Revised {
        let mut by = Planner::default();
        self.tools.settled(None).await;
        // Taken down before a model is asked: what changes while it thinks has not been seen by it.
        let offered = self.tools.offered(&task.spec().tools).unwrap_or_default();
        let plan = self.next_plan(task, reason, &mut by).await;
        let tools = plan.as_ref().ok().and_then(|plan| frozen(&offered, plan));
        Revised { plan: plan.map(|plan| (!by.degraded).then_some(plan)), tools, by }
    }

    async fn next_plan(
        &self,
        task: &Task,
        reason: &str,
        by: &mut Planner,
    ) -> Result<Plan, OrchestratorError> {
        let tools = self.tool_specs(task.spec()).await?;
        let model = self.models.for_role(Role::Plan, task.spec().chat_model.as_ref())?;
        let window = self.window(model.as_ref(), task.spec());
        let written = self.messages(task, i64::MAX).await?;
        let pictures = self.newest_pictures(&written, window.pictures_bytes()).await?;
        let planning = Planning {
            spec: task.spec(),
            tools: &tools,
            ledger: Some(Ledger::of(task)),
            again: Again::Above,
            models: self.models.allowed(),
            probes: self.probes(),
            revised: Some(task),
            ground: task.ground(),
            brief: self.revision_brief(task, reason, &written, &window).await?,
            pictures: &pictures,
            reason: reason.to_owned(),
        };
        self.make_plan(planning, by).await
    }

    async fn revision_brief(
        &self,
        task: &Task,
        reason: &str,
        written: &[Written],
        window: &Window,
    ) -> Result<String, OrchestratorError> {
        let spec = task.spec();
        // Why a step failed is told in the words of its tool.
        let reason = match task.state().untrusted_from {
            Some(_) => marked("failure", reason),
            None => reason.to_owned(),
        };
        let notes = self.notes(task, window).await?;
        let part = |text: &str| cut(text, window.bytes(BRIEF_PERCENT));
        let done: Vec<String> = task
            .steps()
            .iter()
            .filter(|step| !step.replaced)
            .map(|step| format!("- {} [{}] {}", step.plan.id, step.status, step.plan.description))
            .collect();
        let owed = task.ground().owed;
        let owed = match owed.is_empty() {
            true => String::new(),
            false => format!(
                " These checks have still to be met: give each of them, as it stands, to the step that brings what it \
                 looks at: {}",
                serde_json::json!(owed)
            ),
        };
        let reason = part(&reason);
        let written: Vec<String> = written.iter().map(|written| format!("- {}", written.text)).collect();
        let written = match written.is_empty() {
            true => String::new(),
            false => format!(
                "\n\nWhat people said since, the newest last:\n{}",
                newest_of(&written, window.bytes(BRIEF_PERCENT))
            ),
        };
        Ok(format!(
            "Goal:\n{}\n\nA plan was made and has to be revised: {reason}\n\nThe plan so far:\n{}\n\nCompleted steps \
             stay. Plan only the steps that are to follow them, and go another way than the one that failed.{owed}\
             {written}\n\nWhat completed steps brought:\n{notes}",
            part(&spec.goal),
            part(&done.join("\n")),
        ))
    }

    /// The answer of a task whose steps are done: what the last completed step brought. That the context was
    /// written down is nothing that anybody asked for.
    pub fn answer(&self, task: &Task) -> Payload {
        // What items brought is part of what their list brought.
        let mut brought = task.steps().iter().rev().filter(|step| step.item.is_none());
        let is_answer =
            |step: &&Step| step.status == StepStatus::Completed && step.plan.kind != StepType::Checkpoint;
        let last = brought.find(is_answer);
        last.and_then(|step| step.output.clone()).unwrap_or_else(|| Payload::text(""))
    }
}

/// The newest of these lines that have room, oldest of them first; of a longer one its beginning.
fn newest_of(lines: &[String], most: usize) -> String {
    let mut left = most;
    let mut shown: Vec<String> = Vec::new();
    for line in lines.iter().rev() {
        if !shown.is_empty() && line.len() > left {
            break;
        }
        shown.push(cut(line, left));
        left = left.saturating_sub(line.len());
    }
    shown.reverse();
    shown.join("\n")
}
