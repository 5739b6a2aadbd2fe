//! Phrases: quoted text, file names, addresses and patterns within a goal.

use regex::bytes::RegexBuilder;

/// A goal with its quoted phrases set aside, so that words inside of quotes are never read
/// as words of the goal. In place of the first phrase stands its number, 0, between the
/// control characters U+0001 and U+0002, which no goal contains.
pub(super) struct Masked {
    pub(super) text: String,
    phrases: Vec<String>,
}

/// A file name with an extension, a path, or one of the names known without.
pub(super) const FILE: &str = "(?:\\x01\\d+\\x02|\
    [\\w\\x80-\\xFF.@+~-]*[\\w\\x80-\\xFF@+~-]\\.\\w{1,10}|\
    /?[\\w\\x80-\\xFF.@+~-]+(?:/[\\w\\x80-\\xFF.@+~-]+)+|\\.\\w[\\w.-]*|Makefile|Dockerfile|\
    Justfile|LICENSE[\\w-]*|README|CHANGELOG|CONTRIBUTING|NOTICE|AUTHORS)";

/// An address on the web.
pub(super) const URL: &str = r"(?:https?://[^\s,\x01\x02]*[^\s,.;!?\x01\x02])";

/// The pairs of quotes that set a phrase aside.
const QUOTES: [(char, char); 5] = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’')];

impl Masked {
    /// Sets the quoted phrases of `goal` aside.
    pub(super) fn new(goal: &str) -> Self {
        let goal = goal.replace(|c: char| c.is_control(), " ");
        let goal = goal.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut masked = Self { text: String::new(), phrases: Vec::new() };
        let mut rest = goal.as_str();
        while let Some(first) = rest.chars().next() {
            let after = &rest[first.len_utf8()..];
            match quoted(first, after, &masked.text) {
                Some((phrase, remaining)) => {
                    masked.text.push_str(&format!("\u{1}{}\u{2}", masked.phrases.len()));
                    masked.phrases.push(phrase.to_owned());
                    rest = remaining;
                }
                None => {
                    masked.text.push(first);
                    rest = after;
                }
            }
        }
        masked
    }

    /// The text with its phrases back in place, without quotes.
    pub(super) fn unmask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (index, phrase) in self.phrases.iter().enumerate() {
            text = text.replace(&format!("\u{1}{index}\u{2}"), phrase);
        }
        text
    }
}

/// The phrase up to the closing quote and what follows. A quote inside of a word is an
/// apostrophe, not an opening quote.
fn quoted<'a>(open: char, after: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
    let (_, close) = QUOTES.iter().find(|(quote, _)| *quote == open)?;
    if before.chars().next_back().is_some_and(char::is_alphanumeric) {
        return None;
    }
    let end = after.char_indices().find(|(index, c)| {
        let next = after[index + c.len_utf8()..].chars().next();
        c == close && !next.is_some_and(char::is_alphanumeric)
    });
    let (phrase, remaining) = after.split_at(end?.0);
    (!phrase.is_empty()).then(|| (phrase, &remaining[close.len_utf8()..]))
}

/// Whether `text` is nothing but a quoted phrase.
pub(super) fn is_quoted(text: &str) -> bool {
    captures(r"\x01\d+\x02", text).is_some()
}

/// The groups of `pattern` if it matches all of `text`, whatever the case; a group that does
/// not take part is empty. Group 0 is left out.
///
/// The patterns are about ASCII words, and without Unicode's tables they compile ten times as
/// fast, which is what planning by rules costs.
pub(super) fn captures(pattern: &str, text: &str) -> Option<Vec<String>> {
    let whole = format!("^(?:{pattern})$");
    let whole = RegexBuilder::new(&whole).case_insensitive(true).unicode(false).build().ok()?;
    let found = whole.captures(text.as_bytes())?;
    let group = |index| found.get(index).map_or(&b""[..], |group| group.as_bytes()).to_vec();
    (1..found.len()).map(|index| String::from_utf8(group(index)).ok()).collect()
}

/// The ending that files of a language or format have, as a glob.
pub(super) fn glob_of_language(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    let known = match lower.as_str() {
        "rust" => "rs",
        "python" => "py",
        "javascript" => "js",
        "typescript" => "ts",
        "markdown" => "md",
        "yaml" | "yml" => "{yml,yaml}",
        "text" => "txt",
        "shell" | "bash" => "sh",
        "ruby" => "rb",
        "kotlin" => "kt",
        "c++" | "cpp" => "{cpp,hpp,cc,hh}",
        "c" => "{c,h}",
        "c#" | "csharp" => "cs",
        "golang" => "go",
        "config" | "configuration" => "{toml,yml,yaml,json,ini}",
        ending @ ("go" | "java" | "html" | "css" | "json" | "toml" | "sql" | "swift" | "xml" | "csv"
        | "log" | "rs" | "py" | "js" | "ts" | "tsx" | "jsx" | "md" | "txt" | "sh" | "rb"
        | "lock" | "php" | "zig" | "lua" | "scala" | "proto" | "svg" | "png" | "pdf") => ending,
        _ => return ending_as_glob(word),
    };
    Some(format!("**/*.{known}"))
}

/// `.rs`, `*.rs` and `**/*.rs` all mean the files with that ending.
fn ending_as_glob(word: &str) -> Option<String> {
    let ending = captures(r"(?:\*\*/)?\*?\.(\w{1,10})", word)?;
    Some(format!("**/*.{}", ending.first()?))
}

/// The text as part of a file name: lower case, words joined by hyphens.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().take(40) {
        match c.is_ascii_alphanumeric() {
            true => slug.push(c.to_ascii_lowercase()),
            false if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            false => {}
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_phrases_are_set_aside_and_put_back() {
        let masked = Masked::new("Find 'a and  b' or “c” but don't touch `it's`");
        assert_eq!(masked.text, "Find \u{1}0\u{2} or \u{1}1\u{2} but don't touch \u{1}2\u{2}");
        assert_eq!(masked.unmask("\u{1}0\u{2}|\u{1}1\u{2}|\u{1}2\u{2}"), "a and b|c|it's");
    }

    #[test]
    fn languages_and_endings_are_globs() {
        for (word, glob) in
            [("Rust", "**/*.rs"), (".md", "**/*.md"), ("*.toml", "**/*.toml"), ("yaml", "**/*.{yml,yaml}")]
        {
            assert_eq!(glob_of_language(word).as_deref(), Some(glob));
        }
        assert_eq!(glob_of_language("best"), None);
        assert_eq!(slug("fn main() {"), "fn-main");
    }
}
