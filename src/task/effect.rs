//! What calling a tool does to the world, and what may therefore be repeated.

use serde::{Deserialize, Serialize};

/// The effect class of a tool. Whatever is not declared is [`Effect::Unsafe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Changes nothing: may run any number of times.
    ReadOnly,
    /// Calling it again with the same key changes nothing more.
    Idempotent,
    /// Anything else: dispatched at most once without a person's word.
    #[default]
    Unsafe,
}

impl Effect {
    /// Whether a call whose outcome is unknown may be dispatched again without asking.
    pub fn may_repeat(self) -> bool {
        self != Self::Unsafe
    }
}
