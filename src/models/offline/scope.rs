//! Where in the workspace a goal looks: everywhere, a directory, a kind of files, one file.

use super::phrase::{FILE, Masked, captures, glob_of_language, is_quoted};

/// A part of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope {
    /// A directory beneath the root, or a single file.
    pub(super) directory: Option<String>,
    /// A glob for the files in it.
    pub(super) files: Option<String>,
}

/// Words for the whole workspace.
const EVERYWHERE: &str = "(?:(?:this|the|my|our|your|entire|whole|current|all|of|git|root) )*\
    (?:repository|repo|workspace|project|codebase|code base|code|source code|sources?|directory|folder|\
    working directory|tree|here|files|source files|everything|package|crate)(?: here)?";

/// A directory as people write it, also one outside of the workspace: that is refused by name.
const DIRECTORY: &str = r"/?(?:[\w\x80-\xFF.@+~-]+(?:/[\w\x80-\xFF.@+~-]+)*/?)?";

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
        let directory = r"([\w\x80-\xFF./\x01\x02@+~-]+)";
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
            return Some(Self { directory: directory_of(&glob), files: Some(glob) });
        }
        if is_quoted(&words) || captures(FILE, &words).is_some() || captures(DIRECTORY, &words).is_some() {
            return Some(Self::directory(&plain));
        }
        None
    }

    fn directory(path: &str) -> Self {
        let trimmed = path.trim_start_matches("./").trim_end_matches('/');
        let path = if trimmed.is_empty() && path.starts_with('/') { path } else { trimmed };
        Self { directory: (path != "." && !path.is_empty()).then(|| path.to_owned()), files: None }
    }

    /// The place in words.
    pub(super) fn words(&self) -> String {
        let directory = self.directory.as_deref().unwrap_or("the workspace");
        match &self.files {
            Some(files) => format!("{directory} ({files})"),
            None => directory.to_owned(),
        }
    }

    /// Whether only Markdown files are meant.
    pub(super) fn is_markdown(&self) -> bool {
        self.files.as_ref().or(self.directory.as_ref()).is_some_and(|files| files.ends_with(".md"))
    }
}

/// The directory that a glob names, which is then asked for by itself: one that is not there is no
/// empty one.
pub(super) fn directory_of(glob: &str) -> Option<String> {
    let (fixed, _) = glob.split_at(glob.find(['*', '?', '[', '{'])?);
    fixed.rsplit_once('/').map(|(directory, _)| directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_or_file_and_a_glob() {
        for (words, directory, files) in [
            ("this repository", None, None),
            ("the whole codebase", None, None),
            ("src", Some("src"), None),
            ("the src directory", Some("src"), None),
            ("folder docs/guide/", Some("docs/guide"), None),
            ("Rust files", None, Some("**/*.rs")),
            ("all Rust files in src", Some("src"), Some("**/*.rs")),
            ("*.md files", None, Some("**/*.md")),
            ("src/**/*.rs", Some("src"), Some("src/**/*.rs")),
            ("Cargo.toml", Some("Cargo.toml"), None),
            ("src/main.rs", Some("src/main.rs"), None),
            ("`my notes.txt`", Some("my notes.txt"), None),
            ("/etc", Some("/etc"), None),
            ("/", Some("/"), None),
            ("../other", Some("../other"), None),
            ("..", Some(".."), None),
        ] {
            let masked = Masked::new(words);
            let scope = Scope::read(&masked.text, &masked);
            let expected = Scope { directory: directory.map(str::to_owned), files: files.map(str::to_owned) };
            assert_eq!(scope, Some(expected), "{words}");
        }
    }

    #[test]
    fn other_words_are_no_place() {
        for words in ["the billing system of our bank", "this repository and fix them", "less than a day"] {
            assert_eq!(Scope::read(words, &Masked::new(words)), None, "{words}");
        }
    }
}
