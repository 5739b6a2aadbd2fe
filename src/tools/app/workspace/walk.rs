//! Walks the workspace the way git sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::overrides::{Override, OverrideBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::{Early, Workspace};
use crate::tools::ToolError;

/// What to walk over.
pub(super) struct Selection {
    /// Where to begin, relative to the root, without symbolic links.
    pub(super) start: PathBuf,
    /// Which files to keep; all of them if absent.
    pub(super) glob: Option<Glob>,
    /// Whether to go below the start's own entries.
    pub(super) recursive: bool,
}

/// A file or directory that was found.
pub(super) struct Found {
    /// Relative to the root.
    pub(super) path: PathBuf,
    pub(super) is_directory: bool,
}

/// A pattern in the manner of `.gitignore`: `*.rs`, `src/**/*.md`, `!vendor/`.
#[derive(Clone)]
pub(super) struct Glob(Arc<Override>);

impl Glob {
    pub(super) fn new(pattern: &str) -> Result<Self, ToolError> {
        let fault =
            |error: ignore::Error| ToolError::Arguments(format!("the glob '{pattern}' is wrong: {error}"));
        let mut builder = OverrideBuilder::new("");
        builder.add(pattern).map_err(fault)?;
        builder.build().map(|glob| Self(Arc::new(glob))).map_err(fault)
    }

    /// Whether the file is wanted: by itself, or because a directory above it is.
    fn keeps_file(&self, path: &Path) -> bool {
        if self.0.num_whitelists() == 0 {
            return !self.0.matched(path, false).is_ignore();
        }
        let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        self.0.matched(path, false).is_whitelist()
            || above.into_iter().any(|above| self.0.matched(above, true).is_whitelist())
    }

    fn keeps_directory(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || !self.0.matched(path, true).is_ignore()
    }

    /// Whether a directory is itself what was asked for.
    fn names_directory(&self, path: &Path) -> bool {
        if self.0.num_whitelists() == 0 {
            self.keeps_directory(path)
        } else {
            self.keeps_file(path) || self.0.matched(path, true).is_whitelist()
        }
    }
}

impl Workspace {
    /// What is in the selection, parents before children and names in order. Neither follows
    /// symbolic links nor enters `.git` and what git ignores.
    pub(super) fn walk(&self, selection: Selection) -> impl Iterator<Item = Found> + use<> {
        let Selection { start, glob, recursive } = selection;
        let start = if start == Path::new(".") { PathBuf::new() } else { start };
        let depth = start.components().count();
        let root = self.root.clone();
        let in_git = root.ancestors().any(|directory| directory.join(".git").exists());
        let mut builder = WalkBuilder::new(&root);
        builder
            .follow_links(false)
            .hidden(false)
            .ignore(false)
            .git_global(false)
            // Honours .gitignore also where the repository came as an archive without .git,
            // but then not the files above the workspace, which have nothing to do with it.
            .require_git(false)
            .parents(in_git)
            .max_depth(if recursive { None } else { Some(depth + 1) })
            .sort_by_file_name(Ord::cmp);
        let (walk_root, walk_start, walk_glob) = (root.clone(), start.clone(), glob.clone());
        builder.filter_entry(move |entry| {
            let Ok(path) = entry.path().strip_prefix(&walk_root) else { return false };
            let on_the_way = walk_start.starts_with(path) || path.starts_with(&walk_start);
            let wanted =
                !is_directory(entry) || walk_glob.as_ref().is_none_or(|glob| glob.keeps_directory(path));
            on_the_way && wanted && entry.file_name() != ".git"
        });
        // What cannot be read is left out, as git and other searchers do.
        builder.build().filter_map(Result::ok).filter_map(move |entry| {
            let path = entry.path().strip_prefix(&root).ok()?;
            let is_directory = is_directory(&entry);
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            let below = path.starts_with(&start) && (path != start || is_file);
            let wanted = match &glob {
                None => true,
                Some(glob) if is_directory => glob.names_directory(path),
                Some(glob) => glob.keeps_file(path),
            };
            let keep = below && wanted && (is_file || is_directory) && !path.as_os_str().is_empty();
            keep.then(|| Found { path: path.to_owned(), is_directory })
        })
    }

    /// The selection that the arguments of a tool describe.
    pub(super) fn selection(
        &self,
        path: &str,
        glob: Option<&str>,
        recursive: bool,
    ) -> Result<Selection, Early> {
        let glob = glob.filter(|glob| !glob.is_empty()).map(Glob::new).transpose()?;
        Ok(Selection { start: self.resolved(path)?, glob, recursive })
    }
}

fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
}
