//! The step a model carries out: turn by turn, with tools or without, within limits.

use std::sync::Arc;

use super::allowance::Reservation;
use super::calls::{Dispatch, too_deep};
use super::checks::{Claimed, repair};
use super::conversation::{Conversation, Recorded, Returned, Shares, Turn, recorded_contents};
use super::{Attempt, Stop, recollection};
use crate::models::{Answer, Heard, Message, Model, ModelError, Request, Role, Thinking, ToolSpec};
use crate::orchestrator::{Delegate, PIN_TOOL, Speaking, StepContext, Window, wrap_up};
use crate::task::{
    CONTEXT_OVERFLOW, Call, CallAt, CallState, CallSubject, Event, Fault, FaultClass, NO_PROGRESS, Payload,
    RecordedRequest, Reserve, Standing, StepType, Task, ToolRequest, as_text, is_too_deep,
};
use crate::tools::{Tool, ToolError};

/// What a step is told: the room there is, the opening, and the tools.
struct Told {
    window: Window,
    context: StepContext,
    tools: Vec<ToolSpec>,
}

impl Attempt {
    /// Converses until the model answers without asking for a tool; that answer is the output.
    pub(super) async fn converse(
        &mut self,
        task: Arc<Task>,
        with_tools: bool,
    ) -> Result<Option<Payload>, Stop> {
        let models = self.orchestrator.models();
        // What is allowed now counts, not what was when the plan was made.
        let named = self.step.plan.model.as_ref().filter(|name| models.allowed().contains(name));
        let model = models.for_step(named.or(self.spec.chat_model.as_ref()), self.index);
        let model = model.map_err(|error| Stop::Failed(error.fault()))?;
        let window = self.orchestrator.window(model.as_ref(), &self.spec);
        let mut conversation = self.recall(&task, &window).await?;
        let mut told = self.told(&task, window, with_tools).await?;
        drop(task);
        if self.step.standing() == Standing::Refused {
            let words = self.words_or(String::new()).await?;
            self.may_repair(&words)?;
        }
        if let Some(text) = self.last_words(&conversation).await?
            && let Some(output) = self.concluded(&mut conversation, text).await?
        {
            return Ok(output);
        }
        loop {
            while let Some(request) = conversation.open.front().cloned() {
                self.answer_request(&mut conversation, &told, request).await?;
            }
            if conversation.turns >= self.spec.limits.max_turns {
                return Err(Stop::Failed(too_many_turns(conversation.turns)));
            }
            // What its provider reported of the last prompt counts for the next one already.
            told.window = self.orchestrator.window(model.as_ref(), &self.spec);
            if let Some(overflow) = self.ask(model.as_ref(), &mut conversation, &told).await? {
                told.window = self.orchestrator.window(model.as_ref(), &self.spec);
                if !self.after_overflow(&told.window, &mut conversation).await? {
                    return Err(Stop::Failed(overflow));
                }
                continue;
            }
            if let Some(text) = self.last_words(&conversation).await?
                && let Some(output) = self.concluded(&mut conversation, text).await?
            {
                return Ok(output);
            }
        }
    }

    /// The answer with which a conversation ends, if it does: what was written during the last turn is
    /// answered too.
    async fn last_words(&mut self, conversation: &Conversation) -> Result<Option<String>, Stop> {
        let Some(text) = conversation.answer() else { return Ok(None) };
        self.wait_for_turn().await?;
        Ok(Some(text).filter(|_| !self.has_mail(conversation)))
    }

    /// What the step brings with this answer. `None` if it did not pass its checks: the model was
    /// told why and goes on.
    async fn concluded(
        &mut self,
        conversation: &mut Conversation,
        text: String,
    ) -> Result<Option<Option<Payload>>, Stop> {
        let content = serde_json::Value::String(text);
        match self.claim(Some(Payload::Inline(content.clone())), &content).await? {
            Claimed::Stands(output) => Ok(Some(output)),
            Claimed::Refused(words) => {
                self.may_repair(&words)?;
                conversation.tell(repair(&words));
                Ok(None)
            }
        }
    }

    /// What the step is told. A conversation that has begun goes on from the opening that is
    /// recorded of it, whatever has happened beside it since.
    async fn told(&self, task: &Task, window: Window, with_tools: bool) -> Result<Told, Stop> {
        let mut tools = if with_tools { self.orchestrator.tool_specs_of(task).await? } else { Vec::new() };
        let own = recollection::specs().into_iter().filter(|_| with_tools);
        let own: Vec<ToolSpec> = own.filter(|own| tools.iter().all(|tool| tool.name != own.name)).collect();
        tools.extend(own);
        let begun = self.step.calls.iter().find(|call| call.opening.is_some());
        // Nobody has heard an opening that failed; another one may fare better.
        let begun = begun.filter(|call| !matches!(call.state, CallState::Failed(_)));
        let recorded = match begun.and_then(|call| call.opening.as_ref()) {
            Some(opening) => self.orchestrator.recorded_context(task, opening).await?,
            None => None,
        };
        let context = match recorded {
            Some(context) => context,
            None => {
                let tools = with_tools.then_some(tools.as_slice());
                self.orchestrator.step_context(task, &self.step, &window, tools).await?
            }
        };
        if !with_tools && context.is_cut() {
            tools.extend(recollection::specs().into_iter().take(1));
        }
        Ok(Told { window, context, tools })
    }

    async fn recall(&self, task: &Task, window: &Window) -> Result<Conversation, Stop> {
        let refusals = self.refusals().await?;
        let mut recorded = Vec::new();
        // The opening holds what was written before the step began.
        let opening = self.step.first_seq.unwrap_or_default();
        let mut heard = opening;
        for (call, result) in recorded_contents(&self.step) {
            let text = match result {
                Some(payload) => self.orchestrator.text_of(payload).await?,
                None => failure_text(&call.state),
            };
            let note = self.edit_of(call.number).await?;
            // A failure that the model was told of is a result of the conversation.
            let is_tool = matches!(call.subject, CallSubject::Tool { .. });
            let was_told = match call.state {
                CallState::Failed(_) => is_tool && call.number < self.step.calls.len() as u32,
                CallState::Denied(_) => true,
                _ => false,
            };
            let newest = call.heard.filter(|_| call.state == CallState::Committed).unwrap_or(heard);
            let written = self.written(heard, newest, window).await?;
            heard = heard.max(newest);
            recorded.push(Recorded {
                number: call.number,
                attempt: call.attempt,
                state: if was_told { CallState::Committed } else { call.state.clone() },
                subject: call.subject.clone(),
                note,
                said: self.turn(call, text).await?,
                is_error: call.is_error || was_told,
                is_cut: call.is_cut,
                untrusted: comes_from_outside(task, call),
                heard: (written, newest),
                refusal: refusals
                    .iter()
                    .find(|(after, _)| *after == call.number)
                    .map(|(_, words)| words.clone()),
            });
        }
        let (result, turn) = window.result_bytes();
        let conversation = Conversation::new(&self.step.plan.id, Shares { result, turn }, opening);
        let mut conversation = conversation.recall(recorded);
        if let Some(digest) = &self.step.digest {
            let text = self.orchestrator.text_of(&digest.text).await?;
            conversation.fold(digest.through, text);
        }
        Ok(conversation)
    }

    /// What was said at a call, with all that it asked for.
    async fn turn(&self, call: &Call, text: String) -> Result<Turn, Stop> {
        let mut requests = Vec::with_capacity(call.requests.len());
        for RecordedRequest { id, tool, arguments } in &call.requests {
            let arguments = self.orchestrator.content_of(arguments).await?;
            requests.push(ToolRequest { id: id.clone(), tool: tool.clone(), arguments });
        }
        let thinking = match &call.thinking {
            Some(recorded) => Thinking::read(self.orchestrator.content_of(recorded).await?),
            None => None,
        };
        Ok(Turn { text, requests, thinking })
    }

    /// Asks for the next turn. Returns what the provider said if it found the conversation too long for the
    /// first time since its last answer.
    async fn ask(
        &mut self,
        model: &dyn Model,
        conversation: &mut Conversation,
        told: &Told,
    ) -> Result<Option<Fault>, Stop> {
        self.wait_for_turn().await?;
        let newest = self.read_mail(conversation, &told.window).await?;
        let note = self.warning(conversation.next_number());
        let goal = self.spec.goal.clone();
        let asked = |conversation: &Conversation| request(&goal, conversation, told, note.as_ref());
        let mut request = self.fit(model, &told.window, conversation, asked).await?;
        let begins = conversation.first_call.is_none();
        let mut parts = if begins { told.context.parts() } else { Vec::new() };
        parts.extend(note.as_ref().map(Payload::text));
        let (call, attempt) = conversation.next_call();
        request.at = Some(CallAt { step: self.index, call });
        let reservation = self.reserve(model, &request).await?;
        self.journal
            .record(Event::ModelRequested {
                step: self.index,
                call,
                attempt,
                model: model.name().clone(),
                base: conversation.first_call,
                heard: newest,
                shows: begins.then(|| told.context.shows.clone()),
                parts,
                prompt: Some(told.window.prompt(&request)),
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
                    requests: answer.requests.iter().map(RecordedRequest::from).collect(),
                    thinking: answer.thinking.as_deref().map(Thinking::recorded),
                    finish: answer.finish.clone(),
                    usage: answer.usage,
                    model: answer.model.clone(),
                    without_pictures: answer.without_pictures,
                });
                let is_cut = answer.is_cut();
                let said = Turn { text: answer.text, requests: answer.requests, thinking: answer.thinking };
                conversation.answered(call, said, is_cut);
                Ok(None)
            }
            Err(fault) => {
                if let Some(used) = fault.used() {
                    reservation.settle(used);
                }
                self.journal.note(Event::CallFailed { step, call, fault: fault.clone(), partial });
                match fault.code == CONTEXT_OVERFLOW && conversation.overflows(call, attempt) {
                    true => Ok(Some(fault)),
                    false => Err(Stop::Failed(fault.counted())),
                }
            }
        }
    }

    /// What the model is told if a limit of the budget is near.
    fn warning(&self, call: u32) -> Option<String> {
        let near = match self.orchestrator.rehearsal() {
            Some(known) => known.warned(CallAt { step: self.index, call }),
            None => self.allowance.nearly_used_up(self.orchestrator.now()),
        };
        near.map(|(resource, percent)| wrap_up(resource, percent))
    }

    /// Sets aside what the call may consume, or stops the step if the budget has no room for it.
    pub(super) async fn reserve(
        &mut self,
        model: &dyn Model,
        request: &Request,
    ) -> Result<Reservation, Stop> {
        let reserve = self.orchestrator.reserve_for(model, request);
        if let (Some(known), Some(at)) = (self.orchestrator.rehearsal(), request.at) {
            return match known.no_room(at) {
                Some(exceeded) => Err(Stop::Budget(exceeded)),
                None => Ok(self.allowance.set_aside(reserve)),
            };
        }
        let now = self.orchestrator.now();
        if let Some(reservation) = self.allowance.reserve_now(reserve, now).map_err(Stop::Budget)? {
            return Ok(reservation);
        }
        // What was said until now is paid for, and its neighbours may take minutes.
        self.journal.flush().await?;
        let clock = self.orchestrator.clock();
        tokio::select! {
            reservation = self.allowance.reserve(reserve, &clock) => reservation.map_err(Stop::Budget),
            () = self.cancel.cancelled() => Err(Stop::Interrupted),
        }
    }

    /// Does what the model asked for and tells it how that ended. What a tool refuses is told
    /// to the model too: it may do better.
    async fn answer_request(
        &mut self,
        conversation: &mut Conversation,
        told: &Told,
        request: ToolRequest,
    ) -> Result<(), Stop> {
        let (number, attempt) = conversation.next_call();
        let arguments = Payload::Inline(request.arguments.clone()).hash();
        // What a look at the records is to find has to be in them.
        if [recollection::READ_TOOL, PIN_TOOL].contains(&request.tool.as_str()) {
            self.journal.flush().await?;
        }
        if request.tool == recollection::READ_TOOL {
            self.learn_what_was_read().await?;
        }
        let mut untrusted = false;
        let (content, is_error) = match self.answers_to(told, &request.tool, number).await? {
            (Some(delegate), _) => {
                let request_id = Some(request.id.clone());
                let dispatch = Dispatch { number, attempt, request_id, arguments: request.arguments };
                as_told(self.hand_over(&delegate, dispatch).await?)?
            }
            (None, Ok(tool)) => {
                untrusted = self.labels(tool.description()).untrusted;
                let pins = recollection::is_of_context(tool.description()) && request.tool == PIN_TOOL;
                let fact = recollection::fact(&request.arguments).ok().filter(|_| pins).map(Payload::text);
                let request_id = Some(request.id.clone());
                let dispatch = Dispatch { number, attempt, request_id, arguments: request.arguments };
                let outcome = as_told(self.dispatch(tool.as_ref(), dispatch).await?)?;
                self.pin(fact.filter(|_| !outcome.1));
                outcome
            }
            // It will be there again: that is not the model's business.
            (None, Err(error @ ToolError::Unreachable { .. })) => {
                return Err(Stop::Failed(error.fault()));
            }
            (None, Err(unknown)) => {
                // It is in the journal as a call, so it counts as one.
                self.allowance.take(self.orchestrator.now())?;
                self.refuse(number, attempt, &request, &unknown)
            }
        };
        let (tool, note) = (request.tool.as_str(), self.edit_of(number).await?);
        let returned =
            Returned { number, tool, arguments, content: &content, note: &note, untrusted, is_error };
        let repeats = conversation.returned(&returned);
        let most = self.spec.limits.max_repeats;
        // Somebody has told it something since: it has yet to read that.
        // A call that was made once repeats nothing.
        if repeats >= most.max(2) && !self.has_mail(conversation) {
            return Err(Stop::Failed(no_progress(&request.tool, repeats)));
        }
        Ok(())
    }

    /// Who answers a call: a task of its own, or a tool. A step without tools has been offered none, and a
    /// model that asks for one nevertheless is told that there is none.
    async fn answers_to(
        &self,
        told: &Told,
        name: &str,
        call: u32,
    ) -> Result<(Option<Delegate>, Result<Arc<dyn Tool>, ToolError>), Stop> {
        let is_offered = told.tools.iter().any(|tool| tool.name == name);
        if !is_offered && self.step.plan.kind == StepType::LlmReasoning {
            return Ok((None, Err(ToolError::Unknown(name.to_owned()))));
        }
        Ok((self.delegate(name, call).await?, self.tool(name).await))
    }

    /// Records a fact that the model pinned, together with the result that tells so.
    fn pin(&mut self, fact: Option<Payload>) {
        if let Some(text) = fact {
            let by = "the model".to_owned();
            self.journal.note(Event::FactPinned { step: Some(self.index), text, by });
        }
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
            labels: crate::task::Labels::default(),
            request_id: Some(request.id.clone()),
        });
        let fault = error.fault();
        self.journal.note(Event::CallFailed { step: self.index, call, fault, partial: None });
        (error.to_string(), true)
    }
}

/// The next request of a conversation.
fn request(goal: &str, conversation: &Conversation, told: &Told, note: Option<&String>) -> Request {
    let context = &told.context;
    let first = context.first_message(conversation.digest.as_deref(), conversation.is_digest_untrusted());
    let mut request = Request::new(Role::Execute, goal, &context.system, first);
    request.background.clone_from(&context.background);
    request.messages.extend(context.pictures.iter().cloned().map(Message::Picture));
    request.messages.extend(conversation.messages.iter().cloned());
    request.messages.extend(note.cloned().map(Message::User));
    request.tools.clone_from(&told.tools);
    request
}

/// The answer, unless it asks for calls that cannot be recorded.
fn recordable(answer: Answer) -> Result<Answer, Fault> {
    match answer.requests.iter().find(|request| is_too_deep(&request.arguments)) {
        Some(request) => Err(Fault {
            usage: Some(Box::new(answer.usage)),
            ..too_deep(FaultClass::Malformed, &request.tool)
        }),
        None => Ok(answer),
    }
}

/// The outcome of a call as the model reads it. A call that may have taken effect, or did not
/// get through, is not the model's business: the step is tried again, and the call under its
/// own number and key. Told of it, the model would ask anew, and a new call has a new key.
fn as_told(outcome: Result<crate::tools::ToolOutput, ToolError>) -> Result<(String, bool), Stop> {
    match outcome {
        Ok(output) => Ok((as_text(output.content), output.is_error)),
        // Its result is recorded as an error already.
        Err(error @ ToolError::OutputTooLarge { .. }) => Ok((error.to_string(), true)),
        Err(error) if error.may_have_taken_effect() => Err(Stop::Failed(error.fault())),
        Err(error) if error.is_out_of_reach() => Err(Stop::Failed(error.fault())),
        Err(error) => Ok((error.to_string(), true)),
    }
}

/// Whether a call brought content from outside: by what is known of its tool, or because the task that
/// carried it out had read some.
fn comes_from_outside(task: &Task, call: &Call) -> bool {
    match &call.subject {
        CallSubject::Tool { labels, .. } => {
            let is_child = call.child.is_some();
            labels.untrusted || (is_child && call.result_seq.is_some_and(|seq| task.is_untrusted(seq)))
        }
        CallSubject::Model { .. } => false,
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
    Fault::new(FaultClass::Limit, NO_PROGRESS, message)
}
