"""Who is measured, and how each is started."""

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Callable

import install
from baselines import Appends, Pgbench
from processes import Account
from servers import Postgres, Redis, Restate, data_root

CONCURRENCY = (1, 5, 50)


@dataclass
class Span:
    """How long to measure, in seconds."""

    warmup: float
    seconds: float


@dataclass
class Peer:
    """A server, and a driver that speaks the protocol of README.md."""

    title: str
    install: Callable
    server: Callable
    driver: Callable

    def measure(self, span):
        server = self.server()
        try:
            driver = Driver(self.driver(), server)
            try:
                # Some servers answer before they are settled, and programs are compiled as they run.
                driver.measure(CONCURRENCY[1], Span(0, span.warmup))
                return {str(at_once): driver.measure(at_once, span) for at_once in CONCURRENCY}
            finally:
                driver.stop()
        finally:
            server.stop()


class Driver:
    """The client and worker of a peer."""

    def __init__(self, command, server):
        self.server = server
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **server.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.expect("ready")

    def expect(self, event):
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if said.get("event") == event:
                return said
        raise RuntimeError(f"the driver ended before it said {event}")

    def measure(self, at_once, span):
        size, log = self.server.bytes(), self.server.log_bytes()
        self.process.stdin.write(f"{at_once} {span.warmup} {span.seconds}\n")
        self.process.stdin.flush()
        self.expect("begin")
        account = Account([self.process.pid, *self.server.roots])
        end = self.expect("end")
        closed = account.close(end["steps"])
        total = self.expect("idle")["steps"]
        return {
            **closed,
            "steps": end["steps"],
            "stepsPerSecond": end["steps"] / end["seconds"],
            "msPerStepP50": end["p50"],
            # What stays of all tasks of this order, also of those before and after the window.
            "diskBytesPerStep": (self.server.bytes() - size) / max(total, 1),
            "logBytesPerStep": (self.server.log_bytes() - log) / max(total, 1),
        }

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Longhaul:
    """`longhaul bench`, on a database of its own."""

    install = staticmethod(install.longhaul)
    # So many tasks for each slot tell how many more fill the window.
    PROBE = 20

    def __init__(self, title, server=None):
        self.title = title
        self.server = server

    def measure(self, span):
        server = self.server() if self.server else None
        try:
            return {str(at_once): self.run(at_once, span, server) for at_once in CONCURRENCY}
        finally:
            if server:
                server.stop()

    def run(self, at_once, span, server):
        probe = self.bench(self.PROBE * at_once, at_once, server)
        tasks = max(int(probe["stepsPerSecond"] / 10 * span.seconds), at_once)
        return self.bench(tasks, at_once, server)

    def bench(self, tasks, at_once, server):
        """Runs it once. Processor time and log are counted from the end of its own warm-up, and
        include the making of the tasks, as they do for the others."""
        database = ["--db", server.url] if server else []
        command = [install.longhaul_program(), *database, "bench", "--json", "--dir", data_root()[0]]
        command += ["--steps", "10", "--payload", "300", "--tasks", tasks, "--concurrency", at_once]
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if not any("one task alone is done" in line for line in process.stderr):
            raise RuntimeError("longhaul bench does not say when its warm-up is done")
        # This process waits for the other, and so takes over its account at its end.
        roots = [os.getpid(), *(server.roots if server else [])]
        account, log = Account(roots), server.log_bytes() if server else 0
        figures, complaint = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"longhaul bench failed: {complaint.strip()}")
        full = json.loads(figures)["full"]
        closed = account.close(full["steps"])
        log = server.log_bytes() - log if server else 0
        return {
            **closed,
            # Of its process alone, without the making of the tasks.
            "cpuMicrosPerStepOfWorker": full["cpuMicrosPerStep"],
            "steps": full["steps"],
            "stepsPerSecond": full["stepsPerSecond"],
            "msPerStepP50": full["msPerStep"]["p50"],
            "diskBytesPerStep": full["diskBytesPerStep"],
            "logBytesPerStep": log / full["steps"],
        }


def node(driver):
    return lambda: ["node", "--no-deprecation", install.NODE / driver]


PEERS = {
    "appends": Appends(),
    "longhaul-sqlite": Longhaul("Longhaul on SQLite (synchronous=FULL)"),
    "restate": Peer(
        "Restate 1.7, one partition, Rust handler",
        install.restate,
        Restate,
        lambda: [install.RUST / "target/release/restate-peer"],
    ),
    "bullmq-everysec": Peer(
        "BullMQ 6 on Redis, AOF everysec (a power cut loses a second)",
        install.bullmq,
        lambda: Redis("everysec"),
        node("bullmq.mjs"),
    ),
    "bullmq-always": Peer(
        "BullMQ 6 on Redis, AOF always", install.bullmq, lambda: Redis("always"), node("bullmq.mjs")
    ),
    "pgbench": Pgbench(CONCURRENCY, install.postgres),
    "longhaul-postgres": Longhaul("Longhaul on PostgreSQL", Postgres),
    "dbos-rust": Peer(
        "DBOS (Rust) on PostgreSQL",
        install.dbos_rust,
        Postgres,
        lambda: [install.RUST / "target/release/dbos-peer"],
    ),
    "dbos": Peer("DBOS (TypeScript) on PostgreSQL", install.node, Postgres, node("dbos.mjs")),
    "langgraph": Peer(
        "LangGraph on PostgreSQL, sync",
        install.python,
        Postgres,
        lambda: [install.PYTHON / "bin/python", install.HERE / "drivers/langgraph_threads.py"],
    ),
}
