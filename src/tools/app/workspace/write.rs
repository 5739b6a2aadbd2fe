//! Puts a text into a file, completely or not at all.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cap_std::fs::{Dir, OpenOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::{Early, Operation, blocking};
use super::{Workspace, refused, shown};
use crate::task::Effect;
use crate::tools::{CallContext, ToolError};

/// `workspace_write`.
pub(super) struct Write(pub(super) Arc<Workspace>);

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The file, relative to the workspace. Missing directories are created.
    path: String,
    /// The whole new content.
    content: String,
}

#[async_trait]
impl Operation for Write {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "workspace";
    const NAME: &'static str = "workspace_write";
    const DESCRIPTION: &'static str =
        "Writes a text file into the workspace. Replaces the file if there is one.";
    /// The same call again leaves the same file behind.
    const EFFECT: Effect = Effect::Idempotent;

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        let workspace = Arc::clone(&self.0);
        blocking(move || write(&workspace, &arguments.path, arguments.content.as_bytes())).await
    }
}

fn write(workspace: &Workspace, path: &str, content: &[u8]) -> Result<Value, Early> {
    let relative = workspace.relative(path)?;
    refuse_git(path, &relative)?;
    let Some(name) = relative.file_name().map(PathBuf::from) else {
        return Err(Early::Said(format!("'{path}' is a directory")));
    };
    refuse_configuration(path, &name)?;
    let parent = relative.parent().unwrap_or(Path::new(""));
    let directory = open_parent(&workspace.dir, parent, path)?;
    if directory.metadata(&name).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Early::Said(format!("'{path}' is a directory")));
    }
    replace(&directory, &name, content).map_err(|error| refused(path, error))?;
    Ok(json!({"path": shown(&relative), "bytes": content.len()}))
}

/// Files in `.git` are run by git: hooks and configured programs.
fn refuse_git(path: &str, relative: &Path) -> Result<(), ToolError> {
    let is_git = |name: &std::ffi::OsStr| name.eq_ignore_ascii_case(".git");
    if relative.iter().any(is_git) {
        return Err(belongs_to_git(path));
    }
    Ok(())
}

/// Whoever starts the program in its workspace starts it with the file of this name, which names programs to
/// run. A link of another name is replaced and not followed.
fn refuse_configuration(path: &str, name: &Path) -> Result<(), ToolError> {
    if name.as_os_str().eq_ignore_ascii_case("longhaul.toml") {
        return Err(ToolError::Denied(format!("'{path}' configures Longhaul and is not written")));
    }
    Ok(())
}

fn belongs_to_git(path: &str) -> ToolError {
    ToolError::Denied(format!("'{path}' belongs to git and is not written"))
}

/// Opens a directory, made if need be, unless it is one of git's by whatever name it was reached: what
/// is looked at is where the links lead, and exactly that is opened.
fn open_parent(root: &Dir, parent: &Path, path: &str) -> Result<Dir, Early> {
    let fault = |error| refused(path, error);
    let there = deepest(root, parent).map_err(fault)?;
    refuse_git(path, &there)?;
    if there.ancestors().any(|directory| is_repository(root, directory)) {
        return Err(belongs_to_git(path).into());
    }
    if parent.as_os_str().is_empty() {
        return root.try_clone().map_err(fault);
    }
    root.create_dir_all(parent).map_err(fault)?;
    let made = root.canonicalize(parent).map_err(fault)?;
    refuse_git(path, &made)?;
    root.open_dir(made).map_err(fault)
}

/// Where the part of a path leads that is there already.
fn deepest(root: &Dir, path: &Path) -> io::Result<PathBuf> {
    for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        match root.canonicalize(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            there => return there,
        }
    }
    Ok(PathBuf::new())
}

/// Whether git keeps a repository in a directory: one that is bare, or that a file `.git` elsewhere leads to.
fn is_repository(root: &Dir, directory: &Path) -> bool {
    let is_dir = |name: &str| root.metadata(directory.join(name)).is_ok_and(|found| found.is_dir());
    root.symlink_metadata(directory.join("HEAD")).is_ok() && is_dir("objects") && is_dir("refs")
}

/// Writes beside the target and renames over it, so that whoever reads the target, and a crash
/// at any moment, finds the old content or the new one.
fn replace(directory: &Dir, name: &Path, content: &[u8]) -> io::Result<()> {
    let beside = PathBuf::from(format!(".longhaul-{}.tmp", Uuid::now_v7().simple()));
    let outcome = write_new(directory, &beside, name, content)
        .and_then(|()| directory.rename(&beside, directory, name))
        .and_then(|()| sync(directory));
    if outcome.is_err() {
        // What remains is only a leftover; the error that counts is the first one.
        let _ = directory.remove_file(&beside);
    }
    outcome
}

fn write_new(directory: &Dir, beside: &Path, name: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = directory.open_with(beside, OpenOptions::new().write(true).create_new(true))?;
    if let Ok(old) = directory.symlink_metadata(name)
        && old.is_file()
    {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// A rename lasts over a power failure only when its directory is written too. Only Unix lets
/// a directory be opened for that.
fn sync(directory: &Dir) -> io::Result<()> {
    if cfg!(unix) { directory.open(".")?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::World;
    use super::*;

    #[tokio::test]
    async fn a_file_is_written_with_its_directories_and_nothing_else() {
        let world = World::new(&[]);
        let result = world.ok("workspace_write", json!({"path": "out/new/report.md", "content": "é"})).await;
        assert_eq!(result, json!({"path": "out/new/report.md", "bytes": 2}));
        assert_eq!(fs::read_to_string(world.path("out/new/report.md")).unwrap(), "é");
        assert_eq!(fs::read_dir(world.path("out/new")).unwrap().count(), 1, "no leftover");
    }

    #[tokio::test]
    async fn a_file_is_replaced_and_keeps_its_mode() {
        let world = World::new(&[("run.sh", "old")]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(world.path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for _ in 0..2 {
            world.ok("workspace_write", json!({"path": "run.sh", "content": "new"})).await;
        }
        assert_eq!(fs::read_to_string(world.path("run.sh")).unwrap(), "new");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(world.path("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
        }
    }

    #[tokio::test]
    async fn a_directory_is_not_replaced() {
        let world = World::new(&[("dir/file", "")]);
        for path in ["dir", ".", "dir/file/below"] {
            let output = world.call("workspace_write", json!({"path": path, "content": "x"})).await.unwrap();
            assert!(output.is_error, "{path}: {output:?}");
        }
        assert!(world.path("dir/file").is_file());
    }

    #[tokio::test]
    async fn what_the_program_is_configured_by_is_not_written() {
        let world = World::new(&[("longhaul.toml", "[worker]"), ("below/file", "")]);
        for path in ["longhaul.toml", "./Longhaul.TOML", "below/longhaul.toml", "below/../longhaul.toml"] {
            let arguments = json!({"path": path, "content": "[tools.mcp.mine]\ncommand = 'sh'"});
            let error = world.call("workspace_write", arguments).await.unwrap_err();
            assert_eq!(error.code(), "tool_denied", "{path}");
        }
        assert_eq!(fs::read_to_string(world.path("longhaul.toml")).unwrap(), "[worker]");
        world.ok("workspace_write", json!({"path": "longhaul.toml.md", "content": "x"})).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn nothing_is_written_into_git_by_whatever_name_it_is_reached() {
        let world = World::new(&[
            (".git/hooks/README", ""),
            ("bare/HEAD", "ref: refs/heads/main"),
            ("bare/objects/x", ""),
            ("bare/refs/x", ""),
            ("bare/hooks/README", ""),
            ("deep/own.txt", ""),
        ]);
        std::os::unix::fs::symlink(".git", world.path("link")).unwrap();
        std::os::unix::fs::symlink("../link/hooks", world.path("deep/hooks")).unwrap();
        std::os::unix::fs::symlink("bare", world.path("store")).unwrap();
        for path in [
            "link/hooks/pre-commit",
            "link/config",
            "link/new/file",
            "deep/hooks/pre-commit",
            "bare/hooks/pre-commit",
            "bare/config",
            "store/hooks/new/pre-commit",
        ] {
            let arguments = json!({"path": path, "content": "#!/bin/sh"});
            let error = world.call("workspace_write", arguments).await.unwrap_err();
            assert_eq!(error.to_string(), format!("'{path}' belongs to git and is not written"));
            assert!(!world.path(path).exists(), "{path}");
        }
        assert!(!world.path(".git/new").exists() && !world.path("bare/hooks/new").exists());
        std::os::unix::fs::symlink("deep", world.path("other")).unwrap();
        world.ok("workspace_write", json!({"path": "other/new/file", "content": "x"})).await;
        assert!(world.path("deep/new/file").is_file(), "other links are followed");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_is_replaced_and_not_followed() {
        let world = World::new(&[]);
        std::os::unix::fs::symlink("../secret.txt", world.path("link")).unwrap();
        world.ok("workspace_write", json!({"path": "link", "content": "mine"})).await;
        assert_eq!(fs::read_to_string(world.outer.path().join("secret.txt")).unwrap(), "the secret");
        assert_eq!(fs::read_to_string(world.path("link")).unwrap(), "mine");
    }
}
