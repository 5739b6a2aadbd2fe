"""Private servers on free ports, each with new data on a real disk, gone afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from install import REPOSITORY, restate_program

# File systems on which nothing is ever durable.
IN_MEMORY = {"tmpfs", "ramfs"}


def data_root():
    """Where data directories are made. Not in the cache: PostgreSQL gives up the rights of root
    and could not enter a home directory."""
    root = Path(os.environ.get("LONGHAUL_PEERS_DATA", "/var/tmp"))
    kind = subprocess.run(
        ["stat", "--file-system", "--format=%T", root], capture_output=True, text=True, check=True
    ).stdout.strip()
    if kind in IN_MEMORY:
        raise SystemExit(f"{root} is in memory ({kind}): name a real disk in LONGHAUL_PEERS_DATA")
    return root, kind


def scratch(name):
    return Path(tempfile.mkdtemp(prefix=f"longhaul-peers-{name}-", dir=data_root()[0]))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def size(directory, without=()):
    """Bytes of all files beneath a directory, apart from the directories with these names."""
    total = 0
    for place, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in without]
        for name in files:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def until(ready, what, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not start")
        time.sleep(0.05)


class Server:
    """A program with a data directory."""

    def __init__(self, name, command, environment=None):
        self.directory = scratch(name)
        self.log = open(self.directory / "server.log", "w")
        self.process = subprocess.Popen(
            [str(part).replace("@DATA", str(self.directory)) for part in command],
            env={**os.environ, **(environment or {})},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.roots = [self.process.pid]

    def bytes(self):
        return size(self.directory)

    def log_bytes(self):
        """Bytes in a log that is recycled and is therefore not part of `bytes`."""
        return 0

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Restate(Server):
    """One node with one partition: the default of 24 splits the commits on a small machine.
    All else is the default; its log is synced to the disk, many appends at a time."""

    def __init__(self):
        ports = {name: free_port() for name in ("ingress", "admin", "node")}
        environment = {
            "RESTATE_DEFAULT_NUM_PARTITIONS": "1",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports['node']}",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "warn",
        }
        super().__init__("restate", [restate_program(), "--no-logo", "--base-dir", "@DATA/data"], environment)
        self.environment = {
            "RESTATE_INGRESS": f"http://127.0.0.1:{ports['ingress']}",
            "RESTATE_ADMIN": f"http://127.0.0.1:{ports['admin']}",
        }
        until(lambda: self.answers("RESTATE_ADMIN", "/health"), "Restate")
        until(lambda: self.answers("RESTATE_INGRESS", "/restate/health"), "Restate")

    def answers(self, name, path):
        try:
            with urllib.request.urlopen(self.environment[name] + path, timeout=1) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def bytes(self):
        return size(self.directory / "data")


class Redis(Server):
    """Redis with its append-only file; no snapshots, which would be written beside it."""

    def __init__(self, appendfsync):
        port = free_port()
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", "@DATA", "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", appendfsync]
        # BullMQ asks for it: nothing may be evicted.
        command += ["--maxmemory-policy", "noeviction"]
        # A rewrite would make the file smaller in the middle of the measuring.
        command += ["--auto-aof-rewrite-percentage", "0"]
        super().__init__("redis", command)
        self.environment = {"REDIS_PORT": str(port)}
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "Redis")

    def bytes(self):
        return size(self.directory / "appendonlydir")


class Postgres:
    """PostgreSQL as `scripts/postgres` starts it, with default settings: synchronous_commit and
    fsync are on."""

    def __init__(self):
        self.directory = scratch("postgres")
        self.directory.chmod(0o755)
        self.process = subprocess.Popen(
            [REPOSITORY / "scripts/postgres", "sh", "-c",
             "echo $LONGHAUL_TEST_POSTGRES $LONGHAUL_TEST_POSTGRES_BIN; exec cat"],
            env={**os.environ, "TMPDIR": str(self.directory)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline().split()
        if len(line) != 2:
            raise RuntimeError("PostgreSQL does not start")
        self.url, self.programs = line
        self.environment = {"DATABASE_URL": self.url, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        self.data = Path(self.ask("show data_directory"))
        with open(self.data / "postmaster.pid") as file:
            self.roots = [int(file.readline())]

    def ask(self, sql):
        command = [f"{self.programs}/psql", self.url, "-XAtc", sql]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def bytes(self):
        return size(self.data, without=("pg_wal",))

    def log_bytes(self):
        return int(self.ask("select pg_current_wal_lsn() - '0/0'::pg_lsn"))

    def stop(self):
        # The script ends, and the server with it, when the command it runs has nothing to read.
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
