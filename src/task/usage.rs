//! What was consumed, summed over calls, steps and tasks.

use std::fmt;
use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Usd;

/// Tokens as the provider reported them, what they cost, and counts of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Usage {
    /// Tokens of the prompts, those served from a provider's cache included.
    pub input_tokens: u64,
    /// Tokens of the answers.
    pub output_tokens: u64,
    /// Those of `input_tokens` that came from the provider's cache.
    pub cached_tokens: u64,
    /// Model calls that were answered.
    pub model_calls: u32,
    /// Tool calls that were dispatched.
    pub tool_calls: u32,
    /// What the tokens cost in US dollars, by the price of the model at the time of the call.
    #[serde(skip_serializing_if = "Usd::is_zero")]
    pub cost_usd: Usd,
    /// Those of `model_calls` whose model has no known price: the cost is at least what it says.
    #[serde(skip_serializing_if = "is_zero")]
    pub unpriced_calls: u32,
}

pub(super) fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Usage {
    /// Whether nothing was consumed.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        // What a provider says is not believed to the point of overflowing.
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(more.cached_tokens);
        self.model_calls = self.model_calls.saturating_add(more.model_calls);
        self.tool_calls = self.tool_calls.saturating_add(more.tool_calls);
        self.cost_usd += more.cost_usd;
        self.unpriced_calls = self.unpriced_calls.saturating_add(more.unpriced_calls);
    }
}

/// For people: `3 model calls, 5 tool calls, 1,200 tokens in, 340 tokens out, $0.0123`; of models
/// only if any was called.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tool_calls = counted(self.tool_calls, "tool call");
        if (Self { tool_calls: 0, ..*self }).is_nothing() {
            return f.write_str(&tool_calls);
        }
        write!(
            f,
            "{}, {tool_calls}, {} in, {} out",
            counted(self.model_calls, "model call"),
            counted(self.input_tokens, "token"),
            counted(self.output_tokens, "token"),
        )?;
        match (self.cost_usd.is_zero(), self.unpriced_calls) {
            (true, 0) => Ok(()),
            (false, 0) => write!(f, ", {}", self.cost_usd),
            (true, calls) => {
                write!(f, ", cost unknown ({} of models without a price)", counted(calls, "call"))
            }
            (false, calls) => {
                let calls = counted(calls, "call");
                write!(f, ", at least {} ({calls} of models without a price)", self.cost_usd)
            }
        }
    }
}

/// `1 call`, `2 calls`, `2,000 entries`.
pub(crate) fn counted(count: impl Into<u64>, what: &str) -> String {
    match (count.into(), what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (count, Some(beginning)) if !beginning.ends_with(['a', 'e', 'o']) => {
            format!("{} {beginning}ies", grouped(count))
        }
        (count, _) => format!("{} {what}s", grouped(count)),
    }
}

/// A number with its thousands set apart: `5,000,000`.
pub fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_named_as_many() {
        let said = [(0, "step"), (1, "step"), (2, "entry"), (1, "entry"), (2, "day")];
        let said = said.map(|(count, what): (u32, _)| counted(count, what));
        assert_eq!(said, ["0 steps", "1 step", "2 entries", "1 entry", "2 days"]);
    }

    #[test]
    fn an_unknown_price_is_never_shown_as_nothing() {
        let mut usage = Usage { model_calls: 2, unpriced_calls: 1, ..Usage::default() };
        assert!(usage.to_string().ends_with("cost unknown (1 call of models without a price)"));
        usage.cost_usd = Usd::from_nanos(20_000_000);
        assert!(usage.to_string().contains("at least $0.0200"), "{usage}");
    }

    #[test]
    fn of_models_is_said_only_what_was_asked_of_them() {
        let usage = Usage { tool_calls: 3, ..Usage::default() };
        assert_eq!(usage.to_string(), "3 tool calls");
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, shown) in [(0_u64, "0"), (999, "999"), (1_000, "1,000"), (5_000_000, "5,000,000")] {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn one_is_not_many() {
        let usage = Usage { model_calls: 1, tool_calls: 2, input_tokens: 1, ..Usage::default() };
        assert_eq!(usage.to_string(), "1 model call, 2 tool calls, 1 token in, 0 tokens out");
    }
}
