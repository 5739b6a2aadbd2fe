//! The conversation within a step, rebuilt from its recorded calls.

use std::collections::{HashMap, VecDeque};

use crate::models::{Message, Thinking};
use crate::orchestrator::{GO_ON, excerpt, marked};
use crate::task::{BlobHash, CallState, CallSubject, Payload, Step, ToolRequest};

/// How much of its results a conversation shows, in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    /// Of one result.
    pub(super) result: usize,
    /// Of all results of one turn.
    pub(super) turn: usize,
}

/// A conversation, and what is to be done next in it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// After the opening, oldest first.
    pub(super) messages: Vec<Message>,
    /// The call of which each message is the outcome, or which read it.
    marks: Vec<u32>,
    /// What stands for the turns that were folded.
    pub(super) digest: Option<String>,
    /// The first call that brought content from outside.
    first_untrusted: Option<u32>,
    /// The calls up to this number are folded.
    pub(super) folded: u32,
    /// Tool calls the model asked for that have no outcome yet, in order.
    pub(super) open: VecDeque<ToolRequest>,
    /// Model turns that were answered.
    pub(super) turns: u32,
    /// What was said of the answer so far, if the newest turn was cut: the next one goes on with it.
    begun: Option<String>,
    /// The newest answer that came to its end, with all that was said of it over several turns.
    whole: String,
    /// The number of the first model call: it recorded the opening.
    pub(super) first_call: Option<u32>,
    /// The newest message of a person that is part of it.
    pub(super) heard: i64,
    /// The step it is in, as results are named by.
    step: String,
    shares: Shares,
    /// What the results of the newest turn take of their share.
    shown: usize,
    /// Calls so far.
    calls: u32,
    /// A recorded call that has to be dispatched again: its number and its next attempt.
    again: Option<(u32, u32)>,
    /// Whether the provider found it too long, and has not answered since.
    overflowed: bool,
    /// How often the same call brought the same result.
    repeats: HashMap<(String, BlobHash, BlobHash), u32>,
}

/// A recorded call with its contents read.
pub(super) struct Recorded {
    pub(super) number: u32,
    pub(super) attempt: u32,
    pub(super) state: CallState,
    pub(super) subject: CallSubject,
    pub(super) said: Turn,
    /// What a model has to know before it reads the result.
    pub(super) note: String,
    pub(super) is_error: bool,
    /// Whether the limit of output tokens cut it.
    pub(super) is_cut: bool,
    /// Whether what it brought came from outside.
    pub(super) untrusted: bool,
    /// Messages of people that a model turn read first, oldest first; and the newest of them.
    pub(super) heard: (Vec<Message>, i64),
    /// What a model turn was told afterwards, if it claimed to be done and was not.
    pub(super) refusal: Option<String>,
}

/// What a model said, or the result of a tool as its text.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) text: String,
    pub(super) requests: Vec<ToolRequest>,
    /// What it thought before it asked for them.
    pub(super) thinking: Option<Box<Thinking>>,
}

/// What a tool call brought.
pub(super) struct Returned<'a> {
    pub(super) number: u32,
    pub(super) tool: &'a str,
    pub(super) arguments: BlobHash,
    pub(super) content: &'a str,
    /// What a model has to know before it reads the result.
    pub(super) note: &'a str,
    /// Whether it came from outside.
    pub(super) untrusted: bool,
    pub(super) is_error: bool,
}

impl Conversation {
    /// A conversation in which nothing was said yet. `heard` is the newest message of a person that
    /// its opening holds.
    pub(super) fn new(step: &str, shares: Shares, heard: i64) -> Self {
        Self { step: step.to_owned(), shares, heard, ..Self::default() }
    }

    /// The conversation as the recorded calls left it.
    pub(super) fn recall(mut self, calls: Vec<Recorded>) -> Self {
        for call in calls {
            self.calls = call.number;
            match (&call.subject, &call.state) {
                (CallSubject::Model { .. }, CallState::Committed) => {
                    let (written, newest) = call.heard;
                    self.hear(written, newest, call.number);
                    self.answered(call.number, call.said, call.is_cut);
                    call.refusal.into_iter().for_each(|words| self.tell(words));
                }
                (CallSubject::Tool { tool, arguments, .. }, CallState::Committed) => {
                    self.returned(&Returned {
                        number: call.number,
                        tool,
                        arguments: arguments.hash(),
                        content: &call.said.text,
                        note: &call.note,
                        untrusted: call.untrusted,
                        is_error: call.is_error,
                    });
                }
                (_, CallState::Asked(_) | CallState::Approved | CallState::Accepted) => {
                    self.again = Some((call.number, call.attempt));
                }
                // A failure that is known to have had no effect was answered to the model, if
                // it went on; the last one is tried again.
                _ => self.again = Some((call.number, call.attempt + 1)),
            }
        }
        self
    }

    /// The number of the next call.
    pub(super) fn next_number(&self) -> u32 {
        self.again.map_or(self.calls + 1, |(number, _)| number)
    }

    /// The number and the attempt of the next call.
    pub(super) fn next_call(&mut self) -> (u32, u32) {
        self.again.take().unwrap_or_else(|| {
            self.calls += 1;
            (self.calls, 1)
        })
    }

    /// The provider found it too long: the call is made again, with its next attempt. Returns whether that
    /// is news, for a conversation that is made smaller and is too long again would be so for ever.
    pub(super) fn overflows(&mut self, number: u32, attempt: u32) -> bool {
        self.again = Some((number, attempt + 1));
        !std::mem::replace(&mut self.overflowed, true)
    }

    /// Shows less of the results that are still to come.
    pub(super) fn narrow(&mut self, shares: Shares) {
        self.shares = shares;
    }

    /// Adds what people wrote before a call.
    pub(super) fn hear(&mut self, written: Vec<Message>, newest: i64, before: u32) {
        for message in written {
            self.add(message, before);
        }
        self.heard = self.heard.max(newest);
    }

    /// Adds what the engine says of the newest turn.
    pub(super) fn tell(&mut self, words: String) {
        self.add(Message::User(words), self.calls);
    }

    /// Adds the model's turn. One that was cut is followed by the word to go on with it.
    ///
    /// The keys of arguments are sorted: a database may return them in another order than they came in.
    pub(super) fn answered(&mut self, number: u32, said: Turn, is_cut: bool) {
        let Turn { text, mut requests, thinking } = said;
        let begun = self.begun.take().unwrap_or_default();
        requests.iter_mut().for_each(|request| request.arguments.sort_all_objects());
        self.first_call.get_or_insert(number);
        self.turns += 1;
        self.overflowed = false;
        self.shown = 0;
        self.open = requests.iter().cloned().collect();
        if !requests.is_empty() {
            return self.add(Message::Assistant { text, requests, thinking }, number);
        }
        let whole = begun + &text;
        self.add(Message::Assistant { text, requests, thinking: None }, number);
        if is_cut {
            self.begun = Some(whole);
            self.add(Message::User(GO_ON.to_owned()), number);
        } else {
            self.whole = whole;
        }
    }

    /// The whole answer, if the newest turn brought it to its end.
    pub(super) fn answer(&self) -> Option<String> {
        match self.messages.last() {
            Some(Message::Assistant { requests, .. }) if requests.is_empty() => Some(self.whole.clone()),
            _ => None,
        }
    }

    /// Adds a tool's result to the oldest open request. Returns how often this very call has
    /// brought this very result.
    pub(super) fn returned(&mut self, returned: &Returned<'_>) -> u32 {
        let Some(request) = self.open.pop_front() else { return 0 };
        // What is left of the turn's share is divided among the results that are still to come.
        let even = self.shares.turn.saturating_sub(self.shown) / (self.open.len() + 1);
        let shown = excerpt(returned.content, self.shares.result.min(even), &self.handle(returned.number));
        let shown = match returned.untrusted {
            true => {
                self.first_untrusted.get_or_insert(returned.number);
                marked(returned.tool, &shown)
            }
            false => shown,
        };
        self.shown += shown.len();
        let message = Message::ToolResult {
            id: request.id,
            tool: request.tool,
            content: format!("{}{shown}", returned.note),
            is_error: returned.is_error,
        };
        self.add(message, returned.number);
        let result = BlobHash::of(returned.content.as_bytes());
        let count = self.repeats.entry((returned.tool.to_owned(), returned.arguments, result)).or_default();
        *count += 1;
        *count
    }

    /// By what name the result of a call is read.
    fn handle(&self, number: u32) -> String {
        format!("{}/{number}", self.step)
    }

    /// By what name the message at a position is read, if it is a result.
    pub(super) fn handles(&self) -> Vec<Option<String>> {
        let handle = |(message, mark): (&Message, &u32)| {
            matches!(message, Message::ToolResult { .. }).then(|| self.handle(*mark))
        };
        self.messages.iter().zip(&self.marks).map(handle).collect()
    }

    /// How many of the first messages are of calls that have been made. What is behind them belongs to the
    /// next one.
    pub(super) fn made(&self) -> usize {
        let next = self.next_number();
        self.marks.iter().position(|mark| *mark >= next).unwrap_or(self.marks.len())
    }

    /// The call up to which the first messages reach.
    pub(super) fn mark(&self, messages: usize) -> Option<u32> {
        messages.checked_sub(1).and_then(|last| self.marks.get(last)).copied()
    }

    /// Lets a summary stand for the calls up to one.
    pub(super) fn fold(&mut self, through: u32, digest: String) {
        let from = self.marks.iter().position(|mark| *mark > through).unwrap_or(self.marks.len());
        self.messages.drain(..from);
        self.marks.drain(..from);
        self.folded = through;
        self.digest = Some(digest);
    }

    /// Whether what stands for the folded turns was made of content from outside.
    pub(super) fn is_digest_untrusted(&self) -> bool {
        self.first_untrusted.is_some_and(|first| first <= self.folded)
    }

    fn add(&mut self, message: Message, mark: u32) {
        self.messages.push(message);
        self.marks.push(mark);
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

    fn words(text: &str) -> Turn {
        Turn { text: text.into(), ..Turn::default() }
    }

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
            said: Turn { text: text.into(), requests: requests.collect(), thinking: None },
            note: String::new(),
            is_error: false,
            is_cut: false,
            untrusted: false,
            heard: (Vec::new(), 0),
            refusal: None,
        }
    }

    fn tool(number: u32, name: &str, state: CallState) -> Recorded {
        let subject = CallSubject::Tool {
            tool: name.into(),
            arguments: Payload::Inline(json!({})),
            labels: Default::default(),
            effect: Effect::ReadOnly,
            request_id: Some(format!("id-{name}")),
        };
        Recorded { subject, state, ..model(number, "result", &[]) }
    }

    fn recall(calls: Vec<Recorded>) -> Conversation {
        Conversation::new("step-1", Shares { result: 1000, turn: 2000 }, 0).recall(calls)
    }

    #[test]
    fn a_step_continues_behind_the_last_recorded_result() {
        let calls = vec![model(1, "", &["a", "b"]), tool(2, "a", CallState::Committed)];
        let mut conversation = recall(calls);
        assert_eq!(conversation.messages.len(), 2);
        assert_eq!(conversation.open.front().map(|request| request.tool.as_str()), Some("b"));
        assert_eq!(conversation.next_call(), (3, 1));
    }

    #[test]
    fn an_answer_that_was_cut_goes_on_and_is_whole_in_the_end() {
        let cut = |number, text| Recorded { is_cut: true, ..model(number, text, &[]) };
        let mut conversation = recall(vec![cut(1, "one, tw"), cut(2, "o, thr")]);
        assert_eq!(conversation.messages.last(), Some(&Message::User(GO_ON.into())));
        assert_eq!(conversation.answer(), None, "there is more to be said");
        conversation.answered(3, words("ee"), false);
        assert_eq!(conversation.answer().as_deref(), Some("one, two, three"));
        conversation.tell("Mend it".into());
        assert_eq!(conversation.answer(), None);
        conversation.answered(4, words("four"), false);
        assert_eq!(conversation.answer().as_deref(), Some("four"), "it was whole: this is another one");
    }

    #[test]
    fn what_was_begun_before_a_tool_was_asked_for_is_no_part_of_the_answer() {
        let cut = Recorded { is_cut: true, ..model(1, "Let me s", &[]) };
        let calls = vec![cut, model(2, "", &["a"]), tool(3, "a", CallState::Committed), model(4, "ok", &[])];
        assert_eq!(recall(calls).answer().as_deref(), Some("ok"));
    }

    #[test]
    fn a_lost_call_is_dispatched_again_under_its_own_number() {
        let calls = vec![model(1, "", &["a"]), tool(2, "a", CallState::Lost)];
        let mut conversation = recall(calls);
        assert_eq!(conversation.next_call(), (2, 2));
        assert_eq!(conversation.next_call(), (3, 1));
    }

    #[test]
    fn a_call_that_waits_for_a_person_stays_the_same_attempt() {
        let calls = vec![model(1, "", &["a"]), tool(2, "a", CallState::Approved)];
        let mut conversation = recall(calls);
        assert_eq!(conversation.next_call(), (2, 1));
    }

    #[test]
    fn what_people_wrote_stands_before_the_turn_that_read_it() {
        let late = Recorded { heard: (vec![Message::User("Be brief".into())], 9), ..model(3, "ok", &[]) };
        let calls = vec![model(1, "", &["a"]), tool(2, "a", CallState::Committed), late];
        let conversation = recall(calls);
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
        let mut conversation = recall(calls);
        let arguments = Payload::Inline(json!({})).hash();
        let again = Returned {
            number: 6,
            tool: "a",
            arguments,
            content: "result",
            note: "",
            untrusted: false,
            is_error: false,
        };
        assert_eq!(conversation.returned(&again), 3);
    }

    #[test]
    fn large_results_are_shown_in_part_and_a_turn_has_one_share_for_all_of_them() {
        let long = |number, name| Recorded {
            said: words(&"x".repeat(5000)),
            ..tool(number, name, CallState::Committed)
        };
        let calls = vec![model(1, "", &["a", "b", "c"]), long(2, "a"), long(3, "b"), long(4, "c")];
        let conversation = recall(calls);
        let sizes: Vec<usize> = conversation.messages[1..].iter().map(Message::bytes).collect();
        assert!(sizes.iter().sum::<usize>() < 2500, "{sizes:?}");
        let Message::ToolResult { content, .. } = &conversation.messages[3] else { panic!() };
        assert!(content.contains(r#"{"handle": "step-1/4", "offset": "#), "{content}");
    }

    #[test]
    fn a_digest_of_content_from_outside_is_as_untrusted_as_that() {
        let outside = Recorded { untrusted: true, ..tool(4, "b", CallState::Committed) };
        let calls =
            vec![model(1, "", &["a"]), tool(2, "a", CallState::Committed), model(3, "", &["b"]), outside];
        let mut conversation = recall(calls);
        let Message::ToolResult { content, .. } = &conversation.messages[3] else { panic!() };
        assert_eq!(content, "<untrusted from=\"b\">\nresult\n</untrusted>");
        conversation.fold(2, "before".into());
        assert!(!conversation.is_digest_untrusted(), "that turn brought nothing from outside");
        conversation.fold(4, "all".into());
        assert!(conversation.is_digest_untrusted());
    }

    #[test]
    fn a_fold_leaves_what_was_said_since_and_the_numbers_of_the_calls() {
        let late = Recorded { heard: (vec![Message::User("Be brief".into())], 9), ..model(3, "", &["b"]) };
        let calls = vec![
            model(1, "", &["a"]),
            tool(2, "a", CallState::Committed),
            late,
            tool(4, "b", CallState::Committed),
        ];
        let mut conversation = recall(calls);
        assert_eq!(conversation.mark(2), Some(2));
        conversation.fold(2, "before".into());
        assert_eq!(conversation.messages[0], Message::User("Be brief".into()));
        assert_eq!((conversation.messages.len(), conversation.next_call()), (3, (5, 1)));
        conversation.fold(4, "all".into());
        assert!(conversation.messages.is_empty() && conversation.first_call == Some(1));
    }
}
