//! Files beneath one directory, and nothing else.
//!
//! Every file is opened through a capability on the workspace root: neither `..` nor an
//! absolute path nor a symbolic link leads out, whatever changes between look and use.

mod comments;
mod compare;
mod list;
mod read;
mod search;
mod walk;
mod write;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use self::walk::{Found, Selection};
use super::report::{code_span, path_span};
use super::{Early, built_in};
use crate::tools::{Tool, ToolError, ToolboxError};

/// The workspace tools, on this directory or on the current one.
pub(super) fn tools(root: Option<&Path>) -> Result<Vec<Arc<dyn Tool>>, ToolboxError> {
    let workspace = Arc::new(Workspace::open(root)?);
    Ok(vec![
        built_in(search::Search(Arc::clone(&workspace))),
        built_in(list::List(Arc::clone(&workspace))),
        built_in(read::Read(Arc::clone(&workspace))),
        built_in(compare::Compare(Arc::clone(&workspace))),
        built_in(write::Write(workspace)),
    ])
}

/// The one directory that the workspace tools can reach.
struct Workspace {
    /// Opens files; cannot be led outside.
    dir: Dir,
    /// Where it is, without symbolic links. For walking, and to recognise absolute paths.
    root: PathBuf,
    /// The same as it was given, which may lead through symbolic links.
    given: PathBuf,
}

impl Workspace {
    fn open(root: Option<&Path>) -> Result<Self, ToolboxError> {
        let fault = |path: &Path, source| ToolboxError::Workspace { path: path.to_owned(), source };
        let given = match root {
            Some(root) => std::path::absolute(root).map_err(|error| fault(root, error))?,
            None => std::env::current_dir().map_err(|error| fault(Path::new("."), error))?,
        };
        let root = given.canonicalize().map_err(|error| fault(&given, error))?;
        let dir = Dir::open_ambient_dir(&root, ambient_authority()).map_err(|error| fault(&root, error))?;
        Ok(Self { dir, root, given })
    }

    /// The path relative to the root, without `.` and `..`; `.` for the root itself. Absolute
    /// paths inside of the workspace are welcome, because people and models write them.
    fn relative(&self, path: &str) -> Result<PathBuf, ToolError> {
        let path = Path::new(path);
        let inside = if path.is_absolute() {
            path.strip_prefix(&self.root)
                .or_else(|_| path.strip_prefix(&self.given))
                .map_err(|_| outside(path))?
        } else {
            path
        };
        let mut relative = PathBuf::new();
        for component in inside.components() {
            match component {
                Component::Normal(name) => relative.push(name),
                Component::CurDir => {}
                Component::ParentDir if relative.pop() => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(outside(path));
                }
            }
        }
        if relative.as_os_str().is_empty() {
            relative.push(".");
        }
        Ok(relative)
    }

    /// The same path with its symbolic links followed, as far as they stay inside.
    fn resolved(&self, path: &str) -> Result<PathBuf, Early> {
        let relative = self.relative(path)?;
        self.dir.canonicalize(&relative).map_err(|error| self.refused(path, error))
    }

    /// What a failed look at a path means, with the files of the same name that there are: people
    /// and models leave out directories and endings.
    fn refused(&self, path: &str, error: io::Error) -> Early {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let said = match refused(path, error) {
            Early::Said(said) if is_missing => said,
            other => return other,
        };
        let Some(name) = Path::new(path).file_name() else { return Early::Said(said) };
        let is_alike = |found: &Found| {
            let is_named = found.path.file_name().is_some_and(|known| known.eq_ignore_ascii_case(name));
            is_named || found.path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case(name))
        };
        let all = Selection { start: PathBuf::from("."), glob: None, recursive: true };
        let alike = self.walk(all).take(LOOKED_THROUGH).filter(is_alike);
        let alike: Vec<_> = alike.take(NAMED).map(|found| format!("'{}'", shown(&found.path))).collect();
        Early::Said(match alike.is_empty() {
            true => said,
            false => format!("{said}, but there is {}", alike.join(" and ")),
        })
    }
}

/// How many files and directories are looked through for one of the same name.
const LOOKED_THROUGH: usize = 20_000;
/// How many of them are named.
const NAMED: usize = 3;

/// Where was looked, as a part of a sentence; nothing for the whole workspace. What was left out is
/// not told.
fn place(path: &str, glob: Option<&str>) -> String {
    let path = shown(Path::new(path));
    let inside = if path == "." { String::new() } else { format!(" in {}", path_span(&path)) };
    match glob.filter(|glob| !glob.is_empty() && !glob.starts_with('!')) {
        Some(glob) => format!("{inside} ({})", code_span(glob)),
        None => inside,
    }
}

fn outside(path: &Path) -> ToolError {
    ToolError::Denied(format!("'{}' is outside of the workspace", path.display()))
}

/// What a failed file operation means: an attempt to leave is denied, anything else is an
/// answer that the model should read.
fn refused(path: &str, error: io::Error) -> Early {
    // The capability reports an escape as a denial that no system call made.
    if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
        return Early::Failed(outside(Path::new(path)));
    }
    match error.kind() {
        io::ErrorKind::NotFound => Early::Said(format!("there is no '{path}' in the workspace")),
        _ => Early::Said(format!("'{path}': {error}")),
    }
}

/// A path as results show it: with `/` on every system.
fn shown(path: &Path) -> String {
    let names: Vec<_> = path
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| component.as_os_str().to_string_lossy())
        .collect();
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::super::tests::context;
    use super::*;
    use crate::tools::ToolOutput;

    /// A directory with a workspace in it and a secret beside it.
    pub(super) struct World {
        pub(super) outer: TempDir,
        tools: Vec<Arc<dyn Tool>>,
    }

    impl World {
        pub(super) fn new(files: &[(&str, &str)]) -> Self {
            let outer = tempfile::tempdir().unwrap();
            fs::create_dir(outer.path().join("ws")).unwrap();
            fs::create_dir(outer.path().join("private")).unwrap();
            fs::write(outer.path().join("secret.txt"), "the secret").unwrap();
            fs::write(outer.path().join("private/key"), "the secret").unwrap();
            let tools = super::tools(Some(&outer.path().join("ws"))).unwrap();
            let world = Self { outer, tools };
            for (path, content) in files {
                world.put(path, content.as_bytes());
            }
            world
        }

        pub(super) fn path(&self, path: &str) -> PathBuf {
            self.outer.path().join("ws").join(path)
        }

        pub(super) fn put(&self, path: &str, content: &[u8]) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        pub(super) async fn call(&self, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
            let tool = self.tools.iter().find(|t| t.description().name == tool).unwrap();
            tool.call(arguments, context()).await
        }

        pub(super) async fn ok(&self, tool: &str, arguments: Value) -> Value {
            let output = self.call(tool, arguments).await.unwrap();
            assert!(!output.is_error, "{output:?}");
            output.content
        }
    }

    #[tokio::test]
    async fn no_path_leads_out_of_the_workspace() {
        let world = World::new(&[("a/file.txt", "x")]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink("../secret.txt", world.path("relative-link")).unwrap();
            symlink(world.outer.path().join("secret.txt"), world.path("absolute-link")).unwrap();
            symlink("..", world.path("up")).unwrap();
            symlink(world.outer.path().join("private"), world.path("a/dir-link")).unwrap();
            symlink("up/secret.txt", world.path("chain")).unwrap();
            symlink("/proc/self/root", world.path("slash")).unwrap();
            symlink("../new.txt", world.path("dangling")).unwrap();
        }
        let absolute = world.outer.path().join("secret.txt").display().to_string();
        let sibling = format!("{}-other/file", world.path("").display());
        let attempts = [
            "../secret.txt",
            "a/../../secret.txt",
            "a/../../ws/../secret.txt",
            "..",
            "../",
            "./..",
            "/etc/passwd",
            "/",
            absolute.as_str(),
            sibling.as_str(),
            "relative-link",
            "absolute-link",
            "up/secret.txt",
            "up",
            "a/dir-link/key",
            "a/dir-link",
            "chain",
            "slash/etc/passwd",
            "//etc/passwd",
            "a//../..//secret.txt",
            "up/ws/../secret.txt",
            "a/dir-link/../secret.txt",
        ];
        for path in attempts {
            for (tool, arguments) in [
                ("workspace_read", json!({"path": path})),
                ("workspace_list", json!({"path": path})),
                ("workspace_search", json!({"path": path, "pattern": "secret"})),
            ] {
                // Whatever the way of saying no is, nothing from outside may be in it.
                let said = match world.call(tool, arguments).await {
                    Ok(output) => output.content.to_string(),
                    Err(error) => {
                        assert_eq!(error.code(), "tool_denied", "{tool} {path}: {error}");
                        assert!(!error.may_have_taken_effect());
                        String::new()
                    }
                };
                assert!(!said.contains("the secret") && !said.contains("root:"), "{tool} {path}: {said}");
            }
            let _ = world.call("workspace_write", json!({"path": path, "content": "overwritten"})).await;
        }
        let _ = world.call("workspace_write", json!({"path": "a/dir-link/new", "content": "x"})).await;
        let _ = world.call("workspace_write", json!({"path": "dangling", "content": "x"})).await;
        assert_eq!(fs::read_to_string(world.outer.path().join("secret.txt")).unwrap(), "the secret");
        assert_eq!(fs::read_to_string(world.outer.path().join("private/key")).unwrap(), "the secret");
        let mut beside: Vec<_> =
            fs::read_dir(world.outer.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["private", "secret.txt", "ws"]);
        assert_eq!(fs::read_dir(world.outer.path().join("private")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn reads_and_writes_that_try_to_leave_are_denied_and_not_just_missing() {
        let world = World::new(&[]);
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret.txt", world.path("link")).unwrap();
        for path in ["../secret.txt", "/etc/passwd", "link"] {
            let error = world.call("workspace_read", json!({"path": path})).await.unwrap_err();
            assert_eq!(error.code(), "tool_denied", "{path}");
        }
        for path in ["../new.txt", "/tmp/new.txt", ".git/hooks/pre-commit", "sub/.GIT/config"] {
            let error =
                world.call("workspace_write", json!({"path": path, "content": "x"})).await.unwrap_err();
            assert_eq!(error.code(), "tool_denied", "{path}");
        }
    }

    #[tokio::test]
    async fn absolute_paths_inside_of_the_workspace_are_understood() {
        let world = World::new(&[("a/file.txt", "hello")]);
        let path = world.path("a/file.txt").display().to_string();
        let read = world.ok("workspace_read", json!({"path": path})).await;
        assert_eq!((&read["path"], &read["text"]), (&json!("a/file.txt"), &json!("hello")));
    }

    #[test]
    fn a_workspace_that_is_not_there_is_an_error() {
        let error = Workspace::open(Some(Path::new("/no/such/directory"))).err().unwrap();
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    }
}
