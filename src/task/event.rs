//! The facts: everything that can happen to a task, in one vocabulary.
//!
//! The journal, recovery, live streams, the audit trail and the command line's progress all consume these.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BlobHash, Budget, CallAt, CheckDecision, Effect, FannedItem, Fault, ForkPoint, Labels, ModelName,
    OnExpiry, Pause, Payload, Plan, Planner, Priority, Prompt, RecordedRequest, Reserve, ShownPicture,
    Status, Summary, Taint, TaskId, TaskSpec, TemplateRef, Timestamp, ToolNotice, TopUp, Usage, View,
};

/// A fact about a task. `step` is always the index of a step, `call` its number within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// The task exists. Always the first entry, and only that.
    Created {
        /// What was asked for.
        spec: Box<TaskSpec>,
    },
    /// The task is a fork: what stands before was recorded for another task, and goes on from here.
    Forked {
        /// From where.
        from: ForkPoint,
        /// Steps that were begun there and are done anew here.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<u32>,
        /// The call whose result is another one here than it was there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced: Option<CallAt>,
        /// Who wanted it.
        by: String,
    },
    /// Why the request became a task.
    Detected {
        /// `rules`, a model's name, or `caller` where the task was asked for outright.
        by: String,
        /// 0 (simple) to 1 (complex).
        score: f64,
        /// From which score on a request becomes a task.
        threshold: f64,
        /// What was seen in the request.
        features: Vec<String>,
        /// What deciding consumed.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// The task was a chat answer before, which grew. Always the second entry.
    Promoted {
        /// The chunks of the UI message stream that clients were given of it.
        said: Payload,
        /// The number of the last entry that tells what had been done until then.
        through: i64,
        /// Why the answer could not stay one.
        reason: String,
    },
    /// A plan, or a revision of it: steps that are not done are replaced by these.
    Planned {
        /// 1 for the first plan, then one more each time.
        revision: u32,
        /// The new steps, appended to those that stay.
        plan: Plan,
        /// Who made it and why.
        by: Planner,
        /// The tools it was made with, a list of `FrozenTool`, if it needs any: no others may be called till the next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tools: Option<Payload>,
    },
    /// A worker took the task over; recorded with the first commit of its epoch.
    Claimed {
        /// The worker's name.
        worker: String,
        /// How many workers lost the task since it last made progress.
        crashes: u32,
    },
    /// An attempt of a step begins.
    StepStarted {
        /// Which step.
        step: u32,
        /// From 1.
        attempt: u32,
    },
    /// A model is about to be asked. The whole prompt is the recorded request `base` with the
    /// recorded outcomes since (behind the newest summary of the conversation), followed by
    /// `parts`: nothing is stored twice.
    ModelRequested {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// From 1.
        attempt: u32,
        /// Which model.
        model: ModelName,
        /// The call of this step whose conversation this one continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<u32>,
        /// The newest message of a person that the conversation of this step holds by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heard: Option<i64>,
        /// What the beginning of the conversation shows of earlier steps; only where it begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shows: Option<View>,
        /// Messages that are not recorded elsewhere yet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<Payload>,
        /// What is asked, in short.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<Prompt>,
        /// What the call may consume; it counts against the budget until the outcome is known.
        #[serde(default, skip_serializing_if = "Reserve::is_nothing")]
        reserve: Reserve,
    },
    /// The model answered.
    ModelAnswered {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// The text of the answer.
        text: Payload,
        /// The tool calls it asks for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        requests: Vec<RecordedRequest>,
        /// What it thought before it asked for them, in the pieces of its provider, which may want it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thinking: Option<Payload>,
        /// Why it stopped, in the provider's word.
        finish: String,
        /// What it consumed.
        usage: Usage,
        /// Who answered, if that was not the model that was asked but one behind it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// Whether it was shown none of the pictures of its prompt: it refused them, and was told their names.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        without_pictures: bool,
    },
    /// A tool is about to be called.
    ToolDispatched {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// From 1.
        attempt: u32,
        /// The tool's full name.
        tool: String,
        /// The arguments, as dispatched.
        arguments: Payload,
        /// What calling it does to the world.
        effect: Effect,
        /// What else is known of the tool.
        #[serde(default, skip_serializing_if = "Labels::is_none")]
        labels: Labels,
        /// The model's own id for this call; none if the plan itself named the tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// The tool returned.
    ToolReturned {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// What it returned.
        result: Payload,
        /// Whether the tool itself calls that an error.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// A call is to be carried out by a task of its own, which is created once this is durable.
    ChildStarted {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// From 1.
        attempt: u32,
        /// The full name of the tool that it is offered as.
        tool: String,
        /// The arguments, as dispatched.
        arguments: Payload,
        /// The model's own id for this call; none if the plan itself named the tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// The task that carries it out.
        child: TaskId,
        /// The template that it is made from; none if it makes its own plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<TemplateRef>,
        /// What it may consume; it counts against the budget until the child has ended.
        #[serde(default, skip_serializing_if = "Budget::is_default")]
        grant: Budget,
    },
    /// The task that carried out a call has ended, or could not be created.
    ChildEnded {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// How it ended.
        status: Status,
        /// What it brought, or why it brought nothing.
        result: Payload,
        /// Whether it did not reach its goal.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        /// What it and its own children consumed.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
        /// What counts against the budget besides: calls whose end nobody knows, and its steps.
        #[serde(default, skip_serializing_if = "Reserve::is_nothing")]
        besides: Reserve,
        /// What it and its own children have read.
        #[serde(default, skip_serializing_if = "Taint::is_none")]
        taint: Taint,
    },
    /// A call is known to have had no outcome: refused, timed out before it was sent, cut.
    CallFailed {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// Why.
        fault: Fault,
        /// The text of a model's answer that broke off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial: Option<Payload>,
    },
    /// A call was in flight when its worker or its server was lost.
    CallLost {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// What is known.
        detail: String,
    },
    /// A person or a reconciling tool says how a lost call ended.
    OutcomeDecided {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// The result if it took effect; none if it did not and may be dispatched again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Payload>,
        /// Who said so.
        by: String,
    },
    /// A call needs somebody's approval before it is dispatched.
    ApprovalRequested {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// The attempt that it would be, from 1.
        attempt: u32,
        /// The tool's full name.
        tool: String,
        /// The arguments: what is approved are exactly these.
        arguments: Payload,
        /// What calling it does to the world.
        effect: Effect,
        /// The model's own id for this call; none if the plan itself named the tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// Until when it can be answered.
        expires_at: Timestamp,
        /// What happens then.
        on_expiry: OnExpiry,
        /// What the task has read, if that is why it is asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Box<Taint>>,
    },
    /// Somebody approved a call, once.
    ApprovalGiven {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// The arguments to call with, if they are not those that were asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<Payload>,
        /// Who said so.
        by: String,
    },
    /// Somebody denied a call, or nobody approved it in time.
    ApprovalDenied {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// Why; may be empty.
        reason: String,
        /// Who said so.
        by: String,
    },
    /// A model asks a person.
    InputRequested {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// From 1.
        attempt: u32,
        /// The tool's full name.
        tool: String,
        /// The question, and what an answer has to look like.
        arguments: Payload,
        /// The model's own id for this call; none if the plan itself asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// Until when it can be answered.
        expires_at: Timestamp,
        /// What happens then.
        on_expiry: OnExpiry,
    },
    /// Somebody answered; the answer is the result of the call.
    InputGiven {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// What was answered.
        answer: Payload,
        /// Who answered.
        by: String,
    },
    /// Somebody does not want to answer, or nobody answered in time.
    InputDeclined {
        /// Which step.
        step: u32,
        /// Its number within the step.
        call: u32,
        /// Why; may be empty.
        reason: String,
        /// Who said so.
        by: String,
    },
    /// A tool is not what it was when the plan was made: its call waits until somebody has seen it.
    ToolChanged(Box<ToolNotice>),
    /// Somebody accepted a tool as it is now. Its calls are made under the same rules as any other.
    ToolAccepted {
        /// Which step.
        step: u32,
        /// The call that waited for it.
        call: u32,
        /// The tools that the task may use from now on: all of them.
        tools: Payload,
        /// Who said so.
        by: String,
    },
    /// Somebody approved a revision of the plan.
    PlanApproved {
        /// Which one.
        revision: u32,
        /// Who said so.
        by: String,
    },
    /// Somebody denied a revision of the plan, or nobody approved it in time.
    PlanDenied {
        /// Which one.
        revision: u32,
        /// Why; may be empty.
        reason: String,
        /// Who said so.
        by: String,
    },
    /// Somebody wrote to the task: its models read it at their next turn.
    MessageReceived {
        /// What was written.
        text: Payload,
        /// Pictures that go with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pictures: Vec<ShownPicture>,
        /// Who wrote.
        by: String,
    },
    /// A step is done.
    StepCompleted {
        /// Which step.
        step: u32,
        /// What it brought. None where it is the result of its last call, which is recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Payload>,
    },
    /// An attempt of a step failed.
    StepFailed {
        /// Which step.
        step: u32,
        /// Why.
        fault: Fault,
        /// When it is tried again; none if it failed for good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// A step that is carried out for each item of a list is ready: these are the items. Each has
    /// a step of its own, appended in this order.
    FannedOut {
        /// Which step.
        step: u32,
        /// At least one.
        items: Vec<FannedItem>,
    },
    /// A step that has checks says that it is done.
    StepClaimed {
        /// Which step.
        step: u32,
        /// What it says it brought. None where it is the result of its last call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Payload>,
    },
    /// A check was made on what a step claims.
    StepVerified {
        /// Which step.
        step: u32,
        /// The position of the check in the step.
        check: u32,
        /// Whether it holds.
        passed: bool,
        /// What was seen.
        evidence: Payload,
        /// `schema`, the name of a probe, or that of a model.
        by: String,
        /// What it consumed.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// Somebody says how a step goes on that did not pass its checks.
    CheckDecided {
        /// Which step.
        step: u32,
        /// How.
        decision: CheckDecision,
        /// Who said so.
        by: String,
    },
    /// A step is not needed.
    StepSkipped {
        /// Which step.
        step: u32,
        /// Why.
        reason: String,
    },
    /// The context was written down.
    CheckpointTaken {
        /// The step that asked for it; none for an automatic one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// How many steps were completed.
        completed: u32,
        /// Where the work stands.
        context: Payload,
        /// Who asked for it; none where nobody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The task was put back to a checkpoint: the steps since do not count any more, and what was open
    /// then is done anew. What happened has happened and stays on record.
    Restored {
        /// The entry of the checkpoint.
        checkpoint: i64,
        /// The revision that goes on from there.
        revision: u32,
        /// Steps that do not count any more: ranges of indexes, the last one included.
        undone: Vec<(u32, u32)>,
        /// The steps that were open then, as new ones.
        plan: Plan,
        /// The summary that stood for older outputs then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<Summary>,
        /// What models are told of it.
        notice: Payload,
        /// Who said so.
        by: String,
    },
    /// Older content was compressed: from now on the summary stands for it in prompts.
    ContextSummarized {
        /// The step that asked for it; none for an automatic one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// The first step whose output was read for it; the summary before it stands for earlier ones.
        #[serde(default, skip_serializing_if = "super::usage::is_zero")]
        from: u32,
        /// The outputs of all steps up to this index are covered.
        through: u32,
        /// What stands for them.
        summary: Payload,
        /// The model, or `truncation` where it failed.
        by: String,
        /// Which instructions the model had: the beginning of their hash.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prompt: String,
        /// The hash of what was compressed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<BlobHash>,
        /// Estimated tokens of what is covered.
        tokens_before: u64,
        /// Estimated tokens of the summary.
        tokens_after: u64,
        /// What it consumed.
        #[serde(default)]
        usage: Usage,
    },
    /// Older turns of a step's conversation were compressed: in prompts a summary stands for them from now on.
    ConversationSummarized {
        /// Which step.
        step: u32,
        /// The first call that was read for it; the summary before it stands for earlier ones.
        from: u32,
        /// The calls up to this number are covered.
        through: u32,
        /// What stands for them.
        summary: Payload,
        /// The model, or `truncation` where it failed.
        by: String,
        /// Which instructions the model had: the beginning of their hash.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prompt: String,
        /// The hash of what was compressed.
        input: BlobHash,
        /// Estimated tokens of what is covered.
        tokens_before: u64,
        /// Estimated tokens of the summary.
        tokens_after: u64,
        /// What it consumed.
        #[serde(default)]
        usage: Usage,
    },
    /// A fact that every later prompt of the task holds word for word.
    FactPinned {
        /// The step whose model pinned it; none for a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// The fact.
        text: Payload,
        /// Who pinned it.
        by: String,
    },
    /// The engine looked at the progress and decided how to go on.
    Evaluated {
        /// `continue`, `replan`, `done` or `fail`.
        verdict: String,
        /// Why.
        reason: String,
        /// `rules` or a model's name.
        by: String,
        /// What it consumed.
        #[serde(default)]
        usage: Usage,
    },
    /// Somebody said how urgent the task is from now on.
    Prioritized {
        /// 1 (most urgent) to 5.
        priority: Priority,
        /// Who said so.
        by: String,
    },
    /// Somebody added to the budget.
    BudgetRaised {
        /// How much more there is.
        add: TopUp,
        /// Who said so.
        by: String,
        /// The call whose child it was added for, if it was: it is set aside for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child: Option<CallAt>,
    },
    /// The task waits for a person.
    Paused {
        /// For what.
        pause: Pause,
        /// Who paused it.
        by: String,
    },
    /// The task goes on.
    Resumed {
        /// Who said so.
        by: String,
    },
    /// The end: every required step is completed.
    Completed {
        /// The answer.
        output: Payload,
    },
    /// The end: the goal was not reached.
    Failed {
        /// Why.
        fault: Fault,
    },
    /// The end: somebody stopped it.
    Cancelled {
        /// Who.
        by: String,
    },
}
