//! The conversation within a step, rebuilt from its recorded calls.

use std::collections::{HashMap, VecDeque};

use crate::models::Message;
use crate::task::{BlobHash, CallState, CallSubject, Payload, Step, ToolRequest};

/// A conversation, and what is to be done next in it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// After the opening, oldest first.
    pub(super) messages: Vec<Message>,
    /// Tool calls the model asked for that have no outcome yet, in order.
    pub(super) open: VecDeque<ToolRequest>,
    /// Model turns that were answered.
    pub(super) turns: u32,
    /// The number of the first model call: it recorded the opening.
    pub(super) first_call: Option<u32>,
    /// The newest message of a person that is part of it.
    pub(super) heard: i64,
    /// Calls so far.
    calls: u32,
    /// A recorded call that has to be dispatched again: its number and its next attempt.
    again: Option<(u32, u32)>,
    /// How often the same call brought the same result.
    repeats: HashMap<(String, BlobHash, BlobHash), u32>,
}

/// A recorded call with its contents read.
pub(super) struct Recorded {
    pub(super) number: u32,
    pub(super) attempt: u32,
    pub(super) state: CallState,
    pub(super) subject: CallSubject,
    pub(super) text: String,
    pub(super) requests: Vec<ToolRequest>,
    pub(super) is_error: bool,
    /// Messages of people that a model turn read first, oldest first; and the newest of them.
    pub(super) heard: (Vec<String>, i64),
}

impl Conversation {
    /// The conversation as the recorded calls left it.
    ///
    /// `heard` is the newest message of a person that its opening holds.
    pub(super) fn recall(calls: Vec<Recorded>, heard: i64) -> Self {
        let mut conversation = Self { heard, ..Self::default() };
        for call in calls {
            conversation.calls = call.number;
            match (&call.subject, &call.state) {
                (CallSubject::Model { .. }, CallState::Committed) => {
                    let (texts, newest) = call.heard;
                    conversation.hear(texts, newest);
                    conversation.answered(call.number, call.text, call.requests);
                }
                (CallSubject::Tool { tool, arguments, .. }, CallState::Committed) => {
                    let (tool, arguments) = (tool.clone(), arguments.hash());
                    conversation.returned(&tool, arguments, &call.text, call.is_error);
                }
                (_, CallState::Asked(_) | CallState::Approved) => {
                    conversation.again = Some((call.number, call.attempt));
                }
                // A failure that is known to have had no effect was answered to the model, if
                // it went on; the last one is tried again.
                _ => conversation.again = Some((call.number, call.attempt + 1)),
            }
        }
        conversation
    }

    /// The number and the attempt of the next call.
    pub(super) fn next_call(&mut self) -> (u32, u32) {
        self.again.take().unwrap_or_else(|| {
            self.calls += 1;
            (self.calls, 1)
        })
    }

    /// Adds what people wrote meanwhile.
    pub(super) fn hear(&mut self, texts: Vec<String>, newest: i64) {
        self.messages.extend(texts.into_iter().map(Message::User));
        self.heard = self.heard.max(newest);
    }

    /// Adds the model's turn.
    pub(super) fn answered(&mut self, number: u32, text: String, requests: Vec<ToolRequest>) {
        self.first_call.get_or_insert(number);
        self.turns += 1;
        self.open = requests.iter().cloned().collect();
        self.messages.push(Message::Assistant { text, requests });
    }

    /// Adds a tool's result to the oldest open request. Returns how often this very call has
    /// brought this very result.
    pub(super) fn returned(&mut self, tool: &str, arguments: BlobHash, content: &str, is_error: bool) -> u32 {
        let Some(request) = self.open.pop_front() else { return 0 };
        self.messages.push(Message::ToolResult {
            id: request.id,
            tool: request.tool,
            content: content.to_owned(),
            is_error,
        });
        let result = BlobHash::of(content.as_bytes());
        let count = self.repeats.entry((tool.to_owned(), arguments, result)).or_default();
        *count += 1;
        *count
    }
}

/// The contents that have to be read before a conversation can be rebuilt.
pub(super) fn recorded_contents(step: &Step) -> impl Iterator<Item = (&crate::task::Call, Option<&Payload>)> {
    step.calls.iter().map(|call| (call, call.result.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::{Effect, Reserve};

    fn model(number: u32, text: &str, tools: &[&str]) -> Recorded {
        let requests = tools.iter().map(|tool| ToolRequest {
            id: format!("id-{tool}"),
            tool: (*tool).to_owned(),
            arguments: json!({}),
        });
        Recorded {
            number,
            attempt: 1,
            state: CallState::Committed,
            subject: CallSubject::Model { model: "scripted/x".parse().unwrap(), reserve: Reserve::default() },
            text: text.into(),
            requests: requests.collect(),
            is_error: false,
            heard: (Vec::new(), 0),
        }
    }

    fn tool(number: u32, name: &str, state: CallState) -> Recorded {
        let subject = CallSubject::Tool {
            tool: name.into(),
            arguments: Payload::Inline(json!({})),
            effect: Effect::ReadOnly,
            request_id: Some(format!("id-{name}")),
        };
        Recorded { subject, state, ..model(number, "result", &[]) }
    }

    #[test]
    fn a_step_continues_behind_the_last_recorded_result() {
        let calls = vec![model(1, "", &["a", "b"]), tool(2, "a", CallState::Committed)];
        let mut conversation = Conversation::recall(calls, 0);
        assert_eq!(conversation.messages.len(), 2);
        assert_eq!(conversation.open.front().map(|request| request.tool.as_str()), Some("b"));
        assert_eq!(conversation.next_call(), (3, 1));
    }

    #[test]
    fn a_lost_call_is_dispatched_again_under_its_own_number() {
        let calls = vec![model(1, "", &["a"]), tool(2, "a", CallState::Lost)];
        let mut conversation = Conversation::recall(calls, 0);
        assert_eq!(conversation.next_call(), (2, 2));
        assert_eq!(conversation.next_call(), (3, 1));
    }

    #[test]
    fn a_call_that_waits_for_a_person_stays_the_same_attempt() {
        let calls = vec![model(1, "", &["a"]), tool(2, "a", CallState::Approved)];
        let mut conversation = Conversation::recall(calls, 0);
        assert_eq!(conversation.next_call(), (2, 1));
    }

    #[test]
    fn what_people_wrote_stands_before_the_turn_that_read_it() {
        let late = Recorded { heard: (vec!["Be brief".into()], 9), ..model(3, "ok", &[]) };
        let calls = vec![model(1, "", &["a"]), tool(2, "a", CallState::Committed), late];
        let conversation = Conversation::recall(calls, 0);
        assert_eq!(conversation.messages[2], Message::User("Be brief".into()));
        assert_eq!((conversation.messages.len(), conversation.heard), (4, 9));
    }

    #[test]
    fn the_same_call_with_the_same_result_is_counted() {
        let calls = vec![
            model(1, "", &["a"]),
            tool(2, "a", CallState::Committed),
            model(3, "", &["a"]),
            tool(4, "a", CallState::Committed),
            model(5, "", &["a"]),
        ];
        let mut conversation = Conversation::recall(calls, 0);
        let arguments = Payload::Inline(json!({})).hash();
        assert_eq!(conversation.returned("a", arguments, "result", false), 3);
    }
}
