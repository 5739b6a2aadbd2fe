//! What one task may consume, and what it has consumed.
//!
//! The limits and the amounts; [`Ledger`](super::Ledger) reckons with them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Timestamp, Usage, Usd};

/// The limits of one task. What has none is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Budget {
    /// Tokens of all model calls: prompts, cached parts included, and answers.
    pub tokens: Option<u64>,
    /// What all model calls cost, in US dollars. Calls of a model whose price nobody told are not
    /// held back by it; [`Usage::unpriced_calls`] counts them.
    pub cost_usd: Option<Usd>,
    /// Milliseconds since the task was created, those not counted in which it was paused.
    pub wall_time_ms: Option<u64>,
    /// Model calls, those of the planner and the judge included.
    pub model_calls: Option<u32>,
    /// Tool calls.
    pub tool_calls: Option<u32>,
    /// Steps that are started.
    pub steps: Option<u32>,
    /// From which share of a limit on a model is told to come to an end, in percent. 100 and more
    /// never tells it; 80 if nothing is said.
    pub soft_percent: Option<u8>,
}

/// What is added to the limits of a task. Nothing is added to what has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TopUp {
    /// Tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// US dollars.
    #[serde(skip_serializing_if = "Usd::is_zero")]
    pub cost_usd: Usd,
    /// Milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub wall_time_ms: u64,
    /// Model calls.
    #[serde(skip_serializing_if = "is_none")]
    pub model_calls: u32,
    /// Tool calls.
    #[serde(skip_serializing_if = "is_none")]
    pub tool_calls: u32,
    /// Steps.
    #[serde(skip_serializing_if = "is_none")]
    pub steps: u32,
}

/// What one model call, or a child, is expected to consume at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Reserve {
    /// Tokens of the prompt, estimated, and of the longest answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// What they cost; nothing if nobody knows the price.
    #[serde(skip_serializing_if = "Usd::is_zero")]
    pub cost_usd: Usd,
    /// Model calls: 1.
    #[serde(skip_serializing_if = "is_none")]
    pub model_calls: u32,
    /// Tool calls: those of a child.
    #[serde(skip_serializing_if = "is_none")]
    pub tool_calls: u32,
    /// Steps: those of a child.
    #[serde(skip_serializing_if = "is_none")]
    pub steps: u32,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_none(number: &u32) -> bool {
    *number == 0
}

/// What counts against a budget besides what providers reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spent {
    /// Reserved by calls in flight and by children at work.
    #[serde(skip_serializing_if = "Reserve::is_nothing")]
    pub reserved: Reserve,
    /// Reserved by calls that may have been answered although nobody recorded it: it stays charged.
    #[serde(skip_serializing_if = "Reserve::is_nothing")]
    pub lost: Reserve,
    /// What was consumed beyond a reserve, by answers that were longer than expected and by calls
    /// that belong to no step. `usage + lost + reserved - beyond` never exceeds the budget.
    #[serde(skip_serializing_if = "Reserve::is_nothing")]
    pub beyond: Reserve,
    /// What was added to this budget for children, in all.
    #[serde(skip_serializing_if = "Reserve::is_nothing")]
    pub passed_on: Reserve,
    /// Milliseconds it was paused, the pause it is in not counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    /// Since when it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
}

/// What can run out: the key of its limit in a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// Tokens of model calls.
    Tokens,
    /// Money for model calls.
    CostUsd,
    /// Time.
    WallTimeMs,
    /// Model calls.
    ModelCalls,
    /// Tool calls.
    ToolCalls,
    /// Steps.
    Steps,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Tokens, Self::CostUsd, Self::WallTimeMs, Self::ModelCalls, Self::ToolCalls, Self::Steps];
}

impl Budget {
    /// What a task may consume if nobody says otherwise. The numbers are far above what a task of
    /// fifty steps takes: they are there to stop what runs away.
    pub fn usual() -> Self {
        Self {
            tokens: Some(5_000_000),
            cost_usd: Some(Usd::from_nanos(10_000_000_000)),
            wall_time_ms: Some(24 * 60 * 60 * 1000),
            model_calls: Some(1000),
            soft_percent: Some(80),
            ..Self::default()
        }
    }

    /// Whether it limits nothing and says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// These limits, and the `others` where nothing is said. A limit of 0 says that there is none.
    pub fn or(self, others: &Self) -> Self {
        fn limit<T: Default + PartialEq>(own: Option<T>, other: Option<T>) -> Option<T> {
            own.or(other).filter(|limit| *limit != T::default())
        }
        Self {
            tokens: limit(self.tokens, others.tokens),
            cost_usd: limit(self.cost_usd, others.cost_usd),
            wall_time_ms: limit(self.wall_time_ms, others.wall_time_ms),
            model_calls: limit(self.model_calls, others.model_calls),
            tool_calls: limit(self.tool_calls, others.tool_calls),
            steps: limit(self.steps, others.steps),
            soft_percent: self.soft_percent.or(others.soft_percent),
        }
    }

    /// The limits with what was added to them.
    pub fn with(self, more: &TopUp) -> Self {
        let number = |limit: Option<u32>, more: u32| limit.map(|limit| limit.saturating_add(more));
        Self {
            tokens: self.tokens.map(|limit| limit.saturating_add(more.tokens)),
            cost_usd: self.cost_usd.map(|limit| limit + more.cost_usd),
            wall_time_ms: self.wall_time_ms.map(|limit| limit.saturating_add(more.wall_time_ms)),
            model_calls: number(self.model_calls, more.model_calls),
            tool_calls: number(self.tool_calls, more.tool_calls),
            steps: number(self.steps, more.steps),
            soft_percent: self.soft_percent,
        }
    }
}

impl TopUp {
    /// Whether nothing is added.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is added to something that `budget` does not limit.
    pub fn unlimited_in(&self, budget: &Budget) -> Option<Resource> {
        let asked = [
            (self.tokens > 0 && budget.tokens.is_none(), Resource::Tokens),
            (!self.cost_usd.is_zero() && budget.cost_usd.is_none(), Resource::CostUsd),
            (self.wall_time_ms > 0 && budget.wall_time_ms.is_none(), Resource::WallTimeMs),
            (self.model_calls > 0 && budget.model_calls.is_none(), Resource::ModelCalls),
            (self.tool_calls > 0 && budget.tool_calls.is_none(), Resource::ToolCalls),
            (self.steps > 0 && budget.steps.is_none(), Resource::Steps),
        ];
        asked.into_iter().find_map(|(is_asked, resource)| is_asked.then_some(resource))
    }

    pub(super) fn plus(self, more: &Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(more.tokens),
            cost_usd: self.cost_usd + more.cost_usd,
            wall_time_ms: self.wall_time_ms.saturating_add(more.wall_time_ms),
            model_calls: self.model_calls.saturating_add(more.model_calls),
            tool_calls: self.tool_calls.saturating_add(more.tool_calls),
            steps: self.steps.saturating_add(more.steps),
        }
    }
}

impl Reserve {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What was consumed, in the terms of a reserve.
    pub fn of(usage: &Usage) -> Self {
        Self {
            tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            cost_usd: usage.cost_usd,
            model_calls: usage.model_calls,
            tool_calls: usage.tool_calls,
            steps: 0,
        }
    }

    /// Both together.
    pub fn plus(self, more: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(more.tokens),
            cost_usd: self.cost_usd + more.cost_usd,
            model_calls: self.model_calls.saturating_add(more.model_calls),
            tool_calls: self.tool_calls.saturating_add(more.tool_calls),
            steps: self.steps.saturating_add(more.steps),
        }
    }

    /// What is left of it without the other; nothing where that is more.
    pub fn minus(self, less: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(less.tokens),
            cost_usd: self.cost_usd.saturating_sub(less.cost_usd),
            model_calls: self.model_calls.saturating_sub(less.model_calls),
            tool_calls: self.tool_calls.saturating_sub(less.tool_calls),
            steps: self.steps.saturating_sub(less.steps),
        }
    }
}

impl Resource {
    /// The key of its limit in a budget.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::CostUsd => "costUsd",
            Self::WallTimeMs => "wallTimeMs",
            Self::ModelCalls => "modelCalls",
            Self::ToolCalls => "toolCalls",
            Self::Steps => "steps",
        }
    }

    /// What it is, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::CostUsd => "money",
            Self::WallTimeMs => "time",
            Self::ModelCalls => "model calls",
            Self::ToolCalls => "tool calls",
            Self::Steps => "steps",
        }
    }

    pub(super) fn amount(self, amount: u64) -> String {
        match self {
            Self::CostUsd => Usd::from_nanos(amount).to_string(),
            Self::WallTimeMs => format!("{} s", amount / 1000),
            _ => amount.to_string(),
        }
    }
}

/// For people: `5000 tokens, $2.00`.
impl fmt::Display for TopUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = [
            (Resource::Tokens, self.tokens),
            (Resource::CostUsd, self.cost_usd.nanos()),
            (Resource::WallTimeMs, self.wall_time_ms),
            (Resource::ModelCalls, self.model_calls.into()),
            (Resource::ToolCalls, self.tool_calls.into()),
            (Resource::Steps, self.steps.into()),
        ];
        let words = added.into_iter().filter(|(_, amount)| *amount > 0).map(|(resource, amount)| {
            let shown = resource.amount(amount);
            if resource == Resource::CostUsd { shown } else { format!("{shown} {}", resource.words()) }
        });
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}
