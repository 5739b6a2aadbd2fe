//! How a child comes to be: from the intent of a call, which names it.

use serde_json::Value;

use super::decompose::Again;
use super::frozen::frozen;
use super::{Detection, Orchestrator, OrchestratorError, TaskRequest, TemplateUse};
use crate::queue::Wake;
use crate::repository::RepositoryError;
use crate::task::{
    ApprovalPolicy, ApprovalWish, Budget, CallAt, Event, FrozenTools, Limits, Mention, Parent, Payload,
    Reserve, Status, Taint, Task, TaskId, TaskSpec, TemplateRef, ToolAllowance, Usage, with_causes,
};

/// A call that a task of its own is to carry out.
#[derive(Debug)]
pub(crate) struct Calling<'a> {
    /// The task that calls, and what was asked of it.
    pub(crate) task: TaskId,
    pub(crate) spec: &'a TaskSpec,
    pub(crate) step: u32,
    pub(crate) call: u32,
    /// The child's name.
    pub(crate) child: TaskId,
    pub(crate) template: Option<TemplateRef>,
    pub(crate) arguments: &'a Value,
    pub(crate) grant: Budget,
    /// What the task that calls has read.
    pub(crate) taint: &'a Taint,
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum Unborn {
    /// Nobody could make its plan, or write it down, at this moment.
    NotNow(OrchestratorError),
    /// There never will be one: this is how the call ends.
    Never(Box<Event>),
}

impl Orchestrator {
    /// Creates the child of a call whose intent is durable. Doing it again does nothing more.
    pub(crate) async fn begin_child(&self, calling: &Calling<'_>) -> Result<(), Unborn> {
        if let Some(rehearsal) = self.rehearsal() {
            rehearsal.handed_over(CallAt { step: calling.step, call: calling.call }, calling.arguments);
            return Ok(());
        }
        match self.create_child(calling).await {
            Ok(()) | Err(OrchestratorError::Repository(RepositoryError::Exists)) => Ok(()),
            Err(error @ OrchestratorError::Repository(_)) => Err(Unborn::NotNow(error)),
            Err(OrchestratorError::Model(error)) if error.fault().is_retryable() => {
                Err(Unborn::NotNow(error.into()))
            }
            Err(error) => {
                let why = format!("the sub-task could not be begun: {}", with_causes(&error));
                Err(Unborn::Never(Box::new(Event::ChildEnded {
                    step: calling.step,
                    call: calling.call,
                    status: Status::Failed,
                    result: Payload::text(why),
                    is_error: true,
                    usage: Usage::default(),
                    besides: Reserve::default(),
                    taint: Taint::default(),
                })))
            }
        }
    }

    async fn create_child(&self, calling: &Calling<'_>) -> Result<(), OrchestratorError> {
        let (request, template) = self.with_template(request(calling)).await?;
        let spec = self.child_spec(calling, &request, template)?;
        // Somebody may have said since the parent began how urgent it is.
        let parent = self.repository.load(calling.task).await?;
        let priority = parent.map_or(spec.priority, |parent| parent.state().priority);
        let spec = TaskSpec { priority, ..spec };
        let spec = self.with_workflows(spec, request.plan.as_ref()).await?;
        let offered = self.tools.offered(&spec.tools)?;
        let (plan, by) = self.plan_of(&spec, request.plan, &request.files, Again::Above).await?;
        let tools = frozen(&offered, &plan);
        let made = Event::Planned { revision: 1, plan, by, tools: tools.as_ref().map(FrozenTools::content) };
        let (task, entries) = self.first_entries(calling.child, spec, &Detection::by_caller(), vec![made])?;
        self.know_tools(&task, tools);
        self.repository.create(&task, entries, None).await?;
        tracing::info!(task = %task.id, parent = %calling.task, "sub-task created");
        if task.status().is_live() {
            self.wake(Wake::first(&task)).await;
        }
        Ok(())
    }

    /// What a child is asked for: what its parent is, with what the preset of its template says instead.
    /// It may not do what its parent may not.
    fn child_spec(
        &self,
        calling: &Calling<'_>,
        request: &TaskRequest,
        template: Option<TemplateRef>,
    ) -> Result<TaskSpec, OrchestratorError> {
        let (parent, own) = (calling.spec, request.spec(&self.config)?);
        let preset = request.preset.is_some();
        let mut only = parent.tools.only.clone();
        only.extend(own.tools.only);
        let limits = if preset { own.limits } else { parent.limits.clone() };
        let max_depth = limits.max_depth.min(parent.limits.max_depth);
        Ok(TaskSpec {
            chat_model: own.chat_model.filter(|_| preset).or(parent.chat_model.clone()),
            tools: ToolAllowance { only, ..own.tools },
            agent_id: parent.agent_id.clone(),
            preset: own.preset.filter(|_| preset).or(parent.preset.clone()),
            instructions: parent.instructions.clone(),
            template,
            priority: parent.priority,
            limits: Limits { max_depth, ..limits },
            budget: calling.grant,
            taint: inherited(calling),
            retry: if preset { own.retry } else { parent.retry.clone() },
            approval: match preset {
                true => stricter(&parent.approval, &own.approval),
                false => parent.approval.clone(),
            },
            parent: Some(Parent {
                task: calling.task,
                step: calling.step,
                call: calling.call,
                root: parent.parent.map_or(calling.task, |above| above.root),
                depth: parent.depth() + 1,
            }),
            ..own
        })
    }

    /// What the calls that tasks of their own carry out have come to, as far as nobody has written it down;
    /// children that are not there are created. The second value tells why one could not be.
    pub(crate) async fn look_after_children(&self, task: &Task) -> (Vec<Event>, Option<OrchestratorError>) {
        let (mut ended, mut problem) = (Vec::new(), None);
        if self.rehearsal().is_some() {
            return (ended, problem);
        }
        for (step, call, child) in task.children_at_work() {
            let arguments = match &call.subject {
                crate::task::CallSubject::Tool { arguments, .. } => arguments.clone(),
                crate::task::CallSubject::Model { .. } => continue,
            };
            match self.look_after(task, (step, call.number), child, &arguments).await {
                Ok(event) => ended.extend(event),
                Err(error) => problem = Some(error),
            }
        }
        (ended, problem)
    }

    async fn look_after(
        &self,
        task: &Task,
        (step, call): (u32, u32),
        child: &crate::task::Child,
        arguments: &Payload,
    ) -> Result<Option<Event>, OrchestratorError> {
        if let Some(known) = self.repository.load(child.task).await? {
            return match known.status().is_terminal() {
                true => self.end_of_child(&known).await.map(Some),
                false => Ok(None),
            };
        }
        let arguments = self.repository.content(arguments).await?;
        let calling = Calling {
            task: task.id,
            spec: task.spec(),
            step,
            call,
            child: child.task,
            template: child.template.clone(),
            arguments: &arguments,
            grant: child.grant,
            taint: &task.state().taint,
        };
        match self.begin_child(&calling).await {
            Ok(()) => Ok(None),
            Err(Unborn::Never(event)) => Ok(Some(*event)),
            Err(Unborn::NotNow(error)) => Err(error),
        }
    }
}

fn request(calling: &Calling<'_>) -> TaskRequest {
    let parent = calling.spec;
    let fields = calling.arguments.as_object().cloned().unwrap_or_default();
    let goal = fields.get("goal").and_then(Value::as_str).unwrap_or_default().to_owned();
    let template = calling.template.clone().map(|TemplateRef { name, version }| TemplateUse {
        name,
        version: Some(version),
        parameters: fields,
    });
    // What a template needs is part of it: what its user mentioned besides does not narrow that.
    let mut tools = parent.tools.clone();
    tools.mentions.retain(|mention| match mention {
        Mention::Agent { .. } | Mention::Workflow { .. } => false,
        _ => template.is_none(),
    });
    TaskRequest {
        goal: if template.is_some() { String::new() } else { goal },
        user_id: parent.user_id.clone(),
        thread_id: parent.thread_id.clone(),
        tools,
        template,
        ..TaskRequest::default()
    }
}

/// What a child has read before it begins: its parent chose the words of its goal.
fn inherited(calling: &Calling<'_>) -> Taint {
    let mut taint = Taint::default();
    taint.join(calling.taint, calling.task);
    taint
}

/// The approvals of both: a preset may ask for more than the task that calls, and waives nothing.
fn stricter(parent: &ApprovalPolicy, own: &ApprovalPolicy) -> ApprovalPolicy {
    let wish = ApprovalWish {
        tools: own
            .tools
            .iter()
            .filter(|(_, needed)| **needed)
            .map(|(name, _)| (name.clone(), true))
            .collect(),
        classes: own.classes.clone(),
        plan: own.plan,
        when_tainted: Some(parent.when_tainted.max(own.when_tainted)),
        ..ApprovalWish::default()
    };
    parent.and(&wish).unwrap_or_else(|_| parent.clone())
}
