//! A PostgreSQL of a test's own, to be crashed.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A cluster on a port of its own. Whatever was committed survives its crashes.
pub(crate) struct PostgresServer {
    port: u16,
    directory: tempfile::TempDir,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { port, directory: tempfile::tempdir().unwrap() };
        if is_root() {
            let owner = Command::new("chown").arg("nobody:nogroup").arg(server.directory.path()).status();
            assert!(owner.unwrap().success());
        }
        let data = server.data();
        let mut initdb = owned("initdb");
        initdb.args(["-U", "longhaul", "--auth=trust", "--no-locale", "-E", "UTF8", "-D"]).arg(data);
        run(initdb);
        let sockets = server.directory.path().display();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={sockets} -c max_connections=200"
        );
        server.control(&["-w", "-o", &options, "start"]);
        server
    }

    /// The database that is always there.
    pub(crate) fn url(&self) -> String {
        format!("postgres://longhaul@127.0.0.1:{}/postgres", self.port)
    }

    /// Crashes, and is back when this returns.
    pub(crate) fn crash(&self) {
        self.control(&["-w", "-m", "immediate", "restart"]);
    }

    /// Crashes, and once more as soon as it begins to recover from that.
    pub(crate) fn crash_while_it_recovers(&self) {
        self.control(&["-W", "-m", "immediate", "restart"]);
        while !self.data().join("postmaster.pid").exists() {
            std::thread::yield_now();
        }
        self.crash();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = owned("pg_ctl");
        command.arg("-D").arg(self.data()).arg("-l").arg(self.directory.path().join("log")).args(arguments);
        run(command);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let mut stop = owned("pg_ctl");
        stop.args(["-m", "immediate", "stop", "-D"]).arg(self.data());
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A program of the installation, run by an account that PostgreSQL accepts: it refuses root.
fn owned(name: &str) -> Command {
    let installed = std::env::var_os("LONGHAUL_TEST_POSTGRES_BIN").expect(
        "LONGHAUL_TEST_POSTGRES_BIN is where PostgreSQL's programs are: run scripts/test, which finds them",
    );
    let program = PathBuf::from(installed).join(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The server that `pg_ctl` leaves behind would hold a pipe open for ever.
fn run(mut command: Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}
