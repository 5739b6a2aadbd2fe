//! How much fits into one call of a model, in tokens and in bytes.

use crate::models::{Model, Request, ToolSpec};
use crate::task::Prompt;

/// At this share of the window, in percent, what is old is compressed.
const FULL_PERCENT: u64 = 80;

/// What a prompt may begin with, in percent: the rest is for the conversation of the step.
const OPENING_PERCENT: u64 = 60;

/// What recent turns keep word for word when older ones are compressed, in percent.
const RECENT_PERCENT: u64 = 30;

/// What a summary may take, in percent.
const SUMMARY_PERCENT: u64 = 10;

/// What pictures may take of what a prompt begins with, in percent of the window.
const PICTURES_PERCENT: u64 = 20;

/// One tool result, and one output of a step, may take this part of the window.
const RESULT_PART: u64 = 8;

/// All results of one turn may take this part of the window.
const TURN_PART: u64 = 4;

/// What a model sees of one result at most, however large its window is.
const RESULT_BYTES: u64 = 48 * 1024;

/// What a model sees of one result at least: less tells nothing.
const LEAST_BYTES: u64 = 240;

/// The room that a model has for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    limit: u64,
    answer: u64,
    /// Tokens that a thousand bytes are, rounded up.
    density: u64,
}

impl Window {
    /// The window of a model within a limit, with room for an answer of so many tokens; but no more
    /// than a quarter is set aside for the answer.
    pub fn of(model: &dyn Model, limit: u64, answer: u64) -> Self {
        let limit = model.window().map_or(limit, |window| window.min(limit)).max(1);
        Self { limit, answer: answer.min(limit / 4), density: model.tokens(1000).max(1) }
    }

    /// What is asked within it, in short.
    pub fn prompt(&self, request: &Request) -> Prompt {
        let tools = request.tools.iter().map(ToolSpec::bytes).sum::<usize>() as u64;
        Prompt { hash: request.hash(), window: self.limit, density: self.density, tools }
    }

    /// Tokens that a thousand bytes are taken for.
    pub fn density(&self) -> u64 {
        self.density
    }

    /// Tokens of a prompt and its answer.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Tokens that a prompt may have: no request is larger.
    pub fn room(&self) -> u64 {
        self.limit - self.answer
    }

    /// Tokens from which on what is old is compressed.
    pub fn full(&self) -> u64 {
        (self.limit * FULL_PERCENT / 100).min(self.room())
    }

    /// About how many tokens so many bytes are.
    pub fn tokens(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.density).div_ceil(1000)
    }

    /// About how many tokens a request has.
    pub fn of_request(&self, request: &Request) -> u64 {
        self.tokens(request.bytes())
    }

    /// Bytes that are no more than so many tokens.
    pub fn bytes_of(&self, tokens: u64) -> usize {
        usize::try_from(tokens.saturating_mul(1000) / self.density).unwrap_or(usize::MAX)
    }

    /// Bytes that are no more than so many percent of the window.
    pub fn bytes(&self, percent: u64) -> usize {
        usize::try_from(self.limit * percent * 10 / self.density).unwrap_or(usize::MAX)
    }

    /// Bytes that a prompt may begin with, instructions and tools included.
    pub fn opening_bytes(&self) -> usize {
        self.bytes(OPENING_PERCENT)
    }

    /// Bytes for the pictures that a prompt begins with.
    pub fn pictures_bytes(&self) -> usize {
        self.bytes(PICTURES_PERCENT)
    }

    /// Bytes of recent turns that are kept word for word.
    pub fn recent_bytes(&self) -> usize {
        self.bytes(RECENT_PERCENT)
    }

    /// Bytes of a summary.
    pub fn summary_bytes(&self) -> usize {
        self.bytes(SUMMARY_PERCENT)
    }

    /// Bytes of one result, and of all results of one turn. How dense a text is for the model does not
    /// count here: a conversation that is rebuilt shows of each result what it showed before.
    pub fn result_bytes(&self) -> (usize, usize) {
        let part = |part: u64| (self.limit * 3 / part).max(LEAST_BYTES);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        (size(part(RESULT_PART).min(RESULT_BYTES)), size(part(TURN_PART)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Scripted;

    fn window(limit: u64) -> Window {
        let model = Scripted::parse("m", r#"{"rules":[{"reply":{"text":"hi"}}]}"#).unwrap();
        Window::of(&model, limit, 4096)
    }

    #[test]
    fn a_prompt_leaves_room_for_its_answer_in_a_small_window_too() {
        assert_eq!((window(100_000).room(), window(100_000).full()), (95_904, 80_000));
        assert_eq!((window(1_000).room(), window(1_000).full()), (750, 750));
    }

    #[test]
    fn shares_are_bytes_that_are_no_more_tokens_than_they_should_be() {
        for limit in [1_000, 8_192, 100_000, 1_000_000] {
            let window = window(limit);
            assert!(window.tokens(window.opening_bytes() as u64) <= limit * OPENING_PERCENT / 100 + 1);
            assert!(window.tokens(window.summary_bytes() as u64) <= limit * SUMMARY_PERCENT / 100 + 1);
        }
    }
}
