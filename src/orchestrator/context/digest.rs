//! A summary as it stands in prompts: facts word for word, then what a model or a rule made of the
//! rest. It can be read back, so that facts survive the next compaction as they are.

use super::excerpt::{boundary, cut};
use super::facts::{Class, Fact, facts_in, within};
use crate::models::Message;

const PINNED: &str = "Pinned, word for word:";
const FACTS: &str = "Facts, word for word:";
const PROSE: &str = "Summary:";

/// Facts may take this share of a summary, in percent; those that somebody pinned come on top.
const FACTS_PERCENT: usize = 60;

/// What a model made of a summary, without the facts that rules put beside it.
pub(crate) fn prose_of(summary: &str) -> String {
    Digest::read(summary).prose
}

/// A summary, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    pub(crate) facts: Vec<Fact>,
    pub(crate) prose: String,
}

impl Digest {
    /// Reads what [`Digest::text`] wrote. Any other text is prose.
    pub(crate) fn read(text: &str) -> Self {
        // The title is a line of its own: a fact that ends like it is none.
        let title = format!("\n{PROSE}\n");
        let (head, prose) = match (text.strip_prefix(&title[1..]), text.split_once(&title)) {
            (Some(prose), _) => ("", prose),
            (None, Some(parts)) => parts,
            (None, None) => return Self { facts: Vec::new(), prose: text.to_owned() },
        };
        let mut facts = Vec::new();
        let mut is_pinned = false;
        for line in head.lines() {
            match line {
                PINNED => is_pinned = true,
                FACTS => is_pinned = false,
                _ => {
                    let Some(text) = line.strip_prefix("- ") else { continue };
                    let read = facts_in(text).first().map_or(Class::Handle, |fact| fact.class);
                    let class = if is_pinned { Class::Pinned } else { read.max(Class::Decision) };
                    facts.push(Fact { class, text: text.to_owned() });
                }
            }
        }
        Self { facts, prose: prose.to_owned() }
    }

    /// The whole within so many bytes, and those of what is pinned.
    pub(crate) fn text(self, room: usize) -> String {
        let facts = within(self.facts, room * FACTS_PERCENT / 100);
        let pinned = facts.iter().filter(|fact| fact.class == Class::Pinned);
        let room = room + pinned.map(|fact| fact.text.len() + 3).sum::<usize>();
        let mut text = String::new();
        for (title, is_pinned) in [(PINNED, true), (FACTS, false)] {
            let mut of_kind =
                facts.iter().filter(|fact| (fact.class == Class::Pinned) == is_pinned).peekable();
            if of_kind.peek().is_some() {
                text.push_str(title);
                text.push('\n');
                of_kind.for_each(|fact| {
                    text.push_str("- ");
                    text.push_str(&fact.text.replace('\n', " "));
                    text.push('\n');
                });
            }
        }
        text.push_str(PROSE);
        text.push('\n');
        let left = room.saturating_sub(text.len());
        // As it is read back: without what a cut leaves hanging.
        text.push_str(self.prose[..boundary(&self.prose, left)].trim_end());
        text
    }
}

/// One thing that is compressed: a turn, an output, a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// What it is.
    pub(crate) title: String,
    /// What it says.
    pub(crate) text: String,
    /// What is to be kept of it beyond what its text shows.
    pub(crate) facts: Vec<Fact>,
}

impl Piece {
    /// All facts of it.
    pub(crate) fn all_facts(&self) -> impl Iterator<Item = Fact> {
        facts_in(&self.text).into_iter().chain(self.facts.clone())
    }

    /// The messages of a conversation. `handle` names the recorded result of the message at a
    /// position.
    pub(crate) fn of_messages(messages: &[Message], handle: impl Fn(usize) -> Option<String>) -> Vec<Self> {
        let piece = |(at, message): (usize, &Message)| match message {
            Message::User(text) => Self { title: "User".to_owned(), text: text.clone(), facts: Vec::new() },
            Message::Assistant { text, requests, .. } => {
                let asked: Vec<String> = requests
                    .iter()
                    .map(|request| format!("→ {} {}", request.tool, request.arguments))
                    .collect();
                let pinned = requests.iter().filter(|request| request.tool == super::PIN_TOOL);
                let pinned =
                    pinned.filter_map(|request| request.arguments["text"].as_str()).map(Fact::pinned);
                Self {
                    title: "Assistant".to_owned(),
                    text: [std::slice::from_ref(text), &asked].concat().join("\n").trim().to_owned(),
                    facts: pinned.collect(),
                }
            }
            Message::Picture(picture) => {
                Self { title: "Picture".to_owned(), text: picture.name.clone(), facts: Vec::new() }
            }
            Message::ToolResult { tool, content, .. } => Self {
                title: format!("Result of {tool}"),
                text: content.clone(),
                facts: handle(at)
                    .map(|handle| Fact::handle(&handle, tool, content.len()))
                    .into_iter()
                    .collect(),
            },
        };
        messages.iter().enumerate().map(piece).collect()
    }
}

/// Pieces as one text of at most about `room` bytes: each gets an even share of what is left.
pub(crate) fn notes_of(pieces: &[Piece], room: usize) -> String {
    let mut notes = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        let share = room.saturating_sub(notes.len()) / (pieces.len() - at);
        let text = cut(&piece.text, share.saturating_sub(piece.title.len() + 70));
        notes.push_str("## ");
        notes.push_str(&piece.title);
        notes.push('\n');
        notes.push_str(&text);
        notes.push_str("\n\n");
    }
    notes.truncate(boundary(&notes, room));
    notes
}

/// How many of the first messages are folded into a summary, so that those behind take at most
/// `recent` bytes. It cuts between turns: a result stays with its request.
pub(crate) fn fold_point(messages: &[Message], recent: usize) -> usize {
    let begins_turn = |at: usize| {
        let before = at.checked_sub(1).map(|before| &messages[before]);
        !matches!(messages[at], Message::ToolResult { .. } | Message::Picture(_))
            && !matches!(before, Some(Message::User(_) | Message::Picture(_)))
    };
    let mut kept = 0;
    let mut point = messages.len();
    for at in (0..messages.len()).rev() {
        kept += messages[at].bytes();
        if kept > recent {
            break;
        }
        if begins_turn(at) {
            point = at;
        }
    }
    point
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::task::ToolRequest;

    fn turn(text: &str) -> [Message; 2] {
        let requests = vec![ToolRequest { id: "1".into(), tool: "read".into(), arguments: json!({}) }];
        let result = Message::ToolResult {
            id: "1".into(),
            tool: "read".into(),
            content: text.into(),
            is_error: false,
        };
        [Message::Assistant { text: String::new(), requests, thinking: None }, result]
    }

    #[test]
    fn a_summary_is_read_back_as_it_was_written() {
        let fact = |class, text: &str| Fact { class, text: text.into() };
        let facts = vec![
            fact(Class::Pinned, "mauve"),
            fact(Class::Name, "see a/b.rs"),
            fact(Class::Decision, "we decided 1"),
        ];
        let digest = Digest { facts, prose: "It went well.\n- not a fact".into() };
        assert_eq!(Digest::read(&digest.clone().text(1000)), digest);
        assert_eq!(Digest::read("just words").prose, "just words");
    }

    #[test]
    fn a_fold_keeps_whole_turns() {
        let messages = [turn("aaaa"), turn("bbbb"), turn("cccc")].concat();
        assert_eq!(fold_point(&messages, usize::MAX), 0);
        assert_eq!(fold_point(&messages, 0), 6);
        let one = messages[4].bytes() + messages[5].bytes();
        assert_eq!(fold_point(&messages, one), 4);
        assert_eq!(fold_point(&messages, one + 5), 4, "half a turn more does not fit");
    }

    proptest! {
        #[test]
        fn a_summary_that_was_cut_is_the_same_when_it_is_cut_again(prose in "[a ]{0,60}", room in 0usize..60) {
            let text = Digest { facts: Vec::new(), prose: prose.trim().to_owned() }.text(room);
            let again = Digest { facts: Vec::new(), prose: prose_of(&text).trim().to_owned() };
            prop_assert_eq!(again.text(room), text);
        }

        #[test]
        fn pinned_facts_survive_any_number_of_compactions_in_any_room(
            pinned in prop::collection::vec("[a-z0-9 /.:-]{1,40}", 0..20),
            rounds in prop::collection::vec((0usize..2000, "[ -~]{0,200}"), 1..8),
        ) {
            let mut digest = Digest {
                facts: pinned.iter().map(|text| Fact::pinned(text)).filter(|fact| !fact.text.is_empty()).collect(),
                prose: String::new(),
            };
            let expected: std::collections::BTreeSet<String> = digest.facts.iter().map(|fact| fact.text.clone()).collect();
            for (room, text) in rounds {
                digest.facts.extend(facts_in(&text).into_iter().filter(|fact| fact.class != Class::Pinned));
                digest = Digest::read(&digest.text(room));
            }
            let kept = digest.facts.iter().filter(|fact| fact.class == Class::Pinned);
            prop_assert_eq!(kept.map(|fact| fact.text.clone()).collect::<std::collections::BTreeSet<_>>(), expected);
        }
    }
}
