//! From a goal to a plan: asked for by schema, read leniently, checked strictly, mended once,
//! asked of another model, and if all that fails a single honest step.

use super::context::{Window, cut, newest_within};
use super::patience::{Patience, ask};
use super::plan_text::{PlanText, STEPS, schema};
use super::told_tools::Detail;
use super::{Files, Orchestrator, OrchestratorError, prompts};
use crate::models::{Message, Model, ModelError, Picture, Request, Role, ToolSpec};
use crate::task::{
    CheckKind, Fault, Ground, Ledger, Limits, MAX_DEPTH, ModelName, Plan, PlanError, PlannedStep, Planner,
    StepProblem, StepType, Task, TaskSpec, is_too_deep,
};
use crate::tools::Probes;

/// Of the window, in percent: what a planner is told at least, beside whatever tools, and what it is shown of an
/// answer of its own that has to be mended.
const LEAST_PERCENT: u64 = 10;
const REPAIR_PERCENT: u64 = 10;

/// Who asks again if no model answers: there is one such layer for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Whoever makes the plan, for somebody waits for it.
    Here,
    /// Whoever wants it, another time.
    Above,
}

/// What is known when a plan is made.
pub(super) struct Planning<'a> {
    pub(super) spec: &'a TaskSpec,
    pub(super) tools: &'a [ToolSpec],
    /// What the task may still consume. The first plan is made before there is a task: it is charged
    /// and not held back.
    pub(super) ledger: Option<Ledger>,
    /// Who asks again if no model answers.
    pub(super) again: Again,
    /// Models that a step may name.
    pub(super) models: &'a [ModelName],
    /// Probes that a step may name.
    pub(super) probes: &'a Probes,
    /// The task whose plan is revised.
    pub(super) revised: Option<&'a Task>,
    /// What the plan continues.
    pub(super) ground: Ground<'a>,
    /// What the planner is told: the goal, and for a revision what happened so far.
    pub(super) brief: String,
    /// What it is shown besides.
    pub(super) pictures: &'a [Picture],
    /// Why a plan is wanted, for the journal.
    pub(super) reason: String,
}

impl Orchestrator {
    /// Breaks the goal of a new task down into steps. Fails only if no model answers: an
    /// answer that is no plan leads to a one-step plan marked as degraded.
    pub async fn decompose_goal(&self, spec: &TaskSpec) -> Result<(Plan, Planner), OrchestratorError> {
        self.first_plan(spec, &Files::default(), Again::Here).await
    }

    /// The same, with files that go with the goal, and who asks again if no model answers.
    pub(super) async fn first_plan(
        &self,
        spec: &TaskSpec,
        files: &Files,
        again: Again,
    ) -> Result<(Plan, Planner), OrchestratorError> {
        let tools = self.tool_specs(spec).await?;
        let planning = Planning {
            spec,
            tools: &tools,
            ledger: None,
            again,
            models: self.models.allowed(),
            probes: self.probes(),
            revised: None,
            ground: Ground::default(),
            brief: first_brief(&spec.goal, &files.told),
            pictures: &files.shown,
            reason: String::new(),
        };
        let mut by = Planner::default();
        Ok((self.make_plan(planning, &mut by).await?, by))
    }

    /// Makes a plan. `by` tells who made it, and also after an error what that consumed.
    pub(super) async fn make_plan(
        &self,
        planning: Planning<'_>,
        by: &mut Planner,
    ) -> Result<Plan, OrchestratorError> {
        let model = self.models.for_role(Role::Plan, planning.spec.chat_model.as_ref())?;
        let window = self.window(model.as_ref(), planning.spec);
        let mut request = match planning.request(model.as_ref(), &window) {
            Ok(request) => request,
            // The limits of a task do not change any more: there is no other plan.
            Err(error) if planning.is_revision() => {
                let refused = Refused { text: String::new(), problem: error.to_string() };
                return Ok(planning.degraded(&refused, by));
            }
            Err(error) => return Err(error.into()),
        };
        by.model = Some(model.name().clone());
        let first =
            match self.ask_for_plan(model.as_ref(), &request, &planning, by, planning.patience()).await? {
                Ok(plan) => return Ok(plan),
                Err(refused) => refused,
            };
        if planning.is_revision() && first.is_prose() {
            // Asked for another way, it said that there is none: asking once more is paid for nothing.
            return match self.ask_another(&request, &planning, by).await? {
                Some(plan) => Ok(plan),
                None => Ok(planning.degraded(&first, by)),
            };
        }
        let fresh = request.clone();
        let said = cut(&first.text, window.bytes(REPAIR_PERCENT));
        request.messages.push(Message::Assistant { text: said, requests: Vec::new(), thinking: None });
        request.messages.push(Message::User(format!(
            "This cannot be used: {}. Answer with the corrected JSON only.",
            cut(&first.problem, window.bytes(REPAIR_PERCENT) / 4)
        )));
        match self.ask_for_plan(model.as_ref(), &request, &planning, by, planning.patience()).await? {
            Ok(plan) => Ok(plan),
            Err(refused) => {
                tracing::warn!(problem = %refused.problem, "the planner gave no usable plan");
                if let Some(plan) = self.ask_another(&fresh, &planning, by).await? {
                    return Ok(plan);
                }
                Ok(planning.degraded(&refused, by))
            }
        }
    }

    /// Asks the next model of the fallback chain, once. One that does not answer is no worse than
    /// none: there still is a step that can be done.
    async fn ask_another(
        &self,
        request: &Request,
        planning: &Planning<'_>,
        by: &mut Planner,
    ) -> Result<Option<Plan>, OrchestratorError> {
        let wanted = planning.spec.chat_model.as_ref();
        let Some(model) = self.models.another_for_role(Role::Plan, wanted)? else { return Ok(None) };
        match self.ask_for_plan(model.as_ref(), request, planning, by, None).await {
            Ok(Ok(plan)) => {
                by.model = Some(model.name().clone());
                Ok(Some(plan))
            }
            Ok(Err(refused)) => {
                tracing::warn!(model = %model.name(), problem = %refused.problem, "no usable plan either");
                Ok(None)
            }
            Err(error @ OrchestratorError::OutOfBudget(_)) => Err(error),
            Err(error) => {
                tracing::warn!(model = %model.name(), %error, "no other model plans");
                Ok(None)
            }
        }
    }

    /// Asks once. The outer error is a model that does not answer, the inner one an answer
    /// that is no plan.
    async fn ask_for_plan(
        &self,
        model: &dyn Model,
        request: &Request,
        planning: &Planning<'_>,
        by: &mut Planner,
        patience: Option<Patience>,
    ) -> Result<Result<Plan, Refused>, OrchestratorError> {
        if let Some(mut ledger) = planning.ledger {
            ledger.charge(&by.usage);
            let reserve = self.reserve_for(model, request);
            ledger.reserve(reserve, self.now()).map_err(OrchestratorError::OutOfBudget)?;
        }
        let answer = match ask(model, request, patience).await {
            Ok(answer) => answer,
            Err(error) => {
                by.usage += error.usage().unwrap_or_default();
                let ModelError::Malformed { detail, .. } = error.why() else { return Err(error.into()) };
                return Ok(Err(Refused { text: String::new(), problem: detail.clone() }));
            }
        };
        by.usage += answer.usage;
        by.without_pictures = answer.without_pictures;
        if answer.model.is_some() {
            by.model = answer.model.clone();
        }
        let refused = |problem: String| Ok(Err(Refused { text: answer.text.clone(), problem }));
        let text = match PlanText::read(&answer.text) {
            Ok(text) => text,
            Err(problem) => return refused(problem),
        };
        if let Some(problem) = text.out_of_order() {
            return refused(PlanError::from(problem).told(STEPS));
        }
        by.reason = [planning.reason.as_str(), text.reason.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let mut plan = text.into_plan(&planning.ground.ids);
        // A model that is not allowed is no reason to plan anew: the step has its usual one.
        for step in &mut plan.steps {
            step.model = step.model.take().filter(|name| planning.models.contains(name));
        }
        let problem = match planning.problem_with(&plan) {
            None => {
                let offered = self.tools.offered(&planning.spec.tools)?;
                self.misfits(&plan, planning.spec, &offered).await?.map(|error| error.told(STEPS))
            }
            problem => problem,
        };
        match problem {
            None => Ok(Ok(plan)),
            Some(problem) => refused(problem),
        }
    }

    /// The tools a task may call itself, as a model sees them.
    pub(super) fn own_tool_specs(&self, spec: &TaskSpec) -> Result<Vec<ToolSpec>, OrchestratorError> {
        let offered = self.tools.offered(&spec.tools)?;
        Ok(offered
            .iter()
            .map(|tool| {
                let known = tool.description();
                ToolSpec {
                    name: known.name.clone(),
                    description: known.description.clone(),
                    schema: known.schema.value().clone(),
                }
            })
            .collect())
    }
}

/// What a planner is told at first: the goal, and how the files begin that go with it.
fn first_brief(goal: &str, told: &[String]) -> String {
    const BEGINNING: usize = 2_000;
    let mut brief = format!("Goal:\n{goal}");
    if !told.is_empty() {
        brief += "\n\nThese files go with it; each step is told them:";
        told.iter().for_each(|file| brief.extend(["\n\n", &cut(file, BEGINNING)]));
    }
    brief
}

/// The beginning of a text in so many bytes, with the words that say so.
fn cut_within(text: &str, most: usize) -> String {
    const SAYING: usize = 80;
    if text.len() <= most { text.to_owned() } else { cut(text, most.saturating_sub(SAYING)) }
}

/// An answer that is no plan.
struct Refused {
    text: String,
    problem: String,
}

impl Refused {
    /// Whether it is not even meant to be a plan.
    fn is_prose(&self) -> bool {
        !self.text.trim().is_empty() && !self.text.contains(['{', '['])
    }
}

impl Planning<'_> {
    fn patience(&self) -> Option<Patience> {
        (self.again == Again::Here).then(|| Patience::with(&self.spec.retry))
    }

    fn is_revision(&self) -> bool {
        self.ground.planned > 0
    }

    /// What is done where no planner has a usable answer.
    fn degraded(&self, refused: &Refused, by: &mut Planner) -> Plan {
        by.degraded = true;
        by.reason = format!("the planner gave no usable plan: {}", refused.problem);
        self.single_step()
    }

    /// What the planner is asked. Tools that have no room, and what a second round would add, are told in
    /// short, and so is a brief that has none beside them; the journal has all of it.
    ///
    /// # Errors
    /// Where even the names of the tools have no room: no request is larger than the window.
    fn request(&self, model: &dyn Model, window: &Window) -> Result<Request, ModelError> {
        let limits = &self.spec.limits;
        let steps = limits.max_steps.saturating_sub(self.ground.planned as u32);
        let schema = schema(self.models, self.probes);
        let room = window.bytes(100 * window.room() / window.limit() - REPAIR_PERCENT * 5 / 4);
        let least = window.bytes(LEAST_PERCENT).min(self.brief.len());
        // The tools stand in the instructions.
        let instructions = |detail: Detail| {
            let system = prompts::plan(&detail.of(self.tools), self.models, self.probes, steps);
            let left = room.checked_sub(system.len() + schema.to_string().len())?;
            (left >= least).then_some((system, left))
        };
        let Some((system, left)) = Detail::ALL.into_iter().find_map(instructions) else {
            let detail = format!(
                "the instructions and the names of {} tools have no room in {} tokens (limits.contextWindowLimit, \
                 or the model's own window): raise the limit, offer fewer tools, or choose a model with a larger window",
                self.tools.len(),
                window.limit()
            );
            return Err(ModelError::ContextOverflow { model: model.name().to_string(), detail });
        };
        let room = window.pictures_bytes().min(left - least);
        let pictures = newest_within(self.pictures.iter(), |picture| picture.bytes(), room);
        let left = left - pictures.iter().map(|picture| picture.bytes()).sum::<usize>();
        let mut request = Request::new(Role::Plan, &self.spec.goal, system, cut_within(&self.brief, left));
        request.messages.extend(pictures.into_iter().cloned().map(Message::Picture));
        request.schema = Some(schema);
        request.tools = self.tools.to_vec();
        Ok(request)
    }

    /// What stands against a plan: its shape, its size, tools that do not exist, or that it has failed already.
    fn problem_with(&self, plan: &Plan) -> Option<String> {
        if self.revised.is_some_and(|task| task.has_failed_with(plan)) {
            return Some("it is the plan that has just failed: go another way".to_owned());
        }
        let is_tool = |name: &str| self.tools.iter().any(|tool| tool.name == name);
        let checked = check_plan(plan, &self.ground, &self.spec.limits, self.probes, is_tool);
        checked.err().map(|error| error.told(STEPS))
    }

    /// The whole goal as one step: with tools if there are any.
    fn single_step(&self) -> Plan {
        let kind = if self.tools.is_empty() { StepType::LlmReasoning } else { StepType::ToolCall };
        let id = format!("step-{}", self.ground.ids.len() + 1);
        Plan { steps: vec![PlannedStep::new(id, kind, &self.spec.goal)] }
    }
}

/// Whether a plan could be carried out: its form, and what is known beyond it.
pub(super) fn check_plan(
    plan: &Plan,
    ground: &Ground<'_>,
    limits: &Limits,
    probes: &Probes,
    is_tool: impl Fn(&str) -> bool,
) -> Result<(), PlanError> {
    plan.validate(ground, limits)?;
    let steps = || plan.steps.iter().enumerate();
    let problem = |(place, step)| {
        part_problem(step, limits, probes).map(|(field, words)| StepProblem::new(place, field, words))
    };
    if let Some(problem) = steps().find_map(problem) {
        return Err(problem.into());
    }
    let unknown = |(place, step): (usize, &PlannedStep)| {
        let tool = step.tool.as_ref().filter(|tool| !is_tool(&tool.name))?;
        Some(StepProblem::new(place, "tool.name", format!("there is no tool {}", tool.name)))
    };
    let unknown: Vec<StepProblem> = steps().filter_map(unknown).collect();
    if unknown.is_empty() { Ok(()) } else { Err(PlanError::Steps(unknown)) }
}

/// What stands against the tool, the list, the condition and the checks of a step beyond their form: the
/// field, and what is wrong with it.
fn part_problem(step: &PlannedStep, limits: &Limits, probes: &Probes) -> Option<(String, String)> {
    if let Some(tool) = step.tool.as_ref().filter(|_| step.kind != StepType::ToolCall) {
        let words = format!(
            "names '{}' in a step of type {}, which calls no tools and asks nobody: make it a step of type tool-call, \
             and let a step behind it think over what that brings",
            tool.name, step.kind
        );
        return Some(("tool".to_owned(), words));
    }
    let parts = [
        ("tool.arguments", step.tool.as_ref().is_some_and(|tool| is_too_deep(&tool.arguments))),
        ("forEach", is_too_deep(&serde_json::json!(step.for_each))),
        ("when", is_too_deep(&serde_json::json!(step.when))),
        ("checks", is_too_deep(&serde_json::json!(step.checks))),
    ];
    if let Some((field, _)) = parts.into_iter().find(|(_, is_too_deep)| *is_too_deep) {
        return Some((field.to_owned(), format!("is nested deeper than {MAX_DEPTH} levels")));
    }
    if let Some((part, words)) = step.for_each.as_ref().and_then(|list| list.beyond(limits)) {
        return Some((format!("forEach.{part}"), words));
    }
    step.checks.iter().enumerate().find_map(|(at, check)| match &check.kind {
        CheckKind::Schema(schema) => crate::tools::validator(schema).err().map(|error| {
            (format!("checks[{at}].schema"), format!("cannot be used as a JSON Schema: {error}"))
        }),
        CheckKind::Probe(name) if !probes.names().any(|known| known == name) => {
            let words = format!(
                "names the probe '{name}', which there is not ([checks.{name}] in the configuration)"
            );
            Some((format!("checks[{at}].probe"), words))
        }
        CheckKind::Probe(_) | CheckKind::Judge(_) => None,
    })
}

/// What a planner is told about a failure. The code stays with the fault that this becomes.
pub(super) fn describe_fault(step: &str, fault: Option<&Fault>) -> String {
    match fault {
        Some(fault) => format!("Step '{step}' failed for good: {}.", fault.message.trim_end_matches('.')),
        None => format!("Step '{step}' failed for good."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Scripted;

    fn asked(
        spec: &TaskSpec,
        tools: &[ToolSpec],
        brief: &str,
        window: &Window,
    ) -> Result<Request, ModelError> {
        let planning = Planning {
            spec,
            tools,
            ledger: None,
            again: Again::Here,
            models: &[],
            probes: &Probes::default(),
            revised: None,
            ground: Ground::default(),
            brief: brief.to_owned(),
            pictures: &pictures(),
            reason: String::new(),
        };
        planning.request(&model(), window)
    }

    /// More than there is room for, oldest first.
    fn pictures() -> Vec<Picture> {
        let picture = |number: u32| Picture {
            name: number.to_string(),
            media_type: "image/png".into(),
            data: "AAAA".into(),
        };
        (0..10).map(picture).collect()
    }

    fn model() -> Scripted {
        Scripted::parse("x", r#"{"rules": []}"#).unwrap()
    }

    fn spec() -> TaskSpec {
        let spec = serde_json::json!({"goal": "g".repeat(60_000), "userId": "u", "threadId": "t"});
        serde_json::from_value(spec).unwrap()
    }

    /// Tokens of what is sent: a planner is offered no tools beside those in its instructions.
    fn tokens(request: &Request, window: &Window) -> u64 {
        let tools: usize = request.tools.iter().map(ToolSpec::bytes).sum();
        window.tokens(request.bytes() - tools as u64)
    }

    #[test]
    fn a_planner_is_asked_within_its_window_whatever_there_is_to_tell() {
        let window = Window::of(&model(), 20_000, 4_096);
        for brief in [500, 60_000, 500_000] {
            let brief = "x".repeat(brief);
            let request = asked(&spec(), &[], &brief, &window).unwrap();
            let tokens = tokens(&request, &window);
            assert!(tokens + window.tokens(window.bytes(REPAIR_PERCENT) as u64) <= window.room(), "{tokens}");
            assert_eq!(request.messages[0] == Message::User(brief.clone()), brief.len() == 500);
            let all: Vec<Message> = pictures().into_iter().map(Message::Picture).collect();
            let shown = &request.messages[1..];
            assert!(!shown.is_empty() && shown.len() < all.len(), "{}", shown.len());
            assert!(all.ends_with(shown), "the newest are shown: {shown:?}");
        }
    }

    #[test]
    fn a_planner_is_told_of_many_tools_in_short_and_of_too_many_not_at_all() {
        let tool = |number: u32| ToolSpec {
            name: format!("tool_{number}"),
            description: "It does one thing of many. ".repeat(40),
            schema: serde_json::json!({"type": "object", "properties": {"a": {"type": "string"}}}),
        };
        let window = Window::of(&model(), 8_000, 4_096);
        for (count, shown) in
            [(2, "of many. It does one thing of many. It"), (30, "\"a\""), (300, "tool_299:")]
        {
            let tools: Vec<ToolSpec> = (0..count).map(tool).collect();
            let request = asked(&spec(), &tools, &"x".repeat(60_000), &window).unwrap();
            let tokens = tokens(&request, &window);
            assert!(tokens + window.tokens(window.bytes(REPAIR_PERCENT) as u64) <= window.room(), "{tokens}");
            assert!(request.system.contains(shown), "{count}: {}", request.system);
            assert_eq!(request.tools.len(), tools.len());
        }
        let tools: Vec<ToolSpec> = (0..5_000).map(tool).collect();
        let refused = asked(&spec(), &tools, "x", &window).unwrap_err();
        assert_eq!(refused.code(), crate::task::CONTEXT_OVERFLOW);
        assert!(refused.to_string().contains("offer fewer tools"), "{refused}");
    }
}
