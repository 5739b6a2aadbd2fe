//! Counts entries of journals: a pure function from what was recorded to sums.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::slots::slot;
use super::{HOUR, MINUTE, Measure, Sum};
use crate::task::{Entry, Event, Fault, ModelName, StepType, TaskId, Timestamp, Usage};

/// Characters of a failure's message that tell it from others.
const MESSAGE: usize = 200;

/// A task of which entries are counted.
#[derive(Debug, Clone)]
pub(in crate::repository) struct Counted {
    pub(in crate::repository) id: TaskId,
    pub(in crate::repository) user_id: String,
    pub(in crate::repository) created_at: Timestamp,
    /// The name of the template that it was made from, if it was.
    pub(in crate::repository) template: Option<String>,
    /// Whether it was carried out, and counted, elsewhere.
    pub(in crate::repository) imported: bool,
}

/// What is known of a step besides its entries.
#[derive(Debug, Clone, Copy)]
pub(in crate::repository) struct StepFacts {
    pub(in crate::repository) kind: StepType,
    pub(in crate::repository) started_at: Option<Timestamp>,
}

/// How a call began.
#[derive(Debug, Clone)]
pub(in crate::repository) struct Intent {
    at: Timestamp,
    name: String,
    is_model: bool,
}

impl Intent {
    /// The intent that an entry records, with the call it is about.
    pub(in crate::repository) fn of(entry: &Entry) -> Option<((u32, u32), Self)> {
        let (step, call, name, is_model) = match &entry.event {
            Event::ModelRequested { step, call, model, .. } => (step, call, model.to_string(), true),
            Event::ToolDispatched { step, call, tool, .. } => (step, call, tool.clone(), false),
            _ => return None,
        };
        Some(((*step, *call), Self { at: entry.at, name, is_model }))
    }
}

/// Names one sum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::repository) struct Key {
    /// A minute, an hour, or 0 for all time.
    pub(in crate::repository) width: i64,
    pub(in crate::repository) user_id: String,
    pub(in crate::repository) at: i64,
    pub(in crate::repository) measure: Measure,
    pub(in crate::repository) name: String,
    pub(in crate::repository) slot: i64,
}

/// Names one group of failures within an hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::repository) struct FailureKey {
    pub(in crate::repository) user_id: String,
    pub(in crate::repository) at: i64,
    pub(in crate::repository) place: &'static str,
    pub(in crate::repository) code: String,
    pub(in crate::repository) message: String,
}

/// How often, when last, and which task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::repository) struct Failures {
    pub(in crate::repository) events: u64,
    pub(in crate::repository) last_at: Timestamp,
    pub(in crate::repository) task_id: TaskId,
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(in crate::repository) struct Tally {
    pub(in crate::repository) sums: BTreeMap<Key, Sum>,
    pub(in crate::repository) failures: BTreeMap<FailureKey, Failures>,
}

impl Tally {
    /// The sums as rows.
    pub(in crate::repository) fn rows(&self) -> Vec<Value> {
        let row = |(key, sum): (&Key, &Sum)| {
            json!({
                "width": key.width, "user_id": key.user_id, "at": key.at, "measure": key.measure.as_str(),
                "name": key.name, "slot": key.slot, "events": sum.events, "millis": sum.millis,
                "input_tokens": sum.input_tokens, "output_tokens": sum.output_tokens,
                "cached_tokens": sum.cached_tokens, "cost_nanos": sum.cost_nanos, "unpriced": sum.unpriced,
            })
        };
        self.sums.iter().map(row).collect()
    }

    /// The failures as rows.
    pub(in crate::repository) fn failure_rows(&self) -> Vec<Value> {
        let row = |(key, failures): (&FailureKey, &Failures)| {
            json!({
                "user_id": key.user_id, "at": key.at, "place": key.place, "code": key.code,
                "message": key.message, "events": failures.events, "last_at": failures.last_at.as_millis(),
                "task_id": failures.task_id,
            })
        };
        self.failures.iter().map(row).collect()
    }

    /// Counts the entries of one task, in order. `intents` are those of calls that began before
    /// the first of them; `steps` are the steps that they are about.
    pub(in crate::repository) fn count(
        &mut self,
        task: &Counted,
        entries: &[(Entry, Value)],
        mut intents: HashMap<(u32, u32), Intent>,
        steps: &HashMap<u32, StepFacts>,
    ) {
        for (entry, data) in entries.iter().filter(|_| !task.imported) {
            // What is older than its task counts for the task that this one was forked from.
            if entry.epoch == 0 && entry.at < task.created_at {
                continue;
            }
            intents.extend(Intent::of(entry));
            let intent_of = |step: &u32, call: &u32| intents.get(&(*step, *call));
            let mut one = One { tally: self, task, at: entry.at, data };
            match &entry.event {
                Event::Created { .. } => one.add(Measure::Created, "", None),
                // The first worker that takes a task does so in its first epoch.
                Event::Claimed { .. } if entry.epoch == 1 => {
                    one.add(Measure::Wait, "", Some(task.created_at));
                }
                Event::Planned { by, .. } => one.thought(by.model.as_ref(), &by.usage),
                Event::Detected { by, usage, .. }
                | Event::StepVerified { by, usage, .. }
                | Event::Evaluated { by, usage, .. }
                | Event::ContextSummarized { by, usage, .. }
                | Event::ConversationSummarized { by, usage, .. } => {
                    one.thought(Some(by), usage);
                }
                Event::ModelRequested { model, attempt: 2.., .. } => {
                    one.add(Measure::ModelRetried, &model.to_string(), None);
                }
                Event::ToolDispatched { tool, attempt: 2.., .. } => {
                    one.add(Measure::ToolRetried, tool, None);
                }
                Event::ModelAnswered { step, call, usage, model, .. } => {
                    one.answered(intent_of(step, call), model.as_ref(), usage);
                }
                Event::ToolReturned { step, call, is_error, .. } => {
                    one.returned(intent_of(step, call), *is_error);
                }
                Event::CallFailed { step, call, fault, .. } => {
                    one.unanswered(intent_of(step, call));
                    if let Some(usage) = &fault.usage {
                        one.wasted(intent_of(step, call), usage);
                    }
                    one.failed("call", fault);
                }
                Event::CallLost { step, call, .. } => one.unanswered(intent_of(step, call)),
                Event::StepCompleted { step, .. } => one.completed(steps.get(step)),
                Event::StepFailed { step, fault, retry_at } => {
                    one.step_failed(steps.get(step), retry_at.is_some());
                    if let Some(usage) = &fault.usage {
                        one.thought(fault.model.as_deref(), usage);
                    }
                    one.failed("step", fault);
                }
                Event::Failed { fault } => {
                    one.ended("failed");
                    one.failed("task", fault);
                }
                Event::Completed { .. } => one.ended("completed"),
                Event::Cancelled { .. } => one.ended("cancelled"),
                _ => {}
            }
        }
    }
}

/// One entry that is counted.
struct One<'a> {
    tally: &'a mut Tally,
    task: &'a Counted,
    at: Timestamp,
    data: &'a Value,
}

impl One<'_> {
    /// Something happened, and it began then.
    fn add(&mut self, measure: Measure, name: &str, since: Option<Timestamp>) {
        self.put(measure, name, since, Sum { events: 1, ..Sum::default() });
    }

    fn put(&mut self, measure: Measure, name: &str, since: Option<Timestamp>, sum: Sum) {
        let millis = since.map(|since| u64::try_from(self.at.since(since).as_millis()).unwrap_or(u64::MAX));
        let sum = Sum { millis: millis.unwrap_or(0), ..sum };
        for width in [0, MINUTE, HOUR] {
            let key = Key {
                width,
                user_id: self.task.user_id.clone(),
                at: beginning(self.at, width),
                measure,
                name: name.to_owned(),
                slot: millis.map_or(-1, |millis| i64::from(slot(millis))),
            };
            *self.tally.sums.entry(key).or_default() += sum;
        }
    }

    /// A model was asked outside of any call: for a plan, a judgement, a summary.
    fn thought(&mut self, model: Option<&impl ToString>, usage: &Usage) {
        if let Some(model) = model
            && usage.model_calls > 0
        {
            self.model_took(&model.to_string(), None, self.consumed(usage));
        }
    }

    /// `by` is a model behind the one that was asked.
    fn answered(&mut self, intent: Option<&Intent>, by: Option<&ModelName>, usage: &Usage) {
        let sum = Sum { events: 1, ..self.consumed(usage) };
        let name = by.map_or_else(|| name_of(intent).to_owned(), ToString::to_string);
        self.model_took(&name, intent.map(|intent| intent.at), sum);
    }

    /// What a model took, and the same again for the template that the task was made from.
    fn model_took(&mut self, name: &str, since: Option<Timestamp>, sum: Sum) {
        self.put(Measure::Model, name, since, sum);
        if let Some(template) = &self.task.template {
            self.put(Measure::Template, template, None, sum);
        }
    }

    fn returned(&mut self, intent: Option<&Intent>, is_error: bool) {
        self.add(Measure::Tool, name_of(intent), intent.map(|intent| intent.at));
        if is_error {
            self.add(Measure::ToolFailed, name_of(intent), None);
        }
    }

    fn unanswered(&mut self, intent: Option<&Intent>) {
        let is_model = intent.is_some_and(|intent| intent.is_model);
        let (made, failed) = match is_model {
            true => (Measure::Model, Measure::ModelFailed),
            false => (Measure::Tool, Measure::ToolFailed),
        };
        self.add(made, name_of(intent), None);
        self.add(failed, name_of(intent), None);
    }

    /// What an answer took that could not be used: the call is counted already.
    fn wasted(&mut self, intent: Option<&Intent>, usage: &Usage) {
        self.model_took(name_of(intent), None, Sum { events: 0, ..self.consumed(usage) });
    }

    fn completed(&mut self, step: Option<&StepFacts>) {
        if let Some(step) = step {
            self.add(Measure::Step, step.kind.as_str(), step.started_at);
        }
    }

    fn step_failed(&mut self, step: Option<&StepFacts>, is_retried: bool) {
        if let Some(step) = step {
            self.add(Measure::StepFailed, step.kind.as_str(), None);
            if is_retried {
                self.add(Measure::StepRetried, step.kind.as_str(), None);
            }
        }
    }

    fn ended(&mut self, status: &str) {
        self.add(Measure::Ended, status, Some(self.task.created_at));
    }

    fn failed(&mut self, place: &'static str, fault: &Fault) {
        let key = FailureKey {
            user_id: self.task.user_id.clone(),
            at: beginning(self.at, HOUR),
            place,
            code: fault.code.clone(),
            message: normalised(fault.cause()),
        };
        let new = Failures { events: 0, last_at: self.at, task_id: self.task.id };
        let failures = self.tally.failures.entry(key).or_insert(new);
        failures.events += 1;
        if self.at >= failures.last_at {
            (failures.last_at, failures.task_id) = (self.at, self.task.id);
        }
    }

    /// What a model consumed. The cost is read as it is written, in dollars: a journal of before
    /// there were prices has none.
    fn consumed(&self, usage: &Usage) -> Sum {
        let written = ["/usage", "/by/usage", "/fault/usage"].iter().find_map(|at| self.data.pointer(at));
        let field = |name: &str| written.and_then(|usage| usage.get(name));
        let dollars = field("costUsd").and_then(Value::as_f64).unwrap_or(0.0);
        Sum {
            events: u64::from(usage.model_calls),
            millis: 0,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
            cost_nanos: (dollars * 1e9).round() as u64,
            unpriced: field("unpricedCalls").and_then(Value::as_u64).unwrap_or(0),
        }
    }
}

fn name_of(intent: Option<&Intent>) -> &str {
    intent.map_or("unknown", |intent| intent.name.as_str())
}

/// The beginning of the span that a moment lies in, in milliseconds since 1970.
fn beginning(at: Timestamp, width: i64) -> i64 {
    if width == 0 { 0 } else { at.as_millis().div_euclid(width) * width }
}

/// A message without what differs from one failure to the next: numbers, ids, quoted names.
fn normalised(message: &str) -> String {
    let mut plain = String::new();
    for (at, piece) in message.split(['\'', '"', '`']).enumerate() {
        match at % 2 {
            0 => plain.push_str(&piece.split_inclusive(' ').map(word).collect::<String>()),
            // What stood in quotes. An apostrophe opens one, too; it hides more than it should,
            // in all messages of its kind alike.
            _ => plain.push_str("'#'"),
        }
    }
    plain.trim().chars().take(MESSAGE).collect()
}

/// A word, or `#` in its place if there is a number in it; what follows it stays.
fn word(word: &str) -> String {
    if !word.contains(|character: char| character.is_ascii_digit()) {
        return word.to_owned();
    }
    let end = word.trim_end_matches([' ', ',', '.', ';', ':', ')', '!', '?']).len();
    let begin = word.len() - word.trim_start_matches(['(', '[', '<']).len();
    format!("{}#{}", &word[..begin], &word[end.max(begin)..])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::task::FaultClass;
    use crate::task::{Payload, Reserve};

    fn counted() -> Counted {
        Counted {
            id: TaskId(Uuid::nil()),
            user_id: "u".into(),
            created_at: Timestamp::from_millis(HOUR),
            template: Some("notes".into()),
            imported: false,
        }
    }

    fn entry(millis: i64, event: Event) -> (Entry, Value) {
        let entry = Entry { seq: 1, epoch: 1, at: Timestamp::from_millis(HOUR + millis), event };
        let data = entry.event.data();
        (entry, data)
    }

    fn requested(call: u32, attempt: u32) -> Event {
        let model = "a/b".parse().unwrap();
        Event::ModelRequested {
            step: 0,
            call,
            attempt,
            model,
            base: None,
            parts: Vec::new(),
            heard: None,
            shows: None,
            prompt: None,
            reserve: Reserve::default(),
        }
    }

    fn answered(call: u32) -> Event {
        let usage = Usage { input_tokens: 7, output_tokens: 2, model_calls: 1, ..Usage::default() };
        let text = Payload::text("t");
        Event::ModelAnswered {
            step: 0,
            call,
            text,
            requests: Vec::new(),
            thinking: None,
            finish: "stop".into(),
            usage,
            model: None,
            without_pictures: false,
        }
    }

    fn tally(entries: &[(Entry, Value)]) -> Tally {
        let mut tally = Tally::default();
        let began = Timestamp::from_millis(HOUR + 100);
        let steps = HashMap::from([(0, StepFacts { kind: StepType::ToolCall, started_at: Some(began) })]);
        tally.count(&counted(), entries, HashMap::new(), &steps);
        tally
    }

    /// The sums of one measure over all time: name, class, events.
    fn of(tally: &Tally, measure: Measure) -> Vec<(&str, i64, u64)> {
        let ever = tally.sums.iter().filter(|(key, _)| key.width == 0 && key.measure == measure);
        ever.map(|(key, sum)| (key.name.as_str(), key.slot, sum.events)).collect()
    }

    #[test]
    fn an_answer_counts_with_its_model_its_time_and_its_tokens() {
        let mut entries = vec![entry(0, requested(1, 1)), entry(10, answered(1))];
        entries[1].1["usage"]["costUsd"] = json!(0.25);
        let tally = tally(&entries);
        assert_eq!(of(&tally, Measure::Model), [("a/b", 10, 1)]);
        assert_eq!(of(&tally, Measure::Template), [("notes", -1, 1)]);
        let sum = tally.sums.values().next().unwrap();
        assert_eq!((sum.input_tokens, sum.output_tokens, sum.millis), (7, 2, 10));
        assert_eq!(sum.cost_nanos, 250_000_000);
        let spans: Vec<_> =
            tally.sums.keys().map(|key| (key.width, key.at)).collect::<BTreeSet<_>>().into_iter().collect();
        assert_eq!(spans, [(0, 0), (MINUTE, HOUR), (HOUR, HOUR)]);
    }

    #[test]
    fn a_call_that_is_made_again_is_a_retry_and_one_without_an_answer_a_failure() {
        let fault = Fault::transient("provider_unavailable", "gone");
        let failed = Event::CallFailed { step: 0, call: 1, fault, partial: None };
        let tally = tally(&[entry(0, requested(1, 1)), entry(5, failed), entry(9, requested(1, 2))]);
        assert_eq!(of(&tally, Measure::Model), [("a/b", -1, 1)], "a call that failed was one");
        assert_eq!(of(&tally, Measure::ModelFailed), [("a/b", -1, 1)]);
        assert_eq!(of(&tally, Measure::ModelRetried), [("a/b", -1, 1)]);
        assert_eq!(tally.failures.keys().next().unwrap().place, "call");
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_one_call_and_its_tokens_count() {
        let usage = Usage { input_tokens: 7, output_tokens: 2, model_calls: 1, ..Usage::default() };
        let fault = Fault {
            usage: Some(Box::new(usage)),
            ..Fault::new(FaultClass::Malformed, "model_malformed", "cut")
        };
        let failed = Event::CallFailed { step: 0, call: 1, fault, partial: None };
        let mut entries = vec![entry(0, requested(1, 1)), entry(5, failed)];
        entries[1].1["fault"]["usage"]["costUsd"] = json!(0.25);
        let tally = tally(&entries);
        assert_eq!(of(&tally, Measure::Model), [("a/b", -1, 1)]);
        assert_eq!(of(&tally, Measure::ModelFailed), [("a/b", -1, 1)]);
        let ever =
            tally.sums.iter().find(|(key, _)| key.width == 0 && key.measure == Measure::Model).unwrap().1;
        assert_eq!((ever.input_tokens, ever.output_tokens, ever.cost_nanos), (7, 2, 250_000_000));
    }

    #[test]
    fn steps_and_tasks_take_the_time_from_their_beginning() {
        let done = Event::StepCompleted { step: 0, output: None };
        let end = Event::Completed { output: Payload::text("t") };
        let tally = tally(&[entry(107, done), entry(8, end)]);
        assert_eq!(of(&tally, Measure::Step), [("tool-call", 7, 1)]);
        assert_eq!(of(&tally, Measure::Ended), [("completed", 8, 1)]);
    }

    #[test]
    fn alike_failures_are_told_by_one_message() {
        for (message, plain) in [
            ("HTTP 503 from api-1.example", "HTTP # from #"),
            ("no file 'a/b 1.txt' (tried 3 times)", "no file '#' (tried # times)"),
            ("task 0190a5e4-7c3b-7d0e-8f1a-2b3c4d5e6f70: gone", "task #: gone"),
            ("plainly wrong.", "plainly wrong."),
        ] {
            assert_eq!(normalised(message), plain);
        }
        assert_eq!(normalised(&"é".repeat(500)).chars().count(), MESSAGE);
    }
}
