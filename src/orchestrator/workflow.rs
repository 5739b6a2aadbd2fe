//! Tools whose calls are carried out by tasks of their own: templates, and sub-tasks for goals that
//! nobody wrote down before.
//!
//! None of them is offered unless somebody names it: the request, its plan, or the configuration. What
//! is offered is fixed when the task is created, templates in the versions of then.

use serde_json::{Value, json};

use super::template::checked;
use super::{Orchestrator, OrchestratorError, RecordedDelegate};
use crate::models::ToolSpec;
use crate::repository::TemplateVersion;
use crate::task::{
    Budget, CallAt, Effect, Mention, Plan, StepType, TaskSpec, Template, TemplateRef, ToolAllowance,
};
use crate::tools::{Origin, ToolDescription, ToolboxError, is_listed};

/// What the names of templates begin with where they are offered as tools.
const PREFIX: &str = "workflow_";

/// The tool that carries out a goal of the caller's own.
const SUB_TASK: &str = "sub_task";

/// Templates of one user that a pattern is compared with, at most.
const MOST: u32 = 200;

/// A tool whose calls are carried out by tasks of their own.
#[derive(Debug, Clone)]
pub(crate) struct Delegate {
    /// How it is offered.
    pub(crate) description: ToolDescription,
    /// The template; none for a goal of the caller's own.
    pub(crate) template: Option<TemplateVersion>,
    /// What the preset of the template says of its budget.
    budget: Budget,
    /// What is known of the call already.
    recorded: Option<RecordedDelegate>,
}

impl Delegate {
    /// Which version of which template it is.
    pub(crate) fn template_ref(&self) -> Option<TemplateRef> {
        let found = self.template.as_ref()?;
        Some(TemplateRef { name: found.template.name.clone(), version: found.version })
    }

    /// What is wrong with the arguments, if anything is.
    pub(crate) fn problem(&self, arguments: &Value) -> Option<String> {
        if let Some(recorded) = &self.recorded {
            return recorded.problem.clone();
        }
        let Some(fields) = arguments.as_object() else {
            return Some("the arguments are an object".to_owned());
        };
        match &self.template {
            Some(found) => checked(&found.template, fields).err().map(|error| error.to_string()),
            None if arguments["goal"].as_str().is_none_or(|goal| goal.trim().is_empty()) => {
                Some("`goal` is missing: say in a sentence what is to be reached".to_owned())
            }
            None => asked(arguments).err().map(|error| format!("budget: {error}")),
        }
    }

    /// What a call asks for of its parent's budget.
    pub(crate) fn asked(&self, arguments: &Value) -> Budget {
        match (&self.recorded, &self.template) {
            (Some(recorded), _) => recorded.grant,
            (None, Some(_)) => self.budget,
            (None, None) => asked(arguments).unwrap_or_default(),
        }
    }

    fn spec(&self) -> ToolSpec {
        let ToolDescription { name, description, schema, .. } = self.description.clone();
        ToolSpec { name, description, schema: schema.value().clone() }
    }
}

fn asked(arguments: &Value) -> Result<Budget, serde_json::Error> {
    match &arguments["budget"] {
        Value::Null => Ok(Budget::default()),
        budget => serde_json::from_value(budget.clone()),
    }
}

/// Whether a tool of this name would be carried out by a task of its own.
pub(crate) fn is_delegate(name: &str) -> bool {
    name == SUB_TASK || name.starts_with(PREFIX)
}

fn description(name: String, about: String, schema: Value) -> ToolDescription {
    // Creating a task does nothing to the world; what that task does has its own records and approvals.
    let origin = Origin::App { toolkit: "workflow".to_owned() };
    ToolDescription { name, description: about, schema: schema.into(), effect: Effect::ReadOnly, origin }
}

fn sub_task() -> ToolDescription {
    let number = |about: &str| json!({"type": "integer", "minimum": 1, "description": about});
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["goal"], "properties": {
        "goal": {"type": "string", "description":
            "What is to be reached, with everything that has to be known for it: nothing else of this conversation is."},
        "budget": {"type": "object", "additionalProperties": false, "description":
            "What it may consume; half of what is left where nothing is said.", "properties": {
                "tokens": number("Tokens."), "modelCalls": number("Model calls."),
                "toolCalls": number("Tool calls."), "steps": number("Steps.")}}}});
    let about = "Hands a part of the work to a task of its own, which makes a plan for it, carries it out and \
                 returns its answer. Worth while for a part that takes many steps.";
    description(SUB_TASK.to_owned(), about.to_owned(), schema)
}

impl Orchestrator {
    /// A request with the templates and sub-tasks that it is offered, once it is known what tools there are
    /// besides.
    ///
    /// # Errors
    /// [`OrchestratorError::Invalid`] if the user mentioned a template that is not there.
    pub(super) async fn with_workflows(
        &self,
        mut spec: TaskSpec,
        plan: Option<&Plan>,
    ) -> Result<TaskSpec, OrchestratorError> {
        self.settle_for(&spec, plan).await;
        let named = self.named(&spec.tools, plan);
        let mut workflows = std::mem::take(&mut spec.tools.workflows);
        for name in mentioned(&spec.tools) {
            let found = self.newest(&spec.user_id, name).await?;
            let missing =
                || invalid("mentions", format!("there is no workflow '{name}': longhaul template list"));
            workflows.push(found.ok_or_else(missing)?);
        }
        for pattern in named.iter().filter_map(|name| name.strip_prefix(PREFIX)) {
            match pattern.strip_suffix('*') {
                Some(beginning) => workflows.extend(self.beginning(&spec.user_id, beginning).await?),
                None => workflows.extend(self.newest(&spec.user_id, pattern).await?),
            }
        }
        // What a parent is offered, its children are offered in the same version: it stands first.
        workflows.sort_by(|a, b| a.name.cmp(&b.name));
        workflows.dedup_by(|a, b| a.name == b.name);
        workflows.retain(|found| is_listed(&spec.tools.only, &format!("{PREFIX}{}", found.name)));
        spec.tools.sub_tasks |= named.iter().any(|name| name == SUB_TASK);
        spec.tools.sub_tasks &= is_listed(&spec.tools.only, SUB_TASK);
        spec.tools.workflows = workflows;
        self.refuse_collisions(&spec.tools)?;
        Ok(spec)
    }

    /// Waits for MCP servers that are only just being connected and may be needed. Rules plan with the
    /// tools of this program alone, and a plan says what it needs, except where a model is to choose.
    async fn settle_for(&self, spec: &TaskSpec, plan: Option<&Plan>) {
        let steps = plan.map(|plan| plan.steps.iter().filter(|step| step.kind == StepType::ToolCall));
        match steps {
            Some(calls) => {
                for step in calls {
                    self.tools.settled(step.tool.as_ref().map(|tool| tool.name.as_str())).await;
                }
            }
            None if self.models.is_offline_for(spec.chat_model.as_ref()) => {}
            None => self.tools.settled(None).await,
        }
    }

    /// Refuses what a request says of tools if it names one that is not there, or a server, a toolkit or
    /// a workflow.
    ///
    /// # Errors
    /// [`OrchestratorError::Invalid`]; it names those there are.
    pub async fn check_names(&self, user_id: &str, tools: &ToolAllowance) -> Result<(), OrchestratorError> {
        if *tools != ToolAllowance::default() {
            // A server that is only just being connected may have what is named.
            self.tools.settled(None).await;
        }
        if let Some(unknown) = self.tools.unknown(tools, is_delegate) {
            return Err(invalid(unknown.field, unknown.problem));
        }
        let mentioned = tools.mentions.iter().filter_map(|mention| match mention {
            Mention::DefaultTool { name, .. } => Some(("mentions", name.strip_prefix(PREFIX)?)),
            Mention::Workflow { workflow_id, .. } => Some(("mentions", workflow_id.as_str())),
            _ => None,
        });
        let allowed = tools.allowed_app_default_toolkit.iter().flatten();
        let allowed =
            allowed.filter_map(|name| Some(("allowedAppDefaultToolkit", name.strip_prefix(PREFIX)?)));
        for (field, name) in mentioned.chain(allowed).filter(|(_, name)| !name.ends_with('*')) {
            if self.newest(user_id, name).await?.is_none() {
                return Err(invalid(field, self.no_workflow(user_id, name).await?));
            }
        }
        Ok(())
    }

    async fn no_workflow(&self, user_id: &str, name: &str) -> Result<String, OrchestratorError> {
        let there = self.beginning(user_id, "").await?;
        let there: Vec<String> = there.into_iter().map(|template| template.name).collect();
        let there = if there.is_empty() { "there are none".to_owned() } else { there.join(", ") };
        Ok(format!("there is no workflow '{name}': {there}"))
    }

    /// The tools of this kind that somebody names, by name or by the beginning of it.
    fn named(&self, tools: &ToolAllowance, plan: Option<&Plan>) -> Vec<String> {
        let mentioned = tools.mentions.iter().filter_map(|mention| match mention {
            Mention::DefaultTool { name, .. } => Some(name),
            _ => None,
        });
        // Where the user named tools, the others are not offered.
        let names_tools = tools.mentions.iter().any(Mention::is_tool);
        let offered = self.config.offer.iter().filter(|_| !names_tools);
        let listed = tools.only.iter().flatten().chain(tools.allowed_app_default_toolkit.iter().flatten());
        let listed = listed.filter(|_| !names_tools);
        let planned =
            plan.into_iter().flat_map(|plan| &plan.steps).filter_map(|step| Some(&step.tool.as_ref()?.name));
        mentioned
            .chain(offered)
            .chain(listed)
            .chain(planned)
            .filter(|name| is_delegate(name))
            .cloned()
            .collect()
    }

    async fn newest(&self, user: &str, name: &str) -> Result<Option<TemplateRef>, OrchestratorError> {
        let found = self.repository.templates().get(user, name, None).await?;
        Ok(found.map(|found| TemplateRef { name: found.template.name, version: found.version }))
    }

    async fn beginning(&self, user: &str, beginning: &str) -> Result<Vec<TemplateRef>, OrchestratorError> {
        let all = self.repository.templates().newest(user, "", MOST).await?;
        let fitting = all.into_iter().filter(|found| found.template.name.starts_with(beginning));
        Ok(fitting.map(|found| TemplateRef { name: found.template.name, version: found.version }).collect())
    }

    fn refuse_collisions(&self, allowance: &ToolAllowance) -> Result<(), OrchestratorError> {
        if allowance.workflows.is_empty() && !allowance.sub_tasks {
            return Ok(());
        }
        let offered = self.tools.offered(allowance)?;
        let twice =
            offered.iter().map(|tool| &tool.description().name).filter(|name| allowance.delegates(name));
        let twice: Vec<String> = twice.cloned().collect();
        match twice.is_empty() {
            true => Ok(()),
            false => Err(ToolboxError::Collision(twice).into()),
        }
    }

    /// The tool of this name whose calls are carried out by tasks of their own, if the task is offered it;
    /// as it is for one call, where `at` names it.
    pub(crate) async fn delegate(
        &self,
        spec: &TaskSpec,
        name: &str,
        at: Option<CallAt>,
    ) -> Result<Option<Delegate>, OrchestratorError> {
        if let Some(rehearsal) = self.rehearsal() {
            let found = rehearsal.delegate(name, at);
            return Ok(found.map(|found| Delegate {
                description: description(name.to_owned(), String::new(), json!({})),
                template: None,
                budget: Budget::default(),
                recorded: Some(found),
            }));
        }
        if name == SUB_TASK && spec.tools.sub_tasks {
            let (description, budget) = (sub_task(), Budget::default());
            return Ok(Some(Delegate { description, template: None, budget, recorded: None }));
        }
        let wanted = name.strip_prefix(PREFIX);
        let known = spec.tools.workflows.iter().find(|known| Some(known.name.as_str()) == wanted);
        let Some(TemplateRef { name, version }) = known else { return Ok(None) };
        let found = self.repository.templates().get(&spec.user_id, name, Some(*version)).await?;
        Ok(found.map(|found| self.of_template(found)))
    }

    fn of_template(&self, found: TemplateVersion) -> Delegate {
        let Template { name, description: about, parameters, goal, preset, .. } = &found.template;
        let preset = preset.as_ref().and_then(|name| self.config.presets.get(name));
        let about = if about.trim().is_empty() { goal.clone() } else { about.clone() };
        let description = description(format!("{PREFIX}{name}"), about, parameters.clone().into());
        let budget = preset.map(|preset| preset.budget).unwrap_or_default();
        Delegate { description, template: Some(found), budget, recorded: None }
    }

    /// All tools that a request may use, as a model sees them.
    pub(crate) async fn tool_specs(&self, spec: &TaskSpec) -> Result<Vec<ToolSpec>, OrchestratorError> {
        let mut specs = self.own_tool_specs(spec)?;
        specs.extend(self.delegate_specs(spec).await?);
        Ok(specs)
    }

    /// Those of them whose calls are carried out by tasks of their own.
    pub(super) async fn delegate_specs(&self, spec: &TaskSpec) -> Result<Vec<ToolSpec>, OrchestratorError> {
        let mut specs = Vec::new();
        if spec.depth() >= spec.limits.max_depth {
            return Ok(specs);
        }
        for known in &spec.tools.workflows {
            let found = self.delegate(spec, &format!("{PREFIX}{}", known.name), None).await?;
            specs.extend(found.map(|found| found.spec()));
        }
        if let Some(found) = self.delegate(spec, SUB_TASK, None).await? {
            specs.push(found.spec());
        }
        Ok(specs)
    }
}

impl ToolAllowance {
    /// Whether calls of a tool are carried out by tasks of their own.
    pub(super) fn delegates(&self, name: &str) -> bool {
        let is = |known: &TemplateRef| name.strip_prefix(PREFIX) == Some(known.name.as_str());
        (name == SUB_TASK && self.sub_tasks) || self.workflows.iter().any(is)
    }
}

/// The templates that the user mentioned.
fn mentioned(tools: &ToolAllowance) -> impl Iterator<Item = &str> {
    tools.mentions.iter().filter_map(|mention| match mention {
        Mention::Workflow { workflow_id, .. } => Some(workflow_id.as_str()),
        _ => None,
    })
}

fn invalid(field: &'static str, problem: String) -> OrchestratorError {
    OrchestratorError::Invalid { field, problem }
}
