//! What is kept word for word when a text is compressed: found by rules, so that no model has to be
//! trusted with a number.

use std::collections::HashSet;

/// A statement that is kept is no longer than this, in bytes; of a longer one, the words around what
/// matters.
const STATEMENT_BYTES: usize = 240;

/// Words around what matters in a long statement.
const AROUND: (usize, usize) = (12, 8);

/// Facts of one text at most: a table of a thousand numbers is not a thousand facts.
const PER_TEXT: usize = 12;

/// Words that make a statement a decision, or something that is still to be done.
const DECISIONS: [&str; 20] = [
    "decided",
    "decision",
    "agreed",
    "we will",
    "chose",
    "chosen",
    "must",
    "todo",
    "to do",
    "open question",
    "deadline",
    "due ",
    "blocked",
    "owes",
    "promised",
    "follow up",
    "do not",
    "never",
    "required",
    "pending",
];

/// What a message begins with that is to be kept whatever it says.
const PIN: &str = "pin:";

/// Why a statement is kept; the later, the sooner it has to go where there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Somebody said so. It never goes.
    Pinned,
    /// A decision, or an obligation.
    Decision,
    /// It names something: a path, an address, an id.
    Name,
    /// It has a number.
    Number,
    /// Where a recorded result is.
    Handle,
}

/// A statement that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) class: Class,
    pub(crate) text: String,
}

impl Fact {
    /// A statement that somebody wants to be kept.
    pub(crate) fn pinned(text: &str) -> Self {
        Self { class: Class::Pinned, text: one_line(text) }
    }

    /// Where a result is, and what it is the result of.
    pub(crate) fn handle(handle: &str, tool: &str, bytes: usize) -> Self {
        Self { class: Class::Handle, text: format!("{handle}: result of {tool}, {bytes} bytes") }
    }
}

/// What a message wants to be kept word for word: all that follows `pin:`.
pub(crate) fn pin_in(message: &str) -> Option<&str> {
    behind_pin(message).filter(|text| !text.is_empty())
}

/// Whether a message wants something to be kept and does not say what.
pub(crate) fn is_pin_of_nothing(message: &str) -> bool {
    behind_pin(message).is_some_and(str::is_empty)
}

fn behind_pin(message: &str) -> Option<&str> {
    let message = message.trim_start();
    let begins = message.get(..PIN.len())?.eq_ignore_ascii_case(PIN);
    begins.then(|| message[PIN.len()..].trim())
}

/// The facts of a text, in its order.
pub(crate) fn facts_in(text: &str) -> Vec<Fact> {
    if let Some(pinned) = pin_in(text) {
        return vec![Fact::pinned(pinned)];
    }
    let mut found: Vec<Fact> = statements(text).filter_map(fact).collect();
    if found.len() > PER_TEXT {
        let mut classes: Vec<Class> = found.iter().map(|fact| fact.class).collect();
        classes.sort_unstable();
        let last = classes[PER_TEXT - 1];
        found.retain(|fact| fact.class <= last);
        found.truncate(PER_TEXT);
    }
    found
}

/// Lines, and the sentences in them.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split_inclusive(". ")).map(str::trim).filter(|text| !text.is_empty())
}

fn fact(statement: &str) -> Option<Fact> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let named = words.iter().position(|word| is_name(bare(word)));
    let numbered = words.iter().position(|word| is_number(bare(word)));
    let lower = statement.to_lowercase();
    let class = if DECISIONS.iter().any(|word| lower.contains(word)) {
        Class::Decision
    } else if named.is_some() {
        Class::Name
    } else if numbered.is_some() {
        Class::Number
    } else {
        return None;
    };
    if statement.len() <= STATEMENT_BYTES {
        return Some(Fact { class, text: statement.to_owned() });
    }
    let at = named.or(numbered)?;
    let (from, to) = (at.saturating_sub(AROUND.0), (at + AROUND.1).min(words.len()));
    let around = words[from..to].join(" ");
    // One word alone may be longer than a statement: that is a content and not a fact.
    (around.len() <= 2 * STATEMENT_BYTES).then_some(Fact { class, text: around })
}

/// A word without what surrounds it in a sentence.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| "\"'`()[]{}<>,;:!?".contains(c)).trim_end_matches('.')
}

/// Whether a word names something: an address, a path, an id.
fn is_name(word: &str) -> bool {
    if word.contains("://") {
        return true;
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let mail = word.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.contains('.'));
    let path = word.len() > 3
        && word.contains('/')
        && letters > 1
        && (word.starts_with(['/', '.', '~']) || word.contains('.') || word.matches('/').count() > 1);
    let id = (digits > 0 && letters > 0 && word.len() > 3 && digits + letters >= word.len() - 4)
        || (word.starts_with('#') && digits > 0);
    mail || path || id || is_file(word)
}

/// `notes.md`, `Cargo.toml`.
fn is_file(word: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
    };
    word.rsplit_once('.').is_some_and(|(stem, end)| {
        (2..=4).contains(&end.len())
            && end.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            && end.bytes().any(|c| c.is_ascii_lowercase())
            && stem.split('.').all(is_part)
    })
}

fn is_number(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let marks = word.starts_with(['$', '€', '£']) || word.ends_with(['%', '€']);
    digits > 2 || (digits > 0 && (marks || word.contains('.')))
}

/// The facts that fit into so many bytes, in their order and each once: the weightier ones first, then
/// the newer ones. Pinned ones stay whatever room there is.
pub(crate) fn within(facts: Vec<Fact>, room: usize) -> Vec<Fact> {
    let mut seen = HashSet::new();
    let facts: Vec<Fact> = facts.into_iter().filter(|fact| seen.insert(fact.text.clone())).collect();
    let mut order: Vec<usize> = (0..facts.len()).collect();
    order.sort_by_key(|at| (facts[*at].class, std::cmp::Reverse(*at)));
    let (mut left, mut kept) = (room, HashSet::new());
    for at in order {
        let size = facts[at].text.len() + 3;
        if facts[at].class == Class::Pinned {
            kept.insert(at);
        } else if size <= left {
            left -= size;
            kept.insert(at);
        }
    }
    (0..).zip(facts).filter(|(at, _)| kept.contains(at)).map(|(_, fact)| fact).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(text: &str) -> Vec<Class> {
        facts_in(text).into_iter().map(|fact| fact.class).collect()
    }

    #[test]
    fn names_numbers_and_decisions_are_facts_and_small_talk_is_none() {
        for (text, class) in [
            ("The report is at https://example.org/r/7.", Class::Name),
            ("See src/task/apply.rs for it", Class::Name),
            ("It was ticket ABC-123", Class::Name),
            ("The commit is 9f8e7d6", Class::Name),
            ("Ask ada@example.org about it", Class::Name),
            ("Open notes.md", Class::Name),
            ("Revenue was 48,200 in March", Class::Number),
            ("It grew by 7%", Class::Number),
            ("We decided for the red one", Class::Decision),
            ("The invoice must go out on Friday", Class::Decision),
        ] {
            assert_eq!(classes(text), [class], "{text}");
        }
        assert_eq!(classes("Thank you, that looks fine. I will go on and/or stop."), []);
    }

    #[test]
    fn what_is_pinned_is_kept_whole_and_always() {
        assert_eq!(pin_in("  Pin: the colour is mauve"), Some("the colour is mauve"));
        assert_eq!(pin_in("pinned: no"), None);
        let facts = vec![
            Fact { class: Class::Number, text: "a number 100".into() },
            Fact::pinned("kept"),
            Fact { class: Class::Decision, text: "decided".into() },
        ];
        let kept: Vec<String> = within(facts, 1).into_iter().map(|fact| fact.text).collect();
        assert_eq!(kept, ["kept"]);
    }

    #[test]
    fn the_weightier_and_the_newer_stay_and_each_once() {
        let number = |n: u32| Fact { class: Class::Number, text: format!("number {n:04}") };
        let mut facts: Vec<Fact> = (0..10).map(number).collect();
        facts.push(number(9));
        facts.insert(0, Fact { class: Class::Decision, text: "decided 1".into() });
        let kept: Vec<String> = within(facts, 3 * 14).into_iter().map(|fact| fact.text).collect();
        assert_eq!(kept, ["decided 1", "number 0008", "number 0009"]);
    }

    #[test]
    fn a_table_is_not_a_thousand_facts_and_a_long_line_is_cut_to_its_point() {
        let table: String = (1000..2000).map(|n| format!("row {n}\n")).collect();
        assert_eq!(facts_in(&table).len(), PER_TEXT);
        let long = format!("{} id X-4711 {}", "word ".repeat(100), "word ".repeat(100));
        let facts = facts_in(&long);
        assert!(facts[0].text.contains("X-4711") && facts[0].text.len() < STATEMENT_BYTES, "{facts:?}");
    }
}
