//! What the models of a task say while they work, as reasoning parts of its message: a pure function
//! from pieces that are hints, and from the journal that has the whole, to the chunks of a UI message
//! stream.
//!
//! A part is the same in the end whether its pieces were heard, some of them, or none: the entry of the
//! answer adds what is missing. How many chunks it took is another matter, so a stream with words cannot
//! be counted.

use std::collections::{BTreeMap, HashMap};

use super::super::ui_stream::UiChunk;
use crate::orchestrator::{Part, Said};

/// A call within a task: its step, and its number there.
type Call = (u32, u32);

/// The words of a task so far, as far as it matters for what is said next.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// What is being told.
    open: BTreeMap<(Call, bool), Open>,
    /// The newest attempt at a call that the journal begins.
    begun: HashMap<Call, u32>,
    /// The newest attempt that is over. Pieces of it may still come: they are too late.
    over: HashMap<Call, u32>,
}

/// A part that is not complete.
#[derive(Debug)]
struct Open {
    id: String,
    attempt: u32,
    round: u32,
    /// How many pieces were told, each after the one before.
    pieces: u32,
    text: String,
}

impl Words {
    /// What a piece adds to the message.
    pub(super) fn said(&mut self, said: &Said) -> Vec<UiChunk> {
        let call = (said.speaking.step, said.speaking.call);
        let attempt = said.speaking.attempt;
        if self.over.get(&call).is_some_and(|over| attempt <= *over) {
            return Vec::new();
        }
        let key = (call, said.part == Part::Text);
        let mut chunks = Vec::new();
        if let Some(open) = self.open.get(&key)
            && (open.attempt, open.round) != (attempt, said.round)
        {
            chunks.extend(self.close(key));
        }
        let part = match self.open.get_mut(&key) {
            Some(open) if open.pieces == said.from => open,
            // Known already, or some before it were missed: the entry of the answer has them.
            Some(_) => return chunks,
            None if said.from > 0 => return chunks,
            None => {
                let kind = if key.1 { "said" } else { "thought" };
                let id = format!("{kind}-{}-{}-{attempt}-{}", call.0, call.1, said.round);
                chunks.push(UiChunk::ReasoningStart { id: id.clone() });
                let open = Open { id, attempt, round: said.round, pieces: 0, text: String::new() };
                self.open.entry(key).or_insert(open)
            }
        };
        part.pieces = said.to;
        part.text.push_str(&said.text);
        chunks.push(UiChunk::ReasoningDelta { id: part.id.clone(), delta: said.text.clone() });
        chunks
    }

    /// The journal has an attempt at a call.
    pub(super) fn begun(&mut self, step: u32, call: u32, attempt: u32) {
        self.begun.insert((step, call), attempt);
    }

    /// The journal has the whole answer.
    pub(super) fn answered(&mut self, step: u32, call: u32, text: &str) -> Vec<UiChunk> {
        let call = (step, call);
        let mut chunks: Vec<UiChunk> = self.close((call, false)).into_iter().collect();
        let told = self.open.get(&(call, true)).map(|open| (open.id.clone(), open.text.as_str()));
        match told {
            // A long answer may be known by its beginning only.
            Some((_, told)) if told.starts_with(text) => {}
            Some((id, told)) if text.starts_with(told) => {
                chunks.push(UiChunk::ReasoningDelta { id, delta: text[told.len()..].to_owned() });
            }
            _ if text.is_empty() => {}
            _ => {
                let id = format!("said-{}-{}", call.0, call.1);
                chunks.push(UiChunk::ReasoningStart { id: id.clone() });
                chunks.push(UiChunk::ReasoningDelta { id: id.clone(), delta: text.to_owned() });
                chunks.push(UiChunk::ReasoningEnd { id });
            }
        }
        chunks.extend(self.over(call));
        chunks
    }

    /// The call failed, or nobody knows what became of it.
    pub(super) fn failed(&mut self, step: u32, call: u32) -> Vec<UiChunk> {
        self.over((step, call))
    }

    /// The message ends: nothing stays open.
    pub(super) fn end(&mut self) -> Vec<UiChunk> {
        std::mem::take(&mut self.open)
            .into_values()
            .map(|open| UiChunk::ReasoningEnd { id: open.id })
            .collect()
    }

    fn over(&mut self, call: Call) -> Vec<UiChunk> {
        let open = [(call, false), (call, true)];
        let heard = open.iter().filter_map(|key| self.open.get(key)).map(|open| open.attempt);
        let attempt = heard.chain(self.begun.remove(&call)).max().unwrap_or(1);
        self.over.insert(call, attempt);
        open.into_iter().filter_map(|key| self.close(key)).collect()
    }

    fn close(&mut self, key: (Call, bool)) -> Option<UiChunk> {
        self.open.remove(&key).map(|open| UiChunk::ReasoningEnd { id: open.id })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::orchestrator::Speaking;
    use crate::task::TaskId;

    fn piece(attempt: u32, from: u32, text: &str) -> Said {
        let speaking = Speaking { task_id: TaskId(Uuid::nil()), step: 0, call: 1, attempt };
        Said { speaking, round: 1, part: Part::Text, from, to: from + 1, text: text.into() }
    }

    /// The texts of the parts, each of which was begun before it was told and is ended.
    fn parts(chunks: &[UiChunk]) -> Vec<String> {
        let (mut open, mut whole) = (BTreeMap::<&str, String>::new(), Vec::new());
        for chunk in chunks {
            match chunk {
                UiChunk::ReasoningStart { id } => assert!(open.insert(id, String::new()).is_none()),
                UiChunk::ReasoningDelta { id, delta } => open.get_mut(id.as_str()).unwrap().push_str(delta),
                UiChunk::ReasoningEnd { id } => whole.push(open.remove(id.as_str()).unwrap()),
                other => panic!("{other:?}"),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        whole
    }

    #[test]
    fn whoever_heard_all_some_or_nothing_has_the_same_part_in_the_end() {
        let pieces = [piece(1, 0, "one "), piece(1, 1, "two "), piece(1, 2, "three")];
        for heard in [vec![0, 1, 2], vec![0], vec![0, 2], vec![1, 2], vec![0, 0, 1], vec![]] {
            let mut words = Words::default();
            words.begun(0, 1, 1);
            let mut chunks: Vec<UiChunk> =
                heard.iter().flat_map(|at: &usize| words.said(&pieces[*at])).collect();
            chunks.extend(words.answered(0, 1, "one two three"));
            // A piece that overtook nothing but comes behind the entry.
            chunks.extend(words.said(&pieces[2]));
            chunks.extend(words.end());
            assert_eq!(parts(&chunks), ["one two three"], "{heard:?}");
        }
    }

    #[test]
    fn a_failed_attempt_is_closed_and_the_next_one_is_another_part() {
        let mut words = Words::default();
        words.begun(0, 1, 1);
        let mut chunks = words.said(&piece(1, 0, "hal"));
        chunks.extend(words.failed(0, 1));
        chunks.extend(words.said(&piece(1, 1, "f")));
        // The journal may be told a moment after the pieces.
        chunks.extend(words.said(&piece(2, 0, "who")));
        words.begun(0, 1, 2);
        chunks.extend(words.said(&piece(2, 1, "le")));
        chunks.extend(words.answered(0, 1, "whole"));
        assert_eq!(parts(&chunks), ["hal", "whole"]);
    }

    #[test]
    fn another_model_begins_another_part() {
        let mut words = Words::default();
        let mut chunks = words.said(&piece(1, 0, "no"));
        chunks.extend(words.said(&Said { round: 2, ..piece(1, 0, "yes") }));
        chunks.extend(words.answered(0, 1, "yes!"));
        assert_eq!(parts(&chunks), ["no", "yes!"]);
    }

    #[test]
    fn nothing_stays_open_at_the_end() {
        let mut words = Words::default();
        let mut chunks = words.said(&piece(1, 0, "never"));
        chunks.extend(words.said(&Said { part: Part::Reasoning, ..piece(1, 0, "hm") }));
        chunks.extend(words.end());
        assert_eq!(parts(&chunks).len(), 2);
        assert!(words.answered(0, 2, "").is_empty(), "an answer of tool calls alone has no words");
    }
}
