//! Sub-tasks: calls that are carried out by tasks of their own.
//!
//! The intent of such a call names its child, so that creating the child once more is no second one.
//! What it may consume is set aside in the account of its parent from before it exists until its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::Posting;
use super::apply::Verdict;
use super::{
    Budget, Call, CallAt, CallState, CallSubject, Effect, Event, Exceeded, Ledger, Reserve, Resource, Step,
    StepStatus, Task, TaskId, TemplateRef, Timestamp, TopUp,
};

/// Whose child a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parent {
    /// The task that called it.
    pub task: TaskId,
    /// The step of that task.
    pub step: u32,
    /// The call of that step.
    pub call: u32,
    /// The task at the top of the tree.
    pub root: TaskId,
    /// How many tasks stand above it, from 1.
    pub depth: u32,
}

/// The task that carries out a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its name.
    pub task: TaskId,
    /// The template that it is made from; none if it makes its own plan.
    pub template: Option<TemplateRef>,
    /// What it may consume, with what was added.
    pub grant: Budget,
    /// What it consumed in all, once it has ended.
    pub used: Option<Reserve>,
}

impl Budget {
    /// What is set aside for somebody who may consume all of it: of what is not limited, nothing.
    pub fn reserve(&self) -> Reserve {
        Reserve {
            tokens: self.tokens.unwrap_or_default(),
            cost_usd: self.cost_usd.unwrap_or_default(),
            model_calls: self.model_calls.unwrap_or_default(),
            tool_calls: self.tool_calls.unwrap_or_default(),
            steps: self.steps.unwrap_or_default(),
        }
    }
}

impl TopUp {
    /// The same in the terms of a reserve. Time is not divided among tasks.
    pub(super) fn reserve(&self) -> Reserve {
        Reserve {
            tokens: self.tokens,
            cost_usd: self.cost_usd,
            model_calls: self.model_calls,
            tool_calls: self.tool_calls,
            steps: self.steps,
        }
    }
}

impl Step {
    /// The call that a task of its own carries out at this moment, with that task.
    pub fn child_at_work(&self) -> Option<(&Call, &Child)> {
        let last = self.calls.last().filter(|call| call.state == CallState::Delegated)?;
        Some((last, last.child.as_deref()?))
    }

    /// A step does not end before the task that works for it.
    pub(super) fn has_no_child_at_work(&self) -> Verdict {
        match self.child_at_work() {
            Some((call, child)) => Err(format!("call {} is carried out by task {}", call.number, child.task)),
            None => Ok(()),
        }
    }
}

impl Task {
    /// The calls that tasks of their own carry out at this moment: step and call.
    pub fn children_at_work(&self) -> impl Iterator<Item = (u32, &Call, &Child)> {
        let steps = (0u32..).zip(self.steps());
        steps.filter_map(|(index, step)| step.child_at_work().map(|(call, child)| (index, call, child)))
    }

    /// How many tasks stand above it.
    pub fn depth(&self) -> u32 {
        self.spec().depth()
    }

    /// What it consumed in all besides its usage, in the terms of a reserve: what calls whose end nobody
    /// knows may have taken, and the steps that were begun.
    pub fn consumed_besides(&self) -> Reserve {
        let spent = &self.state().spent;
        let steps = self.steps().iter().filter(|step| step.attempts > 0).count();
        let begun = Reserve { steps: u32::try_from(steps).unwrap_or(u32::MAX), ..Reserve::default() };
        spent.lost.plus(spent.reserved).plus(begun)
    }

    pub(super) fn child_event(&mut self, event: &Event, at: Timestamp, seq: i64) -> Verdict {
        match event {
            Event::ChildStarted {
                step,
                call,
                attempt,
                tool,
                arguments,
                request_id,
                child,
                template,
                grant,
                ..
            } => {
                let subject = CallSubject::Tool {
                    labels: super::Labels::default(),
                    tool: tool.clone(),
                    arguments: arguments.clone(),
                    effect: Effect::ReadOnly,
                    request_id: request_id.clone(),
                };
                self.dispatched(*step, *call, *attempt, subject, at)?;
                let made = self.call_in(*step, *call, &CallState::Dispatched)?;
                made.state = CallState::Delegated;
                let (task, template, grant) = (*child, template.clone(), *grant);
                made.child = Some(Box::new(Child { task, template, grant, used: None }));
                Ok(())
            }
            Event::ChildEnded { step, call, result, is_error, usage, besides, .. } => {
                let known = self.call_in(*step, *call, &CallState::Delegated)?;
                known.returned(result, seq);
                known.is_error = *is_error;
                if let Some(child) = &mut known.child {
                    child.used = Some(Reserve::of(usage).plus(*besides));
                }
                self.steps[*step as usize].usage += *usage;
                self.state.usage += *usage;
                // Whatever is recorded is not repeated, so a worker that dies now dies of something else.
                self.state.crashes = 0;
                Ok(())
            }
            Event::BudgetRaised { add, child: Some(of), .. } => {
                let known = self.call_in(of.step, of.call, &CallState::Delegated)?;
                if let Some(child) = &mut known.child {
                    child.grant = child.grant.with(add);
                }
                Ok(())
            }
            other => Err(format!("'{}' is not about a child", other.kind())),
        }
    }

    /// Adds to the budget. What is added for a child is set aside for it at once.
    pub(super) fn budget_raised(&mut self, add: &TopUp, child: Option<&CallAt>) {
        self.state.raised = self.state.raised.plus(add);
        if child.is_some() {
            let spent = &mut self.state.spent;
            spent.reserved = spent.reserved.plus(add.reserve());
            spent.passed_on = spent.passed_on.plus(add.reserve());
        }
    }

    /// What a child's beginning and end change of the account, or why there is no room for it.
    pub(super) fn child_posting(&self, event: &Event) -> Result<Posting, String> {
        match event {
            Event::ChildStarted { grant, .. } => {
                let grant = grant.reserve();
                let call = Reserve { tool_calls: 1, ..Reserve::default() };
                Ledger::of(self).fits(grant.plus(call)).map_err(|exceeded| exceeded.to_string())?;
                self.fits_steps(grant.steps).map_err(|exceeded| exceeded.to_string())?;
                Ok(Posting::Reserve(grant))
            }
            Event::ChildEnded { step, call, usage, besides, .. } => {
                let child = self.step(*step).and_then(|step| step.call(*call)?.child.as_deref());
                let reserve = child.map(|child| child.grant.reserve()).unwrap_or_default();
                Ok(Posting::Close { reserve, used: Reserve::of(usage).plus(*besides), besides: *besides })
            }
            _ => Ok(Posting::Nothing),
        }
    }

    /// How many steps may still be begun, if that is limited.
    pub fn steps_left(&self) -> Option<u32> {
        let limit = self.budget().steps?;
        let begun = u32::try_from(self.steps_begun()).unwrap_or(u32::MAX);
        Some(limit.saturating_sub(begun))
    }

    /// Whether so many steps may be begun.
    pub(super) fn fits_steps(&self, wanted: u32) -> Result<(), Exceeded> {
        // Counted only where there is a limit: a plan may be long.
        let Some(limit) = self.budget().steps else { return Ok(()) };
        super::ledger::room(Resource::Steps, Some(u64::from(limit)), self.steps_begun(), u64::from(wanted))
    }
}

pub(super) fn is_delegated(step: &Step, _: Timestamp) -> bool {
    step.status == StepStatus::Running && step.child_at_work().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::super::properties::at;
    use super::*;
    use crate::task::{Entry, Next, Payload, Planner, Status, Usage, Usd};

    fn event(value: serde_json::Value) -> Event {
        serde_json::from_value(value).unwrap()
    }

    /// A task with two steps beside each other, both begun.
    fn begun(budget: serde_json::Value) -> Task {
        let spec = json!({"goal": "g", "userId": "u", "threadId": "t", "budget": budget,
            "limits": {"maxParallelSteps": 2}});
        let spec = serde_json::from_value(spec).unwrap();
        let first = Entry { seq: 1, epoch: 0, at: at(1), event: Event::Created { spec: Box::new(spec) } };
        let mut task = Task::begin(TaskId(Uuid::nil()), &first).unwrap();
        let step = |id: &str| json!({"id": id, "description": "d", "type": "tool-call"});
        let plan = serde_json::from_value(json!([step("a"), step("b"), step("c")])).unwrap();
        task.record(at(2), Event::Planned { revision: 1, plan, by: Planner::default(), tools: None })
            .unwrap();
        for step in [0, 1] {
            task.record(at(3), Event::StepStarted { step, attempt: 1 }).unwrap();
        }
        task
    }

    fn started(step: u32, grant: serde_json::Value) -> Event {
        event(json!({"kind": "child_started", "data": {"step": step, "call": 1, "attempt": 1,
            "tool": "workflow_w", "arguments": {"inline": {}}, "child": Uuid::from_u128(7), "grant": grant}}))
    }

    fn ended(step: u32, tokens: u64, calls: u32) -> Event {
        Event::ChildEnded {
            step,
            call: 1,
            status: Status::Completed,
            result: Payload::text("r"),
            is_error: false,
            usage: Usage { input_tokens: tokens, tool_calls: calls, model_calls: 1, ..Usage::default() },
            taint: crate::task::Taint::default(),
            besides: Reserve { tokens: 5, steps: 2, ..Reserve::default() },
        }
    }

    #[test]
    fn a_step_waits_for_its_child_and_holds_its_place_meanwhile() {
        let mut task = begun(json!({}));
        assert_eq!(task.next(at(4)), Next::Run(vec![0, 1]));
        task.record(at(4), started(0, json!({}))).unwrap();
        assert_eq!(task.next(at(4)), Next::Run(vec![1]), "the third step would be one too many");
        task.record(at(5), started(1, json!({}))).unwrap();
        assert_eq!(task.next(at(5)), Next::Children(None));
        for event in [
            Event::StepCompleted { step: 0, output: None },
            Event::StepSkipped { step: 0, reason: "r".into() },
            Event::CallLost { step: 0, call: 1, detail: "d".into() },
        ] {
            assert!(task.record(at(6), event).is_err());
        }
        task.record(at(6), ended(0, 1, 1)).unwrap();
        assert_eq!(task.next(at(6)), Next::Run(vec![0]));
        assert!(task.record(at(7), ended(0, 1, 1)).is_err(), "it ends once");
    }

    #[test]
    fn what_is_granted_is_set_aside_and_settled_by_what_was_used() {
        let mut task = begun(json!({"tokens": 100, "toolCalls": 10, "steps": 9}));
        let grant = json!({"tokens": 60, "toolCalls": 5, "steps": 4});
        task.record(at(4), started(0, grant.clone())).unwrap();
        let used = task.consumed(at(4));
        assert_eq!((used.tokens, used.tool_calls, used.steps), (60, 6, 6), "the call is one itself");
        assert!(task.record(at(4), started(1, grant)).is_err(), "there is not as much left");
        task.record(at(5), ended(0, 20, 3)).unwrap();
        let used = task.consumed(at(5));
        assert_eq!((used.tokens, used.tool_calls, used.steps), (25, 4, 4));
        assert_eq!(task.steps_left(), Some(5));
        assert_eq!(task.state().spent.reserved, Reserve::default());
    }

    #[test]
    fn what_is_added_for_a_child_is_not_for_its_parent() {
        let mut task = begun(json!({"tokens": 100}));
        task.record(at(4), started(0, json!({"tokens": 60}))).unwrap();
        let mut ledger = Ledger::of(&task);
        let add = TopUp { tokens: 50, ..TopUp::default() };
        let child = Some(CallAt { step: 0, call: 1 });
        task.record(at(5), Event::BudgetRaised { add, by: "p".into(), child }).unwrap();
        ledger.follow(&task);
        assert_eq!(ledger, Ledger::of(&task), "whoever reckons meanwhile comes to the same");
        assert_eq!((task.budget().tokens, task.consumed(at(5)).tokens), (Some(150), 110));
        assert_eq!(task.children_at_work().next().unwrap().2.grant.tokens, Some(110));
        task.record(at(6), ended(0, 100, 0)).unwrap();
        assert_eq!(task.state().spent.beyond.tokens, 0);
        assert_eq!(task.consumed(at(6)).tokens, 105);
    }

    #[test]
    fn a_child_is_granted_a_part_of_what_is_left_or_what_was_asked_for() {
        let mut task = begun(json!({"tokens": 100, "costUsd": 1.0, "wallTimeMs": 10_000, "softPercent": 70}));
        task.record(at(4), started(0, json!({"tokens": 21}))).unwrap();
        let ledger = Ledger::of(&task);
        let half = ledger.grant(&Budget::default(), None, 2, at(4)).unwrap();
        assert_eq!((half.tokens, half.cost_usd), (Some(40), Usd::from_dollars(0.5)));
        assert_eq!((half.wall_time_ms, half.tool_calls, half.soft_percent), (Some(7_000), None, Some(70)));
        let asked = Budget { tokens: Some(1_000), tool_calls: Some(3), ..Budget::default() };
        let most = ledger.grant(&asked, Some(1), 2, at(4)).unwrap();
        assert_eq!((most.tokens, most.tool_calls, most.steps), (Some(79), Some(3), Some(1)));
        assert!(ledger.grant(&asked, Some(0), 2, at(4)).is_err());
        assert!(ledger.grant(&asked, None, 2, at(11)).is_err());
    }

    #[test]
    fn a_child_that_ends_late_is_charged_to_the_task_that_had_ended() {
        let mut task = begun(json!({"tokens": 100}));
        task.record(at(4), started(0, json!({"tokens": 60}))).unwrap();
        task.record(at(5), Event::Cancelled { by: "p".into() }).unwrap();
        task.record(at(6), ended(0, 20, 0)).unwrap();
        assert_eq!((task.status(), task.consumed(at(6)).tokens), (Status::Cancelled, 25));
    }
}
