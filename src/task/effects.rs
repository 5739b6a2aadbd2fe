//! The ledger of effects: what a task's calls did to the world, read from its journal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, Entry, Event, Payload, Task, TaskId, Timestamp};

/// Where an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EffectState {
    /// Not dispatched: it waits for approval, or has it.
    Prepared,
    /// In flight.
    Dispatched,
    /// It happened.
    Committed,
    /// It did not happen.
    Failed,
    /// Nobody knows whether it happened.
    Unknown,
}

/// A call that changes the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectRecord {
    /// The step's index.
    pub step: u32,
    /// The call's number within the step.
    pub call: u32,
    /// How often it was dispatched.
    pub attempt: u32,
    /// The key under which the tool knows it, over all attempts.
    pub key: String,
    /// The tool's full name.
    pub tool: String,
    /// What it was called with.
    pub arguments: Payload,
    /// What calling it does to the world.
    pub effect: Effect,
    /// Where it stands.
    pub state: EffectState,
    /// When that was recorded.
    pub at: Timestamp,
    /// The tool's result, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// Why it is not known or did not happen; or that the tool called its result an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The task below this one whose call it is, if it is not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<TaskId>,
}

/// All effects of a task, in the order of their first mention.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    task: TaskId,
    records: Vec<EffectRecord>,
}

impl Effects {
    /// An empty ledger.
    pub fn of(task: TaskId) -> Self {
        Self { task, records: Vec::new() }
    }

    /// The records.
    pub fn into_records(self) -> Vec<EffectRecord> {
        self.records
    }

    /// Takes the next entry of the task's journal.
    pub fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::ApprovalRequested { step, call, attempt, tool, arguments, effect, .. } => {
                self.prepare(
                    (*step, *call, *attempt),
                    tool,
                    arguments,
                    *effect,
                    entry.at,
                    EffectState::Prepared,
                );
            }
            Event::ToolChanged(notice) => {
                let at = (notice.step, notice.call, notice.attempt);
                let prepared = EffectState::Prepared;
                self.prepare(at, &notice.tool, &notice.arguments, notice.effect, entry.at, prepared);
            }
            Event::ToolDispatched { step, call, attempt, tool, arguments, effect, .. } => {
                self.prepare(
                    (*step, *call, *attempt),
                    tool,
                    arguments,
                    *effect,
                    entry.at,
                    EffectState::Dispatched,
                );
            }
            Event::ToolReturned { step, call, result, is_error } => {
                let detail = is_error.then(|| "the tool reported an error".to_owned());
                self.end(*step, *call, entry.at, EffectState::Committed, Some(result), detail);
            }
            Event::CallFailed { step, call, fault, .. } => {
                let state =
                    if fault.hides_the_outcome() { EffectState::Unknown } else { EffectState::Failed };
                self.end(*step, *call, entry.at, state, None, Some(fault.to_string()));
            }
            Event::CallLost { step, call, detail } => {
                self.end(*step, *call, entry.at, EffectState::Unknown, None, Some(detail.clone()));
            }
            Event::OutcomeDecided { step, call, result, by } => {
                let state = if result.is_some() { EffectState::Committed } else { EffectState::Failed };
                self.end(*step, *call, entry.at, state, result.as_ref(), Some(format!("decided by {by}")));
            }
            Event::ApprovalDenied { step, call, by, .. } => {
                self.end(*step, *call, entry.at, EffectState::Failed, None, Some(format!("denied by {by}")));
            }
            _ => {}
        }
    }

    fn prepare(
        &mut self,
        (step, call, attempt): (u32, u32, u32),
        tool: &str,
        arguments: &Payload,
        effect: Effect,
        at: Timestamp,
        state: EffectState,
    ) {
        if effect == Effect::ReadOnly {
            return;
        }
        let record = EffectRecord {
            step,
            call,
            attempt,
            key: Task::idempotency_key(self.task, step, call),
            tool: tool.to_owned(),
            arguments: arguments.clone(),
            effect,
            state,
            at,
            result: None,
            detail: None,
            child: None,
        };
        match self.find(step, call) {
            Some(known) => *known = record,
            None => self.records.push(record),
        }
    }

    fn end(
        &mut self,
        step: u32,
        call: u32,
        at: Timestamp,
        state: EffectState,
        result: Option<&Payload>,
        detail: Option<String>,
    ) {
        if let Some(known) = self.find(step, call) {
            known.state = state;
            known.at = at;
            known.result = result.cloned();
            known.detail = detail;
        }
    }

    fn find(&mut self, step: u32, call: u32) -> Option<&mut EffectRecord> {
        self.records.iter_mut().rev().find(|known| (known.step, known.call) == (step, call))
    }
}

impl EffectRecord {
    /// Whether it happened, or may have.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.state, EffectState::Committed | EffectState::Unknown | EffectState::Dispatched)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::task::Fault;

    fn ledger(events: Vec<Event>) -> Vec<EffectRecord> {
        let mut effects = Effects::of(TaskId(Uuid::nil()));
        for (seq, event) in (1..).zip(events) {
            effects.take(&Entry { seq, epoch: 1, at: Timestamp::from_millis(seq), event });
        }
        effects.into_records()
    }

    fn dispatched(call: u32, attempt: u32, effect: Effect) -> Event {
        let (tool, arguments) = ("t".to_owned(), Payload::Inline(json!({})));
        Event::ToolDispatched {
            step: 0,
            call,
            attempt,
            tool,
            arguments,
            effect,
            labels: crate::task::Labels::default(),
            request_id: None,
        }
    }

    #[test]
    fn the_ledger_tells_how_each_effect_ended_and_keeps_its_key() {
        let returned =
            |call| Event::ToolReturned { step: 0, call, result: Payload::text("r"), is_error: false };
        let lost = |call| Event::CallLost { step: 0, call, detail: "gone".into() };
        let records = ledger(vec![
            dispatched(1, 1, Effect::ReadOnly),
            returned(1),
            dispatched(2, 1, Effect::Idempotent),
            lost(2),
            dispatched(2, 2, Effect::Idempotent),
            returned(2),
            dispatched(3, 1, Effect::Unsafe),
            lost(3),
            dispatched(4, 1, Effect::Unsafe),
            Event::CallFailed {
                step: 0,
                call: 4,
                fault: Fault::permanent("tool_denied", "no"),
                partial: None,
            },
            dispatched(5, 1, Effect::Unsafe),
            lost(5),
            Event::OutcomeDecided { step: 0, call: 5, result: Some(Payload::text("r")), by: "p".into() },
            dispatched(6, 1, Effect::Unsafe),
        ]);
        let seen: Vec<_> = records.iter().map(|record| (record.call, record.attempt, record.state)).collect();
        use EffectState::{Committed, Dispatched, Failed, Unknown};
        let expected =
            [(2, 2, Committed), (3, 1, Unknown), (4, 1, Failed), (5, 1, Committed), (6, 1, Dispatched)];
        assert_eq!(seen, expected);
        assert_eq!(records[0].key, format!("{}-0-2", Uuid::nil()));
        assert!(!records[2].may_have_happened() && records[1].may_have_happened());
    }

    #[test]
    fn a_repeatable_call_that_timed_out_may_have_happened() {
        let fault = Fault::new(crate::task::FaultClass::Timeout, "tool_timeout", "no answer");
        let failed = Event::CallFailed { step: 0, call: 1, fault, partial: None };
        let records = ledger(vec![dispatched(1, 1, Effect::Idempotent), failed]);
        assert_eq!(records[0].state, EffectState::Unknown);
    }
}
