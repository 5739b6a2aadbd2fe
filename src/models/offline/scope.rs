//! Where in the workspace a goal looks: everywhere, a directory, a kind of files, one file.

use super::phrase::{FILE, Masked, captures, glob_of_language};

/// A part of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope {
    /// A directory beneath the root.
    pub(super) directory: Option<String>,
    /// A glob for the files in it, or one file.
    pub(super) files: Option<String>,
}

/// Words for the whole workspace.
const EVERYWHERE: &str = "(?:(?:this|the|my|our|your|entire|whole|current|all|of|git|root) )*\
    (?:repository|repo|workspace|project|codebase|code base|code|source code|sources?|directory|folder|\
    working directory|tree|here|files|source files|everything|package|crate)(?: here)?";

impl Scope {
    /// Reads the words after "in"; `None` if they do not name a part of the workspace.
    pub(super) fn read(words: &str, masked: &Masked) -> Option<Self> {
        let words = words.trim();
        if words.is_empty() || captures(EVERYWHERE, words).is_some() {
            return Some(Self::default());
        }
        let article = "(?:(?:the|this|all|all the|every|each|any|our|my) )?";
        if let Some(groups) = captures(
            &format!(
                "{article}(\\S+) (?:source )?(?:files?|code|sources?|documents?)(?: (?:in|under|\
                    within|inside|of|below) (.+))?"
            ),
            words,
        ) && let [kind, place] = groups.as_slice()
            && let Some(glob) = glob_of_language(&masked.unmask(kind))
        {
            let inside = Self::read(place, masked)?;
            return inside.files.is_none().then_some(Self { files: Some(glob), ..inside });
        }
        let directory = r"([\w\x80-\xFF\x01\x02@+~-][\w\x80-\xFF./\x01\x02@+~-]*)";
        for pattern in [
            format!("{article}{directory} (?:directory|folder|dir|module)"),
            format!("{article}(?:directory|folder|dir) {directory}"),
        ] {
            if let Some(groups) = captures(&pattern, words) {
                return Some(Self::directory(&masked.unmask(groups.first()?)));
            }
        }
        Self::path(words, masked)
    }

    fn path(words: &str, masked: &Masked) -> Option<Self> {
        let words = captures("(?:the file )?(.+)", words)?.pop()?;
        let plain = masked.unmask(&words);
        if plain.contains('*') && !plain.contains(' ') {
            let glob = glob_of_language(&plain).unwrap_or(plain);
            return Some(Self { directory: None, files: Some(glob) });
        }
        let ends_in_extension = plain.rsplit('/').next().is_some_and(|name| name.contains('.'));
        if captures(FILE, &words).is_some()
            && (ends_in_extension || !plain.contains('/'))
            && !plain.ends_with('/')
        {
            return Some(Self { directory: None, files: Some(plain) });
        }
        captures(r"([\w\x80-\xFF.@+~-]+(?:/[\w\x80-\xFF.@+~-]+)*/?)", &words)?;
        Some(Self::directory(&plain))
    }

    fn directory(path: &str) -> Self {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        Self { directory: (path != "." && !path.is_empty()).then(|| path.to_owned()), files: None }
    }

    /// One glob for all of it; `None` for the whole workspace.
    pub(super) fn glob(&self) -> Option<String> {
        match (&self.directory, &self.files) {
            (None, None) => None,
            (None, Some(files)) => Some(files.clone()),
            (Some(directory), None) => Some(format!("{directory}/**")),
            (Some(directory), Some(files)) => Some(format!("{directory}/{files}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_globs() {
        for (words, glob) in [
            ("this repository", None),
            ("the whole codebase", None),
            ("src", Some("src/**")),
            ("the src directory", Some("src/**")),
            ("folder docs/guide/", Some("docs/guide/**")),
            ("Rust files", Some("**/*.rs")),
            ("all Rust files in src", Some("src/**/*.rs")),
            ("*.md files", Some("**/*.md")),
            ("src/**/*.rs", Some("src/**/*.rs")),
            ("Cargo.toml", Some("Cargo.toml")),
            ("src/main.rs", Some("src/main.rs")),
            ("`my notes.txt`", Some("my notes.txt")),
        ] {
            let masked = Masked::new(words);
            let scope = Scope::read(&masked.text, &masked);
            assert_eq!(scope.map(|scope| scope.glob()), Some(glob.map(str::to_owned)), "{words}");
        }
    }

    #[test]
    fn other_words_are_no_place() {
        for words in ["the billing system of our bank", "this repository and fix them", "less than a day"] {
            assert_eq!(Scope::read(words, &Masked::new(words)), None, "{words}");
        }
    }
}
