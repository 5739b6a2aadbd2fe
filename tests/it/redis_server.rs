//! A Redis of a test's own, to be emptied and killed.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a port of its own that keeps nothing.
pub(crate) struct RedisServer {
    port: u16,
    child: Option<Child>,
    directory: tempfile::TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { port, child: None, directory: tempfile::tempdir().unwrap() };
        server.start_again();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A moment with `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// On the same port, and empty.
    pub(crate) fn start_again(&mut self) {
        let child = Command::new(program("redis-server"))
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is there: run scripts/test, which installs it");
        self.child = Some(child);
        let began = std::time::Instant::now();
        while self.ask(&["PING"]).trim() != "PONG" {
            assert!(began.elapsed() < PATIENCE, "Redis does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `redis-cli` prints.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new(program("redis-cli")).args(["-p", &port]).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program(name: &str) -> PathBuf {
    std::env::var_os("LONGHAUL_TEST_REDIS_BIN").map_or_else(PathBuf::new, PathBuf::from).join(name)
}
