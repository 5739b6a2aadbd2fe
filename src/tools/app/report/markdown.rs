//! Puts foreign text into Markdown so that it stays text.

use std::iter;

/// The path as a code span. What a name may have in it and a line may not stands there as an escape, so that it is
/// seen, and can be written as `$'…'` in a shell.
pub(in crate::tools::app) fn path_span(path: &str) -> String {
    if !path.contains(char::is_control) {
        return code_span(path);
    }
    let escaped = path.chars().map(|character| match character {
        '\\' => "\\\\".to_owned(),
        character if character.is_control() => character.escape_default().to_string(),
        character => character.to_string(),
    });
    code_span(&escaped.collect::<String>())
}

/// The text as a code span on one line.
pub(in crate::tools::app) fn code_span(text: &str) -> String {
    let text = one_line(text);
    if text.is_empty() {
        return "` `".to_owned();
    }
    let fence: String = iter::repeat_n('`', longest_backtick_run(&text) + 1).collect();
    // Without the spaces a backtick at the edge would become part of the fence, and a text
    // that has spaces on both sides would lose them.
    let edge = text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']);
    let pad = if edge { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// The text as a fenced block.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let fence: String = iter::repeat_n('`', (longest_backtick_run(text) + 1).max(3)).collect();
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// The text as the content of a heading: one line, in which nothing is markup.
pub(super) fn heading(text: &str) -> String {
    escaped(one_line(text).trim())
}

/// A sentence in which only code spans are markup.
pub(super) fn sentence(text: &str) -> String {
    let text = one_line(text);
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escaped(&text);
    }
    let part = |(position, part): (usize, &&str)| match position % 2 {
        0 => escaped(part),
        _ => (*part).to_owned(),
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join("`")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '#') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Text that is meant to be Markdown. If a code block in it is never closed, which would
/// swallow the rest of the report, it is shown as it is written.
pub(super) fn prose(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    if has_open_fence(text) { fenced("", text) } else { text.to_owned() }
}

fn has_open_fence(text: &str) -> bool {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines().map(str::trim_start) {
        let Some(mark) = line.chars().next().filter(|mark| matches!(mark, '`' | '~')) else { continue };
        let run = line.chars().take_while(|character| *character == mark).count();
        let rest_is_empty = line[run..].trim().is_empty();
        match open {
            None if run >= 3 && (mark == '~' || !line[run..].contains('`')) => open = Some((mark, run)),
            Some((opening, length)) if opening == mark && run >= length && rest_is_empty => open = None,
            _ => {}
        }
    }
    open.is_some()
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\u{2028}', '\u{2029}'], " ")
}

fn longest_backtick_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_span_holds_any_text() {
        for (text, expected) in [
            ("x", "`x`"),
            ("a `b` c", "``a `b` c``"),
            ("`", "`` ` ``"),
            ("``a", "``` ``a ```"),
            ("two\nlines", "`two lines`"),
            ("", "` `"),
            ("<script>[x](y)", "`<script>[x](y)`"),
        ] {
            assert_eq!(code_span(text), expected);
        }
    }

    #[test]
    fn a_fence_is_longer_than_any_in_the_text() {
        assert_eq!(fenced("json", "{}"), "```json\n{}\n```");
        assert_eq!(fenced("", "```\nx\n```"), "````\n```\nx\n```\n````");
    }

    #[test]
    fn a_heading_stays_one_plain_line() {
        assert_eq!(heading("# A *b*\n<c> [d](e)"), "\\# A \\*b\\* \\<c\\> \\[d\\](e)");
        assert_eq!(heading("some_name"), "some_name");
    }

    #[test]
    fn a_path_keeps_what_a_line_cannot_have() {
        assert_eq!(path_span("new\nline.rs"), r"`new\nline.rs`");
        assert_eq!(path_span("a\tb\\c"), r"`a\tb\\c`");
        assert_eq!(path_span(r"plain\name"), r"`plain\name`");
    }

    #[test]
    fn a_sentence_keeps_its_code_spans_and_nothing_else() {
        assert_eq!(sentence("3 files in `a*b`, *all*"), "3 files in `a*b`, \\*all\\*");
        assert_eq!(sentence("a ` b <c>"), "a \\` b \\<c\\>");
    }

    #[test]
    fn an_open_code_block_cannot_swallow_the_rest() {
        assert_eq!(prose("a\n```\nb\n```"), "a\n```\nb\n```");
        assert!(prose("a\n```rust\nb").starts_with("````\n"));
        assert!(prose("~~~\nb").starts_with("```\n"));
        assert_eq!(prose("an ```inline``` span"), "an ```inline``` span");
    }
}
