//! Where the rules give up on a goal, so that whoever wrote it can say it otherwise.

use super::goal::understand;

/// What the family of goals begins with; verbs that take a file first.
const OF_FILES: [&str; 9] = ["read", "show", "print", "display", "open", "cat", "view", "compare", "diff"];
const OTHERS: [&str; 16] = [
    "find",
    "search",
    "look",
    "locate",
    "grep",
    "list",
    "count",
    "collect",
    "gather",
    "fetch",
    "download",
    "get",
    "retrieve",
    "calculate",
    "compute",
    "report",
];

/// What of a goal is not understood.
pub(super) fn where_stuck(goal: &str) -> String {
    let words: Vec<&str> = goal.split_whitespace().collect();
    let starts = (1..words.len()).rev().map(|at| words[..at].join(" "));
    // What cannot be said of a part of it is not the part's fault; long goals say more than one thing anyway.
    if let Some(start) = starts.take(WORDS).find(|start| understand(start).is_some()) {
        let rest = goal.split_whitespace().skip(start.split(' ').count()).collect::<Vec<_>>().join(" ");
        return format!("\"{start}\" is understood, \"{}\" behind it is not", cut(&rest));
    }
    let verb = words.iter().map(|word| word.to_lowercase()).find(|word| !POLITE.contains(&word.as_str()));
    let verb = verb.unwrap_or_default();
    match verb.trim_matches(|letter: char| !letter.is_alphanumeric()) {
        verb if OF_FILES.contains(&verb) => format!(
            "behind \"{verb}\" nothing is seen that is a file: its name has an ending (notes.md), a place (./notes) or \
             quotes"
        ),
        verb if OTHERS.contains(&verb) => format!("what is behind \"{verb}\" is not understood"),
        verb => format!("\"{}\" is nothing that the rules can do", cut(verb)),
    }
}

/// As many words of a goal are left out to find what is understood of it.
const WORDS: usize = 60;

/// Words before the verb.
const POLITE: [&str; 6] = ["please", "kindly", "now", "hey", "hi", "hello"];

fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_named() {
        for (goal, expected) in [
            ("Write hello to hello.txt", "\"write\" is nothing that the rules can do"),
            ("Please read pipe", "behind \"read\" nothing is seen that is a file"),
            (
                "Read README.md and translate it",
                "\"Read README.md\" is understood, \"and translate it\" behind it is not",
            ),
            (
                "Find every TODO comment in this repository and write a report to src",
                "write a report to\" is understood, \"src\" behind it is not",
            ),
        ] {
            assert!(understand(goal).is_none(), "{goal}");
            let said = where_stuck(goal);
            assert!(said.contains(expected), "{goal}: {said}");
        }
    }
}
