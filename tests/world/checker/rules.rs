//! What must never be seen, whatever happened. Each rule has a name, and finds what breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::facts::{Entry, Facts, Task, ToolCall};

const LOST: &str = "task lost";
const GAP: &str = "gap in the trace";
const OLD_EPOCH: &str = "written by an old epoch";
const AGAIN: &str = "recorded call executed again";
const UNSAFE_TWICE: &str = "unsafe effect twice";
const NO_INTENT: &str = "call without an intent";
const OTHER_CALL: &str = "key of another call";

/// Something that must not be.
pub(crate) struct Finding {
    rule: &'static str,
    task: String,
    seen: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: task {}: {}", self.rule, self.task, self.seen)
    }
}

/// The findings about one task.
struct Findings<'a> {
    task: &'a str,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, rule: &'static str, seen: String) {
        self.found.push(Finding { rule, task: self.task.to_owned(), seen });
    }
}

/// All that is wrong.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for id in facts.promised.iter().filter(|id| !facts.tasks.contains_key(*id)) {
        all.push(Finding { rule: LOST, task: id.clone(), seen: "its creation was confirmed".to_owned() });
    }
    for (id, task) in &facts.tasks {
        let mut findings = Findings { task: id, found: Vec::new() };
        is_not_lost(task, &mut findings);
        has_no_gap(task, &mut findings);
        has_no_old_epoch(task, &mut findings);
        for (key, call) in calls(id, task) {
            let made = facts.calls.get(&key).map_or(&[][..], Vec::as_slice);
            is_not_made_again(&key, &call, made, &mut findings);
            is_not_doubled(&key, &call, made, &mut findings);
        }
        no_request_is_answered_again(task, &mut findings);
        models_are_asked_on_record(task, facts, &mut findings);
        all.extend(findings.found);
    }
    all.extend(unrecorded(facts));
    all
}

/// It has ended, or it waits for a person and says for what.
fn is_not_lost(task: &Task, findings: &mut Findings<'_>) {
    match task.status.as_str() {
        "completed" | "failed" | "cancelled" => {}
        "paused" if task.pause_reason.is_some() => {}
        other => findings.add(LOST, format!("it is {other}")),
    }
    let ends: Vec<&str> = task.entries.iter().map(|entry| entry.kind.as_str()).filter(is_end).collect();
    let expected = if task.status == "paused" { vec![] } else { vec![task.status.as_str()] };
    if ends != expected {
        findings.add(LOST, format!("it is {} and its journal ends with {ends:?}", task.status));
    }
}

fn is_end(kind: &&str) -> bool {
    matches!(*kind, "completed" | "failed" | "cancelled")
}

/// The entries are numbered 1 to n, and n is what the task says.
fn has_no_gap(task: &Task, findings: &mut Findings<'_>) {
    let expected = 1..=task.seq;
    if !task.entries.iter().map(|entry| entry.seq).eq(expected) {
        let missing: Vec<i64> =
            (1..=task.seq).filter(|seq| !task.entries.iter().any(|entry| entry.seq == *seq)).collect();
        let (entries, seq) = (task.entries.len(), task.seq);
        findings.add(GAP, format!("{entries} entries, the task is at {seq}, missing {missing:?}"));
    }
}

/// Once a newer epoch has begun, no entry of an older one is written, and epochs are counted.
fn has_no_old_epoch(task: &Task, findings: &mut Findings<'_>) {
    for entry in &task.entries {
        let begun = task.claims.iter().find(|(epoch, seq)| **epoch > entry.epoch && **seq < entry.seq);
        if let Some((epoch, seq)) = begun {
            let (number, old) = (entry.seq, entry.epoch);
            findings.add(
                OLD_EPOCH,
                format!("entry {number} of epoch {old}, but {epoch} had begun after entry {seq}"),
            );
        }
    }
    let descends = |pair: &&[Entry]| pair[1].epoch < pair[0].epoch;
    if let Some(pair) = task.entries.windows(2).find(descends) {
        let (number, old, new) = (pair[1].seq, pair[1].epoch, pair[0].epoch);
        findings.add(OLD_EPOCH, format!("entry {number} of epoch {old} follows one of epoch {new}"));
    }
    if !task.claims.keys().copied().eq(1..=task.epoch) {
        let epochs: Vec<&i64> = task.claims.keys().collect();
        findings.add(OLD_EPOCH, format!("it is in epoch {}, the claims were {epochs:?}", task.epoch));
    }
}

/// What the journal says of one call, in order.
type Call<'a> = Vec<&'a Entry>;

/// The calls of a task by idempotency key. The key is a promise to tools, so it is made up here
/// from task, step and call, and not taken from the program.
fn calls<'a>(id: &str, task: &'a Task) -> BTreeMap<String, Call<'a>> {
    let mut calls: BTreeMap<String, Call<'a>> = BTreeMap::new();
    for entry in &task.entries {
        if let (Some(step), Some(call)) = (entry.data["step"].as_i64(), entry.data["call"].as_i64()) {
            calls.entry(format!("{id}-{step}-{call}")).or_default().push(entry);
        }
    }
    calls
}

/// Whether an entry records an outcome that stands for ever. An error that a tool reported may be
/// followed by another attempt if the tool changes nothing.
fn is_recorded(entry: &Entry) -> bool {
    match entry.kind.as_str() {
        "model_answered" => true,
        "tool_returned" => entry.data["isError"] != true,
        "outcome_decided" => !entry.data["result"].is_null(),
        _ => false,
    }
}

fn is_dispatch(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "tool_dispatched" | "model_requested")
}

/// Nothing is dispatched, recorded or executed once more after its outcome was recorded.
fn is_not_made_again(key: &str, call: &Call<'_>, made: &[ToolCall], findings: &mut Findings<'_>) {
    let Some(at) = call.iter().position(|entry| is_recorded(entry)) else { return };
    let recorded = call[at];
    if let Some(again) = call[at + 1..].iter().find(|entry| is_dispatch(entry) || is_recorded(entry)) {
        let (number, kind, first) = (again.seq, &again.kind, recorded.seq);
        findings.add(AGAIN, format!("{key}: {kind} in entry {number}, its outcome is entry {first}"));
    }
    let tools = call.iter().filter_map(|entry| entry.data["tool"].as_str());
    let tools: BTreeSet<&str> = tools.collect();
    if tools.len() > 1 {
        findings.add(OTHER_CALL, format!("{key}: it stood for {tools:?}"));
    }
    let late = made.iter().filter(|made| made.at_ms.is_some_and(|at| at > recorded.at_ms));
    for made in late {
        let wait = made.at_ms.unwrap_or_default() - recorded.at_ms;
        findings.add(AGAIN, format!("{key}: {} was called {wait} ms after its outcome was noted", made.tool));
    }
}

/// What a model asked for is not done again after its outcome was recorded, under whatever number.
fn no_request_is_answered_again(task: &Task, findings: &mut Findings<'_>) {
    let mut open: BTreeMap<(i64, i64), &str> = BTreeMap::new();
    let mut answered: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    for entry in &task.entries {
        let (Some(step), Some(call)) = (entry.data["step"].as_i64(), entry.data["call"].as_i64()) else {
            continue;
        };
        if let Some(request) = entry.data["requestId"].as_str() {
            if let Some(first) = answered.get(&(step, request)) {
                let number = entry.seq;
                findings.add(
                    AGAIN,
                    format!(
                        "step {step}, {request}: dispatched in entry {number}, its outcome is entry {first}"
                    ),
                );
            }
            open.insert((step, call), request);
        } else if is_recorded(entry)
            && let Some(request) = open.get(&(step, call))
        {
            answered.insert((step, request), entry.seq);
        }
    }
}

/// An unsafe effect is dispatched once, unless somebody who knows says that it did not happen.
fn is_not_doubled(key: &str, call: &Call<'_>, made: &[ToolCall], findings: &mut Findings<'_>) {
    let dispatches = call.iter().filter(|entry| is_dispatch(entry)).count();
    let is_unsafe = call.iter().any(|entry| entry.data["effect"] == "unsafe")
        || made.iter().any(|made| is_unsafe(&made.tool));
    let known = |entry: &&&Entry| {
        entry.kind == "call_failed" || (entry.kind == "outcome_decided" && !is_recorded(entry))
    };
    let words = call.iter().filter(known).count();
    if is_unsafe && (made.len() > 1 + words || dispatches > 1 + words) {
        let times = made.len();
        findings.add(
            UNSAFE_TWICE,
            format!("{key}: called {times} times, dispatched {dispatches} times, known not to have happened {words} times"),
        );
    }
    let may_be_lost = made.iter().any(|made| is_read(&made.tool));
    if !may_be_lost && made.len() > dispatches {
        findings.add(NO_INTENT, format!("{key}: called {} times, {dispatches} intents", made.len()));
    }
}

/// What nobody declared is unsafe.
fn is_unsafe(tool: &str) -> bool {
    !is_read(tool) && tool != "keyed"
}

/// A quick read is recorded together with its outcome; it alone may be lost without a trace.
fn is_read(tool: &str) -> bool {
    matches!(tool, "read" | "slow_reading")
}

/// Every request that a model served was written down before.
fn models_are_asked_on_record(task: &Task, facts: &Facts, findings: &mut Findings<'_>) {
    let Some(asked) = &facts.asked else { return };
    let served = asked.get(&task.goal).copied().unwrap_or_default();
    let requests = task.entries.iter().filter(|entry| entry.kind == "model_requested").count();
    if served > requests {
        findings
            .add(NO_INTENT, format!("models were asked {served} times, {requests} requests are recorded"));
    }
}

/// Calls that no journal knows of.
fn unrecorded(facts: &Facts) -> Vec<Finding> {
    let known: BTreeMap<String, Call<'_>> =
        facts.tasks.iter().flat_map(|(id, task)| calls(id, task)).collect();
    let unknown = facts
        .calls
        .iter()
        .filter(|(key, made)| !known.contains_key(*key) && !made.iter().any(|made| is_read(&made.tool)));
    let finding = |(key, made): (&String, &Vec<ToolCall>)| {
        let task = key.rsplitn(3, '-').last().unwrap_or(key).to_owned();
        Finding { rule: NO_INTENT, task, seen: format!("{key}: called {} times, no intent", made.len()) }
    };
    unknown.map(finding).collect()
}
