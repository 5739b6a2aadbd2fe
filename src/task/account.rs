//! What each event means for the budget: reserve before a call, settle after it.

use super::apply::Verdict;
use super::{CallState, CallSubject, Event, Fault, Ledger, Reserve, Task, Timestamp, Usage};

/// What an event about a call changes of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Posting {
    /// Nothing.
    Nothing,
    /// A call is in flight.
    Reserve(Reserve),
    /// It was answered.
    Settle { reserve: Reserve, used: Reserve },
    /// It consumed nothing.
    Release(Reserve),
    /// Nobody knows what it consumed.
    Forfeit(Reserve),
    /// A child has ended: what it used, and which part of that is in no usage.
    Close { reserve: Reserve, used: Reserve, besides: Reserve },
}

impl Task {
    /// What an event about a call will change of the account, or why the call does not fit.
    pub(super) fn posting(&self, event: &Event) -> Result<Posting, String> {
        Ok(match event {
            Event::ModelRequested { reserve, .. } => {
                Ledger::of(self).fits(*reserve).map_err(|exceeded| exceeded.to_string())?;
                Posting::Reserve(*reserve)
            }
            Event::ToolDispatched { .. } => {
                Ledger::of(self).fits_tool_call().map_err(|exceeded| exceeded.to_string())?;
                Posting::Nothing
            }
            Event::ModelAnswered { step, call, usage, .. } => {
                Posting::Settle { reserve: self.reserved_by(*step, *call), used: Reserve::of(usage) }
            }
            Event::CallFailed { step, call, fault: Fault { usage: Some(usage), .. }, .. } => {
                Posting::Settle { reserve: self.reserved_by(*step, *call), used: Reserve::of(usage) }
            }
            Event::CallFailed { step, call, fault, .. } if fault.may_have_cost() => {
                Posting::Forfeit(self.reserved_by(*step, *call))
            }
            Event::CallFailed { step, call, .. } => Posting::Release(self.reserved_by(*step, *call)),
            Event::CallLost { step, call, .. } => Posting::Forfeit(self.reserved_by(*step, *call)),
            about_child => self.child_posting(about_child)?,
        })
    }

    /// Changes the account.
    pub(super) fn post(&mut self, posting: Posting) {
        let spent = &mut self.state.spent;
        match posting {
            Posting::Nothing => {}
            Posting::Reserve(reserve) => spent.reserved = spent.reserved.plus(reserve),
            Posting::Settle { reserve, used } => {
                spent.reserved = spent.reserved.minus(reserve);
                spent.beyond = spent.beyond.plus(used.minus(reserve));
            }
            Posting::Close { reserve, used, besides } => {
                spent.reserved = spent.reserved.minus(reserve);
                spent.lost = spent.lost.plus(besides);
                spent.beyond = spent.beyond.plus(used.minus(reserve));
            }
            Posting::Release(reserve) => spent.reserved = spent.reserved.minus(reserve),
            Posting::Forfeit(reserve) => {
                spent.reserved = spent.reserved.minus(reserve);
                spent.lost = spent.lost.plus(reserve);
            }
        }
    }

    /// Adds what was consumed by a call that belongs to no step: its size was not reserved.
    pub(super) fn charge(&mut self, usage: &Usage) -> Verdict {
        self.state.usage += *usage;
        self.state.spent.beyond = self.state.spent.beyond.plus(Reserve::of(usage));
        Ok(())
    }

    /// The time of a pause does not count.
    pub(super) fn end_pause(&mut self, at: Timestamp) {
        if let Some(since) = self.state.spent.paused_at.take() {
            let took = u64::try_from(at.since(since).as_millis()).unwrap_or(u64::MAX);
            self.state.spent.paused_ms = self.state.spent.paused_ms.saturating_add(took);
        }
    }

    fn reserved_by(&self, step: u32, call: u32) -> Reserve {
        match self.step(step).and_then(|step| step.call(call)) {
            Some(call) if call.state == CallState::Dispatched => match &call.subject {
                CallSubject::Model { reserve, .. } => *reserve,
                CallSubject::Tool { .. } => Reserve::default(),
            },
            _ => Reserve::default(),
        }
    }
}
