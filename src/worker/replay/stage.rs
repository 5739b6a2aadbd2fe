//! Who plays in a replay: models, tools and probes that know what is recorded, and nothing else.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::script::{Attempt, Script, Turn};
use crate::models::{Answer, Request, Role, Thinking};
use crate::orchestrator::{RecordedDelegate, wrap_up};
use crate::task::{
    CallAt, Divergence, Entry, Event, Exceeded, Fault, ModelName, Pause, Payload, Place, Prompt,
    RecordedRequest, Reserve, Resource, Timestamp, ToolChange, ToolRequest,
};
use crate::tools::Finding;

/// What all who play share.
pub(super) struct Stage {
    state: Mutex<State>,
    now: AtomicI64,
    /// Told whenever something has happened that another one may wait for.
    stirred: Notify,
    /// Ends the replay: it diverged, or the recording has come to its end.
    pub(super) over: CancellationToken,
}

struct State {
    script: Script,
    divergence: Option<Divergence>,
    models: u32,
    tools: u32,
    /// Counts whatever happens, so that a standstill is noticed.
    steps: u64,
}

impl Stage {
    pub(super) fn new(script: Script) -> Self {
        let now = script
            .journal
            .get(script.begins)
            .or(script.journal.last())
            .map_or(0, |entry| entry.at.as_millis());
        let state = State { script, divergence: None, models: 0, tools: 0, steps: 0 };
        Self {
            state: Mutex::new(state),
            now: AtomicI64::new(now),
            stirred: Notify::new(),
            over: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the script.
    pub(super) fn script<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.state().script)
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// It is as late as it was when this entry was written.
    pub(super) fn it_is(&self, at: Timestamp) {
        self.now.fetch_max(at.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn counted(&self) -> (u32, u32) {
        let state = self.state();
        (state.models, state.tools)
    }

    pub(super) fn moved(&self) -> u64 {
        self.state().steps
    }

    pub(super) fn divergence(&self) -> Option<Divergence> {
        self.state().divergence.clone()
    }

    /// Notes where the replay first went another way, and ends it.
    pub(super) fn diverge(&self, divergence: Divergence) {
        self.state().divergence.get_or_insert(divergence);
        self.over.cancel();
    }

    /// The same for a call that nothing is recorded of.
    fn unrecorded(&self, at: CallAt, came: String) {
        let (last, ended) = self.script(|script| {
            let last = script.journal.last();
            let ends = |event: &Event| {
                matches!(event, Event::Completed { .. } | Event::Failed { .. } | Event::Cancelled { .. })
            };
            (last.map_or(0, |entry| entry.seq), script.journal.iter().any(|entry| ends(&entry.event)))
        });
        let expected = match ended {
            true => "no such call: none is recorded there".to_owned(),
            false => format!("the recording ends at entry {last}"),
        };
        self.diverge(Divergence { place: Place::of(last, at), expected, came, ends: !ended });
    }

    /// The next attempt of a call, now that it is asked for.
    fn take(&self, at: CallAt) -> Option<(Attempt, Entry)> {
        let mut state = self.state();
        state.steps += 1;
        let attempt = state.script.next(at)?;
        state.script.order.reaches(at.step, attempt.asked);
        Some((attempt, state.script.journal.get(attempt.asked)?.clone()))
    }

    /// How a call ended, once everything has happened that happened before.
    async fn outcome(&self, at: CallAt, attempt: Attempt, came: String) -> Entry {
        let Some(ended) = attempt.ended else {
            self.unrecorded(at, came);
            return std::future::pending().await;
        };
        self.until(|script| script.is_outcome_due(at.step, ended).then_some(())).await;
        let (entry, next) = {
            let mut state = self.state();
            state.steps += 1;
            state.script.is_over(at);
            state.script.order.reaches(at.step, ended);
            let entry = state.script.journal[ended].clone();
            let next = state.script.journal.get(ended + 1).map_or(entry.at, |next| next.at);
            (entry, next)
        };
        self.it_is(next);
        entry
    }

    /// Waits until there is something to say.
    async fn until<T>(&self, look: impl Fn(&Script) -> Option<T>) -> T {
        loop {
            let mut stirred = std::pin::pin!(self.stirred.notified());
            // Before the look: what happens in between must not be missed.
            stirred.as_mut().enable();
            if let Some(found) = self.script(|script| look(script)) {
                return found;
            }
            stirred.await;
        }
    }

    /// Something has happened that another one may wait for.
    pub(super) fn stir(&self) {
        self.state().steps += 1;
        self.stirred.notify_waiters();
    }

    /// The engine noted this: an end of a step that is another one than the recorded one ends the replay.
    pub(super) fn noted(&self, event: &Event) {
        let elsewhere = self.script(|script| {
            let at = script.order.noted(event)?;
            script.journal.get(at).map(|entry| (entry.seq, entry.event.message()))
        });
        if let Some((seq, expected)) = elsewhere {
            let place = Place { seq, step: event.step(), call: None };
            self.diverge(Divergence { place, expected, came: event.message(), ends: false });
        }
        self.stir();
    }

    /// Whether a step goes on now; waits for its turn. False if the task rests first.
    pub(super) async fn turn(&self, step: u32) -> bool {
        let turn = |script: &Script| Some(script.turn(step)).filter(|turn| *turn != Turn::Later);
        self.until(turn).await == Turn::Now
    }

    /// What stood in the way of a call, if the budget did: then it is not made before the task is paused for it.
    pub(super) fn no_room(&self, at: CallAt) -> Option<Exceeded> {
        self.script(|script| {
            let pause = script.order.pause()?;
            let Event::Paused { pause: Pause { exceeded, .. }, .. } = &script.journal.get(pause)?.event
            else {
                return None;
            };
            exceeded.filter(|_| script.next(at).is_none_or(|attempt| attempt.asked > pause))
        })
    }

    /// What the model was told of the budget with this call.
    pub(super) fn warned(&self, at: CallAt) -> Option<(Resource, u64)> {
        self.script(|script| {
            let asked = script.journal.get(script.next(at)?.asked)?;
            let Event::ModelRequested { parts, .. } = &asked.event else { return None };
            let note = text_of(parts.last()?);
            let all = Resource::ALL.into_iter().flat_map(|of| (0..=100).map(move |percent| (of, percent)));
            all.into_iter().find(|(of, percent)| wrap_up(*of, *percent) == note)
        })
    }

    /// What a model said at a step's call.
    pub(super) async fn said(
        &self,
        request: &Request,
        at: CallAt,
    ) -> Result<Answer, (Fault, Option<String>)> {
        let came = format!("a model is asked: {}", last_words(request));
        let Some((attempt, asked)) = self.take(at) else {
            self.unrecorded(at, came);
            return std::future::pending().await;
        };
        if let Some((expected, came)) = self.other_prompt(&asked, request) {
            self.diverge(Divergence { place: Place::of(asked.seq, at), expected, came, ends: false });
            return std::future::pending().await;
        }
        match self.outcome(at, attempt, came).await.event {
            Event::ModelAnswered {
                text, requests, thinking, finish, usage, model, without_pictures, ..
            } => {
                self.state().models += 1;
                let requests = requests.into_iter().map(|RecordedRequest { id, tool, arguments }| {
                    ToolRequest { id, tool, arguments: value_of(&arguments) }
                });
                let requests = requests.collect();
                let thinking = thinking.as_ref().and_then(|thinking| Thinking::read(value_of(thinking)));
                let text = text_of(&text);
                Ok(Answer { text, requests, thinking, finish, usage, model, without_pictures })
            }
            Event::CallFailed { fault, partial, .. } => {
                self.state().models += 1;
                Err((at_once(fault), partial.as_ref().map(text_of)))
            }
            other => Err((Fault::permanent("recorded", other.message()), None)),
        }
    }

    /// What was expected and what came, if a prompt is another one than that which is recorded.
    fn other_prompt(&self, asked: &Entry, request: &Request) -> Option<(String, String)> {
        let Event::ModelRequested { prompt, step, .. } = &asked.event else {
            return Some((asked.event.message(), "a model is asked".to_owned()));
        };
        let recorded = (*prompt)?;
        if recorded.hash == request.hash() {
            return None;
        }
        let opening = self.script(|script| {
            script.journal.iter().find_map(|entry| match &entry.event {
                Event::ModelRequested { step: of, shows: Some(_), parts, .. } if of == step => {
                    Some(parts.iter().map(text_of).collect::<Vec<_>>())
                }
                _ => None,
            })
        });
        if let Some([system, pins, brief]) = opening.as_deref().map(|parts| &parts[..parts.len().min(3)]) {
            if *system != request.system {
                return Some(differing("the instructions", system, &request.system));
            }
            let first = request.messages.first().map(message_text).unwrap_or_default();
            let expected = if pins.is_empty() { brief.clone() } else { format!("{pins}\n{brief}") };
            if !first.starts_with(&expected) {
                return Some(differing("plan, messages and step", &expected, &first));
            }
        }
        Some((
            format!("a prompt with the hash {}", recorded.hash),
            format!("another one ({}), which ends: {}", request.hash(), last_words(request)),
        ))
    }

    /// What a model said that was asked for no call of a step. `Err` is how it failed.
    pub(super) fn told(&self, request: &Request) -> Option<Result<Answer, Fault>> {
        let step = request.at.map(|at| at.step);
        let mut state = self.state();
        state.steps += 1;
        let script = &mut state.script;
        let at = match (request.role, step) {
            (Role::Evaluate, Some(step)) => script.verdicts.get_mut(&step)?.pop_front()?,
            (Role::Evaluate, None) => script.evaluations.pop_front()?,
            // The planner had no usable answer.
            (Role::Plan, _) if script.plans.is_empty() && script.ends_without_plan() => {
                return Some(Ok(Answer::text("no plan")));
            }
            (Role::Plan, _) => script.plans.pop_front()?,
            (Role::Summarize, Some(step)) => script.digests.get_mut(&step)?.pop_front()?,
            (Role::Summarize, None) => script.summaries.pop_front()?,
            _ => return None,
        };
        let entry = script.journal.get(at)?.clone();
        let ids: Vec<String> = known_ids(&script.journal, at);
        let answer = match &entry.event {
            Event::StepFailed { fault, .. } => Err(at_once(fault.clone())),
            event => Ok(answer_of(event, &ids)?),
        };
        state.models += 1;
        drop(state);
        self.it_is(entry.at);
        Some(answer)
    }

    /// What a tool returned. `Err` is how it failed; `None` in it, that nobody knows.
    pub(super) async fn returned(
        &self,
        tool: &str,
        arguments: &Value,
        at: CallAt,
    ) -> Result<(Value, bool), Option<Fault>> {
        let came = format!("{tool} {}", Payload::Inline(arguments.clone()).preview());
        let Some((attempt, asked)) = self.take(at) else {
            self.unrecorded(at, came);
            return std::future::pending().await;
        };
        let is_same = matches!(&asked.event, Event::ToolDispatched { tool: named, arguments: recorded, .. }
            if named == tool && recorded.hash() == Payload::Inline(arguments.clone()).hash());
        if !is_same {
            self.diverge(Divergence {
                place: Place::of(asked.seq, at),
                expected: call_of(&asked),
                came,
                ends: false,
            });
            return std::future::pending().await;
        }
        match self.outcome(at, attempt, came).await.event {
            Event::ToolReturned { result, is_error, .. } => {
                self.state().tools += 1;
                Ok((value_of(&result), is_error))
            }
            Event::CallFailed { fault, .. } => {
                self.state().tools += 1;
                Err(Some(at_once(fault)))
            }
            _ => Err(None),
        }
    }

    /// What became of a call that a task of its own carried out, or was to; the next attempt of it.
    pub(super) fn delegated(&self, name: &str, at: Option<CallAt>) -> Option<RecordedDelegate> {
        self.script(|script| {
            if !script.delegates.contains(name) {
                return None;
            }
            let Some(at) = at else { return Some(RecordedDelegate::default()) };
            if let Some(attempt) = script.next(at) {
                return match &script.journal.get(attempt.asked)?.event {
                    Event::ChildStarted { tool, grant, .. } if tool == name => {
                        Some(RecordedDelegate { grant: *grant, problem: None })
                    }
                    _ => None,
                };
            }
            // No task was made for it: whoever called was told why.
            let problem = script.journal.iter().find_map(|entry| match &entry.event {
                Event::ToolReturned { step, call, result, is_error: true }
                    if (*step, *call) == (at.step, at.call) =>
                {
                    Some(text_of(result))
                }
                _ => None,
            });
            Some(RecordedDelegate { problem, ..RecordedDelegate::default() })
        })
    }

    /// A call is handed to a task of its own.
    pub(super) fn handed_over(&self, at: CallAt, arguments: &Value) {
        let came = Payload::Inline(arguments.clone());
        let Some((_, asked)) = self.take(at) else { return self.unrecorded(at, came.preview()) };
        if matches!(&asked.event, Event::ChildStarted { arguments, .. } if arguments.hash() == came.hash()) {
            let mut state = self.state();
            state.tools += 1;
            state.script.is_over(at);
            return;
        }
        let came = match &asked.event {
            Event::ChildStarted { tool, .. } => format!("{tool} {}", came.preview()),
            _ => format!("a sub-task for {}", came.preview()),
        };
        self.diverge(Divergence {
            place: Place::of(asked.seq, at),
            expected: call_of(&asked),
            came,
            ends: false,
        });
    }

    /// What had become of a tool when this attempt of a call was made.
    pub(super) fn changed(&self, at: CallAt, attempt: u32) -> Option<ToolChange> {
        let mut state = self.state();
        let of_attempt = (at.step, at.call, attempt);
        let found = *state.script.changes.get(&of_attempt)?.front()?;
        // It was noticed after something was said that has not been said yet.
        if state.script.outside.front().is_some_and(|next| next.place < found) {
            return None;
        }
        state.script.changes.get_mut(&of_attempt)?.pop_front();
        state.steps += 1;
        match &state.script.journal.get(found)?.event {
            Event::ToolChanged(notice) => Some(notice.change.clone()),
            _ => None,
        }
    }

    /// Whether the next attempt of a call was refused for its arguments before anybody was asked about it.
    pub(super) fn did_not_fit(&self, at: CallAt) -> bool {
        self.script(|script| {
            let ended = script.next(at).and_then(|attempt| script.journal.get(attempt.ended?));
            let is_refused = ended.is_some_and(
                |entry| matches!(&entry.event, Event::CallFailed { fault, .. } if fault.code == "tool_arguments"),
            );
            let asks = |event: &Event| {
                matches!(event, Event::ApprovalRequested { step, call, .. }
                    if (*step, *call) == (at.step, at.call))
            };
            is_refused && !script.journal.iter().any(|entry| asks(&entry.event))
        })
    }

    /// What a probe found.
    pub(super) fn found(&self, name: &str, input: &Value) -> Option<Finding> {
        let mut state = self.state();
        state.steps += 1;
        let script = &mut state.script;
        let ids = known_ids(&script.journal, script.journal.len());
        let index = ids.iter().rposition(|id| Some(id.as_str()) == input["step"].as_str())?;
        let verdicts = script.verdicts.get_mut(&u32::try_from(index).ok()?)?;
        let at = verdicts.pop_front()?;
        match &script.journal.get(at)?.event {
            Event::StepVerified { passed, evidence, by, .. } if *by == format!("probe {name}") => {
                Some(Finding { passed: *passed, evidence: value_of(evidence) })
            }
            _ => None,
        }
    }

    /// What is recorded of the prompt that a step is about to make.
    pub(super) fn prompt(&self, step: Option<u32>) -> Option<Prompt> {
        self.script(|script| {
            let asked = |event: &Event| match event {
                Event::ModelRequested { prompt, .. } => *prompt,
                _ => None,
            };
            let all = script.calls.iter().filter(|((of, _), _)| step.is_none_or(|step| step == *of));
            let next = all.filter_map(|(_, attempts)| attempts.front()).map(|attempt| attempt.asked);
            let next = next.filter(|at| asked(&script.journal[*at].event).is_some()).min();
            next.and_then(|at| asked(&script.journal[script.folded_for(at)].event))
                .or_else(|| script.journal.iter().find_map(|entry| asked(&entry.event)))
        })
    }

    /// The model that was asked.
    pub(super) fn model(&self, step: Option<u32>) -> Option<ModelName> {
        self.script(|script| {
            let mut asked = script.journal.iter().filter_map(|entry| match &entry.event {
                Event::ModelRequested { step: of, model, .. } => Some((*of, model)),
                _ => None,
            });
            let of_step = asked.clone().find(|(of, _)| Some(*of) == step);
            of_step.or_else(|| asked.next()).map(|(_, model)| model.clone())
        })
    }

    /// What was set aside for a call.
    pub(super) fn reserve(&self, at: CallAt) -> Option<Reserve> {
        self.script(|script| {
            let attempt = script.next(at)?;
            match &script.journal.get(attempt.asked)?.event {
                Event::ModelRequested { reserve, .. } => Some(*reserve),
                _ => None,
            }
        })
    }
}

/// The ids of all steps that were known before a position, in the order of their indexes.
fn known_ids(journal: &[Entry], before: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for entry in &journal[..before] {
        let planned = entry.event.new_plan().into_iter().flat_map(|(_, plan)| &plan.steps);
        ids.extend(planned.map(|step| step.id.clone()));
        if let Event::FannedOut { step, items } = &entry.event {
            let of = ids.get(*step as usize).cloned().unwrap_or_default();
            ids.extend((1..=items.len()).map(|number| format!("{of}.{number}")));
        }
    }
    ids
}

/// The answer from which the engine made this.
fn answer_of(event: &Event, known: &[String]) -> Option<Answer> {
    let (text, usage) = match event {
        Event::StepVerified { passed, evidence, usage, .. } => {
            (json!({"passed": passed, "reason": text_of(evidence)}).to_string(), *usage)
        }
        Event::Evaluated { verdict, reason, usage, .. } => {
            (json!({"verdict": verdict, "reason": reason}).to_string(), *usage)
        }
        Event::Planned { plan, by, .. } => {
            let ids: Vec<&str> = known
                .iter()
                .map(String::as_str)
                .chain(plan.steps.iter().map(|step| step.id.as_str()))
                .collect();
            let steps = plan.steps.iter().map(|step| {
                let mut text = json!(step);
                let on = step.depends_on.iter().filter_map(|on| ids.get(*on as usize));
                text["dependsOn"] = json!(on.collect::<Vec<_>>());
                text
            });
            (json!({"reason": "", "steps": steps.collect::<Vec<_>>()}).to_string(), by.usage)
        }
        Event::ContextSummarized { by, usage, .. } | Event::ConversationSummarized { by, usage, .. }
            if by == "truncation" =>
        {
            // Nobody answered, or with nothing: the notes are cut for either.
            (String::new(), *usage)
        }
        Event::ContextSummarized { summary, usage, .. }
        | Event::ConversationSummarized { summary, usage, .. } => {
            (crate::orchestrator::prose_of(&text_of(summary)), *usage)
        }
        _ => return None,
    };
    Some(Answer { usage, ..Answer::text(text) })
}

/// A recorded call in words.
fn call_of(asked: &Entry) -> String {
    match &asked.event {
        Event::ToolDispatched { tool, arguments, .. } | Event::ChildStarted { tool, arguments, .. } => {
            format!("{tool} {}", arguments.preview())
        }
        other => other.message(),
    }
}

/// A fault without a wait: a replay does not wait.
fn at_once(fault: Fault) -> Fault {
    Fault { retry_after_ms: None, ..fault }
}

fn value_of(payload: &Payload) -> Value {
    match payload {
        Payload::Inline(value) => value.clone(),
        Payload::Blob { preview, .. } => Value::String(preview.clone()),
    }
}

fn text_of(payload: &Payload) -> String {
    crate::task::as_text(value_of(payload))
}

fn message_text(message: &crate::models::Message) -> String {
    use crate::models::Message;
    match message {
        Message::User(text) | Message::Assistant { text, .. } => text.clone(),
        Message::ToolResult { content, .. } => content.clone(),
        Message::Picture(picture) => picture.name.clone(),
    }
}

fn last_words(request: &Request) -> String {
    let text = request.messages.last().map(message_text).unwrap_or_default();
    Payload::text(text).preview()
}

/// Both texts around the first place where they differ.
fn differing(what: &str, expected: &str, came: &str) -> (String, String) {
    let same = expected.chars().zip(came.chars()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| text.chars().skip(same.saturating_sub(40)).take(120).collect::<String>();
    (format!("{what}: …{}", around(expected)), format!("{what}: …{}", around(came)))
}

impl Stage {
    /// What a reconciling tool knew of a call.
    pub(super) fn reconciled(&self, at: CallAt) -> Value {
        self.script(|script| {
            let decided = script.journal.iter().find_map(|entry| match &entry.event {
                Event::OutcomeDecided { step, call, result, by }
                    if (*step, *call) == (at.step, at.call) && by.starts_with("reconcile:") =>
                {
                    Some(result.clone())
                }
                _ => None,
            });
            match decided {
                Some(Some(result)) => json!({"outcome": "happened", "result": value_of(&result)}),
                Some(None) => json!({"outcome": "did_not_happen"}),
                None => json!({"outcome": "unknown"}),
            }
        })
    }
}
