//! What a goal looks for: markers, quoted text, regular expressions, code words.

use super::phrase::{Masked, captures, is_quoted};

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// For people.
    pub(super) label: String,
    pub(super) pattern: String,
    pub(super) is_regex: bool,
    pub(super) ignores_case: bool,
    /// Only what stands in comments counts.
    pub(super) comments: bool,
}

/// Markers that are also ordinary words unless they are shouted or called comments.
const COMMON_MARKERS: [&str; 7] = ["HACK", "NOTE", "BUG", "SAFETY", "WARNING", "OPTIMIZE", "DEPRECATED"];
const MARKER: &str = "TODO|FIXME|HACK|XXX|NOTE|BUG|SAFETY|WARNING|OPTIMIZE|DEPRECATED";

impl Search {
    /// Reads what to look for: markers, quoted text, a regular expression, a code word, or words
    /// after "occurrences of". Plain words alone are no search: they are a goal of their own.
    pub(super) fn read(what: &str, masked: &Masked) -> Option<Self> {
        let case =
            captures("(.+?),? (?:case[- ]insensitive(?:ly)?|ignoring (?:the )?case|in any case)", what);
        let ignores_case = case.is_some();
        let what = case.and_then(|mut groups| groups.pop()).unwrap_or_else(|| what.to_owned());
        let comments = captures(r".*\bcomments?\b.*", &what).is_some();
        let search = |label: &str, pattern: String, is_regex| Self {
            label: label.to_owned(),
            pattern,
            is_regex,
            ignores_case,
            comments,
        };
        if let Some(markers) = markers(&what) {
            let pattern = match markers.as_slice() {
                [one] => format!(r"\b{one}\b"),
                several => format!(r"\b(?:{})\b", several.join("|")),
            };
            return Some(search(&markers.join(" and "), pattern, true));
        }
        if let Some(expression) =
            captures(r"(?:(?:the )?(?:regex|regexp|regular expression|pattern) )(\S+)(?: matches)?", &what)
        {
            let expression = masked.unmask(expression.first()?);
            let bare =
                expression.strip_prefix('/').and_then(|text| text.strip_suffix('/')).unwrap_or(&expression);
            return Some(search(bare, bare.to_owned(), true));
        }
        let text = literal(&what)?;
        let text = masked.unmask(&text);
        Some(search(&text, text.clone(), false))
    }

    /// Looks for a word as it is written, or for a marker.
    pub(super) fn literal(word: &str, masked: &Masked) -> Self {
        let text = masked.unmask(word);
        Self::read(word, masked).unwrap_or(Self {
            label: text.clone(),
            pattern: text,
            is_regex: false,
            ignores_case: false,
            comments: false,
        })
    }

    /// What is looked for, in words.
    pub(super) fn words(&self) -> String {
        if self.comments { format!("{} comments", self.label) } else { self.label.clone() }
    }
}

fn markers(what: &str) -> Option<Vec<String>> {
    let one = format!(r"(?:{MARKER})(?:s|'s|:)?");
    let tail = "([- ](?:comments?|markers?|notes?|items?|tags?|annotations?|entries|\
        lines))?(?: (?:left|remaining|there))?";
    let groups = captures(&format!("((?:{one})(?:(?:, and |, |/| and | or |, or ){one})*){tail}"), what)?;
    let [several, called] = groups.as_slice() else { return None };
    let is_common = |word: &str| COMMON_MARKERS.iter().any(|marker| word.to_uppercase().starts_with(marker));
    let shouted = |word: &str| word.trim_end_matches('s').chars().all(char::is_uppercase);
    let is_word = |word: &str| is_common(word) && !shouted(word);
    if called.is_empty() && several.split(|c: char| !c.is_ascii_alphabetic()).any(is_word) {
        return None;
    }
    let upper = several.to_uppercase();
    let words = upper.split(|c: char| !c.is_ascii_alphabetic());
    let known: Vec<_> = MARKER.split('|').collect();
    let found = words
        .filter_map(|word| known.iter().find(|marker| **marker == word.strip_suffix('S').unwrap_or(word)));
    Some(found.map(|marker| (*marker).to_owned()).collect())
}

fn literal(what: &str) -> Option<String> {
    let of = "(?:comments?|occurrences?|mentions?|uses?|usages?|references?|instances?|appearances?|matches|\
        calls?|definitions?|lines?|places?|files?)(?: (?:of|to|for|containing|that contain|\
        that mention|mentioning|with|matching|where|using|that use))+(?: the)?(?: (?:word|text|\
        string|phrase|term|function|symbol|name))?";
    if let Some(text) = captures(&format!("(?:{of}|(?:the )?(?:word|text|string|phrase|term)) (\\S+)"), what)
    {
        return text.into_iter().next();
    }
    let kinds = "(?: (?:functions?|calls?|structs?|types?|traits?|enums?|variables?|constants?|\
        methods?|macros?|occurrences?|usages?|errors?|comments?|lines?|strings?))?";
    let word = captures(&format!(r"(\S+){kinds}"), what)?.pop()?;
    let inner_capital = word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
    let shouts = word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let is_code = word.contains('_') || word.contains("::") || word.contains('(') || word.contains('!');
    (is_quoted(&word) || inner_capital || shouts || is_code).then_some(word)
}
