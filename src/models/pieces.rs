//! Tool calls of chat completions, and what gateways tell of the thoughts before them, put together from the
//! pieces in which they are streamed.
//!
//! The client library does that with calls, too, but it believes the numbers that servers give to them: a
//! number that leaves a gap makes it ask for one call twice, once with half of its arguments; a very
//! large one makes it reserve memory for as many calls; and a call without a number is lost. Of thoughts
//! it reads the words only: what OpenRouter has of other providers' seals (`reasoning_details`) is lost.

use serde_json::Value;

/// The calls of one answer, as far as they have come, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct CallPieces {
    calls: Vec<CallSoFar>,
    thoughts: Vec<Value>,
    /// Why the prompt was not let through, in a word of Gemini's: of that the library tells nothing.
    blocked: Option<String>,
    bytes: usize,
}

/// One call. Its arguments are text: they are JSON when they are complete.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct CallSoFar {
    number: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl CallPieces {
    /// Takes what one event of the stream brings.
    pub(super) fn take(&mut self, event: &str) {
        // Most events bring text, and there are thousands of them.
        const NAMES: [&str; 3] = ["\"tool_calls\"", "\"reasoning_details\"", "\"blockReason\""];
        if !NAMES.iter().any(|name| event.contains(name)) {
            return;
        }
        let Ok(event) = serde_json::from_str::<Value>(event) else { return };
        if let Some(why) = event.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            self.blocked = Some(why.to_owned());
        }
        let pieces = |of: &str| event.pointer(of).and_then(Value::as_array).into_iter().flatten();
        pieces("/choices/0/delta/tool_calls").for_each(|piece| self.add(piece));
        pieces("/choices/0/delta/reasoning_details").for_each(|piece| self.think(piece));
    }

    /// Why the prompt was not let through.
    pub(super) fn blocked(&self) -> Option<&str> {
        self.blocked.as_deref()
    }

    /// The blocks of thoughts that came, as they go back.
    pub(super) fn thoughts(&self) -> &[Value] {
        &self.thoughts
    }

    /// A block in words comes in pieces under one number, the last of which may be but its seal; what is encrypted
    /// comes whole.
    fn think(&mut self, piece: &Value) {
        let Value::Object(fields) = piece else { return };
        self.bytes += piece.to_string().len();
        let in_words = matches!(
            fields.get("type").and_then(Value::as_str),
            Some("reasoning.text" | "reasoning.summary")
        );
        let goes_on =
            |known: &&mut Value| ["type", "index"].iter().all(|key| known.get(key) == piece.get(key));
        let known = self.thoughts.last_mut().filter(|_| in_words).filter(goes_on);
        let Some(Value::Object(known)) = known else { return self.thoughts.push(piece.clone()) };
        for (name, value) in fields {
            match (known.get_mut(name), value) {
                (_, Value::Null) => {}
                (Some(Value::String(text)), Value::String(more))
                    if ["text", "summary"].contains(&name.as_str()) =>
                {
                    text.push_str(more);
                }
                _ => drop(known.insert(name.clone(), value.clone())),
            }
        }
    }

    /// The calls that came, some of them perhaps cut.
    pub(super) fn calls(&self) -> &[CallSoFar] {
        &self.calls
    }

    /// How much of them came, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, piece: &Value) {
        let text = |pointer: &str| piece.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (id, name) = (text("/id"), text("/function/name"));
        let number = piece.get("index").and_then(Value::as_u64);
        let arguments = match piece.pointer("/function/arguments") {
            Some(Value::String(text)) => text.clone(),
            // Some servers send them as JSON, and then whole.
            Some(whole @ Value::Object(_)) => whole.to_string(),
            _ => String::new(),
        };
        self.bytes += id.len() + name.len() + arguments.len();
        let call = match self.known(number, id, name) {
            Some(position) => &mut self.calls[position],
            None => {
                self.calls.push(CallSoFar { number, ..CallSoFar::default() });
                let last = self.calls.len() - 1;
                &mut self.calls[last]
            }
        };
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        call.arguments.push_str(&arguments);
    }

    /// The call that a piece goes on with; `None` if it begins another one. Some servers give all
    /// calls the same number, and those differ in their ids; some give none, and each piece that
    /// has a name begins a call.
    fn known(&self, number: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let is_other = |call: &CallSoFar| !id.is_empty() && !call.id.is_empty() && call.id != id;
        match number {
            Some(_) => {
                let last = self.calls.iter().rposition(|call| call.number == number)?;
                (!is_other(&self.calls[last])).then_some(last)
            }
            None if !id.is_empty() => self.calls.iter().rposition(|call| call.id == id),
            None if name.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn calls(pieces: &[Value]) -> Vec<(String, String, String)> {
        let mut all = CallPieces::default();
        for piece in pieces {
            all.take(&json!({"choices": [{"delta": {"tool_calls": [piece]}}]}).to_string());
        }
        let parts = |call: &CallSoFar| (call.id.clone(), call.name.clone(), call.arguments.clone());
        all.calls().iter().map(parts).collect()
    }

    fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
        (id.to_owned(), name.to_owned(), arguments.to_owned())
    }

    #[test]
    fn pieces_of_several_calls_may_be_mixed() {
        let seen = calls(&[
            json!({"index": 0, "id": "a", "function": {"name": "read", "arguments": ""}}),
            json!({"index": 1, "id": "b", "function": {"name": "write", "arguments": "{\"x\":"}}),
            json!({"index": 0, "function": {"arguments": "{}"}}),
            json!({"index": 1, "function": {"arguments": "1}"}}),
        ]);
        assert_eq!(seen, [call("a", "read", "{}"), call("b", "write", "{\"x\":1}")]);
    }

    #[test]
    fn a_number_that_leaves_a_gap_is_one_call() {
        for number in [1, 7, u64::MAX] {
            let seen = calls(&[
                json!({"index": number, "id": "a", "function": {"name": "pay", "arguments": ""}}),
                json!({"index": number, "function": {"arguments": "{\"sum\":1}"}}),
            ]);
            assert_eq!(seen, [call("a", "pay", "{\"sum\":1}")]);
        }
    }

    #[test]
    fn a_thought_that_comes_in_pieces_is_one_block_with_its_seal() {
        let mut all = CallPieces::default();
        for piece in [
            json!({"type": "reasoning.text", "text": "The file ", "index": 0, "signature": null}),
            json!({"type": "reasoning.text", "text": "will tell.", "index": 0}),
            json!({"type": "reasoning.text", "signature": "sealed", "index": 0}),
            json!({"type": "reasoning.encrypted", "data": "a", "id": "call-1", "index": 0}),
            json!({"type": "reasoning.encrypted", "data": "b", "id": "call-2", "index": 0}),
        ] {
            all.take(&json!({"choices": [{"delta": {"reasoning_details": [piece]}}]}).to_string());
        }
        let text = json!({"type": "reasoning.text", "text": "The file will tell.", "index": 0, "signature": "sealed"});
        assert_eq!(all.thoughts()[0], text);
        assert_eq!((&all.thoughts()[1]["data"], &all.thoughts()[2]["data"]), (&json!("a"), &json!("b")));
        assert_eq!(all.thoughts().len(), 3);
    }

    #[test]
    fn calls_under_one_number_or_none_are_told_apart() {
        for number in [json!(0), Value::Null] {
            let piece =
                |id: &str| json!({"index": number, "id": id, "function": {"name": "r", "arguments": {}}});
            assert_eq!(calls(&[piece("a"), piece("b")]), [call("a", "r", "{}"), call("b", "r", "{}")]);
        }
        let nameless = json!({"function": {"name": "r", "arguments": "{}"}});
        assert_eq!(calls(&[nameless.clone(), nameless]).len(), 2);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_more_than_what_came(events in prop::collection::vec(".{0,80}", 0..8), number: u64) {
            let mut all = CallPieces::default();
            for (position, event) in events.iter().enumerate() {
                all.take(event);
                all.take(&format!("{{\"tool_calls\": {event}}}"));
                let piece = json!({"index": number.wrapping_mul(position as u64), "id": event, "function": event});
                all.take(&json!({"choices": [{"delta": {"tool_calls": [piece, event]}}]}).to_string());
            }
            prop_assert!(all.calls().len() <= 2 * events.len());
            prop_assert!(all.bytes() <= events.iter().map(String::len).sum::<usize>());
        }
    }
}
