//! Where the comments of a file are, as far as its kind is known.
//!
//! This is no parser. It knows what begins and ends a comment in a kind of file, and what a text in
//! quotes is, which is enough to tell a note in a comment from the same word in prose or in a text.

use std::ops::Range;
use std::path::Path;

/// How comments are written in a kind of file.
struct Style {
    /// What begins a comment that ends with its line.
    line: &'static [&'static str],
    /// What begins and ends a comment that may go over lines.
    block: &'static [(&'static str, &'static str)],
    /// What texts stand in.
    quotes: &'static [u8],
}

const NONE: &Style = &Style { line: &[], block: &[], quotes: b"" };
const C: &Style = &Style { line: &["//"], block: &[("/*", "*/")], quotes: b"\"" };
const SCRIPT: &Style = &Style { line: &["//"], block: &[("/*", "*/")], quotes: b"\"'`" };
const PHP: &Style = &Style { line: &["//", "#"], block: &[("/*", "*/"), ("<!--", "-->")], quotes: b"\"'" };
const CSS: &Style = &Style { line: &[], block: &[("/*", "*/")], quotes: b"\"'" };
const SASS: &Style = &Style { line: &["//"], block: &[("/*", "*/")], quotes: b"\"'" };
const PYTHON: &Style =
    &Style { line: &["#"], block: &[("\"\"\"", "\"\"\""), ("'''", "'''")], quotes: b"\"'" };
const HASH: &Style = &Style { line: &["#"], block: &[], quotes: b"\"'" };
const POWERSHELL: &Style = &Style { line: &["#"], block: &[("<#", "#>")], quotes: b"\"'" };
const HCL: &Style = &Style { line: &["#", "//"], block: &[("/*", "*/")], quotes: b"\"" };
const INI: &Style = &Style { line: &["#", ";"], block: &[], quotes: b"" };
const SQL: &Style = &Style { line: &["--"], block: &[("/*", "*/")], quotes: b"'\"" };
const LUA: &Style = &Style { line: &["--"], block: &[("--[[", "]]")], quotes: b"\"'" };
const HASKELL: &Style = &Style { line: &["--"], block: &[("{-", "-}")], quotes: b"\"" };
const LISP: &Style = &Style { line: &[";"], block: &[("#|", "|#")], quotes: b"\"" };
const PERCENT: &Style = &Style { line: &["%"], block: &[], quotes: b"" };
const MARKUP: &Style = &Style { line: &[], block: &[("<!--", "-->")], quotes: b"" };
const COMPONENT: &Style = &Style { line: &["//"], block: &[("<!--", "-->"), ("/*", "*/")], quotes: b"\"'`" };
/// For files of which nobody knows better: what most languages use.
const UNKNOWN: &Style =
    &Style { line: &["//", "#", "--", ";", "%"], block: &[("/*", "*/"), ("<!--", "-->")], quotes: b"\"" };

fn style_of(path: &Path) -> &'static Style {
    let lower = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().to_lowercase();
    match (lower(path.extension()).as_str(), lower(path.file_name()).as_str()) {
        ("rs" | "c" | "h" | "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" | "m" | "mm", _) => C,
        ("java" | "kt" | "kts" | "scala" | "go" | "cs" | "swift" | "zig" | "proto" | "v" | "sol", _) => C,
        ("js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "dart" | "groovy" | "gradle", _) => {
            SCRIPT
        }
        ("json5" | "jsonc", _) => SCRIPT,
        ("php", _) => PHP,
        ("css", _) => CSS,
        ("scss" | "sass" | "less" | "styl", _) => SASS,
        ("py" | "pyi" | "pyx", _) => PYTHON,
        (
            "sh" | "bash" | "zsh" | "fish" | "rb" | "pl" | "pm" | "r" | "jl" | "ex" | "exs" | "nim" | "cr",
            _,
        )
        | (
            "toml" | "yaml" | "yml" | "mk" | "cmake" | "nix" | "graphql" | "env" | "dockerfile" | "awk"
            | "tcl",
            _,
        )
        | (_, "makefile" | "dockerfile" | "justfile" | "gemfile" | "rakefile" | "cmakelists.txt")
        | (_, ".gitignore" | ".gitattributes" | ".dockerignore" | ".env" | ".editorconfig" | "codeowners") => {
            HASH
        }
        ("ps1" | "psm1", _) => POWERSHELL,
        ("tf" | "hcl", _) => HCL,
        ("ini" | "cfg" | "conf" | "properties", _) => INI,
        ("sql", _) => SQL,
        ("lua", _) => LUA,
        ("hs" | "elm" | "purs", _) => HASKELL,
        ("lisp" | "el" | "clj" | "cljs" | "edn" | "scm" | "rkt" | "asm" | "s", _) => LISP,
        ("tex" | "sty" | "bib" | "erl" | "hrl", _) => PERCENT,
        ("md" | "markdown" | "html" | "htm" | "xhtml" | "xml" | "svg" | "xsd" | "xsl", _) => MARKUP,
        ("vue" | "svelte" | "astro" | "mdx", _) => COMPONENT,
        ("txt" | "text" | "json" | "csv" | "tsv" | "log" | "rst" | "lock", _) => NONE,
        _ => UNKNOWN,
    }
}

/// Reads a file line by line and tells what of each line is comment.
pub(super) struct Comments {
    style: &'static Style,
    /// The end of the block that the lines before have left open, and whether it is a comment: what
    /// begins like one is a text if it is given to something.
    open: Option<(&'static str, bool)>,
}

impl Comments {
    /// At the beginning of this file.
    pub(super) fn of(path: &Path) -> Self {
        Self { style: style_of(path), open: None }
    }

    /// The parts of the next line that are comment.
    pub(super) fn next_line(&mut self, line: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let first = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(line.len());
        let mut at = 0;
        while at < line.len() {
            if let Some((end, is_comment)) = self.open {
                let close = position(&line[at..], end).map(|close| at + close + end.len());
                if is_comment {
                    found.push(at..close.unwrap_or(line.len()));
                }
                let Some(close) = close else { return found };
                self.open = None;
                at = close;
            } else if let Some((begin, end)) = self.block_at(&line[at..]) {
                let inside = at + begin.len();
                let close = position(&line[inside..], end).map(|close| inside + close + end.len());
                let is_comment = begin != end || at == first;
                if is_comment {
                    found.push(at..close.unwrap_or(line.len()));
                }
                let Some(close) = close else {
                    // Only what begins its line goes on in the next: a pattern such as `src/**` in
                    // a text over several lines would have no end.
                    let goes_on = begin == end || at == first;
                    self.open = goes_on.then_some((end, is_comment));
                    return found;
                };
                at = close;
            } else if self.line_comment_at(line, at, at == first) {
                found.push(at..line.len());
                return found;
            } else {
                at = self.behind_text(line, at);
            }
        }
        found
    }

    fn block_at(&self, rest: &[u8]) -> Option<(&'static str, &'static str)> {
        self.style.block.iter().find(|(begin, _)| rest.starts_with(begin.as_bytes())).copied()
    }

    fn line_comment_at(&self, line: &[u8], at: usize, begins_line: bool) -> bool {
        let mark = self.style.line.iter().find(|mark| line[at..].starts_with(mark.as_bytes()));
        let before = at.checked_sub(1).map(|before| line[before]);
        match mark {
            None => false,
            Some(_) if std::ptr::eq(self.style, UNKNOWN) => begins_line,
            // An address is no comment.
            Some(&"//") => before != Some(b':'),
            // `#` and its like are also parts of words: `$#`, `#fff`, `page#top`, `i--`.
            Some(_) => before.is_none_or(|byte| byte.is_ascii_whitespace() || b";,(){}[]".contains(&byte)),
        }
    }

    /// Where to look next: behind a text in quotes that ends on this line, else one byte on.
    fn behind_text(&self, line: &[u8], at: usize) -> usize {
        let quote = line[at];
        // A quote as a character, '"' or '\'', opens nothing.
        if quote == b'\'' && !self.style.quotes.contains(&quote) {
            let length = if line.get(at + 1) == Some(&b'\\') { 4 } else { 3 };
            return if line.get(at + length - 1) == Some(&b'\'') { at + length } else { at + 1 };
        }
        if !self.style.quotes.contains(&quote) {
            return at + 1;
        }
        let mut end = at + 1;
        while end < line.len() {
            match line[end] {
                b'\\' => end += 2,
                byte if byte == quote => return end + 1,
                _ => end += 1,
            }
        }
        at + 1
    }
}

fn position(line: &[u8], mark: &str) -> Option<usize> {
    line.windows(mark.len()).position(|window| window == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the lines, from 1, in which TODO is in a comment.
    fn found(name: &str, text: &str) -> Vec<usize> {
        let mut comments = Comments::of(Path::new(name));
        let is_found = |line: &str| {
            let parts = comments.next_line(line.as_bytes());
            line.find("TODO").is_some_and(|at| parts.iter().any(|part| part.contains(&at)))
        };
        text.lines().map(is_found).enumerate().filter(|(_, is)| *is).map(|(line, _)| line + 1).collect()
    }

    #[test]
    fn a_comment_is_told_from_a_text_and_from_code() {
        for (name, line, is_comment) in [
            ("a.rs", "// TODO: x", true),
            ("a.rs", "let a = 1; // TODO", true),
            ("a.rs", "/* TODO */ let a = 1;", true),
            ("a.rs", "println!(\"TODO // x\");", false),
            ("a.rs", "println!(\"// TODO\");", false),
            ("a.rs", "let quote = '\"'; // TODO", true),
            ("a.rs", "fn a<'a>(x: &'a str) {} // TODO \"x\"", true),
            ("a.rs", "let address = https://TODO.example;", false),
            ("a.rs", "todo!(TODO)", false),
            ("a.ts", "const a = 'TODO'; // x", false),
            ("a.ts", "const a = `${b}`; // TODO", true),
            ("a.py", "x = 1  # TODO", true),
            ("a.py", "print(\"# TODO\")", false),
            ("a.py", "\"\"\"TODO: document.\"\"\"", true),
            ("a.py", "x = \"\"\"TODO\"\"\"", false),
            ("a.sh", "echo $# TODO", false),
            ("a.sh", "run; # TODO", true),
            ("a.css", "color: #TODO;", false),
            ("a.css", "/* TODO */", true),
            ("a.md", "The TODO list", false),
            ("a.md", "# TODO", false),
            ("a.md", "<!-- TODO: say more -->", true),
            ("a.sql", "SELECT 1 -- TODO", true),
            ("a.lua", "--[[ TODO ]]", true),
            ("a.ini", "; TODO", true),
            ("a.tex", "% TODO", true),
            ("a.el", ";; TODO", true),
            ("Makefile", "all: # TODO", true),
            ("a.txt", "# TODO", false),
            ("a.json", "{\"a\": \"// TODO\"}", false),
            ("a.unheard", "# TODO", true),
            ("a.unheard", "see # TODO", false),
        ] {
            assert_eq!(found(name, line), if is_comment { vec![1] } else { vec![] }, "{name}: {line}");
        }
    }

    #[test]
    fn a_comment_over_several_lines_has_an_end() {
        assert_eq!(found("a.c", "/*\n * TODO one\n TODO two */ TODO\nTODO"), [2, 3]);
        assert_eq!(found("a.html", "<!--\nTODO\n-->\n<p>TODO</p>"), [2]);
        assert_eq!(found("a.py", "def a():\n    \"\"\"Does a.\n\n    TODO: more\n    \"\"\"\n    TODO"), [4]);
        assert_eq!(found("a.py", "x = \"\"\"\nTODO\n\"\"\"\n# TODO"), [4]);
    }

    #[test]
    fn what_only_looks_like_the_begin_of_a_comment_does_not_swallow_the_rest() {
        assert_eq!(found("a.rs", "let a = r#\"\n  glob = src/**\n\"#;\nlet b = TODO;\n// TODO"), [5]);
        assert_eq!(found("a.rs", "let it = 'x';\nlet a = \"unclosed\nTODO\n// TODO"), [4]);
    }
}
