//! Reckons with a budget: whether the next call still fits.
//!
//! A call reserves what it may cost before it is made and settles what it did cost after. The same
//! [`Ledger`] answers in the fold of the journal and in the hands of a worker whose steps run side
//! by side.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Budget, Exceeded, Reserve, Resource, Task, Timestamp, Usage, Usd};

/// From which share of a limit on a model is told to come to an end, in percent.
const SOFT_PERCENT: u8 = 80;

/// What is used of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    budget: Budget,
    used: Reserve,
    /// What was added to the budget for children by then.
    passed_on: Reserve,
    /// When the task would have been created if it had never been paused.
    since: Timestamp,
}

/// What is used of a budget, for people and programs: in the keys of [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consumed {
    /// Tokens, with what calls in flight and lost calls reserved.
    pub tokens: u64,
    /// US dollars, with what calls in flight and lost calls reserved.
    pub cost_usd: Usd,
    /// Milliseconds, pauses not counted.
    pub wall_time_ms: u64,
    /// Model calls, those in flight and those lost included.
    pub model_calls: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// Steps that were started, those of children included.
    pub steps: u32,
    /// Model calls whose price nobody knows: `cost_usd` does not hold them.
    pub unpriced_calls: u32,
}

impl Ledger {
    /// What a task has used so far.
    pub fn of(task: &Task) -> Self {
        let state = task.state();
        let budget = task.budget();
        Self {
            budget,
            used: Reserve::of(&state.usage).plus(state.spent.lost).plus(state.spent.reserved),
            passed_on: state.spent.passed_on,
            since: state.created_at.plus(Duration::from_millis(state.spent.paused_ms)),
        }
    }

    /// Takes over the limits, for they may have been raised; what is used stays, with what was added
    /// for children.
    pub fn follow(&mut self, task: &Task) {
        let fresh = Self::of(task);
        self.used = self.used.plus(fresh.passed_on.minus(self.passed_on));
        (self.budget, self.since, self.passed_on) = (fresh.budget, fresh.since, fresh.passed_on);
    }

    /// Charges a model call, if it fits.
    pub fn reserve(&mut self, reserve: Reserve, now: Timestamp) -> Result<(), Exceeded> {
        self.has_time(now)?;
        self.fits(reserve)?;
        self.used = self.used.plus(reserve);
        Ok(())
    }

    /// Charges a call that has room, whatever the limits say.
    pub fn set_aside(&mut self, reserve: Reserve) {
        self.used = self.used.plus(reserve);
    }

    /// Whether a model call or a child fits, time and steps apart.
    pub fn fits(&self, reserve: Reserve) -> Result<(), Exceeded> {
        let (budget, used) = (&self.budget, &self.used);
        room(Resource::Tokens, budget.tokens, used.tokens, reserve.tokens)?;
        let cost = budget.cost_usd.map(Usd::nanos);
        room(Resource::CostUsd, cost, used.cost_usd.nanos(), reserve.cost_usd.nanos())?;
        let calls = (u64::from(used.model_calls), u64::from(reserve.model_calls));
        room(Resource::ModelCalls, budget.model_calls.map(u64::from), calls.0, calls.1)?;
        let calls = (u64::from(used.tool_calls), u64::from(reserve.tool_calls));
        room(Resource::ToolCalls, budget.tool_calls.map(u64::from), calls.0, calls.1)
    }

    /// Charges a tool call, if it fits.
    pub fn take_tool_call(&mut self, now: Timestamp) -> Result<(), Exceeded> {
        self.has_time(now)?;
        self.fits_tool_call()?;
        self.used.tool_calls = self.used.tool_calls.saturating_add(1);
        Ok(())
    }

    /// Whether a tool call fits, the time apart.
    pub fn fits_tool_call(&self) -> Result<(), Exceeded> {
        let limit = self.budget.tool_calls.map(u64::from);
        room(Resource::ToolCalls, limit, u64::from(self.used.tool_calls), 1)
    }

    /// Whether there is time left.
    pub fn has_time(&self, now: Timestamp) -> Result<(), Exceeded> {
        let used = self.time_used(now);
        match self.budget.wall_time_ms {
            Some(limit) if used >= limit => {
                Err(Exceeded { resource: Resource::WallTimeMs, limit, used, wanted: 0 })
            }
            _ => Ok(()),
        }
    }

    fn time_used(&self, now: Timestamp) -> u64 {
        u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX)
    }

    /// What a child may consume that is called now: what is asked for, at most what is left; one of `parts` of
    /// what is left where nothing is asked for. Time passes for all alike. `steps` are those that may
    /// still be begun, if that is limited.
    ///
    /// # Errors
    /// [`Exceeded`] if nothing is left.
    pub fn grant(
        &self,
        asked: &Budget,
        steps: Option<u32>,
        parts: u32,
        now: Timestamp,
    ) -> Result<Budget, Exceeded> {
        let (budget, used) = (&self.budget, &self.used);
        self.has_time(now)?;
        self.fits_tool_call()?;
        // The call itself is one.
        let calls = budget.tool_calls.map(|limit| limit.saturating_sub(1));
        let share = |resource, limit: Option<u64>, used, asked| share(resource, limit, used, asked, parts);
        let number = |shared: Option<u64>| shared.map(|shared| u32::try_from(shared).unwrap_or(u32::MAX));
        let cost = (budget.cost_usd.map(Usd::nanos), asked.cost_usd.map(Usd::nanos));
        let asked_ms = asked.wall_time_ms.filter(|ms| *ms > 0);
        let left_ms = budget.wall_time_ms.map(|limit| limit.saturating_sub(self.time_used(now)));
        let wide = |limit: Option<u32>| limit.map(u64::from);
        Ok(Budget {
            tokens: share(Resource::Tokens, budget.tokens, used.tokens, asked.tokens)?,
            cost_usd: share(Resource::CostUsd, cost.0, used.cost_usd.nanos(), cost.1)?.map(Usd::from_nanos),
            wall_time_ms: left_ms.map(|left| asked_ms.unwrap_or(left).min(left)).or(asked_ms),
            model_calls: number(share(
                Resource::ModelCalls,
                wide(budget.model_calls),
                used.model_calls.into(),
                wide(asked.model_calls),
            )?),
            tool_calls: number(share(
                Resource::ToolCalls,
                wide(calls),
                used.tool_calls.into(),
                wide(asked.tool_calls),
            )?),
            steps: number(share(Resource::Steps, wide(steps), 0, wide(asked.steps))?),
            soft_percent: asked.soft_percent.or(budget.soft_percent),
        })
    }

    /// Charges a child, from before it exists until its end.
    pub fn charge_child(&mut self, grant: &Budget) {
        let call = Reserve { tool_calls: 1, ..Reserve::default() };
        self.used = self.used.plus(grant.reserve()).plus(call);
    }

    /// Exchanges what a call reserved for what it used.
    pub fn settle(&mut self, reserve: Reserve, used: Reserve) {
        self.used = self.used.minus(reserve).plus(used);
    }

    /// Charges what was used without being reserved.
    pub fn charge(&mut self, usage: &Usage) {
        self.used = self.used.plus(Reserve::of(usage));
    }

    /// The limit that is nearest to its end, if its soft limit is reached: which one, and the
    /// share that is used in percent.
    pub fn nearly_used_up(&self, now: Timestamp) -> Option<(Resource, u64)> {
        let (budget, used) = (&self.budget, &self.used);
        let shares = [
            (Resource::Tokens, budget.tokens, used.tokens),
            (Resource::CostUsd, budget.cost_usd.map(Usd::nanos), used.cost_usd.nanos()),
            (Resource::ModelCalls, budget.model_calls.map(u64::from), u64::from(used.model_calls)),
            (Resource::ToolCalls, budget.tool_calls.map(u64::from), u64::from(used.tool_calls)),
            (Resource::WallTimeMs, budget.wall_time_ms, self.time_used(now)),
        ];
        let shares = shares.into_iter().filter_map(|(resource, limit, used)| {
            let percent = u128::from(used) * 100 / u128::from(limit?.max(1));
            Some((resource, u64::try_from(percent).unwrap_or(u64::MAX)))
        });
        let nearest = shares.max_by_key(|(_, percent)| *percent)?;
        let soft = budget.soft_percent.unwrap_or(SOFT_PERCENT);
        (soft < 100 && nearest.1 >= u64::from(soft)).then_some(nearest)
    }
}

/// A child's share of a resource.
fn share(
    resource: Resource,
    limit: Option<u64>,
    used: u64,
    asked: Option<u64>,
    parts: u32,
) -> Result<Option<u64>, Exceeded> {
    let asked = asked.filter(|asked| *asked > 0);
    let Some(limit) = limit else { return Ok(asked) };
    match limit.saturating_sub(used) {
        0 => Err(Exceeded { resource, limit, used, wanted: 1 }),
        left => Ok(Some(asked.unwrap_or(left.div_ceil(parts.max(1).into())).min(left))),
    }
}

pub(super) fn room(resource: Resource, limit: Option<u64>, used: u64, wanted: u64) -> Result<(), Exceeded> {
    match limit {
        Some(limit) if used.saturating_add(wanted) > limit && wanted > 0 => {
            Err(Exceeded { resource, limit, used, wanted })
        }
        _ => Ok(()),
    }
}

impl Task {
    /// What it may consume, with everything that was added.
    pub fn budget(&self) -> Budget {
        self.spec().budget.with(&self.state().raised)
    }

    /// What of its budget is used at `now`, or was used when it ended.
    pub fn consumed(&self, now: Timestamp) -> Consumed {
        let state = self.state();
        let until = state.completed_at.or(state.spent.paused_at).unwrap_or(now);
        let ledger = Ledger::of(self);
        Consumed {
            tokens: ledger.used.tokens,
            cost_usd: ledger.used.cost_usd,
            wall_time_ms: ledger.time_used(until),
            model_calls: ledger.used.model_calls,
            tool_calls: ledger.used.tool_calls,
            steps: u32::try_from(self.steps_begun()).unwrap_or(u32::MAX),
            unpriced_calls: state.usage.unpriced_calls,
        }
    }

    /// Its own, and those of its children.
    pub(super) fn steps_begun(&self) -> u64 {
        let spent = &self.state().spent;
        let of_children = spent.lost.steps.saturating_add(spent.reserved.steps);
        self.steps().iter().filter(|step| step.attempts > 0).count() as u64 + u64::from(of_children)
    }

    /// Whether another step may be started; the next attempt of a step is no other step.
    pub fn fits_step(&self) -> Result<(), Exceeded> {
        self.fits_steps(1)
    }
}
