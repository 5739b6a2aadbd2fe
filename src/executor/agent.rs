//! The step a model carries out: turn by turn, with tools or without, within limits.

use std::sync::Arc;

use serde_json::Value;

use super::allowance::Reservation;
use super::calls::{Dispatch, too_deep};
use super::conversation::{Conversation, Recorded, recorded_contents};
use super::{Attempt, Stop};
use crate::models::{Answer, Heard, Message, Model, ModelError, Request, Role, ToolSpec};
use crate::orchestrator::{Speaking, StepContext, cut, wrap_up};
use crate::task::{
    CallState, CallSubject, Event, Fault, FaultClass, Payload, Reserve, Task, ToolRequest, is_too_deep,
};
use crate::tools::ToolError;

/// What a model sees of one tool result at most, in bytes. The whole result is recorded.
const RESULT_BYTES: usize = 48 * 1024;

impl Attempt {
    /// Converses until the model answers without asking for a tool; that answer is the output.
    pub(super) async fn converse(
        &mut self,
        task: Arc<Task>,
        with_tools: bool,
    ) -> Result<Option<Payload>, Stop> {
        let mut conversation = self.recall().await?;
        let tools = if with_tools { self.orchestrator.tool_specs(&self.spec)? } else { Vec::new() };
        let context = self.orchestrator.step_context(&task, &self.step, with_tools).await?;
        drop(task);
        let models = self.orchestrator.models();
        // What is allowed now counts, not what was when the plan was made.
        let named = self.step.plan.model.as_ref().filter(|name| models.allowed().contains(name));
        let model = models.for_role(Role::Execute, named.or(self.spec.chat_model.as_ref()));
        let model = model.map_err(|error| Stop::Failed(error.fault()))?;
        if let Some(text) = finished_answer(&conversation).filter(|_| !self.has_mail(&conversation)) {
            return Ok(Some(Payload::text(text)));
        }
        loop {
            while let Some(request) = conversation.open.front().cloned() {
                self.answer_request(&mut conversation, request).await?;
            }
            if conversation.turns >= self.spec.limits.max_turns {
                return Err(Stop::Failed(too_many_turns(conversation.turns)));
            }
            let answer = self.ask(model.as_ref(), &mut conversation, &context, &tools).await?;
            // What was written during the last turn is answered too.
            if answer.requests.is_empty() && !self.has_mail(&conversation) {
                return Ok(Some(Payload::text(answer.text)));
            }
        }
    }

    async fn recall(&self) -> Result<Conversation, Stop> {
        let mut recorded = Vec::new();
        // The opening holds what was written before the step began.
        let opening = self.step.first_seq.unwrap_or_default();
        let mut heard = opening;
        for (call, result) in recorded_contents(&self.step) {
            let text = match result {
                Some(payload) => self.orchestrator.text_of(payload).await?,
                None => failure_text(&call.state),
            };
            let text = self.with_edit(call.number, cut(&text, RESULT_BYTES)).await?;
            // A failure that the model was told of is a result of the conversation.
            let is_tool = matches!(call.subject, CallSubject::Tool { .. });
            let was_told = match call.state {
                CallState::Failed(_) => is_tool && call.number < self.step.calls.len() as u32,
                CallState::Denied(_) => true,
                _ => false,
            };
            let newest = call.heard.filter(|_| call.state == CallState::Committed).unwrap_or(heard);
            let texts = self.written(heard, newest).await?;
            heard = heard.max(newest);
            recorded.push(Recorded {
                number: call.number,
                attempt: call.attempt,
                state: if was_told { CallState::Committed } else { call.state.clone() },
                subject: call.subject.clone(),
                text,
                requests: call.requests.clone(),
                is_error: call.is_error || was_told,
                heard: (texts, newest),
            });
        }
        Ok(Conversation::recall(recorded, opening))
    }

    async fn ask(
        &mut self,
        model: &dyn Model,
        conversation: &mut Conversation,
        context: &StepContext,
        tools: &[ToolSpec],
    ) -> Result<Answer, Stop> {
        let newest = self.read_mail(conversation).await?;
        let mut request = self.request(conversation, context, tools);
        let mut parts = match conversation.first_call {
            Some(_) => Vec::new(),
            None => vec![Payload::text(&context.system), Payload::text(&context.brief)],
        };
        if let Some((resource, percent)) = self.allowance.nearly_used_up(self.orchestrator.now()) {
            let note = wrap_up(resource, percent);
            parts.push(Payload::text(&note));
            request.messages.push(Message::User(note));
        }
        let reservation = self.reserve(model, &request).await?;
        let (call, attempt) = conversation.next_call();
        self.journal
            .record(Event::ModelRequested {
                step: self.index,
                call,
                attempt,
                model: model.name().clone(),
                base: conversation.first_call,
                heard: newest,
                parts,
                reserve: reservation.amount(),
            })
            .await?;
        let (task_id, step) = (self.task_id, self.index);
        let speaker = self.orchestrator.speech().begin(Speaking { task_id, step, call, attempt });
        let hear = |heard: Heard<'_>| speaker.say(heard);
        let outcome = tokio::select! {
            outcome = model.speak(request, &hear) => outcome,
            () = self.cancel.cancelled() => return Err(Stop::Interrupted),
        };
        let partial = outcome.as_ref().err().and_then(ModelError::partial).map(Payload::text);
        match outcome.map_err(|error| error.fault()).and_then(recordable) {
            Ok(answer) => {
                reservation.settle(Reserve::of(&answer.usage));
                self.journal.note(Event::ModelAnswered {
                    step: self.index,
                    call,
                    text: Payload::text(&answer.text),
                    requests: answer.requests.clone(),
                    finish: answer.finish.clone(),
                    usage: answer.usage,
                });
                conversation.answered(call, answer.text.clone(), answer.requests.clone());
                Ok(answer)
            }
            Err(fault) => {
                if !fault.may_have_cost() {
                    reservation.settle(Reserve::default());
                }
                self.journal.note(Event::CallFailed {
                    step: self.index,
                    call,
                    fault: fault.clone(),
                    partial,
                });
                Err(Stop::Failed(fault))
            }
        }
    }

    /// Sets aside what the call may consume, or stops the step if the budget has no room for it.
    async fn reserve(&self, model: &dyn Model, request: &Request) -> Result<Reservation, Stop> {
        let reserve = self.orchestrator.reserve_for(model, request);
        let clock = self.orchestrator.clock();
        tokio::select! {
            reservation = self.allowance.reserve(reserve, &clock) => reservation.map_err(Stop::Budget),
            () = self.cancel.cancelled() => Err(Stop::Interrupted),
        }
    }

    fn request(&self, conversation: &Conversation, context: &StepContext, tools: &[ToolSpec]) -> Request {
        let goal = &self.spec.goal;
        let mut request = Request::new(Role::Execute, goal, &context.system, &context.brief);
        request.messages.extend(conversation.messages.iter().cloned());
        request.tools = tools.to_vec();
        request
    }

    /// Does what the model asked for and tells it how that ended. What a tool refuses is told
    /// to the model too: it may do better.
    async fn answer_request(
        &mut self,
        conversation: &mut Conversation,
        request: ToolRequest,
    ) -> Result<(), Stop> {
        let (number, attempt) = conversation.next_call();
        let arguments = Payload::Inline(request.arguments.clone()).hash();
        let (content, is_error) = match self.tool(&request.tool) {
            Ok(tool) => {
                let request_id = Some(request.id.clone());
                let dispatch = Dispatch { number, attempt, request_id, arguments: request.arguments };
                let (content, is_error) = told(self.dispatch(tool.as_ref(), dispatch).await?)?;
                (self.with_edit(number, cut(&content, RESULT_BYTES)).await?, is_error)
            }
            Err(unknown) => {
                // It is in the journal as a call, so it counts as one.
                self.allowance.take(self.orchestrator.now())?;
                self.refuse(number, attempt, &request, &unknown)
            }
        };
        let repeats = conversation.returned(&request.tool, arguments, &content, is_error);
        let most = self.spec.limits.max_repeats;
        if repeats >= most.max(1) {
            return Err(Stop::Failed(no_progress(&request.tool, repeats)));
        }
        Ok(())
    }

    /// Records a call of a tool that is not there: it had no effect, and the model is told.
    fn refuse(
        &mut self,
        call: u32,
        attempt: u32,
        request: &ToolRequest,
        error: &ToolError,
    ) -> (String, bool) {
        self.journal.note(Event::ToolDispatched {
            step: self.index,
            call,
            attempt,
            tool: request.tool.clone(),
            arguments: Payload::Inline(request.arguments.clone()),
            effect: crate::task::Effect::ReadOnly,
            request_id: Some(request.id.clone()),
        });
        let fault = error.fault();
        self.journal.note(Event::CallFailed { step: self.index, call, fault, partial: None });
        (error.to_string(), true)
    }
}

/// The answer, unless it asks for calls that cannot be recorded.
fn recordable(answer: Answer) -> Result<Answer, Fault> {
    match answer.requests.iter().find(|request| is_too_deep(&request.arguments)) {
        Some(request) => Err(too_deep(FaultClass::Malformed, &request.tool)),
        None => Ok(answer),
    }
}

/// The answer, if the recorded conversation has come to its end already.
fn finished_answer(conversation: &Conversation) -> Option<String> {
    match conversation.messages.last() {
        Some(Message::Assistant { text, requests }) if requests.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// The outcome of a call as the model reads it. A call that may have taken effect, or did not
/// get through, is not the model's business: the step is tried again, and the call under its
/// own number and key. Told of it, the model would ask anew, and a new call has a new key.
fn told(outcome: Result<crate::tools::ToolOutput, ToolError>) -> Result<(String, bool), Stop> {
    match outcome {
        Ok(output) => {
            let text = match output.content {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Ok((text, output.is_error))
        }
        // Its result is recorded as an error already.
        Err(error @ ToolError::OutputTooLarge { .. }) => Ok((error.to_string(), true)),
        Err(error) if error.may_have_taken_effect() => Err(Stop::Failed(error.fault())),
        Err(error @ ToolError::Unreachable { .. }) => Err(Stop::Failed(error.fault())),
        Err(error) => Ok((error.to_string(), true)),
    }
}

fn failure_text(state: &CallState) -> String {
    match state {
        CallState::Failed(fault) => fault.message.clone(),
        CallState::Denied(words) => words.clone(),
        _ => String::new(),
    }
}

fn too_many_turns(turns: u32) -> Fault {
    let message = format!("the model did not finish the step within {turns} turns (limits.maxTurns)");
    Fault::new(FaultClass::Limit, "too_many_turns", message)
}

fn no_progress(tool: &str, times: u32) -> Fault {
    let message = format!("{tool} was called {times} times with the same arguments and the same result");
    Fault::new(FaultClass::Limit, "no_progress", message)
}
